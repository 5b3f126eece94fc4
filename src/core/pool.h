/* pool: pending jobs, the workers that take them, and the slots that bound interpreters.
 *
 * Jobs are of three kinds. A plain job needs a worker. A slotted job needs a worker and a slot; a
 * slot is the right to use one interpreter, and holds that interpreter once somebody has made it.
 * A maker wants a number of interpreters to be there: it comes with an empty slot, to be filled,
 * while fewer are made or being made; with no slot, and nothing to do, once they are made; and
 * waits in between. Jobs start in the order in which they came, except that a slotted job waits for
 * a free slot, and a maker for those being made, without holding up others.
 *
 * Who does what:
 *   a submitter   pool_submit(), or pool_grow(); if told so, starts one more worker
 *                 (pool_worker_failed() if it cannot).
 *   a worker      pool_join(), then pool_take() / pool_wait() until that gives NULL, running what it
 *                 gets; then ends the interpreters it made (pool_reclaim_slot()) and pool_leave().
 *   an owner      pool_close(), pool_drain() to cancel or fail what is pending.
 * Workers that do not come back, and interpreters that must not be used again: aside.
 *
 * A worker is busy (with a job, or with what a job left to do), looking (counted in `coming`: it is
 * sure to look at the queues before it parks) or parked. It counts itself as looking before it
 * publishes a result: pool_take(), publish, pool_wait(). If publishing turns out to run foreign code
 * (callbacks), it first says pool_stay_busy(), which gives back whatever it had been promised.
 *
 * What keeps jobs from being forgotten: whenever the lock is free, and there is a plain or slotted job
 * that could start at once, or a slot to be filled for a lease, somebody is looking, or nobody is parked (pool_check). Who is looking
 * takes it, and wakes the next one if there are more (calling). And whenever a job comes, workers are
 * started until those that are parked, looking or being started are as many as such jobs, or the
 * most.
 *
 * What spreads interpreters over workers: a worker that is home to one leaves a maker that has to
 * make another to those that are home to none, as long as there is one looking for each such maker;
 * and a maker that is submitted calls or starts one that is. The worker that passes a maker by has
 * found nothing else to do: when it parks, the above still holds, and the maker is for those others.
 * It passes no maker by that has nothing left to do.
 *
 * A visit has a worker look after an interpreter that no job uses. Who asks for visits marks all slots
 * that have an interpreter. Taking a slot for a job takes the mark off, since each job's worker begins
 * by looking after the interpreter; a marked slot that nobody holds is for a worker that finds no job,
 * its home or another. Workers are woken for visits as for jobs, and none is started. A closed pool has
 * no visits: its interpreters end.
 *
 * A resource that no job has used for `idle_timeout` is ended. Only its home may do that, so the home of a free
 * slot parks no longer than until then, and gets the slot's `ending` when it finds no job. What others hold
 * meanwhile cannot be due sooner than a whole timeout from now; so a home that parks needs no call when it is
 * given back. A slot that was only visited has not been used. Jobs come first, a closed pool has no endings, and while
 * makers wait for a number of resources, or a slot is being filled, none is ended.
 *
 * A lease gives a slot with its resource to a thread that is no worker (lease). Leases and slotted jobs are served in
 * one order. While leases wait and slots are empty, workers get those to fill (job->is_filling): the slot goes to the
 * oldest lease when the worker gives it back. In a closed pool those that wait are served as jobs are, and no more come.
 *
 * Locking: `lock` guards every field unless its line says otherwise. It is a leaf: nobody waits for
 * a GIL, calls Python or parks while holding it. Every function here may be called attached or
 * detached, but pool_wait(), pool_reclaim_slot() and pool_await_workers() block and want the caller
 * detached.
 */
#ifndef AIOINTERP_POOL_H
#define AIOINTERP_POOL_H

#include "list.h"
#include "stats.h"
#include "turns.h"
#include "../os/os.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pool;
struct worker;

