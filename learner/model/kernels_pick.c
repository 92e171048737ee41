#include "learner/model/kernels_isa.h"

const struct kernels *kernels_available(size_t i)
{
    const struct kernels *sets[4] = {NULL, NULL, NULL, NULL};
    size_t n = 0;
#ifdef UNDINE_KERNELS_X86
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
        sets[n++] = &kernels_avx512;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        sets[n++] = &kernels_avx2;
    }
#endif
    sets[n++] = &kernels_portable;
    return i < n ? sets[i] : NULL;
}

size_t kernels_stride(size_t width)
{
    return (width + KERNELS_LANES - 1) / KERNELS_LANES * KERNELS_LANES;
}
