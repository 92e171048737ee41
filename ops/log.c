#include "ops/log.h"

#include "base/clock.h"
#include "base/hash.h"

#include <ctype.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

enum { LOG_KEYS = 256, LOG_SUBSYSTEM_MAX = 24, LOG_STATUS_MAX = 512 };

static const char *const LOG_CONTEXTS[] = {"ingest",    "kafka", "store",  "learner",
                                           "publisher", "http",  "scorer", "demo"};
enum { N_LOG_CONTEXTS = sizeof LOG_CONTEXTS / sizeof LOG_CONTEXTS[0] };

struct log_key { /* the lines of one subsystem and message */
    uint64_t hash;
    int64_t period_start_ms;
    uint32_t written, held_back;
    char subsystem[LOG_SUBSYSTEM_MAX];
};

static struct {
    pthread_mutex_t mutex; /* guards everything here */
    FILE *out;             /* NULL = stderr */
    enum log_level highest;
    uint32_t debug; /* bit i: LOG_CONTEXTS[i] */
    char status[LOG_STATUS_MAX];
    struct log_key keys[LOG_KEYS]; /* by hash; a newcomer takes the place of an older one */
} g_log = {.mutex = PTHREAD_MUTEX_INITIALIZER, .highest = LOG_LEVEL_INFO};

struct line {
    char text[LOG_LINE_MAX];
    size_t len;
    bool cut; /* something did not fit */
};

static void line_bytes(struct line *l, const char *text, size_t len)
{
    size_t room = sizeof l->text - 1 - l->len; /* one for the newline */
    size_t n = len < room ? len : room;
    memcpy(l->text + l->len, text, n);
    l->len += n;
    l->cut = l->cut || n < len;
}

static void line_str(struct line *l, const char *text)
{
    line_bytes(l, text, strlen(text));
}

static bool needs_quotes(const char *value)
{
    if (*value == '\0') {
        return true;
    }
    for (const char *p = value; *p != '\0'; p++) {
        if ((unsigned char)*p <= ' ' || *p == '"' || *p == '=' || *p == '\\' || *p == 0x7f) {
            return true;
        }
    }
    return false;
}

static void line_text(struct line *l, const char *value)
{
    if (!needs_quotes(value)) {
        line_str(l, value);
        return;
    }
    line_str(l, "\"");
    for (const char *p = value; *p != '\0'; p++) {
        char escaped[8];
        if (*p == '"' || *p == '\\') {
            (void)snprintf(escaped, sizeof escaped, "\\%c", *p);
        } else if (*p == '\n') {
            (void)snprintf(escaped, sizeof escaped, "\\n");
        } else if ((unsigned char)*p < ' ' || *p == 0x7f) {
            (void)snprintf(escaped, sizeof escaped, "\\x%02x", (unsigned)(unsigned char)*p);
        } else {
            (void)snprintf(escaped, sizeof escaped, "%c", *p);
        }
        line_str(l, escaped);
    }
    line_str(l, "\"");
}

static void line_field(struct line *l, const struct log_field *f)
{
    char number[40];
    line_str(l, " ");
    line_str(l, f->key);
    line_str(l, "=");
    switch (f->type) {
    case LOG_TYPE_TEXT:
        line_text(l, f->text != NULL ? f->text : "");
        return;
    case LOG_TYPE_INT:
        (void)snprintf(number, sizeof number, "%" PRId64, f->integer);
        break;
    case LOG_TYPE_REAL:
        (void)snprintf(number, sizeof number, "%.6g", f->real);
        break;
    }
    line_str(l, number);
}

static const char *level_name(enum log_level level)
{
    switch (level) {
    case LOG_LEVEL_WARN:
        return "warn";
    case LOG_LEVEL_INFO:
        return "info";
    case LOG_LEVEL_DEBUG:
        return "debug";
    case LOG_LEVEL_ERROR:
    default:
        return "error";
    }
}

