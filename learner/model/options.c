#include "learner/model/options.h"

#include "learner/model/json_text.h"

#include <jansson.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

const struct model_options MODEL_OPTIONS_DEFAULT = {
    .kind = MODEL_DIN,
    .base_pool = SCHEMA_POOL_SUM,
    .unit = {.input = UNIT_PAPER,
             .n_hidden = 1,
             .hidden = {36},
             .activation = ACT_DICE,
             .normalize = UNIT_NONE},
    .mlp = {.n_hidden = 2, .hidden = {200, 80}, .activation = ACT_DICE},
    .dice = {.mode = DICE_AUTO, .eps = 1e-8, .momentum = 0.99, .alpha = 0.0},
    .prelu_alpha = 0.1,
    .seed = 0,
};

/* ---- names of the choices, in the order of the enums; NULL ends ----------------------------- */

static const char *const KINDS[] = {"base", "din", NULL};
static const char *const POOLS[] = {"sum", "mean", NULL};
static const char *const INPUTS[] = {"paper", "official", NULL};
static const char *const ACTIVATIONS[] = {"sigmoid", "relu", "tanh", "prelu", "dice", NULL};
static const char *const NORMALIZES[] = {"none",   "softmax",        "sqrt_dim",
                                         "length", "scaled_softmax", NULL};
static const char *const DICES[] = {"batch", "running", "auto", NULL};

/* ---- bounds ------------------------------------------------------------------------------- */

static int check_layers(const char *name, uint32_t n, const uint32_t *hidden,
                        struct undine_err *err)
{
    if (n < 1 || n > MODEL_LAYERS_MAX) {
        return undine_err_set(err, UNDINE_ECONFIG, "%s.hidden has %u layers, expected 1..%d", name,
                              n, MODEL_LAYERS_MAX);
    }
    for (uint32_t i = 0; i < n; i++) {
        if (hidden[i] < 1 || hidden[i] > MODEL_WIDTH_MAX) {
            return undine_err_set(err, UNDINE_ECONFIG, "%s.hidden[%u] is %u, expected 1..%d", name,
                                  i, hidden[i], MODEL_WIDTH_MAX);
        }
    }
    return UNDINE_OK;
}

static int check_number(const char *name, double x, double low, double high, struct undine_err *err)
{
    if (!isfinite(x) || x < low || x > high) {
        return undine_err_set(err, UNDINE_ECONFIG, "%s is %g, expected %g..%g", name, x, low, high);
    }
    return UNDINE_OK;
}

static int check_choice(const char *name, int value, const char *const *names,
                        struct undine_err *err)
{
    int n = 0;
    while (names[n] != NULL) {
        n++;
    }
    if (value < 0 || value >= n) {
        return undine_err_set(err, UNDINE_ECONFIG, "%s is choice %d of %d", name, value, n);
    }
    return UNDINE_OK;
}

static int check_choices(const struct model_options *o, struct undine_err *err)
{
    const struct {
        const char *name;
        int value;
        const char *const *names;
    } choices[] = {
        {"kind", (int)o->kind, KINDS},
        {"base_pool", (int)o->base_pool, POOLS},
        {"unit.input", (int)o->unit.input, INPUTS},
        {"unit.activation", (int)o->unit.activation, ACTIVATIONS},
        {"unit.normalize", (int)o->unit.normalize, NORMALIZES},
        {"mlp.activation", (int)o->mlp.activation, ACTIVATIONS},
        {"dice.mode", (int)o->dice.mode, DICES},
    };
    int rc = UNDINE_OK;
    for (size_t i = 0; rc == UNDINE_OK && i < sizeof choices / sizeof choices[0]; i++) {
        rc = check_choice(choices[i].name, choices[i].value, choices[i].names, err);
    }
    return rc;
}

