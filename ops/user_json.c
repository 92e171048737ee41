#include "ops/user_json.h"

#include "ops/json_put.h"
#include "ops/store_json.h"

#include <stdio.h>

static json_t *steps_json(const struct schema *schema, const struct schema_sequence *q,
                          const struct users_view *view)
{
    json_t *steps = json_array();
    const uint64_t *w = view->words;
    for (uint32_t i = 0; i < view->n_steps; i++) {
        json_t *step = json_object();
        json_put(step, "time", json_integer((json_int_t)w[0]));
        uint64_t counts = w[1];
        w += 2;
        for (uint32_t f = 0; f < q->n_fields; f++) {
            json_t *ids = json_array();
            for (uint32_t n = (uint32_t)(counts >> (8 * f)) & 0xff; n > 0; n--) {
                char hex[20];
                (void)snprintf(hex, sizeof hex, "%016llx", (unsigned long long)*w++);
                json_put_last(ids, json_string(hex));
            }
            json_put(step, schema->fields[q->field[f]].name, ids);
        }
        json_put_last(steps, step);
    }
    return steps;
}

json_t *user_json(const struct schema *schema, const void *id, size_t id_len,
                  const struct users_view *views)
{
    json_t *o = json_object(), *sequences = json_object();
    json_put(o, "user", store_json_bytes(id, id_len));
    for (uint32_t s = 0; s < schema->n_sequences; s++) {
        json_put(sequences, schema->sequences[s].name,
                 steps_json(schema, &schema->sequences[s], &views[s]));
    }
    json_put(o, "sequences", sequences);
    return o;
}
