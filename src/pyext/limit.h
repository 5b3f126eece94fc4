/* limit: what becomes of a call when as many tasks are pending as may be (core/turns).
 *
 * Attached to the interpreter that made the executor.
 */
#ifndef AIOINTERP_LIMIT_H
#define AIOINTERP_LIMIT_H

#include "crew.h"
#include "task.h"

/* Sets the crew's limit from `options`, a tuple of the most pending tasks, whether to raise when these
 * are there, and the seconds to wait otherwise (or None). Before its first task. -1 with an
 * exception. */
int limit_set(struct crew *crew, PyObject *options);
bool limit_is_set(const struct crew *crew);

/* Queues a task for which there was no room: waits until there is, or raises queue.Full; TimeoutError if
 * `until` (of os_now_ns()) comes first. POOL_QUEUED and the like; or -1 with an exception. */
int limit_submit(struct crew *crew, struct task *task, int64_t until);

/* A task has just been cancelled: takes it out of its queue, to make room there at once. True: its queue's
 * reference is the caller's. False: it is in none, or a worker has it, who will see. */
bool limit_withdraw(struct task *task);

/* A turn, as a Python object, for whoever waits for it in an event loop. `bell`: a descriptor that can
 * be written to until the turn is over. */
PyObject *limit_new_turn(struct state *state, struct crew *crew, int bell);
/* The turn of such an object; NULL with a TypeError. */
struct turn *limit_turn(struct state *state, PyObject *object);

int limit_register_types(struct state *state);

#endif
