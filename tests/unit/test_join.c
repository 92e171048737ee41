/* Labels, steps and their times, rule by rule, on streams short enough to read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/hash.h"
#include "tests/support/ingest_world.h"
#include "tests/support/store_fixture.h"

#include <stdio.h>
#include <stdlib.h>

/* Window 100, memory 50. */
#define IMPRESSION(id, user, item, time)                                                           \
    "{\"kind\":\"impression\",\"id\":\"" id "\",\"user\":\"" user "\",\"time\":" #time             \
    ",\"candidate\":{\"item\":" #item "}}"
#define CLICK(id, time) "{\"kind\":\"click\",\"impression\":\"" id "\",\"time\":" #time "}"
#define CLICK_ITEM(user, item, time)                                                               \
    "{\"kind\":\"click\",\"user\":\"" user "\",\"item\":" #item ",\"time\":" #time "}"
#define CART(user, item, time)                                                                     \
    "{\"kind\":\"behavior\",\"type\":\"cart\",\"user\":\"" user "\",\"time\":" #time               \
    ",\"item\":{\"item\":" #item "}}"
#define FORGET(user, time) "{\"kind\":\"forget\",\"user\":\"" user "\",\"time\":" #time "}"

static struct ingest_world world;
static struct ingest_counters counters;

static void setup_options(void)
{
    world = (struct ingest_world){.opt = ingest_world_options(0, 100)};
    world.opt.join.memory_ms = 50;
    fixture_schema(&world.schema, 3);
}

/* Name of an impression in these tests: "a" to "z". */
static char name_of(uint64_t impression)
{
    for (char c = 'a'; c <= 'z'; c++) {
        if (hash_id(&c, 1) == impression) {
            return c;
        }
    }
    return '?';
}

static uint32_t steps_of(const struct example_block *b, const struct example *e, uint32_t sequence)
{
    return e->kind == EXAMPLE_FORGET ? 0 : b->sequences[e->sequence[sequence]].n_steps;
}

/* Run the messages through everything; the examples as "+a@150/2;1 ": label, impression, emit time,
 * steps of the sequences clicks and intents where there are any. */
static void run(const char *const *messages, size_t n, struct writer *out)
{
    char dir[FIXTURE_PATH_MAX];
    fixture_directory(dir);
    struct memory_log log = {.n_partitions = 1};
    for (size_t k = 0; k < n; k++) {
        memory_log_add(&log, 0, messages[k]);
    }
    struct undine_err err = {.msg = "?"};
    struct memory_source_options source = {.bounded = true};
    assert_int_equal(ingest_world_open(&world, dir, &log, &source, &err), UNDINE_OK);
    atomic_bool stop = false;
    assert_int_equal(ingest_run(world.ingest, &stop, &err), UNDINE_OK);
    struct example_block block;
    example_block_init(&block);
    for (uint64_t seq = 0; seq < example_log_head(world.log); seq += block.n_examples) {
        assert_int_equal(example_log_read(world.log, seq, &block, &err), 1);
        for (uint32_t k = 0; k < block.n_examples; k++) {
            const struct example *e = &block.examples[k];
            static const char marks[] = {'-', '+', '!', '~', '0', '1'};
            ingest_world_text(out, "%c%c@%lld", marks[e->kind],
                              e->kind == EXAMPLE_FORGET ? '!' : name_of(e->impression),
                              (long long)e->emit_ms);
            if (steps_of(&block, e, FIXTURE_CLICKS) > 0) {
                ingest_world_text(out, "/%u", steps_of(&block, e, FIXTURE_CLICKS));
            }
            if (steps_of(&block, e, FIXTURE_INTENTS) > 0) {
                ingest_world_text(out, ";%u", steps_of(&block, e, FIXTURE_INTENTS));
            }
            ingest_world_text(out, " ");
        }
    }
    example_block_release(&block);
    struct ingest_status status;
    ingest_status(world.ingest, &status);
    counters = status.counters;
    ingest_world_close(&world);
    memory_log_release(&log);
    fixture_remove(dir);
}

