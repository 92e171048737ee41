#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* test_progressive.c: what progressive and frozen metrics say of models whose order is known.
 *
 * The stream: p = sigmoid(a_item + b_user), both normal; what a user did last says nothing. */
#include "tests/support/example_stream.h"
#include "tests/support/trainers.h"

#include "base/hash.h"

#include <math.h>
#include <stdlib.h>

enum { USERS = 300, ITEMS = 400, ROWS = 60000, BLOCK = 6000 };

struct row {
    uint64_t item, user;
    int label;
};

struct world {
    struct row *row;
    double bayes_logloss;
};

static void world_make(struct world *w)
{
    struct random r = {.state = 11};
    double item[ITEMS], user[USERS];
    for (int i = 0; i < ITEMS; i++) {
        item[i] = random_normal(&r) - 0.5;
    }
    for (int u = 0; u < USERS; u++) {
        user[u] = random_normal(&r);
    }
    w->row = calloc(ROWS, sizeof *w->row);
    w->bayes_logloss = 0.0;
    for (int i = 0; i < ROWS; i++) {
        uint64_t it = random_below(&r, ITEMS), u = random_below(&r, USERS);
        double z = item[it] + user[u];
        int label = random_unit(&r) < 1.0 / (1.0 + exp(-z));
        w->row[i] = (struct row){
            .item = hash_mix64(it + 1), .user = hash_mix64(u + 1000000), .label = label};
        w->bayes_logloss += model_logloss(z, label) / ROWS;
    }
}

/* ---- click rates by counting: item, and item + user ---- */

struct rates {
    struct popularity item, user;
};

static void rates_open(struct rates *r)
{
    assert_int_equal(popularity_open(&r->item, 1 << 16, NULL), 0);
    assert_int_equal(popularity_open(&r->user, 1 << 16, NULL), 0);
}

static void rates_release(struct rates *r)
{
    popularity_release(&r->item);
    popularity_release(&r->user);
}

static void rates_learn(struct rates *r, const struct row *row)
{
    assert_int_equal(popularity_learn(&r->item, row->item, 1.0, row->label, NULL), 0);
    assert_int_equal(popularity_learn(&r->user, row->user, 1.0, row->label, NULL), 0);
}

static double logit_of(const struct popularity *p, uint64_t key)
{
    double rate = popularity_predict(p, key);
    return log(rate) - log1p(-rate);
}

static void copy_popularity(struct popularity *to, const struct popularity *from)
{
    struct popularity_row *rows = calloc(from->n_rows + 1, sizeof *rows);
    uint64_t n = 0;
    for (uint64_t i = 0; i < from->capacity; i++) {
        if (from->row[i].key != 0) {
            rows[n++] = from->row[i];
        }
    }
    popularity_release(to);
    assert_int_equal(popularity_open(to, 1 << 16, NULL), 0);
    assert_int_equal(popularity_restore(to, rows, n, from->shows, from->clicks, NULL), 0);
    free(rows);
}

static double gauc_of(const struct metrics *m)
{
    struct metrics_row *rows = calloc(m->window_n, sizeof *rows);
    size_t n = metrics_window(m, rows);
    double gauc = metrics_rows_gauc(rows, n).gauc;
    free(rows);
    return gauc;
}

/* A user's rate is one number at any one moment, so it can reorder none of the user's rows: in
 * truth both models rank them alike.  Frozen GAUC says so; progressive GAUC punishes the second,
 * which is the better one by AUC. */
static void test_frozen_gauc_of_a_pair_of_click_rates(void **state)
{
    (void)state;
    struct world w;
    world_make(&w);
    struct rates now, frozen;
    rates_open(&now);
    rates_open(&frozen);
    struct metrics progressive[2], still[2];
    for (int k = 0; k < 2; k++) {
        assert_int_equal(metrics_init(&progressive[k], ROWS, NULL), 0);
        assert_int_equal(metrics_init(&still[k], ROWS, NULL), 0);
    }
    for (int i = 0; i < ROWS; i++) {
        const struct row *row = &w.row[i];
        uint64_t block = (uint64_t)i / BLOCK;
        if (i % BLOCK == 0) {
            copy_popularity(&frozen.item, &now.item);
            copy_popularity(&frozen.user, &now.user);
        }
        double item = logit_of(&now.item, row->item), user = logit_of(&now.user, row->user);
        metrics_add(&progressive[0], row->user, (float)item, row->label, 1.0f);
        metrics_add(&progressive[1], row->user, (float)(item + user), row->label, 1.0f);
        if (block > 0) {
            uint64_t group = frozen_group(row->user, block);
            item = logit_of(&frozen.item, row->item);
            user = logit_of(&frozen.user, row->user);
            metrics_add(&still[0], group, (float)item, row->label, 1.0f);
            metrics_add(&still[1], group, (float)(item + user), row->label, 1.0f);
        }
        rates_learn(&now, row);
    }
    double p[2], f[2], auc[2];
    for (int k = 0; k < 2; k++) {
        p[k] = gauc_of(&progressive[k]);
        f[k] = gauc_of(&still[k]);
        auc[k] = metrics_auc(&progressive[k]);
    }
    print_message("item rate: auc %.4f, gauc %.4f, frozen %.4f\n"
                  "item rate + user rate: auc %.4f, gauc %.4f, frozen %.4f\n",
                  auc[0], p[0], f[0], auc[1], p[1], f[1]);
    assert_true(auc[1] > auc[0] + 0.05);
    assert_true(fabs(f[1] - f[0]) < 1e-5);
    assert_true(p[1] < p[0] - 0.01);
    for (int k = 0; k < 2; k++) {
        metrics_release(&progressive[k]);
        metrics_release(&still[k]);
    }
    rates_release(&now);
    rates_release(&frozen);
    free(w.row);
}

