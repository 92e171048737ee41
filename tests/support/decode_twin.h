/* decode_twin.h: the decoder once more, written plainly on another JSON library (jansson), to
 * compare with.  Slow, and without an opinion on what jansson cannot read: integers beyond int64_t,
 * reals that overflow, NUL in a key, and nesting that only one of the two refuses. */
#ifndef UNDINE_TESTS_SUPPORT_DECODE_TWIN_H
#define UNDINE_TESTS_SUPPORT_DECODE_TWIN_H

#include "ingest/decode.h"

#include <stdbool.h>

/* Decode text with the decoder and without it, in a stream where every kind is carried and none is
 * implied.  NULL where they agree (or the twin has no opinion), else what differs. */
const char *decode_twin_differs(struct decoder *d, const struct schema *schema, bool by_user_item,
                                const uint8_t *text, size_t len);

#endif
