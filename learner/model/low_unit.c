#include "learner/model/low_inside.h"
#include "learner/model/matrix.h"

#include <string.h>

static real *fold_of(const struct low_unit *u, size_t which)
{
    return (real *)u->fold.data + which * u->of->e * u->of->k_stride;
}

/* to (E, k_stride) += sign times part `part` of the weights. */
static void add_part(const struct low_unit *u, const real *values, size_t to, size_t part,
                     real sign)
{
    const struct unit *of = u->of;
    real *out = fold_of(u, to);
    const real *from = values + of->tower.layer[0].dense.weight + part * of->e * of->k;
    for (size_t r = 0; r < of->e; r++, out += of->k_stride, from += of->k) {
        for (size_t j = 0; j < of->k; j++) {
            out[j] += sign * from[j];
        }
    }
}

enum { FOLD_H, FOLD_P, FOLD_C, FOLD_BIAS };

/* unit.h: which parts W_h, W_p and W_c are sums of. */
static bool fold(struct low_unit *u, const real *values)
{
    const struct unit *of = u->of;
    size_t size = 3 * (size_t)of->e * of->k_stride;
    real *folds = buffer_reals(&u->fold, 1, size + of->k_stride);
    if (folds == NULL) {
        return false;
    }
    memset(folds, 0, size * sizeof *folds);
    if (of->input == UNIT_PAPER) {
        add_part(u, values, FOLD_H, 0, 1);
        add_part(u, values, FOLD_P, 1, 1);
        add_part(u, values, FOLD_C, 2, 1);
    } else {
        add_part(u, values, FOLD_C, 0, 1);
        add_part(u, values, FOLD_H, 1, 1);
        add_part(u, values, FOLD_C, 2, 1);
        add_part(u, values, FOLD_H, 2, -1);
        add_part(u, values, FOLD_P, 3, 1);
    }
    matrix_pad(fold_of(u, FOLD_BIAS), values + of->tower.layer[0].dense.bias, 1, of->k,
               of->k_stride);
    return true;
}

bool low_unit_open(struct low_unit *u, const struct unit *of, const real *values,
                   const struct low_kernels *low, const struct kernels *k)
{
    *u = (struct low_unit){.of = of, .limit = low_limit(of->e)};
    return low_tower_open_above(&u->tower, &of->tower, values, low, k) && fold(u, values);
}

void low_unit_release(struct low_unit *u)
{
    low_tower_release(&u->tower);
    buffer_release(&u->fold);
}

void low_unit_scratch_release(struct low_unit_scratch *s)
{
    buffer_release(&s->query);
    buffer_release(&s->step_q);
    buffer_release(&s->step_scale);
    buffer_release(&s->p);
    buffer_release(&s->p_q);
    buffer_release(&s->p_scale);
    low_tower_scratch_release(&s->tower);
}

/* ---- forward ------------------------------------------------------------------------------ */

static size_t steps_end(const struct unit_input *in)
{
    size_t end = 0;
    for (size_t i = 0; i < in->n; i++) {
        size_t last = in->step_offset[in->of_example[i] + 1];
        end = last > end ? last : end;
    }
    return end;
}

static bool reserve(const struct low_unit *u, struct low_unit_scratch *s, size_t n, size_t steps)
{
    const struct unit *of = u->of;
    return buffer_reals(&s->query, n, of->k_stride) != NULL &&
           buffer_reserve(&s->step_q, steps, of->e_stride, sizeof(int16_t)) &&
           buffer_reals(&s->step_scale, 1, steps) != NULL &&
           buffer_reals(&s->p, of->e, of->k_stride) != NULL &&
           buffer_reserve(&s->p_q, (of->e + 1) / 2, 2 * of->k_stride, sizeof(int16_t)) &&
           buffer_reals(&s->p_scale, 1, of->k_stride) != NULL &&
           low_tower_reserve(&u->tower, &s->tower);
}

/* query (B, k_stride) = q W_c + b */
static void forward_query(const struct low_unit *u, const struct low_unit_scratch *s,
                          const struct unit_input *in)
{
    const struct unit *of = u->of;
    u->tower.k->gemm(&(struct gemm){
        .c = s->query.data,
        .ldc = of->k_stride,
        .a = in->q,
        .a_row = of->e_stride,
        .a_col = 1,
        .b = fold_of(u, FOLD_C),
        .ldb = of->k_stride,
        .m = in->n,
        .n = of->k_stride,
        .k = of->e,
        .bias = fold_of(u, FOLD_BIAS),
    });
}

/* a of example i, which has steps: s_0 = e P + its row of the query, then the tower. */
static void forward_example(const struct low_unit *u, const struct low_unit_scratch *s,
                            const struct unit_input *in, size_t i, real *a)
{
    const struct unit *of = u->of;
    size_t first = in->step_offset[in->of_example[i]], steps = in->pair[i + 1] - in->pair[i];
    struct low_columns p = {s->p_q.data, s->p_scale.data, of->e, of->k_stride};
    u->tower.low->mix(&p, s->p.data, fold_of(u, FOLD_H), fold_of(u, FOLD_P),
                      in->q + i * of->e_stride, u->limit);
    for (size_t j = 0; j < steps; j += LOW_BLOCK_ROWS) {
        size_t m = steps - j < LOW_BLOCK_ROWS ? steps - j : LOW_BLOCK_ROWS;
        u->tower.low->product(&(struct low_product){
            .c = low_tower_input(&s->tower),
            .ldc = of->k_stride,
            .a = {(int16_t *)s->step_q.data + (first + j) * of->e_stride,
                  (real *)s->step_scale.data + first + j, of->e_stride},
            .b = p,
            .bias = (const real *)s->query.data + i * of->k_stride,
            .m = m,
        });
        low_tower_above(&u->tower, &s->tower, a + j, m);
    }
}

bool low_unit_forward(const struct low_unit *u, struct low_unit_scratch *s,
                      const struct unit_input *in, real *a)
{
    const struct unit *of = u->of;
    size_t steps = steps_end(in);
    if (!reserve(u, s, in->n, steps)) {
        return false;
    }
    forward_query(u, s, in);
    u->tower.low->rows(&(struct low_rows){s->step_q.data, s->step_scale.data, of->e_stride}, in->e,
                       steps, of->e_stride, of->e, u->limit);
    for (size_t i = 0; i < in->n; i++) {
        if (in->pair[i + 1] > in->pair[i]) {
            forward_example(u, s, in, i, a + in->pair[i]);
        }
    }
    return true;
}
