/* context: the context variables that tagged calls see (contextvars, PEP 567).
 *
 * The caller's side collects the values of the variables that an executor and a tag name; they travel
 * in the message of the call. Each call runs in a Context of its own: in it are those values, and what
 * the executor's initializer has set; every other variable has its default. So nothing that a task
 * sets is seen by the next. A variable that the interpreter of the call cannot find is left out.
 *
 * Attached to the interpreter whose state is given.
 */
#ifndef AIOINTERP_CONTEXT_H
#define AIOINTERP_CONTEXT_H

#include "state.h"

/* The values that the variables of both tuples (each may be NULL) have in `source`, a Context, or, when
 * that is NULL, where the caller is. *values is a tuple, name, value, name, value …, of those that are
 * set, or NULL if there are none: a new reference. -1 with an exception. */
int context_collect(struct state *state, PyObject *variables, PyObject *more, PyObject *source,
                    PyObject **values);

/* Calls like PyObject_Vectorcall(), in a Context of its own, with what context_collect() gave (NULL:
 * nothing). `is_initializer`: what it sets is there in all later calls. */
PyObject *context_call(struct state *state, PyObject *values, PyObject *callable,
                       PyObject *const *args, size_t nargsf, PyObject *keywords,
                       bool is_initializer);

/* For a call that goes on after it has returned: a Context of its own, with the same. A new reference, or NULL with
 * an exception. */
PyObject *context_new(struct state *state, PyObject *values);

#endif
