/* The sending half of transport, for calls: their arguments, which may be repeats, and what is said of those that
 * cannot be sent. */
#include "encoder.h"

#include "broadcast.h"
#include "lending.h"
#include "repeats.h"

/* -- arguments, which may be repeats -- */

/* About the bytes that it takes in an interpreter. */
static size_t
weight_so_far(const struct encoder *encoder)
{
    enum { OF_CONTAINER = 48, OF_MEMBER = 8 };
    return encoder->message->bytes.size + encoder->containers * OF_CONTAINER +
           encoder->members * OF_MEMBER;
}

/* Encodes the value as what it is, and notes it if nothing in it can be changed. */
static encoded
encode_weighed(struct encoder *encoder, PyObject *value, bool shared)
{
    size_t outer_again = encoder->lowest_again;
    size_t first = encoder->containers;
    size_t mutables = encoder->mutables;
    size_t weight = weight_so_far(encoder);
    encoder->lowest_again = SIZE_MAX;
    encoded result = encode_item(encoder, value, shared);
    /* A container that was begun outside of the value may be one that can be changed. */
    bool is_whole = encoder->lowest_again >= first;
    encoder->lowest_again = Py_MIN(encoder->lowest_again, outer_again);
    if (result == ENCODED && is_whole && encoder->mutables == mutables &&
        repeats_find(encoder->repeats, value) == NULL) {
        repeats_note(encoder->repeats, value, weight_so_far(encoder) - weight);
    }
    return result;
}

/* The value alone, by an encoder that cannot pickle, and so runs no Python. NULL, without an exception: there
 * is no memory, or no stack, for it. */
static struct parcel *
parcel_with(struct state *state, PyObject *value)
{
    struct parcel *parcel = parcel_new();
    if (parcel == NULL) {
        return NULL;
    }
    struct encoder encoder;
    encoder_init(&encoder, state, &parcel->message, NULL);
    encoded result = encode_item(&encoder, value, true);
    encoder_free(&encoder);
    if (result != ENCODED) {
        PyErr_Clear();
        parcel_disown(parcel);
        return NULL;
    }
    return parcel;
}

/* The parcel of a value that was noted before, made now if there is none; borrowed. NULL: it was not, or there
 * is no memory. */
static struct parcel *
parcel_of(struct state *state, struct repeats *repeats, PyObject *value)
{
    struct repeat *repeat = repeats_find(repeats, value);
    if (repeat == NULL || repeat->failed) {
        return NULL;
    }
    if (repeat->parcel == NULL) {
        repeat->parcel = parcel_with(state, value);
        repeat->failed = repeat->parcel == NULL;
    }
    return repeat->parcel;
}

encoded
encode_argument(struct encoder *encoder, PyObject *value, bool shared)
{
    if (!repeats_is_kind(encoder->repeats, value)) {
        return encode_item(encoder, value, shared);
    }
    struct memo_entry *entry = encoder_find(encoder, value);
    if (entry == NULL) {
        return FAILED;
    }
    if (entry->object != NULL) {
        return encode_again(encoder, entry);
    }
    struct parcel *parcel = parcel_of(encoder->state, encoder->repeats, value);
    if (parcel == NULL) {
        return encode_weighed(encoder, value, shared);
    }
    *entry = (struct memo_entry){value, encoder->message->view_count, true};
    encoder->memo_count++;
    return encode_view(encoder, parcel_view(parcel));
}

/* -- calls -- */

static size_t
total_values(const struct call_values *call)
{
    size_t keywords = call->keywords != NULL ? (size_t)PyTuple_GET_SIZE(call->keywords) : 0;
    return call->count + keywords;
}

/* For a call that will be pickled: what of its values, from `first` on, could be sent once all the same
 * becomes known. The message is of no use afterwards. */
static void
weigh_arguments(struct encoder *encoder, const struct call_values *call, size_t first)
{
    encoder->depth = 0;
    for (size_t i = first; i < total_values(call); i++) {
        if (repeats_is_kind(call->repeats, call->values[i]) &&
            encode_argument(encoder, call->values[i], true) == FAILED) {
            PyErr_Clear();
        }
    }
}

/* A tuple of all values, then the tuple of keywords if there are any. The first is no object of
 * its own on the other side, but counts as a container all the same. */
static encoded
encode_native_call(struct encoder *encoder, const struct call_values *call)
{
    struct wire_buffer *out = &encoder->message->bytes;
    size_t total = total_values(call);
    if (call->callable != NULL) {
        weigh_arguments(encoder, call, 0);
        return NOT_NATIVE;
    }
    if (wire_put_container(out, WIRE_TUPLE, total + (call->context != NULL)) < 0) {
        return encode_out_of_memory();
    }
    encoder->containers++;
    encoded result = ENCODED;
    for (size_t i = 0; i < total && result == ENCODED; i++) {
        result = encode_argument(encoder, call->values[i], true);
        if (result == NOT_NATIVE) {
            weigh_arguments(encoder, call, i + 1);
        }
    }
    if (result == ENCODED && call->context != NULL) {
        result = encode_item(encoder, call->context, false);
    }
    if (result == ENCODED && call->keywords != NULL) {
        result = encode_item(encoder, call->keywords, false);
    }
    return result;
}

