#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "team.h"

/* -- one thread plays every part: each step's answer is certain -- */

static void
pool_unmake(struct pool *pool)
{
    CHECK_EQ(pool_pending(pool), 0);
    CHECK_EQ(pool_await_workers(pool, true, 0), OS_WOKEN);
    pool_destroy(pool);
}

static void
an_unused_pool(void)
{
    struct pool pool;
    struct list jobs;
    list_init(&jobs);
    pool_make(&pool, 1, 1);
    pool_drain(&pool, &jobs);
    CHECK(list_is_empty(&jobs));
    CHECK_EQ(pool_await_workers(&pool, true, OS_FOREVER), OS_WOKEN);
    pool_unmake(&pool);
}

static void
a_closed_pool_refuses(void)
{
    struct pool pool;
    struct job job = PLAIN;
    list_init(&job.node);
    pool_make(&pool, 1, 1);
    pool_close(&pool);
    pool_close(&pool);
    CHECK_EQ(pool_submit(&pool, &job), POOL_CLOSED);
    CHECK(!list_is_linked(&job.node));
    pool_unmake(&pool);
}

static void
workers_are_asked_for_as_needed(void)
{
    struct pool pool;
    struct worker first, second;
    struct job jobs[4] = {PLAIN, PLAIN, PLAIN, PLAIN};
    pool_make(&pool, 2, 1);
    CHECK_EQ(pool_submit(&pool, &jobs[0]), POOL_START_WORKER);
    CHECK_EQ(pool_submit(&pool, &jobs[1]), POOL_START_WORKER);
    CHECK_EQ(pool_submit(&pool, &jobs[2]), POOL_QUEUED);
    CHECK_EQ(pool_pending(&pool), 3);
    CHECK_EQ(pool_idle(&pool), 0);
    pool_join(&pool, &first);
    pool_join(&pool, &second);
    CHECK(pool_take(&pool, &first) == &jobs[0]);
    CHECK(pool_take(&pool, &second) == &jobs[1]);
    CHECK(pool_take(&pool, &second) == &jobs[2]);
    CHECK_EQ(pool_pending(&pool), 0);
    CHECK(pool_take(&pool, &first) == NULL);
    CHECK_EQ(pool_idle(&pool), 1);
    CHECK_EQ(pool_submit(&pool, &jobs[3]), POOL_QUEUED);
    CHECK_EQ(pool_idle(&pool), 0);
    CHECK(pool_wait(&pool, &first) == &jobs[3]);
    CHECK(pool_take(&pool, &first) == NULL);
    CHECK(pool_take(&pool, &second) == NULL);
    CHECK_EQ(pool_idle(&pool), 2);
    depart(&pool, &first);
    CHECK_EQ(pool_await_workers(&pool, true, INT64_MIN), OS_TIMED_OUT);
    depart(&pool, &second);
    pool_unmake(&pool);
}

static void
an_idle_worker_is_reused(void)
{
    struct pool pool;
    struct worker worker;
    struct job jobs[3] = {PLAIN, SLOTTED, PLAIN};
    pool_make(&pool, 8, 2);
    CHECK_EQ(pool_submit(&pool, &jobs[0]), POOL_START_WORKER);
    pool_join(&pool, &worker);
    CHECK(pool_take(&pool, &worker) == &jobs[0]);
    for (int i = 1; i < 3; i++) {
        CHECK(pool_take(&pool, &worker) == NULL);
        CHECK_EQ(pool_submit(&pool, &jobs[i]), POOL_QUEUED);
        CHECK(pool_wait(&pool, &worker) == &jobs[i]);
    }
    CHECK(pool_take(&pool, &worker) == NULL);
    depart(&pool, &worker);
    pool_unmake(&pool);
}

static void
jobs_start_in_order_of_arrival(void)
{
    enum { COUNT = 40 };
    struct pool pool;
    struct worker worker;
    struct job jobs[COUNT];
    uint32_t seed = 3;
    pool_make(&pool, 1, 1);
    for (int i = 0; i < COUNT; i++) {
        jobs[i] = made(random_next(&seed) % 2 == 0);
        CHECK_EQ(pool_submit(&pool, &jobs[i]), i == 0 ? POOL_START_WORKER : POOL_QUEUED);
    }
    pool_join(&pool, &worker);
    for (int i = 0; i < COUNT; i++) {
        CHECK(pool_take(&pool, &worker) == &jobs[i]);
        CHECK_EQ(worker.slot != NULL, jobs[i].slotted);
    }
    CHECK(pool_take(&pool, &worker) == NULL);
    depart(&pool, &worker);
    pool_unmake(&pool);
}

static void
plain_jobs_pass_those_that_wait_for_a_slot(void)
{
    struct pool pool;
    struct worker holder, other;
    struct job slotted[2] = {SLOTTED, SLOTTED};
    struct job plain = PLAIN;
    pool_make(&pool, 2, 1);
    CHECK_EQ(pool_submit(&pool, &slotted[0]), POOL_START_WORKER);
    pool_join(&pool, &holder);
    CHECK(pool_take(&pool, &holder) == &slotted[0]);
    CHECK_EQ(pool_submit(&pool, &slotted[1]), POOL_QUEUED); /* no slot: nobody could run it */
    CHECK_EQ(pool_submit(&pool, &plain), POOL_START_WORKER);
    pool_join(&pool, &other);
    CHECK(pool_take(&pool, &other) == &plain);
    CHECK(other.slot == NULL);
    CHECK(pool_take(&pool, &other) == NULL);
    CHECK_EQ(pool_pending(&pool), 1);
    CHECK(pool_take(&pool, &holder) == &slotted[1]); /* keeps its slot */
    CHECK(holder.slot != NULL);
    CHECK(pool_take(&pool, &holder) == NULL);
    CHECK(holder.slot == NULL);
    depart(&pool, &holder);
    depart(&pool, &other);
    pool_unmake(&pool);
}

