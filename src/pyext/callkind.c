#include "callkind.h"

#include "tag.h"

#include <string.h>

/* Partials and methods in one another; one more is taken for what gives a value. */
enum { DEEPEST = 16 };

/* What inspect.markcoroutinefunction() sets. */
static const char MARK[] = "_is_coroutine_marker";

/* -1 with an exception. */
static int
has_attribute(PyObject *object, const char *name)
{
    PyObject *value = NULL;
    int found = PyObject_GetOptionalAttrString(object, name, &value);
    Py_XDECREF(value);
    return found < 0 ? state_pass_over_exception() : found;
}

/* Whether a function of inspect says yes. It raises for mocks that stand for a function's code, too: those give
 * a value. -1 with an exception. */
static int
says_yes(PyObject *inspect, const char *question, PyObject *callable)
{
    PyObject *answer = PyObject_CallMethod(inspect, question, "O", callable);
    Py_XDECREF(answer); /* True is immortal */
    return answer == NULL ? state_pass_over_exception() : answer == Py_True;
}

/* What the standard library answers. */
static call_kind
kind_by_inspect(PyObject *callable)
{
    static const struct {
        const char *question;
        call_kind kind;
    } questions[] = {
        {"iscoroutinefunction", CALL_COROUTINE},
        {"isasyncgenfunction", CALL_GENERATOR},
        {"isgeneratorfunction", CALL_ITERATOR},
    };
    PyObject *inspect = PyImport_ImportModule("inspect");
    if (inspect == NULL) {
        return state_pass_over_exception() < 0 ? CALL_UNKNOWN : CALL_VALUE;
    }
    call_kind kind = CALL_VALUE;
    for (size_t i = 0; kind == CALL_VALUE && i < Py_ARRAY_LENGTH(questions); i++) {
        int yes = says_yes(inspect, questions[i].question, callable);
        if (yes != 0) {
            kind = yes < 0 ? CALL_UNKNOWN : questions[i].kind;
        }
    }
    Py_DECREF(inspect);
    return kind;
}

static call_kind
kind_of_function(PyObject *function)
{
    int flags = ((PyCodeObject *)PyFunction_GET_CODE(function))->co_flags;
    if (flags & CO_COROUTINE) {
        return CALL_COROUTINE;
    }
    if (flags & CO_ASYNC_GENERATOR) {
        return CALL_GENERATOR;
    }
    bool has_attributes = ((PyFunctionObject *)function)->func_dict != NULL;
    int marked = has_attributes ? has_attribute(function, MARK) : 0;
    if (marked != 0) {
        return marked < 0 ? CALL_UNKNOWN : kind_by_inspect(function);
    }
    return flags & CO_GENERATOR ? CALL_ITERATOR : CALL_VALUE;
}

/* An object with `__code__` may be a function of another make (Cython's, a mock of a coroutine function). An
 * object that answers every attribute (a mock, a proxy) has both, which says nothing yet. */
static call_kind
kind_of_object(PyObject *callable)
{
    int claims = has_attribute(callable, "__code__");
    if (claims == 0) {
        claims = has_attribute(callable, MARK);
    }
    return claims < 0 ? CALL_UNKNOWN : claims > 0 ? kind_by_inspect(callable) : CALL_VALUE;
}

/* What is called in the place of `callable`: a new reference, or NULL, perhaps with an exception. */
static PyObject *
below(PyObject *callable, PyTypeObject *tag_type)
{
    PyObject *found = NULL;
    if (Py_IS_TYPE(callable, tag_type)) {
        return Py_NewRef(((TagObject *)callable)->marked);
    }
    if (PyMethod_Check(callable)) {
        return Py_NewRef(PyMethod_GET_FUNCTION(callable));
    }
    if (Py_IS_TYPE(callable, &PyClassMethod_Type) || Py_IS_TYPE(callable, &PyStaticMethod_Type)) {
        PyObject_GetOptionalAttrString(callable, "__func__", &found);
    }
    else if (strcmp(Py_TYPE(callable)->tp_name, "functools.partial") == 0) {
        PyObject_GetOptionalAttrString(callable, "func", &found);
    }
    state_pass_over_exception();
    return found;
}

/* The method that a call of an instance of a class in Python runs: a new reference, or NULL, perhaps with an exception. */
static PyObject *
call_method(PyObject *callable)
{
    PyObject *found = NULL;
    if (PyType_HasFeature(Py_TYPE(callable), Py_TPFLAGS_HEAPTYPE)) {
        PyObject_GetOptionalAttrString((PyObject *)Py_TYPE(callable), "__call__", &found);
        state_pass_over_exception();
        if (found != NULL && !PyFunction_Check(found)) {
            Py_CLEAR(found);
        }
    }
    return found;
}

call_kind
callkind_of(PyObject *callable, PyTypeObject *tag_type)
{
    PyObject *place = Py_NewRef(callable);
    call_kind kind = CALL_VALUE;
    for (int depth = 0; place != NULL && depth < DEEPEST; depth++) {
        if (PyFunction_Check(place)) {
            kind = kind_of_function(place);
            break;
        }
        if (PyCFunction_Check(place) || PyType_Check(place)) {
            break;
        }
        PyObject *next = below(place, tag_type);
        if (next == NULL && !PyErr_Occurred()) {
            kind = kind_of_object(place);
            next = kind == CALL_VALUE ? call_method(place) : NULL;
        }
        Py_SETREF(place, next);
    }
    Py_XDECREF(place);
    return PyErr_Occurred() ? CALL_UNKNOWN : kind;
}