/* The value as it is pickled: a handle if it is sent once, an exporter of memory as a memoryview. A new reference. */
static PyObject *
pickled_argument(struct state *state, const struct call_values *call, PyObject *value)
{
    /* Weighed before, as encode_native_call() was given up. */
    struct repeat *repeat =
        repeats_is_kind(call->repeats, value) ? repeats_find(call->repeats, value) : NULL;
    if (repeat != NULL && repeat->parcel != NULL) {
        return broadcast_of(state, value, repeat->parcel);
    }
    PyObject *memoryview;
    int exports = lending_view_of(value, &memoryview);
    if (exports < 0 && encode_exporter_refuses()) {
        PyErr_Clear();
        exports = 0;
    }
    return exports > 0 ? memoryview : exports < 0 ? NULL : Py_NewRef(value);
}

static PyObject *
pickled_arguments(struct state *state, const struct call_values *call)
{
    size_t count = total_values(call);
    PyObject *last = call->context;
    PyObject *tuple = PyTuple_New((Py_ssize_t)count + (last != NULL));
    for (size_t i = 0; tuple != NULL && i < count; i++) {
        PyObject *argument = pickled_argument(state, call, call->values[i]);
        if (argument == NULL) {
            Py_CLEAR(tuple);
            break;
        }
        PyTuple_SET_ITEM(tuple, (Py_ssize_t)i, argument);
    }
    if (tuple != NULL && last != NULL) {
        PyTuple_SET_ITEM(tuple, (Py_ssize_t)count, Py_NewRef(last));
    }
    return tuple;
}

static int
encode_pickled_call(struct state *state, struct message *message, const struct call_values *call)
{
    PyObject *values = pickled_arguments(state, call);
    if (values == NULL) {
        return -1;
    }
    PyObject *whole =
        Py_BuildValue("NOO", values, call->keywords != NULL ? call->keywords : Py_None,
                      call->callable != NULL ? call->callable : Py_None);
    if (whole == NULL) {
        return -1;
    }
    int result = encode_pickle(state, message, NULL, whole);
    Py_DECREF(whole);
    return result;
}

/* What an exporter says of itself, that it is closed say, tells more than that it cannot be pickled. */
static void
prefer_exporters_error(PyObject *value)
{
    PyObject *error = PyErr_GetRaisedException();
    PyObject *memoryview = NULL;
    if (lending_view_of(value, &memoryview) < 0) {
        Py_DECREF(error);
        return;
    }
    Py_XDECREF(memoryview);
    PyErr_SetRaisedException(error);
}

/* Raises for the first context variable whose value cannot be sent alone. */
static void
blame_context(struct state *state, struct message *scratch, PyObject *context, const char *function)
{
    for (Py_ssize_t i = 0; i + 1 < PyTuple_GET_SIZE(context) && !PyErr_Occurred(); i += 2) {
        PyObject *value = PyTuple_GET_ITEM(context, i + 1);
        message_reset(scratch);
        if (transport_encode_value(state, scratch, value) < 0) {
            transport_raise_send_error("context variable", function, PyTuple_GET_ITEM(context, i),
                                       value);
        }
    }
}

/* Tries value by value, to say which one refused, with the error of that one. The error of the
 * whole call is set on entry and stays if every value passes alone. */
static void
blame_value(struct state *state, const struct call_values *call, const char *function)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception)) {
        return; /* a Ctrl-C is nobody's fault */
    }
    PyObject *whole_error = PyErr_GetRaisedException();
    struct message scratch;
    message_init(&scratch);
    if (call->callable != NULL && transport_encode_value(state, &scratch, call->callable) < 0) {
        transport_raise_send_error("function", function, Py_None, call->callable);
    }
    size_t total = total_values(call);
    for (size_t i = 0; i < total && !PyErr_Occurred(); i++) {
        message_reset(&scratch);
        if (transport_encode_value(state, &scratch, call->values[i]) < 0) {
            prefer_exporters_error(call->values[i]);
            PyObject *cause = PyErr_GetRaisedException();
            PyObject *position =
                i < call->count
                    ? PyLong_FromSize_t(i)
                    : Py_NewRef(PyTuple_GET_ITEM(call->keywords, (Py_ssize_t)(i - call->count)));
            PyErr_SetRaisedException(cause);
            transport_raise_send_error("argument", function, position != NULL ? position : Py_None,
                                       call->values[i]);
            Py_XDECREF(position);
        }
    }
    if (call->context != NULL && !PyErr_Occurred()) {
        blame_context(state, &scratch, call->context, function);
    }
    message_free(&scratch);
    if (PyErr_Occurred()) {
        Py_XDECREF(whole_error);
        return;
    }
    PyErr_SetRaisedException(whole_error);
    transport_raise_send_error("argument", function, Py_None, NULL);
}

/* Keeps the exception that is set, unless the guard gives up. */
static int
call_guard(const struct python_guard *guard)
{
    if (guard == NULL) {
        return 0;
    }
    PyObject *error = PyErr_GetRaisedException();
    if (guard->before_python(guard->argument) < 0) {
        Py_XDECREF(error);
        return -1;
    }
    PyErr_SetRaisedException(error);
    return 0;
}

int
transport_encode_call(struct state *state, struct message *message, const struct call_values *call,
                      const char *function, const struct python_guard *guard)
{
    struct encoder encoder;
    encoder_init(&encoder, state, message, NULL);
    encoder.repeats = call->repeats;
    encoded result = encode_native_call(&encoder, call);
    encoder_free(&encoder);
    if (result == ENCODED) {
        return 0;
    }
    message_reset(message);
    if (call_guard(guard) < 0) {
        return -1;
    }
    if (result == NOT_NATIVE && encode_pickled_call(state, message, call) == 0) {
        return 0;
    }
    blame_value(state, call, function);
    return -1;
}
