#include "report.h"

#include "../core/aside.h"
#include "../core/roster.h"
#include "func.h"
#include "hosts.h"
#include "interp.h"
#include "stack.h"

#include <stdlib.h>
#include <string.h>

/* -- what has been done -- */

static PyObject *
times_of(const struct stats_sum_times *times)
{
    return Py_BuildValue("(Kddd)", (unsigned long long)times->count, (double)times->sum / 1e9,
                         stats_quantile(times, 0.5) / 1e9, stats_quantile(times, 0.99) / 1e9);
}

/* Adds what its hosts serve, and their threads and interpreters. */
static void
add_hosts(struct hosts *hosts, struct roster_totals *totals)
{
    struct roster_totals *inner = malloc(sizeof(*inner));
    if (inner == NULL) {
        return;
    }
    struct mailroom_load load;
    mailroom_weigh(&hosts->room, &load);
    totals->pending += load.pending;
    totals->sum.running += load.running;
    for (size_t i = 0; i < STATS_EVENTS; i++) {
        totals->sum.events[i] += atomic_load_explicit(&hosts->counts[i], memory_order_relaxed);
    }
    roster_total(&hosts->inner->pool, inner);
    totals->sum.events[STATS_SET_ASIDE] += inner->sum.events[STATS_SET_ASIDE];
    totals->sum.events[STATS_RECYCLED] += inner->sum.events[STATS_RECYCLED];
    totals->workers += inner->workers;
    totals->made += inner->made;
    free(inner);
}

PyObject *
report_totals(struct crew *crew)
{
    struct roster_totals *totals = malloc(sizeof(*totals)); /* some kilobytes */
    if (totals == NULL) {
        return PyErr_NoMemory();
    }
    roster_total(&crew->pool, totals);
    if (crew_hosts(crew) != NULL) {
        add_hosts(crew_hosts(crew), totals);
    }
    const uint64_t *events = totals->sum.events;
    PyObject *wait = times_of(&totals->sum.wait);
    PyObject *run = times_of(&totals->sum.run);
    PyObject *result = NULL;
    if (wait != NULL && run != NULL) {
        result = Py_BuildValue(
            "(KKKKKKKKIIKKOO)", (unsigned long long)totals->pending,
            (unsigned long long)totals->sum.running, (unsigned long long)events[STATS_DONE],
            (unsigned long long)events[STATS_FAILED], (unsigned long long)events[STATS_CANCELLED],
            (unsigned long long)events[STATS_INTERRUPTED],
            (unsigned long long)events[STATS_SET_ASIDE], (unsigned long long)events[STATS_RECYCLED],
            totals->workers, totals->made, (unsigned long long)totals->sum.bytes_in,
            (unsigned long long)totals->sum.bytes_out, wait, run);
    }
    Py_XDECREF(wait);
    Py_XDECREF(run);
    free(totals);
    return result;
}

/* -- a look at an interpreter: by a thread that waits for its GIL as long as that takes -- */

struct look {
    atomic_uint refs; /* who asked, and the thread */
    atomic_uint done; /* 1: `text` is there. Set by the thread (release), parked on by who asked */
    struct interp *interp; /* pinned, until the thread is done */
    unsigned long thread;  /* of the worker */
    char *text;            /* owned, or NULL: it was not to be had */
};

static void
look_drop(struct look *look)
{
    if (atomic_fetch_sub_explicit(&look->refs, 1, memory_order_acq_rel) == 1) {
        free(look->text);
        free(look);
    }
}

static void
look_around(void *argument)
{
    struct look *look = argument;
    PyThreadState *tstate = PyThreadState_New(look->interp->interpreter);
    if (tstate != NULL) {
        PyEval_RestoreThread(tstate);
        look->text = stack_of_threads(look->thread);
        PyThreadState_Clear(tstate);
        PyThreadState_DeleteCurrent();
    }
    interp_unpin(look->interp);
    /* Pairs with the acquire in await_look(). */
    atomic_store_explicit(&look->done, 1, memory_order_release);
    os_word_wake_all(&look->done);
    look_drop(look);
}

/* NULL: it cannot be done; the pin is gone. */
static struct look *
look_begin(struct interp *interp, unsigned long thread)
{
    struct look *look = calloc(1, sizeof(*look));
    if (look != NULL) {
        *look = (struct look){.interp = interp, .thread = thread};
        atomic_init(&look->refs, 2);
        if (os_thread_run(look_around, look) == 0) {
            return look;
        }
        free(look);
    }
    interp_unpin(interp);
    return NULL;
}

/* The text as a new str, or None. Detaches while it waits. */
static PyObject *
look_end(struct look *look, int64_t deadline)
{
    os_wait_result result = OS_WOKEN;
    Py_BEGIN_ALLOW_THREADS
    while (atomic_load_explicit(&look->done, memory_order_acquire) == 0 && result != OS_TIMED_OUT) {
        result = os_word_wait(&look->done, 0, deadline);
    }
    Py_END_ALLOW_THREADS
    bool done = atomic_load_explicit(&look->done, memory_order_acquire) == 1;
    PyObject *text =
        done && look->text != NULL
            ? PyUnicode_DecodeUTF8(look->text, (Py_ssize_t)strlen(look->text), "replace")
            : Py_NewRef(Py_None);
    look_drop(look);
    return text;
}

