#include "learner/model/version_merged.h"

#include "learner/model/version_dir.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Which link of the chain, `from` or later, version `name` was merged from; n_chain = none.
 * seal: what the version's manifest ends with. */
static uint32_t link_of(const char *dir, const char *name, const struct manifest_delta *chain,
                        uint32_t from, struct manifest *m, char seal[HASH128_HEX_LEN + 1])
{
    char path[VERSION_PATH_MAX];
    uint32_t found = chain->n_chain;
    *m = (struct manifest){0};
    if (version_path(path, dir, name, NULL) == UNDINE_OK &&
        manifest_read(m, path, NULL) == UNDINE_OK && !m->is_delta && m->merged_from != 0) {
        for (uint32_t i = from; i < chain->n_chain; i++) {
            found = chain->chain[i].number == m->merged_from ? i : found;
        }
        memcpy(seal, m->seal, sizeof m->seal);
    }
    manifest_release(m);
    return found;
}

int version_merged_find(const char *dir, const struct manifest_delta *chain, uint32_t from,
                        uint32_t *link, struct manifest_link *merged, struct undine_err *err)
{
    int found = 0;
    struct manifest_link candidate;
    struct manifest *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory to look at versions");
    }
    DIR *d = opendir(dir);
    if (d == NULL) {
        free(m);
        return undine_err_sys(err, UNDINE_EIO, errno, "%s: listing versions", dir);
    }
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (!version_number(&candidate.number, e->d_name) ||
            candidate.number <= chain->chain[from].number) {
            continue;
        }
        uint32_t i = link_of(dir, e->d_name, chain, from, m, candidate.seal);
        if (i < chain->n_chain && (found == 0 || i > *link)) {
            found = 1;
            *link = i;
            *merged = candidate;
        }
    }
    (void)closedir(d);
    free(m);
    return found;
}
