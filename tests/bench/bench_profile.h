/* bench_profile.h: where the time of a training step goes, told by the trainer itself.
 *
 * The functions at the seams of the trainer and the table of its kernels are wrapped by the linker
 * (--wrap, in the one program that links bench_profile.c), so the tree and the program of a user
 * have no trace of it.  Time is exclusive: a phase's own, without those that begin inside it. While
 * it is off nothing is wrapped but for a branch.  One trainer with one worker at a time. */
#ifndef UNDINE_TESTS_BENCH_PROFILE_H
#define UNDINE_TESTS_BENCH_PROFILE_H

#include <stdbool.h>
#include <stdint.h>

enum bench_phase {
    PHASE_CUT,     /* examples into the open mini-batch */
    PHASE_GATHER,  /* unique ids, their rows found, made and copied */
    PHASE_EMBED,   /* rows laid out as steps and fields, gradients added back to rows */
    PHASE_PRODUCT, /* matrix products */
    PHASE_DICE,   /* activations with the dot products that are fused into them, and sums of columns
                   */
    PHASE_MIX,    /* W_h + diag(c) W_p of each example, and back */
    PHASE_POOL,   /* steps times weights, and back */
    PHASE_MODEL,  /* the rest of forward and backward */
    PHASE_UPDATE, /* norm, clipping, MBA, optimizer */
    PHASE_NOTE,   /* the rest of a mini-batch: metrics, click rates of items, guards, loss */
    PHASES
};
extern const char *const bench_phase_names[PHASES];

struct bench_profile {
    int64_t ns[PHASES];
    double product_flops; /* as executed: widths as kernels pad them */
    uint64_t products, examples, steps, batches;
    uint64_t rows, row_bytes; /* unique rows of each mini-batch, and their bytes in the table */
};

/* Trainers that are opened from now on are measured, or not. */
void bench_profile_on(bool on);
/* Forget what was measured. */
void bench_profile_clear(void);
const struct bench_profile *bench_profile(void);

#endif
