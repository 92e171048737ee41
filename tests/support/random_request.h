/* random_request.h: seeded requests for the schema of event_schema.h: known and unknown ids,
 * missing and empty fields, values twice and too many, empty steps, more steps than count. */
#ifndef UNDINE_TESTS_SUPPORT_RANDOM_REQUEST_H
#define UNDINE_TESTS_SUPPORT_RANDOM_REQUEST_H

#include "base/arena.h"
#include "base/random.h"
#include "scorer/undine.h"

/* ids: values are "0" to "ids - 1".  Everything lives in the arena. */
struct undine_request random_request(struct arena *a, struct random *r, size_t n_candidates,
                                     uint32_t ids);

#endif
