#include "learner/mba.h"

int mba_check(const struct mba_options *opt, double rate, struct undine_err *err)
{
    if (!(opt->lambda >= 0.0)) {
        return undine_err_set(err, UNDINE_ECONFIG, "mba.lambda is %g, expected at least 0",
                              opt->lambda);
    }
    if (!(rate * opt->lambda < 1.0)) {
        return undine_err_set(err, UNDINE_ECONFIG,
                              "mba.lambda is %g and optimizer.rate %g: their product must stay "
                              "below 1",
                              opt->lambda, rate);
    }
    return UNDINE_OK;
}

float mba_strength(const struct mba_options *opt, float count, float n_instances)
{
    UNDINE_ASSERT(count >= 1.0f);
    double alpha = opt->form == MBA_COUNT ? (double)n_instances : 1.0;
    return (float)(opt->lambda * alpha / (double)count);
}

float mba_apply(const struct mba_options *opt, float strength, float rate, float *restrict g,
                const float *restrict w, size_t n)
{
    if (opt->decoupled) {
        return rate * strength;
    }
    for (size_t i = 0; i < n; i++) {
        g[i] += strength * w[i];
    }
    return 0.0f;
}
