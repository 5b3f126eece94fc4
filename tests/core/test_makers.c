/* Makers: jobs that want so many interpreters, and the workers that they are for. One thread plays
 * every part, so that each step's answer is certain; test_pool has them amid traffic. */
#include <sys/wait.h>

#include "pools.h"

static int resources[8]; /* what interpreters are here */

/* Each has been given NULL. */
static void
pool_unmake(struct pool *pool, struct worker *workers, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        depart(pool, &workers[i]);
    }
    CHECK_EQ(pool_pending(pool), 0);
    CHECK_EQ(pool_made(pool), 0);
    CHECK_EQ(pool_await_workers(pool, true, 0), OS_WOKEN);
    pool_destroy(pool);
}

static void
submit_and_start(struct pool *pool, struct job *job, struct worker *worker)
{
    CHECK_EQ(pool_submit(pool, job), POOL_START_WORKER);
    pool_join(pool, worker);
}

/* `worker` takes `job` with an empty slot. */
static void
take_empty(struct pool *pool, struct worker *worker, struct job *job)
{
    CHECK(pool_take(pool, worker) == job);
    CHECK(worker->slot != NULL);
    CHECK(worker->slot->resource == NULL);
}

/* Gives how many workers should be started. */
static unsigned
fill(struct pool *pool, struct worker *worker)
{
    unsigned before = pool_made(pool);
    unsigned starts = pool_slot_made(pool, worker, &resources[before]);
    CHECK_EQ(pool_made(pool), before + 1);
    return starts;
}

static void
take_nothing(struct pool *pool, struct worker *worker)
{
    CHECK(pool_take(pool, worker) == NULL);
    CHECK(worker->slot == NULL);
}

static void
each_worker_makes_one(void)
{
    struct pool pool;
    struct worker workers[3];
    struct job jobs[3] = {MAKER(1), MAKER(2), MAKER(3)};
    pool_make(&pool, 5, 3);
    for (int i = 0; i < 3; i++) {
        /* Those that have made one are idle, but this is not for them. */
        submit_and_start(&pool, &jobs[i], &workers[i]);
        for (int other = 0; other < i; other++) {
            take_nothing(&pool, &workers[other]);
        }
        CHECK_EQ(pool_pending(&pool), 1);
        take_empty(&pool, &workers[i], &jobs[i]);
        CHECK_EQ(fill(&pool, &workers[i]), 0);
        CHECK_EQ(workers[i].homes, 1);
        take_nothing(&pool, &workers[i]);
    }
    pool_unmake(&pool, workers, 3);
}

static void
all_are_made_at_once(void)
{
    struct pool pool;
    struct worker workers[3];
    struct job jobs[3] = {MAKER(1), MAKER(2), MAKER(3)};
    pool_make(&pool, 3, 3);
    for (int i = 0; i < 3; i++) {
        submit_and_start(&pool, &jobs[i], &workers[i]);
    }
    for (int i = 0; i < 3; i++) {
        take_empty(&pool, &workers[i], &jobs[i]);
    }
    for (int i = 0; i < 3; i++) {
        fill(&pool, &workers[i]);
        take_nothing(&pool, &workers[i]);
    }
    pool_unmake(&pool, workers, 3);
}

/* At the limit of workers, with the others busy, one worker makes them all. */
static void
a_worker_with_a_home_makes_another_when_it_must(void)
{
    struct pool pool;
    struct worker workers[2];
    struct job jobs[2] = {MAKER(1), MAKER(2)};
    struct job plain = PLAIN;
    pool_make(&pool, 2, 2);
    submit_and_start(&pool, &plain, &workers[1]);
    CHECK(pool_take(&pool, &workers[1]) == &plain);
    submit_and_start(&pool, &jobs[0], &workers[0]);
    take_empty(&pool, &workers[0], &jobs[0]);
    CHECK_EQ(pool_submit(&pool, &jobs[1]), POOL_QUEUED);
    fill(&pool, &workers[0]);
    take_empty(&pool, &workers[0], &jobs[1]);
    fill(&pool, &workers[0]);
    CHECK_EQ(workers[0].homes, 2);
    take_nothing(&pool, &workers[0]);
    take_nothing(&pool, &workers[1]);
    pool_unmake(&pool, workers, 2);
}

