/* definition: how a callable reaches an interpreter, found out once and kept with it.
 *
 * A function, class or builtin that other interpreters can import goes by name; a function that
 * they cannot (of __main__, lambdas, closures) goes by value, as a copy taken when it is first sent.
 * The copy is taken anew when something that it refers to has been rebound since. Anything else has
 * no definition and travels in each call's message.
 *
 * Definitions of functions live in the function's own __dict__, so that they die with it; those of
 * classes and builtins in a small table of the module, by address. That address is not held: each definition has a
 * weak reference to its callable, and stands for no other one. Attached; but for definition_name(), in the submitter's interpreter.
 */
#ifndef AIOINTERP_DEFINITION_H
#define AIOINTERP_DEFINITION_H

#include "func.h"
#include "state.h"

/* A new reference to the definition of `callable`, up to date; *definition is NULL when it has none
 * and must be sent as a value. -1 with an exception when it cannot be sent at all. */
int definition_find(struct state *state, PyObject *callable, PyObject **definition);

/* `known`, what definition_find() gave once (borrowed, or NULL), if it still stands for `callable`: a new
 * reference. NULL without an exception: it does not. Runs no Python. */
PyObject *definition_recall(struct state *state, PyObject *known, PyObject *callable);

/* Borrowed from the definition. */
struct func *definition_func(PyObject *definition);

/* "module.qualname" of a callable for people, as UTF-8 in *name; a new reference that holds it (NULL
 * when it is a constant). In any interpreter. */
PyObject *definition_name(PyObject *callable, const char **name);

int definition_register_types(struct state *state);

#endif
