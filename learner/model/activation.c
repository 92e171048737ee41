#include "learner/model/activation.h"

#include "learner/model/matrix.h"
#include "learner/model/share.h"

#include <math.h>
#include <string.h>

void activation_declare(struct activation *a, struct params *p, const char *prefix, uint32_t width,
                        enum model_activation kind, const struct model_options *opt)
{
    *a = (struct activation){
        .kind = kind,
        .width = width,
        .stride = kernels_stride(width),
        .mode = opt->dice.mode,
        .eps = opt->dice.eps,
        .momentum = opt->dice.momentum,
        .alpha_initial = kind == ACT_DICE ? opt->dice.alpha : opt->prelu_alpha,
    };
    if (kind == ACT_PRELU || kind == ACT_DICE) {
        a->alpha = params_add(p, prefix, "alpha", 1, width, true);
    }
    if (kind == ACT_DICE) {
        a->mean = params_add(p, prefix, "mean", 1, width, false);
        a->var = params_add(p, prefix, "var", 1, width, false);
        a->updates = params_add(p, prefix, "updates", 1, 1, false);
    }
}

static void fill(real *x, size_t n, double value)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = (real)value;
    }
}

void activation_init(const struct activation *a, real *values)
{
    if (a->kind == ACT_PRELU || a->kind == ACT_DICE) {
        fill(values + a->alpha, a->width, a->alpha_initial);
    }
    if (a->kind == ACT_DICE) {
        fill(values + a->mean, a->width, 0.0);
        fill(values + a->var, a->width, 1.0);
        fill(values + a->updates, 1, 0.0);
    }
}

void activation_scratch_release(struct activation_scratch *s)
{
    buffer_release(&s->channels);
    buffer_release(&s->sums);
    buffer_release(&s->parts);
}

/* One call, for the workers. */
struct job {
    const struct activation *a;
    struct activation_scratch *scratch;
    const struct pass *pass;
    real *out;         /* y, or g */
    const real *y, *s; /* y: backward */
    size_t n;
};

static void share(struct job *j, workers_part part)
{
    workers_run(j->pass->workers, share_count(j->n, j->a->stride), part, j);
}

/* What chunk i sums. */
static double *part_of(struct job *j, size_t i)
{
    return (double *)j->scratch->parts.data + i * 3 * j->a->stride;
}

struct dice_channels activation_dice_channels(const struct activation *a,
                                              const struct activation_scratch *scratch)
{
    const real *alpha = scratch->channels.data;
    return (struct dice_channels){alpha + a->stride, alpha + 2 * a->stride, alpha};
}

static void forward_part(void *ctx, size_t i, size_t who)
{
    struct job *j = ctx;
    const struct kernels *k = j->pass->k;
    size_t stride = j->a->stride;
    struct share_rows r = share_chunk(j->n, stride, i);
    real *y = j->out + r.first * stride;
    const real *s = j->s + r.first * stride;
    struct dice_channels ch = activation_dice_channels(j->a, j->scratch);
    (void)who;
    switch (j->a->kind) {
    case ACT_SIGMOID:
        k->sigmoid(y, s, r.n * stride);
        break;
    case ACT_RELU:
        k->relu(y, s, r.n * stride);
        break;
    case ACT_TANH:
        for (size_t x = 0; x < r.n * stride; x++) {
            y[x] = (real)tanh((double)s[x]);
        }
        break;
    case ACT_PRELU:
        k->prelu(y, s, r.n, stride, j->scratch->channels.data);
        break;
    case ACT_DICE:
        k->dice(y, s, r.n, stride, &ch);
        break;
    }
}

/* ---- Dice --------------------------------------------------------------------------------- */

/* Moving averages take in a batch's mean and var (width).
 *
 * `updates` holds 1 - rho^t, the weight of all batches so far, so that the newest has the share
 * (1 - rho) / (1 - rho^t): 1 at first, 1 - rho in the end.
 * Where training itself normalises with the averages, the spread between batches belongs to the
 * variance too: it is that of all rows, weighted.  Otherwise it is the average of what the batches
 * were normalised with. */
