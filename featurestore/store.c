#include "featurestore/store.h"

#include "base/clock.h"
#include "base/fault.h"
#include "featurestore/chain_merge.h"
#include "featurestore/commit_chain.h"

#include <pthread.h>
#include <rocksdb/c.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    STORE_FORMAT = 2, /* what a store of this program looks like as a whole */
    FORMAT_VALUE_VERSION = 1,
    HANDLES = STORE_FAMILIES + 1, /* ours and RocksDB's own `default`, which stays empty */
    GET_MANY_CHUNK = 256,
    META_NAME_MAX = 512,
    INFO_LOG_HEADERS = 5, /* rocksdb::InfoLogLevel HEADER_LEVEL */
    OPEN_READ_ONLY_TRIES = 5
};
static const double MEMTABLE_FILTER_SHARE = 0.02; /* 16 bits a key at 120 bytes an entry */
static const char format_key[] = "format";
static const char chain_key[] = ""; /* before all numbers and names */
static const char *const family_names[HANDLES] = {"sequence", "arrivals", "example", "meta",
                                                  "default"};

struct store {
    rocksdb_t *db;
    rocksdb_column_family_handle_t *families[HANDLES];
    rocksdb_options_t *options, *family_options[HANDLES];
    rocksdb_readoptions_t *read, *scan;
    rocksdb_writeoptions_t *write;
    rocksdb_writebatch_t *batch;
    rocksdb_cache_t *cache;
    bool read_only, sync_every_commit;
    atomic_bool failed; /* a write or a sync failed: what is there is not known until a restart */
    char reason[256];   /* of it, from before it is set */
    /* A log that could not be written must not be synced (RocksDB asserts that), nor the other way
     * round: whoever comes second sees that it failed. */
    pthread_mutex_t log_lock;
    uint64_t chain; /* commits since the store was made; writing thread */
    atomic_uint_fast64_t commits, synced, bytes_written, syncs, gets;
    atomic_int_fast64_t sync_ns_max;
};

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* A file that another one names and that is not there.  Nothing names CURRENT: without it there is
 * no store. */
static bool lacks_file(const char *text)
{
    return begins(text, "IO error: No such file") && strstr(text, "While open") != NULL &&
           strstr(text, "/CURRENT") == NULL;
}

/* Turn RocksDB's text into our error and free it. */
static int store_error(char *text, const char *what, struct undine_err *err)
{
    bool corrupt = begins(text, "Corruption") || lacks_file(text);
    int rc =
        undine_err_set(err, corrupt ? UNDINE_ECORRUPT : UNDINE_EIO, "store: %s: %s", what, text);
    rocksdb_free(text);
    return rc;
}

static size_t at_least(uint64_t value, size_t least)
{
    return value > least ? (size_t)value : least;
}

/* ---- the chain of commits ---- */

static void chain_stage(struct store *s)
{
    uint8_t link[COMMIT_CHAIN_BYTES];
    commit_chain_encode(link, &(struct commit_chain){.from = s->chain, .to = s->chain + 1});
    for (int f = 0; f < STORE_FAMILIES; f++) {
        rocksdb_writebatch_merge_cf(s->batch, s->families[f], chain_key, 0, (const char *)link,
                                    sizeof link);
    }
}

/* The chain of a family; 1 = found, 0 = there is none, < 0 = error. */
static int chain_read(struct store *s, enum store_family f, struct commit_chain *out,
                      struct undine_err *err)
{
    struct writer value;
    writer_init(&value);
    int rc = store_get(s, f, chain_key, 0, &value, err);
    unsigned format = rc > 0 ? commit_chain_format(value.data, value.len) : 0;
    if (format > COMMIT_CHAIN_VERSION) {
        rc = undine_err_version(err, "chain of commits", format, COMMIT_CHAIN_VERSION);
        (void)undine_err_prefix(err, "store: family `%s`", family_names[f]);
    } else if (rc > 0 && !commit_chain_decode(out, value.data, value.len)) {
        rc = undine_err_set(err, UNDINE_ECORRUPT, "store: the chain of commits of `%s` is damaged",
                            family_names[f]);
    }
    writer_release(&value);
    return rc;
}

