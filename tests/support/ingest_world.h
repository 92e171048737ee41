/* ingest_world.h: everything right of a source, opened and closed together, and its examples as
 * text, for tests of the ingest loop.  A failed step ends the test program. */
#ifndef UNDINE_TESTS_INGEST_WORLD_H
#define UNDINE_TESTS_INGEST_WORLD_H

#include "ingest/ingest.h"
#include "tests/support/memory_source.h"

struct ingest_world {
    struct schema schema;
    struct ingest_options opt;
    struct decode_options decode;
    uint64_t cache_bytes;
    const char *file; /* read this instead of a log in memory, which is NULL then */
    struct store *store;
    struct users *users;
    struct example_log *log;
    struct decoder *decoder;
    struct source *source;
    struct ingest *ingest;
};

/* Usual options of the loop: nothing late up to lateness_ms, no bound on the learner. */
struct ingest_options ingest_world_options(int64_t lateness_ms, int64_t window_ms);
/* Opens all parts on the store in dir; returns what ingest_open returned. */
int ingest_world_open(struct ingest_world *w, const char *dir, const struct memory_log *log,
                      const struct memory_source_options *source, struct undine_err *err);
void ingest_world_close(struct ingest_world *w);

/* One line a user of the store: the newest steps of every sequence, as many as an example can see.
 */
void ingest_world_users(struct ingest_world *w, struct writer *out);
/* One line an entry of the log, everything in it included. */
void ingest_world_examples(struct ingest_world *w, struct writer *out);
void ingest_world_entry(struct writer *out, const struct schema *schema, uint8_t kind,
                        uint64_t impression, uint64_t user, int64_t time_ms, int64_t emit_ms,
                        float rate, const uint8_t *counts, const uint64_t *ids);
void ingest_world_steps(struct writer *out, const uint64_t *words, size_t n_words);
void ingest_world_text(struct writer *out, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Fails the test, showing the first line that differs. */
void ingest_world_same(const struct writer *a, const struct writer *b, const char *what);

#endif
