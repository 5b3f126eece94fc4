/* Resources that are ended while the pool goes on: idle for too long, or worn out. */
#include "team.h"

#include "core/aside.h"

enum { MILLISECOND = 1000000 };

/* So long ago, or so far ahead, that it does not matter when exactly. */
static const int64_t HOUR = 3600LL * 1000000000;

static struct condemned condemned;
static int first, second;

static void
idle_pool(struct pool *pool, unsigned workers, unsigned slots, int64_t timeout)
{
    pool_make(pool, workers, slots);
    pool_end_idle(pool, timeout);
}

/* A worker that has made `resource` for a job, which it is at. */
static void
settle(struct pool *pool, struct worker *worker, struct job *job, void *resource)
{
    *job = SLOTTED;
    CHECK_EQ(pool_submit(pool, job), POOL_START_WORKER);
    pool_join(pool, worker);
    CHECK(pool_take(pool, worker) == job);
    pool_slot_made(pool, worker, resource);
}

static void
check_ending(const struct worker *worker, const struct job *job, const void *resource)
{
    CHECK(job != NULL && job->is_ending && !job->is_visit);
    CHECK(worker->slot != NULL && job == &worker->slot->ending);
    CHECK(worker->slot->resource == resource);
    CHECK(worker->slot->home == worker);
}

/* What a worker does with one. */
static void
end_due(struct pool *pool, struct worker *worker)
{
    CHECK(pool_condemn(pool, worker, &condemned)); /* it is its home */
    CHECK_EQ(pool_stay_busy(pool, worker, NULL), 0);
    CHECK(worker->slot == NULL);
}

/* As if the slot had been given back long ago. */
static void
make_due(struct pool *pool)
{
    for (unsigned i = 0; i < pool->max_slots; i++) {
        pool->slots[i].idle_since -= 2 * HOUR;
    }
}

static void
leave(struct pool *pool, struct worker *worker)
{
    depart(pool, worker);
    CHECK_EQ(pool_await_workers(pool, true, 0), OS_WOKEN);
    pool_destroy(pool);
}

static void
an_idle_resource_is_ended_by_its_home(void)
{
    struct pool pool;
    struct worker worker;
    struct job job;
    idle_pool(&pool, 1, 1, HOUR);
    settle(&pool, &worker, &job, &first);
    CHECK(pool_take(&pool, &worker) == NULL);
    make_due(&pool);
    check_ending(&worker, pool_wait(&pool, &worker), &first);
    end_due(&pool, &worker);
    CHECK_EQ(pool_made(&pool), 0);
    CHECK_EQ(worker.homes, 0);
    CHECK_EQ(pool_workers(&pool), 1); /* the thread stays */

    job = SLOTTED; /* and makes another when there is need for one */
    CHECK_EQ(pool_submit(&pool, &job), POOL_QUEUED);
    CHECK(pool_take(&pool, &worker) == &job);
    CHECK(worker.slot->resource == NULL);
    pool_slot_made(&pool, &worker, &second);
    CHECK(pool_take(&pool, &worker) == NULL);
    leave(&pool, &worker);
}

static void
without_a_timeout_nothing_is_ended(void)
{
    struct pool pool;
    struct worker worker;
    struct job job;
    pool_make(&pool, 1, 1);
    settle(&pool, &worker, &job, &first);
    CHECK(pool_take(&pool, &worker) == NULL);
    make_due(&pool);
    pool_close(&pool);
    CHECK(pool_wait(&pool, &worker) == NULL);
    leave(&pool, &worker);
}

static void
a_job_comes_first_and_counts_as_use(void)
{
    struct pool pool;
    struct worker worker;
    struct job job, next = SLOTTED;
    idle_pool(&pool, 1, 1, HOUR);
    settle(&pool, &worker, &job, &first);
    CHECK(pool_take(&pool, &worker) == NULL);
    make_due(&pool);
    CHECK_EQ(pool_submit(&pool, &next), POOL_QUEUED);
    CHECK(pool_wait(&pool, &worker) == &next);
    CHECK(worker.slot->resource == &first);
    CHECK(pool_take(&pool, &worker) == NULL); /* not due any more */
    leave(&pool, &worker);
}

