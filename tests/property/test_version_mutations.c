/* Ten thousand mutations of versions and chains: bits flipped, files cut, dropped and swapped,
 * chains reordered, doubled and shortened, digests and bases forged under a right checksum, CURRENT
 * stale. Whatever is done, who opens and who refreshes either refuses it or scores, to the bit, as
 * a version that was published says; a scorer in use goes on; a restart takes a state that was.
 *
 * test_version_mutations [SEED [MUTATIONS]] */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "learner/version_merge.h"
#include "scorer/undine.h"
#include "tests/support/chain_world.h"
#include "tests/support/direct_score.h"
#include "tests/support/random_request.h"
#include "tests/support/version_fixture.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* All of them where the build is fast, some in those that look more closely. */
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
enum { MUTATIONS = 10000 };
#else
enum { MUTATIONS = 1500 };
#endif
enum {
    REQUESTS = 2,
    CANDIDATES = 6,
    NEWEST = 9, /* 1 full; 2 to 5 deltas; 6 merged of 5; 7 to 9 deltas on 6 */
    MERGED = 6,
    IN_USE = 8, /* by the scorer that goes on */
    FILES_MAX = 2,
    RESTORE_EVERY = 8
};

static uint64_t seed = 1, n_mutations = MUTATIONS;

static struct mutation_world {
    char dir[VERSION_PATH_MAX], other[VERSION_PATH_MAX]; /* versions, and those of another model */
    struct arena arena;
    struct undine_request request[REQUESTS];
    float want[NEWEST + 1][REQUESTS][CANDIDATES];
    char digest[NEWEST + 1][HASH128_HEX_LEN + 1];
    struct random random;
    struct undine_scorer *scorer; /* in use all the time */
    struct undine_session *session;
    uint64_t refused, older, harmless;
} g;

/* ---- files: what is mapped is never written to, a new file takes the name ---- */

struct saved { /* a file as it was; data NULL = it was not there */
    char path[VERSION_PATH_MAX + 64];
    uint8_t *data;
    size_t len;
};

static struct mutation {
    struct saved file[FILES_MAX];
    size_t n;
} m;

static void put_file(const char *path, const void *data, size_t len)
{
    (void)unlink(path);
    version_fixture_overwrite(path, data, len);
}

/* The bytes of a file that is to be changed; they are kept for the way back. */
static struct saved *save(const char *name)
{
    struct saved *f = &m.file[m.n++];
    assert_true(m.n <= FILES_MAX);
    (void)snprintf(f->path, sizeof f->path, "%s/%s", g.dir, name);
    f->data = version_fixture_read(f->path, &f->len);
    return f;
}

static void put_back(void)
{
    for (size_t i = m.n; i > 0; i--) {
        struct saved *f = &m.file[i - 1];
        put_file(f->path, f->data, f->len);
        free(f->data);
    }
    m.n = 0;
}

static uint64_t below(uint64_t n)
{
    return random_below(&g.random, n);
}

static const char *file_of(uint64_t number, const char *file)
{
    static char name[4][128];
    static size_t at;
    at = (at + 1) % 4;
    (void)snprintf(name[at], sizeof name[at], "%012" PRIu64 "/%s", number, file);
    return name[at];
}

static const char *some_file(void)
{
    static const char *const files[] = {MANIFEST_NAME, MANIFEST_MODEL, MANIFEST_TRAIN};
    uint64_t which = below(3 * NEWEST + 2);
    if (which >= 3 * NEWEST) {
        return which == 3 * NEWEST ? "CURRENT" : "HISTORY";
    }
    return file_of(1 + which / 3, files[which % 3]);
}

/* ---- forging: the checksums are made right again ---- */

static const char SEAL[] = ",\n  \"xxh3_128\": \"";

/* text: room for the seal behind its NUL. */
static size_t seal_text(char *text)
{
    char hex[HASH128_HEX_LEN + 1];
    size_t len = strlen(text);
    hash128_hex(hex, hash128_bytes(text, len));
    return len + (size_t)sprintf(text + len, "%s%s\"\n}\n", SEAL, hex);
}

struct text { /* a manifest without its seal */
    char data[65536];
};

static void open_text(struct text *t, const struct saved *f)
{
    assert_true(f->len + 256 < sizeof t->data);
    memcpy(t->data, f->data, f->len);
    t->data[f->len] = '\0';
    char *end = strstr(t->data, SEAL);
    for (char *next = end; next != NULL; next = strstr(end + 1, SEAL)) {
        end = next; /* the last one */
    }
    assert_non_null(end);
    *end = '\0';
}

static void replace(struct text *t, char *at, size_t len, const char *with)
{
    char rest[sizeof t->data];
    (void)strcpy(rest, at + len);
    (void)strcpy(at, with);
    (void)strcat(at, rest);
}