static void expect(const char *const *messages, size_t n, const char *examples)
{
    struct writer out;
    writer_init(&out);
    run(messages, n, &out);
    writer_u8(&out, 0);
    assert_string_equal((const char *)out.data, examples);
    writer_release(&out);
}
#define EXPECT(examples, ...)                                                                      \
    do {                                                                                           \
        const char *const messages[] = {__VA_ARGS__};                                              \
        expect(messages, sizeof messages / sizeof messages[0], examples);                          \
    } while (0)

static void test_first_window_waits_for_the_deadline(void **state)
{
    (void)state;
    setup_options();
    /* a is the first impression, so until 1100 positives wait for their own deadline. */
    EXPECT("+a@1100 -b@1110/1 +d@1150 +c@1190/1 -e@1250/2 ", IMPRESSION("a", "u", 1, 1000),
           CLICK("a", 1005), IMPRESSION("b", "u", 2, 1010), IMPRESSION("c", "u", 3, 1090),
           CLICK("c", 1099), IMPRESSION("d", "v", 4, 1100), IMPRESSION("e", "u", 5, 1150),
           CLICK("d", 1150), CLICK("c", 1149));
    assert_int_equal(counters.duplicate, 1);
}

static void test_click_emits_at_its_time(void **state)
{
    (void)state;
    setup_options();
    EXPECT("-a@200 +b@250 -c@310 ", IMPRESSION("a", "u", 1, 100), IMPRESSION("b", "u", 2, 205),
           IMPRESSION("c", "u", 3, 210), CLICK("b", 250));
    world.opt.join.emit = INGEST_EMIT_DEADLINE;
    EXPECT("-a@200 +b@305 -c@310 ", IMPRESSION("a", "u", 1, 100), IMPRESSION("b", "u", 2, 205),
           IMPRESSION("c", "u", 3, 210), CLICK("b", 250));
}

static void test_window_edges(void **state)
{
    (void)state;
    setup_options();
    /* At the deadline: a match.  One later: late, but a step.  Past the memory: an orphan. */
    EXPECT("-z@100 +a@300 -b@300 -c@301 -d@502/2 ", IMPRESSION("z", "w", 1, 0),
           IMPRESSION("a", "u", 1, 200), IMPRESSION("b", "u", 2, 200), IMPRESSION("c", "v", 3, 201),
           CLICK("a", 300), CLICK("b", 301), CLICK("c", 352), IMPRESSION("d", "u", 4, 402));
    assert_int_equal(counters.clicks_matched, 1);
    assert_int_equal(counters.clicks_late, 1);
    assert_int_equal(counters.clicks_orphan, 1);
    /* The last moment of the memory. */
    EXPECT("-c@301 -d@502/1 ", IMPRESSION("c", "u", 3, 201), CLICK("c", 351), CLICK("c", 351),
           IMPRESSION("d", "u", 4, 402));
    assert_int_equal(counters.clicks_late, 1);
    assert_int_equal(counters.duplicate_by_kind[EVENT_CLICK], 1);
}

static void test_as_of_is_strict(void **state)
{
    (void)state;
    setup_options();
    /* Impressions at the time of a step do not see it; later ones do; an old one never does. */
    EXPECT("-a@110 +b@250 -d@350 -e@351/1;1 ", IMPRESSION("a", "w", 9, 10),
           IMPRESSION("b", "u", 1, 200), CLICK("b", 250), IMPRESSION("d", "u", 2, 250),
           CART("u", 7, 250), IMPRESSION("e", "u", 3, 251));
    /* The example of b is emitted after the click of c, and must not see it. */
    EXPECT("-a@110 +c@210 +b@220 -d@330/2 ", IMPRESSION("a", "w", 9, 10),
           IMPRESSION("b", "u", 1, 200), IMPRESSION("c", "u", 2, 200), CLICK("c", 210),
           CLICK("b", 220), IMPRESSION("d", "u", 3, 230));
}

