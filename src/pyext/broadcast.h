/* broadcast: `broadcast(value)`, a handle that arrives in interpreters as its value, sent to each once.
 *
 * Made in the main interpreter, it owns a parcel. Made in a worker's interpreter, it only holds its value,
 * and goes back as that. Every function wants the caller attached to the interpreter whose state it is
 * given.
 */
#ifndef AIOINTERP_BROADCAST_H
#define AIOINTERP_BROADCAST_H

#include "parcel.h"
#include "state.h"

bool broadcast_check(struct state *state, PyObject *object);
/* Of a handle; borrowed. */
PyObject *broadcast_value(PyObject *handle);
/* The same; NULL: it was made in a worker's interpreter. */
struct parcel *broadcast_parcel(PyObject *handle);

/* A handle for a value that has a parcel already. NULL with an exception. */
PyObject *broadcast_of(struct state *state, PyObject *value, struct parcel *parcel);

/* Whether a call that is to run in this interpreter has handles in the place of values: among its
 * arguments, those of a functools.partial, and in exact tuples, lists, dicts and sets in them. `kwargs` may
 * be NULL. Runs no Python. -1 with an exception. While no handle is alive: one comparison. */
int broadcast_is_within(struct state *state, PyObject *function, PyObject *args, PyObject *kwargs);
/* Puts the values there; containers that hold any are copied. Replaces the references. May run Python
 * (hashes of keys). -1 with an exception, and nothing is replaced. */
int broadcast_replace(PyObject **function, PyObject **args, PyObject **kwargs);

/* The quick way, for positional arguments alone, in a tuple that nobody else has: true if handles are at
 * most among them, not within, and are replaced. Runs no Python. */
bool broadcast_open_arguments(struct state *state, PyObject *args);

int broadcast_register_types(struct state *state);

#endif
