/* Resources that must not be used again, and workers that do not come back in time. */
#include "pools.h"

#include "core/aside.h"

static struct condemned condemned;
static int first, second;

/* Has `worker`, which is looking, take a slotted job, and make `resource` if its slot is empty. */
static void
enter(struct pool *pool, struct worker *worker, struct job *job, void *resource)
{
    *job = SLOTTED;
    CHECK_EQ(pool_submit(pool, job), POOL_QUEUED);
    CHECK(pool_take(pool, worker) == job);
    if (worker->slot->resource == NULL) {
        CHECK_EQ(pool_slot_made(pool, worker, resource), 0);
    }
}

/* A worker beyond those that are there. */
static void
join(struct pool *pool, struct worker *worker)
{
    CHECK(pool_grow(pool, pool_workers(pool) + 1));
    pool_join(pool, worker);
}

/* `home` has made the one interpreter and is busy with a plain job; `guest` is in it. */
static void
lend(struct pool *pool, struct worker *home, struct worker *guest, struct job jobs[3])
{
    join(pool, home);
    enter(pool, home, &jobs[0], &first);
    jobs[1] = PLAIN;
    CHECK_EQ(pool_submit(pool, &jobs[1]), POOL_START_WORKER);
    CHECK(pool_take(pool, home) == &jobs[1]);
    pool_join(pool, guest);
    enter(pool, guest, &jobs[2], NULL);
    CHECK(guest->slot->home == home);
}

static void
at_home(void)
{
    struct pool pool;
    struct worker worker;
    struct job job;
    pool_make(&pool, 1, 1);
    join(&pool, &worker);
    enter(&pool, &worker, &job, &first);
    CHECK(pool_condemn(&pool, &worker, &condemned));
    CHECK(worker.slot != NULL && worker.slot->resource == NULL);
    CHECK_EQ(pool_made(&pool), 0);
    CHECK_EQ(worker.homes, 0);
    CHECK_EQ(pool_slot_made(&pool, &worker, &second), 0);
    CHECK(pool_take_condemned(&pool, &worker) == NULL);
    CHECK(pool_take(&pool, &worker) == NULL);
    depart(&pool, &worker);
    pool_destroy(&pool);
}

static void
as_a_guest_for_a_busy_home(void)
{
    struct pool pool;
    struct worker home, guest;
    struct job jobs[3];
    pool_make(&pool, 2, 1);
    lend(&pool, &home, &guest, jobs);
    CHECK(!pool_condemn(&pool, &guest, &condemned));
    CHECK_EQ(pool_made(&pool), 0);
    CHECK_EQ(pool_slot_made(&pool, &guest, &second), 0); /* anew, at once */
    CHECK(guest.slot->home == &guest);

    CHECK(!home.summoned);
    CHECK(pool_take(&pool, &home) == NULL);
    CHECK(home.summoned);
    CHECK(pool_wait(&pool, &home) == NULL); /* although the pool is open */
    CHECK(pool_take_condemned(&pool, &home) == &first);
    CHECK(!home.summoned);
    pool_slot_ended(&pool, &home);

    CHECK(pool_take(&pool, &guest) == NULL);
    depart(&pool, &guest);
    CHECK(pool_take(&pool, &home) == NULL);
    depart(&pool, &home);
    pool_destroy(&pool);
}

struct sleeper {
    struct pool pool;
    struct worker home, guest;
    atomic_uint parking;
};

static void
park_home(void *argument)
{
    struct sleeper *sleeper = argument;
    CHECK(pool_take(&sleeper->pool, &sleeper->home) == NULL);
    gate_open(&sleeper->parking);
    CHECK(pool_wait(&sleeper->pool, &sleeper->home) == NULL);
    CHECK(pool_take_condemned(&sleeper->pool, &sleeper->home) == &first);
    pool_slot_ended(&sleeper->pool, &sleeper->home);
    CHECK(pool_take(&sleeper->pool, &sleeper->home) == NULL);
    depart(&sleeper->pool, &sleeper->home);
}

/* Whether it is parked, about to be, or still looking. */
static void
a_home_that_has_nothing_to_do_is_called(void)
{
    for (int round = 0; round < 200; round++) {
        struct sleeper sleeper = {.parking = 0};
        struct job jobs[3];
        os_thread thread;
        pool_make(&sleeper.pool, 2, 1);
        lend(&sleeper.pool, &sleeper.home, &sleeper.guest, jobs);
        CHECK_EQ(os_thread_start(&thread, park_home, &sleeper), 0);
        gate_await(&sleeper.parking);
        for (int turn = 0; turn < round * 50; turn++) {
            os_spin_hint();
        }
        CHECK(!pool_condemn(&sleeper.pool, &sleeper.guest, &condemned));
        CHECK(pool_take(&sleeper.pool, &sleeper.guest) == NULL);
        os_thread_join(&thread); /* it closes the pool */
        CHECK(pool_wait(&sleeper.pool, &sleeper.guest) == NULL);
        pool_leave(&sleeper.pool, &sleeper.guest);
        pool_destroy(&sleeper.pool);
    }
}

