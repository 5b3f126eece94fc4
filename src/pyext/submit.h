/* submit: from a call of executor.submit() to a queued task and its future. */
#ifndef AIOINTERP_SUBMIT_H
#define AIOINTERP_SUBMIT_H

#include "crew.h"
#include "state.h"

/* `values` and `keywords` as vectorcall has them, `function` not among them. A future, or NULL with an
 * exception when the crew accepts nothing. What cannot be sent ends its future, not the call. */
PyObject *submit(struct state *state, struct crew *crew, PyObject *function,
                 PyObject *const *values, size_t count, PyObject *keywords);

#endif
