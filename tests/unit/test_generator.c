/* The generated stream: what a click depends on is counted again from the lines alone, by the as-of
 * rule; equal seeds give equal bytes; the Bayes bound is what the counts say. */
#include "ops/generator.h"

#include "base/hash.h"

#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include <setjmp.h>

#include <cmocka.h>

enum { USERS = 60, EVENTS = 30000, HISTORY = 20, STEPS_MAX = 4096 };

struct line {
    json_t *json;
    int64_t time_ms;
};
struct stream {
    struct line *lines;
    size_t n;
    struct hash128_stream *hash;
};

static int keep(void *payload, const struct event_line *line, struct undine_err *err)
{
    struct stream *s = payload;
    (void)err;
    assert_true(s->n < EVENTS);
    json_t *o = json_loadb(line->text, line->len, 0, NULL);
    assert_non_null(o);
    assert_int_equal(json_integer_value(json_object_get(o, "time")), line->time_ms);
    assert_string_equal(json_string_value(json_object_get(o, "user")), line->user);
    s->lines[s->n++] = (struct line){o, line->time_ms};
    hash128_stream_add(s->hash, line->text, line->len);
    return UNDINE_OK;
}

static struct generator_options options(void)
{
    struct generator_options o = GENERATOR_OPTIONS_DEFAULT;
    o.users = USERS;
    o.events = EVENTS;
    o.history = HISTORY;
    return o;
}

static void make(struct stream *s, const struct generator_options *o, struct generator_bayes *bayes)
{
    struct undine_err err = {0};
    struct generator *g = NULL;
    int rc;
    *s = (struct stream){.lines = calloc(EVENTS, sizeof *s->lines), .hash = hash128_stream_new()};
    assert_non_null(s->lines);
    assert_int_equal(generator_open(&g, o, keep, s, &err), UNDINE_OK);
    while ((rc = generator_step(g, &err)) == 1) {
    }
    assert_int_equal(rc, 0);
    generator_bayes(g, bayes);
    assert_int_equal(event_counts_of(generator_writer(g))->waiting, 0);
    generator_close(g);
}

static void release(struct stream *s)
{
    for (size_t i = 0; i < s->n; i++) {
        json_decref(s->lines[i].json);
    }
    free(s->lines);
    hash128_stream_free(s->hash);
}

static const char *text(const json_t *o, const char *group, const char *name)
{
    return json_string_value(json_object_get(json_object_get(o, group), name));
}

struct memory {
    struct {
        int64_t time_ms;
        const char *category;
    } step[STEPS_MAX];
    size_t n;
};