static void
another_worker_takes_the_place_of_one_set_aside(void)
{
    struct pool pool;
    struct worker stuck, next;
    struct job jobs[2];
    pool_make(&pool, 1, 1);
    join(&pool, &stuck);
    enter(&pool, &stuck, &jobs[0], &first);
    jobs[1] = SLOTTED;
    CHECK_EQ(pool_submit(&pool, &jobs[1]), POOL_QUEUED); /* no thread may be added */

    CHECK_EQ(pool_set_aside(&pool, &stuck, &condemned), 1);
    CHECK_EQ(pool_aside(&pool), 1);
    CHECK_EQ(pool_workers(&pool), 1);
    pool_join(&pool, &next);
    CHECK(pool_take(&pool, &next) == &jobs[1]);
    CHECK(next.slot->resource == NULL);
    CHECK_EQ(pool_slot_made(&pool, &next, &second), 0);
    CHECK(pool_take(&pool, &next) == NULL);
    depart(&pool, &next);
    CHECK_EQ(pool_await_workers(&pool, false, 0), OS_WOKEN);
    CHECK_EQ(pool_await_workers(&pool, true, 0), OS_TIMED_OUT);

    CHECK(stuck.aside);
    CHECK(pool_left_condemned(&pool, &stuck, &condemned)); /* it ends it itself */
    CHECK(condemned.resource == &first);
    CHECK(pool_reclaim_slot(&pool, &stuck) == NULL);
    pool_leave_aside(&pool, &stuck);
    CHECK_EQ(pool_aside(&pool), 0);
    CHECK_EQ(pool_await_workers(&pool, true, 0), OS_WOKEN);
    pool_destroy(&pool);
}

/* Nobody else can end it; so it does not leave before. */
static void
a_home_waits_for_a_guest_set_aside(void)
{
    struct pool pool;
    struct worker home, guest, next;
    struct job jobs[3];
    pool_make(&pool, 2, 1);
    lend(&pool, &home, &guest, jobs);
    CHECK_EQ(pool_set_aside(&pool, &guest, &condemned), 1);
    CHECK_EQ(home.homes, 1);
    pool_join(&pool, &next);
    CHECK(pool_take(&pool, &next) == NULL);
    depart(&pool, &next);

    CHECK(pool_take(&pool, &home) == NULL);
    CHECK(pool_wait(&pool, &home) == NULL); /* closed */
    CHECK(pool_take_condemned(&pool, &home) == NULL);
    CHECK(!pool_left_condemned(&pool, &guest, &condemned));
    CHECK(pool_reclaim_slot(&pool, &guest) == NULL);
    pool_leave_aside(&pool, &guest);
    CHECK(pool_reclaim_slot(&pool, &home) == &first);
    pool_slot_ended(&pool, &home);
    CHECK(pool_reclaim_slot(&pool, &home) == NULL);
    pool_leave(&pool, &home);
    pool_destroy(&pool);
}

/* What it has made and others use can only be ended by itself. */
static void
one_set_aside_ends_what_it_is_home_to(void)
{
    struct pool pool;
    struct worker stuck, guest, next;
    struct job jobs[4];
    pool_make(&pool, 2, 2);
    lend(&pool, &stuck, &guest, jobs);
    jobs[3] = SLOTTED;
    CHECK_EQ(pool_submit(&pool, &jobs[3]), POOL_QUEUED);
    CHECK(pool_take(&pool, &stuck) == &jobs[3]); /* its own is lent */
    CHECK_EQ(pool_slot_made(&pool, &stuck, &second), 0);
    CHECK_EQ(stuck.homes, 2);

    CHECK_EQ(pool_set_aside(&pool, &stuck, &condemned), 1);
    CHECK(condemned.resource == &second);
    pool_join(&pool, &next);
    CHECK(pool_take(&pool, &next) == NULL);
    CHECK(pool_left_condemned(&pool, &stuck, &condemned));
    CHECK(pool_take(&pool, &guest) == NULL); /* gives it back */
    CHECK(pool_reclaim_slot(&pool, &stuck) == &first);
    pool_slot_ended(&pool, &stuck);
    CHECK(pool_reclaim_slot(&pool, &stuck) == NULL);
    pool_leave_aside(&pool, &stuck);
    CHECK_EQ(pool_made(&pool), 0);
    depart(&pool, &next);
    depart(&pool, &guest);
    pool_destroy(&pool);
}

int
main(void)
{
    check_limit(60);
    RUN(at_home);
    RUN(as_a_guest_for_a_busy_home);
    RUN(a_home_that_has_nothing_to_do_is_called);
    RUN(another_worker_takes_the_place_of_one_set_aside);
    RUN(a_home_waits_for_a_guest_set_aside);
    RUN(one_set_aside_ends_what_it_is_home_to);
    return 0;
}
