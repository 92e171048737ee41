#include "ops/progress.h"

#include "base/clock.h"

#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { TERMINAL_INTERVAL_MS = 200, LOG_INTERVAL_MS = 10000, WIDTH_DEFAULT = 100 };

static int64_t now_ms(void)
{
    return clock_monotonic_ns() / 1000000;
}

void progress_init(struct progress *p, const char *subsystem, bool terminal)
{
    *p = (struct progress){.subsystem = subsystem,
                           .terminal = terminal,
                           .interval_ms = terminal ? TERMINAL_INTERVAL_MS : LOG_INTERVAL_MS,
                           .shown_ms = now_ms()};
}

bool progress_on_terminal(void)
{
    return isatty(STDERR_FILENO) == 1;
}

bool progress_due(const struct progress *p)
{
    return now_ms() - p->shown_ms >= p->interval_ms;
}

static size_t terminal_width(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1) {
        return size.ws_col - 1U; /* the last column would wrap */
    }
    return WIDTH_DEFAULT;
}

/* Digits in groups of three. */
static void grouped(char *out, size_t size, int64_t value)
{
    char digits[32];
    int n = snprintf(digits, sizeof digits, "%" PRId64, value);
    size_t o = 0;
    for (int i = 0; i < n && o + 2 < size; i++) {
        out[o++] = digits[i];
        int left = n - 1 - i;
        if (left > 0 && left % 3 == 0 && digits[i] != '-') {
            out[o++] = ',';
        }
    }
    out[o] = '\0';
}

static void append(char *out, size_t size, const char *text)
{
    size_t len = strlen(out);
    (void)snprintf(out + len, size - len, "%s", text);
}

void progress_text(char *out, size_t size, const struct log_field *fields, size_t width)
{
    out[0] = '\0';
    for (const struct log_field *f = fields; f->key != NULL; f++) {
        char value[64];
        if (f != fields) {
            append(out, size, "  ");
            append(out, size, f->key);
            append(out, size, " ");
        }
        if (f->type == LOG_TYPE_TEXT) {
            append(out, size, f->text != NULL ? f->text : "");
            continue;
        }
        if (f->type == LOG_TYPE_INT) {
            grouped(value, sizeof value, f->integer);
        } else {
            (void)snprintf(value, sizeof value, "%.4g", f->real);
        }
        append(out, size, value);
    }
    if (strlen(out) > width) {
        out[width] = '\0';
    }
}

void progress_show(struct progress *p, const struct log_field *fields)
{
    p->shown_ms = now_ms();
    if (!p->terminal) {
        log_line(LOG_LEVEL_INFO, p->subsystem, fields);
        return;
    }
    char text[512];
    progress_text(text, sizeof text, fields, terminal_width());
    log_status_line(text);
}

void progress_end(struct progress *p, const struct log_field *fields)
{
    if (p->terminal) {
        log_status_line(NULL);
    }
    log_line(LOG_LEVEL_INFO, p->subsystem, fields);
}