/* Every family must hold every commit since the store was made, up to the same one. */
static int chain_check(struct store *s, const char *dir, struct undine_err *err)
{
    struct commit_chain chain[STORE_FAMILIES] = {{0}};
    uint64_t last = 0;
    for (int f = 0; f < STORE_FAMILIES; f++) {
        int rc = chain_read(s, f, &chain[f], err);
        if (rc < 0) {
            return rc;
        }
        last = chain[f].to > last ? chain[f].to : last;
    }
    for (int f = 0; f < STORE_FAMILIES; f++) {
        const struct commit_chain *c = &chain[f];
        if (c->broken || c->from > 0 || c->to < last) {
            return undine_err_set(
                err, UNDINE_ECORRUPT,
                "store: `%s`: family `%s` lacks commits after %llu of %llu: a file of the store is "
                "lost or from another time. Restore the whole state directory from one moment, or "
                "start with an empty one",
                dir, family_names[f], (unsigned long long)(c->from > 0 && !c->broken ? 0 : c->to),
                (unsigned long long)last);
        }
    }
    s->chain = last;
    return UNDINE_OK;
}

/* ---- options ---- */

/* RocksDB would cut the cache into as many as 64 parts, and what is larger than a part is never
 * kept: the filter of a million users is, and each lookup would read it anew. */
static rocksdb_cache_t *cache_create(size_t bytes)
{
    enum { PARTS_BITS = 1 };
    rocksdb_lru_cache_options_t *o = rocksdb_lru_cache_options_create();
    rocksdb_lru_cache_options_set_capacity(o, bytes);
    rocksdb_lru_cache_options_set_num_shard_bits(o, PARTS_BITS);
    rocksdb_cache_t *cache = rocksdb_cache_create_lru_opts(o);
    rocksdb_lru_cache_options_destroy(o);
    return cache;
}

/* Blocks that are read once in order need no filter and little of the cache; users are read at
 * random. */
static rocksdb_options_t *family_options_create(const struct store *s, int family,
                                                uint64_t write_buffer_bytes)
{
    static const unsigned share[HANDLES] = {4, 2, 2, 8, 64};
    rocksdb_options_t *o = rocksdb_options_create();
    rocksdb_block_based_table_options_t *t = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(t, s->cache);
    rocksdb_block_based_options_set_block_size(t, (size_t)16 << 10);
    rocksdb_block_based_options_set_format_version(t, 5);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(t, 1);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(t, 1);
    if (family == STORE_SEQUENCE) {
        rocksdb_block_based_options_set_filter_policy(t,
                                                      rocksdb_filterpolicy_create_bloom_full(10));
        rocksdb_options_set_bottommost_compression(o, rocksdb_zstd_compression);
        /* Most users that are asked for were never stored: a bit or two tells, not a walk down the
         * memtable's list. */
        rocksdb_options_set_memtable_prefix_bloom_size_ratio(o, MEMTABLE_FILTER_SHARE);
        rocksdb_options_set_memtable_whole_key_filtering(o, 1);
    } else {
        rocksdb_options_set_level0_file_num_compaction_trigger(o, 8);
    }
    rocksdb_options_set_block_based_table_factory(o, t);
    rocksdb_block_based_options_destroy(t);
    rocksdb_options_set_compression(o, rocksdb_lz4_compression);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(o, 1);
    rocksdb_options_set_write_buffer_size(
        o, at_least(write_buffer_bytes / share[family], (size_t)256 << 10));
    rocksdb_options_set_max_write_buffer_number(o, 3);
    rocksdb_options_set_merge_operator(
        o, rocksdb_mergeoperator_create(NULL, chain_merge_ignore, chain_merge_wholly,
                                        chain_merge_partly, NULL, chain_merge_name));
    return o;
}

