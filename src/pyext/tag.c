#include "tag.h"

#include "leased.h"

#include <stddef.h>
#include <string.h>

static PyObject *
tag_call(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *keywords)
{
    return PyObject_Vectorcall(((TagObject *)self)->marked, args, nargsf, keywords);
}

/* The same of a tag that is to be leased an interpreter wherever it is called. */
static PyObject *
tag_call_everywhere(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *keywords)
{
    struct state *state = state_of_type(Py_TYPE(self));
    if (state == NULL) {
        return NULL;
    }
    return state->is_main ? leased_call(state, (TagObject *)self, args, nargsf, keywords)
                          : tag_call(self, args, nargsf, keywords);
}

/* Steals `marked`, and what `options` holds. */
static PyObject *
tag_of(PyTypeObject *type, PyObject *marked, call_kind kind, struct tag_options *options)
{
    TagObject *self = (TagObject *)type->tp_alloc(type, 0);
    if (self == NULL) {
        Py_DECREF(marked);
        tag_options_clear(options);
        return NULL;
    }
    self->marked = marked;
    self->kind = kind;
    self->vectorcall =
        options->everywhere && self->kind == CALL_VALUE ? tag_call_everywhere : tag_call;
    self->options = *options;
    return (PyObject *)self;
}

static bool
can_be_marked(PyObject *object)
{
    return PyCallable_Check(object) || Py_IS_TYPE(object, &PyClassMethod_Type);
}

/* -- making one -- */

/* A tag may lie below so many partials, methods and decorators. */
enum { DEEPEST = 32 };

static bool
is_partial(struct state *state, PyObject *callable)
{
    if (state->partial_type != NULL) {
        return (PyObject *)Py_TYPE(callable) == state->partial_type;
    }
    PyObject *name = PyUnicode_FromString("functools");
    PyObject *functools = name == NULL ? NULL : PyImport_GetModule(name);
    PyObject *partial = NULL;
    if (functools != NULL) { /* else nobody has made a partial */
        PyObject_GetOptionalAttrString(functools, "partial", &partial);
    }
    bool is_one = (PyObject *)Py_TYPE(callable) == partial;
    Py_XDECREF(name);
    Py_XDECREF(functools);
    Py_XDECREF(partial);
    return is_one;
}

/* What `callable` calls, where a tag may lie below it: the function of a partial or a method, or what a
 * decorator has kept as the `__wrapped__` of its function. NULL, also with an exception, when it is nothing
 * of the kind. */
static PyObject *
callable_below(struct state *state, PyObject *callable)
{
    PyObject *below = NULL;
    if (PyFunction_Check(callable)) {
        PyObject *attributes = ((PyFunctionObject *)callable)->func_dict;
        if (attributes != NULL) { /* rare: the common case pays for a look at one pointer */
            Py_INCREF(
                attributes); /* a key in it may be anything, and replace it as it is compared */
            PyDict_GetItemRef(attributes, state->attribute_names[NAME_WRAPPED], &below);
            Py_DECREF(attributes);
        }
        return below;
    }
    if (PyCFunction_Check(callable)) {
        return NULL;
    }
    if (PyMethod_Check(callable)) {
        return Py_NewRef(PyMethod_GET_FUNCTION(callable));
    }
    if (Py_IS_TYPE(callable, &PyClassMethod_Type) || Py_IS_TYPE(callable, &PyStaticMethod_Type)) {
        PyObject_GetOptionalAttrString(callable, "__func__", &below);
    }
    else if (is_partial(state, callable)) {
        PyObject_GetOptionalAttr(callable, state->attribute_names[NAME_FUNC], &below);
    }
    return below;
}

/* The tag that `callable` is, or has below it: a new reference; NULL: there is none, or with an exception. *decorated:
 * a function lies around it. */
static TagObject *
tag_below(struct state *state, PyObject *callable, bool *decorated)
{
    PyObject *place = Py_NewRef(callable);
    *decorated = false;
    for (int depth = 0; place != NULL && !tag_check(state, place); depth++) {
        *decorated = *decorated || PyFunction_Check(place);
        Py_SETREF(place, depth < DEEPEST ? callable_below(state, place) : NULL);
    }
    if (place == NULL) {
        state_pass_over_exception();
    }
    return (TagObject *)place;
}

/* A plain function around a tag passes on what the tag gives. */
static bool
passes_on(call_kind kind, call_kind below)
{
    return kind == below || kind == CALL_VALUE;
}

