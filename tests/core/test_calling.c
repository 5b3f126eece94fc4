/* Whom a job calls, by one thread and with workers that only stand in the pool's lists. */
#include "pools.h"

#include "core/calling.h"

enum { PARKED = 4 };

/* As if they had parked one after another, on CPUs 0, 1, 0, 1; the first two are home to a slot. */
static void
park_all(struct pool *pool, struct worker *workers)
{
    for (int i = 0; i < PARKED; i++) {
        workers[i] = (struct worker){.cpu = i % 2, .homes = i < 2};
        list_push_front(&pool->parked, &workers[i].node);
        pool->parked_count++;
        pool->workers++;
    }
}

/* Calls for one more job, and gives who is woken. */
static struct worker *
called(struct pool *pool, bool slotted, int cpu)
{
    struct calls calls;
    pool->plain_count++; /* all that is looked at */
    calling_more_locked(pool, slotted, cpu, 0, &calls);
    CHECK_EQ(calls.start, 0);
    struct list *node = list_pop_front(&calls.wake);
    CHECK(list_is_empty(&calls.wake));
    return node == NULL ? NULL : LIST_ENTRY(node, struct worker, node);
}

static void
check_called(bool slotted, int cpu, int expected)
{
    struct pool pool;
    struct worker workers[PARKED];
    pool_make(&pool, PARKED, 2);
    park_all(&pool, workers);
    CHECK(called(&pool, slotted, cpu) == &workers[expected]);
    CHECK_EQ(pool.parked_count, PARKED - 1);
    CHECK_EQ(pool.coming, 1);
    pool_destroy(&pool);
}

static void
the_last_to_park_of_those_that_suit(void)
{
    check_called(false, ANY_CPU, 3);
    check_called(true, ANY_CPU, 1);
}

static void
the_one_that_parked_near(void)
{
    check_called(false, 0, 2);
    check_called(false, 1, 3);
    check_called(true, 0, 0);
    check_called(true, 1, 1);
}

static void
another_one_if_nobody_is_near(void)
{
    check_called(false, 7, 3);
    check_called(true, 7, 1);
}

/* Whoever is looking calls the next one itself. */
static void
nobody_beside_those_that_are_looking(void)
{
    struct pool pool;
    struct worker workers[PARKED];
    pool_make(&pool, PARKED, 2);
    pool.most_looking = 1;
    park_all(&pool, workers);
    CHECK(called(&pool, false, ANY_CPU) == &workers[3]);
    CHECK(called(&pool, false, ANY_CPU) == NULL);
    CHECK_EQ(pool.parked_count, PARKED - 1);
    calling_look_locked(&pool, &workers[3], false); /* it has found one */
    pool.plain_count--;
    CHECK(called(&pool, false, ANY_CPU) == &workers[2]);
    pool_destroy(&pool);
}

int
main(void)
{
    check_limit(60);
    RUN(the_last_to_park_of_those_that_suit);
    RUN(the_one_that_parked_near);
    RUN(another_one_if_nobody_is_near);
    RUN(nobody_beside_those_that_are_looking);
    return 0;
}