int model_options_check(const struct model_options *o, struct undine_err *err)
{
    int rc = check_choices(o, err);
    if (rc == UNDINE_OK) {
        rc = check_layers("unit", o->unit.n_hidden, o->unit.hidden, err);
    }
    if (rc == UNDINE_OK) {
        rc = check_layers("mlp", o->mlp.n_hidden, o->mlp.hidden, err);
    }
    if (rc == UNDINE_OK) {
        rc = check_number("dice.eps", o->dice.eps, 1e-12, 1.0, err);
    }
    if (rc == UNDINE_OK) {
        rc = check_number("dice.momentum", o->dice.momentum, 0.0, 0.999999, err);
    }
    if (rc == UNDINE_OK) {
        rc = check_number("dice.alpha", o->dice.alpha, -10.0, 10.0, err);
    }
    if (rc == UNDINE_OK) {
        rc = check_number("prelu_alpha", o->prelu_alpha, -10.0, 10.0, err);
    }
    if (rc == UNDINE_OK && o->sum_history && o->kind == MODEL_BASE) {
        rc = undine_err_set(err, UNDINE_ECONFIG,
                            "sum_history is true with kind `base`, whose v_U is already the pooled "
                            "history: set it to false (`product` has c*v_U), or kind to `din`");
    }
    if (rc == UNDINE_OK && o->seed > INT64_MAX) {
        rc = undine_err_set(err, UNDINE_ECONFIG, "seed is %llu, expected 0..%lld",
                            (unsigned long long)o->seed, (long long)INT64_MAX);
    }
    return rc;
}

/* ---- to JSON ------------------------------------------------------------------------------ */

