#include "executor.h"

#include "../core/lease.h"
#include "crew.h"
#include "hosts.h"
#include "limit.h"
#include "map.h"
#include "options.h"
#include "outcome.h"
#include "prestart.h"
#include "renewal.h"
#include "registry.h"
#include "report.h"
#include "run.h"
#include "stack.h"
#include "submit.h"
#include "workqueue.h"

#include <stdatomic.h>
#include <stddef.h>

typedef struct {
    struct crew *crew;       /* held; NULL before __init__ */
    PyObject *shutdown_lock; /* threading.Lock for those who ask for it, made when touched */
} ExecutorData;

/* Executors without a thread_name_prefix are numbered, as in concurrent.futures. */
static atomic_ullong executors_named;

static void executor_dealloc(PyObject *self);

static ExecutorData *
data_of(PyObject *self)
{
    return state_own_part(self, executor_dealloc);
}

struct crew *
executor_crew(PyObject *self)
{
    struct crew *crew = data_of(self)->crew;
    if (crew == NULL) {
        PyErr_Format(PyExc_RuntimeError, "%T.__init__() was not called", self);
    }
    return crew;
}

/* -- making -- */

static PyObject *
prefix_of(PyObject *given)
{
    int empty = PyObject_Not(given);
    if (empty < 0) {
        return NULL;
    }
    return empty ? PyUnicode_FromFormat(
                       "InterpreterThreadPoolExecutor-%llu",
                       atomic_fetch_add_explicit(&executors_named, 1, memory_order_relaxed))
                 : PyObject_Str(given);
}

/* A crew as the options want it; NULL with an exception. */
static struct crew *
new_crew(struct state *state, const struct options *options)
{
    PyObject *initargs =
        options->initargs == NULL ? PyTuple_New(0) : PySequence_Tuple(options->initargs);
    PyObject *prefix = prefix_of(options->prefix == NULL ? Py_None : options->prefix);
    bool preloads = options->preload != NULL && PyTuple_GET_SIZE(options->preload) > 0;
    struct preload *preload = preloads ? preload_new(options->preload) : NULL;
    struct crew *crew = NULL;
    if (initargs != NULL && prefix != NULL && (preload != NULL || !preloads)) {
        crew = crew_new(state, options->workers, options->interpreters, prefix,
                        options->initializer, initargs);
    }
    Py_XDECREF(initargs);
    Py_XDECREF(prefix);
    if (crew == NULL) {
        preload_free(preload);
        return NULL;
    }
    crew->preload = preload;
    crew->most_hosted = options->most_hosted;
    crew->grace = options->grace;
    if (options->cache_bytes > 0) {
        crew->repeats = repeats_new(options->cache_bytes); /* without memory: none */
    }
    if (options->context_vars != NULL && PyTuple_GET_SIZE(options->context_vars) > 0) {
        crew->context_vars = Py_NewRef(options->context_vars);
    }
    if ((options->limit != NULL && limit_set(crew, options->limit) < 0) ||
        (options->recycling != NULL && renewal_set(crew, options->recycling) < 0)) {
        crew_drop(crew);
        return NULL;
    }
    return crew;
}

/* The executor is done with its crew: workers finish what was accepted and leave. */
static void
abandon_crew(ExecutorData *data)
{
    struct crew *crew = data->crew;
    data->crew = NULL;
    if (crew != NULL) {
        pool_close(&crew->pool);
        hosts_close(crew_hosts(crew));
        crew_forget_repeats(crew);
        crew_drop(crew);
    }
}

static int
executor_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    struct options options;
    struct state *state = state_of_type(Py_TYPE(self));
    if (state == NULL || options_parse(&options, args, kwargs) < 0) {
        return -1;
    }
    struct crew *crew = new_crew(state, &options);
    if (crew == NULL) {
        return -1;
    }
    abandon_crew(data_of(self));
    data_of(self)->crew = crew;
    return 0;
}

static int
executor_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(data_of(self)->shutdown_lock);
    if (crew_traverse(data_of(self)->crew, visit, arg) != 0) {
        return -1;
    }
    return PyObject_VisitManagedDict(self, visit, arg);
}