/* The start that a maker relied on fails: then it is for whoever there is. */
static void
a_failed_start_leaves_the_maker_to_others(void)
{
    struct pool pool;
    struct worker worker;
    struct job jobs[2] = {MAKER(1), MAKER(2)};
    pool_make(&pool, 3, 2);
    submit_and_start(&pool, &jobs[0], &worker);
    take_empty(&pool, &worker, &jobs[0]);
    fill(&pool, &worker);
    CHECK_EQ(pool_submit(&pool, &jobs[1]), POOL_START_WORKER);
    take_nothing(&pool, &worker);
    CHECK(pool_worker_failed(&pool));
    take_empty(&pool, &worker, &jobs[1]);
    fill(&pool, &worker);
    take_nothing(&pool, &worker);
    pool_unmake(&pool, &worker, 1);
}

static void
a_worker_with_a_home_takes_what_is_behind_a_maker(void)
{
    struct pool pool;
    struct worker workers[2];
    struct job jobs[2] = {MAKER(1), MAKER(2)};
    struct job others[2] = {PLAIN, SLOTTED};
    pool_make(&pool, 2, 2);
    submit_and_start(&pool, &jobs[0], &workers[0]);
    take_empty(&pool, &workers[0], &jobs[0]);
    fill(&pool, &workers[0]);
    submit_and_start(&pool, &jobs[1], &workers[1]);
    CHECK_EQ(pool_submit(&pool, &others[0]), POOL_QUEUED);
    CHECK_EQ(pool_submit(&pool, &others[1]), POOL_QUEUED);
    CHECK(pool_take(&pool, &workers[0]) == &others[0]);
    CHECK(pool_take(&pool, &workers[0]) == &others[1]);
    CHECK(workers[0].slot->home == &workers[0]);
    take_empty(&pool, &workers[1], &jobs[1]);
    fill(&pool, &workers[1]);
    take_nothing(&pool, &workers[0]);
    take_nothing(&pool, &workers[1]);
    pool_unmake(&pool, workers, 2);
}

/* An older job keeps the worker busy that was called for a maker: it is for the next one. */
static void
jobs_start_in_order_of_arrival(void)
{
    struct pool pool;
    struct worker worker;
    struct job jobs[4] = {PLAIN, MAKER(1), SLOTTED, PLAIN};
    pool_make(&pool, 1, 1);
    submit_and_start(&pool, &jobs[0], &worker);
    for (int i = 1; i < 4; i++) {
        CHECK_EQ(pool_submit(&pool, &jobs[i]), POOL_QUEUED);
    }
    CHECK(pool_take(&pool, &worker) == &jobs[0]);
    take_empty(&pool, &worker, &jobs[1]);
    fill(&pool, &worker);
    CHECK(pool_take(&pool, &worker) == &jobs[2]);
    CHECK(worker.slot->resource == &resources[0]);
    CHECK(pool_take(&pool, &worker) == &jobs[3]);
    take_nothing(&pool, &worker);
    pool_unmake(&pool, &worker, 1);
}

/* -- what is there already, or about to be -- */

static void
a_maker_has_nothing_to_do_when_all_is_made(void)
{
    struct pool pool;
    struct worker worker;
    struct job jobs[3] = {SLOTTED, MAKER(1), MAKER(1)};
    pool_make(&pool, 1, 1);
    submit_and_start(&pool, &jobs[0], &worker);
    take_empty(&pool, &worker, &jobs[0]);
    fill(&pool, &worker);
    for (int i = 1; i < 3; i++) {
        CHECK_EQ(pool_submit(&pool, &jobs[i]), POOL_QUEUED);
    }
    for (int i = 1; i < 3; i++) { /* for the one with a home, too */
        CHECK(pool_take(&pool, &worker) == &jobs[i]);
        CHECK(worker.slot == NULL);
    }
    take_nothing(&pool, &worker);
    pool_unmake(&pool, &worker, 1);
}

