#include "learner/model/json_text.h"

#include "base/bytes.h"
#include "learner/model/mapped_file.h"

#include <stdlib.h>

/* Jansson says "out of memory" of some allocations that it does not get, but of a string or a
 * number without memory that the text is wrong there.  Wrong text is wrong twice: so what fails is
 * read again, and believed to be wrong where there is memory for a good deal more than that takes.
 */
int json_text_parse(json_t **out, const char *text, size_t len, struct undine_err *err)
{
    enum { TRIES = 2, BYTES_A_CHARACTER = 16 };
    json_error_t why;
    for (int i = 0; i < TRIES; i++) {
        *out = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
        if (*out != NULL) {
            return UNDINE_OK;
        }
    }
    void *probe = malloc(len * BYTES_A_CHARACTER + 1);
    free(probe);
    if (probe == NULL || why.text[0] == '\0' || json_error_code(&why) == json_error_out_of_memory) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory to read %zu bytes of JSON", len);
    }
    return undine_err_set(err, UNDINE_ECORRUPT, "line %d: %s", why.line, why.text);
}

int json_text_read(json_t **out, const char *path, struct undine_err *err)
{
    struct mapped_file m = {0};
    int rc = mapped_file_open(&m, path, err);
    if (rc < 0) {
        return rc;
    }
    rc = json_text_parse(out, m.data != NULL ? (const char *)m.data : "", m.len, err);
    mapped_file_close(&m);
    return rc < 0 ? undine_err_prefix(err, "%s", path) : rc;
}

static int take(const char *piece, size_t len, void *payload)
{
    writer_bytes(payload, piece, len); /* which remembers what had no room */
    return 0;
}

char *json_text_print(const json_t *json, size_t flags)
{
    struct writer w;
    writer_init(&w);
    bool ok = json != NULL && json_dump_callback(json, take, &w, flags) == 0;
    writer_bytes(&w, "", 1);
    if (!ok || w.bad) {
        writer_release(&w);
        return NULL;
    }
    return (char *)w.data;
}
