#include "ops/generator.h"

#include "base/random.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CATEGORIES = 4, LEVELS = 2 };

const struct generator_options GENERATOR_OPTIONS_DEFAULT = {
    .events = 100000,
    .seed = 1,
    .users = 2000,
    .items = 2000,
    .categories = 30,
    .history = 20,
    .first_views = 8,
    .start_ms = INT64_C(1700000000000),
    .rate = 100,
    .click_match = 0.6,
    .click_other = 0.08,
    .noise = 0.1,
    .match_share = 0.5,
    .click_delay_min_ms = 200,
    .click_delay_max_ms = 4000,
};

struct step {
    int64_t time_ms; /* strictly increasing for a user */
    uint32_t category;
};

struct user {
    struct step *steps; /* the newest `history` and those to come */
    uint32_t n, capacity;
    uint32_t shown[LEVELS][2]; /* impressions by level of probability and label */
};

struct generator {
    struct generator_options opt;
    struct event_writer *writer;
    struct random random;
    struct user *users;
    int64_t time_us;                          /* event time of the next thing that happens */
    uint64_t made, made_by_step, impressions; /* events in all, by the last step; impressions */
    double p[LEVELS];                         /* click probability: [0] other, [1] match */
    uint64_t shown[LEVELS][2];
};

/* ---- options ---- */

static int check_options(const struct generator_options *o, struct undine_err *err)
{
    const struct {
        const char *name;
        double value, min, max;
    } ranges[] = {
        {"users", o->users, 1, 1e8},
        {"items", o->items, o->categories, 1e8},
        {"categories", o->categories, FIRST_CATEGORIES, 1e6},
        {"history", o->history, 1, 4096},
        {"first-views", o->first_views, 0, 1000},
        {"start-ms", (double)o->start_ms, 0, 4102444800000.0},
        {"rate", o->rate, 1e-3, 1e7},
        {"click-match", o->click_match, 0, 1},
        {"click-other", o->click_other, 0, 1},
        {"noise", o->noise, 0, 1},
        {"match-share", o->match_share, 0, 1},
        {"click-delay", o->click_delay_mean_ms / 1e3, 0, 1e6},
        {"click-delay-min", (double)o->click_delay_min_ms, 1, (double)o->click_delay_max_ms},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        if (!(ranges[i].value >= ranges[i].min && ranges[i].value <= ranges[i].max)) {
            return undine_err_set(err, UNDINE_ECONFIG, "--%s is %.15g, expected %.15g..%.15g",
                                  ranges[i].name, ranges[i].value, ranges[i].min, ranges[i].max);
        }
    }
    return UNDINE_OK;
}

int generator_open(struct generator **out, const struct generator_options *opt, event_sink_fn sink,
                   void *payload, struct undine_err *err)
{
    int rc = check_options(opt, err);
    if (rc != UNDINE_OK) {
        return rc;
    }
    struct generator *g = calloc(1, sizeof *g);
    struct user *users = calloc(opt->users, sizeof *users);
    if (g == NULL || users == NULL) {
        free(g);
        free(users);
        return undine_err_set(err, UNDINE_ENOMEM, "out of memory for %u users", opt->users);
    }
    g->opt = *opt;
    g->users = users;
    g->random.state = opt->seed;
    g->time_us = opt->start_ms * 1000;
    g->p[0] = (1 - opt->noise) * opt->click_other + opt->noise / 2;
    g->p[1] = (1 - opt->noise) * opt->click_match + opt->noise / 2;
    rc = event_writer_open(&g->writer, sink, payload, err);
    if (rc != UNDINE_OK) {
        generator_close(g);
        return rc;
    }
    *out = g;
    return UNDINE_OK;
}

void generator_close(struct generator *g)
{
    if (g == NULL) {
        return;
    }
    event_writer_close(g->writer);
    for (uint32_t i = 0; i < g->opt.users; i++) {
        free(g->users[i].steps);
    }
    free(g->users);
    free(g);
}

const struct event_writer *generator_writer(const struct generator *g)
{
    return g->writer;
}

/* ---- what a user remembers ---- */

/* Steps before time_ms that count: *first and their number. What no later impression can see goes.
 */
static uint32_t history_before(const struct generator *g, struct user *u, int64_t time_ms,
                               const struct step **first)
{
    uint32_t end = u->n;
    while (end > 0 && u->steps[end - 1].time_ms >= time_ms) {
        end--;
    }
    uint32_t old = end > g->opt.history ? end - g->opt.history : 0;
    if (old > 0) {
        memmove(u->steps, u->steps + old, (u->n - old) * sizeof u->steps[0]);
        u->n -= old;
    }
    *first = u->steps;
    return end - old;
}

