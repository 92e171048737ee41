#include "learner/optimizer.h"

#include <math.h>

static int bad(struct undine_err *err, const char *key, double value, const char *expected)
{
    return undine_err_set(err, UNDINE_ECONFIG, "optimizer.%s is %g, expected %s", key, value,
                          expected);
}

static int check_ftrl(const struct optimizer_options *opt, struct undine_err *err)
{
    if (opt->dense_rate <= 0.0) {
        return bad(err, "dense_rate", opt->dense_rate, "a number above 0");
    }
    if (!(opt->beta > 0.0 && opt->beta <= 1e6)) {
        return bad(err, "beta", opt->beta, "a number above 0");
    }
    if (!(opt->l1 >= 0.0 && opt->l1 <= 1e6)) {
        return bad(err, "l1", opt->l1, "a number of at least 0");
    }
    if (!(opt->l2 >= 0.0 && opt->l2 <= 1e6)) {
        return bad(err, "l2", opt->l2, "a number of at least 0");
    }
    return UNDINE_OK;
}

int optimizer_check(const struct optimizer_options *opt, struct undine_err *err)
{
    if (!(opt->rate > 0.0 && opt->rate <= 1e6)) {
        return bad(err, "rate", opt->rate, "a number above 0");
    }
    if (!(opt->dense_rate >= 0.0 && opt->dense_rate <= 1e6)) {
        return bad(err, "dense_rate", opt->dense_rate, "a number of at least 0");
    }
    if (!(opt->eps >= 0.0 && opt->eps <= 1.0)) {
        return bad(err, "eps", opt->eps, "0..1");
    }
    if (opt->kind == OPTIMIZER_ADAGRAD && !(opt->accumulator >= 0.0 && opt->accumulator <= 1e6)) {
        return bad(err, "accumulator", opt->accumulator, "a number of at least 0");
    }
    if (opt->kind == OPTIMIZER_ADAGRAD && opt->accumulator <= 0.0 && opt->eps <= 0.0) {
        return bad(err, "accumulator", opt->accumulator, "a number above 0 where eps is 0");
    }
    if (opt->kind == OPTIMIZER_ADAM && !(opt->beta1 >= 0.0 && opt->beta1 < 1.0)) {
        return bad(err, "beta1", opt->beta1, "0 to below 1");
    }
    if (opt->kind == OPTIMIZER_ADAM && !(opt->beta2 >= 0.0 && opt->beta2 < 1.0)) {
        return bad(err, "beta2", opt->beta2, "0 to below 1");
    }
    if (opt->kind == OPTIMIZER_ADAM && opt->eps <= 0.0) {
        return bad(err, "eps", opt->eps, "a number above 0");
    }
    return opt->kind == OPTIMIZER_FTRL ? check_ftrl(opt, err) : UNDINE_OK;
}

uint32_t optimizer_slots(enum optimizer_kind kind)
{
    switch (kind) {
    case OPTIMIZER_ADAGRAD:
        return 1;
    case OPTIMIZER_ADAM:
    case OPTIMIZER_FTRL:
        return 2;
    case OPTIMIZER_SGD:
    default:
        return 0;
    }
}

float optimizer_slot_initial(const struct optimizer_options *opt)
{
    return opt->kind == OPTIMIZER_ADAGRAD ? (float)opt->accumulator : 0.0f;
}

struct optimizer_step optimizer_step(const struct optimizer_options *opt, double rate, uint64_t t)
{
    struct optimizer_step s = {
        .kind = opt->kind,
        .rate = (float)rate,
        .eps = (float)opt->eps,
        .kernels = kernels_available(0),
        .per_rate = (float)(1.0 / rate),
        .beta = (float)opt->beta,
        .l1 = (float)opt->l1,
        .l2 = (float)opt->l2,
    };
    if (opt->kind == OPTIMIZER_ADAM) {
        UNDINE_ASSERT(t >= 1);
        float correct_m = (float)(1.0 / (1.0 - pow(opt->beta1, (double)t)));
        s.adam = (struct adam_step){
            .beta1 = (float)opt->beta1,
            .beta2 = (float)opt->beta2,
            .take1 = (float)(1.0 - opt->beta1),
            .take2 = (float)(1.0 - opt->beta2),
            .rate = s.rate * correct_m,
            .correct_v = (float)(1.0 / sqrt(1.0 - pow(opt->beta2, (double)t))),
            .eps = s.eps,
        };
    }
    return s;
}

static void apply_ftrl(const struct optimizer_step *s, float *restrict w, float *restrict z,
                       float *restrict n, const float *restrict g, size_t count)
{
    const float per_rate = s->per_rate, beta = s->beta, l1 = s->l1, l2 = s->l2;
    for (size_t i = 0; i < count; i++) {
        float root = __builtin_sqrtf(n[i]), sum = n[i] + g[i] * g[i];
        float root_next = __builtin_sqrtf(sum);
        /* Not touched yet (or g was 0 whenever it was): z as the weight that stands there needs it.
         */
        float edge = w[i] == 0.0f ? 0.0f : __builtin_copysignf(l1, w[i]);
        float at = n[i] > 0.0f ? z[i] : -(w[i] * (beta * per_rate + l2) + edge);
        at += g[i] - (root_next - root) * per_rate * w[i];
        float away = __builtin_fabsf(at) - l1;
        w[i] = away > 0.0f ? -__builtin_copysignf(away, at) / ((beta + root_next) * per_rate + l2)
                           : 0.0f;
        z[i] = at;
        n[i] = sum;
    }
}

void optimizer_apply(const struct optimizer_step *s, float *restrict w, float *restrict slot,
                     const float *restrict g, size_t n)
{
    switch (s->kind) {
    case OPTIMIZER_SGD:
        s->kernels->sgd(w, g, n, s->rate);
        break;
    case OPTIMIZER_ADAGRAD:
        s->kernels->adagrad(w, slot, g, n, s->rate, s->eps);
        break;
    case OPTIMIZER_ADAM:
        s->kernels->adam(w, slot, slot + n, g, n, &s->adam);
        break;
    case OPTIMIZER_FTRL:
        apply_ftrl(s, w, slot, slot + n, g, n);
        break;
    }
}
