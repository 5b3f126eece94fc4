/* Being observed, and telling those who observe. */
#include "future_data.h"
#include "limit.h"
#include "loops.h"
#include "stopping.h"

bool
future_observe(PyObject *self, FutureData *data, bool foreign)
{
    struct task *task = data->task;
    unsigned state = fstate_observe(&task->state, foreign);
    if (state >= FSTATE_CANCELLED_AND_NOTIFIED) {
        return true;
    }
    if (task->is_call && !task->keeps_future) {
        task->keeps_future = true;
        Py_INCREF(self);
    }
    return state == FSTATE_CANCELLED;
}

void
future_release_kept(struct task *task)
{
    if (task->keeps_future) {
        task->keeps_future = false;
        Py_DECREF(task->future);
    }
}

PyObject *
future_condition(struct state *state, PyObject *self)
{
    FutureData *data = future_data(self);
    if (data->condition == NULL) {
        PyObject *condition = PyObject_CallNoArgs(state->condition_class);
        if (condition == NULL) {
            return NULL;
        }
        if (data->condition == NULL) { /* nobody was quicker while we called out */
            data->condition = Py_NewRef(condition);
        }
        Py_DECREF(condition);
        future_observe(self, data, true);
    }
    return Py_NewRef(data->condition);
}

int
future_lock(FutureData *data, struct locked *locked)
{
    *locked = (struct locked){NULL, NULL};
    if (data->condition == NULL) {
        return 0;
    }
    PyObject *condition = Py_NewRef(data->condition);
    PyObject *release = PyObject_GetAttrString(condition, "release");
    PyObject *done = release == NULL ? NULL : PyObject_CallMethod(condition, "acquire", NULL);
    if (done == NULL) {
        Py_XDECREF(release);
        Py_DECREF(condition);
        return -1;
    }
    Py_DECREF(done);
    *locked = (struct locked){condition, release};
    return 0;
}

/* What Python code that must not stop us has raised. A Ctrl-C comes back as a signal. */
static void
forget_error(PyObject *where)
{
    if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        PyErr_Clear();
        PyErr_SetInterrupt();
    }
    else {
        PyErr_WriteUnraisable(where);
    }
}

/* What was called on the condition, and gave `done`, or raised. */
static void
finish_call(PyObject *condition, PyObject *done)
{
    if (done == NULL) {
        forget_error(condition);
    }
    Py_XDECREF(done);
}

void
future_unlock(struct locked locked, bool notify)
{
    if (locked.condition == NULL) {
        return;
    }
    PyObject *error = PyErr_GetRaisedException();
    if (notify) {
        finish_call(locked.condition, PyObject_CallMethod(locked.condition, "notify_all", NULL));
    }
    finish_call(locked.condition, PyObject_CallNoArgs(locked.release));
    PyErr_SetRaisedException(error);
    Py_DECREF(locked.release);
    Py_DECREF(locked.condition);
}

void
future_tell_waiters(PyObject *self, FutureData *data, const char *method)
{
    for (Py_ssize_t i = 0; data->waiters != NULL && i < PyList_GET_SIZE(data->waiters); i++) {
        PyObject *waiter = Py_NewRef(PyList_GET_ITEM(data->waiters, i));
        PyObject *done = PyObject_CallMethod(waiter, method, "O", self);
        if (done == NULL) {
            forget_error(waiter);
        }
        Py_XDECREF(done);
        Py_DECREF(waiter);
    }
}

void
future_log_callback_error(struct state *state, PyObject *self)
{
    PyObject *error = PyErr_GetRaisedException();
    PyObject *log = PyObject_GetAttrString(state->logger, "error");
    PyObject *args = Py_BuildValue("(sO)", "exception calling callback for %r", self);
    PyObject *kwargs = Py_BuildValue("{s:O}", "exc_info", error);
    PyObject *done = NULL;
    if (log != NULL && args != NULL && kwargs != NULL) {
        done = PyObject_Call(log, args, kwargs);
    }
    if (done == NULL) {
        PyErr_WriteUnraisable(self);
    }
    Py_XDECREF(log);
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    Py_XDECREF(done);
    Py_XDECREF(error);
}

int
future_invoke_done_callbacks(struct state *state, PyObject *self, bool in_worker)
{
    FutureData *data = future_data(self);
    PyObject *callbacks = data->callbacks;
    data->callbacks = NULL;
    int result = 0;
    for (Py_ssize_t i = 0; callbacks != NULL && i < PyList_GET_SIZE(callbacks); i++) {
        PyObject *callback = Py_NewRef(PyList_GET_ITEM(callbacks, i));
        PyObject *done = PyObject_CallOneArg(callback, self);
        Py_DECREF(callback);
        Py_XDECREF(done);
        if (done == NULL && (in_worker || PyErr_ExceptionMatches(PyExc_Exception))) {
            future_log_callback_error(state, self);
        }
        else if (done == NULL) {
            result = -1;
            break;
        }
    }
    Py_XDECREF(callbacks);
    return result;
}

/* -- ending what is observed -- */

PyObject *
future_end_and_tell_waiters(struct state *state, struct task *task)
{
    PyObject *self = Py_XNewRef(task->future);
    if (self == NULL) {
        fstate_finish(&task->state);
        loops_tell(state, task);
        return NULL;
    }
    FutureData *data = future_data(self);
    struct locked locked;
    if (future_lock(data, &locked) < 0) {
        forget_error(self);
    }
    bool raised =
        task->expired || task->outcome == OUTCOME_RAISED || task->outcome == OUTCOME_ENCODED_ERROR;
    if (!data->by_hand && fstate_finish(&task->state)) { /* else whoever ended it has told */
        future_tell_waiters(self, data, raised ? "add_exception" : "add_result");
    }
    future_unlock(locked, true);
    return self;
}