/* Whoever is making it: here, a slotted job. It may run for long afterwards, so another worker is
 * asked for. */
static void
a_maker_waits_for_what_is_being_made(void)
{
    struct pool pool;
    struct worker workers[3];
    struct job jobs[3] = {SLOTTED, MAKER(1), PLAIN};
    pool_make(&pool, 3, 2);
    submit_and_start(&pool, &jobs[0], &workers[0]);
    take_empty(&pool, &workers[0], &jobs[0]);
    CHECK_EQ(pool_submit(&pool, &jobs[1]), POOL_QUEUED); /* nobody could start it */
    submit_and_start(&pool, &jobs[2], &workers[1]);
    CHECK(pool_take(&pool, &workers[1]) == &jobs[2]);
    CHECK_EQ(fill(&pool, &workers[0]), 1);
    pool_join(&pool, &workers[2]);
    CHECK(pool_take(&pool, &workers[2]) == &jobs[1]);
    CHECK(workers[2].slot == NULL);
    for (int i = 0; i < 3; i++) {
        take_nothing(&pool, &workers[i]);
    }
    pool_unmake(&pool, workers, 3);
}

/* Two who want two: two are made, by the first. */
static void
no_more_are_made_than_are_wanted(void)
{
    struct pool pool;
    struct worker workers[2];
    struct job jobs[4] = {MAKER(1), MAKER(2), MAKER(1), MAKER(2)};
    pool_make(&pool, 4, 4);
    submit_and_start(&pool, &jobs[0], &workers[0]);
    submit_and_start(&pool, &jobs[1], &workers[1]);
    for (int i = 2; i < 4; i++) {
        CHECK_EQ(pool_submit(&pool, &jobs[i]), POOL_QUEUED);
    }
    for (int i = 0; i < 2; i++) {
        take_empty(&pool, &workers[i], &jobs[i]);
    }
    CHECK_EQ(fill(&pool, &workers[1]), 1);
    CHECK(pool_worker_failed(&pool));
    CHECK(pool_take(&pool, &workers[1]) == &jobs[2]);
    CHECK(workers[1].slot == NULL);
    take_nothing(&pool, &workers[1]);
    CHECK_EQ(pool_pending(&pool), 1); /* who wants two still waits */
    fill(&pool, &workers[0]);
    CHECK(pool_take(&pool, &workers[0]) == &jobs[3]);
    CHECK(workers[0].slot == NULL);
    take_nothing(&pool, &workers[0]);
    pool_unmake(&pool, workers, 2);
}

/* What one fails to make another one makes, who waited for it. */
static void
a_slot_that_stays_empty_is_for_who_waited(void)
{
    struct pool pool;
    struct worker worker;
    struct job jobs[2] = {MAKER(1), MAKER(1)};
    pool_make(&pool, 2, 1);
    submit_and_start(&pool, &jobs[0], &worker);
    take_empty(&pool, &worker, &jobs[0]);
    CHECK_EQ(pool_submit(&pool, &jobs[1]), POOL_QUEUED);
    take_empty(&pool, &worker, &jobs[1]); /* it comes back without having filled its slot */
    fill(&pool, &worker);
    take_nothing(&pool, &worker);
    pool_unmake(&pool, &worker, 1);
}

/* The second is made while the slot of the first is given back empty: what it has made is the first,
 * and it goes on. */
