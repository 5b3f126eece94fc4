#include "handover.h"

#include "lending.h"

#include <string.h>

/* A block that belongs to no interpreter. */
struct handed {
    struct loan loan;
    void *
        block; /* for PyMem_RawFree(): memory, or an object (of VIEW_OBJECT), then with the GIL of whoever
                    decodes NULL once it was taken */
};

/* Home of all of them, closed from the start: whoever drops the last loan frees it (orphaned). */
static struct loan_home nowhere;

static void
free_handed(struct loan *loan)
{
    struct handed *handed = (struct handed *)loan;
    PyMem_RawFree(handed->block);
    PyMem_RawFree(handed);
}

void
handover_open(void)
{
    loan_home_init(&nowhere, NULL, free_handed, NULL);
    loan_home_close(&nowhere);
}

/* One reference, the caller's, with no block yet. NULL with MemoryError. */
static struct handed *
handed_new(void)
{
    struct handed *handed = PyMem_RawMalloc(sizeof(*handed));
    if (handed == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    loan_init(&handed->loan, &nowhere);
    handed->block = NULL;
    return handed;
}

/* -- bytes and str -- */

/* Takes the object over. It, or a fresh copy, or NULL with an exception: one that can be moved. */
static PyObject *
make_movable(PyObject *object)
{
    if (compat_object_moves(object)) {
        return object;
    }
    PyObject *copy;
    if (PyBytes_CheckExact(object)) {
        copy = PyBytes_FromStringAndSize(PyBytes_AS_STRING(object), PyBytes_GET_SIZE(object));
    }
    else {
        copy = PyUnicode_New(PyUnicode_GET_LENGTH(object), PyUnicode_MAX_CHAR_VALUE(object));
        if (copy != NULL) {
            memcpy(PyUnicode_DATA(copy), PyUnicode_DATA(object),
                   (size_t)(PyUnicode_GET_LENGTH(object) * PyUnicode_KIND(object)));
        }
    }
    Py_DECREF(object);
    return copy;
}

/* Takes the object over. */
static int
move_object(struct handed *handed, struct view *view, PyObject *object)
{
    object = make_movable(object);
    if (object == NULL) {
        return -1;
    }
    if (!compat_object_moves(object) || !compat_disown_block()) {
        Py_DECREF(object);
        PyErr_NoMemory();
        return -1;
    }
    lending_describe_block(view, object);
    view->kind = VIEW_OBJECT;
    handed->block = object;
    return 0;
}

/* Takes the object over. */
static int
copy_contents(struct handed *handed, struct view *view, PyObject *object)
{
    lending_describe_block(view, object);
    handed->block = PyMem_RawMalloc((size_t)view->size);
    if (handed->block != NULL) {
        view->memory = memcpy(handed->block, view->memory, (size_t)view->size);
    }
    else {
        PyErr_NoMemory();
    }
    Py_DECREF(object);
    return handed->block == NULL ? -1 : 0;
}

static struct view *
hand_over_object(struct handed *handed, PyObject *object)
{
    struct view *view = view_new(&handed->loan, 0, NULL);
    if (view == NULL) {
        Py_DECREF(object);
        PyErr_NoMemory();
        return NULL;
    }
    int result = compat_memory_moves() ? move_object(handed, view, object)
                                       : copy_contents(handed, view, object);
    if (result < 0) {
        view_free(view);
        return NULL;
    }
    return view;
}

/* -- memory -- */

/* Takes the memoryview over, the last one over `memory`. */
static int
move_memory(struct handed *handed, struct view *view, PyObject *memoryview,
            struct compat_memory *memory)
{
    ptrdiff_t offset = (char *)view->memory - memory->start;
    Py_INCREF(memory->owner);
    Py_DECREF(memoryview);
    handed->block = compat_take_memory(memory);
    view->memory = memory->start + offset;
    return handed->block == NULL ? -1 : 0;
}

/* The axes of a view as they lie without gaps, the last one running fastest. */
static void
set_contiguous(struct view *view)
{
    ptrdiff_t stride = view->itemsize;
    for (int axis = view->dimensions - 1; axis >= 0; axis--) {
        view->strides[axis] = stride;
        stride *= view->shape[axis];
    }
}

static int
copy_memory(struct handed *handed, struct view *view, const Py_buffer *buffer)
{
    handed->block = PyMem_RawMalloc(buffer->len > 0 ? (size_t)buffer->len : 1);
    if (handed->block == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    view->memory = handed->block;
    set_contiguous(view);
    return PyBuffer_ToContiguous(handed->block, buffer, buffer->len, 'C');
}

/* Takes the memoryview over. Memory of which it shows less than half is copied: nobody wants to keep the
 * rest. */
static int
fill_memory(struct handed *handed, struct view *view, PyObject *memoryview)
{
    struct compat_memory memory;
    if (compat_memory_is_alone(memoryview, &memory) && view->size >= memory.size / 2 &&
        compat_memory_moves()) {
        return move_memory(handed, view, memoryview, &memory);
    }
    int result = copy_memory(handed, view, PyMemoryView_GET_BUFFER(memoryview));
    Py_DECREF(memoryview);
    return result;
}

static struct view *
hand_over_memory(struct handed *handed, PyObject *memoryview)
{
    Py_buffer buffer;
    struct view *view = NULL;
    if (PyObject_GetBuffer(memoryview, &buffer, PyBUF_FULL_RO) == 0) { /* not released meanwhile */
        view = lending_describe_memory(&handed->loan, &buffer);
        PyBuffer_Release(&buffer);
    }
    if (view == NULL) {
        Py_DECREF(memoryview);
        return NULL;
    }
    if (fill_memory(handed, view, memoryview) < 0) {
        view_free(view);
        return NULL;
    }
    return view;
}

/* -- bytearray and array.array -- */

int
handover_typecode(PyObject *array)
{
    if (PyByteArray_CheckExact(array)) {
        return 0;
    }
    PyObject *typecode = PyObject_GetAttrString(array, "typecode");
    Py_UCS4 code =
        typecode != NULL && PyUnicode_Check(typecode) && PyUnicode_GET_LENGTH(typecode) == 1
            ? PyUnicode_READ_CHAR(typecode, 0)
            : 0;
    Py_XDECREF(typecode);
    if (code == 0 || code > 127) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_TypeError, "an array.array without a typecode cannot be sent");
        }
        return -1;
    }
    return (int)code;
}

