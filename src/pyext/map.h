/* map: executor.map(), after concurrent.futures: one task for each call, results in order.
 *
 * Its tasks have no futures: the iterator reads their outcomes itself. Attached to the interpreter
 * that made the executor.
 */
#ifndef AIOINTERP_MAP_H
#define AIOINTERP_MAP_H

#include "crew.h"

/* Submits a call of `function` for each tuple of items of `iterables` (a tuple), all of them, or the
 * first `ahead` and later ones as results are taken; ahead 0 is all. An iterator of the results, or NULL
 * with an exception: what was submitted by then runs. */
PyObject *map_new(struct state *state, PyObject *executor, struct crew *crew, PyObject *function,
                  PyObject *iterables, PyObject *timeout, size_t ahead);

int map_register_types(struct state *state);

#endif
