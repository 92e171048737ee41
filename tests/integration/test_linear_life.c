/* The linear part through its whole life, under every optimizer: trained from 0, published in a
 * version by the trainer, restored from it to the bit, and scored from it as the trainer's own
 * model scores. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/hash.h"
#include "learner/version.h"
#include "scorer/undine.h"
#include "tests/support/example_stream.h"
#include "tests/support/trainers.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { DIM = 4, EXAMPLES = 640, HALF = 320, HELD_OUT = 64, IDS_MAX = 64, STEPS = 5 };

static const struct example_stream_plan PLAN = {.seed = 17,
                                                .n = EXAMPLES + HELD_OUT,
                                                .n_users = 30,
                                                .n_steps = STEPS,
                                                .n_categories = 8,
                                                .items_a_category = 6,
                                                .noise = 0.1};

struct life {
    struct schema schema;
    struct example_stream stream;
    char dir[32];
    struct undine_scorer *scorer;
    struct undine_session *session;
};

static void setup(struct life *f)
{
    *f = (struct life){.schema = example_stream_schema(DIM)};
    example_stream_init(&f->stream, &f->schema);
    example_stream_plant(&f->stream, &PLAN);
    (void)snprintf(f->dir, sizeof f->dir, "test_linear_XXXXXX");
    assert_non_null(mkdtemp(f->dir));
}

static void teardown(struct life *f)
{
    char command[64];
    (void)snprintf(command, sizeof command, "rm -r %s", f->dir);
    undine_session_close(f->session);
    undine_scorer_close(f->scorer);
    assert_int_equal(system(command), 0);
    example_stream_release(&f->stream);
}

static struct trainer *open_trainer(const struct life *f, enum optimizer_kind kind)
{
    struct trainer_options o = trainers_options();
    o.model.linear = true;
    o.optimizer.kind = kind;
    o.optimizer.rate = 0.02;
    o.optimizer.l1 = 1e-4;
    o.regularizer = (struct regularizer_options){.kind = REGULARIZER_MBA, .lambda = 0.01};
    return trainers_open(&f->schema, &o);
}

static struct version_info publish(const struct life *f, struct trainer *t)
{
    const struct version_extra extra = {0};
    struct version_info info;
    struct undine_err err = {0};
    struct snapshot *s = NULL;
    assert_int_equal(trainer_snapshot(t, &s, &err), 0);
    assert_int_equal(version_write(f->dir, s, &extra, true, &info, &err), 0);
    snapshot_free(s);
    return info;
}

static struct trainer *restore(const struct life *f, enum optimizer_kind kind,
                               const struct version_info *info)
{
    char path[64];
    struct undine_err err = {0};
    struct snapshot *s = NULL;
    struct trainer *t = open_trainer(f, kind);
    (void)snprintf(path, sizeof path, "%s/%s", f->dir, info->name);
    assert_int_equal(version_load(path, true, &s, NULL, &err), 0);
    assert_int_equal(trainer_restore(t, s, &err), 0);
    snapshot_free(s);
    return t;
}

/* ---- an example as a request ---- */

/* The planted ids are hashes of small numbers; a request names the numbers. */
static uint64_t number_of(const struct schema *s, uint32_t table, uint64_t id)
{
    uint64_t number = 0;
    while (hash_feature(s->tables[table].hash_seed, &number, sizeof number) != id) {
        number++;
        assert_true(number < UINT64_C(1000));
    }
    return number;
}

struct request { /* owns what the request borrows */
    uint64_t number[IDS_MAX];
    struct undine_value value[IDS_MAX];
    size_t n;
    struct undine_feature candidate[2], tags, step[STEPS][2];
    struct undine_features candidates, steps[STEPS];
    struct undine_sequence clicks;
    struct undine_request request;
};

static const struct undine_value *add_value(struct request *r, const struct schema *s,
                                            uint32_t table, uint64_t id)
{
    assert_true(r->n < IDS_MAX);
    r->number[r->n] = number_of(s, table, id);
    r->value[r->n] = (struct undine_value){(const char *)&r->number[r->n], sizeof r->number[r->n]};
    return &r->value[r->n++];
}

static void add_history(struct request *r, const struct life *f, const struct example *e)
{
    const struct example_sequence *q = &f->stream.sequences[e->sequence[0]];
    for (uint32_t t = 0; t < q->n_steps; t++) { /* time, counts, item, category */
        const uint64_t *ids = q->words + (size_t)4 * t + 2;
        r->step[t][0] = (struct undine_feature){"item", add_value(r, &f->schema, 0, ids[0]), 1};
        r->step[t][1] = (struct undine_feature){"category", add_value(r, &f->schema, 1, ids[1]), 1};
        r->steps[t] = (struct undine_features){r->step[t], 2};
    }
    r->clicks = (struct undine_sequence){"clicks", r->steps, q->n_steps};
}