static json_t *layers_to_json(uint32_t n, const uint32_t *hidden)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < n; i++) {
        if (json_array_append_new(list, json_integer((json_int_t)hidden[i])) < 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

char *model_options_to_json(const struct model_options *o)
{
    if (model_options_check(o, NULL) != UNDINE_OK) {
        return NULL;
    }
    json_t *root = json_pack(
        "{s:s, s:s, s:{s:s, s:o, s:s, s:s}, s:{s:o, s:s}, s:{s:s, s:f, s:f, s:f}, s:f, s:b, s:b, "
        "s:b, "
        "s:I}",
        "kind", KINDS[o->kind], "base_pool", POOLS[o->base_pool], "unit", "input",
        INPUTS[o->unit.input], "hidden", layers_to_json(o->unit.n_hidden, o->unit.hidden),
        "activation", ACTIVATIONS[o->unit.activation], "normalize", NORMALIZES[o->unit.normalize],
        "mlp", "hidden", layers_to_json(o->mlp.n_hidden, o->mlp.hidden), "activation",
        ACTIVATIONS[o->mlp.activation], "dice", "mode", DICES[o->dice.mode], "eps", o->dice.eps,
        "momentum", o->dice.momentum, "alpha", o->dice.alpha, "prelu_alpha", o->prelu_alpha,
        "sum_history", (int)o->sum_history, "product", (int)o->product, "linear", (int)o->linear,
        "seed", (json_int_t)o->seed);
    char *text = root != NULL ? json_text_print(root, JSON_COMPACT) : NULL;
    json_decref(root);
    return text;
}

/* ---- from JSON ---------------------------------------------------------------------------- */

/* One member of an object; `path` is its name in messages. */
struct member {
    const char *key, *path;
    enum {
        MEMBER_OBJECT,
        MEMBER_CHOICE,
        MEMBER_NUMBER,
        MEMBER_BOOL,
        MEMBER_SEED,
        MEMBER_LAYERS
    } type;
    const char *const *names; /* MEMBER_CHOICE */
    void *to;
    uint32_t *n_to;               /* MEMBER_LAYERS */
    const struct member *members; /* MEMBER_OBJECT */
    size_t n_members;
};

static int read_choice(const struct member *m, const json_t *value, struct undine_err *err)
{
    char expected[128] = "";
    const char *text = json_string_value(value);
    for (unsigned i = 0; m->names[i] != NULL; i++) {
        if (text != NULL && strcmp(text, m->names[i]) == 0) {
            memcpy(m->to, &i, sizeof i); /* every enum here is an unsigned int */
            return UNDINE_OK;
        }
        size_t used = strlen(expected);
        (void)snprintf(expected + used, sizeof expected - used, "%s%s", i > 0 ? ", " : "",
                       m->names[i]);
    }
    return undine_err_set(err, UNDINE_ECONFIG, "%s is `%.64s`, expected one of: %s", m->path,
                          text != NULL ? text : "not a string", expected);
}

static int read_layers(const struct member *m, const json_t *value, struct undine_err *err)
{
    size_t n = json_array_size(value);
    if (!json_is_array(value) || n < 1 || n > MODEL_LAYERS_MAX) {
        return undine_err_set(err, UNDINE_ECONFIG, "%s must be a list of 1 to %d widths", m->path,
                              MODEL_LAYERS_MAX);
    }
    uint32_t *hidden = m->to;
    memset(hidden, 0, MODEL_LAYERS_MAX * sizeof *hidden);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(value, i);
        json_int_t width = json_integer_value(item);
        if (!json_is_integer(item) || width < 1 || width > MODEL_WIDTH_MAX) {
            return undine_err_set(err, UNDINE_ECONFIG,
                                  "%s[%zu] is %lld, expected an integer in 1..%d", m->path, i,
                                  (long long)width, MODEL_WIDTH_MAX);
        }
        hidden[i] = (uint32_t)width;
    }
    *m->n_to = (uint32_t)n;
    return UNDINE_OK;
}

static int read_scalar(const struct member *m, const json_t *value, struct undine_err *err)
{
    if (m->type == MEMBER_NUMBER) {
        if (!json_is_number(value)) {
            return undine_err_set(err, UNDINE_ECONFIG, "%s must be a number", m->path);
        }
        double number = json_number_value(value);
        memcpy(m->to, &number, sizeof number);
        return UNDINE_OK;
    }
    if (m->type == MEMBER_BOOL) {
        if (!json_is_boolean(value)) {
            return undine_err_set(err, UNDINE_ECONFIG, "%s must be true or false", m->path);
        }
        bool on = json_is_true(value);
        memcpy(m->to, &on, sizeof on);
        return UNDINE_OK;
    }
    if (!json_is_integer(value) || json_integer_value(value) < 0) {
        return undine_err_set(err, UNDINE_ECONFIG, "%s must be an integer in 0..%lld", m->path,
                              (long long)INT64_MAX);
    }
    uint64_t seed = (uint64_t)json_integer_value(value);
    memcpy(m->to, &seed, sizeof seed);
    return UNDINE_OK;
}

static const struct member *find_member(const struct member *list, size_t n, const char *key)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i].key, key) == 0) {
            return &list[i];
        }
    }
    return NULL;
}

/* Depth is that of the table: two. */
static int read_object(const char *path, json_t *object, const struct member *list, size_t n,
                       struct undine_err *err)
{
    const char *key;
    json_t *value;
    if (!json_is_object(object)) {
        return undine_err_set(err, UNDINE_ECONFIG, "%s must be a JSON object", path);
    }
    json_object_foreach(object, key, value)
    {
        const struct member *m = find_member(list, n, key);
        int rc = UNDINE_OK;
        if (m == NULL) {
            return undine_err_set(err, UNDINE_ECONFIG, "%s has no option `%.64s`", path, key);
        }
        switch (m->type) {
        case MEMBER_OBJECT:
            rc = read_object(m->path, value, m->members, m->n_members, err);
            break;
        case MEMBER_CHOICE:
            rc = read_choice(m, value, err);
            break;
        case MEMBER_LAYERS:
            rc = read_layers(m, value, err);
            break;
        case MEMBER_NUMBER:
        case MEMBER_BOOL:
        case MEMBER_SEED:
            rc = read_scalar(m, value, err);
            break;
        }
        if (rc != UNDINE_OK) {
            return rc;
        }
    }
    return UNDINE_OK;
}

