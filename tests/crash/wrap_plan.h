/* wrap_plan.h: which call of a program under test fails, and how many there were.
 *
 * The library is put in front of a program with LD_PRELOAD (io_wrap.c, alloc_wrap.c, place_wrap.c)
 * and told by its environment:
 *   UNDINE_IO_DIR    only files below this directory take part
 *   UNDINE_IO_FAIL   CLASS:NTH:ERROR[:always]: the nth call of the class (from 1) fails, or all from
 *                    there on; class `change` counts every call that changes the disk, `space` bytes
 *   UNDINE_IO_COUNT  a file that gets a u64 for each class, calls first, then failures
 *   UNDINE_IO_TRACE  a file that gets a record of every change (io_wrap.c)
 *   UNDINE_IO_PLACE  a file that gets the place where a signal ended it (place_wrap.c) */
#ifndef UNDINE_CRASH_WRAP_PLAN_H
#define UNDINE_CRASH_WRAP_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#define WRAP_CLASSES(X)                                                                            \
    X(OPEN, "open")                                                                                \
    X(READ, "read")                                                                                \
    X(WRITE, "write")                                                                              \
    X(FSYNC, "fsync")                                                                              \
    X(RENAME, "rename")                                                                            \
    X(UNLINK, "unlink")                                                                            \
    X(MKDIR, "mkdir")                                                                              \
    X(CLOSE, "close")                                                                              \
    X(TRUNCATE, "truncate")                                                                        \
    X(ALLOCATE, "allocate")                                                                        \
    X(MMAP, "mmap")                                                                                \
    X(CHANGE, "change")                                                                            \
    X(SPACE, "space")                                                                              \
    X(MALLOC, "malloc")  /* any memory, whoever asks */                                            \
    X(MALLOC_OWN, "own") /* memory that the program's own code asks for */

enum wrap_class {
#define X(name, text) WRAP_##name,
    WRAP_CLASSES(X)
#undef X
        WRAP_CLASS_COUNT
};

enum { WRAP_SHORT = -1 }; /* no error: half of the bytes are written */

/* Count a call of this class; 0 = let it through, else the errno (or WRAP_SHORT) with which it
 * ends. */
int wrap_plan_take(enum wrap_class c, uint64_t n);

#endif
