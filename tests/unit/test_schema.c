#include "base/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
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
    REFUSED((s.sequences[0].from_behavior = 0, s.sequences[0].from_click = false),
            "no event feeds");
    REFUSED(s.n_fields = 33, "at most 32");
    REFUSED((s.n_sequences = 0, s.n_fields = 1, s.fields[0].group = SCHEMA_CONTEXT),
            "`fields` has none with `of: candidate`");
#undef REFUSED
}

static void test_own_tables(void **state)
{
    (void)state;
    struct undine_err err;
    struct schema shared = good(), s = good();
    s.sequences[0].own_tables = true;
    assert_int_equal(schema_check(&shared, &err), UNDINE_OK);
    assert_int_equal(schema_check(&s, &err), UNDINE_OK);
    assert_int_equal(shared.n_tables, 2);
    assert_int_equal(shared.sequences[0].table[1], 1);
    assert_int_equal(s.n_tables, 4);
    assert_int_equal(schema_table_find(&s, "clicks.item"), 2);
    assert_int_equal(schema_table_find(&s, "clicks.category"), 3);
    assert_int_equal(s.sequences[0].table[0], 2);
    assert_int_equal(s.sequences[0].table[1], 3);
    assert_true(s.tables[3].own && s.tables[3].source == 1 && s.tables[3].dim == 8);
    /* the stored events serve both */
    assert_true(s.tables[3].hash_seed == s.tables[1].hash_seed);
    assert_true(schema_data_digest(&s) == schema_data_digest(&shared));
    assert_true(schema_model_digest(&s) != schema_model_digest(&shared));
    struct schema again = s;
    assert_int_equal(schema_check(&again, &err), UNDINE_OK);
    assert_memory_equal(&again, &s, sizeof s);
}

static void name_tables(struct schema *s)
{
    for (uint32_t i = 2; i < s->n_tables; i++) {
        (void)snprintf(s->tables[i].name, SCHEMA_NAME_MAX, "t%u", i);
        s->tables[i].dim = 1;
    }
}

/* Fields of a step that share a table share the sequence's own. */
static void test_own_tables_keep_what_fields_share(void **state)
{
    (void)state;
    struct schema s = good();
    s.fields[1].table = 0;
    s.sequences[0].own_tables = true;
    assert_int_equal(schema_check(&s, NULL), UNDINE_OK);
    assert_int_equal(s.n_tables, 3);
    assert_true(s.sequences[0].table[0] == 2 && s.sequences[0].table[1] == 2);
}

static void test_own_tables_refused(void **state)
{
    (void)state;
    struct undine_err err;
#define REFUSED(change, text)                                                                      \
    do {                                                                                           \
        struct schema s = good();                                                                  \
        s.sequences[0].own_tables = true;                                                          \
        change;                                                                                    \
        assert_int_equal(schema_check(&s, &err), UNDINE_ECONFIG);                                  \
        if (strstr(err.msg, text) == NULL) {                                                       \
            fail_msg("%s", err.msg);                                                               \
        }                                                                                          \
    } while (0)
    REFUSED(memset(s.sequences[0].name, 'a', 43),
            "shares no tables, and `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.item` would be");
    REFUSED(strcpy(s.tables[1].name, "shop.item"), "table `shop.item`: a name is 1 to 47");
    REFUSED(strcpy(s.tables[1].name, "clicks.item"), "table `clicks.item`: dim is 8, expected the");
    REFUSED((strcpy(s.tables[1].name, "clicks.item"), s.tables[1].dim = 18),
            "field `category`: its table is a sequence's own");
    REFUSED((s.sequences[0].own_tables = false, strcpy(s.tables[1].name, "clicks.item")),
            "table `clicks.item`: a name is 1 to 47");
    REFUSED((s.n_tables = SCHEMA_TABLES_MAX, name_tables(&s)), "than the 64 that are allowed");
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
        cmocka_unit_test(test_own_tables),
        cmocka_unit_test(test_own_tables_keep_what_fields_share),
        cmocka_unit_test(test_own_tables_refused),
        cmocka_unit_test(test_digests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
