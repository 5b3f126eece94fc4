#include "lend.h"

#include <stddef.h>

/* Stands in `returned` of a home that has closed. */
static struct loan closed_mark;

void
loan_home_init(struct loan_home *home, void (*first_returned)(struct loan_home *),
               void (*orphaned)(struct loan *), void (*freed)(struct loan_home *))
{
    atomic_init(&home->returned, NULL);
    atomic_init(&home->refs, 1);
    home->first_returned = first_returned;
    home->orphaned = orphaned;
    home->freed = freed;
}

struct loan *
loan_home_take(struct loan_home *home)
{
    struct loan *head = atomic_load_explicit(&home->returned, memory_order_relaxed);
    if (head == NULL || head == &closed_mark) {
        return NULL;
    }
    /* Acquire: pairs with the release of give_back(), so the last holder's use is over. */
    return atomic_exchange_explicit(&home->returned, NULL, memory_order_acquire);
}

struct loan *
loan_home_close(struct loan_home *home)
{
    return atomic_exchange_explicit(&home->returned, &closed_mark, memory_order_acq_rel);
}

void
loan_home_hold(struct loan_home *home)
{
    atomic_fetch_add_explicit(&home->refs, 1, memory_order_relaxed);
}

void
loan_home_drop(struct loan_home *home)
{
    if (atomic_fetch_sub_explicit(&home->refs, 1, memory_order_acq_rel) == 1) {
        home->freed(home);
    }
}

void
loan_init(struct loan *loan, struct loan_home *home)
{
    atomic_init(&loan->refs, 1);
    loan->home = home;
    loan->next = NULL;
    loan_home_hold(home);
}

void
loan_hold(struct loan *loan)
{
    atomic_fetch_add_explicit(&loan->refs, 1, memory_order_relaxed);
}

/* Pushes a loan that nobody holds any more. The home cannot go meanwhile: we keep it. */
static void
give_back(struct loan *loan)
{
    struct loan_home *home = loan->home;
    loan_home_hold(home);
    struct loan *head = atomic_load_explicit(&home->returned, memory_order_acquire);
    do {
        if (head == &closed_mark) {
            loan_forget(loan);
            home->orphaned(loan);
            loan_home_drop(home);
            return;
        }
        loan->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&home->returned, &head, loan,
                                                    memory_order_release, memory_order_acquire));
    if (head == NULL && home->first_returned != NULL) {
        home->first_returned(home);
    }
    loan_home_drop(home);
}

void
loan_drop(struct loan *loan)
{
    /* Release orders this holder's use before the last drop, acquire the others' before ours. */
    if (atomic_fetch_sub_explicit(&loan->refs, 1, memory_order_acq_rel) == 1) {
        give_back(loan);
    }
}

void
loan_forget(struct loan *loan)
{
    loan_home_drop(loan->home);
}
