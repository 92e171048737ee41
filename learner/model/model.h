/* model.h: a CTR model: ragged batch in, one logit an example out, and its gradient back.
 *
 * Kinds: `base` (Embedding & MLP: sum or mean pooling of the behaviour) and `din` (DIN, arXiv
 * 1706.06978, sec. 4.3: a local activation unit weights each step for the candidate, no softmax).
 * Both share embedding bags, pooling, MLP and head; trainer and scorer share this forward.
 *
 * x = [pooled user, candidate and context fields | v_U per sequence, and what crosses it with the
 * candidate: cross.h] -> MLP -> one logit
 * (equivalent to the paper's two-way softmax, algorithms: 2.2), to which a linear part may be
 * added.
 *
 * Dense parameters are one block walked by a list: initialisation, optimizer, version and gradient
 * check all iterate over it.  A model is owned by one thread while it changes; a read-only model
 * may be shared by many threads, each with a scratch of its own. */
#ifndef UNDINE_LEARNER_MODEL_MODEL_H
#define UNDINE_LEARNER_MODEL_MODEL_H

#include "base/err.h"
#include "base/schema.h"
#include "learner/model/batch.h"
#include "learner/model/real.h"

#include <stdbool.h>

enum { MODEL_LAYERS_MAX = 8, MODEL_PARAM_NAME_MAX = 64 };

enum model_kind { MODEL_BASE, MODEL_DIN };
enum model_activation { ACT_SIGMOID, ACT_RELU, ACT_TANH, ACT_PRELU, ACT_DICE };
enum model_unit_input {
    UNIT_PAPER,   /* [h, h*c, c]: paper fig. 2 and text */
    UNIT_OFFICIAL /* [q, k, q-k, q*k]: the authors' code */
};
enum model_normalize {
    UNIT_NONE,          /* the paper */
    UNIT_SOFTMAX,       /* softmax(a), DIEN's code of DIN */
    UNIT_SQRT_DIM,      /* a / sqrt(E) */
    UNIT_LENGTH,        /* a / H */
    UNIT_SCALED_SOFTMAX /* softmax(a / sqrt(E)), DIN's code */
};
enum model_dice { DICE_BATCH, DICE_RUNNING, DICE_AUTO /* running below 32 rows */ };

struct model_options {
    enum model_kind kind;
    enum schema_pool base_pool; /* base: how steps become one vector */
    struct {
        enum model_unit_input input;
        uint32_t n_hidden, hidden[MODEL_LAYERS_MAX]; /* e.g. {36} or {80, 40} */
        enum model_activation activation;
        enum model_normalize normalize;
    } unit;
    struct {
        uint32_t n_hidden, hidden[MODEL_LAYERS_MAX]; /* e.g. {200, 80} */
        enum model_activation activation;
    } mlp;
    struct {
        enum model_dice mode;
        double eps;      /* 1e-8 */
        double momentum; /* rho of the moving averages, 0.99 */
        double alpha;    /* initial slope of the negative side, 0 */
    } dice;
    double prelu_alpha; /* 0.1 */
    bool sum_history;   /* din: x has each sequence's plain sum s and c*s too: cross.h */
    bool product;       /* x has c*v_U of each sequence too: cross.h */
    bool linear;        /* a first order part beside the MLP: linear.h */
    uint64_t seed;      /* initial weights are a function of seed and parameter name alone */
};

/* One trainable tensor, or (trained = false) one statistic that serving needs (Dice's moving mean
 * and variance). */
struct model_param {
    char name[MODEL_PARAM_NAME_MAX]; /* e.g. "unit.clicks.0.weight" (rows, cols) */
    uint32_t rows, cols;
    size_t offset; /* into params (and grads) */
    bool trained;
};

/* Numbers of a row of a table: its dim, and where the model has a linear part and a field of the
 * schema looks the table up, the id's linear weight behind them, which begins at 0. */
uint32_t model_row_width(const struct schema *schema, const struct model_options *opt,
                         uint32_t table);

