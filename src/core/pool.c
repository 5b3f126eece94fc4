#include "pool.h"

#include "aside.h"
#include "awake.h"
#include "calling.h"
#include "lease.h"
#include "makers.h"
#include "pool_lock.h"
#include "roster.h"
#include "slots.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

/* How long an idle worker looks for work before it parks, in turns of the spin loop. Only one
 * worker of a pool spins at a time, and none where there is a single CPU. */
enum { SPIN_TURNS = 400 };

/* -- making and ending -- */

/* No jobs, no workers, all slots there and without an interpreter. */
static void
empty(struct pool *pool)
{
    list_init(&pool->plain);
    list_init(&pool->slotted);
    list_init(&pool->makers);
    list_init(&pool->parked);
    list_init(&pool->free);
    list_init(&pool->empty);
    list_init(&pool->leases);
    pool->plain_count = pool->slotted_count = pool->maker_count = 0;
    pool->parked_count = pool->coming = pool->starting = pool->homeless = pool->workers = 0;
    pool->made = pool->aside = pool->visits = pool->filling = 0;
    pool->lease_count = 0;
    pool->spinning = false;
    turns_init(&pool->turns, pool->turns.most);
    roster_init(pool);
    for (unsigned i = 0; i < pool->max_slots; i++) {
        pool->slots[i].home = NULL;
        pool->slots[i].resource = NULL;
        pool->slots[i].visit_due = false;
        pool->slots[i].used = false;
        pool->slots[i].visit = (struct job){.is_visit = true};
        pool->slots[i].ending = (struct job){.is_ending = true};
        pool->slots[i].filling = (struct job){.is_filling = true};
        pool->slots[i].for_lease = false;
        list_push_back(&pool->empty, &pool->slots[i].node);
    }
    pool->free_count = pool->empty_count = pool->max_slots;
}

int
pool_init(struct pool *pool, unsigned max_workers, unsigned max_slots)
{
    *pool = (struct pool){
        .max_workers = max_workers, .max_slots = max_slots, .idle_timeout = OS_FOREVER};
    pool->slots = calloc(max_slots, sizeof(*pool->slots));
    if (pool->slots == NULL) {
        return ENOMEM;
    }
    int error = os_mutex_init(&pool->lock);
    if (error != 0) {
        free(pool->slots);
        return error;
    }
    empty(pool);
    unsigned cpus = os_cpu_count();
    pool->may_spin = cpus > 1;
    pool->most_looking = cpus > 3 ? cpus / 2 : 1;
    atomic_init(&pool->departures, 0);
    atomic_init(&pool->work, false);
    atomic_init(&pool->returns, 0);
    return 0;
}

void
pool_destroy(struct pool *pool)
{
    os_mutex_destroy(&pool->lock);
    free(pool->slots);
}

void
pool_end_idle(struct pool *pool, int64_t idle_timeout)
{
    pool->idle_timeout = idle_timeout;
}

/* -- submitting -- */

static bool
nothing_pending(const struct pool *pool)
{
    return pool->plain_count == 0 && pool->slotted_count == 0 && pool->maker_count == 0 &&
           pool->lease_count == 0;
}

void
pool_note_progress_locked(struct pool *pool, struct list *wake)
{
    if (pool->closed && nothing_pending(pool)) {
        calling_everyone_locked(pool, wake);
    }
}

static void
note_work_locked(struct pool *pool)
{
    /* The spinner looks again under the lock, so nothing hangs on the order. */
    atomic_store_explicit(&pool->work, !nothing_pending(pool) || pool->closed,
                          memory_order_relaxed);
}

static void
count_locked(struct pool *pool, struct job *job, bool enqueued)
{
    size_t *count = job->slotted     ? &pool->slotted_count
                    : job->wants > 0 ? &pool->maker_count
                                     : &pool->plain_count;
    *count = enqueued ? *count + 1 : *count - 1;
    job->queued = enqueued;
    note_work_locked(pool);
    if (!enqueued && !list_is_empty(&pool->turns.waiting)) {
        turns_grant_locked(pool);
    }
    if (!enqueued && pool->lease_count > 0) {
        leases_serve_locked(pool); /* the job was before them */
    }
}

