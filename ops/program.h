/* program.h: what this program is. */
#ifndef UNDINE_OPS_PROGRAM_H
#define UNDINE_OPS_PROGRAM_H

const char *program_version(void); /* "0.1.0" */

#endif
