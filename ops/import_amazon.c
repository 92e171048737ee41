#include "ops/import.h"

#include "base/random.h"
#include "ops/csv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SEED = 42 };

/* Ids are numbers in the file. */
struct review {
    int64_t user, item, category, time_s;
    uint32_t number; /* row of the file */
    uint32_t before; /* row of the user's review before this one; its own: there is none */
    uint32_t nth;    /* reviews of the user up to this one */
};

struct item {
    int64_t id, category;
};

struct amazon {
    const struct import_amazon *opt;
    struct event_writer *w;
    struct review *reviews;
    size_t n_reviews, capacity;
    uint32_t *stream; /* reviews but each user's first, by (time, row) */
    size_t n_stream;
    struct item *items; /* by id */
    size_t n_items;
};

static int out_of_memory(struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ENOMEM, "out of memory");
}

/* ---- reading ---- */

static int add_review(struct amazon *a, const struct csv_row *row, const int *at,
                      struct undine_err *err)
{
    static const char *const names[] = {"user", "item", "cate", "timestamp"};
    int64_t v[4];
    for (int i = 0; i < 4; i++) {
        if (!import_integer(row->field[at[i]], &v[i])) {
            return undine_err_set(err, UNDINE_ECORRUPT,
                                  "%s:%llu: `%s` is `%.80s`, expected an integer", a->opt->input,
                                  (unsigned long long)row->line, names[i], row->field[at[i]]);
        }
    }
    if (a->n_reviews == a->capacity) {
        size_t capacity = a->capacity > 0 ? 2 * a->capacity : 4096;
        struct review *reviews = reallocarray(a->reviews, capacity, sizeof *reviews);
        if (reviews == NULL || capacity > UINT32_MAX) {
            return out_of_memory(err);
        }
        a->reviews = reviews;
        a->capacity = capacity;
    }
    uint32_t n = (uint32_t)a->n_reviews++;
    a->reviews[n] = (struct review){v[0], v[1], v[2], v[3], n, n, 1};
    return UNDINE_OK;
}

static int read_reviews(struct amazon *a, struct undine_err *err)
{
    struct csv *c = NULL;
    struct csv_row row;
    int at[4] = {0};
    int rc = csv_open(&c, a->opt->input, &(struct csv_options){'\t', true, false}, err);
    rc = rc == UNDINE_OK ? csv_column_needed(c, "user", &at[0], err) : rc;
    rc = rc == UNDINE_OK ? csv_column_needed(c, "item", &at[1], err) : rc;
    rc = rc == UNDINE_OK ? csv_column_needed(c, "cate", &at[2], err) : rc;
    rc = rc == UNDINE_OK ? csv_column_needed(c, "timestamp", &at[3], err) : rc;
    while (rc == UNDINE_OK && (rc = csv_next(c, &row, err)) == 1) {
        rc = add_review(a, &row, at, err);
    }
    csv_close(c);
    return rc;
}

/* ---- users, items, stream ---- */

static int by_user(const void *x, const void *y, void *payload)
{
    const struct review *reviews = payload;
    const struct review *a = &reviews[*(const uint32_t *)x], *b = &reviews[*(const uint32_t *)y];
    return a->user != b->user ? (a->user > b->user) - (a->user < b->user)
                              : (a->number > b->number) - (a->number < b->number);
}

/* Chain the reviews of each user, in the order of the file. */
static int chain_users(struct amazon *a, struct undine_err *err)
{
    uint32_t *order = calloc(a->n_reviews + 1, sizeof *order);
    if (order == NULL) {
        return out_of_memory(err);
    }
    for (uint32_t i = 0; i < a->n_reviews; i++) {
        order[i] = i;
    }
    qsort_r(order, a->n_reviews, sizeof *order, by_user, a->reviews);
    for (size_t i = 1; i < a->n_reviews; i++) {
        struct review *r = &a->reviews[order[i]], *before = &a->reviews[order[i - 1]];
        if (r->user == before->user) {
            r->before = before->number;
            r->nth = before->nth + 1;
        }
    }
    free(order);
    return UNDINE_OK;
}

static int by_id(const void *x, const void *y)
{
    const struct item *a = x, *b = y;
    return (a->id > b->id) - (a->id < b->id);
}

static int list_items(struct amazon *a, struct undine_err *err)
{
    a->items = calloc(a->n_reviews + 1, sizeof *a->items);
    if (a->items == NULL) {
        return out_of_memory(err);
    }
    for (size_t i = 0; i < a->n_reviews; i++) {
        a->items[i] = (struct item){a->reviews[i].item, a->reviews[i].category};
    }
    qsort(a->items, a->n_reviews, sizeof *a->items, by_id);
    for (size_t i = 0; i < a->n_reviews; i++) {
        if (a->n_items == 0 || a->items[a->n_items - 1].id != a->items[i].id) {
            a->items[a->n_items++] = a->items[i];
        } else if (a->items[a->n_items - 1].category != a->items[i].category) {
            return undine_err_set(err, UNDINE_ECORRUPT, "%s: item %" PRId64 " has two categories",
                                  a->opt->input, a->items[i].id);
        }
    }
    return UNDINE_OK;
}