TagObject *
tag_governing(struct state *state, PyObject *callable)
{
    bool decorated;
    TagObject *tag = tag_below(state, callable, &decorated);
    /* Partials and methods give what is below them. */
    if (tag != NULL && decorated && !passes_on(callkind_of(callable, state->tag_type), tag->kind)) {
        Py_CLEAR(tag);
    }
    return tag;
}

PyObject *
tag_find(struct state *state, PyObject *callable)
{
    TagObject *below = tag_governing(state, callable);
    if (below == NULL || (PyObject *)below == callable) {
        return (PyObject *)below;
    }
    struct tag_options options;
    tag_options_copy(&options, &below->options);
    PyObject *found = tag_of(state->tag_type, Py_NewRef(callable), below->kind, &options);
    Py_DECREF(below);
    return found;
}

static int
refuse_generator(PyObject *marked)
{
    PyErr_Format(PyExc_TypeError,
                 "interpreter() got %R, a generator function, whose generator could not leave the "
                 "interpreter: make it an asynchronous generator function (`async def`) and "
                 "iterate over executor.run(...), or have it return a list",
                 marked);
    return -1;
}

/* interpreter(marked, **keywords). Tagging again adds to what the tag below says. */
static PyObject *
mark(PyTypeObject *type, PyObject *marked, PyObject *keywords)
{
    bool is_tag = Py_IS_TYPE(marked, type);
    if (!is_tag && !can_be_marked(marked)) {
        return PyErr_Format(PyExc_TypeError,
                            "interpreter() marks a callable to run in an interpreter; got %R of "
                            "type %T (to run code, wrap it in a function)",
                            marked, marked);
    }
    if (is_tag && keywords == NULL) {
        return Py_NewRef(marked);
    }
    struct state *state = state_of_type(type);
    call_kind kind = callkind_of(marked, type);
    if (state == NULL || kind == CALL_UNKNOWN ||
        (kind == CALL_ITERATOR && refuse_generator(marked) < 0)) {
        return NULL;
    }
    bool decorated;
    TagObject *below = tag_below(state, marked, &decorated);
    if (below == NULL && PyErr_Occurred()) {
        return NULL;
    }
    struct tag_options options;
    PyObject *tag = NULL;
    if (tag_options_make(&options, state, below == NULL ? NULL : &below->options, keywords) == 0) {
        tag = tag_of(type, Py_NewRef(is_tag ? below->marked : marked), kind, &options);
    }
    Py_XDECREF(below);
    return tag;
}

/* What `interpreter(**keywords)` gives: takes the callable. `self`: the type and the keywords. */
static PyObject *
decorate(PyObject *self, PyObject *marked)
{
    return mark((PyTypeObject *)PyTuple_GET_ITEM(self, 0), marked, PyTuple_GET_ITEM(self, 1));
}

static PyMethodDef decorate_def = {
    "interpreter", decorate, METH_O,
    PyDoc_STR("Marks a callable to run in an interpreter, with the options given before.")};

/* A decorator; options that are wrong are so at once. */
static PyObject *
decorator_of(PyTypeObject *type, PyObject *keywords)
{
    struct state *state = state_of_type(type);
    struct tag_options options;
    if (state == NULL || tag_options_make(&options, state, NULL, keywords) < 0) {
        return NULL;
    }
    tag_options_clear(&options);
    PyObject *self = Py_BuildValue("(OO)", type, keywords);
    PyObject *decorator = self == NULL ? NULL : PyCFunction_New(&decorate_def, self);
    Py_XDECREF(self);
    return decorator;
}

/* The callable may be given by name, too, as `fn`. */
static PyObject *
tag_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *marked = PyTuple_GET_SIZE(args) > 0 ? Py_NewRef(PyTuple_GET_ITEM(args, 0)) : NULL;
    PyObject *keywords =
        kwargs == NULL || PyDict_GET_SIZE(kwargs) == 0 ? NULL : PyDict_Copy(kwargs);
    PyObject *result = NULL;
    if (PyTuple_GET_SIZE(args) > 1) {
        PyErr_Format(PyExc_TypeError,
                     "interpreter() takes one positional argument, but %zd were given",
                     PyTuple_GET_SIZE(args));
        goto done;
    }
    if (PyErr_Occurred() != NULL ||
        (marked == NULL && keywords != NULL && PyDict_PopString(keywords, "fn", &marked) < 0)) {
        goto done;
    }
    if (keywords != NULL && PyDict_GET_SIZE(keywords) == 0) {
        Py_CLEAR(keywords);
    }
    if (marked != NULL) {
        result = mark(type, marked, keywords);
    }
    else if (keywords != NULL) {
        result = decorator_of(type, keywords);
    }
    else {
        PyErr_SetString(PyExc_TypeError,
                        "interpreter() needs a callable, or options to make a decorator of");
    }
