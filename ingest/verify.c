#include "ingest/verify.h"

#include "base/hash.h"
#include "featurestore/arrivals.h"
#include "featurestore/steps.h"
#include "ingest/meta.h"

#include <stdio.h>

enum { WHERE_MAX = META_NAME_MAX + 64 };

struct verify {
    struct store *store;
    const struct verify_options *opt;
    struct verified *out;
    verify_problem_fn problem;
    void *payload;
    struct meta_ingest meta; /* zeros where there is none */
    struct writer id, words;
    struct example_block block;
    uint64_t next_seq; /* where the next block of examples has to begin */
    int64_t emit_ms;
    uint64_t label_delay_ms;
    struct undine_err err; /* of the value at hand */
};

static void wrong(struct verify *v, const char *where, const char *what)
{
    v->out->problems++;
    v->problem(v->payload, where, what);
}

__attribute__((format(printf, 4, 5))) static void wrong_at(struct verify *v, const char *family,
                                                           uint64_t key, const char *fmt, ...)
{
    char where[WHERE_MAX], what[UNDINE_ERR_MSG_MAX];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    (void)snprintf(where, sizeof where, "%s %llu", family, (unsigned long long)key);
    wrong(v, where, what);
}

/* What a value's decoder said: memory ends the whole, anything else is a problem of the value. */
static int judge(struct verify *v, const char *family, uint64_t key, int rc, struct undine_err *err)
{
    if (rc == UNDINE_ENOMEM) {
        return undine_err_set(err, rc, "%s", v->err.msg);
    }
    if (rc < 0) {
        wrong_at(v, family, key, "%s", v->err.msg);
    }
    return UNDINE_OK;
}

/* ---- sequences ---- */

static int check_user(void *payload, uint64_t key, const uint8_t *value, size_t len,
                      struct undine_err *err)
{
    struct verify *v = payload;
    struct users_view views[SCHEMA_SEQUENCES_MAX];
    writer_clear(&v->id);
    writer_clear(&v->words);
    int rc = users_decode(v->opt->schema, value, len, &v->id, views, &v->words, &v->err);
    if (rc < 0) {
        return judge(v, "sequence, user", key, rc, err);
    }
    if (v->id.len > 0 && hash_id((const char *)v->id.data, v->id.len) != key) {
        wrong_at(v, "sequence, user", key, "the user `%.*s` has another hash than its key",
                 (int)v->id.len, (const char *)v->id.data);
    }
    for (uint32_t s = 0; s < v->opt->schema->n_sequences; s++) {
        v->out->steps += views[s].n_steps;
    }
    v->out->users++;
    return UNDINE_OK;
}

/* ---- arrivals ---- */

static int check_arrivals(void *payload, uint64_t key, const uint8_t *value, size_t len,
                          struct undine_err *err)
{
    struct verify *v = payload;
    struct arrivals_block b;
    int rc = arrivals_check(&b, v->opt->schema, value, len, &v->err);
    if (rc < 0) {
        return judge(v, "arrivals, commit", key, rc, err);
    }
    if (b.shard != v->opt->ingest->shard) {
        wrong_at(v, "arrivals, commit", key, "is of shard %llu, the configuration says %u",
                 (unsigned long long)b.shard, v->opt->ingest->shard);
    }
    if (key > v->meta.commit) {
        wrong_at(v, "arrivals, commit", key, "the last commit is %llu",
                 (unsigned long long)v->meta.commit);
    }
    v->out->arrival_blocks++;
    v->out->arrival_events += b.n_events;
    v->out->arrival_rejected += b.n_rejected;
    return UNDINE_OK;
}

/* ---- examples ---- */

/* Is every step before the impression?  Their times never fall, so the last one tells. */
static bool as_of(const struct example_sequence *q, int64_t time_ms)
{
    const uint64_t *step = q->words, *last = NULL;
    while (step < q->words + q->n_words) {
        last = step;
        step += step_words(step);
    }
    return last == NULL || (int64_t)last[0] < time_ms;
}

