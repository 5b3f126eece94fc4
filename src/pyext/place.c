#include "place.h"

#include <string.h>

/* -- whose code a frame runs -- */

enum owner { OWNER_TASK, OWNER_LIBRARY, OWNER_LOCKING, OWNER_CONNECTING };

/* What connects threads, Tasks and modules. */
static const char *const connecting[] = {"asyncio",
                                         "uvloop",
                                         "anyio",
                                         "trio",
                                         "aiointerpreters",
                                         "concurrent",
                                         "importlib",
                                         "logging",
                                         "multiprocessing",
                                         "queue",
                                         "threading",
                                         "_threading_local",
                                         "weakref",
                                         "zipimport",
                                         "_weakrefset",
                                         "_frozen_importlib",
                                         "_frozen_importlib_external",
                                         NULL};

/* What takes locks, or is in the middle of entering and leaving a `with` block, for a moment. */
static const char *const locking[] = {"_py_warnings", "contextlib", "functools",
                                      "tempfile",     "warnings",   NULL};

static bool
is_one_of(const char *const *names, const char *name, size_t length)
{
    while (*names != NULL && (strlen(*names) != length || memcmp(*names, name, length) != 0)) {
        names++;
    }
    return *names != NULL;
}

static bool
is_standard(const char *name, size_t length)
{
    PyObject *standard = PySys_GetObject("stdlib_module_names");
    PyObject *root = PyUnicode_FromStringAndSize(name, (Py_ssize_t)length);
    bool result = root == NULL || standard == NULL || !PyAnySet_Check(standard) ||
                  PySet_Contains(standard, root) != 0;
    Py_XDECREF(root);
    return result;
}

/* By the package that the module of the code is in. Code without a module is the task's own. */
static enum owner
owner_of(PyFrameObject *frame)
{
    PyObject *globals = PyFrame_GetGlobals(frame);
    PyObject *module = globals == NULL ? NULL : PyDict_GetItemString(globals, "__name__");
    const char *name = module != NULL && PyUnicode_Check(module) ? PyUnicode_AsUTF8(module) : NULL;
    size_t length = name == NULL ? 0 : strcspn(name, ".");
    enum owner result = length == 0 || is_one_of((const char *[]){"__main__", NULL}, name, length)
                            ? OWNER_TASK
                        : is_one_of(connecting, name, length) ? OWNER_CONNECTING
                        : is_one_of(locking, name, length)    ? OWNER_LOCKING
                        : is_standard(name, length)           ? OWNER_LIBRARY
                                                              : OWNER_TASK;
    Py_XDECREF(globals);
    PyErr_Clear();
    return result;
}

/* -- what a frame is -- */

static bool
is_coroutine(const PyCodeObject *code)
{
    return (code->co_flags & (CO_COROUTINE | CO_ASYNC_GENERATOR | CO_ITERABLE_COROUTINE)) != 0;
}

/* Whether a coroutine may await it. */
static bool
is_awaited(const PyCodeObject *code)
{
    return is_coroutine(code) || (code->co_flags & CO_GENERATOR) != 0;
}

/* What C code calls and drops what is raised, or has more to do afterwards; and the end of a `with` block, which cleans up. */
static bool
is_called_in_between(PyCodeObject *code)
{
    static const char *const names[] = {"__del__",
                                        "__exit__",
                                        "__aexit__",
                                        "call_soon",
                                        "call_soon_threadsafe",
                                        "call_exception_handler",
                                        NULL};
    const char *name = PyUnicode_AsUTF8(code->co_name);
    return name == NULL || is_one_of(names, name, strlen(name));
}

/* Whether a value, or one of the first in a tuple or a dict, is a Context: the arguments of a call_soon() are few. */
static bool
has_context(PyObject *value)
{
    enum { MOST = 16 };
    Py_ssize_t position = 0, count = 0;
    PyObject *key, *item;
    bool found = PyContext_CheckExact(value);
    while (PyDict_CheckExact(value) && !found && count++ < MOST &&
           PyDict_Next(value, &position, &key, &item)) {
        found = PyContext_CheckExact(item);
    }
    for (; PyTuple_CheckExact(value) && !found && position < PyTuple_GET_SIZE(value) &&
           position < MOST;
         position++) {
        found = PyContext_CheckExact(PyTuple_GET_ITEM(value, position));
    }
    return found;
}

