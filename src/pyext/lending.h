/* lending: Python objects and buffers of one interpreter, lent to others without a copy.
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
/* The interpreter ends: what is still out is given up (the memory stays valid, and leaks). */
void lending_close(struct state *state);

/* A view of the memory of a memoryview. One over memory that was lent to this interpreter becomes a
 * view of the same loan, so it comes home as what it is. NULL with an exception. */
struct view *lending_lend(struct state *state, PyObject *memoryview);
/* A concurrent.interpreters.Queue, kept alive until the loan is back. */
struct view *lending_lend_queue(struct state *state, PyObject *queue);

/* Whether the value is a concurrent.interpreters.Queue (3.14 and later). */
bool lending_is_queue(PyObject *value);

/* The value that a view stands for: a memoryview, or the queue. Takes the view over, also on
 * failure. A new reference, or NULL with an exception. */
PyObject *lending_receive(struct state *state, struct view *view);
/* The same, but the exporter object itself, for unpickling out-of-band buffers. */
PyObject *lending_receive_exporter(struct state *state, struct view *view);

int lending_register_types(struct state *state);

#endif
