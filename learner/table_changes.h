/* table_changes.h: which rows of a table were made or touched since the table was last copied.
 *
 * A row's stamp, the training step of its last touch, tells whether it was touched before: the
 * first touch after a copy puts the row's number on a list, and every later one costs a comparison.
 * Numbers move when rows are erased; a row that moves is listed anew.  So the list may hold numbers
 * of rows that did not change, that are not there any more, and twice the same: whoever reads it
 * looks at the rows (table_changed).  Where memory is out the list is lost, which is no error: the
 * next copy has to be a whole one.  Learner thread. */
#ifndef UNDINE_LEARNER_TABLE_CHANGES_H
#define UNDINE_LEARNER_TABLE_CHANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table_changes {
    bool on;        /* false: nobody asks, and nothing is noted */
    bool lost;      /* what changed is not known */
    uint32_t since; /* training steps learned when the table was copied */
    uint32_t *row;  /* (n) */
    size_t n, capacity;
};

void table_changes_release(struct table_changes *c);
/* The table was copied after so many steps: nothing has changed. */
void table_changes_clear(struct table_changes *c, uint32_t since);
void table_changes_add(struct table_changes *c, uint32_t row);

/* Does a stamp say that the row was touched, or never learned? */
static inline bool table_changes_stamped(const struct table_changes *c, uint32_t stamp)
{
    return stamp > c->since || stamp == 0;
}

/* A row that has this stamp is about to be touched. */
static inline void table_changes_touch(struct table_changes *c, uint32_t row, uint32_t stamp)
{
    if (c->on && stamp <= c->since) {
        table_changes_add(c, row);
    }
}

#endif
