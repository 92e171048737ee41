/* Forms, optimizers, schedules, regularizers and dropout: weights, n_j and scores after 100 steps
 * of a whole trainer against PyTorch in double (tests/golden/torch), within 1e-3 of the largest
 * number of a tensor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "learner/version.h"
#include "tests/support/example_stream.h"
#include "tests/support/torch_golden.h"
#include "tests/support/trainers.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { EXAMPLES_MAX = 64 };

static const double LIMIT = 1e-3;

struct training {
    struct torch_golden golden;
    struct example_stream stream;
    struct trainer *trainer;
    uint64_t fed;
    char dir[32]; /* of the version with the fixed counts; empty where there is none */
};

static uint64_t key_of(uint64_t row)
{
    return (row + 1) * 0x9E3779B97F4A7C15u;
}

static uint8_t read_ids(const json_t *bag, uint64_t *ids)
{
    for (size_t i = 0; i < json_array_size(bag); i++) {
        ids[i] = key_of((uint64_t)json_integer_value(json_array_get(bag, i)));
    }
    return (uint8_t)json_array_size(bag);
}

static uint32_t add_history(struct training *t, uint32_t q, const json_t *history)
{
    enum { STEPS = 16, IDS = 16 };
    static uint64_t ids[STEPS][IDS];
    static uint8_t counts[STEPS][8];
    struct example_step steps[STEPS];
    size_t n = json_array_size(history);
    for (size_t s = 0; s < n; s++) {
        size_t at = 0;
        for (uint32_t f = 0; f < t->golden.schema.sequences[q].n_fields; f++) {
            counts[s][f] = read_ids(json_array_get(json_array_get(history, s), f), &ids[s][at]);
            at += counts[s][f];
        }
        steps[s] = (struct example_step){.counts = counts[s], .ids = ids[s]};
    }
    return example_stream_sequence(&t->stream, q, steps, (uint32_t)n);
}

static void add_examples(struct training *t)
{
    const json_t *examples = json_object_get(t->golden.data, "examples");
    const struct schema *schema = &t->golden.schema;
    for (size_t i = 0; i < json_array_size(examples); i++) {
        const json_t *from = json_array_get(examples, i);
        uint8_t counts[SCHEMA_FIELDS_MAX];
        uint64_t ids[64];
        size_t at = 0;
        for (uint32_t f = 0; f < schema->n_fields; f++) {
            counts[f] = read_ids(json_array_get(json_object_get(from, "fields"), f), ids + at);
            at += counts[f];
        }
        struct example e = {.user = i + 1, .sample_rate = 1.0f, .counts = counts, .ids = ids};
        e.kind = json_integer_value(json_object_get(from, "label")) != 0 ? EXAMPLE_POSITIVE
                                                                         : EXAMPLE_NEGATIVE;
        for (uint32_t q = 0; q < schema->n_sequences; q++) {
            e.sequence[q] =
                add_history(t, q, json_array_get(json_object_get(from, "sequences"), q));
        }
        (void)example_stream_add(&t->stream, &e);
    }
}

