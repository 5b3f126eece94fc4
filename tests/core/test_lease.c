/* Leases: slots for threads that are no workers. At first one thread plays every part, so that each step's answer is
 * certain; then many threads lease, amid workers that run jobs and resources that are condemned or cannot be made. */
#include "team.h"

#include "core/lease.h"

static int resources[8]; /* what interpreters are here */

static void
start(struct pool *pool, struct worker *worker)
{
    pool_join(pool, worker);
}

/* The worker takes an empty slot that is to be filled for a lease. */
static void
take_filling(struct pool *pool, struct worker *worker)
{
    struct job *job = pool_take(pool, worker);
    CHECK(job != NULL);
    CHECK(job->is_filling);
    CHECK(worker->slot != NULL);
    CHECK(worker->slot->resource == NULL);
}

static void
fill(struct pool *pool, struct worker *worker)
{
    take_filling(pool, worker);
    CHECK_EQ(pool_slot_made(pool, worker, &resources[pool_made(pool)]), 0);
}

static void
take_nothing(struct pool *pool, struct worker *worker)
{
    CHECK(pool_take(pool, worker) == NULL);
    CHECK(worker->slot == NULL);
}

/* A lease that has a resource of its own made, by a worker that is started for it. */
static void
lease_first(struct pool *pool, struct worker *worker, struct lease *lease)
{
    CHECK_EQ(lease_begin(pool, lease), 1);
    CHECK_EQ(lease_state(lease), LEASE_WAITING);
    start(pool, worker);
    fill(pool, worker);
    CHECK_EQ(lease_state(lease), LEASE_WAITING); /* the worker still has it */
    take_nothing(pool, worker);
    CHECK_EQ(lease_state(lease), LEASE_GRANTED);
    CHECK(lease->slot->home == worker);
}

static void
unmake(struct pool *pool, struct worker *workers, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        depart(pool, &workers[i]);
    }
    CHECK_EQ(pool_made(pool), 0);
    CHECK_EQ(leases_waiting(pool), 0);
    CHECK_EQ(pool_await_workers(pool, true, 0), OS_WOKEN);
    pool_destroy(pool);
}

static void
what_is_free_is_granted_at_once(void)
{
    struct pool pool;
    struct worker worker;
    struct lease first, second;
    pool_make(&pool, 2, 2);
    lease_first(&pool, &worker, &first);
    CHECK_EQ(lease_end(&pool, &first), 0);
    CHECK_EQ(lease_end(&pool, &first), 0); /* may be said twice */
    CHECK_EQ(lease_state(&first), LEASE_OVER);
    CHECK_EQ(lease_begin(&pool, &second), 0);
    CHECK_EQ(lease_state(&second), LEASE_GRANTED);
    CHECK(second.slot->resource == &resources[0]);
    CHECK_EQ(lease_await(&second, 0), OS_WOKEN);
    CHECK_EQ(lease_end(&pool, &second), 0);
    unmake(&pool, &worker, 1);
}

static void
as_many_are_made_as_are_wanted_and_not_more(void)
{
    struct pool pool;
    struct worker workers[2];
    struct lease leases[3];
    pool_make(&pool, 2, 2);
    lease_first(&pool, &workers[0], &leases[0]);
    CHECK_EQ(lease_begin(&pool, &leases[1]), 0); /* the worker there is looking */
    CHECK_EQ(lease_begin(&pool, &leases[2]), 0); /* there is no slot for this one */
    fill(&pool, &workers[0]);
    take_nothing(&pool, &workers[0]);
    CHECK_EQ(lease_state(&leases[1]), LEASE_GRANTED);
    CHECK_EQ(lease_state(&leases[2]), LEASE_WAITING);
    CHECK_EQ(lease_await(&leases[2], 0), OS_TIMED_OUT);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(lease_state(&leases[i]), LEASE_GRANTED);
        CHECK_EQ(lease_end(&pool, &leases[i]), 0);
    }
    CHECK_EQ(pool_made(&pool), 2);
    unmake(&pool, workers, 1);
}

