/* make_golden_store DIR: a small store in the middle of its stream, as this program writes it, for
 * tests/golden/store-format-N.  Writes DIR/stream.jsonl where there is none, DIR/store, and
 * DIR/expected: what a run to the end of the stream leaves. */
#include "ingest/meta.h"
#include "tests/support/golden_store.h"
#include "tests/support/store_fixture.h"
#include "tests/support/stream_maker.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { DISORDER_MS = 50, STEPS = 40 };

/* RocksDB writes the host's name into its files. */
__attribute__((visibility("default"))) int gethostname(char *name, size_t len)
{
    (void)snprintf(name, len, "undine");
    return 0;
}

static void must(bool ok, const char *what)
{
    if (!ok) {
        (void)fprintf(stderr, "make_golden_store: %s\n", what);
        exit(1);
    }
}

static void write_stream(const char *dir)
{
    char path[512];
    struct random r = {17};
    struct stream s;
    struct stream_options opt = {.impressions = 70,
                                 .users = 6,
                                 .items = 12,
                                 .range_ms = 1200,
                                 .window_ms = 100,
                                 .memory_ms = 100,
                                 .trouble = true};
    (void)snprintf(path, sizeof path, "%s/stream.jsonl", dir);
    if (access(path, F_OK) == 0) {
        return;
    }
    stream_make(&s, &r, &opt);
    size_t *order = calloc(s.n, sizeof *order);
    FILE *f = fopen(path, "w");
    must(f != NULL && order != NULL, path);
    stream_arrive(order, &s, &r, DISORDER_MS, NULL);
    for (size_t k = 0; k < s.n; k++) {
        (void)fprintf(f, "%u %s\n", (unsigned)random_below(&r, GOLDEN_PARTITIONS),
                      s.messages[order[k]].text);
    }
    must(fclose(f) == 0, path);
    free(order);
    stream_release(&s);
}

static void steps(struct ingest_world *w, const char *dir, const struct memory_log *log)
{
    struct undine_err err = {.msg = "?"};
    struct memory_source_options source = {0};
    must(ingest_world_open(w, dir, log, &source, &err) == UNDINE_OK, err.msg);
    for (int k = 0; k < STEPS; k++) {
        must(ingest_step(w->ingest, &err) >= 0, err.msg);
    }
    ingest_world_close(w);
}

/* An accepted loss, as a source that goes on elsewhere leaves it. */
static void add_loss(const char *dir)
{
    struct undine_err err = {.msg = "?"};
    struct meta_ingest m;
    struct meta_loss loss = {.wall_ms = 1650812741436,
                             .stored_next = 7,
                             .source_next = 9,
                             .partition = 1,
                             .topic = "memory",
                             .topic_len = 6};
    char name[META_NAME_MAX];
    struct writer value;
    writer_init(&value);
    struct store *s = fixture_store(dir);
    must(store_get(s, STORE_META, META_INGEST, strlen(META_INGEST), &value, &err) > 0, err.msg);
    must(meta_ingest_decode(&m, value.data, value.len, &err) == UNDINE_OK, err.msg);
    meta_loss_name(name, m.counters.losses++);
    writer_clear(&value);
    meta_ingest_encode(&value, &m);
    store_put(s, STORE_META, META_INGEST, strlen(META_INGEST), value.data, value.len);
    writer_clear(&value);
    meta_loss_encode(&value, &loss);
    store_put(s, STORE_META, name, strlen(name), value.data, value.len);
    must(store_write(s, &err) == UNDINE_OK, err.msg);
    writer_release(&value);
    store_close(s);
}

/* What a start does not need: words for people, and the lock. */
static void strip(const char *dir)
{
    DIR *d = opendir(dir);
    must(d != NULL, dir);
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        if (strncmp(e->d_name, "LO", 2) == 0 || strncmp(e->d_name, "OPTIONS", 7) == 0) {
            must(unlinkat(dirfd(d), e->d_name, 0) == 0, e->d_name);
        }
    }
    (void)closedir(d);
}

static void write_expected(const char *dir, const struct golden_stream *stream)
{
    char path[512], scratch[FIXTURE_PATH_MAX], digest[64];
    struct undine_err err = {.msg = "?"};
    struct memory_log log = {.n_partitions = GOLDEN_PARTITIONS};
    struct memory_source_options source = {.bounded = true};
    struct ingest_world w;
    golden_world(&w);
    fixture_directory(scratch);
    golden_stream_add(stream, 0, stream->n, &log);
    must(ingest_world_open(&w, scratch, &log, &source, &err) == UNDINE_OK, err.msg);
    int rc = 1;
    while (rc > 0) {
        rc = ingest_step(w.ingest, &err);
    }
    must(rc == 0, err.msg);
    golden_digest(&w, digest);
    ingest_world_close(&w);
    memory_log_release(&log);
    fixture_remove(scratch);
    (void)snprintf(path, sizeof path, "%s/expected", dir);
    FILE *f = fopen(path, "w");
    must(f != NULL && fputs(digest, f) >= 0 && fclose(f) == 0, path);
}

int main(int argc, char **argv)
{
    char dir[512];
    struct golden_stream stream;
    struct memory_log log = {.n_partitions = GOLDEN_PARTITIONS};
    struct ingest_world w;
    must(argc == 2, "usage: make_golden_store DIR");
    (void)snprintf(dir, sizeof dir, "%s/store", argv[1]);
    write_stream(argv[1]);
    golden_stream_read(&stream, argv[1]);
    golden_world(&w);
    w.opt.loop.poll_max = 7;
    golden_stream_add(&stream, 0, stream.n / 3, &log);
    steps(&w, dir, &log);
    golden_stream_add(&stream, stream.n / 3, 2 * stream.n / 3, &log);
    steps(&w, dir, &log); /* opening moved the first third into table files */
    add_loss(dir);
    strip(dir);
    write_expected(argv[1], &stream);
    memory_log_release(&log);
    golden_stream_release(&stream);
    return 0;
}