/* -- what is being done -- */

struct seen {
    struct stats_now now;
    unsigned long thread;
    PyObject *called; /* a new reference: of a plain task the callable, of a tagged one its name */
    const char *name; /* of a func: as long as we hold the GIL */
    bool making;
    bool aside;
    struct interp *interp; /* pinned, or NULL */
    int64_t id;
    struct look *look;
};

struct seen_all {
    struct seen *seen;
    size_t count;
    size_t room;
};

/* Under the pool's lock, attached. */
static void
see(struct worker *worker, void *argument)
{
    struct seen_all *all = argument;
    if (all->count == all->room) {
        return; /* it has come since we counted */
    }
    struct seen *seen = &all->seen[all->count++];
    stats_read_doing(&worker->sheet, &seen->now);
    seen->thread = worker->thread;
    /* Both are sure to be there, since we hold the GIL: a plain task lets go of its callable under it,
     * and a func is freed under it (func.h). */
    if (seen->now.doing == STATS_PLAIN) {
        seen->called = Py_XNewRef((PyObject *)seen->now.object);
    }
    else if (seen->now.doing == STATS_TAGGED && seen->now.object != NULL) {
        seen->name = ((const struct func *)seen->now.object)->name;
    }
    seen->making = worker->slot != NULL && worker->slot->resource == NULL;
    seen->aside = worker->aside;
    if (seen->now.doing == STATS_TAGGED && worker->slot != NULL && worker->slot->resource != NULL) {
        seen->interp = worker->slot->resource;
        seen->id = PyInterpreterState_GetID(seen->interp->interpreter);
        interp_pin(seen->interp);
    }
}

static const char *
state_name(const struct seen *seen)
{
    switch (seen->now.doing) {
    case STATS_PLAIN:
        return "plain";
    case STATS_TAGGED:
        return seen->aside ? "aside" : "tagged";
    default:
        return seen->making ? "making" : "idle";
    }
}

/* `stack`: stolen. */
static PyObject *
describe(const struct seen *seen, int64_t now, PyObject *stack)
{
    PyObject *called = seen->called != NULL ? seen->called : Py_None;
    PyObject *id = seen->interp != NULL ? PyLong_FromLongLong(seen->id) : Py_NewRef(Py_None);
    int64_t since = seen->now.since < now ? now - seen->now.since : 0;
    PyObject *result =
        id == NULL || stack == NULL
            ? NULL
            : Py_BuildValue("(ksOdOOO)", seen->thread, state_name(seen), called,
                            (double)since / 1e9, seen->now.exact ? Py_True : Py_False, id, stack);
    Py_XDECREF(id);
    Py_XDECREF(stack);
    return result;
}

static PyObject *
workers_of(struct crew *crew, int64_t patience_ns)
{
    struct seen_all all = {.room = pool_workers(&crew->pool) + pool_aside(&crew->pool)};
    all.seen = PyMem_Calloc(all.room > 0 ? all.room : 1, sizeof(*all.seen));
    PyObject *result = PyList_New(0);
    if (all.seen == NULL || result == NULL) {
        PyMem_Free(all.seen);
        Py_XDECREF(result);
        return PyErr_NoMemory();
    }
    roster_walk(&crew->pool, see, &all);
    int64_t now = os_now_ns();
    for (size_t i = 0; i < all.count; i++) { /* as yet, nothing has let go of the GIL */
        struct seen *seen = &all.seen[i];
        if (seen->name != NULL) {
            seen->called =
                PyUnicode_DecodeUTF8(seen->name, (Py_ssize_t)strlen(seen->name), "replace");
            PyErr_Clear(); /* out of memory: without its name */
        }
        if (seen->interp != NULL) {
            seen->look = look_begin(seen->interp, seen->thread);
        }
    }
    for (size_t i = 0; i < all.count; i++) {
        struct seen *seen = &all.seen[i];
        PyObject *stack =
            seen->look != NULL ? look_end(seen->look, now + patience_ns) : Py_NewRef(Py_None);
        PyObject *worker = describe(seen, now, stack);
        if (worker == NULL || (result != NULL && PyList_Append(result, worker) < 0)) {
            Py_CLEAR(result); /* and go on: the others are to be let go of, too */
        }
        Py_XDECREF(worker);
        Py_XDECREF(seen->called);
    }
    PyMem_Free(all.seen);
    return result;
}

PyObject *
report_workers(struct crew *crew, int64_t patience_ns)
{
    PyObject *workers = workers_of(crew, patience_ns);
    struct hosts *hosts = crew_hosts(crew);
    if (workers == NULL || hosts == NULL) {
        return workers;
    }
    PyObject *more = workers_of(hosts->inner, patience_ns);
    if (more == NULL || PyList_SetSlice(workers, PY_SSIZE_T_MAX, PY_SSIZE_T_MAX, more) < 0) {
        Py_CLEAR(workers);
    }
    Py_XDECREF(more);
    return workers;
}
