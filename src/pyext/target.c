#include "target.h"

#include "../core/watch.h"
#include "hosting.h"
#include "hosts.h"
#include "place.h"

#include <stdlib.h>
#include <string.h>

/* Of the calling thread. */
static _Thread_local struct target *mine;

struct target *
target_mine(void)
{
    return mine;
}

struct target *
target_new(void)
{
    struct target *target = calloc(1, sizeof(*target));
    if (target != NULL) {
        atomic_init(&target->refs, 1);
    }
    return target;
}

void
target_own(struct target *target, struct crew *crew, void *worker)
{
    target->crew = crew;
    target->worker = worker;
    target_use(target);
    if (worker != NULL) {
        mine = target;
    }
}

void
target_use(struct target *target)
{
    atomic_store_explicit(&target->thread, PyThread_get_thread_ident(), memory_order_relaxed);
}

static unsigned long
thread_of(const struct target *target)
{
    return atomic_load_explicit(&target->thread, memory_order_relaxed);
}

void
target_hold(struct target *target)
{
    atomic_fetch_add_explicit(&target->refs, 1, memory_order_relaxed);
}

void
target_drop(struct target *target)
{
    if (atomic_fetch_sub_explicit(&target->refs, 1, memory_order_acq_rel) == 1) {
        free(target);
    }
}

/* With the GIL of the interpreter that the target is inside. */
static void
forget_put_back(struct target *target)
{
    target->put_back = 0;
    target->put_back_until = 0;
    target->is_met = false;
}

void
target_open(struct target *target, struct state *state, uint64_t number, struct host *host)
{
    atomic_store_explicit(&target->host, host, memory_order_relaxed);
    atomic_store_explicit(&target->number, number, memory_order_relaxed);
    target->exception = state->interrupted;
    target->tstate = PyThreadState_Get();
    target->asked_at = 0;
    forget_put_back(target);
    target->unsound = false;
    atomic_store_explicit(&target->inside, PyInterpreterState_Get(), memory_order_relaxed);
    /* Release: the watch, which finds INSIDE (acquire), sees what the worker did before. */
    atomic_store_explicit(&target->phase, TARGET_INSIDE, memory_order_release);
}

bool
target_close(struct target *target)
{
    atomic_store_explicit(&target->inside, NULL, memory_order_relaxed);
    atomic_store_explicit(&target->host, NULL, memory_order_relaxed); /* settling orders it */
    target->tstate = NULL;
    return atomic_exchange_explicit(&target->phase, TARGET_OUTSIDE, memory_order_acq_rel) ==
           TARGET_ASIDE;
}

/* -- in the interpreter, by whichever of its threads comes by -- */

/* Whether nobody waits for the interpreter any more: a worker was set aside, or who leases one has had as long to stop. */
static bool
is_given_up(const struct target *target)
{
    if (target->worker != NULL) {
        return atomic_load_explicit(&target->phase, memory_order_acquire) == TARGET_ASIDE;
    }
    return os_now_ns() - target->asked_at >= target->crew->grace;
}

enum interruption
target_interrupt(struct target *target)
{
    bool is_host = atomic_load_explicit(&target->host, memory_order_relaxed) != NULL;
    enum place place = place_of_caller(is_host);
    if (place == PLACE_CLOSED && !is_given_up(target)) {
        return INTERRUPTION_LATER;
    }
    target->unsound = target->unsound || place != PLACE_OWN;
    PyErr_SetString(target->exception, "the task is to stop");
    return INTERRUPTION_RAISED;
}

/* asyncio's CancelledError, if it is there; a new reference, or NULL. For the loop of a task's own, whose other Tasks clean up
 * by it. */
static PyObject *
find_cancelled_error(void)
{
    PyObject *name = PyUnicode_FromString("asyncio.exceptions");
    PyObject *module = name == NULL ? NULL : PyImport_GetModule(name);
    PyObject *type = NULL;
    if (module != NULL && PyModule_CheckExact(module)) {
        PyObject *names = PyModule_GetDict(module); /* borrowed */
        type = Py_XNewRef(PyDict_GetItemString(names, "CancelledError"));
    }
    PyErr_Clear();
    Py_XDECREF(module);
    Py_XDECREF(name);
    return type;
}

static bool
cleans_up(const struct target *target)
{
    PyObject *cancelled = find_cancelled_error();
    PyObject *types[] = {target->exception, PyExc_GeneratorExit, cancelled, NULL};
    bool result = place_is_cleaning_up(target->tstate, types);
    Py_XDECREF(cancelled);
    return result;
}

