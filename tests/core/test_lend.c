#include "check.h"

#include <stddef.h>

#include "core/lend.h"

enum { LOANS = 200, HOLDERS = 3, ROUNDS = 100 };

/* A record of what is lent; homes and books are on the heap. */
struct book {
    struct loan loan;        /* first */
    unsigned reads[HOLDERS]; /* each by one holder, before it drops */
};

static atomic_uint told;    /* calls of first_returned */
static atomic_uint orphans; /* records freed because their home had closed */
static atomic_uint freed;   /* homes freed */
static atomic_uint reads;   /* of books that came back in whatever way */

static void
first_returned(struct loan_home *home)
{
    (void)home;
    atomic_fetch_add(&told, 1);
}

static void
end_book(struct loan *loan)
{
    struct book *book = (struct book *)loan;
    for (unsigned i = 0; i < HOLDERS; i++) {
        atomic_fetch_add(&reads, book->reads[i]);
    }
    free(book);
}

static void
orphaned(struct loan *loan)
{
    atomic_fetch_add(&orphans, 1);
    end_book(loan);
}

static void
home_freed(struct loan_home *home)
{
    atomic_fetch_add(&freed, 1);
    free(home);
}

static struct loan_home *
make_home(void (*tell)(struct loan_home *))
{
    struct loan_home *home = malloc(sizeof(*home));
    CHECK(home != NULL);
    loan_home_init(home, tell, orphaned, home_freed);
    atomic_store(&told, 0);
    atomic_store(&orphans, 0);
    atomic_store(&freed, 0);
    atomic_store(&reads, 0);
    return home;
}

static struct loan *
lend(struct loan_home *home)
{
    struct book *book = calloc(1, sizeof(*book));
    CHECK(book != NULL);
    loan_init(&book->loan, home);
    return &book->loan;
}

/* Releases a chain that the home took; how many. */
static unsigned
release_all(struct loan *chain)
{
    unsigned count = 0;
    while (chain != NULL) {
        struct loan *next = chain->next;
        loan_forget(chain);
        end_book(chain);
        chain = next;
        count++;
    }
    return count;
}

/* -- one thread -- */

static void
a_home_without_loans(void)
{
    struct loan_home *home = make_home(first_returned);
    CHECK(loan_home_take(home) == NULL);
    CHECK(loan_home_close(home) == NULL);
    CHECK(loan_home_take(home) == NULL);
    CHECK_EQ(freed, 0);
    loan_home_drop(home);
    CHECK_EQ(freed, 1);
}

static void
the_last_drop_returns(void)
{
    struct loan_home *home = make_home(first_returned);
    struct loan *loan = lend(home);
    loan_hold(loan);
    loan_drop(loan);
    CHECK(loan_home_take(home) == NULL);
    CHECK_EQ(told, 0);
    loan_drop(loan);
    CHECK_EQ(told, 1);
    struct loan *chain = loan_home_take(home);
    CHECK(chain == loan);
    CHECK(loan_home_take(home) == NULL);
    CHECK_EQ(release_all(chain), 1);
    CHECK(loan_home_close(home) == NULL);
    loan_home_drop(home);
    CHECK_EQ(freed, 1);
    CHECK_EQ(orphans, 0);
}

static void
told_once_for_each_taking(void)
{
    struct loan_home *home = make_home(first_returned);
    for (unsigned round = 1; round <= 3; round++) {
        struct loan *loans[3] = {lend(home), lend(home), lend(home)};
        for (int i = 0; i < 3; i++) {
            loan_drop(loans[i]);
            CHECK_EQ(told, round);
        }
        CHECK_EQ(release_all(loan_home_take(home)), 3);
    }
    CHECK(loan_home_close(home) == NULL);
    loan_home_drop(home);
    CHECK_EQ(freed, 1);
}

static void
nobody_need_be_told(void)
{
    struct loan_home *home = make_home(NULL);
    loan_drop(lend(home));
    CHECK_EQ(release_all(loan_home_close(home)), 1);
    loan_home_drop(home);
    CHECK_EQ(freed, 1);
}

