/* Every kind of configuration error, defaults, overrides, secrets; the shipped files; the
 * reference. */
#include "configs/config.h"
#include "configs/config_keys.h"
#include "configs/config_value.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

static const char SCHEMA[] = "tables: {user: 4, video: 8, tag: 8}\n"
                             "fields:\n"
                             "  - {name: user, of: user, user_id: true}\n"
                             "  - {name: video, of: candidate}\n"
                             "  - {name: tags, of: candidate, table: tag, multi: 8, pool: mean}\n"
                             "behaviors: [cart, long_view]\n"
                             "sequences:\n"
                             "  - {name: clicks, fields: [video, tags], from: [click, long_view]}\n"
                             "topics:\n"
                             "  - {name: imps, kinds: [impression]}\n"
                             "  - {name: acts, kinds: [click, behavior]}\n";
enum { SCHEMA_LINES = 11 };

static int parse(struct config **out, const char *text, const char *override,
                 struct undine_err *err)
{
    return config_parse(out, "a.yaml", text, strlen(text), &override, override != NULL, err);
}

/* The whole configuration SCHEMA + text loads. */
static struct config *good(const char *text, const char *override)
{
    char whole[4096];
    struct undine_err err = {0};
    struct config *c = NULL;
    (void)snprintf(whole, sizeof whole, "%s%s", SCHEMA, text);
    if (parse(&c, whole, override, &err) != UNDINE_OK) {
        fail_msg("%s", err.msg);
    }
    return c;
}

static void expect_error(const char *text, const char *override, const char *message)
{
    struct undine_err err = {0};
    struct config *c = NULL;
    int rc = parse(&c, text, override, &err);
    if (rc != UNDINE_ECONFIG || strcmp(err.msg, message) != 0) {
        config_free(c);
        fail_msg("rc %d\n  got      %s\n  expected %s", rc, err.msg, message);
    }
    assert_null(c);
}

/* The error of SCHEMA + text, whose first line is SCHEMA_LINES + 1. */
static void bad(const char *text, const char *message)
{
    char whole[8192], full[UNDINE_ERR_MSG_MAX];
    (void)snprintf(whole, sizeof whole, "%s%s", SCHEMA, text);
    (void)snprintf(full, sizeof full, message[0] == ':' ? "a.yaml%s" : "%s", message);
    expect_error(whole, NULL, full);
}

static void test_defaults(void **state)
{
    (void)state;
    struct config *c = good("", NULL);
    assert_int_equal(c->ingest.join.window_ms, 600000);
    assert_int_equal(c->ingest.join.emit, INGEST_EMIT_CLICK);
    assert_int_equal(c->ingest.n_shards, 1);
    assert_int_equal(c->trainer.batch_max, 256);
    assert_int_equal(c->trainer.model.kind, MODEL_DIN);
    assert_int_equal(c->trainer.model.mlp.n_hidden, 2);
    assert_int_equal(c->trainer.model.mlp.hidden[1], 80);
    assert_true(c->trainer.optimizer.rate == 0.03);
    assert_int_equal(c->store.cache_bytes, 64 << 20);
    assert_false(c->store.sync_every_commit);
    assert_string_equal(c->http.listen, "127.0.0.1:9187");
    assert_string_equal(c->file, "a.yaml");
    config_free(c);
}

static void test_schema(void **state)
{
    (void)state;
    struct config *c = good("", NULL);
    const struct schema *s = &c->schema;
    assert_int_equal(s->n_fields, 3);
    assert_true(s->fields[0].user_id);
    assert_int_equal(s->fields[1].table, 1); /* of its own name */
    assert_int_equal(s->fields[2].table, 2);
    assert_int_equal(s->fields[2].values_max, 8);
    assert_int_equal(s->fields[2].pool, SCHEMA_POOL_MEAN);
    assert_int_equal(s->fields[1].group, SCHEMA_CANDIDATE);
    assert_int_equal(s->n_behaviors, 2);
    assert_int_equal(s->sequences[0].length, 50);
    assert_int_equal(s->sequences[0].n_fields, 2);
    assert_int_equal(s->sequences[0].field[1], 2);
    assert_true(s->sequences[0].from_click);
    assert_int_equal(s->sequences[0].from_behavior, 2);
    assert_int_not_equal(s->tables[1].hash_seed, 0);
    assert_int_equal(c->n_topics, 2);
    assert_int_equal(c->topics[1].kinds, 1 << EVENT_CLICK | 1 << EVENT_BEHAVIOR);
    assert_int_equal(c->decode.topic_kinds[0], 1 << EVENT_IMPRESSION);
    assert_int_equal(c->decode.n_topics, 2);
    config_free(c);
}

