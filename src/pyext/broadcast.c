#include "broadcast.h"

#include "transport.h"

typedef struct {
    PyObject_HEAD
    PyObject *value;       /* NULL once the garbage collector has cleared it */
    struct parcel *parcel; /* owned, or NULL */
    bool holds_handles;    /* there were others in the value */
} BroadcastObject;

static bool
has_parcels(const struct message *message)
{
    for (size_t i = 0; i < message->view_count; i++) {
        if (message_view(message, i)->kind == VIEW_PARCEL) {
            return true;
        }
    }
    return false;
}

bool
broadcast_check(struct state *state, PyObject *object)
{
    return Py_IS_TYPE(object, state->broadcast_type);
}

PyObject *
broadcast_value(PyObject *handle)
{
    PyObject *value = ((BroadcastObject *)handle)->value;
    return value != NULL ? value : Py_None;
}

struct parcel *
broadcast_parcel(PyObject *handle)
{
    return ((BroadcastObject *)handle)->parcel;
}

/* -- making -- */

/* Takes `parcel`, which may be NULL, over. */
static PyObject *
new_handle(struct state *state, PyObject *value, struct parcel *parcel)
{
    BroadcastObject *self =
        (BroadcastObject *)state->broadcast_type->tp_alloc(state->broadcast_type, 0);
    if (self == NULL) {
        if (parcel != NULL) {
            parcel_disown(parcel);
        }
        return NULL;
    }
    self->value = Py_NewRef(value);
    self->parcel = parcel;
    self->holds_handles = parcel == NULL || has_parcels(&parcel->message);
    state->broadcasts++;
    return (PyObject *)self;
}

PyObject *
broadcast_of(struct state *state, PyObject *value, struct parcel *parcel)
{
    parcel_own(parcel);
    return new_handle(state, value, parcel);
}

/* NULL with an exception. */
static struct parcel *
encode(struct state *state, PyObject *value)
{
    struct parcel *parcel = parcel_new();
    if (parcel == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    if (transport_encode_value(state, &parcel->message, value) < 0) {
        parcel_disown(parcel);
        transport_raise_send_error("broadcast", "", Py_None, value);
        return NULL;
    }
    return parcel;
}

static PyObject *
broadcast_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"", NULL};
    PyObject *value;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:broadcast", names, &value)) {
        return NULL;
    }
    if (Py_IS_TYPE(value, type)) {
        return Py_NewRef(value);
    }
    struct state *state = state_of_type(type);
    if (state == NULL) {
        return NULL;
    }
    struct parcel *parcel = NULL;
    if (state->is_main) {
        parcel = encode(state, value);
        if (parcel == NULL) {
            return NULL;
        }
    }
    return new_handle(state, value, parcel);
}

/* -- in a call that runs here -- */

/* Containers deeper than this are not looked into. */
enum { MOST_NESTED = 100 };

struct search {
    struct state *state;
    PyObject *seen; /* set of the addresses of containers that may be met twice, or NULL */
    int depth;
};

static int search_in(struct search *search, PyObject *value);

static bool
is_container(PyObject *value)
{
    return PyTuple_CheckExact(value) || PyList_CheckExact(value) || PyDict_CheckExact(value) ||
           PyAnySet_CheckExact(value);
}

/* 1: it was met before; 0: it was not; -1 with an exception. */
static int
note(struct search *search, PyObject *container)
{
    if (Py_REFCNT(container) == 1) {
        return 0; /* nobody can meet it twice */
    }
    if (search->seen == NULL && (search->seen = PySet_New(NULL)) == NULL) {
        return -1;
    }
    PyObject *address = PyLong_FromVoidPtr(container);
    int met = address == NULL ? -1 : PySet_Contains(search->seen, address);
    if (met == 0 && PySet_Add(search->seen, address) < 0) {
        met = -1;
    }
    Py_XDECREF(address);
    return met;
}

static int
search_sequence(struct search *search, PyObject *sequence)
{
    int found = 0;
    for (Py_ssize_t i = 0; found == 0 && i < PySequence_Fast_GET_SIZE(sequence); i++) {
        found = search_in(search, PySequence_Fast_GET_ITEM(sequence, i));
    }
    return found;
}

