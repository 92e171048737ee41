#include "learner/schedule.h"

#include <math.h>

int schedule_check(const struct schedule_options *opt, struct undine_err *err)
{
    if (!(opt->floor >= 0.0 && opt->floor <= 1.0)) {
        return undine_err_set(err, UNDINE_ECONFIG, "optimizer.floor is %g, expected 0..1",
                              opt->floor);
    }
    if (opt->decay == SCHEDULE_CONSTANT) {
        return UNDINE_OK;
    }
    if (opt->decay_examples < 1) {
        return undine_err_set(err, UNDINE_ECONFIG,
                              "optimizer.decay_examples is 0, expected at least 1");
    }
    if (opt->decay == SCHEDULE_EXPONENTIAL && !(opt->decay_rate > 0.0 && opt->decay_rate <= 1.0)) {
        return undine_err_set(err, UNDINE_ECONFIG,
                              "optimizer.decay_rate is %g, expected above 0 and at most 1",
                              opt->decay_rate);
    }
    return UNDINE_OK;
}

double schedule_factor(const struct schedule_options *opt, uint64_t examples)
{
    if (examples < opt->warmup) {
        return (double)examples / (double)opt->warmup;
    }
    if (opt->decay == SCHEDULE_CONSTANT) {
        return 1.0;
    }
    double periods = (double)(examples - opt->warmup) / (double)opt->decay_examples;
    double factor = opt->decay == SCHEDULE_EXPONENTIAL    ? pow(opt->decay_rate, periods)
                    : opt->decay == SCHEDULE_INVERSE_SQRT ? 1.0 / sqrt(1.0 + periods)
                                                          : 1.0 - periods;
    return fmax(factor, opt->floor);
}
