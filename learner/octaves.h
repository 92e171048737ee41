/* octaves.h: sizes in buckets of equal relative width, for quantiles of many numbers in little
 * memory.
 *
 * OCTAVES_PARTS buckets for each factor of two from 2^OCTAVES_LOW to 2^OCTAVES_HIGH; what is larger
 * falls into the last.  The middle of a bucket is within 1/16 of what is in it.  Pure functions. */
#ifndef UNDINE_LEARNER_OCTAVES_H
#define UNDINE_LEARNER_OCTAVES_H

enum {
    OCTAVES_LOW = -24,
    OCTAVES_HIGH = 16,
    OCTAVES_PARTS = 8,
    OCTAVES_BUCKETS = (OCTAVES_HIGH - OCTAVES_LOW) * OCTAVES_PARTS
};

/* Of a size >= 0 that is a number; -1: below 2^OCTAVES_LOW, which counts as 0. */
int octaves_bucket(double size);
/* The middle of a bucket; 0 for -1. */
double octaves_middle(int bucket);

#endif
