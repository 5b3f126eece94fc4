/* prestart: interpreters and threads that are made ahead of the first task.
 *
 * An interpreter is made by a job of its own, a maker (core/pool), whose future is like any other's.
 * A thread is started, and tells who waits for it when it is ready to look for work. Everything here
 * wants the caller attached to the interpreter that made the executor.
 */
#ifndef AIOINTERP_PRESTART_H
#define AIOINTERP_PRESTART_H

#include "crew.h"
#include "state.h"

/* Begins to bring the crew to so many interpreters and threads, which are at most its maximums. Waits
 * for nothing. A tuple: the futures of the makers; for how many threads `waiter` will be called, by
 * prestart_tell(); and the exception that stopped this on its way, or None. NULL with an exception
 * when the crew accepts nothing. */
PyObject *prestart(struct state *state, struct crew *crew, unsigned interpreters, unsigned threads,
                   PyObject *waiter);

/* The thread of `start` is ready or, with `error` (borrowed), will not be. Calls everybody who waits
 * for it, `waiter(error or None)`, who just counts, and gives in a list what those who have counted
 * to the end want called next, for prestart_finish(); NULL: nothing. */
PyObject *prestart_tell(struct start *start, PyObject *error);
/* Calls what is in the list, which may run anything. Takes the list over; NULL is an empty one. */
void prestart_finish(PyObject *calls);

#endif
