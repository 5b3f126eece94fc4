/* tag_options: what the keyword arguments of interpreter() say about a call.
 *
 * A new option is: a field here for the room that acts on it; a line in the table of tag_options.c with
 * the function that checks its value; an argument in _core.pyi and in the docstring of the type. All
 * else (decorators with arguments, binding, partials, tagging again, repr, equality, pickling) goes
 * through `given` and knows no option by name.
 *
 * Constant once the tag is made. Attached.
 */
#ifndef AIOINTERP_TAG_OPTIONS_H
#define AIOINTERP_TAG_OPTIONS_H

#include "compat.h"

#include <stdint.h>

struct state;

struct tag_options {
    PyObject *given; /* dict of what differs from the default, by name, as checked; NULL: nothing */
    /* the same for those who act on it, borrowed from `given`: */
    PyObject *context_vars; /* tuple of ContextVar; NULL: none */
    int64_t limit;          /* ns that the call may run; 0: for ever */
    unsigned buffer;        /* items that an asynchronous generator may be ahead; at least 1 */
    bool uninterruptible;   /* once it runs, it is not to be stopped */
    bool everywhere;        /* a direct call leases an interpreter (leased) */
};

/* Options that say what `inherited` says (NULL: nothing), but for what `keywords` (a dict, or NULL) say
 * anew. -1 with a TypeError or a ValueError that names the option; nothing has to be cleared then. */
int tag_options_make(struct tag_options *options, struct state *state,
                     const struct tag_options *inherited, PyObject *keywords);
void tag_options_copy(struct tag_options *options, const struct tag_options *other);
void tag_options_clear(struct tag_options *options);
int tag_options_traverse(struct tag_options *options, visitproc visit, void *arg);

/* -1 with an exception. */
int tag_options_equal(const struct tag_options *one, const struct tag_options *other);
/* ", name=value, …": what the repr of a tag adds to its callable. */
PyObject *tag_options_repr(const struct tag_options *options);

#endif
