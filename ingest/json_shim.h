/* json_shim.h: one JSON object, flattened into an array of nodes by simdjson On-Demand.
 *
 * The decoder is C and simdjson is C++: one call per message crosses over.  It checks the whole
 * message (UTF-8, grammar, escapes, numbers, nothing behind the object), and gives back the members
 * that the caller named, two levels deep; all others are checked and skipped.  No exceptions leave.
 * One shim belongs to one thread. */
#ifndef UNDINE_INGEST_JSON_SHIM_H
#define UNDINE_INGEST_JSON_SHIM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { JSON_DEPTH_MAX = 128 }; /* containers within each other, the outermost object included */

/* A member that the caller wants. */
struct json_name {
    const char *text;
    uint32_t len;
    int32_t value;   /* given back in struct json_node.name */
    int32_t members; /* index of the list that its value's members are looked up in, -1 = none */
};
struct json_list {
    const struct json_name *names;
    uint32_t n;
};

enum json_type {
    JSON_NULL,
    JSON_BOOL,
    JSON_INT,    /* text = its canonical decimal text; fits int64_t or uint64_t */
    JSON_BIG,    /* an integer beyond 64 bits */
    JSON_REAL,   /* a number with a fraction or an exponent */
    JSON_STRING, /* text = its bytes, escapes decoded */
    JSON_ARRAY,
    JSON_OBJECT
};

/* Members and elements follow their container: the children of node i are at i + 1, and the next
 * sibling of a node is at its `end`.  A container deeper than those has no children here. */
struct json_node {
    const char *text; /* no NUL; valid until the next parse */
    uint32_t len;
    uint32_t end;
    int32_t name; /* json_name.value; -1 for elements */
    enum json_type type;
};

enum json_status { JSON_OK, JSON_SYNTAX, JSON_UTF8, JSON_MEMORY };

struct json_shim;
/* lists[0] names the members of the message.  Borrows lists; messages have at most bytes_max bytes.
 * NULL where memory is out. */
struct json_shim *json_shim_open(const struct json_list *lists, size_t bytes_max);
void json_shim_close(struct json_shim *s);
/* Flatten one object of 1..bytes_max bytes.  The nodes are the shim's, until the next parse. */
enum json_status json_shim_parse(struct json_shim *s, const uint8_t *data, size_t len,
                                 const struct json_node **nodes, uint32_t *n_nodes);

#ifdef __cplusplus
}
#endif

#endif
