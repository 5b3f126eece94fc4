/* Sheets: counting, times in buckets, and reading what a worker is at while it goes on. */
#include "check.h"

#include "core/stats.h"

#include <string.h>

static struct stats_sum
sum_of(const struct stats_sheet *sheet)
{
    struct stats_sum sum;
    memset(&sum, 0, sizeof(sum));
    stats_collect(sheet, &sum);
    return sum;
}

static void
counts_what_ends(void)
{
    struct stats_sheet sheet;
    stats_init(&sheet);
    int64_t started = stats_start(&sheet, STATS_PLAIN, &sheet, os_now_ns(), 1);
    CHECK_EQ(sum_of(&sheet).running, 1);
    CHECK_EQ(sum_of(&sheet).wait.count, 1);
    CHECK_EQ(sum_of(&sheet).run.count, 0);
    stats_end(&sheet, STATS_FAILED);
    stats_note_run(&sheet, started, 1);
    stats_count(&sheet, STATS_CANCELLED);
    stats_add_bytes(&sheet, 3, 5);
    stats_add_bytes(&sheet, 30, 50);
    struct stats_sum sum = sum_of(&sheet);
    CHECK_EQ(sum.running, 0);
    CHECK_EQ(sum.events[STATS_FAILED], 1);
    CHECK_EQ(sum.events[STATS_CANCELLED], 1);
    CHECK_EQ(sum.events[STATS_DONE], 0);
    CHECK_EQ(sum.bytes_in, 33);
    CHECK_EQ(sum.bytes_out, 55);
    CHECK_EQ(sum.run.count, 1);
    stats_collect(&sheet, &sum);
    CHECK_EQ(sum.events[STATS_FAILED], 2); /* adds to what is there */
}

static void
a_task_that_is_not_timed_is_counted(void)
{
    struct stats_sheet sheet;
    stats_init(&sheet);
    CHECK_EQ(stats_start(&sheet, STATS_TAGGED, NULL, 0, 0), 0);
    stats_end(&sheet, STATS_DONE);
    struct stats_sum sum = sum_of(&sheet);
    CHECK_EQ(sum.events[STATS_DONE], 1);
    CHECK_EQ(sum.wait.count + sum.run.count, 0);
}

static void
a_task_stands_for_as_many_as_its_weight(void)
{
    struct stats_sheet sheet;
    stats_init(&sheet);
    int64_t now = os_now_ns();
    int64_t started = stats_start(&sheet, STATS_PLAIN, NULL, now - 1000000, STATS_STRIDE);
    stats_end(&sheet, STATS_DONE);
    stats_note_run(&sheet, started, STATS_STRIDE);
    struct stats_sum sum = sum_of(&sheet);
    CHECK_EQ(sum.wait.count, STATS_STRIDE);
    CHECK(sum.wait.sum >= STATS_STRIDE * UINT64_C(1000000));
    CHECK_EQ(sum.run.count, STATS_STRIDE);
    CHECK_EQ(sum.events[STATS_DONE], 1);
}

static void
a_clock_that_goes_back_is_no_time(void)
{
    struct stats_sheet sheet;
    stats_init(&sheet);
    int64_t started = stats_start(&sheet, STATS_PLAIN, NULL, INT64_MAX, 1);
    stats_end(&sheet, STATS_DONE);
    stats_note_run(&sheet, started, 1);
    CHECK_EQ(sum_of(&sheet).wait.sum, 0);
    CHECK_EQ(sum_of(&sheet).wait.buckets[0], 1);
}

/* Every length of time, from one nanosecond to hours, is found again within an eighth of itself. */
static void
quantiles_are_near(void)
{
    for (uint64_t ns = 1; ns < UINT64_C(15000000000000); ns = ns * 9 / 8 + 1) {
        struct stats_sheet sheet;
        stats_init(&sheet);
        int64_t queued = os_now_ns() - (int64_t)ns;
        stats_start(&sheet, STATS_PLAIN, NULL, queued, 1);
        struct stats_sum sum = sum_of(&sheet);
        double exact = (double)sum.wait.sum, found = stats_quantile(&sum.wait, 0.5);
        CHECK(found >= exact * 0.87 - 1 && found <= exact * 1.13 + 1);
    }
}

static void
quantiles_of_many(void)
{
    struct stats_sum_times times;
    memset(&times, 0, sizeof(times));
    CHECK(stats_quantile(&times, 0.5) == 0);
    times.count = 100;
    times.buckets[8] = 98; /* 8 to 10 ns */
    times.buckets[40] = 2; /* 2048 to 2560 ns */
    CHECK(stats_quantile(&times, 0) == 8);
    CHECK(stats_quantile(&times, 0.49) == 9);
    CHECK(stats_quantile(&times, 0.5) > 9 && stats_quantile(&times, 0.5) < 10);
    CHECK(stats_quantile(&times, 0.98) == 10);
    CHECK(stats_quantile(&times, 0.99) == 2304);
    CHECK(stats_quantile(&times, 1) == 2560);
}