static int remember(struct user *u, int64_t time_ms, uint32_t category, struct undine_err *err)
{
    if (u->n == u->capacity) {
        uint32_t capacity = u->capacity > 0 ? 2 * u->capacity : 32;
        struct step *steps = reallocarray(u->steps, capacity, sizeof *steps);
        if (steps == NULL) {
            return undine_err_set(err, UNDINE_ENOMEM, "out of memory for the users' histories");
        }
        u->steps = steps;
        u->capacity = capacity;
    }
    uint32_t at = u->n++;
    for (; at > 0 && u->steps[at - 1].time_ms > time_ms; at--) {
        u->steps[at] = u->steps[at - 1];
    }
    u->steps[at] = (struct step){time_ms, category};
    return UNDINE_OK;
}

/* A step's time: not before time_ms, and behind every step that the user has. */
static int64_t step_time(const struct user *u, int64_t time_ms)
{
    int64_t last = u->n > 0 ? u->steps[u->n - 1].time_ms : INT64_MIN;
    return time_ms > last ? time_ms : last + 1;
}

/* The same without waiting for steps to come: the first free time. */
static int64_t free_time(const struct user *u, int64_t time_ms)
{
    for (uint32_t i = 0; i < u->n; i++) {
        time_ms += u->steps[i].time_ms == time_ms;
    }
    return time_ms;
}

/* ---- events ---- */

/* Items c, c + categories, c + 2 categories, ... are those of category c; the first are the
 * popular. */
static uint32_t draw_item(struct generator *g, uint32_t category)
{
    uint32_t n = (g->opt.items - category + g->opt.categories - 1) / g->opt.categories;
    double u = random_unit(&g->random);
    return category + g->opt.categories * (uint32_t)((double)n * u * u);
}

static void put_item(struct generator *g, const char *group, uint32_t item)
{
    char text[16];
    event_group(g->writer, group);
    (void)snprintf(text, sizeof text, "i%u", item);
    event_text(g->writer, "item", text);
    (void)snprintf(text, sizeof text, "c%u", item % g->opt.categories);
    event_text(g->writer, "category", text);
    event_group_end(g->writer);
}

static int make_view(struct generator *g, const char *name, struct user *u, int64_t time_ms,
                     uint32_t category, struct undine_err *err)
{
    int64_t at_ms = step_time(u, time_ms);
    event_begin(g->writer, EVENT_BEHAVIOR, at_ms, name);
    event_text(g->writer, "type", "view");
    put_item(g, "item", draw_item(g, category));
    int rc = event_end(g->writer, err);
    g->made++;
    return rc == UNDINE_OK ? remember(u, at_ms, category, err) : rc;
}

static bool room_for(const struct generator *g, uint64_t n)
{
    return g->opt.events == 0 || g->made + n <= g->opt.events;
}

/* A user's first interests. */
static int make_first_views(struct generator *g, const char *name, struct user *u, int64_t time_ms,
                            struct undine_err *err)
{
    uint32_t interests[FIRST_CATEGORIES];
    for (int i = 0; i < FIRST_CATEGORIES; i++) {
        interests[i] = (uint32_t)random_below(&g->random, g->opt.categories);
    }
    int rc = UNDINE_OK;
    for (uint32_t i = 0; rc == UNDINE_OK && i < g->opt.first_views && room_for(g, 1); i++) {
        uint32_t category = interests[random_below(&g->random, FIRST_CATEGORIES)];
        rc = make_view(g, name, u, time_ms, category, err);
    }
    return rc;
}

static bool contains(const struct step *steps, uint32_t n, uint32_t category)
{
    for (uint32_t i = 0; i < n; i++) {
        if (steps[i].category == category) {
            return true;
        }
    }
    return false;
}

static int64_t click_time(struct generator *g, const struct user *u, int64_t time_ms)
{
    const struct generator_options *o = &g->opt;
    if (o->click_delay_mean_ms > 0) {
        double delay_ms = -log(1 - random_unit(&g->random)) * o->click_delay_mean_ms;
        return free_time(u, time_ms + 1 + (int64_t)delay_ms);
    }
    uint64_t span = (uint64_t)(o->click_delay_max_ms - o->click_delay_min_ms) + 1;
    int64_t delay_ms = o->click_delay_min_ms + (int64_t)random_below(&g->random, span);
    return step_time(u, time_ms + delay_ms);
}

static int make_click(struct generator *g, const char *name, struct user *u, const char *id,
                      int64_t time_ms, uint32_t category, struct undine_err *err)
{
    int64_t at_ms = click_time(g, u, time_ms);
    event_begin(g->writer, EVENT_CLICK, at_ms, name);
    event_text(g->writer, "impression", id);
    int rc = event_end(g->writer, err);
    g->made++;
    return rc == UNDINE_OK ? remember(u, at_ms, category, err) : rc;
}

