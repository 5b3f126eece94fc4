#include "awaited_data.h"

#include "lending.h"
#include "outcome.h"
#include "submit.h"

#include <stddef.h>

static struct state *
state_of(CallObject *self)
{
    return state_of_type(Py_TYPE(self));
}

/* -- the end -- */

/* A StopIteration that is raised in a coroutine would end it quietly (PEP 479); a GeneratorExit that is thrown
 * into one closes it. */
static PyObject *
convert(PyObject *exception)
{
    if (!PyErr_GivenExceptionMatches(exception, PyExc_StopIteration) &&
        !PyErr_GivenExceptionMatches(exception, PyExc_GeneratorExit)) {
        return exception;
    }
    PyObject *text =
        PyUnicode_FromFormat("the call has raised %T, which would end a coroutine", exception);
    PyObject *error = text == NULL ? NULL : PyObject_CallOneArg(PyExc_RuntimeError, text);
    Py_XDECREF(text);
    if (error == NULL) {
        PyErr_Clear();
        return exception;
    }
    PyException_SetContext(error, Py_NewRef(exception));
    PyException_SetCause(error, exception);
    return error;
}

/* Takes `exception` over. */
static void
fail(CallObject *self, PyObject *exception)
{
    self->progress = FINISHED;
    self->exception = convert(exception);
    self->traceback = PyException_GetTraceback(self->exception);
    self->unretrieved = true;
}

/* Reads the outcome of the task, which has ended. -1 with an exception that ends programs: ask again. */
static int
settle(CallObject *self)
{
    struct state *state = state_of(self);
    struct task *task = self->task;
    unsigned now = fstate_get(&task->state);
    PyObject *value = NULL, *exception = NULL;
    if (now == FSTATE_FINISHED) {
        task_hold(task); /* decoding may run Python, which may cancel us */
        lending_collect(state);
        if (outcome_read(state, task, &value, &exception) < 0) {
            if (awaited_ends_programs()) {
                task_drop(task);
                return -1;
            }
            exception = PyErr_GetRaisedException();
        }
        task_drop(task);
    }
    if (self->progress != PENDING) {
        Py_XDECREF(value);
        Py_XDECREF(exception);
        return 0;
    }
    self->task = NULL;
    if (exception != NULL) {
        fail(self, exception);
    }
    else {
        self->progress = now == FSTATE_FINISHED ? FINISHED : CANCELLED;
        self->value = value;
    }
    task->wanted = false;
    task_drop(task);
    return 0;
}

static CallObject *
owner(struct awaiter *awaiter)
{
    return (CallObject *)awaiter->owner;
}

/* Asked again after a Ctrl-C it goes on where it was. */
static int
tell(struct awaiter *awaiter)
{
    CallObject *self = owner(awaiter);
    if (self->progress == PENDING && self->task != NULL && settle(self) < 0) {
        return -1;
    }
    return awaited_call_callbacks(self);
}

static void
forget(struct awaiter *awaiter)
{
    CallObject *self = owner(awaiter);
    struct task *task = self->task;
    self->task = NULL;
    if (task != NULL) {
        task->wanted = false;
        task_drop(task);
    }
}

/* Whether this call has cancelled it. */
static bool
cancel_call(CallObject *self, PyObject *message)
{
    if (self->progress != PENDING) {
        return false;
    }
    self->progress = CANCELLED;
    Py_XSETREF(self->cancel_message, Py_XNewRef(message));
    struct task *task = self->task;
    self->task = NULL;
    if (task != NULL) {
        loops_unexpect(state_of(self), task);
        submit_give_up(task);
    }
    return true;
}

/* -- what it gives -- */

static PyObject *
cancelled_error(CallObject *self)
{
    PyObject *type = state_of(self)->aio_cancelled_error;
    return self->cancel_message == NULL || self->cancel_message == Py_None
               ? PyObject_CallNoArgs(type)
               : PyObject_CallOneArg(type, self->cancel_message);
}

