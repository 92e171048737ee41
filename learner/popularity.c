#include "learner/popularity.h"

#include "base/hash.h"

#include <stdlib.h>

enum { CAPACITY_MIN = 1024 };

/* Shows of prior that a rate begins with: an id shown twice should not lead the ranking. */
static const double STRENGTH = 20.0;

int popularity_open(struct popularity *p, uint64_t rows_max, struct undine_err *err)
{
    *p = (struct popularity){.capacity = CAPACITY_MIN, .rows_max = rows_max};
    p->row = calloc(p->capacity, sizeof *p->row);
    if (p->row == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for the popularity baseline");
    }
    return UNDINE_OK;
}

void popularity_release(struct popularity *p)
{
    if (p != NULL) {
        free(p->row);
        op_log_release(&p->log);
        *p = (struct popularity){0};
    }
}

/* The row of key, or the free one where it would go. */
static struct popularity_row *slot_of(struct popularity_row *row, uint64_t capacity, uint64_t key)
{
    uint64_t i = hash_mix64(key) & (capacity - 1);
    while (row[i].key != 0 && row[i].key != key) {
        i = (i + 1) & (capacity - 1);
    }
    return &row[i];
}

/* A click takes shows back that were learned with it as a negative.  A learner that came later than
 * the negative has none of them. */
static double shows_of(double shows, double clicks)
{
    return shows > clicks ? shows : clicks;
}

static double prior_of(const struct popularity *p)
{
    /* One click in two shows to begin with keeps the prior inside (0, 1). */
    return (p->clicks + 1.0) / (shows_of(p->shows, p->clicks) + 2.0);
}

double popularity_predict(const struct popularity *p, uint64_t key)
{
    double prior = prior_of(p);
    if (key == 0) {
        return prior;
    }
    const struct popularity_row *r = slot_of(p->row, p->capacity, key);
    double shows = shows_of((double)r->shows, (double)r->clicks);
    return ((double)r->clicks + STRENGTH * prior) / (shows + STRENGTH);
}

static int grow(struct popularity *p, struct undine_err *err)
{
    uint64_t capacity = p->capacity * 2;
    struct popularity_row *row = calloc(capacity, sizeof *row);
    if (row == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM,
                              "no memory for %llu rows of the popularity baseline",
                              (unsigned long long)capacity);
    }
    for (uint64_t i = 0; i < p->capacity; i++) {
        if (p->row[i].key != 0) {
            *slot_of(row, capacity, p->row[i].key) = p->row[i];
        }
    }
    free(p->row);
    p->row = row;
    p->capacity = capacity;
    return UNDINE_OK;
}

int popularity_learn(struct popularity *p, uint64_t key, double shows, double clicks,
                     struct undine_err *err)
{
    const struct popularity_op op = {.key = key, .shows = shows, .clicks = clicks};
    op_log_note(&p->log, &op, sizeof op);
    p->shows += shows;
    p->clicks += clicks;
    if (key == 0) {
        return UNDINE_OK;
    }
    struct popularity_row *r = slot_of(p->row, p->capacity, key);
    if (r->key == 0) {
        if (p->n_rows == p->rows_max) {
            p->rows_refused++; /* DROP(popularity_row) */
            return UNDINE_OK;
        }
        if ((p->n_rows + 1) * 4 > p->capacity * 3) {
            int rc = grow(p, err);
            if (rc != UNDINE_OK) {
                return rc;
            }
            r = slot_of(p->row, p->capacity, key);
        }
        r->key = key;
        p->n_rows++;
    }
    r->shows += (float)shows;
    r->clicks += (float)clicks;
    return UNDINE_OK;
}

int popularity_restore(struct popularity *p, const struct popularity_row *rows, uint64_t n,
                       double shows, double clicks, struct undine_err *err)
{
    for (uint64_t i = 0; i < n; i++) {
        int rc = popularity_learn(p, rows[i].key, 0.0, 0.0, err);
        if (rc != UNDINE_OK) {
            return rc;
        }
        struct popularity_row *r = slot_of(p->row, p->capacity, rows[i].key);
        r->shows = rows[i].shows;
        r->clicks = rows[i].clicks;
    }
    p->shows = shows;
    p->clicks = clicks;
    return UNDINE_OK;
}
