#include "tests/support/ingest_world.h"

#include "tests/support/store_fixture.h"

#include <stdio.h>
#include <stdlib.h>

static void must(bool ok, const char *what)
{
    if (!ok) {
        (void)fprintf(stderr, "ingest world: %s\n", what);
        abort();
    }
}

struct ingest_options ingest_world_options(int64_t lateness_ms, int64_t window_ms)
{
    return (struct ingest_options){
        .order = {.lateness_ms = lateness_ms,
                  .max_future_ms = -1,
                  .idle_timeout_ms = 1000000,
                  .waiting_max = 100000},
        .join = {.window_ms = window_ms, .memory_ms = window_ms, .negative_rate = 1.0},
        .loop = {.poll_max = 100,
                 .commit_actions_max = 1000,
                 .sync_interval_ms = 1000,
                 .backlog_max = UINT64_MAX,
                 .malformed_samples = 4},
        .n_shards = 1,
        .close_windows = true,
        .config_digest = 1,
        .config_digest_text = "join.window=1\n"};
}

static struct source *open_file(const char *path, struct store *store)
{
    struct undine_err e = {.msg = "?"};
    struct source *source = NULL;
    struct source_file_options opt = {.paths = &path, .n_paths = 1, .line_bytes_max = 4097};
    must(source_file_open(&source, &opt, ingest_position, store, &e) == UNDINE_OK, e.msg);
    return source;
}

int ingest_world_open(struct ingest_world *w, const char *dir, const struct memory_log *log,
                      const struct memory_source_options *source, struct undine_err *err)
{
    struct undine_err e = {.msg = "?"};
    struct users_options users = {.cache_bytes =
                                      w->cache_bytes == 0 ? (uint64_t)1 << 24 : w->cache_bytes};
    w->decode.message_bytes_max = 4096;
    w->store = fixture_store(dir);
    must(users_open(&w->users, w->store, &w->schema, &users, &e) == UNDINE_OK, e.msg);
    must(example_log_open(&w->log, w->store, &w->schema, 0, &e) == UNDINE_OK, e.msg);
    must(decoder_open(&w->decoder, &w->schema, &w->decode, &e) == UNDINE_OK, e.msg);
    w->source = w->file != NULL ? open_file(w->file, w->store)
                                : memory_source_open(log, source, ingest_position, w->store);
    return ingest_open(&w->ingest, &w->schema, &w->opt, w->store, w->users, w->log, w->source,
                       w->decoder, err);
}

void ingest_world_close(struct ingest_world *w)
{
    ingest_close(w->ingest);
    source_close(w->source);
    decoder_close(w->decoder);
    example_log_close(w->log);
    users_close(w->users);
    store_close(w->store);
    w->ingest = NULL;
    w->source = NULL;
    w->decoder = NULL;
    w->log = NULL;
    w->users = NULL;
    w->store = NULL;
}

void ingest_world_text(struct writer *out, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    must(n >= 0 && (size_t)n < sizeof text, "text too long");
    writer_bytes(out, text, (size_t)n);
}

void ingest_world_entry(struct writer *out, const struct schema *schema, uint8_t kind,
                        uint64_t impression, uint64_t user, int64_t time_ms, int64_t emit_ms,
                        float rate, const uint8_t *counts, const uint64_t *ids)
{
    static const char *const kinds[EXAMPLE_KINDS] = {"negative",   "positive",     "forget",
                                                     "correction", "fnw_negative", "fnw_positive"};
    must(kind < EXAMPLE_KINDS, "an example of no known kind");
    ingest_world_text(out, "%s %016llx user %016llx time %lld emit %lld rate %g ids", kinds[kind],
                      (unsigned long long)impression, (unsigned long long)user, (long long)time_ms,
                      (long long)emit_ms, (double)rate);
    for (uint32_t f = 0; f < schema->n_fields && counts != NULL; f++) {
        ingest_world_text(out, " %u:", counts[f]);
        for (uint32_t k = 0; k < counts[f]; k++) {
            ingest_world_text(out, " %llx", (unsigned long long)*ids++);
        }
    }
}

