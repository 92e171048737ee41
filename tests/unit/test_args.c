#include "ops/args.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

struct parsed {
    bool flag;
    const char *config;
    int64_t n, at_ms;
    double rate;
    struct args_list overrides, rest;
};

static int parse(struct parsed *p, int argc, char **argv)
{
    *p = (struct parsed){0};
    const struct args_option options[] = {
        {"flag", 'f', ARGS_FLAG, &p->flag, NULL, "a flag"},
        {"config", 'c', ARGS_STRING, &p->config, "FILE", "a file"},
        {"events", 0, ARGS_INT, &p->n, "N", "a number"},
        {"rate", 0, ARGS_REAL, &p->rate, "R", "a real"},
        {"from", 0, ARGS_TIME, &p->at_ms, "TIME", "a time"},
        {NULL, 'o', ARGS_LIST, &p->overrides, "K=V", "a list"},
    };
    return args_parse(argc, argv, "command", options, sizeof options / sizeof options[0], &p->rest);
}

#define PARSE(p, ...)                                                                              \
    parse(p, (int)(sizeof((char *[]){"command", __VA_ARGS__}) / sizeof(char *)),                   \
          (char *[]){"command", __VA_ARGS__})

static void test_every_type(void **state)
{
    (void)state;
    struct parsed p;
    assert_int_equal(PARSE(&p, "-f", "--config", "a.yaml", "--events=12", "--rate", "0.5", "-o",
                           "a=b", "-o", "c=d=e", "one", "-", "--from=1970-01-02"),
                     -1);
    assert_true(p.flag);
    assert_string_equal(p.config, "a.yaml");
    assert_int_equal(p.n, 12);
    assert_true(p.rate == 0.5);
    assert_int_equal(p.at_ms, 86400000);
    assert_int_equal(p.overrides.n, 2);
    assert_string_equal(p.overrides.item[1], "c=d=e");
    assert_int_equal(p.rest.n, 2);
    assert_string_equal(p.rest.item[1], "-");
}

static void test_refused(void **state)
{
    (void)state;
    struct parsed p;
    (void)freopen("/dev/null", "w", stderr);
    assert_int_equal(PARSE(&p, "--nothing"), EXIT_USAGE);
    assert_int_equal(PARSE(&p, "-x"), EXIT_USAGE);
    assert_int_equal(PARSE(&p, "--conf", "x"), EXIT_USAGE);
    assert_int_equal(PARSE(&p, "--config"), EXIT_USAGE);
    assert_int_equal(PARSE(&p, "--events", "12x"), EXIT_USAGE);
    assert_int_equal(PARSE(&p, "--flag=1"), EXIT_USAGE);
    assert_int_equal(PARSE(&p, "--from", "yesterday"), EXIT_USAGE);
    assert_int_equal(PARSE(&p, "--"), EXIT_USAGE);
    assert_int_equal(PARSE(&p, "--rate", "nan"), EXIT_USAGE);
    assert_int_equal(PARSE(&p, "--rate", "1e999"), EXIT_USAGE);
}

static void test_times(void **state)
{
    (void)state;
    int64_t ms = 0;
    assert_true(args_time_ms(&ms, "1650812741436"));
    assert_int_equal(ms, 1650812741436);
    assert_true(args_time_ms(&ms, "2022-04-24T15:05:41Z"));
    assert_int_equal(ms, 1650812741000);
    assert_true(args_time_ms(&ms, "2022-04-24T15:05"));
    assert_false(args_time_ms(&ms, "-5"));
    assert_false(args_time_ms(&ms, ""));
    assert_false(args_time_ms(&ms, "2022-04-24 noon"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_type),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
