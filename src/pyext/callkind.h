/* callkind: what a call of something gives: a value, a coroutine, an asynchronous generator or a generator.
 *
 * As inspect.iscoroutinefunction(), inspect.isasyncgenfunction() and inspect.isgeneratorfunction() see it: by the flags
 * of a function's code, through partials, bound methods and tags, and by the mark of inspect.markcoroutinefunction().
 * `inspect` itself is asked (and imported) about objects that claim such a mark or code of their own. An object whose
 * class has an `async def __call__` counts, too. Runs no Python but that of attributes; what of an Exception it raises says
 * nothing. Attached, with no exception set.
 */
#ifndef AIOINTERP_CALLKIND_H
#define AIOINTERP_CALLKIND_H

#include "compat.h"

typedef enum {
    CALL_UNKNOWN = -1, /* with an exception that is no Exception: a Ctrl-C */
    CALL_VALUE = 0,
    CALL_COROUTINE,
    CALL_GENERATOR, /* asynchronous */
    CALL_ITERATOR,  /* a generator that is not: nothing that an interpreter could send */
} call_kind;

/* `tag_type`: what interpreter() makes. */
call_kind callkind_of(PyObject *callable, PyTypeObject *tag_type);

#endif
