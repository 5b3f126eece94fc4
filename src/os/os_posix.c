/* os_posix: os.h for Linux (futexes) and for every other POSIX system (mutexes and conditions).
 *
 * OS_FORCE_PORTABLE takes the second way on Linux too, so that it is tested where the tests run.
 */
#ifdef __linux__
#define _GNU_SOURCE /* syscall(), sched_getaffinity() */
#elif defined(__APPLE__)
#define _DARWIN_C_SOURCE /* pthread_cond_timedwait_relative_np(), _SC_NPROCESSORS_ONLN */
#endif

#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/syscall.h>
#endif

#if defined(__linux__) && !defined(OS_FORCE_PORTABLE)
#define USE_FUTEX 1
#include <linux/futex.h>
#include <sys/eventfd.h>
#else
#define USE_FUTEX 0
#endif

#define NS_PER_SECOND INT64_C(1000000000)

/* A lock that cannot be locked has been destroyed or overwritten: there is no way on. */
static void
must(int error)
{
    if (error != 0) {
        abort();
    }
}

/* -- mutex -- */

int
os_mutex_init(os_mutex *mutex)
{
    return pthread_mutex_init(&mutex->native, NULL);
}

void
os_mutex_destroy(os_mutex *mutex)
{
    must(pthread_mutex_destroy(&mutex->native));
}

void
os_mutex_lock(os_mutex *mutex)
{
    must(pthread_mutex_lock(&mutex->native));
}

void
os_mutex_unlock(os_mutex *mutex)
{
    must(pthread_mutex_unlock(&mutex->native));
}

/* -- clock -- */

int64_t
os_now_ns(void)
{
    struct timespec now;
    must(clock_gettime(CLOCK_MONOTONIC, &now));
    return (int64_t)now.tv_sec * NS_PER_SECOND + now.tv_nsec;
}

/* A time in the past may be negative, which no system call takes: 0 is as long ago. */
static struct timespec
timespec_of(int64_t ns)
{
    int64_t sane = ns < 0 ? 0 : ns;
    struct timespec result = {
        .tv_sec = (time_t)(sane / NS_PER_SECOND),
        .tv_nsec = (long)(sane % NS_PER_SECOND),
    };
    return result;
}

/* -- bell -- */

void
os_bell_ring(int descriptor)
{
    const uint64_t one = 1; /* what an eventfd takes; to a pipe it is eight bytes */
    ssize_t written;
    do {
        written = write(descriptor, &one, sizeof(one));
    } while (written < 0 && errno == EINTR); /* EAGAIN: it rings already */
}

void
os_bell_silence(const os_bell *bell)
{
    uint64_t rings[32];
    ssize_t got;
    do { /* an eventfd gives all at once; a pipe that was full gives the rest the next time */
        got = read(bell->listening, rings, sizeof(rings));
    } while (got < 0 && errno == EINTR);
}

#if USE_FUTEX

int
os_bell_open(os_bell *bell)
{
    bell->listening = bell->ringing = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return bell->ringing < 0 ? errno : 0;
}

void
os_bell_close(const os_bell *bell)
{
    close(bell->listening);
}

#else

int
os_bell_open(os_bell *bell)
{
    int ends[2];
    if (pipe(ends) != 0) {
        return errno;
    }
    for (int i = 0; i < 2; i++) {
        fcntl(ends[i], F_SETFL, O_NONBLOCK);
        fcntl(ends[i], F_SETFD, FD_CLOEXEC);
    }
    *bell = (os_bell){ends[0], ends[1]};
    return 0;
}

void
os_bell_close(const os_bell *bell)
{
    close(bell->listening);
    close(bell->ringing);
}

#endif

/* -- waiting on a word -- */

#if USE_FUTEX

_Static_assert(sizeof(atomic_uint) == 4, "a futex is 32 bits");
_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "a futex is the word itself, without a lock beside it");

/* Where a long has 32 bits and a time has 64 (musl, Debian 13 on i386 and armhf), SYS_futex still reads
 * a time of 32 bits: the other call is the one for this timespec. It is as old as Linux 5.1. */
