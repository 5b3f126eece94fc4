#include "stack.h"

#include "../os/os.h"
#include "registry.h"
#include "state.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_FRAMES = 100 }; /* of a thread, as faulthandler has it */

struct text {
    char *data; /* NULL: out of memory */
    size_t size;
    size_t capacity;
};

static void
put(struct text *text, const char *string)
{
    size_t more = strlen(string);
    if (text->data != NULL && text->size + more + 1 > text->capacity) {
        text->capacity = 2 * (text->size + more + 1);
        char *data = realloc(text->data, text->capacity);
        if (data == NULL) {
            free(text->data);
        }
        text->data = data;
    }
    if (text->data != NULL) {
        memcpy(text->data + text->size, string, more + 1);
        text->size += more;
    }
}

static void
put_object(struct text *text, PyObject *string)
{
    PyObject *bytes =
        string == NULL ? NULL : PyUnicode_AsEncodedString(string, "utf-8", "backslashreplace");
    put(text, bytes == NULL ? "???" : PyBytes_AS_STRING(bytes));
    Py_XDECREF(bytes);
    PyErr_Clear();
}

static void
put_frame(struct text *text, PyFrameObject *frame)
{
    char number[64];
    PyCodeObject *code = PyFrame_GetCode(frame);
    put(text, "  File \"");
    put_object(text, code->co_filename);
    PyOS_snprintf(number, sizeof(number), "\", line %d in ", PyFrame_GetLineNumber(frame));
    put(text, number);
    put_object(text, code->co_qualname);
    put(text, "\n");
    Py_DECREF(code);
}

static void
put_stack(struct text *text, PyObject *top)
{
    PyFrameObject *frame = (PyFrameObject *)Py_NewRef(top);
    for (int depth = 0; frame != NULL; depth++) {
        if (depth == MOST_FRAMES) {
            put(text, "  ...\n");
            break;
        }
        put_frame(text, frame);
        Py_SETREF(frame, PyFrame_GetBack(frame));
    }
    Py_XDECREF(frame);
}

static void
put_others(struct text *text, PyObject *frames, unsigned long first)
{
    PyObject *key, *frame;
    Py_ssize_t position = 0;
    char line[64];
    while (PyDict_Next(frames, &position, &key, &frame)) {
        unsigned long thread = PyLong_AsUnsignedLong(key);
        if (thread != first && thread != PyThread_get_thread_ident()) {
            PyOS_snprintf(line, sizeof(line), "  Thread 0x%016lx of the same interpreter:\n",
                          thread);
            put(text, line);
            put_stack(text, frame);
        }
    }
}

PyObject *
stack_current_frames(void)
{
    PyObject *frames = PyDict_New();
    PyThreadState *tstate = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
    for (; frames != NULL && tstate != NULL; tstate = PyThreadState_Next(tstate)) {
        PyObject *frame = (PyObject *)PyThreadState_GetFrame(tstate);
        PyObject *key = frame == NULL ? NULL : PyLong_FromUnsignedLong(tstate->thread_id);
        if (frame != NULL && (key == NULL || PyDict_SetItem(frames, key, frame) < 0)) {
            Py_CLEAR(frames);
        }
        Py_XDECREF(key);
        Py_XDECREF(frame);
    }
    return frames;
}

char *
stack_of_threads(unsigned long first)
{
    struct text text = {.data = malloc(1024), .capacity = 1024};
    PyObject *frames = stack_current_frames();
    PyObject *key = PyLong_FromUnsignedLong(first);
    put(&text, "");
    if (frames != NULL && key != NULL) {
        PyObject *top = PyDict_GetItemWithError(frames, key); /* borrowed */
        if (top != NULL) {
            put_stack(&text, top);
        }
        put_others(&text, frames, first);
    }
    Py_XDECREF(key);
    Py_XDECREF(frames);
    PyErr_Clear();
    return text.data;
}

/* -- in the place of functions of sys -- */

static PyObject *
current_frames(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PySys_Audit("sys._current_frames", NULL) < 0 ? NULL : stack_current_frames();
}

static PyObject *
current_exceptions(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    if (PySys_Audit("sys._current_exceptions", NULL) < 0) {
        return NULL;
    }
    PyObject *exceptions = PyDict_New();
    PyThreadState *tstate = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
    for (; exceptions != NULL && tstate != NULL; tstate = PyThreadState_Next(tstate)) {
        PyObject *exception = compat_handled_exception(tstate);
        PyObject *key = PyLong_FromUnsignedLong(tstate->thread_id);
        if (key == NULL ||
            PyDict_SetItem(exceptions, key, exception != NULL ? exception : Py_None) < 0) {
            Py_CLEAR(exceptions);
        }
        Py_XDECREF(key);
    }
    return exceptions;
}

enum { TRIES = 1000 };
static const int64_t BETWEEN_TRIES = 1000000; /* nanoseconds */

/* `module` is NULL but in the main interpreter. The worker of a task whose result is there may still be about
 * to leave its interpreter: it has a second for that. */
static PyObject *
allocated_blocks(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    for (int i = 0; module != NULL && i < TRIES; i++) {
        if (registry_pause()) {
            struct state *state = state_of_module(module);
            PyObject *count = PyObject_CallNoArgs(state->count_blocks); /* runs no Python */
            registry_resume();
            return count;
        }
        Py_BEGIN_ALLOW_THREADS
        atomic_uint nobody = 0;
        os_word_wait(&nobody, 0, os_now_ns() + BETWEEN_TRIES);
        Py_END_ALLOW_THREADS
        if (PyErr_CheckSignals() < 0) {
            return NULL;
        }
    }
    PyErr_SetString(
        PyExc_RuntimeError,
        "sys.getallocatedblocks() walks the memory of all interpreters, and a task runs "
        "in one of them: it would crash; call it in the main interpreter, while no "
        "tagged task runs");
    return NULL;
}

static PyMethodDef guarded[] = {
    {"_current_frames", current_frames, METH_NOARGS,
     PyDoc_STR("As CPython's, of this interpreter's threads only.")},
    {"_current_exceptions", current_exceptions, METH_NOARGS,
     PyDoc_STR("As CPython's, of this interpreter's threads only.")},
    {"getallocatedblocks", allocated_blocks, METH_NOARGS,
     PyDoc_STR("As CPython's; RuntimeError while a task runs in an interpreter of an "
               "InterpreterThreadPoolExecutor.")},
};

/* One that somebody else has replaced stays, and so does ours. In an interpreter that will be ended, ours does not
 * refer to the module: `sys` is emptied after the last garbage collection there, so what it holds stays for good. */
static int
guard(PyObject *module, PyMethodDef *def)
{
    struct state *state = state_of_module(module);
    PyObject *original = PySys_GetObject(def->ml_name); /* borrowed */
    if (original == NULL || !PyCFunction_CheckExact(original) ||
        PyCFunction_GET_FUNCTION(original) == def->ml_meth) {
        return 0;
    }
    if (state->is_main && def->ml_meth == allocated_blocks) {
        Py_XSETREF(state->count_blocks, Py_NewRef(original));
    }
    PyObject *ours = PyCFunction_New(def, state->is_main ? module : NULL);
    int result = ours == NULL ? -1 : PySys_SetObject(def->ml_name, ours);
    Py_XDECREF(ours);
    return result;
}

int
stack_guard_sys(PyObject *module)
{
    for (size_t i = 0; i < Py_ARRAY_LENGTH(guarded); i++) {
        if (guard(module, &guarded[i]) < 0) {
            return -1;
        }
    }
    return 0;
}
