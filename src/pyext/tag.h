/* tag: interpreter(f), which marks a callable to run in an interpreter of its own.
 *
 * Called directly, a tag is an ordinary call of what it marks, unless it is one for everywhere (leased). An executor recognises it by type.
 */
#ifndef AIOINTERP_TAG_H
#define AIOINTERP_TAG_H

#include "callkind.h"
#include "state.h"
#include "tag_options.h"

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *marked;           /* the callable; never changes */
    PyObject *definition;       /* what definition_find() last gave, or NULL */
    call_kind kind;             /* of `marked`; never changes */
    struct tag_options options; /* never change */
} TagObject;

static inline bool
tag_check(const struct state *state, PyObject *object)
{
    return Py_IS_TYPE(object, state->tag_type);
}

/* The tag whose options hold for a call of `callable`, and which gives what the call gives: itself if it is one, or the one
 * that lies below partials, methods and decorators that keep what they wrap as `__wrapped__` (functools.wraps); but not if
 * the whole gives something else than it, since an `async def` around a function wants its event loop. A new reference,
 * or NULL: there is none, or with an exception. */
TagObject *tag_governing(struct state *state, PyObject *callable);

/* The tag by which an executor calls `callable`: itself if it is one, or a new tag of the whole with the options of the
 * tag_governing() it. A new reference, or NULL: there is none, or with an exception. */
PyObject *tag_find(struct state *state, PyObject *callable);

/* Whether it is `partial(context.run, called, …)`, which is what asyncio.to_thread submits; *called: borrowed. Anything
 * else that is called with a tag is left alone. */
bool tag_is_context_run(struct state *state, PyObject *callable, PyObject **called);

int tag_register_types(struct state *state);

#endif
