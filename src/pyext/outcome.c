#include "outcome.h"

#include "../core/awake.h"
#include "compat.h"
#include "crew.h"
#include "nesting.h"
#include "registry.h"
#include "transport.h"

#include <math.h>

/* -- waiting -- */

int
outcome_deadline(PyObject *timeout, int64_t *deadline)
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

/* Of the calling thread. Addresses are compared only. */
static _Thread_local struct {
    const struct task *submitted; /* last, and not waited for yet; or NULL */
    unsigned at_once;             /* tasks in a row that were waited for before the next one */
    unsigned without_submit;      /* tasks in a row that were waited for, and none submitted */
    unsigned taken;               /* of these, since it was last kept waiting */
    int64_t kept_until;           /* when that was over */
    int64_t interval;             /* nanoseconds from one result to the next, lately */
} habit;

enum { IS_A_HABIT = 2, IS_A_STREAM = 8, WEIGHT = 8 };

/* Nanoseconds. */
enum { NAP = 250000, LONGEST_INTERVAL = 1000000 };

bool
outcome_is_awaited_at_once(const struct task *task)
{
    if (habit.submitted != NULL) {
        habit.at_once = 0;
    }
    habit.submitted = task;
    habit.without_submit = 0;
    return habit.at_once >= IS_A_HABIT;
}

static void
note_wait(const struct task *task)
{
    habit.without_submit++;
    habit.taken++;
    if (habit.submitted == task) {
        habit.submitted = NULL;
        habit.at_once += habit.at_once < IS_A_HABIT;
    }
}

static void
note_end_of_wait(void)
{
    int64_t now = os_now_ns();
    /* 0: a signal handler has waited for another task meanwhile. */
    unsigned taken = habit.taken > 0 ? habit.taken : 1;
    int64_t interval = (now - habit.kept_until) / taken;
    interval = interval < LONGEST_INTERVAL ? interval : LONGEST_INTERVAL;
    habit.interval += (interval - habit.interval) / WEIGHT;
    habit.kept_until = now;
    habit.taken = 0;
}

/* A thread that takes one short task's result after the other would be woken for each, and take its
 * CPU from the worker that is at the next one. So it lets some results come together: as many as come
 * in NAP, and only where every CPU has a worker to run. */
static bool
should_nap(int64_t now, int64_t deadline)
{
    return habit.without_submit > IS_A_STREAM && habit.interval < NAP / 2 && deadline - now > NAP &&
           awake_on_every_cpu();
}

/* 1: the task has ended; 0: it has not; -1 with what a signal handler raised. */
static int
nap(struct task *task, int64_t until)
{
    bool done;
    Py_BEGIN_ALLOW_THREADS
    done = fstate_nap(&task->state, until);
    Py_END_ALLOW_THREADS
    return done ? 1 : PyErr_CheckSignals();
}

/* A signal ends a wait of the thread that it interrupts: not if it comes just before the wait, or to another thread. So
 * the main thread, whose handlers there are, looks from time to time. */
static int
park(struct task *task, int64_t deadline)
{
    bool handles_signals = compat_is_main_thread();
    for (;;) {
        fstate_wait_result result;
        if (PyErr_CheckSignals() < 0) {
            return -1;
        }
        int64_t look_at = handles_signals ? os_now_ns() + LOOK_FOR_SIGNALS : OS_FOREVER;
        Py_BEGIN_ALLOW_THREADS
        result = fstate_wait(&task->state, look_at < deadline ? look_at : deadline);
        Py_END_ALLOW_THREADS
        if (result == FSTATE_DONE) {
            return 0;
        }
        if (result == FSTATE_TIMED_OUT && deadline <= look_at) {
            PyErr_SetNone(PyExc_TimeoutError);
            return -1;
        }
    }
}

