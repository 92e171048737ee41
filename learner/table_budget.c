#include "learner/table_budget.h"

int table_account_take(struct table_account *a, uint64_t bytes, struct undine_err *err)
{
    struct table_budget *b = a->budget;
    if (b->max_bytes != 0 && (bytes > b->max_bytes || b->used_bytes > b->max_bytes - bytes)) {
        return undine_err_set(err, UNDINE_EFULL,
                              "the embedding tables hold %llu bytes and need %llu more, over their "
                              "bound of %llu bytes",
                              (unsigned long long)b->used_bytes, (unsigned long long)bytes,
                              (unsigned long long)b->max_bytes);
    }
    b->used_bytes += bytes;
    a->bytes += bytes;
    return UNDINE_OK;
}

void table_account_give(struct table_account *a, uint64_t bytes)
{
    a->budget->used_bytes -= bytes;
    a->bytes -= bytes;
}
