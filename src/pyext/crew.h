/* crew: what an executor and its workers share.
 *
 * Outlives the executor object: workers hold it, so that an executor that is collected can finish
 * what it accepted. All crews of the process are registered (registry), so that the exit can wait for them.
 * But for `pool` (its own lock) everything is guarded by the GIL of the interpreter that made the
 * executor, and every function wants the caller attached to it.
 */
#ifndef AIOINTERP_CREW_H
#define AIOINTERP_CREW_H

#include "../core/combine.h"
#include "../core/list.h"
#include "../core/pool.h"
#include "func.h"
#include "message.h"
#include "preload.h"
#include "repeats.h"
#include "state.h"

/* How interpreters are initialized: plain memory, constant once `ready`, which is before the first
 * tagged task is queued; workers read it without a GIL. */
struct interp_initializer {
    bool ready;
    bool wanted;
    struct func *func;    /* owned, or NULL: the callable is in the message */
    struct message *call; /* owned; NULL unless ready and wanted */
};

struct task;
struct hosts;

/* What a call that finds no room among the pending tasks does (limit); constant. */
struct limit {
    bool raises;      /* at once */
    int64_t patience; /* nanoseconds that it waits else; OS_FOREVER */
};

struct crew {
    struct pool pool;
    struct limit limit;
    struct combiner told; /* tasks that have ended and must be told, together */
    atomic_uint refs;
    struct list node;         /* in the registry; its lock */
    struct state *state;      /* of the module in the interpreter that made the executor */
    PyObject *module;         /* keeps `state` */
    PyObject *threads;        /* set of threading.Thread, as executor._threads */
    unsigned generation;      /* of forks: whose threads `threads` are */
    PyObject *name_prefix;    /* str */
    unsigned long long names; /* threads named so far */
    PyObject *initializer;    /* or NULL */
    PyObject *initargs;       /* tuple */
    bool initializes_threads; /* the initializer is not tagged */
    struct interp_initializer interp;
    unsigned max_tasks; /* that an interpreter may run; 0: any number; constant */
    int64_t grace;      /* ns from asking a task to stop to setting its worker aside; constant */
    PyObject *context_vars;  /* tuple of ContextVar, or NULL; set by who made the crew, constant */
    struct preload *preload; /* owned, or NULL; set by who made the crew, constant then */
    struct repeats *repeats; /* owned, or NULL: arguments are not recognised; set as `preload` */
    size_t most_hosted; /* coroutines that a host may serve at a time; 0: any number; constant */
    _Atomic(struct hosts *) hosts; /* owned, or NULL; set once, under the registry's lock */
    struct hosts *serves;          /* whose hosts the workers of this crew run, or NULL; borrowed */
    struct list starting;          /* of struct start: threads that are not ready yet */
    PyObject *broken;              /* str that says why, or NULL */
    PyObject *broken_cause;        /* the exception of the initializer or a preload, or NULL */
    bool shutdown;                 /* by shutdown() */
    bool stopped;                  /* by crew_stop() */
};

/* One reference. Steals nothing. NULL with an exception. */
struct crew *crew_new(struct state *state, unsigned max_workers, unsigned max_interpreters,
                      PyObject *name_prefix, PyObject *initializer, PyObject *initargs);
void crew_hold(struct crew *crew);
void crew_drop(struct crew *crew);

/* Its hosts, borrowed; NULL as long as no coroutine function was called. */
struct hosts *crew_hosts(struct crew *crew);

/* A list of the worker threads, for joining them: of this process, not of one it was forked from. */
PyObject *crew_list_threads(struct crew *crew);

/* In a forked child: forgets the threads of the parent. */
void crew_forget_parent(struct crew *crew);

/* Starts one worker that the pool has counted. 0; 1 when it could not but others are there to do the
 * work; or -1 with an exception when nobody is, and everything pending has failed with it. */
int crew_start_worker(struct crew *crew);
/* The same for one that takes the place of a worker that was set aside, and first of all ends its task (or NULL), which
 * has expired. */
int crew_start_worker_for(struct crew *crew, struct task *expired);

/* Encodes the initializer for interpreters, before the first tagged task. */
int crew_prepare_interp_initializer(struct crew *crew);

/* An initializer has failed with `cause` (borrowed): logs it, fails all that is pending and refuses
 * all that comes. */
void crew_break(struct crew *crew, PyObject *cause);
/* The same for a module that could not be preloaded. */
void crew_break_preload(struct crew *crew, PyObject *cause, const char *module);
/* Raises BrokenThreadPool. */
void crew_raise_broken(struct crew *crew);

/* No call comes any more: forgets arguments that might have come again. */
void crew_forget_repeats(struct crew *crew);

/* Takes all pending tasks and cancels them. */
void crew_cancel_pending(struct crew *crew);

/* Cancels what is pending and interrupts what runs, where it can be. */
void crew_stop(struct crew *crew);

/* A worker thread that is being started; under the GIL. start() of a thread may fail although the
 * thread runs (a Ctrl-C while it waits for that), so the thread says so itself. */
struct start {
    struct crew *crew; /* held */
    enum { STARTING, RUNNING, ABANDONED } progress;
    struct list node;      /* in crew->starting until prestart_tell() */
    PyObject *thread;      /* the threading.Thread, borrowed */
    struct task *expired;  /* or NULL: held until the thread tells that it has expired */
    PyObject *waiters;     /* list of callables, or NULL: who waits until it is ready (prestart) */
    struct target *target; /* held until the thread takes it over */
};

/* worker.c: the target of a worker thread; called with a capsule of its struct start. */
extern PyMethodDef worker_main_def;
extern const char crew_start_name[];

/* Whose worker the calling thread is, or NULL; any thread, attached or not. */
struct crew *crew_joined(void);
/* Whether the calling thread is a worker of this crew. */
bool crew_is_joined(const struct crew *crew);
/* For worker_main(): the calling thread is a worker of `crew` (NULL: not any more). */
void crew_set_joined(struct crew *crew);

/* What the garbage collector may see and clear: nothing while a worker or a queue holds the crew. */
int crew_traverse(struct crew *crew, visitproc visit, void *arg);
void crew_clear(struct crew *crew);

#endif
