#include "ops/served.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A look that began before the publisher's last change may end after it; one after that may not. */
enum { LOOKS_TO_BELIEVE = 2 };

/* Digest of a version, "" where it cannot be read. */
static void digest_of(char out[HASH128_HEX_LEN + 1], const char *dir, uint64_t number)
{
    struct version_info info;
    bool read = number != 0 && version_info_read(dir, number, &info, NULL) == UNDINE_OK;
    (void)snprintf(out, HASH128_HEX_LEN + 1, "%s", read ? info.digest : "");
}

static void learn_of(struct served *s, uint64_t version, const char *digest_of_trainer)
{
    char digest[HASH128_HEX_LEN + 1];
    digest_of(digest, s->dir, version);
    enum trainer_published_kind kind = TRAINER_PUBLISHED_OTHER;
    if (digest[0] != '\0' && strcmp(digest, digest_of_trainer) == 0) {
        kind = TRAINER_PUBLISHED_THIS;
    } else if (digest[0] != '\0' && strcmp(digest, s->digest) == 0) {
        kind = TRAINER_PUBLISHED_SAME;
    }
    trainer_published(s->trainer, version, kind);
    memcpy(s->digest, digest, sizeof digest);
}

void served_open(struct served *s, const struct config *config, struct trainer *trainer,
                 struct publisher *publisher, struct version_watch *watch, const char *dir,
                 const struct version_info *restored)
{
    struct version_state state = {0};
    *s = (struct served){
        .config = config, .trainer = trainer, .publisher = publisher, .watch = watch, .dir = dir};
    if (config == NULL) {
        return;
    }
    s->block = trainer_gate_block(trainer)->number;
    (void)version_state(dir, &state, NULL); /* not readable: as if nothing were published */
    digest_of(s->digest, dir, trainer_published_version(trainer));
    learn_of(s, state.current, restored->number != 0 ? restored->digest : "-");
}

void served_candidate(struct served *s)
{
    if (served_on(s)) {
        served_step(s);
        trainer_candidate(s->trainer);
        s->candidate = true;
    }
}

/* True where the publisher has nothing in hand that could still be published. */
static bool judged(struct served *s)
{
    if (!s->candidate) {
        return true;
    }
    if (!publisher_idle(s->publisher)) {
        return false;
    }
    struct publisher_status st;
    publisher_status(s->publisher, &st);
    trainer_candidate_judged(s->trainer, st.last_published);
    if (st.last_published != 0) {
        memcpy(s->digest, st.newest.digest, sizeof s->digest);
    }
    s->candidate = false;
    s->differs_since = 0;
    return true;
}

/* Did somebody else move CURRENT? */
static void notice(struct served *s, const struct version_watch_status *seen)
{
    if (seen->looks == 0 || seen->state.current == trainer_published_version(s->trainer)) {
        s->differs_since = 0;
    } else if (s->differs_since == 0) {
        s->differs_since = seen->looks;
    } else if (seen->looks >= s->differs_since + LOOKS_TO_BELIEVE) {
        learn_of(s, seen->state.current, "-");
        s->differs_since = 0;
    }
}

static void look_at_block(struct served *s, const struct version_watch_status *seen)
{
    const struct gate_block *b = trainer_gate_block(s->trainer);
    double min = s->config->rollback.calibration_min, max = s->config->rollback.calibration_max;
    const struct version_hold *hold = &seen->state.hold;
    char reason[VERSION_REASON_MAX];
    if (b->number == s->block || s->config->rollback.examples == 0) {
        return;
    }
    s->block = b->number;
    if (!hold->held && isfinite(b->published) && (b->published < min || b->published > max)) {
        (void)snprintf(reason, sizeof reason,
                       "its calibration over %llu examples is %.4g, expected %.4g to %.4g",
                       (unsigned long long)s->config->rollback.examples, b->published, min, max);
        version_watch_roll_back(s->watch, b->version, reason);
    }
    bool may = s->config->rollback.resume == CONFIG_RESUME_CALIBRATION &&
               strcmp(hold->by, "calibration") == 0;
    if (hold->held && may && b->learner >= min && b->learner <= max) {
        (void)snprintf(reason, sizeof reason,
                       "the learner's calibration over %llu examples is %.4g again",
                       (unsigned long long)s->config->rollback.examples, b->learner);
        version_watch_resume(s->watch, reason);
    }
}

void served_step(struct served *s)
{
    struct version_watch_status seen;
    if (!served_on(s) || !judged(s)) {
        return;
    }
    version_watch_status(s->watch, &seen);
    notice(s, &seen);
    look_at_block(s, &seen);
}
