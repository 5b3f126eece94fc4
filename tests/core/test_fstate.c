#include "check.h"

#include <pthread.h>
#include <signal.h>

#include "core/fstate.h"

enum { STATES = 5, ROUNDS = 5000 };

static fstate
made(unsigned word)
{
    fstate self;
    fstate_init(&self);
    atomic_store(&self.word, word);
    return self;
}

/* -- every function from every state, with and without observer -- */

static void
a_new_one_is_pending(void)
{
    fstate self;
    fstate_init(&self);
    CHECK_EQ(fstate_get(&self), FSTATE_PENDING);
    CHECK(!fstate_is_done(&self));
    CHECK(!fstate_is_observed(&self));
}

static void
reading(void)
{
    const bool done[STATES] = {false, false, true, true, true};
    for (unsigned state = 0; state < STATES; state++) {
        fstate plain = made(state);
        fstate flagged = made(state | FSTATE_OBSERVED | FSTATE_WAITED);
        CHECK_EQ(fstate_get(&plain), state);
        CHECK_EQ(fstate_get(&flagged), state);
        CHECK_EQ(fstate_is_done(&plain), done[state]);
        CHECK_EQ(fstate_is_done(&flagged), done[state]);
        CHECK(!fstate_is_observed(&plain));
        CHECK(fstate_is_observed(&flagged));
    }
}

/* `verb` moves `from` to `to` and nothing else to anywhere; an observer stops it if `quiet`. */
static void
check_move(bool (*verb)(fstate *), unsigned from, unsigned to, bool quiet)
{
    for (unsigned state = 0; state < STATES; state++) {
        bool moves = state == from;
        fstate self = made(state);
        CHECK_EQ(verb(&self), moves);
        CHECK_EQ(fstate_get(&self), moves ? to : state);

        bool moves_observed = moves && !quiet;
        fstate observed = made(state | FSTATE_OBSERVED);
        CHECK_EQ(verb(&observed), moves_observed);
        CHECK_EQ(fstate_get(&observed), moves_observed ? to : state);
        CHECK(fstate_is_observed(&observed));
    }
}

static void
moves(void)
{
    check_move(fstate_start, FSTATE_PENDING, FSTATE_RUNNING, false);
    check_move(fstate_cancel, FSTATE_PENDING, FSTATE_CANCELLED, false);
    check_move(fstate_cancel_running, FSTATE_RUNNING, FSTATE_CANCELLED_AND_NOTIFIED, false);
    check_move(fstate_finish_quietly, FSTATE_RUNNING, FSTATE_FINISHED, true);
    check_move(fstate_notify_quietly, FSTATE_CANCELLED, FSTATE_CANCELLED_AND_NOTIFIED, true);
}

/* Unlike the worker's end: from PENDING too, and whoever observes. */
static void
finishing_by_hand(void)
{
    for (unsigned state = 0; state < STATES; state++) {
        bool moves = state == FSTATE_PENDING || state == FSTATE_RUNNING;
        for (unsigned flags = 0; flags <= FSTATE_OBSERVED; flags += FSTATE_OBSERVED) {
            fstate self = made(state | flags);
            CHECK_EQ(fstate_finish(&self), moves);
            CHECK_EQ(fstate_get(&self), moves ? FSTATE_FINISHED : state);
            CHECK_EQ(fstate_is_observed(&self), flags != 0);
            CHECK(!moves || !fstate_finish(&self)); /* once */
        }
    }
}

static void
ending_by_hand(void)
{
    for (unsigned from = 0; from < STATES; from++) {
        for (unsigned to = 0; to < STATES; to++) {
            fstate self = made(from | FSTATE_OBSERVED);
            fstate_end(&self, to);
            CHECK_EQ(fstate_get(&self), to);
            CHECK(fstate_is_observed(&self));
        }
    }
}

static void
observing_tells_when(void)
{
    for (unsigned state = 0; state < STATES; state++) {
        fstate self = made(state);
        CHECK_EQ(fstate_observe(&self, true), state);
        CHECK_EQ(fstate_observe(&self, true), state);
        CHECK(fstate_is_observed(&self));
        CHECK_EQ(fstate_get(&self), state);
    }
}

/* One observer that is foreign makes it so, whoever else there is. */
static void
observing_by_us_and_by_others(void)
{
    fstate self = made(FSTATE_RUNNING);
    CHECK(!fstate_is_observed_by_us(&self));
    fstate_observe(&self, false);
    CHECK(fstate_is_observed_by_us(&self));
    fstate_observe(&self, true);
    CHECK(fstate_is_observed(&self));
    CHECK(!fstate_is_observed_by_us(&self));
    fstate_observe(&self, false);
    CHECK(!fstate_is_observed_by_us(&self));
    CHECK_EQ(fstate_end(&self, FSTATE_FINISHED), FSTATE_RUNNING);
    CHECK(!fstate_is_observed_by_us(&self));
}

