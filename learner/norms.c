#include "learner/norms.h"

#include "base/bytes.h"
#include "learner/octaves.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const double NORMS_QUANTILE[NORMS_QUANTILES] = {0.01, 0.5, 0.99};

static double sum_squares(const float *x, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    return sum;
}

/* count[b + 1]: norms in bucket b. */
static double quantile(const uint64_t count[OCTAVES_BUCKETS + 1], uint64_t n, double q)
{
    double rank = ceil(q * (double)n), below = 0.0;
    for (int b = -1; n > 0 && b < OCTAVES_BUCKETS; b++) {
        below += (double)count[b + 1];
        if (below >= rank) {
            return octaves_middle(b);
        }
    }
    return NAN;
}

static void of_table(struct norms_table *out, const struct snapshot_table *t, uint32_t dim)
{
    uint64_t count[OCTAVES_BUCKETS + 1] = {0}, n = 0;
    double sum = 0.0, largest = 0.0;
    for (uint64_t i = 0; i < t->n_rows; i++) {
        double norm = sqrt(sum_squares(t->weight + i * t->dim, dim));
        if (isfinite(norm)) {
            n++;
            sum += norm;
            largest = fmax(largest, norm);
            count[octaves_bucket(norm) + 1]++;
        }
    }
    *out = (struct norms_table){
        .rows = t->n_rows, .mean = sum / (double)n, .largest = n > 0 ? largest : (double)NAN};
    (void)snprintf(out->name, sizeof out->name, "%s", t->name);
    for (int q = 0; q < NORMS_QUANTILES; q++) {
        out->quantile[q] = quantile(count, n, NORMS_QUANTILE[q]);
    }
}

static bool is_statistic(const char *name)
{
    static const char *const last[] = {".mean", ".var", ".updates"};
    size_t len = strlen(name);
    for (size_t i = 0; i < sizeof last / sizeof last[0]; i++) {
        size_t n = strlen(last[i]);
        if (len > n && strcmp(name + len - n, last[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void of_tensor(struct norms_tensor *out, const struct snapshot_array *a)
{
    const float *x = a->data;
    size_t n = snapshot_array_bytes(a) / sizeof *x;
    *out = (struct norms_tensor){.norm = sqrt(sum_squares(x, n))};
    (void)snprintf(out->name, sizeof out->name, "%s", a->name);
    for (size_t i = 0; i < n; i++) {
        out->largest = fmax(out->largest, fabs((double)x[i]));
    }
}

void norms_of(struct norms *out, const struct snapshot *s)
{
    memset(out, 0, sizeof *out);
    out->n_tables = s->n_tables;
    for (uint32_t k = 0; k < s->n_tables; k++) {
        of_table(&out->table[k], &s->table[k], s->schema.tables[k].dim);
    }
    for (uint32_t i = 0; i < s->n_dense; i++) {
        if (s->dense[i].type == SNAPSHOT_F32 && !is_statistic(s->dense[i].name)) {
            of_tensor(&out->tensor[out->n_tensors++], &s->dense[i]);
        }
    }
}

/* ---- as text ---- */

static void put_number(struct writer *w, const char *before, double v)
{
    char text[80];
    int len = snprintf(text, sizeof text, isfinite(v) ? "%s%.9g" : "%snull", before, v);
    writer_bytes(w, text, (size_t)len);
}

/* A member whose value begins: the comma before, where there is one, and the name. */
static void put_name(struct writer *w, bool first, const char *name)
{
    writer_bytes(w, first ? "\"" : ",\"", first ? 1 : 2);
    writer_bytes(w, name, strlen(name));
    writer_bytes(w, "\":{", 3);
}

static void put_all(struct writer *w, const struct norms *n)
{
    static const char begin[] = "{\"tables\":{", between[] = "},\"tensors\":{", end[] = "}}";
    writer_bytes(w, begin, sizeof begin - 1);
    for (uint32_t k = 0; k < n->n_tables; k++) {
        const struct norms_table *t = &n->table[k];
        put_name(w, k == 0, t->name);
        put_number(w, "\"mean\":", t->mean);
        put_number(w, ",\"largest\":", t->largest);
        put_number(w, ",\"p01\":", t->quantile[0]);
        put_number(w, ",\"p50\":", t->quantile[1]);
        put_number(w, ",\"p99\":", t->quantile[2]);
        writer_bytes(w, "}", 1);
    }
    writer_bytes(w, between, sizeof between - 1);
    for (uint32_t i = 0; i < n->n_tensors; i++) {
        put_name(w, i == 0, n->tensor[i].name);
        put_number(w, "\"norm\":", n->tensor[i].norm);
        put_number(w, ",\"largest\":", n->tensor[i].largest);
        writer_bytes(w, "}", 1);
    }
    writer_bytes(w, end, sizeof end - 1);
}

int norms_attach(struct snapshot *s, struct undine_err *err)
{
    struct writer w;
    if (s->norms_json != NULL) {
        return UNDINE_OK;
    }
    s->norms = arena_alloc(&s->memory, sizeof *s->norms);
    if (s->norms == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for the norms of a version");
    }
    norms_of(s->norms, s);
    writer_init(&w);
    put_all(&w, s->norms);
    s->norms_json = w.bad ? NULL : arena_strndup(&s->memory, (const char *)w.data, w.len);
    writer_release(&w);
    return s->norms_json != NULL
               ? UNDINE_OK
               : undine_err_set(err, UNDINE_ENOMEM, "no memory for the norms of a version");
}
