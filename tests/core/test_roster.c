/* The roster: who is in it, what it adds up to, which jobs are timed. */
#include "pools.h"

#include "core/roster.h"

#include <string.h>

static struct roster_totals
totals_of(struct pool *pool)
{
    struct roster_totals totals;
    roster_total(pool, &totals);
    return totals;
}

/* A worker that has been asked for, in the roster. */
static void
arrive(struct pool *pool, struct worker *worker, unsigned long thread)
{
    CHECK(pool_grow(pool, pool_workers(pool) + 1));
    pool_join(pool, worker);
    roster_join(pool, worker, thread);
}

static void
run_one(struct pool *pool, struct worker *worker, enum stats_event event)
{
    struct job *job = pool_take(pool, worker);
    CHECK(job != NULL);
    roster_start(worker, job, STATS_PLAIN, NULL);
    CHECK_EQ(totals_of(pool).sum.running, 1);
    roster_end(pool, worker, job, event);
}

static void
adds_up_what_workers_count(void)
{
    struct pool pool;
    struct worker one, other;
    struct job jobs[3] = {PLAIN, PLAIN, PLAIN};
    pool_make(&pool, 2, 1);
    arrive(&pool, &one, 11);
    arrive(&pool, &other, 12);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(pool_submit(&pool, &jobs[i]), POOL_QUEUED);
    }
    struct roster_totals totals = totals_of(&pool);
    CHECK_EQ(totals.pending, 3);
    CHECK_EQ(totals.workers, 2);
    CHECK_EQ(totals.made, 0);
    CHECK_EQ(totals.sum.running, 0);
    run_one(&pool, &one, STATS_DONE);
    run_one(&pool, &other, STATS_DONE);
    run_one(&pool, &other, STATS_FAILED);
    roster_count(&pool, STATS_SET_ASIDE);
    CHECK(pool_take(&pool, &one) == NULL);
    roster_leave(&pool, &one); /* what it has counted stays */
    CHECK(pool_take(&pool, &other) == NULL);
    totals = totals_of(&pool);
    CHECK_EQ(totals.pending, 0);
    CHECK_EQ(totals.sum.events[STATS_DONE], 2);
    CHECK_EQ(totals.sum.events[STATS_FAILED], 1);
    CHECK_EQ(totals.sum.events[STATS_SET_ASIDE], 1);
    CHECK_EQ(totals.sum.wait.count, 3);
    CHECK_EQ(totals.sum.run.count, 3);
    roster_leave(&pool, &other);
    CHECK_EQ(totals_of(&pool).sum.events[STATS_DONE], 2);
    depart(&pool, &one);
    depart(&pool, &other);
    CHECK_EQ(totals_of(&pool).workers, 0);
    pool_destroy(&pool);
}

static void
note_thread(struct worker *worker, void *argument)
{
    unsigned long *threads = argument;
    threads[threads[0] + 1] = worker->thread;
    threads[0]++;
}

static void
walks_in_order(void)
{
    struct pool pool;
    struct worker workers[3];
    unsigned long threads[4] = {0};
    pool_make(&pool, 3, 1);
    roster_walk(&pool, note_thread, threads);
    CHECK_EQ(threads[0], 0);
    for (unsigned i = 0; i < 3; i++) {
        arrive(&pool, &workers[i], 20 + i);
    }
    roster_leave(&pool, &workers[1]);
    roster_walk(&pool, note_thread, threads);
    CHECK_EQ(threads[0], 2);
    CHECK_EQ(threads[1], 20);
    CHECK_EQ(threads[2], 22);
    roster_leave(&pool, &workers[0]);
    roster_leave(&pool, &workers[2]);
    for (unsigned i = 0; i < 3; i++) {
        CHECK(pool_take(&pool, &workers[i]) == NULL);
        depart(&pool, &workers[i]);
    }
    pool_destroy(&pool);
}

enum { MANY = 8 * STATS_STRIDE };

/* How many of MANY jobs that are queued at once are to be timed. */
static int
timed(struct pool *pool)
{
    static struct job jobs[MANY];
    struct list list;
    int count = 0;
    list_init(&list);
    for (int i = 0; i < MANY; i++) {
        jobs[i] = PLAIN;
        list_push_back(&list, &jobs[i].node);
    }
    CHECK(pool_submit_all(pool, &list, MANY) >= 0);
    for (int i = 0; i < MANY; i++) {
        CHECK(jobs[i].weight == 0 || jobs[i].queued_ns > 0);
        count += jobs[i].weight > 0;
    }
    pool_drain(pool, &list);
    return count;
}

static void
one_of_a_stride_is_timed(void)
{
    struct pool pool;
    pool_make(&pool, 1, 1);
    CHECK_EQ(timed(&pool), MANY);
    atomic_store(&pool.stride, STATS_STRIDE);
    CHECK_EQ(timed(&pool), MANY / STATS_STRIDE);
    while (pool_workers(&pool) > 0) {
        pool_worker_failed(&pool);
    }
    pool_destroy(&pool);
}

static void
short_jobs_lengthen_the_stride(void)
{
    struct pool pool;
    struct worker worker;
    struct job job = PLAIN;
    pool_make(&pool, 1, 1);
    arrive(&pool, &worker, 1);
    for (int i = 0; atomic_load(&pool.stride) == 1; i++) {
        CHECK(i < 1000000);
        pool_submit(&pool, &job);
        CHECK(pool_take(&pool, &worker) == &job);
        roster_start(&worker, &job, STATS_PLAIN, NULL);
        roster_end(&pool, &worker, &job, STATS_DONE);
    }
    CHECK_EQ(atomic_load(&pool.stride), STATS_STRIDE);
    CHECK(totals_of(&pool).sum.run.count >= STATS_LEARNING);
    CHECK(pool_take(&pool, &worker) == NULL);
    roster_leave(&pool, &worker);
    depart(&pool, &worker);
    pool_destroy(&pool);
}

static void
a_forked_child_begins_at_nothing(void)
{
    struct pool pool;
    struct worker worker;
    struct job job = PLAIN;
    pool_make(&pool, 1, 1);
    arrive(&pool, &worker, 1);
    pool_submit(&pool, &job);
    run_one(&pool, &worker, STATS_DONE);
    roster_count(&pool, STATS_SET_ASIDE);
    if (fork_with(&pool)) {
        struct roster_totals totals = totals_of(&pool);
        for (int i = 0; i < STATS_EVENTS; i++) {
            CHECK_EQ(totals.sum.events[i], 0);
        }
        CHECK_EQ(totals.sum.run.count, 0);
        CHECK_EQ(totals.workers, 0);
        _exit(0);
    }
    CHECK_EQ(totals_of(&pool).sum.events[STATS_DONE], 1);
    CHECK(pool_take(&pool, &worker) == NULL);
    roster_leave(&pool, &worker);
    depart(&pool, &worker);
    pool_destroy(&pool);
}

int
main(void)
{
    check_limit(50);
    RUN(adds_up_what_workers_count);
    RUN(walks_in_order);
    RUN(one_of_a_stride_is_timed);
    RUN(short_jobs_lengthen_the_stride);
    RUN(a_forked_child_begins_at_nothing);
    return 0;
}
