#include "learner/model/version_chain.h"

#include "learner/model/version_merged.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int no_memory(struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ENOMEM, "no memory to open a version");
}

/* ---- parts ---- */

static void part_release(struct version_part *p)
{
    if (p != NULL && atomic_fetch_sub(&p->refs, 1) == 1) {
        version_reader_close(p->reader);
        free(p);
    }
}

/* The digest of a full version's rows, and whether its manifest says the same. */
static int check_full(struct version_part *p, const char *path, struct undine_err *err)
{
    const struct version_reader *r = p->reader;
    struct hash128 digest;
    char hex[HASH128_HEX_LEN + 1];
    for (uint32_t i = 0; i < r->manifest.schema.n_tables; i++) {
        const struct version_table *t = &r->table[i];
        model_digest_rows_add(&p->rows[i], t->key, t->row, t->n_rows, t->width);
    }
    int rc = version_reader_digest_of(r, p->rows, &digest, err);
    if (rc < 0) {
        return rc;
    }
    hash128_hex(hex, digest);
    return strcmp(hex, r->manifest.digest) == 0
               ? UNDINE_OK
               : undine_err_set(err, UNDINE_ECORRUPT,
                                "%s: its model has the digest %s, its manifest says %s", path, hex,
                                r->manifest.digest);
}

/* number: what its manifest must say, 0 = anything. */
static int part_open_path(struct version_part **out, const char *path, uint64_t number,
                          bool with_train, struct undine_err *err)
{
    struct version_part *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return no_memory(err);
    }
    atomic_init(&p->refs, 1);
    p->with_train = with_train;
    int rc = version_reader_open(&p->reader, path, with_train, err);
    if (rc == UNDINE_OK && number != 0 && p->reader->manifest.number != number) {
        rc = undine_err_set(err, UNDINE_ECORRUPT, "%s: its manifest is that of version %" PRIu64,
                            path, p->reader->manifest.number);
    }
    if (rc == UNDINE_OK && !p->reader->manifest.is_delta) {
        rc = check_full(p, path, err);
    }
    if (rc < 0) {
        part_release(p);
        return rc;
    }
    *out = p;
    return UNDINE_OK;
}

static int part_open(struct version_part **out, const char *dir, uint64_t number, bool with_train,
                     struct undine_err *err)
{
    char name[VERSION_NAME_MAX], path[VERSION_PATH_MAX];
    version_name(name, number);
    int rc = version_path(path, dir, name, err);
    return rc == UNDINE_OK ? part_open_path(out, path, number, with_train, err) : rc;
}

/* What `near` has open of this version, with one more reference; NULL = nothing.  Parts mostly
 * stand at the same place. */
static struct version_part *part_of(const struct version_chain *near, uint32_t place,
                                    uint64_t number, const char *seal, bool with_train)
{
    for (uint32_t i = 0; near != NULL && i < near->n_parts; i++) {
        struct version_part *p = near->part[(place + i) % near->n_parts];
        const struct manifest *m = &p->reader->manifest;
        if (m->number == number && strcmp(m->seal, seal) == 0 && p->with_train >= with_train) {
            (void)atomic_fetch_add(&p->refs, 1);
            return p;
        }
    }
    return NULL;
}

/* ---- the chain ---- */

static int open_link(struct version_chain *c, uint32_t place, const char *dir,
                     const struct manifest_link *link, const struct version_chain *near,
                     bool with_train, struct undine_err *err)
{
    struct version_part *p = part_of(near, place, link->number, link->seal, with_train);
    int rc = p != NULL ? UNDINE_OK : part_open(&p, dir, link->number, with_train, err);
    if (rc == UNDINE_ENOTFOUND) {
        return undine_err_set(err, rc, "its chain needs version %" PRIu64 ", which is missing",
                              link->number);
    }
    if (rc < 0) {
        (void)undine_err_prefix(err, "its chain needs version %" PRIu64, link->number);
        return rc;
    }
    c->part[place] = p;
    const struct manifest *m = &p->reader->manifest;
    if (strcmp(m->seal, link->seal) != 0) {
        return undine_err_set(err, UNDINE_ECORRUPT,
                              "its chain needs version %" PRIu64
                              " with the checksum %s, there is a foreign one with %s",
                              link->number, link->seal, m->seal);
    }
    if (m->is_delta != (place > 0)) {
        return undine_err_set(
            err, UNDINE_ECORRUPT, "version %" PRIu64 " of its chain is a %s one, expected a %s one",
            link->number, m->is_delta ? "delta" : "full", place > 0 ? "delta" : "full");
    }
    return UNDINE_OK;
}

