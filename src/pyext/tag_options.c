#include "tag_options.h"

#include "state.h"

/* Items. */
enum { DEFAULT_BUFFER = 64 };

/* Seconds: 285 years, which is for ever. */
#define LONGEST_LIMIT 9e9

/* Checks the value of an option, for `state`. Gives it as it is kept in `given`, or None when it is the
 * default: a new reference, or NULL with an exception that names the option. */
typedef PyObject *(*check_option)(struct state *state, PyObject *value);

static PyObject *
check_context_vars(struct state *state, PyObject *value)
{
    PyObject *args[] = {value, state->is_main ? Py_True : Py_False};
    PyObject *variables = state_call("_context", "checked", args, 2);
    if (variables != NULL && PyTuple_GET_SIZE(variables) == 0) {
        Py_SETREF(variables, Py_NewRef(Py_None));
    }
    return variables;
}

/* Seconds, as a float. */
static PyObject *
check_timeout(struct state *Py_UNUSED(state), PyObject *value)
{
    if (value == Py_None) {
        return Py_NewRef(value);
    }
    double seconds = PyFloat_AsDouble(value);
    if (seconds == -1.0 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_Format(PyExc_TypeError,
                         "timeout must be a number of seconds or None, not %R of type %T", value,
                         value);
        }
        return NULL;
    }
    if (!(seconds > 0)) {
        return PyErr_Format(PyExc_ValueError, "timeout must be greater than 0 seconds, not %R",
                            value);
    }
    return seconds < LONGEST_LIMIT ? PyFloat_FromDouble(seconds) : Py_NewRef(Py_None);
}

static PyObject *
check_interruptible(struct state *Py_UNUSED(state), PyObject *value)
{
    int interruptible = PyObject_IsTrue(value);
    if (interruptible < 0) {
        return NULL;
    }
    return Py_NewRef(interruptible ? Py_None : Py_False);
}

static PyObject *
check_everywhere(struct state *Py_UNUSED(state), PyObject *value)
{
    int everywhere = PyObject_IsTrue(value);
    if (everywhere < 0) {
        return NULL;
    }
    return Py_NewRef(everywhere ? Py_True : Py_None);
}

/* Items, as an int. */
static PyObject *
check_buffer(struct state *Py_UNUSED(state), PyObject *value)
{
    Py_ssize_t count = PyNumber_AsSsize_t(value, NULL); /* clipped when it is too large */
    if (count == -1 && PyErr_Occurred()) {
        return PyErr_Format(PyExc_TypeError, "buffer must be an int, not %R of type %T", value,
                            value);
    }
    if (count <= 0) {
        return PyErr_Format(PyExc_ValueError, "buffer must be greater than 0, not %R", value);
    }
    return count == DEFAULT_BUFFER ? Py_NewRef(Py_None)
                                   : PyLong_FromSsize_t(Py_MIN(count, INT32_MAX));
}

static const struct option {
    const char *name;
    check_option check;
} known_options[] = {
    {"context_vars", check_context_vars},
    {"timeout", check_timeout},
    {"interruptible", check_interruptible},
    {"everywhere", check_everywhere},
    {"buffer", check_buffer},
};

/* For those who act on the options. -1 with an exception: they do not go together. */
static int
unpack(struct tag_options *options)
{
    options->context_vars = PyDict_GetItemString(options->given, "context_vars");
    options->uninterruptible = PyDict_GetItemString(options->given, "interruptible") != NULL;
    options->everywhere = PyDict_GetItemString(options->given, "everywhere") != NULL;
    PyObject *buffer = PyDict_GetItemString(options->given, "buffer");
    options->buffer = buffer == NULL ? DEFAULT_BUFFER : (unsigned)PyLong_AsUnsignedLong(buffer);
    PyObject *timeout = PyDict_GetItemString(options->given, "timeout");
    double nanoseconds = timeout == NULL ? 0 : PyFloat_AS_DOUBLE(timeout) * 1e9;
    options->limit = nanoseconds > 0 && nanoseconds < 1 ? 1 : (int64_t)nanoseconds;
    if (options->limit > 0 && options->uninterruptible) {
        PyErr_SetString(PyExc_ValueError,
                        "a call with a timeout must be interruptible: it could not be stopped");
        return -1;
    }
    return 0;
}

static const struct option *
find_option(PyObject *name)
{
    for (size_t i = 0; i < Py_ARRAY_LENGTH(known_options); i++) {
        if (PyUnicode_EqualToUTF8(name, known_options[i].name)) {
            return &known_options[i];
        }
    }
    PyErr_Format(PyExc_TypeError, "interpreter() got an unexpected keyword argument '%U'", name);
    return NULL;
}

/* Takes one keyword argument over into `given`. */
static int
apply(struct state *state, PyObject *given, PyObject *name, PyObject *value)
{
    const struct option *option = find_option(name);
    PyObject *checked = option == NULL ? NULL : option->check(state, value);
    if (checked == NULL) {
        return -1;
    }
    int result =
        checked == Py_None ? PyDict_Pop(given, name, NULL) : PyDict_SetItem(given, name, checked);
    Py_DECREF(checked);
    return result < 0 ? -1 : 0;
}

int
tag_options_make(struct tag_options *options, struct state *state,
                 const struct tag_options *inherited, PyObject *keywords)
{
    *options = (struct tag_options){.buffer = DEFAULT_BUFFER};
    if (keywords == NULL || PyDict_GET_SIZE(keywords) == 0) {
        if (inherited != NULL) {
            tag_options_copy(options, inherited);
        }
        return 0;
    }
    bool inherits = inherited != NULL && inherited->given != NULL;
    PyObject *given = inherits ? PyDict_Copy(inherited->given) : PyDict_New();
    Py_ssize_t place = 0;
    PyObject *name, *value;
    while (given != NULL && PyDict_Next(keywords, &place, &name, &value)) {
        if (apply(state, given, name, value) < 0) {
            Py_CLEAR(given);
        }
    }
    if (given == NULL) {
        return -1;
    }
    if (PyDict_GET_SIZE(given) == 0) {
        Py_DECREF(given);
        return 0;
    }
    options->given = given;
    if (unpack(options) < 0) {
        tag_options_clear(options);
        return -1;
    }
    return 0;
}

void
tag_options_copy(struct tag_options *options, const struct tag_options *other)
{
    *options = *other;
    Py_XINCREF(options->given);
}

void
tag_options_clear(struct tag_options *options)
{
    PyObject *given = options->given;
    *options = (struct tag_options){.buffer = DEFAULT_BUFFER};
    Py_XDECREF(given);
}

int
tag_options_traverse(struct tag_options *options, visitproc visit, void *arg)
{
    Py_VISIT(options->given);
    return 0;
}

int
tag_options_equal(const struct tag_options *one, const struct tag_options *other)
{
    if (one->given == NULL || other->given == NULL) {
        return one->given == other->given;
    }
    return PyObject_RichCompareBool(one->given, other->given, Py_EQ);
}

PyObject *
tag_options_repr(const struct tag_options *options)
{
    PyObject *text = PyUnicode_FromString("");
    Py_ssize_t place = 0;
    PyObject *name, *value;
    while (text != NULL && options->given != NULL &&
           PyDict_Next(options->given, &place, &name, &value)) {
        Py_SETREF(text, PyUnicode_FromFormat("%U, %U=%R", text, name, value));
    }
    return text;
}