static void
an_older_plain_job_goes_before_a_slotted_one(void)
{
    struct pool pool;
    struct worker holder, other;
    struct job jobs[4] = {SLOTTED, PLAIN, PLAIN, SLOTTED};
    pool_make(&pool, 2, 1);
    for (int i = 0; i < 4; i++) {
        pool_submit(&pool, &jobs[i]);
    }
    pool_join(&pool, &holder);
    pool_join(&pool, &other);
    CHECK(pool_take(&pool, &holder) == &jobs[0]);
    CHECK(pool_take(&pool, &other) == &jobs[1]);
    CHECK(pool_take(&pool, &holder) == &jobs[2]); /* ... and gives the slot back for others */
    CHECK(holder.slot == NULL);
    CHECK(pool_take(&pool, &other) == &jobs[3]);
    CHECK(other.slot != NULL);
    CHECK(pool_take(&pool, &other) == NULL);
    CHECK(pool_take(&pool, &holder) == NULL);
    depart(&pool, &holder);
    depart(&pool, &other);
    pool_unmake(&pool);
}

/* -- homes -- */

/* `worker` runs a slotted job, making the interpreter if its slot has none. */
static void
run_slotted(struct pool *pool, struct worker *worker, struct job *job, void *resource)
{
    CHECK(pool_take(pool, worker) == job);
    CHECK(worker->slot != NULL);
    if (resource != NULL) {
        CHECK(worker->slot->resource == NULL);
        pool_slot_made(pool, worker, resource);
        CHECK(worker->slot->resource == resource);
    }
}

static void
a_worker_returns_to_its_home(void)
{
    struct pool pool;
    struct worker workers[2];
    struct job jobs[4] = {SLOTTED, SLOTTED, SLOTTED, SLOTTED};
    int resources[2];
    pool_make(&pool, 2, 2);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(pool_submit(&pool, &jobs[i]), POOL_START_WORKER);
        pool_join(&pool, &workers[i]);
        run_slotted(&pool, &workers[i], &jobs[i], &resources[i]);
        CHECK_EQ(workers[i].homes, 1);
    }
    for (int i = 0; i < 2; i++) {
        CHECK(pool_take(&pool, &workers[i]) == NULL);
    }
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(pool_submit(&pool, &jobs[2 + i]), POOL_QUEUED);
    }
    for (int i = 0; i < 2; i++) {
        CHECK(pool_wait(&pool, &workers[i]) == &jobs[2 + i]);
        CHECK(workers[i].slot->resource == &resources[i]);
        CHECK(workers[i].slot->home == &workers[i]);
    }
    for (int i = 0; i < 2; i++) {
        CHECK(pool_take(&pool, &workers[i]) == NULL);
        depart(&pool, &workers[i]);
        CHECK_EQ(workers[i].homes, 0);
    }
    pool_unmake(&pool);
}

static void
a_made_interpreter_is_leased_before_another_is_made(void)
{
    struct pool pool;
    struct worker home, lessee;
    struct job jobs[4] = {SLOTTED, PLAIN, SLOTTED, SLOTTED};
    int resource;
    pool_make(&pool, 2, 2);
    CHECK_EQ(pool_submit(&pool, &jobs[0]), POOL_START_WORKER);
    pool_join(&pool, &home);
    run_slotted(&pool, &home, &jobs[0], &resource);
    CHECK_EQ(pool_submit(&pool, &jobs[1]), POOL_START_WORKER);
    CHECK(pool_take(&pool, &home) == &jobs[1]); /* busy with something else */
    CHECK_EQ(pool_submit(&pool, &jobs[2]), POOL_QUEUED);
    pool_join(&pool, &lessee);
    run_slotted(&pool, &lessee, &jobs[2], NULL);
    CHECK(lessee.slot->resource == &resource);
    CHECK(lessee.slot->home == &home);
    CHECK_EQ(lessee.homes, 0);
    CHECK(pool_take(&pool, &lessee) == NULL);
    depart(&pool, &lessee); /* does not end what it did not make */
    CHECK_EQ(home.homes, 1);
    CHECK(pool_take(&pool, &home) == NULL);
    depart(&pool, &home);
    pool_unmake(&pool);
}

static void
an_ended_slot_is_for_anyone(void)
{
    struct pool pool;
    struct worker worker, other;
    struct job jobs[3] = {SLOTTED, SLOTTED, SLOTTED};
    int resource, renewed;
    pool_make(&pool, 2, 1);
    CHECK_EQ(pool_submit(&pool, &jobs[0]), POOL_START_WORKER);
    pool_join(&pool, &worker);
    run_slotted(&pool, &worker, &jobs[0], &resource);
    pool_slot_ended(&pool, &worker);
    CHECK(worker.slot == NULL);
    CHECK_EQ(worker.homes, 0);
    CHECK_EQ(pool_submit(&pool, &jobs[1]), POOL_START_WORKER);
    pool_join(&pool, &other);
    run_slotted(&pool, &other, &jobs[1], &renewed);
    CHECK(pool_take(&pool, &other) == NULL);
    CHECK(pool_take(&pool, &worker) == NULL);
    depart(&pool, &worker);
    depart(&pool, &other);
    pool_unmake(&pool);
}

