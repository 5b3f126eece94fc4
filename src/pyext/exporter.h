/* exporter: what a borrower's memoryview stands on: memory of another interpreter, held by its loan.
 *
 * Attached to the interpreter whose state is given.
 */
#ifndef AIOINTERP_EXPORTER_H
#define AIOINTERP_EXPORTER_H

#include "message.h"
#include "state.h"

/* An object with the buffer protocol over the memory of `view`, which it takes over, also on failure. A
 * new reference, or NULL with an exception. */
PyObject *exporter_new(struct state *state, struct view *view);

/* The view of an object that is an exporter of this interpreter's, borrowed; else NULL. */
struct view *exporter_view(struct state *state, PyObject *object);

int exporter_register_types(struct state *state);

#endif