/* Two cores, one writer.  Left off because of known bugs in 7.8: tracking of WALs in the manifest,
 * WAL compression, atomic flush, row cache, rate limiter.  The WAL is flushed by every write (not
 * by hand), so that a killed process loses nothing; recovery stops at the first torn record, so
 * that all families come back at one commit. */
static void store_options_create(struct store *s, const struct store_options *opt)
{
    rocksdb_options_t *o = s->options = rocksdb_options_create();
    uint64_t buffer = opt->write_buffer_bytes;
    rocksdb_options_set_create_if_missing(o, !opt->read_only);
    rocksdb_options_set_create_missing_column_families(o, !opt->read_only);
    rocksdb_options_set_max_background_jobs(o, 2);
    rocksdb_options_set_db_write_buffer_size(o, at_least(buffer, (size_t)1 << 20));
    rocksdb_options_set_max_total_wal_size(o, at_least(4 * buffer, (size_t)64 << 20));
    rocksdb_options_set_wal_recovery_mode(o, opt->strict_log
                                                 ? rocksdb_tolerate_corrupted_tail_records_recovery
                                                 : rocksdb_point_in_time_recovery);
    rocksdb_options_set_recycle_log_file_num(o, 0);
    rocksdb_options_set_allow_concurrent_memtable_write(o, 0);
    rocksdb_options_set_enable_pipelined_write(o, 0);
    rocksdb_options_set_max_open_files(o, -1);
    rocksdb_options_set_bytes_per_sync(o, (uint64_t)1 << 20);
    rocksdb_options_set_wal_bytes_per_sync(o, (uint64_t)1 << 20);
    /* Nothing but its options into RocksDB's own LOG.  Where the disk is full that file cannot be
     * written either, and builds of RocksDB with assertions (Debian's) abort at the next line; what
     * it complains of comes back as errors anyway. */
    rocksdb_options_set_info_log_level(o, INFO_LOG_HEADERS);
    rocksdb_options_set_keep_log_file_num(o, 4);
    rocksdb_options_set_max_log_file_size(o, (size_t)4 << 20);
    rocksdb_options_set_stats_dump_period_sec(o, 600);
    s->cache = cache_create(at_least(opt->cache_bytes, (size_t)1 << 20));
    for (int f = 0; f < HANDLES; f++) {
        s->family_options[f] = family_options_create(s, f, buffer);
    }
    s->read = rocksdb_readoptions_create();
    s->scan = rocksdb_readoptions_create();
    rocksdb_readoptions_set_fill_cache(s->scan, 0);
    s->write = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(s->write, opt->sync_every_commit);
    s->batch = rocksdb_writebatch_create();
}

/* A family that we do not know was made by a newer program. */
static int check_families(const struct store *s, const char *dir, struct undine_err *err)
{
    char *text = NULL;
    size_t n = 0;
    char **names = rocksdb_list_column_families(s->options, dir, &n, &text);
    if (text != NULL) {
        rocksdb_free(text); /* no store yet, or opening it will say what is wrong; n is 0 */
    }
    int rc = UNDINE_OK;
    for (size_t i = 0; rc == UNDINE_OK && i < n; i++) {
        if (names[i] == NULL) { /* RocksDB's copy of it had no memory */
            rc = undine_err_set(err, UNDINE_ENOMEM, "store: out of memory");
            break;
        }
        int f = 0;
        while (f < HANDLES && strcmp(names[i], family_names[f]) != 0) {
            f++;
        }
        if (f == HANDLES) {
            rc = undine_err_set(err, UNDINE_EVERSION,
                                "store: `%s` holds a family `%s`: it was written by a newer format "
                                "or by another program",
                                dir, names[i]);
        }
    }
    rocksdb_list_column_families_destroy(names, n);
    return rc;
}