/* A worker that ends its interpreter between jobs frees a slot that others wait for. Whoever is
 * then asked for must not be counted without being started. */
static void
ending_a_slot_in_an_open_pool_counts_nobody(void)
{
    struct pool pool;
    struct worker worker;
    struct job jobs[2] = {SLOTTED, SLOTTED};
    int resource;
    pool_make(&pool, 2, 1);
    CHECK_EQ(pool_submit(&pool, &jobs[0]), POOL_START_WORKER);
    pool_join(&pool, &worker);
    run_slotted(&pool, &worker, &jobs[0], &resource);
    CHECK_EQ(pool_submit(&pool, &jobs[1]), POOL_QUEUED);
    pool_slot_ended(&pool, &worker);
    CHECK(pool_take(&pool, &worker) == &jobs[1]);
    CHECK(pool_take(&pool, &worker) == NULL);
    depart(&pool, &worker);
    pool_unmake(&pool);
}

/* -- staying busy -- */

static void
staying_busy_gives_the_job_back(void)
{
    struct pool pool;
    struct worker worker, other;
    struct job jobs[3] = {SLOTTED, SLOTTED, SLOTTED};
    pool_make(&pool, 2, 1);
    CHECK_EQ(pool_submit(&pool, &jobs[0]), POOL_START_WORKER);
    pool_join(&pool, &worker);
    CHECK(pool_take(&pool, &worker) == &jobs[0]);
    CHECK_EQ(pool_submit(&pool, &jobs[1]), POOL_QUEUED);
    CHECK_EQ(pool_submit(&pool, &jobs[2]), POOL_QUEUED);
    CHECK(pool_take(&pool, &worker) == &jobs[1]);
    CHECK_EQ(pool_stay_busy(&pool, &worker, &jobs[1]), 1);
    CHECK(worker.slot == NULL);
    CHECK_EQ(pool_pending(&pool), 2);
    pool_join(&pool, &other);
    CHECK(pool_take(&pool, &other) == &jobs[1]); /* before those that came later */
    CHECK(other.slot != NULL);
    CHECK(pool_take(&pool, &other) == &jobs[2]);
    CHECK(pool_take(&pool, &other) == NULL);
    CHECK(pool_take(&pool, &worker) == NULL);
    depart(&pool, &other);
    depart(&pool, &worker);
    pool_unmake(&pool);
}

static void
staying_busy_without_a_job(void)
{
    struct pool pool;
    struct worker worker, other;
    struct job jobs[2] = {PLAIN, PLAIN};
    pool_make(&pool, 2, 1);
    CHECK_EQ(pool_submit(&pool, &jobs[0]), POOL_START_WORKER);
    pool_join(&pool, &worker);
    CHECK(pool_take(&pool, &worker) == &jobs[0]);
    CHECK(pool_take(&pool, &worker) == NULL);
    CHECK_EQ(pool_idle(&pool), 1);
    CHECK_EQ(pool_stay_busy(&pool, &worker, NULL), 0);
    CHECK_EQ(pool_idle(&pool), 0);
    CHECK_EQ(pool_submit(&pool, &jobs[1]), POOL_START_WORKER); /* nobody is idle any more */
    pool_join(&pool, &other);
    CHECK(pool_take(&pool, &other) == &jobs[1]);
    CHECK(pool_take(&pool, &other) == NULL);
    CHECK(pool_take(&pool, &worker) == NULL);
    depart(&pool, &other);
    depart(&pool, &worker);
    pool_unmake(&pool);
}

/* The promise of an idle worker is used up by a submit before it says that it stays busy. */
static void
staying_busy_breaks_a_promise(void)
{
    struct pool pool;
    struct worker worker, other;
    struct job jobs[2] = {PLAIN, PLAIN};
    pool_make(&pool, 2, 1);
    CHECK_EQ(pool_submit(&pool, &jobs[0]), POOL_START_WORKER);
    pool_join(&pool, &worker);
    CHECK(pool_take(&pool, &worker) == &jobs[0]);
    CHECK(pool_take(&pool, &worker) == NULL);
    CHECK_EQ(pool_submit(&pool, &jobs[1]), POOL_QUEUED);
    CHECK_EQ(pool_stay_busy(&pool, &worker, NULL), 1);
    pool_join(&pool, &other);
    CHECK(pool_take(&pool, &other) == &jobs[1]);
    CHECK(pool_take(&pool, &other) == NULL);
    CHECK(pool_take(&pool, &worker) == NULL);
    depart(&pool, &other);
    depart(&pool, &worker);
    pool_unmake(&pool);
}

/* -- a worker that could not be started -- */

static void
the_only_worker_fails(void)
{
    struct pool pool;
    struct list jobs;
    struct job job = PLAIN;
    list_init(&jobs);
    pool_make(&pool, 2, 1);
    CHECK_EQ(pool_submit(&pool, &job), POOL_START_WORKER);
    CHECK(!pool_worker_failed(&pool));
    pool_drain(&pool, &jobs);
    CHECK(list_pop_front(&jobs) == &job.node);
    CHECK(list_is_empty(&jobs));
    CHECK_EQ(pool_submit(&pool, &job), POOL_START_WORKER); /* the next may try again */
    CHECK(!pool_worker_failed(&pool));
    pool_drain(&pool, &jobs);
    pool_unmake(&pool);
}