/* Of one that has ended: 0; or -1 with an InvalidStateError, or a CancelledError. */
static int
check_finished(CallObject *self, const char *what)
{
    if (self->progress == FINISHED) {
        return 0;
    }
    if (self->progress == PENDING) {
        PyErr_SetString(state_of(self)->aio_invalid_state_error, what);
        return -1;
    }
    PyObject *error = cancelled_error(self);
    if (error != NULL) {
        PyErr_SetRaisedException(error);
    }
    return -1;
}

static PyObject *
call_result(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    CallObject *self = (CallObject *)op;
    if (check_finished(self, "Result is not set.") < 0) {
        return NULL;
    }
    self->unretrieved = false;
    if (self->exception == NULL) {
        return Py_NewRef(self->value);
    }
    PyException_SetTraceback(self->exception, self->traceback == NULL ? Py_None : self->traceback);
    outcome_raise(self->exception);
    return NULL;
}

static PyObject *
call_exception(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    CallObject *self = (CallObject *)op;
    if (check_finished(self, "Exception is not set.") < 0) {
        return NULL;
    }
    self->unretrieved = false;
    return Py_NewRef(self->exception == NULL ? Py_None : self->exception);
}

static PyObject *
call_done(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(((CallObject *)op)->progress != PENDING);
}

static PyObject *
call_cancelled(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(((CallObject *)op)->progress == CANCELLED);
}

static PyObject *
call_cancel(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"msg", NULL};
    PyObject *message = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:cancel", names, &message)) {
        return NULL;
    }
    CallObject *self = (CallObject *)op;
    bool done = cancel_call(self, message);
    if (done && awaited_schedule_callbacks(self) < 0) {
        return NULL;
    }
    return PyBool_FromLong(done);
}

static PyObject *
call_get_loop(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return Py_NewRef(loops_event_loop(((CallObject *)op)->awaiter.loop));
}

static PyObject *
call_make_cancelled_error(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return cancelled_error((CallObject *)op);
}

/* -- as a coroutine, which is its own iterator -- */

static PySendResult
call_send_next(PyObject *op, PyObject *Py_UNUSED(sent), PyObject **result)
{
    CallObject *self = (CallObject *)op;
    if (self->progress != PENDING) {
        *result = call_result(op, NULL);
        return *result == NULL ? PYGEN_ERROR : PYGEN_RETURN;
    }
    if (self->blocking) {
        *result = NULL;
        PyErr_SetString(PyExc_RuntimeError, "await wasn't used with future");
        return PYGEN_ERROR;
    }
    self->blocking = true;
    *result = Py_NewRef(op);
    return PYGEN_NEXT;
}

static void
set_stop_iteration(PyObject *value)
{
    PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, value); /* whatever the value is */
    if (stop != NULL) {
        PyErr_SetRaisedException(stop);
    }
}

static PyObject *
call_next(PyObject *op)
{
    PyObject *result;
    if (call_send_next(op, Py_None, &result) == PYGEN_RETURN) {
        set_stop_iteration(result);
        Py_CLEAR(result);
    }
    return result;
}

static PyObject *
call_send(PyObject *op, PyObject *Py_UNUSED(value))
{
    return call_next(op);
}

/* Whoever awaited it does not any more. */
static int
give_up_await(CallObject *self)
{
    self->blocking = false;
    if (cancel_call(self, NULL) && awaited_schedule_callbacks(self) < 0) {
        if (!loops_is_closed(self->awaiter.loop)) {
            return -1;
        }
        PyErr_Clear();
    }
    return 0;
}

static PyObject *
call_throw(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs < 1 || nargs > 3) {
        return PyErr_Format(PyExc_TypeError, "throw() takes 1 to 3 arguments, not %zd", nargs);
    }
    if (give_up_await((CallObject *)op) == 0) {
        outcome_raise(nargs > 1 && PyExceptionInstance_Check(args[1]) ? args[1] : args[0]);
    }
    return NULL;
}

static PyObject *
call_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return give_up_await((CallObject *)op) < 0 ? NULL : Py_NewRef(Py_None);
}

/* -- attributes -- */

static PyObject *
call_get_blocking(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((CallObject *)op)->blocking);
}

static int
call_set_blocking(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    int blocking = value == NULL ? 0 : PyObject_IsTrue(value);
    if (blocking < 0) {
        return -1;
    }
    ((CallObject *)op)->blocking = blocking != 0;
    return 0;
}