done:
    Py_XDECREF(marked);
    Py_XDECREF(keywords);
    return result;
}

static int
tag_traverse(PyObject *op, visitproc visit, void *arg)
{
    TagObject *self = (TagObject *)op;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->marked);
    Py_VISIT(self->definition);
    int result = tag_options_traverse(&self->options, visit, arg);
    if (result != 0) {
        return result;
    }
    return PyObject_VisitManagedDict(op, visit, arg);
}

static int
tag_clear(PyObject *op)
{
    TagObject *self = (TagObject *)op;
    Py_CLEAR(self->marked);
    Py_CLEAR(self->definition);
    tag_options_clear(&self->options);
    PyObject_ClearManagedDict(op);
    return 0;
}

static void
tag_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    COMPAT_DEALLOC_BEGIN(op, tag_dealloc)
    PyObject_ClearWeakRefs(op);
    tag_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
    COMPAT_DEALLOC_END
}

/* Binding a marked function gives a marked method, of the same options. */
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
    bool is_method = PyMethod_Check(bound) && PyMethod_GET_FUNCTION(bound) == marked;
    call_kind kind = is_method ? ((TagObject *)op)->kind : callkind_of(bound, Py_TYPE(op));
    if (kind == CALL_UNKNOWN) {
        Py_DECREF(bound);
        return NULL;
    }
    struct tag_options options;
    tag_options_copy(&options, &((TagObject *)op)->options);
    return tag_of(Py_TYPE(op), bound, kind, &options);
}

/* What `path`, names with dots between them, comes to from `place` on, which it takes over. NULL with an exception. */
static PyObject *
follow(PyObject *place, PyObject *path)
{
    PyObject *dot = PyUnicode_FromString(".");
    PyObject *steps = dot == NULL ? NULL : PyUnicode_Split(path, dot, -1);
    if (steps == NULL) {
        Py_CLEAR(place);
    }
    for (Py_ssize_t i = 0; place != NULL && i < PyList_GET_SIZE(steps); i++) {
        Py_SETREF(place, PyObject_GetAttr(place, PyList_GET_ITEM(steps, i)));
    }
    Py_XDECREF(dot);
    Py_XDECREF(steps);
    return place;
}

/* Whether `module.qualname` of what a tag marks is bound to the tag; then, if it is asked for, *qualname is a new
 * reference. -1 with an exception. */
static int
is_found_by_name(PyObject *tag, bool in_main, PyObject **qualname)
{
    PyObject *marked = ((TagObject *)tag)->marked;
    PyObject *module_name = PyObject_GetAttrString(marked, "__module__");
    PyObject *path = module_name == NULL ? NULL : PyObject_GetAttrString(marked, "__qualname__");
    PyObject *place = NULL;
    if (path != NULL && PyUnicode_Check(module_name) &&
        (in_main || !PyUnicode_EqualToUTF8(module_name, "__main__"))) {
        place = PyImport_GetModule(module_name);
    }
    if (place != NULL) {
        place = follow(place, path);
    }
    int found = state_pass_over_exception() < 0 ? -1 : place == tag;
    if (found > 0 && qualname != NULL) {
        *qualname = Py_NewRef(path);
    }
    Py_XDECREF(place);
    Py_XDECREF(module_name);
    Py_XDECREF(path);
    return found;
}

/* Its `__class__`. Libraries that store a function by its name (APScheduler, RQ) or list the functions of a class (Pydantic)
 * ask inspect.isfunction() first, so a tag that stands where its function would, answers as one; and a bound one as a
 * method. Any other must not: whoever takes it apart or stores that name would lose the tag. */
static PyObject *
class_of(PyObject *op)
{
    PyObject *marked = ((TagObject *)op)->marked;
    if (PyMethod_Check(marked)) {
        return Py_NewRef(&PyMethod_Type);
    }
    if (PyFunction_Check(marked)) {
        int found = is_found_by_name(op, true, NULL);
        if (found != 0) {
            return found < 0 ? NULL : Py_NewRef(&PyFunction_Type);
        }
    }
    return Py_NewRef(Py_TYPE(op));
}