static void test_values(void **state)
{
    (void)state;
    struct config *c = good("join: {window: 2h, by: user_item, negative_rate: 0.25}\n"
                            "order: {max_future: off, lateness: 1500}\n"
                            "store: {cache: 2 GiB, sync_interval: 0}\n"
                            "learner: {regularizer: {decoupled: true}}\n"
                            "model: {unit: {hidden: [80, 40]}}\n"
                            "http: {listen: ''}\n"
                            "snapshot:\n",
                            NULL);
    assert_int_equal(c->ingest.join.window_ms, 7200000);
    assert_int_equal(c->ingest.join.by, INGEST_JOIN_USER_ITEM);
    assert_true(c->decode.join_by_user_item);
    assert_true(c->ingest.join.negative_rate == 0.25);
    assert_int_equal(c->ingest.order.max_future_ms, -1);
    assert_int_equal(c->ingest.order.lateness_ms, 1500);
    assert_int_equal(c->store.cache_bytes, UINT64_C(2) << 30);
    assert_true(c->store.sync_every_commit);
    assert_true(c->trainer.regularizer.decoupled);
    assert_int_equal(c->trainer.model.unit.hidden[1], 40);
    assert_int_equal(c->trainer.model.unit.n_hidden, 2);
    assert_string_equal(c->http.listen, "");
    config_free(c);
}

static void test_unknown_keys(void **state)
{
    (void)state;
    bad("join:\n  windw: 5m\n", ":13: unknown key `join.windw`; did you mean `join.window`?");
    bad("window: 5m\n", ":12: unknown key `window`; did you mean `join.window`?");
    bad("zzqqzzqqzz: 5m\n",
        ":12: unknown key `zzqqzzqqzz`; `undine config reference` lists all keys");
    bad("join.window: 5m\n", ":12: unknown key `join.window`; did you mean `join.window`?");
    bad("[a]: 5\n", ":12: a key must be a plain word");
    bad("http: {listen: 'a', listen: 'b'}\n", ":12: `http.listen` is set twice, first in line 12");
    bad("behaviors: [x]\n", ":12: `behaviors` is set twice, first in line 6");
    expect_error("fields:\n  - {name: a, of: user, tabel: x}\n", NULL,
                 "a.yaml:2: unknown key `fields[].tabel`; did you mean `fields[].table`?");
}

