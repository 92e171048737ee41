#include "tests/support/golden_store.h"

#include "base/hash.h"
#include "tests/support/store_fixture.h"

#include <stdio.h>
#include <stdlib.h>

static void must(bool ok, const char *what)
{
    if (!ok) {
        (void)fprintf(stderr, "golden store: %s\n", what);
        abort();
    }
}

void golden_stream_read(struct golden_stream *out, const char *dir)
{
    enum { BYTES_MAX = 1 << 20 };
    char path[512];
    *out = (struct golden_stream){.text = calloc(1, BYTES_MAX)};
    (void)snprintf(path, sizeof path, "%s/stream.jsonl", dir);
    FILE *f = fopen(path, "r");
    must(f != NULL && out->text != NULL, path);
    must(fread(out->text, 1, BYTES_MAX - 1, f) > 0, path);
    (void)fclose(f);
    char *rest = NULL;
    for (char *line = strtok_r(out->text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        must(out->n < GOLDEN_LINES_MAX && line[0] >= '0' && line[1] == ' ', line);
        out->partition[out->n] = (uint32_t)(line[0] - '0');
        out->message[out->n++] = line + 2;
    }
}

void golden_stream_release(struct golden_stream *s)
{
    free(s->text);
}

void golden_stream_add(const struct golden_stream *s, size_t from, size_t to,
                       struct memory_log *log)
{
    for (size_t k = from; k < to; k++) {
        memory_log_add(log, s->partition[k], s->message[k]);
    }
}

void golden_world(struct ingest_world *w)
{
    *w = (struct ingest_world){.opt = ingest_world_options(50, 100)};
    fixture_schema(&w->schema, 4);
    w->opt.join.late_click = INGEST_LATE_CORRECT;
    w->opt.join.negative_rate = 0.5;
}

void golden_digest(struct ingest_world *w, char out[64])
{
    struct writer examples, users;
    writer_init(&examples);
    writer_init(&users);
    ingest_world_examples(w, &examples);
    ingest_world_users(w, &users);
    (void)snprintf(out, 64, "examples %016llx\nusers %016llx\n",
                   (unsigned long long)hash_bytes(examples.data, examples.len),
                   (unsigned long long)hash_bytes(users.data, users.len));
    writer_release(&examples);
    writer_release(&users);
}
