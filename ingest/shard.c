#include "ingest/shard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int check_topics(const struct source_topic *topics, size_t n_topics, uint32_t n_shards,
                        size_t *n_partitions, struct undine_err *err)
{
    *n_partitions = 0;
    for (size_t t = 0; t < n_topics; t++) {
        UNDINE_ASSERT(topics[t].n_partitions > 0);
        *n_partitions += (size_t)topics[t].n_partitions;
        if (n_shards > 1 && topics[t].n_partitions != topics[0].n_partitions) {
            return undine_err_set(
                err, UNDINE_ECONFIG,
                "topics `%s` and `%s` have %d and %d partitions: shards need equal "
                "numbers, so that a user's events meet in one",
                topics[0].name, topics[t].name, topics[0].n_partitions, topics[t].n_partitions);
        }
    }
    return 0;
}

static int place(struct source_partition *p, const struct source_topic *topic, uint32_t topic_index,
                 int32_t id, source_position_fn position, void *payload, struct undine_err *err)
{
    *p = (struct source_partition){
        .partition = id,
        .topic_index = topic_index,
        .position = {.next = -1, .fence_offset = -1, .fence_timestamp = -1},
        .end = -1,
        .high = -1};
    (void)snprintf(p->topic, sizeof p->topic, "%s", topic->name);
    int rc = position == NULL ? 0 : position(payload, p->topic, id, &p->position);
    return rc >= 0 ? 0
                   : undine_err_set(err, rc,
                                    "topic `%s`, partition %d: its stored position cannot be read",
                                    p->topic, id);
}

int shard_partitions(struct source_partition **out, uint32_t *n_out,
                     const struct source_topic *topics, size_t n_topics, uint32_t shard,
                     uint32_t n_shards, source_position_fn position, void *payload,
                     struct undine_err *err)
{
    UNDINE_ASSERT(n_topics > 0 && shard < n_shards);
    size_t n_max;
    uint32_t n = 0;
    int rc = check_topics(topics, n_topics, n_shards, &n_max, err);
    if (rc < 0) {
        return rc;
    }
    struct source_partition *list = calloc(n_max, sizeof *list);
    if (list == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for %zu partitions", n_max);
    }
    for (uint32_t t = 0; t < n_topics; t++) {
        for (int32_t id = 0; id < topics[t].n_partitions && rc == 0; id++) {
            if ((uint32_t)id % n_shards == shard) {
                rc = place(&list[n++], &topics[t], t, id, position, payload, err);
            }
        }
    }
    if (rc == 0 && n == 0) {
        rc = undine_err_set(err, UNDINE_ECONFIG,
                            "shard %u of %u owns no partition: the topics have %d", shard, n_shards,
                            topics[0].n_partitions);
    }
    if (rc < 0) {
        free(list);
        return rc;
    }
    *out = list;
    *n_out = n;
    return 0;
}

int shard_topic_changed(const struct source_topic *topic, int32_t now_partitions, uint32_t n_shards,
                        struct undine_err *err)
{
    int32_t before = topic->n_partitions;
    if (now_partitions == before) {
        return 0;
    }
    if (now_partitions == 0) {
        return undine_err_set(err, UNDINE_ELOSS, "topic `%s` was deleted at the broker",
                              topic->name);
    }
    if (now_partitions > before && n_shards == 1) {
        return undine_err_set(err, UNDINE_EIO,
                              "topic `%s` has grown from %d to %d partitions: a restart reads the "
                              "new ones from their beginning",
                              topic->name, before, now_partitions);
    }
    return undine_err_set(err, UNDINE_ELOSS, "topic `%s` had %d partitions and has %d now: %s",
                          topic->name, before, now_partitions,
                          now_partitions < before ? "it was made anew"
                                                  : "users have moved to other shards, so every "
                                                    "shard needs an empty state directory");
}
