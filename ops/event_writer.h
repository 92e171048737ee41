/* event_writer.h: makes event lines (docs/events.md) and hands them on in the order of their time.
 *
 *     event_begin(w, "impression", time_ms, user);
 *     event_text(w, "id", "r17");
 *     event_group(w, "candidate"); event_text(w, "video", "5"); event_group_end(w);
 *     rc = event_end(w, err);
 *     rc = event_release(w, time_ms, err);
 *
 * A line waits until event_release passes its time; lines of one time keep the order in which they
 * were made.  So a click can be made together with its impression.  Memory: the lines that wait.
 * One thread at a time. */
#ifndef UNDINE_OPS_EVENT_WRITER_H
#define UNDINE_OPS_EVENT_WRITER_H

#include "base/err.h"
#include "featurestore/event.h"

#include <stdio.h>

/* One finished line; borrowed for the call. */
struct event_line {
    enum event_kind kind;
    int64_t time_ms;
    const char *user; /* key of the message; "" where the event names none */
    const char *text; /* JSON and a newline */
    size_t len;
};
typedef int (*event_sink_fn)(void *payload, const struct event_line *line, struct undine_err *err);

struct event_writer;
int event_writer_open(struct event_writer **out, event_sink_fn sink, void *payload,
                      struct undine_err *err);
void event_writer_close(struct event_writer *w); /* drops what waits */
/* A sink for files: payload is a FILE.  A failed write shows when the file is closed. */
int event_sink_file(void *payload, const struct event_line *line, struct undine_err *err);

/* user may be NULL (a click by impression id). */
void event_begin(struct event_writer *w, enum event_kind kind, int64_t time_ms, const char *user);
/* A missing value (NULL or "") is left out. */
void event_text(struct event_writer *w, const char *name, const char *value);
/* n values as an array, one as a text, none left out; cuts `values` at separator. */
void event_texts(struct event_writer *w, const char *name, const char *values, char separator);
void event_group(struct event_writer *w, const char *name);
void event_group_end(struct event_writer *w);
int event_end(struct event_writer *w, struct undine_err *err);

/* Hand on every line with time <= time_ms.  Returns the sink's first error. */
int event_release(struct event_writer *w, int64_t time_ms, struct undine_err *err);

struct event_counts {
    uint64_t made[EVENT_KINDS];
    uint64_t lines; /* handed on */
    uint64_t waiting;
};
const struct event_counts *event_counts_of(const struct event_writer *w);
/* `"impressions":1,"clicks":...` for reports. */
void event_counts_print(FILE *out, const struct event_writer *w);

#endif
