#include "context.h"

/* -- the caller's side -- */

/* What the variable is called on both sides (aiointerpreters._context.name_of): borrowed. */
static PyObject *
name_of(struct state *state, PyObject *variable)
{
    if (state->context_names == NULL) {
        state->context_names = PyDict_New();
        if (state->context_names == NULL) {
            return NULL;
        }
    }
    PyObject *name = PyDict_GetItemWithError(state->context_names, variable);
    if (name == NULL && !PyErr_Occurred()) {
        name = state_call("_context", "name_of", &variable, 1);
        int kept = name == NULL ? -1 : PyDict_SetItem(state->context_names, variable, name);
        Py_XDECREF(name);
        return kept < 0 ? NULL : name;
    }
    return name;
}

/* 1 with a new reference in *value, 0: it is not set there, -1 with an exception. */
static int
value_of(struct state *state, PyObject *variable, PyObject *source, PyObject **value)
{
    if (source != NULL) {
        int is_set = PySequence_Contains(source, variable);
        *value = is_set > 0 ? PyObject_GetItem(source, variable) : NULL;
        return is_set > 0 && *value == NULL ? -1 : is_set;
    }
    /* Our module stands for nothing: no variable has it for a value. */
    if (PyContextVar_Get(variable, state->module, value) < 0) {
        return -1;
    }
    if (*value == state->module) {
        Py_CLEAR(*value);
        return 0;
    }
    return 1;
}

static int
collect(struct state *state, PyObject *list, PyObject *variables, PyObject *source)
{
    for (Py_ssize_t i = 0; variables != NULL && i < PyTuple_GET_SIZE(variables); i++) {
        PyObject *variable = PyTuple_GET_ITEM(variables, i);
        PyObject *value;
        int is_set = value_of(state, variable, source, &value);
        if (is_set > 0) {
            PyObject *name = name_of(state, variable);
            is_set = name == NULL || PyList_Append(list, name) < 0 || PyList_Append(list, value) < 0
                         ? -1
                         : 1;
            Py_DECREF(value);
        }
        if (is_set < 0) {
            return -1;
        }
    }
    return 0;
}

/* The decimal module keeps its context in a variable that it shows to nobody. */
static int
collect_decimal(PyObject *list, PyObject *source)
{
    PyObject *modules = PyImport_GetModuleDict(); /* borrowed */
    if (PyDict_GetItemString(modules, "decimal") == NULL) {
        return 0;
    }
    PyObject *args[] = {source != NULL ? source : Py_None};
    PyObject *settings = state_call("_context", "decimal_settings", args, 1);
    PyObject *name = PyUnicode_FromString("decimal");
    int result = settings == NULL || name == NULL ? -1 : 0;
    if (result == 0 && settings != Py_None) {
        result = PyList_Append(list, name) < 0 || PyList_Append(list, settings) < 0 ? -1 : 0;
    }
    Py_XDECREF(settings);
    Py_XDECREF(name);
    return result;
}

int
context_collect(struct state *state, PyObject *variables, PyObject *more, PyObject *source,
                PyObject **values)
{
    *values = NULL;
    if (variables == NULL && more == NULL) {
        return 0;
    }
    PyObject *list = PyList_New(0);
    if (list == NULL || collect(state, list, variables, source) < 0 ||
        collect(state, list, more, source) < 0 || collect_decimal(list, source) < 0) {
        Py_XDECREF(list);
        return -1;
    }
    if (PyList_GET_SIZE(list) > 0) {
        *values = PyList_AsTuple(list);
    }
    int result = PyList_GET_SIZE(list) > 0 && *values == NULL ? -1 : 0;
    Py_DECREF(list);
    return result;
}

/* -- the worker's side -- */

/* Whether the exception that is set says that there is no such variable; not that the task is to stop, nor
 * that there was no room to look. */
static bool
is_not_found(struct state *state)
{
    return !PyErr_ExceptionMatches(state->interrupted) &&
           !PyErr_ExceptionMatches(PyExc_MemoryError) &&
           !PyErr_ExceptionMatches(PyExc_RecursionError);
}

/* What stands for a variable that was looked for in vain: looked for again, which may take an import, only
 * once a task has imported its module. 1, 0, or -1 with an exception. */
static int
is_worth_a_look(PyObject *known, PyObject *name)
{
    if (known == NULL) {
        return 1;
    }
    PyObject *module = PyImport_GetModule(PyTuple_GET_ITEM(name, 0));
    Py_XDECREF(module);
    return module != NULL ? 1 : PyErr_Occurred() ? -1 : 0;
}

/* Looks, and keeps what it finds. A new reference: the variable, or None. */
static PyObject *
look_for_variable(struct state *state, PyObject *key, PyObject *name)
{
    size_t count = (size_t)PyTuple_GET_SIZE(name);
    PyObject *found = state_call("_rebuild", "find_variable", &PyTuple_GET_ITEM(name, 0), count);
    if (found == NULL ? is_not_found(state) : !PyContextVar_CheckExact(found)) {
        PyErr_Clear();
        Py_XSETREF(found, Py_NewRef(Py_None));
    }
    if (found != NULL && PyDict_SetItem(state->context_names, key, found) < 0) {
        Py_CLEAR(found);
    }
    return found;
}

