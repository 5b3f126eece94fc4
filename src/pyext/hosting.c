#include "hosting.h"

#include "callables.h"
#include "context.h"
#include "execute.h"
#include "future.h"
#include "home.h"
#include "homecall.h"
#include "hosts.h"
#include "interp.h"
#include "output.h"
#include "stopping.h"
#include "submit.h"
#include "target.h"
#include "transport.h"
#include "worker.h"

#include <string.h>

/* Calls that are begun before the loop gets its turn. */
enum { AT_A_TIME = 256 };

typedef struct {
    PyObject_HEAD
    struct state *state;
    struct host *host;     /* held */
    struct target *target; /* the worker's, which runs this */
    struct interp *interp;
    PyObject *loop;
    PyObject *module; /* aiointerpreters._hosting */
    PyObject *task_class;
    PyObject *task_names; /* of its keyword arguments */
    PyObject *current_task;
    PyObject *cancelled_error;
    struct list calls; /* of HostCallObject: begun, and not ended */
    size_t limited;    /* of them with a time limit */
    int64_t armed_at;  /* when the watch was told to look; OS_FOREVER */
    struct combined
        *ended; /* calls that have ended and must be told, by told.next; the last first */
    struct combined *stopped; /* ... that were stopped, but not by their future */
    struct combined *skipped; /* ... that were cancelled before they began */
    bool begins;              /* a Task is being made, which begins at once */
    bool flushes;             /* the loop will call flush() */
    bool stopping;
    bool closing;
    struct message scratch; /* for the outcome of one call; empty */
} HostObject;

typedef struct {
    PyObject_HEAD
    HostObject *host;  /* held; NULL once it has ended */
    struct list node;  /* in host->calls */
    struct task *task; /* held */
    PyObject *running; /* the asyncio Task, or NULL: not yet */
    PyObject *timer;   /* of its time limit, or NULL */
    PyObject *pump;    /* of a generator; of a fetch its generator's; or NULL */
    int64_t limit_at;  /* OS_FOREVER: none */
    bool expired;
    bool is_ours; /* nobody but this has ended it: what its task holds is plain memory */
} HostCallObject;

static struct hosts *
hosts_of(const HostObject *self)
{
    return self->host->hosts;
}

static struct mailroom *
room_of(const HostObject *self)
{
    return &self->host->hosts->room;
}

static HostCallObject *
call_of(struct list *node)
{
    return (HostCallObject *)((char *)node - offsetof(HostCallObject, node));
}

/* -- publishing: what has ended, to those who wait -- */

static void
push(struct combined **chain, struct task *task)
{
    task->told.next = *chain;
    *chain = &task->told;
}

/* Has the loop call flush() in its next turn. */
static void
want_flush(HostObject *self)
{
    if (self->flushes) {
        return;
    }
    PyObject *flush = PyObject_GetAttrString((PyObject *)self, "flush");
    PyObject *handle =
        flush == NULL ? NULL : PyObject_CallMethod(self->loop, "call_soon", "O", flush);
    self->flushes = handle != NULL;
    if (handle == NULL) {
        PyErr_Clear();                          /* for want of memory: */
        os_bell_ring(self->host->bell.ringing); /* take() does it */
    }
    Py_XDECREF(flush);
    Py_XDECREF(handle);
}

/* What is to be done at main. */
struct telling {
    struct hosts *hosts;
    struct host *host;
    bool role; /* to tell all that was handed in */
    struct combined *foreign, *stopped, *skipped;
};

/* At main: callbacks may take long, or wait for another call of this host: so in a thread of their own. */
static PyObject *
tell_foreign(PyObject *capsule, PyObject *Py_UNUSED(ignored))
{
    struct task *task = PyCapsule_GetPointer(capsule, "aiointerpreters.ended");
    struct state *state = PyCapsule_GetContext(capsule);
    PyCapsule_SetContext(capsule, NULL); /* it is told now */
    if (state != NULL) {
        future_tell_finished(state, task);
        task_drop(task);
    }
    Py_RETURN_NONE;
}

static PyMethodDef tell_foreign_def = {"tell", tell_foreign, METH_NOARGS,
                                       PyDoc_STR("Calls the callbacks of a future (private).")};