static void open_once(struct store *s, const char *dir, char **text)
{
    const rocksdb_options_t *const *options = (const rocksdb_options_t *const *)s->family_options;
    if (s->read_only) {
        s->db = rocksdb_open_for_read_only_column_families(s->options, dir, HANDLES, family_names,
                                                           options, s->families, 0, text);
    } else {
        s->db = rocksdb_open_column_families(s->options, dir, HANDLES, family_names, options,
                                             s->families, text);
    }
}

static void close_database(struct store *s)
{
    if (s->db == NULL) {
        return;
    }
    for (int f = 0; f < HANDLES; f++) {
        rocksdb_column_family_handle_destroy(s->families[f]);
    }
    rocksdb_close(s->db);
    s->db = NULL;
}

static int try_open(struct store *s, const char *dir, struct undine_err *err)
{
    char *text = NULL;
    open_once(s, dir, &text);
    if (text == NULL) {
        int rc = chain_check(s, dir, err);
        if (rc < 0) {
            close_database(s);
        }
        return rc;
    }
    s->db = NULL;
    if (!s->read_only && strstr(text, "lock") != NULL && strstr(text, "/LOCK") != NULL) {
        rocksdb_free(text);
        return undine_err_set(err, UNDINE_EIO,
                              "store: `%s` is open already: another program works on this state",
                              dir);
    }
    int rc = store_error(text, "cannot be opened", err);
    (void)undine_err_prefix(err, "`%s`", dir);
    return rc;
}

static int open_database(struct store *s, const char *dir, struct undine_err *err)
{
    int rc = try_open(s, dir, err);
    /* The writer of a live store may remove a file between our reading its name and opening it. */
    for (int i = 1; s->read_only && rc < 0 && i < OPEN_READ_ONLY_TRIES; i++) {
        rc = try_open(s, dir, err);
    }
    return rc;
}

/* The format of the store as a whole, written when it is made. */
static int check_format(struct store *s, const char *dir, struct undine_err *err)
{
    struct writer value;
    writer_init(&value);
    int rc = store_get(s, STORE_META, format_key, strlen(format_key), &value, err);
    if (rc == 0 && s->read_only) {
        rc = undine_err_set(err, UNDINE_ECORRUPT, "store: `%s` is not a store of undine", dir);
    } else if (rc == 0) {
        writer_u32(&value, FORMAT_VALUE_VERSION);
        writer_u32(&value, STORE_FORMAT);
        store_put(s, STORE_META, format_key, strlen(format_key), value.data, value.len);
        rc = store_write(s, err);
        rc = rc == UNDINE_OK ? store_sync(s, err) : rc;
    } else if (rc > 0) {
        struct reader r = reader_of(value.data, value.len);
        uint32_t value_version = reader_u8(&r);
        (void)reader_bytes(&r, 3);
        uint32_t format = reader_u32(&r);
        rc = UNDINE_OK;
        if (!r.bad && (value_version > FORMAT_VALUE_VERSION || format > STORE_FORMAT)) {
            bool own = value_version > FORMAT_VALUE_VERSION;
            rc = undine_err_version(err, own ? "meta `format`" : "its format",
                                    own ? value_version : format,
                                    own ? FORMAT_VALUE_VERSION : STORE_FORMAT);
            (void)undine_err_prefix(err, "store: `%s`", dir);
        } else if (!r.bad && format < STORE_FORMAT && format > 0) {
            rc = undine_err_set(err, UNDINE_EVERSION,
                                "store: `%s` has format %u, this program reads %d: start with an "
                                "empty state directory",
                                dir, format, STORE_FORMAT);
        } else if (r.bad || format == 0) {
            rc = undine_err_set(err, UNDINE_ECORRUPT, "store: `%s`: meta `%s` is damaged", dir,
                                format_key);
        }
    }
    writer_release(&value);
    return rc;
}

