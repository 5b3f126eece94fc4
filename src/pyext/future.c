#include "future.h"

#include "crew.h"
#include "future_data.h"
#include "outcome.h"
#include "registry.h"

#include <stddef.h>

static struct state *
state_of(PyObject *self)
{
    return state_of_type(Py_TYPE(self));
}

static void future_dealloc(PyObject *self);

FutureData *
future_data(PyObject *self)
{
    return state_own_part(self, future_dealloc);
}

/* -- the public methods -- */

static PyObject *
none_if_null(PyObject *object)
{
    return Py_NewRef(object != NULL ? object : Py_None);
}

static PyObject *
raise_or_return(FutureData *data)
{
    if (data->exception != NULL) {
        outcome_raise(data->exception);
        return NULL;
    }
    return none_if_null(data->result);
}

static PyObject *
parse_timeout(PyObject *const *args, Py_ssize_t nargs, PyObject *keywords, const char *method)
{
    Py_ssize_t total = nargs + (keywords != NULL ? PyTuple_GET_SIZE(keywords) : 0);
    if (total == 0) {
        return Py_None;
    }
    if (total > 1) {
        return PyErr_Format(PyExc_TypeError, "%s() takes at most 1 argument, timeout", method);
    }
    if (nargs == 0 && !PyUnicode_EqualToUTF8(PyTuple_GET_ITEM(keywords, 0), "timeout")) {
        return PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", method,
                            PyTuple_GET_ITEM(keywords, 0));
    }
    return args[0];
}

static PyObject *
future_result(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *keywords)
{
    struct state *state = state_of(self);
    FutureData *data = future_data(self);
    PyObject *timeout = parse_timeout(args, nargs, keywords, "result");
    if (timeout == NULL || future_await_outcome(state, data, timeout) < 0) {
        return NULL;
    }
    return raise_or_return(data);
}

static PyObject *
future_exception(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *keywords)
{
    struct state *state = state_of(self);
    FutureData *data = future_data(self);
    PyObject *timeout = parse_timeout(args, nargs, keywords, "exception");
    if (timeout == NULL || future_await_outcome(state, data, timeout) < 0) {
        return NULL;
    }
    return none_if_null(data->exception);
}

static PyObject *
future_cancel(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    int cancelled = future_try_cancel(state_of(self), self);
    return cancelled < 0 ? NULL : PyBool_FromLong(cancelled);
}

static PyObject *
future_cancelled(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    unsigned now = fstate_get(&future_data(self)->task->state);
    return PyBool_FromLong(now == FSTATE_CANCELLED || now == FSTATE_CANCELLED_AND_NOTIFIED);
}

static PyObject *
future_running(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(fstate_get(&future_data(self)->task->state) == FSTATE_RUNNING);
}

static PyObject *
future_done(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(fstate_is_done(&future_data(self)->task->state));
}

static PyObject *
ensure_list(PyObject **place)
{
    if (*place == NULL) {
        *place = PyList_New(0);
    }
    return *place;
}

static PyObject *
future_add_done_callback(PyObject *self, PyObject *callback)
{
    struct state *state = state_of(self);
    FutureData *data = future_data(self);
    if (!fstate_is_done(&data->task->state)) {
        if (ensure_list(&data->callbacks) == NULL || PyList_Append(data->callbacks, callback) < 0) {
            return NULL;
        }
        if (!future_observe(self, data, !future_knows_callback(state, callback))) {
            Py_RETURN_NONE;
        }
        /* It ended quietly in between: nobody tells, so it is up to us. */
        if (future_invoke_done_callbacks(state, self, false) < 0) {
            return NULL;
        }
        Py_RETURN_NONE;
    }
    PyObject *done = PyObject_CallOneArg(callback, self);
    if (done == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_Exception)) {
            return NULL;
        }
        future_log_callback_error(state, self);
    }
    Py_XDECREF(done);
    Py_RETURN_NONE;
}

