/* bench_shape.h: the shapes that trainers of DIN are compared at: schema, data and layers.
 *
 * online: undine's own: a mini-batch of 256, histories of 50 steps, item 18 + category 18 +
 * user 18. deeprec: DeepRec's published benchmark with the sizes of Amazon Books: mini-batches of
 * 512, 543,060 users, 367,983 items, 1,601 categories, histories of 4 + floor(47 u^4) steps (u
 * uniform: mean 13, at most 50), unit [q, k, q-k, q*k] 80-40, MLP 200-80. deeprec30: the same with
 * histories uniform in 10..50. paper: the DIN paper's (arXiv 1706.06978v4): mini-batches of 5000,
 * embeddings of 12; goods, shop and category of candidate and step, ten more fields, so that the
 * MLP 200-80 sees 192 numbers; unit [h, h*c, c] 36; histories uniform in 1..100.
 *
 * Ids are skewed, the k-th of a table drawn with a probability of about 1 / k; an item has one
 * category and one shop.  Every example brings a history of its own. */
#ifndef UNDINE_TESTS_BENCH_SHAPE_H
#define UNDINE_TESTS_BENCH_SHAPE_H

#include "base/random.h"
#include "learner/model/model.h"
#include "tests/support/example_stream.h"

enum {
    BENCH_SHAPE_HISTORY_MAX = 1000,
    BENCH_SHAPE_BATCHES_MAX = 40,
    BENCH_SHAPE_MORE_IDS = 10000, /* ids of a context field */
    BENCH_SHAPE_SEED = 1          /* of the batches */
};

struct bench_shape {
    const char *name, *text;
    uint32_t batch, dim;
    uint32_t history_min, history_max, history_power; /* min + floor((max - min + 1) u^power) */
    uint32_t items, categories, shops, users;         /* shops 0: none */
    uint32_t n_more;                                  /* context fields */
    enum model_unit_input unit;
    uint32_t unit_hidden[2]; /* the second 0: one layer */
    uint32_t batches;        /* most of them; 0: as many as fit */
    bool uniform;            /* items are drawn equally often, which no cache helps */
};

/* The shape of that name, or NULL. */
const struct bench_shape *bench_shape_find(const char *name);
#define BENCH_SHAPE_NAMES "online, deeprec, deeprec30 or paper"

int bench_shape_schema(const struct bench_shape *shape, struct schema *out, struct undine_err *err);
/* The model: DIN of that shape with Dice, whatever else is the default. */
struct model_options bench_shape_model(const struct bench_shape *shape);
/* Add n examples; labels are coins. */
void bench_shape_fill(const struct bench_shape *shape, struct example_stream *s, uint32_t n,
                      struct random *r);
/* Add n examples whose steps are all items from number `first` on, each once. */
void bench_shape_fill_items(const struct bench_shape *shape, struct example_stream *s,
                            uint32_t first, uint32_t n, struct random *r);
/* How many different mini-batches a benchmark goes round: as many as fit in memory, so that the
 * rows of one are cold at the next. */
uint32_t bench_shape_batches(const struct bench_shape *shape);

#endif