static void
a_visit_is_no_use(void)
{
    struct pool pool;
    struct worker worker;
    struct job job;
    idle_pool(&pool, 1, 1, HOUR);
    settle(&pool, &worker, &job, &first);
    CHECK(pool_take(&pool, &worker) == NULL);
    make_due(&pool);
    pool_ask_visits(&pool);
    struct job *visit = pool_wait(&pool, &worker);
    CHECK(visit != NULL && visit->is_visit);
    check_ending(&worker, pool_take(&pool, &worker), &first);
    end_due(&pool, &worker);
    CHECK(pool_take(&pool, &worker) == NULL);
    leave(&pool, &worker);
}

static void
an_ending_that_is_given_back_comes_again(void)
{
    struct pool pool;
    struct worker worker;
    struct job job;
    idle_pool(&pool, 1, 1, HOUR);
    settle(&pool, &worker, &job, &first);
    CHECK(pool_take(&pool, &worker) == NULL);
    make_due(&pool);
    struct job *ending = pool_wait(&pool, &worker);
    check_ending(&worker, ending, &first);
    CHECK_EQ(pool_stay_busy(&pool, &worker, ending), 0);
    CHECK(worker.slot == NULL);
    check_ending(&worker, pool_take(&pool, &worker), &first);
    end_due(&pool, &worker);
    CHECK(pool_take(&pool, &worker) == NULL);
    leave(&pool, &worker);
}

/* Who is not its home leaves it alone; and a closed pool ends all of them anyway. */
static void
only_for_the_home_of_an_open_pool(void)
{
    struct pool pool;
    struct worker home, other;
    struct job jobs[3] = {PLAIN, PLAIN, PLAIN};
    idle_pool(&pool, 2, 2, HOUR);
    settle(&pool, &home, &jobs[0], &first);
    jobs[1] = PLAIN;
    CHECK_EQ(pool_submit(&pool, &jobs[1]), POOL_START_WORKER);
    CHECK(pool_take(&pool, &home) == &jobs[1]); /* gives its slot back, and is busy */
    make_due(&pool);
    pool_join(&pool, &other);
    CHECK(pool_take(&pool, &other) == NULL);
    pool_close(&pool);
    CHECK(pool_wait(&pool, &other) == NULL);
    pool_leave(&pool, &other);
    CHECK(pool_take(&pool, &home) == NULL);
    CHECK(pool_wait(&pool, &home) == NULL);
    leave(&pool, &home);
}

/* Or a maker that wants more than there are could wait for ever. */
static void
none_while_a_maker_wants_more(void)
{
    struct pool pool;
    struct worker home, maker;
    struct job job, more = MAKER(2);
    idle_pool(&pool, 2, 2, HOUR);
    settle(&pool, &home, &job, &first);
    CHECK(pool_take(&pool, &home) == NULL);
    make_due(&pool);
    CHECK_EQ(pool_submit(&pool, &more), POOL_START_WORKER);
    pool_join(&pool, &maker);
    CHECK(pool_take(&pool, &maker) == &more);
    CHECK(pool_take(&pool, &home) == NULL);
    pool_slot_made(&pool, &maker, &second);
    CHECK(pool_is_satisfied(&pool, &more));
    check_ending(&home, pool_take(&pool, &home), &first);
    end_due(&pool, &home);
    CHECK(pool_take(&pool, &home) == NULL);
    CHECK(pool_take(&pool, &maker) == NULL);
    depart(&pool, &maker);
    leave(&pool, &home);
}

/* -- a home that is parked -- */

struct sleeper {
    struct pool pool;
    struct worker worker;
    struct job job;
    atomic_uint parking;
    atomic_uint ended;
};

