#include "tests/support/stream_maker.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STREAM_START_MS INT64_C(1600000000000)

static void add(struct stream *s, int64_t time_ms, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static struct stream_message *add_slot(struct stream *s)
{
    if (s->n == s->capacity) {
        s->capacity = s->capacity == 0 ? 256 : s->capacity * 2;
        s->messages = realloc(s->messages, s->capacity * sizeof *s->messages);
        if (s->messages == NULL) {
            abort();
        }
    }
    return &s->messages[s->n++];
}

static void add(struct stream *s, int64_t time_ms, const char *fmt, ...)
{
    struct stream_message *m = add_slot(s);
    *m = (struct stream_message){.time_ms = time_ms, .written_ms = time_ms};
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(m->text, sizeof m->text, fmt, ap);
    va_end(ap);
    if (n < 0 || n >= STREAM_TEXT_MAX) {
        abort();
    }
}

static void add_copy(struct stream *s, size_t from)
{
    struct stream_message copy = s->messages[from];
    *add_slot(s) = copy;
}

static bool chance(struct random *r, uint64_t percent)
{
    return random_below(r, 100) < percent;
}

static int64_t below(struct random *r, int64_t n)
{
    return n <= 0 ? 0 : (int64_t)random_below(r, (uint64_t)n);
}

/* How long after its impression a click comes: the edges of window and memory, and between. */
static int64_t click_delay(struct random *r, const struct stream_options *opt)
{
    const int64_t edges[] = {0, opt->window_ms, opt->window_ms + opt->memory_ms};
    if (chance(r, 40)) {
        return edges[random_below(r, 3)] + below(r, 3) - 1;
    }
    return chance(r, 70) ? below(r, opt->window_ms) : below(r, 2 * opt->window_ms + opt->memory_ms);
}

static void add_impression(struct stream *s, struct random *r, int64_t time_ms, uint32_t id,
                           uint32_t user, uint32_t item)
{
    add(s, time_ms,
        "{\"kind\":\"impression\",\"id\":\"i%u\",\"user\":\"u%u\",\"time\":%lld,"
        "\"candidate\":{\"item\":%u,\"tags\":[%u,%u]},\"context\":{\"hour\":%u}}",
        id, user, (long long)time_ms, item, item % 5, 10 + item % 3, (unsigned)random_below(r, 24));
}

static void add_click(struct stream *s, struct random *r, const struct stream_options *opt,
                      int64_t time_ms, uint32_t id, uint32_t user, uint32_t item)
{
    if (opt->user_item) {
        add(s, time_ms, "{\"kind\":\"click\",\"user\":\"u%u\",\"item\":%u,\"time\":%lld}", user,
            item, (long long)time_ms);
    } else if (chance(r, 50)) {
        add(s, time_ms, "{\"kind\":\"click\",\"impression\":\"i%u\",\"time\":%lld}", id,
            (long long)time_ms);
    } else {
        add(s, time_ms,
            "{\"kind\":\"click\",\"impression\":\"i%u\",\"user\":\"u%u\",\"time\":%lld}", id, user,
            (long long)time_ms);
    }
}

static void add_behavior(struct stream *s, struct random *r, const struct stream_options *opt,
                         int64_t time_ms)
{
    static const char *const types[] = {"cart", "like", "stare"}; /* the last is not declared */
    uint32_t item = (uint32_t)random_below(r, opt->items);
    add(s, time_ms,
        "{\"kind\":\"behavior\",\"type\":\"%s\",\"user\":\"u%u\",\"time\":%lld,"
        "\"item\":{\"item\":%u,\"tags\":[%u]}}",
        types[random_below(r, opt->trouble ? 3 : 2)], (unsigned)random_below(r, opt->users),
        (long long)time_ms, item, item % 5);
}

/* A clock that is fast: just within what is taken, or beyond it. */
static void add_ahead(struct stream *s, struct random *r, const struct stream_options *opt,
                      int64_t time_ms)
{
    if (opt->max_future_ms <= 0) {
        add_behavior(s, r, opt, time_ms);
        return;
    }
    bool future = chance(r, 60);
    int64_t ahead_ms = opt->max_future_ms + (future ? 1 + below(r, opt->range_ms) : 0);
    if (chance(r, 50)) {
        add_behavior(s, r, opt, time_ms + ahead_ms);
    } else {
        add_click(s, r, opt, time_ms + ahead_ms, (uint32_t)random_below(r, opt->impressions),
                  (uint32_t)random_below(r, opt->users), (uint32_t)random_below(r, opt->items));
    }
    s->messages[s->n - 1].written_ms = time_ms;
    s->messages[s->n - 1].future = future;
}

static void add_trouble(struct stream *s, struct random *r, const struct stream_options *opt,
                        int64_t time_ms)
{
    uint64_t what = random_below(r, 12);
    if (what < 4) {
        add_copy(s, (size_t)random_below(r, s->n));
    } else if (what < 6) { /* an impression's id again, at another time */
        add_impression(s, r, time_ms, (uint32_t)random_below(r, opt->impressions),
                       (uint32_t)random_below(r, opt->users),
                       (uint32_t)random_below(r, opt->items));
    } else if (what < 7) {
        add_click(s, r, opt, time_ms, (uint32_t)(opt->impressions + random_below(r, 3)),
                  (uint32_t)random_below(r, opt->users), (uint32_t)random_below(r, opt->items));
    } else if (what < 8) {
        add(s, time_ms, "{\"kind\":\"forget\",\"user\":\"u%u\",\"time\":%lld}",
            (unsigned)random_below(r, opt->users), (long long)time_ms);
    } else if (what < 10) {
        add_ahead(s, r, opt, time_ms);
    } else {
        add(s, time_ms, "{\"kind\":\"click\",\"time\":%lld", (long long)time_ms);
    }
}

void stream_make(struct stream *out, struct random *r, const struct stream_options *opt)
{
    *out = (struct stream){0};
    for (uint32_t id = 0; id < opt->impressions; id++) {
        int64_t time_ms = STREAM_START_MS + below(r, opt->range_ms);
        uint32_t user = (uint32_t)random_below(r, opt->users);
        uint32_t item = (uint32_t)random_below(r, opt->items);
        add_impression(out, r, time_ms, id, user, item);
        for (int clicks = 0; clicks < 3 && chance(r, clicks == 0 ? 45 : 20); clicks++) {
            int64_t delay_ms = chance(r, 4) ? -1 - below(r, 20) : click_delay(r, opt);
            add_click(out, r, opt, time_ms + delay_ms, id, user, item);
        }
        if (chance(r, 30)) {
            add_behavior(out, r, opt, STREAM_START_MS + below(r, opt->range_ms));
        }
        if (opt->trouble && chance(r, 20)) {
            add_trouble(out, r, opt, STREAM_START_MS + below(r, opt->range_ms));
        }
    }
}

void stream_release(struct stream *s)
{
    free(s->messages);
    *s = (struct stream){0};
}

struct place {
    int64_t key;
    size_t message;
};

static int compare_places(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    return x->key != y->key ? (x->key < y->key ? -1 : 1) : (x->message < y->message ? -1 : 1);
}

void stream_arrive(size_t *out, const struct stream *s, struct random *r, int64_t disorder_ms,
                   const int64_t *ahead_ms)
{
    struct place *places = calloc(s->n + 1, sizeof *places);
    if (places == NULL) {
        abort();
    }
    for (size_t k = 0; k < s->n; k++) {
        const struct stream_message *m = &s->messages[k];
        int64_t time_ms = m->future ? m->written_ms : m->time_ms; /* nobody takes a future one */
        places[k] = (struct place){
            time_ms + below(r, disorder_ms + 1) - (ahead_ms == NULL ? 0 : ahead_ms[k]), k};
    }
    qsort(places, s->n, sizeof *places, compare_places);
    for (size_t k = 0; k < s->n; k++) {
        out[k] = places[k].message;
    }
    free(places);
}

void stream_spread(const struct stream *s, struct random *r, int64_t disorder_ms,
                   struct memory_log *out)
{
    size_t *order = calloc(s->n + 1, sizeof *order);
    if (order == NULL) {
        abort();
    }
    stream_arrive(order, s, r, disorder_ms, NULL);
    for (size_t k = 0; k < s->n; k++) {
        const struct stream_message *m = &s->messages[order[k]];
        memory_log_add_at(out, (uint32_t)random_below(r, out->n_partitions), m->text,
                          m->written_ms);
    }
    free(order);
}
