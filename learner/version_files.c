#include "learner/version_files.h"

#include "base/fault.h"
#include "learner/model/version_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int failed(struct undine_err *err, const char *path, const char *step)
{
    return undine_err_sys(err, UNDINE_EIO, errno, "%s: %s", path, step);
}

/* ---- looking ---- */

static int by_number(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static int add_number(uint64_t **list, size_t *n, uint64_t number, struct undine_err *err)
{
    if ((*n & (*n - 1)) == 0) { /* full at every power of two */
        uint64_t *grown = reallocarray(*list, *n > 0 ? *n * 2 : 1, sizeof **list);
        if (grown == NULL) {
            return undine_err_set(err, UNDINE_ENOMEM, "no memory to list versions");
        }
        *list = grown;
    }
    (*list)[(*n)++] = number;
    return UNDINE_OK;
}

int version_files_list(const char *dir, uint64_t **out, size_t *n, struct undine_err *err)
{
    uint64_t *list = NULL, number;
    size_t count = 0;
    int rc = UNDINE_OK;
    *out = NULL;
    *n = 0;
    DIR *d = opendir(dir);
    if (d == NULL) {
        return errno == ENOENT ? UNDINE_OK : failed(err, dir, "opendir");
    }
    errno = 0;
    for (struct dirent *e = readdir(d); rc == UNDINE_OK && e != NULL; e = readdir(d)) {
        if (version_number(&number, e->d_name)) {
            rc = add_number(&list, &count, number, err);
        }
        errno = 0;
    }
    if (rc == UNDINE_OK && errno != 0) {
        rc = failed(err, dir, "readdir");
    }
    (void)closedir(d);
    if (rc < 0) {
        free(list);
        return rc;
    }
    if (count > 0) {
        qsort(list, count, sizeof *list, by_number);
    }
    *out = list;
    *n = count;
    return UNDINE_OK;
}

/* ---- removing ---- */

/* Remove a file, or a directory with the files in it. */
static int remove_tree(const char *path, struct undine_err *err)
{
    if (unlink(path) == 0 || errno == ENOENT) {
        return UNDINE_OK;
    }
    DIR *d = opendir(path);
    if (d == NULL) {
        return failed(err, path, "remove");
    }
    int rc = UNDINE_OK;
    for (struct dirent *e = readdir(d); rc == UNDINE_OK && e != NULL; e = readdir(d)) {
        bool self = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
        FAULT("file.before_remove");
        if (!self && unlinkat(dirfd(d), e->d_name, 0) < 0) {
            rc = undine_err_sys(err, UNDINE_EIO, errno, "%s/%s: remove", path, e->d_name);
        }
    }
    (void)closedir(d);
    if (rc == UNDINE_OK && rmdir(path) < 0) {
        rc = failed(err, path, "rmdir");
    }
    return rc;
}

int version_files_remove(const char *dir, const char *name, struct undine_err *err)
{
    char path[VERSION_PATH_MAX], temporary[VERSION_NAME_MAX + sizeof VERSION_TEMPORARY];
    (void)snprintf(temporary, sizeof temporary, VERSION_TEMPORARY "%s", name);
    int rc = version_path(path, dir, temporary, err);
    if (rc == UNDINE_OK) {
        rc = version_files_rename(dir, name, temporary, err);
    }
    FAULT("retain.after_rename");
    return rc == UNDINE_OK ? remove_tree(path, err) : rc;
}

int version_files_prepare(const char *dir, struct undine_err *err)
{
    char path[VERSION_PATH_MAX];
    int rc = access(dir, F_OK) == 0 ? UNDINE_OK : version_files_keep_dir(dir, err);
    if (rc < 0) {
        return rc;
    }
    DIR *d = opendir(dir);
    if (d == NULL) {
        return failed(err, dir, "opendir");
    }
    for (struct dirent *e = readdir(d); rc == UNDINE_OK && e != NULL; e = readdir(d)) {
        if (strncmp(e->d_name, VERSION_TEMPORARY, sizeof VERSION_TEMPORARY - 1) != 0 ||
            strcmp(e->d_name, VERSION_MERGING) == 0) {
            continue;
        }
        rc = version_path(path, dir, e->d_name, err);
        FAULT("sweep.before_remove");
        if (rc == UNDINE_OK) {
            rc = remove_tree(path, err);
        }
        FAULT("sweep.after_remove");
    }
    (void)closedir(d);
    return rc;
}

int version_files_clear_merge(const char *dir, struct undine_err *err)
{
    char path[VERSION_PATH_MAX];
    int rc = version_path(path, dir, VERSION_MERGING, err);
    return rc == UNDINE_OK ? remove_tree(path, err) : rc;
}

/* ---- writing ---- */

int version_files_make_dir(const char *path, struct undine_err *err)
{
    return mkdir(path, 0777) < 0 ? failed(err, path, "mkdir") : UNDINE_OK;
}

int version_files_keep_dir(const char *path, struct undine_err *err)
{
    char parent[VERSION_PATH_MAX];
    size_t len = strlen(path);
    if (len >= sizeof parent) {
        return undine_err_set(err, UNDINE_EINVAL, "%.64s...: the path is too long", path);
    }
    bool there = mkdir(path, 0777) < 0;
    if (there && errno != EEXIST) {
        return failed(err, path, "mkdir");
    }
    while (len > 0 && path[len - 1] == '/') {
        len--;
    }
    while (len > 0 && path[len - 1] != '/') {
        len--;
    }
    memcpy(parent, path, len);
    (void)strcpy(parent + len, ".");
    if (there && access(parent, R_OK) < 0) {
        return UNDINE_OK; /* who put it where we may not look has seen to it */
    }
    return version_files_sync_dir(parent, err);
}

int version_files_sync_dir(const char *path, struct undine_err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return failed(err, path, "open");
    }
    FAULT("directory.before_sync");
    int rc = fsync(fd) < 0 ? failed(err, path, "fsync") : UNDINE_OK;
    FAULT("directory.after_sync");
    (void)close(fd);
    return rc;
}

