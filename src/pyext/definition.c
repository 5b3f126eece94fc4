#include "definition.h"

#include "broadcast.h"
#include "home.h"
#include "transport.h"

#include <string.h>

typedef struct {
    PyObject_HEAD
    struct func *func;      /* owned */
    PyObject *subject;      /* weak reference to the callable */
    PyObject *dependencies; /* by value: what aiointerpreters._byvalue.dump() gave; by name: one for
                               the module's spec, or NULL */
    PyObject *missing;      /* by value: stands for an unbound name in `dependencies` */
    unsigned imports;       /* by name: home_imports() when the dependency was looked at last */
} DefinitionObject;

/* The key in a function's __dict__; a copied __dict__ (functools.wraps) brings along a definition of
 * another subject, which is seen and replaced. */
static const char DICT_KEY[] = "__aiointerpreters_definition__";

/* The table of what is no function is a cache: emptied when it has grown to this. */
enum { TABLE_LIMIT = 256 };

static int
definition_traverse(PyObject *op, visitproc visit, void *arg)
{
    DefinitionObject *self = (DefinitionObject *)op;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->subject);
    Py_VISIT(self->dependencies);
    Py_VISIT(self->missing);
    return 0;
}

static int
definition_clear(PyObject *op)
{
    DefinitionObject *self = (DefinitionObject *)op;
    Py_CLEAR(self->subject);
    Py_CLEAR(self->dependencies);
    Py_CLEAR(self->missing);
    return 0;
}

static void
definition_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    COMPAT_DEALLOC_BEGIN(op, definition_dealloc)
    definition_clear(op);
    if (((DefinitionObject *)op)->func != NULL) {
        func_disown(((DefinitionObject *)op)->func);
    }
    type->tp_free(op);
    Py_DECREF(type);
    COMPAT_DEALLOC_END
}

/* Whoever pickles or copies a function's __dict__ gets None in this place. */
static PyObject *
definition_reduce(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(ignored))
{
    return Py_BuildValue("O()", Py_TYPE(Py_None));
}

