#include "learner/model/mapped_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the machine lacks for the moment is no fault of the file: whoever would pass a damaged file
 * over must not pass over this one. */
static int code_of(int error)
{
    switch (error) {
    case ENOENT:
        return UNDINE_ENOTFOUND;
    case ENOMEM:
    case EMFILE:
    case ENFILE:
        return UNDINE_ENOMEM;
    default:
        return UNDINE_EIO;
    }
}

int mapped_file_open(struct mapped_file *out, const char *path, struct undine_err *err)
{
    int rc = UNDINE_OK;
    struct mapped_file m = {0};
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return undine_err_sys(err, code_of(errno), errno, "%s", path);
    }
    if (fstat(fd, &st) < 0) {
        rc = undine_err_sys(err, code_of(errno), errno, "%s: stat", path);
        goto out;
    }
    if (!S_ISREG(st.st_mode)) {
        rc = undine_err_set(err, UNDINE_EIO, "%s: is not a regular file", path);
        goto out;
    }
    if (st.st_size > 0) {
        void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (data == MAP_FAILED) {
            rc = undine_err_sys(err, code_of(errno), errno, "%s: mmap of %lld bytes", path,
                                (long long)st.st_size);
            goto out;
        }
        m = (struct mapped_file){.data = data, .len = (size_t)st.st_size};
    }
    *out = m;
out:
    (void)close(fd);
    return rc;
}

void mapped_file_close(struct mapped_file *m)
{
    if (m != NULL && m->len > 0) {
        (void)munmap((void *)(uintptr_t)m->data, m->len);
        *m = (struct mapped_file){0};
    }
}

void mapped_file_pass(const void *at, size_t len)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = (uintptr_t)at & ~(page - 1), end = ((uintptr_t)at + len) & ~(page - 1);
    if (begin < end) { /* a page whose end is still to be read comes back by itself */
        (void)madvise((void *)begin, end - begin, MADV_DONTNEED);
    }
}