static void
hand_over(struct hosts *hosts, struct task *task)
{
    PyObject *capsule = PyCapsule_New(task, "aiointerpreters.ended", NULL);
    PyObject *job = NULL, *future = NULL;
    if (capsule != NULL && PyCapsule_SetContext(capsule, hosts->state) == 0) {
        job = PyCFunction_New(&tell_foreign_def, capsule);
    }
    if (job != NULL && hosts->inner != NULL) {
        future = submit(hosts->state, hosts->inner, job, NULL, 0, NULL, NULL);
    }
    PyErr_Clear();
    if (future == NULL &&
        (capsule == NULL || PyCapsule_GetContext(capsule) != NULL || job == NULL)) {
        future_tell_finished(hosts->state, task); /* nobody else is left to do it */
        task_drop(task);
    }
    Py_XDECREF(capsule);
    Py_XDECREF(job);
    Py_XDECREF(future);
}

static void
tell_at_main(void *argument)
{
    struct telling *telling = argument;
    struct hosts *hosts = telling->hosts;
    struct combined *node;
    if (telling->role) {
        future_tell_together(hosts->state, &hosts->told);
    }
    while ((node = telling->stopped) != NULL) {
        struct task *task = LIST_ENTRY(node, struct task, told);
        telling->stopped = node->next;
        future_tell_stopped(hosts->state, task);
        task_drop(task);
    }
    while ((node = telling->skipped) != NULL) {
        struct task *task = LIST_ENTRY(node, struct task, told);
        telling->skipped = node->next;
        future_tell_cancelled(hosts->state, task);
        task_drop(task);
    }
    while ((node = telling->foreign) != NULL) {
        struct task *task = LIST_ENTRY(node, struct task, told);
        telling->foreign = node->next;
        hand_over(hosts, task);
    }
    hosts_look_after(telling->host);
}

static void
flush(HostObject *self)
{
    struct telling telling = {.hosts = hosts_of(self),
                              .host = self->host,
                              .stopped = self->stopped,
                              .skipped = self->skipped};
    struct combined *ended = NULL, *node;
    while ((node = self->ended) != NULL) { /* in the order in which they ended */
        self->ended = node->next;
        node->next = ended;
        ended = node;
    }
    self->stopped = self->skipped = NULL;
    self->flushes = false;
    while ((node = ended) != NULL) {
        ended = node->next;
        struct task *task = LIST_ENTRY(node, struct task, told);
        if (fstate_is_observed_by_us(&task->state)) {
            telling.role = combiner_add(&telling.hosts->told, node) || telling.role;
        }
        else {
            push(&telling.foreign, task);
        }
    }
    output_flush(self->state);
    if (telling.role || telling.foreign != NULL || telling.stopped != NULL ||
        telling.skipped != NULL || mailroom_lacks_box(room_of(self))) {
        homecall_visit(tell_at_main, &telling);
    }
}

/* Ends a task whose outcome is set, and which is ours alone; its reference is taken over. */
static void
publish(HostObject *self, struct task *task)
{
    bool interrupted = fstate_is_done(&task->state) || task->outcome == OUTCOME_STOPPED ||
                       task->expired != NOT_EXPIRED;
    bool done = task->outcome == OUTCOME_ENCODED_VALUE;
    hosts_count(hosts_of(self), task,
                interrupted ? STATS_INTERRUPTED
                : done      ? STATS_DONE
                            : STATS_FAILED);
    if (fstate_is_done(&task->state)) {
        task_drop(task);
        return;
    }
    if (task->outcome == OUTCOME_STOPPED && !task->expired) {
        push(&self->stopped, task);
    }
    else if (fstate_finish_quietly(&task->state) || fstate_is_done(&task->state)) {
        task_drop(task);
        return;
    }
    else {
        push(&self->ended, task);
    }
    want_flush(self);
}

/* Of the items that a fetch gives, which cannot be sent together, the first one: the others are left for the next fetch.
 * NULL, with what was raised: there is only one. */
static PyObject *
first_item(PyObject *pump, PyObject *items)
{
    PyObject *error = PyErr_GetRaisedException();
    PyObject *first = PyObject_CallMethod(pump, "give_back", "(O)", items);
    if (first == NULL || first == Py_None) {
        Py_CLEAR(first);
        PyErr_SetRaisedException(error);
    }
    else {
        Py_XDECREF(error);
    }
    return first;
}

/* Encodes `value`, which is stolen. `pump`: it is what a fetch of that gives; or NULL. False, with what is raised: it
 * cannot be sent. */