static void check_example(struct verify *v, uint64_t seq, const struct example *e)
{
    v->out->examples_by_kind[e->kind]++;
    if (e->emit_ms < v->emit_ms || e->emit_ms > v->meta.watermark_ms) {
        wrong_at(v, "example", seq, "its emit time %lld is not between %lld and the watermark %lld",
                 (long long)e->emit_ms, (long long)v->emit_ms, (long long)v->meta.watermark_ms);
    }
    v->emit_ms = e->emit_ms;
    if (e->kind == EXAMPLE_FORGET) {
        return;
    }
    v->label_delay_ms += (uint64_t)(e->emit_ms - e->time_ms);
    for (uint32_t s = 0; s < v->opt->schema->n_sequences; s++) {
        if (!as_of(&v->block.sequences[e->sequence[s]], e->time_ms)) {
            wrong_at(v, "example", seq, "sequence `%s` has a step that is not before %lld",
                     v->opt->schema->sequences[s].name, (long long)e->time_ms);
        }
    }
}

static int check_examples(void *payload, uint64_t key, const uint8_t *value, size_t len,
                          struct undine_err *err)
{
    struct verify *v = payload;
    struct example_block *b = &v->block;
    writer_clear(&b->bytes);
    writer_bytes(&b->bytes, value, len);
    if (b->bytes.bad) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for a block of %zu bytes", len);
    }
    if (key != v->next_seq) {
        wrong_at(v, "example, block", key, "the examples from %llu on are missing",
                 (unsigned long long)v->next_seq);
    }
    int rc = example_block_parse(b, v->opt->schema, &v->err);
    v->next_seq = key;
    if (rc < 0) {
        return judge(v, "example, block", key, rc, err);
    }
    if (b->first_seq != key || b->shard != v->opt->ingest->shard) {
        wrong_at(v, "example, block", key, "says that it is block %llu of shard %u",
                 (unsigned long long)b->first_seq, b->shard);
    }
    for (uint32_t i = 0; i < b->n_examples; i++) {
        check_example(v, key + i, &b->examples[i]);
    }
    v->next_seq = key + b->n_examples;
    v->out->example_blocks++;
    v->out->examples += b->n_examples;
    return UNDINE_OK;
}

/* What lies in the log against what was counted: all of it where nothing was trimmed. */
static void compare_kind(struct verify *v, const char *what, uint64_t stored, uint64_t counted)
{
    bool whole = v->out->example_tail == 0;
    if (whole ? stored != counted : stored > counted) {
        wrong_at(v, "example, log from", v->out->example_tail,
                 "it holds %llu %s, the counters say %llu", (unsigned long long)stored, what,
                 (unsigned long long)counted);
    }
}

static void compare_examples(struct verify *v)
{
    const uint64_t *n = v->out->examples_by_kind;
    const struct ingest_counters *c = &v->meta.counters;
    if (v->next_seq != v->out->example_head) {
        wrong_at(v, "example, log up to", v->out->example_head,
                 "the examples from %llu on are missing", (unsigned long long)v->next_seq);
    }
    compare_kind(v, "negatives", n[EXAMPLE_NEGATIVE] + n[EXAMPLE_FNW_NEGATIVE], c->negatives);
    compare_kind(v, "positives and corrections",
                 n[EXAMPLE_POSITIVE] + n[EXAMPLE_CORRECTION] + n[EXAMPLE_FNW_POSITIVE],
                 c->positives + c->revised);
    compare_kind(v, "forgets", n[EXAMPLE_FORGET], c->forgets);
    compare_kind(v, "ms of label delay", v->label_delay_ms, c->label_delay_ms);
}

/* ---- meta ---- */

