#include "tests/bench/bench_profile.h"

#include "base/clock.h"
#include "learner/batch_builder.h"
#include "learner/blas.h"
#include "learner/model/bag.h"
#include "learner/model/kernels.h"
#include "learner/model/sequence.h"
#include "learner/trainer_state.h"
#include "learner/trainer_update.h"

const char *const bench_phase_names[PHASES] = {"cut", "gather", "embed", "product", "dice",
                                               "mix", "pool",   "model", "update",  "note"};

enum { DEPTH_MAX = 16 };

static struct {
    bool on;
    struct bench_profile p;
    enum bench_phase stack[DEPTH_MAX];
    uint32_t depth;
    int64_t since_ns;
    const struct kernels *own;
    struct kernels timed;
    kernels_product product;
} g;

void bench_profile_on(bool on)
{
    g.on = on;
}

void bench_profile_clear(void)
{
    g.p = (struct bench_profile){0};
}

const struct bench_profile *bench_profile(void)
{
    return &g.p;
}

/* The time so far is the outer phase's. */
static void enter(enum bench_phase phase)
{
    int64_t now = clock_monotonic_ns();
    UNDINE_ASSERT(g.depth < DEPTH_MAX);
    if (g.depth > 0) {
        g.p.ns[g.stack[g.depth - 1]] += now - g.since_ns;
    }
    g.stack[g.depth++] = phase;
    g.since_ns = now;
}

static void leave(void)
{
    int64_t now = clock_monotonic_ns();
    g.p.ns[g.stack[--g.depth]] += now - g.since_ns;
    g.since_ns = now;
}

/* ---- kernels ---- */

static void count_product(const struct gemm *m)
{
    g.p.products++;
    g.p.product_flops += 2.0 * (double)m->m * (double)m->n * (double)m->k;
}

static void timed_gemm(const struct gemm *m)
{
    enter(PHASE_PRODUCT);
    count_product(m);
    g.own->gemm(m);
    leave();
}

static bool timed_product(const struct gemm *m)
{
    enter(PHASE_PRODUCT);
    bool done = g.product(m);
    if (done) {
        count_product(m);
    }
    leave();
    return done;
}

/* A kernel that is called as the own one, within a phase. */
#define TIMED(phase, name, parameters, arguments)                                                  \
    static void timed_##name parameters                                                            \
    {                                                                                              \
        enter(phase);                                                                              \
        g.own->name arguments;                                                                     \
        leave();                                                                                   \
    }

TIMED(PHASE_DICE, dice,
      (real * y, const real *s, size_t n, size_t stride, const struct dice_channels *ch),
      (y, s, n, stride, ch))
TIMED(PHASE_DICE, dice_backward,
      (real * x, real *y, const real *s, size_t n, size_t stride, const struct dice_channels *ch,
       const struct dice_sums *sums),
      (x, y, s, n, stride, ch, sums))
TIMED(PHASE_DICE, dice_dot,
      (real * out, const real *s, size_t n, size_t stride, const struct dice_channels *ch,
       const real *w, real bias),
      (out, s, n, stride, ch, w, bias))
TIMED(PHASE_DICE, dice_dot_backward,
      (real * x, double *dw, const real *d, const real *s, size_t n, size_t stride,
       const struct dice_channels *ch, const real *w, const struct dice_sums *sums),
      (x, dw, d, s, n, stride, ch, w, sums))
TIMED(PHASE_DICE, dice_center,
      (real * out, double *sum, const real *x, const real *s, size_t n, size_t stride,
       const struct dice_center *center),
      (out, sum, x, s, n, stride, center))
TIMED(PHASE_DICE, moments, (double *mean, double *var, const real *s, size_t n, size_t stride),
      (mean, var, s, n, stride))
TIMED(PHASE_DICE, column_sums, (double *sum, const real *x, size_t n, size_t stride),
      (sum, x, n, stride))
TIMED(PHASE_MIX, mix_rows,
      (real * p, const real *h, const real *w, const real *c, size_t n, size_t stride),
      (p, h, w, c, n, stride))
TIMED(PHASE_MIX, mix_columns,
      (real * p, const real *h, const real *w, const real *const *c, size_t count, size_t n,
       size_t stride),
      (p, h, w, c, count, n, stride))
TIMED(PHASE_MIX, mix_backward,
      (real * dh, real *dw, real *const *dc, const real *dp, const real *w, const real *const *c,
       size_t count, size_t n, size_t stride),
      (dh, dw, dc, dp, w, c, count, n, stride))
TIMED(PHASE_POOL, pool, (real * v, const real *a, const real *e, size_t n, size_t stride),
      (v, a, e, n, stride))
TIMED(PHASE_POOL, outer,
      (real * e, const real *a, const real *v, size_t n, size_t stride, bool add),
      (e, a, v, n, stride, add))

