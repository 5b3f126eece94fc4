/* Jobs that are to stop: nothing asked of one reaches the next, and none is forgotten. */
#include "check.h"

#include "core/watch.h"

enum { MILLISECOND = 1000000 };

/* A worker's place, and what the watch did there. */
struct place {
    struct watched watched;
    _Atomic uint64_t running; /* number of the job; 0: none */
    _Atomic uint64_t heard;   /* the job that was knocked at last while it ran */
    atomic_uint knocks;
    atomic_uint asides;   /* bumped and woken: waited for by tests */
    atomic_uint replaced; /* likewise */
};

static struct place *
place_of(struct watched *watched)
{
    return LIST_ENTRY(watched, struct place, watched);
}

static void
bump(atomic_uint *word)
{
    atomic_fetch_add(word, 1);
    os_word_wake_all(word);
}

static void
await_count(atomic_uint *word, unsigned least)
{
    unsigned now;
    while ((now = atomic_load(word)) < least) {
        os_word_wait(word, now, OS_FOREVER);
    }
}

static void
knock(struct watched *watched, uint64_t number)
{
    struct place *place = place_of(watched);
    uint64_t running = atomic_load(&place->running);
    if (number == running || (number == WATCH_ANY && running != 0)) {
        atomic_store(&place->heard, running);
    }
    bump(&place->knocks);
}

static void *
set_aside(struct watched *watched)
{
    struct place *place = place_of(watched);
    bump(&place->asides);
    return place;
}

static void
replace(void *aside)
{
    bump(&((struct place *)aside)->replaced);
}

static const struct watch_actions actions = {knock, set_aside, replace};

static void
begin(struct watch *watch, struct place *place, int64_t grace)
{
    *place = (struct place){.running = 0};
    CHECK_EQ(watch_init(watch, &actions), 0);
    watch_add(watch, &place->watched, grace);
}

static void
end(struct watch *watch, struct place *place)
{
    watch_remove(watch, &place->watched);
    watch_stop(watch);
    os_mutex_destroy(&watch->lock);
}

static bool
is_meant(struct watched *watched, const void *argument)
{
    return watched != argument;
}

static void
nobody_asks(void)
{
    struct watch watch;
    struct place place;
    watch_place at = NULL;
    begin(&watch, &place, OS_FOREVER);
    watch_enter(&at, &place.watched);
    CHECK(!watch_settle(&watch, &at));
    CHECK(atomic_load(&at) == NULL);
    CHECK(!watch.started);
    end(&watch, &place);
    CHECK_EQ(atomic_load(&place.knocks), 0);
}

static void
it_is_knocked_at_until_it_is_settled(void)
{
    struct watch watch;
    struct place place;
    watch_place at = NULL;
    begin(&watch, &place, OS_FOREVER);
    atomic_store(&place.running, 7);
    watch_enter(&at, &place.watched);
    CHECK_EQ(watch_ask(&watch, &at, 7), 0);
    await_count(&place.knocks, 3);
    CHECK_EQ(atomic_load(&place.heard), 7);
    CHECK(!watch_settle(&watch, &at));
    unsigned knocks = atomic_load(&place.knocks);
    CHECK_EQ(watch_ask(&watch, &at, 7), 0); /* too late */
    watch_pass(&watch);
    CHECK_EQ(atomic_load(&place.knocks), knocks);
    CHECK(list_is_empty(&watch.active));
    end(&watch, &place);
}

static void
one_is_reminded_until_it_is_calm(void)
{
    struct watch watch;
    struct place place;
    watch_place at = NULL;
    begin(&watch, &place, 3600 * INT64_C(1000) * MILLISECOND);
    CHECK_EQ(watch_ask_at(&watch, &at, 7, 0), 0); /* nobody is there */
    watch_enter(&at, &place.watched);
    int64_t later = os_now_ns() + 3600 * INT64_C(1000) * MILLISECOND;
    CHECK_EQ(watch_ask_at(&watch, &at, 7, later), 0);
    CHECK_EQ(watch_ask_at(&watch, &at, 7, later + 1), 0);
    os_mutex_lock(&watch.lock);
    CHECK_EQ(place.watched.knock_at, later);
    os_mutex_unlock(&watch.lock);
    watch_calm(&watch, &at);
    os_mutex_lock(&watch.lock);
    CHECK_EQ(place.watched.knock_at, OS_FOREVER);
    os_mutex_unlock(&watch.lock);
    CHECK_EQ(atomic_load(&place.knocks), 0);
    CHECK_EQ(watch_ask_at(&watch, &at, 7, os_now_ns() + MILLISECOND), 0);
    await_count(&place.knocks, 3);
    watch_calm(&watch, &at);
    unsigned knocks = atomic_load(&place.knocks);
    watch_pass(&watch);
    CHECK_EQ(atomic_load(&place.knocks), knocks);
    CHECK(!watch_settle(&watch, &at));
    watch_calm(&watch, &at); /* it is nowhere any more */
    end(&watch, &place);
}

