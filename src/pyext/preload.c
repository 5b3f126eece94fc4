#include "preload.h"

#include <stdlib.h>
#include <string.h>

/* Bytes of all names with their ends. -1 with an exception. */
static Py_ssize_t
measure(PyObject *names)
{
    Py_ssize_t total = 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++) {
        const char *name = PyUnicode_AsUTF8(PyTuple_GET_ITEM(names, i)); /* without NUL bytes */
        if (name == NULL) {
            return -1;
        }
        total += (Py_ssize_t)strlen(name) + 1;
    }
    return total;
}

/* Copies the names behind the pointers to them. -1 with an exception. */
static int
fill(struct preload *preload, PyObject *names)
{
    char *place = (char *)&preload->names[preload->count];
    for (size_t i = 0; i < preload->count; i++) {
        const char *name = PyUnicode_AsUTF8(PyTuple_GET_ITEM(names, (Py_ssize_t)i));
        if (name == NULL) {
            return -1;
        }
        preload->names[i] = place;
        place = stpcpy(place, name) + 1;
    }
    return 0;
}

struct preload *
preload_new(PyObject *names)
{
    size_t count = (size_t)PyTuple_GET_SIZE(names);
    Py_ssize_t bytes = measure(names);
    if (bytes < 0) {
        return NULL;
    }
    struct preload *preload = malloc(sizeof(*preload) + count * sizeof(char *) + (size_t)bytes);
    if (preload == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    preload->count = count;
    if (fill(preload, names) < 0) {
        free(preload);
        return NULL;
    }
    return preload;
}

struct preload *
preload_copy(const struct preload *preload)
{
    size_t bytes = 0;
    for (size_t i = 0; i < preload->count; i++) {
        bytes += strlen(preload->names[i]) + 1;
    }
    struct preload *copy = malloc(sizeof(*copy) + preload->count * sizeof(char *) + bytes);
    if (copy != NULL) {
        char *place = (char *)&copy->names[preload->count];
        copy->count = preload->count;
        for (size_t i = 0; i < preload->count; i++) {
            copy->names[i] = place;
            place = stpcpy(place, preload->names[i]) + 1;
        }
    }
    return copy;
}

void
preload_free(struct preload *preload)
{
    free(preload);
}

const char *
preload_import(const struct preload *preload)
{
    for (size_t i = 0; i < preload->count; i++) {
        PyObject *module = PyImport_ImportModule(preload->names[i]);
        if (module == NULL) {
            return preload->names[i];
        }
        Py_DECREF(module);
    }
    return NULL;
}

void
preload_import_own(void)
{
    static const char *const rooms[] = {"aiointerpreters._rebuild", "aiointerpreters._pickling",
                                        "aiointerpreters._worker"};
    for (size_t i = 0; i < Py_ARRAY_LENGTH(rooms); i++) {
        Py_XDECREF(PyImport_ImportModule(rooms[i]));
        PyErr_Clear();
    }
}