/* Link *i is missing.  A full version that was merged from it or a later one takes the place of all
 * up to that one, which *i becomes, and is the only part so far. */
static int open_merged(struct version_chain *c, const char *dir, const struct manifest_delta *chain,
                       uint32_t *i, const struct version_chain *near, bool with_train,
                       struct undine_err *err)
{
    struct manifest_link merged;
    uint32_t link = 0;
    int rc = version_merged_find(dir, chain, *i, &link, &merged, err);
    if (rc <= 0) {
        return rc < 0 ? rc : UNDINE_ENOTFOUND;
    }
    for (uint32_t k = 0; k < c->n_parts; k++) {
        part_release(c->part[k]);
        c->part[k] = NULL;
    }
    c->n_parts = 0;
    *i = link;
    c->part[0] = part_of(near, 0, merged.number, merged.seal, with_train);
    return c->part[0] != NULL ? UNDINE_OK
                              : part_open(&c->part[0], dir, merged.number, with_train, err);
}

/* The chain's parts; c->n_parts = how many, a refused last one among them, so that it is closed
 * with the others. */
static int open_links(struct version_chain *c, const char *dir, const struct manifest_delta *chain,
                      const struct version_chain *near, bool with_train, struct undine_err *err)
{
    int rc = UNDINE_OK;
    bool merged = false;
    for (uint32_t i = 0; rc == UNDINE_OK && i < chain->n_chain; i++) {
        rc = open_link(c, c->n_parts, dir, &chain->chain[i], near, with_train, err);
        if (rc == UNDINE_ENOTFOUND && !merged) {
            merged = true;
            rc = open_merged(c, dir, chain, &i, near, with_train, err);
        }
        c->n_parts += c->part[c->n_parts] != NULL;
    }
    if (rc == UNDINE_ENOTFOUND && err != NULL) {
        err->code = UNDINE_ECORRUPT;
    }
    return rc == UNDINE_ENOTFOUND ? UNDINE_ECORRUPT : rc;
}

/* All parts into c->part. */
static int open_parts(struct version_chain *c, const char *dir, const char *name,
                      const struct version_chain *near, bool with_train, struct undine_err *err)
{
    char path[VERSION_PATH_MAX];
    struct manifest *m = calloc(1, sizeof *m);
    struct version_part *tip = NULL;
    int rc = m == NULL ? no_memory(err) : version_path(path, dir, name, err);
    if (rc == UNDINE_OK) {
        rc = manifest_read(m, path, err);
    }
    if (rc == UNDINE_ENOTFOUND && access(path, F_OK) == 0) {
        rc = undine_err_set(err, UNDINE_ECORRUPT, "%s/" MANIFEST_NAME ": is missing", path);
    }
    if (rc < 0) {
        goto out;
    }
    uint64_t number = 0;
    if (!version_number(&number, name) || number != m->number) {
        rc = undine_err_set(err, UNDINE_ECORRUPT, "%s: its manifest is that of version %" PRIu64,
                            path, m->number);
        goto out;
    }
    c->part = calloc((size_t)m->delta.n_chain + 1, sizeof(struct version_part *));
    if (c->part == NULL) {
        rc = no_memory(err);
        goto out;
    }
    rc = open_links(c, dir, &m->delta, near, with_train, err);
    if (rc == UNDINE_OK) {
        tip = part_of(near, c->n_parts, number, m->seal, with_train);
        rc = tip != NULL ? UNDINE_OK : part_open(&tip, dir, number, with_train, err);
        c->part[c->n_parts] = tip;
        c->n_parts += rc == UNDINE_OK;
    } else {
        (void)undine_err_prefix(err, "%s", path);
    }
out:
    manifest_release(m);
    free(m);
    return rc;
}

