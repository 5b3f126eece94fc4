#include "calling.h"

#include "awake.h"
#include "lease.h"
#include "makers.h"

size_t
calling_task_demand_locked(const struct pool *pool)
{
    size_t startable =
        pool->slotted_count < pool->free_count ? pool->slotted_count : pool->free_count;
    return pool->plain_count + startable + leases_to_fill_locked(pool);
}

size_t
calling_demand_locked(const struct pool *pool)
{
    size_t makers = pool->maker_count > 0 ? makers_startable_locked(pool) : 0;
    return calling_task_demand_locked(pool) + makers;
}

size_t
calling_visits_locked(const struct pool *pool)
{
    return pool->closed ? 0 : pool->visits;
}

void
calling_look_locked(struct pool *pool, struct worker *worker, bool looking)
{
    if (worker->looking != looking) {
        unsigned homeless = worker->homes == 0;
        worker->looking = looking;
        pool->coming = looking ? pool->coming + 1 : pool->coming - 1;
        pool->homeless = looking ? pool->homeless + homeless : pool->homeless - homeless;
    }
}

void
calling_arrived_locked(struct pool *pool, struct worker *worker)
{
    pool->starting -= worker->starting;
    worker->starting = false;
}

bool
calling_count_worker_locked(struct pool *pool, unsigned most)
{
    if (pool->workers >= most) {
        return false;
    }
    pool->workers++;
    pool->coming++;
    pool->starting++;
    pool->homeless++;
    return true;
}

static bool
start_locked(struct pool *pool, unsigned may_start, struct calls *calls)
{
    bool starts = calls->start < may_start && calling_count_worker_locked(pool, pool->max_workers);
    calls->start += starts;
    return starts;
}

void
calling_unpark_locked(struct pool *pool, struct worker *worker)
{
    list_remove(&worker->node);
    worker->parked = false;
    pool->parked_count--;
    awake_note(true);
    calling_look_locked(pool, worker, true);
}

/* One that is to be signalled. */
static struct worker *
unpark_locked(struct pool *pool, struct list *node)
{
    struct worker *worker = LIST_ENTRY(node, struct worker, node);
    calling_unpark_locked(pool, worker);
    return worker;
}

/* Of those that are home to an interpreter, or of those that are not: the last to park, whose caches
 * are warm, if possible on `cpu`. NULL: there is none. */
static struct list *
find_parked_locked(struct pool *pool, bool homed, int cpu)
{
    struct list *elsewhere = NULL;
    for (struct list *node = pool->parked.next; node != &pool->parked; node = node->next) {
        const struct worker *worker = LIST_ENTRY(node, struct worker, node);
        if ((worker->homes > 0) == homed) {
            if (cpu == ANY_CPU || worker->cpu == cpu) {
                return node;
            }
            elsewhere = elsewhere == NULL ? node : elsewhere;
        }
    }
    return elsewhere;
}

void
calling_wake_some_locked(struct pool *pool, bool slotted, int cpu, struct list *wake)
{
    while (pool->parked_count > 0 && pool->coming - pool->starting < pool->most_looking &&
           calling_demand_locked(pool) + calling_visits_locked(pool) >
               pool->coming - pool->starting) {
        struct list *node = find_parked_locked(pool, slotted, cpu);
        node = node != NULL ? node : pool->parked.next;
        list_push_back(wake, &unpark_locked(pool, node)->node);
    }
}

/* Makers that have to make something want workers that are home to nothing. */
static void
call_makers_locked(struct pool *pool, unsigned may_start, struct calls *calls)
{
    while (pool->maker_count > 0 && makers_to_make_locked(pool) > pool->homeless) {
        struct list *node = find_parked_locked(pool, false, ANY_CPU);
        if (node != NULL) {
            list_push_back(&calls->wake, &unpark_locked(pool, node)->node);
        }
        else if (!start_locked(pool, may_start, calls)) {
            break;
        }
    }
}

void
calling_more_locked(struct pool *pool, bool slotted, int cpu, unsigned may_start,
                    struct calls *calls)
{
    list_init(&calls->wake);
    calls->start = 0;
    call_makers_locked(pool, may_start, calls);
    while (calling_demand_locked(pool) > (size_t)pool->coming + pool->parked_count &&
           start_locked(pool, may_start, calls)) {
    }
    calling_wake_some_locked(pool, slotted, cpu, &calls->wake);
}

void
calling_one_locked(struct pool *pool, struct worker *worker, struct list *wake)
{
    if (worker->parked) {
        list_push_back(wake, &unpark_locked(pool, &worker->node)->node);
    }
}

void
calling_everyone_locked(struct pool *pool, struct list *wake)
{
    while (!list_is_empty(&pool->parked)) {
        list_push_back(wake, &unpark_locked(pool, pool->parked.next)->node);
    }
}

void
calling_signal(struct list *workers)
{
    struct list *node;
    while ((node = list_pop_front(workers)) != NULL) {
        struct worker *worker = LIST_ENTRY(node, struct worker, node);
        /* Pairs with the acquire in await_signal() of the pool. */
        atomic_store_explicit(&worker->signal, 1, memory_order_release);
        os_word_wake_one(&worker->signal);
    }
}
