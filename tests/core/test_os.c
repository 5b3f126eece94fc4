#include "check.h"

#include <poll.h>

#include <pthread.h>
#include <signal.h>

static void
the_clock_does_not_go_back(void)
{
    int64_t before = os_now_ns();
    CHECK(before > 0);
    for (int i = 0; i < 1000; i++) {
        int64_t now = os_now_ns();
        CHECK(now >= before);
        before = now;
    }
}

static void
a_bell_can_be_heard(void)
{
    int ends[2];
    uint64_t rung[2] = {0};
    CHECK_EQ(pipe(ends), 0);
    os_bell_ring(ends[1]);
    os_bell_ring(ends[1]);
    CHECK_EQ(read(ends[0], rung, sizeof(rung)), sizeof(rung));
    CHECK_EQ(rung[0], 1);
    close(ends[0]);
    close(ends[1]);
}

static void
open_gate(void *gate)
{
    gate_open(gate);
}

static void
a_thread_that_nobody_joins(void)
{
    static atomic_uint gate;
    CHECK_EQ(os_thread_run(open_gate, &gate), 0);
    gate_await(&gate);
}

static void
there_is_a_cpu(void)
{
    CHECK(os_cpu_count() >= 1);
    CHECK(os_cpu_count() < 1000000);
    os_spin_hint();
}

static void
a_failed_comparison_returns_at_once(void)
{
    atomic_uint word = 5;
    CHECK_EQ(os_word_wait(&word, 4, OS_FOREVER), OS_WOKEN);
    CHECK_EQ(os_word_wait(&word, 4, INT64_MIN), OS_WOKEN);
}

/* A wait may return for no reason, so the deadline is what counts. */
static void
await_deadline(int64_t deadline)
{
    atomic_uint word = 5;
    while (os_word_wait(&word, 5, deadline) != OS_TIMED_OUT) {
    }
    CHECK(os_now_ns() >= deadline);
}

static void
deadlines(void)
{
    await_deadline(INT64_MIN);
    await_deadline(-1);
    await_deadline(0);
    await_deadline(os_now_ns());
    await_deadline(os_now_ns() + 1);
    await_deadline(os_now_ns() + 3000000);
    await_deadline(os_now_ns() + 1001000000); /* more than a second: the carry of nanoseconds */
}

static void
waking_with_nobody_there(void)
{
    atomic_uint word = 0;
    os_word_wake_one(&word);
    os_word_wake_all(&word);
}

/* -- a relay: each thread waits for its number on one word, and calls the next -- */

enum { RUNNERS = 4, LAPS = 2000 };

struct relay {
    atomic_uint word;
    unsigned plain; /* written by whose turn it is: the word's release and acquire order it */
};

struct runner {
    struct relay *relay;
    unsigned number;
    os_thread thread;
};

static void
run_laps(void *argument)
{
    struct runner *runner = argument;
    struct relay *relay = runner->relay;
    for (unsigned turn = runner->number; turn < RUNNERS * LAPS; turn += RUNNERS) {
        unsigned seen;
        while ((seen = atomic_load_explicit(&relay->word, memory_order_acquire)) != turn) {
            os_word_wait(&relay->word, seen, OS_FOREVER);
        }
        CHECK_EQ(relay->plain, turn);
        relay->plain++;
        atomic_store_explicit(&relay->word, turn + 1, memory_order_release);
        os_word_wake_all(&relay->word);
    }
}

static void
no_wake_up_is_lost(void)
{
    struct relay relay = {.plain = 0};
    struct runner runners[RUNNERS];
    for (unsigned i = 0; i < RUNNERS; i++) {
        runners[i] = (struct runner){.relay = &relay, .number = i};
        CHECK_EQ(os_thread_start(&runners[i].thread, run_laps, &runners[i]), 0);
    }
    for (unsigned i = 0; i < RUNNERS; i++) {
        os_thread_join(&runners[i].thread);
    }
    CHECK_EQ(relay.plain, RUNNERS * LAPS);
}

/* -- one token for many: wake_one wakes one who can take it -- */

struct tokens {
    atomic_uint count;
    atomic_uint taken;
};

static void
take_tokens(void *argument)
{
    struct tokens *tokens = argument;
    for (unsigned i = 0; i < LAPS; i++) {
        unsigned seen = atomic_load(&tokens->count);
        while (seen == 0 || !atomic_compare_exchange_weak(&tokens->count, &seen, seen - 1)) {
            if (seen == 0) {
                os_word_wait(&tokens->count, 0, OS_FOREVER);
                seen = atomic_load(&tokens->count);
            }
        }
        atomic_fetch_add(&tokens->taken, 1);
    }
}

