#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/scenario.h"

#include "tests/support/join_twin.h"
#include "tests/support/store_fixture.h"

#include <stdlib.h>

static void take(struct scenario *s, size_t message, const uint64_t *words, uint32_t n)
{
    struct event *e = malloc(n * sizeof *words);
    assert_non_null(e);
    memcpy(e, words, n * sizeof *words);
    s->record[message] = e;
    s->events[s->n_events++] = e;
}

static void scenario_decode(struct scenario *s)
{
    struct decoder *decoder = NULL;
    s->decode.message_bytes_max = 4096;
    assert_int_equal(decoder_open(&decoder, &s->schema, &s->decode, NULL), UNDINE_OK);
    s->record = calloc(s->stream.n, sizeof *s->record);
    s->events = calloc(s->stream.n, sizeof *s->events);
    uint64_t *words = calloc(EVENT_WORDS_MAX, sizeof *words);
    assert_true(s->record != NULL && s->events != NULL && words != NULL);
    for (size_t k = 0; k < s->stream.n; k++) {
        const struct stream_message *m = &s->stream.messages[k];
        uint32_t n = 0;
        bool ok = decoder_decode(decoder, (const uint8_t *)m->text, strlen(m->text),
                                 SOURCE_TOPIC_ANY, words, &n) == DECODE_OK;
        if (ok && n == 0) {
            s->n_filtered++;
        } else if (!ok || m->future) {
            s->n_malformed++;
        } else {
            take(s, k, words, n);
        }
    }
    free(words);
    decoder_close(decoder);
}

static void choose_policy(struct scenario *s, struct random *r, enum scenario_policy policy)
{
    if (policy == SCENARIO_CORRECT) {
        s->opt.join.late_click = INGEST_LATE_CORRECT;
    } else if (policy == SCENARIO_FNW) {
        s->opt.join.label = INGEST_LABEL_FNW;
        s->opt.join.emit = INGEST_EMIT_CLICK;
        s->opt.join.negative_rate = 1.0;
        s->opt.join.late_click = random_below(r, 2) == 0 ? INGEST_LATE_CORRECT : INGEST_LATE_DROP;
    }
}

void scenario_make(struct scenario *s, struct random *r, enum scenario_policy policy)
{
    *s = (struct scenario){0};
    fixture_schema(&s->schema, 1 + (uint32_t)random_below(r, 4));
    int64_t window_ms = random_below(r, 4) == 0 ? 1 : 20 + (int64_t)random_below(r, 200);
    s->disorder_ms = (int64_t)random_below(r, 100);
    s->opt = ingest_world_options(s->disorder_ms, window_ms);
    s->opt.order.max_future_ms = 1 + (int64_t)random_below(r, 100);
    s->opt.join.memory_ms = random_below(r, 3) == 0 ? 0 : (int64_t)random_below(r, 300);
    s->opt.join.emit = random_below(r, 3) == 0 ? INGEST_EMIT_DEADLINE : INGEST_EMIT_CLICK;
    s->opt.join.by = random_below(r, 3) == 0 ? INGEST_JOIN_USER_ITEM : INGEST_JOIN_ID;
    s->opt.join.negative_rate = random_below(r, 2) == 0 ? 1.0 : 0.4;
    s->opt.join.negative_seed = random_u64(r);
    choose_policy(s, r, policy);
    s->decode.join_by_user_item = s->opt.join.by == INGEST_JOIN_USER_ITEM;
    struct stream_options stream = {.impressions = 60 + random_below(r, 300),
                                    .users = 1 + (uint32_t)random_below(r, 12),
                                    .items = 1 + (uint32_t)random_below(r, 20),
                                    .range_ms = 200 + (int64_t)random_below(r, 1500),
                                    .window_ms = window_ms,
                                    .memory_ms = s->opt.join.memory_ms,
                                    .max_future_ms = s->opt.order.max_future_ms,
                                    .user_item = s->decode.join_by_user_item,
                                    .trouble = random_below(r, 5) > 0};
    stream_make(&s->stream, r, &stream);
    scenario_decode(s);
    writer_init(&s->truth);
    join_twin(&s->truth, &s->counters, &s->schema, &s->opt, s->events, s->n_events);
}

void scenario_release(struct scenario *s)
{
    for (size_t k = 0; k < s->n_events; k++) {
        free(s->events[k]);
    }
    free(s->record);
    free(s->events);
    stream_release(&s->stream);
    writer_release(&s->truth);
}

size_t scenario_message(const struct scenario *s, const char *text)
{
    size_t at = (size_t)(text - s->stream.messages[0].text) / sizeof *s->stream.messages;
    assert_true(at < s->stream.n && s->stream.messages[at].text == text);
    return at;
}

