#include "slots.h"

void
slots_note_return(struct pool *pool)
{
    /* Pairs with the acquire in pool_reclaim_slot(). */
    atomic_fetch_add_explicit(&pool->returns, 1, memory_order_release);
    os_word_wake_all(&pool->returns);
}

void
slots_release_locked(struct pool *pool, struct worker *worker)
{
    struct slot *slot = worker->slot;
    if (slot == NULL) {
        return;
    }
    worker->slot = NULL;
    list_push_front(slot->resource != NULL ? &pool->free : &pool->empty, &slot->node);
    pool->free_count++;
    pool->empty_count += slot->resource == NULL;
    slot->visit_due = slot->visit_due && slot->resource != NULL;
    pool->visits += slot->visit_due;
    if (pool->closed || pool->aside > 0) {
        slots_note_return(pool);
    }
}

void
slots_hold_locked(struct pool *pool, struct worker *worker, struct list *node)
{
    list_remove(node);
    pool->free_count--;
    worker->slot = LIST_ENTRY(node, struct slot, node);
    pool->empty_count -= worker->slot->resource == NULL;
    pool->visits -= worker->slot->visit_due;
    worker->slot->visit_due = false;
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

void
slots_empty_locked(struct pool *pool, struct slot *slot)
{
    slot->resource = NULL;
    slot->home = NULL;
    pool->made--;
}
