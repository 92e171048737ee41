/* torch_golden.h: the files of tests/golden/torch, which PyTorch computed in double (make.py).
 * Aborts where a file is not as make.py writes it.  Works in both builds of the model. */
#ifndef UNDINE_TESTS_SUPPORT_TORCH_GOLDEN_H
#define UNDINE_TESTS_SUPPORT_TORCH_GOLDEN_H

#include "learner/model/model.h"
#include "tests/support/toy_batch.h"

#include <jansson.h>

struct torch_golden {
    json_t *data, *initial, *file; /* data.json, initial.json, the case's own */
    struct schema schema;
    struct model_options model;
    uint32_t batch_max;
};

void torch_golden_open(struct torch_golden *g, const char *name);
void torch_golden_close(struct torch_golden *g);

/* The first batch, with the first weights of the tables; toy_batch_release frees it. */
void torch_golden_batch(const struct torch_golden *g, struct toy_batch *out);
uint32_t torch_golden_rows(const struct torch_golden *g, uint32_t table);
/* First weight i of the tensor (rows, cols): "table.<name>" or a parameter's name. */
double torch_golden_initial(const struct torch_golden *g, const char *name, uint32_t rows,
                            uint32_t cols, size_t i);
/* Put the first weights into a model just opened: what is trained; statistics stay. */
void torch_golden_start(const struct torch_golden *g, struct model *m);

/* The largest error of got (n) relative to the largest number of `expected`, an array of n, or
 * to 1e-3 where that is larger. */
double torch_golden_error(const json_t *expected, const real *got, size_t n);

#endif
