#include "ops/args.h"
#include "ops/cmd.h"
#include "ops/import.h"
#include "ops/zfile.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct flags {
    const char *log, *history, *users, *videos, *input, *mapping, *output;
    int64_t click_delay_ms;
    bool sort, wide;
};

/* What one importer needs, and how it is run; `extra` is appended to the report. */
struct importer {
    const char *name;
    int (*run)(const struct flags *f, struct event_writer *w, char *extra, size_t extra_len,
               struct undine_err *err);
};

static int needs(const char *value, const char *flag, struct undine_err *err)
{
    return value != NULL ? UNDINE_OK
                         : undine_err_set(err, UNDINE_ECONFIG, "--%s FILE is missing", flag);
}

static int run_kuairand(const struct flags *f, struct event_writer *w, char *extra,
                        size_t extra_len, struct undine_err *err)
{
    const struct import_kuairand opt = {f->log,    f->history,        f->users,
                                        f->videos, f->click_delay_ms, f->wide};
    struct import_kuairand_counts counts = {0};
    int rc = needs(f->log, "log", err);
    rc = rc == UNDINE_OK ? needs(f->history, "history", err) : rc;
    rc = rc == UNDINE_OK ? needs(f->users, "users", err) : rc;
    rc = rc == UNDINE_OK ? needs(f->videos, "videos", err) : rc;
    rc = rc == UNDINE_OK ? import_kuairand(&opt, w, &counts, err) : rc;
    (void)snprintf(extra, extra_len,
                   ",\"impressions_without_profile\":%" PRIu64
                   ",\"history_videos_unknown\":%" PRIu64,
                   counts.users_without_profile, counts.videos_unknown);
    return rc;
}

static int run_amazon(const struct flags *f, struct event_writer *w, char *extra, size_t extra_len,
                      struct undine_err *err)
{
    const struct import_amazon opt = {f->input, f->click_delay_ms};
    int rc = needs(f->input, "input", err);
    (void)snprintf(extra, extra_len, "%s", "");
    return rc == UNDINE_OK ? import_amazon(&opt, w, err) : rc;
}

static int run_csv(const struct flags *f, struct event_writer *w, char *extra, size_t extra_len,
                   struct undine_err *err)
{
    const struct import_csv opt = {f->mapping, f->input, f->sort};
    struct import_csv_counts counts = {0};
    int rc = needs(f->mapping, "mapping", err);
    rc = rc == UNDINE_OK ? needs(f->input, "input", err) : rc;
    rc = rc == UNDINE_OK ? import_csv(&opt, w, &counts, err) : rc;
    (void)snprintf(extra, extra_len, ",\"rows\":%" PRIu64 ",\"rows_skipped\":%" PRIu64, counts.rows,
                   counts.skipped);
    return rc;
}

static const struct importer importers[] = {
    {"kuairand", run_kuairand}, {"amazon", run_amazon}, {"csv", run_csv}};

static const struct importer *find_importer(const char *name)
{
    for (size_t i = 0; i < sizeof importers / sizeof importers[0]; i++) {
        if (strcmp(importers[i].name, name) == 0) {
            return &importers[i];
        }
    }
    return NULL;
}

static int import(const struct importer *importer, const struct flags *f, struct undine_err *err)
{
    struct event_writer *w = NULL;
    char extra[128] = "";
    FILE *out = zfile_write(f->output, err);
    if (out == NULL) {
        return UNDINE_EIO;
    }
    int rc = event_writer_open(&w, event_sink_file, out, err);
    rc = rc == UNDINE_OK ? importer->run(f, w, extra, sizeof extra, err) : rc;
    rc = rc == UNDINE_OK ? event_release(w, INT64_MAX, err) : rc;
    /* A failed write has its reason here; another failure keeps its own. */
    struct undine_err closing = {0};
    int closed = zfile_close(out, f->output, &closing);
    if (closed != UNDINE_OK && (rc == UNDINE_OK || rc == UNDINE_EIO)) {
        *err = closing;
        rc = closed;
    }
    if (rc == UNDINE_OK) {
        FILE *report = strcmp(f->output, "-") == 0 ? stderr : stdout;
        (void)fputs("{", report);
        event_counts_print(report, w);
        (void)fprintf(report, "%s}\n", extra);
    }
    event_writer_close(w);
    return rc;
}

int cmd_import(int argc, char **argv)
{
    struct flags f = {.click_delay_ms = 1000};
    struct args_list rest = {0};
    const struct args_option options[] = {
        {"output", 0, ARGS_STRING, &f.output, "FILE",
         "event lines; .zst is compressed, - is stdout"},
        {"click-delay", 0, ARGS_INT, &f.click_delay_ms, "MS",
         "kuairand, amazon: from an impression to its click (1000)"},
        {"log", 0, ARGS_STRING, &f.log, "FILE", "kuairand: log_standard_*.csv"},
        {"history", 0, ARGS_STRING, &f.history, "FILE", "kuairand: behaviour before the log"},
        {"users", 0, ARGS_STRING, &f.users, "FILE", "kuairand: user_features_pure.csv"},
        {"videos", 0, ARGS_STRING, &f.videos, "FILE", "kuairand: video_features_basic_pure.csv"},
        {"wide", 0, ARGS_FLAG, &f.wide, NULL,
         "kuairand: more fields, and what was shown as behaviour"},
        {"input", 0, ARGS_STRING, &f.input, "FILE", "amazon, csv: the file; .zst is decompressed"},
        {"mapping", 0, ARGS_STRING, &f.mapping, "FILE",
         "csv: what each column means (docs/import.md)"},
        {"sort", 0, ARGS_FLAG, &f.sort, NULL, "csv: sort the rows by time, in memory"},
    };
    int code = args_parse(argc, argv, "import kuairand|amazon|csv --output FILE ...", options,
                          sizeof options / sizeof options[0], &rest);
    if (code >= 0) {
        return code;
    }
    const struct importer *importer = rest.n == 1 ? find_importer(rest.item[0]) : NULL;
    struct undine_err err = {0};
    int rc = UNDINE_OK;
    if (importer == NULL) {
        rc = undine_err_set(&err, UNDINE_ECONFIG,
                            "expected one of kuairand, amazon, csv; see "
                            "`undine import --help`");
    } else if (f.click_delay_ms < 0) {
        rc = undine_err_set(&err, UNDINE_ECONFIG,
                            "--click-delay is %" PRId64 ", expected 0 or more", f.click_delay_ms);
    } else {
        rc = needs(f.output, "output", &err);
    }
    rc = rc == UNDINE_OK ? import(importer, &f, &err) : rc;
    if (rc != UNDINE_OK) {
        (void)fprintf(stderr, "undine import: %s\n", err.msg);
    }
    return args_exit_code(rc);
}
