/* The sending half of transport: values. */
#include "encoder.h"

#include "broadcast.h"
#include "compat.h"
#include "lending.h"

#include <string.h>

void
encoder_init(struct encoder *encoder, struct state *state, struct message *message,
             struct handover *handover)
{
    memset(encoder, 0, sizeof(*encoder));
    encoder->state = state;
    encoder->message = message;
    encoder->handover = handover;
    encoder->memo = encoder->memo_room;
    encoder->memo_size = MEMO_ROOM;
}

static void
memo_free(struct encoder *encoder)
{
    if (encoder->memo != encoder->memo_room) {
        PyMem_Free(encoder->memo);
    }
}

void
encoder_free(struct encoder *encoder)
{
    memo_free(encoder);
    Py_XDECREF(encoder->held);
}

static struct memo_entry *
memo_place(struct memo_entry *memo, size_t size, PyObject *object)
{
    size_t place = ((uintptr_t)object >> 4) * 0x9E3779B97F4A7C15u >> 32;
    for (;; place++) {
        struct memo_entry *entry = &memo[place & (size - 1)];
        if (entry->object == NULL || entry->object == object) {
            return entry;
        }
    }
}

static int
memo_grow(struct encoder *encoder)
{
    size_t size = 4 * encoder->memo_size;
    struct memo_entry *memo = PyMem_Calloc(size, sizeof(*memo));
    if (memo == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < encoder->memo_size; i++) {
        if (encoder->memo[i].object != NULL) {
            *memo_place(memo, size, encoder->memo[i].object) = encoder->memo[i];
        }
    }
    memo_free(encoder);
    encoder->memo = memo;
    encoder->memo_size = size;
    return 0;
}

/* Before Python runs in the middle. -1 with an exception. */
static int
hold_memo(struct encoder *encoder)
{
    if (encoder->memo_count == 0) {
        return 0;
    }
    if (encoder->held == NULL && (encoder->held = PyList_New(0)) == NULL) {
        return -1;
    }
    for (size_t i = 0; i < encoder->memo_size; i++) {
        PyObject *object = encoder->memo[i].object;
        if (object != NULL && PyList_Append(encoder->held, object) < 0) {
            return -1;
        }
    }
    return 0;
}

encoded
encode_out_of_memory(void)
{
    PyErr_NoMemory();
    return FAILED;
}

encoded
encode_check(int result)
{
    return result == 0 ? ENCODED : encode_out_of_memory();
}

static encoded
encode_int(struct wire_buffer *out, PyObject *value)
{
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow == 0) {
        return encode_check(wire_put_int(out, number));
    }
    int flags = Py_ASNATIVEBYTES_LITTLE_ENDIAN;
    Py_ssize_t size = PyLong_AsNativeBytes(value, NULL, 0, flags);
    unsigned char *bytes;
    if (size < 0 || wire_put_big_int(out, (size_t)size, &bytes) < 0) {
        return encode_out_of_memory();
    }
    PyLong_AsNativeBytes(value, bytes, size, flags);
    return ENCODED;
}

static encoded
encode_str(struct wire_buffer *out, PyObject *value)
{
    return encode_check(wire_put_str(out, (int)PyUnicode_KIND(value), PyUnicode_DATA(value),
                                     (size_t)PyUnicode_GET_LENGTH(value)));
}

encoded
encode_view(struct encoder *encoder, struct view *view)
{
    if (view == NULL) {
        return FAILED;
    }
    encoder->mutables++;
    ptrdiff_t index = message_add_view(encoder->message, view);
    return index < 0 ? encode_out_of_memory()
                     : encode_check(wire_put_loan(&encoder->message->bytes, (size_t)index));
}

static encoded
encode_queue(struct encoder *encoder, PyObject *queue)
{
    return hold_memo(encoder) < 0 ? FAILED
                                  : encode_view(encoder, lending_lend_queue(encoder->state, queue));
}

static encoded
encode_handle(struct encoder *encoder, PyObject *handle)
{
    struct parcel *parcel = broadcast_parcel(handle);
    return parcel != NULL ? encode_view(encoder, parcel_view(parcel))
                          : encode_item(encoder, broadcast_value(handle), true);
}

static encoded
encode_noted(struct encoder *encoder, PyObject *value, bool shared)
{
    ptrdiff_t index = handover_note(encoder->handover, encoder->message, value, shared);
    return index < 0 ? FAILED
                     : encode_check(wire_put_loan(&encoder->message->bytes, (size_t)index));
}

/* A large bytes or str. */
static encoded
encode_block(struct encoder *encoder, PyObject *value, bool shared)
{
    return encoder->handover != NULL
               ? encode_noted(encoder, value, shared)
               : encode_view(encoder, lending_lend_block(encoder->state, value));
}

