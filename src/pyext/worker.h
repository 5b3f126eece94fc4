/* worker: one worker thread of a crew. Private to worker, renewal and stopping. */
#ifndef AIOINTERP_WORKER_H
#define AIOINTERP_WORKER_H

#include "crew.h"
#include "interp.h"

typedef enum { DETACHED, AT_MAIN, AT_INTERP } whereabouts;

/* The worker's own, but for `base` (core/pool) and what is constant. */
struct worker_thread {
    struct worker base;
    struct crew *crew;   /* held by the thread's target; constant */
    PyObject *thread;    /* the threading.Thread, borrowed; constant */
    PyThreadState *main; /* this thread's state in the submitter's interpreter */
    whereabouts where;
    struct interp *entered; /* AT_INTERP: that interpreter */
    bool at_home;           /* AT_INTERP: as its home, or as a guest */
    struct target *target;  /* constant */
    size_t bytes_in;        /* of the task that it is at, tagged */
    bool is_aside;          /* it was set aside, and knows */
    bool renews;            /* it has an interpreter to renew before it takes a job (renewal) */
    struct interp *worn;    /* the one that it has to end then; or NULL */
    unsigned generation;    /* registry_generation() when it started; constant */
};

/* -- for the worker's own thread -- */

/* Attached to nothing, or to main, afterwards. */
void worker_go_nowhere(struct worker_thread *worker);
void worker_go_main(struct worker_thread *worker);
/* To the interpreter of the slot that is held, which must have been made. False, attached to nothing:
 * there is no memory for a guest's thread state. */
bool worker_go_interp(struct worker_thread *worker);

/* The next job: pool_take(). NULL, too, while it has something else to do first. */
struct job *worker_take(struct worker_thread *worker);

/* At main: starts workers that the pool has counted. */
void worker_start_others(struct worker_thread *worker, unsigned count);

/* A task that forks returns twice, in the worker too. In the child the pool has forgotten it, whose
 * thread is the child's only one: it finishes its task and ends. */
bool worker_is_forked(const struct worker_thread *worker);

#endif
