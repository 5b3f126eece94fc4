/* kept: the values of parcels that one interpreter has decoded, by parcel.
 *
 * A hash table in the state of an interpreter, used attached to it. It holds each parcel (so its address
 * is not used again) until nobody can send it any more, and then lets go of both, value and parcel, as
 * soon as the interpreter begins a task or is visited (kept_sweep()).
 */
#ifndef AIOINTERP_KEPT_H
#define AIOINTERP_KEPT_H

#include "parcel.h"
#include "state.h"

/* The value, decoded on first use; the message that brought the parcel is alive. A new reference, or
 * NULL with an exception: what decoding raised, and the next call tries again. */
PyObject *kept_get(struct state *state, struct parcel *parcel);

/* Lets go of values that cannot come again, functions that hold such among them. Runs destructors;
 * keeps the exception that is set. One load and a comparison when there is nothing to do. */
void kept_sweep(struct state *state);

/* The interpreter ends, or its state does. Runs destructors. */
void kept_free(struct state *state);

#endif
