#include "slots.h"

#include "lease.h"

void
slots_note_return(struct pool *pool)
{
    /* Pairs with the acquire in pool_reclaim_slot(). */
    atomic_fetch_add_explicit(&pool->returns, 1, memory_order_release);
    os_word_wake_all(&pool->returns);
}

void
slots_put_locked(struct pool *pool, struct slot *slot)
{
    if (slot->used && pool->idle_timeout != OS_FOREVER) {
        slot->idle_since = os_now_ns();
    }
    slot->used = false;
    pool->filling -= slot->for_lease;
    slot->for_lease = false;
    list_push_front(slot->resource != NULL ? &pool->free : &pool->empty, &slot->node);
    pool->free_count++;
    pool->empty_count += slot->resource == NULL;
    slot->visit_due = slot->visit_due && slot->resource != NULL;
    pool->visits += slot->visit_due;
    if (pool->lease_count > 0) {
        leases_serve_locked(pool);
    }
    if (pool->closed || pool->aside > 0) {
        slots_note_return(pool);
    }
}

void
slots_release_locked(struct pool *pool, struct worker *worker)
{
    struct slot *slot = worker->slot;
    if (slot != NULL) {
        worker->slot = NULL;
        slots_put_locked(pool, slot);
    }
}

struct slot *
slots_take_locked(struct pool *pool, struct list *node)
{
    struct slot *slot = LIST_ENTRY(node, struct slot, node);
    list_remove(node);
    pool->free_count--;
    pool->empty_count -= slot->resource == NULL;
    pool->visits -= slot->visit_due;
    slot->visit_due = false;
    return slot;
}

void
slots_hold_locked(struct pool *pool, struct worker *worker, struct list *node)
{
    worker->slot = slots_take_locked(pool, node);
}

struct list *
slots_find_home_locked(struct pool *pool, struct worker *worker)
{
    if (worker->homes == 0) {
        return NULL;
    }
    for (struct list *node = pool->free.next; node != &pool->free; node = node->next) {
        if (LIST_ENTRY(node, struct slot, node)->home == worker) {
            return node;
        }
    }
    return NULL;
}

bool
slots_acquire_locked(struct pool *pool, struct worker *worker)
{
    if (worker->slot != NULL) {
        worker->slot->visit_due = false;
        worker->slot->used = true;
        return true;
    }
    if (pool->free_count == 0) {
        return false;
    }
    struct list *node = slots_find_home_locked(pool, worker);
    if (node == NULL) {
        node = list_is_empty(&pool->free) ? pool->empty.next : pool->free.next;
    }
    slots_hold_locked(pool, worker, node);
    worker->slot->used = true;
    return true;
}

bool
slots_hold_due_locked(struct pool *pool, struct worker *worker)
{
    struct list *chosen = NULL;
    for (struct list *node = pool->free.next; node != &pool->free; node = node->next) {
        const struct slot *slot = LIST_ENTRY(node, struct slot, node);
        if (slot->visit_due && (chosen == NULL || slot->home == worker)) {
            chosen = node;
        }
    }
    if (chosen != NULL) {
        slots_hold_locked(pool, worker, chosen);
    }
    return chosen != NULL;
}

static bool
ends_idle(const struct pool *pool, const struct worker *worker)
{
    return pool->idle_timeout != OS_FOREVER && worker->homes > 0 && !pool->closed;
}

/* Somebody waits until a number of resources is there, or fills a slot for that: none is taken from them. */
static bool
is_filling(const struct pool *pool)
{
    return pool->maker_count > 0 || pool->max_slots - pool->empty_count > pool->made;
}

static int64_t
later(const struct pool *pool, int64_t since)
{
    return since < OS_FOREVER - pool->idle_timeout ? since + pool->idle_timeout : OS_FOREVER;
}

bool
slots_hold_idle_locked(struct pool *pool, struct worker *worker)
{
    if (!ends_idle(pool, worker) || list_is_empty(&pool->free) || is_filling(pool)) {
        return false;
    }
    int64_t now = os_now_ns();
    for (struct list *node = pool->free.next; node != &pool->free; node = node->next) {
        const struct slot *slot = LIST_ENTRY(node, struct slot, node);
        if (slot->home == worker && later(pool, slot->idle_since) <= now) {
            slots_hold_locked(pool, worker, node);
            return true;
        }
    }
    return false;
}

int64_t
slots_idle_deadline_locked(struct pool *pool, struct worker *worker)
{
    if (!ends_idle(pool, worker)) {
        return OS_FOREVER;
    }
    if (is_filling(pool)) {
        return later(pool, os_now_ns());
    }
    unsigned seen = 0;
    int64_t deadline = OS_FOREVER;
    for (struct list *node = pool->free.next; node != &pool->free; node = node->next) {
        const struct slot *slot = LIST_ENTRY(node, struct slot, node);
        if (slot->home == worker) {
            int64_t due = later(pool, slot->idle_since);
            deadline = due < deadline ? due : deadline;
            seen++;
        }
    }
    /* What somebody holds is given back later than now. */
    int64_t due = seen < worker->homes ? later(pool, os_now_ns()) : OS_FOREVER;
    return due < deadline ? due : deadline;
}

void
slots_empty_locked(struct pool *pool, struct slot *slot)
{
    slot->resource = NULL;
    slot->home = NULL;
    pool->made--;
}