static void test_duplicates_and_orphans(void **state)
{
    (void)state;
    setup_options();
    EXPECT("-a@110 +b@250 ", IMPRESSION("a", "w", 9, 10), IMPRESSION("b", "u", 1, 200),
           IMPRESSION("b", "u", 1, 200), IMPRESSION("b", "u", 1, 240), CLICK("b", 199),
           CLICK("b", 250), CLICK("b", 251), CLICK("q", 251), IMPRESSION("b", "u", 1, 260));
    assert_int_equal(counters.duplicate_by_kind[EVENT_IMPRESSION], 3);
    assert_int_equal(counters.duplicate_by_kind[EVENT_CLICK], 1);
    assert_int_equal(counters.clicks_orphan, 2); /* before its impression, and of nobody's */
    /* After the memory an id may come again. */
    EXPECT("-b@300 -b@451 ", IMPRESSION("b", "u", 1, 200), IMPRESSION("b", "u", 1, 351));
    EXPECT("-b@300 ", IMPRESSION("b", "u", 1, 200), IMPRESSION("b", "u", 1, 350));
    /* A behaviour sent twice is one. */
    EXPECT("-b@500;1 ", CART("u", 1, 300), CART("u", 1, 300), IMPRESSION("b", "u", 1, 400));
    assert_int_equal(counters.duplicate_by_kind[EVENT_BEHAVIOR], 1);
}

static void test_forget(void **state)
{
    (void)state;
    setup_options();
    EXPECT("-a@110 !!@260 -c@301 -d@400 ", IMPRESSION("a", "w", 9, 10),
           IMPRESSION("b", "u", 1, 200), IMPRESSION("c", "v", 1, 201), CART("u", 5, 205),
           FORGET("u", 260), CLICK("b", 270), IMPRESSION("d", "u", 2, 300));
    assert_int_equal(counters.dropped, 1);
    assert_int_equal(counters.forgets, 1);
    assert_int_equal(counters.clicks_orphan, 1);
}

static void test_user_item(void **state)
{
    (void)state;
    setup_options();
    world.opt.join.by = INGEST_JOIN_USER_ITEM;
    world.decode.join_by_user_item = true;
    /* The newest unclicked impression of the item takes the click. */
    EXPECT("-?@110 +?@230 +?@240 -?@350/2 ", IMPRESSION("a", "w", 9, 10),
           IMPRESSION("b", "u", 1, 200), IMPRESSION("c", "u", 1, 210), CLICK_ITEM("u", 1, 230),
           CLICK_ITEM("u", 1, 240), CLICK_ITEM("u", 1, 240), CLICK_ITEM("u", 1, 245),
           CLICK_ITEM("u", 2, 246), IMPRESSION("e", "u", 2, 250));
    assert_int_equal(counters.clicks_matched, 2);
    assert_int_equal(counters.clicks_orphan, 1);
    assert_int_equal(counters.duplicate_by_kind[EVENT_CLICK], 2);
}

static void test_sampling_is_a_function_of_the_id(void **state)
{
    (void)state;
    char *texts[200];
    const char *messages[200];
    for (int k = 0; k < 200; k++) {
        texts[k] = malloc(160);
        assert_non_null(texts[k]);
        (void)snprintf(texts[k], 160,
                       "{\"kind\":\"impression\",\"id\":\"i%d\",\"user\":\"u\",\"time\":%d,"
                       "\"candidate\":{\"item\":1}}",
                       k, 1000 + k);
        messages[k] = texts[k];
    }
    struct writer first, again;
    writer_init(&first);
    writer_init(&again);
    setup_options();
    world.opt.join.negative_rate = 0.25;
    run(messages, 200, &first);
    uint64_t kept = counters.negatives;
    run(messages, 200, &again);
    assert_int_equal(first.len, again.len);
    assert_memory_equal(first.data, again.data, first.len);
    assert_int_equal(counters.sampled_out + kept, 200);
    assert_in_range(kept, 30, 70); /* 50 +- 3.3 standard deviations */
    writer_clear(&again);
    world.opt.join.negative_seed = 1;
    run(messages, 200, &again);
    assert_true(first.len != again.len || memcmp(first.data, again.data, first.len) != 0);
    writer_release(&first);
    writer_release(&again);
    for (int k = 0; k < 200; k++) {
        free(texts[k]);
    }
}

