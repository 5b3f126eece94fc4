/* floor: what the hardware, the C library and a bare CPython take for the jobs that the measures of
 * this folder time, as an extension module (floor.py builds it). No executor can be faster:
 *
 *   interpreters(count)        creates that many interpreters; seconds for each
 *   end_interpreters()         ends them
 *   round_trips(count, gap)    hands one word to a sleeping thread and back, `gap` seconds apart;
 *                              seconds for each trip
 *   queue(count, workers)      hands `count` tasks through one locked queue; seconds for all
 *   copies(bytes, count)       copies them to memory freshly allocated; seconds for each
 *
 * Everything but interpreters() and end_interpreters() runs detached, without a GIL.
 */
#define _GNU_SOURCE
#include <Python.h>

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MAX_INTERPRETERS 64
#define MAX_WORKERS 64

static double
now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* A list of `count` floats, or NULL with an exception set. */
static PyObject *
list_from_doubles(const double *values, Py_ssize_t count)
{
    PyObject *list = PyList_New(count);
    for (Py_ssize_t i = 0; list != NULL && i < count; i++) {
        PyObject *value = PyFloat_FromDouble(values[i]);
        if (value == NULL) {
            Py_CLEAR(list);
            break;
        }
        PyList_SET_ITEM(list, i, value);
    }
    return list;
}

/* Room for `count` floats, at least one; NULL with an exception set. */
static double *
doubles(Py_ssize_t count)
{
    if (count < 1 || count > 100000000) {
        PyErr_SetString(PyExc_ValueError, "count out of range");
        return NULL;
    }
    double *values = malloc((size_t)count * sizeof(*values));
    if (values == NULL) {
        PyErr_NoMemory();
    }
    return values;
}

/* --- Interpreters ---------------------------------------------------------------------------- */

/* Made by the thread that calls interpreters(), which must also be the one to end them. */
static PyThreadState *made[MAX_INTERPRETERS];
static Py_ssize_t made_count;

static PyObject *
floor_interpreters(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_ssize_t count;
    if (!PyArg_ParseTuple(args, "n", &count)) {
        return NULL;
    }
    if (count < 1 || count > MAX_INTERPRETERS - made_count) {
        PyErr_SetString(PyExc_ValueError, "count out of range");
        return NULL;
    }
    const PyInterpreterConfig config = {
        .use_main_obmalloc = 0,
        .allow_fork = 0,
        .allow_exec = 0,
        .allow_threads = 1,
        .allow_daemon_threads = 0,
        .check_multi_interp_extensions = 1,
        .gil = PyInterpreterConfig_OWN_GIL,
    };
    double seconds[MAX_INTERPRETERS];
    PyThreadState *caller = PyThreadState_Get();
    for (Py_ssize_t i = 0; i < count; i++) {
        PyThreadState *state = NULL;
        double start = now();
        PyStatus status = Py_NewInterpreterFromConfig(&state, &config);
        seconds[i] = now() - start;
        if (PyStatus_Exception(status)) {
            PyErr_SetString(PyExc_RuntimeError, "an interpreter could not be created");
            return NULL;
        }
        PyThreadState_Swap(caller);
        made[made_count++] = state;
    }
    return list_from_doubles(seconds, count);
}

static PyObject *
floor_end_interpreters(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    PyThreadState *caller = PyThreadState_Get();
    while (made_count > 0) {
        PyThreadState_Swap(made[--made_count]);
        Py_EndInterpreter(PyThreadState_Get());
        PyThreadState_Swap(caller);
    }
    Py_RETURN_NONE;
}

/* --- Round trips through a futex -------------------------------------------------------------- */

struct line {
    atomic_uint word; /* odd: the worker's turn; even: the caller's. Written by whose turn it is */
    unsigned trips;   /* constant */
};

static void
await_change(atomic_uint *word, unsigned from)
{
    while (atomic_load_explicit(word, memory_order_acquire) == from) {
        syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, from, NULL, NULL, 0);
    }
}

