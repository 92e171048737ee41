#include "ops/import.h"

#include "base/arena.h"
#include "ops/csv.h"
#include "ops/lookup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PROFILE_MAX = 64, HISTORY_STEP_MS = 1000 };

/* Categorical columns of the user features; the plain counts beside the *_range columns are left
 * out. */
static bool is_profile(const char *name)
{
    size_t len = strlen(name);
    return strcmp(name, "user_active_degree") == 0 || strncmp(name, "is_", 3) == 0 ||
           strncmp(name, "onehot_feat", strlen("onehot_feat")) == 0 ||
           (len > 6 && strcmp(name + len - 6, "_range") == 0);
}

struct users {
    struct lookup rows; /* user id -> index in values, in steps of n_columns */
    const char *names[PROFILE_MAX];
    size_t n_columns;
    const char **values;
    size_t n, capacity;
};

struct video {
    const char *author, *tag;
};

struct kuairand {
    const struct import_kuairand *opt;
    struct event_writer *w;
    struct arena texts;
    struct users users;
    struct lookup video_rows;
    struct video *videos;
    size_t n_videos, videos_capacity;
    struct import_kuairand_counts counts;
};

static int out_of_memory(struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ENOMEM, "out of memory");
}

static int bad_cell(const char *path, const struct csv_row *row, const char *column,
                    const char *value, struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ECORRUPT, "%s:%llu: `%s` is `%.80s`, expected an integer",
                          path, (unsigned long long)row->line, column, value);
}

bool import_integer(const char *text, int64_t *out)
{
    char *end = NULL;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    *out = v;
    return errno == 0 && end != text && *end == '\0';
}

/* Room for n more elements of size bytes. */
static void *grow(void *array, size_t n, size_t more, size_t *capacity, size_t size)
{
    if (n + more <= *capacity) {
        return array;
    }
    size_t wanted = 2 * (*capacity + more);
    void *bigger = reallocarray(array, wanted, size);
    if (bigger != NULL) {
        *capacity = wanted;
    }
    return bigger;
}

static const char *keep(struct kuairand *k, const char *text)
{
    return arena_strndup(&k->texts, text, strlen(text));
}

/* "unknown" is how the data set says that it does not know. */
static const char *known(const char *value)
{
    return value == NULL || strcmp(value, "unknown") == 0 ? "" : value;
}

/* ---- users and videos ---- */

static int read_users_header(struct kuairand *k, int columns[PROFILE_MAX], struct undine_err *err)
{
    /* The header, read as a row. */
    struct csv *c = NULL;
    struct csv_row row;
    int rc = csv_open(&c, k->opt->users, &(struct csv_options){',', false, true}, err);
    rc = rc == UNDINE_OK ? csv_next(c, &row, err) : rc;
    for (size_t i = 0; rc == 1 && i < row.n; i++) {
        if (!is_profile(row.field[i])) {
            continue;
        }
        if (k->users.n_columns == PROFILE_MAX) {
            rc = undine_err_set(err, UNDINE_ECORRUPT, "%s: more than %d profile columns",
                                k->opt->users, PROFILE_MAX);
            break;
        }
        columns[k->users.n_columns] = (int)i;
        k->users.names[k->users.n_columns] = keep(k, row.field[i]);
        if (k->users.names[k->users.n_columns++] == NULL) {
            rc = out_of_memory(err);
        }
    }
    csv_close(c);
    return rc < 0 ? rc : UNDINE_OK;
}

static int add_user(struct kuairand *k, const struct csv_row *row, const int *columns, int id,
                    struct undine_err *err)
{
    struct users *u = &k->users;
    const char **values = grow((void *)u->values, u->n, u->n_columns, &u->capacity, sizeof *values);
    const char *key = keep(k, row->field[id]);
    if (values == NULL || key == NULL || lookup_put(&u->rows, key, u->n) < 0) {
        return out_of_memory(err);
    }
    u->values = values;
    for (size_t i = 0; i < u->n_columns; i++) {
        u->values[u->n] = keep(k, known(row->field[columns[i]]));
        if (u->values[u->n++] == NULL) {
            return out_of_memory(err);
        }
    }
    return UNDINE_OK;
}

static int read_users(struct kuairand *k, struct undine_err *err)
{
    struct csv *c = NULL;
    struct csv_row row;
    int columns[PROFILE_MAX] = {0}, id = 0;
    int rc = read_users_header(k, columns, err);
    rc = rc == UNDINE_OK ? csv_open(&c, k->opt->users, &(struct csv_options){',', true, true}, err)
                         : rc;
    rc = rc == UNDINE_OK ? csv_column_needed(c, "user_id", &id, err) : rc;
    while (rc == UNDINE_OK && (rc = csv_next(c, &row, err)) == 1) {
        rc = add_user(k, &row, columns, id, err);
    }
    csv_close(c);
    return rc;
}

