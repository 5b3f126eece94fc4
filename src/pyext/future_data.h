/* future_data: what the rooms of the future share: its fields, and telling and settling.
 *
 * Private to future, future_outcome and future_tell. Attached to the interpreter that submitted, as
 * everything of a future. `state` is that of the module there.
 */
#ifndef AIOINTERP_FUTURE_DATA_H
#define AIOINTERP_FUTURE_DATA_H

#include "future.h"

typedef struct {
    struct task *task;   /* owned, never NULL between tp_new and tp_dealloc */
    PyObject *result;    /* what Python sees as _result; NULL is None */
    PyObject *exception; /* … as _exception; NULL is None */
    PyObject *condition; /* threading.Condition, made when touched */
    PyObject *waiters;   /* list, likewise */
    PyObject *callbacks; /* list, likewise */
    bool by_hand;        /* ended by set_result() and the like: what a worker leaves is ignored */
    unsigned decoding;   /* threads in the middle of decoding the outcome */
} FutureData;

FutureData *future_data(PyObject *self);

/* -- future_tell -- */

/* From now on whoever ends the task tells, and the task keeps its future alive for that. Returns
 * whether the task has ended already, so that nobody will. `foreign`: telling may run anybody's code,
 * as it may unless a callback is known (future_knows_callback). */
bool future_observe(PyObject *self, FutureData *data, bool foreign);

/* Ends a task and tells those who wait for it, but runs no callbacks. Its future, a new reference; NULL:
 * it has none any more. */
PyObject *future_end_and_tell_waiters(struct state *state, struct task *task);
/* After it was told: what was kept for that is not needed any more. */
void future_release_kept(struct task *task);

/* The condition, made when there is none. A new reference, or NULL with an exception. */
PyObject *future_condition(struct state *state, PyObject *self);

/* A condition that is held. Its `release` was looked up before it was acquired: calling that takes no
 * memory, so that it cannot stay locked for want of any. */
struct locked {
    PyObject *condition; /* NULL: none is held */
    PyObject *release;
};

/* Holds the condition while it is not NULL: nobody can wait on one that was never touched. */
int future_lock(FutureData *data, struct locked *locked);
void future_unlock(struct locked locked, bool notify);
/* With the condition held: calls `method` of every waiter of concurrent.futures.wait(). */
void future_tell_waiters(PyObject *self, FutureData *data, const char *method);

void future_log_callback_error(struct state *state, PyObject *self);
/* Calls the done-callbacks in order, each once. An Exception is logged; anything else is, too, when
 * `in_worker`, and goes on to the caller (-1) otherwise, as in concurrent.futures. */
int future_invoke_done_callbacks(struct state *state, PyObject *self, bool in_worker);

/* 1: it is cancelled; 0: it cannot be any more; -1 with an exception of a callback. */
int future_try_cancel(struct state *state, PyObject *self);

/* -- future_delivery -- */

/* Whether a done-callback is the one by which asyncio follows a concurrent future: it runs nobody's
 * code, and can be done for many futures at once. */
bool future_knows_callback(struct state *state, PyObject *callback);
int future_register_delivery(struct state *state);

/* -- future_outcome -- */

/* After the end: moves what the worker left behind to `result` or `exception`, decoding it. -1 with an
 * exception that has nothing to do with the outcome (an interrupt, memory, recursion): ask again. */
int future_settle(struct state *state, FutureData *data);

/* Waits up to `timeout` (seconds, or None) for the end, and settles. -1 with TimeoutError,
 * CancelledError, or what a signal handler raised. */
int future_await_outcome(struct state *state, FutureData *data, PyObject *timeout);

#endif
