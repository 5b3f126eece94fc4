/* fstate: the state of a future in one atomic word, with parking for those who wait.
 *
 *     PENDING ──start──► RUNNING ──finish──► FINISHED
 *        └────cancel───► CANCELLED ──notify──► CANCELLED_AND_NOTIFIED
 *
 * The word holds the state and three flags:
 *   WAITED    somebody is, or is about to be, parked on the word: whoever ends it wakes them.
 *   OBSERVED  somebody must be told the Python way (done-callbacks, a condition, waiters of
 *             concurrent.futures.wait): a quiet end is refused, and the ending thread has to attach
 *             the main interpreter, tell them, and end it there.
 *   FOREIGN   telling may run anybody's code, which may wait for another future: whoever ends this
 *             one tells alone, and not others' futures along with it.
 *
 * Whoever moves the word out of RUNNING (or, cancelling, out of PENDING) owns the right to publish:
 * everything it wrote before is seen by whoever reads the ended state (release / acquire on the
 * word). All functions may be called from any thread, attached or not; only fstate_wait blocks.
 */
#ifndef AIOINTERP_FSTATE_H
#define AIOINTERP_FSTATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
    atomic_uint word;
} fstate;

enum {
    FSTATE_PENDING = 0,
    FSTATE_RUNNING = 1,
    FSTATE_CANCELLED = 2,
    FSTATE_CANCELLED_AND_NOTIFIED = 3,
    FSTATE_FINISHED = 4,

    FSTATE_MASK = 7,
    FSTATE_WAITED = 8,
    FSTATE_OBSERVED = 16,
    FSTATE_FOREIGN = 32,
};

void fstate_init(fstate *self);

/* The state without its flags (acquire). */
unsigned fstate_get(const fstate *self);
/* FINISHED, CANCELLED or CANCELLED_AND_NOTIFIED: result() has something to say. */
bool fstate_is_done(const fstate *self);
bool fstate_is_observed(const fstate *self);
/* Observed, but not FOREIGN. */
bool fstate_is_observed_by_us(const fstate *self);

/* PENDING → RUNNING. False: it was not pending, which for a worker means cancelled. */
bool fstate_start(fstate *self);

/* PENDING → CANCELLED, waking those parked. True when this call did it. */
bool fstate_cancel(fstate *self);

/* RUNNING → CANCELLED_AND_NOTIFIED, observed or not, waking those parked. True when this call did it: the
 * caller tells, and whoever runs the task finds that it cannot end it any more. */
bool fstate_cancel_running(fstate *self);

/* RUNNING → FINISHED and wake those parked, unless OBSERVED. False: it is observed and still
 * RUNNING: tell, and end it by fstate_finish(); or it was cancelled meanwhile. */
bool fstate_finish_quietly(fstate *self);

/* PENDING or RUNNING → FINISHED, observed or not, waking those parked: for who tells, and for who ends
 * a future by hand. False: it was done already. */
bool fstate_finish(fstate *self);

/* CANCELLED → CANCELLED_AND_NOTIFIED, unless OBSERVED. False: it is observed (or was not
 * CANCELLED). */
bool fstate_notify_quietly(fstate *self);

/* Any state → `state`, flags kept, those parked woken when `state` is a done one. For the holder of
 * the right to publish, and for the setter behind Future._state. Returns the state it moved from. */
unsigned fstate_end(fstate *self, unsigned state);

/* Sets OBSERVED, and FOREIGN if asked to. Returns the state it was set in: when that is a done one,
 * the end may have passed without telling, and the caller looks for itself. */
unsigned fstate_observe(fstate *self, bool foreign);

typedef enum { FSTATE_DONE = 0, FSTATE_TIMED_OUT, FSTATE_INTERRUPTED } fstate_wait_result;

/* Parks until the state is a done one, the deadline (of os_now_ns) has passed or a signal came.
 * Never call it with a thread state attached. */
fstate_wait_result fstate_wait(fstate *self, int64_t deadline_ns);

/* Waits until about `until_ns` (of os_now_ns), or a signal; the end of the state wakes nobody. True: it
 * is a done one. */
bool fstate_nap(fstate *self, int64_t until_ns);

#endif
