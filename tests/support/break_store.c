/* break_store STATE WHAT: damage a store in a way that no checksum of its files notices, for tests
 * that are scripts.
 *   events | examples        a counter is off by one; by two sums that still close together
 *   arrivals | example       the newest value of the family is gone
 *   sequence                 a user's value stands under another key
 *   unknown                  a value of meta that nobody knows
 *   future:NAME              the value of meta NAME, or the first one of family NAME, is of a
 * format one newer than now */
#include "featurestore/store.h"
#include "ingest/meta.h"

#include <stdio.h>
#include <stdlib.h>

static void must(int rc, const struct undine_err *err)
{
    if (rc < 0) {
        (void)fprintf(stderr, "break_store: %s\n", err->msg);
        exit(1);
    }
}

static void must_have(bool ok, const char *what)
{
    if (!ok) {
        (void)fprintf(stderr, "break_store: the store has no %s\n", what);
        exit(1);
    }
}

/* First and last entry of a family. */
struct ends {
    uint64_t n, first_key, last_key;
    struct writer first_value;
};

static int note(void *payload, uint64_t key, const uint8_t *value, size_t len,
                struct undine_err *err)
{
    struct ends *e = payload;
    (void)err;
    if (e->n++ == 0) {
        e->first_key = key;
        writer_bytes(&e->first_value, value, len);
    }
    e->last_key = key;
    return UNDINE_OK;
}

static void put(struct store *s, enum store_family f, uint64_t key, const struct writer *value)
{
    uint8_t bytes[8];
    bytes_put_be64(bytes, key);
    store_put(s, f, bytes, sizeof bytes, value->data, value->len);
}

static void break_counters(struct store *s, bool closing)
{
    struct undine_err err = {.msg = "?"};
    struct meta_ingest m;
    struct writer value;
    writer_init(&value);
    must_have(store_get(s, STORE_META, META_INGEST, strlen(META_INGEST), &value, &err) > 0,
              "counters");
    must(meta_ingest_decode(&m, value.data, value.len, &err), &err);
    m.counters.events++;
    if (closing) {
        m.counters.applied++;
        m.counters.impressions++;
        m.counters.negatives++;
    }
    writer_clear(&value);
    meta_ingest_encode(&value, &m);
    store_put(s, STORE_META, META_INGEST, strlen(META_INGEST), value.data, value.len);
    writer_release(&value);
}

static enum store_family family_of(const char *name)
{
    enum store_family f = STORE_SEQUENCE;
    while (f < STORE_META && strcmp(store_family_name(f), name) != 0) {
        f++;
    }
    return f;
}

static int newer(void *payload, const char *name, const uint8_t *value, size_t len,
                 struct undine_err *err)
{
    (void)err;
    struct writer copy;
    writer_init(&copy);
    writer_bytes(&copy, value, len);
    copy.data[0]++;
    store_put(payload, STORE_META, name, strlen(name), copy.data, copy.len);
    writer_release(&copy);
    return 1;
}

static void break_format(struct store *s, const char *name, struct ends *e)
{
    struct undine_err err = {.msg = "?"};
    enum store_family f = family_of(name);
    if (f == STORE_META) {
        must_have(store_scan_meta(s, name, newer, s, &err) == 1, name);
        return;
    }
    must(store_scan(s, f, 0, note, e, &err), &err);
    must_have(e->n > 0, name);
    e->first_value.data[0]++;
    put(s, f, e->first_key, &e->first_value);
}

static void break_family(struct store *s, enum store_family f, struct ends *e)
{
    struct undine_err err = {.msg = "?"};
    must(store_scan(s, f, 0, note, e, &err), &err);
    must_have(e->n > 0, store_family_name(f));
    if (f == STORE_SEQUENCE) {
        put(s, f, e->first_key + 1, &e->first_value);
    } else {
        store_delete_range(s, f, e->last_key, e->last_key + 1);
    }
}

int main(int argc, char **argv)
{
    struct undine_err err = {.msg = "?"};
    char dir[4096];
    struct store *s = NULL;
    struct ends e = {0};
    if (argc != 3) {
        (void)fprintf(stderr, "usage: break_store STATE WHAT\n");
        return 2;
    }
    const char *what = argv[2];
    (void)snprintf(dir, sizeof dir, "%s/store", argv[1]);
    struct store_options opt = {.dir = dir, .cache_bytes = 8 << 20, .write_buffer_bytes = 8 << 20};
    must(store_open(&s, &opt, &err), &err);
    writer_init(&e.first_value);
    if (strncmp(what, "future:", 7) == 0) {
        break_format(s, what + 7, &e);
    } else if (strcmp(what, "unknown") == 0) {
        store_put(s, STORE_META, "unknown", 7, "\1", 1);
    } else if (family_of(what) != STORE_META) {
        /* `example` is a family, `examples` a counter */
        break_family(s, family_of(what), &e);
    } else {
        must_have(strcmp(what, "events") == 0 || strcmp(what, "examples") == 0, what);
        break_counters(s, strcmp(what, "examples") == 0);
    }
    must(store_write(s, &err), &err);
    writer_release(&e.first_value);
    store_close(s);
    return 0;
}
