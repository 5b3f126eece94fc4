/* module: the extension module aiointerpreters._core, put together from the rooms. */
#include "state.h"

#include "awaited.h"
#include "broadcast.h"
#include "callables.h"
#include "crew.h"
#include "definition.h"
#include "executor.h"
#include "exporter.h"
#include "future.h"
#include "handover.h"
#include "home.h"
#include "homecall.h"
#include "hosting.h"
#include "interp.h"
#include "kept.h"
#include "lending.h"
#include "limit.h"
#include "loops.h"
#include "map.h"
#include "parcel.h"
#include "registry.h"
#include "stack.h"
#include "stopping.h"
#include "tag.h"
#include "workqueue.h"

#include <stddef.h>

/* -- state -- */

struct state *
state_of_module(PyObject *module)
{
    return PyModule_GetState(module);
}

struct state *
state_of_type(PyTypeObject *type)
{
    PyObject *module = PyType_GetModuleByDef(type, &state_module_def);
    return module == NULL ? NULL : PyModule_GetState(module);
}

int
state_pass_over_exception(void)
{
    if (PyErr_Occurred() != NULL && !PyErr_ExceptionMatches(PyExc_Exception)) {
        return -1;
    }
    PyErr_Clear();
    return 0;
}

PyObject *
state_call(const char *room, const char *function, PyObject *const *args, size_t nargs)
{
    PyObject *name = PyUnicode_FromFormat("aiointerpreters.%s", room);
    PyObject *module = name == NULL ? NULL : PyImport_GetModule(name);
    if (module == NULL && name != NULL && !PyErr_Occurred()) {
        module = PyImport_Import(name);
    }
    PyObject *callable = module == NULL ? NULL : PyObject_GetAttrString(module, function);
    PyObject *result = callable == NULL ? NULL : PyObject_Vectorcall(callable, args, nargs, NULL);
    Py_XDECREF(name);
    Py_XDECREF(module);
    Py_XDECREF(callable);
    return result;
}

/* -- what only the interpreter with the executors has -- */

/* Whether it was a Ctrl-C that has ended the main program. A prompt may have seen one long ago. */
static bool
is_ending_by_interrupt(void)
{
    PyObject *last = PySys_GetObject("last_exc");
    return last != NULL && PyErr_GivenExceptionMatches(last, PyExc_KeyboardInterrupt) &&
           PySys_GetObject("ps1") == NULL;
}

static PyObject *
join_all(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    bool interrupted = registry_join_all(is_ending_by_interrupt());
    compat_settle_exit_status();
    if (interrupted) {
        PyObject *exit = PyImport_ImportModule("aiointerpreters._exit");
        PyObject *hook = exit == NULL ? NULL : PyObject_GetAttrString(exit, "say_interrupted");
        Py_XDECREF(exit);
        if (hook == NULL) {
            return NULL;
        }
        compat_end_by_interrupt(hook);
        Py_DECREF(hook);
    }
    Py_RETURN_NONE;
}

static PyMethodDef join_all_def = {"join_all", join_all, METH_NOARGS,
                                   PyDoc_STR("Called at exit, before Python is finalized.")};

