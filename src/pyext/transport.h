/* transport: Python values to messages and back.
 *
 * None, bool, int, float, complex, str, bytes, bytearray, array.array, and exact tuple, list, dict, set
 * and frozenset of these travel in the project's own form (core/wire), memory and queues beside it:
 * memoryviews, what large bytes, str, bytearrays and arrays have, and, where they are an argument itself
 * or the result, other exporters of memory. A
 * message that holds anything else is one pickle (protocol 5, through aiointerpreters._pickling), so
 * that what pickle keeps (aliasing, recursion, types) is kept across the whole call.
 *
 * Every function wants the caller attached to the interpreter whose state it is given. Encoding adds
 * to an empty message; decoding leaves the message as it is, so that it can be decoded again.
 */
#ifndef AIOINTERP_TRANSPORT_H
#define AIOINTERP_TRANSPORT_H

#include "message.h"
#include "repeats.h"
#include "state.h"

/* A call as vectorcall has it: `count` positional values, then those of `keywords` (a tuple of str,
 * or NULL). */
struct call_values {
    PyObject *callable; /* NULL when the task has a func instead */
    PyObject *const *values;
    size_t count; /* positional */
    PyObject *keywords;
    struct repeats *repeats; /* of who sends it, or NULL: nothing is recognised */
    PyObject *context; /* of context_collect(), or NULL: sent as one more value, the last of all */
};

/* Called before encoding runs what may be anybody's Python (pickle). -1 with an exception: give up. */
struct python_guard {
    int (*before_python)(void *argument);
    void *argument;
};

/* Encodes a call. -1 with an exception: a SendError that names the function and the position or
 * keyword of what cannot be sent, or the guard's; the message is empty again. `function` is for that
 * error. `guard` may be NULL. */
int transport_encode_call(struct state *state, struct message *message,
                          const struct call_values *call, const char *function,
                          const struct python_guard *guard);

/* A decoded call: owns everything. */
struct received_call {
    PyObject *callable; /* or NULL */
    PyObject **values;  /* `room` when they are few */
    size_t count;       /* positional */
    size_t total;
    PyObject *keywords; /* or NULL */
    PyObject *room[9];  /* [0] is the free place in front that vectorcall likes */
    PyObject **block;   /* what was allocated, or NULL */
};

/* -1 with an exception. `with_context`: one was sent. It is the last of all values then, and counts in
 * `total` alone. */
int transport_decode_call(struct state *state, const struct message *message, bool with_context,
                          struct received_call *call);
void transport_free_call(struct received_call *call);

/* One value, of the main interpreter, which lends. Encoding fails with whatever refused. */
int transport_encode_value(struct state *state, struct message *message, PyObject *value);
/* One value of a worker's, which hands over. Lets *value go, and sets it to NULL, once it is encoded; it
 * may fail after that for want of memory. */
int transport_encode_result(struct state *state, struct message *message, PyObject **value);
PyObject *transport_decode_value(struct state *state, const struct message *message);

/* An exception with its traceback. Never fails: what cannot be sent is replaced by an error that
 * says so. `function` is for that one. */
void transport_encode_error(struct state *state, struct message *message, PyObject *exception,
                            const char *function);
/* The exception, its cause the worker's traceback. NULL with an exception when even that fails. */
PyObject *transport_decode_error(struct state *state, const struct message *message);

/* Raises a SendError whose cause is the exception that is set (unless that is no Exception: a
 * KeyboardInterrupt stays). `role` is 'function', 'argument',
 * 'result' or 'exception'; `position` an int, a str, None, or what was to be called with it (borrowed); `value`, which the error says the place of
 * the culprit in, may be NULL. */
void transport_raise_send_error(const char *role, const char *function, PyObject *position,
                                PyObject *value);

#endif
