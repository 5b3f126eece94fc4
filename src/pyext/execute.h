/* execute: a tagged call, run in the interpreter that the caller is attached to.
 *
 * Reads the call from a message and leaves the outcome in it. Never touches the submitter's
 * interpreter.
 */
#ifndef AIOINTERP_EXECUTE_H
#define AIOINTERP_EXECUTE_H

#include "func.h"
#include "interp.h"
#include "preload.h"
#include "task.h"

struct target;

/* Runs the call in task->tagged and sets task->outcome, which is not published yet. Closes `target`, which is open (NULL: the
 * task is not to be interrupted), as soon as the call is over. True: the worker was set aside meanwhile. */
bool execute_task(struct interp *interp, struct task *task, struct target *target);

/* The task could not be run: what is set is its outcome. */
void execute_failed(struct interp *interp, struct task *task);

/* Imports the modules in the interpreter just made. NULL; or the name of the one that failed, and
 * `error` holds what it raised. */
const char *execute_preload(struct interp *interp, const struct preload *preload,
                            struct message *error);
/* When no task has entered it for a while: lets go of what nobody needs any more. */
void execute_visit(struct interp *interp);
/* Has the interpreter import of this package what not every task needs. */
void execute_warm_up(struct interp *interp);

/* Calls `func` (or what the message holds) as an executor's initializer. False: it failed, and
 * `error` holds what it raised. `call` can be used again. */
bool execute_initializer(struct interp *interp, struct func *func, const struct message *call,
                         struct message *error);

#endif