void ingest_world_steps(struct writer *out, const uint64_t *words, size_t n_words)
{
    ingest_world_text(out, " |");
    for (size_t k = 0; k < n_words; k++) {
        ingest_world_text(out, " %llx", (unsigned long long)words[k]);
    }
}

struct users_text {
    const struct schema *schema;
    struct writer *out;
};

/* Words of the step that begins here. */
static size_t step_words(const uint64_t *step)
{
    size_t n = 2;
    for (int f = 0; f < 8; f++) {
        n += (step[1] >> (8 * f)) & 0xff;
    }
    return n;
}

static int write_user(void *payload, uint64_t key, const uint8_t *value, size_t len,
                      struct undine_err *err)
{
    struct users_text *t = payload;
    struct users_view views[SCHEMA_SEQUENCES_MAX];
    struct writer id, words;
    writer_init(&id);
    writer_init(&words);
    must(users_decode(t->schema, value, len, &id, views, &words, err) == UNDINE_OK, err->msg);
    ingest_world_text(t->out, "user %016llx %.*s", (unsigned long long)key, (int)id.len,
                      (const char *)id.data);
    for (uint32_t s = 0; s < t->schema->n_sequences; s++) {
        const uint64_t *at = views[s].words, *end = at + views[s].n_words;
        for (uint32_t n = views[s].n_steps; n > t->schema->sequences[s].length; n--) {
            at += step_words(at);
        }
        ingest_world_steps(t->out, at, (size_t)(end - at));
    }
    ingest_world_text(t->out, "\n");
    writer_release(&id);
    writer_release(&words);
    return UNDINE_OK;
}

void ingest_world_users(struct ingest_world *w, struct writer *out)
{
    struct undine_err err = {.msg = "?"};
    struct users_text t = {.schema = &w->schema, .out = out};
    must(store_scan(w->store, STORE_SEQUENCE, 0, write_user, &t, &err) == UNDINE_OK, err.msg);
}

void ingest_world_examples(struct ingest_world *w, struct writer *out)
{
    struct example_block block;
    example_block_init(&block);
    uint64_t seq = 0;
    while (seq < example_log_head(w->log)) {
        struct undine_err err = {.msg = "?"};
        must(example_log_read(w->log, seq, &block, &err) == 1, err.msg);
        must(block.first_seq == seq, "the examples are not dense");
        for (uint32_t k = 0; k < block.n_examples; k++) {
            const struct example *e = &block.examples[k];
            bool forget = e->kind == EXAMPLE_FORGET;
            ingest_world_entry(out, &w->schema, e->kind, forget ? 0 : e->impression, e->user,
                               e->time_ms, e->emit_ms, e->sample_rate, forget ? NULL : e->counts,
                               e->ids);
            for (uint32_t s = 0; s < w->schema.n_sequences && !forget; s++) {
                const struct example_sequence *q = &block.sequences[e->sequence[s]];
                ingest_world_steps(out, q->words, q->n_words);
            }
            ingest_world_text(out, "\n");
        }
        seq += block.n_examples;
    }
    example_block_release(&block);
}

void ingest_world_same(const struct writer *a, const struct writer *b, const char *what)
{
    if (a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0)) {
        return;
    }
    size_t line = 0, start = 0, at = 0, number = 1;
    for (; at < a->len && at < b->len && a->data[at] == b->data[at]; at++) {
        if (a->data[at] == '\n') {
            start = at + 1;
            number++;
        }
    }
    (void)line;
    const struct writer *both[] = {a, b};
    (void)fprintf(stderr, "%s: entry %zu differs:\n", what, number);
    for (int k = 0; k < 2; k++) {
        const uint8_t *from = both[k]->data + start;
        size_t left = both[k]->len - start;
        const uint8_t *end = left > 0 ? memchr(from, '\n', left) : NULL;
        (void)fprintf(stderr, "  %.*s\n", end == NULL ? 0 : (int)(end - from), (const char *)from);
    }
    abort();
}
