#include "hosting_data.h"

#include "execute.h"
#include "home.h"
#include "interp.h"
#include "stopping.h"
#include "worker.h"

/* Calls that are begun before the loop gets its turn. */
enum { AT_A_TIME = 256 };

/* -- in the loop's turn -- */

static void
cancel_all(HostObject *self)
{
    /* Cancelling calls nothing of these, but adds to the loop. */
    for (struct list *node = self->calls.next; node != &self->calls; node = node->next) {
        if (hosting_call_of(node)->task->interruptible) {
            hosting_cancel(hosting_call_of(node));
        }
    }
}

/* The executor was shut down: generators wait for who reads them no longer than a task has to end. */
static void
hurry_all(HostObject *self)
{
    for (struct list *node = self->calls.next; node != &self->calls; node = node->next) {
        HostCallObject *call = hosting_call_of(node);
        if (call->task->hosted->kind == HOSTED_GENERATOR && call->pump != NULL) {
            PyObject *done =
                PyObject_CallMethod(call->pump, "hurry", "d", hosting_hosts(self)->grace);
            if (done == NULL) {
                PyErr_WriteUnraisable(call->pump);
            }
            Py_XDECREF(done);
        }
    }
}

static void
take_notices(HostObject *self)
{
    struct mail *mail;
    while ((mail = mailbox_take_notice(hosting_room(self), &self->host->box)) != NULL) {
        struct hosted *hosted = LIST_ENTRY(mail, struct hosted, mail);
        if (hosted->call != NULL) {
            hosting_cancel(hosted->call);
        }
        hosting_drop(hosted->task, false);
    }
}

/* The loop gets on: the watch need not look, until the next limit. */
static void
calm(HostObject *self)
{
    if (!atomic_exchange_explicit(&self->host->reminded, false, memory_order_acq_rel)) {
        return;
    }
    stopping_calm(self->host->task);
    self->armed_at = OS_FOREVER;
    int64_t next = OS_FOREVER;
    for (struct list *node = self->calls.next; self->limited > 0 && node != &self->calls;
         node = node->next) {
        HostCallObject *call = hosting_call_of(node);
        next = !call->expired && call->limit_at < next ? call->limit_at : next;
    }
    if (next != OS_FOREVER) {
        hosting_arm(self, next);
    }
}

static void
take_calls(HostObject *self)
{
    struct mail *mail = NULL;
    for (int i = 0; i < AT_A_TIME; i++) {
        mail = mailbox_take(hosting_room(self), &self->host->box);
        if (mail == NULL) {
            return;
        }
        hosting_begin(self, LIST_ENTRY(mail, struct hosted, mail)->task);
    }
    os_bell_ring(self->host->bell.ringing); /* there may be more: in the next turn */
}

static PyObject *
take(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    HostObject *self = (HostObject *)op;
    os_bell_silence(&self->host->bell);
    mailroom_mood mood = mailbox_listen(hosting_room(self), &self->host->box);
    execute_visit(self->interp);
    if (home_apply(self->state, &self->interp->home_version) < 0) {
        PyErr_WriteUnraisable(op);
    }
    if (mood != MAILROOM_OPEN && !self->closing) {
        self->closing = true;
        hurry_all(self);
    }
    if (mood == MAILROOM_STOPPING && !self->stopping) {
        self->stopping = true;
        cancel_all(self);
    }
    take_notices(self);
    take_calls(self);
    calm(self);
    take_notices(self); /* of which calm() has forgotten to be reminded */
    if (!self->flushes && (self->ended != NULL || self->stopped != NULL || self->skipped != NULL)) {
        hosting_flush(self);
    }
    if (mailbox_leave(hosting_room(self), &self->host->box)) {
        return PyObject_CallMethod(self->loop, "stop", NULL);
    }
    Py_RETURN_NONE;
}

static PyObject *
host_flush(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    hosting_flush((HostObject *)op);
    Py_RETURN_NONE;
}

/* -- its life -- */

static PyObject *
host_fileno(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromLong(((HostObject *)op)->host->bell.listening);
}

static PyObject *
host_is_over(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    HostObject *self = (HostObject *)op;
    return PyBool_FromLong(mailbox_leave(hosting_room(self), &self->host->box));
}

static PyObject *
host_begins(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(((HostObject *)op)->begins);
}

/* The loop runs no more: what has ended there is published, and the Tasks of all other calls are given. */
static PyObject *
host_settle(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    HostObject *self = (HostObject *)op;
    PyObject *left = PyList_New(0);
    while (left != NULL && !list_is_empty(&self->calls)) {
        HostCallObject *call = (HostCallObject *)Py_NewRef(hosting_call_of(self->calls.next));
        PyObject *done =
            call->running == NULL ? NULL : PyObject_CallMethod(call->running, "done", NULL);
        if (done == Py_True) {
            hosting_end(call);
        }
        else {
            PyErr_Clear();
            if (call->running != NULL && PyList_Append(left, call->running) < 0) {
                Py_CLEAR(left);
            }
            hosting_forget(call); /* whoever hears of the host's end ends it */
        }
        Py_XDECREF(done);
        Py_DECREF(call);
    }
    hosting_flush(self);
    return left;
}