/* The linker calls these for every use outside the file that defines the function. */
#define WRAPPED(type, name, parameters)                                                            \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters

WRAPPED(const struct kernels *, kernels_available, (size_t i))
{
    const struct kernels *own = __real_kernels_available(i);
    if (!g.on || i > 0) {
        return own;
    }
    g.own = own;
    g.timed = *own;
    g.timed.gemm = timed_gemm;
    g.timed.dice = timed_dice;
    g.timed.dice_backward = timed_dice_backward;
    g.timed.dice_dot = timed_dice_dot;
    g.timed.dice_dot_backward = timed_dice_dot_backward;
    g.timed.dice_center = timed_dice_center;
    g.timed.moments = timed_moments;
    g.timed.column_sums = timed_column_sums;
    g.timed.mix_rows = timed_mix_rows;
    g.timed.mix_columns = timed_mix_columns;
    g.timed.mix_backward = timed_mix_backward;
    g.timed.pool = timed_pool;
    g.timed.outer = timed_outer;
    return &g.timed;
}

WRAPPED(kernels_product, blas_product, (void))
{
    g.product = __real_blas_product();
    return g.on && g.product != NULL ? timed_product : g.product;
}

/* ---- seams of the trainer ---- */

/* A call within a phase, where it is on. */
#define WITHIN(phase, call)                                                                        \
    do {                                                                                           \
        if (g.on) {                                                                                \
            enter(phase);                                                                          \
        }                                                                                          \
        call;                                                                                      \
        if (g.on) {                                                                                \
            leave();                                                                               \
        }                                                                                          \
    } while (0)

WRAPPED(int, trainer_learn,
        (struct trainer * t, const struct example_block *block, uint32_t batches_max,
         struct undine_err *err))
{
    int rc;
    WITHIN(PHASE_CUT, rc = __real_trainer_learn(t, block, batches_max, err));
    return rc;
}

WRAPPED(int, trainer_train_batch, (struct trainer * t, struct undine_err *err))
{
    int rc;
    WITHIN(PHASE_NOTE, rc = __real_trainer_train_batch(t, err));
    return rc;
}

static void count_batch(const struct batch_builder *b, const struct table *tables)
{
    g.p.batches++;
    g.p.examples += b->n;
    for (uint32_t s = 0; s < b->schema->n_sequences; s++) {
        const struct batch_sequences *q = &b->batch.sequence[s];
        for (uint32_t i = 0; i < b->n; i++) {
            g.p.steps += q->step_offset[q->of_example[i] + 1] - q->step_offset[q->of_example[i]];
        }
    }
    for (uint32_t k = 0; k < b->schema->n_tables; k++) {
        g.p.rows += b->table[k].n_rows;
        g.p.row_bytes += (uint64_t)b->table[k].n_rows * tables[k].row_bytes;
    }
}

WRAPPED(int, batch_builder_gather,
        (struct batch_builder * b, struct table *tables, struct workers *workers,
         struct undine_err *err))
{
    int rc;
    WITHIN(PHASE_GATHER, rc = __real_batch_builder_gather(b, tables, workers, err));
    if (g.on && rc == UNDINE_OK) {
        count_batch(b, tables);
    }
    return rc;
}

WRAPPED(int, model_forward,
        (struct model * m, struct model_scratch *s, const struct batch *batch, enum model_mode mode,
         real *logit, struct undine_err *err))
{
    int rc;
    WITHIN(PHASE_MODEL, rc = __real_model_forward(m, s, batch, mode, logit, err));
    return rc;
}

WRAPPED(int, model_backward,
        (struct model * m, struct model_scratch *s, const struct batch *batch, const real *dlogit,
         struct undine_err *err))
{
    int rc;
    WITHIN(PHASE_MODEL, rc = __real_model_backward(m, s, batch, dlogit, err));
    return rc;
}

WRAPPED(void, bag_pool,
        (real * out, size_t out_stride, size_t n, const struct batch_bags *bags,
         const struct batch_table *table, uint32_t dim, enum schema_pool pool, size_t fresh))
{
    WITHIN(PHASE_EMBED, __real_bag_pool(out, out_stride, n, bags, table, dim, pool, fresh));
}

WRAPPED(void, bag_pool_backward,
        (const struct batch_table *table, const real *dout, size_t out_stride, size_t n,
         const struct batch_bags *bags, uint32_t dim, enum schema_pool pool))
{
    WITHIN(PHASE_EMBED, __real_bag_pool_backward(table, dout, out_stride, n, bags, dim, pool));
}

WRAPPED(double, trainer_gradient_norm, (struct trainer * t))
{
    double norm;
    WITHIN(PHASE_UPDATE, norm = __real_trainer_gradient_norm(t));
    return norm;
}

WRAPPED(void, trainer_update, (struct trainer * t, double norm))
{
    WITHIN(PHASE_UPDATE, __real_trainer_update(t, norm));
}
