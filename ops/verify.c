#include "ops/verify.h"

#include "ingest/verify.h"
#include "learner/model/version_chain.h"
#include "learner/version_files.h"
#include "ops/json_put.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TRIES_LIVE = 4, PAUSE_LIVE_MS = 200 };

struct check {
    const struct config *config;
    char store_dir[VERSION_PATH_MAX], versions_dir[VERSION_PATH_MAX];
    json_t *problems;
    struct verified store;
    uint64_t versions, version_files, version_bytes, unfinished;
    struct version_chain *chain; /* of the version looked at last: the next one mostly shares it */
    bool usable;                 /* a version continues where the example log can */
};

static void problem(void *payload, const char *where, const char *what)
{
    struct check *c = payload;
    json_put_last(c->problems, json_pack("{s:s, s:s}", "where", where, "what", what));
}

/* ---- versions ---- */

static void check_version(struct check *c, const char *name)
{
    char path[VERSION_PATH_MAX];
    struct undine_err err = {0};
    struct version_chain *next = NULL;
    int rc = version_path(path, c->versions_dir, name, &err);
    if (rc == UNDINE_OK) { /* its digest with it, and that of every version of its chain */
        rc = version_chain_open(&next, c->versions_dir, name, c->chain, true, &err);
    }
    if (rc != UNDINE_OK) {
        problem(c, path, err.msg);
        return;
    }
    version_chain_close(c->chain);
    c->chain = next;
    const struct manifest *m = next->manifest;
    if (m->trained_seq > c->store.example_head) {
        problem(c, path, "it has learned examples that the example log does not have yet");
    }
    c->usable = c->usable || (m->trained_seq >= c->store.example_tail &&
                              m->trained_seq <= c->store.example_head);
    c->versions++;
    c->version_files += m->n_files + 1;
    c->version_bytes += manifest_bytes(m);
}

static void check_current(struct check *c)
{
    char name[VERSION_NAME_MAX], path[VERSION_PATH_MAX];
    struct undine_err err = {0};
    int rc = version_dir_current(c->versions_dir, name, &err);
    if (rc == UNDINE_OK) {
        rc = version_path(path, c->versions_dir, name, &err);
    }
    if (rc == UNDINE_OK && access(path, F_OK) != 0) {
        rc = undine_err_sys(&err, UNDINE_ECORRUPT, errno, "it names %s", name);
    }
    if (rc != UNDINE_OK && rc != UNDINE_ENOTFOUND) {
        problem(c, "versions, CURRENT", err.msg);
    }
}

static void count_unfinished(struct check *c)
{
    DIR *dir = opendir(c->versions_dir);
    if (dir == NULL) {
        if (errno != ENOENT) {
            problem(c, c->versions_dir, strerror(errno));
        }
        return;
    }
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        /* A crash left it; the next start clears it away. */
        c->unfinished += strncmp(e->d_name, VERSION_TEMPORARY, sizeof VERSION_TEMPORARY - 1) == 0;
    }
    (void)closedir(dir);
}

static void check_versions(struct check *c)
{
    uint64_t *number;
    size_t n;
    struct undine_err err = {0};
    if (version_files_list(c->versions_dir, &number, &n, &err) < 0) {
        problem(c, c->versions_dir, err.msg);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        char name[VERSION_NAME_MAX];
        version_name(name, number[i]);
        check_version(c, name);
    }
    free(number);
    version_chain_close(c->chain);
    c->chain = NULL;
    count_unfinished(c);
    check_current(c);
    if (!c->usable && c->store.example_tail > 0) {
        problem(c, c->versions_dir,
                "no version is whole and within the example log: no start can "
                "go on from here");
    }
}

/* ---- the store ---- */

static int check_store(struct check *c, struct undine_err *err)
{
    struct store *store = NULL;
    struct store_options opt = {.dir = c->store_dir,
                                .cache_bytes = 8 << 20,
                                .write_buffer_bytes = 8 << 20,
                                .read_only = true,
                                .strict_log = true};
    struct verify_options what = {.schema = &c->config->schema,
                                  .ingest = &c->config->ingest,
                                  .decode = &c->config->decode,
                                  .users = &c->config->users};
    struct undine_err why = {0};
    int rc = store_open(&store, &opt, &why);
    if (rc == UNDINE_OK) {
        rc = ingest_verify(&c->store, store, &what, problem, c, err);
    } else if (rc == UNDINE_EVERSION || rc == UNDINE_ENOMEM) {
        rc = undine_err_set(err, rc, "%s", why.msg);
    } else {
        problem(c, c->store_dir, why.msg);
        rc = UNDINE_OK;
    }
    store_close(store);
    return rc;
}