static void
a_maker_that_has_not_got_all_goes_on(void)
{
    struct pool pool;
    struct worker workers[2];
    struct job jobs[2] = {MAKER(1), MAKER(2)};
    pool_make(&pool, 2, 2);
    for (int i = 0; i < 2; i++) {
        submit_and_start(&pool, &jobs[i], &workers[i]);
    }
    for (int i = 0; i < 2; i++) {
        take_empty(&pool, &workers[i], &jobs[i]);
    }
    take_nothing(&pool, &workers[0]); /* cancelled, say */
    fill(&pool, &workers[1]);
    CHECK(!pool_is_satisfied(&pool, &jobs[1]));
    CHECK_EQ(pool_stay_busy(&pool, &workers[1], &jobs[1]), 0); /* the other one is looking */
    take_nothing(&pool, &workers[1]);
    take_empty(&pool, &workers[0], &jobs[1]);
    fill(&pool, &workers[0]);
    take_nothing(&pool, &workers[0]);
    pool_unmake(&pool, workers, 2);
}

static void
an_ended_slot_is_made_again(void)
{
    struct pool pool;
    struct worker worker;
    struct job jobs[2] = {MAKER(1), MAKER(1)};
    pool_make(&pool, 1, 1);
    submit_and_start(&pool, &jobs[0], &worker);
    take_empty(&pool, &worker, &jobs[0]);
    fill(&pool, &worker);
    pool_slot_ended(&pool, &worker);
    CHECK_EQ(pool_made(&pool), 0);
    CHECK_EQ(pool_submit(&pool, &jobs[1]), POOL_QUEUED);
    take_empty(&pool, &worker, &jobs[1]);
    fill(&pool, &worker);
    take_nothing(&pool, &worker);
    pool_unmake(&pool, &worker, 1);
}

/* -- the queue, and the end -- */

static void
makers_are_pending_jobs(void)
{
    struct pool pool;
    struct worker worker;
    struct list drained;
    struct job jobs[4] = {PLAIN, MAKER(2), SLOTTED, MAKER(1)};
    list_init(&drained);
    pool_make(&pool, 1, 2);
    submit_and_start(&pool, &jobs[0], &worker);
    for (int i = 1; i < 4; i++) {
        CHECK_EQ(pool_submit(&pool, &jobs[i]), POOL_QUEUED);
    }
    CHECK_EQ(pool_pending(&pool), 4);
    CHECK(pool_steal(&pool) == &jobs[0]);
    CHECK(pool_steal(&pool) == &jobs[1]);
    pool_drain(&pool, &drained);
    CHECK(list_pop_front(&drained) == &jobs[2].node);
    CHECK(list_pop_front(&drained) == &jobs[3].node);
    CHECK(list_is_empty(&drained));
    take_nothing(&pool, &worker);
    pool_unmake(&pool, &worker, 1);
}

static void
a_closed_pool_finishes_its_makers(void)
{
    struct pool pool;
    struct worker worker;
    struct job jobs[2] = {MAKER(1), MAKER(2)};
    pool_make(&pool, 1, 2);
    submit_and_start(&pool, &jobs[0], &worker);
    CHECK_EQ(pool_submit(&pool, &jobs[1]), POOL_QUEUED);
    pool_close(&pool);
    for (int i = 0; i < 2; i++) {
        take_empty(&pool, &worker, &jobs[i]);
        fill(&pool, &worker);
    }
    take_nothing(&pool, &worker);
    pool_unmake(&pool, &worker, 1);
}

/* The first worker leaves, and ends what it has made, before the second has made its own. */
static void
a_maker_in_a_closed_pool_is_done_with_its_own(void)
{
    struct pool pool;
    struct worker workers[2];
    struct job jobs[2] = {MAKER(1), MAKER(2)};
    pool_make(&pool, 2, 2);
    for (int i = 0; i < 2; i++) {
        submit_and_start(&pool, &jobs[i], &workers[i]);
        take_empty(&pool, &workers[i], &jobs[i]);
    }
    fill(&pool, &workers[0]);
    take_nothing(&pool, &workers[0]);
    depart(&pool, &workers[0]);
    fill(&pool, &workers[1]);
    CHECK_EQ(pool_made(&pool), 1);
    CHECK(pool_is_satisfied(&pool, &jobs[1]));
    take_nothing(&pool, &workers[1]);
    pool_unmake(&pool, &workers[1], 1);
}

