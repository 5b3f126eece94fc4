/* os: everything this project asks of the platform.
 *
 * The only room that may include <pthread.h> or make system calls. Knows nothing of Python and
 * nothing of the rooms above. All functions may be called from any thread, with or without a
 * Python thread state; those that can block say so.
 */
#ifndef AIOINTERP_OS_H
#define AIOINTERP_OS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* -- mutex: short critical sections only; not recursive -- */
typedef struct {
    pthread_mutex_t native;
} os_mutex;

/* Returns 0, or an errno value when the platform has no more locks. */
int os_mutex_init(os_mutex *mutex);
void os_mutex_destroy(os_mutex *mutex);
void os_mutex_lock(os_mutex *mutex);
void os_mutex_unlock(os_mutex *mutex);

/* -- clock: monotonic nanoseconds; OS_FOREVER as a deadline means none -- */
#define OS_FOREVER INT64_MAX

int64_t os_now_ns(void);

/* -- waiting on a word --
 *
 * os_word_wait() blocks while *word == expected, until os_word_wake() is called on the same word,
 * the deadline (of os_now_ns()) has passed, or a signal arrives. It may also return for no reason:
 * callers look at the word again. A wait whose comparison fails returns OS_WOKEN at once. Orders
 * nothing by itself: the word is read and written with atomics of the caller's choosing.
 */
typedef enum { OS_WOKEN = 0, OS_TIMED_OUT, OS_INTERRUPTED } os_wait_result;

os_wait_result os_word_wait(atomic_uint *word, unsigned expected, int64_t deadline_ns);
void os_word_wake_one(atomic_uint *word);
void os_word_wake_all(atomic_uint *word);

/* -- bell: a file descriptor that an event loop waits to read from (an eventfd, or a pipe's end) --
 *
 * Makes it readable; never blocks, since it is the descriptor of a non-blocking file. */
void os_bell_ring(int descriptor);

/* One of our own: what is listened to, and what is rung; the same descriptor where the platform has such. */
typedef struct {
    int listening, ringing;
} os_bell;

/* 0, or an errno value: there are no more descriptors. Not inherited by other programs. */
int os_bell_open(os_bell *bell);
/* Takes back what was rung, as many times as it was. Never blocks. */
void os_bell_silence(const os_bell *bell);
void os_bell_close(const os_bell *bell);

/* -- the machine -- */

/* CPUs that this process may run on (its affinity mask), at least 1. */
unsigned os_cpu_count(void);

/* The CPU that the caller runs on at the moment, or -1 where that cannot be asked quickly. */
int os_current_cpu(void);

/* A hint to the core that this is a spin loop. */
void os_spin_hint(void);

/* -- threads: for the C tests and for what the core does by itself; Python's workers are made by
 * Python. Returns 0 or an errno value. -- */
typedef struct {
    pthread_t native;
} os_thread;

/* Whether the caller is the thread that the process, or the child of a fork, has begun with. */
bool os_is_first_thread(void);

int os_thread_start(os_thread *thread, void (*main)(void *), void *argument);
void os_thread_join(os_thread *thread);
/* One that nobody joins: it ends by itself. */
int os_thread_run(void (*main)(void *), void *argument);

/* -- fork --
 *
 * Has the three called at every fork() of the process, by the forking thread: `prepare` before it,
 * `parent` after it, `child` after it in the child, where no other thread is left. They must not
 * fail, nor call Python. Returns 0 or an errno value. */
int os_at_fork(void (*prepare)(void), void (*parent)(void), void (*child)(void));

#endif
