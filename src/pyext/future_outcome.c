/* The outcome of a future: waiting for it, and reading it, perhaps by several threads at a time. */
#include "future_data.h"

#include "lending.h"
#include "outcome.h"

/* Takes both over. */
static void
keep(FutureData *data, PyObject *value, PyObject *exception)
{
    Py_XSETREF(data->result, value);
    Py_XSETREF(data->exception, exception);
}

/* Decoding may run Python, so that other threads come here meanwhile: the first to be done decides, and
 * the last one out empties the message. */
static int
settle_encoded(struct state *state, FutureData *data)
{
    struct task *task = data->task;
    PyObject *value, *exception;
    data->decoding++;
    int result = outcome_read(state, task, &value, &exception);
    data->decoding--;
    if (task->outcome == OUTCOME_NONE) { /* another thread was quicker */
        Py_XDECREF(value);
        Py_XDECREF(exception);
    }
    else if (result == 0) {
        task->outcome = OUTCOME_NONE;
        keep(data, value, exception);
    }
    if (data->decoding == 0 && task->outcome == OUTCOME_NONE) {
        message_reset(&task->tagged.message);
    }
    return result;
}

/* Making the error may run Python, so that another thread may come here meanwhile, and be quicker. */
static int
settle_expired(struct state *state, FutureData *data)
{
    PyObject *value, *exception;
    if (data->exception != NULL) {
        return 0;
    }
    if (outcome_read(state, data->task, &value, &exception) < 0) {
        return -1;
    }
    if (data->exception == NULL) {
        data->exception = exception;
    }
    else {
        Py_DECREF(exception);
    }
    return 0;
}

int
future_settle(struct state *state, FutureData *data)
{
    struct task *task = data->task;
    if (data->by_hand) {
        return 0;
    }
    if (task->expired) {
        return settle_expired(state, data);
    }
    if (task->outcome == OUTCOME_NONE) {
        return 0;
    }
    if (outcome_is_encoded(task)) {
        return settle_encoded(state, data);
    }
    PyObject *value, *exception;
    outcome_read(state, task, &value, &exception);
    keep(data, value, exception);
    return 0;
}

int
future_await_outcome(struct state *state, FutureData *data, PyObject *timeout)
{
    struct task *task = data->task;
    int64_t deadline = OS_FOREVER;
    task_hold(task); /* while we are detached the future may go */
    int result = fstate_is_done(&task->state) ? 0 : outcome_deadline(timeout, &deadline);
    if (result == 0 && (result = outcome_await(task, deadline)) < 0 &&
        PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        future_interrupt(state, task);
    }
    unsigned now = fstate_get(&task->state);
    task_drop(task);
    if (result < 0) {
        return -1;
    }
    if (now == FSTATE_CANCELLED || now == FSTATE_CANCELLED_AND_NOTIFIED) {
        PyErr_SetNone(state->cancelled_error);
        return -1;
    }
    /* What the call was lent is its caller's again once he has the outcome. */
    lending_collect(state);
    return future_settle(state, data);
}
