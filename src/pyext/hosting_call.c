#include "hosting_data.h"

#include "callables.h"
#include "context.h"
#include "homecall.h"
#include "stopping.h"
#include "transport.h"

static void
free_at_main(void *task)
{
    task_free(task);
}

static void
drop_at_main(struct task *task)
{
    if (task_release(task)) {
        homecall_visit(free_at_main, task); /* who has ended it may have left an exception */
    }
}

void
hosting_drop(struct task *task, bool is_ours)
{
    if (!is_ours) {
        drop_at_main(task);
    }
    else if (task_release(task)) {
        struct task *stream = task->hosted->stream; /* not to go with it, here */
        task->hosted->stream = NULL;
        task_free(task);
        if (stream != NULL) {
            drop_at_main(stream);
        }
    }
}

/* Takes over the reference to the task, unless there is no memory. */
static HostCallObject *
new_call(HostObject *self, struct task *task)
{
    PyTypeObject *type = (PyTypeObject *)self->state->host_call_type;
    HostCallObject *call = (HostCallObject *)type->tp_alloc(type, 0);
    if (call != NULL) {
        list_init(&call->node);
        call->limit_at = OS_FOREVER;
        call->host = (HostObject *)Py_NewRef(self);
        call->task = task;
    }
    return call;
}

void
hosting_forget(HostCallObject *call)
{
    HostObject *self = call->host;
    if (self == NULL) {
        return;
    }
    call->host = NULL;
    if (list_is_linked(&call->node)) {
        list_remove(&call->node);
        self->limited -= call->limit_at != OS_FOREVER;
        Py_DECREF(call); /* the list's */
    }
    if (call->task->hosted->call == call) {
        call->task->hosted->call = NULL;
    }
    if (call->timer != NULL) {
        PyObject *error = PyErr_GetRaisedException();
        Py_XDECREF(PyObject_CallMethod(call->timer, "cancel", NULL));
        PyErr_SetRaisedException(error);
        Py_CLEAR(call->timer);
    }
    Py_DECREF(self);
}

void
hosting_end(HostCallObject *call)
{
    HostObject *self = (HostObject *)Py_XNewRef(call->host);
    if (self == NULL) {
        return;
    }
    Py_INCREF(call);
    hosting_forget(call);
    PyObject *value = PyObject_CallMethod(call->running, "result", NULL);
    bool fetches = call->task->hosted->kind == HOSTED_FETCH && value != NULL && value != Py_None;
    call->is_ours =
        hosting_finish(self, call->task, value, fetches ? call->pump : NULL, call->expired);
    Py_DECREF(call);
    Py_DECREF(self);
}

static PyObject *
call_ended(PyObject *op, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    hosting_end((HostCallObject *)op);
    Py_RETURN_NONE;
}

void
hosting_cancel(HostCallObject *call)
{
    if (call->running != NULL) {
        PyObject *done = PyObject_CallMethod(call->running, "cancel", NULL);
        if (done == NULL) {
            PyErr_WriteUnraisable((PyObject *)call);
        }
        Py_XDECREF(done);
    }
}

/* Its time is over. */
static PyObject *
call_expire(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    HostCallObject *call = (HostCallObject *)op;
    if (call->host != NULL) {
        call->expired = true;
        hosting_cancel(call);
    }
    Py_RETURN_NONE;
}

void
hosting_arm(HostObject *self, int64_t limit_at)
{
    int64_t at = limit_at + HOST_PATIENCE;
    if (at < self->armed_at) {
        self->armed_at = at;
        stopping_remind(self->host->task, at);
        atomic_store_explicit(&self->host->reminded, true, memory_order_release);
    }
}

static void
begin_limit(HostObject *self, HostCallObject *call)
{
    if (call->task->limit > 0) {
        call->limit_at = os_now_ns() + call->task->limit;
        self->limited++;
        hosting_arm(self, call->limit_at);
    }
}

