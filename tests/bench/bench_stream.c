#include "tests/bench/bench_stream.h"

#include "ops/generator.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { FLUSH_MS = 600000 };

struct schema bench_stream_schema(void)
{
    struct schema s = {.n_tables = 4, .n_fields = 4, .n_behaviors = 1, .n_sequences = 1};
    static const struct {
        const char *name;
        enum schema_group group;
    } fields[] = {{"user", SCHEMA_USER},
                  {"item", SCHEMA_CANDIDATE},
                  {"category", SCHEMA_CANDIDATE},
                  {"hour", SCHEMA_CONTEXT}};
    for (uint32_t i = 0; i < 4; i++) {
        (void)snprintf(s.tables[i].name, SCHEMA_NAME_MAX, "%s", fields[i].name);
        (void)snprintf(s.fields[i].name, SCHEMA_NAME_MAX, "%s", fields[i].name);
        s.tables[i].dim = 18;
        s.fields[i].group = fields[i].group;
        s.fields[i].table = i;
        s.fields[i].values_max = 1;
    }
    s.fields[0].user_id = true;
    (void)snprintf(s.behaviors[0], SCHEMA_NAME_MAX, "view");
    s.sequences[0] = (struct schema_sequence){
        .length = 50, .n_fields = 2, .field = {1, 2}, .from_click = true, .from_behavior = 1};
    (void)snprintf(s.sequences[0].name, SCHEMA_NAME_MAX, "clicks");
    return s;
}

static int generate(const struct bench_stream *s, event_sink_fn sink, void *payload,
                    struct undine_err *err)
{
    struct generator_options opt = GENERATOR_OPTIONS_DEFAULT;
    opt.events = s->events;
    opt.users = s->users;
    if (s->rate > 0) {
        opt.rate = s->rate;
    }
    if (s->click_rate >= 0) {
        opt.first_views = s->views;
        opt.noise = 0;
        opt.click_match = opt.click_other = s->click_rate;
    }
    struct generator *g = NULL;
    int rc = generator_open(&g, &opt, sink, payload, err);
    while (rc >= 0) {
        rc = generator_step(g, err);
        if (rc == 0) {
            break;
        }
    }
    generator_close(g);
    return rc;
}

int bench_stream_write(const struct bench_stream *s, const char *path, uint64_t *bytes,
                       struct undine_err *err)
{
    FILE *f = fopen(path, "we");
    if (f == NULL) {
        return undine_err_sys(err, UNDINE_EIO, errno, "%s", path);
    }
    int rc = generate(s, event_sink_file, f, err);
    *bytes = (uint64_t)ftell(f);
    if (fclose(f) != 0 && rc == 0) {
        rc = undine_err_sys(err, UNDINE_EIO, errno, "%s", path);
    }
    return rc;
}

struct sender {
    struct kafka_producer *producer;
    const struct source_kafka_topic *topics;
    uint64_t bytes;
};

static int send_event(void *payload, const struct event_line *line, struct undine_err *err)
{
    struct sender *s = payload;
    s->bytes += line->len;
    return kafka_producer_send(
        s->producer,
        &(struct kafka_record){.topic = s->topics[line->kind == EVENT_IMPRESSION ? 0 : 1].name,
                               .partition = -1,
                               .key = line->user,
                               .key_len = strlen(line->user),
                               .payload = line->text,
                               .payload_len = line->len - 1}, /* no newline */
        err);
}

int bench_stream_send(const struct bench_stream *s, struct kafka_producer *producer,
                      const struct source_kafka_topic topics[BENCH_STREAM_TOPICS], uint64_t *bytes,
                      struct undine_err *err)
{
    struct sender sender = {.producer = producer, .topics = topics};
    int rc = generate(s, send_event, &sender, err);
    *bytes = sender.bytes;
    return rc < 0 ? rc : kafka_producer_flush(producer, FLUSH_MS, err);
}
