#include "interp.h"

#include "callables.h"
#include "homecall.h"
#include "input.h"
#include "kept.h"
#include "lending.h"
#include "output.h"
#include "stopping.h"
#include "strays.h"

#include <stdlib.h>
#include <string.h>

static const char MODULE_NAME[] = "aiointerpreters._core";

/* All that there are, from before they are made until after their end. */
static struct {
    os_mutex lock;
    struct list interps; /* under the lock */
} alive;

/* Path of the extension module, UTF-8. Written once, before the first executor can exist. */
static char *module_file;

int
interp_init(void)
{
    list_init(&alive.interps);
    return os_mutex_init(&alive.lock);
}

int
interp_note_module_file(PyObject *module)
{
    if (module_file != NULL) {
        return 0;
    }
    PyObject *spec = PyObject_GetAttrString(module, "__spec__");
    PyObject *origin = spec == NULL ? NULL : PyObject_GetAttrString(spec, "origin");
    const char *path = origin == NULL ? NULL : PyUnicode_AsUTF8(origin);
    if (path != NULL) {
        module_file = strdup(path);
        if (module_file == NULL) {
            PyErr_NoMemory();
        }
    }
    Py_XDECREF(spec);
    Py_XDECREF(origin);
    return module_file == NULL ? -1 : 0;
}

/* Loads our module from its file, past the package and the finders, which may cost more than the
 * interpreter itself (an editable install builds on import). A new reference. */
static PyObject *
load_module(void)
{
    PyObject *bootstrap = PyImport_ImportModule("_frozen_importlib");
    PyObject *external =
        bootstrap == NULL ? NULL : PyImport_ImportModule("_frozen_importlib_external");
    PyObject *spec = NULL, *module = NULL;
    if (bootstrap != NULL && external != NULL) {
        spec = PyObject_CallMethod(external, "spec_from_file_location", "ss", MODULE_NAME,
                                   module_file);
    }
    if (spec != NULL) {
        module = PyObject_CallMethod(bootstrap, "_load", "O", spec);
    }
    Py_XDECREF(bootstrap);
    Py_XDECREF(external);
    Py_XDECREF(spec);
    return module;
}

/* The exception that is set, as text. */
static void
describe_exception(char *why, size_t why_size)
{
    PyObject *error = PyErr_GetRaisedException();
    PyObject *text = error == NULL ? NULL : PyObject_Str(error);
    const char *utf8 = text == NULL ? NULL : PyUnicode_AsUTF8(text);
    PyOS_snprintf(why, why_size, "%s: %.400s", error == NULL ? "" : Py_TYPE(error)->tp_name,
                  utf8 == NULL ? "?" : utf8);
    PyErr_Clear();
    Py_XDECREF(text);
    Py_XDECREF(error);
}

static int
set_up(struct interp *interp)
{
    PyObject *module = load_module();
    if (module == NULL) {
        return -1;
    }
    interp->module = module; /* whatever tasks do to sys.modules */
    interp->state = state_of_module(module);
    output_install(interp->state);
    return input_install(interp->state) < 0 ? -1 : homecall_install(interp->state);
}

static struct interp *
new_interp(void)
{
    struct interp *interp = calloc(1, sizeof(*interp));
    if (interp != NULL) {
        os_mutex_lock(&alive.lock);
        list_push_back(&alive.interps, &interp->node);
        os_mutex_unlock(&alive.lock);
    }
    return interp;
}

static void
free_interp(struct interp *interp)
{
    os_mutex_lock(&alive.lock);
    list_remove(&interp->node);
    os_mutex_unlock(&alive.lock);
    free(interp);
}

/* Ends the attached interpreter. False: a thread has come in the meantime, and it is given up. Nothing is attached
 * afterwards. */
static bool
end(struct interp *interp)
{
    if (!compat_end_interpreter(interp->home)) {
        (void)strays_give_up(interp);
        return false;
    }
    free_interp(interp);
    return true;
}

struct interp *
interp_create(char *why, size_t why_size)
{
    struct interp *interp = new_interp();
    const char *reason = "out of memory";
    PyThreadState *tstate = interp == NULL ? NULL : compat_new_interpreter(&reason);
    if (tstate == NULL) {
        PyOS_snprintf(why, why_size, "%s", reason);
        if (interp != NULL) {
            free_interp(interp);
        }
        return NULL;
    }
    interp->home = tstate;
    interp->interpreter = PyThreadState_GetInterpreter(tstate);
    if (set_up(interp) < 0) {
        describe_exception(why, why_size);
        end(interp);
        return NULL;
    }
    return interp;
}

bool
interp_enter(struct interp *interp, bool at_home)
{
    PyThreadState *tstate = at_home ? interp->home : PyThreadState_New(interp->interpreter);
    if (tstate == NULL) {
        return false;
    }
    PyEval_RestoreThread(tstate);
    return true;
}

void
interp_leave(struct interp *interp, bool at_home)
{
    (void)interp;
    if (at_home) {
        PyEval_SaveThread();
    }
    else {
        PyThreadState_Clear(PyThreadState_Get());
        PyThreadState_DeleteCurrent();
    }
}

void
interp_pin(struct interp *interp)
{
    atomic_fetch_add_explicit(&interp->pins, 1, memory_order_relaxed); /* the lock orders it */
}

void
interp_unpin(struct interp *interp)
{
    /* Pairs with the acquire in await_pins(). After it, only the word's address is used. */
    atomic_fetch_sub_explicit(&interp->pins, 1, memory_order_release);
    os_word_wake_all(&interp->pins);
}

static void
await_pins(struct interp *interp)
{
    unsigned pins;
    while ((pins = atomic_load_explicit(&interp->pins, memory_order_acquire)) > 0) {
        os_word_wait(&interp->pins, pins, OS_FOREVER);
    }
}

bool
interp_end(struct interp *interp, int64_t grace)
{
    if (interp->guest != NULL) { /* everybody has left */
        stopping_remove(interp->guest);
    }
    stopping_pass();
    await_pins(interp);
    PyEval_RestoreThread(interp->home);
    if (!strays_end(interp, grace)) {
        return false;
    }
    struct callables *callables = interp->state->callables;
    interp->state->callables = NULL;
    callables_free(callables); /* runs destructors */
    kept_free(interp->state);  /* the same */
    lending_close(interp->state);
    interp->state = NULL;
    Py_CLEAR(interp->module);
    return end(interp);
}

/* -- all of them -- */

void
interp_forget_all(void)
{
    struct list *node;
    os_mutex_lock(&alive.lock);
    while ((node = list_pop_front(&alive.interps)) != NULL) {
        compat_forget_interpreter(LIST_ENTRY(node, struct interp, node)->interpreter);
    }
    os_mutex_unlock(&alive.lock);
}

void
interp_before_fork(void)
{
    os_mutex_lock(&alive.lock);
}

int
interp_count_locked(void)
{
    int count = 0;
    for (struct list *node = alive.interps.next; node != &alive.interps; node = node->next) {
        struct interp *interp = LIST_ENTRY(node, struct interp, node);
        /* Acquire: what its threads did before is done. */
        count += !atomic_load_explicit(&interp->strays.is_guarded, memory_order_acquire);
    }
    return count;
}

void
interp_after_fork_in_parent(void)
{
    os_mutex_unlock(&alive.lock);
}

void
interp_after_fork_in_child(void)
{
    os_mutex_init(&alive.lock);
    while (list_pop_front(&alive.interps) != NULL) {
        /* unlinked, for who may be about to end it */
    }
    strays_after_fork_in_child();
}
