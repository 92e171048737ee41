#include "learner/gate.h"

#include "learner/gate_window.h"
#include "learner/metrics.h"
#include "learner/model/json_text.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

const char *const GATE_REASON_NAME[GATE_REASONS] = {"logloss",    "gauc", "calibration",
                                                    "not_finite", "norm", "rows"};
const char *const GATE_VERDICT_NAME[] = {"pass", "too few", "refuse"};
static const char *const MODE_NAME[] = {"off", "warn", "enforce"};

int gate_check(const struct gate_options *opt, struct undine_err *err)
{
    if (opt->mode != GATE_OFF && opt->examples_min > opt->window) {
        return undine_err_set(err, UNDINE_ECONFIG,
                              "gate.examples_min is %llu, expected at most gate.window, which is "
                              "%llu: the window would never hold as many",
                              (unsigned long long)opt->examples_min,
                              (unsigned long long)opt->window);
    }
    if (opt->calibration_min >= opt->calibration_max) {
        return undine_err_set(err, UNDINE_ECONFIG,
                              "gate.calibration_min is %g, expected below "
                              "gate.calibration_max, which is %g",
                              opt->calibration_min, opt->calibration_max);
    }
    return UNDINE_OK;
}

bool gate_refuses(const struct gate_options *opt, const struct gate_verdict *v)
{
    return opt->mode == GATE_ENFORCE && v->kind == GATE_REFUSE;
}

/* ---- the verdict ---- */

__attribute__((format(printf, 3, 4))) static void
refuse(struct gate_verdict *v, enum gate_reason reason, const char *fmt, ...)
{
    size_t len = strlen(v->why);
    if (len > 0 && len + 2 < sizeof v->why) {
        (void)strcpy(v->why + len, "; ");
        len += 2;
    }
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(v->why + len, sizeof v->why - len, fmt, ap);
    va_end(ap);
    v->kind = GATE_REFUSE;
    v->reasons |= (uint32_t)reason;
}

/* How far a calibration is from right, the same for twice and for half. */
static double off(double calibration)
{
    return calibration > 0.0 ? fabs(log(calibration)) : INFINITY;
}

static void judge_scores(const struct gate_options *opt, const struct gate_figures *f,
                         struct gate_verdict *out)
{
    const struct gate_side *p = &f->published, *l = &f->learner;
    if (l->logloss > p->logloss * (1.0 + opt->logloss_rise)) {
        refuse(out, GATE_LOGLOSS, "logloss %.6g, the published version's is %.6g, at most %.6g",
               l->logloss, p->logloss, p->logloss * (1.0 + opt->logloss_rise));
    }
    if (l->gauc < p->gauc - opt->gauc_drop) {
        refuse(out, GATE_GAUC, "GAUC %.6g, the published version's is %.6g, at least %.6g", l->gauc,
               p->gauc, p->gauc - opt->gauc_drop);
    }
    bool outside = l->calibration < opt->calibration_min || l->calibration > opt->calibration_max;
    bool nearer = isfinite(p->calibration) && off(l->calibration) < off(p->calibration);
    if (outside && !nearer) {
        refuse(out, GATE_CALIBRATION,
               "calibration %.6g, expected %.6g to %.6g; the published version's is %.6g",
               l->calibration, opt->calibration_min, opt->calibration_max, p->calibration);
    }
}

void gate_judge(const struct gate_options *opt, const struct gate_figures *f,
                struct gate_verdict *out)
{
    *out = (struct gate_verdict){.kind = GATE_PASS};
    if (f->not_finite > 0) {
        refuse(out, GATE_NOT_FINITE, "%llu values of the model are not finite",
               (unsigned long long)f->not_finite);
    }
    if (f->norm_ratio > opt->norm_ratio) {
        refuse(out, GATE_NORM, "the norm of %s is %.6g times the published version's, at most %.6g",
               f->norm_name, f->norm_ratio, opt->norm_ratio);
    }
    if (f->rows_published > 0 && f->rows > 0 &&
        (double)f->rows < (1.0 - opt->row_drop) * (double)f->rows_published) {
        refuse(out, GATE_ROWS, "%llu rows, the published version has %llu, at least %.0f",
               (unsigned long long)f->rows, (unsigned long long)f->rows_published,
               ceil((1.0 - opt->row_drop) * (double)f->rows_published));
    }
    if (f->examples >= opt->examples_min && f->examples > 0) {
        judge_scores(opt, f, out);
    } else if (out->kind == GATE_PASS) {
        out->kind = GATE_TOO_FEW;
        (void)snprintf(out->why, sizeof out->why,
                       "%llu examples that both have scored, %llu are needed to compare",
                       (unsigned long long)f->examples, (unsigned long long)opt->examples_min);
    }
}

/* ---- the figures ---- */