/* Embedded in a task. What is not constant is guarded by the pool's lock while the job is pending, and
 * its worker's then. */
struct job {
    struct list node;
    uint64_t number;   /* order of arrival */
    int64_t queued_ns; /* when it was queued, if it is timed */
    unsigned wants;    /* not 0: a maker, which wants so many interpreters; constant; not slotted */
    bool slotted;      /* needs a slot; constant */
    bool queued;       /* in one of the pool's queues */
    bool near;         /* its submitter is about to wait for it: pool_submit_near() */
    uint8_t weight;    /* 0: it is not timed; else it stands for so many (stats) */
    bool is_visit;     /* a slot's; never pending; constant */
    bool is_ending;    /* the same: its home is to end what is in the slot; constant */
    bool is_filling;   /* the same: somebody waits to lease what is to be made in it; constant */
};

/* The right to use one interpreter. Its fields but `node` are the holder's while somebody holds
 * the slot and guarded by the pool's lock while nobody does. */
struct slot {
    struct list node;    /* in the pool's free or empty list when nobody holds it; pool lock */
    struct worker *home; /* the worker that made `resource` and alone may end it */
    void *resource;      /* the interpreter, NULL until made */
    bool visit_due;      /* asked for, and the slot not taken for a job since; pool lock */
    bool used;           /* taken for a job, or filled, since it was last given back; pool lock */
    int64_t idle_since;  /* when it was given back after that; pool lock */
    struct job visit;    /* what pool_take() gives for a visit; constant */
    struct job ending;   /* what its home gets when it has been idle for too long; constant */
    struct job filling;  /* what a worker gets that is to fill it for a lease; constant */
    bool for_lease;      /* a worker holds it that has got that; pool lock */
};

/* Embedded in a resource, for when it is condemned. Pool lock. */
struct condemned {
    struct list node;    /* in its home's list once everybody has left it */
    struct worker *home; /* who is to end it */
    void *resource;
};

struct worker {
    struct list node;      /* in the pool's parked list; pool lock */
    struct slot *slot;     /* held; written by the worker under the pool's lock (or set aside) */
    struct list condemned; /* resources that this worker has to end; pool lock */
    int cpu;               /* where it parked; pool lock */
    unsigned homes; /* resources not ended yet whose home this is, condemned ones not among them
                              once they are in `condemned`; pool lock */
    bool parked;    /* pool lock */
    bool aside;     /* set aside; pool lock */
    bool summoned;  /* when it last looked, `condemned` was not empty; the worker's */
    bool near;      /* so was the last job it took; pool lock */
    bool starting;
    bool looking;            /* counted in `coming`; pool lock */
    struct list roster_node; /* in the pool's roster; pool lock */
    unsigned long thread;    /* its name in the roster; constant there */
    int64_t started_ns;      /* of a job that is timed; the worker's own */
    atomic_uint signal; /* 1: woken. Set by the waker (release) after unlinking the worker, taken
                                back by the worker (acquire) */
    _Alignas(64) struct stats_sheet sheet; /* written by the worker while it is in the roster */
};

struct pool {
    os_mutex lock;
    struct list plain;   /* pending jobs, oldest first */
    struct list slotted; /* pending jobs, oldest first */
    struct list makers;  /* pending jobs, oldest first */
    size_t plain_count;
    size_t slotted_count;
    size_t maker_count;
    uint64_t next_number;

    struct list parked; /* workers, the last to park first */
    unsigned parked_count;
    unsigned coming;       /* workers that are looking, or being started */
    unsigned starting;     /* those of `coming` that are being started */
    unsigned homeless;     /* those of `coming` that are home to no slot */
    unsigned most_looking; /* constant: no further worker is woken while so many are looking */
    unsigned workers;      /* started, or being started, and neither left nor set aside */
    unsigned aside;        /* set aside, and not left */
    unsigned max_workers;  /* constant */

