#include "tests/support/join_twin.h"

#include "base/hash.h"
#include "tests/support/ingest_world.h"

#include <stdlib.h>

struct twin_impression {
    const struct event *event;
    bool clicked, done, gone;
};

enum { TWIN_STEP_WORDS = 2 + 64 };
struct twin_step {
    uint64_t user;
    uint32_t sequence;
    bool removed;
    uint64_t words[TWIN_STEP_WORDS]; /* time, counts, ids */
    uint32_t n_words;
};

struct twin {
    const struct schema *schema;
    const struct ingest_options *opt;
    struct writer *out;
    struct ingest_counters *c;
    struct twin_impression *impressions;
    struct twin_step *steps;
    size_t n_impressions, n_steps;
};

static void append_step(struct twin *t, uint64_t user, const struct event *item, int64_t time_ms,
                        uint32_t sequence)
{
    const struct schema_sequence *q = &t->schema->sequences[sequence];
    struct twin_step s = {.user = user, .sequence = sequence, .n_words = 2};
    s.words[0] = (uint64_t)time_ms;
    for (uint32_t k = 0; k < q->n_fields; k++) {
        uint32_t n = 0;
        const uint64_t *ids = event_field(item, q->field[k], &n);
        ((uint8_t *)&s.words[1])[k] = (uint8_t)n;
        for (uint32_t i = 0; i < n; i++) {
            s.words[s.n_words++] = ids[i];
        }
    }
    /* Not where one of the newest steps is the same. */
    uint32_t seen = 0;
    for (size_t k = t->n_steps; k > 0 && seen < q->length; k--) {
        const struct twin_step *o = &t->steps[k - 1];
        if (o->removed || o->user != user || o->sequence != sequence) {
            continue;
        }
        seen++;
        if (o->n_words == s.n_words &&
            memcmp(o->words, s.words, s.n_words * sizeof s.words[0]) == 0) {
            return;
        }
    }
    t->steps[t->n_steps++] = s;
}

static void write_view(struct twin *t, uint64_t user, uint32_t sequence, int64_t before_ms)
{
    size_t skip = 0;
    for (int pass = 0; pass < 2; pass++) {
        struct writer view;
        writer_init(&view);
        size_t n = 0;
        for (size_t k = 0; k < t->n_steps; k++) {
            const struct twin_step *s = &t->steps[k];
            if (s->removed || s->user != user || s->sequence != sequence ||
                (int64_t)s->words[0] >= before_ms) {
                continue;
            }
            if (n++ >= skip) {
                writer_bytes(&view, s->words, s->n_words * sizeof s->words[0]);
            }
        }
        if (pass == 1) {
            ingest_world_steps(t->out, (const uint64_t *)(const void *)view.data,
                               view.len / sizeof(uint64_t));
        }
        uint32_t length = t->schema->sequences[sequence].length;
        skip = n > length ? n - length : 0;
        writer_release(&view);
    }
}

static void write_example(struct twin *t, const struct event *e, enum example_kind kind,
                          int64_t emit_ms)
{
    ingest_world_entry(t->out, t->schema, kind, e->id, e->user, e->time_ms, emit_ms,
                       (float)t->opt->join.negative_rate, event_counts(e), event_ids(e));
    for (uint32_t s = 0; s < t->schema->n_sequences; s++) {
        write_view(t, e->user, s, e->time_ms);
    }
    ingest_world_text(t->out, "\n");
    t->c->label_delay_ms += (uint64_t)(emit_ms - e->time_ms);
}

static void emit(struct twin *t, struct twin_impression *i, bool positive, int64_t emit_ms)
{
    i->done = true;
    write_example(t, i->event, positive ? EXAMPLE_POSITIVE : EXAMPLE_NEGATIVE, emit_ms);
    *(positive ? &t->c->positives : &t->c->negatives) += 1;
}

static bool negative_kept(const struct twin *t, const struct twin_impression *i)
{
    uint64_t h = hash_bytes_seeded(&i->event->id, 8, t->opt->join.negative_seed);
    return (double)(h >> 11) / 9007199254740992.0 < t->opt->join.negative_rate;
}

/* A click of an impression that has been labelled. */
static void revise(struct twin *t, const struct twin_impression *i, int64_t click_ms)
{
    bool kept = negative_kept(t, i), fnw = t->opt->join.label == INGEST_LABEL_FNW;
    if (!fnw && t->opt->join.late_click == INGEST_LATE_DROP) {
        return;
    }
    write_example(t, i->event,
                  fnw    ? EXAMPLE_FNW_POSITIVE
                  : kept ? EXAMPLE_CORRECTION
                         : EXAMPLE_POSITIVE,
                  click_ms);
    t->c->revised++;
    *(kept ? &t->c->revised_negatives : &t->c->revised_sampled_out) += 1;
}

/* Deadlines below this time, in the order of the impressions. */
static void fire(struct twin *t, int64_t before_ms)
{
    for (size_t k = 0; k < t->n_impressions; k++) {
        struct twin_impression *i = &t->impressions[k];
        int64_t deadline_ms = i->event->time_ms + t->opt->join.window_ms;
        if (i->done || deadline_ms >= before_ms) {
            continue;
        }
        if (i->clicked || negative_kept(t, i)) {
            emit(t, i, i->clicked, deadline_ms);
        } else {
            i->done = true;
            t->c->sampled_out++;
        }
    }
}

