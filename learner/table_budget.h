/* table_budget.h: bytes that all tables of a trainer may hold together, and what one of them holds.
 * Each table has one owner at a time; those of several may take from the budget at once. */
#ifndef UNDINE_LEARNER_TABLE_BUDGET_H
#define UNDINE_LEARNER_TABLE_BUDGET_H

#include "base/err.h"

#include <stdatomic.h>
#include <stdint.h>

struct table_budget {
    atomic_uint_fast64_t used_bytes;
    uint64_t max_bytes; /* 0 = no bound */
};

struct table_account {
    struct table_budget *budget; /* shared, not owned */
    uint64_t bytes;              /* held, also part of budget->used_bytes */
};

/* Take bytes before they are allocated.  UNDINE_EFULL: they would pass the bound. */
int table_account_take(struct table_account *a, uint64_t bytes, struct undine_err *err);
void table_account_give(struct table_account *a, uint64_t bytes);

#endif
