#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/nearest.h"

#include <string.h>

static const char *const COMMANDS[] = {"run", "replay", "generate", "import", "score", "inspect"};

static const char *meant(const char *word)
{
    struct nearest n = nearest_of(word);
    for (size_t i = 0; i < sizeof COMMANDS / sizeof COMMANDS[0]; i++) {
        nearest_offer(&n, COMMANDS[i]);
    }
    return n.name;
}

static void test_each_kind_of_edit(void **state)
{
    (void)state;
    assert_string_equal(meant("relay"), "replay");    /* one missing */
    assert_string_equal(meant("runn"), "run");        /* one too many */
    assert_string_equal(meant("scare"), "score");     /* one changed */
    assert_string_equal(meant("nisepct"), "inspect"); /* two exchanges: distance 2 each way */
    assert_string_equal(meant("import"), "import");   /* itself */
}

static void test_far_words_mean_nothing(void **state)
{
    (void)state;
    assert_null(meant("q"));
    assert_null(meant("zzzzzz"));
    assert_null(meant("configuration"));
}

static void test_distance_counts_an_exchange_once(void **state)
{
    (void)state;
    struct nearest n = nearest_of("abcd");
    nearest_offer(&n, "abdc");
    assert_int_equal(n.distance, 1);
    nearest_offer(&n, "abce"); /* as close, but later */
    assert_string_equal(n.name, "abdc");
    nearest_offer(&n, "abcd");
    assert_int_equal(n.distance, 0);
}

static void test_empty_and_long_words(void **state)
{
    (void)state;
    char text[400];
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = '\0';
    struct nearest n = nearest_of(text);
    nearest_offer(&n, "run");
    assert_null(n.name);
    n = nearest_of("run");
    nearest_offer(&n, text);
    assert_null(n.name);
    n = nearest_of("");
    nearest_offer(&n, "run");
    assert_null(n.name);
    nearest_offer(&n, "");
    assert_int_equal(n.distance, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_kind_of_edit),
        cmocka_unit_test(test_far_words_mean_nothing),
        cmocka_unit_test(test_distance_counts_an_exchange_once),
        cmocka_unit_test(test_empty_and_long_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
