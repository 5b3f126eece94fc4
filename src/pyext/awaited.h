/* awaited: the Call that executor.run() gives: a task as an event loop's future, and as a coroutine.
 *
 * asyncio takes it for one of its futures (asyncio.isfuture(): it can be gathered, shielded and waited for
 * without a Task) and for a coroutine (it can be made a Task). It is one object for each call, with no
 * concurrent future beside it.
 *
 * Everything is guarded by the GIL of the interpreter that submitted; but for cancel() from the Python side, it changes in
 * the thread of its event loop only. It holds its task until the outcome was read; the task holds the
 * Call until it has ended (loops). Its end is a step in the loop's thread: what the worker has left
 * is decoded there, then the callbacks are called, each in its context, one Call after the other.
 */
#ifndef AIOINTERP_AWAITED_H
#define AIOINTERP_AWAITED_H

#include "loops.h"
#include "state.h"
#include "task.h"

/* A Call over `task`, which it takes over, also on failure; queued by the caller then, unless it has
 * ended already. `loop`: borrowed. */
PyObject *awaited_new(struct state *state, LoopObject *loop, struct task *task);
/* The task of a Call, borrowed; NULL: it has ended, as its loop knows, or was cancelled; or, with an exception, this is
 * no Call. */
struct task *awaited_task(struct state *state, PyObject *self);
/* The task could not be queued: nobody has seen the Call. Takes its reference. */
void awaited_discard(struct state *state, PyObject *self);

int awaited_register_types(struct state *state);

#endif
