/* config_text.h: texts that go into values (environment, files) and texts made of all values. */
#ifndef UNDINE_CONFIGS_CONFIG_TEXT_H
#define UNDINE_CONFIGS_CONFIG_TEXT_H

#include "configs/config_value.h"

#include "base/arena.h"

/* raw with every `${NAME}` replaced by the environment's NAME, and `$${` by `${`; in the arena.
 * NULL and an error that names path where NAME is not set. */
const char *config_text_expand(struct arena *a, const char *path, const char *raw,
                               const struct config_where *where, struct undine_err *err);
/* Content of a small regular file without the newlines at its end; a relative name is looked up
 * beside the configuration file.  NULL and an error where it cannot be read. */
const char *config_text_file(struct arena *a, const char *path, const char *name,
                             const char *config_file, const struct config_where *where,
                             struct undine_err *err);

/* What may not change on an existing store, one "key=value" a line; caller frees, NULL where memory
 * is out. */
char *config_digest_text(const struct config *c);

#endif
