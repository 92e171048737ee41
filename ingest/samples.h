/* samples.h: the newest malformed messages, for `inspect`: a ring of fixed size, of which a commit
 * writes what is new.  Ingest thread only. */
#ifndef UNDINE_INGEST_SAMPLES_H
#define UNDINE_INGEST_SAMPLES_H

#include "featurestore/store.h"
#include "ingest/meta.h"

struct samples {
    uint32_t n_slots;
    struct writer *slots; /* encoded; empty = nothing new since the last commit */
};

int samples_init(struct samples *s, uint32_t n_slots, struct undine_err *err);
void samples_release(struct samples *s);
/* Keep this one (its payload is cut to META_SAMPLE_BYTES_MAX) in place of the oldest. */
int samples_add(struct samples *s, const struct meta_malformed *sample, struct undine_err *err);
void samples_stage(const struct samples *s, struct store *store);
void samples_commit(struct samples *s);

#endif
