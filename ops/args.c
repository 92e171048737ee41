#include "ops/args.h"

#include "base/err.h"
#include "base/nearest.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void args_help(const char *summary, const struct args_option *options, size_t n_options)
{
    (void)printf("usage: undine %s\n\noptions\n", summary);
    for (size_t i = 0; i < n_options; i++) {
        const struct args_option *o = &options[i];
        char left[64], letter[8] = "    ";
        if (o->letter != 0) {
            (void)snprintf(letter, sizeof letter, "-%c%s", o->letter, o->name != NULL ? ", " : "");
        }
        (void)snprintf(left, sizeof left, "%s%s%s%s%s", letter, o->name != NULL ? "--" : "",
                       o->name != NULL ? o->name : "", o->value != NULL ? " " : "",
                       o->value != NULL ? o->value : "");
        (void)printf("  %-30s %s\n", left, o->help);
    }
    (void)printf("  %-30s %s\n", "    --help", "this text");
}

static const struct args_option *find_option(const struct args_option *options, size_t n,
                                             const char *arg, size_t name_len)
{
    for (size_t i = 0; i < n; i++) {
        bool is_long = arg[1] == '-' && options[i].name != NULL &&
                       strlen(options[i].name) == name_len &&
                       strncmp(arg + 2, options[i].name, name_len) == 0;
        bool is_short = arg[1] != '-' && arg[2] == '\0' && options[i].letter == arg[1];
        if (is_long || (is_short && arg[1] != '\0')) {
            return &options[i];
        }
    }
    return NULL;
}

bool args_time_ms(int64_t *out, const char *text)
{
    char *end = NULL;
    errno = 0;
    long long ms = strtoll(text, &end, 10);
    if (errno == 0 && end != text && *end == '\0') {
        *out = ms;
        return ms >= 0;
    }
    static const char *const forms[] = {"%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M",
                                        "%Y-%m-%d"};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct tm tm = {0};
        end = strptime(text, forms[i], &tm);
        if (end != NULL && *end == '\0') {
            *out = (int64_t)timegm(&tm) * 1000;
            return true;
        }
    }
    return false;
}

static bool store_value(const struct args_option *o, const char *value)
{
    char *end = NULL;
    errno = 0;
    switch (o->type) {
    case ARGS_FLAG:
        *(bool *)o->out = true;
        return true;
    case ARGS_STRING:
        *(const char **)o->out = value;
        return true;
    case ARGS_INT:
        *(int64_t *)o->out = strtoll(value, &end, 10);
        return errno == 0 && end != value && *end == '\0';
    case ARGS_REAL:
        *(double *)o->out = strtod(value, &end);
        return errno == 0 && end != value && *end == '\0' && isfinite(*(double *)o->out);
    case ARGS_TIME:
        return args_time_ms(o->out, value);
    case ARGS_LIST: {
        struct args_list *list = o->out;
        if (list->n == ARGS_LIST_MAX) {
            return false;
        }
        list->item[list->n++] = value;
        return true;
    }
    }
    return false;
}

/* Why store_value refused. */
static const char *expected(enum args_type type)
{
    switch (type) {
    case ARGS_INT:
        return "expected a whole number";
    case ARGS_REAL:
        return "expected a number";
    case ARGS_TIME:
        return "expected milliseconds since 1970, or a UTC time like 2026-01-31T12:00:00Z";
    default:
        return "given too often";
    }
}

static int value_error(const char *command, const struct args_option *o, const char *value)
{
    (void)fprintf(stderr, "undine %s: --%s is `%s`, %s; see `undine %s --help`\n", command,
                  o->name != NULL ? o->name : (const char[]){o->letter, '\0'}, value,
                  expected(o->type), command);
    return EXIT_USAGE;
}

static int unknown_option(const char *command, const struct args_option *options, size_t n,
                          const char *arg, size_t name_len)
{
    char word[64];
    (void)snprintf(word, sizeof word, "%.*s", (int)name_len, arg[1] == '-' ? arg + 2 : "");
    struct nearest near = nearest_of(word);
    for (size_t i = 0; i < n && word[0] != '\0'; i++) {
        if (options[i].name != NULL) {
            nearest_offer(&near, options[i].name);
        }
    }
    (void)fprintf(stderr, "undine %s: %s: no such option; ", command, arg);
    if (near.name != NULL) {
        (void)fprintf(stderr, "did you mean `--%s`?\n", near.name);
    } else {
        (void)fprintf(stderr, "see `undine %s --help`\n", command);
    }
    return EXIT_USAGE;
}

static int usage_error(const char *command, const char *arg, const char *why)
{
    (void)fprintf(stderr, "undine %s: %s: %s; see `undine %s --help`\n", command, arg, why,
                  command);
    return EXIT_USAGE;
}

int args_parse(int argc, char **argv, const char *summary, const struct args_option *options,
               size_t n_options, struct args_list *rest)
{
    const char *command = argv[0];
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
            args_help(summary, options, n_options);
            return EXIT_DONE;
        }
        if (arg[0] != '-' || arg[1] == '\0') { /* "-" is a file name: standard input or output */
            if (rest == NULL || rest->n == ARGS_LIST_MAX) {
                return usage_error(command, arg, "is not expected");
            }
            rest->item[rest->n++] = arg;
            continue;
        }
        const char *equals = arg[1] == '-' ? strchr(arg, '=') : NULL;
        size_t name_len = equals != NULL ? (size_t)(equals - arg) - 2 : strlen(arg) - 2;
        const struct args_option *o = find_option(options, n_options, arg, name_len);
        if (o == NULL) {
            return unknown_option(command, options, n_options, arg, name_len);
        }
        const char *value = equals != NULL ? equals + 1 : NULL;
        if (o->type == ARGS_FLAG && value != NULL) {
            return usage_error(command, arg, "takes no value");
        }
        if (o->type != ARGS_FLAG && value == NULL) {
            if (++i == argc) {
                return usage_error(command, arg, "needs a value");
            }
            value = argv[i];
        }
        if (!store_value(o, value)) {
            return value_error(command, o, value);
        }
    }
    return -1;
}

int args_exit_code(int rc)
{
    switch (rc) {
    case UNDINE_ECONFIG:
        return EXIT_USAGE;
    case UNDINE_ELOSS:
        return EXIT_LOSS;
    case UNDINE_ESTATE:
    case UNDINE_EVERSION:
        return EXIT_STATE;
    case UNDINE_EGUARD:
        return EXIT_GUARD;
    default:
        return rc < 0 ? EXIT_FAILED : EXIT_DONE;
    }
}
