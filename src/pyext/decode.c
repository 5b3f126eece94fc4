/* The receiving half of transport. */
#include "transport.h"

#include "handover.h"
#include "kept.h"
#include "lending.h"

#include <string.h>

/* Containers begun so far, for references back to them. Each is held by the one around it, the outermost by
 * the caller; with `runs_python` here as well. NULL stands for one that is no object here. */
enum { SEEN_ROOM = 32 };

struct decoder {
    struct state *state;
    const struct message *message;
    struct wire_reader reader;
    bool runs_python; /* may_run_python() */
    PyObject **seen;
    size_t seen_count;
    size_t seen_size;
    PyObject *seen_room[SEEN_ROOM];
};

/* Whether decoding may run Python before its end. A queue is looked up; the value of a parcel may be
 * anything, which is unpickled, or hashed as the key of a dict; the module of an array.array may have to be imported,
 * and audit hooks are told of each. The rest is builtin. */
static bool
may_run_python(const struct message *message)
{
    if (message->has_array) {
        return true;
    }
    for (size_t i = 0; i < message->view_count; i++) {
        const struct view *view = message_view(message, i);
        if (view->kind == VIEW_PARCEL || view->kind == VIEW_QUEUE) {
            return true;
        }
    }
    return false;
}

static void
decoder_init(struct decoder *decoder, struct state *state, const struct message *message)
{
    decoder->state = state;
    decoder->message = message;
    decoder->reader = wire_reader_of(message->bytes.data, message->bytes.size);
    decoder->runs_python = may_run_python(message);
    decoder->seen = decoder->seen_room;
    decoder->seen_count = 0;
    decoder->seen_size = SEEN_ROOM;
}

static void
decoder_free(struct decoder *decoder)
{
    for (size_t i = 0; decoder->runs_python && i < decoder->seen_count; i++) {
        Py_XDECREF(decoder->seen[i]);
    }
    if (decoder->seen != decoder->seen_room) {
        PyMem_Free(decoder->seen);
    }
}

static PyObject *
damaged(void)
{
    PyErr_SetString(PyExc_SystemError, "a message between interpreters is damaged");
    return NULL;
}