static int add_video(struct kuairand *k, const struct csv_row *row, int id, int author, int tag,
                     struct undine_err *err)
{
    struct video *videos = grow(k->videos, k->n_videos, 1, &k->videos_capacity, sizeof *videos);
    if (videos == NULL) {
        return out_of_memory(err);
    }
    k->videos = videos;
    const char *key = keep(k, row->field[id]);
    videos[k->n_videos] =
        (struct video){keep(k, known(row->field[author])), keep(k, known(row->field[tag]))};
    if (key == NULL || videos[k->n_videos].author == NULL || videos[k->n_videos].tag == NULL ||
        lookup_put(&k->video_rows, key, k->n_videos) < 0) {
        return out_of_memory(err);
    }
    k->n_videos++;
    return UNDINE_OK;
}

static int read_videos(struct kuairand *k, struct undine_err *err)
{
    struct csv *c = NULL;
    struct csv_row row;
    int id = 0, author = 0, tag = 0;
    int rc = csv_open(&c, k->opt->videos, &(struct csv_options){',', true, true}, err);
    rc = rc == UNDINE_OK ? csv_column_needed(c, "video_id", &id, err) : rc;
    rc = rc == UNDINE_OK ? csv_column_needed(c, "author_id", &author, err) : rc;
    rc = rc == UNDINE_OK ? csv_column_needed(c, "tag", &tag, err) : rc;
    while (rc == UNDINE_OK && (rc = csv_next(c, &row, err)) == 1) {
        rc = add_video(k, &row, id, author, tag, err);
    }
    csv_close(c);
    return rc;
}

/* ---- history ---- */

/* A space-separated list has so many entries. */
static int64_t count_words(const char *words)
{
    int64_t n = 0;
    for (const char *p = words; *p != '\0'; p++) {
        n += *p != ' ' && (p == words || p[-1] == ' ');
    }
    return n;
}

static int add_step(struct kuairand *k, const char *user, const char *video, int64_t time_ms,
                    struct undine_err *err)
{
    size_t row = 0;
    bool found = lookup_get(&k->video_rows, video, &row);
    k->counts.videos_unknown += !found;
    event_begin(k->w, EVENT_BEHAVIOR, time_ms, user);
    event_text(k->w, "type", "long_watch");
    event_group(k->w, "item");
    event_text(k->w, "video", video);
    if (found) {
        event_text(k->w, "author", k->videos[row].author);
        event_texts(k->w, "tag", k->videos[row].tag, ',');
    }
    event_group_end(k->w);
    return event_end(k->w, err);
}

/* The history has one time a user, that of the last entry: the n entries are put a second apart
 * before it, so that their order is kept. */
static int add_history(struct kuairand *k, const struct csv_row *row, int user, int last,
                       int watched, struct undine_err *err)
{
    char video[64];
    int64_t last_ms = 0, n = count_words(row->field[watched]), i = 0;
    int rc = UNDINE_OK;
    if (!import_integer(row->field[last], &last_ms)) {
        return bad_cell(k->opt->history, row, "last_time_ms", row->field[last], err);
    }
    for (const char *p = row->field[watched]; rc == UNDINE_OK && *p != '\0';) {
        size_t len = strcspn(p, " ");
        if (len >= sizeof video) {
            return bad_cell(k->opt->history, row, "long_watch_seq_last50", p, err);
        }
        if (len > 0) {
            memcpy(video, p, len);
            video[len] = '\0';
            int64_t time_ms = last_ms - (n - 1 - i++) * HISTORY_STEP_MS;
            rc = add_step(k, row->field[user], video, time_ms, err);
        }
        p += len + (p[len] == ' ');
    }
    return rc;
}

static int read_history(struct kuairand *k, struct undine_err *err)
{
    struct csv *c = NULL;
    struct csv_row row;
    int user = 0, last = 0, watched = 0;
    int rc = csv_open(&c, k->opt->history, &(struct csv_options){'\t', true, false}, err);
    rc = rc == UNDINE_OK ? csv_column_needed(c, "user_id", &user, err) : rc;
    rc = rc == UNDINE_OK ? csv_column_needed(c, "last_time_ms", &last, err) : rc;
    rc = rc == UNDINE_OK ? csv_column_needed(c, "long_watch_seq_last50", &watched, err) : rc;
    while (rc == UNDINE_OK && (rc = csv_next(c, &row, err)) == 1) {
        rc = add_history(k, &row, user, last, watched, err);
    }
    csv_close(c);
    return rc;
}

