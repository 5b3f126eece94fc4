/* pool_check: the invariants of a pool's counts, which hold whenever its lock is free. Checked as the
 * lock is given back, in builds with AIOINTERP_CHECKS.
 */
#ifndef AIOINTERP_POOL_CHECK_H
#define AIOINTERP_POOL_CHECK_H

#include "pool.h"

#ifdef AIOINTERP_CHECKS
#define POOL_CHECK(pool) pool_check_locked(pool)
#else
#define POOL_CHECK(pool) ((void)(pool))
#endif

/* Ends the process with the name of the invariant that is broken. The caller holds the lock. */
void pool_check_locked(const struct pool *pool);

#endif
