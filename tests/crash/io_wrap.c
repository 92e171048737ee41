/* io_wrap.c: stands between a program and the C library's file calls: counts them, lets one fail,
 * and records what changes below UNDINE_IO_DIR, in the order in which it happened, for
 * disk_image.py, which works out what a disk may hold after a power cut.  A record is: u32 kind,
 * i32 fd, u64 offset, u32 name bytes, u32 data bytes, name, data. */
#include "crash/wrap_plan.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT          __attribute__((visibility("default")))
#define REAL(name, ...) ((__typeof__(&name))real(#name))(__VA_ARGS__)

enum record_kind {
    RECORD_OPEN = 1,
    RECORD_WRITE,
    RECORD_FSYNC,
    RECORD_CLOSE,
    RECORD_RENAME,
    RECORD_UNLINK,
    RECORD_MKDIR,
    RECORD_RMDIR,
    RECORD_TRUNCATE,
    RECORD_UNKNOWN /* something the image does not know how to follow */
};
enum { FD_MAX = 65536 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* a change and its record are one */
static atomic_bool followed[FD_MAX];                     /* fds of files below the directory */
static int trace_fd = -2;                                /* -2 = not looked yet, -1 = no trace */

static void *real(const char *name)
{
    void *at = dlsym(RTLD_NEXT, name);
    if (at == NULL) {
        abort();
    }
    return at;
}

static bool below(const char *path)
{
    const char *dir = getenv("UNDINE_IO_DIR"), *files = getenv("UNDINE_IO_FILES");
    size_t len = dir == NULL ? 0 : strlen(dir), path_len = strlen(path);
    size_t end = files == NULL ? 0 : strlen(files);
    return len > 0 && strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == '\0') &&
           path_len >= end && strcmp(path + path_len - end, files == NULL ? "" : files) == 0;
}

static bool follows(int fd)
{
    return fd >= 0 && fd < FD_MAX && atomic_load(&followed[fd]);
}

/* Lock held. */
static void record(enum record_kind kind, int fd, uint64_t offset, const char *name,
                   const void *data, size_t len)
{
    if (trace_fd == -2) {
        const char *path = getenv("UNDINE_IO_TRACE");
        trace_fd = path == NULL ? -1
                                : (int)syscall(SYS_openat, AT_FDCWD, path,
                                               O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    }
    if (trace_fd < 0) {
        return;
    }
    struct {
        uint32_t kind;
        int32_t fd;
        uint64_t offset;
        uint32_t name_len, data_len;
    } head = {(uint32_t)kind, fd, offset, name == NULL ? 0 : (uint32_t)strlen(name), (uint32_t)len};
    struct iovec parts[] = {{&head, sizeof head},
                            {(void *)(uintptr_t)name, head.name_len},
                            {(void *)(uintptr_t)data, len}};
    int saved = errno;
    if (syscall(SYS_writev, trace_fd, parts, 3) != (long)(sizeof head + head.name_len + len)) {
        abort();
    }
    errno = saved;
}

/* The whole path of a name that is relative to an open directory. */
static const char *path_at(char out[PATH_MAX], int dir_fd, const char *name)
{
    if (name[0] == '/' || dir_fd == AT_FDCWD) {
        return name;
    }
    char link[64];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", dir_fd);
    ssize_t n = readlink(link, out, PATH_MAX - 1);
    n = n < 0 ? 0 : n;
    (void)snprintf(out + n, (size_t)(PATH_MAX - n), "/%s", name);
    return out;
}

/* A call that changes the disk: also one of class `change`. */
static int take_change(enum wrap_class c)
{
    int e = wrap_plan_take(c, 1);
    int change = wrap_plan_take(WRAP_CHANGE, 1);
    return e != 0 ? e : change;
}

/* Tell the test which file it was. */
static void said(const char *path)
{
    const char *out = getenv("UNDINE_IO_SAID");
    long fd = out == NULL ? -1
                          : syscall(SYS_openat, AT_FDCWD, out,
                                    O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd >= 0) {
        struct iovec parts[] = {{(void *)(uintptr_t)path, strlen(path)}, {"\n", 1}};
        (void)syscall(SYS_writev, fd, parts, 2);
        (void)syscall(SYS_close, fd);
    }
}

static int fail(int error, const char *path)
{
    said(path);
    errno = error == WRAP_SHORT ? EIO : error;
    return -1;
}

static int fail_fd(int error, int fd)
{
    char link[64], path[PATH_MAX];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n < 0 ? 0 : n] = '\0';
    return fail(error, path);
}