static bool known(const struct twin *t, const struct twin_impression *i, int64_t now_ms)
{
    return !i->gone &&
           i->event->time_ms + t->opt->join.window_ms + t->opt->join.memory_ms >= now_ms;
}

static void duplicate(struct twin *t, const struct event *e)
{
    t->c->duplicate++;
    t->c->duplicate_by_kind[e->kind]++;
}

static void apply_impression(struct twin *t, const struct event *e)
{
    bool by_id = t->opt->join.by == INGEST_JOIN_ID;
    for (size_t k = 0; k < t->n_impressions; k++) {
        const struct twin_impression *i = &t->impressions[k];
        if (known(t, i, e->time_ms) && i->event->id == e->id &&
            (by_id || (i->event->time_ms == e->time_ms && i->event->tie == e->tie))) {
            duplicate(t, e);
            return;
        }
    }
    struct twin_impression *i = &t->impressions[t->n_impressions++];
    *i = (struct twin_impression){.event = e};
    t->c->impressions++;
    if (t->opt->join.label == INGEST_LABEL_FNW) {
        i->done = true;
        write_example(t, e, EXAMPLE_FNW_NEGATIVE, e->time_ms);
        t->c->negatives++;
    }
}

static void apply_click(struct twin *t, const struct event *e)
{
    struct twin_impression *target = NULL;
    bool any = false;
    for (size_t k = 0; k < t->n_impressions; k++) {
        struct twin_impression *i = &t->impressions[k];
        if (i->event->id == e->id && known(t, i, e->time_ms)) {
            any = true;
            target = i->clicked ? target : i; /* the newest unclicked one */
        }
    }
    if (any && target == NULL) {
        duplicate(t, e);
        return;
    }
    t->c->clicks++;
    if (target == NULL) {
        t->c->clicks_orphan++;
        return;
    }
    target->clicked = true;
    int64_t window_ms = t->opt->join.window_ms;
    if (e->time_ms > target->event->time_ms + window_ms) {
        t->c->clicks_late++;
        revise(t, target, e->time_ms);
    } else {
        t->c->clicks_matched++;
        if (t->opt->join.label == INGEST_LABEL_FNW) {
            revise(t, target, e->time_ms);
        } else if (t->opt->join.emit == INGEST_EMIT_CLICK &&
            e->time_ms >= t->impressions[0].event->time_ms + window_ms) {
            emit(t, target, true, e->time_ms);
        }
    }
    for (uint32_t s = 0; s < t->schema->n_sequences; s++) {
        if (t->schema->sequences[s].from_click) {
            append_step(t, target->event->user, target->event, e->time_ms, s);
        }
    }
}

static void apply_behavior(struct twin *t, const struct event *e)
{
    t->c->behaviors++;
    for (uint32_t s = 0; s < t->schema->n_sequences; s++) {
        if ((t->schema->sequences[s].from_behavior >> e->behavior & 1) != 0) {
            append_step(t, e->user, e, e->time_ms, s);
        }
    }
}

static void apply_forget(struct twin *t, const struct event *e)
{
    t->c->forgets++;
    for (size_t k = 0; k < t->n_impressions; k++) {
        struct twin_impression *i = &t->impressions[k];
        if (i->event->user == e->user) {
            t->c->dropped += i->done ? 0 : 1;
            i->done = true;
            i->gone = true;
        }
    }
    for (size_t k = 0; k < t->n_steps; k++) {
        t->steps[k].removed = t->steps[k].removed || t->steps[k].user == e->user;
    }
    ingest_world_entry(t->out, t->schema, EXAMPLE_FORGET, 0, e->user, e->time_ms, e->time_ms, 1.0F,
                       NULL, NULL);
    ingest_world_text(t->out, "\n");
}

static int compare(const void *a, const void *b)
{
    return event_compare(*(struct event *const *)a, *(struct event *const *)b);
}

void join_twin(struct writer *out, struct ingest_counters *counters, const struct schema *schema,
               const struct ingest_options *opt, struct event *const *events, size_t n)
{
    *counters = (struct ingest_counters){0};
    struct twin t = {.schema = schema, .opt = opt, .out = out, .c = counters};
    t.impressions = calloc(n + 1, sizeof *t.impressions);
    t.steps = calloc(n * SCHEMA_SEQUENCES_MAX + 1, sizeof *t.steps);
    struct event **sorted = calloc(n + 1, sizeof *sorted);
    if (t.impressions == NULL || t.steps == NULL || sorted == NULL) {
        abort();
    }
    memcpy(sorted, events, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, compare);
    for (size_t k = 0; k < n; k++) {
        const struct event *e = sorted[k];
        fire(&t, e->time_ms);
        if (e->kind == EVENT_IMPRESSION) {
            apply_impression(&t, e);
        } else if (k > 0 && compare(&sorted[k], &sorted[k - 1]) == 0) {
            duplicate(&t, e); /* the same message twice */
        } else if (e->kind == EVENT_CLICK) {
            apply_click(&t, e);
        } else if (e->kind == EVENT_BEHAVIOR) {
            apply_behavior(&t, e);
        } else {
            apply_forget(&t, e);
        }
    }
    fire(&t, INT64_MAX);
    counters->applied =
        counters->impressions + counters->clicks + counters->behaviors + counters->forgets;
    free(sorted);
    free(t.steps);
    free(t.impressions);
}
