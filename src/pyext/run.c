#include "run.h"

#include "awaited.h"
#include "callkind.h"
#include "hosts.h"
#include "limit.h"
#include "loops.h"
#include "registry.h"
#include "submit.h"

/* An untagged function runs in a copy of the caller's context, as by asyncio.to_thread():
 * partial(context.run, function, *args, **kwargs). */
static PyObject *
in_callers_context(struct state *state, PyObject *function, PyObject *const *values, size_t count,
                   PyObject *keywords)
{
    size_t named = keywords == NULL ? 0 : (size_t)PyTuple_GET_SIZE(keywords);
    PyObject *context = PyContext_CopyCurrent();
    PyObject *in_context = context == NULL ? NULL : PyObject_GetAttrString(context, "run");
    PyObject **block =
        in_context == NULL ? NULL : PyMem_Calloc(count + named + 2, sizeof(PyObject *));
    PyObject *partial = NULL;
    if (block != NULL) {
        block[0] = in_context;
        block[1] = function;
        for (size_t i = 0; i < count + named; i++) {
            block[i + 2] = values[i];
        }
        partial = PyObject_Vectorcall(state->partial_type, block, count + 2, keywords);
        PyMem_Free(block);
    }
    else if (!PyErr_Occurred()) {
        PyErr_NoMemory();
    }
    Py_XDECREF(context);
    Py_XDECREF(in_context);
    return partial;
}

/* What kind of task a call becomes is decided here: a tagged one, or one in a thread. NULL with an
 * exception when the crew does not accept it; else it may have ended, since it cannot be sent. */
static struct task *
make_task(struct state *state, struct crew *crew, PyObject *function, PyObject *const *values,
          size_t count, PyObject *keywords)
{
    int tagged = submit_is_tagged(state, function);
    if (tagged != 0) {
        return tagged < 0 ? NULL : submit_make(state, crew, function, values, count, keywords);
    }
    if (!PyCallable_Check(function)) {
        PyErr_Format(PyExc_TypeError, "run() needs a callable, not %R of type %T", function,
                     function);
        return NULL;
    }
    call_kind kind = callkind_of(function, state->tag_type);
    if (kind == CALL_UNKNOWN) {
        return NULL;
    }
    if (kind != CALL_VALUE) {
        PyErr_Format(
            PyExc_TypeError,
            "%R is a coroutine function: tag it, run(interpreter(f), ...), to have it run in "
            "an interpreter; or await it without an executor",
            function);
        return NULL;
    }
    PyObject *partial = in_callers_context(state, function, values, count, keywords);
    struct task *task = partial == NULL ? NULL : submit_make(state, crew, partial, NULL, 0, NULL);
    Py_XDECREF(partial);
    return task;
}

/* There is no room among the pending tasks: a coroutine that waits its turn. */
static PyObject *
run_in_turn(PyObject *executor, const struct crew *crew, PyObject *function,
            PyObject *const *values, size_t count, PyObject *keywords)
{
    double patience = crew->limit.patience == OS_FOREVER ? -1 : (double)crew->limit.patience / 1e9;
    PyObject *args = PyTuple_New((Py_ssize_t)count);
    PyObject *kwargs = PyDict_New();
    PyObject *seconds = PyFloat_FromDouble(patience);
    PyObject *coroutine = NULL;
    if (args != NULL && kwargs != NULL && seconds != NULL) {
        for (size_t i = 0; i < count; i++) {
            PyTuple_SET_ITEM(args, (Py_ssize_t)i, Py_NewRef(values[i]));
        }
        Py_ssize_t named = keywords == NULL ? 0 : PyTuple_GET_SIZE(keywords);
        bool complete = true;
        for (Py_ssize_t i = 0; i < named && complete; i++) {
            complete = PyDict_SetItem(kwargs, PyTuple_GET_ITEM(keywords, i),
                                      values[count + (size_t)i]) == 0;
        }
        PyObject *all[] = {executor, seconds, function, args, kwargs};
        coroutine = complete ? state_call("_awaiting", "run_in_turn", all, 5) : NULL;
    }
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    Py_XDECREF(seconds);
    return coroutine;
}

/* The iterator for a generator's call, which it takes over. */
static PyObject *
stream_of(PyObject *executor, PyObject *call)
{
    PyObject *args[] = {executor, call};
    PyObject *stream = call == NULL ? NULL : state_call("_streams", "Stream", args, 2);
    Py_XDECREF(call);
    return stream;
}

PyObject *
run(struct state *state, PyObject *executor, struct crew *crew, PyObject *function,
    PyObject *const *values, size_t count, PyObject *keywords, struct turn *turn)
{
    LoopObject *loop = loops_running(state, "run()");
    if (loop == NULL) {
        return NULL;
    }
    struct task *task = make_task(state, crew, function, values, count, keywords);
    bool failed = task != NULL && fstate_is_done(&task->state);
    bool streams = task != NULL && task->hosted != NULL && task->hosted->kind == HOSTED_GENERATOR;
    PyObject *call = task == NULL ? NULL : awaited_new(state, loop, task);
    Py_DECREF(loop);
    if (call == NULL || failed) {
        return streams ? stream_of(executor, call) : call;
    }
    bool waits = turn == NULL && limit_is_set(crew) && !crew->limit.raises;
    int queued = waits ? submit_queue_if_room(state, crew, task)
                       : submit_queue(state, crew, task, turn, OS_FOREVER);
    if (queued >= (waits ? 1 : 0)) {
        return streams ? stream_of(executor, call) : call;
    }
    awaited_discard(state, call);
    return queued < 0 ? NULL : run_in_turn(executor, crew, function, values, count, keywords);
}

PyObject *
run_fetch(struct state *state, PyObject *op, unsigned long long taken, bool closes)
{
    struct task *stream = awaited_task(state, op);
    if (stream == NULL || stream->generation != registry_generation()) {
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    }
    LoopObject *loop = loops_running(state, "reading from an asynchronous generator");
    struct task *task = loop == NULL ? NULL : task_new(true, registry_generation());
    if (task == NULL) {
        Py_XDECREF(loop);
        return NULL;
    }
    task->interruptible = true;
    PyObject *call = awaited_new(state, loop, task);
    Py_DECREF(loop);
    bool posted = false;
    if (call == NULL || hosts_post_fetch(task, stream, taken, closes, &posted) == 0) {
        if (call == NULL || posted) {
            return call;
        }
        awaited_discard(state, call);
        return Py_NewRef(Py_None);
    }
    awaited_discard(state, call);
    return NULL;
}
