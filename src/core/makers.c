#include "makers.h"

/* Slots that are filled, or held by whoever is filling them. */
static unsigned
begun_locked(const struct pool *pool)
{
    return pool->max_slots - pool->empty_count;
}

size_t
makers_to_make_locked(const struct pool *pool)
{
    size_t makers = 0;
    unsigned begun = begun_locked(pool), most = begun;
    for (const struct list *node = pool->makers.next; node != &pool->makers; node = node->next) {
        unsigned wants = LIST_ENTRY(node, struct job, node)->wants;
        makers += wants > begun;
        most = wants > most ? wants : most;
    }
    return makers < most - begun ? makers : most - begun; /* several may want the same ones */
}

size_t
makers_startable_locked(const struct pool *pool)
{
    size_t satisfied = 0;
    for (const struct list *node = pool->makers.next; node != &pool->makers; node = node->next) {
        satisfied += LIST_ENTRY(node, struct job, node)->wants <= pool->made;
    }
    return satisfied + makers_to_make_locked(pool);
}

struct job *
makers_first_locked(const struct pool *pool, const struct worker *worker)
{
    /* A worker that is home to a slot is not counted in `homeless`. */
    bool may_make = worker->homes == 0 || makers_to_make_locked(pool) > pool->homeless;
    for (const struct list *node = pool->makers.next; node != &pool->makers; node = node->next) {
        struct job *job = LIST_ENTRY(node, struct job, node);
        if (job->wants <= pool->made || (may_make && job->wants > begun_locked(pool))) {
            return job;
        }
    }
    return NULL;
}
