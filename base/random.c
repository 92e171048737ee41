#include "base/random.h"

#include <math.h>

uint64_t random_u64(struct random *r)
{
    r->state += 0x9E3779B97F4A7C15U;
    uint64_t z = r->state;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
}

double random_unit(struct random *r)
{
    return (double)(random_u64(r) >> 11) * 0x1.0p-53;
}

uint64_t random_below(struct random *r, uint64_t n)
{
    return ((random_u64(r) >> 32) * n) >> 32;
}

double random_normal(struct random *r)
{
    double u = 1.0 - random_unit(r); /* (0, 1]: the logarithm is finite */
    double v = random_unit(r);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}
