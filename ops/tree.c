#include "ops/tree.h"

#include <ftw.h>
#include <stdio.h>

enum { TREE_FDS_MAX = 16 };

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    (void)remove(path);
    return 0;
}

void tree_remove(const char *dir)
{
    (void)nftw(dir, remove_entry, TREE_FDS_MAX, FTW_DEPTH | FTW_PHYS);
}