static void test_bad_values(void **state)
{
    (void)state;
    bad("join: {window: -5}\n", ":12: `join.window` is -5 ms, expected 1 ms..90 d");
    bad("join: {window: 91d}\n", ":12: `join.window` is 91 d, expected 1 ms..90 d");
    bad("join: {window: soon}\n",
        ":12: `join.window` is `soon`, expected duration (ms, s, m, h, d), 1 ms..90 d");
    bad("join: {window: }\n",
        ":12: `join.window` is ``, expected duration (ms, s, m, h, d), 1 ms..90 d");
    bad("join: {window: 9223372036854775807d}\n",
        ":12: `join.window` is `9223372036854775807d`, expected duration (ms, s, m, h, d), "
        "1 ms..90 d");
    bad("join: {window: [5m]}\n", ":12: `join.window` is a mapping or a list, expected one value");
    bad("order: {max_future: -1}\n", ":12: `order.max_future` is -1 ms, expected off, 0 ms..365 d");
    bad("store: {cache: 1KiB}\n", ":12: `store.cache` is 1 KiB, expected 1 MiB..1 TiB");
    bad("store: {cache: 64MB}\n",
        ":12: `store.cache` is `64MB`, expected bytes (B, KiB, MiB, GiB, TiB), 1 MiB..1 TiB");
    bad("learner: {batch: 0}\n", ":12: `learner.batch` is 0, expected 1..65536");
    bad("learner: {batch: 2.5}\n", ":12: `learner.batch` is `2.5`, expected integer, 1..65536");
    bad("join: {negative_rate: 2}\n", ":12: `join.negative_rate` is 2, expected 1e-06..1");
    bad("join: {negative_rate: nan}\n",
        ":12: `join.negative_rate` is `nan`, expected number, 1e-06..1");
    bad("model: {kind: dinn}\n", ":12: `model.kind` is `dinn`, expected one of `base`, `din`");
    bad("learner: {regularizer: {decoupled: yes}}\n",
        ":12: `learner.regularizer.decoupled` is `yes`, expected `true` or `false`");
    bad("model: {mlp: {hidden: [0]}}\n", ":12: `model.mlp.hidden` is 0, expected 1..4096");
    bad("model: {mlp: {hidden: [1,1,1,1,1,1,1,1,1]}}\n",
        ":12: `model.mlp.hidden` has more than 8 entries");
    bad("model: {mlp: {hidden: 200}}\n", ":12: `model.mlp.hidden` must be a list, `[a, b]`");
    bad("group: ''\n", ":12: `group` is 0 bytes long, expected 1..255");
    bad("brokers: \"a\\0b\"\n", ":12: `brokers` contains a NUL byte");
    bad("join: 5m\n", ":12: `join` must be a mapping");
    bad("shard: {index: 2, count: 2}\n",
        ":12: `shard.index` is 2, expected less than `shard.count`, which is 2");
    bad("ingest: {backlog_max: 1000}\nlearner: {batch: 1001}\n",
        ":12: `ingest.backlog_max` is 1000, expected at least `learner.batch`, which is 1001: "
        "ingest "
        "would wait for the learner, and the learner for a whole batch");
    bad("join: {label: fnw, negative_rate: 0.5}\n",
        ":12: `join.negative_rate` is 0.5, but `join.label: fnw` learns every impression as a "
        "negative before it knows its label: it must be 1");
    bad("join: {label: fnw, emit: deadline}\n",
        ":12: `join.emit` is `deadline`, but `join.label: fnw` waits for no deadline: it must be "
        "`click`");
    bad("http: {listen: localhost}\n",
        ":12: `http.listen` is `localhost`, expected HOST:PORT, [IPV6]:PORT or :PORT");
    bad("\nhttp: {listen: \"localhost:80x\"}\n",
        ":13: `http.listen` is `localhost:80x`, expected HOST:PORT, [IPV6]:PORT or :PORT");
    expect_error(SCHEMA, "shard.index=4",
                 "-o: `shard.index` is 4, expected less than `shard.count`, which is 1");
}

static void test_bad_documents(void **state)
{
    (void)state;
    expect_error("- a\n", NULL, "a.yaml:1: a configuration is a mapping of keys, `join: ...`");
    expect_error("", NULL,
                 "a.yaml: `fields` has none with `of: candidate`; expected at least one, `- {name: "
                 "item, of: candidate}`");
    expect_error("a: [\n", NULL,
                 "a.yaml:2: not YAML: did not find expected node content, while parsing a flow "
                 "node");
    bad("---\nx: 1\n", ":12: a second document; expected one");
    struct undine_err err = {0};
    struct config *c = NULL;
    assert_int_equal(config_load(&c, "/nonexistent/x.yaml", NULL, 0, &err), UNDINE_ECONFIG);
    assert_string_equal(err.msg, "configuration /nonexistent/x.yaml: No such file or directory");
}

