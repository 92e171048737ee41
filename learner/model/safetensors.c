#include "learner/model/safetensors.h"

#include "base/bytes.h"
#include "base/fault.h"
#include "learner/model/json_text.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DATA_ALIGN = 64, WRITE_RUN_BYTES = 1 << 20, LENGTH_BYTES = 8, ELEMENT_BYTES_MAX = 8 };

static const struct {
    const char *name;
    size_t bytes;
} TYPES[] = {
    [SAFETENSORS_F32] = {"F32", 4}, [SAFETENSORS_F64] = {"F64", 8}, [SAFETENSORS_U64] = {"U64", 8},
    [SAFETENSORS_U32] = {"U32", 4}, [SAFETENSORS_U8] = {"U8", 1},   [SAFETENSORS_I64] = {"I64", 8},
};

size_t safetensors_type_bytes(enum safetensors_type type)
{
    return TYPES[type].bytes;
}

uint64_t safetensors_count(const struct safetensors_tensor *t)
{
    return t->rows * (t->cols > 0 ? t->cols : 1);
}

uint64_t safetensors_bytes(const struct safetensors_tensor *t)
{
    return safetensors_count(t) * TYPES[t->type].bytes;
}

/* ---- writing ---- */

static int no_memory(struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ENOMEM, "no memory for a header of tensors");
}

static json_t *tensor_to_json(const struct safetensors_tensor *t, uint64_t offset)
{
    json_t *shape = t->cols > 0 ? json_pack("[I,I]", (json_int_t)t->rows, (json_int_t)t->cols)
                                : json_pack("[I]", (json_int_t)t->rows);
    return json_pack("{s:s, s:o, s:[I,I]}", "dtype", TYPES[t->type].name, "shape", shape,
                     "data_offsets", (json_int_t)offset,
                     (json_int_t)(offset + safetensors_bytes(t)));
}

/* Length word and padded header of the tensors in this order. */
static int header_build(struct writer *w, const struct safetensors_tensor *const *order, size_t n,
                        struct undine_err *err)
{
    int rc = UNDINE_OK;
    uint64_t offset = 0;
    char *text = NULL;
    json_t *root = json_object();
    for (size_t i = 0; i < n; i++) {
        UNDINE_ASSERT(json_object_get(root, order[i]->name) == NULL);
        if (json_object_set_new(root, order[i]->name, tensor_to_json(order[i], offset)) != 0) {
            rc = no_memory(err);
            goto out;
        }
        offset += safetensors_bytes(order[i]);
    }
    text = json_text_print(root, JSON_COMPACT);
    if (text == NULL) {
        rc = no_memory(err);
        goto out;
    }
    size_t len = strlen(text);
    size_t padded = (LENGTH_BYTES + len + DATA_ALIGN - 1) / DATA_ALIGN * DATA_ALIGN - LENGTH_BYTES;
    UNDINE_ASSERT(padded <= SAFETENSORS_HEADER_MAX);
    writer_u64(w, padded);
    writer_bytes(w, text, len);
    uint8_t *spaces = writer_extend(w, padded - len);
    if (spaces != NULL) {
        memset(spaces, ' ', padded - len);
    }
    rc = w->bad ? no_memory(err) : UNDINE_OK;
out:
    free(text);
    json_decref(root);
    return rc;
}

struct output {
    int fd;
    struct hash128_stream *hash;
    uint64_t bytes;
};

static int write_all(int fd, const uint8_t *at, size_t len, struct undine_err *err)
{
    while (len > 0) {
        ssize_t n = write(fd, at, len);
        if (n < 0 && errno != EINTR) {
            return undine_err_sys(err, UNDINE_EIO, errno, "write");
        }
        if (n > 0) {
            at += n;
            len -= (size_t)n;
        }
    }
    return UNDINE_OK;
}

/* Piece by piece, so that the bytes are hashed while they are in the cache for the write. */
static int output_put(struct output *o, const void *data, uint64_t len, struct undine_err *err)
{
    int rc = UNDINE_OK;
    for (uint64_t at = 0; rc == UNDINE_OK && at < len;) {
        size_t run = len - at < WRITE_RUN_BYTES ? (size_t)(len - at) : WRITE_RUN_BYTES;
        const uint8_t *piece = (const uint8_t *)data + at;
        hash128_stream_add(o->hash, piece, run);
        rc = write_all(o->fd, piece, run, err);
        at += run;
    }
    o->bytes += len;
    return rc;
}

static int put_piece(void *output, const void *data, uint64_t len, struct undine_err *err)
{
    return output_put(output, data, len, err);
}