/* A click behind the window, but within the memory, takes the negative back; what it revises sees
 * the steps that its impression saw. */
static void test_late_clicks_are_corrected(void **state)
{
    (void)state;
    setup_options();
    world.opt.join.late_click = INGEST_LATE_CORRECT;
    EXPECT("-z@110 -a@300 -b@310 ~a@320 -d@400;1 ~d@430;1 -e@505/1 ", IMPRESSION("z", "w", 9, 10),
           IMPRESSION("a", "u", 1, 200), IMPRESSION("b", "u", 2, 210), CART("v", 1, 290),
           IMPRESSION("d", "v", 3, 300), CART("v", 4, 310), CLICK("a", 320), CLICK("a", 325),
           CLICK("b", 370), IMPRESSION("e", "u", 4, 405), CLICK("d", 430));
    assert_int_equal(counters.clicks_late, 2);
    assert_int_equal(counters.clicks_orphan, 1); /* b's, one past the memory */
    assert_int_equal(counters.duplicate_by_kind[EVENT_CLICK], 1);
    assert_int_equal(counters.revised, 2);
    assert_int_equal(counters.negatives, 5);
    assert_int_equal(counters.label_delay_ms, 5 * 100 + 120 + 130);
    /* Nothing of a forgotten user. */
    EXPECT("-z@110 -a@300 !!@310 -d@600 ", IMPRESSION("z", "w", 9, 10),
           IMPRESSION("a", "u", 1, 200), FORGET("u", 310), CLICK("a", 320),
           IMPRESSION("d", "v", 1, 500));
    assert_int_equal(counters.revised, 0);
    assert_int_equal(counters.clicks_orphan, 1);
}

/* Every impression at once, and its click, in the window or behind it, once more. */
static void test_fake_negatives(void **state)
{
    (void)state;
    setup_options();
    world.opt.join.label = INGEST_LABEL_FNW;
    EXPECT("0z@10 0a@200 0b@201 1a@250 1b@310 0c@400/2 ", IMPRESSION("z", "w", 9, 10),
           IMPRESSION("a", "u", 1, 200), IMPRESSION("b", "u", 2, 201), CLICK("a", 250),
           CLICK("a", 251), CLICK("b", 310), CLICK("z", 320), IMPRESSION("c", "u", 3, 400));
    assert_int_equal(counters.clicks_matched, 1);
    assert_int_equal(counters.clicks_late, 1);
    assert_int_equal(counters.clicks_orphan, 1);
    assert_int_equal(counters.negatives, 4);
    assert_int_equal(counters.positives, 0);
    assert_int_equal(counters.revised, 2);
    assert_int_equal(counters.label_delay_ms, 50 + 109);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_window_waits_for_the_deadline),
        cmocka_unit_test(test_click_emits_at_its_time),
        cmocka_unit_test(test_window_edges),
        cmocka_unit_test(test_as_of_is_strict),
        cmocka_unit_test(test_duplicates_and_orphans),
        cmocka_unit_test(test_forget),
        cmocka_unit_test(test_user_item),
        cmocka_unit_test(test_late_clicks_are_corrected),
        cmocka_unit_test(test_fake_negatives),
        cmocka_unit_test(test_sampling_is_a_function_of_the_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