static bool begins(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

static int check_position(struct verify *v, const char *name, const uint8_t *value, size_t len)
{
    struct meta_position m;
    int rc = meta_position_decode(&m, value, len, &v->err);
    if (rc == UNDINE_OK && m.position.fence_offset >= 0 &&
        m.position.fence_offset >= m.position.next) {
        wrong(v, name, "the last message read is not before the next one");
    }
    v->out->positions++;
    return rc;
}

static int check_malformed(struct verify *v, const char *name, const uint8_t *value, size_t len)
{
    struct meta_malformed m;
    int rc = meta_malformed_decode(&m, value, len, &v->err);
    if (rc == UNDINE_OK && (m.number == 0 || m.number > v->meta.counters.malformed)) {
        wrong(v, name, "it is kept of more malformed messages than were counted");
    }
    v->out->malformed_samples++;
    return rc;
}

static int check_meta(void *payload, const char *name, const uint8_t *value, size_t len,
                      struct undine_err *err)
{
    struct verify *v = payload;
    struct meta_config config;
    struct meta_loss loss;
    int rc = UNDINE_OK;
    if (name[0] == '\0') { /* the chain of commits, which opening the store has checked */
        return UNDINE_OK;
    }
    if (strcmp(name, META_CONFIG) == 0) {
        rc = meta_config_decode(&config, value, len, &v->err);
    } else if (begins(name, META_POSITION_PREFIX)) {
        rc = check_position(v, name, value, len);
    } else if (begins(name, META_TOPIC_PREFIX)) {
        struct meta_topic topic;
        rc = meta_topic_decode(&topic, value, len, &v->err);
    } else if (begins(name, META_MALFORMED_PREFIX)) {
        rc = check_malformed(v, name, value, len);
    } else if (begins(name, META_LOSS_PREFIX)) {
        rc = meta_loss_decode(&loss, value, len, &v->err);
        v->out->losses++;
    } else if (strcmp(name, META_INGEST) != 0 && strcmp(name, "format") != 0 &&
               strcmp(name, "example_log") != 0) {
        wrong(v, name, "no value of this name is known");
    } /* those three are read before the scan */
    v->out->meta_values++;
    if (rc == UNDINE_ENOMEM) {
        return undine_err_set(err, rc, "%s", v->err.msg);
    }
    if (rc < 0) {
        char where[WHERE_MAX];
        (void)snprintf(where, sizeof where, "meta, %s", name);
        wrong(v, where, v->err.msg);
    }
    return UNDINE_OK;
}

/* The counters, which everything else is compared with; false where they cannot be read. */
static bool read_counters(struct verify *v)
{
    struct writer value;
    writer_init(&value);
    v->meta = (struct meta_ingest){.watermark_ms = INT64_MIN};
    int rc = store_get(v->store, STORE_META, META_INGEST, strlen(META_INGEST), &value, &v->err);
    if (rc > 0) {
        rc = meta_ingest_decode(&v->meta, value.data, value.len, &v->err);
    }
    writer_release(&value);
    if (rc < 0) {
        wrong(v, "meta, " META_INGEST, v->err.msg);
    }
    v->out->commit = v->meta.commit;
    return rc >= 0;
}

/* ---- all families ---- */

static int scan(struct verify *v, struct undine_err *err)
{
    static const struct {
        enum store_family family;
        store_value_fn fn;
    } scans[] = {{STORE_SEQUENCE, check_user},
                 {STORE_ARRIVALS, check_arrivals},
                 {STORE_EXAMPLE, check_examples}};
    v->next_seq = v->out->example_tail;
    v->emit_ms = INT64_MIN;
    int rc = store_scan_meta(v->store, "", check_meta, v, err);
    for (size_t i = 0; rc == UNDINE_OK && i < sizeof scans / sizeof scans[0]; i++) {
        rc = store_scan(v->store, scans[i].family, 0, scans[i].fn, v, err);
    }
    return rc;
}

static void compare(struct verify *v)
{
    const struct ingest_counters *c = &v->meta.counters;
    compare_examples(v);
    if (v->out->losses != c->losses) {
        wrong_at(v, "meta, losses", c->losses, "there are %llu records of them",
                 (unsigned long long)v->out->losses);
    }
    if (v->out->arrival_events > c->applied + c->waiting + c->duplicate) {
        wrong_at(v, "arrivals, events", v->out->arrival_events,
                 "more than the %llu that were counted",
                 (unsigned long long)(c->applied + c->waiting + c->duplicate));
    }
}

/* ---- what a start would find ---- */

static int restore(struct verify *v, struct users *users, struct example_log *log,
                   struct decoder *decoder)
{
    struct source nothing = {0};
    struct ingest *in = NULL;
    int rc = ingest_open(&in, v->opt->schema, v->opt->ingest, v->store, users, log, &nothing,
                         decoder, &v->err);
    if (rc == UNDINE_OK) {
        struct ingest_status s;
        ingest_status(in, &s);
        v->out->restored = true;
        v->out->waiting = s.counters.waiting;
        v->out->pending = s.counters.pending;
        accounting_of(&v->out->accounting, &s.counters, v->opt->ingest, s.counters.waiting,
                      example_log_head(log));
    }
    ingest_close(in);
    return rc;
}

/* Rebuild what waits and is pending as a start does; it compares that with the counters. */
static int count_anew(struct verify *v, struct example_log *log, struct undine_err *err)
{
    struct users *users = NULL;
    struct decoder *decoder = NULL;
    if (example_log_watermark(log) != v->meta.watermark_ms) {
        wrong(v, "meta, example_log", "its watermark is not that of the last commit");
    }
    int rc = users_open(&users, v->store, v->opt->schema, v->opt->users, &v->err);
    if (rc == UNDINE_OK) {
        rc = decoder_open(&decoder, v->opt->schema, v->opt->decode, &v->err);
    }
    if (rc == UNDINE_OK) {
        rc = restore(v, users, log, decoder);
    }
    decoder_close(decoder);
    users_close(users);
    if (rc == UNDINE_ENOMEM) {
        return undine_err_set(err, rc, "%s", v->err.msg);
    }
    if (rc < 0) {
        wrong(v, "accounting", v->err.msg);
    }
    return UNDINE_OK;
}

static int verify_values(struct verify *v, struct undine_err *err)
{
    struct example_log *log = NULL;
    int rc = example_log_open(&log, v->store, v->opt->schema, v->opt->ingest->shard, &v->err);
    if (rc < 0) {
        wrong(v, "meta, example_log", v->err.msg);
        return rc == UNDINE_ENOMEM ? undine_err_set(err, rc, "%s", v->err.msg) : UNDINE_OK;
    }
    v->out->example_tail = example_log_tail(log);
    v->out->example_head = example_log_head(log);
    if (read_counters(v)) {
        rc = scan(v, err);
        if (rc == UNDINE_OK) {
            compare(v);
            rc = count_anew(v, log, err);
        }
    }
    example_log_close(log);
    return rc;
}

/* Blocks first: where one is damaged, values cannot be read, and that is all there is to say. */
static bool verify_blocks(struct verify *v)
{
    bool whole = true;
    for (int f = 0; f < STORE_FAMILIES; f++) {
        char where[64];
        (void)snprintf(where, sizeof where, "family `%s`", store_family_name((enum store_family)f));
        if (store_verify(v->store, (enum store_family)f, &v->out->family[f], &v->err) < 0) {
            wrong(v, where, v->err.msg);
            whole = false;
        }
    }
    return whole;
}

int ingest_verify(struct verified *out, struct store *store, const struct verify_options *opt,
                  verify_problem_fn problem, void *payload, struct undine_err *err)
{
    *out = (struct verified){0};
    struct verify v = {
        .store = store, .opt = opt, .out = out, .problem = problem, .payload = payload};
    writer_init(&v.id);
    writer_init(&v.words);
    example_block_init(&v.block);
    int rc = UNDINE_OK;
    if (verify_blocks(&v)) {
        rc = ingest_check_config(store, opt->ingest, &v.err);
        if (rc == UNDINE_ESTATE) {
            rc = undine_err_set(err, rc, "%s", v.err.msg);
        } else if (rc < 0) {
            wrong(&v, "meta, " META_CONFIG, v.err.msg);
        } else {
            rc = verify_values(&v, err);
        }
    }
    example_block_release(&v.block);
    writer_release(&v.words);
    writer_release(&v.id);
    return rc < 0 && rc != UNDINE_ESTATE && rc != UNDINE_ENOMEM ? UNDINE_OK : rc;
}