static bool
encode_value(HostObject *self, PyObject *value, PyObject *pump, const char *name)
{
    PyObject *items = pump == NULL ? NULL : Py_NewRef(value); /* as long as that may be of use */
    bool sent = transport_encode_result(self->state, &self->scratch, &value) == 0;
    if (!sent && items != NULL && PyErr_ExceptionMatches(PyExc_Exception)) {
        PyObject *first = first_item(pump, items);
        if (first != NULL) {
            Py_XSETREF(value, first);
            message_reset(&self->scratch);
            sent = transport_encode_result(self->state, &self->scratch, &value) == 0;
            if (!sent) {
                Py_XDECREF(first_item(pump, value));
            }
        }
    }
    if (!sent) {
        transport_raise_send_error("result", name, Py_None, value);
    }
    Py_XDECREF(items);
    Py_XDECREF(value);
    return sent;
}

static task_outcome
encode_raised(HostObject *self, const char *name)
{
    bool stopped = PyErr_ExceptionMatches(self->state->interrupted) ||
                   (self->stopping && PyErr_ExceptionMatches(self->cancelled_error));
    PyObject *error = PyErr_GetRaisedException();
    message_reset(&self->scratch);
    transport_encode_error(self->state, &self->scratch, error, name);
    Py_XDECREF(error);
    return stopped ? OUTCOME_STOPPED : OUTCOME_ENCODED_ERROR;
}

/* The task has ended with `value` (stolen), or NULL and what is raised. Leaves nothing raised. False: it was not
 * ours any more. */
static bool
finish(HostObject *self, struct task *task, PyObject *value, PyObject *pump, bool expired)
{
    bool fetches = task->hosted->kind == HOSTED_FETCH;
    const char *name = task_function_name(fetches ? task->hosted->stream : task);
    task_outcome outcome = value != NULL && encode_value(self, value, pump, name)
                               ? OUTCOME_ENCODED_VALUE
                               : encode_raised(self, name);
    if (!mailbox_finish(room_of(self), &self->host->box, &task->hosted->mail)) {
        message_reset(&self->scratch);
        return false; /* somebody else has ended it */
    }
    message_move(&task->tagged.message, &self->scratch);
    task->outcome = outcome;
    task->expired = expired ? EXPIRED : NOT_EXPIRED;
    publish(self, task);
    return true;
}

/* It was cancelled before it began. */
static bool
skip(HostObject *self, struct task *task)
{
    if (!mailbox_finish(room_of(self), &self->host->box, &task->hosted->mail)) {
        return false;
    }
    hosts_count(hosts_of(self), task, STATS_CANCELLED);
    if (fstate_notify_quietly(&task->state) || fstate_get(&task->state) != FSTATE_CANCELLED) {
        task_drop(task);
        return true;
    }
    push(&self->skipped, task);
    want_flush(self);
    return true;
}

/* -- a call -- */

static HostCallObject *
new_call(HostObject *self, struct task *task)
{
    PyTypeObject *type = (PyTypeObject *)self->state->host_call_type;
    HostCallObject *call = (HostCallObject *)type->tp_alloc(type, 0);
    if (call != NULL) {
        list_init(&call->node);
        call->limit_at = OS_FOREVER;
        call->host = (HostObject *)Py_NewRef(self);
        task_hold(task);
        call->task = task;
    }
    return call;
}

/* It has ended, or never began: what its host knows of it. */
static void
forget(HostCallObject *call)
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

/* Its Task has ended. */
static void
end(HostCallObject *call)
{
    HostObject *self = (HostObject *)Py_XNewRef(call->host);
    if (self == NULL) {
        return;
    }
    Py_INCREF(call);
    forget(call);
    PyObject *value = PyObject_CallMethod(call->running, "result", NULL);
    bool fetches = call->task->hosted->kind == HOSTED_FETCH && value != NULL && value != Py_None;
    call->is_ours = finish(self, call->task, value, fetches ? call->pump : NULL, call->expired);
    Py_DECREF(call);
    Py_DECREF(self);
}

static PyObject *
call_ended(PyObject *op, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    end((HostCallObject *)op);
    Py_RETURN_NONE;
}

static void
cancel(HostCallObject *call)
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
        cancel(call);
    }
    Py_RETURN_NONE;
}