static struct list *
queue_of(struct pool *pool, struct job *job)
{
    return job->slotted ? &pool->slotted : job->wants > 0 ? &pool->makers : &pool->plain;
}

static pool_submitted
submit(struct pool *pool, struct job *job, struct turn *turn, int cpu)
{
    struct calls calls;
    pool_lock(pool);
    if (pool->closed || (job->wants == 0 && !turns_admit_locked(pool, turn))) {
        pool_submitted refused = pool->closed ? POOL_CLOSED : POOL_FULL;
        pool_unlock(pool);
        return refused;
    }
    job->number = pool->next_number++;
    job->near = cpu != ANY_CPU;
    roster_stamp_locked(pool, job);
    list_push_back(queue_of(pool, job), &job->node);
    count_locked(pool, job, true);
    calling_more_locked(pool, job->slotted, cpu, 1, &calls);
    pool_unlock(pool);
    calling_signal(&calls.wake);
    return calls.start > 0 ? POOL_START_WORKER : POOL_QUEUED;
}

pool_submitted
pool_submit(struct pool *pool, struct job *job)
{
    return submit(pool, job, NULL, ANY_CPU);
}

pool_submitted
pool_submit_turn(struct pool *pool, struct job *job, struct turn *turn)
{
    return submit(pool, job, turn, ANY_CPU);
}

pool_submitted
pool_submit_near(struct pool *pool, struct job *job)
{
    return submit(pool, job, NULL, os_current_cpu());
}

int
pool_submit_all(struct pool *pool, struct list *jobs, size_t count)
{
    struct calls calls;
    unsigned most = count < INT_MAX ? (unsigned)count : INT_MAX;
    pool_lock(pool);
    if (pool->closed) {
        pool_unlock(pool);
        return -1;
    }
    bool slotted = LIST_ENTRY(jobs->next, struct job, node)->slotted;
    for (struct list *node = jobs->next; node != jobs; node = node->next) {
        struct job *job = LIST_ENTRY(node, struct job, node);
        job->number = pool->next_number++;
        job->queued = true;
        job->near = false;
        roster_stamp_locked(pool, job);
    }
    list_move_all(slotted ? &pool->slotted : &pool->plain, jobs);
    *(slotted ? &pool->slotted_count : &pool->plain_count) += count;
    note_work_locked(pool);
    calling_more_locked(pool, slotted, ANY_CPU, most, &calls);
    pool_unlock(pool);
    calling_signal(&calls.wake);
    return (int)calls.start;
}

bool
pool_grow(struct pool *pool, unsigned workers)
{
    pool_lock(pool);
    bool grows = !pool->closed && calling_count_worker_locked(pool, workers);
    pool_unlock(pool);
    return grows;
}

void
pool_unlock_and_note_departure(struct pool *pool)
{
    /* Pairs with the acquire in pool_await_workers(). */
    atomic_fetch_add_explicit(&pool->departures, 1, memory_order_release);
    pool_unlock(pool);
    os_word_wake_all(&pool->departures);
}

bool
pool_worker_failed(struct pool *pool)
{
    struct calls calls;
    pool_lock(pool);
    pool->workers--;
    pool->coming--;
    pool->starting--;
    pool->homeless--;
    bool others = pool->workers > 0;
    if (!others) {
        leases_refuse_all_locked(pool);
    }
    /* Who relied on this one. */
    calling_more_locked(pool, pool->plain_count == 0, ANY_CPU, 0, &calls);
    pool_unlock_and_note_departure(pool);
    /* A pool without workers may be gone by now; nobody was parked there. */
    calling_signal(&calls.wake);
    return others;
}

/* -- slots -- */

unsigned
pool_slot_made(struct pool *pool, struct worker *worker, void *resource)
{
    struct calls calls;
    pool_lock(pool);
    worker->slot->resource = resource;
    worker->slot->home = worker;
    worker->slot->used = true;
    worker->homes++;
    pool->made++;
    calling_more_locked(pool, false, ANY_CPU, pool->maker_count > 0 ? UINT_MAX : 0, &calls);
    pool_unlock(pool);
    calling_signal(&calls.wake);
    return calls.start;
}

