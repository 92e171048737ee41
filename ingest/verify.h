/* verify.h: everything that a store says, read and counted anew.
 *
 * Every block's checksum (store_verify), every value's own format, what values must say about each
 * other (example numbers are dense, steps lie before their impression, positions and losses are as
 * many as were counted), and the sums of the accounting with what is waiting and pending rebuilt
 * from the arrivals as a start does it.  Writes nothing; needs the memory that a start needs. */
#ifndef UNDINE_INGEST_VERIFY_H
#define UNDINE_INGEST_VERIFY_H

#include "ingest/ingest.h"

/* Called for each thing that is wrong: the place, and what it is.  Both are borrowed. */
typedef void (*verify_problem_fn)(void *payload, const char *where, const char *what);

struct verified {
    struct store_verified family[STORE_FAMILIES];
    uint64_t users, steps;
    uint64_t arrival_blocks, arrival_events, arrival_rejected;
    uint64_t example_blocks, examples, examples_by_kind[EXAMPLE_KINDS];
    uint64_t meta_values, positions, losses, malformed_samples;
    uint64_t commit, example_tail, example_head;
    bool restored; /* what follows is valid */
    uint64_t waiting, pending;
    struct accounting accounting;
    uint64_t problems;
};

struct verify_options {
    const struct schema *schema;
    const struct ingest_options *ingest;
    const struct decode_options *decode;
    const struct users_options *users;
};

/* Read-only or not, nobody writes meanwhile.  UNDINE_OK whatever is wrong with what is stored;
 * UNDINE_ESTATE where the store is of another configuration, UNDINE_ENOMEM. */
int ingest_verify(struct verified *out, struct store *store, const struct verify_options *opt,
                  verify_problem_fn problem, void *payload, struct undine_err *err);

#endif
