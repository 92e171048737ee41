#include "learner/popularity_state.h"

#include <string.h>

bool popularity_save(const struct popularity *p, struct snapshot *s)
{
    uint64_t n = p->n_rows, at = 0;
    if (s->delta && op_log_known(&p->log)) {
        uint8_t *log = snapshot_train(s, POPULARITY_LOG, SNAPSHOT_U8, p->log.bytes, 0);
        if (log != NULL && p->log.bytes > 0) {
            memcpy(log, p->log.op, p->log.bytes);
        }
        return log != NULL;
    }
    double *counts = snapshot_train(s, "popularity.counts", SNAPSHOT_F64, 2, 0);
    if (counts == NULL) {
        return false;
    }
    counts[0] = p->shows;
    counts[1] = p->clicks;
    if (n == 0) {
        return true;
    }
    uint64_t *key = snapshot_train(s, "popularity.key", SNAPSHOT_U64, n, 0);
    float *shows = snapshot_train(s, "popularity.shows", SNAPSHOT_F32, n, 0);
    float *clicks = snapshot_train(s, "popularity.clicks", SNAPSHOT_F32, n, 0);
    bool ok = key != NULL && shows != NULL && clicks != NULL;
    for (uint64_t i = 0; ok && i < p->capacity; i++) {
        if (p->row[i].key != 0) {
            key[at] = p->row[i].key;
            shows[at] = p->row[i].shows;
            clicks[at++] = p->row[i].clicks;
        }
    }
    return ok;
}

/* Three arrays of one length, which may be missing together. */
struct columns {
    const uint64_t *key;
    const float *a, *b;
    uint64_t n;
};

static int find_columns(struct columns *out, const struct snapshot *s, const char *key,
                        const char *a, const char *b, struct undine_err *err)
{
    const struct snapshot_array *k = snapshot_find(s->train, s->n_train, key);
    const struct snapshot_array *x = snapshot_find(s->train, s->n_train, a);
    const struct snapshot_array *y = snapshot_find(s->train, s->n_train, b);
    *out = (struct columns){0};
    if (k == NULL && x == NULL && y == NULL) {
        return UNDINE_OK;
    }
    if (k == NULL || x == NULL || y == NULL || x->rows != k->rows || y->rows != k->rows ||
        k->type != SNAPSHOT_U64 || x->type != SNAPSHOT_F32 || y->type != SNAPSHOT_F32) {
        return undine_err_set(err, UNDINE_ECORRUPT, "arrays `%s`, `%s` and `%s` do not match", key,
                              a, b);
    }
    *out = (struct columns){.key = k->data, .a = x->data, .b = y->data, .n = k->rows};
    return UNDINE_OK;
}

int popularity_load(struct popularity *p, const struct snapshot *s, struct undine_err *err)
{
    double counts[2];
    struct columns c;
    const struct snapshot_array *a = snapshot_find(s->train, s->n_train, "popularity.counts");
    if (a == NULL || a->type != SNAPSHOT_F64 || snapshot_array_bytes(a) != sizeof counts) {
        return undine_err_set(err, UNDINE_ESTATE,
                              "the version has no array `popularity.counts` of 2 numbers");
    }
    memcpy(counts, a->data, sizeof counts);
    int rc = find_columns(&c, s, "popularity.key", "popularity.shows", "popularity.clicks", err);
    for (uint64_t i = 0; rc == UNDINE_OK && i < c.n; i++) {
        struct popularity_row row = {.key = c.key[i], .shows = c.a[i], .clicks = c.b[i]};
        rc = popularity_restore(p, &row, 1, counts[0], counts[1], err);
    }
    if (rc == UNDINE_OK) {
        rc = popularity_restore(p, NULL, 0, counts[0], counts[1], err);
    }
    return rc;
}