static int
remember(struct decoder *decoder, PyObject *container)
{
    if (decoder->seen_count == decoder->seen_size) {
        size_t bytes = decoder->seen_size * sizeof(PyObject *);
        bool on_stack = decoder->seen == decoder->seen_room;
        PyObject **seen = PyMem_Realloc(on_stack ? NULL : decoder->seen, 4 * bytes);
        if (seen == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        if (on_stack) {
            memcpy(seen, decoder->seen_room, bytes);
        }
        decoder->seen = seen;
        decoder->seen_size *= 4;
    }
    decoder->seen[decoder->seen_count++] = decoder->runs_python ? Py_XNewRef(container) : container;
    return 0;
}

static PyObject *decode_next(struct decoder *decoder);

static int
next_item(struct decoder *decoder, struct wire_item *item)
{
    if (wire_next(&decoder->reader, item) != WIRE_OK) {
        damaged();
        return -1;
    }
    return 0;
}

/* Borrowed from the message. */
static const struct view *
view_at(struct decoder *decoder, size_t index)
{
    if (index >= decoder->message->view_count) {
        damaged();
        return NULL;
    }
    return message_view(decoder->message, index);
}

static PyObject *
receive_copy(struct decoder *decoder, const struct view *view)
{
    struct view *copy = view_copy(view);
    if (copy == NULL) {
        return PyErr_NoMemory();
    }
    return lending_receive(decoder->state, copy);
}

/* Keeps the type: an import for each array is an import too many. */
static PyObject *
empty_array(struct state *state, int typecode)
{
    if (state->array_type != NULL) {
        return PyObject_CallFunction((PyObject *)state->array_type, "C", typecode);
    }
    PyObject *module = PyImport_ImportModule("array");
    PyObject *array = module == NULL ? NULL : PyObject_CallMethod(module, "array", "C", typecode);
    Py_XDECREF(module);
    if (array != NULL && compat_is_array(array)) { /* not what somebody has put in its place */
        Py_XSETREF(state->array_type, (PyTypeObject *)Py_NewRef(Py_TYPE(array)));
    }
    return array;
}

static PyObject *
new_array(struct state *state, int typecode, const void *memory, size_t size)
{
    PyObject *array = empty_array(state, typecode);
    PyObject *contents =
        array == NULL ? NULL
                      : PyMemoryView_FromMemory((char *)memory, (Py_ssize_t)size, PyBUF_READ);
    PyObject *done =
        contents == NULL ? NULL : PyObject_CallMethod(array, "frombytes", "O", contents);
    Py_XDECREF(contents);
    if (done == NULL) {
        Py_CLEAR(array);
    }
    Py_XDECREF(done);
    return array;
}

/* A bytearray or an array.array, with a copy of the memory. */
static PyObject *
decode_array(struct decoder *decoder, int typecode, const void *memory, size_t size)
{
    PyObject *array = typecode == 0 ? PyByteArray_FromStringAndSize(memory, (Py_ssize_t)size)
                                    : new_array(decoder->state, typecode, memory, size);
    if (array != NULL && remember(decoder, array) < 0) {
        Py_CLEAR(array);
    }
    return array;
}

static PyObject *
decode_loan(struct decoder *decoder, const struct wire_item *item)
{
    const struct view *view = view_at(decoder, item->index);
    if (view == NULL) {
        return NULL;
    }
    if (view->kind == VIEW_PARCEL) {
        return kept_get(decoder->state, parcel_of_view(view));
    }
    if (view->kind == VIEW_BYTES || view->kind == VIEW_STR) {
        return lending_read_block(view);
    }
    if (view->kind == VIEW_OBJECT) {
        return handover_take(view);
    }
    if (view->kind == VIEW_ARRAY) {
        return decode_array(decoder, view->typecode, view->memory, (size_t)view->size);
    }
    return receive_copy(decoder, view);
}

/* A view of a message's bytes must not outlive it, in a traceback say. Steals it; keeps the exception
 * that is set. */
static void
release_memoryview(PyObject *memoryview)
{
    PyObject *error = PyErr_GetRaisedException();
    PyObject *done = memoryview == NULL ? NULL : PyObject_CallMethod(memoryview, "release", NULL);
    PyErr_Clear();
    Py_XDECREF(done);
    Py_XDECREF(memoryview);
    PyErr_SetRaisedException(error);
}

/* The view that comes next in the message, borrowed. */
static const struct view *
next_view(struct decoder *decoder)
{
    struct wire_item loan;
    if (next_item(decoder, &loan) < 0) {
        return NULL;
    }
    if (loan.tag != WIRE_LOAN) {
        damaged();
        return NULL;
    }
    return view_at(decoder, loan.index);
}

/* A memoryview of the pickle, which lies in the message or beside it. */
static PyObject *
pickle_data(struct decoder *decoder, const struct wire_item *pickle, size_t *buffers)
{
    const void *bytes = pickle->bytes;
    size_t size = pickle->size;
    *buffers = pickle->count;
    if (size == 0 && pickle->count > 0) {
        const struct view *view = next_view(decoder);
        if (view == NULL) {
            return NULL;
        }
        bytes = view->memory;
        size = (size_t)view->size;
        *buffers -= 1;
    }
    return PyMemoryView_FromMemory((char *)bytes, (Py_ssize_t)size, PyBUF_READ);
}

/* What a pickle finds out of band: memory, or the value of a parcel. */
static PyObject *
receive_beside(struct decoder *decoder, const struct view *view)
{
    return view->kind == VIEW_PARCEL ? kept_get(decoder->state, parcel_of_view(view))
                                     : receive_copy(decoder, view);
}

static PyObject *
receive_buffers(struct decoder *decoder, size_t count)
{
    PyObject *buffers = PyList_New(0);
    for (size_t i = 0; buffers != NULL && i < count; i++) {
        const struct view *view = next_view(decoder);
        PyObject *buffer = view == NULL ? NULL : receive_beside(decoder, view);
        if (buffer == NULL || PyList_Append(buffers, buffer) < 0) {
            Py_CLEAR(buffers);
        }
        Py_XDECREF(buffer);
    }
    return buffers;
}

static PyObject *
decode_pickle(struct decoder *decoder, const struct wire_item *pickle)
{
    size_t count;
    PyObject *value = NULL;
    PyObject *data = pickle_data(decoder, pickle, &count);
    PyObject *buffers = data == NULL ? NULL : receive_buffers(decoder, count);
    if (buffers != NULL) {
        PyObject *args[] = {data, buffers};
        value = state_call("_pickling", "loads", args, 2);
    }
    Py_XDECREF(buffers);
    release_memoryview(data);
    return value;
}

static PyObject *
decode_str(const struct wire_item *item)
{
    if (item->kind == 1) {
        return PyUnicode_FromKindAndData(PyUnicode_1BYTE_KIND, item->bytes,
                                         (Py_ssize_t)item->count);
    }
    /* Wider units may lie unaligned in the message, so they are copied into a string made for them
     * by way of a code point that needs that kind. */
    PyObject *text = PyUnicode_New((Py_ssize_t)item->count, item->kind == 2 ? 0xFFFF : 0x10FFFF);
    if (text != NULL) {
        memcpy(PyUnicode_DATA(text), item->bytes, item->size);
    }
    return text;
}

/* -- sequences --
 *
 * They are filled in place. If Python may run before they are full, it may find them, by gc.get_objects() or in
 * a cycle. So they are full of None from the beginning then; a tuple, whose hash may be cached, is not
 * tracked by the collector until it has its members; and a list may be found to have another length. A
 * sequence that is given up, which a cycle may keep, is filled up too. */

static void
set_item(PyObject *sequence, Py_ssize_t i, PyObject *member)
{
    if (PyList_CheckExact(sequence)) {
        PyList_SET_ITEM(sequence, i, member);
    }
    else {
        PyTuple_SET_ITEM(sequence, i, member);
    }
}

/* Puts None where nothing is. */
static void
fill_up(PyObject *sequence)
{
    for (Py_ssize_t i = 0; i < Py_SIZE(sequence); i++) {
        if (PySequence_Fast_GET_ITEM(sequence, i) == NULL) {
            set_item(sequence, i, Py_NewRef(Py_None));
        }
    }
}

/* Steals the member. */
static int
put_in(PyObject *sequence, Py_ssize_t i, PyObject *member)
{
    if (i >= Py_SIZE(sequence)) {
        Py_DECREF(member);
        PyErr_SetString(PyExc_RuntimeError, "a list was changed while it was being received");
        return -1;
    }
    PyObject *old = PySequence_Fast_GET_ITEM(sequence, i);
    set_item(sequence, i, member);
    Py_XDECREF(old);
    return 0;
}

/* Takes over the sequence, a list or a tuple, which may be NULL. */
static PyObject *
decode_sequence(struct decoder *decoder, PyObject *sequence, size_t count)
{
    if (sequence == NULL) {
        return NULL;
    }
    if (decoder->runs_python && count > 0) {
        fill_up(sequence);
        if (PyTuple_CheckExact(sequence)) {
            PyObject_GC_UnTrack(sequence);
        }
    }
    int result = remember(decoder, sequence);
    for (size_t i = 0; result == 0 && i < count; i++) {
        PyObject *member = decode_next(decoder);
        result = member == NULL ? -1 : put_in(sequence, (Py_ssize_t)i, member);
    }
    if (result < 0) {
        fill_up(sequence);
    }
    if (decoder->runs_python && count > 0 && !PyObject_GC_IsTracked(sequence)) {
        PyObject_GC_Track(sequence);
    }
    if (result < 0) {
        Py_CLEAR(sequence);
    }
    return sequence;
}

static PyObject *
decode_dict(struct decoder *decoder, size_t count)
{
    PyObject *dict = PyDict_New();
    int result = dict == NULL ? -1 : remember(decoder, dict);
    for (size_t i = 0; i < count && result == 0; i++) {
        PyObject *key = decode_next(decoder);
        PyObject *value = key == NULL ? NULL : decode_next(decoder);
        result = value == NULL ? -1 : PyDict_SetItem(dict, key, value);
        Py_XDECREF(key);
        Py_XDECREF(value);
    }
    if (result < 0) {
        Py_CLEAR(dict);
    }
    return dict;
}

static PyObject *
decode_set(struct decoder *decoder, size_t count, bool frozen)
{
    PyObject *set = frozen ? PyFrozenSet_New(NULL) : PySet_New(NULL);
    /* Only a frozenset that nobody else holds can be filled; and nothing in it can refer back to it. */
    size_t index = decoder->seen_count;
    int result = set == NULL ? -1 : remember(decoder, frozen ? NULL : set);
    for (size_t i = 0; i < count && result == 0; i++) {
        PyObject *member = decode_next(decoder);
        result = member == NULL ? -1 : PySet_Add(set, member);
        Py_XDECREF(member);
    }
    if (frozen && result == 0) {
        decoder->seen[index] = decoder->runs_python ? Py_NewRef(set) : set;
    }
    if (result < 0) {
        Py_CLEAR(set);
    }
    return set;
}

static PyObject *
decode_container(struct decoder *decoder, const struct wire_item *item)
{
    if (Py_EnterRecursiveCall(" while decoding a value from another interpreter")) {
        return NULL;
    }
    PyObject *value;
    switch (item->tag) {
    case WIRE_TUPLE:
        value = decode_sequence(decoder, PyTuple_New((Py_ssize_t)item->count), item->count);
        break;
    case WIRE_LIST:
        value = decode_sequence(decoder, PyList_New((Py_ssize_t)item->count), item->count);
        break;
    case WIRE_DICT:
        value = decode_dict(decoder, item->count);
        break;
    default:
        value = decode_set(decoder, item->count, item->tag == WIRE_FROZENSET);
    }
    Py_LeaveRecursiveCall();
    return value;
}

static PyObject *
decode_item(struct decoder *decoder, const struct wire_item *item)
{
    switch (item->tag) {
    case WIRE_NONE:
        Py_RETURN_NONE;
    case WIRE_FALSE:
        Py_RETURN_FALSE;
    case WIRE_TRUE:
        Py_RETURN_TRUE;
    case WIRE_INT:
        return PyLong_FromLongLong(item->integer);
    case WIRE_BIG_INT:
        return PyLong_FromNativeBytes(item->bytes, item->size, Py_ASNATIVEBYTES_LITTLE_ENDIAN);
    case WIRE_FLOAT:
        return PyFloat_FromDouble(item->real);
    case WIRE_COMPLEX:
        return PyComplex_FromDoubles(item->real, item->imag);
    case WIRE_BYTES:
        return PyBytes_FromStringAndSize((const char *)item->bytes, (Py_ssize_t)item->size);
    case WIRE_ARRAY:
        return decode_array(decoder, item->kind, item->bytes, item->size);
    case WIRE_STR:
        return decode_str(item);
    case WIRE_REF:
        if (item->index >= decoder->seen_count || decoder->seen[item->index] == NULL) {
            return damaged();
        }
        return Py_NewRef(decoder->seen[item->index]);
    case WIRE_PICKLE:
        return decode_pickle(decoder, item);
    case WIRE_LOAN:
        return decode_loan(decoder, item);
    default:
        return decode_container(decoder, item);
    }
}

static PyObject *
decode_next(struct decoder *decoder)
{
    struct wire_item item;
    return next_item(decoder, &item) < 0 ? NULL : decode_item(decoder, &item);
}

PyObject *
transport_decode_value(struct state *state, const struct message *message)
{
    struct decoder decoder;
    decoder_init(&decoder, state, message);
    PyObject *value = decode_next(&decoder);
    handover_settle(message);
    decoder_free(&decoder);
    return value;
}

/* -- calls -- */

static int
make_room(struct received_call *call, size_t total)
{
    size_t places = total + 1;
    PyObject **block = call->room;
    if (places > sizeof(call->room) / sizeof(call->room[0])) {
        block = call->block = PyMem_Malloc(places * sizeof(PyObject *));
        if (block == NULL) {
            PyErr_NoMemory();
            return -1;
        }
    }
    call->values = block + 1;
    return 0;
}

static int
take_keywords(struct received_call *call, PyObject *keywords)
{
    if (keywords == Py_None) {
        Py_DECREF(keywords);
        return 0;
    }
    if (!PyTuple_Check(keywords) || (size_t)PyTuple_GET_SIZE(keywords) > call->total) {
        Py_DECREF(keywords);
        damaged();
        return -1;
    }
    call->keywords = keywords;
    call->count = call->total - (size_t)PyTuple_GET_SIZE(keywords);
    return 0;
}

static int
receive_native(struct decoder *decoder, struct received_call *call, size_t total)
{
    if (make_room(call, total) < 0 || remember(decoder, NULL) < 0) {
        return -1;
    }
    for (; call->total < total; call->total++) {
        call->values[call->total] = decode_next(decoder);
        if (call->values[call->total] == NULL) {
            return -1;
        }
    }
    call->count = total;
    if (decoder->reader.at == decoder->reader.end) {
        return 0;
    }
    PyObject *keywords = decode_next(decoder);
    return keywords == NULL ? -1 : take_keywords(call, keywords);
}

static int
receive_pickled(struct decoder *decoder, struct received_call *call, const struct wire_item *item)
{
    PyObject *whole = decode_pickle(decoder, item);
    PyObject *values, *keywords, *callable;
    int result = -1;
    if (whole != NULL &&
        PyArg_ParseTuple(whole, "O!OO", &PyTuple_Type, &values, &keywords, &callable) &&
        make_room(call, (size_t)PyTuple_GET_SIZE(values)) == 0) {
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(values); i++) {
            call->values[i] = Py_NewRef(PyTuple_GET_ITEM(values, i));
        }
        call->count = call->total = (size_t)PyTuple_GET_SIZE(values);
        call->callable = callable == Py_None ? NULL : Py_NewRef(callable);
        result = take_keywords(call, Py_NewRef(keywords));
    }
    Py_XDECREF(whole);
    return result;
}

