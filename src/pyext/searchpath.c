#include "searchpath.h"

#include "../os/os.h"
#include "transport.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static struct {
    os_mutex lock;
    atomic_uint version; /* of `path`; written (release) under the lock, read (acquire) anywhere */
    unsigned char *path; /* an encoded list of str; under the lock */
    size_t size;         /* under the lock */
} noted;

static void
before_fork(void)
{
    os_mutex_lock(&noted.lock);
}

static void
after_fork_in_parent(void)
{
    os_mutex_unlock(&noted.lock);
}

static void
after_fork_in_child(void)
{
    os_mutex_init(&noted.lock);
}

int
searchpath_init(void)
{
    atomic_init(&noted.version, 0);
    int error = os_mutex_init(&noted.lock);
    return error != 0 ? error : os_at_fork(before_fork, after_fork_in_parent, after_fork_in_child);
}

/* Borrowed; NULL without an exception when a program has removed or replaced it. */
static PyObject *
current_path(void)
{
    PyObject *path = PySys_GetObject("path");
    return path != NULL && PyList_Check(path) ? path : NULL;
}

static bool
is_unchanged(PyObject *path, PyObject *seen)
{
    if (seen == NULL || PyList_GET_SIZE(path) != PyTuple_GET_SIZE(seen)) {
        return false;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(seen); i++) {
        if (PyList_GET_ITEM(path, i) != PyTuple_GET_ITEM(seen, i)) {
            return false;
        }
    }
    return true;
}

static void
publish(const void *bytes, size_t size, unsigned char *copy)
{
    memcpy(copy, bytes, size);
    os_mutex_lock(&noted.lock);
    unsigned char *old = noted.path;
    noted.path = copy;
    noted.size = size;
    atomic_fetch_add_explicit(&noted.version, 1, memory_order_release);
    os_mutex_unlock(&noted.lock);
    free(old);
}

/* What is no str (a pathlib.Path, say) is nothing to the import system either. */
static PyObject *
strings_of(PyObject *seen)
{
    PyObject *strings = PyList_New(0);
    for (Py_ssize_t i = 0; strings != NULL && i < PyTuple_GET_SIZE(seen); i++) {
        PyObject *item = PyTuple_GET_ITEM(seen, i);
        if (PyUnicode_CheckExact(item) && PyList_Append(strings, item) < 0) {
            Py_CLEAR(strings);
        }
    }
    return strings;
}

int
searchpath_note(struct state *state)
{
    PyObject *path = current_path();
    if (path == NULL || is_unchanged(path, state->path_seen)) {
        return 0;
    }
    PyObject *seen = PyList_AsTuple(path);
    PyObject *strings = seen == NULL ? NULL : strings_of(seen);
    struct message message;
    message_init(&message);
    int result = -1;
    if (strings != NULL && transport_encode_value(state, &message, strings) == 0) {
        unsigned char *copy = malloc(message.bytes.size);
        if (copy != NULL) {
            publish(message.bytes.data, message.bytes.size, copy);
            Py_XSETREF(state->path_seen, Py_NewRef(seen));
            result = 0;
        }
        else {
            PyErr_NoMemory();
        }
    }
    message_free(&message);
    Py_XDECREF(seen);
    Py_XDECREF(strings);
    return result;
}

/* A private copy of what is noted, and its version. */
static int
copy_noted(struct message *message, unsigned *version)
{
    os_mutex_lock(&noted.lock);
    *version = atomic_load_explicit(&noted.version, memory_order_relaxed);
    unsigned char *copy = malloc(noted.size + 1);
    if (copy != NULL) {
        memcpy(copy, noted.path, noted.size);
        message->bytes.data = copy;
        message->bytes.size = message->bytes.capacity = noted.size;
        message->bytes.on_heap = true;
    }
    os_mutex_unlock(&noted.lock);
    return copy == NULL ? -1 : 0;
}

int
searchpath_apply(struct state *state, unsigned *version)
{
    if (atomic_load_explicit(&noted.version, memory_order_acquire) == *version) {
        return 0;
    }
    struct message message;
    message_init(&message);
    unsigned copied;
    if (copy_noted(&message, &copied) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    PyObject *strings = transport_decode_value(state, &message);
    PyObject *path = current_path();
    int result = -1;
    if (strings != NULL && path != NULL) {
        result = PyList_SetSlice(path, 0, PyList_GET_SIZE(path), strings);
    }
    else if (strings != NULL) {
        result = PySys_SetObject("path", strings);
    }
    if (result == 0) {
        *version = copied;
    }
    Py_XDECREF(strings);
    message_free(&message);
    return result;
}
