#include "learner/model/params.h"

#include "base/hash.h"
#include "base/random.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

size_t params_add(struct params *p, const char *prefix, const char *name, uint32_t rows,
                  uint32_t cols, bool trained)
{
    UNDINE_ASSERT(p->n < PARAMS_MAX);
    struct model_param *param = &p->list[p->n++];
    int len = snprintf(param->name, sizeof param->name, "%s.%s", prefix, name);
    UNDINE_ASSERT(len > 0 && (size_t)len < sizeof param->name);
    param->rows = rows;
    param->cols = cols;
    param->offset = p->n_values;
    param->trained = trained;
    p->n_values += (size_t)rows * cols;
    return param->offset;
}

void params_init_glorot(const struct params *p, size_t offset, real *values, uint64_t seed)
{
    const struct model_param *param = NULL;
    for (size_t i = 0; i < p->n; i++) {
        if (p->list[i].offset == offset) {
            param = &p->list[i];
        }
    }
    UNDINE_ASSERT(param != NULL);
    struct random r = {hash_bytes_seeded(param->name, strlen(param->name), seed)};
    double limit = sqrt(6.0 / ((double)param->rows + (double)param->cols));
    size_t n = (size_t)param->rows * param->cols;
    for (size_t i = 0; i < n; i++) {
        values[offset + i] = (real)(limit * (2.0 * random_unit(&r) - 1.0));
    }
}

enum { GEMM_SHARED_MIN = 1 << 18 /* multiplications: below it waking others costs more */ };
enum { GEMM_ROWS = 8 /* parts hold whole tiles of rows */ };

struct gemm_parts {
    const struct kernels *k;
    const struct gemm *whole;
    size_t rows; /* of a part */
};

static void gemm_part(void *ctx, size_t i, size_t who)
{
    const struct gemm_parts *p = ctx;
    struct gemm g = *p->whole;
    size_t first = i * p->rows;
    (void)who;
    g.c += first * g.ldc;
    g.a += first * g.a_row;
    g.m = g.m - first < p->rows ? g.m - first : p->rows;
    p->k->gemm(&g);
}

struct pass pass_alone(const struct pass *pass)
{
    struct pass alone = *pass;
    alone.workers = NULL;
    return alone;
}

void pass_gemm(const struct pass *pass, const struct gemm *g)
{
    if (pass->product != NULL && pass->product(g)) {
        return;
    }
    size_t n = workers_count(pass->workers);
    size_t tiles = (g->m + GEMM_ROWS - 1) / GEMM_ROWS;
    if (n == 1 || tiles < 2 || g->m * g->n * g->k < GEMM_SHARED_MIN) {
        pass->k->gemm(g);
        return;
    }
    struct gemm_parts parts = {.k = pass->k, .whole = g, .rows = (tiles + n - 1) / n * GEMM_ROWS};
    workers_run(pass->workers, (g->m + parts.rows - 1) / parts.rows, gemm_part, &parts);
}
