/* config_slices.h: the slices of `metrics.slices`: as they are declared, and as the learner takes
 * them. */
#ifndef UNDINE_CONFIGS_CONFIG_SLICES_H
#define UNDINE_CONFIGS_CONFIG_SLICES_H

#include "configs/config_value.h"

/* After fields, sequences and join are known. */
int config_slice_add(struct config *c, const struct config_slice *slice,
                     const struct config_where *where, struct undine_err *err);
/* The i-th again, as it would be declared; out is zeroed. */
void config_slice_get(const struct config *c, uint32_t i, struct config_slice *out);

#endif
