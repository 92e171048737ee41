/* version_digests.c: the digest of the model before and after every mini-batch and every forgotten
 * user of an example log, one "trained_seq digest" a line: what a version of that trained_seq must
 * hold, whoever published it.
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

/* One entry at a time, so that no state between two of them is passed over. */
static int learn_block(struct trainer *t, struct example_block *block, struct undine_err *err)
{
    uint32_t n = block->n_examples;
    int rc = UNDINE_OK;
    for (uint32_t k = 1; rc == UNDINE_OK && k <= n; k++) {
        block->n_examples = k;
        for (int trained = 1; rc == UNDINE_OK && trained > 0;) {
            uint64_t before = trainer_seq(t);
            trained = trainer_learn(t, block, 1, err);
            rc = trained < 0 ? trained : UNDINE_OK;
            if (rc == UNDINE_OK && trainer_seq(t) != before) {
                rc = print_digest(t, err);
            }
        }
    }
    block->n_examples = n;
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
    rc = rc < 0 ? rc : print_digest(t, err);
    struct example_block block;
    example_block_init(&block);
    uint64_t head = example_log_head(log);
    for (uint64_t at = 0; rc == UNDINE_OK && at < head; at += block.n_examples) {
        rc = example_log_read(log, at, &block, err);
        rc = rc < 0 ? rc : learn_block(t, &block, err);
    }
    if (rc == UNDINE_OK) {
        rc = trainer_learn_due(t, example_log_watermark(log), err);
        rc = rc > 0 ? print_digest(t, err) : rc;
    }
    example_block_release(&block);
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
