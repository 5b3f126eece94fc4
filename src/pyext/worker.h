/* worker: one worker thread of a crew. Private to worker and stopping. */
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
    unsigned generation;    /* registry_generation() when it started; constant */
};

#endif