static void request_init(struct request *r, const struct life *f, const struct example *e)
{
    const struct schema *s = &f->schema;
    const uint64_t *ids = e->ids;
    *r = (struct request){0};
    r->candidate[0] = (struct undine_feature){"item", add_value(r, s, 0, ids[0]), 1};
    r->candidate[1] = (struct undine_feature){"category", add_value(r, s, 1, ids[1]), 1};
    r->request.user_id = *add_value(r, s, 2, ids[2]);
    r->tags = (struct undine_feature){"tags", &r->value[r->n], e->counts[STREAM_TAGS]};
    for (size_t k = 0; k < e->counts[STREAM_TAGS]; k++) {
        (void)add_value(r, s, 3, ids[3 + k]);
    }
    add_history(r, f, e);
    r->candidates = (struct undine_features){r->candidate, 2};
    r->request.candidates = &r->candidates;
    r->request.n_candidates = 1;
    r->request.context = (struct undine_features){&r->tags, 1};
    r->request.sequences = &r->clicks;
    r->request.n_sequences = 1;
}

/* An event's ids are different ones, the planted tags need not be. */
static bool is_event(const struct example *e)
{
    return e->counts[STREAM_TAGS] < 2 || e->ids[3] != e->ids[4];
}

/* ---- */

/* Scores of the examples held out, by the trainer's own model.  Makes rows for new ids: the trainer
 * must not be compared any more. */
static void trainer_scores(struct trainer *t, const struct life *f, float *p)
{
    struct example_block block = example_stream_block(&f->stream, EXAMPLES, EXAMPLES + HELD_OUT);
    struct batch_builder *b = NULL;
    struct undine_err err = {0};
    assert_int_equal(batch_builder_open(&b, &f->schema, HELD_OUT, &err), 0);
    for (uint32_t i = 0; i < HELD_OUT; i++) {
        assert_int_equal(batch_builder_add(b, &block, i, &err), 0);
    }
    assert_int_equal(batch_builder_gather(b, t->table, NULL, &err), 0);
    assert_int_equal(model_score(t->model, t->scratch, &b->batch, p, &err), 0);
    for (uint32_t i = 0; i < HELD_OUT; i++) {
        p[i] = model_sigmoid(p[i]);
    }
    batch_builder_close(b);
}

static void check_scores(struct life *f, struct trainer *t, const struct version_info *info)
{
    float expected[HELD_OUT];
    uint32_t compared = 0;
    if (f->scorer == NULL) {
        assert_int_equal(undine_scorer_open(&f->scorer, f->dir, NULL), 0);
        assert_int_equal(undine_session_open(&f->session, f->scorer, NULL), 0);
    } else {
        assert_int_equal(undine_scorer_refresh(f->scorer, NULL), 1);
    }
    trainer_scores(t, f, expected);
    for (uint32_t i = 0; i < HELD_OUT; i++) {
        const struct example *e = &f->stream.examples[EXAMPLES + i];
        struct undine_error err = {0};
        struct request r;
        float got;
        if (!is_event(e)) {
            continue;
        }
        request_init(&r, f, e);
        if (undine_score(f->session, &r.request, &got, &err) != 0) {
            fail_msg("%s", err.message);
        }
        assert_memory_equal(&got, &expected[i], sizeof got);
        compared++;
    }
    assert_true(compared > HELD_OUT / 2);
    assert_int_equal(undine_session_version(f->session), info->number);
}

/* The last number of a row is its id's linear weight: begun at 0, it was learned in every table;
 * that of an id which nothing was learned of is 0. */
static void check_learned(const struct life *f, struct trainer *t)
{
    for (uint32_t k = 0; k < f->schema.n_tables; k++) {
        uint32_t learned = 0, width = t->table[k].opt.dim;
        float unknown[DIM + 1];
        assert_int_equal(width, DIM + 1);
        for (uint32_t i = 0; i < t->table[k].n_rows; i++) {
            learned += table_row(&t->table[k], i)->value[DIM] != 0.0f;
        }
        assert_true(learned > 0);
        row_initial(unknown, width, 1, &t->table[k].opt.init);
        assert_true(unknown[0] != 0.0f && unknown[DIM] == 0.0f);
    }
}

static void check_life(enum optimizer_kind kind)
{
    struct life f;
    setup(&f);
    struct trainer *whole = open_trainer(&f, kind), *first = open_trainer(&f, kind);
    trainers_feed(first, &f.stream, 0, HALF);
    struct version_info info = publish(&f, first);
    check_learned(&f, first);
    check_scores(&f, first, &info);
    trainer_close(first);

    struct trainer *second = restore(&f, kind, &info);
    trainers_feed(second, &f.stream, HALF, EXAMPLES);
    trainers_feed(whole, &f.stream, 0, EXAMPLES);
    assert_true(trainers_equal(whole, second));
    info = publish(&f, second);
    check_scores(&f, whole, &info); /* scored from the restored one's version */
    trainer_close(whole);
    trainer_close(second);
    teardown(&f);
}

static void test_s7_m10_linear_under_sgd(void **state)
{
    (void)state;
    check_life(OPTIMIZER_SGD);
}

static void test_s7_m10_linear_under_adagrad(void **state)
{
    (void)state;
    check_life(OPTIMIZER_ADAGRAD);
}

static void test_s7_m10_linear_under_adam(void **state)
{
    (void)state;
    check_life(OPTIMIZER_ADAM);
}

static void test_s7_m10_linear_under_ftrl(void **state)
{
    (void)state;
    check_life(OPTIMIZER_FTRL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_s7_m10_linear_under_sgd),
        cmocka_unit_test(test_s7_m10_linear_under_adagrad),
        cmocka_unit_test(test_s7_m10_linear_under_adam),
        cmocka_unit_test(test_s7_m10_linear_under_ftrl),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