static void close_text(struct text *t, const struct saved *f)
{
    size_t len = seal_text(t->data);
    put_file(f->path, t->data, len);
}

/* Begin and end of link i of the chain; NULL where it has none. */
static char *link_at(char *text, uint64_t i, char **end)
{
    char *at = strstr(text, "\"chain\": [");
    for (uint64_t k = 0; at != NULL && k <= i; k++) {
        at = strstr(at + 1, "{\"number\"");
    }
    char *changes = strstr(text, "\"changes\"");
    if (at == NULL || changes == NULL || at > changes) {
        return NULL;
    }
    *end = strchr(at, '}') + 1;
    return at;
}

static void flip_hex(char *at)
{
    *at = *at == '0' ? '1' : '0';
}

/* ---- the mutations ---- */

static void flip(void)
{
    struct saved *f = save(some_file());
    uint8_t *copy = malloc(f->len);
    memcpy(copy, f->data, f->len);
    copy[below(f->len)] ^= (uint8_t)(1u << below(8));
    put_file(f->path, copy, f->len);
    free(copy);
}

static void cut(void)
{
    struct saved *f = save(some_file());
    put_file(f->path, f->data, below(f->len));
}

static void drop(void)
{
    (void)unlink(save(some_file())->path);
}

static void grow(void)
{
    struct saved *f = save(some_file());
    uint8_t *copy = malloc(f->len + 1);
    memcpy(copy, f->data, f->len);
    copy[f->len] = (uint8_t)below(256);
    put_file(f->path, copy, f->len + 1);
    free(copy);
}

static void swap(void)
{
    static const char *const files[] = {MANIFEST_NAME, MANIFEST_MODEL, MANIFEST_TRAIN};
    const char *file = files[below(3)];
    uint64_t a = 1 + below(NEWEST), b = 1 + below(NEWEST);
    if (a == b) {
        b = a % NEWEST + 1;
    }
    struct saved *x = save(file_of(a, file)), *y = save(file_of(b, file));
    put_file(x->path, y->data, y->len);
    put_file(y->path, x->data, x->len);
}

/* A version of another model with the same number, whole. */
static void foreign(void)
{
    static const char *const files[] = {MANIFEST_NAME, MANIFEST_MODEL};
    uint64_t number = 1 + below(NEWEST);
    for (size_t i = 0; i < 2; i++) {
        char path[VERSION_PATH_MAX + 64];
        size_t len;
        struct saved *f = save(file_of(number, files[i]));
        (void)snprintf(path, sizeof path, "%s/%s", g.other, file_of(number, files[i]));
        uint8_t *data = version_fixture_read(path, &len);
        put_file(f->path, data, len);
        free(data);
    }
}

static uint64_t some_delta(void)
{
    static const uint64_t deltas[] = {2, 3, 4, 5, 7, 8, 9};
    return deltas[below(7)];
}

static void forge_chain(void)
{
    struct saved *f = save(file_of(some_delta(), MANIFEST_NAME));
    struct text t;
    char *end_a = NULL, *end_b = NULL, a[128] = "", b[128] = "";
    open_text(&t, f);
    uint64_t i = below(4), how = below(4);
    char *at = link_at(t.data, i, &end_a), *next = link_at(t.data, i + 1, &end_b);
    if (at != NULL) {
        (void)snprintf(a, sizeof a, "%.*s", (int)(end_a - at), at);
    }
    if (next != NULL) {
        (void)snprintf(b, sizeof b, "%.*s", (int)(end_b - next), next);
    }
    if (how == 0 && next != NULL) { /* reordered */
        replace(&t, next, strlen(b), a);
        replace(&t, at, strlen(a), b);
    } else if (how == 1 && next != NULL) { /* doubled */
        replace(&t, next, strlen(b), a);
    } else if (how == 2 && next != NULL) { /* one is left out */
        replace(&t, at, (size_t)(next - at), "");
    } else if (at != NULL) { /* another checksum */
        flip_hex(end_a - 3 - below(HASH128_HEX_LEN - 1));
    }
    close_text(&t, f);
}

static void forge_digest(void)
{
    static const char *const what[] = {"\"base_digest\": \"", "{\"model\": \""};
    struct saved *f = save(file_of(1 + below(NEWEST), MANIFEST_NAME));
    struct text t;
    open_text(&t, f);
    const char *name = what[below(2)];
    char *at = strstr(t.data, name);
    if (at != NULL) {
        flip_hex(at + strlen(name) + below(HASH128_HEX_LEN));
    }
    close_text(&t, f);
}