void scenario_world(struct ingest_world *w, const struct scenario *s)
{
    *w = (struct ingest_world){.schema = s->schema, .opt = s->opt, .decode = s->decode};
}

#define SAME(field) assert_int_equal(got->field, want->field)
void scenario_same_counters(const struct ingest_counters *got, const struct ingest_counters *want)
{
    SAME(applied);
    SAME(duplicate);
    SAME(impressions);
    SAME(clicks);
    SAME(behaviors);
    SAME(forgets);
    SAME(clicks_matched);
    SAME(clicks_orphan);
    SAME(clicks_late);
    SAME(positives);
    SAME(negatives);
    SAME(sampled_out);
    SAME(dropped);
    SAME(revised);
    SAME(revised_negatives);
    SAME(revised_sampled_out);
    SAME(label_delay_ms);
    for (int k = 0; k < EVENT_KINDS; k++) {
        SAME(duplicate_by_kind[k]);
    }
    assert_int_equal(got->waiting, 0);
    assert_int_equal(got->pending, 0);
    assert_true(ingest_counters_close(got));
}

/* ---- census ---- */

static void census_click(struct scenario_census *c, const struct scenario *s,
                         const struct event *click)
{
    bool at_deadline = false, before = false;
    for (size_t k = 0; k < s->n_events; k++) {
        const struct event *e = s->events[k];
        if (e->kind == EVENT_IMPRESSION && e->id == click->id) {
            at_deadline = at_deadline || click->time_ms == e->time_ms + s->opt.join.window_ms;
            before = before || click->time_ms < e->time_ms;
        }
    }
    c->clicks_at_deadline += at_deadline ? 1 : 0;
    c->clicks_before += before ? 1 : 0;
}

static bool same_event(const struct event *a, const struct event *b)
{
    return a->kind == b->kind && a->time_ms == b->time_ms && a->id == b->id && a->tie == b->tie;
}

/* The pair of an event with one that was made earlier. */
static void census_pair(struct scenario_census *c, const struct scenario *s, const struct event *a,
                        const struct event *b)
{
    bool same = same_event(a, b), impressions = a->kind == EVENT_IMPRESSION && b->kind == a->kind;
    c->duplicate_messages += same ? 1 : 0;
    c->equal_times += !same && a->time_ms == b->time_ms ? 1 : 0;
    c->impressions_again += impressions && !same && a->id == b->id ? 1 : 0;
    int64_t apart_ms = a->time_ms - b->time_ms;
    apart_ms = apart_ms < 0 ? -apart_ms : apart_ms;
    c->sessions_across +=
        impressions && a->user == b->user && apart_ms > s->opt.join.window_ms ? 1 : 0;
}

void scenario_census(struct scenario_census *c, const struct scenario *s)
{
    for (size_t k = 0; k < s->n_events; k++) {
        const struct event *e = s->events[k];
        for (size_t i = 0; i < k; i++) {
            census_pair(c, s, e, s->events[i]);
        }
        if (e->kind == EVENT_CLICK) {
            census_click(c, s, e);
        }
        bool behavior = e->kind == EVENT_BEHAVIOR;
        c->carts += behavior && e->behavior == FIXTURE_CART ? 1 : 0;
        c->likes += behavior && e->behavior == FIXTURE_LIKE ? 1 : 0;
        c->forgets += e->kind == EVENT_FORGET ? 1 : 0;
    }
    for (size_t k = 0; k < s->stream.n; k++) {
        const struct stream_message *m = &s->stream.messages[k];
        c->future += m->future ? 1 : 0;
        c->future_edge += m->time_ms - m->written_ms == s->opt.order.max_future_ms ? 1 : 0;
    }
    c->malformed += s->n_malformed;
    c->undeclared += s->n_filtered;
    c->clicks_orphan += s->counters.clicks_orphan;
    c->clicks_late += s->counters.clicks_late;
    c->clicks_again += s->counters.duplicate_by_kind[EVENT_CLICK];
    c->forgotten_pending += s->counters.dropped;
}

void scenario_census_complete(const struct scenario_census *c)
{
#define X(name) print_message("  %s %llu\n", #name, (unsigned long long)c->name);
    SCENARIO_CENSUS(X)
#undef X
#define X(name) assert_true(c->name >= 5);
    SCENARIO_CENSUS(X)
#undef X
}

uint64_t scenario_seeds(uint64_t n)
{
    const char *times = getenv("UNDINE_SEEDS");
    uint64_t factor = times == NULL ? 1 : strtoull(times, NULL, 10);
    return n * (factor == 0 ? 1 : factor);
}
