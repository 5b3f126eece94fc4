#include "target.h"

#include "../core/watch.h"
#include "hosting.h"
#include "hosts.h"

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

void
target_open(struct target *target, struct state *state, uint64_t number, struct host *host)
{
    atomic_store_explicit(&target->host, host, memory_order_relaxed);
    atomic_store_explicit(&target->number, number, memory_order_relaxed);
    target->exception = state->interrupted;
    target->raised = target->unsound = false;
    atomic_store_explicit(&target->inside, PyInterpreterState_Get(), memory_order_relaxed);
    /* Release: the watch, which finds INSIDE (acquire), sees what the worker did before. */
    atomic_store_explicit(&target->phase, TARGET_INSIDE, memory_order_release);
}

bool
target_close(struct target *target)
{
    atomic_store_explicit(&target->inside, NULL, memory_order_relaxed);
    atomic_store_explicit(&target->host, NULL, memory_order_relaxed); /* settling orders it */
    if (target->sent) {
        target->sent = false;
        PyThreadState_SetAsyncExc(thread_of(target), NULL);
    }
    return atomic_exchange_explicit(&target->phase, TARGET_OUTSIDE, memory_order_acq_rel) ==
           TARGET_ASIDE;
}

/* -- in the interpreter, by whichever of its threads comes by -- */

/* Whether `exception` is an interruption, or was raised while one was being handled. */
static bool
comes_from_interruption(PyObject *exception, PyObject *type)
{
    enum { LONGEST_CHAIN = 100 };
    bool found = false;
    PyObject *link = Py_XNewRef(exception);
    for (int i = 0; link != NULL && !found && i < LONGEST_CHAIN; i++) {
        found = Py_IS_TYPE(link, (PyTypeObject *)type);
        Py_SETREF(link, PyException_GetContext(link));
    }
    Py_XDECREF(link);
    return found;
}

bool
target_is_handling(PyObject *type)
{
    PyObject *handled = PyErr_GetHandledException();
    bool result = comes_from_interruption(handled, type);
    Py_XDECREF(handled);
    return result;
}

/* A half-done import, or a lock that is held, would be there for good. */
static bool
is_shared_code(PyFrameObject *frame, PyObject *standard)
{
    PyObject *globals = PyFrame_GetGlobals(frame);
    PyObject *name = globals == NULL ? NULL : PyDict_GetItemString(globals, "__name__");
    bool result = true;
    if (name != NULL && PyUnicode_Check(name)) {
        Py_ssize_t length = PyUnicode_GET_LENGTH(name);
        Py_ssize_t dot = PyUnicode_FindChar(name, '.', 0, length, 1);
        PyObject *root = PyUnicode_Substring(name, 0, dot < 0 ? length : dot);
        if (root != NULL && !PyUnicode_EqualToUTF8(root, "__main__")) {
            result = PyUnicode_EqualToUTF8(root, "aiointerpreters") ||
                     PySet_Contains(standard, root) != 0;
        }
        else if (root != NULL) {
            result = false;
        }
        Py_XDECREF(root);
    }
    PyErr_Clear();
    Py_XDECREF(globals);
    return result;
}

bool
target_is_shared_code(PyFrameObject *frame)
{
    PyObject *standard = PySys_GetObject("stdlib_module_names");
    return standard == NULL || !PyAnySet_Check(standard) || is_shared_code(frame, standard);
}

/* Whether all Python code that is under way in this thread is the task's own. */
static bool
is_sound_place(void)
{
    PyObject *standard = PySys_GetObject("stdlib_module_names");
    bool sound = standard != NULL && PyAnySet_Check(standard);
    PyFrameObject *frame = PyThreadState_GetFrame(PyThreadState_Get());
    while (frame != NULL) {
        sound = sound && !is_shared_code(frame, standard);
        PyFrameObject *back = PyFrame_GetBack(frame);
        Py_DECREF(frame);
        frame = back;
    }
    return sound;
}

static int
interrupt(struct target *target)
{
    if (PyThread_get_thread_ident() != thread_of(target)) {
        target->sent = target->raised = target->unsound = true;
        PyThreadState_SetAsyncExc(thread_of(target), target->exception);
        return 0;
    }
    if (target_is_handling(target->exception)) {
        return 0;
    }
    target->unsound = target->unsound || !is_sound_place();
    target->raised = true;
    PyErr_SetString(target->exception, "the task is to stop");
    return -1;
}

/* What a knock has the interpreter call. */
static int
answer(void *argument)
{
    struct target *target = argument;
    atomic_store_explicit(&target->knocking, false, memory_order_relaxed);
    uint64_t wanted = atomic_load_explicit(&target->wanted, memory_order_relaxed);
    bool here =
        atomic_load_explicit(&target->inside, memory_order_relaxed) == PyInterpreterState_Get();
    uint64_t number = atomic_load_explicit(&target->number, memory_order_relaxed);
    bool meant = here && (wanted == WATCH_ANY || wanted == number);
    struct host *host = atomic_load_explicit(&target->host, memory_order_relaxed);
    int result = !meant ? 0 : host != NULL ? hosting_interrupt(target, wanted) : interrupt(target);
    target_drop(target);
    return result;
}

void
target_knock(struct target *target, uint64_t number)
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
    if (atomic_exchange_explicit(&target->knocking, true, memory_order_relaxed)) {
        return;
    }
    atomic_fetch_add_explicit(&target->refs, 1, memory_order_relaxed);
    if (compat_add_call(interpreter, answer, target) < 0) { /* its queue is full */
        atomic_store_explicit(&target->knocking, false, memory_order_relaxed);
        target_drop(target);
    }
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
