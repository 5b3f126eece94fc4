/* Room among pending jobs: who finds it, who waits for it, in which order, and until when. */
#include "pools.h"

#include <errno.h>
#include <fcntl.h>

/* A pool of one worker that has arrived and is busy; at most `most` jobs may be pending. */
static void
make_bounded(struct pool *pool, struct worker *worker, size_t most)
{
    pool_make(pool, 1, 1);
    pool_bound(pool, most);
    CHECK(pool_grow(pool, 1));
    pool_join(pool, worker);
    CHECK_EQ(pool_stay_busy(pool, worker, NULL), 0);
}

static void
end(struct pool *pool, struct worker *worker)
{
    while (pool_take(pool, worker) != NULL) {
    }
    depart(pool, worker);
    CHECK_EQ(pool->turns.granted, 0);
    CHECK(list_is_empty(&pool->turns.waiting));
    pool_destroy(pool);
}

static void
jobs_are_refused_when_it_is_full(void)
{
    struct pool pool;
    struct worker worker;
    struct job plain = PLAIN, slotted = SLOTTED, third = PLAIN;
    make_bounded(&pool, &worker, 2);
    CHECK_EQ(pool_submit(&pool, &plain), POOL_QUEUED);
    CHECK_EQ(pool_submit_near(&pool, &slotted), POOL_QUEUED);
    CHECK_EQ(pool_submit(&pool, &third), POOL_FULL);
    CHECK_EQ(pool_submit_near(&pool, &third), POOL_FULL);
    CHECK_EQ(pool_pending(&pool), 2);
    CHECK(pool_take(&pool, &worker) == &plain);
    CHECK_EQ(pool_submit(&pool, &third), POOL_QUEUED);
    end(&pool, &worker);
}

static void
without_a_bound_all_are_taken(void)
{
    struct pool pool;
    struct worker worker;
    struct job jobs[100];
    struct turn turn;
    make_bounded(&pool, &worker, 0);
    for (int i = 0; i < 100; i++) {
        jobs[i] = PLAIN;
        CHECK_EQ(pool_submit(&pool, &jobs[i]), POOL_QUEUED);
    }
    CHECK_EQ(turns_room_locked(&pool, 12345), 12345);
    turn_begin(&pool, &turn, TURN_NO_BELL);
    CHECK_EQ(turn_state(&turn), TURN_GRANTED);
    turn_end(&pool, &turn);
    end(&pool, &worker);
}

static void
makers_need_no_room(void)
{
    struct pool pool;
    struct worker worker;
    struct job job = PLAIN, maker = MAKER(1), other = PLAIN;
    make_bounded(&pool, &worker, 1);
    CHECK_EQ(pool_submit(&pool, &maker), POOL_QUEUED);
    CHECK_EQ(pool_submit(&pool, &job), POOL_QUEUED);
    CHECK_EQ(pool_submit(&pool, &other), POOL_FULL);
    CHECK(pool_remove(&pool, &maker));
    CHECK_EQ(pool_submit(&pool, &other), POOL_FULL);
    end(&pool, &worker);
}

static void
turns_are_granted_in_order(void)
{
    struct pool pool;
    struct worker worker;
    struct job jobs[4] = {PLAIN, PLAIN, PLAIN, PLAIN};
    struct turn first, second;
    make_bounded(&pool, &worker, 1);
    pool_submit(&pool, &jobs[0]);
    turn_begin(&pool, &first, TURN_NO_BELL);
    turn_begin(&pool, &second, TURN_NO_BELL);
    CHECK_EQ(turn_state(&first), TURN_WAITING);
    CHECK_EQ(turns_waiting(&pool), 2);
    CHECK_EQ(pool_submit_turn(&pool, &jobs[1], &first), POOL_FULL);
    CHECK(pool_take(&pool, &worker) == &jobs[0]);
    CHECK_EQ(turn_state(&first), TURN_GRANTED);
    CHECK_EQ(turn_state(&second), TURN_WAITING);
    CHECK_EQ(turns_waiting(&pool), 1);
    CHECK_EQ(pool_submit(&pool, &jobs[3]), POOL_FULL); /* nobody is overtaken */
    CHECK_EQ(pool_submit_turn(&pool, &jobs[1], &first), POOL_QUEUED);
    CHECK_EQ(turn_state(&first), TURN_OVER);
    CHECK_EQ(turn_state(&second), TURN_WAITING);
    CHECK_EQ(pool_submit_turn(&pool, &jobs[3], &first), POOL_FULL); /* it counts once */
    CHECK(pool_take(&pool, &worker) == &jobs[1]);
    CHECK_EQ(pool_submit_turn(&pool, &jobs[2], &second), POOL_QUEUED);
    turn_end(&pool, &first);
    turn_end(&pool, &second);
    CHECK_EQ(pool_submit(&pool, &jobs[3]), POOL_FULL);
    end(&pool, &worker);
}

