/* Visits: interpreters that no job uses are looked after by workers that have nothing else to do. */
#include "pools.h"

/* -- one thread plays every part -- */

/* A worker that has made the interpreter `resource`, and waits. */
static void
settle(struct pool *pool, struct worker *worker, struct job *job, void *resource)
{
    CHECK_EQ(pool_submit(pool, job), POOL_START_WORKER);
    pool_join(pool, worker);
    CHECK(pool_take(pool, worker) == job);
    pool_slot_made(pool, worker, resource);
}

static void
check_visit(const struct worker *worker, const struct job *job, const void *resource)
{
    CHECK(job != NULL && job->is_visit);
    CHECK(worker->slot != NULL);
    CHECK(job == &worker->slot->visit);
    CHECK(worker->slot->resource == resource);
}

static void
end(struct pool *pool, struct worker *worker)
{
    depart(pool, worker);
    CHECK_EQ(pool_await_workers(pool, true, 0), OS_WOKEN);
    pool_destroy(pool);
}

static void
nothing_to_visit(void)
{
    struct pool pool;
    struct worker worker;
    struct job job = PLAIN;
    pool_make(&pool, 2, 2);
    pool_ask_visits(&pool);
    CHECK_EQ(pool_submit(&pool, &job), POOL_START_WORKER);
    pool_join(&pool, &worker);
    CHECK(pool_take(&pool, &worker) == &job);
    CHECK(pool_take(&pool, &worker) == NULL);
    end(&pool, &worker);
}

static void
an_idle_worker_visits_once(void)
{
    struct pool pool;
    struct worker worker;
    struct job job = SLOTTED;
    int resource;
    pool_make(&pool, 1, 1);
    settle(&pool, &worker, &job, &resource);
    CHECK(pool_take(&pool, &worker) == NULL);
    pool_ask_visits(&pool);
    pool_ask_visits(&pool);
    CHECK_EQ(pool_pending(&pool), 0); /* it is nobody's task */
    check_visit(&worker, pool_wait(&pool, &worker), &resource);
    CHECK(pool_take(&pool, &worker) == NULL);
    CHECK(worker.slot == NULL);
    end(&pool, &worker);
}

static void
a_slot_that_is_held_is_visited_when_it_is_given_back(void)
{
    struct pool pool;
    struct worker worker;
    struct job job = SLOTTED;
    int resource;
    pool_make(&pool, 1, 1);
    settle(&pool, &worker, &job, &resource);
    pool_ask_visits(&pool);
    check_visit(&worker, pool_take(&pool, &worker), &resource);
    CHECK(pool_take(&pool, &worker) == NULL);
    end(&pool, &worker);
}

static void
a_job_takes_the_place_of_a_visit(void)
{
    struct pool pool;
    struct worker worker;
    struct job jobs[3] = {SLOTTED, SLOTTED, SLOTTED};
    int resource;
    pool_make(&pool, 1, 1);
    settle(&pool, &worker, &jobs[0], &resource);
    CHECK_EQ(pool_submit(&pool, &jobs[1]), POOL_QUEUED);
    pool_ask_visits(&pool); /* held */
    CHECK(pool_take(&pool, &worker) == &jobs[1]);
    CHECK(pool_take(&pool, &worker) == NULL);
    pool_ask_visits(&pool); /* free */
    CHECK_EQ(pool_submit(&pool, &jobs[2]), POOL_QUEUED);
    CHECK(pool_wait(&pool, &worker) == &jobs[2]);
    CHECK(pool_take(&pool, &worker) == NULL);
    end(&pool, &worker);
}

static void
a_plain_job_goes_first_and_leaves_the_visit(void)
{
    struct pool pool;
    struct worker worker;
    struct job jobs[2] = {SLOTTED, PLAIN};
    int resource;
    pool_make(&pool, 1, 1);
    settle(&pool, &worker, &jobs[0], &resource);
    pool_ask_visits(&pool);
    CHECK_EQ(pool_submit(&pool, &jobs[1]), POOL_QUEUED);
    CHECK(pool_take(&pool, &worker) == &jobs[1]);
    CHECK(worker.slot == NULL);
    check_visit(&worker, pool_take(&pool, &worker), &resource);
    CHECK(pool_take(&pool, &worker) == NULL);
    end(&pool, &worker);
}

