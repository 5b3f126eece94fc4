/* stack: the Python stacks of the threads of one interpreter, that which the caller is attached to.
 *
 * Not by sys._current_frames(): that takes the frames of all interpreters for the caller's own, without
 * their GILs (seen on 3.13 to 3.15; on 3.13 it crashes).
 */
#ifndef AIOINTERP_STACK_H
#define AIOINTERP_STACK_H

#include "compat.h"

/* A dict: the identifier of each thread that is in Python code, and its frame. NULL with an exception. */
PyObject *stack_current_frames(void);

/* The stack of the thread with this identifier, then those of the other threads of the interpreter that
 * the caller is attached to, but its own: lines as of faulthandler, the most recent call first. UTF-8,
 * to be free()d; NULL: out of memory. Leaves no exception set. */
char *stack_of_threads(unsigned long first);

#endif
