/* bench_world.h: versions of a model of a given size, and requests that a scorer of them gets.
 *
 * Item 18, category 18 and user 18, 200-80, Dice; activation unit as the paper has it (36) or as
 * the authors' code has it (80-40).  Weights are random, but small enough that no score saturates.
 * Ids are "0", "1", ...; a request has a user, a history and candidates, all known to the model.
 * One thread. */
#ifndef UNDINE_TESTS_BENCH_WORLD_H
#define UNDINE_TESTS_BENCH_WORLD_H

#include "learner/version.h"
#include "scorer/undine.h"

enum { BENCH_WORLD_REQUESTS = 64 };

struct bench_world_options {
    bool official; /* unit */
    uint32_t rows; /* of items; 1,000 categories and users */
    uint32_t candidates, history;
};

struct bench_world {
    struct bench_world_options opt;
    struct schema schema;
    struct undine_request request[BENCH_WORLD_REQUESTS];
    void *memory;
};

/* Errors: UNDINE_ENOMEM, UNDINE_EINVAL where a number is out of range. */
int bench_world_open(struct bench_world *w, const struct bench_world_options *opt,
                     struct undine_err *err);
void bench_world_release(struct bench_world *w);

/* A new directory under `parent`, or parent itself (`whole`), made where it is missing; and its
 * end. */
int bench_world_dir(char out[VERSION_PATH_MAX], const char *parent, bool whole,
                    struct undine_err *err);
void bench_world_remove(const char *dir);

/* A full version of random rows into DIR; errors of version_write. */
int bench_world_full(const struct bench_world *w, const char *dir, uint64_t seed,
                     struct version_info *info, struct undine_err *err);
/* The next delta of `rows` items on what `base` is. */
int bench_world_delta(const struct bench_world *w, const char *dir,
                      const struct version_chain *base, uint64_t seed, uint32_t rows,
                      struct version_info *info, struct undine_err *err);

/* Point DIR/CURRENT at a version, without HISTORY: what a publisher's rename does to a scorer. */
int bench_world_publish(const char *dir, const char *name, struct undine_err *err);

#endif
