#include "learner/guard.h"

#include "learner/model/model.h"

#include <math.h>

static bool is_band(double low, double high, double max)
{
    return low >= 0.0 && low <= high && high <= max;
}

int guard_check(const struct guard_options *opt, struct undine_err *err)
{
    if (opt->window < 1) {
        return undine_err_set(err, UNDINE_ECONFIG, "guard.window is 0, expected at least 1");
    }
    if (!is_band(opt->label_rate_min, opt->label_rate_max, 1.0)) {
        return undine_err_set(err, UNDINE_ECONFIG,
                              "guard.label_rate_min is %g and label_rate_max %g, expected "
                              "0 <= min <= max <= 1",
                              opt->label_rate_min, opt->label_rate_max);
    }
    if (!is_band(opt->calibration_min, opt->calibration_max, HUGE_VAL)) {
        return undine_err_set(err, UNDINE_ECONFIG,
                              "guard.calibration_min is %g and calibration_max %g, expected "
                              "0 <= min <= max",
                              opt->calibration_min, opt->calibration_max);
    }
    if (!(opt->missing_max >= 0.0 && opt->missing_max <= 1.0)) {
        return undine_err_set(err, UNDINE_ECONFIG, "guard.missing_max is %g, expected 0..1",
                              opt->missing_max);
    }
    return UNDINE_OK;
}

void guard_add(struct guard *g, double logit, double label, double sample_rate)
{
    double weight = label > 0.0 ? 1.0 : 1.0 / sample_rate;
    g->examples++;
    g->sums.weight += weight;
    g->sums.p += weight * (double)model_sigmoid((real)logit);
    g->sums.label += weight * label;
    g->sums.loss += weight * model_logloss(logit, label);
}

void guard_withdraw(struct guard *g, double logit, double sample_rate)
{
    double weight = 1.0 / sample_rate;
    g->sums.weight -= weight;
    g->sums.p -= weight * (double)model_sigmoid((real)logit);
    g->sums.loss -= weight * model_logloss(logit, 0.0);
}

static int judge_labels(const struct guard *g, const struct guard_options *opt,
                        struct undine_err *err)
{
    /* A window can have more withdrawals than negatives: theirs came before it. */
    double rate = g->sums.label / fmax(g->sums.weight, g->sums.label);
    double calibration = metrics_calibration(&g->sums);
    if (!(rate >= opt->label_rate_min && rate <= opt->label_rate_max)) {
        return undine_err_set(err, UNDINE_EGUARD,
                              "the label rate of the last %llu examples is %.4g, outside of "
                              "learner.guard.label_rate_min..max, %g..%g: look at the join (lost "
                              "or late clicks), or widen the band and start again",
                              (unsigned long long)g->examples, rate, opt->label_rate_min,
                              opt->label_rate_max);
    }
    bool off = opt->calibration_max <= 0.0;
    if (!off && !(calibration >= opt->calibration_min && calibration <= opt->calibration_max)) {
        return undine_err_set(
            err, UNDINE_EGUARD,
            "predictions over clicks of the last %llu examples are %.4g, outside "
            "of learner.guard.calibration_min..max, %g..%g: the model does not fit "
            "the stream any more; go back to an earlier version, or widen the band "
            "and start again",
            (unsigned long long)g->examples, calibration, opt->calibration_min,
            opt->calibration_max);
    }
    return UNDINE_OK;
}

static int judge_features(const struct guard *g, const struct guard_options *opt,
                          const struct schema *schema, struct undine_err *err)
{
    uint64_t sum = 0;
    uint32_t worst = 0;
    for (uint32_t f = 0; f < schema->n_fields; f++) {
        sum += g->missing[f];
        worst = g->missing[f] > g->missing[worst] ? f : worst;
    }
    double share = (double)sum / ((double)g->examples * schema->n_fields);
    if (share <= opt->missing_max) {
        return UNDINE_OK;
    }
    return undine_err_set(
        err, UNDINE_EGUARD,
        "%.4g of the features of the last %llu examples have no value, more than "
        "learner.guard.missing_max, %g; most of all `%s`, in %.4g of the examples",
        share, (unsigned long long)g->examples, opt->missing_max, schema->fields[worst].name,
        (double)g->missing[worst] / (double)g->examples);
}

int guard_judge(struct guard *g, const struct guard_options *opt, const struct schema *schema,
                struct undine_err *err)
{
    if (g->examples < opt->window) {
        return UNDINE_OK;
    }
    int rc = judge_labels(g, opt, err);
    if (rc == UNDINE_OK && opt->missing_max < 1.0) {
        rc = judge_features(g, opt, schema, err);
    }
    *g = (struct guard){.skipped = g->skipped};
    return rc;
}

int guard_skipped(struct guard *g, const struct guard_options *opt, bool skipped,
                  struct undine_err *err)
{
    g->skipped = skipped ? g->skipped + 1 : 0;
    if (opt->skipped_max == 0 || g->skipped <= opt->skipped_max) {
        return UNDINE_OK;
    }
    return undine_err_set(err, UNDINE_EGUARD,
                          "%llu batches in a row gave a loss or gradient that is not finite, more "
                          "than learner.guard.skipped_max, %llu: the model has diverged; lower "
                          "learner.optimizer.rate and dense_rate and go back to an earlier version "
                          "(`undine inspect dump` shows the last batch)",
                          (unsigned long long)g->skipped, (unsigned long long)opt->skipped_max);
}
