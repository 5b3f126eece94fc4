/* loops: event loops that are told of tasks that have ended, many at a time, with one wake-up.
 *
 * Who wants to be told embeds a struct awaiter and has the task name it (task->awaiter), with the task
 * observed by us (core/fstate). Whoever ends the task, attached to the interpreter that submitted, says
 * loops_tell(); after the last of those that it tells, loops_send(). The loop then calls `tell` of each,
 * in its own thread.
 *
 * Everything here is guarded by that interpreter's GIL; nothing is touched without it. A loop has one
 * LoopObject as long as tasks are to be told there. What refers to what:
 *
 *   the state    its loops, while they have tasks that have not ended (`expected`)
 *   a task       its awaiter; with `kept`, by a reference to the owner
 *   a loop       awaiters that are to be told: a reference to each owner, from loops_tell() on
 *   a wake       its loop: the callable that asyncio's loop is given. One that goes without having been
 *                called says that the loop was closed; then its awaiters are forgotten.
 *
 * So what waits for a task lives as long as the task may end; once it has ended, what refers to it is
 * seen by the garbage collector, and goes with its event loop.
 */
#ifndef AIOINTERP_LOOPS_H
#define AIOINTERP_LOOPS_H

#include "state.h"
#include "task.h"

typedef struct loop LoopObject;

struct awaiter {
    PyObject *owner;      /* borrowed: the object that this is a part of; constant */
    LoopObject *loop;     /* held; the owner traverses and clears it */
    struct awaiter *next; /* in the loop's list */
    bool kept;            /* constant: tasks hold a reference to the owner */
    bool listed;
    /* In the loop's thread: what it is about has ended. -1 with an exception that is to leave the loop
     * (a Ctrl-C); it is told again then. */
    int (*tell)(struct awaiter *awaiter);
    /* In any thread: it will not be told, since the loop is closed. */
    void (*forget)(struct awaiter *awaiter);
};

/* Of the event loop that runs in this thread, a new reference; or NULL with a RuntimeError that says what
 * to do instead of calling `what`. */
LoopObject *loops_running(struct state *state, const char *what);
/* asyncio's loop, borrowed. */
PyObject *loops_event_loop(const LoopObject *loop);
/* Whether it is closed, or does not say so; with no exception. */
bool loops_is_closed(const LoopObject *loop);
/* loop.call_soon(callback, argument, context=context), from any thread. -1 with an exception. */
int loops_call_soon(const LoopObject *loop, PyObject *callback, PyObject *argument,
                    PyObject *context);
/* loop.call_exception_handler() with the exception that is set, and `where`: what it is about. */
void loops_report(const LoopObject *loop, const char *message, PyObject *where);

/* The task, not queued yet or observed by us anyhow, is to tell `awaiter`. -1 with an exception. */
int loops_expect(struct state *state, struct task *task, struct awaiter *awaiter);
/* It is not any more, whether it was or not. */
void loops_unexpect(struct state *state, struct task *task);

/* The task has ended; nothing if nobody expects it. Runs no Python but destructors. */
void loops_tell(struct state *state, struct task *task);
/* Wakes each loop that has something new. Keeps the exception that is set. */
void loops_send(struct state *state);

int loops_register_types(struct state *state);

#endif
