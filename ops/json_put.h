/* json_put.h: a JSON document, member by member, that is whole or not printed.
 *
 * Jansson leaves out what it has no memory for.  These note that for the thread, so that whoever
 * builds a document of a hundred members asks once, at its end. */
#ifndef UNDINE_OPS_JSON_PUT_H
#define UNDINE_OPS_JSON_PUT_H

#include <jansson.h>
#include <stdbool.h>

/* Take value over; NULL is a value that had no memory. */
void json_put(json_t *object, const char *name, json_t *value);
void json_put_last(json_t *list, json_t *value);
/* Did the thread leave anything out since it last asked?  Ask before the first member too where
 * somebody may have given up halfway. */
bool json_put_lost(void);

#endif
