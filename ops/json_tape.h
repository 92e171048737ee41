/* json_tape.h: one JSON document of any shape, checked whole by simdjson (UTF-8, grammar, nothing
 * behind it) and flattened into an array of nodes.
 *
 * Memory grows to the largest document, to some 30 bytes for each of its bytes at worst, and stays:
 * no allocation for each value.  No exceptions leave.  One thread at a time. */
#ifndef UNDINE_OPS_JSON_TAPE_H
#define UNDINE_OPS_JSON_TAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    JSON_TAPE_PADDING = 64, /* bytes behind the document that may be read */
    JSON_TAPE_DEPTH_MAX = 32
};

enum json_tape_type {
    TAPE_NULL,
    TAPE_BOOL,
    TAPE_INT,    /* integer holds it */
    TAPE_UINT,   /* above INT64_MAX: integer holds its bits */
    TAPE_REAL,   /* integer = the number where it is whole and below 2^53, else INT64_MIN */
    TAPE_STRING, /* text, escapes decoded */
    TAPE_ARRAY,
    TAPE_OBJECT
};

/* Elements and members follow their container: those of node i begin at i + 1, and the next sibling
 * of a node is at its `end`. */
struct json_tape_node {
    const char *key;  /* of a member, NUL-terminated; else NULL.  Valid until the next parse */
    const char *text; /* no NUL */
    int64_t integer;
    uint32_t key_len, text_len;
    uint32_t end;
    enum json_tape_type type;
};

struct json_tape;
struct json_tape *json_tape_open(void); /* NULL where memory is out */
void json_tape_close(struct json_tape *t);
/* text has JSON_TAPE_PADDING bytes behind its len.  NULL = done, else what is wrong with it
 * (static). *memory: it is that memory is out. */
const char *json_tape_parse(struct json_tape *t, const char *text, size_t len,
                            const struct json_tape_node **nodes, bool *memory);

#ifdef __cplusplus
}
#endif

#endif