static int make_impression(struct generator *g, const char *name, struct user *u, int64_t time_ms,
                           struct undine_err *err)
{
    const struct step *steps = NULL;
    uint32_t n = history_before(g, u, time_ms, &steps);
    uint32_t category = (uint32_t)random_below(&g->random, g->opt.categories);
    if (n > 0 && random_unit(&g->random) < g->opt.match_share) {
        category = steps[random_below(&g->random, n)].category;
    }
    bool match = contains(steps, n, category);
    bool clicked = random_unit(&g->random) < g->p[match];
    char id[48], hour[8];
    (void)snprintf(id, sizeof id, "%" PRIu64 "-%" PRIu64, g->opt.seed, g->impressions++);
    (void)snprintf(hour, sizeof hour, "%d", (int)(time_ms / 3600000 % 24));
    event_begin(g->writer, EVENT_IMPRESSION, time_ms, name);
    event_text(g->writer, "id", id);
    put_item(g, "candidate", draw_item(g, category));
    event_group(g->writer, "context");
    event_text(g->writer, "hour", hour);
    event_group_end(g->writer);
    int rc = event_end(g->writer, err);
    g->made++;
    g->shown[match][clicked]++;
    u->shown[match][clicked]++;
    return rc == UNDINE_OK && clicked ? make_click(g, name, u, id, time_ms, category, err) : rc;
}

/* ---- time ---- */

int generator_finish(struct generator *g, struct undine_err *err)
{
    g->opt.events = g->made > 0 ? g->made : 1;
    return event_release(g->writer, INT64_MAX, err);
}

int generator_step(struct generator *g, struct undine_err *err)
{
    char name[16];
    if (!room_for(g, 1)) {
        return event_release(g->writer, INT64_MAX, err);
    }
    /* Exponential gaps, longer behind a step that made many events. */
    double gap_us = -log(1 - random_unit(&g->random)) * 1e6 * (double)g->made_by_step / g->opt.rate;
    g->time_us += (int64_t)gap_us;
    int64_t time_ms = g->time_us / 1000;
    int rc = event_release(g->writer, time_ms - 1, err);
    if (rc != UNDINE_OK) {
        return rc;
    }
    uint64_t made = g->made;
    uint32_t i = (uint32_t)random_below(&g->random, g->opt.users);
    struct user *u = &g->users[i];
    (void)snprintf(name, sizeof name, "u%u", i);
    if (u->n == 0 && g->opt.first_views > 0) {
        rc = make_first_views(g, name, u, time_ms, err);
    } else if (room_for(g, 2)) {
        rc = make_impression(g, name, u, time_ms, err);
    } else { /* no room for an impression and its click */
        rc = make_view(g, name, u, time_ms, u->n > 0 ? u->steps[u->n - 1].category : 0, err);
    }
    g->made_by_step = g->made - made;
    return rc == UNDINE_OK ? 1 : rc;
}

/* ---- the best possible model ---- */

/* Area under the curve of a model that knows p: [level][label]; NaN where a class is empty. */
static double auc_of(double low_0, double low_1, double high_0, double high_1)
{
    double pairs = (low_0 + high_0) * (low_1 + high_1);
    return pairs > 0 ? (high_1 * low_0 + 0.5 * (high_1 * high_0 + low_1 * low_0)) / pairs : NAN;
}

static double gauc_of(const struct generator *g)
{
    double sum = 0, weight = 0;
    for (uint32_t i = 0; i < g->opt.users; i++) {
        const struct user *u = &g->users[i];
        double auc = auc_of(u->shown[0][0], u->shown[0][1], u->shown[1][0], u->shown[1][1]);
        double n = (double)u->shown[0][0] + u->shown[0][1] + u->shown[1][0] + u->shown[1][1];
        if (!isnan(auc)) {
            sum += n * auc;
            weight += n;
        }
    }
    return weight > 0 ? sum / weight : NAN;
}

static double times_log(double n, double p)
{
    return n > 0 ? -n * log(p) : 0;
}

void generator_bayes(const struct generator *g, struct generator_bayes *out)
{
    double drawn = 0, expected = 0;
    *out = (struct generator_bayes){0};
    for (int level = 0; level < LEVELS; level++) {
        double p = g->p[level], n0 = (double)g->shown[level][0], n1 = (double)g->shown[level][1];
        drawn += times_log(n1, p) + times_log(n0, 1 - p);
        expected += times_log((n0 + n1) * p, p) + times_log((n0 + n1) * (1 - p), 1 - p);
        out->impressions += g->shown[level][0] + g->shown[level][1];
        out->clicks += g->shown[level][1];
    }
    double n = (double)out->impressions;
    out->click_rate = n > 0 ? (double)out->clicks / n : NAN;
    out->logloss = n > 0 ? drawn / n : NAN;
    out->logloss_expected = n > 0 ? expected / n : NAN;
    out->auc = auc_of((double)g->shown[0][0], (double)g->shown[0][1], (double)g->shown[1][0],
                      (double)g->shown[1][1]);
    out->gauc = gauc_of(g);
}
