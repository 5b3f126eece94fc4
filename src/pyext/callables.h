/* callables: the functions that one interpreter has looked up or rebuilt, by func.
 *
 * A hash table in the state of a worker's interpreter, used attached to it. It keeps a func (so its
 * address is not used again) until nobody else can submit it any more, which it finds out when it
 * grows.
 */
#ifndef AIOINTERP_CALLABLES_H
#define AIOINTERP_CALLABLES_H

#include "func.h"
#include "state.h"

/* The callable, imported or rebuilt on first use. A new reference, or NULL with an exception: what
 * the import raised, or a SendError. */
PyObject *callables_get(struct state *state, struct func *func);

/* Lets go of those that nobody can submit any more. May run destructors, and leave an exception. */
void callables_sweep(struct state *state);

void callables_free(struct callables *callables);

#endif
