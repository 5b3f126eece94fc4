#include "input.h"

static PyObject *
refuse(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(keywords))
{
    PyObject *io = PyImport_ImportModule("_io");
    PyObject *error = io == NULL ? NULL : PyObject_GetAttrString(io, "UnsupportedOperation");
    if (error != NULL) {
        PyErr_SetString(error,
                        "a tagged task cannot read sys.stdin, whose lines are the caller's: read "
                        "them there and pass them as arguments, or submit the function untagged");
    }
    Py_XDECREF(io);
    Py_XDECREF(error);
    return NULL;
}

static PyObject *
refuse_next(PyObject *self)
{
    return refuse(self, NULL, NULL);
}

static PyObject *
answer_false(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(ignored))
{
    Py_RETURN_FALSE;
}

static PyObject *
do_nothing(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(ignored))
{
    Py_RETURN_NONE;
}

static PyObject *
get_buffer(PyObject *self, void *Py_UNUSED(ignored))
{
    return Py_NewRef(self);
}

static PyObject *
get_text(PyObject *Py_UNUSED(self), void *text)
{
    return PyUnicode_FromString(text);
}

static PyObject *
get_closed(PyObject *Py_UNUSED(self), void *Py_UNUSED(ignored))
{
    Py_RETURN_FALSE;
}

/* Its class holds the module. */
static int
traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    return 0;
}

#define REFUSES(name) {name, _PyCFunction_CAST(refuse), METH_VARARGS | METH_KEYWORDS, NULL}

static PyMethodDef methods[] = {
    REFUSES("read"),
    REFUSES("read1"),
    REFUSES("readinto"),
    REFUSES("readline"),
    REFUSES("readlines"),
    REFUSES("detach"),
    REFUSES("fileno"), /* which input() asks for, and goes on without */
    {"readable", answer_false, METH_NOARGS, NULL},
    {"writable", answer_false, METH_NOARGS, NULL},
    {"seekable", answer_false, METH_NOARGS, NULL},
    {"isatty", answer_false, METH_NOARGS, NULL},
    {"flush", do_nothing, METH_NOARGS, NULL},
    {"close", do_nothing, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef attributes[] = {
    {"buffer", get_buffer, NULL, NULL, NULL},   {"raw", get_buffer, NULL, NULL, NULL},
    {"closed", get_closed, NULL, NULL, NULL},   {"name", get_text, NULL, NULL, "<stdin>"},
    {"mode", get_text, NULL, NULL, "r"},        {"encoding", get_text, NULL, NULL, "utf-8"},
    {"errors", get_text, NULL, NULL, "strict"}, {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "sys.stdin of a worker, which refuses to read (private)."},
    {Py_tp_traverse, traverse},
    {Py_tp_methods, methods},
    {Py_tp_getset, attributes},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, refuse_next},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "aiointerpreters._core.NoInput",
    .basicsize = sizeof(PyObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};

int
input_install(struct state *state)
{
    PyObject *type = PyType_FromModuleAndSpec(state->module, &spec, NULL);
    PyObject *refusing =
        type == NULL ? NULL : ((PyTypeObject *)type)->tp_alloc((PyTypeObject *)type, 0);
    int result = refusing == NULL || PySys_SetObject("stdin", refusing) < 0 ||
                         PySys_SetObject("__stdin__", refusing) < 0
                     ? -1
                     : 0;
    Py_XDECREF(type);
    Py_XDECREF(refusing);
    return result;
}
