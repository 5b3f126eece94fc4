/* pool_lock: the pool's lock, for the rooms that the pool is made of. Giving it back checks the invariants
 * where POOL_CHECK is on. */
#ifndef AIOINTERP_POOL_LOCK_H
#define AIOINTERP_POOL_LOCK_H

#include "pool_check.h"

static inline void
pool_lock(struct pool *pool)
{
    os_mutex_lock(&pool->lock);
}

static inline void
pool_unlock(struct pool *pool)
{
    POOL_CHECK(pool);
    os_mutex_unlock(&pool->lock);
}

/* Under the lock, when the last job or lease that waits in a closed pool may be gone: those parked have to be told, so that
 * they leave. */
void pool_note_progress_locked(struct pool *pool, struct list *wake);

/* Gives the lock back too. Whoever awaits the workers may end the pool as soon as the lock is free:
 * after that only the address of the word is used. */
void pool_unlock_and_note_departure(struct pool *pool);

#endif
