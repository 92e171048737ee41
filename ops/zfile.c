#include "ops/zfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

enum { BUFFER_BYTES = 1 << 17, LEVEL = 3 };

/* One direction of a compressed stream; the other context is NULL. */
struct zfile {
    FILE *file;
    ZSTD_DCtx *reading;
    ZSTD_CCtx *writing;
    ZSTD_inBuffer in; /* reading: in buffer */
    bool frame_open;  /* reading: the data so far ends within a frame */
    uint8_t buffer[BUFFER_BYTES];
};

static void zfile_free(struct zfile *z)
{
    (void)ZSTD_freeDCtx(z->reading);
    (void)ZSTD_freeCCtx(z->writing);
    free(z);
}

/* Cookie functions report with errno: EBADMSG = the compressed data is damaged. */
static ssize_t read_compressed(void *cookie, char *data, size_t len)
{
    struct zfile *z = cookie;
    ZSTD_outBuffer out = {data, len, 0};
    while (out.pos == 0) {
        if (z->in.pos == z->in.size) {
            size_t n = fread(z->buffer, 1, sizeof z->buffer, z->file);
            if (n == 0 && ferror(z->file) != 0) {
                return -1;
            }
            if (n == 0 && !z->frame_open) {
                return 0;
            }
            if (n == 0) {
                errno = EBADMSG;
                return -1;
            }
            z->in = (ZSTD_inBuffer){z->buffer, n, 0};
        }
        size_t hint = ZSTD_decompressStream(z->reading, &out, &z->in);
        if (ZSTD_isError(hint)) {
            errno = EBADMSG;
            return -1;
        }
        z->frame_open = hint != 0;
    }
    return (ssize_t)out.pos;
}

static bool compress(struct zfile *z, const char *data, size_t len, ZSTD_EndDirective end)
{
    ZSTD_inBuffer in = {data, len, 0};
    size_t left;
    do {
        ZSTD_outBuffer out = {z->buffer, sizeof z->buffer, 0};
        left = ZSTD_compressStream2(z->writing, &out, &in, end);
        if (ZSTD_isError(left) || fwrite(z->buffer, 1, out.pos, z->file) != out.pos) {
            errno = errno != 0 ? errno : EIO;
            return false;
        }
    } while (end == ZSTD_e_end ? left != 0 : in.pos < in.size);
    return true;
}

static ssize_t write_compressed(void *cookie, const char *data, size_t len)
{
    return compress(cookie, data, len, ZSTD_e_continue) ? (ssize_t)len : 0;
}

static int close_compressed(void *cookie)
{
    struct zfile *z = cookie;
    bool ok = z->writing == NULL || compress(z, NULL, 0, ZSTD_e_end);
    ok = fclose(z->file) == 0 && ok;
    zfile_free(z);
    return ok ? 0 : -1;
}

static FILE *wrap(FILE *file, bool write)
{
    struct zfile *z = calloc(1, sizeof *z);
    if (z == NULL) {
        return NULL;
    }
    z->file = file;
    z->reading = write ? NULL : ZSTD_createDCtx();
    z->writing = write ? ZSTD_createCCtx() : NULL;
    cookie_io_functions_t io = {.read = write ? NULL : read_compressed,
                                .write = write ? write_compressed : NULL,
                                .close = close_compressed};
    bool ok = write ? z->writing != NULL && !ZSTD_isError(ZSTD_CCtx_setParameter(
                                                z->writing, ZSTD_c_compressionLevel, LEVEL))
                    : z->reading != NULL;
    FILE *f = ok ? fopencookie(z, write ? "w" : "r", io) : NULL;
    if (f == NULL) {
        zfile_free(z);
    }
    return f;
}

static FILE *open_plain(const char *path, bool write)
{
    if (strcmp(path, "-") == 0) { /* a copy, so that closing it closes nothing of the process */
        int fd = dup(write ? STDOUT_FILENO : STDIN_FILENO);
        return fd >= 0 ? fdopen(fd, write ? "w" : "r") : NULL;
    }
    return fopen(path, write ? "we" : "re");
}

static FILE *open_any(const char *path, bool write, struct undine_err *err)
{
    size_t len = strlen(path);
    FILE *plain = open_plain(path, write);
    if (plain == NULL) {
        (void)undine_err_sys(err, UNDINE_EIO, errno, "%s: open", path);
        return NULL;
    }
    if (len < 4 || strcmp(path + len - 4, ".zst") != 0) {
        return plain;
    }
    FILE *f = wrap(plain, write);
    if (f == NULL) {
        (void)fclose(plain);
        (void)undine_err_set(err, UNDINE_ENOMEM, "%s: out of memory", path);
    }
    return f;
}

FILE *zfile_read(const char *path, struct undine_err *err)
{
    return open_any(path, false, err);
}

FILE *zfile_write(const char *path, struct undine_err *err)
{
    return open_any(path, true, err);
}

int zfile_close(FILE *f, const char *path, struct undine_err *err)
{
    if (f == NULL) {
        return UNDINE_OK;
    }
    int reason = ferror(f) == 0 ? 0 : errno != 0 ? errno : EIO;
    errno = 0;
    if (fclose(f) != 0 && reason == 0) {
        reason = errno != 0 ? errno : EIO;
    }
    if (reason == EBADMSG) {
        return undine_err_set(err, UNDINE_ECORRUPT,
                              "%s: the compressed data is damaged or cut short", path);
    }
    return reason == 0 ? UNDINE_OK : undine_err_sys(err, UNDINE_EIO, reason, "%s", path);
}