/* The job of the failed start waits for the other worker. The next submit sees a demand of two, but
 * its answer starts one worker: no more may be counted. */
static void
one_of_two_workers_fails(void)
{
    struct pool pool;
    struct worker first, third;
    struct job jobs[3] = {PLAIN, PLAIN, PLAIN};
    pool_make(&pool, 3, 1);
    CHECK_EQ(pool_submit(&pool, &jobs[0]), POOL_START_WORKER);
    pool_join(&pool, &first);
    CHECK(pool_take(&pool, &first) == &jobs[0]);
    CHECK_EQ(pool_submit(&pool, &jobs[1]), POOL_START_WORKER);
    CHECK(pool_worker_failed(&pool));
    CHECK_EQ(pool_submit(&pool, &jobs[2]), POOL_START_WORKER);
    pool_join(&pool, &third);
    CHECK(pool_take(&pool, &third) == &jobs[1]);
    CHECK(pool_take(&pool, &first) == &jobs[2]);
    CHECK(pool_take(&pool, &third) == NULL);
    CHECK(pool_take(&pool, &first) == NULL);
    CHECK_EQ(pool_idle(&pool), 2);
    depart(&pool, &first);
    depart(&pool, &third);
    pool_unmake(&pool);
}

/* -- a worker that waits in a thread of its own -- */

struct waiter {
    struct pool *pool;
    struct worker worker;
    struct job *got;
    os_thread thread;
};

static void
wait_in_thread(void *argument)
{
    struct waiter *waiter = argument;
    waiter->got = pool_wait(waiter->pool, &waiter->worker);
}

static unsigned
parked(struct pool *pool)
{
    os_mutex_lock(&pool->lock);
    unsigned count = pool->parked_count;
    os_mutex_unlock(&pool->lock);
    return count;
}

/* The worker has been given NULL. Returns when it has parked. */
static void
park(struct waiter *waiter)
{
    unsigned before = parked(waiter->pool);
    CHECK_EQ(os_thread_start(&waiter->thread, wait_in_thread, waiter), 0);
    while (parked(waiter->pool) == before) {
        sched_yield();
    }
}

/* One worker has parked while another one is being started, which may take long, or fail: the job that
 * comes then is for the one that parked. */
static void
check_slow_start(bool slotted)
{
    struct pool pool;
    struct waiter waiter = {.pool = &pool};
    struct job jobs[3] = {PLAIN, PLAIN, made(slotted)};
    pool_make(&pool, 2, 1);
    CHECK_EQ(pool_submit(&pool, &jobs[0]), POOL_START_WORKER);
    pool_join(&pool, &waiter.worker);
    CHECK(pool_take(&pool, &waiter.worker) == &jobs[0]);
    CHECK_EQ(pool_submit(&pool, &jobs[1]), POOL_START_WORKER); /* slow to come */
    CHECK(pool_take(&pool, &waiter.worker) == &jobs[1]);
    CHECK(pool_take(&pool, &waiter.worker) == NULL);
    park(&waiter);
    CHECK_EQ(pool_submit(&pool, &jobs[2]), POOL_QUEUED);
    os_thread_join(&waiter.thread);
    CHECK(waiter.got == &jobs[2]);
    CHECK(pool_worker_failed(&pool));
    CHECK_EQ(pool_workers(&pool), 1);
    CHECK(pool_take(&pool, &waiter.worker) == NULL);
    depart(&pool, &waiter.worker);
    pool_unmake(&pool);
}

static void
a_slow_start_keeps_no_job_waiting(void)
{
    check_slow_start(false);
    check_slow_start(true);
}

/* Workers wake one another: a submit wakes one, and who takes a job wakes the next. */
static void
check_crowd(bool slotted)
{
    enum { CROWD = 6 };
    struct pool pool;
    struct waiter waiters[CROWD];
    struct job jobs[CROWD];
    struct list together;
    pool_make(&pool, CROWD, CROWD);
    for (int i = 0; i < CROWD; i++) {
        jobs[i] = made(false);
        CHECK_EQ(pool_submit(&pool, &jobs[i]), POOL_START_WORKER);
    }
    for (int i = 0; i < CROWD; i++) {
        waiters[i] = (struct waiter){.pool = &pool};
        pool_join(&pool, &waiters[i].worker);
        CHECK(pool_take(&pool, &waiters[i].worker) == &jobs[i]);
    }
    for (int i = 0; i < CROWD; i++) {
        CHECK(pool_take(&pool, &waiters[i].worker) == NULL);
        park(&waiters[i]);
    }
    list_init(&together);
    for (int i = 0; i < CROWD; i++) {
        jobs[i] = made(slotted);
        list_push_back(&together, &jobs[i].node);
    }
    CHECK_EQ(pool_submit_all(&pool, &together, CROWD), 0);
    CHECK(list_is_empty(&together));
    for (int i = 0; i < CROWD; i++) { /* none of them asks for a second job */
        os_thread_join(&waiters[i].thread);
        CHECK(waiters[i].got != NULL);
    }
    for (int i = 0; i < CROWD; i++) {
        CHECK(pool_take(&pool, &waiters[i].worker) == NULL);
        depart(&pool, &waiters[i].worker);
    }
    pool_unmake(&pool);
}

