#include "learner/version_publish.h"

#include "base/fault.h"
#include "learner/model/json_fields.h"
#include "learner/model/json_text.h"
#include "learner/model/version_history.h"
#include "learner/version_files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HISTORY_BYTES_MAX = 16 << 20 }; /* then it becomes HISTORY.1 */
static const char current[] = "CURRENT", current_new[] = "CURRENT.new";

/* ---- HISTORY ---- */

static int append(const char *dir, json_t *line, struct undine_err *err)
{
    char *text = line != NULL ? json_text_print(line, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
    char *whole = NULL;
    int len = text != NULL ? asprintf(&whole, "%s\n", text) : -1;
    free(text);
    json_decref(line);
    if (len < 0) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for a line of " VERSION_HISTORY);
    }
    FAULT("publish.before_history");
    int rc =
        version_files_rotate(dir, VERSION_HISTORY, VERSION_HISTORY_OLD, HISTORY_BYTES_MAX, err);
    if (rc == UNDINE_OK) {
        rc = version_files_append(dir, VERSION_HISTORY, whole, (size_t)len, err);
    }
    FAULT("publish.after_history");
    free(whole);
    return rc;
}

/* What every line of a version says. */
static json_t *line_of(const char *event, const struct version_info *info)
{
    return json_pack("{s:s,s:I,s:I,s:I,s:I,s:s}", "event", event, "version",
                     (json_int_t)info->number, "trained_seq", (json_int_t)info->trained_seq,
                     "event_time_ms", (json_int_t)info->event_time_ms, "created_ms",
                     (json_int_t)info->created_ms, "digest", info->digest);
}

/* Add who, why and when to a line; NULL-safe as jansson's own functions are. */
static json_t *line_act(json_t *line, const char *by, const char *reason, int64_t at_ms)
{
    if (json_object_set_new(line, "at_ms", json_integer(at_ms)) < 0 ||
        json_object_set_new(line, "by", json_string(by)) < 0 ||
        json_object_set_new(line, "reason", json_string(reason)) < 0) {
        json_decref(line);
        return NULL;
    }
    return line;
}

static int note_rollback(const char *dir, const struct version_hold *h, struct undine_err *err)
{
    json_t *line = json_pack("{s:s,s:I,s:I}", "event", "rollback", "version",
                             (json_int_t)h->version, "from", (json_int_t)h->from);
    return append(dir, line_act(line, h->by, h->reason, h->at_ms), err);
}

/* ---- CURRENT ---- */

static uint64_t current_number(const char *dir)
{
    char name[VERSION_NAME_MAX];
    uint64_t number = 0;
    (void)(version_dir_current(dir, name, NULL) == UNDINE_OK && version_number(&number, name));
    return number;
}

static int move_current(const char *dir, uint64_t number, struct undine_err *err)
{
    char line[VERSION_NAME_MAX + 2];
    version_name(line, number);
    (void)strcat(line, "\n");
    int rc = version_files_text(dir, current_new, line, strlen(line), err);
    FAULT("publish.before_current");
    if (rc == UNDINE_OK) {
        rc = version_files_rename(dir, current_new, current, err);
    }
    FAULT("publish.after_current");
    return rc;
}

static int move_and_note(const char *dir, const struct version_info *info, struct undine_err *err)
{
    int rc = move_current(dir, info->number, err);
    return rc == UNDINE_OK ? append(dir, line_of("publish", info), err) : rc;
}

/* Can scorers take it? */
static int check_usable(const char *dir, uint64_t number, struct undine_err *err)
{
    char name[VERSION_NAME_MAX];
    struct version_chain *c = NULL;
    version_name(name, number);
    int rc = version_chain_open(&c, dir, name, NULL, false, err);
    version_chain_close(c);
    return rc;
}

