#include "lending.h"

#include "compat.h"
#include "exporter.h"

#include <string.h>

/* What is lent, released by the owner only. */
struct lent {
    struct loan loan;
    enum { LENT_BUFFER, LENT_OBJECT } kind;
    union {
        Py_buffer buffer;
        PyObject *object; /* a queue, a bytes, a str */
    };
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
release(struct lent *lent)
{
    if (lent->kind == LENT_BUFFER) {
        PyBuffer_Release(&lent->buffer);
    }
    else {
        Py_DECREF(lent->object);
    }
    loan_forget(&lent->loan);
    PyMem_RawFree(lent);
}

static void
release_chain(struct loan *loan)
{
    while (loan != NULL) {
        struct lent *lent = (struct lent *)loan;
        loan = loan->next;
        release(lent);
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

/* -- lending -- */

static struct lent *
lent_new(struct state *state, int kind)
{
    struct lent *lent = PyMem_RawCalloc(1, sizeof(*lent));
    if (lent == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    lent->kind = kind;
    loan_init(&lent->loan, state->home);
    return lent;
}

/* A view of an object, which it holds from now on. NULL with an exception. */
static struct view *
lend_object(struct state *state, PyObject *object)
{
    struct lent *lent = lent_new(state, LENT_OBJECT);
    if (lent == NULL) {
        return NULL;
    }
    lent->object = Py_NewRef(object);
    struct view *view = view_new(&lent->loan, 0, NULL);
    if (view == NULL) {
        PyErr_NoMemory();
    }
    loan_drop(&lent->loan); /* the view holds it from now on; without one it comes straight back */
    return view;
}

struct view *
lending_describe_memory(struct loan *loan, const Py_buffer *buffer)
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

/* What stands under memoryviews of memoryviews, borrowed. NULL: one of them was released, or it is memory
 * that no object has. */
static PyObject *
owner_of(PyObject *object)
{
    while (object != NULL && PyMemoryView_Check(object)) {
        object = PyMemoryView_GET_BUFFER(object)->obj;
    }
    return object;
}

static void
note_owner(struct view *view, PyObject *memoryview)
{
    PyObject *owner = owner_of(memoryview);
    if (owner != NULL) {
        strncpy(view->owner, Py_TYPE(owner)->tp_name, sizeof(view->owner) - 1);
    }
}

static struct view *
lend_own_memory(struct state *state, PyObject *memoryview)
{
    /* A view of our own over the same memory: the caller may release his while this one is out. */
    PyObject *own = PyMemoryView_FromObject(memoryview);
    struct lent *lent = own == NULL ? NULL : lent_new(state, LENT_BUFFER);
    struct view *view = NULL;
    if (lent != NULL && PyObject_GetBuffer(own, &lent->buffer, PyBUF_FULL_RO) == 0) {
        view = lending_describe_memory(&lent->loan, &lent->buffer);
    }
    if (view != NULL) {
        note_owner(view, own);
    }
    if (lent != NULL) {
        loan_drop(&lent->loan); /* see lend_object() */
    }
    Py_XDECREF(own);
    return view;
}

/* Whether a format of the struct module's kind, with PEP 3118's additions, has Python objects in it: an
 * O outside the names of fields, which stand between colons. */
static bool
has_objects(const char *format)
{
    bool in_name = false;
    for (; format != NULL && *format != '\0'; format++) {
        in_name ^= *format == ':';
        if (*format == 'O' && !in_name) {
            return true;
        }
    }
    return false;
}

static int
check_lendable(const Py_buffer *buffer)
{
    if (has_objects(buffer->format)) {
        PyErr_SetString(PyExc_BufferError, "memory that holds Python objects cannot be sent");
        return -1;
    }
    if (buffer->suboffsets != NULL) {
        PyErr_SetString(PyExc_BufferError, "a memoryview with suboffsets cannot be sent");
        return -1;
    }
    return 0;
}

/* ctypes makes a type for each length, with one and the same base. */
static bool
is_ctypes_array(PyTypeObject *type)
{
    PyTypeObject *base = type->tp_base;
    return base != NULL && strcmp(base->tp_name, "_ctypes.Array") == 0 &&
           PyType_HasFeature(base, Py_TPFLAGS_IMMUTABLETYPE);
}

int
lending_view_of(PyObject *value, PyObject **memoryview)
{
    PyTypeObject *type = Py_TYPE(value);
    if (!PyObject_CheckBuffer(value) || PyBytes_Check(value) || PyMemoryView_Check(value) ||
        PyByteArray_Check(value) || compat_is_array(value) ||
        !(PyType_HasFeature(type, Py_TPFLAGS_IMMUTABLETYPE) || is_ctypes_array(type))) {
        return 0;
    }
    *memoryview = PyMemoryView_FromObject(value);
    if (*memoryview == NULL) {
        return -1;
    }
    const Py_buffer *buffer = PyMemoryView_GET_BUFFER(*memoryview);
    if (buffer->ndim == 0 || has_objects(buffer->format)) {
        Py_CLEAR(*memoryview);
        return 0;
    }
    return 1;
}

/* The view of lent memory that a memoryview is over, borrowed; NULL: it is over other memory. */
static struct view *
find_borrowed(struct state *state, PyObject *memoryview)
{
    return exporter_view(state, owner_of(memoryview));
}

const char *
lending_owner(struct state *state, PyObject *memoryview)
{
    const struct view *view = find_borrowed(state, memoryview);
    return view != NULL && view->owner[0] != '\0' ? view->owner : NULL;
}

int
lending_lend_again(struct state *state, PyObject *memoryview, struct view **view)
{
    Py_buffer buffer;
    if (PyObject_GetBuffer(memoryview, &buffer, PyBUF_FULL_RO) < 0) {
        return -1; /* released, or the like */
    }
    int result = 0;
    struct view *borrowed = find_borrowed(state, memoryview);
    if (check_lendable(&buffer) < 0) {
        result = -1;
    }
    else if (borrowed != NULL) {
        *view = lending_describe_memory(borrowed->loan, &buffer);
        result = *view == NULL ? -1 : 1;
        if (*view != NULL) {
            memcpy((*view)->owner, borrowed->owner, sizeof(borrowed->owner));
        }
    }
    PyBuffer_Release(&buffer);
    return result;
}

struct view *
lending_lend(struct state *state, PyObject *memoryview)
{
    struct view *view;
    int result = lending_lend_again(state, memoryview, &view);
    if (result == 0) {
        return lend_own_memory(state, memoryview);
    }
    return result < 0 ? NULL : view;
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
    struct view *view = lend_object(state, queue);
    if (view != NULL) {
        view->kind = VIEW_QUEUE;
        view->queue_id = number;
    }
    return view;
}

bool
lending_is_block(PyObject *value)
{
    return PyBytes_CheckExact(value)
               ? PyBytes_GET_SIZE(value) >= LENDING_BLOCK
               : PyUnicode_GET_LENGTH(value) * PyUnicode_KIND(value) >= LENDING_BLOCK;
}

void
lending_describe_block(struct view *view, PyObject *value)
{
    if (PyBytes_CheckExact(value)) {
        view->kind = VIEW_BYTES;
        view->itemsize = 1;
        view->size = PyBytes_GET_SIZE(value);
        view->memory = PyBytes_AS_STRING(value);
    }
    else {
        view->kind = VIEW_STR;
        view->itemsize = PyUnicode_KIND(value);
        view->size = PyUnicode_GET_LENGTH(value) * view->itemsize;
        view->ascii = PyUnicode_IS_ASCII(value);
        view->memory = PyUnicode_DATA(value);
    }
}

struct view *
lending_lend_block(struct state *state, PyObject *value)
{
    struct view *view = lend_object(state, value);
    if (view != NULL) {
        lending_describe_block(view, value);
    }
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
lending_read_block(const struct view *view)
{
    if (view->kind == VIEW_BYTES) {
        return PyBytes_FromStringAndSize(view->memory, view->size);
    }
    static const Py_UCS4 largest[] = {[1] = 0xFF, [2] = 0xFFFF, [4] = 0x10FFFF};
    PyObject *text =
        PyUnicode_New(view->size / view->itemsize, view->ascii ? 0x7F : largest[view->itemsize]);
    if (text != NULL) {
        memcpy(PyUnicode_DATA(text), view->memory, (size_t)view->size);
    }
    return text;
}

PyObject *
lending_receive(struct state *state, struct view *view)
{
    if (view->kind == VIEW_QUEUE) {
        return receive_queue(view);
    }
    PyObject *exporter = exporter_new(state, view);
    if (exporter == NULL) {
        return NULL;
    }
    PyObject *memoryview = PyMemoryView_FromObject(exporter);
    Py_DECREF(exporter);
    return memoryview;
}
