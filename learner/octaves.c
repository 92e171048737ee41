#include "learner/octaves.h"

#include <math.h>

int octaves_bucket(double size)
{
    int exponent;
    double fraction = frexp(size, &exponent); /* in [1/2, 1) */
    if (!(size >= ldexp(1.0, OCTAVES_LOW))) {
        return -1;
    }
    if (size >= ldexp(1.0, OCTAVES_HIGH)) {
        return OCTAVES_BUCKETS - 1;
    }
    return (exponent - 1 - OCTAVES_LOW) * OCTAVES_PARTS +
           (int)((fraction - 0.5) * (2 * OCTAVES_PARTS));
}

double octaves_middle(int bucket)
{
    if (bucket < 0) {
        return 0.0;
    }
    double fraction = 1.0 + (bucket % OCTAVES_PARTS + 0.5) / OCTAVES_PARTS;
    return ldexp(fraction, OCTAVES_LOW + bucket / OCTAVES_PARTS);
}