static void dice_update(const struct activation *a, real *values, const double *mean,
                        const double *var, bool of_all_rows)
{
    double rate_newest = 1.0 - a->momentum;
    double weight = (double)values[a->updates];
    if (weight <= 0.0 && of_all_rows) {
        weight = rate_newest; /* the initial (0, 1) counts as one batch */
    }
    weight = a->momentum * weight + rate_newest;
    double share = rate_newest / weight;
    for (uint32_t c = 0; c < a->width; c++) {
        double old = (double)values[a->mean + c];
        double apart = of_all_rows ? share * (1.0 - share) * (mean[c] - old) * (mean[c] - old) : 0;
        double var_old = (double)values[a->var + c];
        values[a->mean + c] = (real)(old + share * (mean[c] - old));
        values[a->var + c] = (real)(var_old + share * (var[c] - var_old) + apart);
    }
    values[a->updates] = (real)weight;
}

/* Fill mean and inv of the scratch, padded.  From the batch, or from the moving averages. */
static void dice_channels_set(const struct activation *a, struct activation_scratch *scratch,
                              const struct pass *pass, const double *mean, const double *var)
{
    real *to_mean = (real *)scratch->channels.data + a->stride;
    real *to_inv = to_mean + a->stride;
    for (size_t c = 0; c < a->stride; c++) {
        double m = 0.0;
        double v = 1.0;
        if (c < a->width) {
            m = mean != NULL ? mean[c] : (double)pass->values[a->mean + c];
            v = var != NULL ? var[c] : (double)pass->values[a->var + c];
        }
        to_mean[c] = (real)m;
        to_inv[c] = (real)(1.0 / sqrt(v + a->eps));
    }
}

static void moments_part(void *ctx, size_t i, size_t who)
{
    struct job *j = ctx;
    struct share_rows r = share_chunk(j->n, j->a->stride, i);
    double *mean = part_of(j, i);
    (void)who;
    j->pass->k->moments(mean, mean + j->a->stride, j->s + r.first * j->a->stride, r.n,
                        j->a->stride);
}

/* Mean and biased variance of all rows from those of the chunks: two sets of rows, the second with
 * the share w of them all, have the variance v1 + w (v2 - v1) + w (1 - w) (m2 - m1)^2. */
static void moments(struct job *j, double *mean, double *var)
{
    size_t stride = j->a->stride;
    share(j, moments_part);
    memcpy(mean, part_of(j, 0), stride * sizeof *mean);
    memcpy(var, part_of(j, 0) + stride, stride * sizeof *var);
    for (size_t i = 1; i < share_count(j->n, stride); i++) {
        struct share_rows r = share_chunk(j->n, stride, i);
        const double *mean_i = part_of(j, i), *var_i = mean_i + stride;
        double w = (double)r.n / (double)(r.first + r.n);
        for (size_t c = 0; c < stride; c++) {
            double apart = mean_i[c] - mean[c];
            mean[c] += w * apart;
            var[c] += w * (var_i[c] - var[c]) + w * (1.0 - w) * apart * apart;
        }
    }
}

static void dice_statistics(struct job *j)
{
    const struct activation *a = j->a;
    double *mean = j->scratch->sums.data;
    double *var = mean + a->stride;
    bool training = j->pass->statistics != NULL && j->n > 0;
    j->scratch->through_statistics = false;
    if (training) {
        moments(j, mean, var);
        j->scratch->through_statistics =
            a->mode == DICE_BATCH || (a->mode == DICE_AUTO && j->n >= DICE_ROWS_MIN);
    }
    bool batch = j->scratch->through_statistics;
    dice_channels_set(a, j->scratch, j->pass, batch ? mean : NULL, batch ? var : NULL);
    if (training) {
        dice_update(a, j->pass->statistics, mean, var, !batch);
    }
}

static bool begin(struct job *j)
{
    const struct activation *a = j->a;
    real *channels = buffer_reals(&j->scratch->channels, 5, a->stride);
    if (channels == NULL || !buffer_reserve(&j->scratch->sums, 3, a->stride, sizeof(double)) ||
        !buffer_reserve(&j->scratch->parts, share_count(j->n, a->stride), 3 * a->stride,
                        sizeof(double))) {
        return false;
    }
    if (a->kind == ACT_PRELU || a->kind == ACT_DICE) {
        matrix_pad(channels, j->pass->values + a->alpha, 1, a->width, a->stride);
    }
    if (a->kind == ACT_DICE) {
        dice_statistics(j);
    }
    return true;
}

bool activation_dice_begin(const struct activation *a, struct activation_scratch *scratch,
                           const struct pass *pass, const real *s, size_t n)
{
    return begin(&(struct job){.a = a, .scratch = scratch, .pass = pass, .s = s, .n = n});
}

