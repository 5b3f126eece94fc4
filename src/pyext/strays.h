/* strays: threads that tasks have left running in an interpreter that is about to end.
 *
 * CPython waits for them without a limit. Here they have the grace of the executor: half of it to end by themselves, as
 * threading._shutdown() asks them to, then `Interrupted` is raised in each of them that does not clean up, again and again.
 * If one is still there afterwards, the interpreter is given up: a guard, a thread of ours, takes its GIL for good, so
 * that none of its threads runs Python again, and nobody ends it. The runtime forgets it at exit (interp_forget_all()).
 *
 * A thread that keeps the GIL, in C code that computes, is waited for. Where the runtime cannot be made to forget an interpreter
 * (compat_can_forget()), so are all.
 */
#ifndef AIOINTERP_STRAYS_H
#define AIOINTERP_STRAYS_H

#include "interp.h"

/* At home, attached, with nobody else in the interpreter but what tasks have started. True: it is alone, and still
 * attached. False: the interpreter is given up, and the caller detached. `grace`: ns, or OS_FOREVER. */
bool strays_end(struct interp *interp, int64_t grace);

/* Gives an interpreter up that cannot be ended, which nobody uses any more but what tasks have started. Attached or not. False:
 * the runtime cannot forget it, or there is no thread for a guard. */
bool strays_give_up(struct interp *interp);

/* At exit, detached, when no interpreter ends any more: returns once all guards have what they want. Whether there are any. */
bool strays_await_guards(void);

/* In the child of a fork, which has none of all that. */
void strays_after_fork_in_child(void);

#endif
