/* progress.h: how far a long command is, from a handful of values: one line that is rewritten on a
 * terminal, a log line every ten seconds elsewhere.  One thread. */
#ifndef UNDINE_OPS_PROGRESS_H
#define UNDINE_OPS_PROGRESS_H

#include "ops/log.h"

struct progress {
    const char *subsystem; /* borrowed */
    bool terminal;
    int64_t interval_ms, shown_ms; /* monotonic */
};

/* terminal: is stderr one? (progress_on_terminal) */
void progress_init(struct progress *p, const char *subsystem, bool terminal);
bool progress_on_terminal(void);
/* Is it time to show again?  Cheap: the caller makes the fields only then. */
bool progress_due(const struct progress *p);
/* fields: as for log_line, the first is the message. */
void progress_show(struct progress *p, const struct log_field *fields);
/* Take the line away; what was reached stays in the log. */
void progress_end(struct progress *p, const struct log_field *fields);

/* The line as text, cut to width columns.  12345678 is shown as 12,345,678. */
void progress_text(char *out, size_t size, const struct log_field *fields, size_t width);

#endif
