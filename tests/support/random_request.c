#include "tests/support/random_request.h"

#include <stdbool.h>
#include <stdio.h>

enum { STEPS_MAX = 25, VALUES_MAX = 6 };

static struct undine_value random_value(struct arena *a, struct random *r, uint32_t ids)
{
    char text[16];
    if (random_below(r, 8) == 0) {
        return (struct undine_value){.data = "", .len = 0};
    }
    int len = snprintf(text, sizeof text, "%u", (unsigned)random_below(r, ids));
    return (struct undine_value){arena_strndup(a, text, (size_t)len), (size_t)len};
}

/* One feature of at most n_max values; sometimes none. */
static struct undine_feature random_feature(struct arena *a, struct random *r, const char *field,
                                            size_t n_max, uint32_t ids)
{
    size_t n = (size_t)random_below(r, n_max + 1);
    struct undine_value *values = arena_calloc(a, n, sizeof *values);
    for (size_t i = 0; i < n; i++) {
        values[i] = random_value(a, r, ids);
    }
    return (struct undine_feature){field, values, n};
}

static struct undine_features random_item(struct arena *a, struct random *r, uint32_t ids)
{
    struct undine_feature *f = arena_calloc(a, 2, sizeof *f);
    size_t n = (size_t)random_below(r, 3), first = (size_t)random_below(r, 2);
    for (size_t i = 0; i < n; i++) {
        bool video = (i + first) % 2 == 0;
        f[i] = random_feature(a, r, video ? "video" : "tag", video ? 1 : VALUES_MAX, ids);
    }
    return (struct undine_features){f, n};
}

static struct undine_features random_group(struct arena *a, struct random *r, const char *field,
                                           uint32_t ids)
{
    struct undine_feature *f = arena_calloc(a, 1, sizeof *f);
    f[0] = random_feature(a, r, field, 2, ids);
    return (struct undine_features){f, (size_t)random_below(r, 2)};
}

struct undine_request random_request(struct arena *a, struct random *r, size_t n_candidates,
                                     uint32_t ids)
{
    struct undine_request req = {.n_candidates = n_candidates,
                                 .n_sequences = (size_t)random_below(r, 4) != 0};
    struct undine_features *candidates = arena_calloc(a, n_candidates, sizeof *candidates);
    struct undine_features *steps = arena_calloc(a, STEPS_MAX, sizeof *steps);
    struct undine_sequence *sequence = arena_calloc(a, 1, sizeof *sequence);
    for (size_t i = 0; i < n_candidates; i++) {
        candidates[i] = random_item(a, r, ids);
    }
    for (size_t i = 0; i < STEPS_MAX; i++) {
        steps[i] = random_item(a, r, ids);
    }
    *sequence = (struct undine_sequence){"clicks", steps, (size_t)random_below(r, STEPS_MAX + 1)};
    req.user_id = random_value(a, r, ids);
    req.user = random_group(a, r, "age", ids);
    req.context = random_group(a, r, "hour", ids);
    req.sequences = sequence;
    req.candidates = candidates;
    return req;
}