static int
executor_clear(PyObject *self)
{
    Py_CLEAR(data_of(self)->shutdown_lock);
    crew_clear(data_of(self)->crew);
    PyObject_ClearManagedDict(self);
    return 0;
}

static void
executor_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    COMPAT_DEALLOC_BEGIN(self, executor_dealloc)
    PyObject_ClearWeakRefs(self);
    executor_clear(self);
    abandon_crew(data_of(self));
    type->tp_free(self);
    Py_DECREF(type);
    COMPAT_DEALLOC_END
}

/* -- submit -- */

static PyObject *
executor_submit(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *keywords)
{
    struct crew *crew = executor_crew(self);
    if (crew == NULL) {
        return NULL;
    }
    if (nargs < 1) {
        PyErr_SetString(PyExc_TypeError, "submit() missing 1 required positional argument: 'fn'");
        return NULL;
    }
    crew_hold(crew); /* encoding the arguments may run anything */
    PyObject *future =
        submit(crew->state, crew, args[0], args + 1, (size_t)nargs - 1, keywords, NULL);
    crew_drop(crew);
    return future;
}

static PyObject *
executor_run(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *keywords)
{
    struct crew *crew = executor_crew(self);
    if (crew == NULL) {
        return NULL;
    }
    if (nargs < 1) {
        PyErr_SetString(PyExc_TypeError, "run() missing 1 required positional argument: 'fn'");
        return NULL;
    }
    crew_hold(crew); /* encoding the arguments may run anything */
    PyObject *call =
        run(crew->state, self, crew, args[0], args + 1, (size_t)nargs - 1, keywords, NULL);
    crew_drop(crew);
    return call;
}

/* _begin_turn(bell): one who waits for room, in an event loop. */
static PyObject *
executor_begin_turn(PyObject *self, PyObject *bell)
{
    int descriptor = PyLong_AsInt(bell); /* first: it may run anything, __init__() once more, too */
    struct crew *crew = PyErr_Occurred() ? NULL : executor_crew(self);
    return crew == NULL ? NULL : limit_new_turn(crew->state, crew, descriptor);
}

/* _submit_turn(turn, fn, *args, **kwargs): submit() when it is this one's turn. _run_turn(): the same of
 * run(). */
static PyObject *
use_turn(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *keywords, bool runs)
{
    struct crew *crew = executor_crew(self);
    if (crew == NULL) {
        return NULL;
    }
    if (nargs < 2) {
        PyErr_SetString(PyExc_TypeError, "a turn is for a call: turn, fn, *args, **kwargs");
        return NULL;
    }
    struct turn *turn = limit_turn(crew->state, args[0]);
    if (turn == NULL) {
        return NULL;
    }
    crew_hold(crew); /* encoding the arguments may run anything */
    size_t count = (size_t)nargs - 2;
    PyObject *made = runs ? run(crew->state, self, crew, args[1], args + 2, count, keywords, turn)
                          : submit(crew->state, crew, args[1], args + 2, count, keywords, turn);
    crew_drop(crew);
    return made;
}

static PyObject *
executor_submit_turn(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *keywords)
{
    return use_turn(self, args, nargs, keywords, false);
}

static PyObject *
executor_run_turn(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *keywords)
{
    return use_turn(self, args, nargs, keywords, true);
}

/* _fetch(call, taken, closes): run_fetch(). */
static PyObject *
executor_fetch(PyObject *self, PyObject *args)
{
    PyObject *stream;
    unsigned long long taken;
    int closes;
    if (!PyArg_ParseTuple(args, "OKp", &stream, &taken, &closes)) {
        return NULL;
    }
    struct crew *crew = executor_crew(self);
    return crew == NULL ? NULL : run_fetch(crew->state, stream, taken, closes != 0);
}

/* How many wait for room, in whatever way, or to lease an interpreter. */
static PyObject *
executor_waiting(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    struct crew *crew = executor_crew(self);
    return crew == NULL
               ? NULL
               : PyLong_FromSize_t(turns_waiting(&crew->pool) + leases_waiting(&crew->pool));
}