static void
a_crowd_of_jobs_wakes_everybody(void)
{
    check_crowd(false);
    check_crowd(true);
}

/* -- stealing and draining -- */

static void
stealing_takes_the_oldest(void)
{
    enum { COUNT = 20 };
    struct pool pool;
    struct worker worker;
    struct job jobs[COUNT];
    uint32_t seed = 11;
    pool_make(&pool, 1, 1);
    CHECK(pool_steal(&pool) == NULL);
    for (int i = 0; i < COUNT; i++) {
        jobs[i] = made(random_next(&seed) % 2 == 0);
        pool_submit(&pool, &jobs[i]);
    }
    for (int i = 0; i < COUNT; i++) {
        CHECK(pool_steal(&pool) == &jobs[i]);
        CHECK(!list_is_linked(&jobs[i].node));
        CHECK_EQ(pool_pending(&pool), COUNT - 1 - i);
    }
    CHECK(pool_steal(&pool) == NULL);
    pool_join(&pool, &worker);
    CHECK(pool_take(&pool, &worker) == NULL); /* came for nothing */
    CHECK_EQ(pool_idle(&pool), 1);
    CHECK_EQ(pool_submit(&pool, &jobs[0]), POOL_QUEUED);
    CHECK(pool_wait(&pool, &worker) == &jobs[0]);
    CHECK(pool_take(&pool, &worker) == NULL);
    depart(&pool, &worker);
    pool_unmake(&pool);
}

/* A worker may park in a closed pool because what is pending waits for a slot. */
static void
stealing_the_last_job_of_a_closed_pool_lets_workers_leave(void)
{
    struct pool pool;
    struct worker holder;
    struct waiter waiter = {.pool = &pool};
    struct job jobs[4] = {SLOTTED, PLAIN, SLOTTED, SLOTTED};
    pool_make(&pool, 2, 1);
    CHECK_EQ(pool_submit(&pool, &jobs[0]), POOL_START_WORKER);
    CHECK_EQ(pool_submit(&pool, &jobs[1]), POOL_START_WORKER);
    pool_join(&pool, &holder);
    pool_join(&pool, &waiter.worker);
    CHECK(pool_take(&pool, &holder) == &jobs[0]);
    CHECK(pool_take(&pool, &waiter.worker) == &jobs[1]);
    CHECK_EQ(pool_submit(&pool, &jobs[2]), POOL_QUEUED);
    CHECK_EQ(pool_submit(&pool, &jobs[3]), POOL_QUEUED);
    CHECK(pool_take(&pool, &waiter.worker) == NULL);
    pool_close(&pool);
    park(&waiter);
    CHECK(pool_steal(&pool) == &jobs[2]);
    CHECK_EQ(parked(&pool), 1); /* not yet the last */
    CHECK(pool_steal(&pool) == &jobs[3]);
    os_thread_join(&waiter.thread);
    CHECK(waiter.got == NULL);
    pool_leave(&pool, &waiter.worker);
    CHECK(pool_take(&pool, &holder) == NULL);
    depart(&pool, &holder);
    pool_unmake(&pool);
}

static void
draining_gives_all_oldest_first(void)
{
    enum { COUNT = 20 };
    struct pool pool;
    struct worker worker;
    struct job jobs[COUNT];
    struct list drained;
    uint32_t seed = 7;
    list_init(&drained);
    pool_make(&pool, 1, 1);
    for (int i = 0; i < COUNT; i++) {
        jobs[i] = made(random_next(&seed) % 2 == 0);
        pool_submit(&pool, &jobs[i]);
    }
    pool_join(&pool, &worker);
    CHECK(pool_take(&pool, &worker) == &jobs[0]);
    pool_drain(&pool, &drained);
    CHECK_EQ(pool_pending(&pool), 0);
    for (int i = 1; i < COUNT; i++) {
        CHECK(list_pop_front(&drained) == &jobs[i].node);
    }
    CHECK(list_is_empty(&drained));
    CHECK(pool_take(&pool, &worker) == NULL);
    depart(&pool, &worker);
    pool_unmake(&pool);
}

static void
a_closed_pool_finishes_what_is_pending(void)
{
    struct pool pool;
    struct worker worker;
    struct job jobs[2] = {PLAIN, SLOTTED};
    pool_make(&pool, 1, 1);
    pool_submit(&pool, &jobs[0]);
    pool_submit(&pool, &jobs[1]);
    pool_close(&pool);
    pool_join(&pool, &worker);
    CHECK(pool_take(&pool, &worker) == &jobs[0]);
    CHECK(pool_take(&pool, &worker) == &jobs[1]);
    CHECK(pool_take(&pool, &worker) == NULL);
    depart(&pool, &worker);
    pool_unmake(&pool);
}

/* -- fork -- */

static void
check_is_as_new(struct pool *pool)
{
    CHECK_EQ(pool_pending(pool), 0);
    CHECK_EQ(pool_workers(pool), 0);
    CHECK_EQ(pool_idle(pool), 0);
    CHECK(pool_steal(pool) == NULL);
    CHECK_EQ(pool_await_workers(pool, true, OS_FOREVER), OS_WOKEN);
}