static int
host_traverse(PyObject *op, visitproc visit, void *arg)
{
    HostObject *self = (HostObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->loop);
    Py_VISIT(self->module);
    Py_VISIT(self->task_class);
    Py_VISIT(self->task_names);
    Py_VISIT(self->current_task);
    Py_VISIT(self->cancelled_error);
    for (struct list *node = self->calls.next; node != NULL && node != &self->calls;
         node = node->next) {
        Py_VISIT((PyObject *)hosting_call_of(node));
    }
    return 0;
}

static int
host_clear(PyObject *op)
{
    HostObject *self = (HostObject *)op;
    while (self->calls.next != NULL && !list_is_empty(&self->calls)) {
        HostCallObject *call = (HostCallObject *)Py_NewRef(hosting_call_of(self->calls.next));
        hosting_forget(call); /* which drops the list's reference before it is done */
        Py_DECREF(call);
    }
    Py_CLEAR(self->loop);
    Py_CLEAR(self->module);
    Py_CLEAR(self->task_class);
    Py_CLEAR(self->task_names);
    Py_CLEAR(self->current_task);
    Py_CLEAR(self->cancelled_error);
    return 0;
}

static void
host_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    HostObject *self = (HostObject *)op;
    PyObject_GC_UnTrack(op);
    host_clear(op);
    if (self->host != NULL) {
        self->host->object = NULL;
        host_drop(self->host);
    }
    message_free(&self->scratch);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyMethodDef host_methods[] = {
    {"take", take, METH_NOARGS, PyDoc_STR("Do what its mailbox holds.")},
    {"flush", host_flush, METH_NOARGS, PyDoc_STR("Publish what has ended.")},
    {"fileno", host_fileno, METH_NOARGS, PyDoc_STR("The descriptor of its bell.")},
    {"is_over", host_is_over, METH_NOARGS, PyDoc_STR("Whether nothing will come any more.")},
    {"begins", host_begins, METH_NOARGS, PyDoc_STR("Whether the Task of a call is being made.")},
    {"settle", host_settle, METH_NOARGS,
     PyDoc_STR("Publish what has ended as the loop did, and give the Tasks that are left.")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot host_slots[] = {
    {Py_tp_doc, "What serves the calls of coroutine functions in an interpreter (private)."},
    {Py_tp_traverse, host_traverse},
    {Py_tp_clear, host_clear},
    {Py_tp_dealloc, host_dealloc},
    {Py_tp_methods, host_methods},
    {0, NULL},
};

static PyType_Spec host_spec = {
    .name = "aiointerpreters._core.Host",
    .basicsize = sizeof(HostObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = host_slots,
};

static int
register_types(struct state *state)
{
    if (state->host_type == NULL) {
        state->host_type = PyType_FromModuleAndSpec(state->module, &host_spec, NULL);
    }
    return state->host_type == NULL ? -1 : hosting_register_call_type(state);
}

/* -1 with an exception. */
static int
look_up(HostObject *self)
{
    PyObject *asyncio = PyImport_ImportModule("asyncio");
    self->module = PyImport_ImportModule("aiointerpreters._hosting");
    if (asyncio != NULL) {
        self->task_class = PyObject_GetAttrString(asyncio, "Task");
        self->current_task = PyObject_GetAttrString(asyncio, "current_task");
        self->cancelled_error = PyObject_GetAttrString(asyncio, "CancelledError");
        Py_DECREF(asyncio);
    }
    self->task_names = Py_BuildValue("(sss)", "loop", "context", "eager_start");
    return self->module == NULL || self->task_class == NULL || self->current_task == NULL ||
                   self->cancelled_error == NULL || self->task_names == NULL
               ? -1
               : 0;
}

const char hosting_host_doc[] = PyDoc_STR(
    "host(loop)\n--\n\n"
    "What serves calls of coroutine functions in this worker, by an event loop (private).");

PyObject *
hosting_host(PyObject *module, PyObject *loop)
{
    struct state *state = state_of_module(module);
    struct target *target = target_mine();
    struct host *host =
        target == NULL ? NULL : atomic_load_explicit(&target->host, memory_order_relaxed);
    if (host == NULL || host->object != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this is no worker that is to be a host");
        return NULL;
    }
    if (register_types(state) < 0) {
        return NULL;
    }
    PyTypeObject *type = (PyTypeObject *)state->host_type;
    HostObject *self = (HostObject *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    list_init(&self->calls);
    message_init(&self->scratch);
    self->state = state;
    self->target = target;
    self->interp = ((struct worker_thread *)target->worker)->entered;
    self->armed_at = OS_FOREVER;
    self->loop = Py_NewRef(loop);
    host_hold(host);
    self->host = host;
    if (look_up(self) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    host->object = (PyObject *)self;
    return (PyObject *)self;
}
