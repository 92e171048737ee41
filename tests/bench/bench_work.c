#include "tests/bench/bench_work.h"

#include "learner/model/cross.h"

/* Of one number of one row.  Forward: mean and variance 4, (s - mean) / deviation 2, sigmoid 3,
 * its complement 1, s (p + alpha q) 3.  Backward: the sigmoid again 6, gradient and what the
 * statistics need 12, their share taken off 4. */
enum { DICE_FLOPS = 13 + 22 };
enum { FORWARD_AND_BACKWARD = 3, DOT_FLOPS = 6 /* forward 2, gradients of both sides 4 */ };
/* Of a layer: s written and read forward, read twice backward; g written and read. */
enum { LAYER_PASSES = 6 };

/* Layers on top of each other over `rows` rows; the first one's product is counted by the caller
 * where first_in is 0. */
static void add_tower(struct bench_work *w, double rows, double first_in, const uint32_t *hidden,
                      uint32_t n_hidden)
{
    double in = first_in;
    for (uint32_t i = 0; i < n_hidden; i++) {
        double out = (double)hidden[i];
        w->product_flops += FORWARD_AND_BACKWARD * 2.0 * rows * in * out;
        w->vector_flops += DICE_FLOPS * rows * out;
        w->layer_bytes += LAYER_PASSES * (double)sizeof(real) * rows * out;
        in = out;
    }
    w->vector_flops += DOT_FLOPS * rows * in;
}

/* First layer of the unit, and pooling. */
static void add_unit(struct bench_work *w, double steps, double e, double k)
{
    w->product_flops += FORWARD_AND_BACKWARD * 2.0 * (steps + 1.0) * e * k;
    /* W_h + diag(c) W_p forward and, transposed, backward: 2 each; backward of it: 1 + 2 + 2 */
    w->vector_flops += 9.0 * e * k;
    w->vector_flops += FORWARD_AND_BACKWARD * 2.0 * steps * e; /* weights times steps */
}

struct bench_work bench_work_count(const struct schema *schema, const struct model_options *model,
                                   double steps)
{
    struct bench_work w = {0};
    uint32_t e = schema_step_dim(schema, 0), x = cross_width(e, model);
    for (uint32_t f = 0; f < schema->n_fields; f++) {
        x += schema_field_dim(schema, f);
    }
    add_unit(&w, steps, (double)e, (double)model->unit.hidden[0]);
    add_tower(&w, steps, 0.0, model->unit.hidden, model->unit.n_hidden);
    add_tower(&w, 1.0, (double)x, model->mlp.hidden, model->mlp.n_hidden);
    return w;
}
