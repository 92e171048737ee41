#include "learner/table_budget.h"

int table_account_take(struct table_account *a, uint64_t bytes, struct undine_err *err)
{
    struct table_budget *b = a->budget;
    uint_fast64_t used = atomic_load(&b->used_bytes);
    do {
        if (b->max_bytes != 0 && (bytes > b->max_bytes || used > b->max_bytes - bytes)) {
            return undine_err_set(err, UNDINE_EFULL,
                                  "the embedding tables hold %llu bytes and need %llu more, over "
                                  "their bound of %llu bytes",
                                  (unsigned long long)used, (unsigned long long)bytes,
                                  (unsigned long long)b->max_bytes);
        }
    } while (!atomic_compare_exchange_weak(&b->used_bytes, &used, used + bytes));
    a->bytes += bytes;
    return UNDINE_OK;
}

void table_account_give(struct table_account *a, uint64_t bytes)
{
    (void)atomic_fetch_sub(&a->budget->used_bytes, bytes);
    a->bytes -= bytes;
}