struct model;
struct gemm;
struct low_kernels;
struct workers;
/* What model_open would refuse of them: UNDINE_ECONFIG with the name and value at fault. */
int model_check(const struct schema *schema, const struct model_options *opt,
                struct undine_err *err);
int model_open(struct model **out, const struct schema *schema, const struct model_options *opt,
               struct undine_err *err);
void model_close(struct model *m);
/* Training (MODEL_TRAIN and backward) tries this for each product first (kernels_product in
 * kernels.h); NULL, as after model_open: the own kernels alone.  Serving never uses it. */
void model_set_product(struct model *m, bool (*product)(const struct gemm *g));
/* Training shares its loops among these threads, borrowed; NULL, as after model_open: the
 * caller alone.  Equal bits for any number of workers.  Serving never uses them. */
void model_set_workers(struct model *m, struct workers *w);

/* From now on values do not change, and the model is not trained: what a forward pass makes of
 * them, a scratch makes once and keeps.  The same scores, bit for bit. */
void model_freeze(struct model *m);

/* From now on score with the dense parameters as they are in 16-bit integers (low.h): once, after
 * which the model is not trained and its values do not change.  UNDINE_ECONFIG where this processor
 * would not be faster (model_lowers), UNDINE_ENOMEM. */
int model_lower(struct model *m, struct undine_err *err);
bool model_lowers(void);
int model_lower_check(struct undine_err *err); /* the same, with the reason */
/* The same with these kernels, whatever they cost: for tests. */
int model_lower_by(struct model *m, const struct low_kernels *kernels, struct undine_err *err);

const struct model_param *model_params(const struct model *m, size_t *n);
real *model_values(struct model *m); /* all parameters and statistics, one block */
real *model_grads(struct model *m);  /* the same layout */
size_t model_n_values(const struct model *m);
void model_zero_grads(struct model *m);

/* Memory of forward and backward for one thread; grows to the largest batch seen, then stays. */
struct model_scratch;
int model_scratch_open(struct model_scratch **out, const struct model *m, struct undine_err *err);
/* Use the memory with another model from here on, of whatever shape. */
void model_scratch_use(struct model_scratch *s, const struct model *m);
void model_scratch_close(struct model_scratch *s);

enum model_mode {
    MODEL_SERVE, /* Dice by its moving statistics; nothing of the model changes */
    MODEL_TRAIN  /* Dice by its mode; moving statistics are updated; the scratch keeps what backward
                    needs */
};
/* logit (B).  UNDINE_ENOMEM. */
int model_forward(struct model *m, struct model_scratch *s, const struct batch *batch,
                  enum model_mode mode, real *logit, struct undine_err *err);
/* The scorer's view of the same: the model is const, mode MODEL_SERVE. */
int model_score(const struct model *m, struct model_scratch *s, const struct batch *batch,
                real *logit, struct undine_err *err);
/* The weights that the last training forward with this scratch pooled a sequence's steps with for
 * example i of its batch, *n of them, oldest step first.  Borrowed until the next forward. */
const real *model_step_weights(const struct model_scratch *s, uint32_t sequence, uint32_t i,
                               size_t *n);
/* dlogit (B): gradient of the loss for each logit.  ADDS into model_grads and batch->table[].grad.
 * After a model_forward in MODEL_TRAIN of the same batch. */
int model_backward(struct model *m, struct model_scratch *s, const struct batch *batch,
                   const real *dlogit, struct undine_err *err);

/* Stable loss from the logit: -y ln p - (1-y) ln(1-p) = softplus(z) - y z; finite for any z. */
double model_logloss(double logit, double label);
real model_sigmoid(real logit);

/* Text forms for configuration and manifests: JSON object (caller frees with free), and back. */
char *model_options_to_json(const struct model_options *opt);
int model_options_from_json(struct model_options *out, const char *json, struct undine_err *err);
extern const struct model_options MODEL_OPTIONS_DEFAULT;

/* Which own kernels this process computes with: "avx512", "avx2" or "portable". */
const char *model_kernels(void);

#endif