static int read_options(struct model_options *o, json_t *root, struct undine_err *err)
{
    const struct member unit[] = {
        {"input", "unit.input", MEMBER_CHOICE, INPUTS, &o->unit.input, NULL, NULL, 0},
        {"hidden", "unit.hidden", MEMBER_LAYERS, NULL, o->unit.hidden, &o->unit.n_hidden, NULL, 0},
        {"activation", "unit.activation", MEMBER_CHOICE, ACTIVATIONS, &o->unit.activation, NULL,
         NULL, 0},
        {"normalize", "unit.normalize", MEMBER_CHOICE, NORMALIZES, &o->unit.normalize, NULL, NULL,
         0},
    };
    const struct member mlp[] = {
        {"hidden", "mlp.hidden", MEMBER_LAYERS, NULL, o->mlp.hidden, &o->mlp.n_hidden, NULL, 0},
        {"activation", "mlp.activation", MEMBER_CHOICE, ACTIVATIONS, &o->mlp.activation, NULL, NULL,
         0},
    };
    const struct member dice[] = {
        {"mode", "dice.mode", MEMBER_CHOICE, DICES, &o->dice.mode, NULL, NULL, 0},
        {"eps", "dice.eps", MEMBER_NUMBER, NULL, &o->dice.eps, NULL, NULL, 0},
        {"momentum", "dice.momentum", MEMBER_NUMBER, NULL, &o->dice.momentum, NULL, NULL, 0},
        {"alpha", "dice.alpha", MEMBER_NUMBER, NULL, &o->dice.alpha, NULL, NULL, 0},
    };
    const struct member all[] = {
        {"kind", "kind", MEMBER_CHOICE, KINDS, &o->kind, NULL, NULL, 0},
        {"base_pool", "base_pool", MEMBER_CHOICE, POOLS, &o->base_pool, NULL, NULL, 0},
        {"unit", "unit", MEMBER_OBJECT, NULL, NULL, NULL, unit, sizeof unit / sizeof unit[0]},
        {"mlp", "mlp", MEMBER_OBJECT, NULL, NULL, NULL, mlp, sizeof mlp / sizeof mlp[0]},
        {"dice", "dice", MEMBER_OBJECT, NULL, NULL, NULL, dice, sizeof dice / sizeof dice[0]},
        {"prelu_alpha", "prelu_alpha", MEMBER_NUMBER, NULL, &o->prelu_alpha, NULL, NULL, 0},
        {"sum_history", "sum_history", MEMBER_BOOL, NULL, &o->sum_history, NULL, NULL, 0},
        {"product", "product", MEMBER_BOOL, NULL, &o->product, NULL, NULL, 0},
        {"linear", "linear", MEMBER_BOOL, NULL, &o->linear, NULL, NULL, 0},
        {"seed", "seed", MEMBER_SEED, NULL, &o->seed, NULL, NULL, 0},
    };
    return read_object("model", root, all, sizeof all / sizeof all[0], err);
}

int model_options_from_json(struct model_options *out, const char *json, struct undine_err *err)
{
    struct undine_err why = {0};
    json_t *root = NULL;
    int rc = json_text_parse(&root, json, strlen(json), &why);
    if (rc < 0) {
        return undine_err_set(err, rc == UNDINE_ENOMEM ? rc : UNDINE_ECONFIG,
                              "model options are no JSON: %s", why.msg);
    }
    struct model_options o = MODEL_OPTIONS_DEFAULT;
    rc = read_options(&o, root, err);
    if (rc == UNDINE_OK) {
        rc = model_options_check(&o, err);
    }
    if (rc == UNDINE_OK) {
        *out = o;
    }
    json_decref(root);
    return rc;
}