static PyObject *
call_get_cancel_message(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *message = ((CallObject *)op)->cancel_message;
    return Py_NewRef(message == NULL ? Py_None : message);
}

/* What a Task's representation calls its coroutine. */
static PyObject *
call_get_name(PyObject *Py_UNUSED(op), void *Py_UNUSED(closure))
{
    return PyUnicode_FromString("run");
}

static PyGetSetDef call_getset[] = {
    {"__name__", call_get_name, NULL, NULL, NULL},
    {"__qualname__", call_get_name, NULL, NULL, NULL},
    {"_asyncio_future_blocking", call_get_blocking, call_set_blocking, NULL, NULL},
    {"_cancel_message", call_get_cancel_message, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyObject *
call_repr(PyObject *op)
{
    static const char *const names[] = {"pending", "cancelled", "finished"};
    CallObject *self = (CallObject *)op;
    if (self->progress != FINISHED) {
        return PyUnicode_FromFormat("<call of an executor, %s>", names[self->progress]);
    }
    return self->exception == NULL
               ? PyUnicode_FromFormat("<call of an executor, finished result=%R>", self->value)
               : PyUnicode_FromFormat("<call of an executor, finished exception=%R>",
                                      self->exception);
}

/* -- life -- */

PyObject *
awaited_new(struct state *state, LoopObject *loop, struct task *task)
{
    CallObject *self = NULL;
    if (state->aio_cancelled_error == NULL) {
        PyObject *module = PyImport_ImportModule("asyncio.exceptions");
        if (module != NULL) {
            state->aio_invalid_state_error = PyObject_GetAttrString(module, "InvalidStateError");
            state->aio_cancelled_error = PyObject_GetAttrString(module, "CancelledError");
            Py_DECREF(module);
        }
    }
    if (state->aio_cancelled_error != NULL) {
        self = (CallObject *)state->call_type->tp_alloc(state->call_type, 0);
    }
    if (self == NULL) {
        task_drop(task);
        return NULL;
    }
    self->task = task;
    self->awaiter = (struct awaiter){.owner = (PyObject *)self,
                                     .loop = (LoopObject *)Py_NewRef(loop),
                                     .kept = true,
                                     .tell = tell,
                                     .forget = forget};
    if (fstate_is_done(&task->state)) { /* it could not be sent */
        if (settle(self) < 0) {
            Py_CLEAR(self);
        }
        return (PyObject *)self;
    }
    task->wanted = true;
    fstate_observe(&task->state, false);
    if (loops_expect(state, task, &self->awaiter) < 0) {
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

struct task *
awaited_task(struct state *state, PyObject *op)
{
    if (!Py_IS_TYPE(op, state->call_type)) {
        PyErr_Format(PyExc_TypeError, "a call is needed, got %T", op);
        return NULL;
    }
    return ((CallObject *)op)->task;
}

void
awaited_discard(struct state *state, PyObject *op)
{
    CallObject *self = (CallObject *)op;
    PyObject *error = PyErr_GetRaisedException();
    if (self->task != NULL) {
        loops_unexpect(state, self->task); /* unless it has failed with all others */
    }
    forget(&self->awaiter);
    Py_DECREF(op);
    PyErr_SetRaisedException(error);
}

static int
call_traverse(PyObject *op, visitproc visit, void *arg)
{
    CallObject *self = (CallObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->awaiter.loop);
    Py_VISIT(self->value);
    Py_VISIT(self->exception);
    Py_VISIT(self->traceback);
    Py_VISIT(self->cancel_message);
    Py_VISIT(self->callback);
    Py_VISIT(self->context);
    Py_VISIT(self->more);
    if (self->task != NULL && fstate_is_done(&self->task->state)) {
        Py_VISIT(self->task->result); /* before, it is the worker's */
    }
    return 0;
}

static int
call_clear(PyObject *op)
{
    CallObject *self = (CallObject *)op;
    Py_CLEAR(self->value);
    Py_CLEAR(self->exception);
    Py_CLEAR(self->traceback);
    Py_CLEAR(self->cancel_message);
    Py_CLEAR(self->callback);
    Py_CLEAR(self->context);
    Py_CLEAR(self->more);
    return 0;
}

/* As asyncio's futures say it; but not of a loop that is closed, where nobody could ask any more. */
static void
call_finalize(PyObject *op)
{
    CallObject *self = (CallObject *)op;
    if (!self->unretrieved || self->awaiter.loop == NULL) {
        return;
    }
    PyObject *error = PyErr_GetRaisedException();
    self->unretrieved = false;
    if (!loops_is_closed(self->awaiter.loop)) {
        PyErr_SetRaisedException(Py_NewRef(self->exception));
        loops_report(self->awaiter.loop, "the exception of a call was never retrieved", op);
    }
    PyErr_SetRaisedException(error);
}

static void
call_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    CallObject *self = (CallObject *)op;
    if (PyObject_CallFinalizerFromDealloc(op) < 0) {
        return;
    }
    PyObject_GC_UnTrack(op);
    COMPAT_DEALLOC_BEGIN(op, call_dealloc)
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    forget(&self->awaiter); /* it can have no task that would tell it */
    call_clear(op);
    Py_XDECREF(self->awaiter.loop);
    type->tp_free(op);
    Py_DECREF(type);
    COMPAT_DEALLOC_END
}

static PyMethodDef call_methods[] = {
    {"result", call_result, METH_NOARGS,
     PyDoc_STR("What the call has returned, or raise what it has raised.")},
    {"exception", call_exception, METH_NOARGS, PyDoc_STR("What the call has raised, or None.")},
    {"done", call_done, METH_NOARGS, PyDoc_STR("Whether it has ended, as the event loop knows.")},
    {"cancelled", call_cancelled, METH_NOARGS, PyDoc_STR("Whether it was cancelled.")},
    {"cancel", (PyCFunction)(void (*)(void))call_cancel, METH_VARARGS | METH_KEYWORDS,
     PyDoc_STR(
         "cancel($self, msg=None)\n--\n\nCancel the call: what has not started never will, and "
         "a tagged one that runs is interrupted.\nFalse: it has ended.")},
    {"get_loop", call_get_loop, METH_NOARGS, PyDoc_STR("The event loop that awaits it.")},
    {"add_done_callback", (PyCFunction)(void (*)(void))awaited_add_done_callback,
     METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("add_done_callback($self, fn, /, *, context=None)\n--\n\nHave the event loop call "
               "fn(call) when it has ended.")},
    {"remove_done_callback", awaited_remove_done_callback, METH_O,
     PyDoc_STR("Forget a callback; how many of it there were.")},
    {"send", call_send, METH_O, PyDoc_STR("As of a coroutine.")},
    {"throw", (PyCFunction)(void (*)(void))call_throw, METH_FASTCALL,
     PyDoc_STR("As of a coroutine: cancels the call, and raises the exception.")},
    {"close", call_close, METH_NOARGS, PyDoc_STR("As of a coroutine: cancels the call.")},
    {"_make_cancelled_error", call_make_cancelled_error, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef call_members[] = {
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(CallObject, weakrefs), Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot call_slots[] = {
    {Py_tp_doc, "A call of an executor that an event loop awaits: run() makes them."},
    {Py_tp_repr, call_repr},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, call_next},
    {Py_am_await, PyObject_SelfIter},
    {Py_am_send, call_send_next},
    {Py_tp_traverse, call_traverse},
    {Py_tp_clear, call_clear},
    {Py_tp_finalize, call_finalize},
    {Py_tp_dealloc, call_dealloc},
    {Py_tp_methods, call_methods},
    {Py_tp_members, call_members},
    {Py_tp_getset, call_getset},
    {0, NULL},
};

static PyType_Spec call_spec = {
    .name = "aiointerpreters._core.Call",
    .basicsize = sizeof(CallObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = call_slots,
};

int
awaited_register_types(struct state *state)
{
    state->call_type = (PyTypeObject *)PyType_FromModuleAndSpec(state->module, &call_spec, NULL);
    return state->call_type == NULL ? -1 : 0;
}