    struct slot *slots;  /* max_slots of them; constant */
    struct list free;    /* slots with an interpreter that nobody holds */
    struct list empty;   /* slots without one that nobody holds */
    unsigned free_count; /* in both lists together */
    unsigned empty_count;
    unsigned visits;      /* slots in `free` with a visit due */
    unsigned made;        /* slots with an interpreter, whoever holds them */
    unsigned max_slots;   /* constant */
    int64_t idle_timeout; /* ns that a resource may be idle; OS_FOREVER; constant (pool_end_idle) */

    struct list leases; /* those that wait, oldest first (lease.h) */
    size_t lease_count;
    unsigned filling; /* slots that workers hold to fill them for leases */

    struct turns turns;                       /* room for pending jobs */
    struct list roster;                       /* every worker that has joined it (roster.h) */
    struct stats_sum past;                    /* of those that have left it */
    atomic_uint_fast64_t extra[STATS_EVENTS]; /* counted by others (relaxed) */
    atomic_uint stride;                       /* of so many jobs one is timed: advice (relaxed) */

    bool closed;            /* no more submits; workers leave when nothing is pending */
    bool spinning;          /* a looking worker spins before it parks: one at a time */
    bool may_spin;          /* constant: there is more than one CPU */
    atomic_bool work;       /* something is pending, or the pool is closed: a hint for the spinner
                              (relaxed), written under the lock */
    atomic_uint departures; /* bumped (release) when a worker has left; parked on by
                               pool_await_workers() */
    atomic_uint
        returns; /* bumped (release) when a slot is given back that somebody may wait for, or a
                              resource condemned; parked on by pool_reclaim_slot() */
};

/* Returns 0, or an errno value with nothing made. max_workers and max_slots are at least 1. */
int pool_init(struct pool *pool, unsigned max_workers, unsigned max_slots);
/* No worker may be left. */
void pool_destroy(struct pool *pool);
/* Before the first job: resources that no job uses for so many nanoseconds are ended, as jobs with is_ending. */
void pool_end_idle(struct pool *pool, int64_t idle_timeout);

typedef enum {
    POOL_QUEUED = 0,   /* somebody will take it */
    POOL_START_WORKER, /* queued, and one more worker should be started, already counted: start it
                          or say pool_worker_failed() */
    POOL_CLOSED,       /* refused */
    POOL_FULL,         /* refused: as many are pending as may be (turns.h) */
} pool_submitted;

pool_submitted pool_submit(struct pool *pool, struct job *job);

/* The same for a job that comes with a granted turn, which is used up. */
pool_submitted pool_submit_turn(struct pool *pool, struct job *job, struct turn *turn);

/* The same for a caller who is about to wait for the job: a worker that parked on the same CPU does it
 * soonest, since handing over there takes no interrupt to another one. It parks at once afterwards, and leaves the
 * CPU to the caller. */
pool_submitted pool_submit_near(struct pool *pool, struct job *job);

/* The same for `count` jobs of one kind, linked in `jobs`, which is empty afterwards; at least one, and
 * bound or not: who batches in a bounded pool asks for room first. Returns how many workers should be started, as for POOL_START_WORKER; -1: refused, `jobs` as it
 * was. */
int pool_submit_all(struct pool *pool, struct list *jobs, size_t count);

/* True: fewer than `workers` are there, and one more should be started, already counted: start it or
 * say pool_worker_failed(). False: there are as many, or the pool is closed. `workers` is at most
 * the maximum. */
bool pool_grow(struct pool *pool, unsigned workers);

/* A worker that was asked for (pool_submit() and the like) could not be started. False: there is no
 * other worker either, so the caller drains the pool and fails what was pending. */
bool pool_worker_failed(struct pool *pool);

/* The first call of a started worker. */
void pool_join(struct pool *pool, struct worker *worker);

/* Takes the oldest job that can start now, or else a visit that is due (job->is_visit), or the ending of a resource
 * that this worker is home to (job->is_ending: pool_condemn() comes next), or an empty slot to fill for a lease
 * (job->is_filling: pool_slot_made() or lease_fail_oldest() comes next), acquiring or giving back worker->slot as
 * the job needs; NULL: there is none, and the worker is idle from now on: pool_wait() must follow. A job that
 * needs a slot comes with worker->slot held; a maker with an empty one, or with none. */
