/* stress: random lives of the core's rooms for some time, many threads at once.
 *
 *     stress SECONDS [SEED [ROUND]]
 *
 * Each round is made from the seed and its own number alone; with ROUND, that one is run again and
 * again. The seed is printed first, and the round when a check fails.
 */
#include "team.h"

#include <signal.h>
#include <string.h>
#include <time.h>

#include "core/combine.h"
#include "core/fstate.h"
#include "core/lend.h"

static uint32_t base_seed;
static unsigned round_number;

static unsigned
below(uint32_t *seed, unsigned limit)
{
    return random_next(seed) % limit;
}

static void
pause_a_little(uint32_t *seed)
{
    for (unsigned turns = below(seed, 300); turns > 0; turns--) {
        os_spin_hint();
    }
}

/* -- pool -- */

static void
live_with_a_pool(uint32_t *seed)
{
    static const unsigned percents[] = {0, 0, 10, 40, 80, 100};
    struct plan plan = {
        .submitters = 1 + below(seed, 4),
        .workers = 1 + below(seed, 8),
        .slots = 1 + below(seed, 4),
        .jobs = 1 + below(seed, chance(seed, 20) ? 2000 : 100),
        .slotted_percent = percents[below(seed, 6)],
        .busy_percent = percents[below(seed, 5)],
        .fail_percent = percents[below(seed, 4)],
        .maker_percent = percents[below(seed, 5)],
    };
    struct recycling recycling = {
        .worn_percent = percents[below(seed, 5)],
        .idle_ns = chance(seed, 50) ? 1 + below(seed, 300000) : 0,
    };
    run_seeded_plan(plan, recycling, random_next(seed));
}

/* -- fstate: who starts, finishes, cancels, observes and waits, all at once -- */

enum { ACTORS = 5, STATES = 40 };

struct shared_state {
    fstate state;
    unsigned outcome;   /* plain: published by the end, read by those who waited */
    atomic_uint ended;  /* by how many */
    atomic_uint waited; /* who saw the end */
};

struct actor {
    os_thread thread;
    struct shared_state *states;
    unsigned part;
    uint32_t seed;
};

static void
run_one(struct shared_state *self)
{
    if (!fstate_start(&self->state)) {
        return;
    }
    self->outcome = 42;
    atomic_fetch_add(&self->ended, 1);
    if (!fstate_finish_quietly(&self->state)) { /* observed */
        fstate_end(&self->state, FSTATE_FINISHED);
    }
}

static void
cancel_one(struct shared_state *self)
{
    if (fstate_cancel(&self->state)) {
        atomic_fetch_add(&self->ended, 1);
        if (!fstate_notify_quietly(&self->state)) {
            fstate_end(&self->state, FSTATE_CANCELLED_AND_NOTIFIED);
        }
    }
}

static void
wait_for_one(struct shared_state *self, uint32_t *seed)
{
    fstate_wait_result result;
    do {
        bool hurried = chance(seed, 30);
        result = fstate_wait(&self->state,
                             hurried ? os_now_ns() + (int64_t)below(seed, 20000) : OS_FOREVER);
    } while (result != FSTATE_DONE);
    unsigned state = fstate_get(&self->state);
    CHECK(state == FSTATE_FINISHED ? self->outcome == 42 : self->outcome == 0);
    atomic_fetch_add(&self->waited, 1);
}

static void
act(void *argument)
{
    struct actor *actor = argument;
    for (unsigned i = 0; i < STATES; i++) {
        struct shared_state *self = &actor->states[i];
        pause_a_little(&actor->seed);
        switch (actor->part) {
        case 0:
            run_one(self);
            break;
        case 1:
            if (chance(&actor->seed, 50)) {
                cancel_one(self);
            }
            break;
        case 2:
            fstate_observe(&self->state, chance(&actor->seed, 50));
            break;
        default:
            wait_for_one(self, &actor->seed);
            break;
        }
    }
}

static void
live_with_states(uint32_t *seed)
{
    struct shared_state states[STATES] = {0};
    struct actor actors[ACTORS];
    for (unsigned i = 0; i < STATES; i++) {
        fstate_init(&states[i].state);
    }
    for (unsigned i = 0; i < ACTORS; i++) {
        actors[i] = (struct actor){.states = states, .part = i, .seed = random_next(seed)};
        CHECK_EQ(os_thread_start(&actors[i].thread, act, &actors[i]), 0);
    }
    for (unsigned i = 0; i < ACTORS; i++) {
        os_thread_join(&actors[i].thread);
    }
    for (unsigned i = 0; i < STATES; i++) {
        CHECK_EQ(states[i].ended, 1);
        CHECK_EQ(states[i].waited, ACTORS - 3);
    }
}

/* -- lend: holders, and a home that takes and closes at a random moment -- */

enum { HOLDERS = 3, LOANS = 60 };

struct thing {
    struct loan loan; /* first */
    unsigned uses[HOLDERS];
};

static struct {
    atomic_uint orphans;
    atomic_uint homes_freed;
} lent;

static void
free_thing(struct loan *loan)
{
    struct thing *thing = (struct thing *)loan;
    for (unsigned i = 0; i < HOLDERS; i++) {
        CHECK_EQ(thing->uses[i], 1);
    }
    free(thing);
}

