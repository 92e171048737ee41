#include "base/nearest.h"

#include <string.h>

enum { NEAREST_LEN_MAX = 128 };

static size_t min_of(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Optimal string alignment, three rows of the table at a time. */
static size_t edit_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t rows[3][NEAREST_LEN_MAX + 1];
    for (size_t j = 0; j <= b_len; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= a_len; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i - 1) % 3], *above2 = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t changed = above[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = min_of(changed, min_of(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                row[j] = min_of(row[j], above2[j - 2] + 1);
            }
        }
    }
    return rows[a_len % 3][b_len];
}

struct nearest nearest_of(const char *word)
{
    /* One edit, and one more for every three letters. */
    return (struct nearest){.word = word, .name = NULL, .distance = 2 + strlen(word) / 3};
}

void nearest_offer(struct nearest *n, const char *name)
{
    size_t word_len = strlen(n->word), name_len = strlen(name);
    if (word_len > NEAREST_LEN_MAX || name_len > NEAREST_LEN_MAX) {
        return;
    }
    size_t distance = edit_distance(n->word, word_len, name, name_len);
    if (distance < n->distance) {
        n->distance = distance;
        n->name = name;
    }
}
