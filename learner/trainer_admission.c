/* trainer_admission.c: admission's state out into a snapshot, and back.
 *
 * The shared rows are rows of their tables, with id 0; what waits is in snapshot.waiting; and
 *   train  admission.admitted     (1) u64: ids admitted, where there is or was admission
 *
 * k may change at a restart, and what is on disk is taken over.  Rows stay.  Ids that wait keep
 * their counts and are admitted with the first batch that holds them in which they reach the new k.
 * Switched on: shared rows begin anew.  Switched off: the shared rows go, and so do the counts of
 * what waited (counted as dropped); such an id begins a row of its own when it is next met. */
#include "learner/trainer_state.h"

#include <stdio.h>
#include <string.h>

#define NAME_ADMITTED "admission.admitted"

bool trainer_admission_copy(const struct trainer *t, struct snapshot *s)
{
    const struct admission *a = &t->admission;
    s->n_waiting = a->n_tables;
    for (uint32_t k = 0; k < a->n_tables; k++) {
        if (!trainer_copy_keys(&a->table[k].waiting, t->schema.tables[k].name, s, &s->waiting[k])) {
            return false;
        }
    }
    return true;
}

bool trainer_admission_save(const struct trainer *t, struct snapshot *s)
{
    const struct admission *a = &t->admission;
    if (!admission_on(a->k) && a->admitted == 0) {
        return true;
    }
    uint64_t *admitted = snapshot_train(s, NAME_ADMITTED, SNAPSHOT_U64, 1, 0);
    if (admitted != NULL) {
        *admitted = a->admitted;
    }
    return admitted != NULL;
}

static int restore_waiting(struct trainer *t, uint32_t k, const struct snapshot_table *from,
                           struct undine_err *err)
{
    struct table *waiting = &t->admission.table[k].waiting;
    for (uint64_t i = 0; i < from->n_rows; i++) {
        uint32_t row;
        if (from->key[i] == 0 || table_find(waiting, from->key[i]) != TABLE_NONE) {
            return undine_err_set(err, UNDINE_ECORRUPT,
                                  "an id that waits for its row in table `%s` is 0 or stands twice",
                                  from->name);
        }
        /* A batch that a guard stopped at may have made the row, and is learned again. */
        if (table_find(&t->table[k], from->key[i]) != TABLE_NONE) {
            continue;
        }
        int rc = table_need(waiting, &from->key[i], &row, 1, err);
        if (rc < 0) {
            return rc;
        }
        struct table_row *r = table_row(waiting, row);
        r->count = from->count[i];
        r->seen_day = from->seen_day[i];
        r->stamp = from->stamp[i];
    }
    return UNDINE_OK;
}

int trainer_admission_restore(struct trainer *t, const struct snapshot *s, struct undine_err *err)
{
    const struct snapshot_array *admitted = snapshot_find(s->train, s->n_train, NAME_ADMITTED);
    if (admitted != NULL) {
        if (admitted->type != SNAPSHOT_U64 || admitted->rows != 1 || admitted->cols > 1) {
            return undine_err_set(err, UNDINE_ECORRUPT,
                                  "array `" NAME_ADMITTED "` has another shape");
        }
        memcpy(&t->admission.admitted, admitted->data, sizeof t->admission.admitted);
    }
    int rc = UNDINE_OK;
    for (uint32_t k = 0; rc == UNDINE_OK && k < s->n_waiting; k++) {
        if (admission_on(t->admission.k)) {
            rc = restore_waiting(t, k, &s->waiting[k], err);
        } else {
            t->retention.counters.waiting_dropped += s->waiting[k].n_rows; /* DROP(id_waiting) */
        }
    }
    return rc;
}
