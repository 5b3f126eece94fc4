#include "stack.h"

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
