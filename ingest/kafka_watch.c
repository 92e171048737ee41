#include "ingest/kafka_watch.h"

#include "base/ticker.h"

#include <librdkafka/rdkafka.h>
#include <stdlib.h>
#include <string.h>

enum {
    PERIOD_MS = 1000,
    LAZY = 5,          /* of so many periods it asks in one, unless something is wrong */
    QUESTION_MS = 2000 /* a fetch before it takes up to 500 */
};

static void note_leaders(struct kafka_watch *w, const rd_kafka_metadata_topic_t *mt)
{
    for (int m = 0; m < mt->partition_cnt; m++) {
        for (uint32_t i = 0; i < w->source->n_partitions; i++) {
            const struct source_partition *p = &w->source->partitions[i];
            if (p->partition == mt->partitions[m].id && strcmp(p->topic, mt->topic) == 0) {
                atomic_store(&w->leaderless[i], mt->partitions[m].leader < 0);
            }
        }
    }
}

static void look(void *arg)
{
    struct kafka_watch *w = arg;
    const struct rd_kafka_metadata *md;
    bool lazy = !atomic_load(&w->worried) && w->ticks++ % LAZY != 0;
    if (lazy || rd_kafka_metadata(w->rk, 0, NULL, &md, QUESTION_MS) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return;
    }
    for (int m = 0; m < md->topic_cnt; m++) {
        const rd_kafka_metadata_topic_t *mt = &md->topics[m];
        bool gone = mt->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        for (size_t t = 0; t < w->source->n_topics; t++) {
            if ((gone || mt->partition_cnt > 0) &&
                strcmp(mt->topic, w->source->topics[t].name) == 0) {
                atomic_store(&w->n_seen[t], gone ? 0 : mt->partition_cnt);
                note_leaders(w, mt);
            }
        }
    }
    rd_kafka_metadata_destroy(md);
    (void)atomic_fetch_add(&w->looks, 1);
}

int kafka_watch_start(struct kafka_watch *w, rd_kafka_t *rk, const struct source *source,
                      struct undine_err *err)
{
    w->rk = rk;
    w->source = source;
    w->n_seen = calloc(source->n_topics, sizeof *w->n_seen);
    w->leaderless = calloc(source->n_partitions, sizeof *w->leaderless);
    if (w->n_seen == NULL || w->leaderless == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for partitions");
    }
    for (size_t t = 0; t < source->n_topics; t++) {
        w->n_seen[t] = KAFKA_WATCH_NOT_SEEN;
    }
    return ticker_start(&w->ticker, look, w, PERIOD_MS, err);
}

void kafka_watch_stop(struct kafka_watch *w)
{
    ticker_stop(w->ticker);
    free(w->n_seen);
    free(w->leaderless);
}
