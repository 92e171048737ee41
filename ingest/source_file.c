#include "ingest/source.h"

#include "base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

enum { WINDOW_BYTES = 1 << 18, INPUT_BYTES = 1 << 17 };

/* One file.  `window` holds what was read and not yet handed on, in [start, end); the lines of a
 * poll point into it, and it moves only when the next poll has to read. */
struct file {
    int fd;
    bool eof;      /* nothing more comes from fd */
    bool skipping; /* the rest of a line that was handed on cut */
    uint8_t *window;
    size_t start, end, capacity;
    ZSTD_DCtx *zstd; /* NULL = the file is not compressed */
    uint8_t *input;
    ZSTD_inBuffer compressed; /* in `input` */
    bool input_eof;           /* of the compressed bytes */
    bool frame_open;          /* they end within a frame so far */
};

struct source_file {
    struct source source; /* first: the two are one pointer */
    size_t line_bytes_max;
    struct file *files;
};

static struct source_file *file_source(struct source *s)
{
    return (struct source_file *)s;
}

/* ---- bytes ---- */

/* Bytes read, 0 = end of file, < 0 = error. */
static ssize_t read_some(const struct file *f, const char *name, void *out, size_t len,
                         struct undine_err *err)
{
    ssize_t n;
    do {
        n = read(f->fd, out, len);
    } while (n < 0 && errno == EINTR);
    return n >= 0 ? n : undine_err_sys(err, UNDINE_EIO, errno, "%s: read", name);
}

static int fill_plain(struct file *f, const char *name, struct undine_err *err)
{
    ssize_t n = read_some(f, name, f->window + f->end, f->capacity - f->end, err);
    if (n < 0) {
        return (int)n;
    }
    f->end += (size_t)n;
    f->eof = n == 0;
    return 0;
}

static int refill_input(struct file *f, const char *name, struct undine_err *err)
{
    if (f->compressed.pos < f->compressed.size || f->input_eof) {
        return 0;
    }
    ssize_t n = read_some(f, name, f->input, INPUT_BYTES, err);
    if (n < 0) {
        return (int)n;
    }
    f->compressed = (ZSTD_inBuffer){f->input, (size_t)n, 0};
    f->input_eof = n == 0;
    return 0;
}

/* Add at least one byte to the window, or find the end: where no input is left, no frame is open
 * and nothing more comes out. */
static int fill_zstd(struct file *f, const char *name, struct undine_err *err)
{
    ZSTD_outBuffer out = {f->window, f->capacity, f->end};
    while (out.pos == f->end) {
        int rc = refill_input(f, name, err);
        if (rc < 0) {
            return rc;
        }
        if (f->input_eof && !f->frame_open) {
            f->eof = true;
            return 0;
        }
        size_t hint = ZSTD_decompressStream(f->zstd, &out, &f->compressed);
        if (ZSTD_isError(hint)) {
            return undine_err_set(err, UNDINE_ECORRUPT, "%s: zstd: %s", name,
                                  ZSTD_getErrorName(hint));
        }
        if (f->input_eof && out.pos == f->end) {
            return undine_err_set(err, UNDINE_ECORRUPT, "%s: the compressed data is cut short",
                                  name);
        }
        f->frame_open = hint != 0;
    }
    f->end = out.pos;
    return 0;
}

/* Make room behind what is left, and read.  Lines that were handed on are gone. */
static int fill(struct file *f, const char *name, struct undine_err *err)
{
    memmove(f->window, f->window + f->start, f->end - f->start);
    f->end -= f->start;
    f->start = 0;
    UNDINE_ASSERT(f->end < f->capacity);
    return f->zstd != NULL ? fill_zstd(f, name, err) : fill_plain(f, name, err);
}

/* Can reading go on without waiting longer than timeout_ms?  Files always can; pipes may not. */
static bool readable(const struct file *f, int timeout_ms)
{
    struct pollfd p = {.fd = f->fd, .events = POLLIN};
    bool buffered = f->zstd != NULL && f->compressed.pos < f->compressed.size;
    return buffered || poll(&p, 1, timeout_ms) != 0;
}

/* ---- lines ---- */

