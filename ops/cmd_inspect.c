#include "base/hash.h"
#include "configs/config.h"
#include "learner/model/json_text.h"
#include "learner/model/version_chain.h"
#include "learner/version.h"
#include "ops/args.h"
#include "ops/batch_dump.h"
#include "ops/cmd.h"
#include "ops/json_put.h"
#include "ops/store_digest.h"
#include "ops/store_json.h"
#include "ops/user_json.h"
#include "ops/verify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct inspect {
    const char *state, *config_file, *user, *versions;
    int64_t version; /* -1 = the published one */
    int64_t example; /* dump: first of its batch, -1 = the newest dump */
    bool digest;     /* store: its contents as a number */
    bool verify;     /* store: is everything what was written? */
    struct args_list overrides;
    struct undine_err err;
};

static int print(json_t *o, struct inspect *in)
{
    if (o == NULL) {
        return in->err.code;
    }
    char *text = json_text_print(o, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(o);
    if (json_put_lost() || text == NULL) {
        free(text);
        return undine_err_set(&in->err, UNDINE_ENOMEM, "no memory to print");
    }
    (void)puts(text);
    free(text);
    return UNDINE_OK;
}

static int find_store(struct inspect *in, char dir[VERSION_PATH_MAX])
{
    (void)snprintf(dir, VERSION_PATH_MAX, "%s/store", in->state);
    if (access(dir, F_OK) == 0) {
        return UNDINE_OK;
    }
    return undine_err_sys(&in->err, UNDINE_ENOTFOUND, errno,
                          "no store at %s; --state names the directory that `undine run` or "
                          "`replay` was given",
                          dir);
}

static int open_store(struct inspect *in, struct store **out)
{
    char dir[VERSION_PATH_MAX];
    if (find_store(in, dir) != UNDINE_OK) {
        return in->err.code;
    }
    struct store_options opt = {
        .dir = dir, .cache_bytes = 8 << 20, .write_buffer_bytes = 8 << 20, .read_only = true};
    return store_open(out, &opt, &in->err);
}

static int inspect_meta(struct inspect *in,
                        json_t *(*read)(struct store *s, struct undine_err *err))
{
    struct store *store = NULL;
    int rc = open_store(in, &store);
    if (rc == UNDINE_OK) {
        rc = print(read(store, &in->err), in);
    }
    store_close(store);
    return rc;
}

static json_t *whole_store(struct store *s, struct undine_err *err)
{
    json_t *o = store_json_ingest(s, err);
    json_t *positions = o != NULL ? store_json_positions(s, err) : NULL;
    json_t *losses = positions != NULL ? store_json_losses(s, err) : NULL;
    if (losses == NULL) {
        json_decref(o);
        json_decref(positions);
        return NULL;
    }
    struct store_stats st;
    store_stats(s, &st);
    json_put(o, "positions", positions);
    json_put(o, "losses", losses);
    json_put(o, "sst_bytes", json_integer((json_int_t)st.sst_bytes));
    return o;
}

static void put_digest(json_t *o, const char *name, struct hash128 h)
{
    char hex[HASH128_HEX_LEN + 1];
    hash128_hex(hex, h);
    json_put(o, name, json_string(hex));
}

static int print_digest(struct inspect *in, struct store *store, const struct config *config)
{
    struct store_digest d;
    int rc = store_digest(store, config, &d, &in->err);
    json_t *o = rc == UNDINE_OK ? store_json_ingest(store, &in->err) : NULL;
    if (o == NULL) {
        return in->err.code;
    }
    put_digest(o, "users_digest", d.users);
    put_digest(o, "events_digest", d.events);
    json_put(o, "users", json_integer((json_int_t)d.n_users));
    json_put(o, "steps", json_integer((json_int_t)d.n_steps));
    json_put(o, "events_kept", json_integer((json_int_t)d.n_events));
    return print(o, in);
}

/* The configuration of the store, which --digest and --verify read values by. */
static int load_config(struct inspect *in, const char *option, struct config **out)
{
    if (in->config_file == NULL) {
        return undine_err_set(&in->err, UNDINE_ECONFIG, "%s needs --config", option);
    }
    return config_load(out, in->config_file, in->overrides.item, in->overrides.n, &in->err);
}

/* The answer on stdout; the first problem is the error. */
static int print_verified(struct inspect *in, json_t *o, bool valid)
{
    const json_t *problems = json_object_get(o, "problems");
    if (!valid) {
        const json_t *first = json_array_get(problems, 0);
        (void)undine_err_set(&in->err, UNDINE_ECORRUPT, "%zu problem%s, the first: %s: %s",
                             json_array_size(problems), json_array_size(problems) == 1 ? "" : "s",
                             json_string_value(json_object_get(first, "where")),
                             json_string_value(json_object_get(first, "what")));
    }
    int rc = print(o, in);
    return rc == UNDINE_OK && !valid ? UNDINE_ECORRUPT : rc;
}

static int inspect_verify(struct inspect *in)
{
    struct config *config = NULL;
    char dir[VERSION_PATH_MAX];
    bool valid = false;
    int rc = load_config(in, "--verify", &config);
    if (rc == UNDINE_OK) {
        rc = find_store(in, dir);
    }
    if (rc == UNDINE_OK) {
        json_t *o = verify_state(in->state, config, &valid, &in->err);
        rc = o == NULL ? in->err.code : print_verified(in, o, valid);
    }
    config_free(config);
    return rc;
}

static int inspect_digest(struct inspect *in)
{
    struct config *config = NULL;
    struct store *store = NULL;
    int rc = load_config(in, "--digest", &config);
    if (rc == UNDINE_OK) {
        rc = open_store(in, &store);
    }
    if (rc == UNDINE_OK) {
        rc = print_digest(in, store, config);
    }
    store_close(store);
    config_free(config);
    return rc;
}

static int inspect_store(struct inspect *in)
{
    if (in->verify) {
        return inspect_verify(in);
    }
    return in->digest ? inspect_digest(in) : inspect_meta(in, whole_store);
}

static int inspect_malformed(struct inspect *in)
{
    return inspect_meta(in, store_json_malformed);
}

static int inspect_loss(struct inspect *in)
{
    return inspect_meta(in, store_json_losses);
}

static int inspect_dump(struct inspect *in)
{
    char dir[VERSION_PATH_MAX];
    (void)snprintf(dir, sizeof dir, "%.*s/dumps", VERSION_PATH_MAX - 16, in->state);
    return batch_dump_print(dir, in->example, stdout, &in->err);
}

/* ---- one user ---- */

static int print_user(struct inspect *in, const struct schema *schema, const struct writer *value)
{
    struct users_view views[SCHEMA_SEQUENCES_MAX];
    struct writer id, words;
    writer_init(&id);
    writer_init(&words);
    int rc = users_decode(schema, value->data, value->len, &id, views, &words, &in->err);
    if (rc == UNDINE_OK) {
        rc = print(user_json(schema, id.data, id.len, views), in);
    }
    writer_release(&id);
    writer_release(&words);
    return rc;
}

static int inspect_user(struct inspect *in)
{
    struct config *config = NULL;
    struct store *store = NULL;
    struct writer value;
    writer_init(&value);
    if (in->user == NULL || in->config_file == NULL) {
        return undine_err_set(&in->err, UNDINE_ECONFIG, "--user and --config are required");
    }
    int rc = config_load(&config, in->config_file, in->overrides.item, in->overrides.n, &in->err);
    if (rc == UNDINE_OK) {
        rc = open_store(in, &store);
    }
    if (rc == UNDINE_OK) {
        uint8_t key[8];
        bytes_put_be64(key, hash_id(in->user, strlen(in->user)));
        rc = store_get(store, STORE_SEQUENCE, key, sizeof key, &value, &in->err);
        if (rc == 0) {
            rc = undine_err_set(&in->err, UNDINE_ENOTFOUND, "user `%s` has no sequence in %s",
                                in->user, in->state);
        }
    }
    if (rc > 0) {
        rc = print_user(in, &config->schema, &value);
    }
    writer_release(&value);
    store_close(store);
    config_free(config);
    return rc;
}

/* ---- versions ---- */

static int print_version(struct inspect *in, const char *path)
{
    struct version_chain *c = NULL;
    int rc = version_chain_open_path(&c, path, NULL, true, &in->err);
    char manifest[VERSION_PATH_MAX + VERSION_NAME_MAX + 16];
    (void)snprintf(manifest, sizeof manifest, "%s/manifest.json", path);
    if (rc == UNDINE_OK) {
        json_t *o = NULL;
        rc = json_text_read(&o, manifest, &in->err);
        char hex[HASH128_HEX_LEN + 1];
        hash128_hex(hex, c->digest);
        if (o != NULL) {
            json_put(o, "model_digest", json_string(hex)); /* of what lies there */
            json_put(o, "valid", json_true());
        }
        rc = rc == UNDINE_OK ? print(o, in) : rc;
    }
    version_chain_close(c);
    return rc;
}

static int inspect_version(struct inspect *in)
{
    char versions[VERSION_PATH_MAX], path[VERSION_PATH_MAX + VERSION_NAME_MAX];
    char name[VERSION_NAME_MAX];
    if (in->versions != NULL) {
        (void)snprintf(versions, sizeof versions, "%s", in->versions);
    } else {
        (void)snprintf(versions, sizeof versions, "%.*s/versions", VERSION_PATH_MAX - 16,
                       in->state);
    }
    if (in->version >= 0) {
        (void)snprintf(name, sizeof name, "%012lld", (long long)in->version);
    } else {
        int rc = version_current(versions, name, &in->err);
        if (rc != UNDINE_OK) {
            return rc;
        }
    }
    (void)snprintf(path, sizeof path, "%s/%s", versions, name);
    if (access(path, F_OK) != 0) {
        return undine_err_sys(&in->err, UNDINE_ENOTFOUND, errno, "no version %s in %s", name,
                              versions);
    }
    return print_version(in, path);
}

int cmd_inspect(int argc, char **argv)
{
    static const struct {
        const char *what;
        int (*run)(struct inspect *in);
    } parts[] = {{"store", inspect_store},     {"user", inspect_user},
                 {"version", inspect_version}, {"malformed", inspect_malformed},
                 {"loss", inspect_loss},       {"dump", inspect_dump}};
    struct inspect in = {.state = "state", .version = -1, .example = -1};
    struct args_list what = {0};
    const struct args_option options[] = {
        {"state", 's', ARGS_STRING, &in.state, "DIR", "state directory; default ./state"},
        {"versions", 0, ARGS_STRING, &in.versions, "DIR", "version: default STATE/versions"},
        {"version", 0, ARGS_INT, &in.version, "N",
         "version: its number; default the published one"},
        {"example", 0, ARGS_INT, &in.example, "N",
         "dump: first example of the batch; default the newest dump"},
        {"user", 0, ARGS_STRING, &in.user, "ID", "user: the id as it stands in the events"},
        {"config", 'c', ARGS_STRING, &in.config_file, "FILE",
         "user, --digest, --verify: the configuration of the store"},
        {"digest", 0, ARGS_FLAG, &in.digest, NULL,
         "store: equal numbers for equal contents, however they got there"},
        {"verify", 0, ARGS_FLAG, &in.verify, NULL,
         "store: read and count everything anew, versions too; exit code 1 where anything is "
         "wrong"},
        {NULL, 'o', ARGS_LIST, &in.overrides, "KEY=VALUE", "override a key of the configuration"},
    };
    int code = args_parse(argc, argv, "inspect store|user|version|malformed|loss|dump [options]",
                          options, sizeof options / sizeof options[0], &what);
    if (code >= 0) {
        return code;
    }
    for (size_t i = 0; what.n == 1 && i < sizeof parts / sizeof parts[0]; i++) {
        if (strcmp(what.item[0], parts[i].what) == 0) {
            int rc = parts[i].run(&in);
            if (rc < 0) {
                (void)fprintf(stderr, "undine inspect: %s\n", in.err.msg);
            }
            return args_exit_code(rc);
        }
    }
    (void)fprintf(stderr,
                  "undine inspect: name one of store, user, version, malformed, loss, dump\n");
    return EXIT_USAGE;
}
