/* team: many threads around one pool, workers that run jobs by the pool's rules, and submitters.
 *
 * run_plan() does a whole life: everything is submitted, run once, or failed where a worker could not be
 * started, and all that was made is ended.
 */
#ifndef AIOINTERP_TEST_TEAM_H
#define AIOINTERP_TEST_TEAM_H

#include "pools.h"

#include "core/aside.h"

static inline struct job
made(bool slotted)
{
    return (struct job){.slotted = slotted};
}

enum { MAX_JOBS = 6000, MAX_SLOTS = 8, MAX_STARTS = MAX_JOBS };

struct task {
    struct job job; /* first, so that a job is its task */
    atomic_uint runs;
    unsigned writes; /* by whoever runs it, checked when all is over */
    atomic_uint done;
};

/* What an interpreter is here. Plain fields: only the holder of its slot may touch them. */
struct resource {
    unsigned uses;
    const struct worker *maker;
    struct condemned condemned;
};

struct plan {
    unsigned submitters, workers, slots, jobs;
    unsigned slotted_percent;
    unsigned busy_percent; /* of jobs after which the worker stays busy */
    unsigned fail_percent; /* of starts that fail, and of interpreters that cannot be made */
    unsigned maker_percent;
};

/* When resources are ended before the pool is closed. */
struct recycling {
    unsigned worn_percent; /* of slotted jobs after which the resource is renewed */
    int64_t idle_ns;       /* not 0: resources that are idle for so long are ended */
};

struct team {
    struct plan plan;
    struct recycling recycling;
    uint32_t seed; /* of all that its threads draw by lot */
    struct pool *pool;
    struct task *tasks;
    atomic_uint next_task;
    atomic_uint using_slots;
    atomic_uint made;
    atomic_uint ended;
    atomic_uint uses;   /* slotted runs, as counted by resources that have ended */
    atomic_uint failed; /* jobs failed because no worker could be started, or drained */
    atomic_uint refused;
    atomic_bool closing; /* interpreters may end */
    os_thread threads[MAX_STARTS];
    atomic_uint started;
    atomic_uint starts_tried;
};

static inline bool
chance(uint32_t *seed, unsigned percent)
{
    return random_next(seed) % 100 < percent;
}

static inline void fail_pending(struct team *team);
static inline void work(void *argument);

static inline void
start_worker(struct team *team, uint32_t *seed)
{
    if (chance(seed, team->plan.fail_percent)) {
        if (!pool_worker_failed(team->pool)) {
            fail_pending(team);
        }
        return;
    }
    unsigned index = atomic_fetch_add(&team->started, 1);
    CHECK(index < MAX_STARTS);
    CHECK_EQ(os_thread_start(&team->threads[index], work, team), 0);
}

static inline void
mark_run(struct task *task)
{
    CHECK_EQ(atomic_fetch_add(&task->runs, 1), 0);
    task->writes++;
    gate_open(&task->done);
}

static inline void
fail_pending(struct team *team)
{
    struct list jobs;
    struct list *node;
    list_init(&jobs);
    pool_drain(team->pool, &jobs);
    while ((node = list_pop_front(&jobs)) != NULL) {
        atomic_fetch_add(&team->failed, 1);
        mark_run((struct task *)LIST_ENTRY(node, struct job, node));
    }
}

static inline void
make_resource(struct team *team, struct worker *worker, uint32_t *seed)
{
    struct resource *resource = malloc(sizeof(*resource));
    CHECK(resource != NULL);
    *resource = (struct resource){.maker = worker};
    unsigned starts = pool_slot_made(team->pool, worker, resource);
    CHECK(atomic_fetch_add(&team->made, 1) < atomic_load(&team->ended) + team->plan.slots);
    while (starts-- > 0) {
        start_worker(team, seed);
    }
}

static inline void
use_slot(struct team *team, struct worker *worker, uint32_t *seed)
{
    CHECK(worker->slot != NULL);
    CHECK(atomic_fetch_add(&team->using_slots, 1) < team->plan.slots);
    if (worker->slot->resource == NULL) {
        make_resource(team, worker, seed);
    }
    struct resource *resource = worker->slot->resource;
    CHECK(worker->slot->home == resource->maker);
    resource->uses++;
    atomic_fetch_sub(&team->using_slots, 1);
}