static int check_digest(struct version_chain *c, const struct version_part *p,
                        struct undine_err *err)
{
    const struct manifest *m = &p->reader->manifest;
    struct model_digest_rows rows[SCHEMA_TABLES_MAX];
    char hex[HASH128_HEX_LEN + 1];
    for (uint32_t i = 0; i < m->schema.n_tables; i++) {
        rows[i] = c->table[i].digest;
        if (rows[i].n != m->rows[i]) {
            return undine_err_set(err, UNDINE_ECORRUPT,
                                  "applied, table `%s` has %" PRIu64
                                  " rows, its manifest says %" PRIu64,
                                  m->schema.tables[i].name, rows[i].n, m->rows[i]);
        }
    }
    int rc = version_reader_digest_of(p->reader, rows, &c->digest, err);
    if (rc < 0) {
        return rc;
    }
    hash128_hex(hex, c->digest);
    return strcmp(hex, m->digest) == 0
               ? UNDINE_OK
               : undine_err_set(err, UNDINE_ECORRUPT,
                                "applied, the model has the digest %s, its manifest says %s", hex,
                                m->digest);
}

int version_rows_follow(const struct version_rows *base, const struct version_table *t,
                        const char *name, struct model_digest_rows *out, struct undine_err *err)
{
    struct model_digest_rows d = base->digest;
    for (uint64_t i = 0; i < t->n_rows; i++) {
        const float *old = version_rows_find(base, t->key[i]);
        if (old != NULL) {
            model_digest_row_remove(&d, t->key[i], old, base->width);
        }
        model_digest_row_add(&d, t->key[i], t->row + i * base->width, base->width);
    }
    for (uint64_t i = 0; i < t->n_removed; i++) {
        const float *old = version_rows_find(base, t->removed[i]);
        if (old == NULL) {
            return undine_err_set(err, UNDINE_ECORRUPT,
                                  "it removes the id %016" PRIx64
                                  " from table `%s`, which does not have it",
                                  t->removed[i], name);
        }
        model_digest_row_remove(&d, t->removed[i], old, base->width);
    }
    *out = d;
    return UNDINE_OK;
}

/* Is the delta one of what there is so far? */
static int check_base(const struct version_chain *c, const struct version_part *before,
                      const struct manifest *m, struct undine_err *err)
{
    const struct manifest *base = &before->reader->manifest;
    if (strcmp(m->delta.base_digest, base->digest) != 0) {
        return undine_err_set(err, UNDINE_ECORRUPT,
                              "it changes a model with the digest %s, version %" PRIu64
                              " before it has %s",
                              m->delta.base_digest, base->number, base->digest);
    }
    if (schema_model_digest(&m->schema) != schema_model_digest(&base->schema)) {
        return undine_err_set(err, UNDINE_ECORRUPT,
                              "its schema is not that of version %" PRIu64 " before it",
                              base->number);
    }
    for (uint32_t i = 0; i < m->schema.n_tables; i++) {
        if (model_row_width(&m->schema, &m->model, i) != c->table[i].width ||
            memcmp(&m->row_init[i], &base->row_init[i], sizeof m->row_init[i]) != 0) {
            return undine_err_set(err, UNDINE_ECORRUPT,
                                  "the rows of its table `%s` are not those of version %" PRIu64
                                  " before it",
                                  m->schema.tables[i].name, base->number);
        }
    }
    return UNDINE_OK;
}

/* Part `place`, a delta, on top of those before it. */
static int apply(struct version_chain *c, uint32_t place, struct undine_err *err)
{
    const struct version_part *p = c->part[place];
    const struct manifest *m = &p->reader->manifest;
    int rc = check_base(c, c->part[place - 1], m, err);
    for (uint32_t i = 0; rc == UNDINE_OK && i < m->schema.n_tables; i++) {
        const struct version_table *t = &p->reader->table[i];
        struct version_rows *rows = &c->table[i];
        rc = version_rows_follow(rows, t, m->schema.tables[i].name, &rows->digest, err);
        if (rc == UNDINE_OK) {
            rc = version_overlay_push(&c->table[i].overlay, t, place, err);
        }
    }
    if (rc == UNDINE_OK) {
        rc = check_digest(c, p, err);
    }
    if (rc < 0) {
        (void)undine_err_prefix(err, "version %" PRIu64, m->number);
    }
    return rc;
}

