#include "tests/support/store_fixture.h"

#include "base/hash.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(bool ok, const char *what)
{
    if (!ok) {
        (void)fprintf(stderr, "fixture: %s\n", what);
        abort();
    }
}

void fixture_directory(char out[FIXTURE_PATH_MAX])
{
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(out, FIXTURE_PATH_MAX, "%s/undine-test-XXXXXX", tmp != NULL ? tmp : "/tmp");
    must(mkdtemp(out) != NULL, "mkdtemp failed");
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

void fixture_remove(const char *path)
{
    must(nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) == 0, "cannot remove the directory");
}

void fixture_schema(struct schema *out, uint32_t length)
{
    *out = (struct schema){
        .n_tables = 4,
        .n_fields = FIXTURE_FIELDS,
        .n_behaviors = 2,
        .n_sequences = 2,
        .tables = {{.name = "user", .dim = 4},
                   {.name = "item", .dim = 4},
                   {.name = "tag", .dim = 4},
                   {.name = "hour", .dim = 2}},
        .fields = {{.name = "user", .group = SCHEMA_USER, .values_max = 1, .user_id = true},
                   {.name = "item", .group = SCHEMA_CANDIDATE, .table = 1, .values_max = 1},
                   {.name = "tags", .group = SCHEMA_CANDIDATE, .table = 2, .values_max = 5},
                   {.name = "hour", .group = SCHEMA_CONTEXT, .table = 3, .values_max = 1}},
        .behaviors = {"cart", "like"},
        .sequences = {{.name = "clicks",
                       .length = length,
                       .n_fields = 2,
                       .field = {FIXTURE_ITEM, FIXTURE_TAGS},
                       .from_click = true},
                      {.name = "intents",
                       .length = 3,
                       .n_fields = 1,
                       .field = {FIXTURE_ITEM},
                       .from_behavior = 3}},
    };
    struct undine_err err;
    must(schema_check(out, &err) == UNDINE_OK, "the schema is not valid");
}

struct store *fixture_store(const char *dir)
{
    struct store_options opt = {
        .dir = dir, .cache_bytes = (uint64_t)1 << 20, .write_buffer_bytes = (uint64_t)1 << 20};
    struct store *store = NULL;
    struct undine_err err = {.msg = "?"};
    must(store_open(&store, &opt, &err) == UNDINE_OK, err.msg);
    return store;
}

struct event *fixture_event(uint64_t *out, const struct schema *schema, struct random *r,
                            enum event_kind kind, int64_t time_ms, const char *user)
{
    uint8_t counts[FIXTURE_FIELDS] = {0};
    uint64_t ids[8];
    uint32_t n = 0;
    size_t user_len = strlen(user);
    bool has_item = kind == EVENT_IMPRESSION || kind == EVENT_BEHAVIOR;
    struct event head = {.time_ms = time_ms,
                         .kind = (uint8_t)kind,
                         .id = random_u64(r),
                         .tie = random_u64(r),
                         .user = user_len > 0 ? hash_bytes(user, user_len) : 0};
    if (kind == EVENT_IMPRESSION) {
        counts[FIXTURE_USER] = 1;
        ids[n++] = hash_feature(schema->tables[0].hash_seed, user, user_len);
    }
    if (has_item) {
        counts[FIXTURE_ITEM] = 1;
        ids[n++] = head.item = 1 + random_below(r, 1000);
        counts[FIXTURE_TAGS] = (uint8_t)random_below(r, 6);
        for (uint32_t i = 0; i < counts[FIXTURE_TAGS]; i++) {
            ids[n++] = 1 + random_below(r, 50);
        }
    }
    if (kind == EVENT_IMPRESSION) {
        counts[FIXTURE_HOUR] = 1;
        ids[n++] = 1 + random_below(r, 24);
    }
    if (kind == EVENT_BEHAVIOR) {
        head.behavior = (uint8_t)random_below(r, schema->n_behaviors);
    }
    (void)event_build(out, &head, schema, has_item ? counts : NULL, ids, user, user_len);
    return (struct event *)out;
}
