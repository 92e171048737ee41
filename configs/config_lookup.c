/* config_lookup.c: a configuration key by its path. */
#include "configs/config_keys.h"

#include "base/nearest.h"

#include <string.h>

const struct config_key *config_key_find(const char *path)
{
    size_t n;
    const struct config_key *keys = config_keys(&n);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(keys[i].path, path) == 0) {
            return &keys[i];
        }
    }
    return NULL;
}

bool config_key_in(const struct config_key *key, const char *prefix)
{
    size_t len = strlen(prefix);
    return strncmp(key->path, prefix, len) == 0 && key->path[len] != '\0' &&
           strpbrk(key->path + len, ".[") == NULL;
}

const char *config_key_name(const struct config_key *key)
{
    const char *dot = strrchr(key->path, '.');
    return dot != NULL ? dot + 1 : key->path;
}

const char *config_key_nearest(const char *path)
{
    const char *dot = strrchr(path, '.');
    struct nearest whole = nearest_of(path), name = nearest_of(dot != NULL ? dot + 1 : path);
    const char *by_name = NULL;
    size_t n;
    const struct config_key *keys = config_keys(&n);
    for (size_t i = 0; i < n; i++) {
        const char *before = name.name;
        nearest_offer(&whole, keys[i].path);
        nearest_offer(&name, config_key_name(&keys[i]));
        by_name = name.name != before ? keys[i].path : by_name;
    }
    /* A right name in the wrong section is nearer than a wrong one. */
    return by_name != NULL && name.distance < whole.distance ? by_name : whole.name;
}