/* Workers, jobs and interpreters of the parent are none of the child's; its pool takes jobs. */
static void
use_in_child(struct pool *pool)
{
    struct worker worker;
    struct job jobs[2] = {SLOTTED, PLAIN};
    int resource;
    check_is_as_new(pool);
    CHECK_EQ(pool_submit(pool, &jobs[0]), POOL_START_WORKER);
    pool_join(pool, &worker);
    run_slotted(pool, &worker, &jobs[0], &resource); /* its slot is empty */
    CHECK_EQ(pool_submit(pool, &jobs[1]), POOL_START_WORKER);
    CHECK(pool_worker_failed(pool));
    CHECK(pool_take(pool, &worker) == &jobs[1]);
    CHECK(pool_take(pool, &worker) == NULL);
    depart(pool, &worker);
    pool_unmake(pool);
}

/* At the fork: one worker busy at its interpreter, one parked, one being started, two jobs. */
static void
a_forked_pool_is_empty_in_the_child(void)
{
    struct pool pool;
    struct worker home;
    struct waiter waiter = {.pool = &pool};
    struct job jobs[5] = {SLOTTED, PLAIN, PLAIN, SLOTTED, SLOTTED};
    int resource;
    pool_make(&pool, 3, 1);
    CHECK_EQ(pool_submit(&pool, &jobs[0]), POOL_START_WORKER);
    pool_join(&pool, &home);
    run_slotted(&pool, &home, &jobs[0], &resource);
    CHECK_EQ(pool_submit(&pool, &jobs[1]), POOL_START_WORKER);
    pool_join(&pool, &waiter.worker);
    CHECK(pool_take(&pool, &waiter.worker) == &jobs[1]);
    CHECK_EQ(pool_submit(&pool, &jobs[2]), POOL_START_WORKER);
    CHECK(pool_take(&pool, &waiter.worker) == &jobs[2]);
    CHECK(pool_take(&pool, &waiter.worker) == NULL);
    park(&waiter);
    CHECK_EQ(pool_submit(&pool, &jobs[3]), POOL_QUEUED);
    CHECK_EQ(pool_submit(&pool, &jobs[4]), POOL_QUEUED);
    if (fork_with(&pool)) {
        use_in_child(&pool);
        _exit(0);
    }
    CHECK_EQ(pool_pending(&pool), 2); /* in the parent all is as it was */
    CHECK_EQ(pool_workers(&pool), 3);
    CHECK(pool_worker_failed(&pool));
    CHECK(pool_take(&pool, &home) == &jobs[3]);
    CHECK(home.slot->resource == &resource);
    CHECK(pool_take(&pool, &home) == &jobs[4]);
    CHECK_EQ(pool_submit(&pool, &jobs[1]), POOL_QUEUED);
    os_thread_join(&waiter.thread);
    CHECK(waiter.got == &jobs[1]);
    CHECK(pool_take(&pool, &home) == NULL);
    CHECK(pool_take(&pool, &waiter.worker) == NULL);
    depart(&pool, &home);
    depart(&pool, &waiter.worker);
    pool_unmake(&pool);
}

static void
a_closed_pool_stays_closed_in_the_child(void)
{
    struct pool pool;
    struct job jobs[2] = {PLAIN, PLAIN};
    pool_make(&pool, 1, 1);
    CHECK_EQ(pool_submit(&pool, &jobs[0]), POOL_START_WORKER);
    pool_close(&pool);
    if (fork_with(&pool)) {
        check_is_as_new(&pool);
        CHECK_EQ(pool_submit(&pool, &jobs[1]), POOL_CLOSED);
        _exit(0);
    }
    CHECK(pool_steal(&pool) == &jobs[0]);
    CHECK(!pool_worker_failed(&pool));
    pool_unmake(&pool);
}

struct traffic {
    struct pool pool;
    atomic_bool over;
};

static void
submit_and_steal(void *argument)
{
    struct traffic *traffic = argument;
    struct job jobs[3] = {PLAIN, SLOTTED, PLAIN};
    while (!atomic_load(&traffic->over)) {
        for (int i = 0; i < 3; i++) {
            if (pool_submit(&traffic->pool, &jobs[i]) == POOL_START_WORKER) {
                pool_worker_failed(&traffic->pool);
            }
        }
        for (int i = 0; i < 3; i++) {
            CHECK(pool_steal(&traffic->pool) == &jobs[i]);
        }
    }
}

/* The lock is held from before the fork until after it: nobody else changes anything. */
static void
nothing_changes_during_a_fork(void)
{
    static struct traffic traffic;
    struct pool *pool = &traffic.pool;
    os_thread thread;
    pool_make(pool, 2, 1);
    CHECK_EQ(os_thread_start(&thread, submit_and_steal, &traffic), 0);
    for (int round = 0; round < 200;) {
        pool_before_fork(pool);
        uint64_t number = pool->next_number;
        round += number > 0; /* the other thread is there */
        for (int turn = 0; turn < 20; turn++) {
            sched_yield();
        }
        CHECK_EQ(pool->next_number, number);
        pool_after_fork_in_parent(pool);
    }
    atomic_store(&traffic.over, true);
    os_thread_join(&thread);
    pool_unmake(pool);
}

/* The child finds neither a lock that nobody gives back, nor lists that another thread was
 * changing. */
static void
forking_amid_traffic(void)
{
    static struct traffic traffic;
    os_thread thread;
    pool_make(&traffic.pool, 2, 1);
    CHECK_EQ(os_thread_start(&thread, submit_and_steal, &traffic), 0);
    for (int round = 0; round < 50; round++) {
        if (fork_with(&traffic.pool)) {
            use_in_child(&traffic.pool);
            _exit(0);
        }
    }
    atomic_store(&traffic.over, true);
    os_thread_join(&thread);
    pool_unmake(&traffic.pool);
}

