#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "learner/metrics.h"

#include "base/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct metrics_row row_of(uint64_t user, double logit, int label)
{
    return (struct metrics_row){
        .user = user, .logit = (float)logit, .weight = label != 0 ? -1.0f : 1.0f};
}

/* The definition: every pair of a positive and a negative. */
static double auc_by_pairs(const struct metrics_row *rows, size_t n)
{
    double won = 0.0, pairs = 0.0;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < n; k++) {
            if (rows[i].weight < 0.0f && rows[k].weight > 0.0f) {
                pairs += 1.0;
                won += rows[i].logit > rows[k].logit ? 1.0 : 0.0;
                won += rows[i].logit == rows[k].logit ? 0.5 : 0.0;
            }
        }
    }
    return won / pairs;
}

/* E1 */
static void test_e1_auc_is_its_definition(void **state)
{
    (void)state;
    struct random r = {.state = 5};
    for (int round = 0; round < 50; round++) {
        struct metrics_row rows[60];
        size_t n = 2 + random_below(&r, 59);
        for (size_t i = 0; i < n; i++) {
            /* few distinct scores, so that ties are common */
            rows[i] = row_of(1, (double)random_below(&r, 8), (int)random_below(&r, 2));
        }
        rows[0] = row_of(1, 3.0, 1);
        rows[1] = row_of(1, 3.0, 0);
        double expected = auc_by_pairs(rows, n);
        assert_true(fabs(metrics_rows_auc(rows, n) - expected) < 1e-12);
        for (size_t i = n - 1; i > 0; i--) { /* in another order */
            size_t other = random_below(&r, i + 1);
            struct metrics_row swapped = rows[i];
            rows[i] = rows[other];
            rows[other] = swapped;
        }
        assert_true(fabs(metrics_rows_auc(rows, n) - expected) < 1e-12);
    }
    struct metrics_row perfect[4] = {row_of(1, 2, 1), row_of(1, 1, 0), row_of(1, 3, 1),
                                     row_of(1, 0, 0)};
    assert_true(metrics_rows_auc(perfect, 4) == 1.0);
    struct metrics_row inverted[2] = {row_of(1, 2, 0), row_of(1, 1, 1)};
    assert_true(metrics_rows_auc(inverted, 2) == 0.0);
    struct metrics_row equal[3] = {row_of(1, 2, 0), row_of(1, 2, 1), row_of(1, 2, 1)};
    assert_true(metrics_rows_auc(equal, 3) == 0.5);
    assert_true(isnan(metrics_rows_auc(perfect, 0)));
    struct metrics_row one_class[1] = {row_of(1, 2, 0)};
    assert_true(isnan(metrics_rows_auc(one_class, 1)));
}

/* E2: users A, B, C and D of one class. */
static void test_e2_gauc_golden(void **state)
{
    (void)state;
    struct metrics_row rows[11] = {
        row_of('A', .9, 1), row_of('B', .5, 1), row_of('C', .1, 1), row_of('D', .4, 1),
        row_of('A', .8, 0), row_of('C', .7, 1), row_of('B', .5, 0), row_of('C', .6, 0),
        row_of('A', .3, 0), row_of('C', .2, 0), row_of('D', .6, 1),
    };
    struct metrics_gauc g = metrics_rows_gauc(rows, 11);
    assert_true(fabs(g.gauc - 6.0 / 9.0) < 1e-12);
    assert_int_equal(g.users, 3);
    assert_int_equal(g.users_one_class, 1);
    assert_true(fabs(metrics_rows_auc(rows, 11) - .5666667) < 1e-7); /* of all together */
    const struct {
        uint64_t user;
        double auc;
    } users[3] = {{'A', 1.0}, {'B', .5}, {'C', .5}};
    for (size_t u = 0; u < 3; u++) {
        struct metrics_row own[11];
        size_t n = 0;
        for (size_t i = 0; i < 11; i++) {
            if (rows[i].user == users[u].user) {
                own[n++] = rows[i];
            }
        }
        assert_true(fabs(metrics_rows_auc(own, n) - users[u].auc) < 1e-12);
    }
}

