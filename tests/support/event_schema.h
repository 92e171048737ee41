/* event_schema.h: a small schema that has every kind of field, for tests of events. */
#ifndef UNDINE_TESTS_SUPPORT_EVENT_SCHEMA_H
#define UNDINE_TESTS_SUPPORT_EVENT_SCHEMA_H

#include "base/schema.h"

#include <string.h>

enum {
    FIELD_UID,   /* takes the event's user */
    FIELD_AGE,   /* user */
    FIELD_VIDEO, /* candidate: the item */
    FIELD_TAG,   /* candidate, up to 3 ids */
    FIELD_HOUR,  /* context */
    EVENT_SCHEMA_FIELDS
};
enum { BEHAVIOR_LONG_VIEW, BEHAVIOR_CART, EVENT_SCHEMA_BEHAVIORS };

static inline int event_schema(struct schema *s)
{
    memset(s, 0, sizeof *s);
    static const char *const tables[] = {"uid", "age", "video", "tag", "hour"};
    static const struct schema_field fields[EVENT_SCHEMA_FIELDS] = {
        {"uid", SCHEMA_USER, 0, SCHEMA_POOL_SUM, 1, true},
        {"age", SCHEMA_USER, 1, SCHEMA_POOL_SUM, 1, false},
        {"video", SCHEMA_CANDIDATE, 2, SCHEMA_POOL_SUM, 1, false},
        {"tag", SCHEMA_CANDIDATE, 3, SCHEMA_POOL_MEAN, 3, false},
        {"hour", SCHEMA_CONTEXT, 4, SCHEMA_POOL_SUM, 1, false}};
    s->n_tables = EVENT_SCHEMA_FIELDS;
    s->n_fields = EVENT_SCHEMA_FIELDS;
    for (uint32_t i = 0; i < EVENT_SCHEMA_FIELDS; i++) {
        strcpy(s->tables[i].name, tables[i]);
        s->tables[i].dim = 8;
        s->fields[i] = fields[i];
    }
    s->n_behaviors = EVENT_SCHEMA_BEHAVIORS;
    strcpy(s->behaviors[BEHAVIOR_LONG_VIEW], "long_view");
    strcpy(s->behaviors[BEHAVIOR_CART], "cart");
    s->n_sequences = 1;
    s->sequences[0] = (struct schema_sequence){.name = "clicks",
                                               .length = 50,
                                               .n_fields = 2,
                                               .field = {FIELD_VIDEO, FIELD_TAG},
                                               .from_click = true,
                                               .from_behavior = 1U << BEHAVIOR_LONG_VIEW};
    return schema_check(s, NULL);
}

#endif
