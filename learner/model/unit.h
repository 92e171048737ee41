/* unit.h: DIN's local activation unit: one number for each (step, candidate).
 *
 * First layer on h (step), c (candidate), both E wide, K outputs:
 *   paper     [h, h*c, c]:        h A + (h*c) B + c C + b        (DIN, fig. 2 and sec. 4.3)
 *   official  [c, h, c-h, c*h]:   the authors' code
 * Neither input is ever formed.  (h*c) B = h diag(c) B, so with W_h, W_p, W_c and per candidate
 *   P = W_h + diag(c) W_p  (E, K)     s_0 = h P + (c W_c + b)
 * it is one H x E x K product instead of H x 3E x K or H x 4E x K.  In official mode
 *   W_h = W_2 - W_3,  W_p = W_4,  W_c = W_1 + W_3.
 * Backward: dP = h^T ds_0;  dW_h += dP, dW_p += diag(c) dP, dc += rowwise dP . W_p, dh += ds_0 P^T.
 * No normalisation here, and no bound on the output: sequence.h. */
#ifndef UNDINE_LEARNER_MODEL_UNIT_H
#define UNDINE_LEARNER_MODEL_UNIT_H

#include "learner/model/shards.h"
#include "learner/model/tower.h"

struct unit {
    uint32_t e, k; /* widths E, K */
    size_t e_stride, k_stride;
    enum model_unit_input input;
    struct tower tower; /* layer 0 holds the weights (3E or 4E, K) */
};

struct unit_scratch {
    struct buffer fold;   /* W_h, W_p, W_c, each (E, k_stride), and b (k_stride) */
    struct buffer fold_t; /* the same transposed, each (K, e_stride) */
    struct buffer dfold;  /* gradients of the three */
    struct buffer dparts; /* of the first two, those of each shard */
    struct buffer query;  /* c W_c + b (B, k_stride); backward: sums of ds_0 over steps */
    struct buffer p, dp;  /* P or its transpose; dP; of each worker */
    struct buffer dv;     /* padded; of each worker */
    struct buffer sums;   /* double (k_stride), of each worker */
    struct tower_scratch tower;
};

/* Pairs: example i with the steps of its sequence, in order; pair[i] is its first. */
struct unit_input {
    size_t n;                    /* B */
    const real *e;               /* (T, e_stride) steps */
    const real *q;               /* (B, e_stride) candidates */
    const uint32_t *step_offset; /* of the sequences kept */
    const uint32_t *of_example;  /* (B) */
    const size_t *pair;          /* (B+1) */
};

/* What the pooled steps v = sum of weight times e hand back: de += weight dv. */
struct unit_pooled {
    const real *weight; /* (pairs) */
    const real *dv;     /* (B) rows of E, dv_stride apart */
    size_t dv_stride;
};

/* Who takes the gradient of a sequence's steps as soon as no example adds to it any more, while it
 * is in the cache: de (steps of sequence k, e_stride).  Sequences come in ascending order; those
 * without examples or steps are left out. */
struct unit_taker {
    void (*take)(const void *ctx, uint32_t k, const real *de);
    const void *ctx;
};

/* prefix at most 52 bytes. */
void unit_declare(struct unit *u, struct params *p, const char *prefix, uint32_t e,
                  const struct model_options *opt);
void unit_init(const struct unit *u, const struct params *p, real *values, uint64_t seed);
void unit_scratch_release(struct unit_scratch *s);

/* a (pairs).  False where memory is out. */
bool unit_forward(const struct unit *u, struct unit_scratch *s, const struct pass *pass,
                  const struct unit_input *in, real *a);
/* da (pairs).  de (T, e_stride) is written, with the share of `pooled`; ADDS into dq (B, e_stride)
 * and the gradients.  shards: of the batch's sequences.  taker: NULL, or, with one worker, whom de
 * is given; then de has room for the longest sequence alone. */
bool unit_backward(const struct unit *u, struct unit_scratch *s, const struct pass *pass,
                   const struct unit_input *in, const struct shards *shards,
                   const struct unit_pooled *pooled, const struct unit_taker *taker, real *de,
                   real *dq, const real *da);

#endif
