/* submit: from a call of a function to a queued task, and its future if it is to have one.
 *
 * `values` and `keywords` are as vectorcall has them, the function not among them. What cannot be sent
 * ends its own task, not the call. Attached to the interpreter that made the executor.
 */
#ifndef AIOINTERP_SUBMIT_H
#define AIOINTERP_SUBMIT_H

#include "crew.h"
#include "state.h"
#include "task.h"

/* A future, or NULL with an exception when the crew does not accept the call. With a `turn` (or NULL) it
 * need not wait for room. */
PyObject *submit(struct state *state, struct crew *crew, PyObject *function,
                 PyObject *const *values, size_t count, PyObject *keywords, struct turn *turn);

/* The two halves of it: a task to be queued, or one that has ended because it cannot be sent; the caller's.
 * NULL with an exception when the crew does not accept the call. */
struct task *submit_make(struct state *state, struct crew *crew, PyObject *function,
                         PyObject *const *values, size_t count, PyObject *keywords);
/* The same for a direct call of a tag, which takes no `context=` out of the keywords. */
struct task *submit_make_direct(struct state *state, struct crew *crew, PyObject *tag,
                                PyObject *const *values, size_t count, PyObject *keywords);
/* Whether a call of it would be a tagged task; -1 with an exception. */
int submit_is_tagged(struct state *state, PyObject *function);

/* Whether the crew accepts work; -1 with the exception that says why not. */
int submit_check_open(struct state *state, struct crew *crew);
/* Before an interpreter is made: encodes the initializer for it, and notes what they take over. -1 with an
 * exception; the crew is broken when it is the initializer's. */
int submit_prepare_interps(struct state *state, struct crew *crew);
/* Queues a filled task, which it takes a reference to; with a `turn`, or NULL. Where there is no room, it
 * waits as long as the crew has it, and until `deadline` (of os_now_ns()). -1 with an exception. */
int submit_queue(struct state *state, struct crew *crew, struct task *task, struct turn *turn,
                 int64_t deadline);
/* The same without a limit, for what is no call of the user's. */
int submit_start(struct state *state, struct crew *crew, struct task *task);
/* Cancels a task without a future, whose outcome nobody will read, and drops it: what has not started never
 * will, and what runs is interrupted, where it can be. */
void submit_give_up(struct task *task);
/* The task was accepted, and the exception that is set was raised before anybody was given what its outcome is read from. If
 * that is a Ctrl-C (while its worker was being started), the task is interrupted as by one in a wait for it. */
void submit_interrupt_unseen(struct state *state, struct task *task);
/* As submit_queue(), but 0 when there is no room, and nothing was done; 1: it is queued. */
int submit_queue_if_room(struct state *state, struct crew *crew, struct task *task);

/* The context variables that calls of `function` take along, with their values at this moment:
 * *context, a new reference or NULL. -1 with an exception. */
int submit_context(struct state *state, struct crew *crew, PyObject *function, PyObject **context);

/* Raises what a crew that is closed answers. */
void submit_raise_closed(struct state *state, struct crew *crew);
/* Starts so many; the first error of one that nobody makes up for is raised at the end (-1). */
int submit_start_workers(struct crew *crew, int count);

/* Calls of one function, made one after another and queued a few at a time: the first at once, so that
 * a worker is on its way, then more and more together. Nobody can tell, because whatever is not queued
 * yet is queued before anything runs that is not ours: batch_add() sees to that for what it runs, and
 * the caller (batch_flush) for what he runs between two calls. Used by one thread at a time. */
struct batch {
    struct state *state; /* borrowed, as crew and function: they outlive the batch */
    struct crew *crew;
    PyObject *function;
    PyObject *context;    /* of submit_context(), borrowed; NULL: none */
    struct list jobs;     /* not queued yet */
    size_t count;         /* of them */
    size_t limit;         /* that many are queued together */
    PyObject *target;     /* borrowed: what the last call came to in the end */
    PyObject *definition; /* of `target`; NULL when Python has run since it was found */
    bool refused;         /* batch_flush() has failed within batch_add() */
    bool full;            /* there was no room for the last call, whose task is not queued yet */
};

void batch_init(struct batch *batch, struct state *state, struct crew *crew, PyObject *function,
                PyObject *context);
/* A task that is sure to end, not to be read through a future but by whoever holds the reference that
 * this gives (task->wanted); but with batch->full, it has still to be queued, with submit_queue() or
 * submit_queue_if_room(). NULL with an exception: no task was made. */
struct task *batch_add(struct batch *batch, PyObject *const *values, size_t count);
/* Queues what is not queued yet. -1 with an exception: it could not be, and has been cancelled. */
int batch_flush(struct batch *batch);

#endif
