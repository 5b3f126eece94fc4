/* watch: a thread that stops jobs that are not wanted any more, or that have run for too long.
 *
 * A job is run at a place (`struct watched`, one for each worker). Somebody asks
 * for it to be stopped (watch_ask()), or its time is over: the place is knocked at, again and again while the job
 * goes on, and after some grace the worker is set aside. How that is done is the business of `actions`.
 *
 * The worker says watch_settle() before it goes on to another job; nothing that was asked of the one reaches
 * the next. A job without a limit that nobody has asked to stop need not be settled, as long as it has ended in
 * a way that makes watch_ask() impossible from then on.
 *
 * Locking: one lock, taken after the registry of crews and before a pool's. The thread is started when it is first
 * needed, and stopped by watch_stop(). It is attached to nothing; every function may be called attached or
 * detached, and none blocks for long, but watch_stop().
 */
#ifndef AIOINTERP_WATCH_H
#define AIOINTERP_WATCH_H

#include "../os/os.h"
#include "list.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Asks for whatever runs at a place. */
#define WATCH_ANY UINT64_MAX

/* Guarded by the watch's lock, but for what is constant. */
struct watched {
    struct list all;  /* in watch->places */
    struct list node; /* in watch->active while something is due; its own otherwise */
    uint64_t number;  /* of the job that is to be stopped, or has a limit; WATCH_ANY */
    void *job;        /* of a job with a limit: its own record */
    int64_t grace;    /* ns from being asked to being set aside; OS_FOREVER: never; constant */
    int64_t limit_at; /* OS_FOREVER: none */
    int64_t knock_at; /* OS_FOREVER: nobody has asked */
    int64_t pause;    /* ns until it is knocked at again */
    int64_t aside_at;
    bool expired; /* stopped because its time was over */
};

struct watch_actions {
    /* Has the job `number` stopped, if it is that one that runs at the place. `watched->knock_at` is when it will be
     * told again. Under the lock, by the thread. */
    void (*knock)(struct watched *watched, uint64_t number);
    /* Sets aside the worker that runs a job there, if one does. Under the lock. Gives what replace() gets, or NULL:
     * there is none. */
    void *(*set_aside)(struct watched *watched);
    /* Without the lock, by the thread. */
    void (*replace)(void *aside);
};

struct watch {
    os_mutex lock;
    const struct watch_actions *actions; /* constant */
    struct list places;
    struct list active;
    atomic_uint bell;  /* bumped (release) under the lock when the thread should look; parked on */
    int64_t next_look; /* when the thread will look anyway; lock */
    bool started, stopping;
    os_thread thread;
};

/* 0, or an errno value. */
int watch_init(struct watch *watch, const struct watch_actions *actions);

/* A place comes, and goes; nothing runs there. */
void watch_add(struct watch *watch, struct watched *watched, int64_t grace);
void watch_remove(struct watch *watch, struct watched *watched);

/* Job `number`, about to begin at the place, is to be stopped at `limit_at`. 0, or an errno value: there is no thread
 * for that. */
int watch_limit(struct watch *watch, struct watched *watched, uint64_t number, void *job,
                int64_t limit_at);

/* Where a job is being run; NULL: nowhere yet, or it is settled. */
typedef _Atomic(struct watched *) watch_place;

/* The job is about to begin there. True: then look whether it was asked to stop before (a sequentially
 * consistent fence is in between: either the caller sees that, or who asks sees the place). */
void watch_enter(watch_place *place, struct watched *watched);
/* Job `number` shall stop, if it is still somewhere. The caller has made sure that whoever runs it will settle it.
 * 0, or an errno value: there is no thread to see to it. */
int watch_ask(struct watch *watch, watch_place *place, uint64_t number);
/* The same at the time `at`, for who may have to be reminded until watch_calm(). One who was to be asked earlier
 * than that stays so. */
int watch_ask_at(struct watch *watch, watch_place *place, uint64_t number, int64_t at);
/* For the worker whose job it is: it goes on with the job, and has done what watch_ask_at() would remind it of. What is asked of
 * whatever runs there (WATCH_ANY) stays. */
void watch_calm(struct watch *watch, watch_place *place);
/* Whatever runs at the places that are `meant` shall stop, now and from now on. 0, or an errno value. */
int watch_ask_all(struct watch *watch, bool (*meant)(struct watched *watched, const void *argument),
                  const void *argument);

/* `which` gives the number of the job at a place that shall stop, or 0; that job alone. Under the lock. 0, or an errno
 * value. */
int watch_ask_some(struct watch *watch,
                   uint64_t (*which)(struct watched *watched, const void *argument),
                   const void *argument);

/* Calls `visit` for every place, under the lock. */
void watch_each(struct watch *watch, void (*visit)(struct watched *watched, void *argument),
                void *argument);

/* For the worker whose job it is: nothing is asked of the job any more. Whether its time was over. Nothing happens when it
 * was settled before. */
bool watch_settle(struct watch *watch, watch_place *place);

/* Once this has returned, no action is under way that began before. */
void watch_pass(struct watch *watch);

/* Ends the thread, if there is one; it is not started again. Blocks: call it attached to nothing. */
void watch_stop(struct watch *watch);

/* -- fork: the lock is held across it. The child has no thread, and no places. -- */
void watch_before_fork(struct watch *watch);
void watch_after_fork_in_parent(struct watch *watch);
void watch_after_fork_in_child(struct watch *watch);

#endif
