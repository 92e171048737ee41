#include "scorer/scorer.h"

#include "learner/model/version_history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPEN_TRIES = 5 };

_Static_assert((int)UNDINE_SCORER_MSG_MAX >= (int)UNDINE_ERR_MSG_MAX, "a message fits");
_Static_assert((int)UNDINE_CODE_IO == (int)UNDINE_EIO &&
                   (int)UNDINE_CODE_NO_MEMORY == (int)UNDINE_ENOMEM &&
                   (int)UNDINE_CODE_CORRUPT == (int)UNDINE_ECORRUPT &&
                   (int)UNDINE_CODE_FORMAT == (int)UNDINE_EVERSION &&
                   (int)UNDINE_CODE_ARGUMENT == (int)UNDINE_EINVAL &&
                   (int)UNDINE_CODE_NOT_FOUND == (int)UNDINE_ENOTFOUND &&
                   (int)UNDINE_CODE_CONFIG == (int)UNDINE_ECONFIG,
               "the codes inside are those of the public header");

int scorer_error(struct undine_error *out, const struct undine_err *err, int rc)
{
    if (rc < 0 && out != NULL) {
        out->code = rc;
        out->sys_errno = err->sys_errno;
        memcpy(out->message, err->msg, sizeof err->msg);
    }
    return rc;
}

const char *undine_version_string(void)
{
    return UNDINE_VERSION;
}

/* Open the published version, unless it is that of `near`: 1 = opened, 0 = it is that one.  A
 * version may be retired between the look at CURRENT and the opening; then CURRENT has moved, so
 * look again. */
static int open_current(struct image **out, const struct undine_scorer *s, const struct image *near,
                        struct undine_err *err)
{
    const char *dir = s->dir;
    char name[VERSION_NAME_MAX], again[VERSION_NAME_MAX];
    int rc = version_dir_current(dir, name, err);
    for (int i = 0; rc == UNDINE_OK; i++) {
        if (near != NULL && strcmp(name, near->name) == 0) {
            return 0;
        }
        rc = image_open(out, dir, name, s->precision, near, err);
        if (rc == UNDINE_OK) {
            return 1;
        }
        bool moved = version_dir_current(dir, again, NULL) == UNDINE_OK && strcmp(again, name) != 0;
        if (moved && i + 1 < OPEN_TRIES) {
            memcpy(name, again, sizeof name);
            rc = UNDINE_OK;
        }
    }
    return rc;
}

/* The newest version that can be used among those that were published before the one in CURRENT and
 * not withdrawn since.  1 = opened, 0 = there is none. */
static int open_published(struct image **out, const struct undine_scorer *s)
{
    const char *dir = s->dir;
    char name[VERSION_NAME_MAX];
    struct version_history h;
    uint64_t number = UINT64_MAX;
    int rc = UNDINE_ENOTFOUND;
    if (version_dir_current(dir, name, NULL) == UNDINE_OK) {
        (void)version_number(&number, name);
    }
    if (version_history_read(&h, dir, NULL) < 0) {
        return 0;
    }
    for (number = version_history_before(&h, number); rc < 0 && number != 0;
         number = version_history_before(&h, number)) {
        version_name(name, number);
        rc = image_open(out, dir, name, s->precision, NULL, NULL);
    }
    version_history_release(&h);
    return rc == UNDINE_OK;
}

/* Something is published, and it is not whole. */
static int open_any(struct image **out, const struct undine_scorer *s, struct undine_err *err)
{
    int rc = open_current(out, s, NULL, err);
    bool published =
        version_dir_current(s->dir, (char[VERSION_NAME_MAX]){0}, NULL) != UNDINE_ENOTFOUND;
    if ((rc == UNDINE_ECORRUPT || rc == UNDINE_ENOTFOUND) && published) {
        return open_published(out, s) ? UNDINE_OK : rc;
    }
    return rc;
}

static int check_precision(enum undine_precision precision, struct undine_err *err)
{
    if (precision != UNDINE_PRECISION_F32 && precision != UNDINE_PRECISION_INT16) {
        return undine_err_set(err, UNDINE_EINVAL, "precision %d is none that this library knows",
                              (int)precision);
    }
    return UNDINE_OK;
}

int undine_scorer_open_with(struct undine_scorer **out, const char *versions_dir,
                            enum undine_precision precision, struct undine_error *error)
{
    struct undine_err err = {0};
    struct image *image = NULL;
    struct undine_scorer *s = calloc(1, sizeof *s);
    if (s == NULL) {
        int rc = undine_err_set(&err, UNDINE_ENOMEM, "no memory for a scorer");
        return scorer_error(error, &err, rc);
    }
    s->precision = precision;
    int rc = check_precision(precision, &err);
    if (rc == UNDINE_OK &&
        snprintf(s->dir, sizeof s->dir, "%s", versions_dir) >= (int)sizeof s->dir) {
        rc = undine_err_set(&err, UNDINE_EINVAL, "the path of the versions is too long");
    }
    if (rc == UNDINE_OK) {
        rc = open_any(&image, s, &err);
    }
    if (rc < 0) {
        free(s);
        return scorer_error(error, &err, rc);
    }
    (void)pthread_mutex_init(&s->mutex, NULL);
    atomic_init(&s->current, image);
    atomic_init(&s->number, image->number);
    *out = s;
    return UNDINE_OK;
}

int undine_scorer_open(struct undine_scorer **out, const char *versions_dir,
                       struct undine_error *error)
{
    return undine_scorer_open_with(out, versions_dir, UNDINE_PRECISION_F32, error);
}

static bool is_pinned(const struct undine_scorer *s, const struct image *image)
{
    for (struct undine_session *t = s->sessions; t != NULL; t = t->next) {
        if (atomic_load(&t->pinned) == image) {
            return true;
        }
    }
    return false;
}

/* Put `old` (may be NULL) among the retired images, and close those that no call uses. */
static void retire(struct undine_scorer *s, struct image *old)
{
    struct image *done = NULL;
    (void)pthread_mutex_lock(&s->mutex);
    if (old != NULL) {
        old->next = s->retired;
        s->retired = old;
    }
    for (struct image **at = &s->retired; *at != NULL;) {
        struct image *image = *at;
        if (is_pinned(s, image)) {
            at = &image->next;
        } else {
            *at = image->next;
            image->next = done;
            done = image;
        }
    }
    (void)pthread_mutex_unlock(&s->mutex);
    while (done != NULL) {
        struct image *next = done->next;
        image_close(done);
        done = next;
    }
}

int undine_scorer_refresh(struct undine_scorer *s, struct undine_error *error)
{
    struct undine_err err = {0};
    struct image *image = NULL, *old = NULL;
    /* Only this call takes images away, so the one in use stays for its length. */
    int rc = open_current(&image, s, atomic_load(&s->current), &err);
    if (rc > 0) {
        old = atomic_exchange(&s->current, image);
        atomic_store(&s->number, image->number);
    }
    retire(s, old);
    return scorer_error(error, &err, rc);
}

uint64_t undine_scorer_version(const struct undine_scorer *s)
{
    return atomic_load(&s->number);
}

void undine_scorer_close(struct undine_scorer *s)
{
    if (s == NULL) {
        return;
    }
    UNDINE_ASSERT(s->sessions == NULL);
    retire(s, atomic_load(&s->current));
    (void)pthread_mutex_destroy(&s->mutex);
    free(s);
}
