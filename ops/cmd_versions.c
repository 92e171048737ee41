/* cmd_versions.c: `undine rollback` and `undine publish`: which version scorers take, by hand, also
 * beside a running daemon. */
#include "base/clock.h"
#include "learner/version_publish.h"
#include "ops/args.h"
#include "ops/cmd.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct by_hand {
    const char *command, *dir, *reason;
    struct version_act act;
};

static int usage(const char *command, const char *wrong)
{
    (void)fprintf(stderr, "undine %s: %s; see `undine %s --help`\n", command, wrong, command);
    return EXIT_USAGE;
}

/* "42" or "000000000042" */
static bool parse_number(uint64_t *out, const char *text)
{
    char *end = NULL;
    *out = text[0] >= '0' && text[0] <= '9' ? strtoull(text, &end, 10) : 0;
    return end != NULL && *end == '\0' && *out > 0 && *out < UINT64_C(1000000000000);
}

static int failed(const struct by_hand *h, const struct undine_err *err)
{
    (void)fprintf(stderr, "undine %s: %s\n", h->command, err->msg);
    return args_exit_code(err->code);
}

/* What is published now, as the last word. */
static int say_state(const struct by_hand *h)
{
    struct version_state st;
    struct undine_err err = {0};
    if (version_state(h->dir, &st, &err) != UNDINE_OK) {
        return failed(h, &err);
    }
    if (st.current != 0) {
        (void)printf("version %" PRIu64 " is published", st.current);
    } else {
        (void)printf("no version is published");
    }
    if (st.hold.held) {
        (void)printf("; publication is on hold, by %s: %s", st.hold.by, st.hold.reason);
    }
    (void)printf("\n");
    return EXIT_DONE;
}

static const char *begin(struct by_hand *h, const char *command, const char *dir,
                         const char *reason)
{
    *h = (struct by_hand){.command = command, .dir = dir};
    h->act = (struct version_act){
        .by = "command", .reason = reason, .at_ms = clock_realtime_ms()};
    if (dir == NULL) {
        return "--versions is required";
    }
    return reason == NULL || reason[0] == '\0' ? "--reason is required: HISTORY keeps it" : NULL;
}

int cmd_rollback(int argc, char **argv)
{
    const char *dir = NULL, *to = NULL, *reason = NULL;
    const struct args_option options[] = {
        {"versions", 0, ARGS_STRING, &dir, "DIR", "directory of versions (required)"},
        {"to", 0, ARGS_STRING, &to, "VERSION",
         "go back to this one; default: the one published before"},
        {"reason", 0, ARGS_STRING, &reason, "TEXT", "why, for HISTORY (required)"},
    };
    int code = args_parse(argc, argv, "rollback --versions DIR [--to VERSION] --reason TEXT",
                          options, sizeof options / sizeof options[0], NULL);
    if (code >= 0) {
        return code;
    }
    struct by_hand h;
    struct undine_err err = {0};
    uint64_t number = 0, from = 0, now = 0;
    const char *wrong = begin(&h, "rollback", dir, reason);
    if (wrong == NULL && to != NULL && !parse_number(&number, to)) {
        wrong = "--to: expected the number of a version";
    }
    if (wrong != NULL) {
        return usage("rollback", wrong);
    }
    if (version_rollback(dir, number, &h.act, &from, &now, &err) != UNDINE_OK) {
        return failed(&h, &err);
    }
    (void)printf("from version %" PRIu64 " back to %" PRIu64 "\n", from, now);
    return say_state(&h);
}

/* In this order, so that `--resume VERSION` publishes before the daemon may. */
static int publish(const struct by_hand *h, uint64_t number, bool hold, bool resume)
{
    struct undine_err err = {0};
    int rc = UNDINE_OK;
    if (number != 0) {
        rc = version_publish_number(h->dir, number, &h->act, &err);
    }
    if (rc == UNDINE_OK && hold) {
        rc = version_hold(h->dir, &h->act, &err);
    }
    if (rc == UNDINE_OK && resume) {
        rc = version_resume(h->dir, &h->act, &err);
    }
    return rc < 0 ? failed(h, &err) : say_state(h);
}

int cmd_publish(int argc, char **argv)
{
    const char *dir = NULL, *reason = NULL;
    bool hold = false, resume = false;
    struct args_list versions = {0};
    const struct args_option options[] = {
        {"versions", 0, ARGS_STRING, &dir, "DIR", "directory of versions (required)"},
        {"resume", 0, ARGS_FLAG, &resume, NULL, "end a hold: new versions are published again"},
        {"hold", 0, ARGS_FLAG, &hold, NULL, "publish no new version until --resume"},
        {"reason", 0, ARGS_STRING, &reason, "TEXT", "why, for HISTORY (required)"},
    };
    int code = args_parse(
        argc, argv, "publish --versions DIR [VERSION] [--hold | --resume] --reason TEXT", options,
        sizeof options / sizeof options[0], &versions);
    if (code >= 0) {
        return code;
    }
    struct by_hand h;
    uint64_t number = 0;
    const char *wrong = begin(&h, "publish", dir, reason);
    if (wrong == NULL && versions.n > 1) {
        wrong = "one VERSION can be published, not several";
    } else if (wrong == NULL && versions.n == 1 && !parse_number(&number, versions.item[0])) {
        wrong = "expected the number of a version";
    } else if (wrong == NULL && hold && resume) {
        wrong = "--hold and --resume exclude each other";
    } else if (wrong == NULL && versions.n == 0 && !hold && !resume) {
        wrong = "give a VERSION, --hold or --resume";
    }
    return wrong != NULL ? usage("publish", wrong) : publish(&h, number, hold, resume);
}