void
future_tell_finished(struct state *state, struct task *task)
{
    PyObject *self = future_end_and_tell_waiters(state, task);
    if (self != NULL) {
        future_invoke_done_callbacks(state, self, true);
        future_release_kept(task);
        Py_DECREF(self);
    }
    loops_send(state);
}

void
future_tell_expired(struct state *state, struct task *task)
{
    task->expired = EXPIRED_ASIDE;
    if (!fstate_finish_quietly(&task->state)) {
        future_tell_finished(state, task);
    }
}

/* RUNNING → cancelled, and tells who waits, with the condition held. */
static bool
cancel_running(PyObject *self, FutureData *data)
{
    bool done = fstate_cancel_running(&data->task->state);
    if (done) {
        future_tell_waiters(self, data, "add_cancelled");
    }
    return done;
}

void
future_tell_stopped(struct state *state, struct task *task)
{
    PyObject *self = Py_XNewRef(task->future);
    if (self == NULL) {
        fstate_cancel_running(&task->state);
        loops_tell(state, task);
        loops_send(state);
        return;
    }
    FutureData *data = future_data(self);
    struct locked locked;
    if (future_lock(data, &locked) < 0) {
        forget_error(self);
    }
    bool done = cancel_running(self, data);
    future_unlock(locked, done);
    if (done) {
        future_invoke_done_callbacks(state, self, true);
    }
    future_release_kept(task);
    Py_DECREF(self);
}

void
future_tell_cancelled(struct state *state, struct task *task)
{
    PyObject *self = Py_XNewRef(task->future);
    if (self == NULL) {
        fstate_end(&task->state, FSTATE_CANCELLED_AND_NOTIFIED);
        loops_tell(state, task);
        loops_send(state);
        return;
    }
    FutureData *data = future_data(self);
    struct locked locked;
    if (future_lock(data, &locked) < 0) {
        forget_error(self);
    }
    if (fstate_get(&task->state) == FSTATE_CANCELLED) {
        fstate_end(&task->state, FSTATE_CANCELLED_AND_NOTIFIED);
        future_tell_waiters(self, data, "add_cancelled");
    }
    future_unlock(locked, true);
    future_release_kept(task);
    Py_DECREF(self);
}

void
future_fail(struct state *state, struct task *task, PyObject *exception)
{
    if (!fstate_start(&task->state)) {
        future_tell_cancelled(state, task);
        return;
    }
    task_clear_call(task);
    task->result = Py_NewRef(exception);
    task->outcome = OUTCOME_RAISED;
    if (!fstate_finish_quietly(&task->state)) {
        future_tell_finished(state, task);
    }
}

/* A cancelled task that no worker will come across: tells who is left to be told, as that one would. */
static void
drop_withdrawn(struct state *state, struct task *task)
{
    PyObject *error = PyErr_GetRaisedException();
    if (!fstate_notify_quietly(&task->state)) {
        future_tell_cancelled(state, task);
    }
    task_drop(task);
    PyErr_SetRaisedException(error);
}

int
future_try_cancel(struct state *state, PyObject *self)
{
    FutureData *data = future_data(self);
    struct locked locked;
    if (future_lock(data, &locked) < 0) {
        return -1;
    }
    struct task *task = data->task;
    bool done = fstate_cancel(&task->state);
    bool stops = !done && task_can_be_stopped(task) && cancel_running(self, data);
    future_unlock(locked, done || stops);
    if (stops) {
        stopping_ask(task);
        int result = future_invoke_done_callbacks(state, self, false);
        future_release_kept(task);
        return result < 0 ? -1 : 1;
    }
    if (done) {
        bool withdrawn = limit_withdraw(task);
        task_clear_call(task); /* runs destructors, so not under the condition */
        int called = future_invoke_done_callbacks(state, self, false);
        if (withdrawn) {
            drop_withdrawn(state, task);
        }
        return called < 0 ? -1 : 1;
    }
    unsigned now = fstate_get(&data->task->state);
    return now == FSTATE_CANCELLED || now == FSTATE_CANCELLED_AND_NOTIFIED;
}

void
future_interrupt(struct state *state, struct task *task)
{
    if (!task_is_interrupted_with_wait(task) || task->future == NULL) {
        return;
    }
    PyObject *error = PyErr_GetRaisedException();
    PyObject *self = Py_NewRef(task->future);
    while (future_try_cancel(state, self) < 0) {
        /* Another Ctrl-C, perhaps before the condition was held: one is raised in any case. */
        bool again = PyErr_ExceptionMatches(PyExc_KeyboardInterrupt);
        if (again) {
            PyErr_Clear();
        }
        else {
            PyErr_WriteUnraisable(self); /* of a callback */
        }
        if (!again || fstate_is_done(&task->state)) {
            break;
        }
    }
    Py_DECREF(self);
    PyErr_SetRaisedException(error);
}

void
future_cancel_pending(struct state *state, struct task *task)
{
    if (task->future != NULL) {
        PyObject *self = Py_NewRef(task->future);
        if (future_try_cancel(state, self) < 0) {
            forget_error(self); /* of a callback; the others are to be told all the same */
            if (fstate_cancel(&task->state)) { /* or of the condition, which was not to be had */
                task_clear_call(task);
                future_invoke_done_callbacks(state, self, true);
            }
        }
        Py_DECREF(self);
    }
    else {
        fstate_cancel(&task->state);
    }
    if (!fstate_notify_quietly(&task->state)) {
        future_tell_cancelled(state, task);
    }
}
