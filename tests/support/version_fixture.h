/* version_fixture.h: small snapshots with a real model, for tests of versions and of the scorer. */
#ifndef UNDINE_TESTS_SUPPORT_VERSION_FIXTURE_H
#define UNDINE_TESTS_SUPPORT_VERSION_FIXTURE_H

#include "learner/version.h"

struct version_fixture {
    uint64_t seed;   /* of weights and rows */
    uint32_t n_rows; /* of every table: ids "0" to "n_rows - 1" */
    uint64_t trained_seq;
    uint32_t video_dim;                    /* 0 = 8: another one makes another shape of model */
    bool reversed;                         /* rows in the opposite order: the same model */
    void (*form)(struct model_options *o); /* changes the small model, or NULL */
    bool own_tables;                       /* of the sequence */
    bool shared;                           /* the first row is the shared one, of id 0 */
    bool two_sequences;                    /* a second one, "carts", of tags alone */
    bool spread; /* no dense parameter has the value that it begins with, biases and Dice's too */
    bool full_model; /* layers and sequence as wide as by default, for benchmarks */
};

/* The schema of event_schema.h, with unequal widths. */
void version_fixture_schema(struct schema *s, const struct version_fixture *f);
struct snapshot *version_fixture_snapshot(const struct version_fixture *f);
/* Write it; asserts that it works. */
void version_fixture_write(const char *dir, const struct version_fixture *f, bool publish,
                           struct version_info *info);

/* A directory of its own, and its end. */
void version_fixture_temp_dir(char out[VERSION_PATH_MAX]);
void version_fixture_remove(const char *dir);
/* Whole file; the caller frees it. */
uint8_t *version_fixture_read(const char *path, size_t *len);
void version_fixture_overwrite(const char *path, const void *data, size_t len);

#endif
