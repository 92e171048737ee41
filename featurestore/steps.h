/* steps.h: the steps of one sequence of one user, oldest first, in one run of words.
 *
 * A step is words: time_ms, a word of counts (one byte a field of the sequence, the rest zero), the
 * ids.  Times never fall.  Steps are appended at the end and dropped at the front; an index of
 * where each begins makes a view a binary search.  Ingest thread only. */
#ifndef UNDINE_FEATURESTORE_STEPS_H
#define UNDINE_FEATURESTORE_STEPS_H

#include "featurestore/users.h"

#include <stddef.h>
#include <stdint.h>

enum { STEP_WORDS_MAX = 2 + SCHEMA_STEP_FIELDS_MAX * SCHEMA_VALUES_MAX };

struct steps {
    uint64_t *words;
    uint32_t *at;      /* step i is words[at[i]..at[i + 1]); set for first..first + n */
    uint32_t first, n; /* steps that are kept */
    uint32_t words_capacity, at_capacity;
};

/* A zeroed struct is empty. */
void steps_release(struct steps *s);
void steps_clear(struct steps *s); /* forget the steps, keep the memory */
size_t steps_bytes(const struct steps *s);

/* Words of the step that begins with these two. */
uint32_t step_words(const uint64_t *step);

/* Append; false where memory is out.  Its time must not be below the newest step's. */
bool steps_append(struct steps *s, const uint64_t *step, uint32_t n_words);
/* Replace the content by valid steps. */
bool steps_load(struct steps *s, const uint64_t *words, size_t n_words, uint32_t n_steps);
/* Is this very step among the newest `length`?  Looks only at steps of its time. */
bool steps_have(const struct steps *s, uint32_t length, const uint64_t *step, uint32_t n_words);
/* Drop what neither the newest `length` nor the newest `length` before before_ms hold; returns how
 * many. */
uint32_t steps_trim(struct steps *s, uint32_t length, int64_t before_ms);

/* The newest `length` steps with time < time_ms: borrowed until the steps change. */
struct users_view steps_view(const struct steps *s, uint32_t length, int64_t time_ms);
struct users_view steps_all(const struct steps *s);

/* Are these whole, ordered steps of this sequence?  For stored words. */
bool steps_valid(const struct schema *schema, uint32_t sequence, const uint64_t *words,
                 size_t n_words, uint32_t n_steps);

#endif
