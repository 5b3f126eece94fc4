#include "tag.h"

#include <stddef.h>
#include <string.h>

static PyObject *
tag_call(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *keywords)
{
    return PyObject_Vectorcall(((TagObject *)self)->marked, args, nargsf, keywords);
}

/* Steals `marked`. */
static PyObject *
tag_of(PyTypeObject *type, PyObject *marked)
{
    TagObject *self = (TagObject *)type->tp_alloc(type, 0);
    if (self == NULL) {
        Py_DECREF(marked);
        return NULL;
    }
    self->vectorcall = tag_call;
    self->marked = marked;
    return (PyObject *)self;
}

static bool
can_be_marked(PyObject *object)
{
    return PyCallable_Check(object) || Py_IS_TYPE(object, &PyClassMethod_Type);
}

static PyObject *
tag_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"fn", NULL};
    PyObject *marked;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:interpreter", names, &marked)) {
        return NULL;
    }
    if (Py_IS_TYPE(marked, type)) {
        return Py_NewRef(marked);
    }
    if (!can_be_marked(marked)) {
        return PyErr_Format(PyExc_TypeError,
                            "interpreter() marks a callable to run in an interpreter; got %R of "
                            "type %T (to run code, wrap it in a function)",
                            marked, marked);
    }
    return tag_of(type, Py_NewRef(marked));
}

static int
tag_traverse(PyObject *op, visitproc visit, void *arg)
{
    TagObject *self = (TagObject *)op;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->marked);
    Py_VISIT(self->definition);
    return PyObject_VisitManagedDict(op, visit, arg);
}

static int
tag_clear(PyObject *op)
{
    TagObject *self = (TagObject *)op;
    Py_CLEAR(self->marked);
    Py_CLEAR(self->definition);
    PyObject_ClearManagedDict(op);
    return 0;
}

static void
tag_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    PyObject_ClearWeakRefs(op);
    tag_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

/* Binding a marked function gives a marked method. */
static PyObject *
tag_descr_get(PyObject *op, PyObject *instance, PyObject *owner)
{
    PyObject *marked = ((TagObject *)op)->marked;
    descrgetfunc get = Py_TYPE(marked)->tp_descr_get;
    if (get == NULL) {
        return Py_NewRef(op);
    }
    PyObject *bound = get(marked, instance, owner);
    if (bound == NULL || bound == marked) {
        Py_XDECREF(bound);
        return bound == NULL ? NULL : Py_NewRef(op);
    }
    return tag_of(Py_TYPE(op), bound);
}

/* What a class would answer for its instances, but the marked callable should. */
static bool
is_about_the_marked(PyObject *name)
{
    static const char *const names[] = {"__module__", "__doc__"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (PyUnicode_EqualToUTF8(name, names[i])) {
            return true;
        }
    }
    return false;
}

static PyObject *
tag_getattro(PyObject *op, PyObject *name)
{
    PyObject *marked = ((TagObject *)op)->marked;
    if (is_about_the_marked(name)) {
        return PyObject_GetAttr(marked, name);
    }
    PyObject *value = PyObject_GenericGetAttr(op, name);
    if (value != NULL || !PyErr_ExceptionMatches(PyExc_AttributeError)) {
        return value;
    }
    PyErr_Clear();
    return PyObject_GetAttr(marked, name);
}

static PyObject *
tag_repr(PyObject *op)
{
    return PyUnicode_FromFormat("interpreter(%R)", ((TagObject *)op)->marked);
}

static PyObject *
tag_richcompare(PyObject *op, PyObject *other, int operation)
{
    if (!Py_IS_TYPE(other, Py_TYPE(op)) || (operation != Py_EQ && operation != Py_NE)) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    return PyObject_RichCompare(((TagObject *)op)->marked, ((TagObject *)other)->marked, operation);
}

static Py_hash_t
tag_hash(PyObject *op)
{
    return PyObject_Hash(((TagObject *)op)->marked);
}

/* What `module.qualname` of the marked callable is bound to, or NULL without an exception. */
static PyObject *
found_by_name(PyObject *marked, PyObject **qualname)
{
    PyObject *module_name = PyObject_GetAttrString(marked, "__module__");
    *qualname = PyObject_GetAttrString(marked, "__qualname__");
    PyObject *place = NULL;
    if (module_name != NULL && *qualname != NULL && PyUnicode_Check(module_name) &&
        !PyUnicode_EqualToUTF8(module_name, "__main__")) {
        place = PyImport_GetModule(module_name);
    }
    PyObject *dot = PyUnicode_FromString(".");
    PyObject *steps = place != NULL && dot != NULL ? PyUnicode_Split(*qualname, dot, -1) : NULL;
    for (Py_ssize_t i = 0; place != NULL && steps != NULL && i < PyList_GET_SIZE(steps); i++) {
        Py_SETREF(place, PyObject_GetAttr(place, PyList_GET_ITEM(steps, i)));
    }
    Py_XDECREF(module_name);
    Py_XDECREF(dot);
    Py_XDECREF(steps);
    PyErr_Clear();
    return place;
}