/* For the task that is inside, which may be another one than was meant. */
static enum interruption
try_to_interrupt(struct target *target)
{
    uint64_t wanted = atomic_load_explicit(&target->wanted, memory_order_relaxed);
    uint64_t number = atomic_load_explicit(&target->number, memory_order_relaxed);
    struct host *host = atomic_load_explicit(&target->host, memory_order_relaxed);
    if ((wanted != WATCH_ANY && wanted != number) || cleans_up(target)) {
        return INTERRUPTION_OVER;
    }
    if (PyThread_get_thread_ident() != thread_of(target)) {
        return INTERRUPTION_LATER;
    }
    if (host != NULL) {
        return hosting_interrupt(target, wanted);
    }
    if (target->asked_at == 0) {
        target->asked_at = os_now_ns();
    }
    return target_interrupt(target);
}

static int answer(void *argument);

/* Takes over a reference, which the call has. */
static void
queue_call(struct target *target, PyInterpreterState *interpreter)
{
    if (atomic_exchange_explicit(&target->queued_in, interpreter, memory_order_acq_rel) ==
        interpreter) {
        target_drop(target); /* another one is on its way there */
    }
    else if (compat_add_call(interpreter, answer, target) < 0) { /* its queue is full */
        atomic_store_explicit(&target->queued_in, NULL, memory_order_release);
        target_drop(target);
    }
}

/* Whether the call is made again rather than to wait for the next knock. With the GIL of the interpreter that the target is
 * inside. */
static bool
is_put_back(struct target *target)
{
    bool is_own = PyThread_get_thread_ident() == thread_of(target);
    int64_t now = os_now_ns();
    if (target->put_back_until == 0 || (is_own && !target->is_met)) {
        target->put_back_until =
            now + atomic_load_explicit(&target->patience, memory_order_relaxed);
    }
    target->is_met = target->is_met || is_own;
    target->put_back++;
    return now < target->put_back_until;
}

/* What a knock has the interpreter call. */
static int
answer(void *argument)
{
    enum { LOOKS = 32 }; /* CPython makes a call that is put back up to 100 times in a row */
    struct target *target = argument;
    PyInterpreterState *here = PyInterpreterState_Get(), *queued_in = here;
    atomic_compare_exchange_strong_explicit(&target->queued_in, &queued_in, NULL,
                                            memory_order_acq_rel, memory_order_acquire);
    if (atomic_load_explicit(&target->inside, memory_order_relaxed) != here) {
        target_drop(target);
        return 0;
    }
    enum interruption result =
        target->put_back % LOOKS == 0 ? try_to_interrupt(target) : INTERRUPTION_LATER;
    if (result == INTERRUPTION_LATER && is_put_back(target)) {
        queue_call(target, here);
    }
    else {
        forget_put_back(target);
        target_drop(target);
    }
    return result == INTERRUPTION_RAISED ? -1 : 0;
}

void
target_knock(struct target *target, uint64_t number, int64_t patience)
{
    PyInterpreterState *interpreter = atomic_load_explicit(&target->inside, memory_order_relaxed);
    if (interpreter == NULL ||
        atomic_load_explicit(&target->phase, memory_order_acquire) == TARGET_OUTSIDE) {
        return;
    }
    struct host *host = atomic_load_explicit(&target->host, memory_order_relaxed);
    if (host != NULL) {
        os_bell_ring(host->bell.ringing); /* so that it says that it gets on */
    }
    atomic_store_explicit(&target->wanted, number, memory_order_relaxed);
    atomic_store_explicit(&target->patience, patience, memory_order_relaxed);
    target_hold(target);
    queue_call(target, interpreter);
}

/* -- the exception -- */

PyDoc_STRVAR(
    interrupted_doc,
    "Raised inside a tagged task that is to stop: it was cancelled, its timeout is over, or the\n"
    "executor is being shut down with `interrupt=True`.\n"
    "\n"
    "A BaseException, so that `except Exception` does not catch it. A task that catches it anyway\n"
    "gets it again. It never leaves the task: its future is cancelled, or ends with TimeoutError.");

int
target_register_types(struct state *state)
{
    state->interrupted = PyErr_NewExceptionWithDoc("aiointerpreters.Interrupted", interrupted_doc,
                                                   PyExc_BaseException, NULL);
    return state->interrupted == NULL
               ? -1
               : PyModule_AddObjectRef(state->module, "Interrupted", state->interrupted);
}