/* Has the watch look, should the loop not get to expire() in time. */
static void
arm(HostObject *self, int64_t limit_at)
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
        arm(self, call->limit_at);
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
            Py_XDECREF(PyObject_CallMethod(call->pump, "hurry", "d", hosts_of(self)->grace));
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
    if (transport_decode_call(self->state, &task->tagged.message, task->tagged.with_context,
                              &received) < 0) {
        Py_XDECREF(callable);
        transport_raise_send_error("argument", task_function_name(task), Py_None, NULL);
        return NULL;
    }
    PyObject *given = NULL;
    *context = context_new(self->state,
                           task->tagged.with_context ? received.values[received.total - 1] : NULL);
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
        end(call);
        return 0;
    }
    PyObject *added = PyObject_CallMethod(call->running, "add_done_callback", "O", call);
    Py_XDECREF(added);
    if (added == NULL || set_timer(self, call) < 0) {
        PyObject *error = PyErr_GetRaisedException();
        cancel(call);
        PyErr_SetRaisedException(error);
        return -1;
    }
    return 0;
}

/* Begins a call that was taken out of the mailbox, which still has its reference. */
static void
begin(HostObject *self, struct task *task)
{
    HostCallObject *call = new_call(self, task);
    if (call == NULL) {
        PyObject *error = PyErr_GetRaisedException();
        if (!fstate_start(&task->state)) {
            skip(self, task);
            Py_DECREF(error);
            return;
        }
        PyErr_SetRaisedException(error);
        finish(self, task, NULL, NULL, false);
        return;
    }
    if (!fstate_start(&task->state)) {
        forget(call);
        call->is_ours = skip(self, task);
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
        forget(call);
        PyErr_SetRaisedException(error);
        call->is_ours = finish(self, task, NULL, NULL, false);
    }
    Py_XDECREF(coroutine);
    Py_XDECREF(context);
    Py_DECREF(call);
}

/* -- in the loop's turn -- */

static void
cancel_all(HostObject *self)
{
    /* Cancelling calls nothing of these, but adds to the loop. */
    for (struct list *node = self->calls.next; node != &self->calls; node = node->next) {
        cancel(call_of(node));
    }
}

/* The executor was shut down: generators wait for who reads them no longer than a task has to end. */
static void
hurry_all(HostObject *self)
{
    for (struct list *node = self->calls.next; node != &self->calls; node = node->next) {
        HostCallObject *call = call_of(node);
        if (call->task->hosted->kind == HOSTED_GENERATOR && call->pump != NULL) {
            PyObject *done = PyObject_CallMethod(call->pump, "hurry", "d", hosts_of(self)->grace);
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
    while ((mail = mailbox_take_notice(room_of(self), &self->host->box)) != NULL) {
        HostCallObject *call = LIST_ENTRY(mail, struct hosted, mail)->call;
        if (call != NULL) {
            cancel(call);
        }
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
        HostCallObject *call = call_of(node);
        next = !call->expired && call->limit_at < next ? call->limit_at : next;
    }
    if (next != OS_FOREVER) {
        arm(self, next);
    }
}

static void
take_calls(HostObject *self)
{
    struct mail *mail = NULL;
    for (int i = 0; i < AT_A_TIME; i++) {
        mail = mailbox_take(room_of(self), &self->host->box);
        if (mail == NULL) {
            return;
        }
        begin(self, LIST_ENTRY(mail, struct hosted, mail)->task);
    }
    os_bell_ring(self->host->bell.ringing); /* there may be more: in the next turn */
}

static PyObject *
take(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    HostObject *self = (HostObject *)op;
    os_bell_silence(&self->host->bell);
    mailroom_mood mood = mailbox_listen(room_of(self), &self->host->box);
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
    if (!self->flushes && (self->ended != NULL || self->stopped != NULL || self->skipped != NULL)) {
        flush(self);
    }
    if (mailbox_leave(room_of(self), &self->host->box)) {
        return PyObject_CallMethod(self->loop, "stop", NULL);
    }
    Py_RETURN_NONE;
}

static PyObject *
host_flush(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    flush((HostObject *)op);
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
    return PyBool_FromLong(mailbox_leave(room_of(self), &self->host->box));
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
        HostCallObject *call = (HostCallObject *)Py_NewRef(call_of(self->calls.next));
        PyObject *done =
            call->running == NULL ? NULL : PyObject_CallMethod(call->running, "done", NULL);
        if (done == Py_True) {
            end(call);
        }
        else {
            PyErr_Clear();
            if (call->running != NULL && PyList_Append(left, call->running) < 0) {
                Py_CLEAR(left);
            }
            forget(call); /* whoever hears of the host's end ends it */
        }
        Py_XDECREF(done);
        Py_DECREF(call);
    }
    flush(self);
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
        Py_VISIT((PyObject *)call_of(node));
    }
    return 0;
}

