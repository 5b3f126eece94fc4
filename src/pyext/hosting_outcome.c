#include "hosting_data.h"

#include "future.h"
#include "homecall.h"
#include "output.h"
#include "submit.h"
#include "transport.h"

static void
push(struct combined **chain, struct task *task)
{
    task->told.next = *chain;
    *chain = &task->told;
}

/* Has the loop call hosting_flush() in its next turn. */
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
    if (future == NULL && (job == NULL || PyCapsule_GetContext(capsule) != NULL)) {
        if (job != NULL) { /* a thread may have begun, and come to it after all */
            PyCapsule_SetContext(capsule, NULL);
        }
        PyErr_Clear();
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

void
hosting_flush(HostObject *self)
{
    struct telling telling = {.hosts = hosting_hosts(self),
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
        telling.skipped != NULL || mailroom_lacks_box(hosting_room(self))) {
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
    hosts_count(hosting_hosts(self), task,
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

bool
hosting_finish(HostObject *self, struct task *task, PyObject *value, PyObject *pump, bool expired)
{
    bool fetches = task->hosted->kind == HOSTED_FETCH;
    const char *name = task_function_name(fetches ? task->hosted->stream : task);
    task_outcome outcome = value != NULL && encode_value(self, value, pump, name)
                               ? OUTCOME_ENCODED_VALUE
                               : encode_raised(self, name);
    if (!mailbox_finish(hosting_room(self), &self->host->box, &task->hosted->mail)) {
        message_reset(&self->scratch);
        return false; /* somebody else has ended it */
    }
    message_move(&task->tagged.message, &self->scratch);
    task->outcome = outcome;
    task->expired = expired ? EXPIRED : NOT_EXPIRED;
    publish(self, task);
    return true;
}

bool
hosting_skip(HostObject *self, struct task *task)
{
    if (!mailbox_finish(hosting_room(self), &self->host->box, &task->hosted->mail)) {
        return false;
    }
    hosts_count(hosting_hosts(self), task, STATS_CANCELLED);
    if (fstate_notify_quietly(&task->state) || fstate_get(&task->state) != FSTATE_CANCELLED) {
        task_drop(task);
        return true;
    }
    push(&self->skipped, task);
    want_flush(self);
    return true;
}
