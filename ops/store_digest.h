/* store_digest.h: what a store holds, as a number that does not depend on how it got there.
 *
 * Two stores that took in the same events have equal digests, whatever the size of their commits,
 * the order of partitions, kills and restarts, and however RocksDB keeps its files.  For inspect
 * and for crash tests; reads a store that nobody writes to, or a read-only view of a live one. */
#ifndef UNDINE_OPS_STORE_DIGEST_H
#define UNDINE_OPS_STORE_DIGEST_H

#include "base/hash.h"
#include "configs/config.h"
#include "featurestore/store.h"

struct store_digest {
    struct hash128 users;  /* every user's id and the newest steps of each sequence, as many as an
                              impression could see; in the order of the users' hashes */
    struct hash128 events; /* sum over the events that wait, and the applied ones not older than an
                              impression is known: those that decide what comes of the pending */
    uint64_t n_users, n_steps, n_events;
};

/* config: the one that the store was made with.  UNDINE_ECORRUPT, UNDINE_EVERSION, UNDINE_EIO,
 * UNDINE_ESTATE (another shard's), UNDINE_ENOMEM. */
int store_digest(struct store *s, const struct config *config, struct store_digest *out,
                 struct undine_err *err);

#endif