static void
a_child_starts_without(void)
{
    struct pool pool;
    struct worker worker;
    struct job jobs[3] = {MAKER(1), MAKER(2), MAKER(1)};
    pool_make(&pool, 1, 2);
    submit_and_start(&pool, &jobs[0], &worker);
    take_empty(&pool, &worker, &jobs[0]);
    fill(&pool, &worker);
    CHECK_EQ(pool_submit(&pool, &jobs[1]), POOL_QUEUED);
    pool_before_fork(&pool);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        check_limit(60);
        pool_after_fork_in_child(&pool);
        CHECK_EQ(pool_pending(&pool), 0);
        CHECK_EQ(pool_made(&pool), 0);
        submit_and_start(&pool, &jobs[2], &worker);
        take_empty(&pool, &worker, &jobs[2]);
        fill(&pool, &worker);
        take_nothing(&pool, &worker);
        depart(&pool, &worker);
        _exit(0);
    }
    pool_after_fork_in_parent(&pool);
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    take_empty(&pool, &worker, &jobs[1]);
    fill(&pool, &worker);
    take_nothing(&pool, &worker);
    pool_unmake(&pool, &worker, 1);
}

/* -- growing -- */

static void
a_pool_grows_to_so_many_workers(void)
{
    struct pool pool;
    struct worker workers[3];
    struct job job = PLAIN;
    pool_make(&pool, 3, 1);
    CHECK(!pool_grow(&pool, 0));
    submit_and_start(&pool, &job, &workers[0]);
    CHECK(pool_take(&pool, &workers[0]) == &job);
    CHECK(!pool_grow(&pool, 1)); /* a busy one is one, too */
    for (int i = 1; i < 3; i++) {
        CHECK(pool_grow(&pool, 3));
        pool_join(&pool, &workers[i]);
    }
    CHECK(!pool_grow(&pool, 3));
    CHECK_EQ(pool_workers(&pool), 3);
    CHECK_EQ(pool_idle(&pool), 2);
    CHECK_EQ(pool_submit(&pool, &job), POOL_QUEUED); /* for one of those that come */
    CHECK(pool_take(&pool, &workers[1]) == &job);
    for (int i = 0; i < 3; i++) {
        take_nothing(&pool, &workers[i]);
    }
    pool_unmake(&pool, workers, 3);
}

static void
a_closed_pool_does_not_grow(void)
{
    struct pool pool;
    pool_make(&pool, 2, 1);
    CHECK(pool_grow(&pool, 1));
    CHECK(!pool_worker_failed(&pool)); /* and there is no other */
    CHECK(pool_grow(&pool, 1));        /* so the next may try */
    CHECK(!pool_worker_failed(&pool));
    pool_close(&pool);
    CHECK(!pool_grow(&pool, 2));
    pool_unmake(&pool, NULL, 0);
}

int
main(void)
{
    check_limit(60);
    RUN(each_worker_makes_one);
    RUN(all_are_made_at_once);
    RUN(a_worker_with_a_home_makes_another_when_it_must);
    RUN(a_failed_start_leaves_the_maker_to_others);
    RUN(a_worker_with_a_home_takes_what_is_behind_a_maker);
    RUN(jobs_start_in_order_of_arrival);
    RUN(a_maker_has_nothing_to_do_when_all_is_made);
    RUN(a_maker_waits_for_what_is_being_made);
    RUN(no_more_are_made_than_are_wanted);
    RUN(a_slot_that_stays_empty_is_for_who_waited);
    RUN(a_maker_that_has_not_got_all_goes_on);
    RUN(an_ended_slot_is_made_again);
    RUN(makers_are_pending_jobs);
    RUN(a_closed_pool_finishes_its_makers);
    RUN(a_maker_in_a_closed_pool_is_done_with_its_own);
    RUN(a_child_starts_without);
    RUN(a_pool_grows_to_so_many_workers);
    RUN(a_closed_pool_does_not_grow);
    return 0;
}
