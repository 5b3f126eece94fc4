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
    PyObject *sys_dict; /* as the following, compared only */
    PyObject *modules;  /* sys.modules */
    PyObject *environ;
    PyObject *imported; /* set of str: what was put into sys.modules, to be described; held */
    unsigned imports;   /* counts them */
    unsigned touched;   /* counts the changes of any of the dicts */
    unsigned found;     /* `touched` before find_again() last ran */
    bool changed;       /* something that is described, since a description was last begun */
    bool polling;       /* not every dict can be watched: as if all of them changed all the time */
    int id;             /* of the watcher */
} watched;

/* Describing runs Python, so other threads change and describe something meanwhile, and so may what it calls. Who
 * begins to describe takes back what tells of a change; until that description or one that was begun later is
 * published, everybody else describes, too. One that was begun before what is published is dropped. Guarded as
 * `watched`. */
static struct {
    uint64_t begun;     /* counts the descriptions */
    uint64_t published; /* which of them is */
} descriptions;

/* Whether a key of sys.__dict__ is that of a setting: those of _SETTINGS in _home.py. */
static bool
is_setting(PyObject *key)
{
    static const char *const names[] = {"dont_write_bytecode", "pycache_prefix", "tracebacklimit"};
    for (size_t i = 0; i < Py_ARRAY_LENGTH(names); i++) {
        if (PyUnicode_EqualToUTF8(key, names[i])) {
            return true;
        }
    }
    return false;
}

/* `key` is NULL for changes of the whole dict. */
static int
on_change(PyDict_WatchEvent event, PyObject *dict, PyObject *key, PyObject *value)
{
    watched.touched++;
    bool is_name = key != NULL && PyUnicode_CheckExact(key);
    if (dict == watched.environ || key == NULL ||
        (dict == watched.sys_dict && is_name && is_setting(key))) {
        watched.changed = true;
    }
    if (dict == watched.modules && value != NULL && is_name &&
        (event == PyDict_EVENT_ADDED || event == PyDict_EVENT_MODIFIED)) {
        watched.changed = true;
        watched.imports++;
        return PySet_Add(watched.imported, key);
    }
    return 0;
}

unsigned
home_imports(void)
{
    return watched.polling ? ++watched.imports : watched.imports;
}

/* CPython has eight watchers for everybody. */
static void
watch(PyObject *dict)
{
    if (!watched.polling && PyDict_Watch(watched.id, dict) < 0) {
        PyErr_Clear();
        watched.polling = true;
    }
}