static void
each_is_served_in_its_turn(void)
{
    enum { WAITING = 6 };
    struct pool pool;
    struct worker worker;
    struct lease first, leases[WAITING], late;
    pool_make(&pool, 1, 1);
    lease_first(&pool, &worker, &first);
    for (int i = 0; i < WAITING; i++) {
        CHECK_EQ(lease_begin(&pool, &leases[i]), 0);
    }
    CHECK_EQ(leases_waiting(&pool), WAITING);
    CHECK_EQ(lease_end(&pool, &leases[2]), 0); /* does not want to wait any more */
    CHECK_EQ(leases_waiting(&pool), WAITING - 1);
    struct lease *holder = &first;
    for (int i = 0; i < WAITING; i++) {
        if (i == 2) {
            continue;
        }
        CHECK_EQ(lease_state(&leases[i]), LEASE_WAITING);
        CHECK_EQ(lease_end(&pool, holder), 0);
        holder = &leases[i];
        for (int other = 0; other < WAITING; other++) {
            CHECK(other == 2 || lease_state(&leases[other]) == (other < i    ? LEASE_OVER
                                                                : other == i ? LEASE_GRANTED
                                                                             : LEASE_WAITING));
        }
        if (i == 3) { /* nobody comes between */
            CHECK_EQ(lease_begin(&pool, &late), 0);
            CHECK_EQ(lease_state(&late), LEASE_WAITING);
        }
    }
    CHECK_EQ(lease_end(&pool, holder), 0);
    CHECK_EQ(lease_state(&late), LEASE_GRANTED);
    CHECK_EQ(lease_end(&pool, &late), 0);
    unmake(&pool, &worker, 1);
}

/* Whoever has a slot filled does not get it if somebody has come before. */
static void
what_is_made_goes_to_who_waits_longest(void)
{
    struct pool pool;
    struct worker workers[2];
    struct lease first, second, third;
    pool_make(&pool, 2, 2);
    CHECK_EQ(lease_begin(&pool, &first), 1);
    CHECK_EQ(lease_begin(&pool, &second), 1);
    start(&pool, &workers[0]);
    start(&pool, &workers[1]);
    take_filling(&pool, &workers[0]);
    take_filling(&pool, &workers[1]);
    CHECK_EQ(pool_slot_made(&pool, &workers[1], &resources[1]), 0);
    take_nothing(&pool, &workers[1]);
    CHECK_EQ(lease_state(&first), LEASE_GRANTED);
    CHECK_EQ(lease_end(&pool, &first), 0); /* before the other one is there */
    CHECK_EQ(lease_state(&second), LEASE_GRANTED);
    CHECK_EQ(pool_slot_made(&pool, &workers[0], &resources[0]), 0);
    take_nothing(&pool, &workers[0]);
    CHECK_EQ(lease_begin(&pool, &third), 0);
    CHECK_EQ(lease_state(&third), LEASE_GRANTED);
    CHECK_EQ(lease_end(&pool, &third), 0);
    CHECK_EQ(lease_end(&pool, &second), 0);
    unmake(&pool, workers, 2);
}

static void
jobs_and_leases_are_in_one_order(void)
{
    struct pool pool;
    struct worker worker;
    struct lease leases[4];
    struct job jobs[2] = {SLOTTED, SLOTTED};
    pool_make(&pool, 1, 1);
    lease_first(&pool, &worker, &leases[0]);
    CHECK_EQ(lease_begin(&pool, &leases[1]), 0);
    CHECK_EQ(pool_submit(&pool, &jobs[0]), POOL_QUEUED);
    CHECK_EQ(lease_begin(&pool, &leases[2]), 0);
    take_nothing(&pool, &worker);
    CHECK_EQ(lease_end(&pool, &leases[0]), 0);
    CHECK_EQ(lease_state(&leases[1]), LEASE_GRANTED);
    CHECK_EQ(lease_end(&pool, &leases[1]), 0);
    CHECK_EQ(lease_state(&leases[2]), LEASE_WAITING); /* the job came before */
    CHECK(pool_take(&pool, &worker) == &jobs[0]);
    CHECK_EQ(pool_submit(&pool, &jobs[1]), POOL_QUEUED);
    take_nothing(&pool, &worker); /* the lease came before, though the worker had the slot */
    CHECK_EQ(lease_state(&leases[2]), LEASE_GRANTED);
    CHECK_EQ(lease_begin(&pool, &leases[3]), 0);
    CHECK_EQ(lease_end(&pool, &leases[2]), 0);
    CHECK_EQ(lease_state(&leases[3]), LEASE_WAITING);
    CHECK(pool_remove(&pool, &jobs[1])); /* it makes way for the lease behind it */
    CHECK_EQ(lease_state(&leases[3]), LEASE_GRANTED);
    CHECK_EQ(lease_end(&pool, &leases[3]), 0);
    take_nothing(&pool, &worker);
    unmake(&pool, &worker, 1);
}