static void
pass_turn(atomic_uint *word)
{
    atomic_fetch_add_explicit(word, 1, memory_order_release);
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *
answer(void *argument)
{
    struct line *line = argument;
    for (unsigned trip = 0; trip < line->trips; trip++) {
        await_change(&line->word, 2 * trip);
        pass_turn(&line->word);
    }
    return NULL;
}

static int
time_round_trips(double *seconds, unsigned count, double gap)
{
    struct timespec pause = {
        .tv_sec = (time_t)gap,
        .tv_nsec = (long)((gap - (double)(time_t)gap) * 1e9),
    };
    struct line line = {.trips = count};
    pthread_t thread;
    int error = pthread_create(&thread, NULL, answer, &line);
    if (error != 0) {
        return error;
    }
    for (unsigned trip = 0; trip < count; trip++) {
        nanosleep(&pause, NULL);
        double start = now();
        pass_turn(&line.word);
        await_change(&line.word, 2 * trip + 1);
        seconds[trip] = now() - start;
    }
    return pthread_join(thread, NULL);
}

static PyObject *
floor_round_trips(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_ssize_t count;
    double gap;
    if (!PyArg_ParseTuple(args, "nd", &count, &gap)) {
        return NULL;
    }
    if (!(gap >= 0 && gap <= 1)) {
        PyErr_SetString(PyExc_ValueError, "gap must be 0 to 1 second");
        return NULL;
    }
    double *seconds = doubles(count);
    if (seconds == NULL) {
        return NULL;
    }
    int error;
    Py_BEGIN_ALLOW_THREADS
    error = time_round_trips(seconds, (unsigned)count, gap);
    Py_END_ALLOW_THREADS
    PyObject *result = NULL;
    if (error == 0) {
        result = list_from_doubles(seconds, count);
    }
    else {
        errno = error;
        PyErr_SetFromErrno(PyExc_OSError);
    }
    free(seconds);
    return result;
}

/* --- A locked queue --------------------------------------------------------------------------- */

struct task {
    struct task *next; /* queue lock, while queued */
    int64_t argument;  /* written by the submitter before it is queued */
    int64_t result;    /* written by the worker before it counts as done */
};

struct queue {
    pthread_mutex_t lock;
    pthread_cond_t submitted; /* a task was queued, or the queue was closed */
    pthread_cond_t all_done;
    struct task *first; /* lock */
    struct task **last; /* lock */
    Py_ssize_t pending; /* tasks not done yet; lock */
    unsigned sleeping;  /* workers that wait; lock */
    bool closed;        /* lock */
};

static void *
work(void *argument)
{
    struct queue *queue = argument;
    pthread_mutex_lock(&queue->lock);
    for (;;) {
        while (queue->first == NULL && !queue->closed) {
            queue->sleeping++;
            pthread_cond_wait(&queue->submitted, &queue->lock);
            queue->sleeping--;
        }
        struct task *task = queue->first;
        if (task == NULL) {
            break;
        }
        queue->first = task->next;
        if (queue->first == NULL) {
            queue->last = &queue->first;
        }
        pthread_mutex_unlock(&queue->lock);
        task->result = task->argument + 1;
        pthread_mutex_lock(&queue->lock);
        if (--queue->pending == 0) {
            pthread_cond_signal(&queue->all_done);
        }
    }
    pthread_mutex_unlock(&queue->lock);
    return NULL;
}

static void
submit(struct queue *queue, struct task *task)
{
    task->next = NULL;
    pthread_mutex_lock(&queue->lock);
    *queue->last = task;
    queue->last = &task->next;
    bool wake = queue->sleeping > 0;
    pthread_mutex_unlock(&queue->lock);
    if (wake) {
        pthread_cond_signal(&queue->submitted);
    }
}

static int
time_queue(struct task *tasks, Py_ssize_t count, unsigned workers, double *seconds)
{
    struct queue queue = {.pending = count, .last = &queue.first};
    pthread_mutex_init(&queue.lock, NULL);
    pthread_cond_init(&queue.submitted, NULL);
    pthread_cond_init(&queue.all_done, NULL);

    pthread_t threads[MAX_WORKERS];
    unsigned started = 0;
    int error = 0;
    while (started < workers && error == 0) {
        error = pthread_create(&threads[started], NULL, work, &queue);
        started += error == 0;
    }
    if (error == 0) {
        double start = now();
        for (Py_ssize_t i = 0; i < count; i++) {
            tasks[i].argument = i;
            submit(&queue, &tasks[i]);
        }
        pthread_mutex_lock(&queue.lock);
        while (queue.pending > 0) {
            pthread_cond_wait(&queue.all_done, &queue.lock);
        }
        pthread_mutex_unlock(&queue.lock);
        *seconds = now() - start;
    }
    pthread_mutex_lock(&queue.lock);
    queue.closed = true;
    pthread_mutex_unlock(&queue.lock);
    pthread_cond_broadcast(&queue.submitted);
    while (started > 0) {
        pthread_join(threads[--started], NULL);
    }
    pthread_cond_destroy(&queue.all_done);
    pthread_cond_destroy(&queue.submitted);
    pthread_mutex_destroy(&queue.lock);
    return error;
}

static PyObject *
floor_queue(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_ssize_t count;
    unsigned workers;
    if (!PyArg_ParseTuple(args, "nI", &count, &workers)) {
        return NULL;
    }
    if (count < 1 || workers < 1 || workers > MAX_WORKERS) {
        PyErr_SetString(PyExc_ValueError, "count or workers out of range");
        return NULL;
    }
    struct task *tasks = calloc((size_t)count, sizeof(*tasks));
    if (tasks == NULL) {
        return PyErr_NoMemory();
    }
    double seconds = 0;
    int error;
    Py_BEGIN_ALLOW_THREADS
    error = time_queue(tasks, count, workers, &seconds);
    Py_END_ALLOW_THREADS
    free(tasks);
    if (error != 0) {
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return PyFloat_FromDouble(seconds);
}

/* --- memcpy ----------------------------------------------------------------------------------- */

/* Returns 0, or -1 when memory is short. */
static int
time_copies(double *seconds, Py_ssize_t count, const char *source, size_t size)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        double start = now();
        char *copy = malloc(size);
        if (copy == NULL) {
            return -1;
        }
        memcpy(copy, source, size);
        seconds[i] = now() - start;
        __asm__ volatile("" : : "r"(copy) : "memory"); /* the copy counts as used */
        free(copy);
    }
    return 0;
}