static void line_begin(struct line *l, enum log_level level, const char *subsystem)
{
    int64_t now_ms = clock_realtime_ms();
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm utc;
    char stamp[32], head[64];
    (void)gmtime_r(&seconds, &utc);
    (void)strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(head, sizeof head, "ts=%s.%03dZ level=", stamp, (int)(now_ms % 1000));
    l->len = 0;
    l->cut = false;
    line_str(l, head);
    line_str(l, level_name(level));
    line_str(l, " subsystem=");
    line_text(l, subsystem);
}

/* With the mutex held.  One write a line, so that lines of several processes do not mix. */
static void emit(struct line *l)
{
    FILE *out = g_log.out != NULL ? g_log.out : stderr;
    if (l->cut) {
        memcpy(l->text + l->len - 3, "...", 3);
    }
    l->text[l->len++] = '\n';
    if (g_log.status[0] != '\0') {
        (void)fputs("\r\033[K", out);
    }
    (void)fwrite(l->text, 1, l->len, out);
    (void)fputs(g_log.status, out);
    (void)fflush(out);
}

/* Digits do not tell messages apart: "offset 17 is gone" and "offset 18 is gone" are one kind. */
static uint64_t message_hash(const char *subsystem, const char *message)
{
    char kind[256];
    size_t n = 0;
    for (const char *p = message; *p != '\0' && n < sizeof kind; p++) {
        if (!isdigit((unsigned char)*p)) {
            kind[n++] = *p;
        }
    }
    return hash_bytes_seeded(kind, n, hash_bytes(subsystem, strlen(subsystem))) | 1;
}

static void tell_held_back(struct log_key *k)
{
    struct line l;
    line_begin(&l, LOG_LEVEL_WARN, k->subsystem);
    struct log_field msg = log_msg("similar lines were held back"),
                     n = log_int("held_back", k->held_back);
    line_field(&l, &msg);
    line_field(&l, &n);
    emit(&l);
    k->held_back = 0;
}

/* May this line be written now?  *held_back = lines of its kind that were not, since the last one.
 */
static bool key_allows(uint64_t hash, const char *subsystem, uint32_t *held_back)
{
    struct log_key *k = &g_log.keys[hash % LOG_KEYS];
    int64_t now_ms = clock_monotonic_ns() / 1000000;
    *held_back = 0;
    if (k->hash != hash) {
        if (k->held_back > 0) {
            tell_held_back(k);
        }
        *k = (struct log_key){.hash = hash, .period_start_ms = now_ms};
        (void)snprintf(k->subsystem, sizeof k->subsystem, "%s", subsystem);
    } else if (now_ms - k->period_start_ms >= LOG_PERIOD_MS) {
        k->period_start_ms = now_ms;
        k->written = 0;
    }
    if (k->written >= LOG_BURST) {
        k->held_back++;
        return false;
    }
    k->written++;
    *held_back = k->held_back;
    k->held_back = 0;
    return true;
}

/* With the mutex held. */
static bool level_wanted(enum log_level level, const char *subsystem)
{
    if (level < LOG_LEVEL_DEBUG) {
        return level <= g_log.highest;
    }
    for (size_t i = 0; i < N_LOG_CONTEXTS; i++) {
        if ((g_log.debug >> i & 1U) != 0 && strcmp(LOG_CONTEXTS[i], subsystem) == 0) {
            return true;
        }
    }
    return false;
}

void log_line(enum log_level level, const char *subsystem, const struct log_field *fields)
{
    const char *message =
        fields[0].key != NULL && fields[0].type == LOG_TYPE_TEXT && fields[0].text != NULL
            ? fields[0].text
            : "";
    uint32_t held_back;
    (void)pthread_mutex_lock(&g_log.mutex);
    if (level_wanted(level, subsystem) &&
        key_allows(message_hash(subsystem, message), subsystem, &held_back)) {
        struct line l;
        line_begin(&l, level, subsystem);
        for (const struct log_field *f = fields; f->key != NULL; f++) {
            line_field(&l, f);
        }
        if (held_back > 0) {
            struct log_field n = log_int("held_back", held_back);
            line_field(&l, &n);
        }
        emit(&l);
    }
    (void)pthread_mutex_unlock(&g_log.mutex);
}

