/* renewal: the interpreters that a worker is home to, from making one to ending it.
 *
 * An interpreter is recycled, that is ended while its executor goes on: when it has run as many tasks as it may
 * (max_tasks_per_interpreter); when no task has used it for some time (idle_timeout); or when an interruption may have
 * broken it. Only its home can do that (interp.h).
 *
 * No task can be in it then, nor come to it. Whoever condemns it holds its slot, and has left it; from
 * pool_condemn() on it is in no slot, so that nobody can find it. That is after the last task's function has returned
 * and its value has been encoded: what is left of the task, publishing, needs no interpreter. What was asked of the task
 * (cancel(), a time limit) is settled as it always is; and interp_end() waits until nobody knocks or looks at it any more.
 *
 * Work goes on meanwhile. The worker does not count as looking for jobs, so others are called and started for
 * those that come, up to max_workers. It holds the empty slot while it makes the new interpreter, so that
 * no task is caught behind that who could have another one. Then it gives the slot back and ends the old one: so a task waits
 * for the end of an interpreter only if every other thread is at work. A worker that is home to none of both makes the
 * new one all the same; the old one's home is called, and ends it when it next looks for a job.
 *
 * If the new one cannot be made, the slot stays empty, and the next task that takes it says why.
 *
 * Locking: the pool's lock for what is in slots and lists (core/aside, core/slots); `interp->tasks` belongs to
 * the holder of the slot. Everything here is called by the worker's own thread.
 */
#ifndef AIOINTERP_RENEWAL_H
#define AIOINTERP_RENEWAL_H

#include "task.h"
#include "worker.h"

/* Reads (max_tasks, idle_timeout) into a crew that is being made: tasks that an interpreter may run, 0 for any number; and
 * seconds that it may be idle, or None. 0, or -1 with an exception. Attached. */
int renewal_set(struct crew *crew, PyObject *options);

/* Makes the interpreter of the slot that is held; `ahead` of any task, more of it is made ready. 0,
 * attached to it; or -1, at main, with an exception. */
int renewal_make(struct worker_thread *worker, bool ahead);

/* At the interpreter, whose task has ended: counts it. True: it was the last that may run there. */
bool renewal_is_worn(struct worker_thread *worker);
/* The worker, which may be attached anywhere, condemns what is in the slot that it holds, and will renew it: until then it takes no
 * job. Detached afterwards. */
void renewal_begin(struct worker_thread *worker);
/* What renewal_begin() has promised, once the task has been published. Gives the next job, as pool_take(). */
struct job *renewal_finish(struct worker_thread *worker);

/* Ends what is in the slot that is held, and was idle for too long. Gives the next job. */
struct job *renewal_end_idle(struct worker_thread *worker);
/* Ends an interpreter that the worker, which is detached, is home to; counts it if that cannot be done. */
void renewal_end(struct worker_thread *worker, struct interp *interp);
/* Ends what others have condemned of what this worker is home to. */
void renewal_end_condemned(struct worker_thread *worker);
/* The worker leaves: ends all that it is home to, waiting for whoever uses it. */
void renewal_end_all(struct worker_thread *worker);

#endif