static int by_time(const void *x, const void *y, void *payload)
{
    const struct review *reviews = payload;
    const struct review *a = &reviews[*(const uint32_t *)x], *b = &reviews[*(const uint32_t *)y];
    return a->time_s != b->time_s ? (a->time_s > b->time_s) - (a->time_s < b->time_s)
                                  : (a->number > b->number) - (a->number < b->number);
}

static int order_stream(struct amazon *a, struct undine_err *err)
{
    a->stream = calloc(a->n_reviews + 1, sizeof *a->stream);
    if (a->stream == NULL) {
        return out_of_memory(err);
    }
    for (size_t i = 0; i < a->n_reviews; i++) {
        if (a->reviews[i].nth > 1) {
            a->stream[a->n_stream++] = a->reviews[i].number;
        }
    }
    qsort_r(a->stream, a->n_stream, sizeof *a->stream, by_time, a->reviews);
    return UNDINE_OK;
}

/* ---- events ---- */

static void put_item(struct event_writer *w, const char *group, int64_t item, int64_t category)
{
    char text[24];
    event_group(w, group);
    (void)snprintf(text, sizeof text, "%" PRId64, item);
    event_text(w, "item", text);
    (void)snprintf(text, sizeof text, "%" PRId64, category);
    event_text(w, "category", text);
    event_group_end(w);
}

/* A user's first review: behaviour, because nothing before it could predict it. */
static int add_first(struct amazon *a, const struct review *r, struct undine_err *err)
{
    char user[24];
    (void)snprintf(user, sizeof user, "%" PRId64, r->user);
    event_begin(a->w, EVENT_BEHAVIOR, r->time_s * 1000, user);
    event_text(a->w, "type", "review");
    put_item(a->w, "item", r->item, r->category);
    return event_end(a->w, err);
}

static int add_impression(struct amazon *a, const struct review *r, const struct item *item,
                          bool clicked, struct undine_err *err)
{
    char user[24], id[24];
    (void)snprintf(user, sizeof user, "%" PRId64, r->user);
    (void)snprintf(id, sizeof id, "%c%u", clicked ? 'p' : 'n', r->number);
    event_begin(a->w, EVENT_IMPRESSION, r->time_s * 1000, user);
    event_text(a->w, "id", id);
    put_item(a->w, "candidate", item->id, item->category);
    int rc = event_end(a->w, err);
    if (rc == UNDINE_OK && clicked) {
        event_begin(a->w, EVENT_CLICK, r->time_s * 1000 + a->opt->click_delay_ms, user);
        event_text(a->w, "impression", id);
        rc = event_end(a->w, err);
    }
    return rc;
}

/* Has the user this item among the reviews up to and including r, in the order of the file? */
static bool had(const struct amazon *a, const struct review *r, int64_t item)
{
    while (r->item != item) {
        if (r->before == r->number) {
            return false;
        }
        r = &a->reviews[r->before];
    }
    return true;
}

static int add_pair(struct amazon *a, const struct review *r, struct random *random,
                    struct undine_err *err)
{
    const struct item positive = {r->item, r->category}, *negative;
    do {
        negative = &a->items[random_below(random, a->n_items)];
    } while (had(a, r, negative->id));
    bool negative_first = random_u64(random) >> 63 != 0;
    int rc = UNDINE_OK;
    for (int i = 0; rc == UNDINE_OK && i < 2; i++) {
        bool clicked = (i == 0) != negative_first;
        rc = add_impression(a, r, clicked ? &positive : negative, clicked, err);
    }
    return rc;
}

/* A negative must exist: no user may have reviewed every item. */
static int check_users(const struct amazon *a, struct undine_err *err)
{
    for (size_t i = 0; i < a->n_reviews; i++) {
        if (a->reviews[i].nth >= a->n_items) {
            return undine_err_set(err, UNDINE_ECORRUPT,
                                  "%s: user %" PRId64 " may have reviewed all of %zu items, no "
                                  "negative is left",
                                  a->opt->input, a->reviews[i].user, a->n_items);
        }
    }
    return UNDINE_OK;
}

static int add_events(struct amazon *a, struct undine_err *err)
{
    struct random random = {SEED};
    int rc = check_users(a, err);
    for (size_t i = 0; rc == UNDINE_OK && i < a->n_reviews; i++) {
        if (a->reviews[i].nth == 1) {
            rc = add_first(a, &a->reviews[i], err);
        }
    }
    for (size_t i = 0; rc == UNDINE_OK && i < a->n_stream; i++) {
        rc = add_pair(a, &a->reviews[a->stream[i]], &random, err);
    }
    return rc;
}

int import_amazon(const struct import_amazon *opt, struct event_writer *w, struct undine_err *err)
{
    struct amazon a = {.opt = opt, .w = w};
    int rc = read_reviews(&a, err);
    rc = rc == UNDINE_OK ? chain_users(&a, err) : rc;
    rc = rc == UNDINE_OK ? list_items(&a, err) : rc;
    rc = rc == UNDINE_OK ? order_stream(&a, err) : rc;
    rc = rc == UNDINE_OK ? add_events(&a, err) : rc;
    free(a.reviews);
    free(a.items);
    free(a.stream);
    return rc;
}