/* Once it is known that it goes on. */
static int
set_timer(HostObject *self, HostCallObject *call)
{
    if (call->limit_at == OS_FOREVER) {
        return 0;
    }
    double seconds = (double)(call->limit_at - os_now_ns()) / 1e9;
    PyObject *expire = PyObject_GetAttrString((PyObject *)call, "expire");
    call->timer = expire == NULL ? NULL
                                 : PyObject_CallMethod(self->loop, "call_later", "dO",
                                                       seconds > 0 ? seconds : 0, expire);
    Py_XDECREF(expire);
    return call->timer == NULL ? -1 : 0;
}

/* What a Task can run: a new reference, or NULL with an exception. `given`: stolen. */
static PyObject *
coroutine_of(HostObject *self, HostCallObject *call, PyObject *given)
{
    if (given == NULL || PyCoro_CheckExact(given)) {
        return given;
    }
    PyObject *coroutine = NULL;
    if (call->task->hosted->kind == HOSTED_GENERATOR) {
        call->pump =
            PyObject_CallMethod(self->module, "Pump", "OI", given, call->task->hosted->buffer);
        if (call->pump != NULL && self->closing) {
            Py_XDECREF(PyObject_CallMethod(call->pump, "hurry", "d", hosting_hosts(self)->grace));
            PyErr_Clear();
        }
        coroutine = call->pump == NULL ? NULL : PyObject_CallMethod(call->pump, "run", NULL);
    }
    else {
        coroutine = PyObject_CallMethod(self->module, "awaiting", "O", given);
    }
    Py_DECREF(given);
    return coroutine;
}

/* Decodes the call and makes it, in the context that it is to have. */
static PyObject *
make_call(HostObject *self, HostCallObject *call, PyObject **context)
{
    struct task *task = call->task;
    struct func *func = task->tagged.func;
    struct received_call received;
    PyObject *callable = func != NULL ? callables_get(self->state, func) : NULL;
    if (func != NULL && callable == NULL) {
        return NULL;
    }
    if (transport_decode_call(self->state, &task->tagged.message, task->with_context, &received) <
        0) {
        transport_raise_send_error("argument", task_function_name(task),
                                   callable != NULL ? callable : Py_None, NULL);
        Py_XDECREF(callable);
        return NULL;
    }
    PyObject *given = NULL;
    *context =
        context_new(self->state, task->with_context ? received.values[received.total - 1] : NULL);
    if (*context != NULL && PyContext_Enter(*context) == 0) {
        given =
            PyObject_Vectorcall(callable != NULL ? callable : received.callable, received.values,
                                received.count | PY_VECTORCALL_ARGUMENTS_OFFSET, received.keywords);
        PyObject *error = PyErr_GetRaisedException();
        if (PyContext_Exit(*context) < 0) {
            PyErr_Clear();
        }
        PyErr_SetRaisedException(error);
    }
    transport_free_call(&received);
    Py_XDECREF(callable);
    return coroutine_of(self, call, given);
}

/* The next items of a generator. If it is not there any more, what its own call has ended with says why. */
static PyObject *
make_fetch(HostObject *self, HostCallObject *call, PyObject **context)
{
    struct hosted *hosted = call->task->hosted;
    HostCallObject *stream = hosted->stream->hosted->call;
    *context = PyContext_New();
    if (*context == NULL) {
        return NULL;
    }
    if (stream == NULL || stream->pump == NULL) {
        return PyObject_CallMethod(self->module, "nothing", NULL);
    }
    call->pump = Py_NewRef(stream->pump);
    return PyObject_CallMethod(call->pump, "fetch", "KO", (unsigned long long)hosted->taken,
                               hosted->closes ? Py_True : Py_False);
}