static PyObject *
invalid_state(struct state *state, PyObject *self)
{
    unsigned now = fstate_get(&future_data(self)->task->state);
    return PyErr_Format(state->invalid_state_error, "%U: %R", state->future_names[now], self);
}

static void
log_unexpected_state(struct state *state, PyObject *self)
{
    PyObject *done = PyObject_CallMethod(
        state->logger, "critical", "sNO", "Future %s in unexpected state: %s",
        PyLong_FromVoidPtr(self), state->future_names[fstate_get(&future_data(self)->task->state)]);
    if (done == NULL) {
        PyErr_WriteUnraisable(self);
    }
    Py_XDECREF(done);
}

/* For executors and tests that drive a future by hand. */
static PyObject *
future_set_running_or_notify_cancel(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    struct state *state = state_of(self);
    FutureData *data = future_data(self);
    struct task *task = data->task;
    struct locked locked;
    if (future_lock(data, &locked) < 0) {
        return NULL;
    }
    PyObject *result = NULL;
    if (fstate_start(&task->state)) {
        result = Py_True;
    }
    else if (fstate_get(&task->state) == FSTATE_CANCELLED) {
        fstate_end(&task->state, FSTATE_CANCELLED_AND_NOTIFIED);
        future_tell_waiters(self, data, "add_cancelled");
        result = Py_False;
    }
    future_unlock(locked, false);
    if (result == NULL) {
        log_unexpected_state(state, self);
        PyErr_Format(PyExc_RuntimeError, "Future in unexpected state: %U",
                     state->future_names[fstate_get(&task->state)]);
    }
    return Py_XNewRef(result);
}

