#include "ops/demo_probe.h"

#include "scorer/undine.h"

#include <string.h>

#define VALUE(text) ((struct undine_value){.data = (text), .len = sizeof(text) - 1})

/* Item iN of the generator is of category cN modulo the number of categories (50).  Like any user of the
 * stream, this one has looked at items of several categories: c7, c12, c31. */
static const struct undine_value ITEMS[] = {VALUE("i7"),  VALUE("i12"), VALUE("i31"),
                                            VALUE("i57"), VALUE("i62"), VALUE("i81"),
                                            VALUE("i7"),  VALUE("i112")};
static const struct undine_value CATEGORIES[] = {VALUE("c7"),  VALUE("c12"), VALUE("c31"),
                                                 VALUE("c7"),  VALUE("c12"), VALUE("c31"),
                                                 VALUE("c7"),  VALUE("c12")};
static const struct undine_value CANDIDATE_ITEMS[] = {VALUE("i131"), VALUE("i128")};
static const struct undine_value CANDIDATE_CATEGORIES[] = {VALUE("c31"), VALUE("c28")};
static const struct undine_value USER = VALUE("u1"), HOUR = VALUE("12");

enum { STEPS = sizeof ITEMS / sizeof ITEMS[0], CANDIDATES = 2 };

static int score(struct demo_probe *p, struct undine_error *err)
{
    struct undine_feature step[STEPS][2], candidate[CANDIDATES][2];
    struct undine_features steps[STEPS], candidates[CANDIDATES];
    for (int i = 0; i < STEPS; i++) {
        step[i][0] = (struct undine_feature){"item", &ITEMS[i], 1};
        step[i][1] = (struct undine_feature){"category", &CATEGORIES[i], 1};
        steps[i] = (struct undine_features){step[i], 2};
    }
    for (int i = 0; i < CANDIDATES; i++) {
        candidate[i][0] = (struct undine_feature){"item", &CANDIDATE_ITEMS[i], 1};
        candidate[i][1] = (struct undine_feature){"category", &CANDIDATE_CATEGORIES[i], 1};
        candidates[i] = (struct undine_features){candidate[i], 2};
    }
    const struct undine_feature user = {"user", &USER, 1}, hour = {"hour", &HOUR, 1};
    const struct undine_sequence clicks = {"clicks", steps, STEPS};
    const struct undine_request request = {
        .user = {&user, 1},
        .context = {&hour, 1},
        .sequences = &clicks,
        .n_sequences = 1,
        .candidates = candidates,
        .n_candidates = CANDIDATES,
    };
    return undine_score(p->session, &request, p->now, err);
}

static int follow(struct demo_probe *p, struct undine_error *err)
{
    if (p->scorer != NULL) {
        int swapped = undine_scorer_refresh(p->scorer, err);
        p->swaps += swapped > 0;
        return swapped < 0 ? swapped : UNDINE_OK;
    }
    int rc = undine_scorer_open(&p->scorer, p->versions_dir, err);
    if (rc == UNDINE_OK) {
        rc = undine_session_open(&p->session, p->scorer, err);
    }
    return rc;
}

int demo_probe_step(struct demo_probe *p, struct undine_err *err)
{
    struct undine_error failed = {0};
    int rc = follow(p, &failed);
    if (rc == UNDINE_ENOTFOUND && p->scorer == NULL) {
        return UNDINE_OK;
    }
    if (rc == UNDINE_OK) {
        rc = score(p, &failed);
    }
    if (rc != UNDINE_OK) {
        return undine_err_set(err, rc, "scorer: %s", failed.message);
    }
    p->version = undine_session_version(p->session);
    if (p->first_version == 0) {
        p->first_version = p->version;
        memcpy(p->first, p->now, sizeof p->first);
    }
    return UNDINE_OK;
}

void demo_probe_release(struct demo_probe *p)
{
    undine_session_close(p->session);
    undine_scorer_close(p->scorer);
    p->session = NULL;
    p->scorer = NULL;
}
