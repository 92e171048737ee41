/* admission.h: which ids have an embedding row of their own: those that k instances held.
 *
 * Most ids of a stream are seen once or twice and would teach their rows nothing but noise.  With
 * admission an id without a row waits: it reads and trains the one shared row of its table
 * (table.h), like every other id that waits, and only the instances that held it are counted.  An
 * instance counts once, however often it holds the id and wherever (fields and sequences that share
 * the table).  The rule looks at whole mini-batches: an id is admitted in the batch in which its
 * instances, those of this batch included, reach k; from that batch on it has its own row, begun as
 * row_initial says, and everything in the batch that holds it means that row.  So the rule depends
 * on the examples and their cut into batches alone.  A batch that is skipped counts too: what was
 * seen was seen.
 *
 * n_j of a row counts the instances that went through it: of the shared row those that held any
 * waiting id (once each), of an admitted one those since its admission, that batch included.
 *
 * An id waits in a small table without weights beside the embedding table.  Retention (retention.h)
 * knows it as a waiting table: what waits expires and is evicted as rows are.  When an id is
 * admitted its entry goes; when its row goes it begins anew as waiting.
 *
 * Frequency filters of parameter servers do the same by table and step; DIN (arXiv 1706.06978v4,
 * sec. 6.5, Table 4) compares MBA with one.  Learner thread. */
#ifndef UNDINE_LEARNER_ADMISSION_H
#define UNDINE_LEARNER_ADMISSION_H

#include "learner/batch_builder.h"
#include "learner/retention.h"

enum { ADMISSION_MAX = 1 << 20 };

struct admission_table {  /* beside one embedding table */
    struct table waiting; /* no weights; count: instances so far */
    /* The batch at hand: its ids (n) that had no row. */
    uint32_t n, n_admitted;
    uint32_t *row;      /* (n) in `waiting` */
    float *instances;   /* (n) of this batch */
    uint32_t *last;     /* (n) the example that last counted, + 1 */
    uint32_t *given;    /* (n) row of the embedding table: its own, or 0: the shared one */
    uint64_t *admitted; /* (n_admitted) ids that got their row in this batch */
    size_t capacity;
};

struct admission {
    uint32_t k, n_tables;
    struct admission_table table[SCHEMA_TABLES_MAX];
    uint64_t admitted; /* ids, since the start of the stream */
};

/* Is there a rule?  k = 0 and 1 say that every id has its own row at once. */
static inline bool admission_on(uint32_t k)
{
    return k > 1;
}

/* k > 1.  UNDINE_ENOMEM, UNDINE_EFULL. */
int admission_open(struct admission *a, uint32_t n_tables, uint32_t k, struct table_budget *budget,
                   struct undine_err *err);
void admission_release(struct admission *a); /* NULL-safe, and fine on a zeroed one */

/* Turn every id of the batch into the number of its row: into `row` of the builder's lists.  Makes
 * the rows of the ids that are admitted.  tables: of the schema, with shared rows.  UNDINE_ENOMEM,
 * UNDINE_EFULL. */
int admission_decide(struct admission *a, struct batch_builder *b, struct table *tables,
                     struct undine_err *err);
/* After the batch that was decided: count its instances as step `now` of event day `today`, and
 * drop the entries of those that were admitted. */
int admission_note(struct admission *a, struct retention *z, uint32_t now, uint32_t today,
                   struct undine_err *err);
/* Drop a waiting id.  1 = dropped, 0 = it did not wait. */
int admission_forget(struct admission *a, struct retention *z, uint32_t table, uint64_t id,
                     struct undine_err *err);

/* Ids that wait, those included that are gone and not swept yet (retention_unswept). */
uint64_t admission_waiting(const struct admission *a);

#endif