/* Takes the array over. */
static struct view *
hand_over_array(struct handed *handed, PyObject *array)
{
    int typecode = handover_typecode(array);
    PyObject *memoryview = typecode < 0 ? NULL : PyMemoryView_FromObject(array);
    Py_DECREF(array);
    struct view *view = memoryview == NULL ? NULL : hand_over_memory(handed, memoryview);
    if (view != NULL) {
        view->kind = VIEW_ARRAY;
        view->typecode = (char)typecode;
    }
    return view;
}

/* -- the sender -- */

struct noted {
    PyObject *object; /* held */
    size_t index;     /* of its view in the message */
};

void
handover_init(struct handover *handover)
{
    *handover = (struct handover){NULL, 0, 0};
}

static int
make_room(struct handover *handover)
{
    if (handover->count < handover->room) {
        return 0;
    }
    size_t room = handover->room == 0 ? 1 : 4 * handover->room;
    struct noted *noted = PyMem_Realloc(handover->noted, room * sizeof(*noted));
    if (noted == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    handover->noted = noted;
    handover->room = room;
    return 0;
}

ptrdiff_t
handover_note(struct handover *handover, struct message *message, PyObject *object, bool shared)
{
    for (size_t i = 0; shared && i < handover->count; i++) {
        if (handover->noted[i].object == object) {
            return (ptrdiff_t)handover->noted[i].index;
        }
    }
    if (make_room(handover) < 0) {
        return -1;
    }
    ptrdiff_t index = message_add_view(message, NULL);
    if (index < 0) {
        PyErr_NoMemory();
        return -1;
    }
    handover->noted[handover->count++] = (struct noted){Py_NewRef(object), (size_t)index};
    return index;
}

/* Takes the object over. */
static struct view *
hand_over(PyObject *object)
{
    struct handed *handed = handed_new();
    if (handed == NULL) {
        Py_DECREF(object);
        return NULL;
    }
    struct view *view;
    if (PyMemoryView_Check(object)) {
        view = hand_over_memory(handed, object);
    }
    else if (PyBytes_Check(object) || PyUnicode_Check(object)) {
        view = hand_over_object(handed, object);
    }
    else {
        view = hand_over_array(handed, object);
    }
    loan_drop(&handed->loan); /* the view holds it from now on */
    return view;
}

struct view *
handover_copy_array(PyObject *array)
{
    return hand_over(Py_NewRef(array)); /* the caller refers to it, too: so it is copied */
}

int
handover_commit(struct handover *handover, struct message *message)
{
    while (handover->count > 0) {
        struct noted *last = &handover->noted[--handover->count];
        struct view *view = hand_over(last->object);
        if (view == NULL) {
            return -1;
        }
        *message_place(message, last->index) = view;
    }
    return 0;
}

void
handover_free(struct handover *handover)
{
    while (handover->count > 0) {
        Py_DECREF(handover->noted[--handover->count].object);
    }
    PyMem_Free(handover->noted);
    handover_init(handover);
}

/* -- the receiver -- */

PyObject *
handover_take(const struct view *view)
{
    PyObject *object = ((struct handed *)view->loan)->block;
    if (object == NULL) {
        PyErr_SetString(PyExc_SystemError, "a result was decoded twice");
    }
    return Py_XNewRef(object);
}

void
handover_settle(const struct message *message)
{
    for (size_t i = 0; i < message->view_count; i++) {
        if (message_view(message, i)->kind != VIEW_OBJECT) {
            continue;
        }
        struct handed *handed = (struct handed *)message_view(message, i)->loan;
        PyObject *object = handed->block;
        if (object != NULL && Py_REFCNT(object) > 1) {
            handed->block = NULL;
            compat_adopt_block();
            Py_DECREF(object); /* the message's */
        }
    }
}
