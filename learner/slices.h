/* slices.h: progressive metrics of parts of the stream: what the configuration names under
 * `metrics.slices`.
 *
 * A slice is a condition on an example at the moment of its prediction, before anything is learned
 * of its batch: on the ids of one field, on the number of steps of one sequence, or on both.  It is
 * a function of the example and of the rows alone, and so the same for any number of workers, any
 * cut into blocks and across restarts.  An id is known once its own row has learned an example that
 * held it, in whatever place, and as long as the row lives: what waits for admission, expired, was
 * evicted or forgotten is new.
 *
 * A click that revises a negative (batch_builder_revises) comes when its id has been learned with
 * that negative, so slices by `new` and `known` cannot tell where the negative was counted: they
 * take every impression by its first label and pass revisions over.
 *
 * Memory: METRICS_BUCKETS * 16 bytes and window_max * sizeof(struct metrics_row) for each slice, of
 * which a window is its own newest rows.  No locks: the owner sees to them. */
#ifndef UNDINE_LEARNER_SLICES_H
#define UNDINE_LEARNER_SLICES_H

#include "learner/batch_builder.h"
#include "learner/metrics.h"
#include "learner/snapshot.h"

enum { SLICES_MAX = 16, SLICE_VALUES_MAX = 16 };
#define SLICE_ANY UINT32_MAX

enum slice_is {
    SLICE_PRESENT, /* the field has an id; where there are values, one of them */
    SLICE_MISSING, /* it has none */
    SLICE_NEW,     /* it has one that is not known */
    SLICE_KNOWN    /* it has some, and all are known */
};

struct slice {
    char name[SCHEMA_NAME_MAX];
    uint32_t field; /* of the schema; SLICE_ANY: no condition on a field */
    enum slice_is is;
    uint32_t n_values;
    char value[SLICE_VALUES_MAX][SCHEMA_NAME_MAX]; /* as in events */
    uint32_t sequence;                             /* of the schema; SLICE_ANY: no condition */
    uint32_t steps_min, steps_max;                 /* inclusive */
};

struct slices_options {
    uint32_t n;
    struct slice slice[SLICES_MAX];
};

struct slices {
    const struct schema *schema;      /* borrowed */
    const struct slices_options *opt; /* borrowed */
    uint64_t id[SLICES_MAX][SLICE_VALUES_MAX];
    struct metrics metrics[SLICES_MAX]; /* (opt->n) */
};

/* UNDINE_ECONFIG with the slice at fault. */
int slices_check(const struct slices_options *opt, const struct schema *schema,
                 struct undine_err *err);
/* UNDINE_ENOMEM; then s is good for slices_release alone. */
int slices_open(struct slices *s, const struct slices_options *opt, const struct schema *schema,
                uint64_t window_max, struct undine_err *err);
void slices_release(struct slices *s); /* fine on a zeroed one */

/* Is example i of the gathered batch, of which nothing is learned yet, in slice k? */
bool slices_holds(const struct slices *s, uint32_t k, const struct batch_builder *b,
                  const struct table *tables, uint32_t i);
/* Note the predictions of such a batch, logit (n), all finite. */
void slices_note(struct slices *s, const struct batch_builder *b, const struct table *tables,
                 const float *logit);

/* State in a snapshot's train arrays: slice.<name>.* as metrics_state.h, slice.<name>.condition (1)
 * u64.  False where memory is out. */
bool slices_save(const struct slices *s, struct snapshot *out);
/* Into those just opened.  A slice goes on where the snapshot has one of its name and condition; it
 * begins empty where not, and what is not configured any more is dropped.  UNDINE_ESTATE,
 * UNDINE_ECORRUPT. */
int slices_load(struct slices *s, const struct snapshot *from, struct undine_err *err);

#endif