/* The parts of `near`, if they are the first ones of c: then all of them are applied there. */
static uint32_t applied_before(const struct version_chain *c, const struct version_chain *near)
{
    if (near == NULL || near->n_parts > c->n_parts) {
        return 0;
    }
    for (uint32_t i = 0; i < near->n_parts; i++) {
        if (near->part[i] != c->part[i]) {
            return 0;
        }
    }
    return near->n_parts;
}

/* The tables of the full version. */
static int lay_base(struct version_chain *c, struct undine_err *err)
{
    const struct version_part *full = c->part[0];
    uint32_t n = full->reader->manifest.schema.n_tables;
    c->row_memory = calloc((size_t)n * c->n_parts + 1, sizeof(const float *));
    if (c->row_memory == NULL) {
        return no_memory(err);
    }
    for (uint32_t i = 0; i < n; i++) {
        const struct version_table *t = &full->reader->table[i];
        c->table[i] = (struct version_rows){.base = t,
                                            .row = c->row_memory + (size_t)i * c->n_parts,
                                            .width = t->width,
                                            .digest = full->rows[i]};
        for (uint32_t k = 0; k < c->n_parts; k++) {
            c->row_memory[(size_t)i * c->n_parts + k] = c->part[k]->reader->table[i].row;
        }
    }
    return UNDINE_OK;
}

static int lay_deltas(struct version_chain *c, const struct version_chain *near,
                      struct undine_err *err)
{
    uint32_t n = c->part[0]->reader->manifest.schema.n_tables, from = applied_before(c, near);
    int rc = UNDINE_OK;
    if (from > 0) {
        c->digest = near->digest;
    } else {
        rc = check_digest(c, c->part[0], err);
        from = 1;
    }
    for (uint32_t i = 0; from > 1 && i < n; i++) {
        version_overlay_share(&c->table[i].overlay, &near->table[i].overlay);
        c->table[i].digest = near->table[i].digest;
    }
    for (uint32_t k = from; rc == UNDINE_OK && k < c->n_parts; k++) {
        rc = apply(c, k, err);
    }
    return rc;
}

static void name_chain(struct version_chain *c)
{
    const struct version_reader *tip = c->part[c->n_parts - 1]->reader;
    c->manifest = &tip->manifest;
    c->dense = &tip->model;
    c->number = tip->manifest.number;
    version_name(c->name, c->number);
    for (uint32_t i = 0; i < tip->manifest.schema.n_tables; i++) {
        c->table[i].shared = version_rows_find(&c->table[i], 0);
    }
}

static struct version_chain *chain_new(struct undine_err *err)
{
    struct version_chain *c = calloc(1, sizeof *c);
    if (c == NULL) {
        (void)no_memory(err);
    }
    return c;
}

/* With all parts open (rc): lays them on each other and gives the chain away, or closes it. */
static int chain_finish(struct version_chain **out, struct version_chain *c,
                        const struct version_chain *near, int rc, struct undine_err *err)
{
    if (rc == UNDINE_OK) {
        rc = lay_base(c, err);
    }
    if (rc == UNDINE_OK) {
        rc = lay_deltas(c, near, err);
    }
    if (rc < 0) {
        version_chain_close(c);
        return rc;
    }
    name_chain(c);
    *out = c;
    return UNDINE_OK;
}

int version_chain_open(struct version_chain **out, const char *dir, const char *name,
                       const struct version_chain *near, bool with_train, struct undine_err *err)
{
    struct version_chain *c = chain_new(err);
    if (c == NULL) {
        return UNDINE_ENOMEM;
    }
    int rc = open_parts(c, dir, name, near, with_train, err);
    bool opened = rc == UNDINE_OK; /* else the error names the path already */
    rc = chain_finish(out, c, near, rc, err);
    if (rc < 0 && opened) {
        (void)undine_err_prefix(err, "%s/%s", dir, name);
    }
    return rc;
}

/* The parts of `near` behind the one whose model the full version is. */
static int rebase_parts(struct version_chain *c, const struct version_chain *near,
                        struct undine_err *err)
{
    const struct manifest *full = &c->part[0]->reader->manifest;
    for (uint32_t i = 0; !full->is_delta && i < near->n_parts; i++) {
        const struct manifest *m = &near->part[i]->reader->manifest;
        if (m->number != full->merged_from || strcmp(m->digest, full->digest) != 0) {
            continue;
        }
        for (uint32_t k = i + 1; k < near->n_parts; k++) {
            (void)atomic_fetch_add(&near->part[k]->refs, 1);
            c->part[c->n_parts++] = near->part[k];
        }
        return UNDINE_OK;
    }
    return undine_err_set(err, UNDINE_EINVAL,
                          "version %" PRIu64 " is not merged from one that version %s needs",
                          full->number, near->name);
}

