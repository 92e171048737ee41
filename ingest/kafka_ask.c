#include "ingest/kafka_ask.h"

#include "base/fault.h"
#include "ingest/kafka_conf.h"

#include <librdkafka/rdkafka.h>

bool kafka_ask_offsets(rd_kafka_t *rk, const struct source_partition *p, int64_t *low,
                       int64_t *high, int timeout_ms)
{
    return rd_kafka_query_watermark_offsets(rk, p->topic, p->partition, low, high, timeout_ms) ==
           RD_KAFKA_RESP_ERR_NO_ERROR;
}

int64_t kafka_ask_time(rd_kafka_t *rk, const struct source_partition *p, int64_t time_ms,
                       int64_t high, int timeout_ms)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *at =
        rd_kafka_topic_partition_list_add(list, p->topic, p->partition);
    at->offset = time_ms;
    bool ok = rd_kafka_offsets_for_times(rk, list, timeout_ms) == RD_KAFKA_RESP_ERR_NO_ERROR &&
              at->err == RD_KAFKA_RESP_ERR_NO_ERROR;
    int64_t offset = !ok ? -1 : at->offset >= 0 ? at->offset : high;
    rd_kafka_topic_partition_list_destroy(list);
    return offset;
}

int kafka_ask_partitions(rd_kafka_t *rk, rd_kafka_topic_t *topic, int timeout_ms,
                         struct undine_err *err)
{
    const struct rd_kafka_metadata *md = NULL;
    if (rd_kafka_metadata(rk, 0, topic, &md, timeout_ms) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return 0;
    }
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    int n = 0;
    if (md->topic_cnt > 0) {
        code = md->topics[0].err;
        n = code == RD_KAFKA_RESP_ERR_NO_ERROR ? md->topics[0].partition_cnt : 0;
    }
    rd_kafka_metadata_destroy(md);
    if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
        return undine_err_set(err, UNDINE_ENOTFOUND, "topic `%s` does not exist",
                              rd_kafka_topic_name(topic));
    }
    if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) {
        return kafka_auth_refused(err, rd_kafka_topic_name(topic));
    }
    return n;
}

void kafka_tell_offsets(rd_kafka_t *rk, const struct source *s, const int64_t *synced_next,
                        int64_t *told)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)s->n_partitions);
    for (uint32_t i = 0; i < s->n_partitions; i++) {
        const struct source_partition *p = &s->partitions[i];
        if (synced_next[i] >= 0 && synced_next[i] != told[i]) {
            rd_kafka_topic_partition_list_add(list, p->topic, p->partition)->offset =
                synced_next[i];
            told[i] = synced_next[i];
        }
    }
    FAULT("kafka.before_commit");
    if (list->cnt > 0) {
        (void)rd_kafka_commit(rk, list, 1);
    }
    FAULT("kafka.after_commit");
    rd_kafka_topic_partition_list_destroy(list);
}
