#include "learner/model/version_history.h"

#include "learner/model/json_fields.h"
#include "learner/model/json_text.h"
#include "learner/model/mapped_file.h"
#include "learner/model/version_dir.h"

#include <stdlib.h>
#include <string.h>

enum { ENTRIES_MIN = 64 };

static int no_memory(struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ENOMEM, "no memory for the history of versions");
}

void version_history_release(struct version_history *h)
{
    if (h != NULL) {
        free(h->entry);
        *h = (struct version_history){0};
    }
}

/* Index of the first entry whose number is not below this one. */
static size_t place_of(const struct version_history *h, uint64_t number)
{
    size_t low = 0, high = h->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (h->entry[middle].number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static int set(struct version_history *h, uint64_t number, enum version_standing standing,
               struct undine_err *err)
{
    size_t at = place_of(h, number);
    if (at < h->n && h->entry[at].number == number) {
        h->entry[at].standing = standing;
        return UNDINE_OK;
    }
    if (h->n == h->capacity) {
        size_t capacity = h->capacity > 0 ? 2 * h->capacity : ENTRIES_MIN;
        struct version_history_entry *grown = reallocarray(h->entry, capacity, sizeof *grown);
        if (grown == NULL) {
            return no_memory(err);
        }
        h->entry = grown;
        h->capacity = capacity;
    }
    memmove(&h->entry[at + 1], &h->entry[at], (h->n - at) * sizeof *h->entry);
    h->entry[at] = (struct version_history_entry){.number = number, .standing = standing};
    h->n++;
    return UNDINE_OK;
}

static int roll_back(struct version_history *h, const json_t *line, uint64_t number,
                     struct undine_err *err)
{
    struct version_history_rollback r = {.version = number};
    if (json_field_u64(line, "from", INT64_MAX, &r.from, NULL) != UNDINE_OK ||
        json_field_i64(line, "at_ms", &r.at_ms, NULL) != UNDINE_OK) {
        return UNDINE_OK;
    }
    for (size_t i = place_of(h, number + 1); i < h->n && h->entry[i].number <= r.from; i++) {
        if (h->entry[i].standing == VERSION_PUBLISHED) {
            h->entry[i].standing = VERSION_WITHDRAWN;
        }
    }
    h->rollback = r;
    return set(h, number, VERSION_PUBLISHED, err);
}

static int take_event(struct version_history *h, const json_t *line, struct undine_err *err)
{
    uint64_t number;
    const char *event = json_string_value(json_object_get(line, "event"));
    if (event == NULL || json_field_u64(line, "version", INT64_MAX, &number, NULL) != UNDINE_OK) {
        return UNDINE_OK;
    }
    if (strcmp(event, "publish") == 0) {
        return set(h, number, VERSION_PUBLISHED, err);
    }
    if (strcmp(event, "refuse") == 0) {
        return set(h, number, VERSION_REFUSED, err);
    }
    return strcmp(event, "rollback") == 0 ? roll_back(h, line, number, err) : UNDINE_OK;
}

static int take_line(struct version_history *h, const char *line, size_t len,
                     struct undine_err *err)
{
    json_t *json = NULL;
    int rc = json_text_parse(&json, line, len, NULL);
    if (rc < 0) { /* cut short, unless memory is out */
        return rc == UNDINE_ENOMEM ? no_memory(err) : UNDINE_OK;
    }
    rc = take_event(h, json, err);
    json_decref(json);
    return rc;
}

/* The lines of the last bytes; the first of them may be cut off and then says nothing. */
static int take_tail(struct version_history *h, const struct mapped_file *f, size_t bytes,
                     struct undine_err *err)
{
    int rc = UNDINE_OK;
    if (f->len == 0 || bytes == 0) {
        return rc;
    }
    const char *end = (const char *)f->data + f->len;
    const char *at = f->len > bytes ? end - bytes : (const char *)f->data;
    while (rc == UNDINE_OK && at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        line_end = line_end != NULL ? line_end : end;
        rc = take_line(h, at, (size_t)(line_end - at), err);
        at = line_end + 1;
    }
    return rc;
}

/* Maps a file that only grows, or is empty where there is none. */
static int open_file(struct mapped_file *out, const char *dir, const char *name,
                     struct undine_err *err)
{
    char path[VERSION_PATH_MAX];
    *out = (struct mapped_file){0};
    int rc = version_path(path, dir, name, err);
    rc = rc == UNDINE_OK ? mapped_file_open(out, path, err) : rc;
    return rc == UNDINE_ENOTFOUND ? UNDINE_OK : rc;
}

int version_history_tail(struct version_history *out, const char *dir, size_t bytes,
                         struct undine_err *err)
{
    struct mapped_file newer, older = {0};
    *out = (struct version_history){0};
    /* The newer one first: renamed in between, it is read twice rather than not at all. */
    int rc = open_file(&newer, dir, VERSION_HISTORY, err);
    if (rc == UNDINE_OK) {
        rc = open_file(&older, dir, VERSION_HISTORY_OLD, err);
    }
    if (rc == UNDINE_OK) {
        size_t rest = bytes > newer.len ? bytes - newer.len : 0;
        rc = take_tail(out, &older, rest, err);
    }
    if (rc == UNDINE_OK) {
        rc = take_tail(out, &newer, bytes, err);
    }
    mapped_file_close(&newer);
    mapped_file_close(&older);
    if (rc != UNDINE_OK) {
        version_history_release(out);
    }
    return rc;
}

int version_history_read(struct version_history *out, const char *dir, struct undine_err *err)
{
    return version_history_tail(out, dir, SIZE_MAX, err);
}

enum version_standing version_history_standing(const struct version_history *h, uint64_t number)
{
    size_t at = place_of(h, number);
    return at < h->n && h->entry[at].number == number ? h->entry[at].standing : VERSION_UNPUBLISHED;
}

uint64_t version_history_before(const struct version_history *h, uint64_t below)
{
    for (size_t i = place_of(h, below); i > 0; i--) {
        if (h->entry[i - 1].standing == VERSION_PUBLISHED) {
            return h->entry[i - 1].number;
        }
    }
    return 0;
}