/* -- waits -- */

struct reclaim {
    struct pool pool;
    struct worker home;
    atomic_uint waiting;
    bool given_back; /* written by the lessee before, read by the home after */
    int resource;
};

static void
reclaim_home(void *argument)
{
    struct reclaim *reclaim = argument;
    CHECK(pool_wait(&reclaim->pool, &reclaim->home) == NULL);
    gate_open(&reclaim->waiting);
    CHECK(pool_reclaim_slot(&reclaim->pool, &reclaim->home) == &reclaim->resource);
    CHECK(reclaim->given_back);
    pool_slot_ended(&reclaim->pool, &reclaim->home);
    CHECK(pool_reclaim_slot(&reclaim->pool, &reclaim->home) == NULL);
    pool_leave(&reclaim->pool, &reclaim->home);
}

static void
reclaiming_waits_for_the_lessee(void)
{
    struct reclaim reclaim = {.given_back = false};
    struct pool *pool = &reclaim.pool;
    struct worker lessee;
    struct job jobs[3] = {SLOTTED, PLAIN, SLOTTED};
    os_thread thread;
    pool_make(pool, 2, 1);
    CHECK_EQ(pool_submit(pool, &jobs[0]), POOL_START_WORKER);
    pool_join(pool, &reclaim.home);
    run_slotted(pool, &reclaim.home, &jobs[0], &reclaim.resource);
    CHECK_EQ(pool_submit(pool, &jobs[1]), POOL_START_WORKER);
    CHECK(pool_take(pool, &reclaim.home) == &jobs[1]);
    CHECK_EQ(pool_submit(pool, &jobs[2]), POOL_QUEUED);
    pool_join(pool, &lessee);
    run_slotted(pool, &lessee, &jobs[2], NULL);
    CHECK(pool_take(pool, &reclaim.home) == NULL);
    pool_close(pool);
    CHECK_EQ(os_thread_start(&thread, reclaim_home, &reclaim), 0);
    gate_await(&reclaim.waiting);
    reclaim.given_back = true;
    CHECK(pool_take(pool, &lessee) == NULL);
    os_thread_join(&thread);
    depart(pool, &lessee);
    pool_unmake(pool);
}

static void
awaiting_workers_has_a_deadline(void)
{
    struct pool pool;
    struct worker worker;
    struct job job = PLAIN;
    pool_make(&pool, 1, 1);
    CHECK_EQ(pool_await_workers(&pool, true, INT64_MIN), OS_WOKEN);
    CHECK_EQ(pool_submit(&pool, &job), POOL_START_WORKER);
    CHECK_EQ(pool_await_workers(&pool, true, INT64_MIN), OS_TIMED_OUT);
    CHECK_EQ(pool_await_workers(&pool, true, -1), OS_TIMED_OUT);
    int64_t deadline = os_now_ns() + 2000000;
    while (pool_await_workers(&pool, true, deadline) == OS_INTERRUPTED) {
    }
    CHECK(os_now_ns() >= deadline);
    pool_join(&pool, &worker);
    CHECK(pool_take(&pool, &worker) == &job);
    CHECK(pool_take(&pool, &worker) == NULL);
    depart(&pool, &worker);
    pool_unmake(&pool);
}

#ifndef OS_FORCE_PORTABLE

static void
ignore(int number)
{
    (void)number;
}

struct patient {
    struct pool pool;
    atomic_uint interrupted;
};

static void
await_signal(void *argument)
{
    struct patient *patient = argument;
    CHECK_EQ(pool_await_workers(&patient->pool, true, OS_FOREVER), OS_INTERRUPTED);
    gate_open(&patient->interrupted);
}

static void
a_signal_interrupts_awaiting_workers(void)
{
    static struct patient patient;
    struct sigaction action = {.sa_handler = ignore};
    struct job job = PLAIN;
    struct list jobs;
    os_thread thread;
    list_init(&jobs);
    pool_make(&patient.pool, 1, 1);
    CHECK_EQ(pool_submit(&patient.pool, &job), POOL_START_WORKER);
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    CHECK_EQ(os_thread_start(&thread, await_signal, &patient), 0);
    while (atomic_load(&patient.interrupted) == 0) {
        CHECK_EQ(pthread_kill(thread.native, SIGUSR1), 0);
        sched_yield();
    }
    os_thread_join(&thread);
    CHECK(!pool_worker_failed(&patient.pool));
    pool_drain(&patient.pool, &jobs);
    pool_unmake(&patient.pool);
}

#endif

/* -- many threads -- */

/* submitters, workers, slots, jobs, slotted %, busy %, fail % */
static void
every_job_runs_once(void)
{
    run_plan((struct plan){1, 1, 1, 2000, 50, 0, 0, 0});
    run_plan((struct plan){1, 4, 1, 3000, 30, 0, 0, 0});
    run_plan((struct plan){2, 2, 2, 3000, 100, 0, 0, 0});
    run_plan((struct plan){2, 6, 2, 3000, 60, 0, 0, 0});
    run_plan((struct plan){4, 3, 8, 3000, 80, 0, 0, 0});
    run_plan((struct plan){3, 8, 3, 6000, 10, 0, 0, 0});
    for (unsigned round = 0; round < 100; round++) { /* beginnings and ends */
        run_plan((struct plan){1 + round % 2, 3, 2, 1 + round % 7, 70, 0, 0, 0});
    }
}