static int
search_dict(struct search *search, PyObject *dict)
{
    Py_ssize_t place = 0;
    PyObject *key, *value;
    int found = 0;
    while (found == 0 && PyDict_Next(dict, &place, &key, &value)) {
        found = search_in(search, key);
        if (found == 0) {
            found = search_in(search, value);
        }
    }
    return found;
}

static int
search_set(struct search *search, PyObject *set)
{
    PyObject *iterator = PyObject_GetIter(set);
    PyObject *member;
    int found = iterator == NULL ? -1 : 0;
    while (found == 0 && (member = PyIter_Next(iterator)) != NULL) {
        found = search_in(search, member);
        Py_DECREF(member);
    }
    Py_XDECREF(iterator);
    return found;
}

static int
search_in(struct search *search, PyObject *value)
{
    if (broadcast_check(search->state, value)) {
        return 1;
    }
    if (!is_container(value) || search->depth == MOST_NESTED) {
        return 0;
    }
    int met = note(search, value);
    if (met != 0) {
        return met < 0 ? -1 : 0;
    }
    search->depth++;
    int found = PyDict_CheckExact(value)     ? search_dict(search, value)
                : PyAnySet_CheckExact(value) ? search_set(search, value)
                                             : search_sequence(search, value);
    search->depth--;
    return found;
}

static int
search_attribute(struct search *search, PyObject *object, const char *name)
{
    PyObject *value = PyObject_GetAttrString(object, name);
    int found = value == NULL ? -1 : search_in(search, value);
    Py_XDECREF(value);
    return found;
}

int
broadcast_is_within(struct state *state, PyObject *function, PyObject *args, PyObject *kwargs)
{
    if (state->broadcasts == 0) {
        return 0;
    }
    struct search search = {.state = state};
    int found = search_in(&search, args);
    if (found == 0 && kwargs != NULL) {
        found = search_in(&search, kwargs);
    }
    if (found == 0 && Py_IS_TYPE(function, (PyTypeObject *)state->partial_type)) {
        found = search_attribute(&search, function, "args");
        if (found == 0) {
            found = search_attribute(&search, function, "keywords");
        }
    }
    Py_XDECREF(search.seen);
    return found;
}

static bool
is_simple(struct state *state, PyObject *value)
{
    return broadcast_check(state, value) && !((BroadcastObject *)value)->holds_handles;
}

bool
broadcast_open_arguments(struct state *state, PyObject *args)
{
    struct search search = {.state = state};
    bool opened = true;
    if (state->broadcasts == 0) {
        return true;
    }
    for (Py_ssize_t i = 0; opened && i < PyTuple_GET_SIZE(args); i++) {
        PyObject *value = PyTuple_GET_ITEM(args, i);
        opened = is_simple(state, value) || search_in(&search, value) == 0;
    }
    PyErr_Clear(); /* for want of memory: who looks next says so */
    Py_XDECREF(search.seen);
    for (Py_ssize_t i = 0; opened && i < PyTuple_GET_SIZE(args); i++) {
        PyObject *handle = PyTuple_GET_ITEM(args, i);
        if (is_simple(state, handle)) {
            PyTuple_SET_ITEM(args, i, Py_NewRef(broadcast_value(handle)));
            Py_DECREF(handle);
        }
    }
    return opened;
}

int
broadcast_replace(PyObject **function, PyObject **args, PyObject **kwargs)
{
    PyObject *call[] = {*function, *args, *kwargs != NULL ? *kwargs : Py_None};
    PyObject *replaced = state_call("_broadcasts", "replaced", call, 3);
    PyObject *new_function, *new_args, *new_kwargs;
    if (replaced == NULL ||
        !PyArg_ParseTuple(replaced, "OO!O", &new_function, &PyTuple_Type, &new_args, &new_kwargs)) {
        Py_XDECREF(replaced);
        return -1;
    }
    Py_SETREF(*function, Py_NewRef(new_function));
    Py_SETREF(*args, Py_NewRef(new_args));
    if (*kwargs != NULL) {
        Py_SETREF(*kwargs, Py_NewRef(new_kwargs));
    }
    Py_DECREF(replaced);
    return 0;
}

/* -- the type -- */

static int
broadcast_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((BroadcastObject *)op)->value);
    return 0;
}