/* The newest published and usable version below this one, 0 = none. */
static uint64_t usable_before(const char *dir, const struct version_history *h, uint64_t below)
{
    uint64_t number = version_history_before(h, below);
    while (number != 0 && check_usable(dir, number, NULL) != UNDINE_OK) {
        number = version_history_before(h, number);
    }
    return number;
}

/* ---- one change at a time ---- */

struct change { /* of one directory, under its lock */
    const char *dir;
    int lock;
    struct version_hold hold;
};

/* A rollback that a crash cut short, behind its first step, is gone through with. */
static int finish(struct change *c, struct undine_err *err)
{
    const struct version_hold *h = &c->hold;
    struct version_history history;
    if (h->version == 0) {
        return UNDINE_OK;
    }
    int rc = version_history_read(&history, c->dir, err);
    if (rc == UNDINE_OK && current_number(c->dir) == h->from) {
        rc = move_current(c->dir, h->version, err);
    }
    const struct version_history_rollback *r = &history.rollback;
    bool noted = r->version == h->version && r->from == h->from && r->at_ms == h->at_ms;
    if (rc == UNDINE_OK && !noted) {
        rc = note_rollback(c->dir, h, err);
    }
    version_history_release(&history);
    return rc;
}

static void change_end(struct change *c)
{
    version_unlock(c->lock);
}

static int change_begin(struct change *c, const char *dir, struct undine_err *err)
{
    *c = (struct change){.dir = dir};
    int rc = version_lock(dir, &c->lock, err);
    if (rc < 0) {
        return rc;
    }
    rc = version_hold_read(dir, &c->hold, err);
    if (rc == UNDINE_OK) {
        rc = finish(c, err);
    }
    if (rc < 0) {
        change_end(c);
    }
    return rc;
}

static struct version_hold hold_of(const struct version_act *act)
{
    struct version_hold h = {.held = true, .at_ms = act->at_ms};
    UNDINE_ASSERT(act->at_ms > 0);
    (void)snprintf(h.by, sizeof h.by, "%s", act->by);
    (void)snprintf(h.reason, sizeof h.reason, "%s", act->reason);
    return h;
}

/* ---- by itself ---- */

int version_publish(const char *dir, const struct version_info *info, struct undine_err *err)
{
    struct change c;
    int rc = change_begin(&c, dir, err);
    if (rc < 0) {
        return rc;
    }
    bool held = c.hold.held;
    rc = held ? UNDINE_OK : move_and_note(dir, info, err);
    change_end(&c);
    return rc < 0 ? rc : !held;
}

int version_refuse(const char *dir, const struct version_info *info, const char *reason,
                   struct undine_err *err)
{
    struct change c;
    int rc = change_begin(&c, dir, err);
    if (rc < 0) {
        return rc;
    }
    json_t *line = line_of("refuse", info);
    if (json_object_set_new(line, "reason", json_string(reason)) < 0) {
        json_decref(line);
        line = NULL;
    }
    rc = append(dir, line, err);
    change_end(&c);
    return rc;
}

/* It, or the delta whose model it is under another number. */
static bool withdrawn(const struct version_history *h, const struct version_info *info)
{
    return version_history_standing(h, info->number) == VERSION_WITHDRAWN ||
           (info->merged_from != 0 &&
            version_history_standing(h, info->merged_from) == VERSION_WITHDRAWN);
}