struct job *pool_take(struct pool *pool, struct worker *worker);

/* After a pool_take() that gave NULL: parks until there is a job. NULL: pool_take_condemned() has
 * something for this worker, then pool_take() comes next; or else the pool is closed, nothing is pending
 * that this worker could do: leave. */
struct job *pool_wait(struct pool *pool, struct worker *worker);

/* After pool_join() or a pool_take() and before pool_wait(): the worker will be busy with something else. Gives
 * `job` (what pool_take gave, or NULL) back to the head of its queue, and its slot to the pool.
 * Returns how many workers should be started, as for POOL_START_WORKER. pool_take() comes next. */
unsigned pool_stay_busy(struct pool *pool, struct worker *worker, struct job *job);

/* The holder of a slot without a resource has made one, ready for use: its home is this worker from
 * now on. Returns how many workers should be started, as for POOL_START_WORKER, for makers that
 * waited for it. */
unsigned pool_slot_made(struct pool *pool, struct worker *worker, void *resource);

/* For a worker that leaves: takes one of the slots that it is home to, waiting until whoever holds
 * it gives it back, so call it detached; its resource (or a condemned one), or NULL when none is left.
 * The caller ends the resource and says pool_slot_ended(), which gives the slot back, empty. */
void *pool_reclaim_slot(struct pool *pool, struct worker *worker);
void pool_slot_ended(struct pool *pool, struct worker *worker);

/* Every interpreter that is there now will be looked after: by the next job that takes its slot, or by a
 * worker that finds no job, to which pool_take() or pool_wait() gives a visit, with the slot held. */
void pool_ask_visits(struct pool *pool);

/* The last call of a worker; it may not touch the pool afterwards unless it holds it otherwise. */
void pool_leave(struct pool *pool, struct worker *worker);
/* No more submits; idle workers wake and leave once nothing is pending. May be called twice. */
void pool_close(struct pool *pool);

/* Takes the oldest pending job out of its queue, or gives NULL. */
struct job *pool_steal(struct pool *pool);
/* Takes a job out of its queue. False: it is in none, so a worker has it, or somebody who stole it. */
bool pool_remove(struct pool *pool, struct job *job);
/* Moves every pending job to `jobs`, oldest first. */
void pool_drain(struct pool *pool, struct list *jobs);

/* Whether a maker, which has filled the slot that it came with, is done. It is not when others have left
 * theirs empty; then it is given back (pool_stay_busy()). In a closed pool, whose workers end what
 * they have made, it is. */
bool pool_is_satisfied(struct pool *pool, const struct job *maker);

/* Slots with a resource. */
unsigned pool_made(struct pool *pool);
/* Pending jobs. */
size_t pool_pending(struct pool *pool);
/* Workers started, or being started, that have not left. */
unsigned pool_workers(struct pool *pool);
/* Workers with nothing to do: parked or looking, less the jobs that they will find. */
unsigned pool_idle(struct pool *pool);

/* Between pool_before_fork() and its counterpart: how many slots have an interpreter, if nobody holds any; else -1. */
int pool_unused_locked(const struct pool *pool);

/* Parks until no worker is left, the deadline passed or a signal came. Call it detached. `aside`: those
 * that were set aside must have left, too. */
os_wait_result pool_await_workers(struct pool *pool, bool aside, int64_t deadline_ns);
/* -- fork: the pool's lock is held across it, so that the child finds the pool consistent -- */

void pool_before_fork(struct pool *pool);
void pool_after_fork_in_parent(struct pool *pool);
/* In the child no worker is left, and the interpreters are not its own: the pool is empty and open or
 * closed as it was. What was pending is the parent's and is forgotten. */
void pool_after_fork_in_child(struct pool *pool);

#endif
