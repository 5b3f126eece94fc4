/* floor: what the hardware, the C library and a bare CPython take for the jobs that the measures of
 * this folder time, as an extension module (environments.py builds it). No executor can be faster:
 *
 *   interpreters(count)        creates that many interpreters; seconds for each
 *   end_interpreters()         ends them
 *   interpreters_at_once(count)  creates that many, each in a thread of its own, and ends them;
 *                              seconds until all are there
 *   round_trips(count, gap)    hands one word to a sleeping thread and back, `gap` seconds apart;
 *                              seconds for each trip
 *   bare_call(source)          a thread with a bare interpreter that calls `f` of that source
 *   bare_trip(number)          hands a number to it and back, f(number), as result() would wait for it
 *   bare_end()                 ends both
 *   queue(count, workers)      hands `count` tasks through one locked queue; seconds for all
 *   copies(bytes, count)       copies them to memory freshly allocated; seconds for each
 *   copies_elsewhere(size, count)  writes so many bytes and has another thread copy them; seconds for each
 *   spin(rounds, threads)      integer arithmetic, `rounds` in each thread; seconds for all
 *   naps(count, nap, limit, spinners)
 *                              sleeps `nap` seconds, `count` times or until `limit` seconds are
 *                              over, beside that many spinning threads; seconds too late for each
 *
 * Everything but interpreters(), end_interpreters() and bare_call() works detached, without a GIL;
 * bare_trip() is detached while it waits.
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

/* `seconds` as a float, or the exception for `error`, an errno value. */
static PyObject *
float_or_error(double seconds, int error)
{
    if (error != 0) {
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return PyFloat_FromDouble(seconds);
}

/* `count` floats, or the exception for `error`; frees `values`. */
static PyObject *
list_or_error_steal(double *values, Py_ssize_t count, int error)
{
    PyObject *result = NULL;
    if (error == 0) {
        result = list_from_doubles(values, count);
    }
    else {
        errno = error;
        PyErr_SetFromErrno(PyExc_OSError);
    }
    free(values);
    return result;
}

/* --- Interpreters ---------------------------------------------------------------------------- */

static const PyInterpreterConfig bare = {
    .use_main_obmalloc = 0,
    .allow_fork = 0,
    .allow_exec = 0,
    .allow_threads = 1,
    .allow_daemon_threads = 0,
    .check_multi_interp_extensions = 1,
    .gil = PyInterpreterConfig_OWN_GIL,
};

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
    double seconds[MAX_INTERPRETERS];
    PyThreadState *caller = PyThreadState_Get();
    for (Py_ssize_t i = 0; i < count; i++) {
        PyThreadState *state = NULL;
        double start = now();
        PyStatus status = Py_NewInterpreterFromConfig(&state, &bare);
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

/* What the threads of interpreters_at_once() share. */
struct nursery {
    pthread_barrier_t all_there; /* no interpreter ends while another one is made */
    atomic_int failures;
};

static void *
live(void *argument)
{
    struct nursery *nursery = argument;
    PyThreadState *state = NULL;
    PyStatus status = Py_NewInterpreterFromConfig(&state, &bare);
    bool failed = PyStatus_Exception(status);
    if (failed) {
        atomic_fetch_add(&nursery->failures, 1);
    }
    pthread_barrier_wait(&nursery->all_there);
    if (!failed) {
        Py_EndInterpreter(state);
    }
    return NULL;
}

/* Returns 0, or an errno value; ECANCELED when an interpreter could not be created. Detached. */
static int
time_interpreters_at_once(unsigned count, double *seconds)
{
    static struct nursery nursery; /* outlives this call, if threads are left waiting in it */
    atomic_store(&nursery.failures, 0);
    int error = pthread_barrier_init(&nursery.all_there, NULL, count + 1);
    if (error != 0) {
        return error;
    }
    pthread_t threads[MAX_INTERPRETERS];
    double start = now();
    for (unsigned i = 0; i < count; i++) {
        error = pthread_create(&threads[i], NULL, live, &nursery);
        if (error != 0) {
            return error;
        }
    }
    pthread_barrier_wait(&nursery.all_there);
    *seconds = now() - start;
    while (count > 0) {
        pthread_join(threads[--count], NULL);
    }
    pthread_barrier_destroy(&nursery.all_there);
    return atomic_load(&nursery.failures) > 0 ? ECANCELED : 0;
}

static PyObject *
floor_interpreters_at_once(PyObject *Py_UNUSED(module), PyObject *args)
{
    unsigned count;
    if (!PyArg_ParseTuple(args, "I", &count)) {
        return NULL;
    }
    if (count < 1 || count > MAX_INTERPRETERS) {
        PyErr_SetString(PyExc_ValueError, "count out of range");
        return NULL;
    }
    double seconds = 0;
    int error;
    Py_BEGIN_ALLOW_THREADS
    error = time_interpreters_at_once(count, &seconds);
    Py_END_ALLOW_THREADS
    return float_or_error(seconds, error);
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

/* Trips of a word to another thread and back, with what is to be done on the way. */
struct trips {
    struct line line;
    void (*prepare)(struct trips *trips); /* the caller, before each; constant */
    void (*work)(struct trips *trips);    /* the other thread, in each; constant; or NULL */
    struct timespec pause;                /* constant */
    size_t size;                          /* constant */
    char *source, *copy;                  /* whose turn it is, by `line.word` */
    bool failed;                          /* the same */
};

static void *
answer(void *argument)
{
    struct trips *trips = argument;
    for (unsigned trip = 0; trip < trips->line.trips; trip++) {
        await_change(&trips->line.word, 2 * trip);
        if (trips->work != NULL) {
            trips->work(trips);
        }
        pass_turn(&trips->line.word);
    }
    return NULL;
}

static int
time_trips(struct trips *trips, double *seconds)
{
    pthread_t thread;
    int error = pthread_create(&thread, NULL, answer, trips);
    if (error != 0) {
        return error;
    }
    for (unsigned trip = 0; trip < trips->line.trips; trip++) {
        trips->prepare(trips);
        double start = now();
        pass_turn(&trips->line.word);
        await_change(&trips->line.word, 2 * trip + 1);
        seconds[trip] = now() - start;
    }
    error = pthread_join(thread, NULL);
    return error == 0 && trips->failed ? ENOMEM : error;
}

/* A list of the seconds of each; or NULL with an exception set. */
static PyObject *
list_of_trips(struct trips *trips, Py_ssize_t count)
{
    double *seconds = doubles(count);
    if (seconds == NULL) {
        return NULL;
    }
    trips->line.trips = (unsigned)count;
    int error;
    Py_BEGIN_ALLOW_THREADS
    error = time_trips(trips, seconds);
    Py_END_ALLOW_THREADS
    return list_or_error_steal(seconds, count, error);
}

static void
sleep_before(struct trips *trips)
{
    nanosleep(&trips->pause, NULL);
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
    struct trips trips = {
        .prepare = sleep_before,
        .pause = {.tv_sec = (time_t)gap, .tv_nsec = (long)((gap - (double)(time_t)gap) * 1e9)},
    };
    return list_of_trips(&trips, count);
}

/* --- Round trips to a bare interpreter -------------------------------------------------------- */

/* The least that a call of a Python function elsewhere takes: nothing is queued, no argument but one
 * int sent, nothing can fail, be cancelled or waited for by anybody else. */
static struct {
    struct line line;
    const char *source;
    long long number; /* whose turn it is, by `line.word` */
    bool ends;        /* the same */
    bool open;        /* main GIL */
    pthread_t thread;
} bare_line;

/* f of the source, in the interpreter that is attached; NULL, having printed why. */
static PyObject *
bare_function(void)
{
    PyObject *names = PyDict_New();
    PyObject *code = Py_CompileString(bare_line.source, "<floor>", Py_file_input);
    PyObject *done = code == NULL || names == NULL ? NULL : PyEval_EvalCode(code, names, names);
    PyObject *function = done == NULL ? NULL : Py_XNewRef(PyDict_GetItemString(names, "f"));
    Py_XDECREF(done);
    Py_XDECREF(code);
    Py_XDECREF(names);
    if (PyErr_Occurred()) {
        PyErr_Print();
    }
    return function;
}

static void *
answer_with_calls(void *Py_UNUSED(argument))
{
    PyThreadState *state = NULL;
    PyStatus status = Py_NewInterpreterFromConfig(&state, &bare);
    PyObject *function = PyStatus_Exception(status) ? NULL : bare_function();
    if (function == NULL) {
        abort(); /* a benchmark without its floor */
    }
    for (unsigned turn = 0;; turn += 2) {
        PyEval_SaveThread();
        await_change(&bare_line.line.word, turn);
        PyEval_RestoreThread(state);
        if (bare_line.ends) {
            break;
        }
        PyObject *number = PyLong_FromLongLong(bare_line.number);
        PyObject *value = number == NULL ? NULL : PyObject_CallOneArg(function, number);
        bare_line.number = value == NULL ? -1 : PyLong_AsLongLong(value);
        Py_XDECREF(number);
        Py_XDECREF(value);
        pass_turn(&bare_line.line.word);
    }
    Py_DECREF(function);
    Py_EndInterpreter(state);
    return NULL;
}

static PyObject *
floor_bare_call(PyObject *Py_UNUSED(module), PyObject *args)
{
    static char source[4096];
    const char *given;
    if (!PyArg_ParseTuple(args, "s", &given)) {
        return NULL;
    }
    if (bare_line.open || strlen(given) >= sizeof(source)) {
        PyErr_SetString(PyExc_ValueError, "there is one already, or the source is too long");
        return NULL;
    }
    strcpy(source, given);
    bare_line.source = source;
    bare_line.ends = false;
    atomic_store(&bare_line.line.word, 0);
    int error = pthread_create(&bare_line.thread, NULL, answer_with_calls, NULL);
    if (error != 0) {
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    bare_line.open = true;
    Py_RETURN_NONE;
}

static PyObject *
floor_bare_trip(PyObject *Py_UNUSED(module), PyObject *argument)
{
    bare_line.number = PyLong_AsLongLong(argument);
    if (PyErr_Occurred()) {
        return NULL;
    }
    unsigned turn = atomic_load_explicit(&bare_line.line.word, memory_order_relaxed) + 1;
    pass_turn(&bare_line.line.word);
    Py_BEGIN_ALLOW_THREADS
    await_change(&bare_line.line.word, turn);
    Py_END_ALLOW_THREADS
    return PyLong_FromLongLong(bare_line.number);
}

static PyObject *
floor_bare_end(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    if (bare_line.open) {
        bare_line.open = false;
        bare_line.ends = true;
        pass_turn(&bare_line.line.word);
        Py_BEGIN_ALLOW_THREADS
        pthread_join(bare_line.thread, NULL);
        Py_END_ALLOW_THREADS
    }
    Py_RETURN_NONE;
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
    return float_or_error(seconds, error);
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

/* New bytes, all of them written by this thread. */
static void
write_before(struct trips *trips)
{
    free(trips->copy);
    trips->copy = NULL;
    memset(trips->source, (int)(trips->line.word % 256), trips->size);
}

static void
copy(struct trips *trips)
{
    trips->copy = malloc(trips->size);
    if (trips->copy == NULL) {
        trips->failed = true;
        return;
    }
    memcpy(trips->copy, trips->source, trips->size);
}

static PyObject *
floor_copies_elsewhere(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_ssize_t size, count;
    if (!PyArg_ParseTuple(args, "nn", &size, &count)) {
        return NULL;
    }
    if (size < 1) {
        PyErr_SetString(PyExc_ValueError, "size must be positive");
        return NULL;
    }
    struct trips trips = {.prepare = write_before, .work = copy, .size = (size_t)size};
    trips.source = malloc(trips.size);
    PyObject *result = trips.source == NULL ? PyErr_NoMemory() : list_of_trips(&trips, count);
    free(trips.source);
    free(trips.copy);
    return result;
}

/* --- Computing, and sleeping beside it -------------------------------------------------------- */

struct spinner {
    uint64_t rounds;         /* constant */
    const atomic_bool *stop; /* ends it sooner; constant */
    uint64_t result;         /* written by the thread, so that it counts as used */
};

/* Rounds between two looks at `stop`: some tens of microseconds. */
#define ROUNDS_AT_ONCE UINT64_C(32768)

static void *
spin(void *argument)
{
    struct spinner *spinner = argument;
    uint64_t value = 88172645463325252;
    uint64_t left = spinner->rounds;
    while (left > 0 && !atomic_load_explicit(spinner->stop, memory_order_relaxed)) {
        uint64_t some = left < ROUNDS_AT_ONCE ? left : ROUNDS_AT_ONCE;
        left -= some;
        for (; some > 0; some--) { /* xorshift: each step needs the one before */
            value ^= value << 13;
            value ^= value >> 7;
            value ^= value << 17;
        }
    }
    spinner->result = value;
    return NULL;
}

/* Starts `count` threads. Returns an errno value, with `*started` of them running. */
static int
start_spinners(struct spinner *spinners, pthread_t *threads, unsigned count, uint64_t rounds,
               const atomic_bool *stop, unsigned *started)
{
    for (*started = 0; *started < count; ++*started) {
        struct spinner *spinner = &spinners[*started];
        *spinner = (struct spinner){.rounds = rounds, .stop = stop};
        int error = pthread_create(&threads[*started], NULL, spin, spinner);
        if (error != 0) {
            return error;
        }
    }
    return 0;
}

static int
time_spin(uint64_t rounds, unsigned count, double *seconds)
{
    struct spinner spinners[MAX_WORKERS];
    pthread_t threads[MAX_WORKERS];
    atomic_bool stop = false;
    unsigned started;
    double start = now();
    int error = start_spinners(spinners, threads, count, rounds, &stop, &started);
    if (error != 0) {
        atomic_store(&stop, true);
    }
    while (started > 0) {
        pthread_join(threads[--started], NULL);
    }
    *seconds = now() - start;
    return error;
}

static PyObject *
floor_spin(PyObject *Py_UNUSED(module), PyObject *args)
{
    unsigned long long rounds;
    unsigned count;
    if (!PyArg_ParseTuple(args, "KI", &rounds, &count)) {
        return NULL;
    }
    if (count < 1 || count > MAX_WORKERS) {
        PyErr_SetString(PyExc_ValueError, "threads out of range");
        return NULL;
    }
    double seconds = 0;
    int error;
    Py_BEGIN_ALLOW_THREADS
    error = time_spin(rounds, count, &seconds);
    Py_END_ALLOW_THREADS
    return float_or_error(seconds, error);
}

/* Writes how late each nap ended and returns how many there were. */
static Py_ssize_t
nap_repeatedly(double *late, Py_ssize_t count, double nap, double limit)
{
    struct timespec pause = {.tv_nsec = (long)(nap * 1e9)};
    double end = now() + limit;
    Py_ssize_t naps = 0;
    while (naps < count && now() < end) {
        double start = now();
        clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
        late[naps++] = now() - start - nap;
    }
    return naps;
}

static int
time_naps(double *late, Py_ssize_t *count, double nap, double limit, unsigned spinner_count)
{
    struct spinner spinners[MAX_WORKERS];
    pthread_t threads[MAX_WORKERS];
    atomic_bool stop = false;
    unsigned started;
    int error = start_spinners(spinners, threads, spinner_count, UINT64_MAX, &stop, &started);
    if (error == 0) {
        *count = nap_repeatedly(late, *count, nap, limit);
    }
    atomic_store(&stop, true);
    while (started > 0) {
        pthread_join(threads[--started], NULL);
    }
    return error;
}

static PyObject *
floor_naps(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_ssize_t count;
    double nap;
    double limit;
    unsigned spinners;
    if (!PyArg_ParseTuple(args, "nddI", &count, &nap, &limit, &spinners)) {
        return NULL;
    }
    if (!(nap >= 0 && nap < 1) || spinners > MAX_WORKERS) {
        PyErr_SetString(PyExc_ValueError, "nap or spinners out of range");
        return NULL;
    }
    double *late = doubles(count);
    if (late == NULL) {
        return NULL;
    }
    int error;
    Py_BEGIN_ALLOW_THREADS
    error = time_naps(late, &count, nap, limit, spinners);
    Py_END_ALLOW_THREADS
    return list_or_error_steal(late, count, error);
}

/* --- Module ----------------------------------------------------------------------------------- */

static PyMethodDef methods[] = {
    {"interpreters", floor_interpreters, METH_VARARGS, NULL},
    {"end_interpreters", floor_end_interpreters, METH_NOARGS, NULL},
    {"interpreters_at_once", floor_interpreters_at_once, METH_VARARGS, NULL},
    {"round_trips", floor_round_trips, METH_VARARGS, NULL},
    {"bare_call", floor_bare_call, METH_VARARGS, NULL},
    {"bare_trip", floor_bare_trip, METH_O, NULL},
    {"bare_end", floor_bare_end, METH_NOARGS, NULL},
    {"queue", floor_queue, METH_VARARGS, NULL},
    {"copies", floor_copies, METH_VARARGS, NULL},
    {"copies_elsewhere", floor_copies_elsewhere, METH_VARARGS, NULL},
    {"spin", floor_spin, METH_VARARGS, NULL},
    {"naps", floor_naps, METH_VARARGS, NULL},
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