static encoded
encode_memory(struct encoder *encoder, PyObject *memoryview, bool shared)
{
    if (encoder->handover == NULL) {
        return encode_view(encoder, lending_lend(encoder->state, memoryview));
    }
    struct view *view;
    int lent = lending_lend_again(encoder->state, memoryview, &view);
    if (lent == 0) {
        return encode_noted(encoder, memoryview, shared);
    }
    return lent < 0 ? FAILED : encode_view(encoder, view);
}

/* Whether an exception of an exporter's leaves it to pickle. */
bool
encode_exporter_refuses(void)
{
    return PyErr_ExceptionMatches(PyExc_Exception) && !PyErr_ExceptionMatches(PyExc_MemoryError);
}

/* An exporter of memory, as a memoryview. */
static encoded
encode_exporter(struct encoder *encoder, PyObject *value)
{
    PyObject *memoryview;
    if (hold_memo(encoder) < 0) {
        return FAILED;
    }
    int exports = lending_view_of(value, &memoryview);
    if (exports < 0 && encode_exporter_refuses()) {
        PyErr_Clear();
        exports = 0;
    }
    if (exports <= 0) {
        return exports < 0 ? FAILED : NOT_NATIVE;
    }
    encoded result = encode_memory(encoder, memoryview, false);
    Py_DECREF(memoryview);
    return result;
}

static encoded
encode_bytes(struct encoder *encoder, PyObject *value, bool shared)
{
    if (lending_is_block(value)) {
        return encode_block(encoder, value, shared);
    }
    return encode_check(wire_put_bytes(&encoder->message->bytes, PyBytes_AS_STRING(value),
                                       (size_t)PyBytes_GET_SIZE(value)));
}

static encoded
encode_text(struct encoder *encoder, PyObject *value, bool shared)
{
    return lending_is_block(value) ? encode_block(encoder, value, shared)
                                   : encode_str(&encoder->message->bytes, value);
}

/* The entry of a container, to be filled if it is new. NULL with an exception. */
struct memo_entry *
encoder_find(struct encoder *encoder, PyObject *container)
{
    if (2 * encoder->memo_count >= encoder->memo_size && memo_grow(encoder) < 0) {
        return NULL;
    }
    return memo_place(encoder->memo, encoder->memo_size, container);
}

encoded
encode_again(struct encoder *encoder, const struct memo_entry *entry)
{
    struct wire_buffer *out = &encoder->message->bytes;
    if (entry->is_parcel) {
        encoder->mutables++;
        return encode_check(wire_put_loan(out, entry->index));
    }
    encoder->lowest_again = Py_MIN(encoder->lowest_again, entry->index);
    return encode_check(wire_put_ref(out, entry->index));
}

/* Writes a reference if the container was begun before, and else notes it. `shared` says that more
 * than one reference to it exists; nobody can meet another one twice. */
static encoded
recall(struct encoder *encoder, PyObject *value, bool shared, bool *recalled)
{
    *recalled = false;
    size_t index = encoder->containers++;
    if (!shared) {
        return ENCODED;
    }
    struct memo_entry *entry = encoder_find(encoder, value);
    if (entry == NULL) {
        return FAILED;
    }
    if (entry->object != NULL) {
        encoder->containers--;
        *recalled = true;
        return encode_again(encoder, entry);
    }
    *entry = (struct memo_entry){.object = value, .index = index};
    encoder->memo_count++;
    return ENCODED;
}

/* A bytearray or an array.array: what its memory holds now. */
static encoded
encode_array(struct encoder *encoder, PyObject *value, bool shared)
{
    bool recalled;
    encoded result = recall(encoder, value, shared, &recalled);
    if (result != ENCODED || recalled) {
        return result;
    }
    encoder->mutables++;
    Py_buffer buffer;
    int typecode = handover_typecode(value);
    if (typecode < 0 || PyObject_GetBuffer(value, &buffer, PyBUF_SIMPLE) < 0) {
        return FAILED;
    }
    if (typecode != 0) {
        encoder->message->has_array = true;
    }
    bool is_large = buffer.len >= LENDING_BLOCK;
    if (!is_large) {
        result = encode_check(
            wire_put_array(&encoder->message->bytes, typecode, buffer.buf, (size_t)buffer.len));
    }
    PyBuffer_Release(&buffer);
    if (!is_large) {
        return result;
    }
    return encoder->handover != NULL ? encode_noted(encoder, value, false)
                                     : encode_view(encoder, handover_copy_array(value));
}

