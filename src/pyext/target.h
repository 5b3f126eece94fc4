/* target: what may be interrupted of what a worker does, at this moment.
 *
 * A worker, or who leases an interpreter (leased), opens its target when it begins a task in an interpreter, with the
 * task's number, and closes it when the function has returned. Somebody who wants that task to stop knocks, on any
 * thread and without a GIL: he has the interpreter make a call between two bytecodes of whatever runs there. The call
 * raises `aiointerpreters.Interrupted` if it is made in the task's own thread, if that is at the task that was meant, and if it may be
 * interrupted where it is (place). So no other task can be hit, neither the one before nor the one after (cf. CPython gh-139622).
 *
 * CPython makes the call in whichever thread of the interpreter comes first. Any other thread than the task's puts it back, and so
 * does the task's at a place where it may not be interrupted: the call is made again at the next check of any thread,
 * for as long as half of the time to the next knock, counted from when it is first made, and again from when the task's own
 * thread first makes it. So a thread that is only now and then in code of its own is met
 * there, and what runs beside is held up for a part of the time only. CPython makes a call that is put back up to 100 times at each
 * check, so only some of these look. A thread that wants the GIL gets it as ever.
 *
 * A task that cleans up is left alone. One that has swallowed the interruption gets it again, with the next knock. When
 * nobody waits for the interpreter any more (the worker is set aside), it does not matter where the task is, as long
 * as it does not clean up.
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
    /* The interpreter that the last call was queued in and has not made yet, or NULL. Exchanged (acquire, release) by
     * both sides, so that a knock that finds its own interpreter here has its `wanted` seen by that call. One that finds
     * another (a call that came too late stays in an idle interpreter until somebody enters it) queues one more. */
    _Atomic(PyInterpreterState *) queued_in;
    _Atomic uint64_t wanted;  /* what the last knock was for (relaxed) */
    _Atomic int64_t patience; /* ns for which its call is put back (relaxed) */
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
    PyThreadState *tstate;       /* the task's, while it is open */
    unsigned put_back;           /* how often the call has been, in a row */
    int64_t put_back_until;      /* ... and until when it is; 0: it was made for the first time */
    bool is_met;                 /* ... and has been made in the task's own thread */
    int64_t asked_at; /* when the task was first met by a call that meant it; 0: not yet */
    bool unsound;     /* the interpreter was interrupted where that may have broken it */
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

/* What has become of an interruption. */
enum interruption {
    INTERRUPTION_OVER,   /* it is not wanted here, or not before the next knock */
    INTERRUPTION_LATER,  /* it is, but not at this place, or in this thread */
    INTERRUPTION_RAISED, /* it is raised */
};
/* In the task's own thread, between two bytecodes, once it is known that the task is to stop and does not clean up: raises
 * Interrupted, if it may be raised here. */
enum interruption target_interrupt(struct target *target);

/* Detached; at most one thread of a process at a time, and no interpreter ends meanwhile. Nothing happens if the call before
 * is still on its way, but that it means `number` now. `patience`: for how long it is put back, in ns. */
void target_knock(struct target *target, uint64_t number, int64_t patience);

/* Makes the type Interrupted for this interpreter. 0, or -1 with an exception. */
int target_register_types(struct state *state);

#endif
