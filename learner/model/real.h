/* real.h: the number that the maths is written in.
 *
 * The layers are compiled twice from one source: as float for the program, and as double (with
 * UNDINE_REAL_DOUBLE) for the gradient checks in tests, where a relative error of 1e-6 is asked.
 * The two builds have equal symbol names and are never linked together. */
#ifndef UNDINE_LEARNER_MODEL_REAL_H
#define UNDINE_LEARNER_MODEL_REAL_H

#ifdef UNDINE_REAL_DOUBLE
typedef double real;
#define R(x) x
#else
typedef float real;
#define R(x) x##f
#endif

#endif