int store_open(struct store **out, const struct store_options *opt, struct undine_err *err)
{
    struct store *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "store: out of memory");
    }
    (void)pthread_mutex_init(&s->log_lock, NULL);
    s->read_only = opt->read_only;
    s->sync_every_commit = opt->sync_every_commit;
    store_options_create(s, opt);
    int rc = check_families(s, opt->dir, err);
    if (rc == UNDINE_OK) {
        rc = open_database(s, opt->dir, err);
    }
    if (rc == UNDINE_OK) {
        rc = check_format(s, opt->dir, err);
    }
    if (rc != UNDINE_OK) {
        store_close(s);
        return rc;
    }
    *out = s;
    return UNDINE_OK;
}

void store_close(struct store *s)
{
    if (s == NULL) {
        return;
    }
    if (s->db != NULL) {
        if (!s->read_only) {
            (void)store_sync(s, NULL);
        }
        close_database(s);
    }
    rocksdb_writebatch_destroy(s->batch);
    rocksdb_writeoptions_destroy(s->write);
    rocksdb_readoptions_destroy(s->scan);
    rocksdb_readoptions_destroy(s->read);
    for (int f = 0; f < HANDLES; f++) {
        rocksdb_options_destroy(s->family_options[f]);
    }
    rocksdb_options_destroy(s->options);
    rocksdb_cache_destroy(s->cache);
    (void)pthread_mutex_destroy(&s->log_lock);
    free(s);
}

void store_put(struct store *s, enum store_family f, const void *key, size_t key_len,
               const void *value, size_t value_len)
{
    UNDINE_ASSERT(!s->read_only);
    rocksdb_writebatch_put_cf(s->batch, s->families[f], key, key_len, value, value_len);
}

void store_delete(struct store *s, enum store_family f, const void *key, size_t key_len)
{
    UNDINE_ASSERT(!s->read_only);
    rocksdb_writebatch_delete_cf(s->batch, s->families[f], key, key_len);
}

void store_delete_range(struct store *s, enum store_family f, uint64_t from, uint64_t to)
{
    UNDINE_ASSERT(!s->read_only && from <= to);
    uint8_t first[8], end[8];
    bytes_put_be64(first, from);
    bytes_put_be64(end, to);
    rocksdb_writebatch_delete_range_cf(s->batch, s->families[f], (const char *)first, sizeof first,
                                       (const char *)end, sizeof end);
}

static void raise_to(atomic_uint_fast64_t *value, uint64_t to)
{
    uint_fast64_t old = atomic_load(value);
    while (old < to && !atomic_compare_exchange_weak(value, &old, to)) {
    }
}

bool store_failed(const struct store *s)
{
    return atomic_load(&s->failed);
}

static int refuse_failed(const struct store *s, struct undine_err *err)
{
    return undine_err_set(err, UNDINE_EIO, "store: an earlier write failed, a restart recovers: %s",
                          s->reason);
}

/* For good: the kernel may have dropped what it could not write, and a second fsync would say all
 * is well. */
static void note_failed(struct store *s, const char *text)
{
    (void)snprintf(s->reason, sizeof s->reason, "%s", text);
    atomic_store(&s->failed, true);
}

int store_write(struct store *s, struct undine_err *err)
{
    UNDINE_ASSERT(!s->read_only);
    size_t bytes = 0;
    char *text = NULL;
    (void)pthread_mutex_lock(&s->log_lock);
    if (store_failed(s)) {
        (void)pthread_mutex_unlock(&s->log_lock);
        return refuse_failed(s, err);
    }
    chain_stage(s);
    (void)rocksdb_writebatch_data(s->batch, &bytes);
    FAULT("store.before_write");
    rocksdb_write(s->db, s->write, s->batch, &text);
    FAULT("store.after_write");
    rocksdb_writebatch_clear(s->batch);
    if (text != NULL) {
        note_failed(s, text);
    }
    (void)pthread_mutex_unlock(&s->log_lock);
    if (text != NULL) {
        return store_error(text, "cannot write a commit", err);
    }
    s->chain++;
    atomic_fetch_add(&s->bytes_written, bytes);
    uint64_t commits = atomic_fetch_add(&s->commits, 1) + 1;
    if (s->sync_every_commit) {
        raise_to(&s->synced, commits);
    }
    return UNDINE_OK;
}

