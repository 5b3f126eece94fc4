/* callkind: what a call of something gives: a value, a coroutine, or an asynchronous generator.
 *
 * As inspect.iscoroutinefunction() and inspect.isasyncgenfunction() see it: through partials, bound methods and tags, and by
 * the mark of inspect.markcoroutinefunction(). An object whose class has an `async def __call__` counts, too. Runs no
 * Python but that of attributes. Attached; leaves no exception set.
 */
#ifndef AIOINTERP_CALLKIND_H
#define AIOINTERP_CALLKIND_H

#include "compat.h"

typedef enum { CALL_VALUE = 0, CALL_COROUTINE, CALL_GENERATOR } call_kind;

/* `tag_type`: what interpreter() makes. */
call_kind callkind_of(PyObject *callable, PyTypeObject *tag_type);

#endif
