#include "renewal.h"

#include "../core/aside.h"
#include "../core/roster.h"
#include "execute.h"
#include "preload.h"
#include "transport.h"

/* -- options -- */

/* An idle interpreter is looked at no more often than that. Nanoseconds. */
enum { SHORTEST_IDLE = 1000000 };

int
renewal_set(struct crew *crew, PyObject *options)
{
    PyObject *seconds;
    if (!PyArg_ParseTuple(options, "IO", &crew->max_tasks, &seconds)) {
        return -1;
    }
    double idle = seconds == Py_None ? 9e9 : PyFloat_AsDouble(seconds);
    if (idle == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (idle < 9e9) { /* else 285 years */
        int64_t timeout = (int64_t)(idle * 1e9);
        pool_end_idle(&crew->pool, timeout > SHORTEST_IDLE ? timeout : SHORTEST_IDLE);
    }
    return 0;
}

/* -- making -- */

/* Runs the executor's preload and initializer in the interpreter just made. False: it failed; at
 * main, the crew broken. */
static bool
initialize_interp(struct worker_thread *worker)
{
    struct crew *crew = worker->crew;
    struct message error;
    message_init(&error);
    const char *module =
        crew->preload == NULL ? NULL : execute_preload(worker->entered, crew->preload, &error);
    bool done = module == NULL &&
                (!crew->interp.wanted || execute_initializer(worker->entered, crew->interp.func,
                                                             crew->interp.call, &error));
    if (!done) {
        worker->entered->failed = true;
        worker_go_main(worker);
        PyObject *cause = transport_decode_error(crew->state, &error);
        if (cause == NULL) {
            cause = PyErr_GetRaisedException();
        }
        if (module != NULL) {
            crew_break_preload(crew, cause, module);
        }
        else {
            crew_break(crew, cause);
        }
        Py_DECREF(cause);
    }
    message_free(&error);
    return done;
}

int
renewal_make(struct worker_thread *worker, bool ahead)
{
    char why[512];
    worker_go_nowhere(worker);
    struct interp *interp = interp_create(why, sizeof(why));
    if (interp == NULL) {
        worker_go_main(worker);
        PyErr_Format(PyExc_RuntimeError, "an interpreter could not be created: %s", why);
        return -1;
    }
    worker->entered = interp;
    worker->at_home = true;
    worker->where = AT_INTERP;
    bool ready = initialize_interp(worker);
    if (ready && ahead) {
        execute_warm_up(interp);
    }
    if (!worker_is_forked(worker)) { /* by a callback of what has failed */
        /* Whoever waits for the interpreter finds it ready, or the pool broken. */
        unsigned wanted = pool_slot_made(&worker->crew->pool, &worker->base, interp);
        if (wanted > 0) {
            worker_go_main(worker);
            worker_start_others(worker, wanted);
        }
    }
    if (!ready) {
        crew_raise_broken(worker->crew);
        return -1;
    }
    (void)worker_go_interp(worker); /* its home has a thread state there */
    return 0;
}

/* -- renewing -- */

bool
renewal_is_worn(struct worker_thread *worker)
{
    unsigned most = worker->crew->max_tasks;
    return most > 0 && ++worker->entered->tasks >= most;
}

/* NULL: the worker is not its home, which has been called. */
static struct interp *
condemn(struct worker_thread *worker)
{
    struct interp *interp = worker->base.slot->resource;
    worker_go_nowhere(worker);
    stats_count(&worker->base.sheet, STATS_RECYCLED);
    return pool_condemn(&worker->crew->pool, &worker->base, &interp->condemned) ? interp : NULL;
}

void
renewal_begin(struct worker_thread *worker)
{
    worker->worn = condemn(worker);
    worker->renews = true;
}

void
renewal_end(struct worker_thread *worker, struct interp *interp)
{
    if (!interp_end(interp, worker->crew->grace)) {
        roster_count(&worker->crew->pool, STATS_SET_ASIDE);
    }
}

/* Without a slot, and not counted on: others do the work meanwhile. */
static void
end_aside(struct worker_thread *worker, struct interp *interp)
{
    unsigned wanted = pool_stay_busy(&worker->crew->pool, &worker->base, NULL);
    if (wanted > 0) {
        worker_go_main(worker);
        worker_start_others(worker, wanted);
    }
    worker_go_nowhere(worker);
    renewal_end(worker, interp);
}

struct job *
renewal_finish(struct worker_thread *worker)
{
    struct interp *worn = worker->worn;
    worker->worn = NULL;
    worker->renews = false;
    worker_go_nowhere(worker);
    if (pool_hold_empty(&worker->crew->pool, &worker->base) && renewal_make(worker, true) < 0) {
        PyErr_Clear(); /* whoever needs one finds out, and says so */
    }
    if (worker_is_forked(worker)) {
        return NULL;
    }
    if (worn != NULL) {
        end_aside(worker, worn);
    }
    return worker_take(worker);
}

/* -- ending -- */

struct job *
renewal_end_idle(struct worker_thread *worker)
{
    end_aside(worker, condemn(worker)); /* its home is who gets this */
    return worker_take(worker);
}

void
renewal_end_condemned(struct worker_thread *worker)
{
    struct interp *interp;
    worker_go_nowhere(worker);
    while ((interp = pool_take_condemned(&worker->crew->pool, &worker->base)) != NULL) {
        renewal_end(worker, interp);
    }
}

void
renewal_end_all(struct worker_thread *worker)
{
    struct pool *pool = &worker->crew->pool;
    struct interp *interp;
    worker_go_nowhere(worker);
    while ((interp = pool_reclaim_slot(pool, &worker->base)) != NULL) {
        renewal_end(worker, interp);
        pool_slot_ended(pool, &worker->base);
    }
}