static PyObject *
floor_copies(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer source;
    Py_ssize_t count;
    if (!PyArg_ParseTuple(args, "y*n", &source, &count)) {
        return NULL;
    }
    PyObject *result = NULL;
    double *seconds = doubles(count);
    if (seconds == NULL) {
        goto release_source;
    }
    int error;
    Py_BEGIN_ALLOW_THREADS
    error = time_copies(seconds, count, source.buf, (size_t)source.len);
    Py_END_ALLOW_THREADS
    result = error == 0 ? list_from_doubles(seconds, count) : PyErr_NoMemory();
    free(seconds);
release_source:
    PyBuffer_Release(&source);
    return result;
}

/* --- Module ----------------------------------------------------------------------------------- */

static PyMethodDef methods[] = {
    {"interpreters", floor_interpreters, METH_VARARGS, NULL},
    {"end_interpreters", floor_end_interpreters, METH_NOARGS, NULL},
    {"round_trips", floor_round_trips, METH_VARARGS, NULL},
    {"queue", floor_queue, METH_VARARGS, NULL},
    {"copies", floor_copies, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_floor",
    .m_size = -1, /* process-wide: `made`. For the main interpreter only */
    .m_methods = methods,
};

PyMODINIT_FUNC
PyInit__floor(void)
{
    return PyModule_Create(&definition);
}
