#include "home.h"

#include "../os/os.h"

#include <marshal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static struct {
    os_mutex lock;
    atomic_uint version; /* of `bytes`; written (release) under the lock, read (acquire) anywhere */
    unsigned char *bytes; /* a marshalled tuple: see take_over(); under the lock */
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

/* What tells of a change by itself. Written and read under the GIL of the main interpreter, where alone
 * executors live; static, since Python's dicts outlive our module there. */
static struct {
    PyObject *modules;  /* sys.modules; compared only */
    PyObject *imported; /* set of str: what was put there since the last look; held */
    unsigned imports;   /* counts them */
    bool changed;       /* one of the dicts, since the last look */
    int id;             /* of the watcher */
} watched;

static int
on_change(PyDict_WatchEvent event, PyObject *dict, PyObject *key, PyObject *value)
{
    watched.changed = true;
    if (dict == watched.modules && value != NULL && PyUnicode_CheckExact(key) &&
        (event == PyDict_EVENT_ADDED || event == PyDict_EVENT_MODIFIED)) {
        watched.imports++;
        return PySet_Add(watched.imported, key);
    }
    return 0;
}

unsigned
home_imports(void)
{
    return watched.imports;
}

/* sys.__dict__, sys.modules and the dict of bytes below os.environ; that of warnings joins them later. */
static int
watch_dicts(struct state *state)
{
    PyObject *posix = PyImport_ImportModule("posix");
    PyObject *environ = posix == NULL ? NULL : PyObject_GetAttrString(posix, "environ");
    Py_XDECREF(posix);
    watched.modules = PyImport_GetModuleDict();
    watched.imported = environ == NULL ? NULL : PySet_New(NULL);
    watched.id = watched.imported == NULL ? -1 : PyDict_AddWatcher(on_change);
    watched.changed = true;
    state->environ = environ;
    return watched.id < 0 || PyDict_Watch(watched.id, state->sys_dict) < 0 ||
                   PyDict_Watch(watched.id, watched.modules) < 0 ||
                   PyDict_Watch(watched.id, environ) < 0
               ? -1
               : 0;
}

/* A setting of this interpreter that a function of C without arguments tells. A new reference. */
static PyObject *
ask(PyObject *function)
{
    return PyCFunction_GetFunction(function)(PyCFunction_GetSelf(function), NULL);
}

/* The function of that name, if it is one to ask() and its module is loaded. A new reference; NULL
 * without an exception. */
static PyObject *
find_to_ask(const char *module_name, const char *name)
{
    PyObject *key = PyUnicode_FromString(module_name);
    PyObject *module = key == NULL ? NULL : PyImport_GetModule(key);
    PyObject *function = module == NULL ? NULL : PyObject_GetAttrString(module, name);
    if (function != NULL &&
        (!PyCFunction_Check(function) || PyCFunction_GetFlags(function) != METH_NOARGS)) {
        Py_CLEAR(function);
    }
    PyErr_Clear();
    Py_XDECREF(key);
    Py_XDECREF(module);
    return function;
}

/* -1 with an exception. */
static int
begin(struct state *state)
{
    state->home_mark = PyUnicode_InternFromString("aiointerpreters");
    state->sys_dict = PyImport_ImportModule("sys");
    if (state->sys_dict != NULL) {
        Py_SETREF(state->sys_dict, Py_NewRef(PyModule_GetDict(state->sys_dict)));
    }
    return state->home_mark == NULL || state->sys_dict == NULL ? -1 : watch_dicts(state);
}

/* A list that stands in a namespace; NULL without an exception when a program has removed or replaced
 * it. A new reference. */
static PyObject *
list_in(PyObject *names, const char *name)
{
    PyObject *list = NULL;
    if (PyDict_GetItemStringRef(names, name, &list) > 0 && !PyList_Check(list)) {
        Py_CLEAR(list);
    }
    PyErr_Clear();
    return list;
}

/* warnings.filters, or NULL before anybody has imported warnings. A new reference. */
static PyObject *
current_filters(void)
{
    PyObject *module = NULL, *filters = NULL;
    if (PyDict_GetItemStringRef(PyImport_GetModuleDict(), "warnings", &module) > 0 &&
        PyModule_Check(module) && PyDict_Watch(watched.id, PyModule_GetDict(module)) == 0) {
        filters = list_in(PyModule_GetDict(module), "filters");
    }
    PyErr_Clear();
    Py_XDECREF(module);
    return filters;
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
           PyDict_GetItemWithError(state->level_cache, state->home_mark) != NULL;
}

/* A setting that no dict tells of, as it is now. A new reference. */
static PyObject *
setting_now(struct state *state, enum home_setting which)
{
    PyObject *getter = which == HOME_RECURSION_LIMIT ? NULL : state->setting_getters[which];
    return which == HOME_RECURSION_LIMIT ? PyLong_FromLong(Py_GetRecursionLimit())
           : getter == NULL              ? Py_NewRef(Py_None)
                                         : ask(getter);
}

