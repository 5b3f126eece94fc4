/* makers: which of a pool's pending makers can start, and what they come to.
 *
 * Part of the pool: the caller holds its lock. A maker is satisfied when as many slots as it wants
 * have their interpreter.
 */
#ifndef AIOINTERP_MAKERS_H
#define AIOINTERP_MAKERS_H

#include "pool.h"

/* The slots that have still to be filled, each by one maker: never fewer than the makers that could
 * begin with one at once. */
size_t makers_to_make_locked(const struct pool *pool);
/* The same, and those that are satisfied. */
size_t makers_startable_locked(const struct pool *pool);

/* The oldest maker that can start and is for this worker, or NULL. It is satisfied, or wants more
 * slots than are filled or being filled, so that there is an empty one. The worker holds none that
 * is empty. */
struct job *makers_first_locked(const struct pool *pool, const struct worker *worker);

#endif