int version_chain_rebase(struct version_chain **out, const char *dir, const char *full,
                         const struct version_chain *near, struct undine_err *err)
{
    uint64_t number = 0;
    struct version_chain *c = chain_new(err);
    if (c == NULL) {
        return UNDINE_ENOMEM;
    }
    UNDINE_ASSERT(version_number(&number, full));
    c->part = calloc(near->n_parts + 1, sizeof(struct version_part *));
    int rc = c->part == NULL ? no_memory(err)
                             : part_open(&c->part[0], dir, number, near->part[0]->with_train, err);
    c->n_parts = rc == UNDINE_OK;
    if (rc == UNDINE_OK) {
        rc = rebase_parts(c, near, err);
    }
    return chain_finish(out, c, NULL, rc, err);
}

/* A version that does not lie among others under its own name: a copy. */
static int open_copy(struct version_chain **out, const char *path, bool with_train,
                     struct undine_err *err)
{
    struct version_chain *c = chain_new(err);
    if (c == NULL) {
        return UNDINE_ENOMEM;
    }
    c->part = calloc(1, sizeof(struct version_part *));
    int rc =
        c->part == NULL ? no_memory(err) : part_open_path(&c->part[0], path, 0, with_train, err);
    c->n_parts = rc == UNDINE_OK;
    if (rc == UNDINE_OK && c->part[0]->reader->manifest.is_delta) {
        rc = undine_err_set(err, UNDINE_EINVAL,
                            "%s: is a delta: it is read under its number, beside the versions that "
                            "it changes",
                            path);
    }
    return chain_finish(out, c, NULL, rc, err);
}

int version_chain_open_path(struct version_chain **out, const char *path,
                            const struct version_chain *near, bool with_train,
                            struct undine_err *err)
{
    char dir[VERSION_PATH_MAX];
    uint64_t number;
    size_t len = strlen(path);
    if (len >= sizeof dir) {
        return undine_err_set(err, UNDINE_EINVAL, "%.64s...: the path is too long", path);
    }
    memcpy(dir, path, len + 1);
    while (len > 1 && dir[len - 1] == '/') {
        dir[--len] = '\0';
    }
    char *slash = strrchr(dir, '/');
    const char *name = slash != NULL ? slash + 1 : dir;
    if (!version_number(&number, name)) {
        return open_copy(out, path, with_train, err);
    }
    if (slash == NULL) {
        return version_chain_open(out, ".", name, near, with_train, err);
    }
    *slash = '\0';
    return version_chain_open(out, slash == dir ? "/" : dir, name, near, with_train, err);
}

void version_chain_close(struct version_chain *c)
{
    if (c == NULL) {
        return;
    }
    for (uint32_t i = 0; i < SCHEMA_TABLES_MAX; i++) {
        version_overlay_release(&c->table[i].overlay);
    }
    for (uint32_t i = 0; c->part != NULL && i < c->n_parts; i++) {
        part_release(c->part[i]);
    }
    free(c->part);
    free(c->row_memory);
    free(c);
}

bool version_rows_where(const struct version_rows *t, uint64_t key, uint32_t *part, uint64_t *row)
{
    const struct version_slot *s = version_overlay_find(&t->overlay, key);
    if (s != NULL) {
        *part = s->part;
        *row = s->row;
        return s->row != VERSION_ROW_GONE;
    }
    *part = 0;
    *row = version_table_find(t->base, key);
    return *row < t->base->n_rows;
}

struct manifest_link *version_chain_links(const struct version_chain *c)
{
    struct manifest_link *links = calloc(c->n_parts, sizeof *links);
    for (uint32_t i = 0; links != NULL && i < c->n_parts; i++) {
        const struct manifest *m = &c->part[i]->reader->manifest;
        links[i].number = m->number;
        memcpy(links[i].seal, m->seal, sizeof m->seal);
    }
    return links;
}