void
pool_slot_ended(struct pool *pool, struct worker *worker)
{
    struct calls calls;
    pool_lock(pool);
    if (worker->slot != NULL) { /* else it was a condemned one */
        slots_empty_locked(pool, worker->slot);
        worker->homes--;
        slots_release_locked(pool, worker);
    }
    calling_more_locked(pool, true, ANY_CPU, 0, &calls);
    pool_unlock(pool);
    calling_signal(&calls.wake);
}

void *
pool_reclaim_slot(struct pool *pool, struct worker *worker)
{
    for (;;) {
        unsigned returns = atomic_load_explicit(&pool->returns, memory_order_acquire);
        pool_lock(pool);
        void *condemned = aside_take_condemned_locked(worker);
        if (condemned != NULL || worker->homes == 0) {
            pool_unlock(pool);
            return condemned;
        }
        struct list *node = slots_find_home_locked(pool, worker);
        if (node != NULL) {
            slots_hold_locked(pool, worker, node);
            pool_unlock(pool);
            return worker->slot->resource;
        }
        pool_unlock(pool);
        os_word_wait(&pool->returns, returns, OS_FOREVER);
    }
}

/* -- taking -- */

static struct job *
first_job(const struct list *queue)
{
    return list_is_empty(queue) ? NULL : LIST_ENTRY(queue->next, struct job, node);
}

/* Each may be NULL. */
static struct job *
older_job(struct job *one, struct job *other)
{
    return one == NULL || (other != NULL && other->number < one->number) ? other : one;
}

/* The oldest job that can start; the slot it needs is held, and a slot it does not need is not. */
static struct job *
choose_job_locked(struct pool *pool, struct worker *worker)
{
    if (worker->slot != NULL && worker->slot->resource == NULL) {
        slots_release_locked(pool, worker); /* not filled after all: makers may wait for it */
    }
    struct job *slotted = first_job(&pool->slotted);
    if (slotted != NULL && leases_come_before_locked(pool, slotted)) {
        slots_release_locked(pool, worker); /* the job has to wait for another slot */
    }
    struct job *maker = pool->maker_count > 0 ? makers_first_locked(pool, worker) : NULL;
    struct job *other = older_job(first_job(&pool->plain), maker);
    if (slotted != NULL && older_job(slotted, other) == slotted &&
        slots_acquire_locked(pool, worker)) {
        return slotted;
    }
    slots_release_locked(pool, worker);
    if (other != NULL && other->wants > pool->made) {
        slots_hold_locked(pool, worker, pool->empty.next); /* since it wants more than are begun */
    }
    return other;
}

/* Takes a job, a visit or an ending, and becomes busy, or gives NULL and is looking. When the last pending job of
 * a closed pool is gone, those parked have to be told, so that they leave. */
static struct job *
take_locked(struct pool *pool, struct worker *worker, struct list *wake_list)
{
    calling_arrived_locked(pool, worker);
    worker->summoned = !list_is_empty(&worker->condemned);
    struct job *job = choose_job_locked(pool, worker);
    if (job != NULL) {
        list_remove(&job->node);
        count_locked(pool, job, false);
        worker->near = job->near;
    }
    else if (leases_to_fill_locked(pool) > 0) {
        slots_hold_locked(pool, worker, pool->empty.next);
        worker->slot->for_lease = true;
        pool->filling++;
        job = &worker->slot->filling;
    }
    else if (calling_visits_locked(pool) > 0 && slots_hold_due_locked(pool, worker)) {
        job = &worker->slot->visit;
    }
    else if (slots_hold_idle_locked(pool, worker)) {
        job = &worker->slot->ending;
    }
    calling_look_locked(pool, worker, job == NULL);
    pool_note_progress_locked(pool, wake_list);
    if (job != NULL) {
        calling_wake_some_locked(pool, pool->plain_count == 0, ANY_CPU, wake_list);
    }
    return job;
}

void
pool_join(struct pool *pool, struct worker *worker)
{
    (void)pool; /* counted in `coming` since somebody was told to start it */
    *worker = (struct worker){.looking = true, .starting = true};
    list_init(&worker->node);
    list_init(&worker->condemned);
    list_init(&worker->roster_node);
    atomic_init(&worker->signal, 0);
    awake_note(true);
}