/* A number of the manifest is another one: base, number, rows, format version. */
static void forge_number(void)
{
    static const char *const what[] = {
        "\"base\": ",     "\"number\": ",  "\"format_version\": ", "\"rows\": {",
        "\"changes\": {", "\"removed\": ", "\"bytes\": ",          "\"merged_from\": "};
    struct saved *f = save(file_of(1 + below(NEWEST), MANIFEST_NAME));
    struct text t;
    open_text(&t, f);
    char *at = strstr(t.data, what[below(8)]);
    at = at != NULL ? strpbrk(at, "0123456789") : NULL;
    if (at != NULL) {
        *at = (char)('0' + (*at - '0' + 1 + (int)below(9)) % 10);
    }
    close_text(&t, f);
}

/* Numbers, ids or dense parameters of the model are others, and every checksum is right. */
static void forge_model(void)
{
    uint64_t number = 1 + below(NEWEST);
    struct saved *f = save(file_of(number, MANIFEST_MODEL));
    struct saved *manifest = save(file_of(number, MANIFEST_NAME));
    struct safetensors s;
    struct text t;
    char hex[HASH128_HEX_LEN + 1];
    uint64_t *copy = malloc(f->len + 8); /* aligned */
    memcpy(copy, f->data, f->len);
    assert_int_equal(safetensors_parse(&s, copy, f->len, NULL), UNDINE_OK);
    const struct safetensors_tensor *tensor = &s.tensor[below(s.n)];
    uint64_t bytes = safetensors_bytes(tensor);
    if (bytes > 0) {
        ((uint8_t *)(uintptr_t)tensor->data)[below(bytes)] ^= (uint8_t)(1u << below(8));
    }
    safetensors_release(&s);
    put_file(f->path, copy, f->len);
    open_text(&t, manifest);
    hash128_hex(hex, hash128_bytes(copy, f->len));
    char *at = strstr(t.data, "\"model.safetensors\"");
    at = strstr(at, "xxh3_128\": \"") + strlen("xxh3_128\": \"");
    memcpy(at, hex, HASH128_HEX_LEN);
    close_text(&t, manifest);
    free(copy);
}

static void stale_current(void)
{
    struct saved *f = save("CURRENT");
    char text[32];
    int len = snprintf(text, sizeof text, "%012" PRIu64 "\n", below(NEWEST + 3));
    put_file(f->path, text, (size_t)len);
}

static const struct {
    const char *name;
    void (*mutate)(void);
} MUTATION[] = {{"flip", flip},
                {"cut", cut},
                {"drop", drop},
                {"grow", grow},
                {"swap", swap},
                {"foreign", foreign},
                {"forge chain", forge_chain},
                {"forge chain", forge_chain},
                {"forge digest", forge_digest},
                {"forge number", forge_number},
                {"forge model", forge_model},
                {"forge model", forge_model},
                {"stale CURRENT", stale_current}};
enum { KINDS = sizeof MUTATION / sizeof MUTATION[0] };

/* ---- the judgement ---- */

static void wrong(uint64_t i, const char *kind, const char *what)
{
    fail_msg("seed %" PRIu64 ", mutation %" PRIu64 " (%s): %s", seed, i, kind, what);
}

/* Scores of a version that was published. */
static bool legal(struct undine_session *t)
{
    for (size_t k = 0; k < REQUESTS; k++) {
        float p[CANDIDATES];
        if (undine_score(t, &g.request[k], p, NULL) < 0) {
            return false;
        }
        uint64_t version = undine_session_version(t);
        if (version == 0 || version > NEWEST || memcmp(p, g.want[version][k], sizeof p) != 0) {
            return false;
        }
    }
    return true;
}

static void judge_opening(uint64_t i, const char *kind)
{
    struct undine_scorer *s = NULL;
    struct undine_session *t = NULL;
    struct undine_error why = {0};
    int rc = undine_scorer_open(&s, g.dir, &why);
    if (rc < 0) {
        g.refused++;
        if (why.message[0] == '\0' || why.code != rc) {
            wrong(i, kind, "refused without a word");
        }
        return;
    }
    uint64_t version = undine_scorer_version(s);
    g.older += version != NEWEST;
    g.harmless += version == NEWEST;
    if (undine_session_open(&t, s, NULL) < 0 || !legal(t)) {
        wrong(i, kind, "who opens it scores wrong");
    }
    undine_session_close(t);
    undine_scorer_close(s);
}

static void judge_refresh(uint64_t i, const char *kind)
{
    struct undine_error why = {0};
    int rc = undine_scorer_refresh(g.scorer, &why);
    if (rc < 0 && undine_scorer_version(g.scorer) != IN_USE) {
        wrong(i, kind, "a refresh failed and changed the version in use");
    }
    if (rc < 0 && why.message[0] == '\0') {
        wrong(i, kind, "a refresh failed without a word");
    }
    if (!legal(g.session)) {
        wrong(i, kind, "the scorer in use scores wrong");
    }
}