static void test_bad_schemas(void **state)
{
    (void)state;
    static const char tables[] = "tables: {a: 4, b: 4}\n";
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"fields: {a: 1}", ":2: `fields` must be a list (`- name: ...`)"},
        {"fields: [a]", ":2: an entry of `fields` must be a mapping"},
        {"fields: [{name: a}]", ":2: `fields[].of` is missing"},
        {"fields: [{of: user}]", ":2: `fields[].name` is missing"},
        {"fields: [{name: c, of: candidate}]",
         ":2: field `c`: table `c` is not declared under `tables`"},
        {"fields: [{name: a, of: candidate, user_id: true}]",
         ":2: field `a`: `user_id` needs `of: user`"},
        {"fields:\n- {name: a, of: candidate}\n- {name: a, of: user}",
         ":4: field `a` is declared twice, first in line 3"},
        {"fields: [{name: a, of: candidate, multi: 256}]",
         ":2: `fields[].multi` is 256, expected 1..255"},
        {"fields: [{name: a, of: candidate}]\nsequences:\n- {name: s, fields: [b]}",
         ":4: sequence `s`: field `b` is not declared with `of: candidate`"},
        {"fields: [{name: a, of: candidate}]\nsequences:\n- {name: s, fields: []}",
         ":4: `sequences[].fields` is empty, expected at least one entry"},
        {"fields: [{name: a, of: candidate}]\nsequences:\n- {name: s, fields: [a], from: [x]}",
         ":4: sequence `s`: `from` names `x`, expected `click` or one of `behaviors`"},
        {"fields: [{name: a, of: candidate}]\ntopics:\n- {name: t, kinds: [show]}",
         ":4: `topics[].kinds` is `show`, expected list of `impression`, `click`, `behavior`, "
         "`forget`"},
        {"fields: [{name: a, of: candidate}]\ntopics:\n- {name: t, kinds: [click]}\n"
         "- {name: t, kinds: [click]}",
         ":5: topic `t` is declared twice, first in line 4"},
        {"fields: [{name: a, of: candidate}]\nsequences:\n- {name: s, fields: [a]}\n"
         "- {name: s, fields: [a]}",
         ":5: sequence `s` is declared twice, first in line 4"},
        {"fields: [{name: a, of: candidate}]\nbehaviors: [click]",
         ": a behavior named `click` could not be told from a click in `from`"},
        {"fields: [{name: a, of: candidate}]\nbehaviors: [x, x]",
         ": behavior `x`: is declared twice"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[1024], message[512];
        (void)snprintf(text, sizeof text, "%s%s\n", tables, cases[i].text);
        (void)snprintf(message, sizeof message, "a.yaml%s", cases[i].message);
        expect_error(text, NULL, message);
    }
    expect_error("tables: {a: 257}\n", NULL, "a.yaml:1: `tables.a` is 257, expected 1..256");
    expect_error("tables: {a: 4, a: 4}\n", NULL,
                 "a.yaml:1: `tables.a` is set twice, first in line 1");
}

static const char SLICES[] = "metrics:\n  slices:\n"
                             "  - {name: tabs, field: tags, values: [1, \"2 or 3\"]}\n"
                             "  - {name: cold, field: video, is: new}\n"
                             "  - {name: fresh, sequence: clicks, steps_max: 0}\n"
                             "  - {name: rest, field: user, sequence: clicks, steps_min: 1}\n";

static void test_slices(void **state)
{
    (void)state;
    struct config *c = good(SLICES, NULL);
    const struct slices_options *o = &c->trainer.slices;
    assert_int_equal(o->n, 4);
    assert_string_equal(o->slice[0].name, "tabs");
    assert_int_equal(o->slice[0].field, schema_field_find(&c->schema, "tags"));
    assert_int_equal(o->slice[0].is, SLICE_PRESENT);
    assert_int_equal(o->slice[0].n_values, 2);
    assert_string_equal(o->slice[0].value[1], "2 or 3");
    assert_int_equal(o->slice[0].sequence, SLICE_ANY);
    assert_int_equal(o->slice[1].is, SLICE_NEW);
    assert_int_equal(o->slice[2].field, SLICE_ANY);
    assert_int_equal(o->slice[2].sequence, 0);
    assert_int_equal(o->slice[2].steps_min, 0);
    assert_int_equal(o->slice[2].steps_max, 0);
    assert_int_equal(o->slice[3].steps_min, 1);
    assert_int_equal(o->slice[3].steps_max, SCHEMA_LENGTH_MAX);
    config_free(c);
}

