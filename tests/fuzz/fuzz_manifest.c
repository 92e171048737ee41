/* Bytes as a manifest.  The checksum at its end would stop every mutation at the door, so it is
 * made right first; then whatever is taken has a valid schema and model, and printed and read again
 * it is the same text. */
#include "learner/model/manifest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char SEAL[] = ",\n  \"xxh3_128\": \"";

/* Each version once, the full one first, and `base` at the end. */
static void check_chain(const struct manifest_delta *d)
{
    UNDINE_ASSERT(d->n_chain >= 1 && d->n_chain <= MANIFEST_CHAIN_MAX);
    UNDINE_ASSERT(d->chain[d->n_chain - 1].number == d->base);
    for (uint32_t i = 0; i < d->n_chain; i++) {
        UNDINE_ASSERT(strlen(d->chain[i].seal) == HASH128_HEX_LEN);
        UNDINE_ASSERT(i < 2 || d->chain[i - 1].number < d->chain[i].number);
        UNDINE_ASSERT(i == 0 || d->chain[0].number != d->chain[i].number);
    }
}

static void check(const struct manifest *m)
{
    struct writer first, second;
    struct manifest again;
    struct schema schema = m->schema;
    UNDINE_ASSERT(schema_check(&schema, NULL) == UNDINE_OK);
    UNDINE_ASSERT(m->n_files <= MANIFEST_FILES_MAX);
    for (uint32_t i = 0; i < m->n_files; i++) {
        UNDINE_ASSERT(strchr(m->file[i].name, '/') == NULL && m->file[i].name[0] != '.');
    }
    UNDINE_ASSERT(m->is_delta || m->delta.n_chain == 0);
    UNDINE_ASSERT(!m->is_delta || m->merged_from == 0);
    if (m->is_delta) {
        check_chain(&m->delta);
    }
    writer_init(&first);
    writer_init(&second);
    UNDINE_ASSERT(manifest_print(m, &first, NULL) == UNDINE_OK);
    UNDINE_ASSERT(manifest_parse(&again, (const char *)first.data, first.len, NULL) == UNDINE_OK);
    UNDINE_ASSERT(manifest_print(&again, &second, NULL) == UNDINE_OK);
    UNDINE_ASSERT(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
    manifest_release(&again);
    writer_release(&first);
    writer_release(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char hex[HASH128_HEX_LEN + 1];
    struct writer text;
    struct manifest m;
    const uint8_t *seal = size > 0 ? memmem(data, size, SEAL, sizeof SEAL - 1) : NULL;
    size_t body = seal != NULL ? (size_t)(seal - data) : size;
    writer_init(&text);
    writer_bytes(&text, data, body);
    hash128_hex(hex, hash128_bytes(text.data, body));
    writer_bytes(&text, SEAL, sizeof SEAL - 1);
    writer_bytes(&text, hex, HASH128_HEX_LEN);
    writer_bytes(&text, "\"\n}\n", 4);
    if (manifest_parse(&m, (const char *)text.data, text.len, NULL) == UNDINE_OK) {
        check(&m);
        manifest_release(&m);
    }
    /* As it came, too. */
    if (manifest_parse(&m, (const char *)data, size, NULL) == UNDINE_OK) {
        manifest_release(&m);
    }
    writer_release(&text);
    return 0;
}