static PyObject *
executor_totals(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    struct crew *crew = executor_crew(self);
    return crew == NULL ? NULL : report_totals(crew);
}

/* _frames(): stack.h. */
static PyObject *
executor_frames(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(ignored))
{
    return stack_current_frames();
}

/* _workers(seconds): report.h. */
static PyObject *
executor_workers(PyObject *self, PyObject *seconds)
{
    double patience = PyFloat_AsDouble(seconds); /* first: it may run anything */
    struct crew *crew = PyErr_Occurred() ? NULL : executor_crew(self);
    if (crew == NULL) {
        return NULL;
    }
    crew_hold(crew); /* it is waited, detached */
    PyObject *workers = report_workers(crew, (int64_t)(patience * 1e9));
    crew_drop(crew);
    return workers;
}

/* _map(fn, iterables, timeout, ahead): map() with its arguments checked; ahead 0 is all. */
static PyObject *
executor_map(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 4 || !PyTuple_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "_map(fn, iterables, timeout, ahead)");
        return NULL;
    }
    size_t ahead = (size_t)PyNumber_AsSsize_t(args[3], NULL); /* clipped when it is too large */
    struct crew *crew = PyErr_Occurred() ? NULL : executor_crew(self);
    if (crew == NULL) {
        return NULL;
    }
    crew_hold(crew); /* the iterables may do anything */
    PyObject *results = map_new(crew->state, self, crew, args[0], args[1], args[2], ahead);
    crew_drop(crew);
    return results;
}

static PyObject *
executor_prestart(PyObject *self, PyObject *args)
{
    unsigned interpreters, threads;
    PyObject *waiter;
    if (!PyArg_ParseTuple(args, "IIO", &interpreters, &threads, &waiter)) {
        return NULL;
    }
    struct crew *crew = executor_crew(self);
    if (crew == NULL) {
        return NULL;
    }
    crew_hold(crew); /* encoding the initializer may run anything */
    PyObject *begun = prestart(crew->state, crew, Py_MIN(interpreters, crew->pool.max_slots),
                               Py_MIN(threads, crew->pool.max_workers), waiter);
    crew_drop(crew);
    return begun;
}

/* -- shutdown -- */

/* Waits until the workers have left the pool; a signal handler may raise. */
static int
await_workers(struct crew *crew)
{
    os_wait_result result;
    do {
        Py_BEGIN_ALLOW_THREADS
        result = pool_await_workers(&crew->pool, false, os_now_ns() + LOOK_FOR_SIGNALS);
        Py_END_ALLOW_THREADS
        if (result != OS_WOKEN && PyErr_CheckSignals() < 0) {
            return -1;
        }
    } while (result != OS_WOKEN);
    return 0;
}

/* Joins the threads themselves, which have little left to do. */
static int
join_threads(struct crew *crew)
{
    PyObject *threads = crew_list_threads(crew);
    int result = threads == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; result == 0 && i < PyList_GET_SIZE(threads); i++) {
        PyObject *thread = Py_NewRef(PyList_GET_ITEM(threads, i));
        PyObject *done = PyObject_CallMethod(thread, "join", NULL);
        result = done == NULL ? -1 : 0;
        Py_XDECREF(done);
        Py_DECREF(thread);
    }
    Py_XDECREF(threads);
    return result;
}

/* Waits for all threads, those of its hosts, too. */
static int
await_all(struct crew *crew)
{
    struct crew *inner = crew_hosts(crew) == NULL ? NULL : crew_hosts(crew)->inner;
    if (crew_is_joined(crew) || (inner != NULL && crew_is_joined(inner))) {
        PyErr_SetString(PyExc_RuntimeError, "cannot join current thread");
        return -1;
    }
    if (inner != NULL && (await_workers(inner) < 0 || join_threads(inner) < 0)) {
        return -1;
    }
    return await_workers(crew) < 0 || join_threads(crew) < 0 ? -1 : 0;
}

