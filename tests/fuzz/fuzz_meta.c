/* Stored meta values of the ingest loop: the first byte chooses the decoder, the rest is the value.
 * Property: what decodes is encoded to bytes that decode to the same again. */
#include "ingest/meta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ROUND_TRIP(type, name)                                                                     \
    static void name##_round_trip(const uint8_t *data, size_t size)                                \
    {                                                                                              \
        struct type value, again;                                                                  \
        if (name##_decode(&value, data, size, NULL) < 0) {                                         \
            return;                                                                                \
        }                                                                                          \
        struct writer first, second;                                                               \
        writer_init(&first);                                                                       \
        writer_init(&second);                                                                      \
        name##_encode(&first, &value);                                                             \
        UNDINE_ASSERT(!first.bad);                                                                 \
        UNDINE_ASSERT(name##_decode(&again, first.data, first.len, NULL) == UNDINE_OK);            \
        name##_encode(&second, &again);                                                            \
        UNDINE_ASSERT(first.len == second.len && memcmp(first.data, second.data, first.len) == 0); \
        writer_release(&first);                                                                    \
        writer_release(&second);                                                                   \
    }
ROUND_TRIP(meta_ingest, meta_ingest)
ROUND_TRIP(meta_config, meta_config)
ROUND_TRIP(meta_position, meta_position)
ROUND_TRIP(meta_malformed, meta_malformed)
ROUND_TRIP(meta_loss, meta_loss)
ROUND_TRIP(meta_topic, meta_topic)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const all[])(const uint8_t *, size_t) = {
        meta_ingest_round_trip,    meta_config_round_trip, meta_position_round_trip,
        meta_malformed_round_trip, meta_loss_round_trip,   meta_topic_round_trip};
    if (size > 0) {
        all[data[0] % (sizeof all / sizeof all[0])](data + 1, size - 1);
    }
    return 0;
}
