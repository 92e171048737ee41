/* Messages.  Properties: the decoder and its twin on another JSON library agree on every message,
 * and space around a message changes nothing. */
#include "base/err.h"
#include "ingest/source.h"
#include "tests/support/decode_twin.h"
#include "tests/support/event_schema.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MESSAGE_MAX = 1 << 17 };

static struct schema schema;
static struct decoder *decoders[2]; /* joined by id, by user and item */

static void open_decoders(void)
{
    UNDINE_ASSERT(event_schema(&schema) == 0);
    for (int i = 0; i < 2; i++) {
        struct decode_options opt = {.message_bytes_max = MESSAGE_MAX, .join_by_user_item = i == 1};
        UNDINE_ASSERT(decoder_open(&decoders[i], &schema, &opt, NULL) == 0);
    }
}

static void check_space(struct decoder *d, const uint8_t *data, size_t size)
{
    static uint64_t plain[EVENT_WORDS_MAX], spaced[EVENT_WORDS_MAX];
    uint32_t n_plain, n_spaced;
    uint8_t *text = malloc(size + 3);
    UNDINE_ASSERT(text != NULL);
    text[0] = '\t';
    if (size > 0) {
        memcpy(text + 1, data, size);
    }
    memcpy(text + 1 + size, "\r\n", 2);
    const uint8_t none = 0;
    enum decode_reason a =
        decoder_decode(d, size > 0 ? data : &none, size, SOURCE_TOPIC_ANY, plain, &n_plain);
    enum decode_reason b = decoder_decode(d, text, size + 3, SOURCE_TOPIC_ANY, spaced, &n_spaced);
    UNDINE_ASSERT(a == b && n_plain == n_spaced);
    UNDINE_ASSERT(memcmp(plain, spaced, n_plain * sizeof *plain) == 0);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (decoders[0] == NULL) {
        open_decoders();
    }
    for (int i = 0; i < 2; i++) {
        check_space(decoders[i], data, size);
        const char *differs = decode_twin_differs(decoders[i], &schema, i == 1, data, size);
        if (differs != NULL) {
            (void)fprintf(stderr, "the twin differs: %s\n", differs);
        }
        UNDINE_ASSERT(differs == NULL);
    }
    return 0;
}