static PyObject *
tag_getattro(PyObject *op, PyObject *name)
{
    PyObject *marked = ((TagObject *)op)->marked;
    if (PyUnicode_EqualToUTF8(name, "__class__")) {
        return class_of(op);
    }
    if (PyUnicode_EqualToUTF8(name, "__module__")) { /* the class has one, too */
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
    TagObject *self = (TagObject *)op;
    PyObject *options = tag_options_repr(&self->options);
    PyObject *text =
        options == NULL ? NULL : PyUnicode_FromFormat("interpreter(%R%U)", self->marked, options);
    Py_XDECREF(options);
    return text;
}

static PyObject *
tag_richcompare(PyObject *op, PyObject *other, int operation)
{
    if (!Py_IS_TYPE(other, Py_TYPE(op)) || (operation != Py_EQ && operation != Py_NE)) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    TagObject *self = (TagObject *)op, *that = (TagObject *)other;
    int same = PyObject_RichCompareBool(self->marked, that->marked, Py_EQ);
    if (same > 0) {
        same = tag_options_equal(&self->options, &that->options);
    }
    return same < 0 ? NULL : PyBool_FromLong(same == (operation == Py_EQ));
}

static Py_hash_t
tag_hash(PyObject *op)
{
    return PyObject_Hash(((TagObject *)op)->marked);
}

static PyObject *
tag_reduce(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    PyObject *marked = ((TagObject *)op)->marked;
    PyObject *qualname;
    int found = is_found_by_name(op, false, &qualname);
    if (found != 0) {
        return found < 0 ? NULL : qualname; /* the name stands for the tag itself */
    }
    PyObject *given = ((TagObject *)op)->options.given;
    if (given != NULL) {
        PyObject *args[] = {marked, given};
        return state_call("_context", "reduce_tag", args, 2);
    }
    return Py_BuildValue("O(O)", Py_TYPE(op), marked);
}

static PyObject *
tag_get_marked(PyObject *op, void *Py_UNUSED(closure))
{
    return Py_NewRef(((TagObject *)op)->marked);
}

/* What a call gives: for the rooms in Python. */
static PyObject *
tag_get_gives(PyObject *op, void *Py_UNUSED(closure))
{
    static const char *const names[] = {"value", "coroutine", "generator", "iterator"};
    return PyUnicode_FromString(names[((TagObject *)op)->kind]);
}

static PyMethodDef tag_methods[] = {
    {"__reduce__", tag_reduce, METH_NOARGS, NULL},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef tag_getset[] = {
    {"fn", tag_get_marked, NULL, "The callable that is marked.", NULL},
    {"_gives", tag_get_gives, NULL, NULL, NULL},
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
    "interpreter(fn=None, *, context_vars=(), timeout=None, interruptible=True, everywhere=False, "
    "buffer=64)\n"
    "--\n"
    "\n"
    "Mark a callable to run in an isolated interpreter of an InterpreterThreadPoolExecutor.\n"
    "\n"
    "Submitted to the executor, a marked callable runs in a worker's own interpreter (PEP 684), "
    "in\n"
    "parallel with everything else. Called directly, it is an ordinary call in the calling "
    "thread.\n"
    "Works as a decorator on functions, methods and static methods; without fn, with options, it\n"
    "returns such a decorator. Marking a marked callable again adds options: those given are "
    "taken\n"
    "anew, the others stay. So they do when it is bound, and below a partial that is marked.\n"
    "\n"
    "Args:\n"
    "    fn: The callable. What other interpreters can import goes by name; functions that they\n"
    "        cannot (of `__main__`, lambdas, closures) go by value, as a copy with the globals "
    "they\n"
    "        read, which is taken anew when one of those is bound to something else; any other\n"
    "        callable is pickled with each call.\n"
    "    context_vars: The contextvars.ContextVar objects whose values the call sees in the "
    "worker,\n"
    "        besides those that the executor names. Each must be found in a module. Default: "
    "none.\n"
    "    timeout: Seconds that the call may run, from its start in the worker. Past them it is\n"
    "        interrupted, and its future ends with TimeoutError; at the latest after the `grace` "
    "of\n"
    "        the executor. Default: no limit.\n"
    "    interruptible: Whether a running call can be cancelled; then `Interrupted` is raised in "
    "it.\n"
    "    everywhere: Whether a direct call runs in an interpreter, too: in the calling thread, "
    "which\n"
    "        leases an interpreter for it and waits its turn if none is free. Not in the thread of "
    "a\n"
    "        running event loop, where it raises RuntimeError. Default: a direct call is an "
    "ordinary\n"
    "        one.\n"
    "    buffer: Of an asynchronous generator function: the items that it may be ahead of whoever\n"
    "        iterates.\n"
    "\n"
    "Raises:\n"
    "    TypeError: fn cannot be called or is a generator function, there is no such option, or\n"
    "        context_vars is no iterable of context variables.\n"
    "    ValueError: timeout or buffer is not positive, or timeout is given to what is not "
    "interruptible; or a variable "
    "in\n"
    "        context_vars is found in no module that a worker could import, and not in "
    "`__main__`.");

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

/* -- `__doc__` -- */

/* Of the class it is a text, of an instance that of the marked callable. A descriptor of the class says both, since
 * pydoc passes by tp_getattro. */
typedef struct {
    PyObject_HEAD
    PyObject *of_class; /* str */
} DocObject;

static PyObject *
doc_descr_get(PyObject *op, PyObject *instance, PyObject *Py_UNUSED(owner))
{
    if (instance == NULL) {
        return Py_NewRef(((DocObject *)op)->of_class);
    }
    struct state *state = state_of_type(Py_TYPE(op));
    if (state == NULL) {
        return NULL;
    }
    if (!tag_check(state, instance)) {
        return PyErr_Format(PyExc_TypeError,
                            "the descriptor '__doc__' of interpreter objects got %R of type %T: "
                            "give it what interpreter() has made",
                            instance, instance);
    }
    return PyObject_GetAttrString(((TagObject *)instance)->marked, "__doc__");
}

/* The collector has to see that it holds its type, and so the module: it is part of what the module holds. */
static int
doc_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((DocObject *)op)->of_class);
    return 0;
}

