/* No skew: what the daemon answers to a request for a user at a time is what the training path
 * makes of the same impression at that time: the same steps, the same rows, the same number, bit
 * for bit.
 *
 * A stream is ingested and a model learned from its first part.  Then every impression is asked for
 * as a request just before it is applied, by scoring_handle and the store as the last commit left
 * it. When its example has come out of the log, it goes the way of training: batch_builder, the
 * trainer's tables, its model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/hash.h"
#include "learner/version.h"
#include "ops/scoring.h"
#include "tests/support/event_schema.h"
#include "tests/support/ingest_world.h"
#include "tests/support/store_fixture.h"
#include "tests/support/trainers.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    EVENTS = 1500,
    LEARNED = 700, /* events before the version is published */
    USERS = 12,
    RARE = 300,
    ITEMS = 40,
    LENGTH = 6,
    WINDOW_MS = 400,
    TEXT_MAX = 512
};

struct impression {
    uint64_t id;
    int64_t time_ms;
    float asked; /* the live score; -1 = not asked */
    bool known;
};

static struct ingest_world world;
static struct memory_log topic;
static struct random rnd = {.state = 77};
static char texts[2 * EVENTS + 2][TEXT_MAX];
static size_t n_texts;
static struct impression impressions[EVENTS];
static size_t n_impressions;

/* ---- the stream ---- */