/* Does another process hold the store's lock? */
static bool is_live(const struct check *c)
{
    char path[VERSION_PATH_MAX + 8];
    (void)snprintf(path, sizeof path, "%s/LOCK", c->store_dir);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    bool live = fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    (void)close(fd);
    return live;
}

/* ---- the answer ---- */

static json_t *families_json(const struct verified *v)
{
    json_t *o = json_object();
    for (int f = 0; f < STORE_FAMILIES; f++) {
        const struct store_verified *s = &v->family[f];
        json_put(o, store_family_name((enum store_family)f),
                 json_pack("{s:I, s:I, s:I, s:I}", "entries", (json_int_t)s->entries, "bytes",
                           (json_int_t)s->bytes, "files", (json_int_t)s->files, "file_bytes",
                           (json_int_t)s->file_bytes));
    }
    return o;
}

static json_t *accounting_json(const struct verified *v)
{
    json_t *o = json_object();
    for (int i = 0; v->restored && i < ACCOUNTING_N; i++) {
        json_put(o, accounting_name((enum accounting_identity)i),
                 json_integer(v->accounting.gap[i]));
    }
    return o;
}

static json_t *answer(const struct check *c, bool live)
{
    const struct verified *v = &c->store;
    const struct {
        const char *name;
        uint64_t value;
    } figures[] = {
        {"commit", v->commit},
        {"users", v->users},
        {"steps", v->steps},
        {"arrival_blocks", v->arrival_blocks},
        {"arrival_events", v->arrival_events},
        {"arrival_rejected", v->arrival_rejected},
        {"waiting", v->waiting},
        {"pending", v->pending},
        {"example_blocks", v->example_blocks},
        {"examples", v->examples},
        {"example_tail", v->example_tail},
        {"example_head", v->example_head},
        {"meta_values", v->meta_values},
        {"positions", v->positions},
        {"losses", v->losses},
        {"malformed_samples", v->malformed_samples},
        {"versions", c->versions},
        {"version_files", c->version_files},
        {"version_bytes", c->version_bytes},
        {"versions_unfinished", c->unfinished},
    };
    json_t *o = json_object();
    json_put(o, "valid", json_boolean(json_array_size(c->problems) == 0));
    json_put(o, "live", json_boolean(live));
    json_put(o, "families", families_json(v));
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        json_put(o, figures[i].name, json_integer((json_int_t)figures[i].value));
    }
    json_put(o, "accounting_gap", accounting_json(v));
    json_put(o, "problems", json_incref(c->problems));
    return o;
}

static int check_all(struct check *c, struct undine_err *err)
{
    (void)json_array_clear(c->problems);
    c->store = (struct verified){0};
    c->versions = c->version_files = c->version_bytes = c->unfinished = 0;
    c->usable = false;
    int rc = check_store(c, err);
    if (rc == UNDINE_OK) {
        check_versions(c);
    }
    return rc;
}

json_t *verify_state(const char *state_dir, const struct config *config, bool *valid,
                     struct undine_err *err)
{
    struct check c = {.config = config, .problems = json_array()};
    (void)snprintf(c.store_dir, sizeof c.store_dir, "%.*s/store", VERSION_PATH_MAX - 16, state_dir);
    (void)snprintf(c.versions_dir, sizeof c.versions_dir, "%.*s/versions", VERSION_PATH_MAX - 16,
                   state_dir);
    int rc = c.problems == NULL ? undine_err_set(err, UNDINE_ENOMEM, "no memory to verify")
                                : check_all(&c, err);
    /* A live writer moves commits from its log to files and drops versions while we read names. */
    bool live = is_live(&c);
    for (int i = 1; rc == UNDINE_OK && live && json_array_size(c.problems) > 0 && i < TRIES_LIVE;
         i++) {
        (void)usleep(PAUSE_LIVE_MS * 1000);
        rc = check_all(&c, err);
    }
    *valid = rc == UNDINE_OK && json_array_size(c.problems) == 0;
    json_t *o = rc == UNDINE_OK ? answer(&c, live) : NULL;
    json_decref(c.problems);
    return o;
}
