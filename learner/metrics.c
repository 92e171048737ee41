#include "learner/metrics.h"

#include "learner/model/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LOGIT_MAX 16.0

int metrics_init(struct metrics *m, uint64_t window_max, struct undine_err *err)
{
    *m = (struct metrics){.window_max = window_max};
    m->bucket = calloc(METRICS_BUCKETS, sizeof *m->bucket);
    if (window_max > 0) {
        m->window = calloc(window_max, sizeof *m->window);
    }
    if (m->bucket == NULL || (window_max > 0 && m->window == NULL)) {
        metrics_release(m);
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for a metrics window of %llu",
                              (unsigned long long)window_max);
    }
    return UNDINE_OK;
}

void metrics_release(struct metrics *m)
{
    if (m == NULL) {
        return;
    }
    free(m->bucket);
    free(m->window);
    op_log_release(&m->log);
    *m = (struct metrics){0};
}

static uint32_t bucket_of(float logit)
{
    double at = ((double)logit + LOGIT_MAX) * ((double)METRICS_BUCKETS / (2.0 * LOGIT_MAX));
    if (!(at > 0.0)) {
        return 0;
    }
    return at < (double)METRICS_BUCKETS ? (uint32_t)at : METRICS_BUCKETS - 1;
}

static double probability(double logit)
{
    if (logit >= 0.0) {
        return 1.0 / (1.0 + exp(-logit));
    }
    double e = exp(logit);
    return e / (1.0 + e);
}

/* A row is a positive, a negative, or a negative that is withdrawn. */
static bool is_withdrawal(const struct metrics_row *r)
{
    return r->weight < -1.0f;
}

static double label_of(const struct metrics_row *r)
{
    return r->weight == -1.0f ? 1.0 : 0.0;
}

static double weight_of(const struct metrics_row *r)
{
    return r->weight == -1.0f ? 1.0
           : is_withdrawal(r) ? (double)r->weight + 1.0
                              : (double)r->weight;
}

static void sums_add(struct metrics_sums *s, const struct metrics_row *r, double p)
{
    double label = label_of(r), weight = weight_of(r);
    s->weight += weight;
    s->loss += weight * model_logloss((double)r->logit, label);
    s->p += weight * p;
    s->label += label;
}

static void bins_add(struct metrics_bin bin[METRICS_BINS], const struct metrics_row *r, double p)
{
    int b = (int)(p * METRICS_BINS);
    struct metrics_bin *to = &bin[b < METRICS_BINS ? b : METRICS_BINS - 1];
    double weight = weight_of(r);
    to->examples += 1.0;
    to->weight += weight;
    to->p += weight * p;
    to->label += label_of(r);
}

void metrics_window_add(struct metrics *m, const struct metrics_row *r)
{
    if (m->window_max == 0) {
        return;
    }
    m->window[m->window_at] = *r;
    m->window_at = m->window_at + 1 < m->window_max ? m->window_at + 1 : 0;
    m->window_n += m->window_n < m->window_max;
}

static void note(struct metrics *m, uint64_t user, float logit, float sample_rate, uint32_t label)
{
    const struct metrics_op op = {
        .user = user, .logit = logit, .sample_rate = sample_rate, .label = label};
    op_log_note(&m->log, &op, sizeof op);
}

void metrics_add(struct metrics *m, uint64_t user, float logit, int label, float sample_rate)
{
    UNDINE_ASSERT(isfinite(logit) && sample_rate > 0.0f);
    struct metrics_row row = {
        .user = user, .logit = logit, .weight = label != 0 ? -1.0f : 1.0f / sample_rate};
    note(m, user, logit, sample_rate, label != 0);
    m->examples++;
    m->positives += label != 0;
    m->bucket[bucket_of(logit)][label != 0]++;
    double p = probability((double)logit);
    sums_add(&m->sums, &row, p);
    bins_add(m->bin, &row, p);
    metrics_window_add(m, &row);
}

/* The bucket with a negative that is nearest to `from`, the lower of two; there is one. */
static uint32_t nearest_negative(const struct metrics *m, uint32_t from)
{
    for (uint32_t away = 0; away < METRICS_BUCKETS; away++) {
        if (away <= from && m->bucket[from - away][0] > 0) {
            return from - away;
        }
        if (from + away < METRICS_BUCKETS && m->bucket[from + away][0] > 0) {
            return from + away;
        }
    }
    UNDINE_ASSERT(false);
    return 0;
}

/* From the bin of a prediction that was in this bucket. */
static void bins_withdraw(struct metrics_bin bin[METRICS_BINS], uint32_t bucket, double weight)
{
    double p =
        probability(((double)bucket + 0.5) * (2.0 * LOGIT_MAX / METRICS_BUCKETS) - LOGIT_MAX);
    struct metrics_bin *from = &bin[(int)(p * METRICS_BINS)];
    from->examples -= 1.0;
    from->weight -= weight;
    from->p -= weight * p;
}