static void
waking_one_at_a_time(void)
{
    struct tokens tokens = {.count = 0};
    os_thread threads[RUNNERS];
    for (unsigned i = 0; i < RUNNERS; i++) {
        CHECK_EQ(os_thread_start(&threads[i], take_tokens, &tokens), 0);
    }
    for (unsigned i = 0; i < RUNNERS * LAPS; i++) {
        atomic_fetch_add(&tokens.count, 1);
        os_word_wake_one(&tokens.count);
    }
    for (unsigned i = 0; i < RUNNERS; i++) {
        os_thread_join(&threads[i]);
    }
    CHECK_EQ(tokens.taken, RUNNERS * LAPS);
    CHECK_EQ(tokens.count, 0);
}

/* -- mutex -- */

struct guarded {
    os_mutex mutex;
    unsigned plain; /* guarded by `mutex` */
};

static void
count_up(void *argument)
{
    struct guarded *guarded = argument;
    for (unsigned i = 0; i < LAPS; i++) {
        os_mutex_lock(&guarded->mutex);
        guarded->plain++;
        os_mutex_unlock(&guarded->mutex);
    }
}

static void
a_mutex_excludes(void)
{
    struct guarded guarded = {.plain = 0};
    os_thread threads[RUNNERS];
    CHECK_EQ(os_mutex_init(&guarded.mutex), 0);
    for (unsigned i = 0; i < RUNNERS; i++) {
        CHECK_EQ(os_thread_start(&threads[i], count_up, &guarded), 0);
    }
    for (unsigned i = 0; i < RUNNERS; i++) {
        os_thread_join(&threads[i]);
    }
    CHECK_EQ(guarded.plain, RUNNERS * LAPS);
    os_mutex_destroy(&guarded.mutex);
}

/* -- signals: only a futex promises to return for one -- */

#ifndef OS_FORCE_PORTABLE

static void
ignore(int number)
{
    (void)number;
}

struct patient {
    atomic_uint word;
    atomic_uint interrupted;
    int64_t deadline;
};

static void
wait_for_signal(void *argument)
{
    struct patient *patient = argument;
    while (os_word_wait(&patient->word, 0, patient->deadline) != OS_INTERRUPTED) {
    }
    atomic_store(&patient->interrupted, 1);
}

/* Signals until one has come while the thread was parked. */
static void
interrupt(int64_t deadline)
{
    struct patient patient = {.deadline = deadline};
    os_thread thread;
    CHECK_EQ(os_thread_start(&thread, wait_for_signal, &patient), 0);
    while (atomic_load(&patient.interrupted) == 0) {
        CHECK_EQ(pthread_kill(thread.native, SIGUSR1), 0);
        sched_yield();
    }
    os_thread_join(&thread);
}

static void
a_signal_interrupts(void)
{
    struct sigaction action = {.sa_handler = ignore};
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    interrupt(OS_FOREVER);
    interrupt(os_now_ns() + INT64_C(1000000000000));
}

#endif

static void
a_bell_of_our_own(void)
{
    os_bell bell;
    CHECK_EQ(os_bell_open(&bell), 0);
    for (int round = 0; round < 3; round++) {
        struct pollfd poller = {.fd = bell.listening, .events = POLLIN};
        CHECK_EQ(poll(&poller, 1, 0), 0);
        os_bell_silence(&bell); /* does not block */
        os_bell_ring(bell.ringing);
        os_bell_ring(bell.ringing);
        CHECK_EQ(poll(&poller, 1, 0), 1);
        os_bell_silence(&bell);
    }
    os_bell_close(&bell);
}

int
main(void)
{
    check_limit(60);
    RUN(the_clock_does_not_go_back);
    RUN(a_bell_can_be_heard);
    RUN(a_bell_of_our_own);
    RUN(a_thread_that_nobody_joins);
    RUN(there_is_a_cpu);
    RUN(a_failed_comparison_returns_at_once);
    RUN(deadlines);
    RUN(waking_with_nobody_there);
    RUN(no_wake_up_is_lost);
    RUN(waking_one_at_a_time);
    RUN(a_mutex_excludes);
#ifndef OS_FORCE_PORTABLE
    RUN(a_signal_interrupts);
#endif
    return 0;
}
