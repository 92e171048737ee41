/* Stored values of the family `sequence`.  Property: what decodes is encoded to the very same
 * bytes. */
#include "featurestore/steps.h"
#include "featurestore/users.h"
#include "tests/support/store_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct schema schema;
    struct writer id, words, again;
    struct users_view views[SCHEMA_SEQUENCES_MAX];
    fixture_schema(&schema, 10);
    writer_init(&id);
    writer_init(&words);
    writer_init(&again);
    if (users_decode(&schema, data, size, &id, views, &words, NULL) == UNDINE_OK) {
        UNDINE_ASSERT(users_encode(&schema, id.data, id.len, views, &again, NULL) == UNDINE_OK);
        UNDINE_ASSERT(again.len == size && memcmp(again.data, data, size) == 0);
        for (uint32_t s = 0; s < schema.n_sequences; s++) {
            struct steps steps = {.words = NULL};
            UNDINE_ASSERT(steps_load(&steps, views[s].words, views[s].n_words, views[s].n_steps));
            struct users_view v = steps_view(&steps, 10, INT64_MAX);
            UNDINE_ASSERT(v.n_steps <= 10 && v.n_words <= views[s].n_words);
            steps_release(&steps);
        }
    }
    writer_release(&id);
    writer_release(&words);
    writer_release(&again);
    return 0;
}