static encoded
encode_members(struct encoder *encoder, PyObject *value)
{
    PyObject *iterator = PyObject_GetIter(value);
    PyObject *member;
    encoded result = iterator != NULL ? ENCODED : FAILED;
    while (result == ENCODED && (member = PyIter_Next(iterator)) != NULL) {
        result = encode_item(encoder, member, Py_REFCNT(member) > 2);
        Py_DECREF(member);
    }
    Py_XDECREF(iterator);
    return result;
}

static encoded
encode_pairs(struct encoder *encoder, PyObject *dict)
{
    Py_ssize_t place = 0;
    PyObject *key, *value;
    while (PyDict_Next(dict, &place, &key, &value)) {
        encoded result = encode_item(encoder, key, Py_REFCNT(key) > 1);
        if (result == ENCODED) {
            result = encode_item(encoder, value, Py_REFCNT(value) > 1);
        }
        if (result != ENCODED) {
            return result;
        }
    }
    return ENCODED;
}

/* The members of a short tuple that is an argument, as map() is given them, are looked at as arguments are. */
static encoded
encode_sequence(struct encoder *encoder, PyObject *value)
{
    enum { SHORT = 8 };
    bool is_argument = encoder->repeats != NULL && encoder->depth == 1 &&
                       PyTuple_CheckExact(value) && PyTuple_GET_SIZE(value) <= SHORT;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(value); i++) {
        PyObject *member = PySequence_Fast_GET_ITEM(value, i);
        bool shared = Py_REFCNT(member) > 1;
        encoded result = is_argument ? encode_argument(encoder, member, shared)
                                     : encode_item(encoder, member, shared);
        if (result != ENCODED) {
            return result;
        }
    }
    return ENCODED;
}

/* What kind of container an exact type is; 0: none. */
static wire_tag
container_tag(PyObject *value, size_t *count)
{
    if (PyTuple_CheckExact(value)) {
        *count = (size_t)PyTuple_GET_SIZE(value);
        return WIRE_TUPLE;
    }
    if (PyList_CheckExact(value)) {
        *count = (size_t)PyList_GET_SIZE(value);
        return WIRE_LIST;
    }
    if (PyDict_CheckExact(value)) {
        *count = (size_t)PyDict_GET_SIZE(value);
        return WIRE_DICT;
    }
    if (PyAnySet_CheckExact(value)) {
        *count = (size_t)PySet_GET_SIZE(value);
        return PyFrozenSet_CheckExact(value) ? WIRE_FROZENSET : WIRE_SET;
    }
    return 0;
}

static encoded
encode_container(struct encoder *encoder, PyObject *value, bool shared)
{
    size_t count;
    wire_tag tag = container_tag(value, &count);
    if (tag == 0) {
        return NOT_NATIVE;
    }
    bool recalled;
    encoded result = recall(encoder, value, shared, &recalled);
    if (result != ENCODED || recalled) {
        return result;
    }
    if (wire_put_container(&encoder->message->bytes, tag, count) < 0) {
        return encode_out_of_memory();
    }
    encoder->members += count;
    encoder->mutables += tag != WIRE_TUPLE && tag != WIRE_FROZENSET;
    if (Py_EnterRecursiveCall(" while encoding a value for another interpreter")) {
        return FAILED;
    }
    encoder->depth++;
    switch (tag) {
    case WIRE_DICT:
        result = encode_pairs(encoder, value);
        break;
    case WIRE_SET:
    case WIRE_FROZENSET:
        result = encode_members(encoder, value);
        break;
    default:
        result = encode_sequence(encoder, value);
    }
    encoder->depth--;
    Py_LeaveRecursiveCall();
    return result;
}

encoded
encode_item(struct encoder *encoder, PyObject *value, bool shared)
{
    struct wire_buffer *out = &encoder->message->bytes;
    if (PyLong_CheckExact(value)) {
        return encode_int(out, value);
    }
    if (PyUnicode_CheckExact(value)) {
        return encode_text(encoder, value, shared);
    }
    if (PyFloat_CheckExact(value)) {
        return encode_check(wire_put_float(out, PyFloat_AS_DOUBLE(value)));
    }
    if (value == Py_None) {
        return encode_check(wire_put_none(out));
    }
    if (PyBool_Check(value)) {
        return encode_check(wire_put_bool(out, value == Py_True));
    }
    if (PyBytes_CheckExact(value)) {
        return encode_bytes(encoder, value, shared);
    }
    if (PyMemoryView_Check(value)) {
        return encode_memory(encoder, value, shared);
    }
    if (PyComplex_CheckExact(value)) {
        return encode_check(
            wire_put_complex(out, PyComplex_RealAsDouble(value), PyComplex_ImagAsDouble(value)));
    }
    if (broadcast_check(encoder->state, value)) {
        return encode_handle(encoder, value);
    }
    if (encoder->depth == 0 && lending_is_queue(value)) {
        return encode_queue(encoder, value);
    }
    encoded result = encode_container(encoder, value, shared);
    if (result != NOT_NATIVE) {
        return result;
    }
    if (PyByteArray_CheckExact(value) || compat_is_array(value)) {
        return encode_array(encoder, value, shared);
    }
    return encoder->depth == 0 ? encode_exporter(encoder, value) : NOT_NATIVE;
}