/* Makes the Task, which begins at once. -1 with an exception: what it has raised, too, if that ends programs. */
static int
make_task(HostObject *self, HostCallObject *call, PyObject *coroutine, PyObject *context)
{
    PyObject *values[] = {coroutine, self->loop, context, Py_True};
    self->begins = true;
    call->running = PyObject_Vectorcall(self->task_class, values, 1, self->task_names);
    self->begins = false;
    if (call->running == NULL) {
        return -1;
    }
    PyObject *done = PyObject_CallMethod(call->running, "done", NULL);
    bool is_done = done == Py_True;
    Py_XDECREF(done);
    if (done == NULL) {
        return -1;
    }
    if (is_done) {
        hosting_end(call);
        return 0;
    }
    PyObject *added = PyObject_CallMethod(call->running, "add_done_callback", "O", call);
    Py_XDECREF(added);
    if (added == NULL || set_timer(self, call) < 0) {
        PyObject *error = PyErr_GetRaisedException();
        hosting_cancel(call);
        PyErr_SetRaisedException(error);
        return -1;
    }
    return 0;
}

void
hosting_begin(HostObject *self, struct task *task)
{
    HostCallObject *call = new_call(self, task);
    if (call == NULL) {
        PyObject *error = PyErr_GetRaisedException();
        bool is_ours;
        if (fstate_start(&task->state)) {
            PyErr_SetRaisedException(error);
            is_ours = hosting_finish(self, task, NULL, NULL, false);
        }
        else {
            Py_DECREF(error);
            is_ours = hosting_skip(self, task);
        }
        hosting_drop(task, is_ours);
        return;
    }
    if (!fstate_start(&task->state)) {
        hosting_forget(call);
        call->is_ours = hosting_skip(self, task);
        Py_DECREF(call);
        return;
    }
    Py_INCREF(call);
    list_push_back(&self->calls, &call->node);
    task->hosted->call = call;
    begin_limit(self, call);
    PyObject *context = NULL;
    bool fetches = task->hosted->kind == HOSTED_FETCH;
    PyObject *coroutine =
        fetches ? make_fetch(self, call, &context) : make_call(self, call, &context);
    if (coroutine == NULL || make_task(self, call, coroutine, context) < 0) {
        PyObject *error = PyErr_GetRaisedException();
        hosting_forget(call);
        PyErr_SetRaisedException(error);
        call->is_ours = hosting_finish(self, task, NULL, NULL, false);
    }
    Py_XDECREF(coroutine);
    Py_XDECREF(context);
    Py_DECREF(call);
}

/* -- its life -- */

static int
call_traverse(PyObject *op, visitproc visit, void *arg)
{
    HostCallObject *self = (HostCallObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->host);
    Py_VISIT(self->running);
    Py_VISIT(self->timer);
    Py_VISIT(self->pump);
    return 0;
}

static int
call_clear(PyObject *op)
{
    HostCallObject *self = (HostCallObject *)op;
    Py_CLEAR(self->running);
    Py_CLEAR(self->timer);
    Py_CLEAR(self->pump);
    return 0;
}

static void
call_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    HostCallObject *self = (HostCallObject *)op;
    PyObject_GC_UnTrack(op);
    COMPAT_DEALLOC_BEGIN(op, call_dealloc)
    hosting_forget(self);
    call_clear(op);
    if (self->task != NULL) {
        hosting_drop(self->task, self->is_ours);
    }
    type->tp_free(op);
    Py_DECREF(type);
    COMPAT_DEALLOC_END
}

static PyMethodDef call_methods[] = {
    {"expire", call_expire, METH_NOARGS, PyDoc_STR("Its time is over.")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot call_slots[] = {
    {Py_tp_doc, "A call that a host serves: the callback of its Task (private)."},
    {Py_tp_call, call_ended},
    {Py_tp_traverse, call_traverse},
    {Py_tp_clear, call_clear},
    {Py_tp_dealloc, call_dealloc},
    {Py_tp_methods, call_methods},
    {0, NULL},
};

static PyType_Spec call_spec = {
    .name = "aiointerpreters._core.HostCall",
    .basicsize = sizeof(HostCallObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = call_slots,
};

int
hosting_register_call_type(struct state *state)
{
    if (state->host_call_type == NULL) {
        state->host_call_type = PyType_FromModuleAndSpec(state->module, &call_spec, NULL);
    }
    return state->host_call_type == NULL ? -1 : 0;
}