struct job *
pool_take(struct pool *pool, struct worker *worker)
{
    struct list leaving;
    list_init(&leaving);
    pool_lock(pool);
    struct job *job = take_locked(pool, worker, &leaving);
    pool_unlock(pool);
    calling_signal(&leaving);
    return job;
}

/* Looks out for work for a moment without the lock. */
static void
spin(struct pool *pool)
{
    for (int turn = 0; turn < SPIN_TURNS; turn++) {
        if (atomic_load_explicit(&pool->work, memory_order_relaxed)) {
            break;
        }
        os_spin_hint();
    }
}

/* False: there was none by the deadline. */
static bool
await_signal(struct worker *worker, int64_t deadline_ns)
{
    while (atomic_exchange_explicit(&worker->signal, 0, memory_order_acquire) == 0) {
        if (os_word_wait(&worker->signal, 0, deadline_ns) == OS_TIMED_OUT) {
            return false;
        }
    }
    return true;
}

/* Until it is called, or something that it is home to may have been idle for too long. Looking afterwards. */
static void
park_locked(struct pool *pool, struct worker *worker)
{
    int64_t deadline = slots_idle_deadline_locked(pool, worker);
    calling_look_locked(pool, worker, false);
    worker->cpu = os_current_cpu();
    list_push_front(&pool->parked, &worker->node);
    worker->parked = true;
    pool->parked_count++;
    awake_note(false);
    pool_unlock(pool);
    bool called = await_signal(worker, deadline);
    stats_awake(&worker->sheet);
    pool_lock(pool);
    if (!called && worker->parked) {
        calling_unpark_locked(pool, worker);
    }
    else if (!called) { /* called meanwhile: its node is the caller's until the signal */
        pool_unlock(pool);
        await_signal(worker, OS_FOREVER);
        pool_lock(pool);
    }
}

/* The wait loop. Each turn: take; or leave (for good, or to end something); or spin once and look again;
 * or park. */
struct job *
pool_wait(struct pool *pool, struct worker *worker)
{
    struct list leaving;
    list_init(&leaving);
    bool spun = !pool->may_spin || worker->near; /* who waits may want this very CPU */
    struct job *job;

    pool_lock(pool);
    while ((job = take_locked(pool, worker, &leaving)) == NULL) {
        if (worker->summoned || (pool->closed && nothing_pending(pool))) {
            calling_look_locked(pool, worker, false);
            break;
        }
        if (!spun && !pool->spinning) {
            spun = true;
            pool->spinning = true;
            pool_unlock(pool);
            spin(pool);
            pool_lock(pool);
            pool->spinning = false;
            continue;
        }
        park_locked(pool, worker);
    }
    pool_unlock(pool);
    calling_signal(&leaving);
    return job;
}

unsigned
pool_stay_busy(struct pool *pool, struct worker *worker, struct job *job)
{
    struct calls calls;
    pool_lock(pool);
    calling_arrived_locked(pool, worker);
    calling_look_locked(pool, worker, false);
    if (job != NULL && job->is_visit) {
        worker->slot->visit_due = true;
        job = NULL;
    }
    if (job != NULL && (job->is_ending || job->is_filling)) {
        job = NULL; /* it stays due */
    }
    if (job != NULL) {
        list_push_front(queue_of(pool, job), &job->node);
        count_locked(pool, job, true);
    }
    slots_release_locked(pool, worker); /* to who comes next, the job in its place again */
    calling_more_locked(pool, job != NULL && job->slotted, ANY_CPU, UINT_MAX, &calls);
    pool_note_progress_locked(pool, &calls.wake);
    pool_unlock(pool);
    calling_signal(&calls.wake);
    return calls.start;
}

void
pool_ask_visits(struct pool *pool)
{
    struct list wake;
    list_init(&wake);
    pool_lock(pool);
    for (struct list *node = pool->free.next; node != &pool->free; node = node->next) {
        pool->visits += !LIST_ENTRY(node, struct slot, node)->visit_due;
    }
    for (unsigned i = 0; i < pool->max_slots; i++) {
        pool->slots[i].visit_due = pool->slots[i].resource != NULL;
    }
    calling_wake_some_locked(pool, true, ANY_CPU, &wake);
    pool_unlock(pool);
    calling_signal(&wake);
}

