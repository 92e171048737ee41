#include "tests/support/memory_source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct memory_source {
    struct source base; /* first: the interface */
    struct source_partition partitions[MEMORY_PARTITIONS_MAX];
    const struct memory_log *log;
    struct memory_source_options opt;
};

static void must(bool ok, const char *what)
{
    if (!ok) {
        (void)fprintf(stderr, "memory source: %s\n", what);
        abort();
    }
}

void memory_log_add(struct memory_log *log, uint32_t partition, const char *text)
{
    memory_log_add_at(log, partition, text, -1);
}

void memory_log_add_at(struct memory_log *log, uint32_t partition, const char *text,
                       int64_t written_ms)
{
    must(partition < log->n_partitions, "no such partition");
    size_t *n = &log->n[partition], *capacity = &log->capacity[partition];
    if (*n == *capacity) {
        *capacity = *capacity == 0 ? 64 : *capacity * 2;
        log->texts[partition] =
            realloc(log->texts[partition], *capacity * sizeof *log->texts[partition]);
        log->written_ms[partition] =
            realloc(log->written_ms[partition], *capacity * sizeof *log->written_ms[partition]);
        must(log->texts[partition] != NULL && log->written_ms[partition] != NULL, "no memory");
    }
    log->written_ms[partition][*n] = written_ms;
    log->texts[partition][(*n)++] = text;
}

void memory_log_release(struct memory_log *log)
{
    for (uint32_t p = 0; p < log->n_partitions; p++) {
        free(log->texts[p]);
        free(log->written_ms[p]);
    }
    *log = (struct memory_log){0};
}

static int memory_poll(struct source *s, uint32_t partition, struct source_message *out,
                       size_t n_max, int timeout_ms, struct undine_err *err)
{
    (void)timeout_ms;
    (void)err;
    struct memory_source *m = (struct memory_source *)s;
    struct source_partition *p = &m->partitions[partition];
    must(!p->done, "a done partition is polled");
    must(n_max > 0, "nothing is asked for");
    size_t from = p->position.next < 0 ? 0 : (size_t)p->position.next;
    size_t end = p->end >= 0 ? (size_t)p->end : m->log->n[partition];
    size_t n = end - from < n_max ? end - from : n_max;
    if (m->opt.chunks != NULL && n > 0) {
        n = random_below(m->opt.chunks, 4) == 0 ? 0 : 1 + random_below(m->opt.chunks, n);
    }
    for (size_t k = 0; k < n; k++) {
        const char *text = m->log->texts[partition][from + k];
        out[k] = (struct source_message){.payload = (const uint8_t *)text,
                                         .payload_len = text == NULL ? 0 : strlen(text),
                                         .offset = (int64_t)(from + k),
                                         .timestamp_ms = m->log->written_ms[partition][from + k]};
    }
    if (n > 0) {
        p->position = (struct source_position){.next = (int64_t)(from + n),
                                               .fence_offset = (int64_t)(from + n - 1),
                                               .fence_timestamp = -1,
                                               .fence_hash = from + n};
    }
    p->at_end = from + n == end;
    p->done = p->at_end && p->end >= 0;
    s->stats.messages += n;
    if (m->opt.polled != NULL) {
        m->opt.polled(m->opt.payload, p, partition, from, n);
    }
    return (int)n;
}

static void memory_close(struct source *s)
{
    free(s);
}

struct source *memory_source_open(const struct memory_log *log,
                                  const struct memory_source_options *opt,
                                  source_position_fn position, void *payload)
{
    static const struct source_ops ops = {.poll = memory_poll, .close = memory_close};
    struct memory_source *m = calloc(1, sizeof *m);
    must(m != NULL, "no memory");
    m->base.ops = &ops;
    m->base.partitions = m->partitions;
    m->base.n_partitions = log->n_partitions;
    m->log = log;
    m->opt = *opt;
    for (uint32_t k = 0; k < log->n_partitions; k++) {
        struct source_partition *p = &m->partitions[k];
        uint32_t topic = log->per_topic == 0 ? 0 : k / log->per_topic;
        (void)snprintf(p->topic, sizeof p->topic, "memory");
        if (topic > 0) {
            (void)snprintf(p->topic, sizeof p->topic, "memory%u", topic);
        }
        p->partition = (int32_t)(log->per_topic == 0 ? k : k % log->per_topic);
        p->topic_index = log->per_topic == 0 ? SOURCE_TOPIC_ANY : topic;
        p->position = (struct source_position){.next = -1, .fence_offset = -1};
        must(position(payload, p->topic, p->partition, &p->position) >= 0, "bad position");
        p->end = opt->bounded ? (int64_t)log->n[k] : -1;
        p->high = (int64_t)log->n[k];
        p->done = p->at_end = opt->bounded && p->position.next >= p->end;
    }
    return &m->base;
}