/* ---- the same of trained models ---- */

static void stream_make(struct example_stream *s, const struct world *w, bool with_user)
{
    for (int i = 0; i < ROWS; i++) {
        const struct row *row = &w->row[i];
        const uint8_t counts[STREAM_FIELDS] = {[STREAM_ITEM] = 1, [STREAM_USER] = with_user};
        const uint64_t ids[2] = {row->item, row->user};
        struct example e = {.emit_ms = i,
                            .user = row->user,
                            .sample_rate = 1.0f,
                            .kind = row->label ? EXAMPLE_POSITIVE : EXAMPLE_NEGATIVE,
                            .counts = counts,
                            .ids = ids,
                            .sequence = {example_stream_sequence(s, 0, NULL, 0)}};
        (void)example_stream_add(s, &e);
    }
}

static struct trainer_metrics learn(const struct world *w, bool with_user)
{
    struct schema schema = example_stream_schema(4);
    struct example_stream s;
    example_stream_init(&s, &schema);
    stream_make(&s, w, with_user);
    struct trainer_options o = trainers_options();
    o.model.kind = MODEL_BASE;
    o.model.linear = true;
    o.batch_max = 32;
    o.metrics_window = ROWS;
    o.frozen = (struct frozen_options){.sample = 1.0, .block = BLOCK};
    struct trainer *t;
    assert_int_equal(trainer_open(&t, &schema, &o, NULL), 0);
    struct example_block block = example_stream_block(&s, 0, s.n);
    struct undine_err err = {0};
    int rc = trainer_learn(t, &block, UINT32_MAX, &err);
    if (rc < 0) {
        print_error("%s\n", err.msg);
    }
    assert_true(rc >= 0);
    struct trainer_metrics m;
    trainer_metrics(t, &m);
    trainer_close(t);
    example_stream_release(&s);
    return m;
}

static void test_frozen_gauc_of_models_with_and_without_the_user(void **state)
{
    (void)state;
    struct world w;
    world_make(&w);
    struct trainer_metrics item = learn(&w, false), both = learn(&w, true);
    print_message("item: auc %.4f, gauc %.4f, frozen %.4f, frozen auc %.4f\n"
                  "item + user: auc %.4f, gauc %.4f, frozen %.4f, frozen auc %.4f\n",
                  item.auc, item.gauc, item.frozen.gauc, item.frozen.auc, both.auc, both.gauc,
                  both.frozen.gauc, both.frozen.auc);
    assert_true(both.auc > item.auc + 0.05);
    assert_true(both.frozen.auc > item.frozen.auc + 0.05);
    assert_true(both.gauc < item.gauc - 0.01);
    assert_true(fabs(both.frozen.gauc - item.frozen.gauc) < 0.01);
    free(w.row);
}

/* S6: by progressive logloss the model beats the click rate of the item so far, which is no straw
 * man (it beats the mean rate), and comes near to the logloss of the true probabilities. */
static void test_s6_progressive_logloss_beats_the_click_rate_by_id(void **state)
{
    (void)state;
    struct world w;
    world_make(&w);
    struct trainer_metrics m = learn(&w, true);
    double entropy = m.logloss / m.normalized_entropy;
    print_message("logloss: mean rate %.4f, rate of the item %.4f, model %.4f, truth %.4f\n",
                  entropy, m.popularity_logloss, m.logloss, w.bayes_logloss);
    assert_true(m.popularity_logloss < entropy - 0.02);
    assert_true(m.logloss < m.popularity_logloss - 0.02);
    assert_true(m.logloss > w.bayes_logloss);
    free(w.row);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frozen_gauc_of_a_pair_of_click_rates),
        cmocka_unit_test(test_frozen_gauc_of_models_with_and_without_the_user),
        cmocka_unit_test(test_s6_progressive_logloss_beats_the_click_rate_by_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