static void
workers_that_stay_busy(void)
{
    run_plan((struct plan){2, 3, 1, 3000, 50, 20, 0, 0});
    run_plan((struct plan){2, 4, 2, 3000, 80, 5, 0, 0});
    run_plan((struct plan){1, 2, 2, 3000, 100, 50, 0, 0});
}

static void
workers_that_do_not_start(void)
{
    run_plan((struct plan){2, 4, 2, 2000, 50, 0, 50, 0});
    run_plan((struct plan){2, 4, 2, 2000, 50, 20, 50, 0});
    run_plan((struct plan){2, 4, 2, 500, 50, 0, 100, 0});
    for (unsigned round = 0; round < 100; round++) {
        run_plan((struct plan){1 + round % 3, 2 + round % 2, 1, 20, 50, 10, 60, 0});
    }
}

/* Submitters, workers, slots, jobs, slotted %, busy %, fail %, makers %. Most slots are filled soon, so
 * there are many beginnings. */
static void
makers_amid_jobs(void)
{
    run_plan((struct plan){2, 4, 4, 2000, 50, 10, 0, 30});
    run_plan((struct plan){2, 4, 4, 2000, 50, 10, 40, 30});
    for (unsigned round = 0; round < 400; round++) {
        struct plan plan = {
            1 + round % 3, 1 + round % 5, 1 + round % 4, 1 + round % 23, round % 2 * 40, 0, 0, 60};
        plan.busy_percent = round % 3 * 10;
        plan.fail_percent = round % 5 * 15;
        run_plan(plan);
    }
}

/* Closing, then draining, in the middle of everything: what was accepted is run or drained. */
static void
closing_in_the_middle(void)
{
    for (unsigned round = 0; round < 60; round++) {
        struct plan plan = {2, 3, 2, 200, 50, round % 2 ? 10 : 0, 0, round % 4 * 10};
        os_thread submitters[8];
        struct team *team = gather(plan);
        submit_from_threads(team, submitters);
        while (atomic_load(&team->next_task) < 3 * round) {
            sched_yield();
        }
        close_pool(team);
        if (round % 3 == 0) {
            fail_pending(team);
        }
        for (unsigned i = 0; i < plan.submitters; i++) {
            os_thread_join(&submitters[i]);
        }
        dismiss(team);
    }
}

/* One job at a time, each awaited: the worker goes to sleep, or is about to, again and again. */
static void
ping_pong(unsigned workers, unsigned slotted_percent)
{
    struct team *team = gather((struct plan){1, workers, 2, MAX_JOBS, 0, 0, 0, 0});
    uint32_t seed = 5;
    for (unsigned i = 0; i < team->plan.jobs; i++) {
        team->tasks[i].job = made(chance(&seed, slotted_percent));
        submit_one(team, &team->tasks[i], &seed);
        gate_await(&team->tasks[i].done);
        for (uint32_t turns = random_next(&seed) % 1000; i % 8 == 0 && turns > 0; turns--) {
            os_spin_hint();
        }
    }
    close_pool(team);
    dismiss(team);
    CHECK(team->started <=
          (workers < 2 ? workers : 2)); /* one takes the next before it publishes */
}

static void
no_wake_up_is_lost(void)
{
    ping_pong(1, 0);
    ping_pong(1, 100);
    ping_pong(4, 50);
}

int
main(void)
{
    check_limit(120);
    RUN(an_unused_pool);
    RUN(a_closed_pool_refuses);
    RUN(workers_are_asked_for_as_needed);
    RUN(an_idle_worker_is_reused);
    RUN(jobs_start_in_order_of_arrival);
    RUN(plain_jobs_pass_those_that_wait_for_a_slot);
    RUN(an_older_plain_job_goes_before_a_slotted_one);
    RUN(a_worker_returns_to_its_home);
    RUN(a_made_interpreter_is_leased_before_another_is_made);
    RUN(an_ended_slot_is_for_anyone);
    RUN(ending_a_slot_in_an_open_pool_counts_nobody);
    RUN(staying_busy_gives_the_job_back);
    RUN(staying_busy_without_a_job);
    RUN(staying_busy_breaks_a_promise);
    RUN(the_only_worker_fails);
    RUN(one_of_two_workers_fails);
    RUN(a_slow_start_keeps_no_job_waiting);
    RUN(a_crowd_of_jobs_wakes_everybody);
    RUN(stealing_takes_the_oldest);
    RUN(stealing_the_last_job_of_a_closed_pool_lets_workers_leave);
    RUN(draining_gives_all_oldest_first);
    RUN(a_closed_pool_finishes_what_is_pending);
    RUN(a_forked_pool_is_empty_in_the_child);
    RUN(a_closed_pool_stays_closed_in_the_child);
    RUN(nothing_changes_during_a_fork);
    RUN(forking_amid_traffic);
    RUN(reclaiming_waits_for_the_lessee);
    RUN(awaiting_workers_has_a_deadline);
#ifndef OS_FORCE_PORTABLE
    RUN(a_signal_interrupts_awaiting_workers);
#endif
    RUN(every_job_runs_once);
    RUN(workers_that_stay_busy);
    RUN(workers_that_do_not_start);
    RUN(makers_amid_jobs);
    RUN(closing_in_the_middle);
    RUN(no_wake_up_is_lost);
    return 0;
}
