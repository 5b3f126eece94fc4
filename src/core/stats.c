#include "stats.h"

#include "../os/os.h"

#include <string.h>

void
stats_init(struct stats_sheet *sheet)
{
    memset(sheet, 0, sizeof(*sheet)); /* every atomic here is a plain word */
}

/* -- counting: one writer, so no read-modify-write has to be atomic -- */

static void
add(atomic_uint_fast64_t *counter, uint64_t amount)
{
    uint64_t before = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, before + amount, memory_order_relaxed);
}

void
stats_count(struct stats_sheet *sheet, enum stats_event event)
{
    add(&sheet->events[event], 1);
}

void
stats_add_bytes(struct stats_sheet *sheet, size_t in, size_t out)
{
    add(&sheet->bytes_in, in);
    add(&sheet->bytes_out, out);
}

/* -- times -- */

/* Four buckets an octave: the exponent and the two bits below the leading one. */
static unsigned
bucket_of(uint64_t ns)
{
    if (ns < 4) {
        return (unsigned)ns;
    }
    unsigned exponent = 63 - (unsigned)__builtin_clzll(ns);
    unsigned bucket = 4 * (exponent - 1) + (unsigned)(ns >> (exponent - 2) & 3);
    return bucket < STATS_BUCKETS ? bucket : STATS_BUCKETS - 1;
}

/* Where a bucket begins. */
static double
bucket_start(unsigned bucket)
{
    if (bucket < 4) {
        return bucket;
    }
    return (double)((4 + (uint64_t)bucket % 4) << (bucket / 4 - 1));
}

static void
note_time(struct stats_times *times, int64_t from, int64_t to, unsigned weight)
{
    uint64_t ns = to > from ? (uint64_t)(to - from) : 0;
    add(&times->count, weight);
    add(&times->sum, weight * ns);
    add(&times->buckets[bucket_of(ns)], weight);
}

double
stats_quantile(const struct stats_sum_times *times, double q)
{
    double rank = q * (double)times->count, below = 0;
    for (unsigned bucket = 0; bucket < STATS_BUCKETS && times->count > 0; bucket++) {
        double here = (double)times->buckets[bucket];
        if (here > 0 && below + here >= rank) {
            double start = bucket_start(bucket);
            double part = rank > below ? (rank - below) / here : 0;
            return start + part * (bucket_start(bucket + 1) - start);
        }
        below += here;
    }
    return 0;
}

static void
learn(struct stats_sheet *sheet, int64_t ns)
{
    sheet->timed += sheet->timed < STATS_LEARNING;
    sheet->mean += (ns - sheet->mean) / 8;
}

unsigned
stats_stride(const struct stats_sheet *sheet)
{
    bool are_short = sheet->timed >= STATS_LEARNING && sheet->mean < STATS_SHORT_NS;
    return are_short ? STATS_STRIDE : 1;
}

/* -- what a worker is at -- */

enum { DOING_MASK = 3, EXACT = 4 };

int64_t
stats_start(struct stats_sheet *sheet, enum stats_doing doing, const void *object,
            int64_t queued_ns, unsigned weight)
{
    int64_t now = 0;
    uintptr_t word = (uintptr_t)object | (uintptr_t)doing;
    if (weight > 0) {
        now = os_now_ns();
        note_time(&sheet->wait, queued_ns, now, weight);
        atomic_store_explicit(&sheet->since, now, memory_order_release);
        word |= EXACT;
    }
    /* Pairs with the acquire in stats_read_doing(). */
    atomic_store_explicit(&sheet->doing, word, memory_order_release);
    return now;
}

void
stats_idle(struct stats_sheet *sheet)
{
    atomic_store_explicit(&sheet->doing, STATS_IDLE, memory_order_release);
}

void
stats_awake(struct stats_sheet *sheet)
{
    atomic_store_explicit(&sheet->since, os_now_ns(), memory_order_release);
}

void
stats_note_run(struct stats_sheet *sheet, int64_t started_ns, unsigned weight)
{
    int64_t now = os_now_ns();
    note_time(&sheet->run, started_ns, now, weight);
    learn(sheet, now - started_ns);
}

void
stats_end(struct stats_sheet *sheet, enum stats_event event)
{
    stats_count(sheet, event);
    stats_idle(sheet);
}

void
stats_read_doing(const struct stats_sheet *sheet, struct stats_now *now)
{
    uintptr_t word, again = atomic_load_explicit(&sheet->doing, memory_order_acquire);
    do { /* until both are of one task */
        word = again;
        now->since = (int64_t)atomic_load_explicit(&sheet->since, memory_order_acquire);
        again = atomic_load_explicit(&sheet->doing, memory_order_acquire);
    } while (word != again);
    now->doing = (enum stats_doing)(word & DOING_MASK);
    now->exact = (word & EXACT) != 0;
    now->object = (const void *)(word & ~(uintptr_t)(DOING_MASK | EXACT));
}

/* -- adding up -- */

static void
collect_times(const struct stats_times *times, struct stats_sum_times *sum)
{
    sum->count += atomic_load_explicit(&times->count, memory_order_relaxed);
    sum->sum += atomic_load_explicit(&times->sum, memory_order_relaxed);
    for (unsigned i = 0; i < STATS_BUCKETS; i++) {
        sum->buckets[i] += atomic_load_explicit(&times->buckets[i], memory_order_relaxed);
    }
}

void
stats_collect(const struct stats_sheet *sheet, struct stats_sum *sum)
{
    for (unsigned i = 0; i < STATS_EVENTS; i++) {
        sum->events[i] += atomic_load_explicit(&sheet->events[i], memory_order_relaxed);
    }
    sum->bytes_in += atomic_load_explicit(&sheet->bytes_in, memory_order_relaxed);
    sum->bytes_out += atomic_load_explicit(&sheet->bytes_out, memory_order_relaxed);
    sum->running += atomic_load_explicit(&sheet->doing, memory_order_acquire) != STATS_IDLE;
    collect_times(&sheet->wait, &sum->wait);
    collect_times(&sheet->run, &sum->run);
}
