/* gate.h: may this version be published?  The candidate beside the version that is published.
 *
 * The verdict is a function of figures and options alone.  Both were asked for the same newest
 * examples (gate_window.h), none of which either had learned when it scored it: the learner by its
 * progressive predictions, the published version as it is served.  What is compared:
 *   logloss      refused where the learner's is more than logloss_rise (a share of it) above the
 *                published one's
 *   gauc         ... more than gauc_drop below it (users and blocks as in frozen.h)
 *   calibration  ... outside of calibration_min..max, and not nearer to 1 than the published one's
 *   not finite   ... a value of the model is no number
 *   norm         ... the largest norm of a row of a table, or a dense tensor's norm, is more than
 *                norm_ratio times the published one's, or than norm_ratio * GATE_NORM_SMALL where
 *                that is small
 *   rows         ... the rows of all tables are fewer than 1 - row_drop of the published one's
 * The first three need examples_min examples; with fewer the verdict is "too few", which passes. A
 * figure that does not exist (NaN: one class, no users with both) refuses nothing. */
#ifndef UNDINE_LEARNER_GATE_H
#define UNDINE_LEARNER_GATE_H

#include "learner/norms.h"
#include "learner/snapshot.h"

#include <stdbool.h>

#define GATE_NORM_SMALL 1.0

enum gate_mode { GATE_OFF, GATE_WARN, GATE_ENFORCE };

struct gate_options {
    enum gate_mode mode;
    uint64_t window, examples_min;
    double logloss_rise, gauc_drop, calibration_min, calibration_max, norm_ratio, row_drop;
};
/* UNDINE_ECONFIG. */
int gate_check(const struct gate_options *opt, struct undine_err *err);

struct gate_side { /* NaN where there is nothing */
    double logloss, gauc, calibration;
};
struct gate_figures {
    uint64_t against;  /* the published version, 0 = none */
    uint64_t examples; /* that both scored */
    uint64_t gauc_users;
    struct gate_side published, learner;
    uint64_t not_finite;           /* values */
    double norm_ratio;             /* the largest; 0 = nothing to compare with */
    char norm_name[96];            /* of what */
    uint64_t rows, rows_published; /* 0 = not known */
};

enum gate_reason { /* bits */
                   GATE_LOGLOSS = 1,
                   GATE_GAUC = 2,
                   GATE_CALIBRATION = 4,
                   GATE_NOT_FINITE = 8,
                   GATE_NORM = 16,
                   GATE_ROWS = 32
};
enum { GATE_REASONS = 6 };
extern const char *const GATE_REASON_NAME[GATE_REASONS]; /* of bit 0, 1, ... */

enum gate_verdict_kind { GATE_PASS, GATE_TOO_FEW, GATE_REFUSE };
extern const char *const GATE_VERDICT_NAME[]; /* "pass", "too few", "refuse" */

struct gate_verdict {
    enum gate_verdict_kind kind;
    uint32_t reasons; /* of GATE_REFUSE: bits of gate_reason */
    char why[512];    /* for people; "" where it passes */
};
void gate_judge(const struct gate_options *opt, const struct gate_figures *f,
                struct gate_verdict *out);
/* Is the version kept from being published? */
bool gate_refuses(const struct gate_options *opt, const struct gate_verdict *v);

/* What is known of the published version. */
struct gate_published {
    uint64_t number; /* 0 = none */
    uint64_t rows;   /* of all tables, 0 = not known */
    struct norms norms;
};
/* Figures of a candidate: a sorted snapshot with its norms.  rows: of all its tables, 0 = not known
 * (of a delta, whose rows and norms are of what changed).  UNDINE_ENOMEM, UNDINE_ECORRUPT. */
int gate_measure(struct gate_figures *out, struct snapshot *s, uint64_t rows,
                 const struct gate_published *published, struct undine_err *err);

/* The `gate` member of a manifest (docs/formats.md).  NULL where memory is out; the caller frees.
 */
char *gate_json(const struct gate_options *opt, const struct gate_figures *f,
                const struct gate_verdict *v);

#endif
