/* roster: the workers of a pool by name, what each is at, and what all of them have done (stats).
 *
 * A worker enters the roster after pool_join() and leaves it before pool_leave(); what it has counted
 * stays with the pool. In a forked child the roster is empty, and counting starts afresh.
 *
 *     roster_join(pool, worker, thread);
 *     roster_start(worker, job, STATS_TAGGED, function);  run it
 *     roster_end(pool, worker, job, STATS_DONE);          publish it
 *     roster_leave(pool, worker);
 *
 * Any thread, attached or not; nothing blocks. What ends in _locked is for the pool, under its lock.
 */
#ifndef AIOINTERP_ROSTER_H
#define AIOINTERP_ROSTER_H

#include "pool.h"

/* -- the worker -- */

/* `thread`: an identifier of the caller's, for roster_walk(). */
void roster_join(struct pool *pool, struct worker *worker, unsigned long thread);
void roster_leave(struct pool *pool, struct worker *worker);

/* The worker starts on a job that it has taken; `object` as for stats_start(). */
void roster_start(struct worker *worker, const struct job *job, enum stats_doing doing,
                  const void *object);
/* The job has ended: to be said before anybody is told. */
void roster_end(struct pool *pool, struct worker *worker, const struct job *job,
                enum stats_event event);

/* -- anybody -- */

/* Counts something that is in no worker's sheet. */
void roster_count(struct pool *pool, enum stats_event event);

struct roster_totals {
    struct stats_sum sum;
    size_t pending; /* plain and slotted jobs */
    unsigned workers;
    unsigned made; /* interpreters */
};

void roster_total(struct pool *pool, struct roster_totals *totals);

/* Calls `visit` for every worker in the roster, in the order in which they came, under the pool's lock:
 * so it must neither wait, nor call Python, nor come back to the pool. Neither the worker's slot nor what is
 * in it changes meanwhile. */
void roster_walk(struct pool *pool, void (*visit)(struct worker *worker, void *argument),
                 void *argument);

/* -- for the pool -- */

/* Of no workers: when the pool is made, and in a forked child. */
void roster_init(struct pool *pool);
/* A job is queued: decides whether it is timed. */
void roster_stamp_locked(struct pool *pool, struct job *job);

#endif