/* ---- files ---- */

static int open_path(int dir_fd, const char *name, int flags, mode_t mode)
{
    char buffer[PATH_MAX];
    const char *path = path_at(buffer, dir_fd, name);
    if (!below(path)) {
        return (int)syscall(SYS_openat, dir_fd, name, flags, mode);
    }
    bool changes = (flags & (O_CREAT | O_TRUNC)) != 0;
    int e = changes ? take_change(WRAP_OPEN) : wrap_plan_take(WRAP_OPEN, 1);
    if (e != 0) {
        return fail(e, path);
    }
    (void)pthread_mutex_lock(&lock);
    int fd = (int)syscall(SYS_openat, dir_fd, name, flags, mode);
    if (fd >= FD_MAX) {
        abort();
    }
    if (fd >= 0) {
        atomic_store(&followed[fd], true);
        record(RECORD_OPEN, fd, (uint64_t)flags, path, NULL, 0);
    }
    (void)pthread_mutex_unlock(&lock);
    return fd;
}

static mode_t mode_of(int flags, va_list ap)
{
    return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(ap, mode_t) : 0;
}

#define OPEN_BODY(dir_fd, name, flags)                                                             \
    va_list ap;                                                                                    \
    va_start(ap, flags);                                                                           \
    mode_t mode = mode_of(flags, ap);                                                              \
    va_end(ap);                                                                                    \
    return open_path(dir_fd, name, flags, mode)

EXPORT int open(const char *name, int flags, ...)
{
    OPEN_BODY(AT_FDCWD, name, flags);
}
EXPORT int open64(const char *name, int flags, ...)
{
    OPEN_BODY(AT_FDCWD, name, flags);
}
EXPORT int openat(int dir_fd, const char *name, int flags, ...)
{
    OPEN_BODY(dir_fd, name, flags);
}
EXPORT int openat64(int dir_fd, const char *name, int flags, ...)
{
    OPEN_BODY(dir_fd, name, flags);
}

/* The descriptor is gone either way, as on Linux. */
EXPORT int close(int fd)
{
    if (!follows(fd)) {
        return REAL(close, fd);
    }
    int e = wrap_plan_take(WRAP_CLOSE, 1);
    if (e != 0) {
        (void)fail_fd(e, fd);
    }
    (void)pthread_mutex_lock(&lock);
    atomic_store(&followed[fd], false);
    int rc = REAL(close, fd);
    record(RECORD_CLOSE, fd, 0, NULL, NULL, 0);
    (void)pthread_mutex_unlock(&lock);
    if (e != 0) {
        errno = e;
    }
    return e != 0 ? -1 : rc;
}

/* ---- bytes ---- */

EXPORT ssize_t read(int fd, void *out, size_t len)
{
    int e = follows(fd) ? wrap_plan_take(WRAP_READ, 1) : 0;
    return e != 0 ? fail_fd(e, fd) : REAL(read, fd, out, len);
}
static ssize_t read_at(int fd, void *out, size_t len, off_t offset)
{
    int e = follows(fd) ? wrap_plan_take(WRAP_READ, 1) : 0;
    return e != 0 ? fail_fd(e, fd) : REAL(pread, fd, out, len, offset);
}
EXPORT ssize_t pread(int fd, void *out, size_t len, off_t offset)
{
    return read_at(fd, out, len, offset);
}
EXPORT ssize_t pread64(int fd, void *out, size_t len, off_t offset)
{
    return read_at(fd, out, len, offset);
}