static int
shut_down(struct crew *crew, bool wait, bool cancel_futures, bool interrupt)
{
    crew->shutdown = true;
    pool_close(&crew->pool);
    hosts_close(crew_hosts(crew));
    crew_forget_repeats(crew);
    if (interrupt) {
        crew_stop(crew);
    }
    else if (cancel_futures) {
        crew_cancel_pending(crew);
    }
    if (!wait || await_all(crew) == 0) {
        return 0;
    }
    if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        PyObject *error = PyErr_GetRaisedException();
        crew_stop(crew);
        PyErr_SetRaisedException(error);
    }
    return -1;
}

static PyObject *
executor_shutdown(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"wait", "cancel_futures", "interrupt", NULL};
    int wait = 1, cancel_futures = 0, interrupt = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|p$pp:shutdown", names, &wait, &cancel_futures,
                                     &interrupt)) {
        return NULL;
    }
    struct crew *crew = executor_crew(self);
    if (crew == NULL) {
        return NULL;
    }
    crew_hold(crew);
    int result = shut_down(crew, wait, cancel_futures, interrupt);
    crew_drop(crew);
    if (result < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* -- what others look at -- */

static PyObject *
executor_get_max_workers(PyObject *self, void *Py_UNUSED(closure))
{
    struct crew *crew = executor_crew(self);
    return crew == NULL ? NULL : PyLong_FromUnsignedLong(crew->pool.max_workers);
}

static PyObject *
executor_get_max_interpreters(PyObject *self, void *Py_UNUSED(closure))
{
    struct crew *crew = executor_crew(self);
    return crew == NULL ? NULL : PyLong_FromUnsignedLong(crew->pool.max_slots);
}

static PyObject *
executor_get_shutdown(PyObject *self, void *Py_UNUSED(closure))
{
    struct crew *crew = executor_crew(self);
    return crew == NULL ? NULL : PyBool_FromLong(crew->shutdown || registry_is_exiting());
}

static PyObject *
executor_get_broken(PyObject *self, void *Py_UNUSED(closure))
{
    struct crew *crew = executor_crew(self);
    if (crew == NULL) {
        return NULL;
    }
    return Py_NewRef(crew->broken != NULL ? crew->broken : Py_False);
}

/* `closure` is the offset of an object in struct crew; NULL there is None. */
static PyObject *
executor_get_object(PyObject *self, void *closure)
{
    struct crew *crew = executor_crew(self);
    if (crew == NULL) {
        return NULL;
    }
    PyObject *object = *(PyObject **)((char *)crew + (uintptr_t)closure);
    return Py_NewRef(object != NULL ? object : Py_None);
}

static PyObject *
executor_get_work_queue(PyObject *self, void *Py_UNUSED(closure))
{
    struct crew *crew = executor_crew(self);
    return crew == NULL ? NULL : workqueue_new(crew->state, crew);
}

static PyObject *
executor_get_idle_semaphore(PyObject *self, void *Py_UNUSED(closure))
{
    struct crew *crew = executor_crew(self);
    unsigned idle = crew == NULL ? 0 : pool_idle(&crew->pool); /* importing may run anything */
    PyObject *threading = crew == NULL ? NULL : PyImport_ImportModule("threading");
    PyObject *semaphore =
        threading == NULL ? NULL : PyObject_CallMethod(threading, "Semaphore", "I", idle);
    Py_XDECREF(threading);
    return semaphore;
}

static PyObject *
executor_get_shutdown_lock(PyObject *self, void *Py_UNUSED(closure))
{
    ExecutorData *data = data_of(self);
    if (data->shutdown_lock == NULL) {
        PyObject *threading = PyImport_ImportModule("threading");
        PyObject *lock = threading == NULL ? NULL : PyObject_CallMethod(threading, "Lock", NULL);
        Py_XDECREF(threading);
        if (data->shutdown_lock == NULL) { /* nobody was quicker while we called out */
            data->shutdown_lock = Py_XNewRef(lock);
        }
        Py_XDECREF(lock);
    }
    return Py_XNewRef(data->shutdown_lock);
}

#define CREW(name) (void *)offsetof(struct crew, name)

static PyGetSetDef executor_getset[] = {
    {"_max_workers", executor_get_max_workers, NULL, "Threads at most.", NULL},
    {"_max_interpreters", executor_get_max_interpreters, NULL, "Interpreters at most.", NULL},
    {"_threads", executor_get_object, NULL, "The threads started so far, a set.", CREW(threads)},
    {"_work_queue", executor_get_work_queue, NULL, "The tasks that wait for a worker.", NULL},
    {"_idle_semaphore", executor_get_idle_semaphore, NULL,
     "A semaphore whose value is the number of idle workers at the moment of asking.", NULL},
    {"_shutdown", executor_get_shutdown, NULL, "Whether it was shut down.", NULL},
    {"_shutdown_lock", executor_get_shutdown_lock, NULL, "A lock of the executor's own.", NULL},
    {"_broken", executor_get_broken, NULL, "Why it is broken, or False.", NULL},
    {"_thread_name_prefix", executor_get_object, NULL, NULL, CREW(name_prefix)},
    {"_initializer", executor_get_object, NULL, NULL, CREW(initializer)},
    {"_initargs", executor_get_object, NULL, NULL, CREW(initargs)},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(
    submit_doc,
    "submit($self, fn, /, *args, **kwargs)\n"
    "--\n"
    "\n"
    "Schedule fn(*args, **kwargs) and return its future.\n"
    "\n"
    "A callable tagged by `interpreter` runs in a worker's own interpreter, any other one as in a\n"
    "ThreadPoolExecutor. A value that cannot be sent to an interpreter ends the future with a\n"
    "SendError.\n"
    "\n"
    "With max_pending tasks pending, submit() waits or raises, as when_full says; in the thread of "
    "a\n"
    "running event loop, which must not wait, it raises: see submit_async().\n"
    "\n"
    "Raises:\n"
    "    queue.Full: There is no room among the pending tasks, or none within pending_timeout.\n"
    "    DeadlockError: This is a task of the executor, there is no room, and no other of its\n"
    "        workers could make any.\n"
    "    RuntimeError: The executor, or Python, is shutting down; or this is a worker's "
    "interpreter.\n"
    "    BrokenThreadPool: An initializer has failed.");

PyDoc_STRVAR(
    run_doc,
    "run($self, fn, /, *args, **kwargs)\n"
    "--\n"
    "\n"
    "Call fn(*args, **kwargs) in a worker, and give what an event loop awaits for its result.\n"
    "\n"
    "A callable tagged by `interpreter` runs in a worker's own interpreter. Any other one runs in "
    "a\n"
    "thread, in a copy of the caller's context, as by asyncio.to_thread(). A tagged coroutine\n"
    "function runs on an event loop in an interpreter, which many calls share.\n"
    "\n"
    "The call is made at once, whether it is awaited or not. Cancelling the await cancels it: it "
    "does\n"
    "not start any more, or, tagged, is interrupted; a thread goes on, and its result is dropped.\n"
    "\n"
    "Returns:\n"
    "    Something to await, once or more often, in the event loop that runs in this thread. It "
    "can be\n"
    "    gathered, made a Task, shielded and given to asyncio.wait_for(). The await gives what fn "
    "has\n"
    "    returned, or raises what it has raised: a SendError if something could not be sent;\n"
    "    BrokenThreadPool if an initializer has failed; asyncio.CancelledError if the executor was "
    "shut\n"
    "    down with cancel_futures=True before it began.\n"
    "    Of an asynchronous generator function: an asynchronous iterator, with aclose().\n"
    "\n"
    "With max_pending tasks pending, it is the await that waits for room, in order, and makes the\n"
    "call then.\n"
    "\n"
    "Raises:\n"
    "    RuntimeError: No event loop runs in this thread; or the executor, or Python, is shutting\n"
    "        down; or this is a worker's interpreter.\n"
    "    TypeError: fn cannot be called, or is a coroutine function that is not tagged.\n"
    "    BrokenThreadPool: An initializer has failed.\n"
    "    queue.Full: There is no room among the pending tasks, with when_full='raise'; or, from "
    "the\n"
    "        await, none within pending_timeout.");

PyDoc_STRVAR(
    shutdown_doc,
    "shutdown($self, /, wait=True, *, cancel_futures=False, interrupt=False)\n"
    "--\n"
    "\n"
    "Accept no more work; what was accepted is finished, unless it is cancelled.\n"
    "\n"
    "Args:\n"
    "    wait: Return only when every worker has ended.\n"
    "    cancel_futures: Cancel what has not started, and tell whoever waits for it.\n"
    "    interrupt: The same, and interrupt tagged calls that run, unless they are not\n"
    "        interruptible; their futures are cancelled, too.\n"
    "\n"
    "Raises:\n"
    "    RuntimeError: With wait, from within one of its own workers.\n"
    "    KeyboardInterrupt: A Ctrl-C came while it waited; it has gone on with interrupt=True,\n"
    "        without waiting.");

static PyMethodDef executor_methods[] = {
    {"submit", (PyCFunction)(void (*)(void))executor_submit, METH_FASTCALL | METH_KEYWORDS,
     submit_doc},
    {"run", (PyCFunction)(void (*)(void))executor_run, METH_FASTCALL | METH_KEYWORDS, run_doc},
    {"_map", (PyCFunction)(void (*)(void))executor_map, METH_FASTCALL, NULL},
    {"_begin_turn", executor_begin_turn, METH_O, NULL},
    {"_submit_turn", (PyCFunction)(void (*)(void))executor_submit_turn,
     METH_FASTCALL | METH_KEYWORDS, NULL},
    {"_run_turn", (PyCFunction)(void (*)(void))executor_run_turn, METH_FASTCALL | METH_KEYWORDS,
     NULL},
    {"_fetch", executor_fetch, METH_VARARGS, NULL},
    {"_waiting", executor_waiting, METH_NOARGS, NULL},
    {"_totals", executor_totals, METH_NOARGS, NULL},
    {"_frames", executor_frames, METH_NOARGS, NULL},
    {"_workers", executor_workers, METH_O, NULL},
    {"_prestart", executor_prestart, METH_VARARGS,
     PyDoc_STR("The part of prestart() that is written in C (private): prestart.h.")},
    {"shutdown", (PyCFunction)(void (*)(void))executor_shutdown, METH_VARARGS | METH_KEYWORDS,
     shutdown_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot executor_slots[] = {
    {Py_tp_doc, "The C base of InterpreterThreadPoolExecutor."},
    {Py_tp_init, executor_init},
    {Py_tp_traverse, executor_traverse},
    {Py_tp_clear, executor_clear},
    {Py_tp_dealloc, executor_dealloc},
    {Py_tp_methods, executor_methods},
    {Py_tp_getset, executor_getset},
    {0, NULL},
};

static PyType_Spec executor_spec = {
    .name = "aiointerpreters._core.Executor",
    .basicsize = -(int)sizeof(ExecutorData),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = executor_slots,
};

int
executor_register_types(struct state *state)
{
    PyObject *module = PyImport_ImportModule("concurrent.futures.thread");
    PyObject *standard =
        module == NULL ? NULL : PyObject_GetAttrString(module, "ThreadPoolExecutor");
    PyObject *threading = standard == NULL ? NULL : PyImport_ImportModule("threading");
    int result = -1;
    if (standard != NULL && threading != NULL) {
        state->broken_pool = PyObject_GetAttrString(module, "BrokenThreadPool");
        state->thread_class = PyObject_GetAttrString(threading, "Thread");
        state->executor_type =
            (PyTypeObject *)PyType_FromModuleAndSpec(state->module, &executor_spec, standard);
        if (state->broken_pool != NULL && state->thread_class != NULL &&
            state->executor_type != NULL) {
            result = 0;
        }
    }
    Py_XDECREF(module);
    Py_XDECREF(standard);
    Py_XDECREF(threading);
    return result;
}
