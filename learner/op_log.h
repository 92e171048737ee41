/* op_log.h: what was done to a state that follows from its operations alone, one after the other.
 *
 * The learner's windows and click rates are megabytes, of which a second of learning changes a few
 * kilobytes.  Instead of the state it hands out what it did since the last time; who has the state
 * of that moment does the same and has the state of this one, to the bit (shadow.h).  Where memory
 * is out, or nobody has asked for too long, the log is lost, which is no error: the next copy has
 * to be a whole one. */
#ifndef UNDINE_LEARNER_OP_LOG_H
#define UNDINE_LEARNER_OP_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct op_log {
    bool on;   /* false: nobody asks, and nothing is noted */
    bool lost; /* what was done is not known */
    uint8_t *op;
    size_t bytes, capacity;
};

void op_log_release(struct op_log *l);
/* The state was copied: nothing was done since. */
void op_log_clear(struct op_log *l);
void op_log_append(struct op_log *l, const void *op, size_t bytes);

static inline bool op_log_known(const struct op_log *l)
{
    return l->on && !l->lost;
}

static inline void op_log_note(struct op_log *l, const void *op, size_t bytes)
{
    if (op_log_known(l)) {
        op_log_append(l, op, bytes);
    }
}

#endif