static double number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static const char *word(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

/* Which of the names, in the order of an enum, it is; NULL ends. */
static unsigned choice(const char *text, const char *const *names)
{
    unsigned i = 0;
    while (names[i] != NULL && strcmp(names[i], text) != 0) {
        i++;
    }
    if (names[i] == NULL) {
        fail_msg("`%s` is no choice", text);
    }
    return i;
}

static const char *const OPTIMIZERS[] = {"sgd", "adagrad", "adam", "ftrl", NULL};
static const char *const REGULARIZERS[] = {"none", "mba", "l2", "difacto", NULL};
static const char *const FORMS[] = {"once", "count", NULL};
static const char *const COUNTERS[] = {"running", "window", "projected", "fixed", NULL};
static const char *const DECAYS[] = {"constant", "exponential", "inverse_sqrt", "linear", NULL};

static void read_optimizer(struct trainer_options *out, const struct schema *schema,
                           const json_t *o)
{
    out->optimizer = (struct optimizer_options){
        .kind = (enum optimizer_kind)choice(word(o, "kind"), OPTIMIZERS),
        .rate = number(o, "rate"),
        .dense_rate = number(o, "dense_rate"),
        .eps = number(o, "eps"),
        .beta1 = number(o, "beta1"),
        .beta2 = number(o, "beta2"),
        .accumulator = number(o, "accumulator"),
        .beta = number(o, "beta"),
        .l1 = number(o, "l1"),
        .l2 = number(o, "l2"),
    };
    const char *table;
    json_t *rate;
    json_object_foreach(json_object_get(o, "rates"), table, rate)
    {
        out->table_rate[schema_table_find(schema, table)] = json_number_value(rate);
    }
}

static void read_regularizer(struct regularizer_options *out, const json_t *z)
{
    *out = (struct regularizer_options){
        .kind = (enum regularizer_kind)choice(word(z, "kind"), REGULARIZERS),
        .lambda = number(z, "lambda"),
        .form = (enum regularizer_form)choice(word(z, "form"), FORMS),
        .decoupled = json_is_true(json_object_get(z, "decoupled")),
        .counts = {.mode = (enum instances_mode)choice(word(z, "counter"), COUNTERS),
                   .window = (uint64_t)number(z, "window"),
                   .decay = number(z, "decay"),
                   .epoch = (uint64_t)number(z, "epoch")},
    };
}

static void read_schedule(struct schedule_options *out, const json_t *schedule)
{
    if (json_is_object(schedule)) {
        *out = (struct schedule_options){
            .warmup = (uint64_t)number(schedule, "warmup"),
            .decay = (enum schedule_decay)choice(word(schedule, "decay"), DECAYS),
            .decay_rate = number(schedule, "decay_rate"),
            .decay_examples = (uint64_t)number(schedule, "decay_examples"),
            .floor = number(schedule, "floor"),
        };
    }
}

static struct trainer_options options(const struct torch_golden *g)
{
    struct trainer_options out = trainers_options();
    out.model = g->model;
    out.batch_max = g->batch_max;
    read_optimizer(&out, &g->schema, json_object_get(g->file, "optimizer"));
    read_regularizer(&out.regularizer, json_object_get(g->file, "regularizer"));
    read_schedule(&out.schedule, json_object_get(g->file, "schedule"));
    out.clip_norm = number(g->file, "clip_norm");
    out.dropout = number(g->file, "dropout");
    out.admission = (uint32_t)number(g->file, "admission");
    out.row_scale = out.admission > 0 ? 0.0 : out.row_scale; /* rows that begin later, with zeros */
    return out;
}

static void learn(const struct training *t, struct trainer *trainer, uint64_t seq)
{
    struct undine_err err = {0};
    uint32_t i = (uint32_t)(seq % t->stream.n);
    struct example_block block = example_stream_block(&t->stream, i, i + 1);
    block.first_seq = seq;
    int rc = trainer_learn(trainer, &block, UINT32_MAX, &err);
    if (rc < 0) {
        fail_msg("%s", err.msg);
    }
}

/* The counts of a pass over the first n examples, as `fixed` wants them: a version of it. */
static void write_counts(struct training *t, uint32_t n, struct regularizer_options *out)
{
    struct trainer_options pass = trainers_options();
    const struct version_extra extra = {0};
    struct undine_err err = {0};
    struct version_info info;
    struct snapshot *s = NULL;
    struct trainer *trainer = NULL;
    pass.batch_max = n;
    (void)snprintf(t->dir, sizeof t->dir, "test_torch_XXXXXX");
    assert_non_null(mkdtemp(t->dir));
    assert_int_equal(trainer_open(&trainer, &t->golden.schema, &pass, &err), 0);
    for (uint32_t i = 0; i < n; i++) {
        learn(t, trainer, i);
    }
    assert_int_equal(trainer->counters.steps, 1);
    assert_int_equal(trainer_snapshot(trainer, &s, &err), 0);
    assert_int_equal(version_write(t->dir, s, &extra, false, &info, &err), 0);
    (void)snprintf(out->counts.counts, sizeof out->counts.counts, "%s/%s", t->dir, info.name);
    snapshot_free(s);
    trainer_close(trainer);
}

/* The row of an id; where ids wait for admission, the shared one. */
static struct table_row *row_of(const struct training *t, uint32_t k, uint32_t row)
{
    struct undine_err err = {0};
    uint64_t key = key_of(row);
    uint32_t number_in_table;
    if (t->trainer->opt.admission > 0) {
        number_in_table = table_find(&t->trainer->table[k], key);
        return table_row(&t->trainer->table[k],
                         number_in_table != TABLE_NONE ? number_in_table : 0);
    }
    assert_int_equal(table_need(&t->trainer->table[k], &key, &number_in_table, 1, &err), 0);
    return table_row(&t->trainer->table[k], number_in_table);
}

static void start_rows(const struct training *t)
{
    for (uint32_t k = 0; k < t->golden.schema.n_tables; k++) {
        char tensor[SCHEMA_NAME_MAX + 8];
        uint32_t rows = torch_golden_rows(&t->golden, k), width = t->trainer->table[k].opt.dim;
        (void)snprintf(tensor, sizeof tensor, "table.%s", t->golden.schema.tables[k].name);
        for (uint32_t i = 0; i < rows * width; i++) {
            row_of(t, k, i / width)->value[i % width] =
                (float)torch_golden_initial(&t->golden, tensor, rows, width, i);
        }
    }
}

static void training_open(struct training *t, const char *name)
{
    struct undine_err err = {0};
    *t = (struct training){0};
    torch_golden_open(&t->golden, name);
    example_stream_init(&t->stream, &t->golden.schema);
    add_examples(t);
    struct trainer_options o = options(&t->golden);
    if (o.regularizer.counts.mode == INSTANCES_FIXED) {
        const json_t *z = json_object_get(t->golden.file, "regularizer");
        write_counts(t, (uint32_t)number(z, "known"), &o.regularizer);
    }
    if (trainer_open(&t->trainer, &t->golden.schema, &o, &err) < 0) {
        fail_msg("%s: %s", name, err.msg);
    }
    torch_golden_start(&t->golden, t->trainer->model);
    if (o.admission == 0) {
        start_rows(t);
    }
}

static void training_close(struct training *t)
{
    if (t->dir[0] != '\0') {
        char command[128];
        (void)snprintf(command, sizeof command, "rm -r %s", t->dir);
        assert_int_equal(system(command), 0);
    }
    trainer_close(t->trainer);
    example_stream_release(&t->stream);
    torch_golden_close(&t->golden);
}

static void train_to(struct training *t, uint64_t steps)
{
    for (; t->fed < steps * t->golden.batch_max; t->fed++) {
        learn(t, t->trainer, t->fed);
    }
    assert_int_equal(t->trainer->counters.steps, steps);
}

/* ---- what came out ---- */

static void hold(const char *file, const char *what, const json_t *expected, const float *got,
                 size_t n, double limit)
{
    double error = torch_golden_error(expected, got, n);
    if (!(error <= limit)) {
        fail_msg("%s: %s: relative error %.3g, at most %.1g", file, what, error, limit);
    }
}

/* What a version of the trainer would say of the rows, in the order of the file. */
static void copy_weights(const struct training *t, const struct snapshot *s, uint32_t k, float *to)
{
    const struct snapshot_table *from = &s->table[k];
    uint32_t rows = torch_golden_rows(&t->golden, k);
    for (uint32_t r = 0; r < rows; r++) {
        uint64_t key = row_of(t, k, r)->key, i = 0;
        while (i < from->n_rows && from->key[i] != key) {
            i++;
        }
        assert_true(i < from->n_rows);
        memcpy(to + r * from->dim, from->weight + i * from->dim, from->dim * sizeof *to);
    }
}

/* n_j as the batch just learned saw it, or the next one would if it were of the same period. */
static void copy_counts(const struct training *t, uint32_t k, float *to)
{
    uint32_t rows = torch_golden_rows(&t->golden, k);
    for (uint32_t r = 0; r < rows; r++) {
        struct table_row copy = *row_of(t, k, r);
        to[r] = (float)instances_count(&t->trainer->regularizer.instances, k, &copy, 0.0f);
    }
}

static void compare_rows(const struct training *t, const char *name, const json_t *after,
                         const struct snapshot *s)
{
    static float got[256];
    for (uint32_t k = 0; k < t->golden.schema.n_tables; k++) {
        const char *table = t->golden.schema.tables[k].name;
        char tensor[SCHEMA_NAME_MAX + 8];
        uint32_t rows = torch_golden_rows(&t->golden, k);
        copy_counts(t, k, got);
        hold(name, table, json_object_get(json_object_get(after, "n"), table), got, rows, 1e-5);
        copy_weights(t, s, k, got);
        (void)snprintf(tensor, sizeof tensor, "table.%s", table);
        hold(name, tensor, json_object_get(json_object_get(after, "value"), tensor), got,
             (size_t)rows * s->table[k].dim, LIMIT);
    }
}

/* What scorers would say of the first batch. */
static void compare_scores(const struct training *t, const char *name, const json_t *after,
                           const struct snapshot *s)
{
    struct model_scratch *scratch = NULL;
    struct toy_batch toy;
    float logit[EXAMPLES_MAX];
    torch_golden_batch(&t->golden, &toy);
    for (uint32_t k = 0; k < t->golden.schema.n_tables; k++) {
        copy_weights(t, s, k, toy.weight[k]);
    }
    assert_int_equal(model_scratch_open(&scratch, t->trainer->model, NULL), 0);
    assert_int_equal(model_score(t->trainer->model, scratch, &toy.batch, logit, NULL), 0);
    hold(name, "serve", json_object_get(after, "serve"), logit, toy.batch.n, LIMIT);
    model_scratch_close(scratch);
    toy_batch_release(&toy);
}

static void compare(const struct training *t, const char *name, const json_t *after)
{
    const json_t *value = json_object_get(after, "value");
    struct undine_err err = {0};
    struct snapshot *s = NULL;
    size_t n;
    const struct model_param *p = model_params(t->trainer->model, &n);
    for (size_t k = 0; k < n; k++) {
        hold(name, p[k].name, json_object_get(value, p[k].name),
             model_values(t->trainer->model) + p[k].offset, (size_t)p[k].rows * p[k].cols, LIMIT);
    }
    assert_int_equal(trainer_snapshot(t->trainer, &s, &err), 0);
    compare_rows(t, name, after, s);
    compare_scores(t, name, after, s);
    snapshot_free(s);
}

static void check(const char *name)
{
    static struct training t;
    const char *steps;
    json_t *after;
    training_open(&t, name);
    json_object_foreach(json_object_get(t.golden.file, "after"), steps, after)
    {
        train_to(&t, strtoull(steps, NULL, 10));
        compare(&t, name, after);
    }
    training_close(&t);
}

/* Every file of the folder whose name begins so; returns how many. */
static unsigned check_all(const char *prefix)
{
    unsigned n = 0;
    DIR *dir = opendir(TORCH_GOLDEN_DIR);
    assert_non_null(dir);
    for (const struct dirent *d = readdir(dir); d != NULL; d = readdir(dir)) {
        size_t len = strlen(d->d_name);
        char name[256];
        if (strncmp(d->d_name, prefix, strlen(prefix)) == 0 && len > 5 &&
            strcmp(d->d_name + len - 5, ".json") == 0) {
            (void)snprintf(name, sizeof name, "%.*s", (int)len - 5, d->d_name);
            check(name);
            n++;
        }
    }
    (void)closedir(dir);
    return n;
}

/* ---- tests ---- */

static void test_o1_optimizers_equal_torch(void **state)
{
    (void)state;
    check("optimizer_sgd");
    check("optimizer_adagrad");
    check("optimizer_adagrad_small");
    check("optimizer_adam");
    check("optimizer_ftrl");
}

static void test_o1_rates_by_table_equal_torch(void **state)
{
    (void)state;
    assert_int_equal(check_all("rates_"), 3);
}

static void test_o1_schedules_equal_torch(void **state)
{
    (void)state;
    assert_int_equal(check_all("schedule_"), 8);
}

static void test_o4_clip_equals_torch(void **state)
{
    (void)state;
    check("optimizer_clip");
    check("optimizer_clip_mba");
}

static void test_m8_m9_mba_equals_torch(void **state)
{
    (void)state;
    assert_int_equal(check_all("mba_once_") + check_all("mba_count_"), 12);
}

static void test_m4_mba_with_fixed_counts_equals_torch(void **state)
{
    (void)state;
    assert_int_equal(check_all("mba_fixed_"), 6);
}

static void test_m5_mba_with_projected_counts_equals_torch(void **state)
{
    (void)state;
    assert_int_equal(check_all("mba_projected_"), 6);
}

/* The files decay every counter in every period. */
static void test_m13_mba_with_window_counts_equals_torch(void **state)
{
    (void)state;
    assert_int_equal(check_all("mba_window_"), 7);
}

/* The files decay every row in every step. */
static void test_l2_and_difacto_equal_torch(void **state)
{
    (void)state;
    assert_int_equal(check_all("l2_"), 3);
    assert_int_equal(check_all("difacto_"), 6);
}

/* The files leave out the ids that the hash of dropout.h names. */
static void test_dropout_equals_torch(void **state)
{
    (void)state;
    assert_int_equal(check_all("dropout_"), 4);
}

/* The file reads and trains one more row for all ids that were held less than 100 times. */
static void test_admission_equals_torch(void **state)
{
    (void)state;
    assert_int_equal(check_all("admission_"), 1);
}

static void test_forms_after_100_steps_equal_torch(void **state)
{
    (void)state;
    assert_int_equal(check_all("form_"), 15);
    assert_int_equal(check_all("activation_"), 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_o1_optimizers_equal_torch),
        cmocka_unit_test(test_o1_rates_by_table_equal_torch),
        cmocka_unit_test(test_o1_schedules_equal_torch),
        cmocka_unit_test(test_o4_clip_equals_torch),
        cmocka_unit_test(test_m8_m9_mba_equals_torch),
        cmocka_unit_test(test_m4_mba_with_fixed_counts_equals_torch),
        cmocka_unit_test(test_m5_mba_with_projected_counts_equals_torch),
        cmocka_unit_test(test_m13_mba_with_window_counts_equals_torch),
        cmocka_unit_test(test_l2_and_difacto_equal_torch),
        cmocka_unit_test(test_dropout_equals_torch),
        cmocka_unit_test(test_admission_equals_torch),
        cmocka_unit_test(test_forms_after_100_steps_equal_torch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
