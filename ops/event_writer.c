#include "ops/event_writer.h"

#include "base/bytes.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct waiting {
    int64_t time_ms;
    uint64_t number; /* in the order of making */
    enum event_kind kind;
    uint32_t user_len, len;
    char *text; /* user, NUL, line */
};

struct event_writer {
    event_sink_fn sink;
    void *payload;
    struct waiting *heap; /* smallest (time, number) first */
    size_t n, capacity;
    struct writer text; /* the line in the making, user and NUL in front */
    struct waiting head;
    bool first; /* no member in the open object yet */
    struct event_counts counts;
};

/* ---- JSON ---- */

static void put(struct event_writer *w, const char *text)
{
    writer_bytes(&w->text, text, strlen(text));
}

static void put_string(struct event_writer *w, const char *text, size_t len)
{
    put(w, "\"");
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        char escaped[8];
        if (c == '"' || c == '\\') {
            (void)snprintf(escaped, sizeof escaped, "\\%c", c);
            put(w, escaped);
        } else if (c < 0x20) {
            (void)snprintf(escaped, sizeof escaped, "\\u%04x", c);
            put(w, escaped);
        } else {
            writer_u8(&w->text, c);
        }
    }
    put(w, "\"");
}

static void put_name(struct event_writer *w, const char *name)
{
    put(w, w->first ? "" : ",");
    w->first = false;
    put_string(w, name, strlen(name));
    put(w, ":");
}

void event_begin(struct event_writer *w, enum event_kind kind, int64_t time_ms, const char *user)
{
    char time[24];
    writer_clear(&w->text);
    w->head = (struct waiting){.time_ms = time_ms,
                               .number = w->head.number + 1,
                               .kind = kind,
                               .user_len = user != NULL ? (uint32_t)strlen(user) : 0};
    writer_bytes(&w->text, user, w->head.user_len);
    writer_u8(&w->text, 0);
    put(w, "{");
    w->first = true;
    put_name(w, "kind");
    put_string(w, event_kind_names[kind], strlen(event_kind_names[kind]));
    put_name(w, "time");
    (void)snprintf(time, sizeof time, "%" PRId64, time_ms);
    put(w, time);
    event_text(w, "user", user);
}

void event_text(struct event_writer *w, const char *name, const char *value)
{
    if (value != NULL && value[0] != '\0') {
        put_name(w, name);
        put_string(w, value, strlen(value));
    }
}

void event_texts(struct event_writer *w, const char *name, const char *values, char separator)
{
    size_t n = 0;
    const char *next = NULL;
    if (strchr(values, separator) == NULL) {
        event_text(w, name, values);
        return;
    }
    for (const char *p = values; p != NULL; p = next) {
        const char *end = strchr(p, separator);
        size_t len = end != NULL ? (size_t)(end - p) : strlen(p);
        next = end != NULL ? end + 1 : NULL;
        if (len == 0) {
            continue;
        }
        if (n++ == 0) {
            put_name(w, name);
            put(w, "[");
        } else {
            put(w, ",");
        }
        put_string(w, p, len);
    }
    put(w, n > 0 ? "]" : "");
}

void event_group(struct event_writer *w, const char *name)
{
    put_name(w, name);
    put(w, "{");
    w->first = true;
}

void event_group_end(struct event_writer *w)
{
    put(w, "}");
    w->first = false;
}

/* ---- the heap ---- */

static bool before(const struct waiting *a, const struct waiting *b)
{
    return a->time_ms != b->time_ms ? a->time_ms < b->time_ms : a->number < b->number;
}

static void heap_push(struct event_writer *w, struct waiting x)
{
    size_t i = w->n++;
    while (i > 0 && before(&x, &w->heap[(i - 1) / 2])) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = x;
}

static struct waiting heap_pop(struct event_writer *w)
{
    struct waiting top = w->heap[0], last = w->heap[--w->n];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < w->n && before(&w->heap[child + 1], &w->heap[child])) {
            child++;
        }
        if (child >= w->n || !before(&w->heap[child], &last)) {
            break;
        }
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return top;
}

static bool heap_reserve(struct event_writer *w)
{
    if (w->n < w->capacity) {
        return true;
    }
    size_t capacity = w->capacity > 0 ? 2 * w->capacity : 1024;
    struct waiting *heap = reallocarray(w->heap, capacity, sizeof *heap);
    if (heap == NULL) {
        return false;
    }
    w->heap = heap;
    w->capacity = capacity;
    return true;
}

int event_end(struct event_writer *w, struct undine_err *err)
{
    put(w, "}\n");
    char *copy = w->text.bad || w->text.len > UINT32_MAX ? NULL : malloc(w->text.len);
    if (copy == NULL || !heap_reserve(w)) {
        free(copy);
        return undine_err_set(err, UNDINE_ENOMEM, "out of memory with %zu events waiting", w->n);
    }
    memcpy(copy, w->text.data, w->text.len);
    w->head.text = copy;
    w->head.len = (uint32_t)w->text.len;
    heap_push(w, w->head);
    w->counts.made[w->head.kind]++;
    w->counts.waiting = w->n;
    return UNDINE_OK;
}

int event_release(struct event_writer *w, int64_t time_ms, struct undine_err *err)
{
    int rc = UNDINE_OK;
    while (rc == UNDINE_OK && w->n > 0 && w->heap[0].time_ms <= time_ms) {
        struct waiting top = heap_pop(w);
        uint32_t start = top.user_len + 1;
        struct event_line line = {top.kind, top.time_ms, top.text, top.text + start,
                                  top.len - start};
        rc = w->sink(w->payload, &line, err);
        free(top.text);
        w->counts.lines += rc == UNDINE_OK;
    }
    w->counts.waiting = w->n;
    return rc;
}

/* ---- the rest ---- */

int event_sink_file(void *payload, const struct event_line *line, struct undine_err *err)
{
    if (fwrite(line->text, 1, line->len, payload) != line->len) {
        return undine_err_set(err, UNDINE_EIO, "the output cannot be written");
    }
    return UNDINE_OK;
}

int event_writer_open(struct event_writer **out, event_sink_fn sink, void *payload,
                      struct undine_err *err)
{
    struct event_writer *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "out of memory");
    }
    w->sink = sink;
    w->payload = payload;
    writer_init(&w->text);
    *out = w;
    return UNDINE_OK;
}

void event_writer_close(struct event_writer *w)
{
    if (w == NULL) {
        return;
    }
    for (size_t i = 0; i < w->n; i++) {
        free(w->heap[i].text);
    }
    free(w->heap);
    writer_release(&w->text);
    free(w);
}

const struct event_counts *event_counts_of(const struct event_writer *w)
{
    return &w->counts;
}

void event_counts_print(FILE *out, const struct event_writer *w)
{
    const struct event_counts *c = &w->counts;
    (void)fprintf(out,
                  "\"events\":%" PRIu64 ",\"impressions\":%" PRIu64 ",\"clicks\":%" PRIu64
                  ",\"behaviors\":%" PRIu64 ",\"forgets\":%" PRIu64,
                  c->lines, c->made[EVENT_IMPRESSION], c->made[EVENT_CLICK],
                  c->made[EVENT_BEHAVIOR], c->made[EVENT_FORGET]);
}
