/* model_reference.h: a naive twin of the model's forward, in double, straight from the equations:
 * the unit's input is formed, nothing is shared, folded, padded or blocked. */
#ifndef UNDINE_TESTS_SUPPORT_MODEL_REFERENCE_H
#define UNDINE_TESTS_SUPPORT_MODEL_REFERENCE_H

#include "learner/model/model.h"

struct reference {
    const struct schema *schema;
    const struct model_options *opt;
    const struct model_param *params;
    size_t n_params;
    const double *values;                   /* as model_values */
    const double *table[SCHEMA_TABLES_MAX]; /* (U, W) */
    const struct batch *batch;              /* its weights are not read */
    bool train;                             /* Dice by the batch's statistics */
};

/* logit (B) */
void reference_logits(const struct reference *r, double *logit);
/* Mean logloss against label (B). */
double reference_loss(const struct reference *r, const real *label);
/* Offset of a parameter; aborts where there is none. */
size_t reference_offset(const struct reference *r, const char *prefix, const char *name);

#endif
