#include "awaited_data.h"

/* Takes the first one: new references. False: there is none. */
static bool
pop_callback(CallObject *self, PyObject **callback, PyObject **context)
{
    *callback = self->callback;
    *context = self->context;
    self->callback = self->context = NULL;
    if (*callback == NULL) {
        return false;
    }
    if (self->more != NULL && PyList_GET_SIZE(self->more) > 0) {
        PyObject *next = PyList_GET_ITEM(self->more, 0);
        self->callback = Py_NewRef(PyTuple_GET_ITEM(next, 0));
        self->context = Py_NewRef(PyTuple_GET_ITEM(next, 1));
        if (PyList_SetSlice(self->more, 0, 1, NULL) < 0) {
            PyErr_Clear(); /* it shrinks */
        }
    }
    return true;
}

int
awaited_schedule_callbacks(CallObject *self)
{
    PyObject *callback, *context;
    int result = 0;
    while (result == 0 && pop_callback(self, &callback, &context)) {
        result = loops_call_soon(self->awaiter.loop, callback, (PyObject *)self, context);
        Py_DECREF(callback);
        Py_DECREF(context);
    }
    return result;
}

static PyObject *
call_in_context(PyObject *callback, PyObject *context, PyObject *argument)
{
    if (PyContext_Enter(context) < 0) {
        return NULL;
    }
    PyObject *done = PyObject_CallOneArg(callback, argument);
    PyObject *error = PyErr_GetRaisedException();
    if (PyContext_Exit(context) < 0) {
        PyErr_WriteUnraisable(callback);
    }
    PyErr_SetRaisedException(error);
    return done;
}

bool
awaited_ends_programs(void)
{
    return PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) ||
           PyErr_ExceptionMatches(PyExc_SystemExit);
}

int
awaited_call_callbacks(CallObject *self)
{
    PyObject *callback, *context;
    int result = 0;
    while (result == 0 && pop_callback(self, &callback, &context)) {
        PyObject *done = call_in_context(callback, context, (PyObject *)self);
        if (done == NULL && awaited_ends_programs()) {
            result = -1;
        }
        else if (done == NULL) {
            loops_report(self->awaiter.loop, "Exception in a callback of a call", (PyObject *)self);
        }
        Py_XDECREF(done);
        Py_DECREF(callback);
        Py_DECREF(context);
    }
    return result;
}

/* -- from outside -- */

static int
add_callback(CallObject *self, PyObject *callback, PyObject *context)
{
    if (self->progress != PENDING) {
        return loops_call_soon(self->awaiter.loop, callback, (PyObject *)self, context);
    }
    if (self->callback == NULL) {
        self->callback = Py_NewRef(callback);
        self->context = Py_NewRef(context);
        return 0;
    }
    if (self->more == NULL && (self->more = PyList_New(0)) == NULL) {
        return -1;
    }
    PyObject *pair = PyTuple_Pack(2, callback, context);
    int result = pair == NULL ? -1 : PyList_Append(self->more, pair);
    Py_XDECREF(pair);
    return result;
}

PyObject *
awaited_add_done_callback(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *keywords)
{
    Py_ssize_t named = keywords == NULL ? 0 : PyTuple_GET_SIZE(keywords);
    if (nargs != 1 || named > 1 ||
        (named == 1 && !PyUnicode_EqualToUTF8(PyTuple_GET_ITEM(keywords, 0), "context"))) {
        PyErr_SetString(PyExc_TypeError, "add_done_callback(fn, *, context=None)");
        return NULL;
    }
    PyObject *context =
        named == 1 && args[1] != Py_None ? Py_NewRef(args[1]) : PyContext_CopyCurrent();
    if (context != NULL && !PyContext_CheckExact(context)) {
        PyErr_Format(PyExc_TypeError, "context must be a contextvars.Context, not %T", context);
        Py_CLEAR(context);
    }
    int result = context == NULL ? -1 : add_callback((CallObject *)op, args[0], context);
    Py_XDECREF(context);
    return result < 0 ? NULL : Py_NewRef(Py_None);
}

/* Puts back what was taken out. -1 with an exception. */
static int
add_again(CallObject *self, PyObject *pairs)
{
    int result = 0;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(pairs) && result == 0; i++) {
        PyObject *pair = PyList_GET_ITEM(pairs, i);
        result = add_callback(self, PyTuple_GET_ITEM(pair, 0), PyTuple_GET_ITEM(pair, 1));
    }
    return result;
}

PyObject *
awaited_remove_done_callback(PyObject *op, PyObject *callback)
{
    CallObject *self = (CallObject *)op;
    PyObject *kept = PyList_New(0), *error = NULL, *found, *context;
    Py_ssize_t removed = 0;
    while (kept != NULL && pop_callback(self, &found, &context)) {
        int same = error == NULL ? PyObject_RichCompareBool(found, callback, Py_EQ) : 0;
        if (same < 0) {
            error = PyErr_GetRaisedException(); /* the others stay, as this one does */
        }
        PyObject *pair = same > 0 ? NULL : PyTuple_Pack(2, found, context);
        removed += same > 0;
        if (same <= 0 && (pair == NULL || PyList_Append(kept, pair) < 0)) {
            Py_CLEAR(kept);
        }
        Py_XDECREF(pair);
        Py_DECREF(found);
        Py_DECREF(context);
    }
    if (kept != NULL && add_again(self, kept) == 0 && error != NULL) {
        PyErr_SetRaisedException(Py_NewRef(error));
    }
    Py_XDECREF(kept);
    Py_XDECREF(error);
    return PyErr_Occurred() ? NULL : PyLong_FromSsize_t(removed);
}
