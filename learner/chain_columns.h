/* chain_columns.h: the columns of a chain's tables, as a full version of the same model has them:
 * which tensor of which part a row's numbers lie in.  The chain is open with its train files. */
#ifndef UNDINE_LEARNER_CHAIN_COLUMNS_H
#define UNDINE_LEARNER_CHAIN_COLUMNS_H

#include "learner/merge_plan.h"
#include "learner/model/version_chain.h"

/* A column in the making: its tensor in each part. */
struct chain_column {
    char name[SAFETENSORS_NAME_MAX];
    enum safetensors_type type;
    uint64_t cols;     /* 0 = one dimension */
    uint32_t n_parts;  /* 0 = there is no such column */
    const void **data; /* (n_parts) */
};

/* Rows of table i, or what waits there. */
enum chain_rows { CHAIN_TABLE, CHAIN_WAITING };
/* Where they lie.  UNDINE_ENOMEM. */
int chain_plan(struct merge_plan *out, const struct version_chain *c, uint32_t table,
               enum chain_rows which, struct undine_err *err);
/* Does any part know of ids that wait in table i? */
bool chain_has_waiting(const struct version_chain *c, uint32_t table);

/* Column `what` of table i: "keys", "rows", and with train files "slots", "raw", "count", ...  One
 * that no part has comes back with n_parts 0.  UNDINE_ECORRUPT where a part lacks it or has another
 * type or width, UNDINE_ENOMEM. */
int chain_column(struct chain_column *out, const struct version_chain *c, uint32_t table,
                 enum chain_rows which, const char *what, enum safetensors_type type,
                 struct undine_err *err);
void chain_column_release(struct chain_column *col); /* fine on a zeroed one */
size_t chain_column_row_bytes(const struct chain_column *col);
/* to: plan->n_rows rows of chain_column_row_bytes. */
void chain_column_copy(void *to, const struct chain_column *col, const struct merge_plan *plan);

#endif
