/* nearest.h: "did you mean": which of the known names a mistyped word is closest to.
 *
 *     struct nearest n = nearest_of(word);
 *     for (...) nearest_offer(&n, known[i]);
 *     if (n.name != NULL) ... "did you mean `%s`?"
 *
 * Distance: edits of one character, or of two neighbours exchanged (optimal string alignment). */
#ifndef UNDINE_BASE_NEAREST_H
#define UNDINE_BASE_NEAREST_H

#include <stddef.h>

struct nearest {
    const char *word; /* borrowed */
    const char *name; /* borrowed from the offer; NULL while nothing is close enough to be meant */
    size_t distance;  /* of name; a name further away than this is ignored */
};

struct nearest nearest_of(const char *word);
/* The first of equally close names stays. */
void nearest_offer(struct nearest *n, const char *name);

#endif
