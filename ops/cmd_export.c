#include "ops/args.h"
#include "learner/model/json_text.h"
#include "ops/cmd.h"
#include "ops/onnx_export.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* DIR and name of "DIR/000000000042", or of the published version of "DIR". */
static int find_version(char dir[VERSION_PATH_MAX], char name[VERSION_NAME_MAX], const char *path,
                        struct undine_err *err)
{
    uint64_t number;
    if (snprintf(dir, VERSION_PATH_MAX, "%s", path) >= VERSION_PATH_MAX) {
        return undine_err_set(err, UNDINE_EINVAL, "the path of the version is too long");
    }
    for (size_t len = strlen(dir); len > 1 && dir[len - 1] == '/'; len--) {
        dir[len - 1] = '\0';
    }
    char *slash = strrchr(dir, '/');
    const char *last = slash != NULL ? slash + 1 : dir;
    if (!version_number(&number, last)) {
        return version_dir_current(dir, name, err);
    }
    version_name(name, number);
    if (slash == NULL) {
        (void)strcpy(dir, ".");
    } else {
        slash[slash == dir] = '\0';
    }
    return UNDINE_OK;
}

static void print_result(const struct onnx_export *result, const struct manifest *m,
                         const char *output)
{
    json_t *rows = json_object();
    for (uint32_t i = 0; i < m->schema.n_tables; i++) {
        (void)json_object_set_new(rows, m->schema.tables[i].name,
                                  json_integer((json_int_t)result->rows[i]));
    }
    json_t *o =
        json_pack("{s:I, s:s, s:s, s:I, s:o}", "version", (json_int_t)m->number, "digest",
                  m->digest, "output", output, "bytes", (json_int_t)result->bytes, "rows", rows);
    char *text = o != NULL ? json_text_print(o, JSON_COMPACT) : NULL;
    (void)printf("%s\n", text != NULL ? text : "{}");
    free(text);
    json_decref(o);
}

static int export_onnx(const char *version, enum onnx_unit unit, const char *output)
{
    char dir[VERSION_PATH_MAX], name[VERSION_NAME_MAX];
    struct undine_err err = {0};
    struct onnx_export result;
    struct version_chain *chain = NULL;
    int rc = find_version(dir, name, version, &err);
    if (rc == UNDINE_OK) {
        rc = version_chain_open(&chain, dir, name, NULL, false, &err);
    }
    if (rc == UNDINE_OK) {
        rc = onnx_export(&result, chain, unit, output, &err);
    }
    if (rc == UNDINE_OK) {
        print_result(&result, chain->manifest, output);
    } else {
        (void)fprintf(stderr, "undine export: %s\n", err.msg);
    }
    version_chain_close(chain);
    return args_exit_code(rc);
}

static bool find_unit(enum onnx_unit *out, const char *name)
{
    bool naive = strcmp(name, "naive") == 0;
    *out = naive ? ONNX_UNIT_NAIVE : ONNX_UNIT_FACTORIZED;
    return naive || strcmp(name, "factorized") == 0;
}

int cmd_export(int argc, char **argv)
{
    const char *version = NULL, *output = NULL, *unit_name = "factorized";
    enum onnx_unit unit;
    const struct args_option options[] = {
        {"onnx", 0, ARGS_STRING, &version, "VERSION",
         "the version, as VERSIONS/000000000042, or VERSIONS for the published one (required)"},
        {"output", 0, ARGS_STRING, &output, "DIR", "a new directory (required)"},
        {"unit", 0, ARGS_STRING, &unit_name, "FORM",
         "how the activation unit's first layer is written: factorized (default) or naive"},
    };
    int code = args_parse(argc, argv, "export --onnx VERSION --output DIR [options]", options,
                          sizeof options / sizeof options[0], NULL);
    if (code >= 0) {
        return code;
    }
    if (version == NULL || output == NULL) {
        (void)fprintf(stderr, "undine export: %s is required; see `undine export --help`\n",
                      version == NULL ? "--onnx" : "--output");
        return EXIT_USAGE;
    }
    if (!find_unit(&unit, unit_name)) {
        (void)fprintf(stderr, "undine export: --unit is factorized or naive, not `%s`\n",
                      unit_name);
        return EXIT_USAGE;
    }
    return export_onnx(version, unit, output);
}
