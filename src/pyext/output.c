#include "output.h"

/* The attribute `write` of a stream; its self is (module, the stream's own write, which stream). */
static PyObject *
noticed_write(PyObject *self, PyObject *text)
{
    struct state *state = state_of_module(PyTuple_GET_ITEM(self, 0));
    state->wrote[PyLong_AsLong(PyTuple_GET_ITEM(self, 2)) != 0] = true;
    return PyObject_CallOneArg(PyTuple_GET_ITEM(self, 1), text);
}

static PyMethodDef write_def = {"write", noticed_write, METH_O,
                                PyDoc_STR("write(text, /)\n--\n\nAs io.TextIOWrapper.write().")};

/* Lines are written as they end, and that something was written is noticed: by an attribute of the
 * stream, which stands in front of the method. -1 with an exception. */
static int
prepare(struct state *state, PyObject *stream, int which)
{
    PyObject *reconfigure = PyObject_GetAttrString(stream, "reconfigure");
    PyObject *none = reconfigure == NULL ? NULL : PyTuple_New(0);
    /* Unbuffered (python -u), a line and its end would be written one by one. */
    PyObject *kwargs = none == NULL ? NULL
                                    : Py_BuildValue("{s:O,s:O}", "line_buffering", Py_True,
                                                    "write_through", Py_False);
    PyObject *done = kwargs == NULL ? NULL : PyObject_Call(reconfigure, none, kwargs);
    PyObject *write = done == NULL ? NULL : PyObject_GetAttrString(stream, "write");
    PyObject *self = write == NULL ? NULL : Py_BuildValue("(OOi)", state->module, write, which);
    PyObject *noticed = self == NULL ? NULL : PyCFunction_New(&write_def, self);
    int result = noticed == NULL ? -1 : PyObject_SetAttrString(stream, "write", noticed);
    Py_XDECREF(reconfigure);
    Py_XDECREF(none);
    Py_XDECREF(kwargs);
    Py_XDECREF(done);
    Py_XDECREF(write);
    Py_XDECREF(self);
    Py_XDECREF(noticed);
    return result;
}

void
output_install(struct state *state)
{
    static const char *const names[] = {"stdout", "stderr"};
    for (int i = 0; i < 2; i++) {
        PyObject *stream = PySys_GetObject(names[i]); /* borrowed */
        if (stream != NULL && stream != Py_None && prepare(state, stream, i) == 0) {
            state->outputs[i] = Py_NewRef(stream);
        }
        PyErr_Clear();
    }
}

void
output_flush(struct state *state)
{
    for (int i = 0; i < 2; i++) {
        if (state->wrote[i]) {
            state->wrote[i] = false;
            PyObject *done = PyObject_CallMethod(state->outputs[i], "flush", NULL);
            Py_XDECREF(done);
            PyErr_Clear(); /* closed, or nobody reads: the task has been told, if it cares */
        }
    }
}
