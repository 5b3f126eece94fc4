/* nesting: tasks that wait for tasks, and whether that can ever end.
 *
 * A worker that waits without a time limit for a task, or for room to queue one, is entered here for as
 * long as it waits. When every worker of a pool waits so, for what only workers of pools can do that
 * wait so too, nothing will ever move: the wait that would close the circle raises instead. Waits with
 * a time limit end by themselves, and what waits in any other way (a lock, wait() and as_completed() of
 * concurrent.futures, an event loop) cannot be seen.
 *
 * What waits are for is known by address. Whoever waits holds the task or the turn, and its own crew. The crew that
 * it waits for lives as long as that task has not ended, or that turn was not granted, and is freed under the
 * GIL below only: so it is looked at only when a wait, looked at under that GIL, is not over.
 *
 * Guarded by the GIL of the interpreter that has the executors; every function wants it attached. A
 * thread that is no worker pays for one look at a thread-local variable.
 */
#ifndef AIOINTERP_NESTING_H
#define AIOINTERP_NESTING_H

#include "crew.h"
#include "task.h"

/* Stays where it is from nesting_enter() to nesting_leave(). */
struct nested_wait {
    struct list node;
    struct crew *waiter;     /* whose worker waits; NULL: not entered */
    struct crew *on;         /* whose workers it waits for */
    const struct task *task; /* until that has ended; or NULL: */
    const struct turn *turn; /* until that is granted */
    unsigned generation;     /* of forks */
};

/* Before the calling thread parks until `task` has ended, or `turn` of the pool of `on` is granted (the
 * other is NULL); forever if `deadline` is OS_FOREVER. `on` may be NULL. -1 with a DeadlockError. */
int nesting_enter(struct nested_wait *wait, struct crew *on, const struct task *task,
                  const struct turn *turn, int64_t deadline);
/* After it. */
void nesting_leave(struct nested_wait *wait);

#endif