static void
one_who_is_not_calm_is_set_aside(void)
{
    struct watch watch;
    struct place place;
    watch_place at = NULL;
    begin(&watch, &place, 2 * MILLISECOND);
    watch_enter(&at, &place.watched);
    CHECK_EQ(watch_ask_at(&watch, &at, 7, os_now_ns() + MILLISECOND), 0);
    await_count(&place.asides, 1);
    await_count(&place.replaced, 1);
    watch_settle(&watch, &at);
    end(&watch, &place);
}

static void
who_is_asked_for_whatever_runs_does_not_calm(void)
{
    struct watch watch;
    struct place place;
    watch_place at = NULL;
    begin(&watch, &place, OS_FOREVER);
    watch_enter(&at, &place.watched);
    CHECK_EQ(watch_ask_all(&watch, is_meant, NULL), 0);
    watch_calm(&watch, &at);
    CHECK_EQ(watch_ask_at(&watch, &at, 7, 0), 0);
    os_mutex_lock(&watch.lock);
    CHECK(place.watched.number == WATCH_ANY);
    os_mutex_unlock(&watch.lock);
    await_count(&place.knocks, 2);
    watch_settle(&watch, &at);
    end(&watch, &place);
}

static void
its_time_is_over(void)
{
    struct watch watch;
    struct place place;
    watch_place at = NULL;
    begin(&watch, &place, OS_FOREVER);
    atomic_store(&place.running, 9);
    watch_enter(&at, &place.watched);
    CHECK_EQ(watch_limit(&watch, &place.watched, 9, &place, os_now_ns() + 2 * MILLISECOND), 0);
    await_count(&place.knocks, 1);
    CHECK_EQ(atomic_load(&place.heard), 9);
    CHECK(watch_settle(&watch, &at));
    CHECK(!watch_settle(&watch, &at));
    end(&watch, &place);
}

static bool
any(struct watched *watched, const void *argument)
{
    return watched != NULL && argument == NULL;
}

/* When all are to stop, too, the time of one is not that of the next. */
static void
its_time_is_over_as_all_are_to_stop(void)
{
    struct watch watch;
    struct place place;
    watch_place at = NULL, next = NULL;
    begin(&watch, &place, OS_FOREVER);
    atomic_store(&place.running, 9);
    watch_enter(&at, &place.watched);
    CHECK_EQ(watch_limit(&watch, &place.watched, 9, &place, os_now_ns()), 0);
    await_count(&place.knocks, 1);
    CHECK_EQ(watch_ask_all(&watch, any, NULL), 0);
    CHECK(watch_settle(&watch, &at));
    watch_enter(&next, &place.watched);
    CHECK(place.watched.job == NULL);
    CHECK(!watch_settle(&watch, &next));
    end(&watch, &place);
}

static void
its_time_is_not_over(void)
{
    struct watch watch;
    struct place place;
    watch_place at = NULL;
    begin(&watch, &place, OS_FOREVER);
    for (uint64_t number = 1; number < 1000; number++) {
        watch_enter(&at, &place.watched);
        CHECK_EQ(watch_limit(&watch, &place.watched, number, &place, OS_FOREVER - 1), 0);
        CHECK(!watch_settle(&watch, &at));
    }
    CHECK(list_is_empty(&watch.active));
    end(&watch, &place);
    CHECK_EQ(atomic_load(&place.knocks), 0);
}

static void
after_the_grace_it_is_set_aside_once(void)
{
    struct watch watch;
    struct place place;
    watch_place at = NULL;
    begin(&watch, &place, 3 * MILLISECOND);
    atomic_store(&place.running, 7);
    watch_enter(&at, &place.watched);
    CHECK_EQ(watch_ask(&watch, &at, 7), 0);
    await_count(&place.replaced, 1);
    unsigned knocks = atomic_load(&place.knocks);
    await_count(&place.knocks, knocks + 2); /* it should come back */
    CHECK_EQ(atomic_load(&place.asides), 1);
    watch_settle(&watch, &at);
    end(&watch, &place);
    CHECK_EQ(atomic_load(&place.replaced), 1);
}

static uint64_t
nine_but_there(struct watched *watched, const void *argument)
{
    return watched == argument ? 0 : 9;
}

/* And what comes there later is not. */
static void
the_job_that_is_meant_is_knocked_at(void)
{
    struct watch watch;
    struct place place, other = {.running = 9};
    watch_place at = NULL;
    begin(&watch, &place, OS_FOREVER);
    watch_add(&watch, &other.watched, OS_FOREVER);
    atomic_store(&place.running, 9);
    watch_enter(&at, &place.watched);
    CHECK_EQ(watch_ask_some(&watch, nine_but_there, &other.watched), 0);
    await_count(&place.knocks, 2);
    CHECK_EQ(watch_ask_some(&watch, nine_but_there, &other.watched), 0);
    CHECK(!watch_settle(&watch, &at));
    CHECK(!list_is_linked(&place.watched.node));
    CHECK_EQ(place.watched.number, 0);
    CHECK_EQ(atomic_load(&other.knocks), 0);
    CHECK_EQ(watch_ask_all(&watch, any, NULL), 0);
    CHECK_EQ(watch_ask_some(&watch, nine_but_there, NULL), 0);
    CHECK(place.watched.number == WATCH_ANY); /* which stays */
    watch_remove(&watch, &other.watched);
    end(&watch, &place);
}

