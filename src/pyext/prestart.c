#include "prestart.h"

#include "future.h"
#include "registry.h"
#include "submit.h"
#include "task.h"

/* -- interpreters -- */

static int
submit_maker(struct state *state, struct crew *crew, unsigned wants, PyObject *futures)
{
    struct task *task = task_new(false, registry_generation());
    if (task == NULL) {
        return -1;
    }
    task->job.wants = wants;
    PyObject *future = future_new(state, task);
    if (future == NULL) {
        return -1;
    }
    int result =
        submit_queue(state, crew, task, NULL, OS_FOREVER) < 0 ? -1 : PyList_Append(futures, future);
    Py_DECREF(future);
    return result;
}

/* One maker for each interpreter that is not there yet, also if others are about to make it: this one
 * waits for them. */
static int
submit_makers(struct state *state, struct crew *crew, unsigned interpreters, PyObject *futures)
{
    for (unsigned wants = pool_made(&crew->pool) + 1; wants <= interpreters; wants++) {
        if (submit_maker(state, crew, wants, futures) < 0) {
            return -1;
        }
    }
    return 0;
}

/* -- threads -- */

static int
start_threads(struct crew *crew, unsigned threads)
{
    while (pool_grow(&crew->pool, threads)) {
        int result = crew_start_worker(crew);
        if (result > 0) {
            PyErr_SetString(PyExc_RuntimeError, "a worker thread could not be started");
        }
        if (result != 0) {
            return -1;
        }
    }
    return 0;
}

/* Has `waiter` wait for each thread that is being started, whoever starts it. How many; -1 with an
 * exception. */
static Py_ssize_t
await_threads(struct crew *crew, PyObject *waiter)
{
    Py_ssize_t count = 0;
    for (struct list *node = crew->starting.next; node != &crew->starting; node = node->next) {
        struct start *start = LIST_ENTRY(node, struct start, node);
        if (start->waiters == NULL) {
            start->waiters = PyList_New(0);
        }
        if (start->waiters == NULL || PyList_Append(start->waiters, waiter) < 0) {
            return -1;
        }
        count++;
    }
    return count;
}

PyObject *
prestart_tell(struct start *start, PyObject *error)
{
    PyObject *waiters = start->waiters;
    start->waiters = NULL;
    list_remove(&start->node);
    PyObject *calls = waiters == NULL ? NULL : PyList_New(0);
    for (Py_ssize_t i = 0; calls != NULL && i < PyList_GET_SIZE(waiters); i++) {
        PyObject *next =
            PyObject_CallOneArg(PyList_GET_ITEM(waiters, i), error != NULL ? error : Py_None);
        if (next == NULL || (next != Py_None && PyList_Append(calls, next) < 0)) {
            PyErr_WriteUnraisable(PyList_GET_ITEM(waiters, i));
        }
        Py_XDECREF(next);
    }
    if (waiters != NULL && calls == NULL) {
        PyErr_WriteUnraisable(NULL);
    }
    if (calls != NULL && PyList_GET_SIZE(calls) == 0) {
        Py_CLEAR(calls);
    }
    Py_XDECREF(waiters);
    return calls;
}

void
prestart_finish(PyObject *calls)
{
    for (Py_ssize_t i = 0; calls != NULL && i < PyList_GET_SIZE(calls); i++) {
        PyObject *done = PyObject_CallNoArgs(PyList_GET_ITEM(calls, i));
        if (done == NULL) {
            PyErr_WriteUnraisable(PyList_GET_ITEM(calls, i));
        }
        Py_XDECREF(done);
    }
    Py_XDECREF(calls);
}

/* -- both -- */

/* What has begun goes on, whatever stops the rest of it, which is the outcome then. -1 with what is no
 * Exception, a Ctrl-C: that is the caller's. */
static int
begin(struct state *state, struct crew *crew, unsigned interpreters, unsigned threads,
      PyObject *futures, PyObject **error)
{
    if (submit_makers(state, crew, interpreters, futures) == 0 &&
        start_threads(crew, threads) == 0 &&
        submit_check_open(state, crew) == 0) { /* or a thread has broken it since */
        return 0;
    }
    if (!PyErr_ExceptionMatches(PyExc_Exception)) {
        return -1;
    }
    *error = PyErr_GetRaisedException();
    return 0;
}

/* A Ctrl-C has left prestart(), and nobody waits for what has not begun. */
static void
cancel_makers(PyObject *futures)
{
    PyObject *error = PyErr_GetRaisedException();
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(futures); i++) {
        PyObject *done = PyObject_CallMethod(PyList_GET_ITEM(futures, i), "cancel", NULL);
        if (done == NULL) {
            PyErr_WriteUnraisable(PyList_GET_ITEM(futures, i));
        }
        Py_XDECREF(done);
    }
    PyErr_SetRaisedException(error);
}

PyObject *
prestart(struct state *state, struct crew *crew, unsigned interpreters, unsigned threads,
         PyObject *waiter)
{
    PyObject *error = NULL;
    if (submit_check_open(state, crew) < 0) {
        return NULL;
    }
    crew_forget_parent(crew);
    if (pool_made(&crew->pool) < interpreters && submit_prepare_interps(state, crew) < 0) {
        return NULL;
    }
    PyObject *futures = PyList_New(0);
    if (futures == NULL) {
        return NULL;
    }
    if (begin(state, crew, interpreters, threads, futures, &error) < 0) {
        cancel_makers(futures);
        Py_DECREF(futures);
        return NULL;
    }
    Py_ssize_t starting = threads > 0 ? await_threads(crew, waiter) : 0;
    PyObject *result = NULL;
    if (starting >= 0) {
        result = Py_BuildValue("(OnO)", futures, starting, error != NULL ? error : Py_None);
    }
    Py_DECREF(futures);
    Py_XDECREF(error);
    return result;
}