static int
host_clear(PyObject *op)
{
    HostObject *self = (HostObject *)op;
    while (self->calls.next != NULL && !list_is_empty(&self->calls)) {
        forget(call_of(self->calls.next));
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
free_at_main(void *task)
{
    task_free(task);
}

static void
call_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    HostCallObject *self = (HostCallObject *)op;
    PyObject_GC_UnTrack(op);
    forget(self);
    call_clear(op);
    if (self->task != NULL && task_release(self->task)) {
        if (self->is_ours) {
            task_free(self->task);
        }
        else {
            homecall_visit(free_at_main,
                           self->task); /* who has ended it may have left an exception */
        }
    }
    type->tp_free(op);
    Py_DECREF(type);
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

static int
register_types(struct state *state)
{
    if (state->host_type == NULL) {
        state->host_type = PyType_FromModuleAndSpec(state->module, &host_spec, NULL);
    }
    if (state->host_call_type == NULL) {
        state->host_call_type = PyType_FromModuleAndSpec(state->module, &call_spec, NULL);
    }
    return state->host_type == NULL || state->host_call_type == NULL ? -1 : 0;
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

/* -- interruption -- */

/* The call whose Task is current, borrowed; *any: some Task is. */
static HostCallObject *
find_current(HostObject *self, bool *any)
{
    PyObject *current = PyObject_CallOneArg(self->current_task, self->loop);
    HostCallObject *found = NULL;
    PyErr_Clear();
    *any = current != NULL && current != Py_None;
    for (struct list *node = self->calls.next; *any && node != &self->calls; node = node->next) {
        HostCallObject *call = call_of(node);
        /* One that has just been begun is not known by its Task yet. */
        if (call->running == current || (call->running == NULL && node == self->calls.prev)) {
            found = call;
        }
    }
    Py_XDECREF(current);
    return found;
}

static bool
is_to_stop(HostObject *self, uint64_t wanted, const HostCallObject *call, bool any)
{
    int64_t now = os_now_ns();
    int64_t stop_at = atomic_load_explicit(&hosts_of(self)->stop_at, memory_order_relaxed);
    if (wanted == WATCH_ANY) {
        return any && stop_at != OS_FOREVER && now >= stop_at + HOST_PATIENCE;
    }
    return call != NULL && call->task->interruptible &&
           (fstate_is_done(&call->task->state) || call->limit_at <= now);
}

/* Whether all code from the Task's coroutine on is the task's own: below it is the loop's. */
static bool
is_sound_place(void)
{
    bool sound = true, is_loop = false;
    PyFrameObject *frame = PyThreadState_GetFrame(PyThreadState_Get());
    while (frame != NULL && !is_loop) {
        PyCodeObject *code = PyFrame_GetCode(frame);
        PyObject *globals = PyFrame_GetGlobals(frame);
        PyObject *name = globals == NULL ? NULL : PyDict_GetItemString(globals, "__name__");
        is_loop = PyUnicode_EqualToUTF8(code->co_name, "_run") && name != NULL &&
                  PyUnicode_Check(name) && PyUnicode_EqualToUTF8(name, "asyncio.events");
        sound = sound && (is_loop || !target_is_shared_code(frame));
        Py_XDECREF(globals);
        Py_DECREF(code);
        PyFrameObject *back = PyFrame_GetBack(frame);
        Py_DECREF(frame);
        frame = back;
    }
    Py_XDECREF(frame);
    PyErr_Clear();
    return sound;
}

int
hosting_interrupt(struct target *target, uint64_t wanted)
{
    struct host *host = atomic_load_explicit(&target->host, memory_order_relaxed);
    HostObject *self = (HostObject *)host->object;
    if (self == NULL || PyThread_get_thread_ident() != target->thread) {
        return 0;
    }
    bool any;
    HostCallObject *call = find_current(self, &any);
    if (!is_to_stop(self, wanted, call, any) || target_is_handling(target->exception) ||
        target_is_handling(self->cancelled_error)) {
        return 0;
    }
    if (call != NULL && call->limit_at <= os_now_ns() && !fstate_is_done(&call->task->state)) {
        call->expired = true;
    }
    if (!is_sound_place()) {
        target->unsound = true;
        mailbox_retire(room_of(self), &host->box);
    }
    target->raised = true;
    PyErr_SetString(target->exception, "the task is to stop");
    return -1;
}
