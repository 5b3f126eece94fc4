/* registry: all crews of the process, for what concerns each of them: the exit, a fork, visits.
 *
 * Its lock is taken before the watch's and a pool's, never after them. A crew is in it from registry_add() to
 * registry_remove(); who finds one there holds the main interpreter's GIL, under which crews are dropped, or only
 * touches its pool, with the registry's lock held.
 */
#ifndef AIOINTERP_REGISTRY_H
#define AIOINTERP_REGISTRY_H

#include "crew.h"

#include <stdbool.h>

/* Once in the process. 0 or an errno value. */
int registry_init(void);

/* Whether no interpreter of a worker is in use, nor will be until registry_resume(). No Python may run in between.
 * Attached to main: whoever submits is, too. */
bool registry_pause(void);
void registry_resume(void);

/* Attached to the main interpreter. A crew that is not in it may be removed. */
void registry_add(struct crew *crew);
void registry_remove(struct crew *crew);
/* The crew has hosts from now on: so a fork finds it with them all along, or without. */
void registry_set_hosts(struct crew *crew, struct hosts *hosts);

/* At exit: refuses new work everywhere, finishes what was accepted, waits until no worker of any
 * crew is left: the interpreter must not be finalized under running workers. With `stop` (a Ctrl-C has ended the main
 * program), or from the first Ctrl-C on, all crews are stopped instead. When only untagged calls go on after a Ctrl-C, or another
 * one comes, the process ends here. Whether there was a Ctrl-C. Attached to the main interpreter. */
bool registry_join_all(bool stop);
/* Any thread, attached or not, as all that follows. */
bool registry_is_exiting(void);

/* Has interpreters of all crews entered that no task is about to enter. The caller holds no lock. */
void registry_ask_visits(void);

/* How many forks away from the first process this one is: what was accepted in another generation
 * is another process's. */
unsigned registry_generation(void);

#endif
