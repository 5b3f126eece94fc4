/* task: one submitted call, shared by its future and the worker that runs it.
 *
 * Counted: the future holds one reference, the pool (later the worker) another. A plain call holds
 * Python objects of the interpreter that submitted it; a tagged call holds plain memory only, so a
 * worker can run it, publish its outcome and drop it without that interpreter's GIL.
 *
 * Who may touch what, after the task was queued:
 *   state            anybody (core/fstate)
 *   call, message    the worker that started it; before that, whoever cancelled it
 *   outcome, result  the worker until it publishes; then whoever holds the submitter's GIL
 *   future, keeps, wanted, awaiter    with the submitter's GIL
 */
#ifndef AIOINTERP_TASK_H
#define AIOINTERP_TASK_H

#include "../core/combine.h"
#include "../core/fstate.h"
#include "../core/pool.h"
#include "../core/watch.h"
#include "func.h"
#include "message.h"
#include "state.h"

/* One byte each, in a struct of which there may be a million; no bit-fields, since not all are the
 * same thread's. */
typedef enum __attribute__((packed)) {
    OUTCOME_NONE = 0,
    OUTCOME_VALUE,         /* result: the value */
    OUTCOME_RAISED,        /* result: the exception */
    OUTCOME_ENCODED_VALUE, /* message: the value */
    OUTCOME_ENCODED_ERROR, /* message: the exception and its traceback */
    OUTCOME_STOPPED,       /* it was interrupted; message: as before, if it had a limit */
} task_outcome;

typedef enum __attribute__((packed)) {
    NOT_EXPIRED = 0,
    EXPIRED,       /* it ran for longer than its limit */
    EXPIRED_ASIDE, /* ... and its worker, which was set aside, may still be at it */
} task_expiry;

struct plain_call {
    PyObject *function;
    PyObject *args;   /* tuple */
    PyObject *kwargs; /* dict or NULL */
};

struct hosted;

struct task {
    struct job job;
    struct combined told; /* in the crew's `told`; by who has ended the task, then by who tells */
    fstate state;
    atomic_uint refs;
    unsigned generation; /* constant: of forks, when it was made */
    task_outcome outcome;
    task_expiry expired; /* as `outcome`, which does not count if this is set */
    bool is_call;        /* constant: a worker will run it; false for a future made by hand */
    bool interruptible;  /* constant once queued: it can be stopped while it runs */
    bool with_context;   /* constant once queued: the call in `tagged` has one (transport.h) */
    bool wanted;       /* somebody without a future (map, run) holds the task to read its outcome */
    bool keeps_future; /* `future` is a strong reference: somebody has to be told */
    int64_t limit;     /* ns that it may run; 0: for ever; constant once queued */
    watch_place place; /* where it is being run, while it can be stopped (core/watch) */
    struct crew
        *crew; /* whose workers will run it, from when it is queued, or NULL; borrowed: sure to
                            be there while it is pending. With the submitter's GIL */
    struct hosted *hosted;   /* what a call for hosts has besides (hosts), or NULL; owned */
    struct awaiter *awaiter; /* in an event loop (loops), which is told when it ends; or NULL */
    PyObject *future;        /* the future's object; borrowed unless kept, NULL once it is gone */
    PyObject *result;
    union {
        struct plain_call plain; /* when !job.slotted; of a maker, empty */
        struct {
            struct func *func;      /* owned; NULL: the callable is in the message */
            struct message message; /* the call, later the outcome */
        } tagged;                   /* when job.slotted */
    };
};

/* One reference, the caller's. `generation`: registry_generation(). NULL with an exception. Call it
 * attached. */
struct task *task_new(bool tagged, unsigned generation);
void task_hold(struct task *task);
/* Attached to the submitter's interpreter, unless the task is a tagged one whose `result` and
 * `future` nobody set. */
void task_drop(struct task *task);
/* The two halves of task_drop(): whether nobody holds it any more; and what has to be done then, which
 * alone needs the caller attached. */
bool task_release(struct task *task);
void task_free(struct task *task);

/* Lets go of what was to be called. Attached as for task_drop(). */
void task_clear_call(struct task *task);

/* Whether it can be cancelled while it runs: in this process, by a worker. */
bool task_can_be_stopped(const struct task *task);

/* Whether a KeyboardInterrupt that leaves a wait for it is to interrupt it: a tagged call of this process. An untagged one
 * goes on, as in ThreadPoolExecutor. */
bool task_is_interrupted_with_wait(const struct task *task);

/* Name of a tagged task's function for error texts. */
const char *task_function_name(const struct task *task);

#endif
