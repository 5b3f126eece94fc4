#include "callables.h"

#include "kept.h"
#include "tag.h"
#include "transport.h"

#include <stdint.h>
#include <string.h>

struct entry {
    struct func *func;  /* held; NULL: a free place */
    PyObject *callable; /* held */
};

/* Open addressing; never more than half full. */
struct callables {
    struct entry *entries;
    size_t size; /* a power of two */
    size_t count;
};

enum { FIRST_SIZE = 32 };

static struct entry *
place_of(struct entry *entries, size_t size, const struct func *func)
{
    size_t place = ((uintptr_t)func >> 4) * 0x9E3779B97F4A7C15u >> 32;
    for (;; place++) {
        struct entry *entry = &entries[place & (size - 1)];
        if (entry->func == NULL || entry->func == func) {
            return entry;
        }
    }
}

static void
entry_free(struct entry *entry)
{
    func_drop(entry->func);
    Py_DECREF(entry->callable);
}

void
callables_free(struct callables *callables)
{
    if (callables == NULL) {
        return;
    }
    for (size_t i = 0; i < callables->size; i++) {
        if (callables->entries[i].func != NULL) {
            entry_free(&callables->entries[i]);
        }
    }
    PyMem_Free(callables->entries);
    PyMem_Free(callables);
}

static size_t
count_owned(const struct callables *callables)
{
    size_t count = 0;
    for (size_t i = 0; i < callables->size; i++) {
        const struct func *func = callables->entries[i].func;
        count += func != NULL && func_has_owners(func);
    }
    return count;
}

/* Moves what is still owned to a table with room to spare, and lets go of the rest. */
static int
rebuild(struct callables *callables)
{
    size_t size = FIRST_SIZE;
    while (size < 4 * count_owned(callables)) {
        size *= 2;
    }
    struct entry *entries = PyMem_Calloc(size, sizeof(*entries));
    if (entries == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    struct callables old = *callables;
    *callables = (struct callables){.entries = entries, .size = size};
    for (size_t i = 0; i < old.size; i++) {
        struct entry *entry = &old.entries[i];
        /* An owner may go at any moment but none can come; when one goes now, the next time. */
        if (entry->func != NULL && func_has_owners(entry->func) &&
            2 * callables->count < callables->size) {
            *place_of(entries, size, entry->func) = *entry;
            callables->count++;
            entry->func = NULL;
        }
    }
    for (size_t i = 0; i < old.size; i++) {
        if (old.entries[i].func != NULL) {
            entry_free(&old.entries[i]); /* may run Python code: the new table is in place */
        }
    }
    PyMem_Free(old.entries);
    return 0;
}

void
callables_sweep(struct state *state)
{
    struct callables *callables = state->callables;
    if (callables != NULL && count_owned(callables) < callables->count) {
        rebuild(callables);
    }
}

static struct callables *
table_of(struct state *state)
{
    if (state->callables == NULL) {
        state->callables = PyMem_Calloc(1, sizeof(*state->callables));
        if (state->callables == NULL) {
            PyErr_NoMemory();
        }
    }
    return state->callables;
}

static int
keep(struct callables *callables, struct func *func, PyObject *callable)
{
    if (2 * callables->count >= callables->size && rebuild(callables) < 0) {
        return -1;
    }
    struct entry *entry = place_of(callables->entries, callables->size, func);
    if (entry->func == NULL) {
        func_hold(func);
        *entry = (struct entry){func, Py_NewRef(callable)};
        callables->count++;
    }
    return 0;
}

/* Walks `qualname` ("Class.method") from `place`, which it takes over. */
static PyObject *
walk(PyObject *place, const char *qualname)
{
    PyObject *path = PyUnicode_FromString(qualname);
    PyObject *dot = PyUnicode_FromString(".");
    PyObject *steps = path != NULL && dot != NULL ? PyUnicode_Split(path, dot, -1) : NULL;
    if (steps == NULL) {
        Py_CLEAR(place);
    }
    for (Py_ssize_t i = 0; place != NULL && i < PyList_GET_SIZE(steps); i++) {
        Py_SETREF(place, PyObject_GetAttr(place, PyList_GET_ITEM(steps, i)));
    }
    Py_XDECREF(path);
    Py_XDECREF(dot);
    Py_XDECREF(steps);
    return place;
}

static PyObject *
find_by_name(struct state *state, const struct func *func)
{
    PyObject *module = PyImport_ImportModule(func->module);
    if (module == NULL) {
        return NULL; /* what the import raised says more than we could */
    }
    PyObject *found = walk(module, func->qualname);
    if (found == NULL) {
        transport_raise_send_error("function", func->name, Py_None, NULL);
        return NULL;
    }
    while (tag_check(state, found)) {
        Py_SETREF(found, Py_NewRef(((TagObject *)found)->marked));
    }
    return found;
}

/* Of its parcels: a list. */
static PyObject *
values_of(struct state *state, const struct func *func)
{
    PyObject *values = PyList_New(0);
    for (size_t i = 0; values != NULL && i < func->parcel_count; i++) {
        PyObject *value = kept_get(state, func->parcels[i]);
        if (value == NULL || PyList_Append(values, value) < 0) {
            Py_CLEAR(values);
        }
        Py_XDECREF(value);
    }
    return values;
}

static PyObject *
rebuild_by_value(struct state *state, const struct func *func)
{
    PyObject *payload = PyBytes_FromStringAndSize(func->payload, (Py_ssize_t)func->payload_size);
    PyObject *values = payload == NULL ? NULL : values_of(state, func);
    PyObject *args[] = {payload, values};
    PyObject *found = values == NULL ? NULL : state_call("_rebuild", "load", args, 2);
    Py_XDECREF(payload);
    Py_XDECREF(values);
    if (found == NULL && !PyErr_ExceptionMatches(PyExc_ImportError)) {
        transport_raise_send_error("function", func->name, Py_None, NULL);
    }
    return found;
}

PyObject *
callables_get(struct state *state, struct func *func)
{
    struct callables *callables = table_of(state);
    if (callables == NULL) {
        return NULL;
    }
    if (callables->size > 0) {
        struct entry *entry = place_of(callables->entries, callables->size, func);
        if (entry->func == func) {
            return Py_NewRef(entry->callable);
        }
    }
    PyObject *found = func->by_value ? rebuild_by_value(state, func) : find_by_name(state, func);
    if (found != NULL && keep(callables, func, found) < 0) {
        Py_CLEAR(found);
    }
    return found;
}