static void add(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void add(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text = texts[n_texts++];
    assert_true(vsnprintf(text, TEXT_MAX, fmt, ap) < TEXT_MAX);
    va_end(ap);
    memory_log_add(&topic, 0, text);
}

/* Poll and apply until everything below time_ms is. */
static void run_to(int64_t time_ms)
{
    struct undine_err err = {.msg = "?"};
    struct ingest_status status = {.watermark_ms = INT64_MIN};
    while (status.watermark_ms < time_ms) {
        if (ingest_step(world.ingest, &err) < 0) {
            fail_msg("step: %s", err.msg);
        }
        ingest_status(world.ingest, &status);
    }
}

static uint32_t below(uint32_t n)
{
    return (uint32_t)random_below(&rnd, n);
}

/* Half of the time several tags, one of them twice or none at all. */
static const char *make_tags(char text[64])
{
    uint32_t a = below(9), b = below(9);
    static const char *const forms[] = {"%u", "[%u,%u]", "[%u,%u,%u]", "[%u,null]"};
    if (below(8) == 0) {
        return "[]";
    }
    (void)snprintf(text, 64, forms[below(4)], a, b, a);
    return text;
}

/* ---- the two ways to a score ---- */

static float ask(struct scoring *s, const char *user, const char *rest, int64_t time_ms,
                 bool *known)
{
    char body[TEXT_MAX];
    struct http_answer out = {.content_type = "application/json"};
    writer_init(&out.body);
    int len = snprintf(body, sizeof body, "{\"user\":\"%s\",%s,\"time\":%" PRId64 "}", user, rest,
                       time_ms);
    const struct http_request in = {.rest = "", .body = body, .body_len = (size_t)len};
    int status = scoring_handle(s, &in, &out);
    json_t *o = json_loadb((const char *)out.body.data, out.body.len, 0, NULL);
    if (status != 200 || o == NULL) {
        fail_msg("%s -> %d %.*s", body, status, (int)out.body.len, (const char *)out.body.data);
    }
    const json_t *joined = json_object_get(o, "user");
    *known = json_is_true(json_object_get(joined, "known"));
    assert_true(json_integer_value(json_object_get(joined, "watermark_ms")) >= time_ms);
    float p = (float)json_real_value(json_array_get(json_object_get(o, "scores"), 0));
    json_decref(o);
    writer_release(&out.body);
    return p;
}

static float train_score(struct trainer *t, struct model_scratch *scratch,
                         struct batch_builder *builder, const struct example_block *block,
                         uint32_t i)
{
    struct undine_err err = {.msg = "?"};
    float logit = 0;
    batch_builder_clear(builder);
    if (batch_builder_add(builder, block, i, &err) < 0 ||
        batch_builder_gather(builder, t->table, NULL, &err) < 0 ||
        model_score(t->model, scratch, &builder->batch, &logit, &err) < 0) {
        fail_msg("%s", err.msg);
    }
    return model_sigmoid(logit);
}

/* ---- the test ---- */

static void open_world(const char *dir)
{
    struct undine_err err = {.msg = "?"};
    static const struct memory_source_options endless = {0};
    world = (struct ingest_world){.opt = ingest_world_options(0, WINDOW_MS)};
    assert_int_equal(event_schema(&world.schema), UNDINE_OK);
    world.schema.sequences[0].length = LENGTH;
    assert_int_equal(schema_check(&world.schema, &err), UNDINE_OK);
    topic = (struct memory_log){.n_partitions = 1};
    if (ingest_world_open(&world, dir, &topic, &endless, &err) < 0) {
        fail_msg("open: %s", err.msg);
    }
}

/* Learn all that the log holds, and publish. */
static void publish(struct trainer *t, const char *versions)
{
    struct undine_err err = {.msg = "?"};
    struct snapshot *snapshot = NULL;
    struct version_info info;
    const struct version_extra extra = {.created_ms = 1};
    int n = 1;
    while (n > 0) {
        n = trainer_step(t, world.log, 100, &err);
    }
    if (n < 0 || trainer_snapshot(t, &snapshot, &err) < 0 ||
        version_write(versions, snapshot, &extra, true, &info, &err) < 0) {
        fail_msg("%s", err.msg);
    }
    assert_true(info.rows > 50);
    snapshot_free(snapshot);
}

/* One event, or an impression and later perhaps its click; asked for first where s is there. */
static void next_event(struct scoring *s, int64_t *time_ms)
{
    char tags[64], user[16], rest[TEXT_MAX];
    *time_ms += 1 + below(30);
    /* few that come often, many that come once */
    (void)snprintf(user, sizeof user, "u%u", below(3) > 0 ? below(USERS) : USERS + below(RARE));
    const char *tag = make_tags(tags);
    uint32_t item = below(ITEMS), kind = below(10);
    if (kind < 4) {
        add("{\"kind\":\"behavior\",\"type\":\"long_view\",\"user\":\"%s\",\"time\":%" PRId64
            ",\"item\":{\"video\":%u,\"tag\":%s}}",
            user, *time_ms, item, tag);
        return;
    }
    uint32_t age = below(5), hour = below(24);
    struct impression *e = &impressions[n_impressions++];
    char id[16];
    int len = snprintf(id, sizeof id, "i%zu", n_impressions);
    *e = (struct impression){hash_id(id, (size_t)len), *time_ms, -1.0F, false};
    add("{\"kind\":\"impression\",\"id\":\"%s\",\"user\":\"%s\",\"time\":%" PRId64
        ",\"profile\":{\"age\":%u},\"context\":{\"hour\":%u},\"candidate\":{\"video\":%u,\"tag\":%"
        "s}}",
        id, user, *time_ms, age, hour, item, tag);
    if (s != NULL) {
        run_to(*time_ms); /* what came before is applied, the impression itself waits */
        (void)snprintf(rest, sizeof rest,
                       "\"profile\":{\"age\":%u},\"context\":{\"hour\":%u},\"candidates\":[{"
                       "\"video\":\"%u\",\"tag\":%s}]",
                       age, hour, item, tag);
        e->asked = ask(s, user, rest, *time_ms, &e->known);
    }
    if (kind > 6) {
        *time_ms += 1 + below(40);
        add("{\"kind\":\"click\",\"impression\":\"%s\",\"user\":\"%s\",\"time\":%" PRId64 "}", id,
            user, *time_ms);
    }
}

static const struct impression *find(uint64_t id)
{
    for (size_t i = 0; i < n_impressions; i++) {
        if (impressions[i].id == id) {
            return &impressions[i];
        }
    }
    return NULL;
}

/* Every example of an impression that was asked for, by the way of training. */
static void compare(struct trainer *t)
{
    struct undine_err err = {.msg = "?"};
    struct example_block block;
    struct batch_builder *builder = NULL;
    struct model_scratch *scratch = NULL;
    uint32_t compared = 0, with_steps = 0, full = 0, known = 0;
    example_block_init(&block);
    assert_int_equal(batch_builder_open(&builder, &world.schema, 4, &err), UNDINE_OK);
    assert_int_equal(model_scratch_open(&scratch, t->model, &err), UNDINE_OK);
    for (uint64_t seq = 0; seq < example_log_head(world.log); seq += block.n_examples) {
        assert_int_equal(example_log_read(world.log, seq, &block, &err), 1);
        for (uint32_t i = 0; i < block.n_examples; i++) {
            const struct impression *e = find(block.examples[i].impression);
            assert_non_null(e);
            if (e->asked < 0) {
                continue;
            }
            uint32_t n_steps = block.sequences[block.examples[i].sequence[0]].n_steps;
            float p = train_score(t, scratch, builder, &block, i);
            if (memcmp(&p, &e->asked, sizeof p) != 0) {
                fail_msg("impression at %" PRId64 " with %u steps: asked %.9g, learned %.9g",
                         e->time_ms, n_steps, (double)e->asked, (double)p);
            }
            assert_true(e->known || n_steps == 0);
            compared++;
            known += e->known;
            with_steps += n_steps > 0;
            full += n_steps == LENGTH;
        }
    }
    print_message("%u scores are those of training, %u with steps, %u with all %d\n", compared,
                  with_steps, full, LENGTH);
    assert_true(full > 100 && with_steps > full + 20 && known == with_steps);
    assert_true(compared > with_steps + 20 && known < compared);
    batch_builder_close(builder);
    model_scratch_close(scratch);
    example_block_release(&block);
}

static void test_no_skew(void **state)
{
    (void)state;
    char dir[FIXTURE_PATH_MAX], versions[FIXTURE_PATH_MAX + 16];
    struct undine_err err = {.msg = "?"};
    struct scoring *s = NULL;
    int64_t time_ms = 1000000;
    fixture_directory(dir);
    (void)snprintf(versions, sizeof versions, "%s.versions", dir);
    open_world(dir);
    struct trainer_options opt = trainers_options();
    struct trainer *t = trainers_open(&world.schema, &opt);
    for (int i = 0; i < LEARNED; i++) {
        next_event(NULL, &time_ms);
    }
    run_to(time_ms);
    publish(t, versions);
    const struct live_users users = {world.store, world.ingest, &world.schema};
    const struct scoring_options options = {.versions_dir = versions,
                                            .threads = 1,
                                            .refresh_ms = 10000,
                                            .on_demand = true,
                                            .users = &users};
    assert_int_equal(scoring_open(&s, &options, &err), UNDINE_OK);
    for (int i = LEARNED; i < EVENTS; i++) {
        next_event(s, &time_ms);
    }
    add("{\"kind\":\"behavior\",\"type\":\"long_view\",\"user\":\"u0\",\"time\":%" PRId64
        ",\"item\":{\"video\":1}}",
        time_ms + 10 * WINDOW_MS);
    run_to(time_ms + 10 * WINDOW_MS);
    compare(t);
    scoring_close(s);
    trainer_close(t);
    ingest_world_close(&world);
    memory_log_release(&topic);
    fixture_remove(dir);
    fixture_remove(versions);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_skew)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
