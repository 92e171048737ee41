/* alloc_wrap.c: counts what asks for memory, and lets one call get none.  Class `own` is asked by
 * the code of the program itself: the layers of undine are linked into it, all else (RocksDB,
 * librdkafka, OpenBLAS, C++) comes as shared libraries. */
#include "crash/wrap_plan.h"

#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

#define EXPORT __attribute__((visibility("default")))

extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t n, size_t bytes);
extern void *__libc_realloc(void *old, size_t bytes);
extern void *__libc_memalign(size_t align, size_t bytes);

static uintptr_t code_begin, code_end; /* of the program */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int look(struct dl_phdr_info *info, size_t size, void *payload)
{
    (void)size;
    (void)payload;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type == PT_LOAD && (info->dlpi_phdr[i].p_flags & PF_X) != 0) {
            code_begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            code_end = code_begin + info->dlpi_phdr[i].p_memsz;
        }
    }
    return 1; /* the first is the program */
}

static void start(void)
{
    (void)dl_iterate_phdr(look, NULL);
}

static bool refused(const void *caller)
{
    (void)pthread_once(&once, start);
    int e = wrap_plan_take(WRAP_MALLOC, 1);
    if ((uintptr_t)caller >= code_begin && (uintptr_t)caller < code_end) {
        int own = wrap_plan_take(WRAP_MALLOC_OWN, 1);
        e = e != 0 ? e : own;
    }
    if (e != 0) {
        errno = ENOMEM;
    }
    return e != 0;
}

EXPORT void *malloc(size_t bytes)
{
    return refused(__builtin_return_address(0)) ? NULL : __libc_malloc(bytes);
}
EXPORT void *calloc(size_t n, size_t bytes)
{
    return refused(__builtin_return_address(0)) ? NULL : __libc_calloc(n, bytes);
}
EXPORT void *realloc(void *old, size_t bytes)
{
    return refused(__builtin_return_address(0)) ? NULL : __libc_realloc(old, bytes);
}
EXPORT void *reallocarray(void *old, size_t n, size_t bytes)
{
    size_t all;
    if (__builtin_mul_overflow(n, bytes, &all) || refused(__builtin_return_address(0))) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_realloc(old, all);
}
EXPORT void *aligned_alloc(size_t align, size_t bytes)
{
    return refused(__builtin_return_address(0)) ? NULL : __libc_memalign(align, bytes);
}
EXPORT int posix_memalign(void **out, size_t align, size_t bytes)
{
    void *at = refused(__builtin_return_address(0)) ? NULL : __libc_memalign(align, bytes);
    if (at == NULL) {
        return ENOMEM;
    }
    *out = at;
    return 0;
}