static inline void
end_resource(struct team *team, struct worker *worker, struct resource *resource)
{
    CHECK(resource->maker == worker);
    atomic_fetch_add(&team->uses, resource->uses);
    free(resource);
}

/* Takes what is in the slot out of use. Gives it if it is this worker's to end. */
static inline struct resource *
condemn(struct team *team, struct worker *worker)
{
    struct resource *resource = worker->slot->resource;
    atomic_fetch_add(&team->ended, 1); /* as far as slots are concerned */
    return pool_condemn(team->pool, worker, &resource->condemned) ? resource : NULL;
}

static inline void
end_condemned(struct team *team, struct worker *worker)
{
    struct resource *resource;
    while ((resource = pool_take_condemned(team->pool, worker)) != NULL) {
        end_resource(team, worker, resource);
    }
}

static inline void
end_homes(struct team *team, struct worker *worker)
{
    struct resource *resource;
    while ((resource = pool_reclaim_slot(team->pool, worker)) != NULL) {
        end_resource(team, worker, resource);
        atomic_fetch_add(&team->ended, worker->slot != NULL); /* else it was counted before */
        pool_slot_ended(team->pool, worker);
    }
    CHECK_EQ(worker->homes, 0);
}

/* Fills the slot that it came with, if it can. False: what it wants is not there. */
static inline bool
run_maker(struct team *team, struct worker *worker, struct job *job, uint32_t *seed)
{
    if (worker->slot == NULL) {
        CHECK(pool_made(team->pool) >= job->wants || atomic_load(&team->closing) ||
              team->recycling.worn_percent > 0 || team->recycling.idle_ns > 0);
        return true;
    }
    CHECK(worker->slot->resource == NULL);
    if (chance(seed, team->plan.fail_percent / 4)) {
        return true; /* it has failed; others that want as many try themselves */
    }
    make_resource(team, worker, seed);
    return pool_is_satisfied(team->pool, job);
}

/* Gives `job` back and takes the next, as a worker does that must stay busy meanwhile. */
static inline struct job *
give_back(struct team *team, struct worker *worker, struct job *job, uint32_t *seed)
{
    unsigned starts = pool_stay_busy(team->pool, worker, job);
    CHECK(worker->slot == NULL);
    while (starts-- > 0) {
        start_worker(team, seed);
    }
    return pool_take(team->pool, worker);
}

/* As a worker does that is not counted on meanwhile. */
static inline struct job *
renew(struct team *team, struct worker *worker, uint32_t *seed)
{
    struct resource *worn = condemn(team, worker);
    if (pool_hold_empty(team->pool, worker) && !chance(seed, team->plan.fail_percent / 4)) {
        make_resource(team, worker, seed);
    }
    if (worn == NULL) {
        return pool_take(team->pool, worker);
    }
    unsigned starts = pool_stay_busy(team->pool, worker, NULL);
    while (starts-- > 0) {
        start_worker(team, seed);
    }
    end_resource(team, worker, worn);
    return pool_take(team->pool, worker);
}

static inline struct job *
end_idle(struct team *team, struct worker *worker, uint32_t *seed)
{
    struct resource *resource = condemn(team, worker);
    CHECK(resource != NULL);
    struct job *next = give_back(team, worker, NULL, seed);
    end_resource(team, worker, resource);
    return next;
}

/* Runs `job`, then does what a worker does around publishing: takes the next job first, and may
 * have to give it back. */
static inline struct job *
run_job(struct team *team, struct worker *worker, struct job *job, uint32_t *seed)
{
    if (job->is_ending) {
        return end_idle(team, worker, seed);
    }
    if (job->slotted) {
        use_slot(team, worker, seed);
        if (chance(seed, team->recycling.worn_percent)) {
            mark_run((struct task *)job);
            return renew(team, worker, seed);
        }
    }
    else if (job->wants > 0 && !run_maker(team, worker, job, seed)) {
        return give_back(team, worker, job, seed);
    }
    struct job *next = pool_take(team->pool, worker);
    mark_run((struct task *)job);
    if (chance(seed, team->plan.busy_percent)) {
        next = give_back(team, worker, next, seed);
    }
    return next;
}