static void
who_gives_up_lets_the_next_one_go(void)
{
    struct pool pool;
    struct worker worker;
    struct job job = PLAIN, late = PLAIN;
    struct turn turns[3];
    make_bounded(&pool, &worker, 1);
    pool_submit(&pool, &job);
    for (int i = 0; i < 3; i++) {
        turn_begin(&pool, &turns[i], TURN_NO_BELL);
    }
    turn_end(&pool, &turns[1]); /* while it waits */
    CHECK(pool_take(&pool, &worker) == &job);
    CHECK_EQ(turn_state(&turns[0]), TURN_GRANTED);
    turn_end(&pool, &turns[0]); /* when it was granted */
    CHECK_EQ(turn_state(&turns[2]), TURN_GRANTED);
    turn_end(&pool, &turns[2]);
    turn_end(&pool, &turns[2]);
    CHECK_EQ(pool_submit(&pool, &late), POOL_QUEUED);
    end(&pool, &worker);
}

static void
closing_refuses(void)
{
    struct pool pool;
    struct worker worker;
    struct job job = PLAIN, late = PLAIN;
    struct turn waiting, granted, after;
    make_bounded(&pool, &worker, 1);
    turn_begin(&pool, &granted, TURN_NO_BELL);
    CHECK_EQ(pool_submit(&pool, &job), POOL_FULL);
    turn_begin(&pool, &waiting, TURN_NO_BELL);
    pool_close(&pool);
    CHECK_EQ(turn_state(&waiting), TURN_REFUSED);
    CHECK_EQ(pool_submit_turn(&pool, &late, &granted), POOL_CLOSED);
    turn_begin(&pool, &after, TURN_NO_BELL);
    CHECK_EQ(turn_state(&after), TURN_REFUSED);
    turn_end(&pool, &granted);
    turn_end(&pool, &waiting);
    turn_end(&pool, &after);
    end(&pool, &worker);
}

static void
jobs_that_are_removed_make_room(void)
{
    struct pool pool;
    struct worker worker;
    struct job job = PLAIN, other = SLOTTED;
    struct turn turn;
    make_bounded(&pool, &worker, 2);
    pool_submit(&pool, &job);
    pool_submit(&pool, &other);
    turn_begin(&pool, &turn, TURN_NO_BELL);
    CHECK(pool_remove(&pool, &other));
    CHECK(!pool_remove(&pool, &other));
    CHECK_EQ(turn_state(&turn), TURN_GRANTED);
    turn_end(&pool, &turn);
    turn_begin(&pool, &turn, TURN_NO_BELL);
    CHECK_EQ(turn_state(&turn), TURN_GRANTED);
    turn_end(&pool, &turn);
    CHECK(pool_take(&pool, &worker) == &job);
    CHECK(!pool_remove(&pool, &job)); /* the worker has it */
    end(&pool, &worker);
}

static void
a_job_that_is_given_back_needs_no_room(void)
{
    struct pool pool;
    struct worker worker;
    struct job job = PLAIN, other = PLAIN;
    struct turn turn;
    make_bounded(&pool, &worker, 1);
    pool_submit(&pool, &job);
    turn_begin(&pool, &turn, TURN_NO_BELL);
    CHECK(pool_take(&pool, &worker) == &job);
    CHECK_EQ(pool_submit_turn(&pool, &other, &turn), POOL_QUEUED);
    pool_stay_busy(&pool, &worker, &job);
    CHECK_EQ(pool_pending(&pool), 2);
    turn_end(&pool, &turn);
    turn_begin(&pool, &turn, TURN_NO_BELL);
    CHECK(pool_take(&pool, &worker) == &job);
    CHECK_EQ(turn_state(&turn), TURN_WAITING); /* there is still one too many */
    CHECK(pool_take(&pool, &worker) == &other);
    CHECK_EQ(turn_state(&turn), TURN_GRANTED);
    turn_end(&pool, &turn);
    end(&pool, &worker);
}

