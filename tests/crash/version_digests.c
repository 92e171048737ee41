/* version_digests.c: the digest of the model after every mini-batch of an example log, one
 * "trained_seq digest" a line: what a version of that trained_seq must hold, whoever published it.
 *
 *   version_digests CONFIG STATE [KEY=VALUE]...
 *
 * STATE is that of a replay whose log is whole: one that published at its end alone. */
#include "configs/config.h"
#include "learner/snapshot.h"

#include <inttypes.h>
#include <stdio.h>

static int print_digest(struct trainer *t, struct undine_err *err)
{
    struct snapshot *s = NULL;
    int rc = trainer_snapshot(t, &s, err);
    if (rc == UNDINE_OK) {
        rc = snapshot_sort(s, err);
    }
    if (rc == UNDINE_OK) {
        char hex[HASH128_HEX_LEN + 1];
        hash128_hex(hex, snapshot_digest(s));
        (void)printf("%" PRIu64 " %s\n", s->trained_seq, hex);
    }
    snapshot_free(s);
    return rc;
}

static int learn(const struct config *c, struct example_log *log, struct undine_err *err)
{
    struct trainer_options options = c->trainer;
    options.frozen.block = 0; /* as in a daemon */
    struct trainer *t = NULL;
    int rc = trainer_open(&t, &c->schema, &options, err);
    if (rc == UNDINE_OK && example_log_tail(log) > 0) {
        rc = undine_err_set(err, UNDINE_ESTATE, "the log begins at example %" PRIu64,
                            example_log_tail(log));
    }
    for (int n = 1; rc == UNDINE_OK && n > 0;) {
        n = trainer_step(t, log, 1, err);
        rc = n < 0 ? n : n == 0 ? UNDINE_OK : print_digest(t, err);
    }
    trainer_close(t);
    return rc;
}

static int open_and_learn(const struct config *c, const char *state, struct undine_err *err)
{
    char dir[4096];
    (void)snprintf(dir, sizeof dir, "%s/store", state);
    struct store_options options = c->store;
    options.dir = dir;
    options.read_only = true;
    struct store *store = NULL;
    struct example_log *log = NULL;
    int rc = store_open(&store, &options, err);
    if (rc == UNDINE_OK) {
        rc = example_log_open(&log, store, &c->schema, c->ingest.shard, err);
    }
    if (rc == UNDINE_OK) {
        rc = learn(c, log, err);
    }
    example_log_close(log);
    store_close(store);
    return rc;
}

int main(int argc, char **argv)
{
    struct undine_err err = {0};
    struct config *config = NULL;
    if (argc < 3) {
        (void)fprintf(stderr, "version_digests CONFIG STATE [KEY=VALUE]...\n");
        return 2;
    }
    const char *const *overrides = (const char *const *)(argv + 3);
    int rc = config_load(&config, argv[1], overrides, (size_t)argc - 3, &err);
    if (rc == UNDINE_OK) {
        rc = open_and_learn(config, argv[2], &err);
    }
    config_free(config);
    if (rc < 0) {
        (void)fprintf(stderr, "version_digests: %s\n", err.msg);
        return 1;
    }
    return 0;
}