static int put_tensor(struct output *o, const struct safetensors_tensor *t, struct undine_err *err)
{
    uint64_t until = o->bytes + safetensors_bytes(t);
    int rc = t->source != NULL ? t->source->produce(t->source, put_piece, o, err)
                               : output_put(o, t->data, safetensors_bytes(t), err);
    UNDINE_ASSERT(rc < 0 || o->bytes == until);
    return rc;
}

int safetensors_write(int fd, const struct safetensors_tensor *tensors, size_t n,
                      struct file_sum *out, struct undine_err *err)
{
    UNDINE_ASSERT(n <= SAFETENSORS_TENSORS_MAX);
    int rc = UNDINE_OK;
    struct writer header;
    writer_init(&header);
    struct output o = {.fd = fd, .hash = hash128_stream_new()};
    const struct safetensors_tensor **order = calloc(n + 1, sizeof *order);
    if (order == NULL || o.hash == NULL) {
        rc = no_memory(err);
        goto out;
    }
    size_t at = 0;
    for (size_t size = ELEMENT_BYTES_MAX; size > 0; size--) {
        for (size_t i = 0; i < n; i++) {
            if (TYPES[tensors[i].type].bytes == size) {
                order[at++] = &tensors[i];
            }
        }
    }
    rc = header_build(&header, order, n, err);
    FAULT("tensors.before_write");
    if (rc == UNDINE_OK) {
        rc = output_put(&o, header.data, header.len, err);
    }
    for (size_t i = 0; rc == UNDINE_OK && i < n; i++) {
        rc = put_tensor(&o, order[i], err);
    }
    FAULT("tensors.before_sync");
    if (rc == UNDINE_OK && fsync(fd) < 0) {
        rc = undine_err_sys(err, UNDINE_EIO, errno, "fsync");
    }
    FAULT("tensors.after_sync");
    if (rc == UNDINE_OK) {
        *out = (struct file_sum){.bytes = o.bytes, .checksum = hash128_stream_value(o.hash)};
    }
out:
    free(order);
    writer_release(&header);
    hash128_stream_free(o.hash);
    return rc;
}

/* ---- reading ---- */

static int corrupt(struct undine_err *err, const char *name, const char *why)
{
    return undine_err_set(err, UNDINE_ECORRUPT, "tensor `%s`: %s", name, why);
}

static int parse_type(struct safetensors_tensor *t, const json_t *o, struct undine_err *err)
{
    const char *text = json_string_value(json_object_get(o, "dtype"));
    for (size_t i = 0; text != NULL && i < sizeof TYPES / sizeof TYPES[0]; i++) {
        if (strcmp(text, TYPES[i].name) == 0) {
            t->type = (enum safetensors_type)i;
            return UNDINE_OK;
        }
    }
    return corrupt(err, t->name, "its `dtype` is missing or none of F32 F64 U64 U32 U8 I64");
}

/* The i-th number of a list, -1 where it is no integer >= 0. */
static int64_t list_number(const json_t *list, size_t i)
{
    const json_t *v = json_array_get(list, i);
    return json_is_integer(v) && json_integer_value(v) >= 0 ? (int64_t)json_integer_value(v) : -1;
}

static int parse_shape(struct safetensors_tensor *t, const json_t *o, uint64_t *bytes,
                       struct undine_err *err)
{
    const json_t *shape = json_object_get(o, "shape");
    size_t n = json_array_size(shape);
    int64_t rows = list_number(shape, 0), cols = n == 2 ? list_number(shape, 1) : 1;
    if (n < 1 || n > 2 || rows < 0 || cols < 1) {
        return corrupt(err, t->name, "its `shape` is not one or two sizes");
    }
    t->rows = (uint64_t)rows;
    t->cols = n == 2 ? (uint64_t)cols : 0;
    uint64_t count;
    if (__builtin_mul_overflow((uint64_t)rows, (uint64_t)cols, &count) ||
        __builtin_mul_overflow(count, TYPES[t->type].bytes, bytes)) {
        return corrupt(err, t->name, "its `shape` is larger than any file");
    }
    return UNDINE_OK;
}

static int parse_tensor(struct safetensors_tensor *t, const char *name, const json_t *o,
                        const uint8_t *data, uint64_t data_len, struct undine_err *err)
{
    size_t name_len = strlen(name);
    if (name_len >= sizeof t->name) {
        return undine_err_set(err, UNDINE_ECORRUPT,
                              "tensor `%.40s...`: its name has over %zu bytes", name,
                              sizeof t->name - 1);
    }
    memcpy(t->name, name, name_len + 1);
    uint64_t bytes = 0;
    int rc = parse_type(t, o, err);
    if (rc == UNDINE_OK) {
        rc = parse_shape(t, o, &bytes, err);
    }
    if (rc < 0) {
        return rc;
    }
    const json_t *offsets = json_object_get(o, "data_offsets");
    int64_t begin = list_number(offsets, 0), end = list_number(offsets, 1);
    if (json_array_size(offsets) != 2 || begin < 0 || end < begin || (uint64_t)end > data_len) {
        return corrupt(err, name, "its `data_offsets` do not lie in the file");
    }
    if ((uint64_t)(end - begin) != bytes) {
        return corrupt(err, name, "its `shape` and `data_offsets` do not agree");
    }
    t->data = data + begin;
    if ((uintptr_t)t->data % TYPES[t->type].bytes != 0) {
        return corrupt(err, name, "its data is not aligned");
    }
    return UNDINE_OK;
}

