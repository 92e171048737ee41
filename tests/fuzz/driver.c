/* driver.c: runs a fuzz target as an ordinary test, with any compiler: every file of the corpora,
 * then deterministic mutations of them.  An input that ends the process is left in
 * $TMPDIR/crash-NAME.bin.
 *
 * usage: fuzz_X [--runs N] [--seed N] [FILE or FOLDER...] */
#include "base/random.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { INPUTS_MAX = 4096, INPUT_BYTES_MAX = 1 << 17, RUNS_DEFAULT = 20000, CHANGES_MAX = 6 };

struct input {
    uint8_t *data;
    size_t len;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct input inputs[INPUTS_MAX];
static size_t n_inputs;
static struct input running; /* what a crash is about */
static char crash_file[256];

static void save_running(void)
{
    int fd = open(crash_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd >= 0) {
        ssize_t n = write(fd, running.data, running.len);
        (void)n;
        (void)close(fd);
    }
}

static void on_crash(int sig)
{
    save_running();
    (void)signal(sig, SIG_DFL);
    (void)raise(sig);
}

/* Sanitizers end the process without a signal. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void run(const uint8_t *data, size_t len)
{
    /* A copy of its own size, so that a sanitizer sees the first byte read beyond it. */
    uint8_t *copy = malloc(len > 0 ? len : 1);
    if (copy == NULL) {
        (void)fprintf(stderr, "no memory\n");
        exit(1);
    }
    if (len > 0) {
        memcpy(copy, data, len);
    }
    running = (struct input){.data = copy, .len = len};
    (void)LLVMFuzzerTestOneInput(copy, len);
    running = (struct input){0};
    free(copy);
}

static int add_input(const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    if (copy == NULL || n_inputs == INPUTS_MAX) {
        (void)fprintf(stderr, "more than %d inputs, or no memory\n", INPUTS_MAX);
        free(copy);
        return -1;
    }
    if (len > 0) {
        memcpy(copy, data, len);
    }
    inputs[n_inputs++] = (struct input){.data = copy, .len = len};
    return 0;
}

static int add_file(const char *path)
{
    static uint8_t buffer[INPUT_BYTES_MAX];
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        (void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    size_t len = fread(buffer, 1, sizeof buffer, f);
    (void)fclose(f);
    return add_input(buffer, len);
}

static int add_path(const char *path)
{
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode)) {
        return add_file(path);
    }
    struct dirent **names = NULL;
    int n = scandir(path, &names, NULL, alphasort);
    int rc = n < 0 ? -1 : 0;
    for (int i = 0; i < n; i++) {
        char file[4096];
        (void)snprintf(file, sizeof file, "%s/%s", path, names[i]->d_name);
        if (rc == 0 && names[i]->d_name[0] != '.') {
            rc = add_file(file);
        }
        free(names[i]);
    }
    free(names);
    if (n < 0) {
        (void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
    }
    return rc;
}

static size_t below(struct random *r, size_t n)
{
    return n == 0 ? 0 : (size_t)random_below(r, n);
}

static void move_tail(uint8_t *data, size_t *len, size_t from, size_t to)
{
    memmove(data + to, data + from, *len - from);
    *len = *len - from + to;
}

/* One change in place; data has room for INPUT_BYTES_MAX bytes. */
static void mutate(struct random *r, uint8_t *data, size_t *len)
{
    static const uint64_t edges[] = {0,         1,      0x7f,       0x80,       0xff,
                                     0x7fff,    0xffff, 0x7fffffff, 0xffffffff, 0x7fffffffffffffff,
                                     UINT64_MAX};
    size_t at = below(r, *len), n = 1 + below(r, 16);
    const struct input *other = &inputs[below(r, n_inputs)];
    switch (below(r, 7)) {
    case 0: /* a bit */
        data[at] = (uint8_t)(data[at] ^ (*len > 0 ? 1U << below(r, 8) : 0));
        return;
    case 1: /* a byte */
        data[at] = *len > 0 ? (uint8_t)random_u64(r) : 0;
        return;
    case 2: { /* a number at an edge, in 1, 2, 4 or 8 bytes */
        size_t width = (size_t)1 << below(r, 4);
        if (at + width <= *len) {
            memcpy(data + at, &edges[below(r, sizeof edges / sizeof edges[0])], width);
        }
        return;
    }
    case 3: /* cut the end off */
        *len = at;
        return;
    case 4: /* take some bytes out */
        move_tail(data, len, at + n < *len ? at + n : *len, at);
        return;
    case 5: /* repeat some bytes */
        if (at + n <= *len && *len + n <= INPUT_BYTES_MAX) {
            move_tail(data, len, at, at + n);
        }
        return;
    default: { /* go on as another input does */
        size_t from = below(r, other->len), rest = other->len - from;
        if (at + rest <= INPUT_BYTES_MAX) {
            memcpy(data + at, other->data + from, rest);
            *len = at + rest;
        }
        return;
    }
    }
}

static void run_mutations(uint64_t seed, long runs)
{
    static uint8_t data[INPUT_BYTES_MAX];
    struct random r = {.state = seed};
    for (long i = 0; i < runs; i++) {
        const struct input *base = &inputs[below(&r, n_inputs)];
        size_t len = base->len, changes = 1 + below(&r, CHANGES_MAX);
        memcpy(data, base->data, len);
        for (size_t c = 0; c < changes; c++) {
            mutate(&r, data, &len);
        }
        run(data, len);
    }
}

int main(int argc, char **argv)
{
    long runs = RUNS_DEFAULT;
    uint64_t seed = 1;
    const char *name = strrchr(argv[0], '/');
    const char *folder = getenv("TMPDIR");
    (void)snprintf(crash_file, sizeof crash_file, "%s/crash-%s.bin",
                   folder != NULL ? folder : "/tmp", name != NULL ? name + 1 : argv[0]);
    static const uint8_t zeros[64];
    int rc = add_input(zeros, 0) | add_input(zeros, sizeof zeros);
    for (int i = 1; i < argc && rc == 0; i++) {
        if (strcmp(argv[i], "--runs") == 0 && i + 1 < argc) {
            runs = strtol(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            seed = strtoull(argv[++i], NULL, 10);
        } else {
            rc = add_path(argv[i]);
        }
    }
    if (rc != 0) {
        return 1;
    }
    (void)signal(SIGABRT, on_crash);
    (void)signal(SIGSEGV, on_crash);
    if (__sanitizer_set_death_callback != NULL) {
        __sanitizer_set_death_callback(save_running);
    }
    for (size_t i = 0; i < n_inputs; i++) {
        run(inputs[i].data, inputs[i].len);
    }
    run_mutations(seed, runs);
    (void)printf("%zu inputs, %ld mutations, seed %llu\n", n_inputs, runs,
                 (unsigned long long)seed);
    for (size_t i = 0; i < n_inputs; i++) {
        free(inputs[i].data);
    }
    return 0;
}
