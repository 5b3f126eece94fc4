/* outcome: waiting for the end of a task, and reading what its worker left behind.
 *
 * Everything here wants the caller attached to the interpreter that submitted, and holding the task.
 */
#ifndef AIOINTERP_OUTCOME_H
#define AIOINTERP_OUTCOME_H

#include "task.h"

/* Nanoseconds between two looks at whether a signal has come, for long waits: one that comes just before a wait
 * does not end it. */
enum { LOOK_FOR_SIGNALS = 100000000 };

/* Nanoseconds of os_now_ns() for `timeout` (seconds, or None) from now; OS_FOREVER for None. -1 with an
 * exception. */
int outcome_deadline(PyObject *timeout, int64_t *deadline);

/* Waits, detached, until the task has ended, cancelled or not. -1 with TimeoutError, or with what a
 * signal handler raised. */
int outcome_await(struct task *task, int64_t deadline);

/* Whether the calling thread is in the habit of waiting for each task that it has submitted before it
 * submits another one, as of `task`, which it submits now. */
bool outcome_is_awaited_at_once(const struct task *task);

/* Whether the outcome of an ended task is in its message, in another form than Python's. */
bool outcome_is_encoded(const struct task *task);

/* The outcome of an ended task that was not cancelled: a new reference to the value, or to the
 * exception. A plain one is moved out; an encoded one stays, so that it can be read again. -1 with an
 * exception that has nothing to do with the outcome (an interrupt, memory, recursion): ask again. */
int outcome_read(struct state *state, struct task *task, PyObject **value, PyObject **exception);

/* As a raise statement: sets the context, and takes a class, too. */
void outcome_raise(PyObject *exception);

#endif
