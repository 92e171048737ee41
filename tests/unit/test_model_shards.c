/* Shards hold every example and every step once, and no sequence is in two of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/random.h"
#include "learner/model/shards.h"

#include <stdbool.h>

enum { EXAMPLES = 700, SEQUENCES = 300 };

struct world {
    uint32_t step_offset[SEQUENCES + 1], of_example[EXAMPLES];
    struct batch_sequences in;
    struct shards shards;
};

static void world_open(struct world *w, uint32_t sequences, uint32_t steps_max, uint64_t seed)
{
    struct random r = {seed};
    *w = (struct world){.in = {.n = sequences}};
    w->in.step_offset = w->step_offset;
    w->in.of_example = w->of_example;
    for (uint32_t k = 0; k < sequences; k++) {
        w->step_offset[k + 1] = w->step_offset[k] + (uint32_t)random_below(&r, steps_max + 1);
    }
    for (uint32_t i = 0; i < EXAMPLES; i++) {
        w->of_example[i] = (uint32_t)random_below(&r, sequences);
    }
}

static void assert_whole(const struct world *w)
{
    static bool seen[EXAMPLES];
    const struct shards *s = &w->shards;
    const uint32_t *order = s->order.data;
    for (size_t i = 0; i < EXAMPLES; i++) {
        seen[i] = false;
    }
    assert_true(s->n >= 1 && s->n <= SHARDS_MAX);
    assert_int_equal(s->first[0], 0);
    assert_int_equal(s->sequence[0], 0);
    assert_int_equal(s->first[s->n], EXAMPLES);
    assert_int_equal(s->sequence[s->n], w->in.n);
    for (size_t i = 0; i < s->n; i++) {
        assert_true(s->sequence[i] < s->sequence[i + 1]);
        for (uint32_t x = s->first[i]; x < s->first[i + 1]; x++) {
            uint32_t k = w->of_example[order[x]];
            assert_false(seen[order[x]]);
            seen[order[x]] = true;
            assert_true(k >= s->sequence[i] && k < s->sequence[i + 1]);
            assert_true(x == 0 || w->of_example[order[x - 1]] < k ||
                        (w->of_example[order[x - 1]] == k && order[x - 1] < order[x]));
        }
    }
}

static void test_every_example_is_in_the_shard_of_its_sequence(void **state)
{
    (void)state;
    static const uint32_t sequences[] = {1, 2, 17, SEQUENCES};
    static const uint32_t steps[] = {0, 1, 60};
    static struct world w;
    for (size_t i = 0; i < sizeof sequences / sizeof sequences[0]; i++) {
        for (size_t k = 0; k < sizeof steps / sizeof steps[0]; k++) {
            world_open(&w, sequences[i], steps[k], i + 10 * k);
            assert_true(shards_cut(&w.shards, &w.in, EXAMPLES));
            assert_whole(&w);
            shards_release(&w.shards);
        }
    }
}

/* No shard has so much work that the others would wait for it, unless one sequence has. */
static void test_shards_are_of_about_equal_work(void **state)
{
    (void)state;
    static struct world w;
    world_open(&w, SEQUENCES, 60, 7);
    assert_true(shards_cut(&w.shards, &w.in, EXAMPLES));
    assert_whole(&w);
    assert_true(w.shards.n >= SHARDS_MAX - 1);
    size_t pairs = 0, most = 0;
    for (size_t i = 0; i < w.shards.n; i++) {
        size_t held = 0;
        for (uint32_t x = w.shards.first[i]; x < w.shards.first[i + 1]; x++) {
            uint32_t k = w.of_example[((const uint32_t *)w.shards.order.data)[x]];
            held += w.step_offset[k + 1] - w.step_offset[k];
        }
        pairs += held;
        most = held > most ? held : most;
    }
    assert_true(most * w.shards.n < 2 * pairs);
    shards_release(&w.shards);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_example_is_in_the_shard_of_its_sequence),
        cmocka_unit_test(test_shards_are_of_about_equal_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
