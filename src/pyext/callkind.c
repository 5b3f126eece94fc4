#include "callkind.h"

#include "tag.h"

#include <string.h>

/* Partials and methods in one another; one more is taken for what gives a value. */
enum { DEEPEST = 16 };

static bool
is_marked(PyObject *object)
{
    PyObject *mark = NULL;
    PyObject_GetOptionalAttrString(object, "_is_coroutine_marker", &mark);
    PyErr_Clear();
    Py_XDECREF(mark);
    return mark != NULL;
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
    return has_attributes && is_marked(function) ? CALL_COROUTINE : CALL_VALUE;
}

/* What is called in the place of `callable`: a new reference, or NULL. */
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
    else if (PyType_HasFeature(Py_TYPE(callable), Py_TPFLAGS_HEAPTYPE) && !PyType_Check(callable) &&
             !is_marked(callable)) {
        PyObject_GetOptionalAttrString((PyObject *)Py_TYPE(callable), "__call__", &found);
        if (found != NULL && !PyFunction_Check(found)) {
            Py_CLEAR(found);
        }
    }
    PyErr_Clear();
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
        if (PyCFunction_Check(place)) {
            break;
        }
        PyObject *next = below(place, tag_type);
        if (next == NULL && PyType_HasFeature(Py_TYPE(place), Py_TPFLAGS_HEAPTYPE) &&
            !PyType_Check(place) && is_marked(place)) {
            kind = CALL_COROUTINE;
        }
        Py_SETREF(place, next);
    }
    Py_XDECREF(place);
    return kind;
}