static void test_bad_slices(void **state)
{
    (void)state;
    static const struct {
        const char *entry, *message;
    } cases[] = {
        {"{field: video}", "`metrics.slices[].name` is missing"},
        {"{name: x}", "slice `x` has no condition: expected a `field`, a `sequence`, or both"},
        {"{name: x, field: vidoe}",
         "slice `x`: field `vidoe` is not declared under `fields`; did you mean `video`?"},
        {"{name: x, field: zzqqzz}", "slice `x`: field `zzqqzz` is not declared under `fields`"},
        {"{name: x, sequence: click}",
         "slice `x`: sequence `click` is not declared under `sequences`; did you mean `clicks`?"},
        {"{name: x, field: video, is: cold}",
         "`metrics.slices[].is` is `cold`, expected one of `present`, `missing`, `new`, `known`"},
        {"{name: x, field: video, is: new, values: [1]}",
         "slice `x`: `values` go with `is: present` alone"},
        {"{name: x, sequence: clicks, values: [1]}", "slice `x`: `values` needs a `field`"},
        {"{name: x, sequence: clicks, is: new}", "slice `x`: `is` needs a `field`"},
        {"{name: x, field: video, values: ['']}",
         "`metrics.slices[].values` is 0 bytes long, expected 1..47"},
        {"{name: x, field: video, steps_max: 3}",
         "slice `x`: `steps_min` and `steps_max` need a `sequence`"},
        {"{name: x, sequence: clicks, steps_min: 4, steps_max: 3}",
         "slice `x`: `steps_min` is 4, expected at most 3 (`steps_max` is 3, the `length` of "
         "sequence `clicks` 50)"},
        {"{name: x, sequence: clicks, steps_min: 51}",
         "slice `x`: `steps_min` is 51, expected at most 50 (`steps_max` is 4096, the `length` of "
         "sequence `clicks` 50)"},
        {"{name: x, field: video, valeus: [1]}",
         "unknown key `metrics.slices[].valeus`; did you mean `metrics.slices[].values`?"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[512], message[512];
        (void)snprintf(text, sizeof text, "metrics: {slices: [%s]}\n", cases[i].entry);
        (void)snprintf(message, sizeof message, ":12: %s", cases[i].message);
        bad(text, message);
    }
    bad("metrics:\n  slices:\n  - {name: x, field: video}\n  - {name: x, field: user}\n",
        ":15: slice `x` is declared twice");
    bad("join: {label: fnw}\nmetrics: {slices: [{name: x, field: video, is: known}]}\n",
        ":13: slice `x`: `join.label: fnw` learns every impression before its click, so no click "
        "ever meets an id that is new: `is` must be `present` or `missing`");
}

static void test_overrides(void **state)
{
    (void)state;
    struct config *c = good("join: {window: 1m}\n", "join.window=5m");
    assert_int_equal(c->ingest.join.window_ms, 300000);
    config_free(c);
    c = good("", "model.mlp.hidden=64,32,16");
    assert_int_equal(c->trainer.model.mlp.n_hidden, 3);
    assert_int_equal(c->trainer.model.mlp.hidden[2], 16);
    config_free(c);
    c = good("", "tables.video=36");
    assert_int_equal(c->schema.tables[1].dim, 36);
    config_free(c);
    c = good("kafka: {client.id: a}\n", "kafka.client.id=b=c");
    assert_int_equal(c->n_kafka, 1);
    assert_string_equal(c->kafka[0].value, "b=c");
    config_free(c);
    c = good("learner: {optimizer: {rates: {video: 0.5}}}\n", "learner.optimizer.rates.user=0.25");
    assert_true(c->trainer.table_rate[0] == 0.25 && c->trainer.table_rate[1] == 0.5);
    config_free(c);
    expect_error(SCHEMA, "learner.optimizer.rates.none=0.1",
                 "-o: `learner.optimizer.rates`: table `none` is not declared under `tables`");
    expect_error(SCHEMA, "learner.optimizer.rates.user=0",
                 "-o: `learner.optimizer.rates.user` is 0, expected 1e-09..10");
    expect_error(SCHEMA, "join.window=-5", "-o: `join.window` is -5 ms, expected 1 ms..90 d");
    expect_error(SCHEMA, "join.windw=5",
                 "-o: unknown key `join.windw`; did you mean `join.window`?");
    expect_error(SCHEMA, "join.window", "-o: `join.window` is not of the form key=value");
    expect_error(SCHEMA, "=5", "-o: `=5` is not of the form key=value");
    expect_error(SCHEMA, "fields=5",
                 "-o: `fields` is a mapping or a list; it can only be set in the file");
    expect_error(SCHEMA, "tables.none=5", "-o: table `none` is not declared in the file");
    expect_error(SCHEMA, "kafka.auto.offset.reset=latest",
                 "-o: `kafka.auto.offset.reset` may not be set: a position that is gone must stop "
                 "the program, not skip events");
}

static void test_kafka(void **state)
{
    (void)state;
    struct config *c = good("kafka:\n  check.crcs: true\n  fetch.wait.max.ms: 50\n", NULL);
    assert_int_equal(c->n_kafka, 2);
    assert_string_equal(c->kafka[0].key, "check.crcs");
    assert_string_equal(c->kafka[1].value, "50");
    config_free(c);
    static const char *const refused[] = {"enable.auto.commit", "enable.auto.offset.store",
                                          "auto.offset.reset",  "enable.partition.eof",
                                          "isolation.level",    "group.id",
                                          "bootstrap.servers",  "metadata.broker.list"};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        char text[256], message[512];
        (void)snprintf(text, sizeof text, "kafka: {%s: x}\n", refused[i]);
        (void)snprintf(message, sizeof message, ":12: `kafka.%s` may not be set: %s", refused[i],
                       source_kafka_key_refused(refused[i]));
        bad(text, message);
    }
    bad("kafka: {a: {b: c}}\n", ":12: `kafka.a` is a mapping or a list, expected one value");
}