/* -- waiting -- */

static fstate_wait_result
wait_through_signals(fstate *self, int64_t deadline)
{
    fstate_wait_result result;
    do {
        result = fstate_wait(self, deadline);
    } while (result == FSTATE_INTERRUPTED);
    return result;
}

static void
waiting_for_what_is_done(void)
{
    for (unsigned state = FSTATE_CANCELLED; state < STATES; state++) {
        fstate self = made(state);
        CHECK_EQ(fstate_wait(&self, OS_FOREVER), FSTATE_DONE);
        CHECK_EQ(fstate_wait(&self, 0), FSTATE_DONE);
        CHECK_EQ(fstate_wait(&self, INT64_MIN), FSTATE_DONE);
    }
}

static void
check_times_out(unsigned word, int64_t deadline)
{
    fstate self = made(word);
    CHECK_EQ(wait_through_signals(&self, deadline), FSTATE_TIMED_OUT);
    CHECK(os_now_ns() >= deadline);
    CHECK_EQ(fstate_get(&self), word & FSTATE_MASK);
}

static void
deadlines(void)
{
    for (unsigned state = FSTATE_PENDING; state <= FSTATE_RUNNING; state++) {
        check_times_out(state, INT64_MIN);
        check_times_out(state, -1);
        check_times_out(state, 0);
        check_times_out(state, os_now_ns() + 2000000);
        check_times_out(state | FSTATE_OBSERVED, os_now_ns() + 2000000);
    }
}

static void
a_nap_ends_by_its_time_and_asks_for_no_wake_up(void)
{
    fstate self = made(FSTATE_RUNNING);
    int64_t until = os_now_ns() + 2000000;
    bool done;
    do {
        done = fstate_nap(&self, until); /* a signal may have ended it */
    } while (!done && os_now_ns() < until);
    CHECK(!done);
    CHECK_EQ(atomic_load(&self.word), FSTATE_RUNNING);
    CHECK(fstate_finish_quietly(&self));
    CHECK(fstate_nap(&self, INT64_MAX));
}

/* -- an end wakes everyone and publishes -- */

enum { WAITERS = 3 };

struct shared {
    fstate states[ROUNDS];
    unsigned published[ROUNDS]; /* written before the end of its round, read after */
    atomic_uint round_of[WAITERS];
    bool (*finish)(fstate *);
};

struct waiter {
    struct shared *shared;
    unsigned number;
    os_thread thread;
};

/* Waits with short deadlines first, so that timing out and ending race as well. */
static void
wait_for_rounds(void *argument)
{
    struct waiter *waiter = argument;
    struct shared *shared = waiter->shared;
    uint32_t seed = waiter->number + 1;
    for (unsigned round = 0; round < ROUNDS; round++) {
        fstate *self = &shared->states[round];
        fstate_wait_result result = FSTATE_TIMED_OUT;
        for (int try = 0; try < 3 && result == FSTATE_TIMED_OUT; try++) {
            int64_t now = os_now_ns();
            result = wait_through_signals(self, now + (int64_t)(random_next(&seed) % 20000));
        }
        if (result != FSTATE_DONE) {
            CHECK_EQ(wait_through_signals(self, OS_FOREVER), FSTATE_DONE);
        }
        CHECK(fstate_is_done(self));
        CHECK_EQ(shared->published[round], round + 1);
        atomic_store(&shared->round_of[waiter->number], round + 1);
    }
}

static bool
finish_running(fstate *self)
{
    return fstate_start(self) && fstate_finish_quietly(self);
}

static bool
end_by_hand(fstate *self)
{
    fstate_observe(self, true);
    fstate_end(self, FSTATE_FINISHED);
    return true;
}

/* The ender runs a few rounds ahead of the slowest waiter at most, so waiters do park. */
static void
end_rounds(struct shared *shared)
{
    uint32_t seed = 99;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < WAITERS; i++) {
            while (atomic_load(&shared->round_of[i]) + 1 < round) {
                sched_yield();
            }
        }
        for (uint32_t turns = random_next(&seed) % 200; turns > 0; turns--) {
            os_spin_hint();
        }
        shared->published[round] = round + 1;
        CHECK(shared->finish(&shared->states[round]));
    }
}

static void
wake_with(bool (*finish)(fstate *))
{
    static struct shared shared;
    struct waiter waiters[WAITERS];
    shared.finish = finish;
    for (unsigned round = 0; round < ROUNDS; round++) {
        fstate_init(&shared.states[round]);
        shared.published[round] = 0;
    }
    for (unsigned i = 0; i < WAITERS; i++) {
        atomic_store(&shared.round_of[i], 0);
        waiters[i] = (struct waiter){.shared = &shared, .number = i};
        CHECK_EQ(os_thread_start(&waiters[i].thread, wait_for_rounds, &waiters[i]), 0);
    }
    end_rounds(&shared);
    for (unsigned i = 0; i < WAITERS; i++) {
        os_thread_join(&waiters[i].thread);
    }
}

