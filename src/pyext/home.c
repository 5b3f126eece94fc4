#include "home.h"

#include "../os/os.h"

#include <marshal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static struct {
    os_mutex lock;
    atomic_uint version; /* of `bytes`; written (release) under the lock, read (acquire) anywhere */
    unsigned char *bytes; /* a marshalled tuple: path, argv, the rest; under the lock */
    size_t size;          /* under the lock */
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
home_init(void)
{
    atomic_init(&noted.version, 0);
    int error = os_mutex_init(&noted.lock);
    return error != 0 ? error : os_at_fork(before_fork, after_fork_in_parent, after_fork_in_child);
}

/* -- the caller's side -- */

/* Names that are looked up with each submit. */
static int
intern_names(struct state *state)
{
    static const char *const names[HOME_NAMES] = {
        [HOME_PATH] = "path",
        [HOME_ARGV] = "argv",
        [HOME_WARNINGS] = "warnings",
        [HOME_FILTERS] = "filters",
        [HOME_MARK] = "aiointerpreters",
    };
    for (size_t i = 0; i < Py_ARRAY_LENGTH(names); i++) {
        if (state->home_names[i] == NULL) {
            state->home_names[i] = PyUnicode_InternFromString(names[i]);
        }
        if (state->home_names[i] == NULL) {
            return -1;
        }
    }
    state->sys_dict = PyImport_ImportModule("sys");
    if (state->sys_dict != NULL) {
        Py_SETREF(state->sys_dict, Py_NewRef(PyModule_GetDict(state->sys_dict)));
    }
    return state->sys_dict == NULL ? -1 : 0;
}

/* A list that stands in a namespace; NULL without an exception when a program has removed or replaced
 * it. Borrowed. */
static PyObject *
list_in(PyObject *names, PyObject *name)
{
    PyObject *list = PyDict_GetItemWithError(names, name);
    return list != NULL && PyList_Check(list) ? list : NULL;
}

/* warnings.filters, or NULL before anybody has imported warnings. Borrowed. */
static PyObject *
current_filters(struct state *state)
{
    PyObject *module =
        PyDict_GetItemWithError(PyImport_GetModuleDict(), state->home_names[HOME_WARNINGS]);
    return module != NULL && PyModule_Check(module)
               ? list_in(PyModule_GetDict(module), state->home_names[HOME_FILTERS])
               : NULL;
}

/* By identity of the items; a list that is not there says nothing. */
static bool
is_unchanged(PyObject *list, PyObject *seen)
{
    if (list == NULL) {
        return true;
    }
    if (seen == NULL || PyList_GET_SIZE(list) != PyTuple_GET_SIZE(seen)) {
        return false;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(seen); i++) {
        if (PyList_GET_ITEM(list, i) != PyTuple_GET_ITEM(seen, i)) {
            return false;
        }
    }
    return true;
}

static bool
are_levels_unchanged(struct state *state)
{
    return state->level_cache == NULL ||
           PyDict_GetItemWithError(state->level_cache, state->home_names[HOME_MARK]) != NULL;
}

static void
publish(const void *bytes, size_t size, unsigned char *copy)
{
    memcpy(copy, bytes, size);
    os_mutex_lock(&noted.lock);
    unsigned char *old = noted.bytes;
    noted.bytes = copy;
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
    for (Py_ssize_t i = 0; strings != NULL && seen != NULL && i < PyTuple_GET_SIZE(seen); i++) {
        PyObject *item = PyTuple_GET_ITEM(seen, i);
        if (PyUnicode_CheckExact(item) && PyList_Append(strings, item) < 0) {
            Py_CLEAR(strings);
        }
    }
    return strings;
}

static int
encode_and_publish(PyObject *value)
{
    PyObject *bytes = PyMarshal_WriteObjectToString(value, Py_MARSHAL_VERSION);
    if (bytes == NULL) {
        return -1;
    }
    size_t size = (size_t)PyBytes_GET_SIZE(bytes);
    unsigned char *copy = malloc(size);
    if (copy == NULL) {
        PyErr_NoMemory();
    }
    else {
        publish(PyBytes_AS_STRING(bytes), size, copy);
    }
    Py_DECREF(bytes);
    return copy == NULL ? -1 : 0;
}

/* What the Python room makes of the filters and the levels. */
static PyObject *
describe_rest(struct state *state, PyObject *filters)
{
    PyObject *levels = state->level_cache != NULL ? Py_True : Py_False;
    PyObject *args[] = {filters != NULL ? filters : Py_None, levels};
    if (state->level_cache != NULL && /* first: a level may change meanwhile */
        PyDict_SetItem(state->level_cache, state->home_names[HOME_MARK], Py_None) < 0) {
        return NULL;
    }
    return filters == NULL && levels == Py_False ? Py_NewRef(Py_None)
                                                 : state_call("_home", "describe", args, 2);
}

static PyObject *
tuple_of(PyObject *list, PyObject *before)
{
    return list != NULL     ? PyList_AsTuple(list)
           : before != NULL ? Py_NewRef(before)
                            : PyTuple_New(0);
}

