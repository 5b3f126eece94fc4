/* calling: which of a pool's workers should come, and how many more should be started.
 *
 * Part of the pool: the caller holds its lock, unless the function's line says otherwise.
 *
 * Workers are woken one after another, not all at once: a submitter wakes one if nobody is looking
 * (or, with more than two CPUs, if few are), and a worker that finds a job wakes the next as long as
 * there is another. So a stream of small tasks is done by those that are awake already, and a
 * crowd of long ones has all of them at work after as many wake-ups. A worker is started only for a
 * job that even those that are parked or on their way would leave over.
 */
#ifndef AIOINTERP_CALLING_H
#define AIOINTERP_CALLING_H

#include "pool.h"

enum { ANY_CPU = -1 };

/* What must be done once the lock is free. */
struct calls {
    struct list wake; /* workers, unlinked from `parked`, for calling_signal() */
    unsigned start;   /* workers to be started */
};

/* Pending jobs that could start at once if there were workers enough, and slots to be filled for leases; the second,
 * without makers. */
size_t calling_demand_locked(const struct pool *pool);
size_t calling_task_demand_locked(const struct pool *pool);

/* Visits that are due, for which no worker is started. */
size_t calling_visits_locked(const struct pool *pool);

/* Counts a worker in or out of those that are looking. */
void calling_look_locked(struct pool *pool, struct worker *worker, bool looking);
/* A started worker has come to take its first job, or has better things to do. */
void calling_arrived_locked(struct pool *pool, struct worker *worker);
/* Counts one more worker that will be started; false: there are `most`. */
bool calling_count_worker_locked(struct pool *pool, unsigned most);

/* Calls whom the pending jobs need: wakes, of those that parked on `cpu` first, for `slotted` jobs those
 * that are home to an interpreter; starts at most `may_start`, since who counts a worker must be able
 * to say so to somebody who starts it. */
void calling_more_locked(struct pool *pool, bool slotted, int cpu, unsigned may_start,
                         struct calls *calls);
/* The same without starting any: adds to `wake`. */
void calling_wake_some_locked(struct pool *pool, bool slotted, int cpu, struct list *wake);
/* A worker that is parked is so no more, and looking; its own node is free again. */
void calling_unpark_locked(struct pool *pool, struct worker *worker);
/* One that has something else to do than jobs; nothing unless it is parked. */
void calling_one_locked(struct pool *pool, struct worker *worker, struct list *wake);
void calling_everyone_locked(struct pool *pool, struct list *wake);

/* After the lock was given back. A worker on the list waits for its signal and for nothing else, so
 * its node is ours until then. */
void calling_signal(struct list *workers);

#endif
