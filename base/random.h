/* random.h: a small seeded generator (splitmix64).  Its whole state is one number, so it can be
 * saved and restored; equal seeds give equal streams on every machine.  The caller owns it. */
#ifndef UNDINE_BASE_RANDOM_H
#define UNDINE_BASE_RANDOM_H

#include <stdint.h>

struct random {
    uint64_t state;
};

uint64_t random_u64(struct random *r);
double random_unit(struct random *r);               /* uniform in [0, 1) */
uint64_t random_below(struct random *r, uint64_t n); /* uniform in 0..n-1, n < 2^32 */
double random_normal(struct random *r);             /* mean 0, variance 1 (Box-Muller) */

#endif