int
outcome_await(struct task *task, int64_t deadline)
{
    note_wait(task);
    if (fstate_is_done(&task->state)) {
        return 0;
    }
    if (task->is_call && task->generation != registry_generation()) {
        PyErr_SetString(PyExc_RuntimeError,
                        "the future belongs to the process that this one was forked from; the "
                        "call will not end here");
        return -1;
    }
    struct nested_wait nested;
    if (nesting_enter(&nested, task->crew, task, NULL, deadline) < 0) {
        return -1;
    }
    int64_t now = os_now_ns();
    int result = should_nap(now, deadline) ? nap(task, now + NAP) : 0;
    if (result == 0) {
        result = park(task, deadline);
    }
    nesting_leave(&nested);
    if (result >= 0) {
        note_end_of_wait();
    }
    return result < 0 ? -1 : 0;
}

/* -- reading -- */

bool
outcome_is_encoded(const struct task *task)
{
    return task->outcome == OUTCOME_ENCODED_VALUE || task->outcome == OUTCOME_ENCODED_ERROR;
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

static PyObject *
move_result(struct task *task)
{
    PyObject *left = task->result;
    task->result = NULL;
    task->outcome = OUTCOME_NONE;
    return left;
}

/* The worker's traceback, where the task was stopped. NULL without an exception: it is not there. */
static PyObject *
place_of_stop(struct state *state, struct task *task)
{
    bool is_known = task->expired == EXPIRED &&
                    (task->outcome == OUTCOME_STOPPED || task->outcome == OUTCOME_ENCODED_ERROR);
    PyObject *raised = is_known ? transport_decode_error(state, &task->tagged.message) : NULL;
    PyObject *cause = raised == NULL ? NULL : PyException_GetCause(raised);
    Py_XDECREF(raised);
    PyErr_Clear();
    return cause;
}

/* A TimeoutError. NULL with an exception. */
static PyObject *
expired_error(struct state *state, struct task *task)
{
    PyObject *seconds = PyFloat_FromDouble((double)task->limit / 1e9);
    PyObject *text =
        seconds == NULL
            ? NULL
            : PyUnicode_FromFormat("the call of %s took longer than its timeout of %R seconds",
                                   task_function_name(task), seconds);
    PyObject *error = text == NULL ? NULL : PyObject_CallOneArg(PyExc_TimeoutError, text);
    Py_XDECREF(seconds);
    Py_XDECREF(text);
    if (error != NULL) {
        PyException_SetCause(error, place_of_stop(state, task));
    }
    return error;
}

int
outcome_read(struct state *state, struct task *task, PyObject **value, PyObject **exception)
{
    *value = *exception = NULL;
    if (task->expired) {
        *exception = expired_error(state, task);
        return *exception == NULL ? -1 : 0;
    }
    switch (task->outcome) {
    case OUTCOME_STOPPED: /* then it is cancelled, or has expired */
    case OUTCOME_NONE:
        *value = Py_NewRef(Py_None);
        break;
    case OUTCOME_VALUE:
        *value = move_result(task);
        break;
    case OUTCOME_RAISED:
        *exception = move_result(task);
        break;
    case OUTCOME_ENCODED_VALUE:
        *value = transport_decode_value(state, &task->tagged.message);
        *exception = *value == NULL ? unreadable(task, "result") : NULL;
        break;
    case OUTCOME_ENCODED_ERROR:
        *exception = transport_decode_error(state, &task->tagged.message);
        *exception = *exception == NULL ? unreadable(task, "exception") : *exception;
        break;
    }
    return *value != NULL || *exception != NULL ? 0 : -1;
}

void
outcome_raise(PyObject *exception)
{
    PyObject *held = Py_NewRef(exception);
    if (PyExceptionInstance_Check(held)) {
        PyErr_SetObject((PyObject *)Py_TYPE(held), held);
    }
    else if (PyExceptionClass_Check(held)) {
        PyErr_SetNone(held);
    }
    else {
        PyErr_SetString(PyExc_TypeError, "exceptions must derive from BaseException");
    }
    Py_DECREF(held);
}
