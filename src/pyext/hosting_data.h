/* hosting_data: a Host and its calls from inside, for the rooms that they are made of: hosting, hosting_call,
 * hosting_outcome, hosting_interrupt. Everything is guarded by the GIL of the host's interpreter.
 */
#ifndef AIOINTERP_HOSTING_DATA_H
#define AIOINTERP_HOSTING_DATA_H

#include "hosting.h"

#include "hosts.h"
#include "message.h"
#include "state.h"
#include "target.h"
#include "task.h"

struct interp;

typedef struct {
    PyObject_HEAD
    struct state *state;
    struct host *host;     /* held */
    struct target *target; /* the worker's, which runs this */
    struct interp *interp;
    PyObject *loop;
    PyObject *module; /* aiointerpreters._hosting */
    PyObject *task_class;
    PyObject *task_names; /* of its keyword arguments */
    PyObject *current_task;
    PyObject *cancelled_error;
    struct list calls; /* of HostCallObject: begun, and not ended */
    size_t limited;    /* of them with a time limit */
    int64_t armed_at;  /* when the watch was told to look; OS_FOREVER */
    struct combined
        *ended; /* calls that have ended and must be told, by told.next; the last first */
    struct combined *stopped; /* ... that were stopped, but not by their future */
    struct combined *skipped; /* ... that were cancelled before they began */
    bool begins;              /* a Task is being made, which begins at once */
    bool flushes;             /* the loop will call flush() */
    bool stopping;
    bool closing;
    struct message scratch; /* for the outcome of one call; empty */
} HostObject;

typedef struct {
    PyObject_HEAD
    HostObject *host;  /* held; NULL once it has ended */
    struct list node;  /* in host->calls */
    struct task *task; /* held */
    PyObject *running; /* the asyncio Task, or NULL: not yet */
    PyObject *timer;   /* of its time limit, or NULL */
    PyObject *pump;    /* of a generator; of a fetch its generator's; or NULL */
    int64_t limit_at;  /* OS_FOREVER: none */
    bool expired;
    bool is_ours; /* nobody but this has ended it: what its task holds is plain memory */
} HostCallObject;

static inline struct hosts *
hosting_hosts(const HostObject *self)
{
    return self->host->hosts;
}

static inline struct mailroom *
hosting_room(const HostObject *self)
{
    return &self->host->hosts->room;
}

static inline HostCallObject *
hosting_call_of(struct list *node)
{
    return LIST_ENTRY(node, HostCallObject, node);
}

/* -- hosting_call: a call that the host serves -- */

/* Begins a call that was taken out of the mailbox, with the reference that was taken with it. */
void hosting_begin(HostObject *self, struct task *task);
/* Its Task has ended. */
void hosting_end(HostCallObject *call);
/* Cancels its Task, if it has one. */
void hosting_cancel(HostCallObject *call);
/* It has ended, or never began: what its host knows of it. */
void hosting_forget(HostCallObject *call);
/* Drops a reference to a call. `is_ours`: nobody but this host has ended it. */
void hosting_drop(struct task *task, bool is_ours);
/* Has the watch look, should the loop not get to the end of a limit in time. */
void hosting_arm(HostObject *self, int64_t limit_at);
/* 0, or -1 with an exception. */
int hosting_register_call_type(struct state *state);

/* -- hosting_outcome: what has ended, to those who wait -- */

/* The task has ended with `value` (stolen), or NULL and what is raised. `pump`: the value is what a fetch of that gives; or
 * NULL. Leaves nothing raised. False: it was not ours any more. */
bool hosting_finish(HostObject *self, struct task *task, PyObject *value, PyObject *pump,
                    bool expired);
/* It was cancelled before it began. False: it was not ours any more. */
bool hosting_skip(HostObject *self, struct task *task);
/* Publishes what has ended. May visit the main interpreter. */
void hosting_flush(HostObject *self);

#endif
