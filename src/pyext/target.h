/* target: what may be interrupted of what a worker does, at this moment.
 *
 * A worker, or who leases an interpreter (leased), opens its target when it begins a task in an interpreter, with the task's number, and closes it when
 * the function has returned. Somebody who wants that task to stop knocks, on any thread and without a GIL; what
 * he left is done in the interpreter, between two bytecodes of whatever runs there, and only if that is the task
 * he meant: `aiointerpreters.Interrupted` is raised in the task. So no other task can be hit, neither the one before nor
 * the one after (cf. CPython gh-139622).
 *
 * While the task is in a `finally` or an `except` that the interruption has reached, it is left alone. A task that has
 * swallowed it gets it again, with the next knock.
 */
#ifndef AIOINTERP_TARGET_H
#define AIOINTERP_TARGET_H

#include "../core/watch.h"
#include "state.h"

#include <stdatomic.h>

struct crew;
struct host;
struct interp;

struct target {
    struct watched watched; /* core/watch */
    atomic_uint refs;       /* the worker's, a knock's that is on its way, a guard's */
    /* Constant once owned; not to be used by what may outlive them. No worker: it is for those who lease an
     * interpreter, one at a time. */
    struct crew *crew;
    void *worker;
    /* Ident of the worker's thread, or of who leases; then written attached to the interpreter, before it is opened
     * (relaxed). */
    atomic_ulong thread;
    atomic_bool knocking;    /* a knock is on its way; relaxed, it only saves others */
    _Atomic uint64_t wanted; /* what the last knock was for; stored before the call is queued */
    /* Where the task is; NULL: there is none that may be interrupted. Written attached to that interpreter: so whoever
     * is attached to one and finds it here is alone with what follows. */
    _Atomic(PyInterpreterState *) inside;

    /* The host that the task is, or NULL: set by the worker. Whoever finds it, under the watch's lock, finds it alive, since
     * the worker settles its task before it lets go of it. */
    _Atomic(struct host *) host;

    /* Whose turn it is to say how the task goes on. INSIDE → OUTSIDE by the worker, INSIDE → ASIDE by the watch; ASIDE →
     * OUTSIDE by the worker or ASIDE → GIVEN_UP by a guard (abandon), both with the GIL of that interpreter. */
    enum { TARGET_OUTSIDE, TARGET_INSIDE, TARGET_ASIDE, TARGET_GIVEN_UP } _Atomic phase;
    bool forgotten;                /* abandon has seen to its thread; the watch's lock */
    bool guarded;                  /* there is a guard; the watch's lock */
    struct interp *guarded_interp; /* constant once guarded */

    /* The GIL of the interpreter that it is inside. */
    atomic_uint_fast64_t number; /* of the task (relaxed) */
    PyObject *exception;         /* the type to raise; borrowed from the state */
    bool raised;                 /* it was raised in this task */
    bool sent;                   /* ... by way of another thread, and may not have arrived yet */
    bool unsound;                /* the interpreter was interrupted where that may have broken it */
};

/* Whoever is about to start a worker makes it, as long as not having one can still be told. NULL: out of memory. */
struct target *target_new(void);
/* In the worker's thread, before anybody else can find it; or of those who lease an interpreter, and no worker's
 * (NULL). */
void target_own(struct target *target, struct crew *crew, void *worker);
/* Attached to the interpreter, by who leases it: it is his until it is closed. */
void target_use(struct target *target);
/* One more reference. */
void target_hold(struct target *target);
/* Gives a reference back. Any thread. */
void target_drop(struct target *target);

/* The calling thread's, if that is a worker's; or NULL. */
struct target *target_mine(void);

/* Attached to the interpreter of `state`: a task begins there. `number` is not 0. `host`: it is one (hosting decides what
 * of it is interrupted), or NULL. */
void target_open(struct target *target, struct state *state, uint64_t number, struct host *host);
/* Attached as before: it has ended, nothing will be raised in it any more. True: the worker was set aside meanwhile. */
bool target_close(struct target *target);

/* Whether the exception that is being handled is of `type`, or was raised while one was being handled. Attached. */
bool target_is_handling(PyObject *type);
/* Whether the code of `frame` is shared with whatever else runs in its interpreter: that of the standard library, or ours. */
bool target_is_shared_code(PyFrameObject *frame);

/* Detached; at most one thread of a process at a time, and no interpreter ends meanwhile. Nothing happens if it was asked before and did not get round to it yet. */
void target_knock(struct target *target, uint64_t number);

/* Makes the type Interrupted for this interpreter. 0, or -1 with an exception. */
int target_register_types(struct state *state);

#endif
