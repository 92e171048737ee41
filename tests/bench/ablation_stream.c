#include "tests/bench/ablation_stream.h"

#include <stdlib.h>
#include <string.h>

/* What makes examples out of files. */
struct maker {
    struct store *store;
    struct users *users;
    struct example_log *log;
    struct decoder *decoder;
    struct source *source;
    struct ingest *ingest;
    struct ingest_options options;
};

static int open_maker(struct maker *m, const struct config *c, const char *const *inputs,
                      size_t n_inputs, const char *dir, struct undine_err *err)
{
    struct store_options store = c->store;
    struct source_file_options files = {
        .paths = inputs, .n_paths = n_inputs, .line_bytes_max = c->decode.message_bytes_max + 1};
    store.dir = dir;
    m->options = c->ingest;
    m->options.close_windows = true;
    m->options.loop.backlog_max = UINT64_MAX; /* nobody learns meanwhile */
    int rc = store_open(&m->store, &store, err);
    rc = rc < 0 ? rc : users_open(&m->users, m->store, &c->schema, &c->users, err);
    rc = rc < 0 ? rc : example_log_open(&m->log, m->store, &c->schema, c->ingest.shard, err);
    rc = rc < 0 ? rc : decoder_open(&m->decoder, &c->schema, &c->decode, err);
    rc = rc < 0 ? rc : source_file_open(&m->source, &files, ingest_position, m->store, err);
    return rc < 0 ? rc
                  : ingest_open(&m->ingest, &c->schema, &m->options, m->store, m->users, m->log,
                                m->source, m->decoder, err);
}

static void close_maker(struct maker *m)
{
    ingest_close(m->ingest);
    source_close(m->source);
    decoder_close(m->decoder);
    example_log_close(m->log);
    users_close(m->users);
    store_close(m->store);
}

static int no_memory(struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ENOMEM, "no memory for the examples");
}

static int read_blocks(struct ablation_stream *s, struct example_log *log, struct undine_err *err)
{
    while (s->n < example_log_head(log)) {
        if (s->n_blocks == s->capacity) {
            size_t capacity = s->capacity > 0 ? 2 * s->capacity : 64;
            struct example_block *blocks = reallocarray(s->blocks, capacity, sizeof *blocks);
            if (blocks == NULL) {
                return no_memory(err);
            }
            s->blocks = blocks;
            s->capacity = capacity;
        }
        struct example_block *b = &s->blocks[s->n_blocks++];
        example_block_init(b);
        int rc = example_log_read(log, s->n, b, err);
        if (rc < 0) {
            return rc;
        }
        UNDINE_ASSERT(rc == 1 && b->first_seq == s->n);
        s->n += b->n_examples;
    }
    return s->n > 0 ? UNDINE_OK : undine_err_set(err, UNDINE_EINVAL, "the events make no examples");
}

/* Label, user and sample rate of every example. */
static int list_examples(struct ablation_stream *s, struct undine_err *err)
{
    s->user = calloc(s->n, sizeof *s->user);
    s->label = calloc(s->n, sizeof *s->label);
    s->rate = calloc(s->n, sizeof *s->rate);
    if (s->user == NULL || s->label == NULL || s->rate == NULL) {
        return no_memory(err);
    }
    int64_t first_ms = s->blocks[0].examples[0].emit_ms, last_ms = first_ms;
    for (size_t k = 0; k < s->n_blocks; k++) {
        const struct example_block *b = &s->blocks[k];
        for (uint32_t i = 0; i < b->n_examples; i++) {
            const struct example *e = &b->examples[i];
            uint64_t seq = b->first_seq + i;
            if (e->kind == EXAMPLE_FORGET) {
                return undine_err_set(err, UNDINE_EINVAL, "the events forget a user");
            }
            s->user[seq] = e->user;
            s->label[seq] = example_kind_positive((enum example_kind)e->kind);
            s->rate[seq] = e->sample_rate;
            last_ms = e->emit_ms;
        }
    }
    s->span_ms = last_ms - first_ms + 1;
    return UNDINE_OK;
}

int ablation_stream_make(struct ablation_stream *s, const struct config *config,
                         const char *const *inputs, size_t n_inputs, const char *dir,
                         struct undine_err *err)
{
    *s = (struct ablation_stream){.digest = config->ingest.config_digest ^
                                            schema_data_digest(&config->schema)};
    struct maker m = {0};
    atomic_bool stop = false;
    int rc = open_maker(&m, config, inputs, n_inputs, dir, err);
    if (rc >= 0) {
        rc = ingest_run(m.ingest, &stop, err);
    }
    if (rc >= 0) {
        rc = read_blocks(s, m.log, err);
    }
    if (rc >= 0) {
        rc = list_examples(s, err);
    }
    close_maker(&m);
    if (rc < 0) {
        ablation_stream_release(s);
    }
    return rc < 0 ? rc : UNDINE_OK;
}

void ablation_stream_release(struct ablation_stream *s)
{
    for (size_t k = 0; k < s->n_blocks; k++) {
        example_block_release(&s->blocks[k]);
    }
    free(s->blocks);
    free(s->user);
    free(s->label);
    free(s->rate);
    *s = (struct ablation_stream){0};
}

int ablation_stream_check(const struct ablation_stream *s, const struct config *config,
                          struct undine_err *err)
{
    if (s->digest != (config->ingest.config_digest ^ schema_data_digest(&config->schema))) {
        return undine_err_set(err, UNDINE_ECONFIG,
                              "a setting changes fields, sequences or how examples are made; only "
                              "`model.*`, `learner.*` and widths of tables may differ here");
    }
    return UNDINE_OK;
}