/* -- by pickle -- */

static int
status(encoded result)
{
    return result == ENCODED ? 0 : -1;
}

static int
add_pickle_buffers(struct encoder *encoder, PyObject *buffers)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(buffers); i++) {
        PyObject *buffer = PyList_GET_ITEM(buffers, i);
        encoded result = broadcast_check(encoder->state, buffer)
                             ? encode_view(encoder, parcel_view(broadcast_parcel(buffer)))
                             : encode_memory(encoder, buffer, false);
        if (result != ENCODED) {
            return -1;
        }
    }
    return 0;
}

/* Queues and the like: alive until the receiver is done with the message. */
static int
add_keepalive(struct state *state, struct message *message, PyObject *objects)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(objects); i++) {
        struct view *view = lending_lend_queue(state, PyList_GET_ITEM(objects, i));
        if (view == NULL) {
            return -1;
        }
        if (message_add_view(message, view) < 0) {
            PyErr_NoMemory();
            return -1;
        }
    }
    return 0;
}

/* The pickle itself: in the message, or beside it as the first of its buffers. */
static int
add_pickle(struct encoder *encoder, PyObject *bytes, size_t buffers)
{
    struct wire_buffer *out = &encoder->message->bytes;
    if (!lending_is_block(bytes)) {
        return status(encode_check(wire_put_pickle(out, PyBytes_AS_STRING(bytes),
                                                   (size_t)PyBytes_GET_SIZE(bytes), buffers)));
    }
    if (wire_put_pickle(out, "", 0, 1 + buffers) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    return status(encode_block(encoder, bytes, false));
}

static int
add_pickled(struct encoder *encoder, PyObject *pickled)
{
    PyObject *bytes, *buffers, *kept;
    if (!PyArg_ParseTuple(pickled, "SO!O!", &bytes, &PyList_Type, &buffers, &PyList_Type, &kept)) {
        return -1;
    }
    if (add_pickle(encoder, bytes, (size_t)PyList_GET_SIZE(buffers)) < 0 ||
        add_pickle_buffers(encoder, buffers) < 0) {
        return -1;
    }
    return add_keepalive(encoder->state, encoder->message, kept);
}

/* What was encoded before is thrown away. */
int
encode_pickle(struct state *state, struct message *message, struct handover *handover,
              PyObject *value)
{
    message_reset(message);
    PyObject *pickled =
        state_call("_pickling", handover == NULL ? "dumps" : "dumps_result", &value, 1);
    if (pickled == NULL) {
        return -1;
    }
    struct encoder encoder;
    encoder_init(&encoder, state, message, handover);
    int result = add_pickled(&encoder, pickled);
    encoder_free(&encoder);
    Py_DECREF(pickled);
    if (result < 0) {
        message_reset(message);
    }
    return result;
}

/* -- values -- */

static encoded
encode_native(struct state *state, struct message *message, struct handover *handover,
              PyObject *value)
{
    struct encoder encoder;
    encoder_init(&encoder, state, message, handover);
    encoded result = encode_item(&encoder, value, true);
    encoder_free(&encoder);
    if (result == FAILED) {
        message_reset(message);
    }
    return result;
}

int
transport_encode_value(struct state *state, struct message *message, PyObject *value)
{
    encoded result = encode_native(state, message, NULL, value);
    return result == NOT_NATIVE ? encode_pickle(state, message, NULL, value) : status(result);
}

int
transport_encode_result(struct state *state, struct message *message, PyObject **value)
{
    struct handover handover;
    handover_init(&handover);
    encoded native = encode_native(state, message, &handover, *value);
    int result = status(native);
    if (native == ENCODED) {
        Py_CLEAR(*value); /* what only the notes hold from here on can move */
    }
    else if (native == NOT_NATIVE) {
        handover_free(&handover);
        result = encode_pickle(state, message, &handover, *value);
    }
    /* What was pickled is let go afterwards: its destructors may write to the memory. */
    if (result == 0 && handover_commit(&handover, message) < 0) {
        message_reset(message);
        result = -1;
    }
    handover_free(&handover);
    if (result == 0) {
        Py_CLEAR(*value);
    }
    return result;
}
