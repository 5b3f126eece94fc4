/* future: concurrent.futures.Future in C, over a task.
 *
 * What Python code sees of the standard class (`_condition`, `_waiters`, `_done_callbacks`, …) comes
 * into being when something touches it; from then on the future is observed (core/fstate), and who
 * ends it has to tell. Everything here wants the caller attached to the interpreter that submitted.
 */
#ifndef AIOINTERP_FUTURE_H
#define AIOINTERP_FUTURE_H

#include "task.h"

/* The future of a task; takes over the caller's reference to it, also on failure. */
PyObject *future_new(struct state *state, struct task *task);

/* For the worker whose quiet end was refused: ends the task and tells everybody. The callbacks run
 * here; what they raise is logged. */
void future_tell_finished(struct state *state, struct task *task);
/* The same for a task that has run for too long and whose worker was set aside. Nothing if it has ended. */
void future_tell_expired(struct state *state, struct task *task);
/* For the worker of a task that was stopped without its future having asked: cancels it, telling whoever waits. */
void future_tell_stopped(struct state *state, struct task *task);
/* The same for all tasks that were handed in, by who has the combiner's role. They are observed by us
 * (core/fstate): what they tell an event loop goes there together, with one wake-up. Drops them. */
void future_tell_together(struct state *state, struct combiner *told);
/* The same for a task that was cancelled before it started. */
void future_tell_cancelled(struct state *state, struct task *task);

/* Ends a pending task that will not run with `exception` (borrowed). */
void future_fail(struct state *state, struct task *task, PyObject *exception);
/* Cancels a pending task that was taken out of its queue, telling whoever waits. */
void future_cancel_pending(struct state *state, struct task *task);

/* A KeyboardInterrupt has left a wait for the task's future, or came before anybody had that: a tagged call is cancelled, as
 * by Future.cancel(), so that it does not start any more or is interrupted. An exception that is set stays. */
void future_interrupt(struct state *state, struct task *task);

int future_register_types(struct state *state);

#endif