#if !defined(SYS_futex)
enum { FUTEX_CALL = SYS_futex_time64 };
#elif defined(SYS_futex_time64)
enum { FUTEX_CALL = sizeof(time_t) > sizeof(long) ? SYS_futex_time64 : SYS_futex };
#else
enum { FUTEX_CALL = SYS_futex };
_Static_assert(sizeof(time_t) == sizeof(long), "SYS_futex takes the time of a long");
#endif

static long
futex(atomic_uint *word, int operation, unsigned value, const struct timespec *deadline)
{
    return syscall(FUTEX_CALL, word, operation | FUTEX_PRIVATE_FLAG, value, deadline, NULL,
                   FUTEX_BITSET_MATCH_ANY);
}

os_wait_result
os_word_wait(atomic_uint *word, unsigned expected, int64_t deadline_ns)
{
    struct timespec deadline = timespec_of(deadline_ns);
    bool forever = deadline_ns == OS_FOREVER;
    /* FUTEX_WAIT_BITSET, because its time is absolute, and of CLOCK_MONOTONIC. */
    if (futex(word, FUTEX_WAIT_BITSET, expected, forever ? NULL : &deadline) == 0) {
        return OS_WOKEN;
    }
    switch (errno) {
    case ETIMEDOUT:
        return OS_TIMED_OUT;
    case EINTR:
        return OS_INTERRUPTED;
    case EAGAIN: /* the comparison failed */
        return OS_WOKEN;
    default: /* no futexes here (a sandbox), or a bad address: waiting would spin for ever */
        abort();
    }
}

void
os_word_wake_one(atomic_uint *word)
{
    futex(word, FUTEX_WAKE, 1, NULL);
}

void
os_word_wake_all(atomic_uint *word)
{
    futex(word, FUTEX_WAKE, INT_MAX, NULL);
}

#else

/* Waiters park on the condition of the bucket that their word's address falls into. Words that share
 * a bucket wake each other for nothing, which os_word_wait() allows.
 *
 * No wake-up is lost: a waiter compares and parks under the bucket's lock, and a waker, who has
 * changed the word before, takes that lock to wake: it comes before the comparison, which then
 * fails, or after the parking. */
struct bucket {
    pthread_mutex_t lock;
    pthread_cond_t woken;
};

enum { BUCKETS = 64 };

static struct bucket buckets[BUCKETS]; /* made once by buckets_once */
static pthread_once_t buckets_once = PTHREAD_ONCE_INIT;

static void
bucket_init(struct bucket *bucket)
{
    pthread_condattr_t attributes;
    must(pthread_mutex_init(&bucket->lock, NULL));
    must(pthread_condattr_init(&attributes));
#ifndef __APPLE__
    must(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC));
#endif
    must(pthread_cond_init(&bucket->woken, &attributes));
    must(pthread_condattr_destroy(&attributes));
}

static void
init_buckets(void)
{
    for (int i = 0; i < BUCKETS; i++) {
        bucket_init(&buckets[i]);
    }
}

/* The child of a fork has none of the threads that were parked, or held a bucket's lock. */
static void
init_buckets_once(void)
{
    init_buckets();
    must(pthread_atfork(NULL, NULL, init_buckets));
}

static struct bucket *
bucket_of(const atomic_uint *word)
{
    must(pthread_once(&buckets_once, init_buckets_once));
    uintptr_t address = (uintptr_t)word;
    return &buckets[((address >> 4) ^ (address >> 12)) % BUCKETS];
}

/* Returns 0, or ETIMEDOUT. */
static int
park(struct bucket *bucket, int64_t deadline_ns)
{
    if (deadline_ns == OS_FOREVER) {
        return pthread_cond_wait(&bucket->woken, &bucket->lock);
    }
#ifdef __APPLE__
    int64_t now = os_now_ns();
    struct timespec remaining = timespec_of(deadline_ns > now ? deadline_ns - now : 0);
    return pthread_cond_timedwait_relative_np(&bucket->woken, &bucket->lock, &remaining);
#else
    struct timespec deadline = timespec_of(deadline_ns);
    return pthread_cond_timedwait(&bucket->woken, &bucket->lock, &deadline);
#endif
}

/* A condition does not say why it returned. Whoever wakes has changed the word, so a return with
 * the word as it was may have been a signal (macOS returns for one, glibc does not): the caller is
 * told so, and looks. */
