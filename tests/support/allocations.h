/* allocations.h: how often a program asked for memory, all threads together.  Needs the linker to
 * send the allocator's names to allocations.c: undine_count_allocations() in tests/CMakeLists. */
#ifndef UNDINE_TESTS_SUPPORT_ALLOCATIONS_H
#define UNDINE_TESTS_SUPPORT_ALLOCATIONS_H

#include <stdatomic.h>

extern atomic_ulong allocations_count;

#endif