static void
doc_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    Py_XDECREF(((DocObject *)op)->of_class);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyType_Slot doc_slots[] = {
    {Py_tp_descr_get, doc_descr_get},
    {Py_tp_traverse, doc_traverse},
    {Py_tp_dealloc, doc_dealloc},
    {0, NULL},
};

static PyType_Spec doc_spec = {
    .name = "aiointerpreters._core.TagDoc",
    .basicsize = sizeof(DocObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = doc_slots,
};

/* Puts it in the place of the text in the namespace of a type that nobody has used yet. */
static int
describe(struct state *state)
{
    PyTypeObject *type = (PyTypeObject *)PyType_FromModuleAndSpec(state->module, &doc_spec, NULL);
    DocObject *doc = type == NULL ? NULL : (DocObject *)type->tp_alloc(type, 0);
    PyObject *names = doc == NULL ? NULL : PyType_GetDict(state->tag_type);
    int result = names == NULL ? -1 : PyDict_GetItemStringRef(names, "__doc__", &doc->of_class);
    if (result > 0) {
        result = PyDict_SetItemString(names, "__doc__", (PyObject *)doc);
        PyType_Modified(state->tag_type);
    }
    Py_XDECREF(names);
    Py_XDECREF(doc);
    Py_XDECREF(type);
    return result;
}

int
tag_register_types(struct state *state)
{
    static const char *const names[ATTRIBUTE_NAMES] = {"__wrapped__", "func", "args", "keywords"};
    for (size_t i = 0; i < ATTRIBUTE_NAMES; i++) {
        state->attribute_names[i] = PyUnicode_InternFromString(names[i]);
        if (state->attribute_names[i] == NULL) {
            return -1;
        }
    }
    state->tag_type = (PyTypeObject *)PyType_FromModuleAndSpec(state->module, &tag_spec, NULL);
    return state->tag_type == NULL || describe(state) < 0
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

bool
tag_is_context_run(struct state *state, PyObject *callable, PyObject **called)
{
    *called = NULL;
    if (!Py_IS_TYPE(callable, (PyTypeObject *)state->partial_type)) {
        return false;
    }
    PyObject *function = PyObject_GetAttr(callable, state->attribute_names[NAME_FUNC]);
    PyObject *args = function == NULL || !is_context_run(function)
                         ? NULL
                         : PyObject_GetAttr(callable, state->attribute_names[NAME_ARGS]);
    if (args != NULL && PyTuple_Check(args) && PyTuple_GET_SIZE(args) > 0) {
        *called = PyTuple_GET_ITEM(args, 0); /* held by the partial */
    }
    PyErr_Clear();
    Py_XDECREF(function);
    Py_XDECREF(args);
    return *called != NULL;
}
