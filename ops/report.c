#include "ops/report.h"

#include "learner/blas.h"
#include "learner/model/json_text.h"
#include "ops/json_put.h"
#include "ops/store_json.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

uint64_t report_rss_bytes(void)
{
    unsigned long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f != NULL) {
        if (fscanf(f, "%*u %llu", &pages) != 1) {
            pages = 0;
        }
        (void)fclose(f);
    }
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t report_rss_bytes_max(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)usage.ru_maxrss * 1024;
}

static void put_u64(json_t *o, const char *name, uint64_t v)
{
    json_put(o, name, json_integer((json_int_t)v));
}

/* JSON has no NaN: a metric that does not exist yet is null. */
static void put_real(json_t *o, const char *name, double v)
{
    json_put(o, name, isfinite(v) ? json_real(v) : json_null());
}

/* Bins of p, lowest first. */
static void put_bins(json_t *o, const char *name, const struct metrics_bin bin[METRICS_BINS])
{
    json_t *list = json_array();
    for (int b = 0; b < METRICS_BINS; b++) {
        json_t *one = json_object();
        put_real(one, "from", (double)b / METRICS_BINS);
        put_u64(one, "examples", (uint64_t)bin[b].examples);
        put_real(one, "predicted", bin[b].p / bin[b].weight);
        put_real(one, "clicked", bin[b].label / bin[b].weight);
        json_put_last(list, one);
    }
    json_put(o, name, list);
}

static void put_frozen(json_t *o, const struct trainer_frozen *f)
{
    json_t *to = json_object();
    put_u64(to, "examples", f->examples);
    put_real(to, "auc", f->auc);
    put_real(to, "gauc", f->gauc);
    put_u64(to, "gauc_users", f->gauc_users);
    put_u64(to, "gauc_users_one_class", f->gauc_users_one_class);
    put_real(to, "logloss", f->logloss);
    put_real(to, "calibration", f->calibration);
    put_u64(to, "freezes", f->freezes);
    put_u64(to, "skipped", f->skipped);
    json_put(o, "frozen", to);
}

static void put_side(json_t *o, const char *name, const struct gate_side *s)
{
    json_t *to = json_object();
    put_real(to, "logloss", s->logloss);
    put_real(to, "gauc", s->gauc);
    put_real(to, "calibration", s->calibration);
    json_put(o, name, to);
}

static void put_gate(json_t *o, const struct publish_gate_status *g)
{
    json_t *to = json_object();
    bool judged = g->version != 0;
    put_u64(to, "passed", g->passed);
    put_u64(to, "too_few", g->too_few);
    put_u64(to, "failed", g->failed);
    put_u64(to, "refused", g->refused);
    put_u64(to, "version", g->version);
    json_put(to, "verdict", judged ? json_string(GATE_VERDICT_NAME[g->verdict.kind]) : json_null());
    json_put(to, "why", json_string(g->verdict.why));
    put_u64(to, "examples", g->figures.examples);
    put_side(to, "learner", &g->figures.learner);
    put_side(to, "published", &g->figures.published);
    put_real(to, "norm_ratio", g->figures.norm_ratio);
    json_put(o, "gate", to);
}

static void put_attention(json_t *o, const struct trainer_metrics *m)
{
    json_t *list = json_array();
    for (uint32_t q = 0; q < m->n_attention; q++) {
        const struct attention_summary *a = &m->attention[q].weights;
        json_t *one = json_object();
        json_put(one, "sequence", json_string(m->attention[q].sequence));
        put_u64(one, "examples", a->examples);
        put_real(one, "steps", a->steps);
        put_real(one, "effective_steps", a->effective_steps);
        put_real(one, "ignored", a->ignored);
        put_real(one, "mean", a->mean);
        put_real(one, "sd", a->sd);
        for (int i = 0; i < ATTENTION_QUANTILES; i++) {
            char name[8];
            (void)snprintf(name, sizeof name, "p%02.0f", 100.0 * ATTENTION_QUANTILE[i]);
            put_real(one, name, a->quantile[i]);
        }
        json_put_last(list, one);
    }
    json_put(o, "attention", list);
}

static void put_norms(json_t *o, const struct norms *n)
{
    json_t *tables = json_array(), *tensors = json_array();
    for (uint32_t k = 0; k < n->n_tables; k++) {
        const struct norms_table *t = &n->table[k];
        json_t *one = json_object();
        json_put(one, "table", json_string(t->name));
        put_u64(one, "rows", t->rows);
        put_real(one, "mean", t->mean);
        put_real(one, "p01", t->quantile[0]);
        put_real(one, "p50", t->quantile[1]);
        put_real(one, "p99", t->quantile[2]);
        put_real(one, "max", t->largest);
        json_put_last(tables, one);
    }
    for (uint32_t i = 0; i < n->n_tensors; i++) {
        json_t *one = json_object();
        json_put(one, "tensor", json_string(n->tensor[i].name));
        put_real(one, "norm", n->tensor[i].norm);
        put_real(one, "max", n->tensor[i].largest);
        json_put_last(tensors, one);
    }
    json_put(o, "row_norms", tables);
    json_put(o, "tensor_norms", tensors);
}