int store_sync(struct store *s, struct undine_err *err)
{
    (void)pthread_mutex_lock(&s->log_lock);
    uint64_t commits = atomic_load(&s->commits);
    bool failed = store_failed(s);
    if (failed || atomic_load(&s->synced) >= commits) {
        (void)pthread_mutex_unlock(&s->log_lock);
        return failed ? refuse_failed(s, err) : UNDINE_OK;
    }
    char *text = NULL;
    int64_t start_ns = clock_monotonic_ns();
    FAULT("store.before_sync");
    rocksdb_flush_wal(s->db, 1, &text);
    FAULT("store.after_sync");
    if (text != NULL) {
        note_failed(s, text);
    }
    (void)pthread_mutex_unlock(&s->log_lock);
    if (text != NULL) {
        return store_error(text, "cannot sync the write-ahead log", err);
    }
    int64_t took_ns = clock_monotonic_ns() - start_ns;
    int_fast64_t longest = atomic_load(&s->sync_ns_max);
    while (longest < took_ns && !atomic_compare_exchange_weak(&s->sync_ns_max, &longest, took_ns)) {
    }
    atomic_fetch_add(&s->syncs, 1);
    raise_to(&s->synced, commits);
    return UNDINE_OK;
}

int store_get(struct store *s, enum store_family f, const void *key, size_t key_len,
              struct writer *out, struct undine_err *err)
{
    char *text = NULL;
    atomic_fetch_add_explicit(&s->gets, 1, memory_order_relaxed);
    rocksdb_pinnableslice_t *slice =
        rocksdb_get_pinned_cf(s->db, s->read, s->families[f], key, key_len, &text);
    if (text != NULL) {
        return store_error(text, "cannot read", err);
    }
    if (slice == NULL) {
        return 0;
    }
    size_t len = 0;
    const char *value = rocksdb_pinnableslice_value(slice, &len);
    writer_bytes(out, value, len);
    rocksdb_pinnableslice_destroy(slice);
    return out->bad ? undine_err_set(err, UNDINE_ENOMEM, "store: out of memory for %zu bytes", len)
                    : 1;
}

/* Up to GET_MANY_CHUNK keys; every slice and text is freed whatever fn says. */
static int get_chunk(struct store *s, enum store_family f, const uint64_t *keys, size_t n,
                     store_value_fn fn, void *payload, struct undine_err *err)
{
    uint8_t bytes[GET_MANY_CHUNK][8];
    const char *at[GET_MANY_CHUNK] = {NULL};
    size_t sizes[GET_MANY_CHUNK] = {0};
    rocksdb_pinnableslice_t *slices[GET_MANY_CHUNK];
    char *texts[GET_MANY_CHUNK];
    bool sorted = true; /* else RocksDB sorts, at the cost of a comparison by function each */
    for (size_t i = 0; i < n; i++) {
        sorted = sorted && (i == 0 || keys[i - 1] < keys[i]);
        bytes_put_be64(bytes[i], keys[i]);
        at[i] = (const char *)bytes[i];
        sizes[i] = sizeof bytes[i];
        slices[i] = NULL;
        texts[i] = NULL;
    }
    rocksdb_batched_multi_get_cf(s->db, s->read, s->families[f], n, at, sizes, slices, texts,
                                 sorted);
    int rc = UNDINE_OK;
    for (size_t i = 0; i < n; i++) {
        if (texts[i] != NULL && rc == UNDINE_OK) {
            rc = store_error(texts[i], "cannot read", err);
        } else if (texts[i] != NULL) {
            rocksdb_free(texts[i]);
        } else if (slices[i] != NULL && rc == UNDINE_OK) {
            size_t len = 0;
            const char *value = rocksdb_pinnableslice_value(slices[i], &len);
            rc = fn(payload, keys[i], (const uint8_t *)value, len, err);
        }
        if (slices[i] != NULL) {
            rocksdb_pinnableslice_destroy(slices[i]);
        }
    }
    return rc;
}

