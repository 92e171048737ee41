#include "ops/import.h"

#include "base/arena.h"
#include "ops/csv.h"
#include "ops/lookup.h"

#include <errno.h>
#include <math.h>
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

/* Columns of the video features that `wide` adds to the candidate, by their names. */
enum { WIDE_N = 3 };
static const char *const wide_columns[WIDE_N] = {"video_type", "upload_type", "music_type"};

struct video {
    const char *author, *tag;
    const char *wide[WIDE_N]; /* "" without `wide` */
};

/* When a user was shown something: the newest time, and the newest before that. */
struct shown {
    int64_t last_ms, before_ms; /* SHOWN_NEVER = none */
};
#define SHOWN_NEVER INT64_MIN

struct kuairand {
    const struct import_kuairand *opt;
    struct event_writer *w;
    struct arena texts;
    struct users users;
    struct lookup video_rows;
    struct video *videos;
    size_t n_videos, videos_capacity;
    struct lookup shown_rows; /* user id -> index in shown */
    struct shown *shown;
    size_t n_shown, shown_capacity;
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

/* Columns of the video features. */
struct video_columns {
    int id, author, tag, wide[WIDE_N];
};

static int add_video(struct kuairand *k, const struct csv_row *row, const struct video_columns *at,
                     struct undine_err *err)
{
    struct video *videos = grow(k->videos, k->n_videos, 1, &k->videos_capacity, sizeof *videos);
    if (videos == NULL) {
        return out_of_memory(err);
    }
    k->videos = videos;
    const char *key = keep(k, row->field[at->id]);
    struct video *v = &videos[k->n_videos];
    *v = (struct video){
        keep(k, known(row->field[at->author])), keep(k, known(row->field[at->tag])), {"", "", ""}};
    bool kept = key != NULL && v->author != NULL && v->tag != NULL;
    for (int i = 0; k->opt->wide && i < WIDE_N; i++) {
        v->wide[i] = keep(k, known(row->field[at->wide[i]]));
        kept = kept && v->wide[i] != NULL;
    }
    if (!kept || lookup_put(&k->video_rows, key, k->n_videos) < 0) {
        return out_of_memory(err);
    }
    k->n_videos++;
    return UNDINE_OK;
}

static int read_videos(struct kuairand *k, struct undine_err *err)
{
    struct csv *c = NULL;
    struct csv_row row;
    struct video_columns at = {0};
    int rc = csv_open(&c, k->opt->videos, &(struct csv_options){',', true, true}, err);
    rc = rc == UNDINE_OK ? csv_column_needed(c, "video_id", &at.id, err) : rc;
    rc = rc == UNDINE_OK ? csv_column_needed(c, "author_id", &at.author, err) : rc;
    rc = rc == UNDINE_OK ? csv_column_needed(c, "tag", &at.tag, err) : rc;
    for (int i = 0; rc == UNDINE_OK && k->opt->wide && i < WIDE_N; i++) {
        rc = csv_column_needed(c, wide_columns[i], &at.wide[i], err);
    }
    while (rc == UNDINE_OK && (rc = csv_next(c, &row, err)) == 1) {
        rc = add_video(k, &row, &at, err);
    }
    csv_close(c);
    return rc;
}

/* ---- history ---- */

/* The type of behaviour that every video shown becomes, with `wide`. */
#define EXPOSED "exposed"

/* A list of videos in the history file, and what its entries become. */
struct history_list {
    const char *column, *type;
    int at;
};

/* A space-separated list has so many entries. */
static int64_t count_words(const char *words)
{
    int64_t n = 0;
    for (const char *p = words; *p != '\0'; p++) {
        n += *p != ' ' && (p == words || p[-1] == ' ');
    }
    return n;
}

static int add_step(struct kuairand *k, const char *type, const char *user, const char *video,
                    int64_t time_ms, struct undine_err *err)
{
    size_t row = 0;
    bool found = lookup_get(&k->video_rows, video, &row);
    k->counts.videos_unknown += !found;
    event_begin(k->w, EVENT_BEHAVIOR, time_ms, user);
    event_text(k->w, "type", type);
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
                       const struct history_list *list, struct undine_err *err)
{
    char video[64];
    int64_t last_ms = 0, n = count_words(row->field[list->at]), i = 0;
    int rc = UNDINE_OK;
    if (!import_integer(row->field[last], &last_ms)) {
        return bad_cell(k->opt->history, row, "last_time_ms", row->field[last], err);
    }
    for (const char *p = row->field[list->at]; rc == UNDINE_OK && *p != '\0';) {
        size_t len = strcspn(p, " ");
        if (len >= sizeof video) {
            return bad_cell(k->opt->history, row, list->column, p, err);
        }
        if (len > 0) {
            memcpy(video, p, len);
            video[len] = '\0';
            int64_t time_ms = last_ms - (n - 1 - i++) * HISTORY_STEP_MS;
            rc = add_step(k, list->type, row->field[user], video, time_ms, err);
        }
        p += len + (p[len] == ' ');
    }
    return rc;
}

static int read_history(struct kuairand *k, struct undine_err *err)
{
    struct history_list lists[] = {{"long_watch_seq_last50", "long_watch", 0},
                                   {"exposed_seq_last50", EXPOSED, 0}};
    size_t n_lists = k->opt->wide ? 2 : 1;
    struct csv *c = NULL;
    struct csv_row row;
    int user = 0, last = 0;
    int rc = csv_open(&c, k->opt->history, &(struct csv_options){'\t', true, false}, err);
    rc = rc == UNDINE_OK ? csv_column_needed(c, "user_id", &user, err) : rc;
    rc = rc == UNDINE_OK ? csv_column_needed(c, "last_time_ms", &last, err) : rc;
    for (size_t i = 0; rc == UNDINE_OK && i < n_lists; i++) {
        rc = csv_column_needed(c, lists[i].column, &lists[i].at, err);
    }
    while (rc == UNDINE_OK && (rc = csv_next(c, &row, err)) == 1) {
        rc = UNDINE_OK;
        for (size_t i = 0; rc == UNDINE_OK && i < n_lists; i++) {
            rc = add_history(k, &row, user, last, &lists[i], err);
        }
    }
    csv_close(c);
    return rc;
}

/* ---- the log ---- */

enum {
    LOG_USER,
    LOG_VIDEO,
    LOG_HOURMIN,
    LOG_TIME,
    LOG_CLICK,
    LOG_TAB,
    LOG_AUTHOR,
    LOG_TAG,
    LOG_DURATION, /* with `wide` */
    LOG_N
};
static const char *const log_columns[LOG_N] = {"user_id",   "video_id", "hourmin",
                                               "time_ms",   "is_click", "tab",
                                               "author_id", "tag",      "duration_ms"};

/* Classes of a time that doubles every so many of them. */
static void put_class(struct kuairand *k, const char *name, double doublings)
{
    char text[16];
    (void)snprintf(text, sizeof text, "%d", (int)doublings);
    event_text(k->w, name, text);
}

/* What else is known of the candidate when it is shown: its length in half doublings of a second,
 * and how it was made. */
static void put_wide_candidate(struct kuairand *k, const char *video, int64_t duration_ms)
{
    size_t row = 0;
    double seconds = (double)(duration_ms > 500 ? duration_ms : 500) / 1000.0;
    put_class(k, "duration", 2.0 * log2(seconds));
    for (int i = 0; i < WIDE_N && lookup_get(&k->video_rows, video, &row); i++) {
        event_text(k->w, wide_columns[i], k->videos[row].wide[i]);
    }
}

/* How long ago the user was last shown something, in 2/3 doublings of a second. */
static int put_gap(struct kuairand *k, const char *user, int64_t time_ms, struct undine_err *err)
{
    size_t at = k->n_shown;
    if (!lookup_get(&k->shown_rows, user, &at)) {
        struct shown *shown = grow(k->shown, k->n_shown, 1, &k->shown_capacity, sizeof *shown);
        const char *key = keep(k, user);
        if (shown == NULL || key == NULL || lookup_put(&k->shown_rows, key, at) < 0) {
            return out_of_memory(err);
        }
        k->shown = shown;
        k->shown[k->n_shown++] = (struct shown){SHOWN_NEVER, SHOWN_NEVER};
    }
    struct shown *s = &k->shown[at];
    if (time_ms > s->last_ms) {
        s->before_ms = s->last_ms;
        s->last_ms = time_ms;
    }
    if (s->before_ms == SHOWN_NEVER) {
        event_text(k->w, "gap", "none");
    } else {
        put_class(k, "gap", 1.5 * log2((double)(time_ms - s->before_ms) / 1000.0 + 1.0));
    }
    return UNDINE_OK;
}

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
    int64_t time_ms = 0, hourmin = 0, duration_ms = 0;
    for (int i = 0; i < LOG_N; i++) {
        cell[i] = row->field[at[i]];
    }
    if (k->opt->wide && !import_integer(cell[LOG_DURATION], &duration_ms)) {
        return bad_cell(k->opt->log, row, "duration_ms", cell[LOG_DURATION], err);
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
    if (k->opt->wide) {
        put_wide_candidate(k, cell[LOG_VIDEO], duration_ms);
    }
    event_group_end(k->w);
    event_group(k->w, "context");
    event_text(k->w, "tab", cell[LOG_TAB]);
    event_text(k->w, "hour", hour);
    int rc = k->opt->wide ? put_gap(k, cell[LOG_USER], time_ms, err) : UNDINE_OK;
    event_group_end(k->w);
    put_profile(k, cell[LOG_USER]);
    rc = rc == UNDINE_OK ? event_end(k->w, err) : rc;
    if (rc == UNDINE_OK && k->opt->wide) {
        rc = add_step(k, EXPOSED, cell[LOG_USER], cell[LOG_VIDEO], time_ms + k->opt->click_delay_ms,
                      err);
    }
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
    for (int i = 0; rc == UNDINE_OK && i < (k->opt->wide ? LOG_N : LOG_DURATION); i++) {
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
    lookup_release(&k.shown_rows);
    free(k.shown);
    free((void *)k.users.values);
    free(k.videos);
    arena_release(&k.texts);
    if (rc == UNDINE_OK) {
        *counts = k.counts;
    }
    return rc;
}
