#include "ingest/samples.h"

#include <stdlib.h>

int samples_init(struct samples *s, uint32_t n_slots, struct undine_err *err)
{
    *s = (struct samples){.n_slots = n_slots};
    s->slots = calloc((size_t)n_slots + 1, sizeof *s->slots);
    if (s->slots == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for %u samples", n_slots);
    }
    return UNDINE_OK;
}

void samples_release(struct samples *s)
{
    if (s->slots != NULL) {
        for (uint32_t k = 0; k < s->n_slots; k++) {
            writer_release(&s->slots[k]);
        }
        free(s->slots);
    }
    *s = (struct samples){0};
}

int samples_add(struct samples *s, const struct meta_malformed *sample, struct undine_err *err)
{
    if (s->n_slots == 0) {
        return UNDINE_OK;
    }
    struct meta_malformed cut = *sample;
    if (cut.payload_len > META_SAMPLE_BYTES_MAX) {
        cut.payload_len = META_SAMPLE_BYTES_MAX;
    }
    /* DROP(malformed_sample): an older one is written over, and a long one is cut */
    struct writer *slot = &s->slots[(sample->number - 1) % s->n_slots];
    writer_clear(slot);
    meta_malformed_encode(slot, &cut);
    if (slot->bad) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for a malformed message");
    }
    return UNDINE_OK;
}

void samples_stage(const struct samples *s, struct store *store)
{
    for (uint32_t k = 0; k < s->n_slots; k++) {
        if (s->slots[k].len > 0) {
            char name[META_NAME_MAX];
            meta_malformed_name(name, k);
            store_put(store, STORE_META, name, strlen(name), s->slots[k].data, s->slots[k].len);
        }
    }
}

void samples_commit(struct samples *s)
{
    for (uint32_t k = 0; k < s->n_slots; k++) {
        writer_clear(&s->slots[k]);
    }
}