/* Its slot goes to who is next only when the job is in its place again. */
static void
a_job_that_is_given_back_keeps_its_place(void)
{
    struct pool pool;
    struct worker worker;
    struct lease first, second;
    struct job job = SLOTTED;
    pool_make(&pool, 1, 1);
    lease_first(&pool, &worker, &first);
    CHECK_EQ(pool_submit(&pool, &job), POOL_QUEUED);
    CHECK_EQ(lease_begin(&pool, &second), 0);
    CHECK_EQ(lease_end(&pool, &first), 0);
    CHECK(pool_take(&pool, &worker) == &job);
    CHECK_EQ(pool_stay_busy(&pool, &worker, &job), 0);
    CHECK_EQ(lease_state(&second), LEASE_WAITING);
    CHECK(pool_take(&pool, &worker) == &job);
    take_nothing(&pool, &worker);
    CHECK_EQ(lease_state(&second), LEASE_GRANTED);
    CHECK_EQ(lease_end(&pool, &second), 0);
    unmake(&pool, &worker, 1);
}

static void
what_cannot_be_made_is_told_to_who_waits_longest(void)
{
    struct pool pool;
    struct worker worker;
    struct lease leases[2];
    int error;
    pool_make(&pool, 1, 1);
    CHECK(!lease_fail_oldest(&pool, &error)); /* nobody waits */
    CHECK_EQ(lease_begin(&pool, &leases[0]), 1);
    CHECK_EQ(lease_begin(&pool, &leases[1]), 0);
    start(&pool, &worker);
    take_filling(&pool, &worker);
    CHECK(lease_fail_oldest(&pool, &error));
    CHECK_EQ(lease_state(&leases[0]), LEASE_REFUSED);
    CHECK(leases[0].error == &error);
    CHECK_EQ(lease_end(&pool, &leases[0]), 0);
    fill(&pool, &worker); /* it is tried again for the next */
    take_nothing(&pool, &worker);
    CHECK_EQ(lease_state(&leases[1]), LEASE_GRANTED);
    CHECK_EQ(lease_end(&pool, &leases[1]), 0);
    unmake(&pool, &worker, 1);
}

static void
without_a_worker_none_waits(void)
{
    struct pool pool;
    struct lease leases[2];
    pool_make(&pool, 2, 1);
    CHECK_EQ(lease_begin(&pool, &leases[0]), 1);
    CHECK_EQ(lease_begin(&pool, &leases[1]), 0);
    CHECK(!pool_worker_failed(&pool));
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(lease_state(&leases[i]), LEASE_REFUSED);
        CHECK(leases[i].error == NULL);
        CHECK_EQ(lease_end(&pool, &leases[i]), 0);
    }
    pool_destroy(&pool);
}

static void
a_closed_pool_serves_those_that_wait(void)
{
    struct pool pool;
    struct worker worker;
    struct lease first, second, late;
    pool_make(&pool, 1, 1);
    lease_first(&pool, &worker, &first);
    CHECK_EQ(lease_begin(&pool, &second), 0);
    pool_close(&pool);
    CHECK_EQ(lease_begin(&pool, &late), 0);
    CHECK_EQ(lease_state(&late), LEASE_REFUSED);
    CHECK_EQ(lease_end(&pool, &late), 0);
    CHECK_EQ(lease_state(&first), LEASE_GRANTED);
    CHECK_EQ(lease_end(&pool, &first), 0);
    CHECK_EQ(lease_state(&second), LEASE_GRANTED);
    CHECK_EQ(lease_end(&pool, &second), 0);
    unmake(&pool, &worker, 1);
}

