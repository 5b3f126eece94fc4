/* The outcome of a future: waiting for it, and reading what the worker left behind. */
#include "future_data.h"

#include "crew.h"
#include "transport.h"

#include <math.h>

/* -- reading -- */

static void
decoded(FutureData *data, PyObject *value, PyObject *exception)
{
    struct task *task = data->task;
    if (task->outcome == OUTCOME_NONE) { /* another thread was quicker */
        Py_XDECREF(value);
        Py_XDECREF(exception);
    }
    else {
        task->outcome = OUTCOME_NONE;
        Py_XSETREF(data->result, value);
        Py_XSETREF(data->exception, exception);
    }
}

/* Whether the exception that is set says nothing about the outcome, which can be read later. */
static bool
is_passing(void)
{
    return !PyErr_ExceptionMatches(PyExc_Exception) || PyErr_ExceptionMatches(PyExc_MemoryError) ||
           PyErr_ExceptionMatches(PyExc_RecursionError);
}

/* The exception of an outcome that cannot be read; NULL with one that is passing. */
static PyObject *
unreadable(struct task *task, const char *role)
{
    if (is_passing()) {
        return NULL;
    }
    transport_raise_send_error(role, task_function_name(task), Py_None, NULL);
    return is_passing() ? NULL : PyErr_GetRaisedException();
}

static int
decode_outcome(struct state *state, FutureData *data)
{
    struct task *task = data->task;
    PyObject *value = NULL, *exception = NULL;
    data->decoding++;
    if (task->outcome == OUTCOME_ENCODED_VALUE) {
        value = transport_decode_value(state, &task->tagged.message);
        exception = value == NULL ? unreadable(task, "result") : NULL;
    }
    else {
        exception = transport_decode_error(state, &task->tagged.message);
        exception = exception == NULL ? unreadable(task, "exception") : exception;
    }
    data->decoding--;
    bool read = value != NULL || exception != NULL;
    if (read) {
        decoded(data, value, exception);
    }
    if (data->decoding == 0 && task->outcome == OUTCOME_NONE) {
        message_reset(&task->tagged.message);
    }
    return read ? 0 : -1;
}

int
future_settle(struct state *state, FutureData *data)
{
    struct task *task = data->task;
    if (data->by_hand) {
        return 0;
    }
    PyObject *left = task->result;
    switch (task->outcome) {
    case OUTCOME_NONE:
        return 0;
    case OUTCOME_VALUE:
        task->result = NULL;
        task->outcome = OUTCOME_NONE;
        Py_XSETREF(data->result, left);
        return 0;
    case OUTCOME_RAISED:
        task->result = NULL;
        task->outcome = OUTCOME_NONE;
        Py_XSETREF(data->exception, left);
        return 0;
    default:
        return decode_outcome(state, data);
    }
}

/* -- waiting -- */

/* Nanoseconds of os_now_ns() for `timeout` seconds from now; OS_FOREVER for None. */
static int
deadline_of(PyObject *timeout, int64_t *deadline)
{
    *deadline = OS_FOREVER;
    if (timeout == NULL || timeout == Py_None) {
        return 0;
    }
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (isnan(seconds)) {
        PyErr_SetString(PyExc_ValueError, "timeout is not a number (NaN)");
        return -1;
    }
    if (seconds < 9e9) { /* more than that is for ever: 285 years */
        *deadline = seconds <= 0 ? 0 : os_now_ns() + (int64_t)(seconds * 1e9);
    }
    return 0;
}

/* Waits for the end. 0: done; -1 with TimeoutError, or what a signal handler raised. */
static int
await_end(struct task *task, PyObject *timeout)
{
    int64_t deadline;
    if (fstate_is_done(&task->state)) {
        return 0;
    }
    if (task->is_call && task->generation != crew_generation()) {
        PyErr_SetString(PyExc_RuntimeError,
                        "the future belongs to the process that this one was forked from; the "
                        "call will not end here");
        return -1;
    }
    if (deadline_of(timeout, &deadline) < 0) {
        return -1;
    }
    for (;;) {
        fstate_wait_result result;
        Py_BEGIN_ALLOW_THREADS
        result = fstate_wait(&task->state, deadline);
        Py_END_ALLOW_THREADS
        if (result == FSTATE_DONE) {
            return 0;
        }
        if (result == FSTATE_TIMED_OUT) {
            PyErr_SetNone(PyExc_TimeoutError);
            return -1;
        }
        if (PyErr_CheckSignals() < 0) {
            return -1;
        }
    }
}

int
future_await_outcome(struct state *state, FutureData *data, PyObject *timeout)
{
    struct task *task = data->task;
    task_hold(task); /* while we are detached the future may go */
    int result = await_end(task, timeout);
    unsigned now = fstate_get(&task->state);
    task_drop(task);
    if (result < 0) {
        return -1;
    }
    if (now == FSTATE_CANCELLED || now == FSTATE_CANCELLED_AND_NOTIFIED) {
        PyErr_SetNone(state->cancelled_error);
        return -1;
    }
    return future_settle(state, data);
}