/* Parks until its resource is due, or a job comes, and ends it if that is what it gets. */
static void
sleep_at_home(void *argument)
{
    struct sleeper *sleeper = argument;
    struct pool *pool = &sleeper->pool;
    struct worker *worker = &sleeper->worker;
    struct job *job = pool_take(pool, worker);
    gate_open(&sleeper->parking);
    while (job != NULL || (job = pool_wait(pool, worker)) != NULL) {
        if (job->is_ending) {
            end_due(pool, worker);
            gate_open(&sleeper->ended);
        }
        else if (job->slotted && worker->slot->resource == NULL) {
            pool_slot_made(pool, worker, &second);
        }
        job = pool_take(pool, worker);
    }
    while (pool_reclaim_slot(pool, worker) != NULL) {
        pool_slot_ended(pool, worker);
    }
    pool_leave(pool, worker);
}

static void
a_parked_home_wakes_by_itself(void)
{
    struct sleeper sleeper = {.parking = 0};
    os_thread thread;
    int64_t before = os_now_ns();
    idle_pool(&sleeper.pool, 1, 1, 20 * MILLISECOND);
    settle(&sleeper.pool, &sleeper.worker, &sleeper.job, &first);
    CHECK_EQ(os_thread_start(&thread, sleep_at_home, &sleeper), 0);
    gate_await(&sleeper.ended);
    CHECK(os_now_ns() - before >= 20 * MILLISECOND);
    CHECK_EQ(pool_made(&sleeper.pool), 0);
    pool_close(&sleeper.pool);
    os_thread_join(&thread);
    pool_destroy(&sleeper.pool);
}

/* What a guest has when the home parks is ended as well, some time after it has been given back. */
static void
a_home_finds_what_was_lent_as_it_parked(void)
{
    struct sleeper sleeper = {.parking = 0};
    struct worker guest;
    struct job jobs[2] = {PLAIN, SLOTTED};
    os_thread thread;
    idle_pool(&sleeper.pool, 2, 1, 5 * MILLISECOND);
    settle(&sleeper.pool, &sleeper.worker, &sleeper.job, &first);
    CHECK_EQ(pool_submit(&sleeper.pool, &jobs[0]), POOL_START_WORKER);
    CHECK(pool_take(&sleeper.pool, &sleeper.worker) == &jobs[0]);
    pool_join(&sleeper.pool, &guest);
    CHECK_EQ(pool_submit(&sleeper.pool, &jobs[1]), POOL_QUEUED);
    CHECK(pool_take(&sleeper.pool, &guest) == &jobs[1]);
    CHECK(guest.slot->home == &sleeper.worker);
    CHECK_EQ(os_thread_start(&thread, sleep_at_home, &sleeper), 0);
    gate_await(&sleeper.parking);
    CHECK(pool_take(&sleeper.pool, &guest) == NULL); /* given back */
    gate_await(&sleeper.ended);
    pool_close(&sleeper.pool);
    CHECK(pool_wait(&sleeper.pool, &guest) == NULL);
    pool_leave(&sleeper.pool, &guest);
    os_thread_join(&thread);
    pool_destroy(&sleeper.pool);
}

/* The deadline and the call of a submitter, again and again at the same moment: no job is lost. */
static void
the_end_of_a_pause_races_with_jobs(void)
{
    struct sleeper sleeper = {.parking = 0};
    os_thread thread;
    enum { ROUNDS = 500 };
    static struct job jobs[ROUNDS];
    uint32_t seed = 5;
    idle_pool(&sleeper.pool, 1, 1, MILLISECOND / 4);
    settle(&sleeper.pool, &sleeper.worker, &sleeper.job, &first);
    CHECK_EQ(os_thread_start(&thread, sleep_at_home, &sleeper), 0);
    gate_await(&sleeper.parking);
    for (int i = 0; i < ROUNDS; i++) {
        jobs[i] = SLOTTED;
        CHECK(pool_submit(&sleeper.pool, &jobs[i]) == POOL_QUEUED);
        int64_t until = os_now_ns() + MILLISECOND / 5 + random_next(&seed) % (MILLISECOND / 5);
        while (os_now_ns() < until) {
            os_spin_hint();
        }
    }
    pool_close(&sleeper.pool);
    os_thread_join(&thread);
    CHECK_EQ(pool_pending(&sleeper.pool), 0);
    CHECK(atomic_load(&sleeper.ended) > 0);
    pool_destroy(&sleeper.pool);
}

