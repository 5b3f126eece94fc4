/* hosting: the host's side: calls of coroutine functions, as Tasks of an event loop in a worker's interpreter.
 *
 * aiointerpreters._hosting.main() makes the loop and a Host, which that loop calls whenever its mailbox has something
 * (core/mailbox). The Host takes all that is there: each call is decoded and becomes an asyncio Task in a
 * contextvars.Context of its own, begun at once (eager); so one that does not wait has ended by then. What has ended in one
 * turn of the loop is published together: quietly where nobody has to be told, else by one visit to the main
 * interpreter, unless another host is about to make one (core/combine).
 *
 * A call is the Host's until its outcome is encoded; then it is taken out of the mailbox, which says whether it still was
 * (hosts), and published.
 *
 * What is to be stopped is cancelled as asyncio cancels a Task. If the loop does not get to that, the watch knocks, and
 * `Interrupted` is raised where the interpreter is, if that is in the Task that is to stop and in no other: it ends that
 * Task. Where the standard library's code was interrupted, the host is retired: it gets no more calls, and its interpreter is
 * not used again.
 *
 * Everything here is called attached to the host's interpreter, in the thread of its loop.
 */
#ifndef AIOINTERP_HOSTING_H
#define AIOINTERP_HOSTING_H

#include "state.h"
#include "target.h"

#include <stdint.h>

/* For a knock at a host (target), in its own thread: has the coroutine that runs interrupted, if that is to stop. */
enum interruption hosting_interrupt(struct target *target, uint64_t wanted);

/* host(loop): the Host for the calling worker, which runs one; a function of the extension module. */
PyObject *hosting_host(PyObject *module, PyObject *loop);
extern const char hosting_host_doc[];

#endif
