/* stack: the Python stacks of the threads of one interpreter, that which the caller is attached to.
 *
 * Some functions of CPython's `sys` walk all interpreters without their GILs: _current_frames() and
 * _current_exceptions(), which take what they find for the caller's own (on 3.13 they crash), and
 * getallocatedblocks() (crashes on 3.13 to 3.15). In every interpreter that has our module, others take their place.
 */
#ifndef AIOINTERP_STACK_H
#define AIOINTERP_STACK_H

#include "compat.h"

/* Replaces them in the attached interpreter, whose module is `module`. -1 with an exception. */
int stack_guard_sys(PyObject *module);

/* A dict: the identifier of each thread that is in Python code, and its frame. NULL with an exception. */
PyObject *stack_current_frames(void);

/* The stack of the thread with this identifier, then those of the other threads of the interpreter that
 * the caller is attached to, but its own: lines as of faulthandler, the most recent call first. UTF-8,
 * to be free()d; NULL: out of memory. Leaves no exception set. */
char *stack_of_threads(unsigned long first);

#endif
