#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"
#include "featurestore/commit_chain.h"

static struct commit_chain link_of(uint64_t from)
{
    return (struct commit_chain){.from = from, .to = from + 1};
}

static void links_that_meet_become_one(void **state)
{
    (void)state;
    struct commit_chain c = link_of(0);
    for (uint64_t i = 1; i < 1000; i++) {
        struct commit_chain next = link_of(i);
        c = commit_chain_join(&c, &next);
    }
    assert_false(c.broken);
    assert_int_equal(c.from, 0);
    assert_int_equal(c.to, 1000);
}

/* In whatever groups a database folds them, a missing or a doubled link shows. */
static void a_hole_shows_however_they_are_folded(void **state)
{
    (void)state;
    enum { LINKS = 40 };
    for (uint64_t seed = 0; seed < 2000; seed++) {
        struct random r = {.state = seed};
        struct commit_chain part[LINKS + 1]; /* one may be there twice */
        uint64_t hole = 1 + random_below(&r, LINKS - 2);
        bool doubled = random_below(&r, 2) == 1;
        size_t n = 0;
        for (uint64_t i = 0; i < LINKS; i++) {
            if (i != hole || doubled) {
                part[n++] = link_of(i);
            }
            if (i == hole && doubled) {
                part[n++] = link_of(i);
            }
        }
        while (n > 1) {
            size_t at = random_below(&r, (uint32_t)n - 1);
            part[at] = commit_chain_join(&part[at], &part[at + 1]);
            n--;
            for (size_t i = at + 1; i < n; i++) {
                part[i] = part[i + 1];
            }
        }
        assert_true(part[0].broken);
    }
}

static void bytes_come_back(void **state)
{
    (void)state;
    uint8_t bytes[COMMIT_CHAIN_BYTES];
    const struct commit_chain was = {.from = 7, .to = UINT64_MAX, .broken = true};
    struct commit_chain is;
    commit_chain_encode(bytes, &was);
    assert_true(commit_chain_decode(&is, bytes, sizeof bytes));
    assert_int_equal(is.from, 7);
    assert_true(is.to == UINT64_MAX && is.broken);
    assert_false(commit_chain_decode(&is, bytes, sizeof bytes - 1));
    bytes[0] = COMMIT_CHAIN_VERSION + 1;
    assert_false(commit_chain_decode(&is, bytes, sizeof bytes));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(links_that_meet_become_one),
        cmocka_unit_test(a_hole_shows_however_they_are_folded),
        cmocka_unit_test(bytes_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