/* at < 0: where the file stands. */
static ssize_t write_at(int fd, const void *data, size_t len, off_t at)
{
    int e = take_change(WRAP_WRITE);
    e = e != 0 ? e : wrap_plan_take(WRAP_SPACE, len);
    if (e > 0) {
        return fail_fd(e, fd);
    }
    if (e == WRAP_SHORT) {
        (void)fail_fd(e, fd);
        len = (len + 1) / 2;
    }
    (void)pthread_mutex_lock(&lock);
    ssize_t n = at < 0 ? REAL(write, fd, data, len) : REAL(pwrite, fd, data, len, at);
    if (n > 0) {
        off_t begin = at < 0 ? lseek(fd, 0, SEEK_CUR) - n : at;
        record(RECORD_WRITE, fd, (uint64_t)begin, NULL, data, (size_t)n);
    }
    (void)pthread_mutex_unlock(&lock);
    return n;
}
EXPORT ssize_t write(int fd, const void *data, size_t len)
{
    return follows(fd) ? write_at(fd, data, len, -1) : REAL(write, fd, data, len);
}
EXPORT ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
    return follows(fd) ? write_at(fd, data, len, offset) : REAL(pwrite, fd, data, len, offset);
}
EXPORT ssize_t pwrite64(int fd, const void *data, size_t len, off_t offset)
{
    return pwrite(fd, data, len, offset);
}

/* Piece by piece, which its callers must bear anyway. */
EXPORT ssize_t writev(int fd, const struct iovec *parts, int n_parts)
{
    if (!follows(fd)) {
        return REAL(writev, fd, parts, n_parts);
    }
    ssize_t sum = 0;
    for (int i = 0; i < n_parts; i++) {
        ssize_t n = write_at(fd, parts[i].iov_base, parts[i].iov_len, -1);
        sum += n > 0 ? n : 0;
        if (n < (ssize_t)parts[i].iov_len) {
            return n < 0 && sum == 0 ? n : sum;
        }
    }
    return sum;
}

static int truncate_fd(int fd, off_t len)
{
    int e = follows(fd) ? take_change(WRAP_TRUNCATE) : 0;
    if (e != 0) {
        return fail_fd(e, fd);
    }
    (void)pthread_mutex_lock(&lock);
    int rc = REAL(ftruncate, fd, len);
    if (rc == 0 && follows(fd)) {
        record(RECORD_TRUNCATE, fd, (uint64_t)len, NULL, NULL, 0);
    }
    (void)pthread_mutex_unlock(&lock);
    return rc;
}
EXPORT int ftruncate(int fd, off_t len)
{
    return truncate_fd(fd, len);
}
EXPORT int ftruncate64(int fd, off_t len)
{
    return truncate_fd(fd, len);
}

static int allocate(int fd, int mode, off_t offset, off_t len)
{
    int e = follows(fd) ? take_change(WRAP_ALLOCATE) : 0;
    if (e != 0) {
        return fail_fd(e, fd);
    }
    (void)pthread_mutex_lock(&lock);
    int rc = REAL(fallocate, fd, mode, offset, len);
    if (rc == 0 && follows(fd) && (mode & FALLOC_FL_KEEP_SIZE) == 0) {
        record(RECORD_UNKNOWN, fd, 0, "fallocate", NULL, 0);
    }
    (void)pthread_mutex_unlock(&lock);
    return rc;
}
EXPORT int fallocate(int fd, int mode, off_t offset, off_t len)
{
    return allocate(fd, mode, offset, len);
}
EXPORT int fallocate64(int fd, int mode, off_t offset, off_t len)
{
    return allocate(fd, mode, offset, len);
}

