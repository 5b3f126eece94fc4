#include "lending.h"

#include <string.h>

/* What is lent: an object, or the buffer of one. Released by the owner only. */
struct lent {
    struct loan loan;
    PyObject *object; /* or NULL when `buffer` is lent */
    Py_buffer buffer;
};

/* -- the home of an interpreter's loans -- */

static void
orphaned(struct loan *loan)
{
    PyMem_RawFree(loan);
}

static void
home_freed(struct loan_home *home)
{
    PyMem_RawFree(home);
}

static void
release_chain(struct loan *loan)
{
    while (loan != NULL) {
        struct lent *lent = (struct lent *)loan;
        loan = loan->next;
        if (lent->object != NULL) {
            Py_DECREF(lent->object);
        }
        else {
            PyBuffer_Release(&lent->buffer);
        }
        loan_forget(&lent->loan);
        PyMem_RawFree(lent);
    }
}

static int
collect_pending(void *argument)
{
    struct loan_home *home = argument;
    release_chain(loan_home_take(home));
    loan_home_drop(home);
    return 0;
}

/* Any thread, attached or not: a pending call is made by the main thread when it next runs Python.
 * When its queue is full, the next submit collects. */
static void
ask_main_to_collect(struct loan_home *home)
{
    loan_home_hold(home);
    if (Py_AddPendingCall(collect_pending, home) != 0) {
        loan_home_drop(home);
    }
}

