#include "fstate.h"

#include "../os/os.h"

static bool
is_done(unsigned word)
{
    return (word & FSTATE_MASK) >= FSTATE_CANCELLED;
}

void
fstate_init(fstate *self)
{
    atomic_init(&self->word, FSTATE_PENDING);
}

unsigned
fstate_get(const fstate *self)
{
    return atomic_load_explicit(&self->word, memory_order_acquire) & FSTATE_MASK;
}

bool
fstate_is_done(const fstate *self)
{
    return is_done(atomic_load_explicit(&self->word, memory_order_acquire));
}

bool
fstate_is_observed(const fstate *self)
{
    return (atomic_load_explicit(&self->word, memory_order_acquire) & FSTATE_OBSERVED) != 0;
}

bool
fstate_is_observed_by_us(const fstate *self)
{
    unsigned word = atomic_load_explicit(&self->word, memory_order_acquire);
    return (word & (FSTATE_OBSERVED | FSTATE_FOREIGN)) == FSTATE_OBSERVED;
}

/* Moves from state `from` to state `to`, flags kept but for WAITED when those parked are woken.
 * Fails when the state is another one, or when a flag of `refused` is set. Release publishes what
 * the mover wrote; acquire lets it read what an observer or a canceller wrote. */
static bool
move(fstate *self, unsigned from, unsigned to, unsigned refused)
{
    unsigned word = atomic_load_explicit(&self->word, memory_order_acquire);
    unsigned target;
    do {
        if ((word & FSTATE_MASK) != from || (word & refused) != 0) {
            return false;
        }
        target = (word & ~(unsigned)FSTATE_MASK) | to;
        if (is_done(to)) {
            target &= ~(unsigned)FSTATE_WAITED;
        }
    } while (!atomic_compare_exchange_weak_explicit(&self->word, &word, target,
                                                    memory_order_acq_rel, memory_order_acquire));
    if (is_done(to) && (word & FSTATE_WAITED) != 0) {
        os_word_wake_all(&self->word);
    }
    return true;
}

bool
fstate_start(fstate *self)
{
    return move(self, FSTATE_PENDING, FSTATE_RUNNING, 0);
}

bool
fstate_cancel(fstate *self)
{
    return move(self, FSTATE_PENDING, FSTATE_CANCELLED, 0);
}

bool
fstate_cancel_running(fstate *self)
{
    return move(self, FSTATE_RUNNING, FSTATE_CANCELLED_AND_NOTIFIED, 0);
}

bool
fstate_finish_quietly(fstate *self)
{
    return move(self, FSTATE_RUNNING, FSTATE_FINISHED, FSTATE_OBSERVED);
}

bool
fstate_finish(fstate *self)
{
    unsigned from;
    while (!is_done(from = fstate_get(self))) {
        if (move(self, from, FSTATE_FINISHED, 0)) {
            return true;
        }
    }
    return false;
}

bool
fstate_notify_quietly(fstate *self)
{
    return move(self, FSTATE_CANCELLED, FSTATE_CANCELLED_AND_NOTIFIED, FSTATE_OBSERVED);
}

unsigned
fstate_end(fstate *self, unsigned state)
{
    unsigned from;
    do {
        from = fstate_get(self);
    } while (!move(self, from, state, 0));
    return from;
}

unsigned
fstate_observe(fstate *self, bool foreign)
{
    unsigned flags = foreign ? FSTATE_OBSERVED | FSTATE_FOREIGN : FSTATE_OBSERVED;
    return atomic_fetch_or_explicit(&self->word, flags, memory_order_acq_rel) & FSTATE_MASK;
}

fstate_wait_result
fstate_wait(fstate *self, int64_t deadline_ns)
{
    unsigned word = atomic_load_explicit(&self->word, memory_order_acquire);
    while (!is_done(word)) {
        unsigned waited = word | FSTATE_WAITED;
        if (word != waited &&
            !atomic_compare_exchange_weak_explicit(&self->word, &word, waited, memory_order_acq_rel,
                                                   memory_order_acquire)) {
            continue;
        }
        os_wait_result result = os_word_wait(&self->word, waited, deadline_ns);
        word = atomic_load_explicit(&self->word, memory_order_acquire);
        if (is_done(word)) {
            break;
        }
        if (result == OS_TIMED_OUT) {
            return FSTATE_TIMED_OUT;
        }
        if (result == OS_INTERRUPTED) {
            return FSTATE_INTERRUPTED;
        }
    }
    return FSTATE_DONE;
}

bool
fstate_nap(fstate *self, int64_t until_ns)
{
    unsigned word = atomic_load_explicit(&self->word, memory_order_acquire);
    if (!is_done(word)) {
        /* Without WAITED, which would ask for a wake-up. */
        os_word_wait(&self->word, word, until_ns);
        word = atomic_load_explicit(&self->word, memory_order_acquire);
    }
    return is_done(word);
}