struct line {
    const uint8_t *at;
    size_t len;
};

/* Drop the rest of a line that was cut; false where it is not all in the window.
 * DROP(line_too_long): what was handed on is refused for its length. */
static bool skip_rest(struct file *f)
{
    const uint8_t *newline = memchr(f->window + f->start, '\n', f->end - f->start);
    f->start = newline != NULL ? (size_t)(newline + 1 - f->window) : f->end;
    f->skipping = newline == NULL && !f->eof;
    return !f->skipping;
}

/* Take the next line out of the window; false where it is not all there yet. */
static bool take_line(struct file *f, size_t len_max, struct line *out)
{
    if (f->skipping && !skip_rest(f)) {
        return false;
    }
    const uint8_t *at = f->window + f->start;
    size_t left = f->end - f->start;
    const uint8_t *newline = memchr(at, '\n', left);
    /* A line without its end in sight is too long for sure once it has one byte more than a
     * carriage return could account for. */
    bool cut = newline == NULL && left > len_max + 1;
    if (newline == NULL && !cut && (!f->eof || left == 0)) {
        return false;
    }
    size_t len = newline != NULL ? (size_t)(newline - at) : left;
    f->start += len + (newline != NULL);
    f->skipping = cut;
    if (newline != NULL && len > 0 && at[len - 1] == '\r') {
        len--;
    }
    *out = (struct line){at, len < len_max ? len : len_max};
    return true;
}

/* Lines that are whole in the window. */
static size_t take_lines(struct source_file *sf, uint32_t partition, struct source_message *out,
                         size_t n_max)
{
    struct source_partition *p = &sf->source.partitions[partition];
    int64_t first = p->position.next < 0 ? 0 : p->position.next;
    struct line line = {NULL, 0};
    size_t n = 0;
    while (n < n_max && take_line(&sf->files[partition], sf->line_bytes_max, &line)) {
        out[n] = (struct source_message){line.at, line.len, first + (int64_t)n, -1};
        sf->source.stats.bytes += line.len;
        n++;
    }
    if (n > 0) {
        p->position.next = first + (int64_t)n;
        p->position.fence_offset = p->position.next - 1;
        p->position.fence_hash = hash_bytes(line.at, line.len);
        sf->source.stats.messages += n;
    }
    return n;
}

static int file_poll(struct source *s, uint32_t partition, struct source_message *out, size_t n_max,
                     int timeout_ms, struct undine_err *err)
{
    UNDINE_ASSERT(partition < s->n_partitions && n_max > 0);
    struct source_file *sf = file_source(s);
    struct source_partition *p = &s->partitions[partition];
    struct file *f = &sf->files[partition];
    size_t n = take_lines(sf, partition, out, n_max);
    while (n == 0 && !f->eof && readable(f, timeout_ms)) {
        int rc = fill(f, p->topic, err);
        if (rc < 0) {
            return rc;
        }
        n = take_lines(sf, partition, out, n_max);
    }
    p->at_end = n == 0;
    p->done = n == 0 && f->eof;
    return (int)n;
}

/* ---- open ---- */

static void file_close(struct source *s)
{
    struct source_file *sf = file_source(s);
    for (uint32_t i = 0; sf->files != NULL && i < s->n_partitions; i++) {
        struct file *f = &sf->files[i];
        if (f->fd > STDIN_FILENO) {
            (void)close(f->fd);
        }
        (void)ZSTD_freeDCtx(f->zstd);
        free(f->window);
        free(f->input);
    }
    free(sf->files);
    free(s->partitions);
    free(sf);
}

static const struct source_ops file_ops = {
    .poll = file_poll, .maintain = NULL, .close = file_close};

static bool is_zstd(const char *path)
{
    size_t len = strlen(path);
    return len > 4 && strcmp(path + len - 4, ".zst") == 0;
}

