/* generator.h: a synthetic stream with planted interests, whose best possible model is known.
 *
 * Every item has a category. A user begins with views of items from a few categories. An impression
 * is clicked with probability
 *     p = (1 - noise) q + noise / 2,   q = click_match where the candidate's category is among the
 * newest `history` steps that the user had before it, else click_other and a click becomes a step.
 * So interests drift, a user's history mixes several of them, and what counts depends on the
 * candidate: a model that pools the history alike for all candidates cannot tell. Items are skewed
 * in popularity, which says nothing about clicks.
 *
 * A pure function of its options: no clock, no other randomness. One thread at a time. */
#ifndef UNDINE_OPS_GENERATOR_H
#define UNDINE_OPS_GENERATOR_H

#include "ops/event_writer.h"

#include <stdbool.h>
#include <stdint.h>

struct generator_options {
    uint64_t events; /* lines in all; 0 = without end */
    uint64_t seed;
    uint32_t users, items, categories;
    uint32_t history;     /* steps that count, newest first */
    uint32_t first_views; /* that a user begins with; 0: with an impression */
    int64_t start_ms;
    double rate;        /* events a second of event time */
    double click_match; /* before noise */
    double click_other;
    double noise;       /* share of impressions that are decided by a fair coin */
    double match_share; /* share of candidates that are drawn from the history's categories */
    int64_t click_delay_min_ms, click_delay_max_ms; /* uniform */
    double click_delay_mean_ms; /* exponential instead, without an upper bound; 0 = uniform */
};
extern const struct generator_options GENERATOR_OPTIONS_DEFAULT;

/* What a model that knew every true probability would reach on the impressions so far. */
struct generator_bayes {
    uint64_t impressions, clicks;
    double click_rate;
    double logloss;          /* of the labels drawn */
    double logloss_expected; /* over the labels that might have been drawn */
    double auc, gauc;        /* NaN while one class is empty */
};

struct generator;
/* UNDINE_ECONFIG names an option out of range. Lines go to sink in the order of their time. */
int generator_open(struct generator **out, const struct generator_options *opt, event_sink_fn sink,
                   void *payload, struct undine_err *err);
void generator_close(struct generator *g);
/* Go on in event time to the next impression or the next user's first views, and hand on what is
 * due. 1 = more to come, 0 = all is handed on, < 0 = the sink's error. */
int generator_step(struct generator *g, struct undine_err *err);
/* Make nothing more; the clicks that are still due are handed on. */
int generator_finish(struct generator *g, struct undine_err *err);

void generator_bayes(const struct generator *g, struct generator_bayes *out);
const struct event_writer *generator_writer(const struct generator *g);

#endif