static void
others_visit_when_the_home_is_busy(void)
{
    struct pool pool;
    struct worker home, guest;
    struct job jobs[3] = {SLOTTED, PLAIN, PLAIN};
    int resource;
    pool_make(&pool, 2, 1);
    settle(&pool, &home, &jobs[0], &resource);
    CHECK_EQ(pool_submit(&pool, &jobs[1]), POOL_START_WORKER);
    pool_join(&pool, &guest);
    CHECK(pool_take(&pool, &guest) == &jobs[1]);
    CHECK_EQ(pool_submit(&pool, &jobs[2]), POOL_QUEUED);
    CHECK(pool_take(&pool, &home) == &jobs[2]);
    pool_ask_visits(&pool);
    check_visit(&guest, pool_take(&pool, &guest), &resource);
    CHECK(guest.slot->home == &home);
    CHECK(pool_take(&pool, &guest) == NULL);
    CHECK(pool_take(&pool, &home) == NULL);
    depart(&pool, &guest);
    end(&pool, &home);
}

static void
each_visits_its_own(void)
{
    struct pool pool;
    struct worker workers[2];
    struct job jobs[2] = {SLOTTED, SLOTTED};
    int resources[2];
    pool_make(&pool, 2, 2);
    for (int i = 0; i < 2; i++) {
        settle(&pool, &workers[i], &jobs[i], &resources[i]);
    }
    for (int i = 0; i < 2; i++) {
        CHECK(pool_take(&pool, &workers[i]) == NULL);
    }
    pool_ask_visits(&pool);
    for (int i = 0; i < 2; i++) {
        check_visit(&workers[i], pool_wait(&pool, &workers[i]), &resources[i]);
    }
    for (int i = 0; i < 2; i++) {
        CHECK(pool_take(&pool, &workers[i]) == NULL);
    }
    depart(&pool, &workers[0]);
    end(&pool, &workers[1]);
}

static void
staying_busy_puts_a_visit_off(void)
{
    struct pool pool;
    struct worker worker;
    struct job job = SLOTTED;
    int resource;
    pool_make(&pool, 2, 1);
    settle(&pool, &worker, &job, &resource);
    pool_ask_visits(&pool);
    struct job *visit = pool_take(&pool, &worker);
    check_visit(&worker, visit, &resource);
    CHECK_EQ(pool_stay_busy(&pool, &worker, visit), 0); /* nobody is started for it */
    CHECK(worker.slot == NULL);
    CHECK_EQ(pool_pending(&pool), 0);
    check_visit(&worker, pool_take(&pool, &worker), &resource);
    CHECK(pool_take(&pool, &worker) == NULL);
    end(&pool, &worker);
}

static void
a_closed_pool_has_no_visits(void)
{
    struct pool pool;
    struct worker worker;
    struct job job = SLOTTED;
    int resource;
    pool_make(&pool, 1, 1);
    settle(&pool, &worker, &job, &resource);
    pool_ask_visits(&pool);
    pool_close(&pool);
    pool_ask_visits(&pool);
    CHECK(pool_take(&pool, &worker) == NULL);
    end(&pool, &worker); /* it leaves, its interpreter ended */
}

/* -- many threads: after the last job, and however the visits were asked for, each interpreter has been
 * looked after -- */

enum { WORKERS = 4, SLOTS = 3, JOBS = 3000, ASKERS = 2, ASKS = 2000 };

/* Its holder's. */
struct resource {
    unsigned seen; /* `asked` when it was last looked after */
};

static struct {
    struct pool pool;
    atomic_uint asked;
    struct job jobs[JOBS];
    atomic_uint done;
    os_thread threads[WORKERS];
    atomic_uint started;
} team;

static void work(void *argument);

/* None ends before the pool is closed, so there are never more than WORKERS. */
static void
start_workers(unsigned count)
{
    for (; count > 0; count--) {
        os_thread *thread = &team.threads[atomic_fetch_add(&team.started, 1)];
        CHECK_EQ(os_thread_start(thread, work, NULL), 0);
    }
}

