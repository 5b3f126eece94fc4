/* place: whether a thread may be interrupted where it stands. The one rule for all that this package interrupts.
 *
 * An interruption is an exception that the code did not raise itself. Code of the task's own is told so (`Interrupted`);
 * other code is not written for it: between any two of its bytecodes it may hold a lock, have taken an item that it has
 * not given back, or be about to schedule the next step of somebody else's coroutine. So the frames of the thread are
 * looked at from the innermost one outwards, as far as the code is one task's: to the outermost coroutine of the Task
 * that runs, or else to the bottom of the stack.
 *
 * - No frame on the way may belong to what connects threads, Tasks or modules: asyncio, uvloop, anyio, trio, concurrent,
 *   importlib, logging, multiprocessing, queue, threading, weakref, this package. The exception: one of their coroutines
 *   that awaits a coroutine of the task's own, which may raise whatever it likes.
 * - No frame may be a destructor's (what is raised there is lost). Between a coroutine and the innermost frame may be no
 *   function that stands in for the loop's `call_soon`: C code of asyncio calls it (future.set_result()) and has more to do
 *   afterwards. Such a function is known by its name, or by a contextvars.Context among its arguments.
 * - The innermost frame may not be at the call of an `__enter__`: what that has entered would not be left (3.14).
 * - No frame may be at the end of a `with` block (`__exit__`, `__aexit__`), which cleans up.
 * - The innermost frame may not be of a library module that takes locks for a moment (contextlib, functools, tempfile,
 *   warnings). Where others share the interpreter (a host of coroutines) it may be of no module of the standard library.
 * - No exception that the thread handles, in whatever frame, is or comes from an interruption, or a generator's
 *   being closed: the code is cleaning up.
 *
 * Only the thread itself can apply the first three rules, between two of its bytecodes and just before it raises: what
 * any other thread finds out is out of date when the interruption arrives.
 */
#ifndef AIOINTERP_PLACE_H
#define AIOINTERP_PLACE_H

#include "compat.h"

enum place {
    PLACE_CLOSED, /* not here */
    PLACE_LIBRARY, /* yes, but frames of the standard library end by it: nobody should use the interpreter again */
    PLACE_OWN, /* yes */
};

/* The rules for frames, for the calling thread, which is attached. `shared`: others use the interpreter, too. Runs no
 * Python code. Leaves nothing raised. */
enum place place_of_caller(bool shared);

/* The rule for exceptions: whether the thread of `tstate` handles one of a type in `types` (NULL: the end), or one that was
 * raised while such a one was handled. Any thread that is attached to the same interpreter. */
bool place_is_cleaning_up(PyThreadState *tstate, PyObject *const *types);

#endif
