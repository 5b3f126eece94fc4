/* abandon: at exit, workers that were set aside and do not come back.
 *
 * Such a worker's thread is in code of a task that does not return: a blocking read, a call of C code that waits for
 * ever. Its future has ended long ago. Waiting for it would keep the process from ending, as in ThreadPoolExecutor.
 * Leaving it is sound if it can never run Python again, since its interpreter shares types and more with the main
 * one, which is about to be finalized.
 *
 * What makes sure of that is a guard: a thread that attaches to that interpreter, and never lets go of its GIL
 * again. While it has the GIL, the worker is in code that has released it (and so uses no Python), or waits for it,
 * and always will; so will all threads that the task has started. The guard then moves the target from ASIDE to
 * GIVEN_UP. The worker leaves ASIDE only with the same GIL, so exactly one of both happens: if the guard comes second, it
 * goes away again, and the worker, which waits for it before it ends the interpreter (a pin), is waited for.
 *
 * A task that keeps the GIL of its interpreter, in C code that computes, cannot be guarded, and is waited for: its
 * guard gets the GIL as soon as the task returns to Python, and not before.
 *
 * Then nothing may touch what was left: the runtime forgets the interpreters that now nobody can end (the one that the worker is
 * in, and those that it is home to), as in a forked child, and threading counts the thread as ended.
 *
 * Locking: the watch's lock for the flags of a target and while a guard is started (taken before the pool's). A guard takes
 * the pool's lock while it has a GIL, which is allowed, since nobody waits for a GIL with the pool's lock.
 */
#ifndef AIOINTERP_ABANDON_H
#define AIOINTERP_ABANDON_H

#include "crew.h"

/* Starts a guard for each worker of the crew that is set aside and has none. When it has come into effect, the pool counts the
 * worker as gone. Nothing happens where it cannot be done: then they are waited for. Attached to main. */
void abandon_ask(struct crew *crew);

/* When no pool has a worker any more: what has been given up shall not be touched by the end of Python. `any_interp`: there are
 * interpreters whose home has given them up. Attached to main. */
void abandon_finish(bool any_interp);

#endif