/* This interpreter's variable of that name, or None when it has none: a new reference. */
static PyObject *
find_variable(struct state *state, PyObject *name)
{
    if (state->context_names == NULL) {
        state->context_names = PyDict_New();
        if (state->context_names == NULL ||
            PyModule_AddObjectRef(state->module, "context_variables", state->context_names) < 0) {
            return NULL; /* the attribute is for aiointerpreters._home */
        }
    }
    PyObject *key = PyTuple_GetSlice(name, 0, 2); /* without a default, which may be anything */
    PyObject *known = NULL;
    int look = key == NULL || PyDict_GetItemRef(state->context_names, key, &known) < 0 ? -1 : 0;
    if (look == 0 && (known == NULL || known == Py_None)) {
        look = is_worth_a_look(known, name);
    }
    if (look != 0) {
        Py_CLEAR(known);
    }
    PyObject *variable = look > 0 ? look_for_variable(state, key, name) : known;
    Py_XDECREF(key);
    return variable;
}

/* One that is not to be found here (its module does not load in an interpreter, say) cannot be read by the
 * task either, unless it tries the same import, and is told then what is wrong with it. */
static int
set_value(struct state *state, PyObject *name, PyObject *value)
{
    PyObject *done;
    if (!PyTuple_Check(name)) {
        done = state_call("_rebuild", "set_decimal", &value, 1);
    }
    else {
        PyObject *variable = find_variable(state, name);
        done = variable == NULL || variable == Py_None ? Py_XNewRef(variable)
                                                       : PyContextVar_Set(variable, value);
        Py_XDECREF(variable);
    }
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static int
set_values(struct state *state, PyObject *values)
{
    if (values != NULL && !PyTuple_CheckExact(values)) {
        PyErr_SetString(PyExc_SystemError, "a damaged message");
        return -1;
    }
    for (Py_ssize_t i = 0; values != NULL && i + 1 < PyTuple_GET_SIZE(values); i += 2) {
        if (set_value(state, PyTuple_GET_ITEM(values, i), PyTuple_GET_ITEM(values, i + 1)) < 0) {
            return -1;
        }
    }
    return 0;
}

/* A Context to enter: what the initializer has left, or an empty one, the last one's if that has stayed
 * empty. */
static PyObject *
fresh_context(struct state *state)
{
    if (state->context_base != NULL) {
        return PyContext_Copy(state->context_base);
    }
    PyObject *spare = state->context_spare;
    state->context_spare = NULL;
    return spare != NULL ? spare : PyContext_New();
}

/* Steals `context`, which has been left. */
static void
put_away(struct state *state, PyObject *context, bool is_initializer)
{
    bool is_empty = PyMapping_Size(context) == 0;
    if (is_initializer && !is_empty) {
        Py_XSETREF(state->context_base, context);
    }
    else if (is_empty && Py_REFCNT(context) == 1 && state->context_spare == NULL) {
        state->context_spare = context;
    }
    else {
        Py_DECREF(context);
    }
}

/* Keeps the exception that is set. */
static void
leave(PyObject *context, bool raised)
{
    PyObject *error = raised ? PyErr_GetRaisedException() : NULL;
    if (PyContext_Exit(context) < 0) {
        PyErr_Clear(); /* an extension has entered another one, and not left it */
    }
    if (error != NULL) {
        PyErr_SetRaisedException(error);
    }
}

PyObject *
context_call(struct state *state, PyObject *values, PyObject *callable, PyObject *const *args,
             size_t nargsf, PyObject *keywords, bool is_initializer)
{
    PyObject *context = fresh_context(state);
    if (context == NULL || PyContext_Enter(context) < 0) {
        Py_XDECREF(context);
        return NULL;
    }
    PyObject *result = NULL;
    if (values == NULL || set_values(state, values) == 0) {
        result = PyObject_Vectorcall(callable, args, nargsf, keywords);
    }
    leave(context, result == NULL);
    if (result != NULL || !PyErr_Occurred()) {
        put_away(state, context, is_initializer);
    }
    else {
        PyObject *error = PyErr_GetRaisedException();
        put_away(state, context, is_initializer); /* may run destructors */
        PyErr_SetRaisedException(error);
    }
    return result;
}

PyObject *
context_new(struct state *state, PyObject *values)
{
    PyObject *context =
        state->context_base != NULL ? PyContext_Copy(state->context_base) : PyContext_New();
    if (context == NULL || values == NULL) {
        return context;
    }
    if (PyContext_Enter(context) < 0) {
        Py_CLEAR(context);
        return NULL;
    }
    int result = set_values(state, values);
    leave(context, result < 0);
    if (result < 0) {
        Py_CLEAR(context);
    }
    return context;
}