static void
all_that_wait_can_be_refused(void)
{
    struct pool pool;
    struct worker worker;
    struct lease first, second;
    pool_make(&pool, 1, 1);
    lease_first(&pool, &worker, &first);
    CHECK_EQ(lease_begin(&pool, &second), 0);
    leases_refuse(&pool);
    CHECK_EQ(lease_state(&first), LEASE_GRANTED); /* keeps it */
    CHECK_EQ(lease_state(&second), LEASE_REFUSED);
    CHECK(second.error == NULL);
    CHECK_EQ(lease_end(&pool, &second), 0);
    CHECK_EQ(lease_end(&pool, &first), 0);
    unmake(&pool, &worker, 1);
}

static void
a_condemned_resource_is_ended_by_its_home(void)
{
    struct pool pool;
    struct worker worker;
    struct lease first, second;
    struct condemned condemned;
    pool_make(&pool, 1, 1);
    lease_first(&pool, &worker, &first);
    CHECK_EQ(lease_begin(&pool, &second), 0);
    CHECK_EQ(lease_condemn(&pool, &first, &condemned), 0); /* the worker is looking already */
    CHECK_EQ(pool_made(&pool), 0);
    take_filling(&pool, &worker);
    CHECK(worker.summoned);
    CHECK(pool_take_condemned(&pool, &worker) == &resources[0]);
    CHECK_EQ(pool_slot_made(&pool, &worker, &resources[1]), 0);
    take_nothing(&pool, &worker);
    CHECK_EQ(lease_state(&second), LEASE_GRANTED);
    CHECK(second.slot->resource == &resources[1]);
    CHECK_EQ(lease_end(&pool, &second), 0);
    unmake(&pool, &worker, 1);
}

static void
a_lease_counts_as_a_visit(void)
{
    struct pool pool;
    struct worker worker;
    struct lease lease;
    pool_make(&pool, 1, 1);
    lease_first(&pool, &worker, &lease);
    pool_ask_visits(&pool);
    CHECK_EQ(lease_end(&pool, &lease), 0);
    CHECK_EQ(lease_begin(&pool, &lease), 0);
    CHECK_EQ(lease_state(&lease), LEASE_GRANTED);
    CHECK_EQ(lease_end(&pool, &lease), 0);
    take_nothing(&pool, &worker); /* no visit is due any more */
    unmake(&pool, &worker, 1);
}

static void
the_child_of_a_fork_has_none(void)
{
    struct pool pool;
    struct worker worker, other;
    struct lease first, second, anew;
    pool_make(&pool, 1, 1);
    lease_first(&pool, &worker, &first);
    CHECK_EQ(lease_begin(&pool, &second), 0);
    if (fork_with(&pool)) {
        CHECK_EQ(leases_waiting(&pool), 0);
        CHECK_EQ(pool_made(&pool), 0);
        lease_first(&pool, &other, &anew);
        CHECK_EQ(lease_end(&pool, &anew), 0);
        depart(&pool, &other);
        CHECK_EQ(pool_made(&pool), 0);
        exit(0);
    }
    CHECK_EQ(lease_end(&pool, &first), 0);
    CHECK_EQ(lease_state(&second), LEASE_GRANTED);
    CHECK_EQ(lease_end(&pool, &second), 0);
    unmake(&pool, &worker, 1);
}

/* -- many threads -- */

struct crowd {
    struct pool pool;
    unsigned slots;
    unsigned fail_percent, condemn_percent, job_percent;
    unsigned rounds;
    atomic_uint using, running;
    atomic_uint made, ended, refused, served;
    atomic_uint started;
    os_thread workers[4096];
};

static void crowd_work(void *argument);

static void
crowd_start(struct crowd *crowd, unsigned count)
{
    while (count-- > 0) {
        unsigned index = atomic_fetch_add(&crowd->started, 1);
        CHECK(index < sizeof(crowd->workers) / sizeof(crowd->workers[0]));
        CHECK_EQ(os_thread_start(&crowd->workers[index], crowd_work, crowd), 0);
    }
}

