#include "crash/wrap_plan.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Memory may be asked for before constructors run, and by any thread: nothing here allocates. */
static struct {
    int class_failing; /* -1 = none */
    uint64_t nth;
    int error;
    bool always;
    _Atomic uint64_t own[2 * WRAP_CLASS_COUNT];
    _Atomic uint64_t *counts; /* own, or a file's */
} plan;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static const char *const class_names[] = {
#define X(name, text) text,
    WRAP_CLASSES(X)
#undef X
};

static const struct {
    const char *name;
    int value;
} errors[] = {{"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EROFS", EROFS},
              {"EMFILE", EMFILE}, {"ENOMEM", ENOMEM}, {"SHORT", WRAP_SHORT}};

static size_t word(const char **text)
{
    size_t len = strcspn(*text, ":");
    *text += len;
    *text += **text == ':';
    return len;
}

static bool is(const char *word_at, size_t len, const char *name)
{
    return strlen(name) == len && memcmp(word_at, name, len) == 0;
}

static void parse(const char *text)
{
    const char *at = text;
    size_t len = word(&text);
    for (int i = 0; i < WRAP_CLASS_COUNT; i++) {
        plan.class_failing = is(at, len, class_names[i]) ? i : plan.class_failing;
    }
    plan.nth = strtoull(text, NULL, 10);
    (void)word(&text);
    at = text;
    len = word(&text);
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        plan.error = is(at, len, errors[i].name) ? errors[i].value : plan.error;
    }
    plan.always = strcmp(text, "always") == 0;
    if (plan.class_failing < 0 || plan.nth == 0 || plan.error == 0) {
        static const char complaint[] = "UNDINE_IO_FAIL: expected CLASS:NTH:ERROR[:always]\n";
        (void)!write(STDERR_FILENO, complaint, sizeof complaint - 1);
        _exit(99);
    }
}

static void start(void)
{
    plan.class_failing = -1;
    plan.counts = plan.own;
    const char *fail = getenv("UNDINE_IO_FAIL"), *count = getenv("UNDINE_IO_COUNT");
    if (fail != NULL && fail[0] != '\0') {
        parse(fail);
    }
    if (count == NULL) {
        return;
    }
    /* Straight to the kernel: these calls are wrapped themselves. */
    long fd = syscall(SYS_openat, AT_FDCWD, count, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd >= 0 && syscall(SYS_ftruncate, fd, sizeof plan.own) == 0) {
        long at =
            syscall(SYS_mmap, NULL, sizeof plan.own, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        plan.counts = at == -1 ? plan.own : (_Atomic uint64_t *)at;
    }
    (void)syscall(SYS_close, fd);
}

int wrap_plan_take(enum wrap_class c, uint64_t n)
{
    (void)pthread_once(&once, start);
    uint64_t count = atomic_fetch_add(&plan.counts[c], n) + n;
    bool fails =
        (int)c == plan.class_failing && count >= plan.nth && (plan.always || count - n < plan.nth);
    if (fails) {
        (void)atomic_fetch_add(&plan.counts[WRAP_CLASS_COUNT + c], 1);
    }
    return fails ? plan.error : 0;
}
