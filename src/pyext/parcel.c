#include "parcel.h"

#include "crew.h"
#include "registry.h"

#include <stdlib.h>

/* A home that has closed: whoever gives up the last loan of a parcel calls orphaned() at once. */
static struct loan_home ownerless;

/* Written (release) after the owners of a parcel are gone, read (acquire) before they are counted. */
static atomic_uint epoch;

static void
free_orphan(struct parcel *parcel)
{
    message_free(&parcel->message); /* it may hold further parcels: orphaned() */
    /* Nobody comes to keep it now; who does came from an owner, before the owner went. */
    if (atomic_load_explicit(&parcel->holders, memory_order_relaxed) > 1) {
        atomic_fetch_add_explicit(&epoch, 1, memory_order_release);
        registry_ask_visits();
    }
    parcel_drop(parcel);
}

/* A parcel may hold another one, and that the next. The stack has no room for a long chain of them, so the thread that
 * is at one puts those that come up meanwhile on a list. */
static void
orphaned(struct loan *loan)
{
    static _Thread_local struct loan *orphans; /* by `next` */
    static _Thread_local bool is_at_one;
    loan->next = orphans; /* nobody else has it any more */
    orphans = loan;
    if (is_at_one) {
        return;
    }
    is_at_one = true;
    while (orphans != NULL) {
        struct loan *first = orphans;
        orphans = first->next;
        free_orphan((struct parcel *)first);
    }
    is_at_one = false;
}

void
parcel_init(void)
{
    loan_home_init(&ownerless, NULL, orphaned, NULL);
    loan_home_close(&ownerless);
    atomic_init(&epoch, 0);
}

struct parcel *
parcel_new(void)
{
    struct parcel *parcel = malloc(sizeof(*parcel));
    if (parcel != NULL) {
        loan_init(&parcel->loan, &ownerless);
        atomic_init(&parcel->holders, 1);
        parcel->view = (struct view){.loan = &parcel->loan, .kind = VIEW_PARCEL};
        message_init(&parcel->message);
    }
    return parcel;
}

void
parcel_own(struct parcel *parcel)
{
    loan_hold(&parcel->loan);
}

void
parcel_disown(struct parcel *parcel)
{
    loan_drop(&parcel->loan);
}

struct view *
parcel_view(struct parcel *parcel)
{
    parcel_own(parcel);
    return &parcel->view;
}

struct parcel *
parcel_of_view(const struct view *view)
{
    return (struct parcel *)view->loan;
}

void
parcel_hold(struct parcel *parcel)
{
    atomic_fetch_add_explicit(&parcel->holders, 1, memory_order_relaxed);
}

void
parcel_drop(struct parcel *parcel)
{
    /* acq_rel: the last one frees what the others have used. */
    if (atomic_fetch_sub_explicit(&parcel->holders, 1, memory_order_acq_rel) == 1) {
        free(parcel);
    }
}

bool
parcel_has_owners(const struct parcel *parcel)
{
    return atomic_load_explicit(&parcel->loan.refs, memory_order_acquire) > 0;
}

unsigned
parcel_epoch(void)
{
    return atomic_load_explicit(&epoch, memory_order_acquire);
}