static void
look_after(struct worker *worker)
{
    struct resource *resource = worker->slot->resource;
    if (resource == NULL) {
        resource = calloc(1, sizeof(*resource));
        CHECK(resource != NULL);
        start_workers(pool_slot_made(&team.pool, worker, resource));
    }
    resource->seen = atomic_load(&team.asked);
}

static void
work(void *argument)
{
    struct worker worker;
    struct job *job;
    (void)argument;
    pool_join(&team.pool, &worker);
    job = pool_take(&team.pool, &worker);
    while (job != NULL || (job = pool_wait(&team.pool, &worker)) != NULL) {
        CHECK_EQ(job->slotted || job->is_visit, worker.slot != NULL);
        if (worker.slot != NULL) {
            look_after(&worker);
        }
        struct job *next = pool_take(&team.pool, &worker);
        if (!job->is_visit && atomic_fetch_add(&team.done, 1) % 16 == 0) {
            start_workers(pool_stay_busy(&team.pool, &worker, next));
            next = pool_take(&team.pool, &worker);
        }
        job = next;
    }
    struct resource *resource;
    while ((resource = pool_reclaim_slot(&team.pool, &worker)) != NULL) {
        free(resource);
        pool_slot_ended(&team.pool, &worker);
    }
    pool_leave(&team.pool, &worker);
}

static void
ask(void *argument)
{
    (void)argument;
    for (unsigned i = 0; i < ASKS; i++) {
        atomic_fetch_add(&team.asked, 1);
        pool_ask_visits(&team.pool);
    }
}

/* Whether all interpreters have seen the last that was asked. Looks at them as a worker would, holding
 * the lock under which they are free. */
static bool
all_seen(void)
{
    bool seen = true;
    os_mutex_lock(&team.pool.lock);
    for (unsigned i = 0; i < SLOTS; i++) {
        const struct slot *slot = &team.pool.slots[i];
        if (slot->resource != NULL) {
            bool is_free = team.pool.free_count == SLOTS;
            seen = seen && is_free &&
                   ((struct resource *)slot->resource)->seen == atomic_load(&team.asked);
        }
    }
    os_mutex_unlock(&team.pool.lock);
    return seen;
}

static void
no_visit_is_lost(void)
{
    uint32_t seed = 7;
    os_thread askers[ASKERS];
    pool_make(&team.pool, WORKERS, SLOTS);
    for (unsigned i = 0; i < ASKERS; i++) {
        CHECK_EQ(os_thread_start(&askers[i], ask, NULL), 0);
    }
    for (unsigned i = 0; i < JOBS; i++) {
        team.jobs[i] = random_next(&seed) % 2 == 0 ? SLOTTED : PLAIN;
        if (pool_submit(&team.pool, &team.jobs[i]) == POOL_START_WORKER) {
            start_workers(1);
        }
        if (i % 64 == 0) {
            while (atomic_load(&team.done) < i) {
                sched_yield();
            }
        }
    }
    for (unsigned i = 0; i < ASKERS; i++) {
        os_thread_join(&askers[i]);
    }
    while (atomic_load(&team.done) < JOBS || !all_seen()) {
        sched_yield(); /* for ever, if one is lost: the limit ends the test */
    }
    pool_close(&team.pool);
    while (pool_await_workers(&team.pool, true, OS_FOREVER) != OS_WOKEN) {
    }
    for (unsigned i = 0; i < team.started; i++) {
        os_thread_join(&team.threads[i]);
    }
    pool_destroy(&team.pool);
}

int
main(void)
{
    check_limit(60);
    RUN(nothing_to_visit);
    RUN(an_idle_worker_visits_once);
    RUN(a_slot_that_is_held_is_visited_when_it_is_given_back);
    RUN(a_job_takes_the_place_of_a_visit);
    RUN(a_plain_job_goes_first_and_leaves_the_visit);
    RUN(others_visit_when_the_home_is_busy);
    RUN(each_visits_its_own);
    RUN(staying_busy_puts_a_visit_off);
    RUN(a_closed_pool_has_no_visits);
    RUN(no_visit_is_lost);
    return 0;
}
