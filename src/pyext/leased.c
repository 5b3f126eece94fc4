#include "leased.h"

#include "../core/lease.h"
#include "definition.h"
#include "execute.h"
#include "executor.h"
#include "homecall.h"
#include "lending.h"
#include "outcome.h"
#include "registry.h"
#include "stopping.h"
#include "submit.h"
#include "target.h"

/* The calling thread has a lease: what it calls in the main interpreter meanwhile must not wait for another one. */
static _Thread_local bool leases;

/* -- where it may not be called -- */

/* The function `name` of a module that may be loaded: a new reference; None: the module has none; NULL: it is not
 * loaded, or with an exception. */
static PyObject *
function_if_loaded(PyObject **module_name, const char *text, const char *name)
{
    if (*module_name == NULL) {
        *module_name = PyUnicode_InternFromString(text);
    }
    PyObject *module = *module_name == NULL ? NULL : PyImport_GetModule(*module_name);
    PyObject *function = NULL;
    if (module != NULL && PyObject_GetOptionalAttrString(module, name, &function) == 0) {
        function = Py_NewRef(Py_None);
    }
    Py_XDECREF(module);
    return function;
}

/* Whether a loop of asyncio's runs in this thread. -1 with an exception. */
static int
is_in_asyncio(struct state *state)
{
    if (state->running_loop == NULL) {
        state->running_loop =
            function_if_loaded(&state->loop_modules[0], "asyncio.events", "_get_running_loop");
    }
    if (state->running_loop == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    PyObject *loop = PyObject_CallNoArgs(state->running_loop);
    Py_XDECREF(loop); /* whoever runs it holds it */
    return loop == NULL ? -1 : loop != Py_None;
}

static int
is_in_trio(struct state *state)
{
    if (state->in_trio_run == NULL) {
        state->in_trio_run =
            function_if_loaded(&state->loop_modules[1], "trio.lowlevel", "in_trio_run");
    }
    if (state->in_trio_run == NULL || state->in_trio_run == Py_None) {
        return PyErr_Occurred() ? -1 : 0;
    }
    PyObject *answer = PyObject_CallNoArgs(state->in_trio_run);
    int result = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    return result;
}

static void
raise_in_loop(const TagObject *tag, const char *instead)
{
    const char *name;
    PyObject *holder = definition_name(tag->marked, &name);
    PyErr_Format(PyExc_RuntimeError,
                 "%s was called in the thread of a running event loop, which would stand still "
                 "meanwhile: await it instead, with %s",
                 name, instead);
    Py_XDECREF(holder);
}

/* -1 with an exception: an event loop runs here. */
static int
check_no_loop(struct state *state, const TagObject *tag)
{
    int found = is_in_asyncio(state);
    if (found > 0) {
        raise_in_loop(tag, "executor.run(f, ...), aiointerpreters.run(f, ...) or "
                           "asyncio.to_thread(f, ...)");
    }
    else if (found == 0 && (found = is_in_trio(state)) > 0) {
        raise_in_loop(tag, "aiointerpreters.anyio.run_sync(f, ...) or "
                           "trio.to_thread.run_sync(f, ...)");
    }
    return found == 0 ? 0 : -1;
}

/* -- the executor -- */

/* NULL with an exception. */
static struct crew *
find_crew(struct state *state)
{
    if (state->lease_crew == NULL || state->lease_crew->shutdown) {
        PyObject *executor = state_call("_everywhere", "executor", NULL, 0);
        struct crew *crew = executor == NULL ? NULL : executor_crew(executor);
        if (crew == NULL) {
            Py_XDECREF(executor);
            return NULL;
        }
        compat_keep_stacks(); /* each lease takes a thread state */
        Py_XSETREF(state->lease_executor, executor);
        state->lease_crew = crew;
    }
    return state->lease_crew;
}

/* -- the outcome -- */

/* At exit the thread is not to go on, quietly. */
static void
raise_stopped(struct state *state)
{
    PyErr_SetNone(registry_is_exiting() ? PyExc_SystemExit : state->cancelled_error);
}

/* Of a task that has ended: the value, or NULL with an exception. */
static PyObject *
read_outcome(struct state *state, struct task *task)
{
    PyObject *value = NULL, *exception = NULL;
    unsigned now = fstate_get(&task->state);
    if (now == FSTATE_CANCELLED || now == FSTATE_CANCELLED_AND_NOTIFIED ||
        (task->outcome == OUTCOME_STOPPED && !task->expired)) {
        raise_stopped(state);
    }
    else {
        lending_collect(state);
        if (outcome_read(state, task, &value, &exception) == 0 && exception != NULL) {
            outcome_raise(exception);
            Py_DECREF(exception);
        }
    }
    return value;
}

/* -- in the calling thread -- */

/* Attached to the interpreter. Where the call can be stopped; NULL: there is no memory for that. */
static struct target *
find_target(struct crew *crew, struct interp *interp)
{
    if (interp->guest == NULL && (interp->guest = target_new()) != NULL) {
        stopping_add_guest(interp->guest, crew);
    }
    if (interp->guest != NULL) {
        target_use(interp->guest);
    }
    return interp->guest;
}

/* Attached to the interpreter. Whether it may be used again. */
static bool
execute_stoppable(struct crew *crew, struct interp *interp, struct task *task)
{
    struct target *target = find_target(crew, interp);
    if (target == NULL) {
        PyErr_NoMemory();
        execute_failed(interp, task);
        return true;
    }
    if (!stopping_begin(target, interp->state, task)) {
        execute_failed(interp, task); /* nobody cancels it: there is nobody to see to its limit */
        stopping_settle(task);
        return true;
    }
    execute_task(interp, task, target);
    bool sound = !target->unsound;
    if (task->outcome == OUTCOME_STOPPED || task->limit > 0 || registry_is_exiting()) {
        task->expired =
            stopping_settle(task) ? EXPIRED : NOT_EXPIRED; /* before somebody else is there */
    }
    return sound;
}

/* Detached, with the lease granted: runs the call, unless there is no memory for that (OUTCOME_NONE), and ends the lease.
 * Returns how many workers should be started. */
static unsigned
run(struct crew *crew, struct lease *lease, struct task *task)
{
    struct interp *interp = lease->slot->resource;
    if (!interp_enter(interp, false)) {
        return lease_end(&crew->pool, lease);
    }
    bool sound = true;
    task->job.number = lease->number;
    fstate_start(&task->state);
    if (task->interruptible) {
        sound = execute_stoppable(crew, interp, task);
    }
    else {
        execute_task(interp, task, NULL);
    }
    interp_leave(interp, false);
    if (task->generation != registry_generation()) {
        return 0; /* what it called has forked, and this is the child, where the pool has forgotten it */
    }
    return sound ? lease_end(&crew->pool, lease)
                 : lease_condemn(&crew->pool, lease, &interp->condemned);
}

/* Attached to main: starts workers that others want. */
static void
start_for_others(struct crew *crew, unsigned starts)
{
    if (submit_start_workers(crew, (int)starts) < 0) {
        PyErr_WriteUnraisable(NULL);
    }
}

/* The lease was not to be had. 0: the call is to be an ordinary one; -1 with an exception. */
static int
after_refusal(struct crew *crew, struct lease *lease)
{
    PyObject *error = lease->error;
    lease_end(&crew->pool, lease);
    if (error != NULL) {
        PyErr_SetRaisedException(error);
        return -1;
    }
    if (crew->stopped) {
        raise_stopped(crew->state);
        return -1;
    }
    if (registry_is_exiting() || crew->shutdown) {
        return 0;
    }
    PyErr_SetString(PyExc_RuntimeError, "no worker thread could be started for the call");
    return -1;
}

/* 1: the task has ended; 0: the call is to be an ordinary one; -1 with an exception. */
static int
call_on_lease(struct crew *crew, struct task *task)
{
    struct lease lease;
    leases =
        true; /* already now: starting workers runs Python, and the lease may be granted meanwhile */
    unsigned starts = lease_begin(&crew->pool, &lease);
    if (starts > 0 && submit_start_workers(crew, (int)starts) < 0) {
        PyObject *error = PyErr_GetRaisedException();
        starts = lease_end(&crew->pool, &lease);
        Py_XDECREF((PyObject *)lease.error); /* it may have been refused meanwhile */
        leases = false;
        start_for_others(crew, starts);
        PyErr_SetRaisedException(error);
        return -1;
    }
    PyThreadState *main = PyEval_SaveThread();
    homecall_begin_lease(main);
    while (lease_await(&lease, OS_FOREVER) != OS_WOKEN) { /* a signal, which is the main thread's */
    }
    bool granted = lease_state(&lease) == LEASE_GRANTED;
    starts = granted ? run(crew, &lease, task) : 0;
    leases = false;
    homecall_end_lease();
    PyEval_RestoreThread(main);
    if (!granted) {
        return after_refusal(crew, &lease);
    }
    start_for_others(crew, starts);
    if (task->outcome == OUTCOME_NONE) {
        PyErr_NoMemory();
        return -1;
    }
    return 1;
}

/* -- in the main thread -- */

/* As call_on_lease(), by a worker, so that signal handlers can run here. */
static int
call_by_worker(struct state *state, struct crew *crew, struct task *task)
{
    task->wanted = true;
    if (submit_queue(state, crew, task, NULL, OS_FOREVER) < 0) {
        return -1;
    }
    if (outcome_await(task, OS_FOREVER) < 0) {
        task_hold(task); /* the caller drops his own */
        submit_give_up(task);
        return -1;
    }
    return 1;
}

/* -- the call -- */

/* Whether this thread may wait for an interpreter. */
static bool
may_lease(const struct crew *crew)
{
    return !leases && !crew_is_joined(crew) && !registry_is_exiting();
}

PyObject *
leased_call(struct state *state, TagObject *tag, PyObject *const *args, size_t nargsf,
            PyObject *keywords)
{
    if (check_no_loop(state, tag) < 0) {
        return NULL;
    }
    if (registry_is_exiting()) {
        return PyObject_Vectorcall(tag->marked, args, nargsf, keywords);
    }
    struct crew *crew = find_crew(state);
    if (crew == NULL) {
        return NULL;
    }
    int done = 0;
    PyObject *value = NULL;
    crew_hold(crew); /* others may have another one made meanwhile */
    if (may_lease(crew)) {
        struct task *task = submit_make_direct(state, crew, (PyObject *)tag, args,
                                               (size_t)PyVectorcall_NARGS(nargsf), keywords);
        done = task == NULL                   ? -1
               : fstate_is_done(&task->state) ? 1 /* it cannot be sent */
               : compat_is_main_thread()      ? call_by_worker(state, crew, task)
                                              : call_on_lease(crew, task);
        value = done > 0 ? read_outcome(state, task) : NULL;
        if (task != NULL) {
            task_drop(task);
        }
    }
    crew_drop(crew);
    return done != 0 ? value : PyObject_Vectorcall(tag->marked, args, nargsf, keywords);
}

/* -- the end of the process -- */

struct threads {
    unsigned long *idents;
    size_t count;
};

/* Then it is who has entered that has the target, and nobody else comes before he has left. */
static bool
is_leased(const struct target *target)
{
    return target->worker == NULL &&
           atomic_load_explicit(&target->phase, memory_order_acquire) == TARGET_INSIDE;
}

static void
note_leased(struct target *target, void *any)
{
    *(bool *)any = *(bool *)any || is_leased(target);
}

static bool
is_in_one_of(struct target *target, const void *argument)
{
    const struct threads *threads = argument;
    bool found = false;
    if (is_leased(target)) {
        unsigned long ident = atomic_load_explicit(&target->thread, memory_order_relaxed);
        for (size_t i = 0; i < threads->count; i++) {
            found = found || threads->idents[i] == ident;
        }
    }
    return found;
}

/* The threads that Python does not wait for. None without memory. */
static struct threads
find_daemons(void)
{
    struct threads threads = {NULL, 0};
    PyObject *list = state_call("_exit", "daemons", NULL, 0);
    if (list == NULL && PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        PyErr_SetInterrupt(); /* whoever waits looks for signals, and should find it */
    }
    Py_ssize_t count = list == NULL || !PyList_Check(list) ? 0 : PyList_GET_SIZE(list);
    threads.idents = PyMem_Calloc((size_t)count + 1, sizeof(*threads.idents));
    for (Py_ssize_t i = 0; threads.idents != NULL && i < count; i++) {
        threads.idents[threads.count++] = PyLong_AsUnsignedLongMask(PyList_GET_ITEM(list, i));
    }
    PyErr_Clear();
    Py_XDECREF(list);
    return threads;
}

void
leased_stop_daemons(struct crew *crew)
{
    bool any = false;
    if (crew->state->lease_crew == crew) {
        stopping_each(note_leased, &any);
    }
    if (any) {
        struct threads daemons = find_daemons();
        stopping_ask_if(is_in_one_of, &daemons);
        PyMem_Free(daemons.idents);
    }
}
