/* A tile of rows and vectors of c stays in registers while k runs; b is read as rows of vectors, a
 * one number at a time.  Blocks keep a panel of b in the first and a block of a in the second
 * cache. Nothing is packed: the operands here are small or already padded. */
#include "learner/model/kernels_isa.h"
#include "learner/model/kernels_vec.h"

#if defined(__AVX512F__)
enum { TILE_ROWS = 8 };
#else
enum { TILE_ROWS = 4 };
#endif
enum {
    TILE_VECS = 3,
    BLOCK_K = 128, /* rows of b in a panel */
    BLOCK_M = 256  /* rows of a */
};

#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

/* One tile; rows and vecs are constants wherever it is inlined. */
static inline __attribute__((always_inline)) void tile(const struct gemm *g, size_t rows,
                                                       size_t vecs)
{
    vec acc[TILE_ROWS][TILE_VECS];
    UNROLL
    for (size_t i = 0; i < rows; i++) {
        UNROLL
        for (size_t j = 0; j < vecs; j++) {
            size_t at = j * VEC_LANES;
            acc[i][j] = g->add            ? *(const vec *)(g->c + i * g->ldc + at)
                        : g->bias != NULL ? *(const vec *)(g->bias + at)
                                          : (vec){0};
        }
    }
    const real *a = g->a;
    const real *b = g->b;
    size_t a_row = g->a_row, a_col = g->a_col, ldb = g->ldb;
    for (size_t p = g->k; p > 0; p--, a += a_col, b += ldb) {
        vec b_p[TILE_VECS];
        UNROLL
        for (size_t j = 0; j < vecs; j++) {
            b_p[j] = *(const vec *)(b + j * VEC_LANES);
        }
        UNROLL
        for (size_t i = 0; i < rows; i++) {
            real a_ip = a[i * a_row];
            UNROLL
            for (size_t j = 0; j < vecs; j++) {
                acc[i][j] += a_ip * b_p[j];
            }
        }
    }
    UNROLL
    for (size_t i = 0; i < rows; i++) {
        UNROLL
        for (size_t j = 0; j < vecs; j++) {
            *(vec *)(g->c + i * g->ldc + j * VEC_LANES) = acc[i][j];
        }
    }
}

#define TILE(rows, vecs)                                                                           \
    static void tile_##rows##_##vecs(const struct gemm *g)                                         \
    {                                                                                              \
        tile(g, rows, vecs);                                                                       \
    }
#define TILES(rows) TILE(rows, 1) TILE(rows, 2) TILE(rows, 3)
#define TILE_NAMES(rows)                                                                           \
    {                                                                                              \
        tile_##rows##_1, tile_##rows##_2, tile_##rows##_3                                          \
    }
TILES(1)
TILES(2)
TILES(3) TILES(4)
#if defined(__AVX512F__)
    TILES(5) TILES(6) TILES(7) TILES(8)
#endif

        static void (*const TILE_OF[TILE_ROWS][TILE_VECS])(const struct gemm *) = {
            TILE_NAMES(1), TILE_NAMES(2), TILE_NAMES(3), TILE_NAMES(4),
#if defined(__AVX512F__)
            TILE_NAMES(5), TILE_NAMES(6), TILE_NAMES(7), TILE_NAMES(8),
#endif
};

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* All columns of a block of at most BLOCK_M rows and BLOCK_K steps. */
static void block(struct gemm *t, const struct gemm *g, size_t i0, size_t p0)
{
    size_t rows = least(g->m - i0, BLOCK_M);
    t->k = least(g->k - p0, BLOCK_K);
    t->add = g->add || p0 > 0;
    for (size_t j = 0; j < g->n;) {
        size_t left = (g->n - j) / VEC_LANES;
        size_t vecs = left == 4 ? 2 : least(left, TILE_VECS); /* 4 = 2 + 2, not 3 + 1 */
        t->b = g->b + p0 * g->ldb + j;
        t->bias = g->bias != NULL ? g->bias + j : NULL;
        for (size_t i = i0; i < i0 + rows; i += TILE_ROWS) {
            t->c = g->c + i * g->ldc + j;
            t->a = g->a + i * g->a_row + p0 * g->a_col;
            TILE_OF[least(i0 + rows - i, TILE_ROWS) - 1][vecs - 1](t);
        }
        j += vecs * VEC_LANES;
    }
}

void KERNELS_PASTE(gemm, KERNELS_ISA)(const struct gemm *g)
{
    struct gemm t = *g;
    for (size_t i = 0; i < g->m; i += BLOCK_M) {
        size_t p = 0;
        do { /* once where k is 0: c is still to be written */
            block(&t, g, i, p);
            p += BLOCK_K;
        } while (p < g->k);
    }
}