int
transport_decode_call(struct state *state, const struct message *message, bool with_context,
                      struct received_call *call)
{
    call->callable = NULL;
    call->keywords = NULL;
    call->block = NULL;
    call->count = call->total = 0;

    struct decoder decoder;
    decoder_init(&decoder, state, message);
    struct wire_item item;
    int result = next_item(&decoder, &item);
    if (result == 0 && item.tag == WIRE_TUPLE) {
        result = receive_native(&decoder, call, item.count);
    }
    else if (result == 0 && item.tag == WIRE_PICKLE) {
        result = receive_pickled(&decoder, call, &item);
    }
    else if (result == 0) {
        damaged();
        result = -1;
    }
    decoder_free(&decoder);
    if (result == 0 && with_context) {
        if (call->count == 0) {
            damaged();
            result = -1;
        }
        else {
            call->count--;
        }
    }
    if (result < 0) {
        transport_free_call(call);
    }
    return result;
}

void
transport_free_call(struct received_call *call)
{
    Py_CLEAR(call->callable);
    Py_CLEAR(call->keywords);
    while (call->total > 0) {
        Py_DECREF(call->values[--call->total]);
    }
    PyMem_Free(call->block);
    call->block = NULL;
}

/* -- errors -- */

PyObject *
transport_decode_error(struct state *state, const struct message *message)
{
    struct decoder decoder;
    decoder_init(&decoder, state, message);
    PyObject *error = NULL;
    PyObject *first = decode_next(&decoder);
    if (first == NULL && (PyErr_ExceptionMatches(PyExc_MemoryError) ||
                          PyErr_ExceptionMatches(PyExc_RecursionError) ||
                          !PyErr_ExceptionMatches(PyExc_Exception))) {
        decoder_free(&decoder); /* not about the message */
        return NULL;
    }
    PyObject *reason = first == NULL ? PyErr_GetRaisedException() : NULL;
    PyObject *text = decode_next(&decoder);
    if (text != NULL && first != NULL && PyExceptionInstance_Check(first)) {
        PyObject *args[] = {first, text};
        error = state_call("_errors", "attach_remote_traceback", args, 2);
    }
    else if (text != NULL && first != NULL && PyUnicode_Check(first)) {
        PyObject *args[] = {first, text}; /* of encode_bare_error() */
        error = state_call("_errors", "rebuild_bare", args, 2);
    }
    else if (text != NULL) {
        PyObject *args[] = {reason != NULL ? reason : first, text};
        error = state_call("_errors", "unreadable_error", args, 2);
    }
    Py_XDECREF(first);
    Py_XDECREF(reason);
    Py_XDECREF(text);
    decoder_free(&decoder);
    return error;
}
