/* commit_chain.h: how a store notices that a family lacks commits.
 *
 * A store's families are written to files one by one, so a file that is lost, cut or from another
 * time (a live directory that was copied, a disk that lied about fsync) can leave them at different
 * commits, or with a hole.  Each commit therefore merges a link "from the commit before me to me"
 * into one entry of every family; links that meet become one, and what is left of all of them tells
 * whether each commit since the first is there.  Pure functions; any thread. */
#ifndef UNDINE_FEATURESTORE_COMMIT_CHAIN_H
#define UNDINE_FEATURESTORE_COMMIT_CHAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { COMMIT_CHAIN_BYTES = 24, COMMIT_CHAIN_VERSION = 1 };

/* The commits after `from` up to and with `to` are there; where broken is set, to is the last one
 * before the first hole, and from the one at which the next link begins. */
struct commit_chain {
    uint64_t from, to;
    bool broken;
};

void commit_chain_encode(uint8_t out[COMMIT_CHAIN_BYTES], const struct commit_chain *c);
/* Format of stored bytes; 0 where they are no chain of any. */
unsigned commit_chain_format(const void *data, size_t len);
/* false: these bytes are no chain, or of another format. */
bool commit_chain_decode(struct commit_chain *out, const void *data, size_t len);
/* a, then b.  A broken one stays as it is. */
struct commit_chain commit_chain_join(const struct commit_chain *a, const struct commit_chain *b);

#endif
