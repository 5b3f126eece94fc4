/* lend: things of one interpreter that others use for a while, and their way back.
 *
 * A loan is a counted reference to something that only its home may release: a Python object, a
 * buffer. Anybody may hold and drop it, on any thread, attached to anything or to nothing. Who drops
 * the last reference puts the loan on its home's list of returned loans; the home takes that list
 * when it next passes by, attached to its own interpreter, and releases what was lent.
 *
 * A home may close while loans are out (its interpreter ends). From then on a returned loan goes to
 * the home's `orphaned` instead: the record is freed, what was lent is given up.
 *
 * No locks: `returned` is a stack that is pushed by compare-and-swap and taken whole, so no node is
 * ever popped beside a push (no ABA). A home is kept by its owner and by each of its loans.
 */
#ifndef AIOINTERP_LEND_H
#define AIOINTERP_LEND_H

#include <stdatomic.h>
#include <stdbool.h>

struct loan_home;

/* Embedded, as first member, in the record of what is lent. */
struct loan {
    atomic_uint refs;       /* holders */
    struct loan_home *home; /* constant; counted */
    struct loan *next;      /* in `returned`; the pusher's, then the taker's */
};

struct loan_home {
    _Atomic(struct loan *) returned; /* LIFO; a sentinel once closed */
    atomic_uint refs;                /* owner and loans */
    /* Called by whoever returns a loan to an empty list: have somebody call loan_home_take().
     * Attached to nothing in particular; must not block. May be NULL. */
    void (*first_returned)(struct loan_home *home);
    /* Frees a record whose home has closed; never touches what was lent. */
    void (*orphaned)(struct loan *loan);
    void (*freed)(struct loan_home *home); /* frees the home itself */
};

/* The caller owns one reference. */
void loan_home_init(struct loan_home *home, void (*first_returned)(struct loan_home *),
                    void (*orphaned)(struct loan *), void (*freed)(struct loan_home *));
/* Takes all that was returned, a chain by `next`, or NULL. Each must go to loan_forget(). Only the
 * owner takes and closes, one call at a time (it is attached to its interpreter). */
struct loan *loan_home_take(struct loan_home *home);
/* No loan returns from now on. Gives the last chain. */
struct loan *loan_home_close(struct loan_home *home);
/* Keeps the home itself, e.g. for a call that is under way. */
void loan_home_hold(struct loan_home *home);
/* Gives a reference back: the owner's, or one of loan_home_hold(). */
void loan_home_drop(struct loan_home *home);

/* One reference, the caller's. */
void loan_init(struct loan *loan, struct loan_home *home);
void loan_hold(struct loan *loan);
void loan_drop(struct loan *loan);
/* For the home, before it frees the record of a loan it has taken. */
void loan_forget(struct loan *loan);

#endif
