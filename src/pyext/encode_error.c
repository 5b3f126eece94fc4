/* The sending half of transport, for exceptions; and what it says of values that cannot be sent. */
#include "transport.h"

#include <string.h>

void
transport_raise_send_error(const char *role, const char *function, PyObject *position,
                           PyObject *value)
{
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception)) {
        return; /* a Ctrl-C in between stays what it is */
    }
    PyObject *cause = PyErr_GetRaisedException();
    PyObject *role_object = PyUnicode_FromString(role);
    PyObject *name = PyUnicode_DecodeUTF8(function, (Py_ssize_t)strlen(function), "replace");
    PyObject *type_name = value != NULL && !PyFunction_Check(value)
                              ? PyType_GetFullyQualifiedName(Py_TYPE(value))
                              : PyUnicode_FromString("");
    PyObject *error = NULL;
    if (role_object != NULL && name != NULL && type_name != NULL) {
        PyObject *args[] = {role_object,
                            name,
                            position,
                            type_name,
                            cause != NULL ? cause : Py_None,
                            value != NULL ? value : Py_None};
        error = state_call("_errors", "send_error", args, 6);
    }
    Py_XDECREF(role_object);
    Py_XDECREF(name);
    Py_XDECREF(type_name);
    if (error != NULL) {
        PyErr_SetRaisedException(error);
    }
    else if (cause != NULL && !PyErr_Occurred()) {
        PyErr_SetRaisedException(Py_NewRef(cause));
    }
    Py_XDECREF(cause);
}

static void
put_text(struct wire_buffer *out, PyObject *text)
{
    if (text == NULL || !PyUnicode_Check(text)) {
        PyErr_Clear();
        wire_put_str(out, 1, "?", 1);
        return;
    }
    wire_put_str(out, (int)PyUnicode_KIND(text), PyUnicode_DATA(text),
                 (size_t)PyUnicode_GET_LENGTH(text));
}

/* Without any of our Python rooms: the type's name and the text of the exception. */
static void
encode_bare_error(struct message *message, PyObject *exception)
{
    PyObject *name = PyType_GetFullyQualifiedName(Py_TYPE(exception));
    put_text(&message->bytes, name);
    PyObject *text = PyObject_Str(exception);
    put_text(&message->bytes, text);
    Py_XDECREF(name);
    Py_XDECREF(text);
}

void
transport_encode_error(struct state *state, struct message *message, PyObject *exception,
                       const char *function)
{
    (void)state;
    message_reset(message);
    PyObject *name = PyUnicode_DecodeUTF8(function, (Py_ssize_t)strlen(function), "replace");
    PyObject *args[] = {exception, name};
    PyObject *encoded_error = name != NULL ? state_call("_worker", "encode_error", args, 2) : NULL;
    Py_XDECREF(name);
    PyObject *bytes, *text;
    if (encoded_error == NULL || !PyArg_ParseTuple(encoded_error, "SU", &bytes, &text)) {
        PyErr_Clear();
        encode_bare_error(message, exception);
    }
    else if (wire_put_pickle(&message->bytes, PyBytes_AS_STRING(bytes),
                             (size_t)PyBytes_GET_SIZE(bytes), 0) == 0) {
        put_text(&message->bytes, text);
    }
    Py_XDECREF(encoded_error);
}
