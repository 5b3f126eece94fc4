/* lease: a slot and the resource in it, for a thread that is no worker, for as long as one call takes.
 *
 *     unsigned starts = lease_begin(pool, &lease);        start so many workers
 *     lease_await(&lease, OS_FOREVER);
 *     if (lease_state(&lease) == LEASE_GRANTED)
 *         use lease.slot->resource
 *     starts = lease_end(pool, &lease);                   start so many workers
 *
 * Who leases is served in order of arrival, in one order with the slotted jobs of the pool: a slot that is given back
 * goes to whoever is next, who has it from then on, and a lease that begins while others wait does so too. A lease is
 * of a resource that is there; as long as some wait and slots are empty, workers fill these (pool.h), who stay the
 * homes of what they make. A slot that was filled goes to the lease that waits longest, not to the one that had it
 * filled.
 *
 * A lease is refused when the pool is closed; when the resource that it waits for cannot be made (lease_fail_oldest());
 * when no worker can be started (pool_worker_failed()); or when all that wait are refused (leases_refuse()). When the pool is
 * closed, those that wait are served nevertheless, and who has a slot keeps it until he gives it back; its home waits for
 * that (pool_reclaim_slot()).
 *
 * In the child of a fork no lease is left: who had one there may not give it back.
 *
 * Any thread, attached or not; lease_await() blocks and wants the caller detached.
 */
#ifndef AIOINTERP_LEASE_H
#define AIOINTERP_LEASE_H

#include "pool.h"

typedef enum {
    LEASE_WAITING = 0,
    LEASE_GRANTED, /* `slot` is the caller's */
    LEASE_REFUSED,
    LEASE_OVER, /* ended */
} lease_progress;

/* Stays where it is from lease_begin() to lease_end(). */
struct lease {
    struct list node;   /* in the pool's leases while it waits; pool lock */
    uint64_t number;    /* order of arrival, among jobs; constant */
    struct slot *slot;  /* written under the pool's lock as it is granted; then the caller's */
    void *error;        /* of lease_fail_oldest(), or NULL; the same as it is refused */
    bool may_be_parked; /* whoever tells has to wake; pool lock */
    /* lease_progress: written under the pool's lock (release), parked on by lease_await() (acquire). */
    atomic_uint progress;
};

/* Takes a slot, or queues up, or is refused. Returns how many workers should be started, as for POOL_START_WORKER. */
unsigned lease_begin(struct pool *pool, struct lease *lease);
lease_progress lease_state(const struct lease *lease);
/* Parks until it does not wait any more, the deadline passed or a signal came. */
os_wait_result lease_await(struct lease *lease, int64_t deadline_ns);
/* Gives the slot back, or leaves the queue. May be called twice. Returns how many workers should be started. */
unsigned lease_end(struct pool *pool, struct lease *lease);
/* The same for a granted one whose resource, which the caller has left, must not be used again: its home ends it. */
unsigned lease_condemn(struct pool *pool, struct lease *lease, struct condemned *condemned);

/* For a worker that could not fill a slot: the oldest lease that waits is refused, and gets `error` (not NULL). False:
 * none waits, and `error` is still the caller's. */
bool lease_fail_oldest(struct pool *pool, void *error);

/* All that wait are refused. */
void leases_refuse(struct pool *pool);
/* How many leases wait. */
size_t leases_waiting(struct pool *pool);

/* -- for the pool: under its lock -- */

/* Whether the oldest lease that waits could have a slot. */
bool leases_next_is_due_locked(const struct pool *pool);
/* Whether the oldest that waits came before `job`. */
bool leases_come_before_locked(const struct pool *pool, const struct job *job);
/* Grants what can be granted: a slot or a job may have come free. */
void leases_serve_locked(struct pool *pool);
/* Empty slots that workers should fill for those that wait, besides those that are being filled. */
size_t leases_to_fill_locked(const struct pool *pool);
void leases_refuse_all_locked(struct pool *pool);

#endif
