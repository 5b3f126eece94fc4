/* lending: Python objects and buffers of one interpreter, lent to others without a copy on the way.
 *
 * What is lent stays with its owner: the object is held, its buffer exported, until the last holder
 * of the loan is gone and the owner's interpreter passes by (lending_collect). The other side gets a
 * memoryview over an exporter object that holds the loan. The main interpreter lends memory, large
 * bytes and str, and outlives whoever has them; a worker's lends queues only (see handover). Every
 * function wants the caller attached to the interpreter whose state it is given.
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
/* The interpreter ends. What is still out is given up (it leaks). */
void lending_close(struct state *state);

/* The memoryview of an argument that is lent though it is none itself, as an interpreter cannot have its
 * like: an object of a type written in C that has the buffer protocol and one axis at least, as mmap,
 * ctypes arrays and NumPy's have, but for bytes, bytearray and array.array. 1: a new reference in *memoryview; 0: it is something else; -1 with what its type says (an mmap
 * is closed, say). */
int lending_view_of(PyObject *value, PyObject **memoryview);

/* A view of the memory of a memoryview. One over memory that was lent to this interpreter becomes a
 * view of the same loan, so it comes home as what it is. NULL with an exception: the memoryview was
 * released, or holds what cannot be lent. */
struct view *lending_lend(struct state *state, PyObject *memoryview);
/* The same, only for one over memory that was lent to this interpreter or handed to it: 1, and the view.
 * 0: it is over other memory. -1 with an exception, as lending_lend(). */
int lending_lend_again(struct state *state, PyObject *memoryview, struct view **view);
/* A concurrent.interpreters.Queue, kept alive until the loan is back. */
struct view *lending_lend_queue(struct state *state, PyObject *queue);

/* Bytes from which on what a bytes, str, bytearray or array.array has travels beside the message. Below
 * that, copies in the message take less. */
enum { LENDING_BLOCK = 65536 };
/* Whether an exact bytes or str is that large. */
bool lending_is_block(PyObject *value);
/* Its contents, for a receiver who copies or reads them. Main interpreter only. */
struct view *lending_lend_block(struct state *state, PyObject *value);
/* Describes the units of a large bytes or str in a view: kind, itemsize, size, memory. */
void lending_describe_block(struct view *view, PyObject *value);
/* A copy of what such a view describes: a new bytes or str, or NULL with an exception. The view stays the
 * caller's. */
PyObject *lending_read_block(const struct view *view);

/* A view of `loan` with the geometry of `buffer`. NULL with MemoryError. */
struct view *lending_describe_memory(struct loan *loan, const Py_buffer *buffer);

/* Whether the value is a concurrent.interpreters.Queue (3.14 and later). */
bool lending_is_queue(PyObject *value);

/* The type of what a memoryview's memory was lent from, by another interpreter to this one; NULL: it was
 * not lent, or that is unknown. */
const char *lending_owner(struct state *state, PyObject *memoryview);

/* The value that a view of memory or of a queue stands for: a memoryview, or the queue. Takes the view over, also on
 * failure. A new reference, or NULL with an exception. */
PyObject *lending_receive(struct state *state, struct view *view);
#endif
