#include "roster.h"

#include "pool_check.h"

#include <string.h>

/* -- for the pool -- */

void
roster_init(struct pool *pool)
{
    list_init(&pool->roster);
    memset(&pool->past, 0, sizeof(pool->past));
    for (int i = 0; i < STATS_EVENTS; i++) {
        atomic_store_explicit(&pool->extra[i], 0, memory_order_relaxed);
    }
    atomic_store_explicit(&pool->stride, 1, memory_order_relaxed);
}

void
roster_stamp_locked(struct pool *pool, struct job *job)
{
    unsigned stride = atomic_load_explicit(&pool->stride, memory_order_relaxed);
    job->weight = 0;
    if ((job->number & (stride - 1)) == 0) {
        job->weight = (uint8_t)stride;
        job->queued_ns = os_now_ns();
    }
}

/* -- the worker -- */

void
roster_join(struct pool *pool, struct worker *worker, unsigned long thread)
{
    stats_init(&worker->sheet);
    worker->thread = thread;
    os_mutex_lock(&pool->lock);
    list_push_back(&pool->roster, &worker->roster_node);
    POOL_CHECK(pool);
    os_mutex_unlock(&pool->lock);
}

void
roster_leave(struct pool *pool, struct worker *worker)
{
    os_mutex_lock(&pool->lock);
    stats_idle(&worker->sheet);
    stats_collect(&worker->sheet, &pool->past);
    list_remove(&worker->roster_node);
    POOL_CHECK(pool);
    os_mutex_unlock(&pool->lock);
}

void
roster_start(struct worker *worker, const struct job *job, enum stats_doing doing,
             const void *object)
{
    worker->started_ns = stats_start(&worker->sheet, doing, object, job->queued_ns, job->weight);
}

/* The rare part, kept out of the way of the other. */
__attribute__((noinline)) static void
note_timed(struct pool *pool, struct worker *worker, unsigned weight)
{
    stats_note_run(&worker->sheet, worker->started_ns, weight);
    unsigned stride = stats_stride(&worker->sheet);
    if (stride != atomic_load_explicit(&pool->stride, memory_order_relaxed)) {
        atomic_store_explicit(&pool->stride, stride, memory_order_relaxed);
    }
}

void
roster_end(struct pool *pool, struct worker *worker, const struct job *job, enum stats_event event)
{
    stats_end(&worker->sheet, event);
    if (job->weight > 0) {
        note_timed(pool, worker, job->weight);
    }
}

/* -- anybody -- */

void
roster_count(struct pool *pool, enum stats_event event)
{
    atomic_fetch_add_explicit(&pool->extra[event], 1, memory_order_relaxed);
}

void
roster_total(struct pool *pool, struct roster_totals *totals)
{
    os_mutex_lock(&pool->lock);
    totals->sum = pool->past;
    for (struct list *node = pool->roster.next; node != &pool->roster; node = node->next) {
        struct worker *worker = LIST_ENTRY(node, struct worker, roster_node);
        uint64_t running = totals->sum.running;
        stats_collect(&worker->sheet, &totals->sum);
        if (worker->aside) {
            totals->sum.running = running; /* its task does not count any more */
        }
    }
    totals->pending = pool->plain_count + pool->slotted_count;
    totals->workers = pool->workers;
    totals->made = pool->made;
    os_mutex_unlock(&pool->lock);
    for (int i = 0; i < STATS_EVENTS; i++) {
        totals->sum.events[i] += atomic_load_explicit(&pool->extra[i], memory_order_relaxed);
    }
}

void
roster_walk(struct pool *pool, void (*visit)(struct worker *worker, void *argument), void *argument)
{
    os_mutex_lock(&pool->lock);
    for (struct list *node = pool->roster.next; node != &pool->roster; node = node->next) {
        visit(LIST_ENTRY(node, struct worker, roster_node), argument);
    }
    os_mutex_unlock(&pool->lock);
}
