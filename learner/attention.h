/* attention.h: what the weights of the activation units look like: are steps told apart at all, or
 * do all weigh alike, or nothing.
 *
 * Every ATTENTION_EVERY-th example of the stream, by its number, is looked at when it is predicted,
 * so that the statistics are a function of the stream and cost next to nothing.  Kept for a period
 * of examples and the one before it: what is shown is of the newest one to two periods.  Per
 * sequence, over the weights w_1..w_H that its steps are pooled with, normalised as the model does:
 *
 *   mean, sd, quantiles  of all weights; quantiles within 1/16 of
 *                        the value (octaves.h)
 *   ignored              share of steps with |w| at most 1/100 of the largest of their history
 *   effective_steps      mean over histories of (sum |w|)^2 / sum w^2: 1 = one step has it all, H =
 *                        all weigh alike (inverse Simpson index); of a history of zeros it is 0
 *
 * Empty histories are left out, as are histories with a weight that is not finite.  No locks. */
#ifndef UNDINE_LEARNER_ATTENTION_H
#define UNDINE_LEARNER_ATTENTION_H

#include "base/schema.h"
#include "learner/model/model.h"
#include "learner/octaves.h"
#include "learner/snapshot.h"

enum {
    ATTENTION_EVERY = 16,
    ATTENTION_BUCKETS = 2 * OCTAVES_BUCKETS + 1, /* negative, descending by |w|; 0; positive */
    ATTENTION_QUANTILES = 5
};
extern const double ATTENTION_QUANTILE[ATTENTION_QUANTILES]; /* .01 .1 .5 .9 .99 */

struct attention_sums { /* of a period */
    double examples, steps, ignored, weight, square, effective;
};

struct attention_part {
    struct attention_sums sums;
    uint32_t bucket[ATTENTION_BUCKETS];
};

struct attention {
    const struct schema *schema; /* borrowed */
    uint64_t period;             /* examples */
    struct {
        uint64_t period; /* number of the period that part[0] is of; part[1]: the one before */
        struct attention_part part[2];
    } sequence[SCHEMA_SEQUENCES_MAX];
};

struct attention_summary { /* NaN where there is nothing */
    uint64_t examples;     /* looked at that have a history */
    double steps;          /* mean length of their histories */
    double mean, sd, quantile[ATTENTION_QUANTILES], ignored, effective_steps;
};

void attention_init(struct attention *a, const struct schema *schema, uint64_t period);
/* After a forward of n examples, the first of which is number seq of the stream. */
void attention_note(struct attention *a, const struct model_scratch *s, uint64_t seq, uint32_t n);
/* One history's weights, n > 0, of example seq. */
void attention_add(struct attention *a, uint32_t sequence, uint64_t seq, const float *weight,
                   size_t n);
void attention_summarize(const struct attention *a, uint32_t sequence,
                         struct attention_summary *out);

/* State in a snapshot's train arrays: attention.<sequence>.period (1) u64, .sums (2, 6) f64,
 * .bucket (2, ATTENTION_BUCKETS) u32.  False where memory is out. */
bool attention_save(const struct attention *a, struct snapshot *s);
/* Into one that has seen nothing; a snapshot without leaves it so.  UNDINE_ECORRUPT. */
int attention_load(struct attention *a, const struct snapshot *s, struct undine_err *err);

#endif