int store_get_many(struct store *s, enum store_family f, const uint64_t *keys, size_t n,
                   store_value_fn fn, void *payload, struct undine_err *err)
{
    int rc = UNDINE_OK;
    atomic_fetch_add_explicit(&s->gets, n, memory_order_relaxed);
    for (size_t done = 0; rc == UNDINE_OK && done < n;) {
        size_t chunk = n - done < GET_MANY_CHUNK ? n - done : GET_MANY_CHUNK;
        rc = get_chunk(s, f, keys + done, chunk, fn, payload, err);
        done += chunk;
    }
    return rc;
}

/* What RocksDB says about an iterator that ended. */
static int iterator_error(const rocksdb_iterator_t *it, struct undine_err *err)
{
    char *text = NULL;
    rocksdb_iter_get_error(it, &text);
    return text != NULL ? store_error(text, "cannot scan", err) : UNDINE_OK;
}

/* Give the entry under the iterator to fn. */
static int give(const rocksdb_iterator_t *it, store_value_fn fn, void *payload,
                struct undine_err *err)
{
    size_t key_len = 0, len = 0;
    const char *key = rocksdb_iter_key(it, &key_len);
    const char *value = rocksdb_iter_value(it, &len);
    if (key_len != sizeof(uint64_t)) {
        return undine_err_set(err, UNDINE_ECORRUPT, "store: a key has %zu bytes, expected 8",
                              key_len);
    }
    return fn(payload, bytes_get_be64((const uint8_t *)key), (const uint8_t *)value, len, err);
}

int store_scan(struct store *s, enum store_family f, uint64_t from, store_value_fn fn,
               void *payload, struct undine_err *err)
{
    uint8_t first[8];
    bytes_put_be64(first, from);
    rocksdb_iterator_t *it = rocksdb_create_iterator_cf(s->db, s->scan, s->families[f]);
    int rc = UNDINE_OK;
    for (rocksdb_iter_seek(it, (const char *)first, sizeof first);
         rc == UNDINE_OK && rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        rc = give(it, fn, payload, err);
    }
    if (rc == UNDINE_OK) {
        rc = iterator_error(it, err);
    }
    rocksdb_iter_destroy(it);
    return rc;
}

int store_get_floor(struct store *s, enum store_family f, uint64_t key, store_value_fn fn,
                    void *payload, struct undine_err *err)
{
    uint8_t last[8];
    bytes_put_be64(last, key);
    rocksdb_iterator_t *it = rocksdb_create_iterator_cf(s->db, s->scan, s->families[f]);
    rocksdb_iter_seek_for_prev(it, (const char *)last, sizeof last);
    int rc = UNDINE_OK;
    size_t key_len = 0;
    if (rocksdb_iter_valid(it)) {
        (void)rocksdb_iter_key(it, &key_len);
    }
    if (key_len > 0) { /* else it is the chain, or nothing */
        rc = give(it, fn, payload, err);
        rc = rc == UNDINE_OK ? 1 : rc;
    } else {
        rc = iterator_error(it, err);
    }
    rocksdb_iter_destroy(it);
    return rc;
}

int store_scan_meta(struct store *s, const char *prefix, store_meta_fn fn, void *payload,
                    struct undine_err *err)
{
    size_t prefix_len = strlen(prefix);
    rocksdb_iterator_t *it = rocksdb_create_iterator_cf(s->db, s->scan, s->families[STORE_META]);
    int rc = UNDINE_OK;
    for (rocksdb_iter_seek(it, prefix, prefix_len); rc == UNDINE_OK && rocksdb_iter_valid(it);
         rocksdb_iter_next(it)) {
        char name[META_NAME_MAX];
        size_t key_len = 0, len = 0;
        const char *key = rocksdb_iter_key(it, &key_len);
        const char *value = rocksdb_iter_value(it, &len);
        if (key_len == 0) {
            continue; /* the chain */
        }
        if (key_len < prefix_len || memcmp(key, prefix, prefix_len) != 0) {
            break;
        }
        if (key_len >= sizeof name) {
            rc = undine_err_set(err, UNDINE_ECORRUPT,
                                "store: a meta name has %zu bytes, at most %d are allowed", key_len,
                                META_NAME_MAX - 1);
            break;
        }
        memcpy(name, key, key_len);
        name[key_len] = '\0';
        rc = fn(payload, name, (const uint8_t *)value, len, err);
    }
    if (rc == UNDINE_OK) {
        rc = iterator_error(it, err);
    }
    rocksdb_iter_destroy(it);
    return rc;
}