static inline void
work(void *argument)
{
    struct team *team = argument;
    struct worker worker;
    uint32_t seed = (team->seed + 1000 + atomic_load(&team->started)) | 1;
    pool_join(team->pool, &worker);
    struct job *job = pool_take(team->pool, &worker);
    while (job != NULL || (job = pool_wait(team->pool, &worker)) != NULL || worker.summoned) {
        if (worker.summoned) {
            end_condemned(team, &worker);
        }
        job = job == NULL ? pool_take(team->pool, &worker) : run_job(team, &worker, job, &seed);
    }
    end_homes(team, &worker);
    pool_leave(team->pool, &worker);
}

static inline void
submit_one(struct team *team, struct task *task, uint32_t *seed)
{
    switch (pool_submit(team->pool, &task->job)) {
    case POOL_QUEUED:
        break;
    case POOL_START_WORKER:
        start_worker(team, seed);
        break;
    case POOL_CLOSED:
    case POOL_FULL: /* there is no bound */
        atomic_fetch_add(&team->refused, 1);
        mark_run(task);
        break;
    }
}

static inline void
submit_all(void *argument)
{
    struct team *team = argument;
    uint32_t seed = team->seed | 1;
    unsigned index;
    while ((index = atomic_fetch_add(&team->next_task, 1)) < team->plan.jobs) {
        struct task *task = &team->tasks[index];
        seed += index;
        task->job = made(chance(&seed, team->plan.slotted_percent));
        if (chance(&seed, team->plan.maker_percent)) {
            task->job = MAKER(1 + random_next(&seed) % team->plan.slots);
        }
        submit_one(team, task, &seed);
        if (chance(&seed, team->plan.maker_percent) &&
            pool_grow(team->pool, random_next(&seed) % team->plan.workers)) {
            start_worker(team, &seed);
        }
    }
}

static inline struct team *
gather(struct plan plan)
{
    static struct team team;
    CHECK(plan.jobs <= MAX_JOBS);
    team = (struct team){.plan = plan};
    team.pool = malloc(sizeof(*team.pool));
    team.tasks = calloc(plan.jobs, sizeof(*team.tasks));
    CHECK(team.pool != NULL && team.tasks != NULL);
    CHECK_EQ(pool_init(team.pool, plan.workers, plan.slots), 0);
    return &team;
}

/* The pool goes as soon as it says that no worker is left, before the threads have ended. */
static inline void
dismiss(struct team *team)
{
    while (pool_await_workers(team->pool, true, OS_FOREVER) != OS_WOKEN) {
    }
    CHECK_EQ(pool_pending(team->pool), 0);
    pool_destroy(team->pool);
    free(team->pool);
    for (unsigned i = 0; i < atomic_load(&team->started); i++) {
        os_thread_join(&team->threads[i]);
    }
    CHECK_EQ(team->made, team->ended);
    for (unsigned i = 0; i < team->plan.jobs; i++) {
        CHECK_EQ(team->tasks[i].runs, 1);
        CHECK_EQ(team->tasks[i].writes, 1);
    }
    free(team->tasks);
}

static inline void
close_pool(struct team *team)
{
    atomic_store(&team->closing, true);
    pool_close(team->pool);
}

static inline void
submit_from_threads(struct team *team, os_thread *threads)
{
    for (unsigned i = 0; i < team->plan.submitters; i++) {
        CHECK_EQ(os_thread_start(&threads[i], submit_all, team), 0);
    }
}

static inline void
run_seeded_plan(struct plan plan, struct recycling recycling, uint32_t seed)
{
    os_thread submitters[8];
    struct team *team = gather(plan);
    team->seed = seed;
    team->recycling = recycling;
    if (recycling.idle_ns > 0) {
        pool_end_idle(team->pool, recycling.idle_ns);
    }
    submit_from_threads(team, submitters);
    for (unsigned i = 0; i < plan.submitters; i++) {
        os_thread_join(&submitters[i]);
    }
    close_pool(team);
    dismiss(team);
    CHECK_EQ(team->refused, 0);
    CHECK(plan.fail_percent > 0 || team->failed == 0);
    if (plan.fail_percent == 0 && plan.busy_percent == 0) { /* else some are replaced */
        CHECK(team->started <= plan.workers);
    }
}

static inline void
run_plan(struct plan plan)
{
    run_seeded_plan(plan, (struct recycling){.worn_percent = 0}, 0);
}

#endif
