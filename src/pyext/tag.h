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

/* The tag in `partial(context.run, tag, …)`, which is what asyncio.to_thread submits: borrowed, or
 * NULL. Its first positional argument is the tag; anything else called with a tag is left alone. */
TagObject *tag_in_context_run(struct state *state, PyObject *callable);

int tag_register_types(struct state *state);

#endif