void metrics_withdraw(struct metrics *m, uint64_t user, float logit, float sample_rate)
{
    UNDINE_ASSERT(isfinite(logit) && sample_rate > 0.0f);
    note(m, user, logit, sample_rate, METRICS_WITHDRAWN);
    if (m->examples == m->positives) {
        return;
    }
    struct metrics_row row = {.user = user, .logit = logit, .weight = -1.0f - 1.0f / sample_rate};
    m->examples--;
    uint32_t bucket = nearest_negative(m, bucket_of(logit));
    m->bucket[bucket][0]--;
    sums_add(&m->sums, &row, probability((double)logit));
    bins_withdraw(m->bin, bucket, 1.0 / (double)sample_rate);
    metrics_window_add(m, &row);
}

int metrics_again(struct metrics *m, const void *log, size_t n, struct undine_err *err)
{
    const uint8_t *at = log;
    bool whole = n % sizeof(struct metrics_op) == 0;
    for (size_t i = 0; whole && i < n; i += sizeof(struct metrics_op)) {
        struct metrics_op op;
        memcpy(&op, at + i, sizeof op);
        whole = isfinite(op.logit) && op.sample_rate > 0.0f && op.label <= METRICS_WITHDRAWN;
        if (whole && op.label == METRICS_WITHDRAWN) {
            metrics_withdraw(m, op.user, op.logit, op.sample_rate);
        } else if (whole) {
            metrics_add(m, op.user, op.logit, (int)op.label, op.sample_rate);
        }
    }
    return whole ? UNDINE_OK : undine_err_set(err, UNDINE_ECORRUPT, "a log of predictions is none");
}

size_t metrics_window(const struct metrics *m, struct metrics_row *out)
{
    uint64_t at = m->window_n < m->window_max ? 0 : m->window_at;
    for (uint64_t i = 0; i < m->window_n; i++) {
        out[i] = m->window[at];
        at = at + 1 < m->window_max ? at + 1 : 0;
    }
    return m->window_n;
}

double metrics_auc(const struct metrics *m)
{
    double below = 0.0, won = 0.0;
    for (size_t b = 0; b < METRICS_BUCKETS; b++) {
        double negatives = (double)m->bucket[b][0], positives = (double)m->bucket[b][1];
        won += positives * (below + 0.5 * negatives);
        below += negatives;
    }
    uint64_t negatives = m->examples - m->positives;
    if (m->positives == 0 || negatives == 0) {
        return NAN;
    }
    return won / ((double)m->positives * (double)negatives);
}

double metrics_logloss(const struct metrics_sums *s)
{
    return s->weight > 0.0 ? s->loss / s->weight : NAN;
}

double metrics_normalized_entropy(const struct metrics_sums *s)
{
    double rate = s->label / s->weight;
    if (!(rate > 0.0 && rate < 1.0)) {
        return NAN;
    }
    double entropy = -rate * log(rate) - (1.0 - rate) * log1p(-rate);
    return metrics_logloss(s) / entropy;
}

double metrics_calibration(const struct metrics_sums *s)
{
    return s->label > 0.0 ? s->p / s->label : NAN;
}

double metrics_ece(const struct metrics_bin bin[METRICS_BINS])
{
    double error = 0.0, weight = 0.0;
    for (int b = 0; b < METRICS_BINS; b++) {
        error += fabs(bin[b].p - bin[b].label);
        weight += bin[b].weight;
    }
    return weight > 0.0 ? error / weight : NAN;
}

void metrics_rows_bins(struct metrics_bin out[METRICS_BINS], const struct metrics_row *rows,
                       size_t n)
{
    for (int b = 0; b < METRICS_BINS; b++) {
        out[b] = (struct metrics_bin){0};
    }
    for (size_t i = 0; i < n; i++) {
        bins_add(out, &rows[i], probability((double)rows[i].logit));
    }
}

struct metrics_sums metrics_rows_sums(const struct metrics_row *rows, size_t n)
{
    struct metrics_sums s = {0};
    for (size_t i = 0; i < n; i++) {
        sums_add(&s, &rows[i], probability((double)rows[i].logit));
    }
    return s;
}

static int by_logit(const void *a, const void *b)
{
    const struct metrics_row *x = a, *y = b;
    return (x->logit > y->logit) - (x->logit < y->logit);
}

static int by_user_logit(const void *a, const void *b)
{
    const struct metrics_row *x = a, *y = b;
    if (x->user != y->user) {
        return x->user < y->user ? -1 : 1;
    }
    return by_logit(a, b);
}

