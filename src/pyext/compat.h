/* compat: the one room that knows Python's versions and private API.
 *
 * Every other room of pyext includes this instead of <Python.h>. What differs between 3.13, 3.14
 * and 3.15 is asked for here by name.
 */
#ifndef AIOINTERP_COMPAT_H
#define AIOINTERP_COMPAT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>

#if PY_VERSION_HEX < 0x030D0000
#error "aiointerpreters needs Python 3.13 or later"
#endif

/* Creates an isolated interpreter with a GIL of its own and attaches the calling thread to it;
 * call it with no thread state attached. NULL: nothing was made, nothing is attached, and *why (a
 * static string, or one owned by the runtime) says why. Takes the main GIL for a moment
 * (CPython gh-117953). */
PyThreadState *compat_new_interpreter(const char **why);

/* Ends the attached interpreter, whose home thread the caller is. Nothing is attached afterwards.
 * False: it cannot be ended safely (3.13 aborts the process when a thread of a task is left in it)
 * and is abandoned instead. */
bool compat_end_interpreter(PyThreadState *tstate);

/* What must be imported in the main interpreter before the first interpreter is made: _datetime on
 * 3.13, whose first import elsewhere corrupts the heap (CPython gh-136421). 0, or -1 with an
 * exception. */
int compat_prepare_main(void);

/* Has an interpreter call `function(argument)` between two bytecodes of one of its threads, or when it ends; what
 * the function raises (-1) is raised in that thread. Any thread, with no GIL: so not attached to an interpreter whose
 * GIL somebody may hold while he waits for the caller. 0; or -1: it has too many such calls already. */
int compat_add_call(PyInterpreterState *interpreter, int (*function)(void *), void *argument);

/* Whether Future._get_snapshot() exists (3.15). */
bool compat_has_future_snapshot(void);

/* Has the process end by SIGINT once Python is finalized, as after a Ctrl-C that nobody has caught; prints that. At main. */
void compat_end_by_interrupt(void);

/* Has the child of every fork forget the interpreters that it inherited, which have no threads there
 * any more: without that CPython crashes in the child (gh-101437, gh-139759). What they own leaks in
 * the child. Once in the process, from the main interpreter; false: the layout of this Python is not
 * the one that is known, or the platform refuses, and nothing was done. */
bool compat_guard_fork(void);

#endif