static int
broadcast_clear(PyObject *op)
{
    Py_CLEAR(((BroadcastObject *)op)->value);
    return 0;
}

static void
broadcast_dealloc(PyObject *op)
{
    BroadcastObject *self = (BroadcastObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    struct state *state = PyType_GetModuleState(type);
    PyObject_GC_UnTrack(op);
    COMPAT_DEALLOC_BEGIN(op, broadcast_dealloc)
    PyObject_ClearWeakRefs(op);
    if (state != NULL) {
        state->broadcasts--;
    }
    if (self->parcel != NULL) {
        parcel_disown(self->parcel);
    }
    broadcast_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
    COMPAT_DEALLOC_END
}

static PyObject *
broadcast_repr(PyObject *op)
{
    return PyUnicode_FromFormat("<broadcast of %T at %p>", broadcast_value(op), op);
}

static PyObject *
broadcast_reduce(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(ignored))
{
    PyErr_SetString(PyExc_TypeError,
                    "a broadcast can only be passed to tasks of an InterpreterThreadPoolExecutor; "
                    "it cannot be pickled or copied (its value can: `.value`)");
    return NULL;
}

static PyObject *
broadcast_get_value(PyObject *op, void *Py_UNUSED(closure))
{
    return Py_NewRef(broadcast_value(op));
}

static PyObject *
broadcast_holds_handles(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((BroadcastObject *)op)->holds_handles);
}

static PyMethodDef broadcast_methods[] = {
    {"__reduce__", broadcast_reduce, METH_NOARGS, NULL},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef broadcast_getset[] = {
    {"value", broadcast_get_value, NULL, "The value that it was made with: the very object.", NULL},
    {"_holds_handles", broadcast_holds_handles, NULL, "Whether others are in the value (private).",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(
    broadcast_doc,
    "broadcast(value, /)\n"
    "--\n"
    "\n"
    "A handle that is passed to tasks like any argument and arrives as the value, sent once.\n"
    "\n"
    "The value is encoded here and now, once; what is done to it later is not sent. Each "
    "interpreter\n"
    "that meets the handle decodes it once, and keeps the value for as long as the handle, or a "
    "task\n"
    "on its way, is there: every task there gets the same object. A task that changes a mutable "
    "value\n"
    "changes its interpreter's own copy, for the tasks that come after it, too; neither the caller "
    "nor\n"
    "another interpreter sees that.\n"
    "\n"
    "A handle may be an argument or a keyword argument of a tagged call, be in tuples, lists, "
    "dicts,\n"
    "sets, objects and partials, in another broadcast, and in what a function by value refers to. "
    "In an\n"
    "untagged task it is simply the value, the very object, when it is an argument or in tuples, "
    "lists,\n"
    "dicts, sets and partials; those are copied. It belongs to no executor.\n"
    "\n"
    "Made in a worker's interpreter it sends nothing, and goes back to the caller as its value.\n"
    "\n"
    "Args:\n"
    "    value: What to send; another broadcast is returned as it is.\n"
    "\n"
    "Attributes:\n"
    "    value: What it was made with.\n"
    "\n"
    "Raises:\n"
    "    SendError: The value cannot be sent; the error names its type.");

static PyType_Slot broadcast_slots[] = {
    {Py_tp_doc, (void *)broadcast_doc},
    {Py_tp_new, broadcast_new},
    {Py_tp_traverse, broadcast_traverse},
    {Py_tp_clear, broadcast_clear},
    {Py_tp_dealloc, broadcast_dealloc},
    {Py_tp_repr, broadcast_repr},
    {Py_tp_methods, broadcast_methods},
    {Py_tp_getset, broadcast_getset},
    {0, NULL},
};

static PyType_Spec broadcast_spec = {
    .name = "aiointerpreters._core.broadcast",
    .basicsize = sizeof(BroadcastObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_MANAGED_WEAKREF |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = broadcast_slots,
};

int
broadcast_register_types(struct state *state)
{
    state->broadcast_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(state->module, &broadcast_spec, NULL);
    return state->broadcast_type == NULL ? -1
                                         : PyModule_AddObjectRef(state->module, "broadcast",
                                                                 (PyObject *)state->broadcast_type);
}
