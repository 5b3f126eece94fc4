/* check: assertions for the C tests, and what a test with threads needs.
 *
 * A failed CHECK prints the place and the values and ends the process; NDEBUG changes nothing. A
 * test that hangs is ended by SIGALRM, after the name of the part that hung. Nothing here sleeps:
 * a test waits for words, and the word's writer wakes it.
 */
#ifndef AIOINTERP_TESTS_CHECK_H
#define AIOINTERP_TESTS_CHECK_H

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L /* alarm(), pthread_kill(); so include check.h first */
#endif

#include <inttypes.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "os/os.h"

#define CHECK(condition) \
    ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, __func__, #condition))

/* For integers, enums and bools. */
#define CHECK_EQ(left, right)                                                        \
    check_equal(__FILE__, __LINE__, __func__, #left " == " #right, (intmax_t)(left), \
                (intmax_t)(right))

#define RUN(test)              \
    do {                       \
        printf("%s\n", #test); \
        fflush(stdout);        \
        test();                \
    } while (0)

_Noreturn static inline void
check_failed(const char *file, int line, const char *function, const char *what)
{
    fprintf(stderr, "%s:%d: %s: failed: %s\n", file, line, function, what);
    abort();
}

static inline void
check_equal(const char *file, int line, const char *function, const char *what, intmax_t left,
            intmax_t right)
{
    if (left != right) {
        fprintf(stderr, "%s:%d: %s: %" PRIdMAX " and %" PRIdMAX "\n", file, line, function, left,
                right);
        check_failed(file, line, function, what);
    }
}

/* A sanitizer answers an allocation that is too large as malloc does, instead of ending the test:
 * CHECK_SHORT_MEMORY at file scope of a test that provokes one. */
#define CHECK_SHORT_MEMORY                    \
    const char *__asan_default_options(void); \
    const char *__tsan_default_options(void); \
    const char *__asan_default_options(void)  \
    {                                         \
        return "allocator_may_return_null=1"; \
    }                                         \
    const char *__tsan_default_options(void)  \
    {                                         \
        return "allocator_may_return_null=1"; \
    }

/* The whole test ends after so many seconds. No handler: the signal's default ends a process that
 * is stuck in whatever way. */
static inline void
check_limit(unsigned seconds)
{
    alarm(seconds);
}

/* -- gate: an event that stays set -- */

static inline void
gate_open(atomic_uint *gate)
{
    atomic_store(gate, 1);
    os_word_wake_all(gate);
}

static inline void
gate_await(atomic_uint *gate)
{
    while (atomic_load(gate) == 0) {
        os_word_wait(gate, 0, OS_FOREVER);
    }
}

/* -- meeting: `others` has arrived at round `round` of a race that starts together -- */

static inline void
meet(atomic_uint *mine, atomic_uint *others, unsigned round)
{
    atomic_store(mine, round);
    for (unsigned turn = 0; atomic_load(others) < round; turn++) {
        os_spin_hint();
        if (turn % 64 == 63) {
            sched_yield();
        }
    }
}

/* -- random numbers, the same in every run -- */

static inline uint32_t
random_next(uint32_t *state)
{
    uint32_t x = *state;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return *state = x;
}

#endif