/* Before threading joins its threads, and long before anything is torn down. */
static int
register_exit(struct state *state)
{
    PyObject *threading = PyImport_ImportModule("threading");
    PyObject *hook = threading == NULL ? NULL : PyCFunction_New(&join_all_def, state->module);
    PyObject *done =
        hook == NULL ? NULL : PyObject_CallMethod(threading, "_register_atexit", "O", hook);
    Py_XDECREF(threading);
    Py_XDECREF(hook);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static int
import_functools(struct state *state)
{
    PyObject *functools = PyImport_ImportModule("functools");
    if (functools == NULL) {
        return -1;
    }
    state->partial_type = PyObject_GetAttrString(functools, "partial");
    state->cache_type = PyObject_GetAttrString(functools, "_lru_cache_wrapper");
    int result = PyObject_GetOptionalAttrString(functools, "Placeholder", &state->placeholder);
    Py_DECREF(functools);
    return state->partial_type == NULL || state->cache_type == NULL || result < 0 ? -1 : 0;
}

/* Once: handlers of forks cannot be taken back, and a second set would do no more. */
static int
guard_fork(void)
{
    static bool guarded;
    if (!guarded && !compat_guard_fork()) {
        return PyErr_WarnEx(PyExc_RuntimeWarning,
                            "aiointerpreters does not know the layout of this Python: a process "
                            "that forks while interpreters are alive loses the child",
                            2);
    }
    guarded = true;
    return 0;
}

static int
make_executor_types(struct state *state)
{
    if (import_functools(state) < 0 || definition_register_types(state) < 0 ||
        workqueue_register_types(state) < 0 || future_register_types(state) < 0 ||
        map_register_types(state) < 0 || limit_register_types(state) < 0 ||
        loops_register_types(state) < 0 || awaited_register_types(state) < 0 ||
        executor_register_types(state) < 0) {
        return -1;
    }
    if (!state->is_main) {
        return 0;
    }
    if (compat_prepare_main() < 0 || guard_fork() < 0 ||
        interp_note_module_file(state->module) < 0) {
        return -1;
    }
    return register_exit(state);
}

PyDoc_STRVAR(
    executor_types_doc,
    "executor_types()\n"
    "--\n"
    "\n"
    "The C bases (Future, Executor) of concurrent.futures' classes, made on first use (private).");

static PyObject *
executor_types(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    struct state *state = state_of_module(module);
    if (!state->executors_ready) {
        if (make_executor_types(state) < 0) {
            return NULL; /* the next call makes them anew */
        }
        state->executors_ready = true;
    }
    return Py_BuildValue("(OO)", state->future_type, state->executor_type);
}

PyDoc_STRVAR(find_tag_doc, "find_tag(callable, /)\n"
                           "--\n"
                           "\n"
                           "The tag by which an executor calls it, or None (private).");

static PyObject *
find_tag(PyObject *module, PyObject *callable)
{
    PyObject *tag = tag_find(state_of_module(module), callable);
    return tag == NULL && !PyErr_Occurred() ? Py_NewRef(Py_None) : tag;
}

/* -- the module -- */

static int
module_exec(PyObject *module)
{
    struct state *state = state_of_module(module);
    state->module = module;
    state->is_main = PyInterpreterState_Get() == PyInterpreterState_Main();
    if (stack_guard_sys(module) < 0 || lending_open(state) < 0 ||
        exporter_register_types(state) < 0 || tag_register_types(state) < 0 ||
        target_register_types(state) < 0 || broadcast_register_types(state) < 0) {
        return -1;
    }
    return 0;
}

/* Every object of the state, once. */
#define EACH_OBJECT(DO)                                                  \
    DO(state->tag_type);                                                 \
    DO(state->exporter_type);                                            \
    DO(state->array_type);                                               \
    DO(state->interrupted);                                              \
    DO(state->count_blocks);                                             \
    DO(state->broadcast_type);                                           \
    DO(state->context_names);                                            \
    DO(state->context_base);                                             \
    DO(state->context_spare);                                            \
    DO(state->host_type);                                                \
    DO(state->host_call_type);                                           \
    DO(state->definition_type);                                          \
    DO(state->definitions);                                              \
    DO(state->future_type);                                              \
    DO(state->executor_type);                                            \
    DO(state->work_queue_type);                                          \
    DO(state->map_type);                                                 \
    DO(state->turn_type);                                                \
    DO(state->call_type);                                                \
    DO(state->loop_type);                                                \
    DO(state->wake_type);                                                \
    DO(state->loops);                                                    \
    DO(state->lease_executor);                                           \
    DO(state->loop_modules[0]);                                          \
    DO(state->loop_modules[1]);                                          \
    DO(state->in_trio_run);                                              \
    DO(state->running_loop);                                             \
    DO(state->aio_cancelled_error);                                      \
    DO(state->aio_invalid_state_error);                                  \
    DO(state->cancelled_error);                                          \
    DO(state->invalid_state_error);                                      \
    DO(state->broken_pool);                                              \
    DO(state->condition_class);                                          \
    DO(state->thread_class);                                             \
    DO(state->logger);                                                   \
    DO(state->partial_type);                                             \
    DO(state->cache_type);                                               \
    DO(state->placeholder);                                              \
    DO(state->loop_callback);                                            \
    DO(state->deliver);                                                  \
    DO(state->sys_dict);                                                 \
    DO(state->level_cache);                                              \
    DO(state->environ);                                                  \
    DO(state->environ_taken);                                            \
    for (size_t i = 0; i < Py_ARRAY_LENGTH(state->settings_seen); i++) { \
        DO(state->settings_seen[i]);                                     \
        DO(state->setting_getters[i]);                                   \
    }                                                                    \
    DO(state->hooked);                                                   \
    DO(state->outputs[0]);                                               \
    DO(state->outputs[1]);                                               \
    DO(state->home_mark);                                                \
    for (size_t i = 0; i < Py_ARRAY_LENGTH(state->lists); i++) {         \
        DO(state->lists[i]);                                             \
        DO(state->seen[i]);                                              \
    }                                                                    \
    for (size_t i = 0; i < Py_ARRAY_LENGTH(state->future_names); i++) {  \
        DO(state->future_names[i]);                                      \
    }

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    struct state *state = state_of_module(module);
    EACH_OBJECT(Py_VISIT)
    return 0;
}

