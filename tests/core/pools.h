/* pools: what the tests of the pool's rooms have in common. */
#ifndef AIOINTERP_TEST_POOLS_H
#define AIOINTERP_TEST_POOLS_H

#include "check.h"

#include "core/pool.h"

#include <sys/wait.h>

#define PLAIN ((struct job){.slotted = false})
#define SLOTTED ((struct job){.slotted = true})
#define MAKER(count) ((struct job){.wants = (count)})

static inline void
pool_make(struct pool *pool, unsigned max_workers, unsigned max_slots)
{
    CHECK_EQ(pool_init(pool, max_workers, max_slots), 0);
    CHECK_EQ(pool_pending(pool), 0);
    CHECK_EQ(pool_idle(pool), 0);
    CHECK_EQ(pool_made(pool), 0);
}

/* Ends the part of a worker that is idle; its interpreters, if any, were plain numbers. */
static inline void
depart(struct pool *pool, struct worker *worker)
{
    pool_close(pool);
    CHECK(pool_wait(pool, worker) == NULL);
    while (pool_reclaim_slot(pool, worker) != NULL) {
        pool_slot_ended(pool, worker);
    }
    pool_leave(pool, worker);
}

/* In the child; in the parent, after the child has ended well. */
static inline bool
fork_with(struct pool *pool)
{
    pool_before_fork(pool);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        check_limit(60); /* alarms are not inherited */
        pool_after_fork_in_child(pool);
        return true;
    }
    pool_after_fork_in_parent(pool);
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    return false;
}

#endif
