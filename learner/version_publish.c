#include "learner/version_publish.h"

#include "base/fault.h"
#include "learner/model/version_reader.h"
#include "learner/version_files.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { LINE_BYTES = 512, TAIL_BYTES = 8 * LINE_BYTES };
static const char history[] = "HISTORY", current[] = "CURRENT",
                  line_begin[] = "{\"event\":\"publish\"";

static int note(const char *dir, const struct version_info *info, struct undine_err *err)
{
    char line[LINE_BYTES];
    int len =
        snprintf(line, sizeof line,
                 "%s,\"version\":%" PRIu64 ",\"trained_seq\":%" PRIu64 ",\"event_time_ms\":%" PRId64
                 ",\"created_ms\":%" PRId64 ",\"digest\":\"%s\"}\n",
                 line_begin, info->number, info->trained_seq, info->event_time_ms, info->created_ms,
                 info->digest);
    UNDINE_ASSERT(len > 0 && (size_t)len < sizeof line);
    FAULT("publish.before_history");
    int rc = version_files_append(dir, history, line, (size_t)len, err);
    FAULT("publish.after_history");
    return rc;
}

int version_publish(const char *dir, const struct version_info *info, struct undine_err *err)
{
    char line[LINE_BYTES];
    int len = snprintf(line, sizeof line, "%s\n", info->name);
    int rc = version_files_text(dir, VERSION_TEMPORARY "CURRENT", line, (size_t)len, err);
    FAULT("publish.before_current");
    if (rc == UNDINE_OK) {
        rc = version_files_rename(dir, VERSION_TEMPORARY "CURRENT", current, err);
    }
    FAULT("publish.after_current");
    return rc == UNDINE_OK ? note(dir, info, err) : rc;
}

/* Does a whole line among the last of HISTORY tell of this version? */
static bool noted(const char *tail, uint64_t number)
{
    char begin[LINE_BYTES];
    int len = snprintf(begin, sizeof begin, "%s,\"version\":%" PRIu64 ",", line_begin, number);
    for (const char *at = strstr(tail, begin); at != NULL; at = strstr(at + len, begin)) {
        if (strchr(at, '}') != NULL) {
            return true;
        }
    }
    return false;
}

/* Can scorers take the version of this name? */
static bool usable(const char *dir, const char *name)
{
    char path[VERSION_PATH_MAX];
    struct version_reader *r = NULL;
    bool good = version_path(path, dir, name, NULL) == UNDINE_OK &&
                version_reader_open(&r, path, false, NULL) == UNDINE_OK;
    version_reader_close(r);
    return good;
}

int version_republish(const char *dir, const struct version_info *newest, struct undine_err *err)
{
    char name[VERSION_NAME_MAX], tail[TAIL_BYTES];
    uint64_t number = 0;
    if (version_dir_current(dir, name, NULL) == UNDINE_OK && version_number(&number, name) &&
        number > newest->number && usable(dir, name)) {
        return UNDINE_OK;
    }
    if (number != newest->number) {
        return version_publish(dir, newest, err);
    }
    int rc = version_files_tail(dir, history, tail, sizeof tail, err);
    return rc == UNDINE_OK && !noted(tail, number) ? note(dir, newest, err) : rc;
}
