/* store_fixture.h: what the tests of the feature store share: a temporary directory, a small schema
 * and random events of it.  A failed step ends the test program. */
#ifndef UNDINE_TESTS_STORE_FIXTURE_H
#define UNDINE_TESTS_STORE_FIXTURE_H

#include "base/random.h"
#include "base/schema.h"
#include "featurestore/event.h"
#include "featurestore/store.h"

enum { FIXTURE_PATH_MAX = 256, FIXTURE_SEED = 20240607 };

/* A new directory under $TMPDIR or /tmp; fixture_remove deletes it and all in it. */
void fixture_directory(char out[FIXTURE_PATH_MAX]);
void fixture_remove(const char *path);

/* Fields user, item, tags (up to 5), hour; behaviours cart, like; sequences
 * clicks (length steps of item + tags, from clicks) and intents (3 steps of item, from both
 * behaviours). */
void fixture_schema(struct schema *out, uint32_t length);
enum { FIXTURE_USER, FIXTURE_ITEM, FIXTURE_TAGS, FIXTURE_HOUR, FIXTURE_FIELDS };
enum { FIXTURE_CART, FIXTURE_LIKE };
enum { FIXTURE_CLICKS, FIXTURE_INTENTS };

/* An event of this kind and user whose item and tags come from r; `out` has EVENT_WORDS_MAX words.
 */
struct event *fixture_event(uint64_t *out, const struct schema *schema, struct random *r,
                            enum event_kind kind, int64_t time_ms, const char *user);

/* A store with small buffers, so that tests reach its files. */
struct store *fixture_store(const char *dir);

#endif
