#include "lease.h"

#include "aside.h"
#include "calling.h"
#include "pool_lock.h"
#include "slots.h"

#include <limits.h>

/* -- under the lock -- */

/* Slots with a resource that nobody holds. */
static unsigned
free_made_locked(const struct pool *pool)
{
    return pool->free_count - pool->empty_count;
}

/* Slotted jobs that came before `number`, counted up to `most`. */
static unsigned
jobs_before_locked(const struct pool *pool, uint64_t number, unsigned most)
{
    unsigned count = 0;
    for (const struct list *node = pool->slotted.next; node != &pool->slotted && count < most;
         node = node->next) {
        if (LIST_ENTRY(node, struct job, node)->number > number) {
            break;
        }
        count++;
    }
    return count;
}

/* Whether a lease of that number may have a slot before the jobs that came earlier have theirs. */
static bool
is_due_locked(const struct pool *pool, uint64_t number)
{
    unsigned count = free_made_locked(pool);
    return count > 0 && jobs_before_locked(pool, number, count) < count;
}

bool
leases_next_is_due_locked(const struct pool *pool)
{
    return pool->lease_count > 0 &&
           is_due_locked(pool, LIST_ENTRY(pool->leases.next, struct lease, node)->number);
}

static void
set_locked(struct lease *lease, lease_progress progress)
{
    /* Pairs with the acquire in lease_state(). */
    atomic_store_explicit(&lease->progress, progress, memory_order_release);
    if (lease->may_be_parked) {
        lease->may_be_parked = false;
        os_word_wake_all(
            &lease->progress); /* under the lock, which lease_end() takes before the lease goes */
    }
}

static void
grant_locked(struct pool *pool, struct lease *lease)
{
    lease->slot = slots_take_locked(pool, pool->free.next);
    lease->slot->used = true;
    set_locked(lease, LEASE_GRANTED);
}

/* The oldest that waits, which does so no more. */
static struct lease *
pop_locked(struct pool *pool)
{
    struct list *node = list_pop_front(&pool->leases);
    if (node == NULL) {
        return NULL;
    }
    pool->lease_count--;
    return LIST_ENTRY(node, struct lease, node);
}

bool
leases_come_before_locked(const struct pool *pool, const struct job *job)
{
    return pool->lease_count > 0 &&
           LIST_ENTRY(pool->leases.next, struct lease, node)->number < job->number;
}

void
leases_serve_locked(struct pool *pool)
{
    while (leases_next_is_due_locked(pool)) {
        struct lease *lease = pop_locked(pool);
        if (lease != NULL) {
            grant_locked(pool, lease);
        }
    }
}

size_t
leases_to_fill_locked(const struct pool *pool)
{
    if (pool->lease_count <= pool->filling) {
        return 0;
    }
    size_t wanted = pool->lease_count - pool->filling;
    size_t jobs = pool->slotted_count < pool->free_count ? pool->slotted_count : pool->free_count;
    size_t made = free_made_locked(pool);
    size_t for_jobs = jobs > made ? jobs - made : 0; /* that will fill them for themselves */
    size_t empty = pool->empty_count - for_jobs;
    return wanted < empty ? wanted : empty;
}

void
leases_refuse_all_locked(struct pool *pool)
{
    struct lease *lease;
    while ((lease = pop_locked(pool)) != NULL) {
        set_locked(lease, LEASE_REFUSED);
    }
}

/* -- for who leases -- */

unsigned
lease_begin(struct pool *pool, struct lease *lease)
{
    struct calls calls = {.start = 0};
    list_init(&calls.wake);
    list_init(&lease->node);
    lease->slot = NULL;
    lease->error = NULL;
    lease->may_be_parked = false;
    atomic_init(&lease->progress, LEASE_WAITING);
    pool_lock(pool);
    lease->number = pool->next_number++;
    if (pool->closed) {
        set_locked(lease, LEASE_REFUSED);
    }
    else if (pool->lease_count == 0 && is_due_locked(pool, lease->number)) {
        grant_locked(pool, lease);
    }
    else {
        lease->may_be_parked = true;
        list_push_back(&pool->leases, &lease->node);
        pool->lease_count++;
        calling_more_locked(pool, false, ANY_CPU, 1, &calls);
    }
    pool_unlock(pool);
    calling_signal(&calls.wake);
    return calls.start;
}

lease_progress
lease_state(const struct lease *lease)
{
    return (lease_progress)atomic_load_explicit(&lease->progress, memory_order_acquire);
}

os_wait_result
lease_await(struct lease *lease, int64_t deadline_ns)
{
    while (lease_state(lease) == LEASE_WAITING) {
        os_wait_result result = os_word_wait(&lease->progress, LEASE_WAITING, deadline_ns);
        if (result != OS_WOKEN && lease_state(lease) == LEASE_WAITING) {
            return result;
        }
    }
    return OS_WOKEN;
}

/* Leaves the queue, or puts the slot back. */
static void
end_locked(struct pool *pool, struct lease *lease)
{
    struct slot *slot = lease->slot;
    pool->lease_count -= list_is_linked(&lease->node);
    list_remove(&lease->node);
    lease->slot = NULL;
    lease->may_be_parked = false;
    set_locked(lease, LEASE_OVER);
    if (slot != NULL) {
        slots_put_locked(pool, slot);
    }
}

unsigned
lease_end(struct pool *pool, struct lease *lease)
{
    struct calls calls = {.start = 0};
    list_init(&calls.wake);
    pool_lock(pool);
    bool gives_back = lease->slot != NULL;
    end_locked(pool, lease);
    if (gives_back) { /* a job may be next */
        calling_more_locked(pool, true, ANY_CPU, UINT_MAX, &calls);
    }
    pool_note_progress_locked(pool, &calls.wake);
    pool_unlock(pool);
    calling_signal(&calls.wake);
    return calls.start;
}

unsigned
lease_condemn(struct pool *pool, struct lease *lease, struct condemned *condemned)
{
    struct calls calls;
    struct list wake;
    list_init(&wake);
    pool_lock(pool);
    condemned->home = lease->slot->home;
    condemned->resource = lease->slot->resource;
    slots_empty_locked(pool, lease->slot);
    aside_hand_to_home_locked(pool, NULL, condemned, &wake);
    end_locked(pool, lease);
    calling_more_locked(pool, false, ANY_CPU, UINT_MAX, &calls);
    pool_note_progress_locked(pool, &calls.wake);
    pool_unlock(pool);
    calling_signal(&wake);
    calling_signal(&calls.wake);
    return calls.start;
}

/* -- others -- */

bool
lease_fail_oldest(struct pool *pool, void *error)
{
    struct list wake;
    list_init(&wake);
    pool_lock(pool);
    struct lease *lease = pop_locked(pool);
    if (lease != NULL) {
        lease->error = error;
        set_locked(lease, LEASE_REFUSED);
    }
    pool_note_progress_locked(pool, &wake);
    pool_unlock(pool);
    calling_signal(&wake);
    return lease != NULL;
}

void
leases_refuse(struct pool *pool)
{
    struct list wake;
    list_init(&wake);
    pool_lock(pool);
    leases_refuse_all_locked(pool);
    pool_note_progress_locked(pool, &wake);
    pool_unlock(pool);
    calling_signal(&wake);
}

size_t
leases_waiting(struct pool *pool)
{
    pool_lock(pool);
    size_t count = pool->lease_count;
    pool_unlock(pool);
    return count;
}