static void
closing_gives_what_came_back(void)
{
    struct loan_home *home = make_home(first_returned);
    struct loan *out = lend(home);
    loan_drop(lend(home));
    loan_drop(lend(home));
    CHECK_EQ(release_all(loan_home_close(home)), 2);
    CHECK_EQ(orphans, 0);
    loan_drop(out);
    CHECK_EQ(orphans, 1);
    CHECK_EQ(told, 1); /* nobody is there to be told */
    CHECK(loan_home_take(home) == NULL);
    CHECK_EQ(freed, 0);
    loan_home_drop(home);
    CHECK_EQ(freed, 1);
}

static void
a_loan_outlives_its_home(void)
{
    struct loan_home *home = make_home(first_returned);
    struct loan *loans[2] = {lend(home), lend(home)};
    CHECK(loan_home_close(home) == NULL);
    loan_home_drop(home);
    CHECK_EQ(freed, 0);
    loan_drop(loans[0]);
    CHECK_EQ(freed, 0);
    loan_drop(loans[1]);
    CHECK_EQ(orphans, 2);
    CHECK_EQ(freed, 1);
}

/* -- holders on many threads, and a home that takes, or closes, meanwhile -- */

struct library {
    struct loan_home *home;
    struct loan *loans[LOANS];
    atomic_uint holding; /* holders that have yet to drop all of theirs */
    atomic_uint go;
};

struct holder {
    struct library *library;
    unsigned number;
    os_thread thread;
};

static void
use_and_drop(void *argument)
{
    struct holder *holder = argument;
    struct library *library = holder->library;
    gate_await(&library->go);
    for (unsigned i = 0; i < LOANS; i++) {
        struct book *book = (struct book *)library->loans[i];
        book->reads[holder->number]++; /* plain: the drop publishes it */
        loan_hold(&book->loan);
        loan_drop(&book->loan);
        loan_drop(&book->loan);
    }
    atomic_fetch_sub(&library->holding, 1);
}

static void
open_library(struct library *library, struct holder *holders)
{
    *library = (struct library){.home = make_home(first_returned), .holding = HOLDERS};
    for (unsigned i = 0; i < LOANS; i++) {
        library->loans[i] = lend(library->home);
        for (unsigned holder = 1; holder < HOLDERS; holder++) {
            loan_hold(library->loans[i]);
        }
    }
    for (unsigned i = 0; i < HOLDERS; i++) {
        holders[i] = (struct holder){.library = library, .number = i};
        CHECK_EQ(os_thread_start(&holders[i].thread, use_and_drop, &holders[i]), 0);
    }
    gate_open(&library->go);
}

static void
close_library(struct holder *holders)
{
    for (unsigned i = 0; i < HOLDERS; i++) {
        os_thread_join(&holders[i].thread);
    }
    CHECK_EQ(reads, LOANS * HOLDERS);
    CHECK_EQ(freed, 1);
}

static void
each_loan_comes_back_once(void)
{
    struct library library;
    struct holder holders[HOLDERS];
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned returned = 0, takings = 0;
        open_library(&library, holders);
        while (returned < LOANS) {
            struct loan *chain = loan_home_take(library.home);
            takings += chain != NULL;
            returned += release_all(chain);
        }
        CHECK_EQ(returned, LOANS);
        CHECK(loan_home_close(library.home) == NULL);
        loan_home_drop(library.home);
        close_library(holders);
        CHECK_EQ(orphans, 0);
        CHECK_EQ(told, takings);
    }
}

static void
a_home_that_closes_meanwhile(void)
{
    struct library library;
    struct holder holders[HOLDERS];
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned returned = 0;
        open_library(&library, holders);
        while (returned < 2 * round && atomic_load(&library.holding) > 0) {
            returned += release_all(loan_home_take(library.home));
        }
        returned += release_all(loan_home_close(library.home));
        loan_home_drop(library.home);
        close_library(holders);
        CHECK_EQ(returned + atomic_load(&orphans), LOANS);
    }
}

int
main(void)
{
    check_limit(120);
    RUN(a_home_without_loans);
    RUN(the_last_drop_returns);
    RUN(told_once_for_each_taking);
    RUN(nobody_need_be_told);
    RUN(closing_gives_what_came_back);
    RUN(a_loan_outlives_its_home);
    RUN(each_loan_comes_back_once);
    RUN(a_home_that_closes_meanwhile);
    return 0;
}
