/* version_retain.c: which versions stay (version.h). */
#include "base/fault.h"
#include "learner/model/version_history.h"
#include "learner/version.h"
#include "learner/version_files.h"
#include "learner/version_hold.h"

#include <stdlib.h>

enum { RETAIN_HISTORY_BYTES = 1 << 20 }; /* thousands of lines */

struct retain {
    const char *dir;
    unsigned keep;
    uint64_t current; /* UINT64_MAX = nothing is published */
    struct version_history history;
    unsigned for_restart, for_scorers; /* kept already */
    uint64_t oldest_seq;
};

static int retain_begin(struct retain *r, struct undine_err *err)
{
    char name[VERSION_NAME_MAX];
    r->current = r->oldest_seq = UINT64_MAX;
    if (version_dir_current(r->dir, name, NULL) == UNDINE_OK) {
        (void)version_number(&r->current, name);
    }
    return version_history_tail(&r->history, r->dir, RETAIN_HISTORY_BYTES, err);
}

/* Is it one of the newest, or one that scorers take or may go back to? */
static bool retain_keeps(struct retain *r, uint64_t number)
{
    struct version_info info;
    bool published = version_history_standing(&r->history, number) == VERSION_PUBLISHED;
    bool for_scorers =
        number == r->current || (published && number < r->current && r->for_scorers < r->keep);
    r->for_scorers += for_scorers;
    if (r->for_restart >= r->keep) {
        return for_scorers;
    }
    if (version_info_read(r->dir, number, &info, NULL) == UNDINE_OK) {
        r->for_restart++;
        r->oldest_seq = info.trained_seq < r->oldest_seq ? info.trained_seq : r->oldest_seq;
    }
    return true;
}

static int retain(struct retain *r, struct undine_err *err)
{
    uint64_t *numbers;
    size_t n;
    int rc = version_files_list(r->dir, &numbers, &n, err);
    if (rc == UNDINE_OK) {
        rc = retain_begin(r, err);
    }
    for (size_t i = n; rc == UNDINE_OK && i > 0; i--) {
        if (retain_keeps(r, numbers[i - 1])) {
            continue;
        }
        char name[VERSION_NAME_MAX];
        version_name(name, numbers[i - 1]);
        /* DROP(version_old): beyond `snapshot.keep`, not the published one */
        FAULT("retain.before_remove");
        rc = version_files_remove(r->dir, name, err);
        FAULT("retain.after_remove");
    }
    free(numbers);
    version_history_release(&r->history);
    return rc;
}

int version_retain(const char *dir, unsigned keep, uint64_t *oldest_seq, struct undine_err *err)
{
    UNDINE_ASSERT(keep >= 1);
    struct retain r = {.dir = dir, .keep = keep};
    int lock;
    int rc = version_lock(dir, &lock, err); /* nobody publishes meanwhile what goes */
    if (rc < 0) {
        return rc;
    }
    rc = retain(&r, err);
    version_unlock(lock);
    if (rc == UNDINE_OK) {
        *oldest_seq = r.oldest_seq == UINT64_MAX ? 0 : r.oldest_seq;
    }
    return rc;
}
