/* bench_decode.c: events a second through the decoder, one core; one JSON line.
 *
 * usage: bench_decode [EVENTS] */
#include "base/clock.h"
#include "base/random.h"
#include "ingest/decode.h"
#include "ingest/source.h"
#include "tests/support/event_schema.h"

#include <stdio.h>
#include <stdlib.h>

enum { MESSAGES = 4096, MESSAGE_MAX = 512, ROUNDS = 5 };

struct message {
    char text[MESSAGE_MAX];
    size_t len;
};

/* Impressions of about 250 bytes; members that the schema does not know among them. */
static size_t make_messages(struct message *out, size_t n)
{
    struct random r = {.state = 1};
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        out[i].len = (size_t)snprintf(
            out[i].text, MESSAGE_MAX,
            "{\"kind\":\"impression\",\"id\":\"imp-%llu\",\"user\":\"u%llu\",\"time\":1650812%"
            "06llu,"
            "\"profile\":{\"age\":\"%llu\",\"city\":\"c%llu\"},\"candidate\":{\"video\":%llu,"
            "\"tag\":[%llu,"
            "%llu],\"bid\":0.25},\"context\":{\"hour\":%llu,\"device\":\"android\"},\"request\":"
            "\"r-%016llx\"}",
            (unsigned long long)random_below(&r, 100000000),
            (unsigned long long)random_below(&r, 1000000),
            (unsigned long long)random_below(&r, 1000000), (unsigned long long)random_below(&r, 80),
            (unsigned long long)random_below(&r, 1000),
            (unsigned long long)random_below(&r, 1000000),
            (unsigned long long)random_below(&r, 100), (unsigned long long)random_below(&r, 100),
            (unsigned long long)random_below(&r, 24), (unsigned long long)random_u64(&r));
        bytes += out[i].len;
    }
    return bytes;
}

int main(int argc, char **argv)
{
    static struct message messages[MESSAGES];
    static uint64_t record[EVENT_WORDS_MAX];
    struct schema schema;
    struct decoder *d = NULL;
    struct undine_err err = {0};
    struct decode_options opt = {.message_bytes_max = 1 << 20};
    size_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    if (event_schema(&schema) != 0 || decoder_open(&d, &schema, &opt, &err) != 0) {
        (void)fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    double bytes = (double)make_messages(messages, MESSAGES) / MESSAGES;
    int64_t best_ns = INT64_MAX;
    uint64_t words_sum = 0;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t start = clock_monotonic_ns();
        for (size_t i = 0; i < n; i++) {
            const struct message *m = &messages[i % MESSAGES];
            uint32_t words;
            if (decoder_decode(d, (const uint8_t *)m->text, m->len, SOURCE_TOPIC_ANY, record,
                               &words) != DECODE_OK) {
                return 1;
            }
            words_sum += words;
        }
        int64_t ns = clock_monotonic_ns() - start;
        best_ns = ns < best_ns ? ns : best_ns;
    }
    double ns = (double)best_ns / (double)n;
    (void)printf("{\"bench\":\"decode\",\"events\":%zu,\"rounds\":%d,\"bytes_per_event\":%.0f,"
                 "\"words_per_event\":%.1f,\"ns_per_event\":%.0f,\"events_per_second\":%.0f,"
                 "\"megabytes_per_second\":%.0f,\"threads\":1}\n",
                 n, ROUNDS, bytes, (double)words_sum / (double)(n * ROUNDS), ns, 1e9 / ns,
                 bytes / ns * 1e3);
    decoder_close(d);
    return 0;
}