static void test_environment(void **state)
{
    (void)state;
    assert_int_equal(setenv("UNDINE_TEST_HOST", "example:9092", 1), 0);
    assert_int_equal(unsetenv("UNDINE_TEST_UNSET"), 0);
    struct config *c = good("brokers: a:1,${UNDINE_TEST_HOST}\ngroup: $${x}$y\n", NULL);
    assert_string_equal(c->brokers, "a:1,example:9092");
    assert_string_equal(c->group, "${x}$y");
    config_free(c);
    bad("brokers: ${UNDINE_TEST_UNSET}\n",
        ":12: `brokers`: the environment variable UNDINE_TEST_UNSET is not set");
    bad("brokers: ${UNDINE\n",
        ":12: `brokers`: `${` without a name and `}`; `$${` stands for `${`");
}

static void test_secrets(void **state)
{
    (void)state;
    char dir[] = "/tmp/undine-config-XXXXXX", file[128], text[1024];
    assert_non_null(mkdtemp(dir));
    (void)snprintf(file, sizeof file, "%s/secret", dir);
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    assert_true(fputs("s3cret value\n", f) >= 0);
    assert_int_equal(fclose(f), 0);
    (void)snprintf(text, sizeof text,
                   "kafka:\n  sasl.password: {file: %s}\n  sasl.username: {file: %s}\n"
                   "  ssl.key.pem: abc\n  sasl.oauthbearer.config: def\n  client.id: shown\n",
                   file, file);
    struct config *c = good(text, NULL);
    assert_string_equal(c->kafka[0].value, "s3cret value");
    char *shown = config_show(c);
    assert_non_null(strstr(shown, "\"sasl.password\": \"********\""));
    assert_non_null(strstr(shown, "\"sasl.username\": \"********\"")); /* it came from a file */
    assert_non_null(strstr(shown, "\"client.id\": \"shown\""));
    assert_null(strstr(shown, "s3cret"));
    assert_null(strstr(shown, "abc"));
    assert_null(strstr(shown, "def\""));
    free(shown);
    config_free(c);
    bad("kafka: {sasl.password: {file: /nonexistent/s}}\n",
        ":12: `kafka.sasl.password`: file /nonexistent/s: No such file or directory");
    bad("kafka: {sasl.password: {file: /dev/zero}}\n",
        ":12: `kafka.sasl.password`: file /dev/zero: Invalid argument");
    assert_int_equal(unlink(file), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void assert_same(const struct config *a, const struct config *b)
{
    struct config x = *a, y = *b;
    assert_string_equal(x.ingest.config_digest_text, y.ingest.config_digest_text);
    x.ingest.config_digest_text = y.ingest.config_digest_text = NULL;
    memset(x.file, 0, sizeof x.file);
    memset(y.file, 0, sizeof y.file);
    assert_memory_equal(&x, &y, sizeof x);
}

/* What is shown is a configuration again, and the same one. */
static void round_trip(const struct config *c)
{
    struct undine_err err = {0};
    struct config *again = NULL;
    char *shown = config_show(c);
    if (parse(&again, shown, NULL, &err) != UNDINE_OK) {
        fail_msg("%s\n%s", err.msg, shown);
    }
    assert_same(c, again);
    char *shown_again = config_show(again);
    assert_string_equal(shown, shown_again);
    free(shown);
    free(shown_again);
    config_free(again);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct config *c = good("", NULL);
    round_trip(c);
    config_free(c);
    c = good(SLICES, NULL);
    round_trip(c);
    config_free(c);
    c = good("group: \"a\\\"b\\\\c\\td ü $${X} $$${Y}\"\norder: {max_future: off}\n"
             "join: {window: 90061001, negative_rate: 0.1}\nkafka: {a.b: \"x: y # z\"}\n"
             "learner: {optimizer: {rate: 0.1234567890123, rates: {video: 0.007}}, memory_max: "
             "3000001}\n",
             NULL);
    round_trip(c);
    config_free(c);
}

static const char OWN[] = "sequences:\n"
                          "  - {name: carts, fields: [video], from: [cart], shared: false}\n";

/* SCHEMA with another sequence list, then text. */
static void put_own(char out[4096], const char *text)
{
    const char *list = strstr(SCHEMA, "sequences:"), *rest = strstr(SCHEMA, "topics:");
    (void)snprintf(out, 4096, "%.*s%s%s%s", (int)(list - SCHEMA), SCHEMA, OWN, rest, text);
}

/* `shared: false`: tables of the sequence's own, which the user can give a rate but not declare. */
static void test_own_tables(void **state)
{
    (void)state;
    char text[4096];
    struct undine_err err = {0};
    struct config *c = NULL;
    put_own(text, "learner: {optimizer: {rates: {carts.video: 0.5}}}\n");
    assert_int_equal(parse(&c, text, "learner.optimizer.rates.video=0.25", &err), UNDINE_OK);
    int own = schema_table_find(&c->schema, "carts.video");
    assert_int_equal(own, 3);
    assert_int_equal(c->schema.sequences[0].table[0], own);
    assert_true(c->schema.sequences[0].own_tables);
    assert_true(c->trainer.table_rate[own] == 0.5 && c->trainer.table_rate[1] == 0.25);
    char *shown = config_show(c);
    assert_non_null(strstr(shown, "shared: false"));
    assert_non_null(strstr(shown, "rates:\n      \"video\": 0.25\n      \"carts.video\": 0.5\n"));
    assert_null(strstr(shown, "  carts.video: 8"));
    free(shown);
    round_trip(c);
    config_free(c);
    struct config *shared = good("", NULL);
    assert_false(shared->schema.sequences[0].own_tables);
    config_free(shared);
}

static void test_own_tables_and_names_given(void **state)
{
    (void)state;
    char text[4096];
    (void)snprintf(text, sizeof text,
                   "tables:\n  video: 8\n  carts.video: 8\nfields:\n"
                   "  - {name: video, of: candidate}\nbehaviors: [cart]\n%s",
                   OWN);
    expect_error(text, NULL,
                 "a.yaml:3: table `carts.video` has the name of a table of sequence `carts`, which "
                 "has its own by `shared: false` in line 8; a name that you give has no dot");
    expect_error("tables: {shop.video: 8}\n", NULL,
                 "a.yaml:1: table `shop.video`: a name that you give has no dot, expected letters, "
                 "digits, `_` or `-`");
}

static void test_digest(void **state)
{
    (void)state;
    struct config *a = good("", NULL);
    static const char *const fixed[] = {"join.window=1m", "join.by=user_item", "shard.count=2",
                                        "behaviors=long_view,cart"};
    struct config *sliced = good(SLICES, NULL);
    assert_true(a->ingest.config_digest == sliced->ingest.config_digest);
    config_free(sliced);
    static const char *const free_to_change[] = {"learner.batch=8", "tables.video=16",
                                                 "ingest.poll_max=7", "order.lateness=1m"};
    for (size_t i = 0; i < 4; i++) {
        struct config *b = good("", fixed[i]);
        assert_true(a->ingest.config_digest != b->ingest.config_digest);
        config_free(b);
        b = good("", free_to_change[i]);
        assert_true(a->ingest.config_digest == b->ingest.config_digest);
        config_free(b);
    }
    assert_non_null(strstr(a->ingest.config_digest_text, "join.window=10m\n"));
    assert_non_null(strstr(a->ingest.config_digest_text, "fields=user,video,tags\n"));
    config_free(a);
}

static void test_reference(void **state)
{
    (void)state;
    size_t n = 0;
    const struct config_key *keys = config_keys(&n);
    char *text = config_reference();
    assert_non_null(text);
    for (size_t i = 0; i < n; i++) {
        char cell[128];
        bool section = keys[i].type == CONFIG_SECTION;
        (void)snprintf(cell, sizeof cell, section ? "\n## %s\n" : "| `%s` |", keys[i].path);
        assert_non_null(strstr(text, cell));
        assert_true(strlen(keys[i].doc) > 10);
        assert_ptr_equal(config_key_find(keys[i].path), &keys[i]); /* no path twice */
    }
    /* docs/configuration.md is this text; UPDATE=1 writes it. */
    const char *path = UNDINE_SOURCE_DIR "/docs/configuration.md";
    FILE *f = fopen(path, getenv("UPDATE") != NULL ? "w+" : "r");
    if (f == NULL) {
        fail_msg("%s is missing; UPDATE=1 writes it", path);
    }
    if (getenv("UPDATE") != NULL) {
        assert_true(fputs(text, f) >= 0);
        rewind(f);
    }
    char *stored = calloc(1, strlen(text) + 2);
    assert_non_null(stored);
    (void)fread(stored, 1, strlen(text) + 1, f);
    assert_int_equal(fclose(f), 0);
    if (strcmp(stored, text) != 0) {
        fail_msg("docs/configuration.md is not the output of `undine config reference`; run this "
                 "test with UPDATE=1");
    }
    free(stored);
    free(text);
}

/* Every default and every bound of the table is itself accepted. */
static void test_table(void **state)
{
    (void)state;
    size_t n = 0;
    const struct config_key *keys = config_keys(&n);
    for (size_t i = 0; i < n; i++) {
        if (keys[i].type == CONFIG_INT || keys[i].type == CONFIG_DURATION ||
            keys[i].type == CONFIG_BYTES) {
            assert_true(keys[i].min < keys[i].max);
            assert_true(keys[i].size == 4 || keys[i].size == 8);
            assert_true(keys[i].size == 8 || (keys[i].min >= 0 && keys[i].max <= INT32_MAX));
        }
        assert_true(keys[i].type != CONFIG_REAL || keys[i].real_min < keys[i].real_max);
        assert_true(keys[i].type != CONFIG_STRING || (uint32_t)keys[i].max < keys[i].size);
    }
}

static void test_shipped(void **state)
{
    (void)state;
    static const char *const names[] = {"kuairand", "kuairand-ranking", "amazon", "demo"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[512];
        struct undine_err err = {0};
        struct config *c = NULL;
        (void)snprintf(path, sizeof path, "%s/configs/%s.yaml", UNDINE_SOURCE_DIR, names[i]);
        if (config_load(&c, path, NULL, 0, &err) != UNDINE_OK) {
            fail_msg("%s", err.msg);
        }
        bool user_id = false;
        for (uint32_t f = 0; f < c->schema.n_fields; f++) {
            user_id = user_id || c->schema.fields[f].user_id;
        }
        assert_int_equal(user_id, strcmp(names[i], "kuairand-ranking") != 0);
        assert_int_equal(c->schema.n_sequences, 1);
        assert_int_equal(c->n_topics, 2);
        round_trip(c);
        config_free(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),    cmocka_unit_test(test_schema),
        cmocka_unit_test(test_values),      cmocka_unit_test(test_unknown_keys),
        cmocka_unit_test(test_bad_values),  cmocka_unit_test(test_bad_documents),
        cmocka_unit_test(test_bad_schemas), cmocka_unit_test(test_slices),
        cmocka_unit_test(test_bad_slices),  cmocka_unit_test(test_overrides),
        cmocka_unit_test(test_kafka),       cmocka_unit_test(test_environment),
        cmocka_unit_test(test_own_tables),  cmocka_unit_test(test_own_tables_and_names_given),
        cmocka_unit_test(test_secrets),     cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_digest),      cmocka_unit_test(test_reference),
        cmocka_unit_test(test_table),       cmocka_unit_test(test_shipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
