#include "learner/loss.h"

float loss_slope(enum example_kind kind, float p)
{
    switch (kind) {
    case EXAMPLE_NEGATIVE:
        return p;
    case EXAMPLE_POSITIVE:
        return p - 1.0f;
    case EXAMPLE_CORRECTION:
        return -1.0f;
    case EXAMPLE_FNW_NEGATIVE:
        return (1.0f - p) * (1.0f + p) * p;
    case EXAMPLE_FNW_POSITIVE:
        return (1.0f + p) * (p - 1.0f);
    case EXAMPLE_FORGET:
        break;
    }
    UNDINE_ASSERT(false);
    return 0.0f;
}
