/* ablation_stream.h: the examples of a log, made once by the real ingest and held in memory, so
 * that many settings can be learned from the same stream without making it again.
 *
 * What is here is what the example log of a replay of the same files holds, in the same blocks.
 * Read-only once made. */
#ifndef UNDINE_TESTS_ABLATION_STREAM_H
#define UNDINE_TESTS_ABLATION_STREAM_H

#include "configs/config.h"

struct ablation_stream {
    struct example_block *blocks; /* in order, dense from seq 0 */
    size_t n_blocks, capacity;
    uint64_t n;      /* examples */
    uint64_t *user;  /* (n) */
    uint8_t *label;  /* (n) 0 or 1 */
    float *rate;     /* (n) sample rate */
    int64_t span_ms; /* from the first emit time to past the last one: by so much a further pass
                        is later */
    uint64_t digest; /* schema_data_digest and configuration that made it */
};

/* Read the files (event lines, .zst too) through ingest into a store in dir, and the examples out
 * of its log.  UNDINE_EINVAL where there are none, or the events forget a user: the stream is read
 * several times. */
int ablation_stream_make(struct ablation_stream *s, const struct config *config,
                         const char *const *inputs, size_t n_inputs, const char *dir,
                         struct undine_err *err);
void ablation_stream_release(struct ablation_stream *s);
/* Would this configuration make the same stream?  UNDINE_ECONFIG where not. */
int ablation_stream_check(const struct ablation_stream *s, const struct config *config,
                          struct undine_err *err);

#endif
