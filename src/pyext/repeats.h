/* repeats: the argument cache of an executor: large immutable arguments that are passed again and again are
 * recognised by identity, and sent once.
 *
 * An entry holds its value by a strong reference from the first sight on, so its address never stands for
 * another value. Only a value that encoding has shown to be deeply immutable becomes an entry: exact tuples
 * and frozensets of exact builtin scalars and of each other, which nothing can change. At its second
 * sight the caller encodes it into a parcel; from the third on, a lookup gives the parcel.
 *
 * Bounds: MOST_ENTRIES values, none heavier than limit / MOST_ENTRIES, so never more than `limit` together.
 * A value that only its entry still refers to can never be passed again, and goes as soon as the next
 * call begins (repeats_tidy()).
 *
 * One for each crew, guarded by the GIL of the interpreter that made the executor; every function wants the
 * caller attached to it. The last reference to a frozenset may call the callback of a weak reference to it,
 * which is anybody's Python: so values are released in repeats_tidy(), repeats_clear() and repeats_free()
 * only, never while a call is encoded. The other functions run no Python.
 */
#ifndef AIOINTERP_REPEATS_H
#define AIOINTERP_REPEATS_H

#include "parcel.h"
#include "state.h"

struct repeats;

/* A value that has been noted. */
struct repeat {
    PyObject *value;       /* held */
    struct parcel *parcel; /* owned; NULL: met once so far, or `failed` */
    uint64_t used;         /* the clock when it was met last */
    bool failed;           /* the parcel could not be made, and is not tried again */
};

/* `limit`: bytes that the values may weigh together. NULL: out of memory. */
struct repeats *repeats_new(size_t limit);
void repeats_free(struct repeats *repeats);
/* Forgets everything, and notes nothing any more. */
void repeats_clear(struct repeats *repeats);
/* Before a call is encoded: releases values that cannot be passed again, and then those that were used the
 * longest time ago, until there is room for some more. `repeats` may be NULL. */
void repeats_tidy(struct repeats *repeats);

/* Whether the value is of a kind that can be an entry. `repeats` may be NULL: it is not. */
bool repeats_is_kind(const struct repeats *repeats, PyObject *value);
/* The entry of a value that has been noted, or NULL: it has not. The parcel, once the caller puts one there, is owned by
 * the entry. Valid until Python runs. */
struct repeat *repeats_find(struct repeats *repeats, PyObject *value);
/* A value that repeats_find() does not know was encoded, and is deeply immutable. `weight`: the bytes that
 * it takes in an interpreter, about. */
void repeats_note(struct repeats *repeats, PyObject *value, size_t weight);

#endif