/* -- a slot that a worker keeps while it renews what was in it -- */

static void
the_slot_is_kept_while_it_is_filled_anew(void)
{
    struct pool pool;
    struct worker worker, other;
    struct job jobs[3];
    pool_make(&pool, 2, 1);
    settle(&pool, &worker, &jobs[0], &first);
    jobs[1] = SLOTTED;
    jobs[2] = PLAIN;
    CHECK(pool_condemn(&pool, &worker, &condemned));
    CHECK_EQ(pool_submit(&pool, &jobs[1]), POOL_QUEUED); /* there is no slot for it */
    CHECK_EQ(pool_submit(&pool, &jobs[2]), POOL_START_WORKER);
    CHECK(pool_hold_empty(&pool, &worker));
    pool_join(&pool, &other);
    CHECK(pool_take(&pool, &other) == &jobs[2]); /* work goes on */
    CHECK_EQ(pool_slot_made(&pool, &worker, &second), 0);
    CHECK_EQ(pool_stay_busy(&pool, &worker, NULL), 0);
    CHECK(pool_take(&pool, &other) == &jobs[1]); /* nor does this wait for the old one's end */
    CHECK(other.slot->resource == &second);
    CHECK(pool_take(&pool, &worker) == NULL);
    CHECK(pool_take(&pool, &other) == NULL);
    depart(&pool, &other);
    leave(&pool, &worker);
}

static void
nothing_is_filled_in_a_closed_pool(void)
{
    struct pool pool;
    struct worker worker;
    struct job job;
    pool_make(&pool, 1, 1);
    settle(&pool, &worker, &job, &first);
    CHECK(pool_condemn(&pool, &worker, &condemned));
    pool_close(&pool);
    CHECK(!pool_hold_empty(&pool, &worker));
    CHECK(pool_take(&pool, &worker) == NULL);
    leave(&pool, &worker);
}

static void
whole_lives_with_worn_resources(void)
{
    static const struct recycling recyclings[] = {
        {.worn_percent = 100},
        {.worn_percent = 30},
        {.worn_percent = 50, .idle_ns = MILLISECOND / 4},
        {.idle_ns = 1000},
    };
    for (size_t i = 0; i < sizeof(recyclings) / sizeof(recyclings[0]); i++) {
        run_seeded_plan((struct plan){1, 1, 1, 500, 100, 0, 0, 0}, recyclings[i], 1);
        run_seeded_plan((struct plan){2, 3, 2, 2000, 80, 0, 0, 0}, recyclings[i], 2);
        run_seeded_plan((struct plan){4, 6, 3, 2000, 60, 20, 0, 5}, recyclings[i], 3);
        run_seeded_plan((struct plan){2, 4, 2, 1000, 80, 0, 10, 5}, recyclings[i], 4);
    }
}

int
main(void)
{
    check_limit(60);
    RUN(an_idle_resource_is_ended_by_its_home);
    RUN(without_a_timeout_nothing_is_ended);
    RUN(a_job_comes_first_and_counts_as_use);
    RUN(a_visit_is_no_use);
    RUN(an_ending_that_is_given_back_comes_again);
    RUN(only_for_the_home_of_an_open_pool);
    RUN(none_while_a_maker_wants_more);
    RUN(a_parked_home_wakes_by_itself);
    RUN(a_home_finds_what_was_lent_as_it_parked);
    RUN(the_end_of_a_pause_races_with_jobs);
    RUN(the_slot_is_kept_while_it_is_filled_anew);
    RUN(nothing_is_filled_in_a_closed_pool);
    RUN(whole_lives_with_worn_resources);
    return 0;
}