static void
finishing_wakes_all_who_wait(void)
{
    wake_with(finish_running);
}

static void
cancelling_wakes_all_who_wait(void)
{
    wake_with(fstate_cancel);
}

static bool
finish_observed(fstate *self)
{
    fstate_observe(self, true);
    return fstate_finish(self);
}

static void
finishing_by_hand_wakes_all_who_wait(void)
{
    wake_with(fstate_finish);
    wake_with(finish_observed);
}

static void
ending_by_hand_wakes_all_who_wait(void)
{
    wake_with(end_by_hand);
}

/* -- two that race for one future, round by round -- */

struct race {
    fstate states[ROUNDS];
    unsigned left_by[ROUNDS][2]; /* what each side saw; its own, read after joining */
    unsigned value[ROUNDS];      /* published by the ending side */
    atomic_uint arrived[2];
    void (*other)(struct race *, unsigned round);
};

static void
run_other(void *argument)
{
    struct race *race = argument;
    for (unsigned round = 0; round < ROUNDS; round++) {
        meet(&race->arrived[1], &race->arrived[0], round + 1);
        race->other(race, round);
    }
}

static void
run_race(struct race *race, unsigned state, void (*one)(struct race *, unsigned),
         void (*other)(struct race *, unsigned))
{
    os_thread thread;
    race->other = other;
    atomic_store(&race->arrived[0], 0);
    atomic_store(&race->arrived[1], 0);
    for (unsigned round = 0; round < ROUNDS; round++) {
        atomic_store(&race->states[round].word, state);
        race->value[round] = 0;
    }
    CHECK_EQ(os_thread_start(&thread, run_other, race), 0);
    for (unsigned round = 0; round < ROUNDS; round++) {
        meet(&race->arrived[0], &race->arrived[1], round + 1);
        one(race, round);
    }
    os_thread_join(&thread);
}

static struct race the_race;

static void
try_start(struct race *race, unsigned round)
{
    race->left_by[round][0] = fstate_start(&race->states[round]);
}

static void
try_cancel(struct race *race, unsigned round)
{
    race->left_by[round][1] = fstate_cancel(&race->states[round]);
}

static void
starting_against_cancelling(void)
{
    run_race(&the_race, FSTATE_PENDING, try_start, try_cancel);
    for (unsigned round = 0; round < ROUNDS; round++) {
        bool started = the_race.left_by[round][0];
        CHECK_EQ(started + the_race.left_by[round][1], 1);
        CHECK_EQ(fstate_get(&the_race.states[round]), started ? FSTATE_RUNNING : FSTATE_CANCELLED);
    }
}

static void
try_finish(struct race *race, unsigned round)
{
    fstate *self = &race->states[round];
    race->value[round] = round;
    bool quiet = fstate_finish_quietly(self);
    if (!quiet) {
        CHECK_EQ(fstate_get(self), FSTATE_RUNNING);
        fstate_end(self, FSTATE_FINISHED);
    }
    race->left_by[round][0] = quiet;
}

static void
try_observe(struct race *race, unsigned round)
{
    unsigned state = fstate_observe(&race->states[round], true);
    if (state == FSTATE_FINISHED) {
        CHECK_EQ(race->value[round], round); /* the end is seen with all that came before it */
    }
    race->left_by[round][1] = state;
}

/* Either the end was quiet and the observer saw it, or the ending side saw the observer. */
static void
finishing_against_observing(void)
{
    run_race(&the_race, FSTATE_RUNNING, try_finish, try_observe);
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned quiet = the_race.left_by[round][0];
        CHECK_EQ(the_race.left_by[round][1], quiet ? FSTATE_FINISHED : FSTATE_RUNNING);
        CHECK_EQ(fstate_get(&the_race.states[round]), FSTATE_FINISHED);
        CHECK(fstate_is_observed(&the_race.states[round]));
    }
}

static void
try_finish_by_hand(struct race *race, unsigned round)
{
    race->left_by[round][0] = fstate_finish(&race->states[round]);
}

static void
try_run(struct race *race, unsigned round)
{
    fstate *self = &race->states[round];
    race->left_by[round][1] = fstate_start(self) && fstate_finish_quietly(self);
}

/* A worker and somebody who sets a result by hand: one of them has the right to publish. */
static void
finishing_by_hand_against_running(void)
{
    run_race(&the_race, FSTATE_PENDING, try_finish_by_hand, try_run);
    for (unsigned round = 0; round < ROUNDS; round++) {
        CHECK_EQ(the_race.left_by[round][0] + the_race.left_by[round][1], 1);
        CHECK_EQ(fstate_get(&the_race.states[round]), FSTATE_FINISHED);
    }
}