/* CURRENT is whole and newer, or on hold: what may still be missing is a line. */
static int republish(struct change *c, const struct version_info *newest,
                     const struct version_history *h, struct undine_err *err)
{
    uint64_t number = current_number(c->dir);
    enum version_standing standing = version_history_standing(h, newest->number);
    struct version_info tip;
    bool usable =
        number != 0 && number != newest->number && check_usable(c->dir, number, NULL) == UNDINE_OK;
    bool whole = number == newest->number || usable;
    if (usable && number == newest->merged_from) { /* the same model is published already */
        int rc = version_info_read(c->dir, number, &tip, err);
        return rc == UNDINE_OK ? republish(c, &tip, h, err) : rc;
    }
    if (number == newest->number) {
        bool noted = standing == VERSION_PUBLISHED;
        return noted ? UNDINE_OK : append(c->dir, line_of("publish", newest), err);
    }
    bool may = !c->hold.held && !newest->refused && !withdrawn(h, newest);
    if (may && (number < newest->number || !whole)) {
        return move_and_note(c->dir, newest, err);
    }
    uint64_t good = whole ? 0 : usable_before(c->dir, h, number);
    if (good != 0) {
        struct version_info back;
        int rc = version_info_read(c->dir, good, &back, err);
        return rc == UNDINE_OK ? move_and_note(c->dir, &back, err) : rc;
    }
    return UNDINE_OK;
}

int version_republish(const char *dir, const struct version_info *newest, struct undine_err *err)
{
    struct change c;
    struct version_history h;
    int rc = change_begin(&c, dir, err);
    if (rc < 0) {
        return rc;
    }
    rc = version_history_read(&h, dir, err);
    if (rc == UNDINE_OK) {
        rc = republish(&c, newest, &h, err);
        version_history_release(&h);
    }
    change_end(&c);
    return rc;
}

/* ---- by hand ---- */

static int publish_number(struct change *c, uint64_t number, const struct version_act *act,
                          struct undine_err *err)
{
    struct version_info info;
    uint64_t now = current_number(c->dir);
    int rc = version_info_read(c->dir, number, &info, err);
    if (rc == UNDINE_OK) {
        rc = check_usable(c->dir, number, err);
    }
    if (rc == UNDINE_OK && number < now) {
        rc = undine_err_set(err, UNDINE_ESTATE,
                            "version %" PRIu64 " is older than %" PRIu64
                            ", which is published: going back is a rollback",
                            number, now);
    }
    if (rc == UNDINE_OK && c->hold.version != 0) { /* what was rolled back may be published again */
        c->hold.version = c->hold.from = 0;
        rc = version_hold_write(c->dir, &c->hold, err);
    }
    if (rc == UNDINE_OK && number != now) {
        rc = move_current(c->dir, number, err);
    }
    if (rc == UNDINE_OK) {
        struct version_hold who = hold_of(act);
        json_t *line = line_act(line_of("publish", &info), who.by, who.reason, who.at_ms);
        rc = append(c->dir, line, err);
    }
    return rc;
}

int version_publish_number(const char *dir, uint64_t number, const struct version_act *act,
                           struct undine_err *err)
{
    struct change c;
    int rc = change_begin(&c, dir, err);
    if (rc < 0) {
        return rc;
    }
    rc = publish_number(&c, number, act, err);
    change_end(&c);
    return rc;
}

/* Which version to go back to: *to, or 0 = the newest good one below `below`; or why not. */
static int choose_target(const struct change *c, uint64_t *to, uint64_t below, uint64_t from,
                         struct undine_err *err)
{
    struct version_history h;
    int rc = version_history_read(&h, c->dir, err);
    if (rc < 0) {
        return rc;
    }
    if (*to == 0) {
        *to = usable_before(c->dir, &h, below);
        if (*to == 0) {
            rc = undine_err_set(err, UNDINE_ENOTFOUND,
                                "%s: no whole version that was published before %" PRIu64, c->dir,
                                below);
        }
    } else if (*to >= from) {
        rc = undine_err_set(err, UNDINE_ESTATE,
                            "version %" PRIu64 " is not older than %" PRIu64 ", which is published",
                            *to, from);
    } else {
        enum version_standing standing = version_history_standing(&h, *to);
        rc = check_usable(c->dir, *to, err);
        if (rc == UNDINE_OK && standing != VERSION_PUBLISHED) {
            rc = undine_err_set(err, UNDINE_ESTATE, "version %" PRIu64 " %s", *to,
                                standing == VERSION_WITHDRAWN ? "was withdrawn by a rollback"
                                : standing == VERSION_REFUSED ? "was refused by the gate"
                                                              : "was never published");
        }
    }
    version_history_release(&h);
    return rc;
}