static int
note(struct state *state, PyObject *path, PyObject *argv, PyObject *filters)
{
    PyObject *paths = tuple_of(path, state->path_seen);
    PyObject *argvs = tuple_of(argv, state->argv_seen);
    PyObject *seen = tuple_of(filters, state->filters_seen);
    PyObject *path_strings = paths == NULL ? NULL : strings_of(paths);
    PyObject *argv_strings = argvs == NULL ? NULL : strings_of(argvs);
    PyObject *rest = seen == NULL ? NULL : describe_rest(state, filters != NULL ? seen : NULL);
    PyObject *value = path_strings == NULL || argv_strings == NULL || rest == NULL
                          ? NULL
                          : PyTuple_Pack(3, path_strings, argv_strings, rest);
    int result = value == NULL ? -1 : encode_and_publish(value);
    if (result == 0) {
        Py_XSETREF(state->path_seen, Py_NewRef(paths));
        Py_XSETREF(state->argv_seen, Py_NewRef(argvs));
        Py_XSETREF(state->filters_seen, Py_NewRef(seen));
    }
    Py_XDECREF(paths);
    Py_XDECREF(argvs);
    Py_XDECREF(seen);
    Py_XDECREF(path_strings);
    Py_XDECREF(argv_strings);
    Py_XDECREF(rest);
    Py_XDECREF(value);
    return result;
}

int
home_note(struct state *state)
{
    if (state->sys_dict == NULL && intern_names(state) < 0) {
        return -1;
    }
    PyObject *path = list_in(state->sys_dict, state->home_names[HOME_PATH]);
    PyObject *argv = list_in(state->sys_dict, state->home_names[HOME_ARGV]);
    PyObject *filters = current_filters(state);
    if (is_unchanged(path, state->path_seen) && is_unchanged(argv, state->argv_seen) &&
        is_unchanged(filters, state->filters_seen) && are_levels_unchanged(state)) {
        return 0;
    }
    return note(state, path, argv, filters);
}

void
home_watch_levels(struct state *state, PyObject *cache)
{
    Py_XSETREF(state->level_cache, Py_NewRef(cache));
}

/* -- the worker's side -- */

/* What is noted, and its version. A new reference. */
static PyObject *
decode_noted(unsigned *version)
{
    os_mutex_lock(&noted.lock);
    *version = atomic_load_explicit(&noted.version, memory_order_relaxed);
    size_t size = noted.size;
    char *copy = malloc(size + 1);
    if (copy != NULL) {
        memcpy(copy, noted.bytes, size);
    }
    os_mutex_unlock(&noted.lock);
    PyObject *value =
        copy == NULL ? PyErr_NoMemory() : PyMarshal_ReadObjectFromString(copy, (Py_ssize_t)size);
    free(copy);
    return value;
}

/* Whether a filter is the one described by (action, message, (module, name), module, line). */
static int
is_described(PyObject *filter, PyObject *described)
{
    if (!PyTuple_Check(filter) || PyTuple_GET_SIZE(filter) != 5) {
        return 0;
    }
    PyObject *category = PyTuple_GET_ITEM(filter, 2);
    PyObject *module = PyObject_GetAttrString(category, "__module__");
    PyObject *name = PyObject_GetAttrString(category, "__qualname__");
    PyObject *here =
        module == NULL || name == NULL
            ? NULL
            : Py_BuildValue("(OO(OO)OO)", PyTuple_GET_ITEM(filter, 0), PyTuple_GET_ITEM(filter, 1),
                            module, name, PyTuple_GET_ITEM(filter, 3), PyTuple_GET_ITEM(filter, 4));
    int same = here == NULL ? -1 : PyObject_RichCompareBool(here, described, Py_EQ);
    Py_XDECREF(module);
    Py_XDECREF(name);
    Py_XDECREF(here);
    return same;
}

/* Whether the rest is what an interpreter has to begin with, which is seen without importing anything. */
static bool
is_as_made(PyObject *rest)
{
    PyObject *described, *levels;
    if (rest == Py_None || !PyArg_ParseTuple(rest, "O!O", &PyTuple_Type, &described, &levels)) {
        PyErr_Clear();
        return rest == Py_None;
    }
    PyObject *module = levels != Py_None ? NULL : PyImport_ImportModule("_warnings");
    PyObject *filters = module == NULL ? NULL : PyObject_GetAttrString(module, "filters");
    bool same = filters != NULL && PyList_Check(filters) &&
                PyList_GET_SIZE(filters) == PyTuple_GET_SIZE(described);
    for (Py_ssize_t i = 0; same && i < PyTuple_GET_SIZE(described); i++) {
        same = is_described(PyList_GET_ITEM(filters, i), PyTuple_GET_ITEM(described, i)) > 0;
    }
    PyErr_Clear();
    Py_XDECREF(module);
    Py_XDECREF(filters);
    return same;
}

/* Fills sys.<name>, keeping the list that is there. */
static int
set_list(const char *name, PyObject *strings)
{
    PyObject *list = PySys_GetObject(name);
    return list != NULL && PyList_Check(list)
               ? PyList_SetSlice(list, 0, PyList_GET_SIZE(list), strings)
               : PySys_SetObject(name, strings);
}

static int
take_over(struct state *state, PyObject *value)
{
    PyObject *path, *argv, *rest;
    if (!PyArg_ParseTuple(value, "O!O!O", &PyList_Type, &path, &PyList_Type, &argv, &rest) ||
        set_list("path", path) < 0 || set_list("argv", argv) < 0) {
        return -1;
    }
    if (!state->differs_from_made && is_as_made(rest)) {
        return 0;
    }
    state->differs_from_made = true;
    PyObject *done = state_call("_home", "apply", &rest, 1);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

int
home_apply(struct state *state, unsigned *version)
{
    if (atomic_load_explicit(&noted.version, memory_order_acquire) == *version) {
        return 0;
    }
    unsigned decoded;
    PyObject *value = decode_noted(&decoded);
    int result = value == NULL ? -1 : take_over(state, value);
    if (result == 0) {
        *version = decoded;
    }
    Py_XDECREF(value);
    return result;
}
