/* program.h: what this program is, and how its process begins. */
#ifndef UNDINE_OPS_PROGRAM_H
#define UNDINE_OPS_PROGRAM_H

const char *program_version(void); /* "0.1.0" */

/* OpenBLAS chooses its kernels once, when it is loaded.  Where its own choice is too old for the
 * processor (learner/blas.h), start this program again with the right OPENBLAS_CORETYPE.  First
 * call of main; returns where nothing has to change, the environment names a core already, or
 * another start is not possible: the trainer then leaves OpenBLAS aside. */
void program_choose_kernels(char **argv);

#endif
