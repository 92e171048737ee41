#include "learner/attention.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define IGNORED_SHARE 0.01f

const double ATTENTION_QUANTILE[ATTENTION_QUANTILES] = {0.01, 0.1, 0.5, 0.9, 0.99};

enum { N_SUMS = 6 };
_Static_assert(sizeof(struct attention_sums) == N_SUMS * sizeof(double), "saved as a row");

void attention_init(struct attention *a, const struct schema *schema, uint64_t period)
{
    *a = (struct attention){.schema = schema, .period = period > 0 ? period : 1};
}

/* ---- buckets ---- */

static uint32_t bucket_of(float w)
{
    int size = octaves_bucket(fabs((double)w)) + 1;
    return (uint32_t)(OCTAVES_BUCKETS + (w > 0.0f ? size : -size));
}

/* The middle of a bucket. */
static double value_of(uint32_t bucket)
{
    int side = (int)bucket - OCTAVES_BUCKETS;
    return side >= 0 ? octaves_middle(side - 1) : -octaves_middle(-side - 1);
}

/* ---- in ---- */

static struct attention_part *part_of(struct attention *a, uint32_t sequence, uint64_t seq)
{
    uint64_t period = seq / a->period;
    struct attention_part *part = a->sequence[sequence].part;
    if (period != a->sequence[sequence].period) {
        a->sequence[sequence].period = period;
        part[1] = part[0];
        part[0] = (struct attention_part){0};
    }
    return &part[0];
}

void attention_add(struct attention *a, uint32_t sequence, uint64_t seq, const float *weight,
                   size_t n)
{
    struct attention_part *part = part_of(a, sequence, seq);
    double sum = 0.0, absolute = 0.0, square = 0.0;
    float largest = 0.0f;
    for (size_t i = 0; i < n; i++) {
        double w = (double)weight[i];
        sum += w;
        absolute += fabs(w);
        square += w * w;
        largest = fmaxf(largest, fabsf(weight[i]));
    }
    if (!isfinite(square)) {
        return;
    }
    part->sums.examples += 1.0;
    part->sums.steps += (double)n;
    part->sums.weight += sum;
    part->sums.square += square;
    part->sums.effective += square > 0.0 ? absolute * absolute / square : 0.0;
    for (size_t i = 0; i < n; i++) {
        part->sums.ignored += fabsf(weight[i]) <= IGNORED_SHARE * largest;
        part->bucket[bucket_of(weight[i])]++;
    }
}

void attention_note(struct attention *a, const struct model_scratch *s, uint64_t seq, uint32_t n)
{
    uint64_t first = (ATTENTION_EVERY - seq % ATTENTION_EVERY) % ATTENTION_EVERY;
    for (uint64_t i = first; i < n; i += ATTENTION_EVERY) {
        for (uint32_t q = 0; q < a->schema->n_sequences; q++) {
            size_t steps;
            const float *weight = model_step_weights(s, q, (uint32_t)i, &steps);
            if (steps > 0) {
                attention_add(a, q, seq + i, weight, steps);
            }
        }
    }
}

/* ---- out ---- */

/* Value of the bucket that holds the weight of this rank among n. */
static double quantile(const struct attention_part part[2], double n, double q)
{
    double rank = ceil(q * n), below = 0.0;
    for (uint32_t b = 0; b < ATTENTION_BUCKETS; b++) {
        below += (double)part[0].bucket[b] + (double)part[1].bucket[b];
        if (below >= rank && below > 0.0) {
            return value_of(b);
        }
    }
    return NAN;
}

void attention_summarize(const struct attention *a, uint32_t sequence,
                         struct attention_summary *out)
{
    const struct attention_part *part = a->sequence[sequence].part;
    const struct attention_sums *x = &part[0].sums, *y = &part[1].sums;
    double n = x->steps + y->steps, examples = x->examples + y->examples;
    *out = (struct attention_summary){.examples = (uint64_t)examples};
    out->steps = n / examples; /* 0 / 0 is NaN, here and below */
    out->mean = (x->weight + y->weight) / n;
    out->sd = sqrt(fmax((x->square + y->square) / n - out->mean * out->mean, 0.0));
    out->ignored = (x->ignored + y->ignored) / n;
    out->effective_steps = (x->effective + y->effective) / examples;
    for (int q = 0; q < ATTENTION_QUANTILES; q++) {
        out->quantile[q] = quantile(part, n, ATTENTION_QUANTILE[q]);
    }
    if (examples == 0.0) {
        out->sd = NAN;
    }
}

/* ---- state ---- */

struct array_name {
    char text[sizeof((struct snapshot_array *)0)->name];
};

static struct array_name name_of(const struct attention *a, uint32_t sequence, const char *rest)
{
    struct array_name out;
    (void)snprintf(out.text, sizeof out.text, "attention.%s.%s",
                   a->schema->sequences[sequence].name, rest);
    return out;
}

bool attention_save(const struct attention *a, struct snapshot *s)
{
    for (uint32_t q = 0; q < a->schema->n_sequences; q++) {
        uint64_t *period = snapshot_train(s, name_of(a, q, "period").text, SNAPSHOT_U64, 1, 0);
        double *sums = snapshot_train(s, name_of(a, q, "sums").text, SNAPSHOT_F64, 2, N_SUMS);
        uint32_t *bucket =
            snapshot_train(s, name_of(a, q, "bucket").text, SNAPSHOT_U32, 2, ATTENTION_BUCKETS);
        if (period == NULL || sums == NULL || bucket == NULL) {
            return false;
        }
        *period = a->sequence[q].period;
        for (size_t p = 0; p < 2; p++) {
            const struct attention_part *part = &a->sequence[q].part[p];
            memcpy(sums + p * N_SUMS, &part->sums, sizeof part->sums);
            memcpy(bucket + p * ATTENTION_BUCKETS, part->bucket, sizeof part->bucket);
        }
    }
    return true;
}

static bool fits(const struct snapshot_array *a, enum snapshot_type type, uint64_t rows,
                 uint64_t cols)
{
    return a != NULL && a->type == type && a->rows == rows && (a->cols > 0 ? a->cols : 1) == cols;
}

int attention_load(struct attention *a, const struct snapshot *s, struct undine_err *err)
{
    for (uint32_t q = 0; q < a->schema->n_sequences; q++) {
        const struct snapshot_array *period =
            snapshot_find(s->train, s->n_train, name_of(a, q, "period").text);
        const struct snapshot_array *sums =
            snapshot_find(s->train, s->n_train, name_of(a, q, "sums").text);
        const struct snapshot_array *bucket =
            snapshot_find(s->train, s->n_train, name_of(a, q, "bucket").text);
        if (period == NULL && sums == NULL && bucket == NULL) {
            continue;
        }
        if (!fits(period, SNAPSHOT_U64, 1, 1) || !fits(sums, SNAPSHOT_F64, 2, N_SUMS) ||
            !fits(bucket, SNAPSHOT_U32, 2, ATTENTION_BUCKETS)) {
            return undine_err_set(err, UNDINE_ECORRUPT, "arrays `%s*` have another shape",
                                  name_of(a, q, "").text);
        }
        memcpy(&a->sequence[q].period, period->data, sizeof a->sequence[q].period);
        for (size_t p = 0; p < 2; p++) {
            struct attention_part *part = &a->sequence[q].part[p];
            memcpy(&part->sums, (const double *)sums->data + p * N_SUMS, sizeof part->sums);
            memcpy(part->bucket, (const uint32_t *)bucket->data + p * ATTENTION_BUCKETS,
                   sizeof part->bucket);
        }
    }
    return UNDINE_OK;
}
