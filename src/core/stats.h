/* stats: what the workers of a pool have done, and how long it took.
 *
 * Each worker keeps a sheet of its own, which only it writes, so that counting shares no cache line and
 * needs no lock; whoever asks adds the sheets up. What others count goes into the pool's `extra`.
 *
 * Times are kept in buckets that grow by a quarter of an octave: a quantile is right within an eighth.
 * Reading the clock costs more than all the rest. So while tasks are long each is timed, and of a
 * stream of short ones, one in STATS_STRIDE, which counts for all of them.
 *
 * Sheets: written by their worker, read by anybody (relaxed atomics). Everything else: as its line
 * says. No function blocks.
 */
#ifndef AIOINTERP_STATS_H
#define AIOINTERP_STATS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How tasks end, and what becomes of workers. */
enum stats_event {
    STATS_DONE,        /* returned a value */
    STATS_FAILED,      /* raised, or could not be run */
    STATS_CANCELLED,   /* before it started */
    STATS_INTERRUPTED, /* while it ran */
    STATS_SET_ASIDE,   /* a worker that was given up: its task did not stop */
    STATS_RECYCLED,    /* an interpreter that was ended while its executor goes on */
    STATS_EVENTS,
};

enum {
    STATS_STRIDE = 64,      /* a power of two */
    STATS_BUCKETS = 4 * 44, /* up to 2^44 ns, some five hours; the last is for all beyond */
    STATS_SHORT_NS = 10000, /* tasks below that, in the mean, are not timed each */
    STATS_LEARNING = 64,    /* tasks that are timed each before that is decided */
};

/* What a worker is at. */
enum stats_doing { STATS_IDLE = 0, STATS_PLAIN = 1, STATS_TAGGED = 2 };

struct stats_times {
    atomic_uint_fast64_t count; /* tasks that these times stand for */
    atomic_uint_fast64_t sum;   /* nanoseconds */
    atomic_uint_fast64_t buckets[STATS_BUCKETS];
};

struct stats_sheet {
    atomic_uint_fast64_t events[STATS_EVENTS];
    atomic_uint_fast64_t bytes_in;
    atomic_uint_fast64_t bytes_out;
    struct stats_times wait; /* from being queued to the start */
    struct stats_times run;

    /* What it is at (stats_read_doing): an address, and in its low bits enum stats_doing and whether
     * `since` is the time of its start, or of something before. Stored with release. */
    atomic_uintptr_t doing;
    atomic_int_fast64_t since;

    /* The worker's alone. */
    int64_t mean; /* nanoseconds that tasks have taken lately */
    unsigned timed;
};

/* Plain numbers: sheets added up. */
struct stats_sum {
    uint64_t events[STATS_EVENTS];
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t running;
    struct stats_sum_times {
        uint64_t count;
        uint64_t sum;
        uint64_t buckets[STATS_BUCKETS];
    } wait, run;
};

/* What a worker is at, as of one moment. */
struct stats_now {
    enum stats_doing doing;
    const void *object;
    int64_t since; /* of os_now_ns(): the start, */
    bool exact;    /* or some time before it */
};

/* -- the worker of the sheet -- */

void stats_init(struct stats_sheet *sheet);

/* A task starts. `object`, at an address that 8 divides, is for whoever asks what it is at, and may be
 * NULL. `queued_ns`: when it was queued, if it is to be timed and stands for `weight` tasks; with weight
 * 0 it is not. Gives the time, or 0. */
int64_t stats_start(struct stats_sheet *sheet, enum stats_doing doing, const void *object,
                    int64_t queued_ns, unsigned weight);
/* It has ended: before anybody is told. */
void stats_end(struct stats_sheet *sheet, enum stats_event event);
/* It was timed, too: `started_ns` is what stats_start() gave. */
void stats_note_run(struct stats_sheet *sheet, int64_t started_ns, unsigned weight);
/* The task that was begun will be counted by somebody else, or has not been one. */
void stats_idle(struct stats_sheet *sheet);

/* It has been woken: what it starts now does not start earlier. */
void stats_awake(struct stats_sheet *sheet);

void stats_count(struct stats_sheet *sheet, enum stats_event event);
void stats_add_bytes(struct stats_sheet *sheet, size_t in, size_t out);

/* Of how many tasks one is to be timed, by the times of this worker's: 1 or STATS_STRIDE. */
unsigned stats_stride(const struct stats_sheet *sheet);

/* -- anybody -- */

void stats_read_doing(const struct stats_sheet *sheet, struct stats_now *now);
/* Adds the sheet to `sum`. */
void stats_collect(const struct stats_sheet *sheet, struct stats_sum *sum);
/* Nanoseconds that the fraction `q` of the times stays below, or 0 when there are none. */
double stats_quantile(const struct stats_sum_times *times, double q);

#endif