/* Whether an argument of a function is a Context, which is how a loop is told to call something (call_soon). */
static bool
is_given_context(PyFrameObject *frame, PyCodeObject *code)
{
    int count = code->co_argcount + code->co_kwonlyargcount + ((code->co_flags & CO_VARARGS) != 0) +
                ((code->co_flags & CO_VARKEYWORDS) != 0);
    PyObject *names = PyCode_GetVarnames(code);
    bool found = false;
    for (int i = 0; names != NULL && i < count && !found; i++) {
        PyObject *value = PyFrame_GetVar(frame, PyTuple_GET_ITEM(names, i));
        found = value != NULL && has_context(value);
        Py_XDECREF(value);
    }
    Py_XDECREF(names);
    PyErr_Clear();
    return found;
}

/* -- the rule -- */

struct walk {
    bool shared;
    bool schedules;      /* a function seems to stand in for call_soon() */
    PyCodeObject *inner; /* of the frame before, held; NULL: this is the innermost */
    enum place place;
};

static void
look_at(struct walk *walk, PyFrameObject *frame, PyCodeObject *code)
{
    bool is_innermost = walk->inner == NULL;
    switch (owner_of(frame)) {
    case OWNER_TASK:
        break;
    case OWNER_CONNECTING:
        if (is_innermost || !is_coroutine(code) || !is_awaited(walk->inner)) {
            walk->place = PLACE_CLOSED;
        }
        break;
    case OWNER_LOCKING:
        walk->place = is_innermost ? PLACE_CLOSED : PLACE_LIBRARY;
        break;
    case OWNER_LIBRARY:
        walk->place = is_innermost && walk->shared ? PLACE_CLOSED : PLACE_LIBRARY;
        break;
    }
    if (is_innermost && compat_is_entering(frame, code)) {
        walk->place = PLACE_CLOSED;
    }
    walk->schedules = walk->schedules || (!is_awaited(code) && is_given_context(frame, code));
    if (is_called_in_between(code) || (walk->schedules && is_coroutine(code))) {
        walk->place = PLACE_CLOSED;
    }
}

/* Whether all that is outside of a frame is the loop's. */
static bool
is_outermost_of_task(PyCodeObject *code, PyFrameObject *outside)
{
    if (!is_coroutine(code) || outside == NULL) {
        return false;
    }
    PyCodeObject *outer = PyFrame_GetCode(outside);
    bool result = !is_awaited(outer);
    Py_DECREF(outer);
    return result;
}

enum place
place_of_caller(bool shared)
{
    struct walk walk = {.shared = shared, .place = PLACE_OWN};
    PyFrameObject *frame = PyThreadState_GetFrame(PyThreadState_Get());
    while (frame != NULL && walk.place != PLACE_CLOSED) {
        PyCodeObject *code = PyFrame_GetCode(frame);
        PyFrameObject *outside = PyFrame_GetBack(frame);
        look_at(&walk, frame, code);
        if (is_outermost_of_task(code, outside)) {
            Py_CLEAR(outside);
        }
        Py_XSETREF(walk.inner, code);
        Py_SETREF(frame, outside);
    }
    Py_XDECREF(frame);
    Py_XDECREF(walk.inner);
    PyErr_Clear();
    return walk.place;
}

/* -- cleaning up -- */

/* `left`: how many more exceptions are looked at. */
static bool
comes_from(PyObject *exception, PyObject *const *types, int *left)
{
    bool found = false;
    PyObject *link = Py_NewRef(exception);
    while (link != NULL && !found && (*left)-- > 0) {
        for (PyObject *const *type = types; *type != NULL && !found; type++) {
            found = Py_IS_TYPE(link, (PyTypeObject *)*type);
        }
        PyObject *members = PyObject_TypeCheck(link, (PyTypeObject *)PyExc_BaseExceptionGroup)
                                ? ((PyBaseExceptionGroupObject *)link)->excs
                                : NULL;
        for (Py_ssize_t i = 0; members != NULL && !found && i < PyTuple_GET_SIZE(members); i++) {
            found = comes_from(PyTuple_GET_ITEM(members, i), types, left);
        }
        Py_SETREF(link, PyException_GetContext(link));
    }
    Py_XDECREF(link);
    return found;
}

bool
place_is_cleaning_up(PyThreadState *tstate, PyObject *const *types)
{
    enum { MOST_LINKS = 100 };
    void *position = NULL;
    PyObject *handled;
    while ((handled = compat_next_handled(tstate, &position)) != NULL) {
        int left = MOST_LINKS;
        if (comes_from(handled, types, &left)) {
            return true;
        }
    }
    return false;
}
