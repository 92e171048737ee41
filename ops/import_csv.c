#include "ops/import.h"

#include "ops/args.h"
#include "ops/csv.h"
#include "ops/import_mapping.h"

#include <stdlib.h>
#include <string.h>

struct importer {
    const struct import_csv *opt;
    struct event_writer *w;
    struct mapping map;
    struct csv *csv;
    struct import_csv_counts counts;
};

/* ---- columns ---- */

static int find_column(const struct importer *m, struct mapping_value *v, struct undine_err *err)
{
    return v->set && !v->constant ? csv_column_needed(m->csv, v->text, &v->column, err) : UNDINE_OK;
}

static int find_columns(struct importer *m, struct undine_err *err)
{
    struct mapping *map = &m->map;
    struct mapping_value *const values[] = {&map->kind, &map->id,         &map->user, &map->time,
                                            &map->type, &map->impression, &map->click};
    struct mapping_group *const groups[] = {&map->candidate, &map->context, &map->profile};
    int rc = UNDINE_OK;
    for (size_t i = 0; rc == UNDINE_OK && i < sizeof values / sizeof values[0]; i++) {
        rc = find_column(m, values[i], err);
    }
    for (size_t g = 0; g < sizeof groups / sizeof groups[0]; g++) {
        for (uint32_t i = 0; rc == UNDINE_OK && i < groups[g]->n; i++) {
            rc = find_column(m, &groups[g]->field[i].value, err);
        }
    }
    return rc;
}

/* The row's text; "" where it is missing, or the row is too short (files without header). */
static const char *value_of(const struct importer *m, const struct csv_row *row,
                            const struct mapping_value *v)
{
    if (!v->set) {
        return "";
    }
    const char *text = v->constant                  ? v->text
                       : (size_t)v->column < row->n ? row->field[v->column]
                                                    : "";
    return mapping_words_find(&m->map.missing, text) >= 0 ? "" : text;
}

static int bad_row(const struct importer *m, const struct csv_row *row, const char *key,
                   const char *text, const char *expected, struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ECORRUPT, "%s:%llu: `%s` is `%.80s`, expected %s",
                          m->opt->input, (unsigned long long)row->line, key, text, expected);
}

/* ---- time ---- */

static bool parse_number_time(const char *text, enum mapping_unit unit, int64_t *out)
{
    static const int64_t per_ms[] = {[MAPPING_MS] = 1, [MAPPING_US] = 1000, [MAPPING_NS] = 1000000};
    int64_t v = 0;
    if (unit == MAPPING_S) { /* may have a fraction: 1650812741.436 */
        char *end = NULL;
        double s = strtod(text, &end);
        if (end == text || *end != '\0' || !(s > -1e12 && s < 1e12)) {
            return false;
        }
        *out = (int64_t)(s * 1000.0 + (s < 0 ? -0.5 : 0.5));
        return true;
    }
    if (!import_integer(text, &v)) {
        return false;
    }
    *out = v / per_ms[unit];
    return true;
}

static bool parse_time(const char *text, enum mapping_unit unit, int64_t *out)
{
    return unit == MAPPING_ISO ? args_time_ms(out, text) : parse_number_time(text, unit, out);
}

/* ---- rows ---- */

static void put_fields(struct importer *m, const struct csv_row *row, const char *name,
                       const struct mapping_group *g)
{
    if (g->n == 0) {
        return;
    }
    event_group(m->w, name);
    for (uint32_t i = 0; i < g->n; i++) {
        const struct mapping_field *f = &g->field[i];
        const char *text = value_of(m, row, &f->value);
        if (f->value.separator != '\0') {
            event_texts(m->w, f->name, text, f->value.separator);
        } else {
            event_text(m->w, f->name, text);
        }
    }
    event_group_end(m->w);
}

static int add_impression(struct importer *m, const struct csv_row *row, int64_t time_ms,
                          const char *user, struct undine_err *err)
{
    char by_row[32];
    const char *id = value_of(m, row, &m->map.id);
    const char *click = value_of(m, row, &m->map.click);
    if (!m->map.id.set) {
        (void)snprintf(by_row, sizeof by_row, "r%llu", (unsigned long long)row->number);
        id = by_row;
    }
    event_begin(m->w, EVENT_IMPRESSION, time_ms, user);
    event_text(m->w, "id", id);
    put_fields(m, row, "candidate", &m->map.candidate);
    put_fields(m, row, "context", &m->map.context);
    put_fields(m, row, "profile", &m->map.profile);
    int rc = event_end(m->w, err);
    if (rc == UNDINE_OK && m->map.click.set &&
        mapping_words_find(&m->map.click_words, click) >= 0) {
        event_begin(m->w, EVENT_CLICK, time_ms + m->map.click_delay_ms, user);
        event_text(m->w, "impression", id);
        rc = event_end(m->w, err);
    }
    return rc;
}

static int add_row(struct importer *m, const struct csv_row *row, enum event_kind kind,
                   struct undine_err *err)
{
    const struct mapping *map = &m->map;
    const char *user = value_of(m, row, &map->user), *time = value_of(m, row, &map->time);
    int64_t time_ms = 0;
    if (!parse_time(time, map->unit, &time_ms)) {
        return bad_row(m, row, "time", time, "a time in the unit of the mapping", err);
    }
    if (user[0] == '\0' && kind != EVENT_CLICK) {
        return bad_row(m, row, "user", user, "an id", err);
    }
    m->counts.rows++;
    int rc = UNDINE_OK;
    if (kind == EVENT_IMPRESSION) {
        rc = add_impression(m, row, time_ms, user, err);
    } else {
        event_begin(m->w, kind, time_ms, user);
        event_text(m->w, "impression",
                   kind == EVENT_CLICK ? value_of(m, row, &map->impression) : "");
        if (kind == EVENT_CLICK && !map->impression.set) {
            event_text(m->w, "item", value_of(m, row, &map->candidate.field[0].value));
        }
        if (kind == EVENT_BEHAVIOR) {
            event_text(m->w, "type", value_of(m, row, &map->type));
            put_fields(m, row, "item", &map->candidate);
        }
        rc = event_end(m->w, err);
    }
    /* What is due stays in the order of its time, as long as the rows are. */
    return rc == UNDINE_OK && !m->opt->sort ? event_release(m->w, time_ms, err) : rc;
}

static int add_any_row(struct importer *m, const struct csv_row *row, struct undine_err *err)
{
    int i = 0;
    if (!m->map.kind.constant) {
        i = mapping_words_find(&m->map.kind_words, value_of(m, row, &m->map.kind));
    }
    if (i < 0) {
        m->counts.skipped++; /* DROP(import_row) */
        return UNDINE_OK;
    }
    return add_row(m, row, m->map.kinds[i], err);
}

int import_csv(const struct import_csv *opt, struct event_writer *w,
               struct import_csv_counts *counts, struct undine_err *err)
{
    struct importer *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "out of memory");
    }
    m->opt = opt;
    m->w = w;
    struct csv_row row;
    int rc = mapping_load(&m->map, opt->mapping, err);
    if (rc == UNDINE_OK) {
        const struct csv_options csv = {m->map.delimiter, m->map.header, m->map.quotes};
        rc = csv_open(&m->csv, opt->input, &csv, err);
    }
    rc = rc == UNDINE_OK ? find_columns(m, err) : rc;
    while (rc == UNDINE_OK && (rc = csv_next(m->csv, &row, err)) == 1) {
        rc = add_any_row(m, &row, err);
    }
    csv_close(m->csv);
    if (rc == UNDINE_OK) {
        *counts = m->counts;
    }
    free(m);
    return rc;
}
