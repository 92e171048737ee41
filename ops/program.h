/* program.h: what this program is, and how its process begins. */
#ifndef UNDINE_OPS_PROGRAM_H
#define UNDINE_OPS_PROGRAM_H

const char *program_version(void); /* "0.1.0" */

/* OpenBLAS chooses its kernels once, when it is loaded, from OPENBLAS_CORETYPE or from the CPU.
 * Where its own choice is known to be slow (learner/model/kernels.h), start this program again with
 * the better name set.  First call of main; returns where nothing has to change or it cannot be
 * changed. */
void program_choose_kernels(char **argv);

#endif