/* E4: with one row of each class a user, GAUC is the share of pairs in order. */
static void test_e4_gauc_of_pairs_is_pairwise_accuracy(void **state)
{
    (void)state;
    enum { USERS = 500 };
    static struct metrics_row rows[2 * USERS];
    struct random r = {.state = 12};
    double right = 0.0;
    for (uint64_t u = 0; u < USERS; u++) {
        rows[u] = row_of(u, (double)random_below(&r, 10), 1);
        rows[USERS + u] = row_of(u, (double)random_below(&r, 10), 0);
        right += rows[u].logit > rows[USERS + u].logit ? 1.0 : 0.0;
        right += rows[u].logit == rows[USERS + u].logit ? 0.5 : 0.0;
    }
    assert_true(fabs(metrics_rows_gauc(rows, 2 * USERS).gauc - right / USERS) < 1e-12);
}

/* E5: the histogram against the exact value, for spread and for narrow scores. */
static void test_e5_bucketed_auc_is_near_the_exact_one(void **state)
{
    (void)state;
    enum { ROWS = 100000 };
    const struct {
        double mean, spread;
    } cases[] = {{-3.0, 1.0}, {0.0, 0.2}, {-6.0, 3.0}};
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        struct metrics m;
        assert_int_equal(metrics_init(&m, ROWS, NULL), 0);
        struct random r = {.state = 77 + c};
        for (int i = 0; i < ROWS; i++) {
            int label = random_unit(&r) < 0.1;
            double z = cases[c].mean + cases[c].spread * (random_normal(&r) + 0.7 * label);
            metrics_add(&m, (uint64_t)i, (float)z, label, 1.0f);
        }
        struct metrics_row *rows = calloc(ROWS, sizeof *rows);
        assert_int_equal(metrics_window(&m, rows), ROWS);
        double exact = metrics_rows_auc(rows, ROWS), fast = metrics_auc(&m);
        print_message("auc exact %.6f by histogram %.6f\n", exact, fast);
        assert_true(fabs(exact - fast) < 1e-4);
        free(rows);
        metrics_release(&m);
    }
}

/* E3: every improvement that the paper's tables 3 to 5 print, from the AUCs that they print. */
static void test_e3_rela_impr_of_the_papers_tables(void **state)
{
    (void)state;
    static const double cells[][3] = {
        {.7263, .7300, -1.61}, {.7304, .7300, .17},    {.7321, .7300, .91},    {.7324, .7300, 1.04},
        {.7337, .7300, 1.61},  {.7348, .7300, 2.09},   {.7742, .8624, -24.34}, {.8637, .8624, .36},
        {.8679, .8624, 1.52},  {.8683, .8624, 1.63},   {.8818, .8624, 5.35},   {.8871, .8624, 6.82},
        {.5959, .5940, 2.02},  {.5970, .5940, 3.19},   {.5983, .5940, 4.57},   {.5954, .5940, 1.49},
        {.6031, .5940, 9.68},  {.5738, .5970, -23.92}, {.5977, .5970, .72},    {.5983, .5970, 1.34},
        {.5993, .5970, 2.37},  {.6029, .5970, 6.08},   {.6060, .5970, 9.28},   {.6044, .5970, 7.63},
        {.6083, .5970, 11.65},
    };
    for (size_t i = 0; i < sizeof cells / sizeof cells[0]; i++) {
        assert_true(fabs(metrics_rela_impr(cells[i][0], cells[i][1]) - cells[i][2]) < 0.0101);
    }
}

/* Logloss, normalized entropy and calibration against sums over the stream before sampling. */
static void test_sampled_negatives_weigh_more(void **state)
{
    (void)state;
    struct metrics whole, sampled;
    assert_int_equal(metrics_init(&whole, 0, NULL), 0);
    assert_int_equal(metrics_init(&sampled, 0, NULL), 0);
    for (int i = 0; i < 1000; i++) {
        int label = i % 10 == 0;
        metrics_add(&whole, 1, -2.0f, label, 1.0f);
        if (label != 0 ||
            i % 4 == 1) { /* 300 of 900 negatives are not 1/4: odd i that are 1 mod 4 */
            metrics_add(&sampled, 1, -2.0f, label, 0.25f);
        }
    }
    double p = 1.0 / (1.0 + exp(2.0));
    double logloss = -0.1 * log(p) - 0.9 * log1p(-p);
    double entropy = -0.1 * log(0.1) - 0.9 * log(0.9);
    assert_true(fabs(metrics_logloss(&whole.sums) - logloss) < 1e-12);
    assert_true(fabs(metrics_normalized_entropy(&whole.sums) - logloss / entropy) < 1e-12);
    assert_true(fabs(metrics_calibration(&whole.sums) - p / 0.1) < 1e-12);
    assert_true(fabs(sampled.sums.weight - (100.0 + 4.0 * 250.0)) < 1e-9);
    assert_true(sampled.sums.label == 100.0);
    assert_true(fabs(metrics_calibration(&sampled.sums) - p * 1100.0 / 100.0) < 1e-9);
    metrics_release(&whole);
    metrics_release(&sampled);
}

