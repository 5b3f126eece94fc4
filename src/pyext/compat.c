#include "compat.h"

PyThreadState *
compat_new_interpreter(const char **why)
{
    PyInterpreterConfig config = {
        .use_main_obmalloc = 0,
        .allow_fork = 0,
        .allow_exec = 0,
        .allow_threads = 1,
        .allow_daemon_threads = 0,
        .check_multi_interp_extensions = 1,
        .gil = PyInterpreterConfig_OWN_GIL,
    };
    PyThreadState *tstate = NULL;
    PyStatus status = Py_NewInterpreterFromConfig(&tstate, &config);
    if (PyStatus_Exception(status) || tstate == NULL) {
        *why = status.err_msg != NULL ? status.err_msg : "out of memory";
        return NULL;
    }
    return tstate;
}

#if PY_VERSION_HEX < 0x030E0000
/* Joins what threading.Thread started in this interpreter, then counts who is left. */
static bool
other_threads_left(PyThreadState *tstate)
{
    PyObject *name = PyUnicode_FromString("threading");
    PyObject *threading = name == NULL ? NULL : PyImport_GetModule(name);
    Py_XDECREF(name);
    if (threading != NULL) {
        PyObject *done = PyObject_CallMethod(threading, "_shutdown", NULL);
        Py_XDECREF(done);
        Py_DECREF(threading);
    }
    PyErr_Clear();
    PyThreadState *head = PyInterpreterState_ThreadHead(PyThreadState_GetInterpreter(tstate));
    return head != tstate || PyThreadState_Next(head) != NULL;
}
#endif

bool
compat_end_interpreter(PyThreadState *tstate)
{
#if PY_VERSION_HEX < 0x030E0000
    if (other_threads_left(tstate)) {
        PyEval_SaveThread();
        return false;
    }
#endif
    Py_EndInterpreter(tstate);
    return true;
}

int
compat_prepare_main(void)
{
#if PY_VERSION_HEX < 0x030E0000
    PyObject *module = PyImport_ImportModule("_datetime");
    if (module == NULL) {
        return -1;
    }
    Py_DECREF(module);
#endif
    return 0;
}

bool
compat_has_future_snapshot(void)
{
    return PY_VERSION_HEX >= 0x030F0000;
}
