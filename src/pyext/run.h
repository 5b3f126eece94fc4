/* run: executor.run(): a call that an event loop awaits.
 *
 * Attached to the interpreter that made the executor, in the thread of a running event loop.
 */
#ifndef AIOINTERP_RUN_H
#define AIOINTERP_RUN_H

#include "crew.h"

/* Something to await, or NULL with an exception. `values` and `keywords` are as vectorcall has them, the
 * function not among them. `executor`: whose crew it is. With a `turn` (or NULL) it need not wait for room. */
PyObject *run(struct state *state, PyObject *executor, struct crew *crew, PyObject *function,
              PyObject *const *values, size_t count, PyObject *keywords, struct turn *turn);

/* The next items of an asynchronous generator, whose call `stream` is: something to await. None: the generator
 * is not there any more. `taken`: items that were used by now. */
PyObject *run_fetch(struct state *state, PyObject *stream, unsigned long long taken, bool closes);

#endif