static void
finishing_by_hand_against_cancelling(void)
{
    run_race(&the_race, FSTATE_PENDING, try_finish_by_hand, try_cancel);
    for (unsigned round = 0; round < ROUNDS; round++) {
        bool finished = the_race.left_by[round][0];
        CHECK_EQ(finished + the_race.left_by[round][1], 1);
        CHECK_EQ(fstate_get(&the_race.states[round]),
                 finished ? FSTATE_FINISHED : FSTATE_CANCELLED);
    }
}

static void
try_notify(struct race *race, unsigned round)
{
    race->left_by[round][0] = fstate_notify_quietly(&race->states[round]);
}

static void
notifying_against_observing(void)
{
    run_race(&the_race, FSTATE_CANCELLED, try_notify, try_observe);
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned quiet = the_race.left_by[round][0];
        CHECK_EQ(the_race.left_by[round][1],
                 quiet ? FSTATE_CANCELLED_AND_NOTIFIED : FSTATE_CANCELLED);
    }
}

static void
read_or_wait(struct race *race, unsigned round)
{
    CHECK_EQ(wait_through_signals(&race->states[round], OS_FOREVER), FSTATE_DONE);
    CHECK_EQ(race->value[round], round);
}

static void
finishing_against_parking(void)
{
    run_race(&the_race, FSTATE_RUNNING, try_finish, read_or_wait);
}

/* -- the ended future may be gone before the ending thread returns from waking -- */

struct owner {
    fstate *state;
    atomic_uint ready;
};

static void
finish_for_owner(void *argument)
{
    struct owner *owner = argument;
    for (unsigned round = 1; round <= ROUNDS; round++) {
        while (atomic_load(&owner->ready) < round) {
            os_word_wait(&owner->ready, round - 1, OS_FOREVER);
        }
        CHECK(fstate_finish_quietly(owner->state));
    }
}

static void
the_waiter_may_free_it(void)
{
    struct owner owner = {.state = NULL};
    os_thread thread;
    CHECK_EQ(os_thread_start(&thread, finish_for_owner, &owner), 0);
    for (unsigned round = 1; round <= ROUNDS; round++) {
        fstate *self = malloc(sizeof(*self));
        CHECK(self != NULL);
        fstate_init(self);
        CHECK(fstate_start(self));
        owner.state = self;
        atomic_store(&owner.ready, round);
        os_word_wake_all(&owner.ready);
        CHECK_EQ(wait_through_signals(self, OS_FOREVER), FSTATE_DONE);
        free(self);
    }
    os_thread_join(&thread);
}

/* -- signals: only a futex promises to return for one -- */

#ifndef OS_FORCE_PORTABLE

static void
ignore(int number)
{
    (void)number;
}

struct patient {
    fstate state;
    atomic_uint interrupted;
};

static void
wait_for_signal(void *argument)
{
    struct patient *patient = argument;
    CHECK_EQ(fstate_wait(&patient->state, OS_FOREVER), FSTATE_INTERRUPTED);
    gate_open(&patient->interrupted);
}

static void
a_signal_interrupts(void)
{
    struct sigaction action = {.sa_handler = ignore};
    struct patient patient = {.state = made(FSTATE_RUNNING)};
    os_thread thread;
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    CHECK_EQ(os_thread_start(&thread, wait_for_signal, &patient), 0);
    while (atomic_load(&patient.interrupted) == 0) {
        CHECK_EQ(pthread_kill(thread.native, SIGUSR1), 0);
        sched_yield();
    }
    os_thread_join(&thread);
    CHECK_EQ(fstate_get(&patient.state), FSTATE_RUNNING);
}

#endif

int
main(void)
{
    check_limit(120);
    RUN(a_new_one_is_pending);
    RUN(reading);
    RUN(moves);
    RUN(finishing_by_hand);
    RUN(ending_by_hand);
    RUN(observing_tells_when);
    RUN(observing_by_us_and_by_others);
    RUN(waiting_for_what_is_done);
    RUN(deadlines);
    RUN(a_nap_ends_by_its_time_and_asks_for_no_wake_up);
    RUN(finishing_wakes_all_who_wait);
    RUN(cancelling_wakes_all_who_wait);
    RUN(finishing_by_hand_wakes_all_who_wait);
    RUN(ending_by_hand_wakes_all_who_wait);
    RUN(starting_against_cancelling);
    RUN(finishing_against_observing);
    RUN(finishing_by_hand_against_running);
    RUN(finishing_by_hand_against_cancelling);
    RUN(notifying_against_observing);
    RUN(finishing_against_parking);
    RUN(the_waiter_may_free_it);
#ifndef OS_FORCE_PORTABLE
    RUN(a_signal_interrupts);
#endif
    return 0;
}