static int
module_clear(PyObject *module)
{
    struct state *state = state_of_module(module);
    EACH_OBJECT(Py_CLEAR)
    return 0;
}

static void
module_free(void *module)
{
    struct state *state = state_of_module(module);
    module_clear(module);
    for (size_t i = 0; i < ATTRIBUTE_NAMES; i++) {
        Py_CLEAR(
            state->attribute_names[i]); /* not by module_clear(), after which tags may be made */
    }
    callables_free(state->callables);
    state->callables = NULL;
    kept_free(state);
    lending_close(state);
}

static PyObject *
relied_on(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return Py_BuildValue("{s:O,s:O}", "safe_mode", compat_is_safe_mode() ? Py_True : Py_False,
                         "memory_moves", compat_memory_moves() ? Py_True : Py_False);
}

PyDoc_STRVAR(relied_on_doc,
             "relied_on()\n"
             "--\n"
             "\n"
             "What of CPython's inner workings is relied on in this process (private): compat.h.");

static PyObject *
memory_owner(PyObject *module, PyObject *memoryview)
{
    const char *owner = lending_owner(state_of_module(module), memoryview);
    return owner != NULL ? PyUnicode_DecodeUTF8(owner, (Py_ssize_t)strlen(owner), "replace")
                         : Py_NewRef(Py_None);
}

PyDoc_STRVAR(
    memory_owner_doc,
    "memory_owner(memoryview, /)\n"
    "--\n"
    "\n"
    "The type of what a memoryview's memory was lent from, by another interpreter; or None.");

static PyMethodDef module_methods[] = {
    {"executor_types", executor_types, METH_NOARGS, executor_types_doc},
    {"find_tag", find_tag, METH_O, find_tag_doc},
    {"find_spec", _PyCFunction_CAST(homecall_find_spec), METH_FASTCALL | METH_KEYWORDS,
     homecall_find_spec_doc},
    {"call_home", homecall_call_home, METH_O, homecall_call_home_doc},
    {"host", hosting_host, METH_O, hosting_host_doc},
    {"memory_owner", memory_owner, METH_O, memory_owner_doc},
    {"place", homecall_place, METH_NOARGS, homecall_place_doc},
    {"relied_on", relied_on, METH_NOARGS, relied_on_doc},
    {"watch_levels", homecall_watch_levels, METH_O, homecall_watch_levels_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
    {Py_mod_gil, Py_MOD_GIL_USED},
    {0, NULL},
};

struct PyModuleDef state_module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "aiointerpreters._core",
    .m_doc = "The engine of aiointerpreters (private).",
    .m_size = sizeof(struct state),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

/* The process-wide parts, made by whichever interpreter loads the module first: importing runs this
 * under the main interpreter's GIL (CPython gh-117953). */
static int
init_process(void)
{
    static bool done;
    if (done) {
        return 0;
    }
    if (registry_init() != 0 || stopping_init() != 0 || home_init() != 0) {
        PyErr_SetString(PyExc_RuntimeError, "the platform has no more locks");
        return -1;
    }
    compat_init();
    handover_open();
    parcel_init();
    done = true;
    return 0;
}

PyMODINIT_FUNC PyInit__core(void);

PyMODINIT_FUNC
PyInit__core(void)
{
    return init_process() < 0 ? NULL : PyModuleDef_Init(&state_module_def);
}
