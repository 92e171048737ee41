/* golden_store.h: the stream and the options of tests/golden/store-format-N, so that what makes it
 * and what goes on from it read alike. */
#ifndef UNDINE_TESTS_GOLDEN_STORE_H
#define UNDINE_TESTS_GOLDEN_STORE_H

#include "tests/support/ingest_world.h"

enum { GOLDEN_PARTITIONS = 2, GOLDEN_LINES_MAX = 400 };

/* The lines of stream.jsonl: a partition, a space, a message. */
struct golden_stream {
    char *text;
    const char *message[GOLDEN_LINES_MAX];
    uint32_t partition[GOLDEN_LINES_MAX];
    size_t n;
};
void golden_stream_read(struct golden_stream *out, const char *dir);
void golden_stream_release(struct golden_stream *s);
/* Add messages [from, to) to the log. */
void golden_stream_add(const struct golden_stream *s, size_t from, size_t to,
                       struct memory_log *log);

void golden_world(struct ingest_world *w);
/* Hashes of examples and users, "examples 0123456789abcdef\nusers ...\n"; the world's store is at
 * its end. */
void golden_digest(struct ingest_world *w, char out[64]);

#endif
