#include "check.h"

#include "core/combine.h"

enum { THREADS = 4, ADDED = 20000 };

struct work {
    struct combined node; /* first */
    unsigned thread;
    unsigned number;
};

static struct combiner combiner;
static atomic_uint started;
/* By who has the role, and by nothing else: ThreadSanitizer sees if two ever have it. */
static unsigned done[THREADS];
static unsigned chains;

static void
do_all(void)
{
    struct combined *node;
    while ((node = combiner_take(&combiner)) != NULL) {
        chains++;
        while (node != NULL) {
            struct work *work = (struct work *)node;
            node = node->next;
            CHECK_EQ(work->number, done[work->thread]); /* in the order of arrival */
            done[work->thread]++;
            free(work);
        }
    }
}

static struct work *
new_work(unsigned thread, unsigned number)
{
    struct work *work = calloc(1, sizeof(*work));
    CHECK(work != NULL);
    work->thread = thread;
    work->number = number;
    return work;
}

static void
add_many(void *argument)
{
    unsigned thread = *(unsigned *)argument;
    atomic_fetch_add(&started, 1);
    while (atomic_load(&started) < THREADS) {
        sched_yield();
    }
    for (unsigned number = 0; number < ADDED; number++) {
        if (combiner_add(&combiner, &new_work(thread, number)->node)) {
            do_all();
        }
    }
}

static void
all_is_done_once_and_in_order(void)
{
    os_thread threads[THREADS];
    unsigned names[THREADS];
    combiner_init(&combiner);
    for (unsigned i = 0; i < THREADS; i++) {
        names[i] = i;
        CHECK(os_thread_start(&threads[i], add_many, &names[i]) == 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        os_thread_join(&threads[i]);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        CHECK_EQ(done[i], ADDED);
    }
    CHECK(chains <= THREADS * ADDED);
}

static void
the_first_to_add_has_the_role(void)
{
    struct combined one, two, three;
    combiner_init(&combiner);
    CHECK(combiner_add(&combiner, &one));
    CHECK(!combiner_add(&combiner, &two));
    struct combined *chain = combiner_take(&combiner);
    CHECK(chain == &one && one.next == &two && two.next == NULL);
    CHECK(!combiner_add(&combiner, &three)); /* the role is not given up yet */
    chain = combiner_take(&combiner);
    CHECK(chain == &three && three.next == NULL);
    CHECK(combiner_take(&combiner) == NULL);
    CHECK(combiner_add(&combiner, &one));
    CHECK(combiner_take(&combiner) == &one);
    CHECK(combiner_take(&combiner) == NULL);
}

int
main(void)
{
    check_limit(120);
    RUN(the_first_to_add_has_the_role);
    RUN(all_is_done_once_and_in_order);
    return 0;
}