static void test_extreme_logits_stay_finite(void **state)
{
    (void)state;
    struct metrics m;
    assert_int_equal(metrics_init(&m, 4, NULL), 0);
    metrics_add(&m, 1, 1e4f, 0, 1.0f);
    metrics_add(&m, 1, -1e4f, 1, 1.0f);
    assert_true(metrics_auc(&m) == 0.0);
    assert_true(fabs(metrics_logloss(&m.sums) - 1e4) < 1.0);
    metrics_release(&m);
}

/* The expected calibration error against sums over the rows, with sampled negatives; and what
 * calibration does not see, because it cancels. */
static void test_ece_is_its_definition(void **state)
{
    (void)state;
    enum { ROWS = 20000 };
    struct metrics m;
    assert_int_equal(metrics_init(&m, ROWS, NULL), 0);
    struct random r = {.state = 31};
    double weight[20] = {0}, p_sum[20] = {0}, clicks[20] = {0}, examples[20] = {0}, all = 0.0;
    for (int i = 0; i < ROWS; i++) {
        float z = (float)(2.0 * random_normal(&r));
        double p = 1.0 / (1.0 + exp(-(double)z));
        int label = random_unit(&r) < p * p; /* too high everywhere */
        double w = label ? 1.0 : 4.0;
        metrics_add(&m, (uint64_t)i, z, label, 0.25f);
        int b = (int)floor(p * 20.0);
        examples[b] += 1.0;
        weight[b] += w;
        p_sum[b] += w * p;
        clicks[b] += label;
        all += w;
    }
    double expected = 0.0;
    for (int b = 0; b < 20; b++) {
        assert_true(m.bin[b].examples == examples[b] && m.bin[b].weight == weight[b]);
        assert_true(fabs(m.bin[b].p - p_sum[b]) < 1e-8 && m.bin[b].label == clicks[b]);
        expected += weight[b] / all * fabs(p_sum[b] / weight[b] - clicks[b] / weight[b]);
    }
    assert_true(expected > 0.05 && fabs(metrics_ece(m.bin) - expected) < 1e-12);
    struct metrics_row *rows = calloc(ROWS, sizeof *rows);
    struct metrics_bin bin[METRICS_BINS];
    metrics_rows_bins(bin, rows, metrics_window(&m, rows));
    assert_memory_equal(bin, m.bin, sizeof bin);
    free(rows);
    metrics_release(&m);

    struct metrics_row cancel[4] = {row_of(1, .2, 0), row_of(1, .2, 0), row_of(1, .8, 1),
                                    row_of(1, .8, 1)};
    for (int i = 0; i < 4; i++) {
        double p = (double)cancel[i].logit;
        cancel[i].logit = (float)log(p / (1.0 - p));
    }
    struct metrics_sums sums = metrics_rows_sums(cancel, 4);
    metrics_rows_bins(bin, cancel, 4);
    assert_true(fabs(metrics_calibration(&sums) - 1.0) < 1e-6);
    assert_true(fabs(metrics_ece(bin) - 0.2) < 1e-6);
    metrics_rows_bins(bin, cancel, 0);
    assert_true(isnan(metrics_ece(bin)));
    cancel[0] = row_of(1, 100.0, 1); /* p is 1 */
    cancel[1] = row_of(1, -100.0, 0);
    metrics_rows_bins(bin, cancel, 2);
    assert_true(bin[METRICS_BINS - 1].examples == 1.0 && bin[0].examples == 1.0);
}

