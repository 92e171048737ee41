/* live_users.h: the sequences of a user as the daemon knows them, for scoring and for people.
 *
 * They are read from the store, as the ingest thread's last commit left them: any thread, no lock
 * that ingest waits for, and all sequences of a user from one commit, since they are one value.
 * What is read is what an impression at that time would see: the newest L steps strictly before it.
 * It lacks events that are not applied yet: those behind the watermark (`order.lateness` and what
 * is still in Kafka), and the one commit that is being made. */
#ifndef UNDINE_OPS_LIVE_USERS_H
#define UNDINE_OPS_LIVE_USERS_H

#include "featurestore/store.h"
#include "featurestore/users.h"
#include "ingest/ingest.h"

struct live_users { /* borrows all; read-only */
    struct store *store;
    struct ingest *ingest;
    const struct schema *schema;
};

struct live_user { /* of one thread; keeps its memory */
    struct writer value, id, words;
    struct users_view sequence[SCHEMA_SEQUENCES_MAX]; /* into words */
    bool known;
    int64_t
        watermark_ms; /* every event below is in; INT64_MIN = none, INT64_MAX = the stream ended */
};

void live_user_init(struct live_user *u);
void live_user_release(struct live_user *u);
/* What an impression of the user at time_ms sees; nothing, where he is not known.  UNDINE_EIO,
 * UNDINE_ECORRUPT, UNDINE_ENOMEM. */
int live_user_read(const struct live_users *from, struct live_user *u, const char *id,
                   size_t id_len, int64_t time_ms, struct undine_err *err);

#endif