/* ---- the log ---- */

enum { LOG_USER, LOG_VIDEO, LOG_HOURMIN, LOG_TIME, LOG_CLICK, LOG_TAB, LOG_AUTHOR, LOG_TAG, LOG_N };
static const char *const log_columns[LOG_N] = {"user_id",  "video_id", "hourmin",   "time_ms",
                                               "is_click", "tab",      "author_id", "tag"};

static void put_profile(struct kuairand *k, const char *user)
{
    size_t row = 0;
    if (!lookup_get(&k->users.rows, user, &row)) {
        k->counts.users_without_profile++;
        return;
    }
    event_group(k->w, "profile");
    for (size_t i = 0; i < k->users.n_columns; i++) {
        event_text(k->w, k->users.names[i], k->users.values[row + i]);
    }
    event_group_end(k->w);
}

static int add_impression(struct kuairand *k, const struct csv_row *row, const int *at,
                          struct undine_err *err)
{
    const char *cell[LOG_N];
    char id[32], hour[8];
    int64_t time_ms = 0, hourmin = 0;
    for (int i = 0; i < LOG_N; i++) {
        cell[i] = row->field[at[i]];
    }
    if (!import_integer(cell[LOG_TIME], &time_ms)) {
        return bad_cell(k->opt->log, row, "time_ms", cell[LOG_TIME], err);
    }
    if (!import_integer(cell[LOG_HOURMIN], &hourmin) || hourmin < 0 || hourmin > 2359) {
        return bad_cell(k->opt->log, row, "hourmin", cell[LOG_HOURMIN], err);
    }
    /* Some (user, video, time) stand on several rows, each an impression of its own. */
    (void)snprintf(id, sizeof id, "r%llu", (unsigned long long)row->number);
    (void)snprintf(hour, sizeof hour, "%d", (int)(hourmin / 100));
    event_begin(k->w, EVENT_IMPRESSION, time_ms, cell[LOG_USER]);
    event_text(k->w, "id", id);
    event_group(k->w, "candidate");
    event_text(k->w, "video", cell[LOG_VIDEO]);
    event_text(k->w, "author", known(cell[LOG_AUTHOR]));
    event_texts(k->w, "tag", known(cell[LOG_TAG]), ',');
    event_group_end(k->w);
    event_group(k->w, "context");
    event_text(k->w, "tab", cell[LOG_TAB]);
    event_text(k->w, "hour", hour);
    event_group_end(k->w);
    put_profile(k, cell[LOG_USER]);
    int rc = event_end(k->w, err);
    if (rc == UNDINE_OK && strcmp(cell[LOG_CLICK], "1") == 0) {
        event_begin(k->w, EVENT_CLICK, time_ms + k->opt->click_delay_ms, cell[LOG_USER]);
        event_text(k->w, "impression", id);
        rc = event_end(k->w, err);
    }
    return rc;
}

static int read_log(struct kuairand *k, struct undine_err *err)
{
    struct csv *c = NULL;
    struct csv_row row;
    int at[LOG_N] = {0};
    int rc = csv_open(&c, k->opt->log, &(struct csv_options){',', true, true}, err);
    for (int i = 0; rc == UNDINE_OK && i < LOG_N; i++) {
        rc = csv_column_needed(c, log_columns[i], &at[i], err);
    }
    while (rc == UNDINE_OK && (rc = csv_next(c, &row, err)) == 1) {
        rc = add_impression(k, &row, at, err);
    }
    csv_close(c);
    return rc;
}

int import_kuairand(const struct import_kuairand *opt, struct event_writer *w,
                    struct import_kuairand_counts *counts, struct undine_err *err)
{
    struct kuairand k = {.opt = opt, .w = w};
    arena_init(&k.texts, 0);
    int rc = read_users(&k, err);
    rc = rc == UNDINE_OK ? read_videos(&k, err) : rc;
    rc = rc == UNDINE_OK ? read_history(&k, err) : rc;
    rc = rc == UNDINE_OK ? read_log(&k, err) : rc;
    lookup_release(&k.users.rows);
    lookup_release(&k.video_rows);
    free((void *)k.users.values);
    free(k.videos);
    arena_release(&k.texts);
    if (rc == UNDINE_OK) {
        *counts = k.counts;
    }
    return rc;
}