/* Rows ascend by logit: the negative that is nearest to the withdrawal at `at`, n where there is
 * none. */
static size_t withdrawn(const struct metrics_row *rows, size_t n, size_t at)
{
    size_t below = at, above = at + 1;
    while (below > 0 && !(rows[below - 1].weight > 0.0f)) {
        below--;
    }
    while (above < n && !(rows[above].weight > 0.0f)) {
        above++;
    }
    if (below == 0) {
        return above;
    }
    bool lower =
        above == n || rows[at].logit - rows[below - 1].logit <= rows[above].logit - rows[at].logit;
    return lower ? below - 1 : above;
}

/* Of one user. */
static void settle_user(struct metrics_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (is_withdrawal(&rows[i])) {
            size_t negative = withdrawn(rows, n, i);
            rows[i].weight = 0.0f;
            if (negative < n) {
                rows[negative].weight = 0.0f;
            }
        }
    }
}

size_t metrics_rows_settle(struct metrics_row *rows, size_t n)
{
    size_t first = 0;
    while (first < n && !is_withdrawal(&rows[first])) {
        first++;
    }
    if (first == n) {
        return n;
    }
    qsort(rows, n, sizeof *rows, by_user_logit);
    for (size_t i = 0; i < n;) {
        first = i;
        while (i < n && rows[i].user == rows[first].user) {
            i++;
        }
        settle_user(rows + first, i - first);
    }
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        rows[kept] = rows[i];
        kept += rows[i].weight != 0.0f;
    }
    return kept;
}

/* AUC of rows that ascend by logit; NaN where one class is missing. */
static double sorted_auc(const struct metrics_row *rows, size_t n)
{
    double below = 0.0, won = 0.0, positives_all = 0.0;
    for (size_t i = 0; i < n;) {
        double negatives = 0.0, positives = 0.0;
        size_t first = i;
        for (; i < n && rows[i].logit == rows[first].logit; i++) {
            negatives += rows[i].weight < 0.0f ? 0.0 : 1.0;
            positives += rows[i].weight < 0.0f ? 1.0 : 0.0;
        }
        won += positives * (below + 0.5 * negatives);
        below += negatives;
        positives_all += positives;
    }
    return below > 0.0 && positives_all > 0.0 ? won / (below * positives_all) : NAN;
}

double metrics_rows_auc(struct metrics_row *rows, size_t n)
{
    if (n == 0) {
        return NAN;
    }
    qsort(rows, n, sizeof *rows, by_logit);
    return sorted_auc(rows, n);
}

struct metrics_gauc metrics_rows_gauc(struct metrics_row *rows, size_t n)
{
    struct metrics_gauc out = {.gauc = NAN};
    if (n == 0) {
        return out;
    }
    qsort(rows, n, sizeof *rows, by_user_logit);
    double sum = 0.0, impressions = 0.0;
    for (size_t i = 0; i < n;) {
        size_t first = i;
        while (i < n && rows[i].user == rows[first].user) {
            i++;
        }
        double auc = sorted_auc(rows + first, i - first);
        if (isnan(auc)) {
            out.users_one_class++;
            continue;
        }
        out.users++;
        sum += (double)(i - first) * auc;
        impressions += (double)(i - first);
    }
    if (impressions > 0.0) {
        out.gauc = sum / impressions;
    }
    return out;
}

void metrics_summarize(const struct metrics *m, struct metrics_summary *out)
{
    out->examples = m->examples;
    out->positives = m->positives;
    out->auc = metrics_auc(m);
    out->logloss = metrics_logloss(&m->sums);
    out->normalized_entropy = metrics_normalized_entropy(&m->sums);
    out->calibration = metrics_calibration(&m->sums);
    out->ece = metrics_ece(m->bin);
}

void metrics_rows_summarize(struct metrics_row *rows, size_t n, struct metrics_summary *out)
{
    n = metrics_rows_settle(rows, n);
    struct metrics_sums sums = metrics_rows_sums(rows, n);
    struct metrics_bin bin[METRICS_BINS];
    metrics_rows_bins(bin, rows, n);
    struct metrics_gauc gauc = metrics_rows_gauc(rows, n);
    out->window_examples = n;
    out->gauc = gauc.gauc;
    out->gauc_users = gauc.users;
    out->gauc_users_one_class = gauc.users_one_class;
    out->window_auc = metrics_rows_auc(rows, n);
    out->window_logloss = metrics_logloss(&sums);
    out->window_normalized_entropy = metrics_normalized_entropy(&sums);
    out->window_calibration = metrics_calibration(&sums);
    out->window_ece = metrics_ece(bin);
}

double metrics_rela_impr(double auc, double base_auc)
{
    return ((auc - 0.5) / (base_auc - 0.5) - 1.0) * 100.0;
}