void
pool_leave(struct pool *pool, struct worker *worker)
{
    pool_lock(pool);
    calling_look_locked(pool, worker, false);
    calling_arrived_locked(pool, worker);
    slots_release_locked(pool, worker);
    pool->workers--;
    awake_note(false);
    pool_unlock_and_note_departure(pool);
}

/* -- closing -- */

void
pool_close(struct pool *pool)
{
    struct list everyone;
    list_init(&everyone);
    pool_lock(pool);
    pool->closed = true;
    note_work_locked(pool);
    turns_grant_locked(pool);
    calling_everyone_locked(pool, &everyone);
    pool_unlock(pool);
    calling_signal(&everyone);
}

/* Unlinks the oldest pending job of any kind, or gives NULL. */
static struct job *
steal_locked(struct pool *pool)
{
    struct job *job = older_job(first_job(&pool->plain), first_job(&pool->slotted));
    job = older_job(job, first_job(&pool->makers));
    if (job != NULL) {
        list_remove(&job->node);
        count_locked(pool, job, false);
    }
    return job;
}

struct job *
pool_steal(struct pool *pool)
{
    struct list everyone;
    list_init(&everyone);
    pool_lock(pool);
    struct job *job = steal_locked(pool);
    pool_note_progress_locked(pool, &everyone);
    pool_unlock(pool);
    calling_signal(&everyone);
    return job;
}

bool
pool_remove(struct pool *pool, struct job *job)
{
    struct list everyone;
    list_init(&everyone);
    pool_lock(pool);
    bool removes = job->queued;
    if (removes) {
        list_remove(&job->node);
        count_locked(pool, job, false);
        pool_note_progress_locked(pool, &everyone);
    }
    pool_unlock(pool);
    calling_signal(&everyone);
    return removes;
}

void
pool_drain(struct pool *pool, struct list *jobs)
{
    struct job *job;
    while ((job = pool_steal(pool)) != NULL) {
        list_push_back(jobs, &job->node);
    }
}

bool
pool_is_satisfied(struct pool *pool, const struct job *maker)
{
    pool_lock(pool);
    bool satisfied = pool->closed || maker->wants <= pool->made;
    pool_unlock(pool);
    return satisfied;
}

unsigned
pool_made(struct pool *pool)
{
    pool_lock(pool);
    unsigned made = pool->made;
    pool_unlock(pool);
    return made;
}

size_t
pool_pending(struct pool *pool)
{
    pool_lock(pool);
    size_t count = pool->plain_count + pool->slotted_count + pool->maker_count;
    pool_unlock(pool);
    return count;
}

unsigned
pool_workers(struct pool *pool)
{
    pool_lock(pool);
    unsigned workers = pool->workers;
    pool_unlock(pool);
    return workers;
}

unsigned
pool_idle(struct pool *pool)
{
    pool_lock(pool);
    size_t workers = (size_t)pool->parked_count + pool->coming;
    size_t demand = calling_demand_locked(pool);
    pool_unlock(pool);
    return workers > demand ? (unsigned)(workers - demand) : 0;
}

os_wait_result
pool_await_workers(struct pool *pool, bool aside, int64_t deadline_ns)
{
    for (;;) {
        /* Pairs with the release in note_departure(). */
        unsigned departures = atomic_load_explicit(&pool->departures, memory_order_acquire);
        if (pool_workers(pool) == 0 && !(aside && pool_aside(pool) > 0)) {
            return OS_WOKEN;
        }
        os_wait_result result = os_word_wait(&pool->departures, departures, deadline_ns);
        if (result != OS_WOKEN) {
            return result;
        }
    }
}

/* -- fork -- */

int
pool_unused_locked(const struct pool *pool)
{
    return pool->free_count == pool->max_slots && pool->aside == 0 ? (int)pool->made : -1;
}

void
pool_before_fork(struct pool *pool)
{
    pool_lock(pool);
}

void
pool_after_fork_in_parent(struct pool *pool)
{
    pool_unlock(pool);
}

void
pool_after_fork_in_child(struct pool *pool)
{
    os_mutex_init(&pool->lock); /* held by us; made anew, since its waiters are gone */
    empty(pool);
    note_work_locked(pool);
}
