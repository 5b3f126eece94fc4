/* turns: the bound on a pool's pending jobs, and those who wait for room.
 *
 * A job that takes no turn finds room, or is refused (POOL_FULL). Whoever would rather wait begins a
 * turn: it is granted at once if there is room, else in order of arrival as jobs leave the queues.
 * A granted turn is room that nobody else gets; pool_submit_turn() uses it up, turn_end() gives it
 * back. While somebody waits there is no room for others, so nobody is overtaken.
 *
 * Makers need no room. A job that a worker gives back (pool_stay_busy()) takes its place again
 * whether there is room or not, so pending jobs may exceed the bound by as many as there are workers.
 *
 *     struct turn turn;
 *     if (pool_submit(&pool, &job) == POOL_FULL) {
 *         turn_begin(&pool, &turn, TURN_NO_BELL);
 *         turn_await(&turn, deadline);
 *         if (turn_state(&turn) == TURN_GRANTED) pool_submit_turn(&pool, &job, &turn);
 *         turn_end(&pool, &turn);
 *     }
 *
 * Any thread, attached or not; turn_await() blocks and wants the caller detached.
 */
#ifndef AIOINTERP_TURNS_H
#define AIOINTERP_TURNS_H

#include "list.h"
#include "../os/os.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pool;

enum { TURN_NO_BELL = -1 };

typedef enum {
    TURN_WAITING = 0,
    TURN_GRANTED, /* there is room, kept for this turn */
    TURN_REFUSED, /* the pool is closed */
    TURN_OVER,    /* used up, or ended */
} turn_progress;

/* Of one who waits; stays where it is from turn_begin() to turn_end(). */
struct turn {
    struct list node;     /* in the pool's turns while it waits; pool lock */
    int bell;             /* constant: rung when the turn is granted or refused (os_bell_ring) */
    atomic_uint progress; /* turn_progress: written under the pool's lock (release), parked on by
                             turn_await() (acquire) */
};

/* A part of struct pool; guarded by its lock. */
struct turns {
    size_t most;         /* pending jobs; 0: no bound. Constant once jobs come */
    size_t granted;      /* room kept for turns that have not been used up */
    struct list waiting; /* of struct turn, in order */
};

void turns_init(struct turns *turns, size_t most);

/* Before the first job: at most `most` plain and slotted jobs may be pending. */
void pool_bound(struct pool *pool, size_t most);

/* Queues up. `bell` (or TURN_NO_BELL) must stay open until turn_end(). */
void turn_begin(struct pool *pool, struct turn *turn, int bell);
turn_progress turn_state(const struct turn *turn);
/* Parks until the turn does not wait any more, the deadline passed or a signal came. */
os_wait_result turn_await(struct turn *turn, int64_t deadline_ns);
/* Leaves the queue, or gives back what was granted and not used up. May be called twice. */
void turn_end(struct pool *pool, struct turn *turn);

/* How many turns wait. */
size_t turns_waiting(struct pool *pool);

/* -- for the pool: under its lock -- */

/* Whether a job may be queued: without a turn, or (`turn` not NULL) with one, which is used up. */
bool turns_admit_locked(struct pool *pool, struct turn *turn);
/* How many of `count` jobs may be queued without a turn. */
size_t turns_room_locked(const struct pool *pool, size_t count);
/* Jobs may have left the queues, or the pool was closed. */
void turns_grant_locked(struct pool *pool);

#endif