/* Ends a future by hand with a value or an exception (borrowed, one of them NULL). */
static PyObject *
end_by_hand(PyObject *self, PyObject *value, PyObject *exception)
{
    struct state *state = state_of(self);
    FutureData *data = future_data(self);
    struct locked locked;
    if (future_lock(data, &locked) < 0) {
        return NULL;
    }
    if (!fstate_finish(&data->task->state)) {
        future_unlock(locked, false);
        return invalid_state(state, self);
    }
    data->by_hand = true; /* whoever is woken needs our GIL to see the outcome */
    Py_XSETREF(data->result, Py_XNewRef(value));
    Py_XSETREF(data->exception, Py_XNewRef(exception));
    future_tell_waiters(self, data, exception != NULL ? "add_exception" : "add_result");
    future_unlock(locked, true);
    if (future_invoke_done_callbacks(state, self, false) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
future_set_result(PyObject *self, PyObject *value)
{
    return end_by_hand(self, value, NULL);
}

static PyObject *
future_set_exception(PyObject *self, PyObject *exception)
{
    return exception == Py_None ? end_by_hand(self, Py_None, NULL)
                                : end_by_hand(self, NULL, exception);
}

static PyObject *
future_invoke_callbacks(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    if (future_invoke_done_callbacks(state_of(self), self, false) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* For _waiters.py. */
static PyObject *
future_interrupt_method(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    future_interrupt(state_of(self), future_data(self)->task);
    Py_RETURN_NONE;
}

static PyObject *
future_get_result(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    FutureData *data = future_data(self);
    if (fstate_is_done(&data->task->state) && future_settle(state_of(self), data) < 0) {
        return NULL;
    }
    return raise_or_return(data);
}

static PyObject *
future_get_snapshot(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    struct state *state = state_of(self);
    FutureData *data = future_data(self);
    unsigned now = fstate_get(&data->task->state);
    if (now != FSTATE_FINISHED) {
        bool cancelled = now == FSTATE_CANCELLED || now == FSTATE_CANCELLED_AND_NOTIFIED;
        PyObject *known = cancelled ? Py_True : Py_False;
        return Py_BuildValue("(OOOO)", known, known, Py_None, Py_None);
    }
    if (future_settle(state, data) < 0) {
        return NULL;
    }
    return Py_BuildValue("(OONN)", Py_True, Py_False, none_if_null(data->result),
                         none_if_null(data->exception));
}

/* -- the attributes that others touch -- */

static PyObject *
future_get_state(PyObject *self, void *Py_UNUSED(closure))
{
    struct state *state = state_of(self);
    return Py_NewRef(state->future_names[fstate_get(&future_data(self)->task->state)]);
}

static int
refuse_delete(PyObject *value)
{
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "cannot delete an attribute of a future");
        return -1;
    }
    return 0;
}

/* A call that was begun, or is over, does not begin again: a worker may be in the middle of it. */
static int
set_state_by_hand(FutureData *data, unsigned new_state)
{
    struct task *task = data->task;
    if (task->is_call && new_state < FSTATE_CANCELLED && new_state < fstate_get(&task->state)) {
        PyErr_SetString(PyExc_ValueError,
                        "the state of a future that an executor has made cannot be set back");
        return -1;
    }
    unsigned from = fstate_end(&task->state, new_state);
    if (from < FSTATE_CANCELLED && new_state >= FSTATE_CANCELLED) {
        data->by_hand = true;
        if (from == FSTATE_PENDING) {
            task_clear_call(task);
        }
    }
    return 0;
}

static int
future_set_state(PyObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    struct state *state = state_of(self);
    if (refuse_delete(value) < 0) {
        return -1;
    }
    for (unsigned i = 0; i <= FSTATE_FINISHED; i++) {
        int same = PyObject_RichCompareBool(value, state->future_names[i], Py_EQ);
        if (same < 0) {
            return -1;
        }
        if (same) {
            return set_state_by_hand(future_data(self), i);
        }
    }
    PyErr_Format(PyExc_ValueError, "%R is not a state of a future", value);
    return -1;
}

/* `closure` is the offset of the field in FutureData. */
static PyObject **
field(FutureData *data, void *closure)
{
    return (PyObject **)((char *)data + (uintptr_t)closure);
}

static PyObject *
future_get_outcome(PyObject *self, void *closure)
{
    struct state *state = state_of(self);
    FutureData *data = future_data(self);
    if (fstate_is_done(&data->task->state) && future_settle(state, data) < 0) {
        return NULL;
    }
    return none_if_null(*field(data, closure));
}

static int
future_set_field(PyObject *self, PyObject *value, void *closure)
{
    FutureData *data = future_data(self);
    if (refuse_delete(value) < 0) {
        return -1;
    }
    Py_XSETREF(*field(data, closure), value == Py_None ? NULL : Py_NewRef(value));
    return 0;
}

static PyObject *
future_get_condition(PyObject *self, void *Py_UNUSED(closure))
{
    return future_condition(state_of(self), self);
}

static PyObject *
future_get_list(PyObject *self, void *closure)
{
    FutureData *data = future_data(self);
    PyObject *list = ensure_list(field(data, closure));
    future_observe(self, data, true);
    return Py_XNewRef(list);
}

/* A list that knows who waits, for a Ctrl-C there. */
static PyObject *
future_get_waiters(PyObject *self, void *Py_UNUSED(closure))
{
    FutureData *data = future_data(self);
    PyObject *made = data->waiters == NULL ? state_call("_waiters", "Waiters", &self, 1) : NULL;
    if (data->waiters == NULL) { /* nor has anybody been quicker while we called out */
        data->waiters = Py_XNewRef(made);
    }
    Py_XDECREF(made);
    if (data->waiters == NULL) {
        return NULL;
    }
    PyErr_Clear();
    future_observe(self, data, true);
    return Py_NewRef(data->waiters);
}

static int
future_set_observed(PyObject *self, PyObject *value, void *closure)
{
    if (future_set_field(self, value, closure) < 0) {
        return -1;
    }
    future_observe(self, future_data(self), true);
    return 0;
}

/* Whoever tells those in it takes it for a list. */
static int
future_set_list(PyObject *self, PyObject *value, void *closure)
{
    if (value != NULL && !PyList_Check(value)) {
        PyErr_Format(PyExc_TypeError,
                     "the waiters and the done-callbacks of a future are a list each, not %T",
                     value);
        return -1;
    }
    return future_set_observed(self, value, closure);
}

#define FIELD(name) (void *)offsetof(FutureData, name)

static PyGetSetDef future_getset[] = {
    {"_state", future_get_state, future_set_state, NULL, NULL},
    {"_result", future_get_outcome, future_set_field, NULL, FIELD(result)},
    {"_exception", future_get_outcome, future_set_field, NULL, FIELD(exception)},
    {"_condition", future_get_condition, future_set_observed, NULL, FIELD(condition)},
    {"_waiters", future_get_waiters, future_set_list, NULL, FIELD(waiters)},
    {"_done_callbacks", future_get_list, future_set_list, NULL, FIELD(callbacks)},
    {NULL, NULL, NULL, NULL, NULL},
};

/* -- life -- */

static struct task *
task_by_hand(void)
{
    struct task *task = task_new(false, registry_generation());
    if (task != NULL) {
        task->is_call = false;
    }
    return task;
}

/* A future of any type over `task`, which it takes over, also on failure. */
static PyObject *
allocate(PyTypeObject *type, struct task *task)
{
    PyObject *self = type->tp_alloc(type, 0);
    if (self == NULL) {
        task_drop(task);
        return NULL;
    }
    task->future = self;
    future_data(self)->task = task;
    return self;
}

static PyObject *
future_tp_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    struct task *task = task_by_hand();
    return task == NULL ? NULL : allocate(type, task);
}

PyObject *
future_new(struct state *state, struct task *task)
{
    return allocate(state->future_type, task);
}

static int
future_init(PyObject *Py_UNUSED(self), PyObject *args, PyObject *kwargs)
{
    static char *names[] = {NULL};
    return PyArg_ParseTupleAndKeywords(args, kwargs, ":Future", names) ? 0 : -1;
}

static int
future_traverse(PyObject *self, visitproc visit, void *arg)
{
    FutureData *data = future_data(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(data->result);
    Py_VISIT(data->exception);
    Py_VISIT(data->condition);
    Py_VISIT(data->waiters);
    Py_VISIT(data->callbacks);
    if (fstate_is_done(&data->task->state)) {
        Py_VISIT(data->task->result); /* before, it is the worker's */
    }
    return PyObject_VisitManagedDict(self, visit, arg);
}

static int
future_clear(PyObject *self)
{
    FutureData *data = future_data(self);
    Py_CLEAR(data->result);
    Py_CLEAR(data->exception);
    Py_CLEAR(data->condition);
    Py_CLEAR(data->waiters);
    Py_CLEAR(data->callbacks);
    if (fstate_is_done(&data->task->state)) {
        Py_CLEAR(data->task->result); /* so the worker may drop the task later, without our GIL */
    }
    PyObject_ClearManagedDict(self);
    return 0;
}

static void
future_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    COMPAT_DEALLOC_BEGIN(self, future_dealloc) /* it may be the result of another one */
    PyTypeObject *type = Py_TYPE(self);
    struct task *task = future_data(self)->task;
    task->future = NULL; /* first: what follows may run Python, and nobody may revive us */
    PyObject_ClearWeakRefs(self);
    future_clear(self);
    task_drop(task);
    type->tp_free(self);
    Py_DECREF(type);
    COMPAT_DEALLOC_END
}

#define WITH_TIMEOUT(function) (PyCFunction)(void (*)(void)) function, METH_FASTCALL | METH_KEYWORDS

static PyMethodDef future_methods[] = {
    {"cancel", future_cancel, METH_NOARGS,
     PyDoc_STR("Cancel the call if it has not started. True if the future is cancelled.")},
    {"cancelled", future_cancelled, METH_NOARGS, PyDoc_STR("Whether the call was cancelled.")},
    {"running", future_running, METH_NOARGS, PyDoc_STR("Whether the call is being run.")},
    {"done", future_done, METH_NOARGS,
     PyDoc_STR("Whether the call was cancelled or has finished.")},
    {"add_done_callback", future_add_done_callback, METH_O,
     PyDoc_STR("Call fn(future) when the call ends, in the thread that ends it; at once if it has "
               "ended.\nWhat the callback raises is logged.")},
    {"result", WITH_TIMEOUT(future_result),
     PyDoc_STR("result(timeout=None)\n--\n\nThe value that the call returned, waiting for it up to "
               "`timeout` seconds.\n\nRaises CancelledError, TimeoutError, or what the call "
               "raised.")},
    {"exception", WITH_TIMEOUT(future_exception),
     PyDoc_STR("exception(timeout=None)\n--\n\nWhat the call raised, or None, waiting for it up to "
               "`timeout` seconds.\n\nRaises CancelledError or TimeoutError.")},
    {"set_running_or_notify_cancel", future_set_running_or_notify_cancel, METH_NOARGS,
     PyDoc_STR("For executors: mark as running, or tell waiters that it was cancelled.")},
    {"set_result", future_set_result, METH_O, PyDoc_STR("For executors: end with a value.")},
    {"set_exception", future_set_exception, METH_O,
     PyDoc_STR("For executors: end with an exception.")},
    {"_invoke_callbacks", future_invoke_callbacks, METH_NOARGS, NULL},
    {"_interrupt", future_interrupt_method, METH_NOARGS, NULL},
    {"_Future__get_result", future_get_result, METH_NOARGS, NULL},
    {"_get_snapshot", future_get_snapshot, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot future_slots[] = {
    {Py_tp_doc, "The future of a call to an InterpreterThreadPoolExecutor: a "
                "concurrent.futures.Future."},
    {Py_tp_new, future_tp_new},
    {Py_tp_init, future_init},
    {Py_tp_traverse, future_traverse},
    {Py_tp_clear, future_clear},
    {Py_tp_dealloc, future_dealloc},
    {Py_tp_methods, future_methods},
    {Py_tp_getset, future_getset},
    {0, NULL},
};

static PyType_Spec future_spec = {
    .name = "aiointerpreters._core.Future",
    .basicsize = -(int)sizeof(FutureData),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = future_slots,
};

/* The standard library's names of the states, in the order of core/fstate. */
static int
import_names(struct state *state, PyObject *base)
{
    static const char *const names[] = {"PENDING", "RUNNING", "CANCELLED", "CANCELLED_AND_NOTIFIED",
                                        "FINISHED"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        state->future_names[i] = PyObject_GetAttrString(base, names[i]);
        if (state->future_names[i] == NULL) {
            return -1;
        }
    }
    state->cancelled_error = PyObject_GetAttrString(base, "CancelledError");
    state->invalid_state_error = PyObject_GetAttrString(base, "InvalidStateError");
    state->logger = PyObject_GetAttrString(base, "LOGGER");
    return state->cancelled_error == NULL || state->invalid_state_error == NULL ||
                   state->logger == NULL
               ? -1
               : 0;
}

int
future_register_types(struct state *state)
{
    PyObject *base = PyImport_ImportModule("concurrent.futures._base");
    PyObject *standard = base == NULL ? NULL : PyObject_GetAttrString(base, "Future");
    PyObject *threading = standard == NULL ? NULL : PyImport_ImportModule("threading");
    int result = -1;
    if (standard != NULL && threading != NULL && import_names(state, base) == 0 &&
        future_register_delivery(state) == 0) {
        state->condition_class = PyObject_GetAttrString(threading, "Condition");
        state->future_type =
            (PyTypeObject *)PyType_FromModuleAndSpec(state->module, &future_spec, standard);
        result = state->condition_class == NULL || state->future_type == NULL ? -1 : 0;
    }
    Py_XDECREF(base);
    Py_XDECREF(threading);
    Py_XDECREF(standard);
    return result;
}