static int open_file(struct file *f, const char *path, size_t line_bytes_max,
                     struct undine_err *err)
{
    bool compressed = is_zstd(path);
    f->fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (f->fd < 0) {
        return undine_err_sys(err, UNDINE_EIO, errno, "%s", path);
    }
    f->capacity = line_bytes_max + WINDOW_BYTES;
    f->window = malloc(f->capacity);
    f->input = compressed ? malloc(INPUT_BYTES) : NULL;
    f->zstd = compressed ? ZSTD_createDCtx() : NULL;
    if (f->window == NULL || (compressed && (f->input == NULL || f->zstd == NULL))) {
        return undine_err_set(err, UNDINE_ENOMEM, "%s: no memory for a window of %zu bytes", path,
                              f->capacity);
    }
    return 0;
}

/* Read again what was read before, and check that its last line is still the same. */
static int resume(struct source_file *sf, uint32_t i, const struct source_position *position,
                  struct undine_err *err)
{
    struct source_partition *p = &sf->source.partitions[i];
    struct file *f = &sf->files[i];
    struct line line = {NULL, 0};
    for (int64_t n = 0; n < position->next; n++) {
        while (!take_line(f, sf->line_bytes_max, &line)) {
            if (f->eof) {
                return undine_err_set(err, UNDINE_ELOSS,
                                      "%s: the file's history changed: %lld lines of it were read, "
                                      "but it has only %lld",
                                      p->topic, (long long)position->next, (long long)n);
            }
            int rc = fill(f, p->topic, err);
            if (rc < 0) {
                return rc;
            }
        }
    }
    if (position->next > 0 && hash_bytes(line.at, line.len) != position->fence_hash) {
        return undine_err_set(err, UNDINE_ELOSS,
                              "%s: the file's history changed: line %lld is not the one that was "
                              "read before",
                              p->topic, (long long)position->next);
    }
    p->position = *position;
    return 0;
}

static int open_partition(struct source_file *sf, uint32_t i, const struct source_file_options *opt,
                          source_position_fn position, void *payload, struct undine_err *err)
{
    struct source_partition *p = &sf->source.partitions[i];
    const char *path = opt->paths[i];
    struct source_position stored;
    if (strlen(path) >= sizeof p->topic) {
        return undine_err_set(err, UNDINE_ECONFIG, "%s: a path may have at most %zu bytes", path,
                              sizeof p->topic - 1);
    }
    for (uint32_t k = 0; k < i; k++) {
        if (strcmp(opt->paths[k], path) == 0) {
            return undine_err_set(err, UNDINE_ECONFIG, "%s: the file is given twice", path);
        }
    }
    *p = (struct source_partition){
        .topic_index = opt->topic_index != NULL ? opt->topic_index[i] : SOURCE_TOPIC_ANY,
        .position = {.next = -1, .fence_offset = -1, .fence_timestamp = -1},
        .end = -1,
        .high = -1};
    (void)strcpy(p->topic, path);
    int rc = open_file(&sf->files[i], path, sf->line_bytes_max, err);
    if (rc < 0 || position == NULL) {
        return rc;
    }
    rc = position(payload, path, 0, &stored);
    if (rc < 0) {
        return undine_err_set(err, rc, "%s: its stored position cannot be read", path);
    }
    return rc == 0 ? 0 : resume(sf, i, &stored, err);
}

int source_file_open(struct source **out, const struct source_file_options *opt,
                     source_position_fn position, void *payload, struct undine_err *err)
{
    UNDINE_ASSERT(opt->n_paths > 0 && opt->n_paths < UINT32_MAX && opt->line_bytes_max > 0);
    struct source_file *sf = calloc(1, sizeof *sf);
    if (sf == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for a source");
    }
    sf->source.ops = &file_ops;
    sf->line_bytes_max = opt->line_bytes_max;
    sf->files = calloc(opt->n_paths, sizeof *sf->files);
    sf->source.partitions = calloc(opt->n_paths, sizeof *sf->source.partitions);
    if (sf->files == NULL || sf->source.partitions == NULL) {
        file_close(&sf->source);
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for %zu files", opt->n_paths);
    }
    sf->source.n_partitions = (uint32_t)opt->n_paths;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < sf->source.n_partitions; i++) {
        rc = open_partition(sf, i, opt, position, payload, err);
    }
    if (rc < 0) {
        file_close(&sf->source);
        return rc;
    }
    *out = &sf->source;
    return 0;
}