static void
orphan(struct loan *loan)
{
    atomic_fetch_add(&lent.orphans, 1);
    free_thing(loan);
}

static void
free_home(struct loan_home *home)
{
    atomic_fetch_add(&lent.homes_freed, 1);
    free(home);
}

static unsigned
release_chain(struct loan *loan)
{
    unsigned count = 0;
    while (loan != NULL) {
        struct loan *next = loan->next;
        loan_forget(loan);
        free_thing(loan);
        loan = next;
        count++;
    }
    return count;
}

struct holder {
    os_thread thread;
    struct loan **loans;
    unsigned number;
    uint32_t seed;
};

static void
use_things(void *argument)
{
    struct holder *holder = argument;
    for (unsigned i = 0; i < LOANS; i++) {
        pause_a_little(&holder->seed);
        ((struct thing *)holder->loans[i])->uses[holder->number]++;
        loan_drop(holder->loans[i]);
    }
}

static void
live_with_loans(uint32_t *seed)
{
    struct loan *loans[LOANS];
    struct holder holders[HOLDERS];
    struct loan_home *home = malloc(sizeof(*home));
    CHECK(home != NULL);
    loan_home_init(home, NULL, orphan, free_home);
    atomic_store(&lent.orphans, 0);
    atomic_store(&lent.homes_freed, 0);
    for (unsigned i = 0; i < LOANS; i++) {
        struct thing *thing = calloc(1, sizeof(*thing));
        CHECK(thing != NULL);
        loans[i] = &thing->loan;
        loan_init(loans[i], home);
        for (unsigned holder = 1; holder < HOLDERS; holder++) {
            loan_hold(loans[i]);
        }
    }
    for (unsigned i = 0; i < HOLDERS; i++) {
        holders[i] = (struct holder){.loans = loans, .number = i, .seed = random_next(seed)};
        CHECK_EQ(os_thread_start(&holders[i].thread, use_things, &holders[i]), 0);
    }
    unsigned returned = 0;
    for (unsigned takings = below(seed, 200); takings > 0; takings--) {
        pause_a_little(seed);
        returned += release_chain(loan_home_take(home));
    }
    returned += release_chain(loan_home_close(home));
    loan_home_drop(home);
    for (unsigned i = 0; i < HOLDERS; i++) {
        os_thread_join(&holders[i].thread);
    }
    CHECK_EQ(returned + atomic_load(&lent.orphans), LOANS);
    CHECK_EQ(lent.homes_freed, 1);
}

/* -- combine: whoever finds nobody at it does the work of all -- */

enum { ADDERS = 4, NODES = 200 };

struct added {
    struct combined node; /* first */
    unsigned times;       /* by who has the role */
};

struct adder {
    os_thread thread;
    struct combiner *combiner;
    struct added nodes[NODES];
    uint32_t seed;
};

static void
add_all(void *argument)
{
    struct adder *adder = argument;
    for (unsigned i = 0; i < NODES; i++) {
        pause_a_little(&adder->seed);
        if (!combiner_add(adder->combiner, &adder->nodes[i].node)) {
            continue;
        }
        struct combined *node;
        while ((node = combiner_take(adder->combiner)) != NULL) {
            while (node != NULL) {
                struct combined *next = node->next;
                ((struct added *)node)->times++;
                node = next;
            }
        }
    }
}

static void
live_with_a_combiner(uint32_t *seed)
{
    static struct adder adders[ADDERS];
    struct combiner combiner;
    combiner_init(&combiner);
    memset(adders, 0, sizeof(adders));
    for (unsigned i = 0; i < ADDERS; i++) {
        adders[i].combiner = &combiner;
        adders[i].seed = random_next(seed);
        CHECK_EQ(os_thread_start(&adders[i].thread, add_all, &adders[i]), 0);
    }
    for (unsigned i = 0; i < ADDERS; i++) {
        os_thread_join(&adders[i].thread);
    }
    for (unsigned i = 0; i < ADDERS * NODES; i++) {
        CHECK_EQ(adders[i / NODES].nodes[i % NODES].times, 1);
    }
}

/* -- rounds -- */

static void
say_where(int signal_number)
{
    fprintf(stderr, "stress: failed with seed %" PRIu32 ", round %u\n", base_seed, round_number);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void
run_round(unsigned number)
{
    static void (*const lives[])(uint32_t *) = {live_with_a_pool, live_with_a_pool,
                                                live_with_states, live_with_loans,
                                                live_with_a_combiner};
    uint32_t seed = (base_seed ^ (number * UINT32_C(2654435761))) | 1;
    round_number = number;
    lives[below(&seed, 5)](&seed);
}

int
main(int argc, char **argv)
{
    int64_t seconds = argc > 1 ? atoi(argv[1]) : 10;
    base_seed = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : (uint32_t)time(NULL);
    printf("stress: seed %" PRIu32 ", %d s\n", base_seed, (int)seconds);
    fflush(stdout);
    signal(SIGABRT, say_where);
    signal(SIGALRM, say_where); /* stuck */
    int64_t end = os_now_ns() + seconds * INT64_C(1000000000);
    unsigned rounds = 0;
    for (; os_now_ns() < end; rounds++) {
        alarm(120);
        run_round(argc > 3 ? (unsigned)atoi(argv[3]) : rounds);
    }
    printf("stress: %u rounds passed\n", rounds);
    return 0;
}