static int by_data(const void *a, const void *b)
{
    const struct safetensors_tensor *x = a, *y = b;
    if (x->data != y->data) {
        return (uintptr_t)x->data < (uintptr_t)y->data ? -1 : 1;
    }
    uint64_t x_bytes = safetensors_bytes(x), y_bytes = safetensors_bytes(y);
    return x_bytes != y_bytes ? (x_bytes < y_bytes ? -1 : 1) : strcmp(x->name, y->name);
}

/* The tensors must cover the data, each byte once. */
static int check_cover(const struct safetensors *s, const uint8_t *data, uint64_t data_len,
                       struct undine_err *err)
{
    const uint8_t *at = data;
    for (size_t i = 0; i < s->n; i++) {
        if ((const uint8_t *)s->tensor[i].data != at) {
            return corrupt(err, s->tensor[i].name, "there is a hole or an overlap before its data");
        }
        at += safetensors_bytes(&s->tensor[i]);
    }
    if (at != data + data_len) {
        return undine_err_set(err, UNDINE_ECORRUPT, "%" PRIu64 " bytes belong to no tensor",
                              data_len - (uint64_t)(at - data));
    }
    return UNDINE_OK;
}

static int parse_tensors(struct safetensors *out, json_t *root, const uint8_t *data,
                         uint64_t data_len, struct undine_err *err)
{
    struct safetensors s = {0};
    size_t n = json_object_size(root);
    if (n > SAFETENSORS_TENSORS_MAX) {
        return undine_err_set(err, UNDINE_ECORRUPT,
                              "the header has %zu members, at most %d are allowed", n,
                              SAFETENSORS_TENSORS_MAX);
    }
    s.tensor = calloc(n + 1, sizeof *s.tensor);
    if (s.tensor == NULL) {
        return no_memory(err);
    }
    int rc = UNDINE_OK;
    for (void *i = json_object_iter(root); rc == UNDINE_OK && i != NULL;
         i = json_object_iter_next(root, i)) {
        const char *name = json_object_iter_key(i);
        if (strcmp(name, "__metadata__") != 0) {
            rc = parse_tensor(&s.tensor[s.n++], name, json_object_iter_value(i), data, data_len,
                              err);
        }
    }
    if (rc == UNDINE_OK) {
        qsort(s.tensor, s.n, sizeof *s.tensor, by_data);
        rc = check_cover(&s, data, data_len, err);
    }
    if (rc < 0) {
        safetensors_release(&s);
        return rc;
    }
    *out = s;
    return UNDINE_OK;
}

int safetensors_parse(struct safetensors *out, const void *data, size_t len, struct undine_err *err)
{
    UNDINE_ASSERT((uintptr_t)data % LENGTH_BYTES == 0);
    struct reader r = reader_of(data, len);
    uint64_t header_len = reader_u64(&r);
    if (r.bad || header_len > reader_left(&r) || header_len > SAFETENSORS_HEADER_MAX) {
        return undine_err_set(err, UNDINE_ECORRUPT,
                              "its %zu bytes cannot hold a header of %" PRIu64 " bytes", len,
                              header_len);
    }
    const char *header = (const char *)reader_bytes(&r, (size_t)header_len);
    json_t *root = NULL;
    int rc = header_len > 0 && header[0] == '{'
                 ? json_text_parse(&root, header, (size_t)header_len, err)
                 : UNDINE_ECORRUPT;
    if (rc == UNDINE_ENOMEM) {
        return rc;
    }
    if (rc < 0) {
        return undine_err_set(err, UNDINE_ECORRUPT, "its header is no JSON object of its own");
    }
    rc = parse_tensors(out, root, r.at, reader_left(&r), err);
    json_decref(root);
    return rc;
}

void safetensors_release(struct safetensors *s)
{
    if (s != NULL) {
        free(s->tensor);
        *s = (struct safetensors){0};
    }
}

const struct safetensors_tensor *safetensors_find(const struct safetensors *s, const char *name)
{
    for (size_t i = 0; i < s->n; i++) {
        if (strcmp(s->tensor[i].name, name) == 0) {
            return &s->tensor[i];
        }
    }
    return NULL;
}