struct dice_sums activation_dice_part(const struct activation *a,
                                      const struct activation_scratch *scratch, size_t chunk)
{
    double *sums = (double *)scratch->parts.data + chunk * 3 * a->stride;
    memset(sums, 0, 3 * a->stride * sizeof *sums);
    return (struct dice_sums){sums, sums + a->stride, sums + 2 * a->stride};
}

static void dice_backward_part(void *ctx, size_t i, size_t who)
{
    struct job *j = ctx;
    size_t stride = j->a->stride;
    struct share_rows r = share_chunk(j->n, stride, i);
    struct dice_channels ch = activation_dice_channels(j->a, j->scratch);
    struct dice_sums sums = activation_dice_part(j->a, j->scratch, i);
    (void)who;
    j->pass->k->dice_backward(j->out + r.first * stride, j->s + r.first * stride, r.n, stride, &ch,
                              &sums);
}

void activation_dice_end(const struct activation *a, struct activation_scratch *scratch,
                         const struct pass *pass, size_t n)
{
    const real *alpha = scratch->channels.data;
    const real *inv = alpha + 2 * a->stride;
    real *shift = (real *)scratch->channels.data + 3 * a->stride;
    real *slope = shift + a->stride;
    double *dalpha = scratch->sums.data;
    const double *t = dalpha + a->stride;
    const double *t_z = t + a->stride;
    share_sum(dalpha, scratch->parts.data, share_count(n, a->stride), 3 * a->stride);
    matrix_add_sums(pass->grads + a->alpha, dalpha, a->width);
    /* - (1/r) [mean(dz) + z mean(dz z)], z = (s - mean) / r */
    for (size_t c = 0; scratch->through_statistics && c < a->stride; c++) {
        double to_s = (double)dice_slope(alpha[c], inv[c]);
        shift[c] = (real)(t[c] / (double)n * to_s);
        slope[c] = (real)(t_z[c] / (double)n * to_s * (double)inv[c]);
    }
}

void activation_center(const struct activation *a, const struct activation_scratch *scratch,
                       const struct kernels *k, real *g, const real *s, size_t n)
{
    const real *channels = scratch->channels.data;
    if (a->kind == ACT_DICE && scratch->through_statistics) {
        k->dice_center(g, s, n, a->stride, channels + a->stride, channels + 3 * a->stride,
                       channels + 4 * a->stride);
    }
}

/* ---- all kinds ---------------------------------------------------------------------------- */

bool activation_forward(const struct activation *a, struct activation_scratch *scratch,
                        const struct pass *pass, real *y, const real *s, size_t n)
{
    struct job job = {.a = a, .scratch = scratch, .pass = pass, .out = y, .s = s, .n = n};
    if (!begin(&job)) {
        return false;
    }
    share(&job, forward_part);
    return true;
}

static void backward_part(void *ctx, size_t i, size_t who)
{
    struct job *j = ctx;
    const struct kernels *k = j->pass->k;
    size_t stride = j->a->stride;
    struct share_rows r = share_chunk(j->n, stride, i);
    size_t at = r.first * stride;
    double *dalpha = part_of(j, i);
    (void)who;
    switch (j->a->kind) {
    case ACT_SIGMOID:
        k->sigmoid_backward(j->out + at, j->y + at, r.n * stride);
        break;
    case ACT_RELU:
        k->relu_backward(j->out + at, j->s + at, r.n * stride);
        break;
    case ACT_TANH:
        k->tanh_backward(j->out + at, j->y + at, r.n * stride);
        break;
    case ACT_PRELU:
        memset(dalpha, 0, 3 * stride * sizeof *dalpha);
        k->prelu_backward(j->out + at, j->s + at, r.n, stride, j->scratch->channels.data, dalpha);
        break;
    case ACT_DICE:
        break;
    }
}

void activation_backward(const struct activation *a, struct activation_scratch *scratch,
                         const struct pass *pass, real *g, const real *y, const real *s, size_t n)
{
    struct job job = {.a = a, .scratch = scratch, .pass = pass, .out = g, .y = y, .s = s, .n = n};
    if (a->kind == ACT_DICE) {
        share(&job, dice_backward_part);
        activation_dice_end(a, scratch, pass, n);
        return;
    }
    share(&job, backward_part);
    if (a->kind == ACT_PRELU) {
        double *dalpha = scratch->sums.data;
        share_sum(dalpha, scratch->parts.data, share_count(n, a->stride), 3 * a->stride);
        matrix_add_sums(pass->grads + a->alpha, dalpha, a->width);
    }
}
