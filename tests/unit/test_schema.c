#include "base/schema.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

static struct schema good(void)
{
    struct schema s = {.n_tables = 2, .n_fields = 3, .n_behaviors = 1, .n_sequences = 1};
    s.tables[0] = (struct schema_table){.name = "item", .dim = 18};
    s.tables[1] = (struct schema_table){.name = "category", .dim = 8};
    s.fields[0] = (struct schema_field){.name = "item", .group = SCHEMA_CANDIDATE, .values_max = 1};
    s.fields[1] = (struct schema_field){
        .name = "category", .group = SCHEMA_CANDIDATE, .table = 1, .values_max = 4};
    s.fields[2] = (struct schema_field){.name = "last", .group = SCHEMA_USER, .values_max = 1};
    (void)snprintf(s.behaviors[0], SCHEMA_NAME_MAX, "cart");
    s.sequences[0] = (struct schema_sequence){.name = "clicks",
                                              .length = 50,
                                              .n_fields = 2,
                                              .field = {0, 1},
                                              .from_click = true,
                                              .from_behavior = 1};
    return s;
}

static void test_good(void **state)
{
    (void)state;
    struct schema s = good();
    struct undine_err err;
    assert_int_equal(schema_check(&s, &err), UNDINE_OK);
    assert_true(s.tables[0].hash_seed != 0 && s.tables[0].hash_seed != s.tables[1].hash_seed);
    assert_int_equal(schema_step_dim(&s, 0), 26);
    assert_int_equal(schema_field_dim(&s, 2), 18);
    assert_int_equal(schema_field_find(&s, "category"), 1);
    assert_int_equal(schema_field_find(&s, "shop"), -1);
    assert_int_equal(schema_behavior_find(&s, "cart"), 0);
    assert_int_equal(schema_sequence_find(&s, "clicks"), 0);
    assert_int_equal(schema_table_find(&s, "item"), 0);
}

/* Each fault of a schema is refused with the name at fault. */
static void test_refused(void **state)
{
    (void)state;
    struct undine_err err;
#define REFUSED(change, text)                                                                      \
    do {                                                                                           \
        struct schema s = good();                                                                  \
        change;                                                                                    \
        assert_int_equal(schema_check(&s, &err), UNDINE_ECONFIG);                                  \
        assert_non_null(strstr(err.msg, text));                                                    \
    } while (0)
    REFUSED(s.tables[1].dim = 0, "table `category`: dim is 0");
    REFUSED(s.tables[1].dim = 257, "expected 1..256");
    REFUSED(s.tables[1].name[0] = '\0', "table ``");
    REFUSED(s.fields[2].name[0] = ' ', "field ` ast`");
    REFUSED(strcpy(s.fields[2].name, "item"), "declared twice");
    REFUSED(s.fields[1].table = 2, "its table does not exist");
    REFUSED(s.fields[1].values_max = 256, "values_max is 256");
    REFUSED(s.fields[0].user_id = true, "only a user field");
    REFUSED(s.sequences[0].length = 0, "length is 0");
    REFUSED(s.sequences[0].n_fields = 0, "needs 1 to 8");
    REFUSED(s.sequences[0].field[1] = 2, "fields of the candidate");
    REFUSED(s.sequences[0].field[1] = 0, "names a field twice");
    REFUSED(s.sequences[0].from_behavior = 2, "not declared");
    REFUSED((s.sequences[0].from_behavior = 0, s.sequences[0].from_click = false), "no event feeds");
    REFUSED(s.n_fields = 33, "at most 32");
    REFUSED((s.n_sequences = 0, s.n_fields = 1, s.fields[0].group = SCHEMA_CONTEXT),
            "`fields` has none with `of: candidate`");
#undef REFUSED
}

static void test_digests(void **state)
{
    (void)state;
    struct schema a = good(), b = good();
    assert_true(schema_data_digest(&a) == schema_data_digest(&b));
    b.tables[0].dim = 19; /* the stored events do not care, the model does */
    assert_true(schema_data_digest(&a) == schema_data_digest(&b));
    assert_true(schema_model_digest(&a) != schema_model_digest(&b));
    b = good();
    b.sequences[0].length = 51;
    assert_true(schema_data_digest(&a) != schema_data_digest(&b));
    b = good();
    b.fields[1].table = 0;
    assert_true(schema_data_digest(&a) != schema_data_digest(&b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_digests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
