#include "learner/model/row.h"

#include "base/hash.h"
#include "base/random.h"

#include <string.h>

void row_initial(float *out, uint32_t width, uint64_t key, const struct row_init *init)
{
    uint32_t dim = init->scale > 0 ? width - init->n_zeros : 0;
    memset(out + dim, 0, (width - dim) * sizeof *out);
    struct random r = {hash_mix64(key ^ hash_mix64(init->seed))};
    for (uint32_t i = 0; i < dim; i++) {
        out[i] = (float)((double)init->scale * random_normal(&r));
    }
}
