#include "featurestore/commit_chain.h"

#include "base/bytes.h"

void commit_chain_encode(uint8_t out[COMMIT_CHAIN_BYTES], const struct commit_chain *c)
{
    uint64_t head = COMMIT_CHAIN_VERSION | (uint64_t)c->broken << 8;
    memcpy(out, &head, sizeof head);
    memcpy(out + 8, &c->from, sizeof c->from);
    memcpy(out + 16, &c->to, sizeof c->to);
}

unsigned commit_chain_format(const void *data, size_t len)
{
    return len > 0 ? *(const uint8_t *)data : 0;
}

bool commit_chain_decode(struct commit_chain *out, const void *data, size_t len)
{
    struct reader r = reader_of(data, len);
    uint64_t head = reader_u64(&r);
    out->from = reader_u64(&r);
    out->to = reader_u64(&r);
    out->broken = head >> 8 == 1;
    return !r.bad && reader_left(&r) == 0 && (head & 0xff) == COMMIT_CHAIN_VERSION &&
           head >> 8 <= 1;
}

struct commit_chain commit_chain_join(const struct commit_chain *a, const struct commit_chain *b)
{
    if (a->broken) {
        return *a;
    }
    if (a->to != b->from) {
        return (struct commit_chain){.from = b->from, .to = a->to, .broken = true};
    }
    return (struct commit_chain){
        .from = b->broken ? b->from : a->from, .to = b->to, .broken = b->broken};
}