/* path/name, opened to be written. */
static int open_file(char file[VERSION_PATH_MAX], const char *path, const char *name, int flags,
                     int *fd, struct undine_err *err)
{
    int rc = version_path(file, path, name, err);
    if (rc < 0) {
        return rc;
    }
    *fd = open(file, flags | O_CREAT | O_CLOEXEC, 0666);
    return *fd < 0 ? failed(err, file, "open") : UNDINE_OK;
}

/* An error at close is one of writing: the caller has not announced the file yet. */
static int close_file(int fd, const char *file, int rc, struct undine_err *err)
{
    if (rc < 0) {
        (void)undine_err_prefix(err, "%s", file);
    }
    if (close(fd) < 0 && rc == UNDINE_OK) {
        rc = failed(err, file, "close");
    }
    return rc;
}

int version_files_tensors(const char *path, const char *name,
                          const struct safetensors_tensor *tensors, size_t n, struct file_sum *out,
                          struct undine_err *err)
{
    char file[VERSION_PATH_MAX];
    int fd;
    int rc = open_file(file, path, name, O_WRONLY | O_TRUNC, &fd, err);
    if (rc < 0) {
        return rc;
    }
    rc = safetensors_write(fd, tensors, n, out, err);
    return close_file(fd, file, rc, err);
}

static int write_and_sync(int fd, const char *text, size_t len, struct undine_err *err)
{
    FAULT("file.before_write");
    while (len > 0) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno != EINTR) {
            return undine_err_sys(err, UNDINE_EIO, errno, "write");
        }
        if (n > 0) {
            text += n;
            len -= (size_t)n;
        }
    }
    FAULT("file.before_sync");
    int rc = fsync(fd) < 0 ? undine_err_sys(err, UNDINE_EIO, errno, "fsync") : UNDINE_OK;
    FAULT("file.after_sync");
    return rc;
}

int version_files_text(const char *path, const char *name, const void *text, size_t len,
                       struct undine_err *err)
{
    char file[VERSION_PATH_MAX];
    int fd;
    int rc = open_file(file, path, name, O_WRONLY | O_TRUNC, &fd, err);
    if (rc < 0) {
        return rc;
    }
    rc = write_and_sync(fd, text, len, err);
    return close_file(fd, file, rc, err);
}

int version_files_append(const char *path, const char *name, const char *line, size_t len,
                         struct undine_err *err)
{
    char file[VERSION_PATH_MAX], last = '\n';
    int fd;
    int rc = open_file(file, path, name, O_RDWR | O_APPEND, &fd, err);
    if (rc < 0) {
        return rc;
    }
    off_t end = lseek(fd, 0, SEEK_END);
    if (end < 0 || (end > 0 && pread(fd, &last, 1, end - 1) != 1)) {
        rc = undine_err_sys(err, UNDINE_EIO, errno, "read");
    } else if (last != '\n') {
        rc = write_and_sync(fd, "\n", 1, err);
    }
    if (rc == UNDINE_OK) {
        rc = write_and_sync(fd, line, len, err);
    }
    rc = close_file(fd, file, rc, err);
    return rc == UNDINE_OK && end == 0 ? version_files_sync_dir(path, err) : rc;
}

int version_files_tail(const char *path, const char *name, char *out, size_t size,
                       struct undine_err *err)
{
    char file[VERSION_PATH_MAX];
    out[0] = '\0';
    int rc = version_path(file, path, name, err);
    if (rc < 0) {
        return rc;
    }
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? UNDINE_OK : failed(err, file, "open");
    }
    off_t end = lseek(fd, 0, SEEK_END);
    off_t from = end > (off_t)size - 1 ? end - ((off_t)size - 1) : 0;
    ssize_t n = end < 0 ? -1 : pread(fd, out, size - 1, from);
    if (n < 0) {
        rc = failed(err, file, "read");
        n = 0;
    }
    out[n] = '\0';
    (void)close(fd);
    return rc;
}

int version_files_rename(const char *dir, const char *from, const char *to, struct undine_err *err)
{
    char from_path[VERSION_PATH_MAX], to_path[VERSION_PATH_MAX];
    int rc = version_path(from_path, dir, from, err);
    if (rc == UNDINE_OK) {
        rc = version_path(to_path, dir, to, err);
    }
    if (rc < 0) {
        return rc;
    }
    if (rename(from_path, to_path) < 0) {
        return undine_err_sys(err, UNDINE_EIO, errno, "%s: rename to %s", from_path, to);
    }
    return version_files_sync_dir(dir, err);
}

int version_files_rotate(const char *path, const char *name, const char *old, uint64_t bytes,
                         struct undine_err *err)
{
    char file[VERSION_PATH_MAX];
    struct stat st;
    int rc = version_path(file, path, name, err);
    if (rc < 0 || stat(file, &st) < 0 || (uint64_t)st.st_size < bytes) {
        return rc;
    }
    FAULT("rotate.before_rename");
    rc = version_files_rename(path, name, old, err);
    FAULT("rotate.after_rename");
    return rc;
}