/* Plain fields: only who holds the slot may touch them. */
static void
crowd_use(struct crowd *crowd, struct resource *resource)
{
    CHECK(atomic_fetch_add(&crowd->using, 1) < crowd->slots);
    resource->uses++;
    atomic_fetch_sub(&crowd->using, 1);
}

static void
crowd_make(struct crowd *crowd, struct worker *worker)
{
    struct resource *resource = malloc(sizeof(*resource));
    CHECK(resource != NULL);
    *resource = (struct resource){.maker = worker};
    atomic_fetch_add(&crowd->made, 1);
    crowd_start(crowd, pool_slot_made(&crowd->pool, worker, resource));
}

static void
crowd_end(struct crowd *crowd, struct worker *worker, struct resource *resource)
{
    CHECK(resource->maker == worker);
    atomic_fetch_add(&crowd->ended, 1);
    free(resource);
}

static void
crowd_work(void *argument)
{
    static int failed;
    struct crowd *crowd = argument;
    struct worker worker;
    struct resource *resource;
    uint32_t seed = 7919 + atomic_load(&crowd->started);
    pool_join(&crowd->pool, &worker);
    struct job *job = pool_take(&crowd->pool, &worker);
    while (job != NULL || (job = pool_wait(&crowd->pool, &worker)) != NULL || worker.summoned) {
        while (worker.summoned && (resource = pool_take_condemned(&crowd->pool, &worker)) != NULL) {
            crowd_end(crowd, &worker, resource);
        }
        if (job != NULL && job->is_filling && chance(&seed, crowd->fail_percent)) {
            lease_fail_oldest(&crowd->pool, &failed);
        }
        else if (job != NULL && worker.slot->resource == NULL) {
            crowd_make(crowd, &worker);
        }
        if (job != NULL && job->slotted) {
            crowd_use(crowd, worker.slot->resource);
            struct task *task = (struct task *)job;
            job = pool_take(&crowd->pool, &worker);
            gate_open(&task->done);
            continue;
        }
        job = pool_take(&crowd->pool, &worker);
    }
    while ((resource = pool_reclaim_slot(&crowd->pool, &worker)) != NULL) {
        crowd_end(crowd, &worker, resource);
        pool_slot_ended(&crowd->pool, &worker);
    }
    pool_leave(&crowd->pool, &worker);
}

static void
crowd_job(struct crowd *crowd)
{
    struct task task = {.job = SLOTTED};
    pool_submitted submitted = pool_submit(&crowd->pool, &task.job);
    CHECK(submitted == POOL_QUEUED || submitted == POOL_START_WORKER);
    crowd_start(crowd, submitted == POOL_START_WORKER);
    gate_await(&task.done);
}

static void
crowd_lease(struct crowd *crowd, uint32_t *seed)
{
    struct lease lease;
    crowd_start(crowd, lease_begin(&crowd->pool, &lease));
    while (lease_await(&lease, OS_FOREVER) != OS_WOKEN) {
    }
    if (lease_state(&lease) == LEASE_REFUSED) {
        CHECK(lease.error != NULL && crowd->fail_percent > 0);
        atomic_fetch_add(&crowd->refused, 1);
        CHECK_EQ(lease_end(&crowd->pool, &lease), 0);
        return;
    }
    struct resource *resource = lease.slot->resource;
    crowd_use(crowd, resource);
    atomic_fetch_add(&crowd->served, 1);
    crowd_start(crowd, chance(seed, crowd->condemn_percent)
                           ? lease_condemn(&crowd->pool, &lease, &resource->condemned)
                           : lease_end(&crowd->pool, &lease));
}

static void
crowd_call(void *argument)
{
    struct crowd *crowd = argument;
    uint32_t seed = 104729 + atomic_fetch_add(&crowd->running, 1);
    for (unsigned round = 0; round < crowd->rounds; round++) {
        if (chance(&seed, crowd->job_percent)) {
            crowd_job(crowd);
        }
        else {
            crowd_lease(crowd, &seed);
        }
    }
}