static PyMethodDef definition_methods[] = {
    {"__reduce__", definition_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot definition_slots[] = {
    {Py_tp_doc, "How a callable reaches other interpreters (private)."},
    {Py_tp_traverse, definition_traverse},
    {Py_tp_clear, definition_clear},
    {Py_tp_dealloc, definition_dealloc},
    {Py_tp_methods, definition_methods},
    {0, NULL},
};

static PyType_Spec definition_spec = {
    .name = "aiointerpreters._core.Definition",
    .basicsize = sizeof(DefinitionObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = definition_slots,
};

int
definition_register_types(struct state *state)
{
    state->definition_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(state->module, &definition_spec, NULL);
    state->definitions = PyDict_New();
    return state->definition_type == NULL || state->definitions == NULL ? -1 : 0;
}

struct func *
definition_func(PyObject *definition)
{
    return ((DefinitionObject *)definition)->func;
}

/* -- still valid? -- */

static bool
is_about(PyObject *definition, PyObject *callable)
{
    PyObject *subject = NULL;
    if (PyWeakref_GetRef(((DefinitionObject *)definition)->subject, &subject) < 0) {
        PyErr_Clear();
    }
    Py_XDECREF(subject);
    return subject == callable;
}

/* What is bound now where a dependency says; NULL when nothing is. A new reference. */
static PyObject *
bound_now(PyObject *dependency)
{
    PyObject *container = PyTuple_GET_ITEM(dependency, 1);
    PyObject *key = PyTuple_GET_ITEM(dependency, 2);
    PyObject *value = NULL;
    switch (PyLong_AsLong(PyTuple_GET_ITEM(dependency, 0))) {
    case 0: /* a name of a namespace */
        if (PyDict_GetItemRef(container, key, &value) < 0) {
            PyErr_Clear();
        }
        return value;
    case 1: /* a cell of a closure */
        return PyCell_Get(container);
    case 3: /* how many entries a dictionary has; small numbers are one object each */
        value = PyLong_FromSsize_t(PyDict_Size(container));
        if (value == NULL) {
            PyErr_Clear();
        }
        return value;
    default: /* an attribute of a function */
        if (PyObject_GetOptionalAttr(container, key, &value) < 0) {
            PyErr_Clear();
        }
        return value;
    }
}

static bool
is_up_to_date(DefinitionObject *self)
{
    bool by_name = !self->func->by_value;
    if (self->dependencies == NULL || (by_name && self->imports == home_imports())) {
        return true;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(self->dependencies); i++) {
        PyObject *dependency = PyTuple_GET_ITEM(self->dependencies, i);
        PyObject *then = PyTuple_GET_ITEM(dependency, 3);
        PyObject *now = bound_now(dependency);
        bool same = now == NULL ? then == self->missing : now == then;
        Py_XDECREF(now);
        if (!same) {
            return false;
        }
    }
    self->imports = home_imports();
    return true;
}

static bool
is_valid(struct state *state, PyObject *definition, PyObject *callable)
{
    return definition != NULL && Py_IS_TYPE(definition, state->definition_type) &&
           is_about(definition, callable) && is_up_to_date((DefinitionObject *)definition);
}

/* -- making one -- */

/* Takes `func` over. */
static DefinitionObject *
definition_new(struct state *state, struct func *func, PyObject *callable)
{
    if (func == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    DefinitionObject *self =
        (DefinitionObject *)state->definition_type->tp_alloc(state->definition_type, 0);
    if (self == NULL) {
        func_disown(func);
        return NULL;
    }
    self->func = func;
    self->imports = home_imports();
    self->subject = PyWeakref_NewRef(callable, NULL);
    if (self->subject == NULL) {
        Py_CLEAR(self);
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_Clear(); /* knows no weak references (a method descriptor): it goes as a value */
        }
    }
    return self;
}

/* What goes by value when it has no importable name, and can keep its own definition: a function, or
 * what functools.lru_cache() makes of one. */
static bool
is_function(struct state *state, PyObject *callable)
{
    return PyFunction_Check(callable) || Py_IS_TYPE(callable, (PyTypeObject *)state->cache_type);
}

/* What the name stands for has to be found again once the module was reloaded, which gives it a new spec.
 * -1 with an exception. */
static int
depend_on_spec(DefinitionObject *self, const char *module_name)
{
    PyObject *name = PyUnicode_FromString(module_name);
    PyObject *module = name == NULL ? NULL : PyImport_GetModule(name);
    PyObject *spec = NULL;
    if (module != NULL && PyModule_Check(module) &&
        PyDict_GetItemStringRef(PyModule_GetDict(module), "__spec__", &spec) > 0) {
        self->dependencies =
            Py_BuildValue("((iOsO))", 0, PyModule_GetDict(module), "__spec__", spec);
    }
    Py_XDECREF(spec);
    Py_XDECREF(module);
    Py_XDECREF(name);
    return PyErr_Occurred() ? -1 : 0;
}

static PyObject *
define_by_name(struct state *state, PyObject *callable, PyObject *found)
{
    const char *module, *qualname;
    if (!PyArg_ParseTuple(found, "ss", &module, &qualname)) {
        return NULL;
    }
    DefinitionObject *self = definition_new(state, func_by_name(module, qualname), callable);
    if (self != NULL && depend_on_spec(self, module) < 0) {
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

PyObject *
definition_name(PyObject *callable, const char **name)
{
    PyObject *module = NULL, *qualname = NULL, *whole = NULL;
    if (PyObject_GetOptionalAttrString(callable, "__module__", &module) >= 0 &&
        PyObject_GetOptionalAttrString(callable, "__qualname__", &qualname) >= 0) {
        whole = module != NULL && qualname != NULL && PyUnicode_Check(module)
                    ? PyUnicode_FromFormat("%U.%S", module, qualname)
                    : PyObject_Repr(callable);
    }
    Py_XDECREF(module);
    Py_XDECREF(qualname);
    *name = whole != NULL ? PyUnicode_AsUTF8(whole) : NULL;
    if (*name == NULL) {
        PyErr_Clear();
        *name = "a function";
    }
    return whole;
}

static PyObject *
missing_mark(void)
{
    PyObject *module = PyImport_ImportModule("aiointerpreters._byvalue");
    PyObject *mark = module == NULL ? NULL : PyObject_GetAttrString(module, "MISSING");
    Py_XDECREF(module);
    return mark;
}

/* Has `func`, which may be NULL, own what the handles stand for. Takes it over: NULL: out of memory. */
static struct func *
with_handles(struct state *state, struct func *func, PyObject *handles)
{
    size_t count = (size_t)PyList_GET_SIZE(handles);
    if (func == NULL || count == 0) {
        return func;
    }
    struct parcel **parcels = PyMem_Calloc(count, sizeof(*parcels));
    bool taken = parcels != NULL;
    for (size_t i = 0; taken && i < count; i++) {
        PyObject *handle = PyList_GET_ITEM(handles, (Py_ssize_t)i);
        parcels[i] = broadcast_check(state, handle) ? broadcast_parcel(handle) : NULL;
        taken = parcels[i] != NULL;
    }
    taken = taken && func_take_parcels(func, parcels, count);
    PyMem_Free(parcels);
    if (!taken) {
        func_disown(func);
        return NULL;
    }
    return func;
}

static PyObject *
define_by_value(struct state *state, PyObject *function)
{
    const char *name;
    PyObject *name_holder = definition_name(function, &name);
    PyObject *handles = PyList_New(0);
    PyObject *args[] = {function, handles};
    PyObject *dumped = handles == NULL ? NULL : state_call("_byvalue", "dump", args, 2);
    DefinitionObject *self = NULL;
    PyObject *payload, *dependencies;
    if (dumped == NULL) {
        transport_raise_send_error("function", name, Py_None, function);
    }
    else if (PyArg_ParseTuple(dumped, "SO!", &payload, &PyTuple_Type, &dependencies)) {
        struct func *func =
            func_by_value(name, PyBytes_AS_STRING(payload), (size_t)PyBytes_GET_SIZE(payload));
        self = definition_new(state, with_handles(state, func, handles), function);
    }
    if (self != NULL) {
        self->dependencies = Py_NewRef(dependencies);
        self->missing = missing_mark();
        if (self->missing == NULL) {
            Py_CLEAR(self);
        }
    }
    Py_XDECREF(dumped);
    Py_XDECREF(handles);
    Py_XDECREF(name_holder);
    return (PyObject *)self;
}

/* A new definition, or NULL; with no exception set when the callable has to go as a value. */
static PyObject *
define(struct state *state, PyObject *callable)
{
    PyObject *found = state_call("_byvalue", "importable", &callable, 1);
    PyObject *definition = NULL;
    if (found == NULL) {
        return NULL;
    }
    if (found != Py_None) {
        definition = define_by_name(state, callable, found);
    }
    else if (is_function(state, callable)) {
        definition = define_by_value(state, callable);
    }
    Py_DECREF(found);
    return definition;
}

/* -- keeping it -- */

static PyObject *
keeper_and_key(struct state *state, PyObject *callable, PyObject **key)
{
    if (is_function(state, callable)) {
        *key = PyUnicode_InternFromString(DICT_KEY);
        return PyObject_GetAttrString(callable, "__dict__");
    }
    if (PyDict_GET_SIZE(state->definitions) >= TABLE_LIMIT) {
        PyDict_Clear(state->definitions);
    }
    *key = PyLong_FromVoidPtr(callable);
    return Py_NewRef(state->definitions);
}

/* Classes, builtins and what functools makes of a function; not bound methods, whose name is that of
 * their function. -1 with an exception. */
static int
may_have_name(PyObject *callable)
{
    PyObject *qualname = NULL;
    if (!PyMethod_Check(callable) &&
        PyObject_GetOptionalAttrString(callable, "__qualname__", &qualname) < 0) {
        return state_pass_over_exception();
    }
    Py_XDECREF(qualname);
    return qualname != NULL;
}

PyObject *
definition_recall(struct state *state, PyObject *known, PyObject *callable)
{
    return is_valid(state, known, callable) ? Py_NewRef(known) : NULL;
}

int
definition_find(struct state *state, PyObject *callable, PyObject **definition)
{
    *definition = NULL;
    int named = is_function(state, callable) ? 1 : may_have_name(callable);
    if (named <= 0) {
        return named;
    }
    PyObject *key;
    PyObject *keeper = keeper_and_key(state, callable, &key);
    PyObject *kept = NULL;
    int result = -1;
    if (keeper == NULL || key == NULL || PyDict_GetItemRef(keeper, key, &kept) < 0) {
        goto done;
    }
    if (!is_valid(state, kept, callable)) {
        Py_XSETREF(kept, define(state, callable));
        if (kept == NULL ? PyErr_Occurred() != NULL : PyDict_SetItem(keeper, key, kept) < 0) {
            goto done;
        }
    }
    *definition = Py_XNewRef(kept);
    result = 0;
done:
    Py_XDECREF(keeper);
    Py_XDECREF(key);
    Py_XDECREF(kept);
    return result;
}