static void
all_that_are_meant_are_knocked_at(void)
{
    struct watch watch;
    struct place places[3];
    begin(&watch, &places[0], OS_FOREVER);
    for (int i = 1; i < 3; i++) {
        places[i] = (struct place){.running = 0};
        watch_add(&watch, &places[i].watched, OS_FOREVER);
    }
    CHECK_EQ(watch_ask_all(&watch, is_meant, &places[1].watched), 0);
    await_count(&places[0].knocks, 1);
    await_count(&places[2].knocks, 1);
    CHECK_EQ(atomic_load(&places[1].knocks), 0);

    watch_place at = NULL; /* and whatever comes there next */
    atomic_store(&places[0].running, 5);
    watch_enter(&at, &places[0].watched);
    unsigned knocks = atomic_load(&places[0].knocks);
    await_count(&places[0].knocks, knocks + 2);
    CHECK_EQ(atomic_load(&places[0].heard), 5);
    watch_settle(&watch, &at);
    watch_remove(&watch, &places[1].watched);
    watch_remove(&watch, &places[2].watched);
    end(&watch, &places[0]);
}

static void
a_watch_that_was_stopped_takes_nothing(void)
{
    struct watch watch;
    struct place place;
    watch_place at = NULL;
    begin(&watch, &place, OS_FOREVER);
    watch_stop(&watch);
    watch_enter(&at, &place.watched);
    CHECK(watch_limit(&watch, &place.watched, 1, NULL, 0) != 0);
    CHECK(watch_ask(&watch, &at, 1) != 0);
    watch_settle(&watch, &at);
    end(&watch, &place);
}

/* -- a worker that runs one job after the other, and others that ask for any of them to stop -- */

enum { ROUNDS = 20000, ASKERS = 2 };

struct race {
    struct watch watch;
    struct place place;
    watch_place places[ROUNDS];
    atomic_bool over[ROUNDS]; /* whoever sets it first decides whether the job was cancelled */
    atomic_uint now;          /* the round that is on */
};

static void
ask_at_random(void *argument)
{
    struct race *race = argument;
    unsigned round;
    while ((round = atomic_load(&race->now)) < ROUNDS) {
        if (!atomic_exchange(&race->over[round], true)) {
            watch_ask(&race->watch, &race->places[round], round + 1);
        }
    }
}

static void
no_other_job_is_hit(void)
{
    struct race *race = calloc(1, sizeof(*race));
    os_thread askers[ASKERS];
    unsigned stopped = 0;
    CHECK(race != NULL);
    begin(&race->watch, &race->place, OS_FOREVER);
    for (int i = 0; i < ASKERS; i++) {
        CHECK_EQ(os_thread_start(&askers[i], ask_at_random, race), 0);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct place *place = &race->place;
        atomic_store(&race->now, round);
        watch_enter(&race->places[round], &place->watched);
        if (atomic_load(&race->over[round])) { /* cancelled before it has begun */
            watch_settle(&race->watch, &race->places[round]);
            continue;
        }
        atomic_store(&place->heard, 0);
        atomic_store(&place->running, round + 1);
        for (unsigned turn = 0; turn < round % 64; turn++) {
            os_spin_hint();
        }
        bool cancelled = atomic_exchange(&race->over[round], true);
        if (cancelled && round % 100 == 0) { /* it was asked to stop, so it hears it in the end */
            while (atomic_load(&race->places[round]) != NULL && atomic_load(&place->heard) == 0) {
                unsigned knocks = atomic_load(&place->knocks);
                if (atomic_load(&place->heard) == 0) {
                    os_word_wait(&place->knocks, knocks, os_now_ns() + MILLISECOND);
                }
            }
            stopped++;
        }
        if (cancelled) {
            watch_settle(&race->watch, &race->places[round]);
        }
        uint64_t heard = atomic_load(&place->heard);
        CHECK(heard == 0 || (cancelled && heard == round + 1));
        atomic_store(&place->running, 0);
    }
    atomic_store(&race->now, ROUNDS);
    for (int i = 0; i < ASKERS; i++) {
        os_thread_join(&askers[i]);
    }
    printf("  stopped %u\n", stopped);
    end(&race->watch, &race->place);
    free(race);
}

int
main(void)
{
    check_limit(120);
    RUN(nobody_asks);
    RUN(it_is_knocked_at_until_it_is_settled);
    RUN(one_is_reminded_until_it_is_calm);
    RUN(one_who_is_not_calm_is_set_aside);
    RUN(who_is_asked_for_whatever_runs_does_not_calm);
    RUN(its_time_is_over);
    RUN(its_time_is_over_as_all_are_to_stop);
    RUN(its_time_is_not_over);
    RUN(after_the_grace_it_is_set_aside_once);
    RUN(the_job_that_is_meant_is_knocked_at);
    RUN(all_that_are_meant_are_knocked_at);
    RUN(a_watch_that_was_stopped_takes_nothing);
    RUN(no_other_job_is_hit);
    return 0;
}
