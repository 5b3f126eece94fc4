/* parcel: a value encoded once and sent many times. Plain memory, no Python.
 *
 * Made in the main interpreter. It travels in messages as a view (VIEW_PARCEL), and an interpreter that
 * has decoded it keeps the value (kept) for when it comes again.
 *
 * Counted twice over. Its owners are those through whom it can still come: the handle of a broadcast,
 * an argument cache, messages on their way, functions by value. They hold its loan. What keeps the
 * record itself, and so its address from standing for another value, is its holders: each interpreter that
 * keeps the value, and the owners together. An owner comes from an owner, so no owners is final; then the message
 * is freed, and whoever keeps the value is told to let it go: the epoch changes, and interpreters that
 * no task is about to enter are visited (pool_ask_visits()).
 */
#ifndef AIOINTERP_PARCEL_H
#define AIOINTERP_PARCEL_H

#include "message.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct parcel {
    struct loan loan;      /* its references are the owners */
    atomic_size_t holders; /* the owners together, and the interpreters that keep the value */
    char apart[64];        /* what all write, from what all read */
    struct view view;      /* VIEW_PARCEL, what stands for it in messages; constant */
    struct message
        message; /* the value; constant once the parcel is shared, until no owner is left */
};

/* Once in the process. */
void parcel_init(void);

/* One owner, the caller; the message is empty, for the caller to fill. NULL: out of memory. */
struct parcel *parcel_new(void);
/* Any thread, attached or not; who disowns holds no lock. */
void parcel_own(struct parcel *parcel);
void parcel_disown(struct parcel *parcel);

/* For a message: it owns the parcel until it lets go of the view (view_free()). */
struct view *parcel_view(struct parcel *parcel);
/* What a VIEW_PARCEL stands for, borrowed. */
struct parcel *parcel_of_view(const struct view *view);

/* For who keeps the value. The first is for who has it from a message that owns it. */
void parcel_hold(struct parcel *parcel);
void parcel_drop(struct parcel *parcel);
bool parcel_has_owners(const struct parcel *parcel);

/* Another number after each time that a parcel which somebody keeps has lost its last owner. */
unsigned parcel_epoch(void);

#endif
