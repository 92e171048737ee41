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

/* Of part i: mean, variance and number of its rows; backward: Dice's three sums. */
static double *part_of(const struct activation *a, const struct activation_scratch *scratch,
                       size_t i)
{
    return (double *)scratch->parts.data + i * 3 * a->stride;
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

/* Mean and biased variance of all rows from those of the parts: two sets of rows, the second with
 * the share w of them all, have the variance v1 + w (v2 - v1) + w (1 - w) (m2 - m1)^2. */
static void dice_moments(const struct activation *a, const struct activation_scratch *scratch,
                         double *mean, double *var)
{
    double n = 0.0;
    memset(mean, 0, a->stride * sizeof *mean);
    memset(var, 0, a->stride * sizeof *var);
    for (size_t i = 0; i < scratch->n_parts; i++) {
        const double *mean_i = part_of(a, scratch, i), *var_i = mean_i + a->stride;
        double n_i = mean_i[2 * a->stride];
        if (n_i > 0.0) {
            n += n_i;
            double w = n_i / n;
            for (size_t c = 0; c < a->stride; c++) {
                double apart = mean_i[c] - mean[c];
                mean[c] += w * apart;
                var[c] += w * (var_i[c] - var[c]) + w * (1.0 - w) * apart * apart;
            }
        }
    }
}

bool activation_begin(const struct activation *a, struct activation_scratch *scratch,
                      const struct pass *pass, size_t n_parts)
{
    real *channels = buffer_reals(&scratch->channels, 5, a->stride);
    scratch->noting = a->kind == ACT_DICE && pass->statistics != NULL;
    scratch->n_parts = scratch->noting ? n_parts : 0;
    if (channels == NULL || !buffer_reserve(&scratch->sums, 3, a->stride, sizeof(double)) ||
        !buffer_reserve(&scratch->parts, scratch->n_parts, 3 * a->stride, sizeof(double))) {
        return false;
    }
    if (a->kind == ACT_PRELU || a->kind == ACT_DICE) {
        matrix_pad(channels, pass->values + a->alpha, 1, a->width, a->stride);
    }
    return true;
}

void activation_note(const struct activation *a, const struct activation_scratch *scratch,
                     const struct kernels *k, size_t part, const real *s, size_t n)
{
    if (scratch->noting) {
        double *mean = part_of(a, scratch, part);
        UNDINE_ASSERT(part < scratch->n_parts);
        k->moments(mean, mean + a->stride, s, n, a->stride);
        mean[2 * a->stride] = (double)n;
    }
}

void activation_settle(const struct activation *a, struct activation_scratch *scratch,
                       const struct pass *pass, size_t n)
{
    double *mean = scratch->sums.data;
    double *var = mean + a->stride;
    scratch->n = n;
    scratch->through_statistics = false;
    if (a->kind != ACT_DICE) {
        return;
    }
    bool training = scratch->noting && n > 0;
    if (training) {
        dice_moments(a, scratch, mean, var);
        scratch->through_statistics =
            a->mode == DICE_BATCH || (a->mode == DICE_AUTO && n >= DICE_ROWS_MIN);
    }
    bool batch = scratch->through_statistics;
    dice_channels_set(a, scratch, pass, batch ? mean : NULL, batch ? var : NULL);
    if (training) {
        dice_update(a, pass->statistics, mean, var, !batch);
    }
}

struct dice_channels activation_dice_channels(const struct activation *a,
                                              const struct activation_scratch *scratch)
{
    const real *alpha = scratch->channels.data;
    return (struct dice_channels){alpha + a->stride, alpha + 2 * a->stride, alpha};
}

struct dice_sums activation_dice_part(const struct activation *a,
                                      const struct activation_scratch *scratch, size_t part)
{
    double *sums = part_of(a, scratch, part);
    UNDINE_ASSERT(part < scratch->n_parts);
    return (struct dice_sums){sums, sums + a->stride, sums + 2 * a->stride};
}

static void dice_backward_end(const struct activation *a, struct activation_scratch *scratch)
{
    const real *alpha = scratch->channels.data;
    const real *inv = alpha + 2 * a->stride;
    real *shift = (real *)scratch->channels.data + 3 * a->stride;
    real *slope = shift + a->stride;
    const double *t = (const double *)scratch->sums.data + a->stride;
    const double *t_z = t + a->stride;
    double n = (double)scratch->n;
    /* - (1/r) [mean(dz) + z mean(dz z)], z = (s - mean) / r */
    for (size_t c = 0; scratch->through_statistics && c < a->stride; c++) {
        double to_s = (double)dice_slope(alpha[c], inv[c]);
        shift[c] = (real)(t[c] / n * to_s);
        slope[c] = (real)(t_z[c] / n * to_s * (double)inv[c]);
    }
}

const real *activation_center(const struct activation *a, const struct activation_scratch *scratch,
                              const struct kernels *k, real *out, const real *g, const real *s,
                              size_t n, double *sum)
{
    const real *channels = scratch->channels.data;
    if (!scratch->through_statistics) {
        k->column_sums(sum, g, n, a->stride);
        return g;
    }
    struct dice_center center = {channels + a->stride, channels + 3 * a->stride,
                                 channels + 4 * a->stride};
    k->dice_center(out, sum, g, s, n, a->stride, &center);
    return out;
}

/* ---- all kinds ---------------------------------------------------------------------------- */

void activation_rows(const struct activation *a, const struct activation_scratch *scratch,
                     const struct kernels *k, real *y, const real *s, size_t n)
{
    size_t size = n * a->stride;
    switch (a->kind) {
    case ACT_SIGMOID:
        k->sigmoid(y, s, size);
        break;
    case ACT_RELU:
        k->relu(y, s, size);
        break;
    case ACT_TANH:
        for (size_t x = 0; x < size; x++) {
            y[x] = (real)tanh((double)s[x]);
        }
        break;
    case ACT_PRELU:
        k->prelu(y, s, n, a->stride, scratch->channels.data);
        break;
    case ACT_DICE: {
        struct dice_channels ch = activation_dice_channels(a, scratch);
        k->dice(y, s, n, a->stride, &ch);
        break;
    }
    }
}

bool activation_backward_begin(const struct activation *a, struct activation_scratch *scratch,
                               size_t n_parts)
{
    scratch->n_parts = a->kind == ACT_DICE || a->kind == ACT_PRELU ? n_parts : 0;
    if (!buffer_reserve(&scratch->parts, scratch->n_parts, 3 * a->stride, sizeof(double))) {
        return false;
    }
    if (scratch->n_parts > 0) {
        memset(scratch->parts.data, 0, scratch->n_parts * 3 * a->stride * sizeof(double));
    }
    return true;
}

void activation_backward_rows(const struct activation *a, const struct activation_scratch *scratch,
                              const struct kernels *k, size_t part, real *g, real *y, const real *s,
                              size_t n)
{
    size_t size = n * a->stride;
    switch (a->kind) {
    case ACT_SIGMOID:
        k->sigmoid_backward(g, y, size);
        break;
    case ACT_RELU:
        k->relu_backward(g, s, size);
        break;
    case ACT_TANH:
        k->tanh_backward(g, y, size);
        break;
    case ACT_PRELU:
        k->prelu_backward(g, s, n, a->stride, scratch->channels.data, part_of(a, scratch, part));
        break;
    case ACT_DICE: {
        struct dice_channels ch = activation_dice_channels(a, scratch);
        struct dice_sums sums = activation_dice_part(a, scratch, part);
        k->dice_backward(g, y, s, n, a->stride, &ch, &sums);
        break;
    }
    }
}

void activation_backward_end(const struct activation *a, struct activation_scratch *scratch,
                             const struct pass *pass)
{
    if (a->kind == ACT_DICE || a->kind == ACT_PRELU) {
        double *dalpha = scratch->sums.data;
        share_sum(dalpha, scratch->parts.data, scratch->n_parts, 3 * a->stride);
        matrix_add_sums(pass->grads + a->alpha, dalpha, a->width);
    }
    if (a->kind == ACT_DICE) {
        dice_backward_end(a, scratch);
    }
}
