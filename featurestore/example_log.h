/* example_log.h: labelled examples in order, the only thing that ingest and learner share.
 *
 * The ingest thread appends blocks, the learner reads them by number.  example_seq is dense from 0.
 * A block keeps sequences once and examples that refer to them.  Nothing is readable before its
 * commit is written.  The log also carries the watermark: no example with emit_ms below it can come
 * any more, so a reader may close a mini-batch whose time is over.  A mini-batch is thus a function
 * of the examples alone.
 *
 * Format (family `example`), little-endian: see docs/formats.md.
 *
 * Threads: builder and append, ingest; read and wait, learner; trim request, any. */
#ifndef UNDINE_FEATURESTORE_EXAMPLE_LOG_H
#define UNDINE_FEATURESTORE_EXAMPLE_LOG_H

#include "base/schema.h"
#include "featurestore/event.h"
#include "featurestore/store.h"
#include "featurestore/users.h"

#include <stdbool.h>

/* What an entry of the log is. */
enum example_kind {
    EXAMPLE_NEGATIVE = 0, /* trained with label 0 */
    EXAMPLE_POSITIVE = 1, /* trained with label 1 */
    EXAMPLE_FORGET = 2,   /* no example: drop the embedding rows of this user id. counts and ids hold
                             one id for each user_id field, hash_feature of its table and the user id,
                             and nothing else: the user id itself is not in the log; no sequences */
    /* The impression was trained as EXAMPLE_NEGATIVE and clicked after all: take that back, and
     * train with label 1. */
    EXAMPLE_CORRECTION = 3,
    /* Fake negative weighting: every impression comes as the first, before its label is known, and
     * a click adds the second; sample_rate is 1. */
    EXAMPLE_FNW_NEGATIVE = 4,
    EXAMPLE_FNW_POSITIVE = 5
};
enum { EXAMPLE_KINDS = 6 };

/* Does the example say that its impression was clicked? */
static inline bool example_kind_positive(enum example_kind kind)
{
    return kind == EXAMPLE_POSITIVE || kind == EXAMPLE_CORRECTION || kind == EXAMPLE_FNW_POSITIVE;
}
/* Does it do so after an example of the same impression that said the contrary? */
static inline bool example_kind_revises(enum example_kind kind)
{
    return kind == EXAMPLE_CORRECTION || kind == EXAMPLE_FNW_POSITIVE;
}

/* One example as a reader sees it; pointers go into the block. */
struct example {
    uint64_t impression; /* hash of the impression's id */
    uint64_t user;       /* hash of the user id */
    int64_t time_ms;     /* the impression's event time: what it saw is strictly before */
    int64_t emit_ms;     /* event time at which its label was known; never falls along the log */
    float sample_rate; /* share of negatives kept (1 = all): the logit is corrected by -ln of it */
    uint8_t kind;      /* enum example_kind */
    const uint8_t *counts; /* n_fields bytes; ids of each field of the schema */
    const uint64_t *ids;   /* the ids, field by field */
    uint32_t
        sequence[SCHEMA_SEQUENCES_MAX]; /* index in block.sequences, per sequence of the schema */
};

struct example_sequence {
    const uint64_t *words; /* steps as in users.h, oldest first */
    uint32_t n_words, n_steps;
};

struct example_block {
    uint64_t first_seq;
    uint32_t shard;
    uint32_t n_examples, n_sequences;
    struct example *examples;
    struct example_sequence *sequences;
    /* memory, kept between reads */
    struct writer bytes;
    size_t examples_capacity, sequences_capacity;
};
void example_block_init(struct example_block *b);
void example_block_release(struct example_block *b);
/* Parse bytes that b->bytes holds.  UNDINE_ECORRUPT, UNDINE_EVERSION, UNDINE_ESTATE where it was
 * written under another schema; never reads past them. */
int example_block_parse(struct example_block *b, const struct schema *schema,
                        struct undine_err *err);

/* Hash of example i with all that it says (ids, label, times, what it saw), chained onto `before`:
 * two logs whose chains are equal hold the same examples in the same order, however they are cut
 * into blocks. */
uint64_t example_block_chain(const struct example_block *b, const struct schema *schema, uint32_t i,
                             uint64_t before);

struct example_log;
/* Head, tail and watermark continue where the store's meta left them (0, 0 and INT64_MIN on a new
 * store); the reader counts as standing at the tail until example_log_consumed says more. */
int example_log_open(struct example_log **out, struct store *store, const struct schema *schema,
                     uint32_t shard, struct undine_err *err);
void example_log_close(struct example_log *l);

/* ---- ingest thread ---- */
/* Sequences are given as views (NULL for an EXAMPLE_FORGET); equal (sequence, words) of one block
 * are stored once.  emit_ms must not be below the last one, nor below the staged watermark. */
int example_log_add(struct example_log *l, const struct event *impression, enum example_kind kind,
                    int64_t emit_ms, float sample_rate, const struct users_view *views,
                    struct undine_err *err);
/* Put the block in the making (if any; full ones are there already), head, watermark and requested
 * trims into the batch.  The watermark never falls. */
int example_log_stage(struct example_log *l, int64_t watermark_ms, struct undine_err *err);
/* After the write: make it readable and wake the reader. */
void example_log_commit(struct example_log *l);
/* How many examples the reader is behind. */
uint64_t example_log_backlog(const struct example_log *l);
/* Wait until the reader is fewer than n_max behind, the log is stopped, or timeout_ms is over.
 * Returns whether it is. */
bool example_log_wait_room(struct example_log *l, uint64_t n_max, int timeout_ms);

/* ---- learner thread ---- */
/* Read the block that holds seq.  1 = read, 0 = not there yet, < 0 = error: UNDINE_ENOTFOUND where
 * it was trimmed. */
int example_log_read(struct example_log *l, uint64_t seq, struct example_block *b,
                     struct undine_err *err);
/* Wait until head > seq, or watermark > watermark_ms, or stopped, or timeout_ms. */
void example_log_wait(struct example_log *l, uint64_t seq, int64_t watermark_ms, int timeout_ms);
/* The reader has trained everything below seq (lets a blocked ingest thread go on). */
void example_log_consumed(struct example_log *l, uint64_t seq);

/* ---- any thread ---- */
uint64_t example_log_next(const struct example_log *l); /* of the next add; ingest thread only */
uint64_t example_log_head(const struct example_log *l); /* next seq to be written */
uint64_t example_log_tail(const struct example_log *l); /* oldest seq still stored */
int64_t example_log_watermark(const struct example_log *l);
/* Blocks wholly below seq may be dropped with the next commit.  Only after a version that holds
 * everything below seq is safe on disk. */
void example_log_trim(struct example_log *l, uint64_t seq);
void example_log_stop(struct example_log *l); /* wakes everybody; idempotent */
bool example_log_stopped(const struct example_log *l);

#endif
