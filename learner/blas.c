#include "learner/blas.h"

#include "base/err.h"

#include <cblas.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* From these on OpenBLAS is ahead of the AVX-512 kernels: a narrow side never pays for the packing
 * of operands, whatever the size of the product; a transposed a, which the own kernels read in
 * strides, pays earlier. */
enum { SIDE_MIN = 256 };
static const size_t SIZE_MIN = (size_t)1 << 30, SIZE_MIN_TRANSPOSED = (size_t)1 << 28;

/* Cores by the instructions of their sgemm, the one to ask for first. */
static const char *const CORES_AVX512[] = {"SkylakeX", "Cooperlake", "SapphireRapids", NULL};
static const char *const CORES_AVX2[] = {"Haswell", "Zen", NULL};

static bool among(const char *const *cores, const char *core)
{
    while (*cores != NULL && strcasecmp(*cores, core) != 0) {
        cores++;
    }
    return *cores != NULL;
}

const char *blas_core(void)
{
    return openblas_get_corename();
}

const char *blas_core_wanted_for(const char *own, const char *core)
{
    if (strcmp(own, "avx512") == 0) {
        return among(CORES_AVX512, core) ? NULL : CORES_AVX512[0];
    }
    if (strcmp(own, "avx2") == 0) {
        return among(CORES_AVX2, core) || among(CORES_AVX512, core) ? NULL : CORES_AVX2[0];
    }
    return NULL;
}

const char *blas_core_wanted(void)
{
    return blas_core_wanted_for(kernels_available(0)->name, blas_core());
}

/* Do the columns of a stand one after the other?  One row of one number a step reads both ways, but
 * cblas wants rows as far apart as they are long. */
static bool transposed(const struct gemm *g)
{
    return g->a_col != 1 || g->a_row < g->k;
}

/* Can cblas express it? */
static bool fits(const struct gemm *g)
{
    bool t = transposed(g);
    size_t lda = t ? g->a_col : g->a_row;
    return (t ? g->a_row == 1 && lda >= g->m : lda >= g->k) && g->m <= INT_MAX && g->n <= INT_MAX &&
           g->k <= INT_MAX && lda <= INT_MAX && g->ldb <= INT_MAX && g->ldc <= INT_MAX;
}

bool blas_wins(const struct gemm *g)
{
    return g->m >= SIDE_MIN && g->n >= SIDE_MIN && g->k >= SIDE_MIN && fits(g) &&
           g->m * g->n * g->k >= (transposed(g) ? SIZE_MIN_TRANSPOSED : SIZE_MIN);
}

void blas_gemm(const struct gemm *g)
{
    UNDINE_ASSERT(fits(g));
    bool adds = g->add || g->bias != NULL;
    for (size_t i = 0; g->bias != NULL && !g->add && i < g->m; i++) {
        memcpy(g->c + i * g->ldc, g->bias, g->n * sizeof *g->c);
    }
    cblas_sgemm(CblasRowMajor, transposed(g) ? CblasTrans : CblasNoTrans, CblasNoTrans, (int)g->m,
                (int)g->n, (int)g->k, 1.0f, g->a, (int)(transposed(g) ? g->a_col : g->a_row), g->b,
                (int)g->ldb, adds ? 1.0f : 0.0f, g->c, (int)g->ldc);
}

static bool product(const struct gemm *g)
{
    bool wins = blas_wins(g);
    if (wins) {
        blas_gemm(g);
    }
    return wins;
}

kernels_product blas_product(void)
{
    openblas_set_num_threads(1); /* another build of OpenBLAS than the serial one may be loaded */
    return blas_core_wanted() == NULL ? product : NULL;
}

void blas_kernels(char *out, size_t size)
{
    const char *own = kernels_available(0)->name;
    if (blas_core_wanted() == NULL) {
        (void)snprintf(out, size, "%s + OpenBLAS %s", own, blas_core());
    } else {
        (void)snprintf(out, size, "%s", own);
    }
}