void log_text(void *payload, int level, const char *subsystem, const char *text)
{
    (void)payload;
    /* Syslog has more levels than we do: notice (5) is info, everything graver than an error is
     * one. */
    enum log_level ours = level <= LOG_LEVEL_ERROR  ? LOG_LEVEL_ERROR
                          : level == LOG_LEVEL_WARN ? LOG_LEVEL_WARN
                          : level <= LOG_LEVEL_INFO ? LOG_LEVEL_INFO
                                                    : LOG_LEVEL_DEBUG;
    log_line(ours, subsystem, LOG_FIELDS(log_msg(text)));
}

void log_init(FILE *out, enum log_level highest)
{
    (void)pthread_mutex_lock(&g_log.mutex);
    g_log.out = out;
    g_log.highest = highest;
    g_log.debug = 0;
    memset(g_log.keys, 0, sizeof g_log.keys);
    (void)pthread_mutex_unlock(&g_log.mutex);
}

void log_close(void)
{
    (void)pthread_mutex_lock(&g_log.mutex);
    for (size_t i = 0; i < LOG_KEYS; i++) {
        if (g_log.keys[i].held_back > 0) {
            tell_held_back(&g_log.keys[i]);
        }
    }
    (void)pthread_mutex_unlock(&g_log.mutex);
}

static int context_bits(const char *name, size_t len, uint32_t *out, struct undine_err *err)
{
    char word[LOG_SUBSYSTEM_MAX];
    (void)snprintf(word, sizeof word, "%.*s", (int)(len < sizeof word ? len : sizeof word), name);
    if (strcmp(word, "all") == 0) {
        *out = (1U << N_LOG_CONTEXTS) - 1;
        return UNDINE_OK;
    }
    char known[256] = "all";
    for (size_t i = 0; i < N_LOG_CONTEXTS; i++) {
        if (strcmp(word, LOG_CONTEXTS[i]) == 0) {
            *out = 1U << i;
            return UNDINE_OK;
        }
        size_t known_len = strlen(known);
        (void)snprintf(known + known_len, sizeof known - known_len, ", %s", LOG_CONTEXTS[i]);
    }
    return undine_err_set(err, UNDINE_EINVAL, "no debug context `%s`; there are %s", word, known);
}

int log_debug_contexts(const char *list, struct undine_err *err)
{
    uint32_t all = 0;
    for (const char *at = list; *at != '\0';) {
        size_t len = strcspn(at, ",");
        uint32_t bits = 0;
        int rc = len > 0 ? context_bits(at, len, &bits, err) : UNDINE_OK;
        if (rc < 0) {
            return rc;
        }
        all |= bits;
        at += len + (at[len] == ',');
    }
    (void)pthread_mutex_lock(&g_log.mutex);
    g_log.debug = all;
    (void)pthread_mutex_unlock(&g_log.mutex);
    return UNDINE_OK;
}

bool log_debugs(const char *subsystem)
{
    (void)pthread_mutex_lock(&g_log.mutex);
    bool wanted = level_wanted(LOG_LEVEL_DEBUG, subsystem);
    (void)pthread_mutex_unlock(&g_log.mutex);
    return wanted;
}

void log_status_line(const char *text)
{
    (void)pthread_mutex_lock(&g_log.mutex);
    FILE *out = g_log.out != NULL ? g_log.out : stderr;
    (void)snprintf(g_log.status, sizeof g_log.status, "%s", text != NULL ? text : "");
    (void)fprintf(out, "\r\033[K%s", g_log.status);
    (void)fflush(out);
    (void)pthread_mutex_unlock(&g_log.mutex);
}