/* ---- every checksum ---- */

const char *store_family_name(enum store_family f)
{
    return family_names[f];
}

/* The filters, which no scan reads: a lookup of a file's first key asks that of its file. */
static int verify_filters(struct store *s, enum store_family f, struct store_verified *out,
                          struct undine_err *err)
{
    const rocksdb_livefiles_t *files = rocksdb_livefiles(s->db);
    char *text = NULL;
    for (int i = 0; text == NULL && i < rocksdb_livefiles_count(files); i++) {
        if (strcmp(rocksdb_livefiles_column_family_name(files, i), family_names[f]) != 0) {
            continue;
        }
        size_t len = 0, value_len = 0;
        const char *key = rocksdb_livefiles_smallestkey(files, i, &len);
        rocksdb_free(rocksdb_get_cf(s->db, s->scan, s->families[f], key, len, &value_len, &text));
        out->files++;
        out->file_bytes += rocksdb_livefiles_size(files, i);
    }
    rocksdb_livefiles_destroy(files);
    return text == NULL ? UNDINE_OK : store_error(text, "cannot read", err);
}

int store_verify(struct store *s, enum store_family f, struct store_verified *out,
                 struct undine_err *err)
{
    *out = (struct store_verified){0};
    rocksdb_readoptions_t *all = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(all, 1);
    rocksdb_readoptions_set_fill_cache(all, 0);
    rocksdb_readoptions_set_ignore_range_deletions(all, 1); /* or what they cover is not read */
    rocksdb_iterator_t *it = rocksdb_create_iterator_cf(s->db, all, s->families[f]);
    for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        size_t key_len = 0, len = 0;
        (void)rocksdb_iter_key(it, &key_len);
        (void)rocksdb_iter_value(it, &len);
        out->entries++;
        out->bytes += key_len + len;
    }
    int rc = iterator_error(it, err);
    rocksdb_iter_destroy(it);
    rocksdb_readoptions_destroy(all);
    return rc == UNDINE_OK ? verify_filters(s, f, out, err) : rc;
}

/* ---- figures ---- */

/* A number that RocksDB keeps, summed over our families or taken once where it is the database's.
 */
static uint64_t property(const struct store *s, const char *name, bool per_family)
{
    uint64_t sum = 0;
    for (int f = 0; f < (per_family ? HANDLES : 1); f++) {
        uint64_t value = 0;
        if (rocksdb_property_int_cf(s->db, s->families[f], name, &value) == 0) {
            sum += value;
        }
    }
    return sum;
}

void store_stats(struct store *s, struct store_stats *out)
{
    *out = (struct store_stats){
        .commits = atomic_load(&s->commits),
        .bytes_written = atomic_load(&s->bytes_written),
        .syncs = atomic_load(&s->syncs),
        .gets = atomic_load(&s->gets),
        .sync_ns_max = atomic_load(&s->sync_ns_max),
        .memtable_bytes = property(s, "rocksdb.cur-size-all-mem-tables", true),
        .table_reader_bytes = property(s, "rocksdb.estimate-table-readers-mem", true),
        .cache_bytes = rocksdb_cache_get_usage(s->cache),
        .sst_bytes = property(s, "rocksdb.total-sst-files-size", true),
        .background_errors = property(s, "rocksdb.background-errors", false),
        .write_stopped = property(s, "rocksdb.is-write-stopped", false) != 0,
    };
}