static int roll_back(struct change *c, uint64_t to, uint64_t below, const struct version_act *act,
                     uint64_t *now, struct undine_err *err)
{
    struct version_hold h = hold_of(act);
    h.from = current_number(c->dir);
    int rc = UNDINE_OK;
    if (h.from == 0) {
        rc = undine_err_set(err, UNDINE_ENOTFOUND, "%s: no version is published", c->dir);
    } else {
        below = below != 0 && below < h.from ? below : h.from;
        rc = choose_target(c, &to, below, h.from, err);
    }
    h.version = to;
    if (rc == UNDINE_OK) {
        rc = version_hold_write(c->dir, &h, err);
    }
    if (rc == UNDINE_OK) {
        rc = move_current(c->dir, to, err);
    }
    if (rc == UNDINE_OK) {
        rc = note_rollback(c->dir, &h, err);
    }
    *now = to;
    return rc;
}

static int rollback(const char *dir, uint64_t to, uint64_t below, const struct version_act *act,
                    uint64_t *from, uint64_t *now, struct undine_err *err)
{
    struct change c;
    uint64_t target = 0, before = 0;
    int rc = change_begin(&c, dir, err);
    if (rc < 0) {
        return rc;
    }
    before = current_number(dir);
    rc = roll_back(&c, to, below, act, &target, err);
    change_end(&c);
    if (rc == UNDINE_OK && from != NULL) {
        *from = before;
    }
    if (rc == UNDINE_OK && now != NULL) {
        *now = target;
    }
    return rc;
}

int version_rollback(const char *dir, uint64_t to, const struct version_act *act, uint64_t *from,
                     uint64_t *now, struct undine_err *err)
{
    return rollback(dir, to, 0, act, from, now, err);
}

int version_rollback_before(const char *dir, uint64_t below, const struct version_act *act,
                            uint64_t *from, uint64_t *now, struct undine_err *err)
{
    return rollback(dir, 0, below, act, from, now, err);
}

static int note_act(const char *dir, const char *event, const struct version_act *act,
                    struct undine_err *err)
{
    struct version_hold who = hold_of(act);
    return append(dir, line_act(json_pack("{s:s}", "event", event), who.by, who.reason, who.at_ms),
                  err);
}

int version_hold(const char *dir, const struct version_act *act, struct undine_err *err)
{
    struct change c;
    int rc = change_begin(&c, dir, err);
    if (rc < 0) {
        return rc;
    }
    bool held = c.hold.held;
    if (!held) {
        struct version_hold h = hold_of(act);
        rc = version_hold_write(dir, &h, err);
        rc = rc == UNDINE_OK ? note_act(dir, "hold", act, err) : rc;
    }
    change_end(&c);
    return rc < 0 ? rc : !held;
}

int version_resume(const char *dir, const struct version_act *act, struct undine_err *err)
{
    struct change c;
    int rc = change_begin(&c, dir, err);
    if (rc < 0) {
        return rc;
    }
    bool held = c.hold.held;
    if (held) {
        rc = note_act(dir, "resume", act, err); /* told of twice rather than never */
        rc = rc == UNDINE_OK ? version_hold_remove(dir, err) : rc;
    }
    change_end(&c);
    return rc < 0 ? rc : held;
}

int version_state(const char *dir, struct version_state *out, struct undine_err *err)
{
    char name[VERSION_NAME_MAX];
    *out = (struct version_state){0};
    int rc = version_dir_current(dir, name, err);
    if (rc == UNDINE_OK) {
        (void)version_number(&out->current, name);
    } else if (rc != UNDINE_ENOTFOUND) {
        return rc;
    }
    return version_hold_read(dir, &out->hold, err);
}