os_wait_result
os_word_wait(atomic_uint *word, unsigned expected, int64_t deadline_ns)
{
    struct bucket *bucket = bucket_of(word);
    os_wait_result result = OS_WOKEN;
    must(pthread_mutex_lock(&bucket->lock));
    if (atomic_load_explicit(word, memory_order_relaxed) == expected) {
        int error = park(bucket, deadline_ns);
        if (error == ETIMEDOUT) {
            result = OS_TIMED_OUT;
        }
        else {
            must(error);
            bool same = atomic_load_explicit(word, memory_order_relaxed) == expected;
            result = same ? OS_INTERRUPTED : OS_WOKEN;
        }
    }
    must(pthread_mutex_unlock(&bucket->lock));
    return result;
}

/* Wakes all of the bucket even for one: the condition might choose a waiter of another word. */
void
os_word_wake_one(atomic_uint *word)
{
    os_word_wake_all(word);
}

void
os_word_wake_all(atomic_uint *word)
{
    struct bucket *bucket = bucket_of(word);
    must(pthread_mutex_lock(&bucket->lock));
    must(pthread_cond_broadcast(&bucket->woken));
    must(pthread_mutex_unlock(&bucket->lock));
}

#endif

/* -- the machine -- */

#ifdef __linux__

/* Returns 0 when `cpus` bits are too few for this kernel's mask. */
static int
count_affinity(size_t cpus)
{
    cpu_set_t *set = CPU_ALLOC(cpus);
    if (set == NULL) {
        return 0;
    }
    size_t size = CPU_ALLOC_SIZE(cpus);
    int count = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
    CPU_FREE(set);
    return count;
}

static int
count_allowed(void)
{
    int count = 0;
    for (size_t cpus = 1024; count == 0 && cpus <= 1024 * 1024; cpus *= 4) {
        count = count_affinity(cpus);
    }
    return count;
}

#else

static int
count_allowed(void)
{
    return 0;
}

#endif

unsigned
os_cpu_count(void)
{
    long count = count_allowed();
    if (count < 1) {
        count = sysconf(_SC_NPROCESSORS_ONLN);
    }
    return count < 1 ? 1 : (unsigned)count;
}

int
os_current_cpu(void)
{
#if defined(__linux__)
    return sched_getcpu(); /* no system call */
#else
    return -1;
#endif
}

void
os_spin_hint(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ volatile("yield");
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

/* -- threads -- */

bool
os_is_first_thread(void)
{
#if defined(__linux__)
    return syscall(SYS_gettid) == getpid();
#elif defined(__APPLE__)
    return pthread_main_np() != 0;
#else
    return true; /* it cannot be known */
#endif
}

struct start {
    void (*main)(void *);
    void *argument;
};

static void *
run(void *argument)
{
    struct start start = *(struct start *)argument;
    free(argument);
    start.main(start.argument);
    return NULL;
}

/* Bytes. Such a thread may run Python, for which musl's 128 KiB are too few. */
enum { LEAST_STACK = 1 << 20 };

/* pthread_create() with the platform's stack, or with LEAST_STACK if that is more. */
static int
create(pthread_t *thread, void *argument)
{
    pthread_attr_t attributes;
    size_t size = 0;
    int error = pthread_attr_init(&attributes);
    if (error != 0) {
        return error;
    }
    if (pthread_attr_getstacksize(&attributes, &size) != 0 || size < LEAST_STACK) {
        error = pthread_attr_setstacksize(&attributes, LEAST_STACK);
    }
    if (error == 0) {
        error = pthread_create(thread, &attributes, run, argument);
    }
    must(pthread_attr_destroy(&attributes));
    return error;
}

int
os_thread_start(os_thread *thread, void (*main)(void *), void *argument)
{
    struct start *start = malloc(sizeof(*start));
    if (start == NULL) {
        return ENOMEM;
    }
    *start = (struct start){.main = main, .argument = argument};
    int error = create(&thread->native, start);
    if (error != 0) {
        free(start);
    }
    return error;
}

void
os_thread_join(os_thread *thread)
{
    must(pthread_join(thread->native, NULL));
}

int
os_thread_run(void (*main)(void *), void *argument)
{
    os_thread thread;
    int error = os_thread_start(&thread, main, argument);
    if (error == 0) {
        must(pthread_detach(thread.native));
    }
    return error;
}

/* -- fork -- */

int
os_at_fork(void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
    return pthread_atfork(prepare, parent, child);
}