static void
times_beyond_the_last_bucket(void)
{
    struct stats_sheet sheet;
    stats_init(&sheet);
    stats_start(&sheet, STATS_PLAIN, NULL, INT64_MIN / 2, 1);
    struct stats_sum sum = sum_of(&sheet);
    CHECK_EQ(sum.wait.buckets[STATS_BUCKETS - 1], 1);
    CHECK(stats_quantile(&sum.wait, 0.5) > 1e13);
}

/* One task after the other that takes `ns`, as far as the sheet can tell. */
static void
run_many(struct stats_sheet *sheet, int count, int64_t ns)
{
    for (int i = 0; i < count; i++) {
        stats_start(sheet, STATS_PLAIN, NULL, 0, 1);
        stats_end(sheet, STATS_DONE);
        stats_note_run(sheet, os_now_ns() - ns, 1);
    }
}

static void
each_is_timed_until_they_are_known_to_be_short(void)
{
    struct stats_sheet sheet;
    stats_init(&sheet);
    CHECK_EQ(stats_stride(&sheet), 1);
    run_many(&sheet, STATS_LEARNING - 1, 0);
    CHECK_EQ(stats_stride(&sheet), 1);
    run_many(&sheet, 300, 0);
    CHECK_EQ(stats_stride(&sheet), STATS_STRIDE);
    run_many(&sheet, 1, 1000000000);
    CHECK_EQ(stats_stride(&sheet), 1);
    run_many(&sheet, 300, 0);
    CHECK_EQ(stats_stride(&sheet), STATS_STRIDE);
}

static void
what_a_worker_is_at(void)
{
    static const int64_t object;
    struct stats_sheet sheet;
    struct stats_now now;
    stats_init(&sheet);
    stats_read_doing(&sheet, &now);
    CHECK_EQ(now.doing, STATS_IDLE);
    CHECK(now.object == NULL);
    int64_t before = os_now_ns();
    stats_start(&sheet, STATS_TAGGED, &object, before, 1);
    int64_t after = os_now_ns();
    stats_read_doing(&sheet, &now);
    CHECK_EQ(now.doing, STATS_TAGGED);
    CHECK(now.exact && now.since >= before && now.since <= after);
    CHECK(now.object == &object);
    stats_end(&sheet, STATS_DONE);
    stats_read_doing(&sheet, &now);
    CHECK_EQ(now.doing, STATS_IDLE);
    stats_start(&sheet, STATS_PLAIN, NULL, 0, 0);
    stats_read_doing(&sheet, &now);
    CHECK_EQ(now.doing, STATS_PLAIN);
    CHECK(now.object == NULL);
    CHECK(!now.exact && now.since >= before && now.since <= after); /* what is known */
    stats_idle(&sheet);
    stats_awake(&sheet);
    stats_start(&sheet, STATS_PLAIN, NULL, 0, 0);
    stats_read_doing(&sheet, &now);
    CHECK(!now.exact && now.since >= after);
}

/* -- a reader beside the writer never takes one task's time for another's -- */

enum { TASKS = 200001 };

static struct race {
    struct stats_sheet sheet;
    atomic_uint over;
} race;

static const int64_t objects[2];

static void
write_many(void *Unused)
{
    (void)Unused;
    for (int i = 0; i < TASKS; i++) {
        stats_start(&race.sheet, i % 2 ? STATS_PLAIN : STATS_TAGGED, &objects[i % 2], 0,
                    i % 2 ? 1 : 0);
        if (i % 3 == 1) {
            stats_end(&race.sheet, STATS_DONE);
        }
    }
    gate_open(&race.over);
}

static void
a_reader_sees_one_task(void)
{
    os_thread writer;
    struct stats_now now;
    int64_t since = 0;
    uint64_t seen = 0;
    stats_init(&race.sheet);
    CHECK_EQ(os_thread_start(&writer, write_many, NULL), 0);
    while (atomic_load(&race.over) == 0 || seen == 0) { /* it ends at some task */
        stats_read_doing(&race.sheet, &now);
        if (now.doing != STATS_IDLE) {
            bool plain = now.doing == STATS_PLAIN;
            CHECK(now.object == &objects[plain]);
            CHECK_EQ(now.exact, plain);
            CHECK(now.since >= since);
            since = now.since;
            seen++;
        }
        sched_yield();
    }
    os_thread_join(&writer);
    CHECK(seen > 0);
    CHECK_EQ(sum_of(&race.sheet).events[STATS_DONE], TASKS / 3);
}

int
main(void)
{
    check_limit(50);
    RUN(counts_what_ends);
    RUN(a_task_that_is_not_timed_is_counted);
    RUN(a_task_stands_for_as_many_as_its_weight);
    RUN(a_clock_that_goes_back_is_no_time);
    RUN(quantiles_are_near);
    RUN(quantiles_of_many);
    RUN(times_beyond_the_last_bucket);
    RUN(each_is_timed_until_they_are_known_to_be_short);
    RUN(what_a_worker_is_at);
    RUN(a_reader_sees_one_task);
    return 0;
}
