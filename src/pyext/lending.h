/* lending: Python objects and buffers of one interpreter, lent to others without a copy on the way.
 *
 * What is lent stays with its owner: the object is held, its buffer exported, until the last holder
 * of the loan is gone and the owner's interpreter passes by (lending_collect). The other side gets a
 * memoryview over an exporter object that holds the loan. Every function wants the caller attached
 * to the interpreter whose state it is given.
 */
#ifndef AIOINTERP_LENDING_H
#define AIOINTERP_LENDING_H

#include "message.h"
#include "state.h"

/* Gives the state its home for loans; returned loans of the main interpreter are collected by a
 * pending call, those of a worker's interpreter between its tasks. 0, or -1 with an exception. */
int lending_open(struct state *state);
/* Releases what has come back. */
void lending_collect(struct state *state);
/* The interpreter ends. Blocks that are still out are moved; what else is out is given up (the memory
 * stays valid, and leaks). */
void lending_close(struct state *state);

/* A view of the memory of a memoryview. One over memory that was lent to this interpreter becomes a
 * view of the same loan, so it comes home as what it is. NULL with an exception. */
struct view *lending_lend(struct state *state, PyObject *memoryview);
/* A concurrent.interpreters.Queue, kept alive until the loan is back. */
struct view *lending_lend_queue(struct state *state, PyObject *queue);

/* Whether an exact bytes or str is large enough to be lent, and copied once by whoever receives it. */
bool lending_is_block(PyObject *value);
/* Its contents, which stay readable when this interpreter ends first. */
struct view *lending_lend_block(struct state *state, PyObject *value);
/* A copy of what was lent: a new bytes or str, or NULL with an exception. The view stays the caller's. */
PyObject *lending_read_block(const struct view *view);

/* Whether the value is a concurrent.interpreters.Queue (3.14 and later). */
bool lending_is_queue(PyObject *value);

/* The value that a view of memory or of a queue stands for: a memoryview, or the queue. Takes the view over, also on
 * failure. A new reference, or NULL with an exception. */
PyObject *lending_receive(struct state *state, struct view *view);
#endif