static void test_the_window_keeps_the_newest(void **state)
{
    (void)state;
    struct metrics m;
    assert_int_equal(metrics_init(&m, 3, NULL), 0);
    struct metrics_row rows[3];
    assert_int_equal(metrics_window(&m, rows), 0);
    assert_true(isnan(metrics_auc(&m)) && isnan(metrics_logloss(&m.sums)));
    for (int i = 0; i < 5; i++) {
        metrics_add(&m, (uint64_t)i, (float)i, i % 2, 1.0f);
    }
    assert_int_equal(metrics_window(&m, rows), 3);
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(rows[i].user, i + 2);
    }
    metrics_release(&m);
}

/* A withdrawal takes the nearest negative of its user, and none of others. */
static void test_withdrawals_are_settled(void **state)
{
    (void)state;
    struct metrics_row rows[] = {row_of(1, 0.5, 0), row_of(1, 2.0, 0), row_of(2, 1.1, 0),
                                 row_of(1, 1.0, 1), row_of(3, 0.0, 1), row_of(3, 1.0, 0),
                                 row_of(4, 1.0, 1), row_of(1, 1.0, 0), row_of(4, 1.0, 0)};
    rows[7].weight = rows[8].weight = -2.0f; /* user 4 has no negative any more */
    assert_int_equal(metrics_rows_settle(rows, 9), 6);
    static const struct {
        uint64_t user;
        float logit;
    } left[] = {{1, 1.0f}, {1, 2.0f}, {2, 1.1f}, {3, 0.0f}, {3, 1.0f}, {4, 1.0f}};
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(rows[i].user, left[i].user);
        assert_true(rows[i].logit == left[i].logit);
        assert_true(rows[i].weight == 1.0f || rows[i].weight == -1.0f);
    }
    struct metrics_row plain[] = {row_of(2, 1.0, 1), row_of(1, 3.0, 0)};
    assert_int_equal(metrics_rows_settle(plain, 2), 2);
    assert_int_equal(plain[0].user, 2); /* nothing to settle: left as it was */
}

/* Against pairs of what remains: random negatives of which some turn into positives, at scores that
 * have moved; never outside of 0..1, since the start as in any window. */
static void test_withdrawn_negatives_leave_auc_in_range(void **state)
{
    (void)state;
    struct random r = {.state = 8};
    for (int round = 0; round < 20; round++) {
        struct metrics m;
        assert_int_equal(metrics_init(&m, 1 + random_below(&r, 40), NULL), 0);
        struct metrics_row rows[40];
        for (int i = 0; i < 60; i++) {
            uint64_t user = random_below(&r, 3);
            float logit = (float)random_below(&r, 100) / 10.0f - 5.0f;
            int label = random_below(&r, 3) == 0;
            if (label != 0) {
                metrics_withdraw(&m, user, logit, 0.5f);
            }
            metrics_add(&m, user, logit, label, 0.5f);
            double auc = metrics_auc(&m);
            assert_true(isnan(auc) || (auc >= 0.0 && auc <= 1.0));
            size_t n = metrics_rows_settle(rows, metrics_window(&m, rows));
            double gauc = metrics_rows_gauc(rows, n).gauc, exact = metrics_rows_auc(rows, n);
            assert_true(isnan(gauc) || (gauc >= 0.0 && gauc <= 1.0));
            assert_true(isnan(exact) || fabs(exact - auc_by_pairs(rows, n)) < 1e-12);
        }
        assert_true(m.examples >= m.positives);
        metrics_release(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_e1_auc_is_its_definition),
        cmocka_unit_test(test_e2_gauc_golden),
        cmocka_unit_test(test_e4_gauc_of_pairs_is_pairwise_accuracy),
        cmocka_unit_test(test_e5_bucketed_auc_is_near_the_exact_one),
        cmocka_unit_test(test_e3_rela_impr_of_the_papers_tables),
        cmocka_unit_test(test_sampled_negatives_weigh_more),
        cmocka_unit_test(test_extreme_logits_stay_finite),
        cmocka_unit_test(test_ece_is_its_definition),
        cmocka_unit_test(test_the_window_keeps_the_newest),
        cmocka_unit_test(test_withdrawals_are_settled),
        cmocka_unit_test(test_withdrawn_negatives_leave_auc_in_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