/* sys.__dict__, sys.modules and the dict of bytes below os.environ; that of warnings joins them later. */
static void
watch_dicts(void)
{
    watched.polling = compat_is_safe_mode() || (watched.id = PyDict_AddWatcher(on_change)) < 0;
    PyErr_Clear();
    watch(watched.sys_dict);
    watch(watched.modules);
    watch(watched.environ);
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

/* The dict of bytes below os.environ, or None if a program has replaced it. A new reference. */
static PyObject *
find_environ(void)
{
    PyObject *posix = PyImport_ImportModule("posix");
    PyObject *environ = posix == NULL ? NULL : PyObject_GetAttrString(posix, "environ");
    PyErr_Clear();
    Py_XDECREF(posix);
    if (environ == NULL || !PyDict_CheckExact(environ)) {
        Py_XSETREF(environ, Py_NewRef(Py_None));
    }
    return environ;
}

/* Imports, so that other threads may do the same meanwhile; what comes after that is done once. -1 with an
 * exception. */
static int
begin(struct state *state)
{
    PyObject *mark = PyUnicode_InternFromString("aiointerpreters");
    PyObject *sys = mark == NULL ? NULL : PyImport_ImportModule("sys");
    PyObject *environ = sys == NULL ? NULL : find_environ();
    PyObject *imported = environ == NULL ? NULL : PySet_New(NULL);
    if (imported != NULL && state->environ == NULL) {
        watched.sys_dict = PyModule_GetDict(sys);
        watched.modules = PyImport_GetModuleDict();
        watched.environ = environ;
        watched.imported = Py_NewRef(imported);
        watched.changed = true;
        watched.touched++;
        watch_dicts();
        state->home_mark = Py_NewRef(mark);
        state->sys_dict = Py_NewRef(watched.sys_dict);
        state->environ = Py_NewRef(environ);
    }
    Py_XDECREF(mark);
    Py_XDECREF(sys);
    Py_XDECREF(environ);
    Py_XDECREF(imported);
    return imported == NULL ? -1 : 0;
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
        PyModule_Check(module)) {
        watch(PyModule_GetDict(module));
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
are_settings_unchanged(struct state *state)
{
    for (int i = 0; i < HOME_SETTINGS; i++) {
        PyObject *seen = state->settings_seen[i];
        if (i == HOME_RECURSION_LIMIT && seen != NULL &&
            PyLong_AsLong(seen) == Py_GetRecursionLimit()) {
            continue; /* without an object made of it */
        }
        PyObject *now = setting_now(state, i);
        int same = is_same_setting(now, seen);
        Py_XDECREF(now);
        if (same != 1) {
            return same;
        }
    }
    return 1;
}

/* What is there already has nobody take it over again. -1 with an exception. */
static int
publish(PyObject *bytes)
{
    size_t size = (size_t)PyBytes_GET_SIZE(bytes);
    /* Who writes it has the GIL that we have. */
    if (size == noted.size && memcmp(noted.bytes, PyBytes_AS_STRING(bytes), size) == 0) {
        return 0;
    }
    unsigned char *copy = malloc(size);
    if (copy == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memcpy(copy, PyBytes_AS_STRING(bytes), size);
    os_mutex_lock(&noted.lock);
    unsigned char *old = noted.bytes;
    noted.bytes = copy;
    noted.size = size;
    atomic_fetch_add_explicit(&noted.version, 1, memory_order_release);
    os_mutex_unlock(&noted.lock);
    free(old);
    return 0;
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

/* What was put into sys.modules, as far as we know: while we poll, all of it. A new set. */
static PyObject *
imported_names(void)
{
    if (!watched.polling) {
        return PySet_New(watched.imported);
    }
    PyObject *names = PyDict_Keys(watched.modules);
    if (names != NULL) {
        Py_SETREF(names, PySet_New(names));
    }
    return names;
}

/* What the Python room makes of the filters and the levels, and what it finds itself. */
static PyObject *
describe_rest(struct state *state, PyObject *filters)
{
    PyObject *imported = imported_names();
    if (imported == NULL || (state->level_cache != NULL && /* first: a level may change meanwhile */
                             PyDict_SetItem(state->level_cache, state->home_mark, Py_None) < 0)) {
        Py_XDECREF(imported);
        return NULL;
    }
    PyObject *levels = state->level_cache != NULL ? Py_True : Py_False;
    PyObject *args[] = {filters, levels, imported};
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

/* What is compared before the next description; held. */
struct picture {
    PyObject *lists[HOME_LISTS];
    PyObject *settings[HOME_SETTINGS];
};

/* -1 with an exception. */
static int
take_picture(struct state *state, struct picture *picture)
{
    for (int i = 0; i < HOME_LISTS; i++) {
        picture->lists[i] = tuple_of(state->lists[i], state->seen[i]);
        if (picture->lists[i] == NULL) {
            return -1;
        }
    }
    for (int i = 0; i < HOME_SETTINGS; i++) {
        picture->settings[i] = setting_now(state, i);
        if (picture->settings[i] == NULL) {
            return -1;
        }
    }
    return 0;
}

/* Has the picture be the one that was seen, and in it what was seen before. */
static void
exchange(struct state *state, struct picture *picture)
{
    for (int i = 0; i < HOME_LISTS; i++) {
        PyObject *before = state->seen[i];
        state->seen[i] = picture->lists[i];
        picture->lists[i] = before;
    }
    for (int i = 0; i < HOME_SETTINGS; i++) {
        PyObject *before = state->settings_seen[i];
        state->settings_seen[i] = picture->settings[i];
        picture->settings[i] = before;
    }
}

static void
let_go(struct picture *picture)
{
    for (int i = 0; i < HOME_LISTS; i++) {
        Py_XDECREF(picture->lists[i]);
    }
    for (int i = 0; i < HOME_SETTINGS; i++) {
        Py_XDECREF(picture->settings[i]);
    }
}

/* What take_over() takes, as a bytes object, or NULL with an exception. */
static PyObject *
describe(struct state *state, const struct picture *picture)
{
    PyObject *path = strings_of(picture->lists[HOME_PATH]);
    PyObject *argv = strings_of(picture->lists[HOME_ARGV]);
    PyObject *rest =
        path == NULL || argv == NULL ? NULL : describe_rest(state, picture->lists[HOME_FILTERS]);
    PyObject *settings = rest == NULL ? NULL : PyTuple_New(HOME_SETTINGS);
    for (int i = 0; settings != NULL && i < HOME_SETTINGS; i++) {
        PyTuple_SET_ITEM(settings, i, Py_NewRef(picture->settings[i]));
    }
    PyObject *value =
        settings == NULL ? NULL : PyTuple_Pack(5, path, argv, state->environ, settings, rest);
    /* Since version 3, the bytes also depend on how often the objects are held. */
    PyObject *bytes = value == NULL ? NULL : PyMarshal_WriteObjectToString(value, 2);
    Py_XDECREF(path);
    Py_XDECREF(argv);
    Py_XDECREF(rest);
    Py_XDECREF(settings);
    Py_XDECREF(value);
    return bytes;
}

/* -1 with an exception. */
static int
describe_and_publish(struct state *state)
{
    uint64_t self = ++descriptions.begun;
    unsigned imports = watched.imports;
    watched.changed = false; /* first: it may change meanwhile */
    struct picture picture = {{NULL}, {NULL}};
    PyObject *bytes = take_picture(state, &picture) < 0 ? NULL : describe(state, &picture);
    int result = bytes == NULL ? -1 : 0;
    /* From here on no Python runs. */
    if (bytes != NULL && self > descriptions.published && (result = publish(bytes)) == 0) {
        descriptions.published = self;
        exchange(state, &picture);
        if (imports == watched.imports) { /* else there is a reload that we may have missed */
            PySet_Clear(watched.imported);
        }
    }
    Py_XDECREF(bytes);
    let_go(&picture);
    return result;
}

/* What describes may run a destructor or a handler of a signal that submits something, which is described, too;
 * and so on, if it is what we describe that submits. -1 with an exception. */
static int
note(struct state *state)
{
    enum { MOST_NESTED = 2 };
    static _Thread_local int nested;
    if (nested == MOST_NESTED) {
        return 0; /* with what was published last */
    }
    nested++;
    int result = describe_and_publish(state);
    nested--;
    return result;
}

/* Something was imported, or set in a dict: lists may have been replaced, functions to ask have come. */
static void
find_again(struct state *state)
{
    unsigned touched = watched.touched;
    PyObject *lists[HOME_LISTS] = {
        [HOME_PATH] = list_in(state->sys_dict, "path"),
        [HOME_ARGV] = list_in(state->sys_dict, "argv"),
        [HOME_FILTERS] = current_filters(),
    };
    for (int i = 0; i < HOME_LISTS; i++) {
        PyObject *before = state->lists[i];
        state->lists[i] = lists[i];
        lists[i] = before;
    }
    static const char *const places[HOME_SETTINGS][2] = {
        [HOME_INT_MAX_STR_DIGITS] = {"sys", "get_int_max_str_digits"},
        [HOME_SOCKET_TIMEOUT] = {"_socket", "getdefaulttimeout"},
    };
    for (int i = 0; i < HOME_SETTINGS; i++) {
        if (state->setting_getters[i] == NULL && places[i][0] != NULL) {
            PyObject *getter = find_to_ask(places[i][0], places[i][1]);
            if (getter != NULL) {
                Py_XSETREF(state->setting_getters[i], getter);
            }
        }
    }
    watched.found = touched;
    for (int i = 0; i < HOME_LISTS; i++) {
        Py_XDECREF(lists[i]);
    }
}

int
home_note(struct state *state)
{
    if (state->environ == NULL && begin(state) < 0) {
        return -1;
    }
    if (watched.polling || watched.touched != watched.found) {
        find_again(state);
    }
    int unchanged = !watched.polling && !watched.changed &&
                            descriptions.begun == descriptions.published &&
                            is_unchanged(state->lists[HOME_PATH], state->seen[HOME_PATH]) &&
                            is_unchanged(state->lists[HOME_ARGV], state->seen[HOME_ARGV]) &&
                            is_unchanged(state->lists[HOME_FILTERS], state->seen[HOME_FILTERS]) &&
                            are_levels_unchanged(state)
                        ? are_settings_unchanged(state)
                        : 0;
    return unchanged < 0 ? -1 : unchanged ? 0 : note(state);
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
    PyObject *list = Py_XNewRef(PySys_GetObject(name)); /* what is freed may set another */
    int result = list != NULL && PyList_Check(list)
                     ? PyList_SetSlice(list, 0, PyList_GET_SIZE(list), strings)
                     : PySys_SetObject(name, strings);
    Py_XDECREF(list);
    return result;
}

/* The dict below os.environ, past its methods: the process has been told by the caller. What a task has set
 * stays until the caller changes it; but at first it is the caller's, whatever other tasks have set. */
static int
take_environ(struct state *state, PyObject *theirs)
{
    PyObject *before = state->environ_taken;
    PyObject *ours = find_environ();
    if (ours == Py_None || theirs == Py_None) {
        Py_DECREF(ours);
        return 0;
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
        int kept = PyDict_Contains(theirs, name);
        result = kept < 0 || (kept == 0 && PyDict_Pop(ours, name, NULL) < 0) ? -1 : 0;
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
        PyObject *setter = same != 0 ? NULL : Py_XNewRef(PySys_GetObject(setters[i]));
        PyObject *done = setter == NULL ? NULL : PyObject_CallOneArg(setter, value);
        bool failed = same < 0 || (setter != NULL && done == NULL);
        Py_XDECREF(setter);
        Py_XDECREF(done);
        if (failed) {
            return -1;
        }
        Py_XSETREF(state->settings_seen[i], Py_NewRef(value));
    }
    return 0;
}

static int
take_over(struct state *state, PyObject *value)
{
    PyObject *path, *argv, *environ, *settings, *rest;
    if (!PyArg_ParseTuple(value, "O!O!OO!O!", &PyList_Type, &path, &PyList_Type, &argv, &environ,
                          &PyTuple_Type, &settings, &PyTuple_Type, &rest) ||
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
