/* aside: resources that must not be used again, and workers that do not come back from their job.
 *
 * A resource that is condemned is taken out of its slot, which can be filled anew at once. It is ended by
 * its home, which may be at work elsewhere at the moment: the home finds it when it looks for its next job,
 * and is woken if it is parked.
 *
 * A worker that is set aside does not count any more: its slot is free, and another worker can be started
 * in its place. Should it come back from its job, it leaves the resource that it was in, which is condemned;
 * ends what it is home to (pool_reclaim_slot()); and says pool_leave_aside().
 *
 * Everything here may be called attached or detached; a resource must have been left by the time it is handed
 * to its home.
 */
#ifndef AIOINTERP_ASIDE_H
#define AIOINTERP_ASIDE_H

#include "pool.h"

/* The holder of a slot, which has left the resource in it, condemns that. The slot stays held, empty.
 * True: the caller is its home, and ends it now. False: its home will, and is called. */
bool pool_condemn(struct pool *pool, struct worker *worker, struct condemned *condemned);
/* A busy worker, which may hold one that is empty already, takes a slot to fill. False: none is empty, or the pool is
 * closed. */
bool pool_hold_empty(struct pool *pool, struct worker *worker);
/* A condemned resource that this worker has to end, or NULL. */
void *pool_take_condemned(struct pool *pool, struct worker *worker);

/* Goes on without a worker that is busy: its slot is free from now on, and empty, the resource in it
 * condemned. Returns how many workers should be started, as for POOL_START_WORKER: one in its
 * place, and for those whom it had kept waiting. */
unsigned pool_set_aside(struct pool *pool, struct worker *worker, struct condemned *condemned);
/* For a worker that was set aside and has left the resource: its home is to end it. True: that is the
 * caller. */
bool pool_left_condemned(struct pool *pool, struct worker *worker, struct condemned *condemned);

/* The last call of a worker that was set aside. */
void pool_leave_aside(struct pool *pool, struct worker *worker);
/* The same for one that will never leave, said by whoever makes sure of that: nobody will end what it is home to. The
 * resource that it is in is nobody's any more; its home, if that is another worker, waits for it no longer. */
void pool_give_up(struct pool *pool, struct worker *worker, struct condemned *condemned);
/* Workers that were set aside and have neither left nor been given up. */
unsigned pool_aside(struct pool *pool);

/* With the lock held. */
void *aside_take_condemned_locked(struct worker *worker);
/* Everybody has left the resource. True: `worker` (or NULL) itself is its home; else that is called. */
bool aside_hand_to_home_locked(struct pool *pool, struct worker *worker,
                               struct condemned *condemned, struct list *wake);

#endif
