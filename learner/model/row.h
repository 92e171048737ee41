/* row.h: the first value of an embedding row: a function of seed, table and id alone, so that it
 * does not depend on when the id was first seen, and a scorer gives an unknown id the vector with
 * which the trainer would start it.  (With admission it is the table's shared row instead:
 * learner/admission.h.) */
#ifndef UNDINE_LEARNER_MODEL_ROW_H
#define UNDINE_LEARNER_MODEL_ROW_H

#include <stdint.h>

struct row_init {
    uint64_t seed;
    float scale;      /* standard deviation of a normal, 0 = zeros */
    uint32_t n_zeros; /* the last numbers of a row begin at 0: the linear weight */
};

/* out (width). */
void row_initial(float *out, uint32_t width, uint64_t key, const struct row_init *init);

#endif
