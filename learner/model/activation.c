#include "learner/model/activation.h"

#include "learner/model/matrix.h"

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

static void dice_forward(const struct activation *a, struct activation_scratch *scratch,
                         const struct pass *pass, real *y, const real *s, size_t n)
{
    double *mean = scratch->sums.data;
    double *var = mean + a->stride;
    scratch->through_statistics = false;
    if (pass->statistics != NULL && n > 0) {
        pass->k->moments(mean, var, s, n, a->stride);
        scratch->through_statistics =
            a->mode == DICE_BATCH || (a->mode == DICE_AUTO && n >= DICE_ROWS_MIN);
    }
    bool batch = scratch->through_statistics;
    dice_channels_set(a, scratch, pass, batch ? mean : NULL, batch ? var : NULL);
    if (pass->statistics != NULL && n > 0) {
        dice_update(a, pass->statistics, mean, var, !batch);
    }
    const real *alpha = scratch->channels.data;
    pass->k->dice(y, s, n, a->stride,
                  &(struct dice_channels){alpha + a->stride, alpha + 2 * a->stride, alpha});
}

static void dice_backward(const struct activation *a, struct activation_scratch *scratch,
                          const struct pass *pass, real *g, const real *s, size_t n)
{
    real *alpha = scratch->channels.data;
    const real *mean = alpha + a->stride;
    const real *inv = mean + a->stride;
    real *shift = alpha + 3 * a->stride;
    real *slope = shift + a->stride;
    double *dalpha = scratch->sums.data;
    double *dz = dalpha + a->stride;
    double *dz_z = dz + a->stride;
    memset(dalpha, 0, 3 * a->stride * sizeof *dalpha);
    pass->k->dice_backward(g, s, n, a->stride, &(struct dice_channels){mean, inv, alpha},
                           &(struct dice_sums){dalpha, dz, dz_z});
    matrix_add_sums(pass->grads + a->alpha, dalpha, a->width);
    if (!scratch->through_statistics || n == 0) {
        return;
    }
    /* - (1/r) [mean(dz) + z mean(dz z)], z = (s - mean) / r */
    for (size_t c = 0; c < a->stride; c++) {
        double inv_c = (double)inv[c];
        shift[c] = (real)(dz[c] / (double)n * inv_c);
        slope[c] = (real)(dz_z[c] / (double)n * inv_c * inv_c);
    }
    pass->k->dice_center(g, s, n, a->stride, mean, shift, slope);
}

/* ---- all kinds ---------------------------------------------------------------------------- */

bool activation_forward(const struct activation *a, struct activation_scratch *scratch,
                        const struct pass *pass, real *y, const real *s, size_t n)
{
    real *channels = buffer_reals(&scratch->channels, 5, a->stride);
    if (channels == NULL || !buffer_reserve(&scratch->sums, 3, a->stride, sizeof(double))) {
        return false;
    }
    if (a->kind == ACT_PRELU || a->kind == ACT_DICE) {
        matrix_pad(channels, pass->values + a->alpha, 1, a->width, a->stride);
    }
    switch (a->kind) {
    case ACT_SIGMOID:
        pass->k->sigmoid(y, s, n * a->stride);
        break;
    case ACT_RELU:
        pass->k->relu(y, s, n * a->stride);
        break;
    case ACT_TANH:
        for (size_t i = 0; i < n * a->stride; i++) {
            y[i] = (real)tanh((double)s[i]);
        }
        break;
    case ACT_PRELU:
        pass->k->prelu(y, s, n, a->stride, channels);
        break;
    case ACT_DICE:
        dice_forward(a, scratch, pass, y, s, n);
        break;
    }
    return true;
}

void activation_backward(const struct activation *a, struct activation_scratch *scratch,
                         const struct pass *pass, real *g, const real *y, const real *s, size_t n)
{
    double *dalpha = scratch->sums.data;
    switch (a->kind) {
    case ACT_SIGMOID:
        pass->k->sigmoid_backward(g, y, n * a->stride);
        break;
    case ACT_RELU:
        pass->k->relu_backward(g, s, n * a->stride);
        break;
    case ACT_TANH:
        pass->k->tanh_backward(g, y, n * a->stride);
        break;
    case ACT_PRELU:
        memset(dalpha, 0, a->stride * sizeof *dalpha);
        pass->k->prelu_backward(g, s, n, a->stride, scratch->channels.data, dalpha);
        matrix_add_sums(pass->grads + a->alpha, dalpha, a->width);
        break;
    case ACT_DICE:
        dice_backward(a, scratch, pass, g, s, n);
        break;
    }
}