static void put_slices(json_t *o, const struct trainer_slices *s)
{
    json_t *list = json_array();
    for (uint32_t k = 0; k < s->n; k++) {
        const struct metrics_summary *m = &s->slice[k].metrics;
        json_t *one = json_object();
        json_put(one, "name", json_string(s->slice[k].name));
        put_u64(one, "examples", m->examples);
        put_u64(one, "positives", m->positives);
        put_real(one, "auc", m->auc);
        put_real(one, "gauc", m->gauc);
        put_u64(one, "gauc_users", m->gauc_users);
        put_u64(one, "gauc_users_one_class", m->gauc_users_one_class);
        put_real(one, "logloss", m->logloss);
        put_real(one, "normalized_entropy", m->normalized_entropy);
        put_real(one, "calibration", m->calibration);
        put_real(one, "ece", m->ece);
        put_u64(one, "window_examples", m->window_examples);
        put_real(one, "window_auc", m->window_auc);
        put_real(one, "window_logloss", m->window_logloss);
        put_real(one, "window_normalized_entropy", m->window_normalized_entropy);
        put_real(one, "window_calibration", m->window_calibration);
        put_real(one, "window_ece", m->window_ece);
        json_put_last(list, one);
    }
    json_put(o, "slices", list);
}

/* A hold, deltas, merges, and how long the learner stood still for a version. */
static void put_line(json_t *o, const struct daemon_status *st)
{
    json_put(o, "publication_held", json_boolean(st->publication_held));
    put_u64(o, "deltas", st->line.deltas);
    put_u64(o, "merges", st->line.merges);
    put_real(o, "publish_pause_max_ms", 1e3 * st->pause.max_seconds);
}

int report_write(FILE *out, const struct daemon_status *st, const struct report_parts *parts,
                 double seconds, struct undine_err *err)
{
    const struct ingest_counters *c = &st->ingest.counters;
    const struct trainer_metrics *m = &st->learner;
    uint64_t known = c->clicks_matched + c->clicks_orphan + c->clicks_late;
    (void)json_put_lost(); /* what somebody gave up is not ours */
    json_t *o = json_object();
    put_u64(o, "events", c->events);
    put_u64(o, "impressions", c->impressions);
    put_u64(o, "clicks", c->clicks);
    put_u64(o, "examples", m->examples);
    put_u64(o, "positives", m->positives);
    put_real(o, "auc", m->auc);
    put_real(o, "gauc", m->gauc);
    put_real(o, "logloss", m->logloss);
    put_real(o, "normalized_entropy", m->normalized_entropy);
    put_real(o, "calibration", m->calibration);
    put_real(o, "click_coverage", known > 0 ? (double)c->clicks_matched / (double)known : 1.0);
    put_real(o, "seconds", seconds);
    put_real(o, "events_per_second", seconds > 0 ? (double)st->events_now / seconds : 0);
    put_real(o, "examples_per_second",
             m->seconds_training > 0 ? (double)st->examples_now / m->seconds_training : 0);
    put_real(o, "popularity_auc", m->popularity_auc);
    put_real(o, "popularity_logloss", m->popularity_logloss);
    put_real(o, "ece", m->ece);
    put_real(o, "window_auc", m->window_auc);
    put_real(o, "window_logloss", m->window_logloss);
    put_real(o, "window_normalized_entropy", m->window_normalized_entropy);
    put_real(o, "window_calibration", m->window_calibration);
    put_real(o, "window_ece", m->window_ece);
    put_bins(o, "predictions", m->bin);
    put_frozen(o, &m->frozen);
    put_gate(o, &st->gate);
    put_slices(o, &parts->slices);
    put_attention(o, m);
    put_norms(o, &parts->norms);
    put_u64(o, "batches", m->batches);
    put_u64(o, "batches_skipped", m->batches_skipped);
    put_u64(o, "workers", m->workers);
    put_u64(o, "rows", m->rows);
    put_u64(o, "rows_forgotten", m->rows_forgotten);
    put_u64(o, "rows_expired", m->rows_expired);
    put_u64(o, "rows_evicted", m->rows_evicted);
    put_u64(o, "ids_waiting", m->ids_waiting);
    put_u64(o, "ids_admitted", m->ids_admitted);
    put_u64(o, "waiting_dropped", m->waiting_dropped);
    put_u64(o, "rss_bytes", report_rss_bytes_max());
    put_u64(o, "version", st->version.number);
    put_u64(o, "version_published", st->version_published);
    put_u64(o, "versions_held", st->versions_held);
    put_u64(o, "rollbacks", st->rollbacks);
    put_line(o, st);
    char kernels[BLAS_KERNELS_MAX];
    blas_kernels(kernels, sizeof kernels);
    json_put(o, "kernels", json_string(kernels));
    json_put(o, "accounting", store_json_counters(c));
    char digest[24];
    (void)snprintf(digest, sizeof digest, "%016llx", (unsigned long long)m->example_digest);
    json_put(o, "example_digest", json_string(digest));
    json_put(o, "model_digest", json_string(st->version.digest));
    char *text = json_text_print(o, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));
    json_decref(o);
    if (json_put_lost() || text == NULL) {
        free(text);
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for the report");
    }
    int written = fprintf(out, "%s\n", text);
    free(text);
    if (written < 0 || fflush(out) != 0) {
        return undine_err_set(err, UNDINE_EIO, "the report could not be written");
    }
    return UNDINE_OK;
}
