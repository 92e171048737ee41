#include "featurestore/steps.h"

#include <stdlib.h>
#include <string.h>

enum { STEP_HEADER_WORDS = 2 };

void steps_release(struct steps *s)
{
    free(s->words);
    free(s->at);
    *s = (struct steps){0};
}

void steps_clear(struct steps *s)
{
    s->first = 0;
    s->n = 0;
    if (s->at != NULL) {
        s->at[0] = 0;
    }
}

size_t steps_bytes(const struct steps *s)
{
    return s->words_capacity * sizeof *s->words + s->at_capacity * sizeof *s->at;
}

/* The eight counts are added pairwise: bytes to 16-bit lanes, then all lanes by a product. */
uint32_t step_words(const uint64_t *step)
{
    const uint64_t lanes = UINT64_C(0x00ff00ff00ff00ff);
    uint64_t pairs = (step[1] & lanes) + (step[1] >> 8 & lanes);
    return STEP_HEADER_WORDS + (uint32_t)(pairs * UINT64_C(0x0001000100010001) >> 48);
}

static int64_t time_of(const struct steps *s, uint32_t i)
{
    return (int64_t)s->words[s->at[i]];
}

/* Move the kept steps to the front of the given memory, which may be their own. */
static void steps_move(struct steps *s, uint64_t *words, uint32_t *at)
{
    if (s->n == 0) {
        at[0] = 0;
    } else {
        uint32_t from = s->at[s->first], end = s->at[s->first + s->n];
        memmove(words, s->words + from, (end - from) * sizeof *words);
        for (uint32_t i = 0; i <= s->n; i++) {
            at[i] = s->at[s->first + i] - from;
        }
    }
    s->first = 0;
}

/* Room for one more step of n_words: free the front where enough of it is unused, else grow. */
static bool steps_reserve(struct steps *s, size_t n_words, size_t n_steps)
{
    uint32_t begin = s->n > 0 ? s->at[s->first] : 0;
    uint32_t end = s->n > 0 ? s->at[s->first + s->n] : 0;
    size_t need_words = end - begin + n_words, need_at = s->n + n_steps + 1;
    if (s->words_capacity - end >= n_words && s->at_capacity >= s->first + need_at) {
        return true;
    }
    if (need_words <= s->words_capacity / 4 * 3 && need_at <= s->at_capacity / 4 * 3) {
        steps_move(s, s->words, s->at);
        return true;
    }
    size_t words_capacity = need_words + need_words / 2, at_capacity = need_at + need_at / 2 + 4;
    if (words_capacity > UINT32_MAX || at_capacity > UINT32_MAX) {
        return false;
    }
    uint64_t *words = malloc(words_capacity * sizeof *words);
    uint32_t *at = malloc(at_capacity * sizeof *at);
    if (words == NULL || at == NULL) {
        free(words);
        free(at);
        return false;
    }
    steps_move(s, words, at);
    free(s->words);
    free(s->at);
    s->words = words;
    s->at = at;
    s->words_capacity = (uint32_t)words_capacity;
    s->at_capacity = (uint32_t)at_capacity;
    return true;
}

bool steps_append(struct steps *s, const uint64_t *step, uint32_t n_words)
{
    UNDINE_ASSERT(s->n == 0 || (int64_t)step[0] >= time_of(s, s->first + s->n - 1));
    if (s->n == 0 && s->at != NULL) {
        steps_clear(s);
    }
    if (!steps_reserve(s, n_words, 1)) {
        return false;
    }
    uint32_t last = s->first + s->n;
    memcpy(s->words + s->at[last], step, n_words * sizeof *step);
    s->at[last + 1] = s->at[last] + n_words;
    s->n++;
    return true;
}

bool steps_load(struct steps *s, const uint64_t *words, size_t n_words, uint32_t n_steps)
{
    steps_clear(s);
    if (n_steps == 0) {
        return true;
    }
    if (!steps_reserve(s, n_words, n_steps)) {
        return false;
    }
    memcpy(s->words, words, n_words * sizeof *words);
    s->at[0] = 0;
    for (uint32_t i = 0; i < n_steps; i++) {
        s->at[i + 1] = s->at[i] + step_words(s->words + s->at[i]);
    }
    UNDINE_ASSERT(s->at[n_steps] == n_words);
    s->n = n_steps;
    return true;
}

bool steps_have(const struct steps *s, uint32_t length, const uint64_t *step, uint32_t n_words)
{
    uint32_t end = s->first + s->n;
    uint32_t begin = s->n > length ? end - length : s->first;
    for (uint32_t i = end; i > begin && s->words[s->at[i - 1]] == step[0]; i--) {
        uint32_t from = s->at[i - 1];
        if (s->at[i] - from == n_words &&
            memcmp(s->words + from, step, n_words * sizeof *step) == 0) {
            return true;
        }
    }
    return false;
}

/* Index behind the last step with time < time_ms. */
static uint32_t steps_before(const struct steps *s, int64_t time_ms)
{
    uint32_t low = s->first, high = s->first + s->n;
    if (s->n == 0 || time_of(s, high - 1) < time_ms) {
        return high;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (time_of(s, middle) < time_ms) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* First of the newest `length` steps in front of index end. */
static uint32_t newest(const struct steps *s, uint32_t length, uint32_t end)
{
    return end - s->first > length ? end - length : s->first;
}

uint32_t steps_trim(struct steps *s, uint32_t length, int64_t before_ms)
{
    if (s->n <= length) {
        return 0;
    }
    uint32_t from = newest(s, length, steps_before(s, before_ms)), gone = from - s->first;
    s->n -= gone;
    s->first = from;
    return gone;
}

static struct users_view steps_between(const struct steps *s, uint32_t from, uint32_t end)
{
    if (from == end) {
        return (struct users_view){.words = NULL};
    }
    return (struct users_view){.words = s->words + s->at[from],
                               .n_words = s->at[end] - s->at[from],
                               .n_steps = end - from};
}

struct users_view steps_view(const struct steps *s, uint32_t length, int64_t time_ms)
{
    uint32_t end = steps_before(s, time_ms);
    return steps_between(s, newest(s, length, end), end);
}

struct users_view steps_all(const struct steps *s)
{
    return steps_between(s, s->first, s->first + s->n);
}

/* Are the counts of one step within the schema, with at least one id? */
static bool counts_valid(const struct schema *schema, const struct schema_sequence *q,
                         uint64_t counts)
{
    for (uint32_t f = 0; f < q->n_fields; f++) {
        if ((counts >> 8 * f & 0xff) > schema->fields[q->field[f]].values_max) {
            return false;
        }
    }
    return counts != 0 && (q->n_fields == 8 || counts >> 8 * q->n_fields == 0);
}

bool steps_valid(const struct schema *schema, uint32_t sequence, const uint64_t *words,
                 size_t n_words, uint32_t n_steps)
{
    const struct schema_sequence *q = &schema->sequences[sequence];
    int64_t time_ms = INT64_MIN;
    for (uint32_t i = 0; i < n_steps; i++) {
        if (n_words < STEP_HEADER_WORDS || !counts_valid(schema, q, words[1]) ||
            step_words(words) > n_words || (int64_t)words[0] < time_ms) {
            return false;
        }
        uint32_t size = step_words(words);
        time_ms = (int64_t)words[0];
        words += size;
        n_words -= size;
    }
    return n_words == 0;
}