static uint64_t not_finite(const float *x, uint64_t n)
{
    uint64_t bad = 0;
    for (uint64_t i = 0; i < n; i++) {
        bad += isfinite(x[i]) ? 0 : 1;
    }
    return bad;
}

static uint64_t count_not_finite(const struct snapshot *s)
{
    uint64_t bad = 0;
    for (uint32_t k = 0; k < s->n_tables; k++) {
        bad += not_finite(s->table[k].weight, s->table[k].n_rows * s->table[k].dim);
    }
    for (uint32_t i = 0; i < s->n_dense; i++) {
        const struct snapshot_array *a = &s->dense[i];
        if (a->type == SNAPSHOT_F32) {
            bad += not_finite(a->data, snapshot_array_bytes(a) / sizeof(float));
        }
    }
    return bad;
}

static void offer_norm(struct gate_figures *out, const char *kind, const char *name, double now,
                       double before)
{
    double ratio = now / fmax(before, GATE_NORM_SMALL);
    if (isfinite(before) && ratio > out->norm_ratio) {
        out->norm_ratio = ratio;
        (void)snprintf(out->norm_name, sizeof out->norm_name, "%s%s", kind, name);
    }
}

static void compare_norms(struct gate_figures *out, const struct norms *now,
                          const struct norms *before)
{
    for (uint32_t k = 0; k < now->n_tables && k < before->n_tables; k++) {
        if (strcmp(now->table[k].name, before->table[k].name) == 0) {
            offer_norm(out, "a row of table ", now->table[k].name, now->table[k].largest,
                       before->table[k].largest);
        }
    }
    for (uint32_t i = 0; i < now->n_tensors && i < before->n_tensors; i++) {
        if (strcmp(now->tensor[i].name, before->tensor[i].name) == 0) {
            offer_norm(out, "", now->tensor[i].name, now->tensor[i].norm, before->tensor[i].norm);
        }
    }
}

/* Reorders rows. */
static uint64_t side_of(struct gate_side *out, struct metrics_row *rows, size_t n, uint64_t *users)
{
    n = metrics_rows_settle(rows, n);
    struct metrics_sums sums = metrics_rows_sums(rows, n);
    struct metrics_gauc gauc = metrics_rows_gauc(rows, n);
    *out = (struct gate_side){.logloss = metrics_logloss(&sums),
                              .gauc = gauc.gauc,
                              .calibration = metrics_calibration(&sums)};
    *users = gauc.users;
    return n;
}

int gate_measure(struct gate_figures *out, struct snapshot *s, uint64_t rows,
                 const struct gate_published *published, struct undine_err *err)
{
    const struct gate_side none = {NAN, NAN, NAN};
    struct metrics_row *of_published = NULL, *of_learner = NULL;
    size_t n = 0;
    *out = (struct gate_figures){.against = published->number,
                                 .published = none,
                                 .learner = none,
                                 .rows = rows,
                                 .not_finite = count_not_finite(s)};
    if (published->number != 0) {
        out->rows_published = published->rows;
        compare_norms(out, s->norms, &published->norms);
    }
    int rc = gate_window_rows(s, &of_published, &of_learner, &n, err);
    if (rc == UNDINE_OK && n > 0) {
        out->examples = side_of(&out->published, of_published, n, &out->gauc_users);
        (void)side_of(&out->learner, of_learner, n, &out->gauc_users);
    }
    return rc;
}

/* ---- as text ---- */

static json_t *number(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *side_json(const struct gate_side *s)
{
    return json_pack("{s:o,s:o,s:o}", "logloss", number(s->logloss), "gauc", number(s->gauc),
                     "calibration", number(s->calibration));
}

char *gate_json(const struct gate_options *opt, const struct gate_figures *f,
                const struct gate_verdict *v)
{
    json_t *reasons = json_array();
    for (int i = 0; i < GATE_REASONS; i++) {
        if (v->reasons & 1u << i) {
            (void)json_array_append_new(reasons, json_string(GATE_REASON_NAME[i]));
        }
    }
    json_t *o = json_pack("{s:s,s:s,s:o,s:s,s:I,s:I,s:I,s:o,s:o,s:I,s:o,s:s,s:I,s:I}", "mode",
                          MODE_NAME[opt->mode], "verdict", GATE_VERDICT_NAME[v->kind], "reasons",
                          reasons, "why", v->why, "against", (json_int_t)f->against, "examples",
                          (json_int_t)f->examples, "gauc_users", (json_int_t)f->gauc_users,
                          "published", side_json(&f->published), "learner", side_json(&f->learner),
                          "not_finite", (json_int_t)f->not_finite, "norm_ratio",
                          number(f->norm_ratio), "norm_name", f->norm_name, "rows",
                          (json_int_t)f->rows, "rows_published", (json_int_t)f->rows_published);
    char *text =
        o != NULL ? json_text_print(o, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9))
                  : NULL;
    json_decref(o);
    return text;
}
