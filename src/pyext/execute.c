#include "execute.h"

#include "callables.h"
#include "context.h"
#include "definition.h"
#include "home.h"
#include "kept.h"
#include "lending.h"
#include "output.h"
#include "target.h"
#include "transport.h"

/* What was called, as a person would name it: for the error of a result that cannot be sent. */
struct called {
    PyObject *callable;
    PyObject *name_holder;
    const char *name;
};

static const char *
name_of(struct called *called, const struct func *func)
{
    if (func != NULL) {
        return func->name;
    }
    if (called->callable == NULL) {
        return "the callable";
    }
    if (called->name_holder == NULL) {
        called->name_holder = definition_name(called->callable, &called->name);
    }
    return called->name;
}

static void
called_free(struct called *called)
{
    Py_CLEAR(called->callable);
    Py_CLEAR(called->name_holder);
}

void
execute_visit(struct interp *interp)
{
    lending_collect(interp->state);
    kept_sweep(interp->state);
}

/* Whether sys.setprofile() and sys.settrace() have set something in this thread. */
struct tracing {
    bool profiles, traces;
};

static struct tracing
tracing_now(void)
{
    PyThreadState *tstate = PyThreadState_Get();
    return (struct tracing){tstate->c_profilefunc != NULL, tstate->c_tracefunc != NULL};
}

/* Ends what was begun since, and would go on in the next task. Keeps the exception that is set. */
static void
tracing_end(struct tracing before)
{
    struct tracing now = tracing_now();
    if (now.profiles == before.profiles && now.traces == before.traces) {
        return;
    }
    PyObject *error = PyErr_GetRaisedException();
    if (now.traces && !before.traces) {
        PyEval_SetTrace(NULL, NULL);
    }
    if (now.profiles && !before.profiles) {
        PyEval_SetProfile(NULL, NULL);
    }
    PyErr_SetRaisedException(error);
}

/* The value that the call returned, or NULL with what it raised. */
static PyObject *
call(struct interp *interp, struct func *func, const struct message *message, bool with_context,
     bool is_initializer, struct called *called)
{
    struct received_call received;
    execute_visit(interp);
    if (home_apply(interp->state, &interp->home_version) < 0) {
        return NULL;
    }
    called->callable = func != NULL ? callables_get(interp->state, func) : NULL;
    if (func != NULL && called->callable == NULL) {
        return NULL;
    }
    if (transport_decode_call(interp->state, message, with_context, &received) < 0) {
        transport_raise_send_error("argument", name_of(called, func),
                                   called->callable != NULL ? called->callable : Py_None, NULL);
        return NULL;
    }
    if (received.callable != NULL) {
        called->callable = Py_NewRef(received.callable);
    }
    struct tracing before = tracing_now();
    PyObject *value = context_call(
        interp->state, with_context ? received.values[received.total - 1] : NULL, called->callable,
        received.values, received.count | PY_VECTORCALL_ARGUMENTS_OFFSET, received.keywords,
        is_initializer);
    if (!is_initializer) { /* whose is meant for all tasks */
        tracing_end(before);
    }
    transport_free_call(&received);
    return value;
}

/* Encodes what the call raised, in the place of the call. Leaves nothing set. */
static void
encode_raised(struct interp *interp, struct message *message, const char *function)
{
    PyObject *error = PyErr_GetRaisedException();
    transport_encode_error(interp->state, message, error, function);
    Py_XDECREF(error);
}

/* The outcome of a call that has raised. */
static task_outcome
outcome_of_error(struct interp *interp)
{
    return PyErr_ExceptionMatches(interp->state->interrupted) ? OUTCOME_STOPPED
                                                              : OUTCOME_ENCODED_ERROR;
}

bool
execute_task(struct interp *interp, struct task *task, struct target *target)
{
    struct func *func = task->tagged.func;
    struct message *message = &task->tagged.message;
    struct called called = {NULL, NULL, NULL};
    PyObject *value = call(interp, func, message, task->with_context, false, &called);
    task->outcome = OUTCOME_ENCODED_ERROR;
    if (value != NULL) {
        message_reset(message);
        if (transport_encode_result(interp->state, message, &value) == 0) {
            task->outcome = OUTCOME_ENCODED_VALUE;
        }
        else {
            transport_raise_send_error("result", name_of(&called, func), Py_None, value);
        }
    }
    bool aside = target != NULL && target_close(target);
    if (task->outcome == OUTCOME_ENCODED_ERROR) {
        task->outcome = outcome_of_error(interp);
    }
    if (task->outcome == OUTCOME_ENCODED_ERROR ||
        (task->outcome == OUTCOME_STOPPED && task->limit > 0)) {
        encode_raised(interp, message, name_of(&called, func));
    }
    Py_XDECREF(value);
    called_free(&called);
    PyErr_Clear();
    output_flush(interp->state);
    return aside;
}

void
execute_failed(struct interp *interp, struct task *task)
{
    task->outcome = OUTCOME_ENCODED_ERROR;
    encode_raised(interp, &task->tagged.message, task_function_name(task));
}

const char *
execute_preload(struct interp *interp, const struct preload *preload, struct message *error)
{
    const char *failed = preload->count == 0 ? NULL : preload->names[0];
    if (home_apply(interp->state, &interp->home_version) == 0) {
        failed = preload_import(preload);
    }
    if (failed != NULL) {
        encode_raised(interp, error, failed);
    }
    return failed;
}

void
execute_warm_up(struct interp *interp)
{
    if (home_apply(interp->state, &interp->home_version) == 0) {
        preload_import_own();
    }
    PyErr_Clear();
}

bool
execute_initializer(struct interp *interp, struct func *func, const struct message *message,
                    struct message *error)
{
    struct called called = {NULL, NULL, NULL};
    PyObject *value = call(interp, func, message, false, true, &called);
    if (value == NULL) {
        encode_raised(interp, error, name_of(&called, func));
    }
    Py_XDECREF(value);
    called_free(&called);
    output_flush(interp->state);
    return value != NULL;
}
