/* stopping: tasks that are stopped while they run, because they were cancelled, have run for too long, or their
 * executor is being shut down; and workers that are set aside because their task does not stop.
 *
 * The process has one watch (core/watch) for that, over the targets of all interpreters. Its thread is attached
 * to nothing but while it starts a worker in the place of another.
 */
#ifndef AIOINTERP_STOPPING_H
#define AIOINTERP_STOPPING_H

#include "crew.h"
#include "target.h"
#include "task.h"

struct worker_thread;

/* Once in the process. 0 or an errno value. */
int stopping_init(void);

/* A worker comes, with its target (its own thread), and goes. */
void stopping_add(struct worker_thread *worker);
void stopping_remove(struct target *target);

/* A target for those who lease an interpreter of the crew's comes; it goes with the interpreter. */
void stopping_add_guest(struct target *target, struct crew *crew);

/* Attached to the interpreter of `state`: the task begins there, at that target. False: do not run it; with an
 * exception: it has a limit that nobody could see to; or else it was cancelled. */
bool stopping_begin(struct target *target, struct state *state, struct task *task);
/* Nobody can stop the task any more. Before it can be ended by anybody but the worker, and before the worker goes on to
 * another one. Whether its time was over, when this is the first call for it. */
bool stopping_settle(struct task *task);

/* Before an interpreter ends: nobody is about to knock there any more. Nobody is in it. */
void stopping_pass(void);

/* The task was cancelled while it ran: it shall stop. Attached or not. */
void stopping_ask(struct task *task);
/* The same for a host, whose task this is, at the time `at` (of os_now_ns()), unless it has said stopping_calm() by then. */
void stopping_remind(struct task *task, int64_t at);
/* For a host's own thread: it has done what it was reminded of. */
void stopping_calm(struct task *task);
/* Whatever runs in the crew's interpreters shall stop. */
void stopping_ask_crew(struct crew *crew);
/* What runs at the moment at the targets that are `meant`, which something does, shall stop, and nothing that comes there
 * later; under the watch's lock. */
void stopping_ask_if(bool (*meant)(struct target *target, const void *argument),
                     const void *argument);

/* Calls `visit` for the target of every worker of the process, under the watch's lock: while that is held, no
 * worker that was set aside comes back from its task any further than to where it waits for the lock. */
void stopping_each(void (*visit)(struct target *target, void *argument), void *argument);

/* At exit, when no worker is left. Detached. */
void stopping_end(void);

/* -- fork: as the locks of the pools -- */
void stopping_before_fork(void);
void stopping_after_fork_in_parent(void);
void stopping_after_fork_in_child(void);

#endif
