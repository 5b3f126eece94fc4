/* awake: how many workers of all pools are not parked, against the CPUs.
 *
 * Advice only: relaxed atomics, and nothing hangs on their values. Any thread, attached or not.
 */
#ifndef AIOINTERP_AWAKE_H
#define AIOINTERP_AWAKE_H

#include <stdbool.h>

/* A worker begins, is called or parks, or ends. */
void awake_note(bool is_awake);
/* In the child of a fork, which has no workers. */
void awake_forget(void);
/* Whether there are at least as many as CPUs. */
bool awake_on_every_cpu(void);

#endif
