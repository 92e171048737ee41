#include "featurestore/chain_merge.h"

#include "featurestore/commit_chain.h"

#include <stdlib.h>
#include <string.h>

void chain_merge_ignore(void *state)
{
    (void)state;
}

const char *chain_merge_name(void *state)
{
    (void)state;
    return "undine.commit_chain";
}

/* A link of a newer format among these?  What came of it is handed on as it is, for store_open to
 * refuse by its name. */
static char *chain_newer(const char *const *links, const size_t *lens, int n, unsigned char *ok,
                         size_t *len)
{
    for (int i = 0; i < n; i++) {
        if (commit_chain_format(links[i], lens[i]) > COMMIT_CHAIN_VERSION) {
            char *out = malloc(lens[i]);
            *ok = out != NULL;
            *len = out != NULL ? lens[i] : 0;
            return out != NULL ? memcpy(out, links[i], lens[i]) : NULL;
        }
    }
    return NULL;
}

static char *chain_merge_links(const char *first, size_t first_len, const char *const *links,
                               const size_t *lens, int n, unsigned char *ok, size_t *len)
{
    struct commit_chain all, next;
    uint8_t *out = malloc(COMMIT_CHAIN_BYTES);
    bool good = out != NULL && commit_chain_decode(&all, first, first_len);
    for (int i = 0; good && i < n; i++) {
        good = commit_chain_decode(&next, links[i], lens[i]);
        all = commit_chain_join(&all, &next);
    }
    *ok = good;
    *len = good ? COMMIT_CHAIN_BYTES : 0;
    if (!good) {
        free(out);
        return NULL;
    }
    commit_chain_encode(out, &all);
    return (char *)out;
}

char *chain_merge_partly(void *state, const char *key, size_t key_len, const char *const *links,
                         const size_t *lens, int n, unsigned char *ok, size_t *len)
{
    (void)state, (void)key, (void)key_len;
    return chain_merge_links(links[0], lens[0], links + 1, lens + 1, n - 1, ok, len);
}

char *chain_merge_wholly(void *state, const char *key, size_t key_len, const char *value,
                         size_t value_len, const char *const *links, const size_t *lens, int n,
                         unsigned char *ok, size_t *len)
{
    char *newer = chain_newer(&value, &value_len, value != NULL, ok, len);
    newer = newer != NULL ? newer : chain_newer(links, lens, n, ok, len);
    if (newer != NULL) {
        return newer;
    }
    if (value == NULL) {
        return chain_merge_partly(state, key, key_len, links, lens, n, ok, len);
    }
    return chain_merge_links(value, value_len, links, lens, n, ok, len);
}
