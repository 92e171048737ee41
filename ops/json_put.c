#include "ops/json_put.h"

static _Thread_local bool lost;

void json_put(json_t *object, const char *name, json_t *value)
{
    lost |= json_object_set_new(object, name, value) < 0;
}

void json_put_last(json_t *list, json_t *value)
{
    lost |= json_array_append_new(list, value) < 0;
}

bool json_put_lost(void)
{
    bool was = lost;
    lost = false;
    return was;
}
