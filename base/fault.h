/* fault.h: named places where a crash test may kill the process.
 *
 * FAULT("publish.before_rename") does nothing in a build without UNDINE_FAULTS (release has none).
 * With it, the environment decides: UNDINE_FAULT=name kills the process with SIGKILL the first time
 * it passes that name; UNDINE_FAULT=name:n the n-th time.  Any thread. */
#ifndef UNDINE_BASE_FAULT_H
#define UNDINE_BASE_FAULT_H

#ifdef UNDINE_FAULTS
void fault_point(const char *name);
#define FAULT(name) fault_point(name)
#else
#define FAULT(name) ((void)0)
#endif

#endif
