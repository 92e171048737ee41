#include "ops/live_users.h"

#include "base/hash.h"

void live_user_init(struct live_user *u)
{
    *u = (struct live_user){.watermark_ms = INT64_MIN};
    writer_init(&u->value);
    writer_init(&u->id);
    writer_init(&u->words);
}

void live_user_release(struct live_user *u)
{
    writer_release(&u->value);
    writer_release(&u->id);
    writer_release(&u->words);
}

int live_user_read(const struct live_users *from, struct live_user *u, const char *id,
                   size_t id_len, int64_t time_ms, struct undine_err *err)
{
    struct ingest_status status;
    uint8_t key[8];
    /* Before the value: a commit is visible in the store first, so the value is never older. */
    ingest_status(from->ingest, &status);
    u->watermark_ms = status.watermark_ms;
    memset(u->sequence, 0, sizeof u->sequence);
    writer_clear(&u->value);
    writer_clear(&u->id);
    bytes_put_be64(key, hash_id(id, id_len));
    int rc = store_get(from->store, STORE_SEQUENCE, key, sizeof key, &u->value, err);
    u->known = rc > 0;
    if (rc <= 0) {
        return rc;
    }
    rc = users_decode(from->schema, u->value.data, u->value.len, &u->id, u->sequence, &u->words,
                      err);
    for (uint32_t s = 0; rc == UNDINE_OK && s < from->schema->n_sequences; s++) {
        u->sequence[s] =
            users_view_before(&u->sequence[s], from->schema->sequences[s].length, time_ms);
    }
    return rc;
}
