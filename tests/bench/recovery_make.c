/* recovery_make: what tests/bench/recovery restores.
 *
 *   recovery_make events USERS PENDING     event lines on stdout: three views of each user, PENDING
 *                                          impressions within the last minute, and some before them
 *                                          whose windows have closed
 *   recovery_make rows CONFIG DIR ROWS     a version in DIR that holds ROWS rows: what the newest
 *                                          one holds, and made-up ids with numbers in every slot
 *
 * The rows go through the trainer's tables, its snapshot and the writer of versions, as in the
 * daemon. */
#include "base/clock.h"
#include "base/hash.h"
#include "configs/config.h"
#include "learner/trainer_state.h"
#include "learner/version.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VIEWS = 3, CLOSED = 20000, ITEMS = 100000, RUN = 4096 };
static const int64_t START_MS = 1700000000000, HOUR_MS = 3600000, MINUTE_MS = 60000;

static void impression(const char *what, uint64_t i, uint64_t users, int64_t time_ms)
{
    (void)printf("{\"kind\":\"impression\",\"id\":\"%s%" PRIu64 "\",\"user\":\"u%" PRIu64
                 "\",\"time\":%" PRId64 ",\"candidate\":{\"item\":\"%" PRIu64
                 "\",\"category\":\"%" PRIu64 "\"},\"context\":{\"hour\":%d}}\n",
                 what, i, i % users, time_ms, hash_mix64(i) % ITEMS, hash_mix64(i) % 100,
                 (int)(time_ms / HOUR_MS % 24));
}

static void make_events(uint64_t users, uint64_t pending)
{
    for (uint64_t i = 0; i < CLOSED; i++) {
        impression("closed", i, users, START_MS + (int64_t)i);
    }
    int64_t views_ms = START_MS + 3 * HOUR_MS;
    for (uint64_t i = 0; i < users * VIEWS; i++) {
        uint64_t item = hash_mix64(i + users) % ITEMS;
        (void)printf("{\"kind\":\"behavior\",\"type\":\"view\",\"user\":\"u%" PRIu64
                     "\",\"time\":%" PRId64 ",\"item\":{\"item\":\"%" PRIu64
                     "\",\"category\":\"%" PRIu64 "\"}}\n",
                     i % users, views_ms + (int64_t)(i * (uint64_t)HOUR_MS / (users * VIEWS)), item,
                     item % 100);
    }
    int64_t last_ms = views_ms + HOUR_MS;
    for (uint64_t i = 0; i < pending; i++) {
        impression("pending", i, users,
                   last_ms + (int64_t)(i * (uint64_t)MINUTE_MS / (pending + 1)));
    }
}

/* Rows of made-up ids, spread over the tables of items and users. */
static int add_rows(struct trainer *t, uint64_t total, struct undine_err *err)
{
    uint64_t rows = 0, made = 0;
    for (uint32_t k = 0; k < t->schema.n_tables; k++) {
        rows += t->table[k].n_rows;
    }
    int rc = UNDINE_OK;
    while (rc == UNDINE_OK && rows < total) {
        struct table *table = &t->table[made / RUN % 2];
        uint64_t keys[RUN];
        uint32_t at[RUN];
        size_t n = total - rows < RUN ? (size_t)(total - rows) : RUN;
        for (size_t i = 0; i < n; i++) {
            keys[i] = hash_mix64(made++) | 1;
        }
        uint64_t before = table->n_inserted;
        rc = table_need(table, keys, at, n, err);
        for (size_t i = 0; rc == UNDINE_OK && i < n; i++) {
            struct table_row *r = table_row(table, at[i]);
            r->count += 1.0F;
            r->seen_day = (uint32_t)(START_MS / 86400000);
            r->stamp = 1;
            for (uint32_t s = 0; s < table->opt.n_slots; s++) {
                r->value[table->opt.dim + s] += (float)(keys[i] >> 40) * 0x1p-24F;
            }
        }
        rows += table->n_inserted - before;
    }
    return rc;
}

static int make_rows(const char *file, const char *dir, uint64_t rows, struct undine_err *err)
{
    struct config *config = NULL;
    struct trainer *t = NULL;
    struct snapshot *s = NULL;
    struct version_info info = {0};
    int rc = config_load(&config, file, NULL, 0, err);
    if (rc == UNDINE_OK) {
        rc = trainer_open(&t, &config->schema, &config->trainer, err);
    }
    if (rc == UNDINE_OK) {
        rc = version_restore(dir, 0, UINT64_MAX, &s, &info, NULL, NULL, err);
    }
    if (rc > 0) {
        rc = trainer_restore(t, s, err);
        snapshot_free(s);
        s = NULL;
    } else if (rc == 0) {
        rc = undine_err_set(err, UNDINE_ENOTFOUND, "%s holds no version to go on from", dir);
    }
    if (rc == UNDINE_OK) {
        rc = add_rows(t, rows, err);
    }
    if (rc == UNDINE_OK) {
        rc = trainer_snapshot(t, &s, err);
    }
    if (rc == UNDINE_OK) {
        struct version_extra extra = {.config_digest = config->ingest.config_digest,
                                      .positions_json = "[]",
                                      .created_ms = clock_realtime_ms()};
        rc = version_write(dir, s, &extra, true, &info, err);
    }
    if (rc == UNDINE_OK) {
        (void)printf("%s\n", info.name);
    }
    snapshot_free(s);
    trainer_close(t);
    config_free(config);
    return rc;
}

int main(int argc, char **argv)
{
    struct undine_err err = {0};
    if (argc == 4 && strcmp(argv[1], "events") == 0) {
        make_events(strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10));
        return fflush(stdout) == 0 ? 0 : 1;
    }
    if (argc == 5 && strcmp(argv[1], "rows") == 0) {
        int rc = make_rows(argv[2], argv[3], strtoull(argv[4], NULL, 10), &err);
        if (rc < 0) {
            (void)fprintf(stderr, "recovery_make: %s\n", err.msg);
        }
        return rc < 0 ? 1 : 0;
    }
    (void)fprintf(stderr, "usage: recovery_make events USERS PENDING\n"
                          "       recovery_make rows CONFIG VERSIONS ROWS\n");
    return 2;
}
