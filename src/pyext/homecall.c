#include "homecall.h"

#include "home.h"

#include <stdlib.h>
#include <string.h>

/* Of the calling thread; both NULL when it is no worker and leases nothing. */
static _Thread_local struct {
    PyThreadState *main; /* its state in the main interpreter; detached while it is elsewhere */
    /* Of the threading.Thread, UTF-8; owned. NULL while who leases has not been asked. */
    char *name;
    bool leases; /* and is no worker */
} this_thread;

/* Attached to the main interpreter. */
static void
remember_name(void)
{
    PyObject *threading = PyImport_ImportModule("threading");
    PyObject *thread =
        threading == NULL ? NULL : PyObject_CallMethod(threading, "current_thread", NULL);
    PyObject *name = thread == NULL ? NULL : PyObject_GetAttrString(thread, "name");
    const char *text = name == NULL ? NULL : PyUnicode_AsUTF8(name);
    free(this_thread.name);
    this_thread.name = text == NULL ? NULL : strdup(text);
    PyErr_Clear(); /* then it goes without a name */
    Py_XDECREF(threading);
    Py_XDECREF(thread);
    Py_XDECREF(name);
}

void
homecall_remember_thread(void)
{
    this_thread.main = PyThreadState_Get();
    remember_name();
}

void
homecall_forget_thread(void)
{
    free(this_thread.name);
    this_thread.main = NULL;
    this_thread.name = NULL;
}

void
homecall_begin_lease(PyThreadState *main)
{
    this_thread.leases = this_thread.main == NULL;
    if (this_thread.leases) {
        this_thread.main = main;
    }
}

void
homecall_end_lease(void)
{
    if (this_thread.leases) {
        this_thread.leases = false;
        homecall_forget_thread();
    }
}

/* -- noticing imports -- */

int
homecall_install(struct state *state)
{
    static const char *const names[] = {"decimal", "logging", "threading"};
    PyObject *finders = PySys_GetObject("meta_path"); /* borrowed */
    state->hooked = PySet_New(NULL);
    for (size_t i = 0; state->hooked != NULL && i < Py_ARRAY_LENGTH(names); i++) {
        PyObject *name = PyUnicode_InternFromString(names[i]);
        if (name == NULL || PySet_Add(state->hooked, name) < 0) {
            Py_CLEAR(state->hooked);
        }
        Py_XDECREF(name);
    }
    if (state->hooked == NULL ||
        PyModule_AddObjectRef(state->module, "hooked", state->hooked) < 0) {
        return -1;
    }
    return finders == NULL ? 0 : PyList_Insert(finders, 0, state->module);
}

const char homecall_find_spec_doc[] =
    PyDoc_STR("find_spec(name, path=None, target=None)\n--\n\n"
              "What makes this module a finder: sees the imports that matter (private).");

PyObject *
homecall_find_spec(PyObject *module, PyObject *const *args, Py_ssize_t count,
                   PyObject *Py_UNUSED(keywords))
{
    struct state *state = state_of_module(module);
    int hooked = count < 1 || state->hooked == NULL ? 0 : PySet_Contains(state->hooked, args[0]);
    if (hooked <= 0) {
        return hooked < 0 ? NULL : Py_NewRef(Py_None);
    }
    return state_call("_home", "find_spec", args, 1);
}

/* -- calling home -- */

struct text {
    char *data; /* owned, or NULL */
    size_t size;
};

static int
copy_out(PyObject *bytes, struct text *text)
{
    text->size = (size_t)PyBytes_GET_SIZE(bytes);
    text->data = malloc(text->size + 1);
    if (text->data == NULL) {
        return -1;
    }
    memcpy(text->data, PyBytes_AS_STRING(bytes), text->size);
    return 0;
}

/* Attached to the main interpreter. What goes wrong is reported there. */
static void
receive(const struct text *sent, struct text *answer)
{
    PyObject *data = PyBytes_FromStringAndSize(sent->data, (Py_ssize_t)sent->size);
    PyObject *result = data == NULL ? NULL : state_call("_home", "receive", &data, 1);
    if (result == NULL) {
        PyErr_FormatUnraisable("Exception ignored in a call of a worker to its caller");
    }
    else if (PyBytes_Check(result)) {
        copy_out(result, answer);
    }
    Py_XDECREF(data);
    Py_XDECREF(result);
}

void
homecall_visit(void (*visit)(void *argument), void *argument)
{
    PyThreadState *here = PyEval_SaveThread();
    bool is_worker = this_thread.main != NULL;
    PyEval_RestoreThread(is_worker ? this_thread.main
                                   : PyThreadState_New(PyInterpreterState_Main()));
    visit(argument);
    if (is_worker) {
        PyEval_SaveThread();
    }
    else {
        PyThreadState_Clear(PyThreadState_Get());
        PyThreadState_DeleteCurrent();
    }
    PyEval_RestoreThread(here);
}

struct exchange {
    struct text sent, answer;
};

static void
exchange_texts(void *argument)
{
    struct exchange *exchange = argument;
    receive(&exchange->sent, &exchange->answer);
}

const char homecall_call_home_doc[] =
    PyDoc_STR("call_home(data)\n--\n\n"
              "Have the main interpreter handle bytes, and return the answer or None (private).");

PyObject *
homecall_call_home(PyObject *module, PyObject *data)
{
    struct state *state = state_of_module(module);
    if (!PyBytes_CheckExact(data)) {
        return PyErr_Format(PyExc_TypeError, "call_home() takes bytes, not %T", data);
    }
    if (state->is_main || Py_IsFinalizing()) {
        Py_RETURN_NONE;
    }
    struct exchange exchange = {{NULL, 0}, {NULL, 0}};
    if (copy_out(data, &exchange.sent) < 0) {
        return PyErr_NoMemory();
    }
    homecall_visit(exchange_texts, &exchange);
    free(exchange.sent.data);
    const struct text *answer = &exchange.answer;
    PyObject *result = answer->data == NULL
                           ? Py_NewRef(Py_None)
                           : PyBytes_FromStringAndSize(answer->data, (Py_ssize_t)answer->size);
    free(exchange.answer.data);
    return result;
}

const char homecall_place_doc[] =
    PyDoc_STR("place()\n--\n\n"
              "The id of this interpreter, and the name of the worker's thread or None (private).");

/* Who leases may have been given another name since the last time. */
static void
ask_for_name(void)
{
    PyThreadState *here = PyEval_SaveThread();
    PyEval_RestoreThread(this_thread.main);
    remember_name();
    PyEval_SaveThread();
    PyEval_RestoreThread(here);
}

PyObject *
homecall_place(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    if (this_thread.leases && this_thread.name == NULL && !Py_IsFinalizing()) {
        ask_for_name();
    }
    return Py_BuildValue("Lz", (long long)PyInterpreterState_GetID(PyInterpreterState_Get()),
                         this_thread.name);
}

const char homecall_watch_levels_doc[] = PyDoc_STR(
    "watch_levels(cache)\n--\n\n"
    "Have workers follow the levels of loggers, as this cache of logging tells (private).");

PyObject *
homecall_watch_levels(PyObject *module, PyObject *cache)
{
    if (!PyDict_Check(cache)) {
        return PyErr_Format(PyExc_TypeError, "watch_levels() takes a dict, not %T", cache);
    }
    home_watch_levels(state_of_module(module), cache);
    Py_RETURN_NONE;
}
