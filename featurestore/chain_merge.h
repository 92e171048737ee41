/* chain_merge.h: how RocksDB joins the links of a chain of commits (commit_chain.h): the functions
 * of a merge operator, in its own terms.  What they return is malloc's and RocksDB's; NULL and *ok
 * 0 where memory is out or these are no links.  Any thread of RocksDB's. */
#ifndef UNDINE_FEATURESTORE_CHAIN_MERGE_H
#define UNDINE_FEATURESTORE_CHAIN_MERGE_H

#include <stddef.h>

const char *chain_merge_name(void *state);
void chain_merge_ignore(void *state);
char *chain_merge_partly(void *state, const char *key, size_t key_len, const char *const *links,
                         const size_t *lens, int n, unsigned char *ok, size_t *len);
char *chain_merge_wholly(void *state, const char *key, size_t key_len, const char *value,
                         size_t value_len, const char *const *links, const size_t *lens, int n,
                         unsigned char *ok, size_t *len);

#endif