static PyObject *
tag_reduce(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    PyObject *marked = ((TagObject *)op)->marked;
    PyObject *qualname;
    PyObject *found = found_by_name(marked, &qualname);
    bool by_name = found == op;
    Py_XDECREF(found);
    if (by_name) {
        return qualname; /* the name stands for the tag itself */
    }
    Py_XDECREF(qualname);
    return Py_BuildValue("O(O)", Py_TYPE(op), marked);
}

static PyObject *
tag_get_marked(PyObject *op, void *Py_UNUSED(closure))
{
    return Py_NewRef(((TagObject *)op)->marked);
}

static PyMethodDef tag_methods[] = {
    {"__reduce__", tag_reduce, METH_NOARGS, NULL},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef tag_getset[] = {
    {"fn", tag_get_marked, NULL, "The callable that is marked.", NULL},
    {"__wrapped__", tag_get_marked, NULL, "The callable that is marked.", NULL},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef tag_members[] = {
    {"__vectorcalloffset__", Py_T_PYSSIZET, offsetof(TagObject, vectorcall), Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(
    tag_doc,
    "interpreter(fn, /)\n"
    "--\n"
    "\n"
    "Mark a callable to run in an isolated interpreter of an InterpreterThreadPoolExecutor.\n"
    "\n"
    "Submitted to the executor, a marked callable runs in a worker's own interpreter (PEP 684), "
    "in\n"
    "parallel with everything else. Called directly, it is an ordinary call in the calling thread. "
    "Works\n"
    "as a decorator on functions, methods and static methods.\n"
    "\n"
    "Args:\n"
    "    fn: The callable. What other interpreters can import goes by name; functions that they "
    "cannot\n"
    "        (of `__main__`, lambdas, closures) go by value, as a copy with the globals they read, "
    "which\n"
    "        is taken anew when one of those is bound to something else; any other callable is "
    "pickled\n"
    "        with each call.\n"
    "\n"
    "Raises:\n"
    "    TypeError: fn cannot be called.");

static PyType_Slot tag_slots[] = {
    {Py_tp_doc, (void *)tag_doc},
    {Py_tp_new, tag_new},
    {Py_tp_traverse, tag_traverse},
    {Py_tp_clear, tag_clear},
    {Py_tp_dealloc, tag_dealloc},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_descr_get, tag_descr_get},
    {Py_tp_getattro, tag_getattro},
    {Py_tp_repr, tag_repr},
    {Py_tp_richcompare, tag_richcompare},
    {Py_tp_hash, tag_hash},
    {Py_tp_methods, tag_methods},
    {Py_tp_getset, tag_getset},
    {Py_tp_members, tag_members},
    {0, NULL},
};

static PyType_Spec tag_spec = {
    .name = "aiointerpreters._core.interpreter",
    .basicsize = sizeof(TagObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
             Py_TPFLAGS_MANAGED_DICT | Py_TPFLAGS_MANAGED_WEAKREF | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = tag_slots,
};

int
tag_register_types(struct state *state)
{
    state->tag_type = (PyTypeObject *)PyType_FromModuleAndSpec(state->module, &tag_spec, NULL);
    return state->tag_type == NULL
               ? -1
               : PyModule_AddObjectRef(state->module, "interpreter", (PyObject *)state->tag_type);
}

/* -- asyncio.to_thread -- */

static bool
is_context_run(PyObject *callable)
{
    return PyCFunction_CheckExact(callable) && PyCFunction_GET_SELF(callable) != NULL &&
           PyContext_CheckExact(PyCFunction_GET_SELF(callable)) &&
           strcmp(((PyCFunctionObject *)callable)->m_ml->ml_name, "run") == 0;
}

TagObject *
tag_in_context_run(struct state *state, PyObject *callable)
{
    if (!Py_IS_TYPE(callable, (PyTypeObject *)state->partial_type)) {
        return NULL;
    }
    TagObject *tag = NULL;
    PyObject *function = PyObject_GetAttrString(callable, "func");
    PyObject *args = PyObject_GetAttrString(callable, "args");
    if (function != NULL && args != NULL && is_context_run(function) && PyTuple_Check(args) &&
        PyTuple_GET_SIZE(args) > 0 && tag_check(state, PyTuple_GET_ITEM(args, 0))) {
        tag = (TagObject *)PyTuple_GET_ITEM(args, 0); /* held by the partial */
    }
    PyErr_Clear();
    Py_XDECREF(function);
    Py_XDECREF(args);
    return tag;
}
