#include "pool_check.h"

#include "calling.h"
#include "lease.h"

#include <stdio.h>
#include <stdlib.h>

static size_t
length(const struct list *head)
{
    size_t count = 0;
    for (const struct list *node = head->next; node != head; node = node->next) {
        count++;
    }
    return count;
}

static size_t
visits_due(const struct list *slots)
{
    size_t count = 0;
    for (const struct list *node = slots->next; node != slots; node = node->next) {
        count += LIST_ENTRY(node, struct slot, node)->visit_due;
    }
    return count;
}

/* Of slots that nobody holds. */
static size_t
in_use(const struct list *slots)
{
    size_t count = 0;
    for (const struct list *node = slots->next; node != slots; node = node->next) {
        count += LIST_ENTRY(node, struct slot, node)->used;
    }
    return count;
}

static unsigned
for_leases(const struct pool *pool)
{
    unsigned count = 0;
    for (unsigned i = 0; i < pool->max_slots; i++) {
        count += pool->slots[i].for_lease;
    }
    return count;
}

static void
require(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "pool: broken invariant: %s\n", what);
        abort();
    }
}

void
pool_check_locked(const struct pool *pool)
{
    require(length(&pool->plain) == pool->plain_count, "plain_count");
    require(length(&pool->slotted) == pool->slotted_count, "slotted_count");
    require(length(&pool->makers) == pool->maker_count, "maker_count");
    require(length(&pool->parked) == pool->parked_count, "parked_count");
    require(length(&pool->free) + length(&pool->empty) == pool->free_count, "free_count");
    require(length(&pool->empty) == pool->empty_count, "empty_count");
    require(length(&pool->free) <= pool->made, "free slots <= made");
    require(pool->made + pool->empty_count <= pool->max_slots, "made + empty <= max_slots");
    size_t tasks = pool->plain_count + pool->slotted_count + pool->turns.granted;
    require(pool->turns.most == 0 || tasks <= pool->turns.most + pool->max_workers,
            "pending tasks <= the bound, and what workers have given back");
    require(list_is_empty(&pool->turns.waiting) || (!pool->closed && tasks >= pool->turns.most),
            "who waits for room finds none");
    require(length(&pool->leases) == pool->lease_count, "lease_count");
    require(for_leases(pool) == pool->filling, "filling");
    require(!leases_next_is_due_locked(pool), "a lease waits, and its slot is free");
    require(length(&pool->roster) <= pool->workers + pool->aside, "roster <= workers");
    require(pool->homeless <= pool->coming, "homeless <= coming");
    require(pool->starting <= pool->coming, "starting <= coming");
    require(visits_due(&pool->free) == pool->visits, "visits");
    require(visits_due(&pool->empty) == 0, "no visits where there is no interpreter");
    require(in_use(&pool->free) + in_use(&pool->empty) == 0, "what nobody holds is idle");
    require(calling_task_demand_locked(pool) + calling_visits_locked(pool) == 0 ||
                pool->coming > pool->starting || pool->parked_count == 0,
            "somebody is looking, or nobody could be woken");
    require(pool->parked_count + pool->coming <= pool->workers, "idle workers <= workers");
    require(pool->workers <= pool->max_workers, "workers <= max_workers");
    require(pool->free_count <= pool->max_slots, "free slots <= max_slots");
}