static int
is_same_setting(PyObject *now, PyObject *seen)
{
    if (now == NULL || seen == NULL) {
        return now == NULL ? -1 : 0;
    }
    return now == seen || PyObject_RichCompareBool(now, seen, Py_EQ);
}

/* Asks for the settings anew, which takes some nanoseconds each. -1 with an exception. */
static int
look_at_settings(struct state *state, bool *unchanged)
{
    for (int i = 0; i < HOME_SETTINGS; i++) {
        PyObject *seen = state->settings_seen[i];
        if (i == HOME_RECURSION_LIMIT && seen != NULL &&
            PyLong_AsLong(seen) == Py_GetRecursionLimit()) {
            continue; /* without an object made of it */
        }
        PyObject *now = setting_now(state, i);
        int same = is_same_setting(now, seen);
        if (same != 1) {
            Py_XSETREF(state->settings_seen[i], Py_XNewRef(now));
            *unchanged = false;
        }
        Py_XDECREF(now);
        if (same < 0) {
            return -1;
        }
    }
    return 0;
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

/* What the Python room makes of the filters and the levels, and what it finds itself. */
static PyObject *
describe_rest(struct state *state, PyObject *filters)
{
    PyObject *levels = state->level_cache != NULL ? Py_True : Py_False;
    PyObject *imported = watched.imported;
    watched.imported = PySet_New(NULL);
    if (watched.imported == NULL) {
        watched.imported = imported;
        return NULL;
    }
    PyObject *args[] = {filters != NULL ? filters : Py_None, levels, imported};
    if (state->level_cache != NULL && /* first: a level may change meanwhile */
        PyDict_SetItem(state->level_cache, state->home_mark, Py_None) < 0) {
        Py_DECREF(imported);
        return NULL;
    }
    PyObject *rest = state_call("_home", "describe", args, 3);
    Py_DECREF(imported);
    return rest;
}

static PyObject *
tuple_of(PyObject *list, PyObject *before)
{
    return list != NULL     ? PyList_AsTuple(list)
           : before != NULL ? Py_NewRef(before)
                            : PyTuple_New(0);
}

/* -1 with an exception. */
static int
note(struct state *state)
{
    PyObject *seen[HOME_LISTS] = {NULL};
    bool complete = true;
    for (int i = 0; i < HOME_LISTS; i++) {
        seen[i] = tuple_of(state->lists[i], state->seen[i]);
        complete = complete && seen[i] != NULL;
    }
    PyObject *path = !complete ? NULL : strings_of(seen[HOME_PATH]);
    PyObject *argv = !complete ? NULL : strings_of(seen[HOME_ARGV]);
    PyObject *rest =
        !complete
            ? NULL
            : describe_rest(state, state->lists[HOME_FILTERS] == NULL ? NULL : seen[HOME_FILTERS]);
    PyObject *settings = rest == NULL ? NULL : PyTuple_New(HOME_SETTINGS);
    for (int i = 0; settings != NULL && i < HOME_SETTINGS; i++) {
        PyTuple_SET_ITEM(settings, i, Py_NewRef(state->settings_seen[i]));
    }
    PyObject *value = path == NULL || argv == NULL || settings == NULL
                          ? NULL
                          : PyTuple_Pack(5, path, argv, state->environ, settings, rest);
    int result = value == NULL ? -1 : encode_and_publish(value);
    for (int i = 0; i < HOME_LISTS; i++) {
        if (result == 0) {
            Py_XSETREF(state->seen[i], Py_NewRef(seen[i]));
        }
        Py_XDECREF(seen[i]);
    }
    Py_XDECREF(path);
    Py_XDECREF(argv);
    Py_XDECREF(rest);
    Py_XDECREF(settings);
    Py_XDECREF(value);
    return result;
}

/* Something was imported, or set in a dict: lists may have been replaced, functions to ask have come. */
static void
find_again(struct state *state)
{
    Py_XSETREF(state->lists[HOME_PATH], list_in(state->sys_dict, "path"));
    Py_XSETREF(state->lists[HOME_ARGV], list_in(state->sys_dict, "argv"));
    Py_XSETREF(state->lists[HOME_FILTERS], current_filters());
    static const char *const places[HOME_SETTINGS][2] = {
        [HOME_INT_MAX_STR_DIGITS] = {"sys", "get_int_max_str_digits"},
        [HOME_SOCKET_TIMEOUT] = {"_socket", "getdefaulttimeout"},
    };
    for (int i = 0; i < HOME_SETTINGS; i++) {
        if (state->setting_getters[i] == NULL && places[i][0] != NULL) {
            state->setting_getters[i] = find_to_ask(places[i][0], places[i][1]);
        }
    }
}

int
home_note(struct state *state)
{
    if (state->environ == NULL && begin(state) < 0) {
        return -1;
    }
    bool unchanged = !watched.changed;
    if (watched.changed) {
        watched.changed = false; /* first: it may change meanwhile */
        find_again(state);
    }
    unchanged = unchanged && is_unchanged(state->lists[HOME_PATH], state->seen[HOME_PATH]) &&
                is_unchanged(state->lists[HOME_ARGV], state->seen[HOME_ARGV]) &&
                is_unchanged(state->lists[HOME_FILTERS], state->seen[HOME_FILTERS]) &&
                are_levels_unchanged(state);
    if (look_at_settings(state, &unchanged) < 0 || (!unchanged && note(state) < 0)) {
        watched.changed = true; /* to be tried again */
        return -1;
    }
    return 0;
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
    PyObject *described, *levels, *others;
    if (!PyArg_ParseTuple(rest, "O!OO", &PyTuple_Type, &described, &levels, &others)) {
        PyErr_Clear();
        return false;
    }
    PyObject *module =
        levels != Py_None || others != Py_None ? NULL : PyImport_ImportModule("_warnings");
    PyObject *filters = module == NULL ? NULL : PyObject_GetAttrString(module, "filters");
    if (filters != NULL) {
        Py_SETREF(filters, PySequence_Tuple(filters)); /* what is compared may change the list */
    }
    bool same = filters != NULL && PyTuple_GET_SIZE(filters) == PyTuple_GET_SIZE(described);
    for (Py_ssize_t i = 0; same && i < PyTuple_GET_SIZE(described); i++) {
        same = is_described(PyTuple_GET_ITEM(filters, i), PyTuple_GET_ITEM(described, i)) > 0;
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

/* The dict below os.environ, past its methods: the process has been told by the caller. What a task has set
 * stays until the caller changes it; but at first it is the caller's, whatever other tasks have set. */
static int
take_environ(struct state *state, PyObject *theirs)
{
    PyObject *before = state->environ_taken;
    PyObject *posix = PyImport_ImportModule("posix");
    PyObject *ours = posix == NULL ? NULL : PyObject_GetAttrString(posix, "environ");
    Py_XDECREF(posix);
    if (ours == NULL || !PyDict_Check(ours)) {
        PyErr_Clear();
        Py_XDECREF(ours);
        return 0; /* a task has removed it */
    }
    int result = 0;
    if (before == NULL) {
        PyDict_Clear(ours);
        result = PyDict_Update(ours, theirs);
    }
    Py_ssize_t at = 0;
    PyObject *name, *value;
    while (before != NULL && result == 0 && PyDict_Next(theirs, &at, &name, &value)) {
        PyObject *known = PyDict_GetItemWithError(before, name);
        int same = known == NULL ? 0 : PyObject_RichCompareBool(known, value, Py_EQ);
        result = same < 0 || (!same && PyDict_SetItem(ours, name, value) < 0) ? -1 : 0;
    }
    at = 0;
    while (before != NULL && result == 0 && PyDict_Next(before, &at, &name, &value)) {
        if (PyDict_Contains(theirs, name) == 0 && PyDict_Pop(ours, name, NULL) < 0) {
            result = -1;
        }
    }
    Py_DECREF(ours);
    if (result == 0) {
        Py_XSETREF(state->environ_taken, Py_NewRef(theirs));
    }
    return result;
}

/* What a task has set stays until the caller changes it. */
static int
take_settings(struct state *state, PyObject *settings)
{
    static const char *const setters[] = {"setrecursionlimit", "set_int_max_str_digits"};
    for (int i = 0; i < (int)Py_ARRAY_LENGTH(setters); i++) {
        PyObject *value = PyTuple_GetItem(settings, i);
        PyObject *taken = state->settings_seen[i];
        int same = value == NULL   ? -1
                   : taken == NULL ? 0
                                   : PyObject_RichCompareBool(taken, value, Py_EQ);
        PyObject *setter = same != 0 ? NULL : PySys_GetObject(setters[i]); /* borrowed */
        PyObject *done = setter == NULL ? NULL : PyObject_CallOneArg(setter, value);
        if (same < 0 || (setter != NULL && done == NULL)) {
            return -1;
        }
        Py_XDECREF(done);
        Py_XSETREF(state->settings_seen[i], Py_NewRef(value));
    }
    return 0;
}

static int
take_over(struct state *state, PyObject *value)
{
    PyObject *path, *argv, *environ, *settings, *rest;
    if (!PyArg_ParseTuple(value, "O!O!O!O!O!", &PyList_Type, &path, &PyList_Type, &argv,
                          &PyDict_Type, &environ, &PyTuple_Type, &settings, &PyTuple_Type, &rest) ||
        set_list("path", path) < 0 || set_list("argv", argv) < 0 ||
        take_environ(state, environ) < 0 || take_settings(state, settings) < 0) {
        return -1;
    }
    PyObject *timeout = PyTuple_GetItem(settings, HOME_SOCKET_TIMEOUT);
    if (timeout == NULL) {
        return -1;
    }
    if (!state->differs_from_made && timeout == Py_None && is_as_made(rest)) {
        return 0;
    }
    state->differs_from_made = true;
    PyObject *args[] = {rest, timeout};
    PyObject *done = state_call("_home", "apply", args, 2);
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