static bool saw(const struct memory *m, int64_t time_ms, const char *category)
{
    int seen = 0;
    for (size_t i = m->n; i > 0 && seen < HISTORY; i--) {
        if (m->step[i - 1].time_ms < time_ms) {
            seen++;
            if (strcmp(m->step[i - 1].category, category) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* counts[match][clicked], by replaying the lines. */
static void count(const struct stream *s, double counts[2][2])
{
    struct memory *users = calloc(USERS, sizeof *users);
    json_t *shown = json_object(), *clicked = json_object();
    for (size_t i = 0; i < s->n; i++) {
        const char *id = json_string_value(json_object_get(s->lines[i].json, "impression"));
        if (id != NULL) {
            assert_int_equal(json_object_set_new(clicked, id, json_true()), 0);
        }
    }
    for (size_t i = 0; i < s->n; i++) {
        const json_t *o = s->lines[i].json;
        const char *kind = json_string_value(json_object_get(o, "kind"));
        const char *id = json_string_value(json_object_get(o, "id"));
        size_t u = strtoul(json_string_value(json_object_get(o, "user")) + 1, NULL, 10);
        assert_true(u < USERS && users[u].n < STEPS_MAX);
        struct memory *m = &users[u];
        if (strcmp(kind, "impression") == 0) {
            const char *category = text(o, "candidate", "category");
            assert_null(json_object_get(shown, id)); /* ids are unique */
            assert_int_equal(json_object_set_new(shown, id, json_string(category)), 0);
            counts[saw(m, s->lines[i].time_ms, category)][json_object_get(clicked, id) != NULL]++;
            continue;
        }
        m->step[m->n].time_ms = s->lines[i].time_ms;
        m->step[m->n].category =
            strcmp(kind, "click") == 0
                ? json_string_value(
                      json_object_get(shown, json_string_value(json_object_get(o, "impression"))))
                : text(o, "item", "category");
        assert_non_null(m->step[m->n].category); /* no click before its impression */
        m->n++;
    }
    json_decref(shown);
    json_decref(clicked);
    free(users);
}

static void test_interests(void **state)
{
    (void)state;
    struct stream s;
    struct generator_bayes b;
    const struct generator_options o = options();
    double c[2][2] = {{0}};
    make(&s, &o, &b);
    assert_int_equal(s.n, EVENTS);
    for (size_t i = 1; i < s.n; i++) {
        assert_true(s.lines[i].time_ms >= s.lines[i - 1].time_ms);
    }
    count(&s, c);
    double n_match = c[1][0] + c[1][1], n_other = c[0][0] + c[0][1];
    assert_true(n_match > 5000 && n_other > 5000);
    /* 0.9 q + 0.05, within four standard deviations */
    assert_true(fabs(c[1][1] / n_match - 0.59) < 4 * sqrt(0.25 / n_match));
    assert_true(fabs(c[0][1] / n_other - 0.122) < 4 * sqrt(0.11 / n_other));
    assert_true((double)b.impressions == n_match + n_other);
    assert_true((double)b.clicks == c[1][1] + c[0][1]);
    double auc = (c[1][1] * c[0][0] + 0.5 * (c[1][1] * c[1][0] + c[0][1] * c[0][0])) /
                 ((c[0][0] + c[1][0]) * (c[0][1] + c[1][1]));
    assert_true(fabs(auc - b.auc) < 1e-12);
    double logloss =
        -(c[1][1] * log(0.59) + c[1][0] * log(0.41) + c[0][1] * log(0.122) + c[0][0] * log(0.878)) /
        (n_match + n_other);
    assert_true(fabs(logloss - b.logloss) < 1e-12);
    assert_true(fabs(b.logloss - b.logloss_expected) < 0.02);
    assert_true(b.gauc > 0.7 && b.gauc < 0.8);
    release(&s);
}

/* Exponential delays: their mean and their spread, steps in order, and clicks by the same rule. */
static void test_click_delay(void **state)
{
    (void)state;
    struct generator_options o = options();
    struct generator_bayes b;
    struct stream s;
    double c[2][2] = {{0}}, n = 0, sum = 0, squares = 0;
    o.click_delay_mean_ms = 20000;
    make(&s, &o, &b);
    assert_int_equal(s.n, EVENTS);
    count(&s, c);
    assert_true(fabs(c[1][1] / (c[1][0] + c[1][1]) - 0.59) < 4 * sqrt(0.25 / (c[1][0] + c[1][1])));
    assert_true(fabs(c[0][1] / (c[0][0] + c[0][1]) - 0.122) < 4 * sqrt(0.11 / (c[0][0] + c[0][1])));
    json_t *shown = json_object();
    for (size_t i = 0; i < s.n; i++) {
        const json_t *o_ = s.lines[i].json;
        const char *id = json_string_value(json_object_get(o_, "id"));
        const char *of = json_string_value(json_object_get(o_, "impression"));
        if (id != NULL) {
            (void)json_object_set_new(shown, id, json_integer(s.lines[i].time_ms));
        } else if (of != NULL) {
            double delay =
                (double)(s.lines[i].time_ms - json_integer_value(json_object_get(shown, of)));
            assert_true(delay > 0);
            n++;
            sum += delay;
            squares += delay * delay;
        }
    }
    assert_true(n > 5000 && fabs(sum / n - 20000) < 4 * 20000 / sqrt(n));
    double sd = sqrt(squares / n - sum / n * (sum / n));
    assert_true(sd > 18000 && sd < 22000);
    json_decref(shown);
    release(&s);
}

static void test_deterministic(void **state)
{
    (void)state;
    struct generator_options o = options();
    struct generator_bayes b;
    struct hash128 h[3];
    for (int i = 0; i < 3; i++) {
        struct stream s;
        o.seed = i < 2 ? 5 : 6;
        make(&s, &o, &b);
        h[i] = hash128_stream_value(s.hash);
        release(&s);
    }
    assert_memory_equal(&h[0], &h[1], sizeof h[0]);
    assert_memory_not_equal(&h[0], &h[2], sizeof h[0]);
}

static void test_rate(void **state)
{
    (void)state;
    struct generator_options o = options();
    struct generator_bayes b;
    struct stream s;
    o.rate = 2000;
    o.start_ms = 5000000;
    make(&s, &o, &b);
    double seconds = (double)(s.lines[s.n - 1].time_ms - o.start_ms) / 1000;
    assert_true(s.lines[0].time_ms >= o.start_ms);
    assert_true(seconds > EVENTS / 2000.0 * 0.7 && seconds < EVENTS / 2000.0 * 1.6);
    release(&s);
}

/* Without first views: impressions and their clicks alone, at one rate for all. */
static void test_no_first_views(void **state)
{
    (void)state;
    struct generator_options o = options();
    struct generator_bayes b;
    struct stream s;
    o.first_views = 0;
    o.noise = 0;
    o.click_match = o.click_other = 0.05;
    make(&s, &o, &b);
    double n[3] = {0}; /* impressions, clicks, others */
    for (size_t i = 0; i < s.n; i++) {
        const char *kind = json_string_value(json_object_get(s.lines[i].json, "kind"));
        n[strcmp(kind, "impression") == 0 ? 0 : strcmp(kind, "click") == 0 ? 1 : 2]++;
    }
    assert_true(n[2] <= 1); /* where an impression and its click are one event too many */
    assert_int_equal(s.n, EVENTS);
    assert_true(n[1] / n[0] > 0.045 && n[1] / n[0] < 0.055);
    release(&s);
}

static void test_options(void **state)
{
    (void)state;
    struct generator_options o = options();
    struct generator *g = NULL;
    struct undine_err err = {0};
    o.users = 0;
    assert_int_equal(generator_open(&g, &o, keep, NULL, &err), UNDINE_ECONFIG);
    assert_string_equal(err.msg, "--users is 0, expected 1..100000000");
    o = options();
    o.items = 10;
    assert_int_equal(generator_open(&g, &o, keep, NULL, &err), UNDINE_ECONFIG);
    assert_string_equal(err.msg, "--items is 10, expected 30..100000000");
    assert_null(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interests),     cmocka_unit_test(test_click_delay),
        cmocka_unit_test(test_deterministic), cmocka_unit_test(test_rate),
        cmocka_unit_test(test_options),       cmocka_unit_test(test_no_first_views),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
