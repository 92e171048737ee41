#include "learner/version_hold.h"

#include "base/fault.h"
#include "learner/model/json_fields.h"
#include "learner/model/json_text.h"
#include "learner/model/version_dir.h"
#include "learner/version_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* Not under VERSION_TEMPORARY: a daemon that sweeps must not take it from a command. */
static const char hold_name[] = "HOLD", hold_new[] = "HOLD.new", lock_name[] = "LOCK";
enum { HOLD_BYTES_MAX = 4096 };

int version_lock(const char *dir, int *fd, struct undine_err *err)
{
    char path[VERSION_PATH_MAX];
    int rc = version_path(path, dir, lock_name, err);
    if (rc < 0) {
        return rc;
    }
    int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock < 0) {
        return undine_err_sys(err, UNDINE_EIO, errno, "%s: open", path);
    }
    int failed = flock(lock, LOCK_EX);
    while (failed != 0 && errno == EINTR) {
        failed = flock(lock, LOCK_EX);
    }
    if (failed != 0) {
        rc = undine_err_sys(err, UNDINE_EIO, errno, "%s: flock", path);
        (void)close(lock);
        return rc;
    }
    *fd = lock;
    return UNDINE_OK;
}

void version_unlock(int fd)
{
    (void)close(fd); /* the last one of this opening: the lock goes with it */
}

/* ---- reading ---- */

static int parse(struct version_hold *out, const char *text, struct undine_err *err)
{
    json_t *json = NULL;
    int rc = json_text_parse(&json, text, strlen(text), err);
    if (rc < 0) {
        (void)undine_err_prefix(err, "is no JSON object");
        return rc;
    }
    rc = json_field_u64(json, "version", INT64_MAX, &out->version, err);
    if (rc == UNDINE_OK) {
        rc = json_field_u64(json, "from", INT64_MAX, &out->from, err);
    }
    if (rc == UNDINE_OK) {
        rc = json_field_i64(json, "at_ms", &out->at_ms, err);
    }
    if (rc == UNDINE_OK) {
        rc = json_field_text(json, "by", out->by, sizeof out->by, err);
    }
    if (rc == UNDINE_OK) {
        rc = json_field_text(json, "reason", out->reason, sizeof out->reason, err);
    }
    json_decref(json);
    return rc;
}

int version_hold_read(const char *dir, struct version_hold *out, struct undine_err *err)
{
    char path[VERSION_PATH_MAX], text[HOLD_BYTES_MAX];
    *out = (struct version_hold){0};
    int rc = version_path(path, dir, hold_name, err);
    if (rc < 0) {
        return rc;
    }
    if (access(path, F_OK) < 0 && errno == ENOENT) {
        return UNDINE_OK;
    }
    out->held = true;
    struct undine_err why = {0};
    rc = version_files_tail(dir, hold_name, text, sizeof text, &why);
    rc = rc == UNDINE_OK ? parse(out, text, &why) : rc;
    if (rc == UNDINE_ECORRUPT) {
        bool held = access(path, F_OK) == 0; /* or lifted in between */
        *out = (struct version_hold){.held = held, .by = "?"};
        (void)snprintf(out->reason, sizeof out->reason, "HOLD %.200s", why.msg);
        return UNDINE_OK;
    }
    if (rc < 0 && err != NULL) {
        *err = why;
        (void)undine_err_prefix(err, "%s", path);
    }
    return rc;
}

/* ---- writing ---- */

int version_hold_write(const char *dir, const struct version_hold *h, struct undine_err *err)
{
    json_t *json = json_pack("{s:I,s:I,s:I,s:s,s:s}", "version", (json_int_t)h->version, "from",
                             (json_int_t)h->from, "at_ms", (json_int_t)h->at_ms, "by", h->by,
                             "reason", h->reason);
    char *text = json != NULL ? json_text_print(json, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
    json_decref(json);
    if (text == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory to put publication on hold");
    }
    FAULT("hold.before_write");
    int rc = version_files_text(dir, hold_new, text, strlen(text), err);
    FAULT("hold.after_write");
    if (rc == UNDINE_OK) {
        rc = version_files_rename(dir, hold_new, hold_name, err);
    }
    FAULT("hold.after_rename");
    free(text);
    return rc;
}

int version_hold_remove(const char *dir, struct undine_err *err)
{
    char path[VERSION_PATH_MAX];
    int rc = version_path(path, dir, hold_name, err);
    FAULT("hold.before_remove");
    if (rc == UNDINE_OK && unlink(path) < 0 && errno != ENOENT) {
        rc = undine_err_sys(err, UNDINE_EIO, errno, "%s: remove", path);
    }
    FAULT("hold.after_remove");
    return rc == UNDINE_OK ? version_files_sync_dir(dir, err) : rc;
}
