/* repeats: arguments that a caller passes again and again, recognised by identity and sent once.
 *
 * What is looked at is deeply immutable (that is for the encoder to say) and large enough to be worth it.
 * Met for the first time it becomes a candidate, which is not held: no more than a guess where it will be
 * met again. Whatever is met there next, and looks alike, is encoded into a parcel and cached, the
 * least recently used making room; the worst that comes of a wrong guess is a parcel for nothing. What is
 * cached is held, so an address never stands for another value: a lookup is a probe by address.
 *
 * One for each crew, guarded by the GIL of the interpreter that made the executor; every function wants
 * the caller attached to it, and none runs Python: what is held has no destructors.
 */
#ifndef AIOINTERP_REPEATS_H
#define AIOINTERP_REPEATS_H

#include "parcel.h"
#include "state.h"

struct repeats;

/* `limit`: bytes that cached values may weigh together. NULL: out of memory. */
struct repeats *repeats_new(size_t limit);
/* Forgets everything. */
void repeats_clear(struct repeats *repeats);
void repeats_free(struct repeats *repeats);

/* Whether the value is of a kind and size that can be worth it. `repeats` may be NULL: it is not. */
bool repeats_is_kind(const struct repeats *repeats, PyObject *value);
/* The parcel of a value that is cached, or is from now on since it was a candidate; borrowed. NULL: it
 * is neither. No exception. */
struct parcel *repeats_find(struct repeats *repeats, struct state *state, PyObject *value);
/* The same, of a cached one only. */
struct parcel *repeats_recall(struct repeats *repeats, PyObject *value);
/* A value that repeats_find() did not know has been encoded: deeply immutable, of that weight in bytes. */
void repeats_note(struct repeats *repeats, PyObject *value, size_t weight);

#endif