static void
the_bell_rings_once_it_is_decided(void)
{
    struct pool pool;
    struct worker worker;
    struct job job = PLAIN;
    struct turn turn, refused;
    int ends[2];
    uint64_t rung;
    CHECK_EQ(pipe(ends), 0);
    CHECK_EQ(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    make_bounded(&pool, &worker, 1);
    pool_submit(&pool, &job);
    turn_begin(&pool, &turn, ends[1]);
    turn_begin(&pool, &refused, ends[1]);
    CHECK_EQ(read(ends[0], &rung, sizeof(rung)), -1);
    CHECK_EQ(errno, EAGAIN);
    CHECK(pool_take(&pool, &worker) == &job);
    CHECK_EQ(read(ends[0], &rung, sizeof(rung)), sizeof(rung));
    CHECK_EQ(rung, 1);
    CHECK_EQ(read(ends[0], &rung, sizeof(rung)), -1);
    pool_close(&pool);
    CHECK_EQ(read(ends[0], &rung, sizeof(rung)), sizeof(rung));
    CHECK_EQ(turn_state(&refused), TURN_REFUSED);
    turn_end(&pool, &turn);
    turn_end(&pool, &refused);
    end(&pool, &worker);
    close(ends[0]);
    close(ends[1]);
}

static void
waiting_ends_at_its_deadline(void)
{
    struct pool pool;
    struct worker worker;
    struct job job = PLAIN;
    struct turn turn;
    make_bounded(&pool, &worker, 1);
    pool_submit(&pool, &job);
    turn_begin(&pool, &turn, TURN_NO_BELL);
    CHECK_EQ(turn_await(&turn, 0), OS_TIMED_OUT);
    CHECK_EQ(turn_await(&turn, os_now_ns() + 1000000), OS_TIMED_OUT);
    CHECK(pool_take(&pool, &worker) == &job);
    CHECK_EQ(turn_await(&turn, 0), OS_WOKEN);
    turn_end(&pool, &turn);
    end(&pool, &worker);
}

static void
a_forked_child_has_room(void)
{
    struct pool pool;
    struct worker worker;
    struct job job = PLAIN, other = PLAIN;
    struct turn turn, mine;
    make_bounded(&pool, &worker, 1);
    pool_submit(&pool, &job);
    turn_begin(&pool, &turn, TURN_NO_BELL);
    if (fork_with(&pool)) {
        turn_begin(&pool, &mine, TURN_NO_BELL);
        CHECK_EQ(turn_state(&mine), TURN_GRANTED);
        turn_end(&pool, &mine);
        CHECK_EQ(pool_submit(&pool, &other), POOL_START_WORKER); /* and the bound is kept */
        CHECK_EQ(pool_submit(&pool, &(struct job){0}), POOL_FULL);
        _exit(0);
    }
    CHECK_EQ(turn_state(&turn), TURN_WAITING);
    CHECK(pool_take(&pool, &worker) == &job);
    CHECK_EQ(turn_state(&turn), TURN_GRANTED);
    turn_end(&pool, &turn);
    end(&pool, &worker);
}

/* -- many submitters, few places: each gets on, and there are never more than may be -- */

enum { SUBMITTERS = 4, EACH = 3000, MOST = 3 };

static struct crowd {
    struct pool pool;
    atomic_uint given_up;
    atomic_uint taken;
} crowd;

static void
submit_each(void *argument)
{
    struct job *jobs = argument;
    for (int i = 0; i < EACH; i++) {
        struct turn turn;
        jobs[i] = PLAIN;
        turn_begin(&crowd.pool, &turn, TURN_NO_BELL);
        if (i % 7 == 3) {
            turn_await(&turn, os_now_ns() + 1000); /* and may have to give up */
        }
        else {
            CHECK_EQ(turn_await(&turn, OS_FOREVER), OS_WOKEN);
        }
        if (turn_state(&turn) == TURN_GRANTED) {
            CHECK_EQ(pool_submit_turn(&crowd.pool, &jobs[i], &turn), POOL_QUEUED);
        }
        else {
            atomic_fetch_add(&crowd.given_up, 1);
        }
        turn_end(&crowd.pool, &turn);
    }
}

static void
take_all(void *argument)
{
    struct worker *worker = argument;
    while (pool_take(&crowd.pool, worker) != NULL || pool_wait(&crowd.pool, worker) != NULL) {
        CHECK(pool_pending(&crowd.pool) <= MOST);
        atomic_fetch_add(&crowd.taken, 1);
    }
    pool_leave(&crowd.pool, worker);
}

static void
many_submitters_get_on(void)
{
    static struct job jobs[SUBMITTERS][EACH];
    struct worker workers[2];
    os_thread submitters[SUBMITTERS], takers[2];
    pool_make(&crowd.pool, 2, 1);
    pool_bound(&crowd.pool, MOST);
    for (int i = 0; i < 2; i++) {
        CHECK(pool_grow(&crowd.pool, (unsigned)i + 1));
        pool_join(&crowd.pool, &workers[i]);
        CHECK_EQ(os_thread_start(&takers[i], take_all, &workers[i]), 0);
    }
    for (int i = 0; i < SUBMITTERS; i++) {
        CHECK_EQ(os_thread_start(&submitters[i], submit_each, jobs[i]), 0);
    }
    for (int i = 0; i < SUBMITTERS; i++) {
        os_thread_join(&submitters[i]);
    }
    pool_close(&crowd.pool);
    for (int i = 0; i < 2; i++) {
        os_thread_join(&takers[i]);
    }
    CHECK_EQ(atomic_load(&crowd.taken) + atomic_load(&crowd.given_up), SUBMITTERS * EACH);
    CHECK(atomic_load(&crowd.taken) >= SUBMITTERS * (EACH - EACH / 7 - 1));
    CHECK_EQ(crowd.pool.turns.granted, 0);
    pool_destroy(&crowd.pool);
}

int
main(void)
{
    check_limit(50);
    RUN(jobs_are_refused_when_it_is_full);
    RUN(without_a_bound_all_are_taken);
    RUN(makers_need_no_room);
    RUN(turns_are_granted_in_order);
    RUN(who_gives_up_lets_the_next_one_go);
    RUN(closing_refuses);
    RUN(jobs_that_are_removed_make_room);
    RUN(a_job_that_is_given_back_needs_no_room);
    RUN(the_bell_rings_once_it_is_decided);
    RUN(waiting_ends_at_its_deadline);
    RUN(a_forked_child_has_room);
    RUN(many_submitters_get_on);
    return 0;
}