static void judge_restart(uint64_t i, const char *kind)
{
    struct snapshot *s = NULL;
    struct version_info info;
    struct undine_err err = {0};
    char hex[HASH128_HEX_LEN + 1];
    int rc = version_restore(g.dir, 0, UINT64_MAX, &s, &info, NULL, NULL, &err);
    if (rc <= 0) {
        if (rc < 0 && rc != UNDINE_EVERSION) {
            wrong(i, kind, err.msg);
        }
        return;
    }
    hash128_hex(hex, snapshot_digest(s));
    if (info.number > NEWEST || strcmp(hex, g.digest[info.number]) != 0) {
        wrong(i, kind, "a restart takes a state that never was");
    }
    snapshot_free(s);
}

static void set_current(uint64_t number)
{
    char path[VERSION_PATH_MAX + 16], text[32];
    (void)snprintf(path, sizeof path, "%s/CURRENT", g.dir);
    int len = snprintf(text, sizeof text, "%012" PRIu64 "\n", number);
    put_file(path, text, (size_t)len);
}

static void one(uint64_t i)
{
    size_t kind = below(KINDS);
    set_current(IN_USE);
    if (undine_scorer_refresh(g.scorer, NULL) < 0 || undine_scorer_version(g.scorer) != IN_USE) {
        wrong(i, "none", "the scorer in use does not come back");
    }
    set_current(NEWEST);
    MUTATION[kind].mutate();
    judge_opening(i, MUTATION[kind].name);
    judge_refresh(i, MUTATION[kind].name);
    if (i % RESTORE_EVERY == 0) {
        judge_restart(i, MUTATION[kind].name);
    }
    put_back();
}

/* ---- the versions ---- */

static void merge(const char *dir, struct version_chain **chain)
{
    struct version_merge *merged = NULL;
    struct version_info info;
    struct version_chain *next = NULL;
    struct undine_err err = {0};
    assert_int_equal(version_merge_write(&merged, dir, (*chain)->name, *chain, NULL, &err), 0);
    assert_int_equal(version_merge_commit(merged, 1, &info, &err), UNDINE_OK);
    version_merge_free(merged);
    assert_int_equal(info.number, MERGED);
    assert_int_equal(version_chain_rebase(&next, dir, info.name, *chain, &err), UNDINE_OK);
    version_chain_close(*chain);
    *chain = next;
}

static void make_versions(const char *dir, uint64_t world_seed, bool expect)
{
    struct chain_world w;
    struct version_chain *chain = NULL;
    chain_world_init(&w, world_seed, true, true);
    for (uint64_t number = 1; number <= NEWEST; number++) {
        struct snapshot *s = chain_world_look(&w);
        assert_int_equal(snapshot_sort(s, NULL), UNDINE_OK);
        for (size_t k = 0; expect && k < REQUESTS; k++) {
            direct_score(s, &g.request[k], g.want[number][k]);
        }
        if (expect) {
            hash128_hex(g.digest[number], snapshot_digest(s));
        }
        snapshot_free(s);
        if (number == MERGED) {
            merge(dir, &chain);
        } else {
            chain_world_write(&w, dir, &chain, number > 1, true, NULL);
        }
        if (number + 1 != MERGED) { /* which is the state of the one before it */
            chain_world_step(&w, 4);
        }
    }
    version_chain_close(chain);
}

static void test_mutations(void **state)
{
    (void)state;
    struct random random = {5};
    print_message("seed %" PRIu64 ", %" PRIu64 " mutations\n", seed, n_mutations);
    g.random = (struct random){seed};
    version_fixture_temp_dir(g.dir);
    version_fixture_temp_dir(g.other);
    arena_init(&g.arena, 0);
    for (size_t k = 0; k < REQUESTS; k++) {
        g.request[k] = random_request(&g.arena, &random, CANDIDATES, CHAIN_WORLD_IDS + 2);
    }
    make_versions(g.dir, 8, true);
    make_versions(g.other, 10, false);
    set_current(IN_USE);
    assert_int_equal(undine_scorer_open(&g.scorer, g.dir, NULL), 0);
    assert_int_equal(undine_session_open(&g.session, g.scorer, NULL), 0);
    for (uint64_t i = 0; i < n_mutations; i++) {
        one(i);
    }
    print_message("refused %" PRIu64 ", went on with an older version %" PRIu64
                  ", harmless %" PRIu64 "\n",
                  g.refused, g.older, g.harmless);
    assert_true(g.older > n_mutations / 10);
    undine_session_close(g.session);
    undine_scorer_close(g.scorer);
    arena_release(&g.arena);
    version_fixture_remove(g.dir);
    version_fixture_remove(g.other);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mutations)};
    seed = argc > 1 ? strtoull(argv[1], NULL, 10) : seed;
    n_mutations = argc > 2 ? strtoull(argv[2], NULL, 10) : n_mutations;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
