#include "ingest/source.h"

#include <string.h>

/* librdkafka takes old names of some properties as well. */
static const struct {
    const char *key, *reason;
} refused[] = {
    {"bootstrap.servers", "set `brokers` instead"},
    {"metadata.broker.list", "set `brokers` instead"},
    {"group.id", "set `group` instead"},
    {"enable.auto.commit", "positions are kept in the store, the broker's copy is only a display"},
    {"auto.commit.enable", "positions are kept in the store, the broker's copy is only a display"},
    {"enable.auto.offset.store", "positions are kept in the store, the broker's copy is only a "
                                 "display"},
    {"offset.store.method", "positions are kept in the store"},
    {"offset.store.path", "positions are kept in the store"},
    {"auto.offset.reset", "a position that is gone must stop the program, not skip events"},
    {"enable.partition.eof", "the end of a partition is how idle partitions and the end of a "
                             "bounded run are known"},
    {"isolation.level", "events of aborted transactions must not be learned"},
    {"group.instance.id", "partitions are assigned by `shard`, no group protocol is used"},
    {"partition.assignment.strategy", "partitions are assigned by `shard`, no group protocol is "
                                      "used"},
};

const char *source_kafka_key_refused(const char *key)
{
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        if (strcmp(refused[i].key, key) == 0) {
            return refused[i].reason;
        }
    }
    return NULL;
}
