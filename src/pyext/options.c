#include "options.h"

#include "../os/os.h"

static PyObject *
process_cpu_count(void)
{
    PyObject *os = PyImport_ImportModule("os");
    PyObject *count = os == NULL ? NULL : PyObject_CallMethod(os, "process_cpu_count", NULL);
    Py_XDECREF(os);
    if (count == Py_None) {
        Py_SETREF(count, PyLong_FromLong(1));
    }
    return count;
}

enum { MOST_WORKERS = 1 << 20 };

/* Seconds. */
#define DEFAULT_GRACE 5.0

/* A count given by the user, or `standard` for None; 0 with an exception. */
static unsigned
parse_count(PyObject *value, const char *name, unsigned standard)
{
    if (value == Py_None) {
        return standard;
    }
    Py_ssize_t count = PyNumber_AsSsize_t(value, NULL); /* clipped when it is too large */
    if (count == -1 && PyErr_Occurred()) {
        PyErr_Format(PyExc_TypeError, "%s must be an int or None, got %T", name, value);
        return 0;
    }
    if (count <= 0) {
        PyErr_Format(PyExc_ValueError, "%s must be greater than 0", name);
        return 0;
    }
    return count > MOST_WORKERS ? MOST_WORKERS : (unsigned)count;
}

/* Nanoseconds from seconds; NULL: the default, None: for ever. */
static int
parse_grace(PyObject *value, int64_t *grace)
{
    *grace = OS_FOREVER;
    if (value == Py_None) {
        return 0;
    }
    double seconds = value == NULL ? DEFAULT_GRACE : PyFloat_AsDouble(value);
    if (seconds == -1.0 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_Format(PyExc_TypeError,
                         "grace must be a number of seconds or None, not %R of type %T", value,
                         value);
        }
        return -1;
    }
    if (!(seconds >= 0)) {
        PyErr_Format(PyExc_ValueError, "grace must not be negative, but is %R", value);
        return -1;
    }
    if (seconds < 9e9) { /* else 285 years */
        *grace = (int64_t)(seconds * 1e9);
    }
    return 0;
}

/* `value`: NULL is 0. */
static int
parse_cache_bytes(PyObject *value, size_t *limit)
{
    *limit = 0;
    if (value == NULL) {
        return 0;
    }
    Py_ssize_t bytes = PyLong_Check(value) ? PyNumber_AsSsize_t(value, NULL) : 0; /* clipped */
    if (!PyLong_Check(value)) {
        PyErr_Format(PyExc_TypeError, "argument_cache_bytes must be an int, got %T", value);
        return -1;
    }
    if (bytes < 0) {
        PyErr_SetString(PyExc_ValueError, "argument_cache_bytes must not be negative");
        return -1;
    }
    *limit = (size_t)bytes;
    return 0;
}

static int
parse_counts(PyObject *max_workers, PyObject *max_interpreters, unsigned *workers,
             unsigned *interpreters)
{
    PyObject *cpus = process_cpu_count();
    unsigned cpu_count = cpus == NULL ? 0 : parse_count(cpus, "os.process_cpu_count()", 1);
    Py_XDECREF(cpus);
    if (cpu_count == 0) {
        return -1;
    }
    *workers = parse_count(max_workers, "max_workers", cpu_count + 4 < 32 ? cpu_count + 4 : 32);
    *interpreters =
        *workers == 0 ? 0 : parse_count(max_interpreters, "max_interpreters", cpu_count);
    if (*interpreters <= *workers) {
        return *interpreters == 0 ? -1 : 0;
    }
    if (max_interpreters == Py_None) {
        *interpreters = *workers;
    }
    else if (max_workers == Py_None) {
        *workers = *interpreters;
    }
    else {
        PyErr_Format(PyExc_ValueError,
                     "max_interpreters is %u, but max_workers is %u: an interpreter is used by one "
                     "thread at a time, so give at least as many workers",
                     *interpreters, *workers);
        return -1;
    }
    return 0;
}

int
options_parse(struct options *options, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"max_workers",
                            "thread_name_prefix",
                            "initializer",
                            "initargs",
                            "max_interpreters",
                            "preload",
                            "grace",
                            "argument_cache_bytes",
                            "context_vars",
                            "limit",
                            "recycling",
                            "tasks_per_interpreter",
                            NULL};
    PyObject *max_workers = Py_None, *max_interpreters = Py_None, *grace = NULL,
             *cache_bytes = NULL;
    unsigned most_hosted = 0;
    *options = (struct options){.initializer = Py_None};
    if (!PyArg_ParseTupleAndKeywords(
            args, kwargs, "|OOOO$OO!OOO!O!O!I:InterpreterThreadPoolExecutor", names, &max_workers,
            &options->prefix, &options->initializer, &options->initargs, &max_interpreters,
            &PyTuple_Type, &options->preload, &grace, &cache_bytes, &PyTuple_Type,
            &options->context_vars, &PyTuple_Type, &options->limit, &PyTuple_Type,
            &options->recycling, &most_hosted)) {
        return -1;
    }
    options->most_hosted = most_hosted;
    if (parse_grace(grace, &options->grace) < 0 ||
        parse_cache_bytes(cache_bytes, &options->cache_bytes) < 0 ||
        parse_counts(max_workers, max_interpreters, &options->workers, &options->interpreters) <
            0) {
        return -1;
    }
    if (options->initializer != Py_None && !PyCallable_Check(options->initializer)) {
        PyErr_SetString(PyExc_TypeError, "initializer must be a callable");
        return -1;
    }
    return 0;
}
