/* Bytes as a document of score requests.  Whatever is taken is JSON for another parser as well, and
 * all of it can be read; what is refused is refused with words, and its pointer is a JSON pointer.
 */
#include "ops/score_json.h"

#include <jansson.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t read_features(const struct undine_features *in)
{
    size_t sum = 0;
    for (size_t i = 0; i < in->n_features; i++) {
        sum += strlen(in->features[i].field);
        for (size_t k = 0; k < in->features[i].n_values; k++) {
            const struct undine_value *v = &in->features[i].values[k];
            for (size_t b = 0; b < v->len; b++) {
                sum += (unsigned char)v->data[b];
            }
        }
    }
    return sum;
}

static size_t read_request(const struct undine_request *r)
{
    size_t sum = read_features(&r->user) + read_features(&r->context) + r->user_id.len;
    for (size_t i = 0; i < r->n_candidates; i++) {
        sum += read_features(&r->candidates[i]);
    }
    for (size_t i = 0; i < r->n_sequences; i++) {
        sum += strlen(r->sequences[i].name);
        for (size_t k = 0; k < r->sequences[i].n_steps; k++) {
            sum += read_features(&r->sequences[i].steps[k]);
        }
    }
    return sum;
}

static void check_taken(const uint8_t *data, size_t size)
{
    json_error_t why;
    json_t *o = json_loadb((const char *)data, size, JSON_ALLOW_NUL, &why);
    UNDINE_ASSERT(o != NULL || strstr(why.text, "too big") != NULL);
    json_decref(o);
}

static void check_refused(const struct score_json *s, const struct undine_err *err)
{
    UNDINE_ASSERT(err->msg[0] != '\0');
    UNDINE_ASSERT(s->pointer[0] == '\0' || s->pointer[0] == '/');
    for (const char *p = strchr(s->pointer, '~'); p != NULL; p = strchr(p + 1, '~')) {
        UNDINE_ASSERT(p[1] == '0' || p[1] == '1');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct score_json s;
    struct undine_err err = {0};
    score_json_init(&s);
    s.takes_time = true;
    s.candidates_max = 100;
    s.requests_max = 50;
    volatile size_t sum = 0;
    int n = score_json_load(&s, (const char *)data, size, &err);
    if (n >= 0) {
        check_taken(data, size);
    } else {
        check_refused(&s, &err);
    }
    for (int i = 0; i < n; i++) {
        int rc = score_json_take(&s, (size_t)i, &err);
        if (rc == UNDINE_OK) {
            sum = sum + read_request(&s.request);
        } else {
            check_refused(&s, &err);
        }
    }
    score_json_release(&s);
    return 0;
}
