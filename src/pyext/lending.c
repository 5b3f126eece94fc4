#include "lending.h"

#include "../core/blob.h"
#include "exporter.h"

#include <string.h>

/* What is lent, released by the owner only. */
struct lent {
    struct loan loan;
    enum { LENT_BUFFER, LENT_QUEUE, LENT_BLOCK } kind;
    PyObject *object; /* the queue; or the bytes or str of a block, NULL once it was moved */
    union {
        Py_buffer buffer;
        struct {
            struct list node; /* in the owner's state->lent_blocks */
            struct blob blob;
        } block;
    };
};

/* -- the home of an interpreter's loans -- */

static void
orphaned(struct loan *loan)
{
    struct lent *lent = (struct lent *)loan;
    if (lent->kind == LENT_BLOCK) {
        blob_destroy(&lent->block.blob); /* moved by lending_close(), or of main */
    }
    PyMem_RawFree(lent);
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
    else if (lent->kind == LENT_BLOCK) {
        list_remove(&lent->block.node);
        blob_destroy(&lent->block.blob);
    }
    Py_XDECREF(lent->object);
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
    list_init(&state->lent_blocks);
    return 0;
}

void
lending_collect(struct state *state)
{
    release_chain(loan_home_take(state->home));
}

/* Blocks that others may still read outlive this interpreter. Their records stay meanwhile, since what
 * comes back goes to the home, which is open; once it has closed they may go at any moment, so none is
 * linked to another any more. */
static void
move_blocks(struct state *state)
{
    struct list *node;
    while ((node = list_pop_front(&state->lent_blocks)) != NULL) {
        struct lent *lent = LIST_ENTRY(node, struct lent, block.node);
        blob_move(&lent->block.blob);
        Py_CLEAR(lent->object);
    }
}

void
lending_close(struct state *state)
{
    if (state->home != NULL) {
        release_chain(loan_home_take(state->home));
        if (!state->is_main) { /* which outlives its workers, and whoever reads what it has lent */
            move_blocks(state);
        }
        release_chain(loan_home_close(state->home));
        loan_home_drop(state->home);
        state->home = NULL;
    }
}

/* -- lending -- */

/* `object`: borrowed, or NULL. */
static struct lent *
lent_new(struct state *state, int kind, PyObject *object)
{
    struct lent *lent = PyMem_RawCalloc(1, sizeof(*lent));
    if (lent == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    lent->kind = kind;
    lent->object = Py_XNewRef(object);
    loan_init(&lent->loan, state->home);
    return lent;
}

/* One that was never out. */
static void
lent_discard(struct lent *lent)
{
    Py_XDECREF(lent->object);
    loan_forget(&lent->loan);
    PyMem_RawFree(lent);
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
    struct lent *lent = lent_new(state, LENT_BUFFER, NULL);
    if (lent == NULL) {
        return NULL;
    }
    /* A view of our own over the same memory: the caller may release his while this one is out. */
    PyObject *own = PyMemoryView_FromObject(memoryview);
    if (own == NULL || PyObject_GetBuffer(own, &lent->buffer, PyBUF_FULL_RO) < 0) {
        Py_XDECREF(own);
        lent_discard(lent);
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
    struct view *borrowed = exporter_view(state, owner);
    struct view *view;
    if (borrowed != NULL && buffer.suboffsets == NULL) {
        view = view_of_buffer(borrowed->loan, &buffer);
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
    struct lent *lent = lent_new(state, LENT_QUEUE, queue);
    if (lent == NULL) {
        return NULL;
    }
    struct view *view = view_new(&lent->loan, 0, NULL);
    if (view == NULL) {
        PyErr_NoMemory();
    }
    else {
        view->kind = VIEW_QUEUE;
        view->queue_id = number;
    }
    loan_drop(&lent->loan);
    return view;
}

/* Bytes. Below that, two copies take less than a loan. */
enum { BLOCK_SIZE = 65536 };

bool
lending_is_block(PyObject *value)
{
    return PyBytes_CheckExact(value)
               ? PyBytes_GET_SIZE(value) >= BLOCK_SIZE
               : PyUnicode_GET_LENGTH(value) * PyUnicode_KIND(value) >= BLOCK_SIZE;
}

/* A view of the units of a str or bytes. NULL: out of memory. */
static struct view *
view_of_block(struct loan *loan, PyObject *value)
{
    struct view *view = view_new(loan, 0, NULL);
    if (view == NULL) {
        return NULL;
    }
    if (PyBytes_CheckExact(value)) {
        view->kind = VIEW_BYTES;
        view->itemsize = 1;
        view->size = PyBytes_GET_SIZE(value);
    }
    else {
        view->kind = VIEW_STR;
        view->itemsize = PyUnicode_KIND(value);
        view->size = PyUnicode_GET_LENGTH(value) * view->itemsize;
        view->ascii = PyUnicode_IS_ASCII(value);
    }
    return view;
}

struct view *
lending_lend_block(struct state *state, PyObject *value)
{
    struct lent *lent = lent_new(state, LENT_BLOCK, value);
    if (lent == NULL) {
        return NULL;
    }
    struct view *view = view_of_block(&lent->loan, value);
    const void *units =
        PyBytes_CheckExact(value) ? PyBytes_AS_STRING(value) : PyUnicode_DATA(value);
    if (view == NULL) {
        lent_discard(lent);
        PyErr_NoMemory();
        return NULL;
    }
    blob_init(&lent->block.blob, units, (size_t)view->size);
    list_push_back(&state->lent_blocks, &lent->block.node);
    loan_drop(&lent->loan); /* the view holds it from now on */
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

static PyObject *
lost_block(PyObject *empty)
{
    Py_DECREF(empty);
    PyErr_SetString(PyExc_MemoryError,
                    "there was no memory for a value whose interpreter has ended");
    return NULL;
}

PyObject *
lending_read_block(const struct view *view)
{
    struct blob *blob = &((struct lent *)view->loan)->block.blob;
    if (view->kind == VIEW_BYTES) {
        PyObject *bytes = PyBytes_FromStringAndSize(NULL, view->size);
        if (bytes != NULL && !blob_read(blob, PyBytes_AS_STRING(bytes))) {
            return lost_block(bytes);
        }
        return bytes;
    }
    static const Py_UCS4 largest[] = {[1] = 0xFF, [2] = 0xFFFF, [4] = 0x10FFFF};
    PyObject *text =
        PyUnicode_New(view->size / view->itemsize, view->ascii ? 0x7F : largest[view->itemsize]);
    if (text != NULL && !blob_read(blob, PyUnicode_DATA(text))) {
        return lost_block(text);
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