static void
run_crowd(unsigned callers, unsigned slots, unsigned fails, unsigned condemns, unsigned jobs,
          unsigned rounds)
{
    static struct crowd crowd;
    os_thread threads[16];
    crowd = (struct crowd){.slots = slots,
                           .fail_percent = fails,
                           .condemn_percent = condemns,
                           .job_percent = jobs,
                           .rounds = rounds};
    pool_make(&crowd.pool, slots, slots);
    for (unsigned i = 0; i < callers; i++) {
        CHECK_EQ(os_thread_start(&threads[i], crowd_call, &crowd), 0);
    }
    for (unsigned i = 0; i < callers; i++) {
        os_thread_join(&threads[i]);
    }
    pool_close(&crowd.pool);
    CHECK_EQ(pool_await_workers(&crowd.pool, true, OS_FOREVER), OS_WOKEN);
    pool_destroy(&crowd.pool);
    for (unsigned i = 0; i < atomic_load(&crowd.started); i++) {
        os_thread_join(&crowd.workers[i]);
    }
    CHECK_EQ(crowd.made, crowd.ended);
    CHECK(jobs > 0 || crowd.served + crowd.refused == callers * rounds);
    CHECK(condemns > 0 || crowd.made <= slots);
    CHECK(crowd.started <= slots);
}

static void
many_lease_few(void)
{
    run_crowd(8, 2, 0, 0, 0, 2000);
}

static void
few_lease_many(void)
{
    run_crowd(3, 8, 0, 0, 0, 2000);
}

static void
amid_jobs_and_failures(void)
{
    run_crowd(8, 3, 20, 5, 30, 1000);
    run_crowd(4, 1, 20, 5, 30, 1000);
}

/* Some wait, some have a slot, some come later: all are told. */
static void
closing_call(void *argument)
{
    struct crowd *crowd = argument;
    for (;;) {
        struct lease lease;
        crowd_start(crowd, lease_begin(&crowd->pool, &lease));
        while (lease_await(&lease, OS_FOREVER) != OS_WOKEN) {
        }
        bool granted = lease_state(&lease) == LEASE_GRANTED;
        if (granted) {
            crowd_use(crowd, lease.slot->resource);
            gate_open(&crowd->served);
        }
        CHECK_EQ(lease_end(&crowd->pool, &lease), 0);
        if (!granted) {
            return;
        }
    }
}

static void
a_pool_is_closed_under_them(void)
{
    static struct crowd crowd;
    os_thread threads[6];
    for (int round = 0; round < 20; round++) {
        crowd = (struct crowd){.slots = 2};
        pool_make(&crowd.pool, 2, 2);
        for (int i = 0; i < 6; i++) {
            CHECK_EQ(os_thread_start(&threads[i], closing_call, &crowd), 0);
        }
        gate_await(&crowd.served);
        pool_close(&crowd.pool);
        if (round % 2 == 0) {
            leases_refuse(&crowd.pool);
        }
        for (int i = 0; i < 6; i++) {
            os_thread_join(&threads[i]);
        }
        CHECK_EQ(pool_await_workers(&crowd.pool, true, OS_FOREVER), OS_WOKEN);
        pool_destroy(&crowd.pool);
        for (unsigned i = 0; i < atomic_load(&crowd.started); i++) {
            os_thread_join(&crowd.workers[i]);
        }
        CHECK_EQ(crowd.made, crowd.ended);
    }
}

int
main(void)
{
    check_limit(60);
    RUN(what_is_free_is_granted_at_once);
    RUN(as_many_are_made_as_are_wanted_and_not_more);
    RUN(each_is_served_in_its_turn);
    RUN(what_is_made_goes_to_who_waits_longest);
    RUN(jobs_and_leases_are_in_one_order);
    RUN(a_job_that_is_given_back_keeps_its_place);
    RUN(what_cannot_be_made_is_told_to_who_waits_longest);
    RUN(without_a_worker_none_waits);
    RUN(a_closed_pool_serves_those_that_wait);
    RUN(all_that_wait_can_be_refused);
    RUN(a_condemned_resource_is_ended_by_its_home);
    RUN(a_lease_counts_as_a_visit);
    RUN(the_child_of_a_fork_has_none);
    RUN(many_lease_few);
    RUN(few_lease_many);
    RUN(amid_jobs_and_failures);
    RUN(a_pool_is_closed_under_them);
    return 0;
}