static int sync_fd(int fd, int (*call)(int fd))
{
    int e = take_change(WRAP_FSYNC);
    if (e != 0) {
        return fail_fd(e, fd);
    }
    (void)pthread_mutex_lock(&lock);
    int rc = call(fd);
    if (rc == 0) {
        record(RECORD_FSYNC, fd, 0, NULL, NULL, 0);
    }
    (void)pthread_mutex_unlock(&lock);
    return rc;
}
EXPORT int fsync(int fd)
{
    int (*call)(int) = (int (*)(int))real("fsync");
    return follows(fd) ? sync_fd(fd, call) : call(fd);
}
EXPORT int fdatasync(int fd)
{
    int (*call)(int) = (int (*)(int))real("fdatasync");
    return follows(fd) ? sync_fd(fd, call) : call(fd);
}

static void *map(void *at, size_t len, int protection, int flags, int fd, off_t offset)
{
    bool of_file = (flags & MAP_ANONYMOUS) == 0 && follows(fd);
    int e = of_file ? wrap_plan_take(WRAP_MMAP, 1) : 0;
    if (e != 0) {
        (void)fail_fd(e, fd);
        return MAP_FAILED;
    }
    if (of_file && (flags & MAP_SHARED) != 0 && (protection & PROT_WRITE) != 0) {
        (void)pthread_mutex_lock(&lock);
        record(RECORD_UNKNOWN, fd, 0, "mmap", NULL, 0);
        (void)pthread_mutex_unlock(&lock);
    }
    return (void *)syscall(SYS_mmap, at, len, protection, flags, fd, offset);
}
EXPORT void *mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset)
{
    return map(at, len, protection, flags, fd, offset);
}
EXPORT void *mmap64(void *at, size_t len, int protection, int flags, int fd, off_t offset)
{
    return map(at, len, protection, flags, fd, offset);
}

/* ---- names ---- */

EXPORT int rename(const char *from, const char *to)
{
    bool ours = below(from) || below(to);
    int e = ours ? take_change(WRAP_RENAME) : 0;
    if (e != 0) {
        return fail(e, from);
    }
    (void)pthread_mutex_lock(&lock);
    int rc = REAL(rename, from, to);
    if (rc == 0 && ours) {
        record(RECORD_RENAME, -1, 0, from, to, strlen(to));
    }
    (void)pthread_mutex_unlock(&lock);
    return rc;
}

static int remove_path(int dir_fd, const char *name, int flags)
{
    char buffer[PATH_MAX];
    const char *path = path_at(buffer, dir_fd, name);
    int e = below(path) ? take_change(WRAP_UNLINK) : 0;
    if (e != 0) {
        return fail(e, path);
    }
    (void)pthread_mutex_lock(&lock);
    int rc = REAL(unlinkat, dir_fd, name, flags);
    if (rc == 0 && below(path)) {
        record((flags & AT_REMOVEDIR) != 0 ? RECORD_RMDIR : RECORD_UNLINK, -1, 0, path, NULL, 0);
    }
    (void)pthread_mutex_unlock(&lock);
    return rc;
}
EXPORT int unlink(const char *path)
{
    return remove_path(AT_FDCWD, path, 0);
}
EXPORT int unlinkat(int dir_fd, const char *name, int flags)
{
    return remove_path(dir_fd, name, flags);
}
EXPORT int rmdir(const char *path)
{
    return remove_path(AT_FDCWD, path, AT_REMOVEDIR);
}

EXPORT int mkdir(const char *path, mode_t mode)
{
    int e = below(path) ? take_change(WRAP_MKDIR) : 0;
    if (e != 0) {
        return fail(e, path);
    }
    (void)pthread_mutex_lock(&lock);
    int rc = REAL(mkdir, path, mode);
    if (rc == 0 && below(path)) {
        record(RECORD_MKDIR, -1, 0, path, NULL, 0);
    }
    (void)pthread_mutex_unlock(&lock);
    return rc;
}

EXPORT int link(const char *from, const char *to)
{
    (void)pthread_mutex_lock(&lock);
    int rc = REAL(link, from, to);
    if (rc == 0 && (below(from) || below(to))) {
        record(RECORD_UNKNOWN, -1, 0, "link", NULL, 0);
    }
    (void)pthread_mutex_unlock(&lock);
    return rc;
}
