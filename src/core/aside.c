#include "aside.h"

#include "awake.h"
#include "calling.h"
#include "pool_lock.h"
#include "slots.h"

#include <limits.h>

/* -- condemned resources -- */

void *
aside_take_condemned_locked(struct worker *worker)
{
    struct list *node = list_pop_front(&worker->condemned);
    worker->summoned = !list_is_empty(&worker->condemned);
    return node == NULL ? NULL : LIST_ENTRY(node, struct condemned, node)->resource;
}

void *
pool_take_condemned(struct pool *pool, struct worker *worker)
{
    pool_lock(pool);
    void *resource = aside_take_condemned_locked(worker);
    pool_unlock(pool);
    return resource;
}

bool
pool_hold_empty(struct pool *pool, struct worker *worker)
{
    pool_lock(pool);
    bool held = !pool->closed && (worker->slot != NULL || pool->empty_count > 0);
    if (held && worker->slot == NULL) {
        slots_hold_locked(pool, worker, pool->empty.next);
    }
    pool_unlock(pool);
    return held;
}

/* A worker that looks and has become home to nothing is one of those. */
static void
leave_home_locked(struct pool *pool, struct worker *home)
{
    home->homes--;
    pool->homeless += home->looking && home->homes == 0;
}

bool
aside_hand_to_home_locked(struct pool *pool, struct worker *worker, struct condemned *condemned,
                          struct list *wake)
{
    struct worker *home = condemned->home;
    leave_home_locked(pool, home);
    if (home == worker) {
        return true;
    }
    list_push_back(&home->condemned, &condemned->node);
    calling_one_locked(pool, home, wake);
    slots_note_return(pool);
    return false;
}

bool
pool_condemn(struct pool *pool, struct worker *worker, struct condemned *condemned)
{
    struct list wake;
    list_init(&wake);
    pool_lock(pool);
    condemned->home = worker->slot->home;
    condemned->resource = worker->slot->resource;
    slots_empty_locked(pool, worker->slot);
    bool is_home = aside_hand_to_home_locked(pool, worker, condemned, &wake);
    pool_unlock(pool);
    calling_signal(&wake);
    return is_home;
}

/* -- workers that were set aside -- */

unsigned
pool_set_aside(struct pool *pool, struct worker *worker, struct condemned *condemned)
{
    struct calls calls;
    pool_lock(pool);
    condemned->home = worker->slot->home;
    condemned->resource = worker->slot->resource;
    slots_empty_locked(pool, worker->slot);
    worker->aside = true;
    pool->workers--;
    pool->aside++;
    slots_release_locked(pool, worker);
    unsigned replaced = calling_count_worker_locked(pool, pool->max_workers);
    calling_more_locked(pool, true, ANY_CPU, UINT_MAX, &calls);
    pool_note_progress_locked(pool, &calls.wake);
    pool_unlock(pool);
    calling_signal(&calls.wake);
    return replaced + calls.start;
}

bool
pool_left_condemned(struct pool *pool, struct worker *worker, struct condemned *condemned)
{
    struct list wake;
    list_init(&wake);
    pool_lock(pool);
    bool is_home = aside_hand_to_home_locked(pool, worker, condemned, &wake);
    pool_unlock(pool);
    calling_signal(&wake);
    return is_home;
}

void
pool_leave_aside(struct pool *pool, struct worker *worker)
{
    (void)worker;
    pool_lock(pool);
    pool->aside--;
    awake_note(false);
    pool_unlock_and_note_departure(pool);
}

void
pool_give_up(struct pool *pool, struct worker *worker, struct condemned *condemned)
{
    pool_lock(pool);
    leave_home_locked(pool, condemned->home);
    slots_note_return(pool);
    stats_idle(&worker->sheet);
    stats_collect(&worker->sheet, &pool->past);
    list_remove(&worker->roster_node);
    pool->aside--;
    awake_note(false);
    pool_unlock_and_note_departure(pool);
}

unsigned
pool_aside(struct pool *pool)
{
    pool_lock(pool);
    unsigned aside = pool->aside;
    pool_unlock(pool);
    return aside;
}
