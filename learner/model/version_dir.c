#include "learner/model/version_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void version_name(char out[VERSION_NAME_MAX], uint64_t number)
{
    (void)snprintf(out, VERSION_NAME_MAX, "%0*" PRIu64, VERSION_NAME_DIGITS, number);
}

bool version_number(uint64_t *out, const char *name)
{
    uint64_t number = 0;
    size_t len = 0;
    for (; name[len] >= '0' && name[len] <= '9' && len < VERSION_NAME_DIGITS; len++) {
        number = number * 10 + (uint64_t)(name[len] - '0');
    }
    if (len != VERSION_NAME_DIGITS || name[len] != '\0') {
        return false;
    }
    *out = number;
    return true;
}

int version_path(char out[VERSION_PATH_MAX], const char *dir, const char *name,
                 struct undine_err *err)
{
    int len = snprintf(out, VERSION_PATH_MAX, "%s/%s", dir, name);
    if (len < 0 || len >= VERSION_PATH_MAX) {
        return undine_err_set(err, UNDINE_EINVAL, "%.64s...: the path is longer than %d bytes", dir,
                              VERSION_PATH_MAX - 1);
    }
    return UNDINE_OK;
}

int version_dir_current(const char *dir, char out[VERSION_NAME_MAX], struct undine_err *err)
{
    char path[VERSION_PATH_MAX], text[VERSION_NAME_MAX] = {0};
    uint64_t number;
    int rc = version_path(path, dir, "CURRENT", err);
    if (rc < 0) {
        return rc;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        return undine_err_set(err, UNDINE_ENOTFOUND, "%s: no version is published there", path);
    }
    if (fd < 0) {
        return undine_err_sys(err, UNDINE_EIO, errno, "%s", path);
    }
    ssize_t len = read(fd, text, sizeof text - 1);
    int failed = errno;
    (void)close(fd);
    if (len < 0) {
        return undine_err_sys(err, UNDINE_EIO, failed, "%s", path);
    }
    if (len != VERSION_NAME_DIGITS + 1 || text[VERSION_NAME_DIGITS] != '\n') {
        return undine_err_set(err, UNDINE_ECORRUPT, "%s: is not %d digits and a newline", path,
                              VERSION_NAME_DIGITS);
    }
    text[VERSION_NAME_DIGITS] = '\0';
    if (!version_number(&number, text)) {
        return undine_err_set(err, UNDINE_ECORRUPT, "%s: names no version", path);
    }
    memcpy(out, text, VERSION_NAME_DIGITS + 1);
    return UNDINE_OK;
}