int
lending_open(struct state *state)
{
    struct loan_home *home = PyMem_RawMalloc(sizeof(*home));
    if (home == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    loan_home_init(home, state->is_main ? ask_main_to_collect : NULL, orphaned, home_freed);
    state->home = home;
    return 0;
}

void
lending_collect(struct state *state)
{
    release_chain(loan_home_take(state->home));
}

void
lending_close(struct state *state)
{
    if (state->home != NULL) {
        release_chain(loan_home_close(state->home));
        loan_home_drop(state->home);
        state->home = NULL;
    }
}

/* -- the exporter: what a borrower's memoryview stands on -- */

typedef struct {
    PyObject_HEAD
    struct view *view; /* owned */
} ExporterObject;

/* Whether the memory has no gaps, with the last axis running fastest ('C') or the first ('F'). */
static bool
is_contiguous(const struct view *view, char order)
{
    ptrdiff_t expected = view->itemsize;
    for (int i = 0; i < view->dimensions; i++) {
        int axis = order == 'C' ? view->dimensions - 1 - i : i;
        if (view->shape[axis] != 1 && view->strides[axis] != expected && view->size > 0) {
            return false;
        }
        expected *= view->shape[axis];
    }
    return true;
}

static bool
asks_for(int flags, int request)
{
    return (flags & request) == request;
}

/* Whether a request of the buffer protocol can be met by this memory as it lies. */
static bool
fits(const struct view *view, int flags)
{
    bool c_order = is_contiguous(view, 'C');
    bool f_order = is_contiguous(view, 'F');
    if (asks_for(flags, PyBUF_C_CONTIGUOUS) && !c_order) {
        return false;
    }
    if (asks_for(flags, PyBUF_F_CONTIGUOUS) && !f_order) {
        return false;
    }
    if (asks_for(flags, PyBUF_ANY_CONTIGUOUS) && !c_order && !f_order) {
        return false;
    }
    return asks_for(flags, PyBUF_STRIDES) || c_order;
}

static int
exporter_getbuffer(PyObject *self, Py_buffer *buffer, int flags)
{
    const struct view *view = ((ExporterObject *)self)->view;
    buffer->obj = NULL;
    if ((flags & PyBUF_WRITABLE) != 0 && view->readonly) {
        PyErr_SetString(PyExc_BufferError, "the memory was lent read-only");
        return -1;
    }
    if (!fits(view, flags)) {
        PyErr_SetString(PyExc_BufferError, "the memory that was lent is not contiguous");
        return -1;
    }
    buffer->buf = view->memory;
    buffer->len = view->size;
    buffer->itemsize = view->itemsize;
    buffer->readonly = view->readonly;
    buffer->ndim = asks_for(flags, PyBUF_ND) ? view->dimensions : 1;
    buffer->format = asks_for(flags, PyBUF_FORMAT) ? view->format : NULL;
    buffer->shape = asks_for(flags, PyBUF_ND) ? view->shape : NULL;
    buffer->strides = asks_for(flags, PyBUF_STRIDES) ? view->strides : NULL;
    buffer->suboffsets = NULL;
    buffer->internal = NULL;
    buffer->obj = Py_NewRef(self);
    return 0;
}

static void
exporter_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    view_free(((ExporterObject *)self)->view);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot exporter_slots[] = {
    {Py_tp_doc,
     "Memory of another interpreter, lent to this one for as long as this object lives."},
    {Py_tp_dealloc, exporter_dealloc},
    {Py_bf_getbuffer, exporter_getbuffer},
    {0, NULL},
};

static PyType_Spec exporter_spec = {
    .name = "aiointerpreters._core.LentMemory",
    .basicsize = sizeof(ExporterObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = exporter_slots,
};

int
lending_register_types(struct state *state)
{
    state->exporter_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(state->module, &exporter_spec, NULL);
    return state->exporter_type == NULL ? -1 : 0;
}

PyObject *
lending_receive_exporter(struct state *state, struct view *view)
{
    PyObject *exporter = state->exporter_type->tp_alloc(state->exporter_type, 0);
    if (exporter == NULL) {
        view_free(view);
        return NULL;
    }
    ((ExporterObject *)exporter)->view = view;
    return exporter;
}

/* -- lending -- */

static struct lent *
lent_new(struct state *state)
{
    struct lent *lent = PyMem_RawCalloc(1, sizeof(*lent));
    if (lent == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    loan_init(&lent->loan, state->home);
    return lent;
}

/* A view of `loan` with the geometry of `buffer`. */
static struct view *
view_of_buffer(struct loan *loan, const Py_buffer *buffer)
{
    struct view *view = view_new(loan, buffer->ndim, buffer->format);
    if (view == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    view->memory = buffer->buf;
    view->size = buffer->len;
    view->itemsize = buffer->itemsize;
    view->readonly = buffer->readonly != 0;
    for (int axis = 0; axis < buffer->ndim; axis++) {
        view->shape[axis] = buffer->shape[axis];
        view->strides[axis] = buffer->strides[axis];
    }
    return view;
}

static struct view *
lend_own_memory(struct state *state, PyObject *memoryview)
{
    struct lent *lent = lent_new(state);
    if (lent == NULL) {
        return NULL;
    }
    /* A view of our own over the same memory: the caller may release his while this one is out. */
    PyObject *own = PyMemoryView_FromObject(memoryview);
    if (own == NULL || PyObject_GetBuffer(own, &lent->buffer, PyBUF_FULL_RO) < 0) {
        Py_XDECREF(own);
        loan_forget(&lent->loan);
        PyMem_RawFree(lent);
        return NULL;
    }
    Py_DECREF(own);
    struct view *view = NULL;
    if (lent->buffer.suboffsets != NULL) {
        PyErr_SetString(PyExc_BufferError, "a memoryview with suboffsets cannot be lent");
    }
    else {
        view = view_of_buffer(&lent->loan, &lent->buffer);
    }
    loan_drop(&lent->loan); /* the view holds it from now on; without one it comes straight back */
    return view;
}

struct view *
lending_lend(struct state *state, PyObject *memoryview)
{
    Py_buffer buffer;
    if (PyObject_GetBuffer(memoryview, &buffer, PyBUF_FULL_RO) < 0) {
        return NULL; /* released, or the like */
    }
    /* memoryview re-exports itself: what it stands on is its own buffer's exporter. */
    PyObject *owner =
        PyMemoryView_Check(memoryview) ? PyMemoryView_GET_BUFFER(memoryview)->obj : buffer.obj;
    struct view *view;
    if (owner != NULL && Py_IS_TYPE(owner, state->exporter_type) && buffer.suboffsets == NULL) {
        view = view_of_buffer(((ExporterObject *)owner)->view->loan, &buffer);
    }
    else {
        view = lend_own_memory(state, memoryview);
    }
    PyBuffer_Release(&buffer);
    return view;
}

struct view *
lending_lend_queue(struct state *state, PyObject *queue)
{
    PyObject *id = PyObject_GetAttrString(queue, "id");
    if (id == NULL) {
        return NULL;
    }
    long long number = PyLong_AsLongLong(id);
    Py_DECREF(id);
    if (number == -1 && PyErr_Occurred()) {
        return NULL;
    }
    struct lent *lent = lent_new(state);
    if (lent == NULL) {
        return NULL;
    }
    lent->object = Py_NewRef(queue);
    struct view *view = view_new(&lent->loan, 0, NULL);
    if (view == NULL) {
        PyErr_NoMemory();
    }
    else {
        view->is_queue = true;
        view->queue_id = number;
    }
    loan_drop(&lent->loan);
    return view;
}

bool
lending_is_queue(PyObject *value)
{
    PyTypeObject *type = Py_TYPE(value);
    if (strcmp(type->tp_name, "Queue") != 0 || PyType_HasFeature(type, Py_TPFLAGS_IMMUTABLETYPE)) {
        return false;
    }
    PyObject *modules = PyImport_GetModuleDict();
    PyObject *module = PyDict_GetItemString(modules, "concurrent.interpreters");
    if (module == NULL) {
        return false;
    }
    PyObject *queue_type;
    if (PyObject_GetOptionalAttrString(module, "Queue", &queue_type) < 0) {
        PyErr_Clear();
    }
    bool is_queue = queue_type == (PyObject *)type;
    Py_XDECREF(queue_type);
    return is_queue;
}

static PyObject *
receive_queue(struct view *view)
{
    PyObject *queue = NULL;
    PyObject *module = PyImport_ImportModule("concurrent.interpreters");
    if (module != NULL) {
        queue = PyObject_CallMethod(module, "Queue", "L", (long long)view->queue_id);
        Py_DECREF(module);
    }
    view_free(view);
    return queue;
}

PyObject *
lending_receive(struct state *state, struct view *view)
{
    if (view->is_queue) {
        return receive_queue(view);
    }
    PyObject *exporter = lending_receive_exporter(state, view);
    if (exporter == NULL) {
        return NULL;
    }
    PyObject *memoryview = PyMemoryView_FromObject(exporter);
    Py_DECREF(exporter);
    return memoryview;
}
