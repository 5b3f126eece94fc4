/* Telling event loops, many futures at a time.
 *
 * loop.run_in_executor() and asyncio.to_thread() follow a concurrent future by a callback of asyncio's
 * own, `_call_set_state` in asyncio.futures._chain_future, which has the loop copy the outcome: one
 * call_soon_threadsafe(), and one wake-up of the loop, for each future. It is known by its code. Its
 * work is done here instead, for all futures of a loop at once.
 */
#include "crew.h"
#include "future_data.h"
#include "loops.h"
#include "registry.h"

/* What a loop does before it lets others have their turn. */
enum { FUTURES_AT_A_TIME = 64 };

/* -- the callback -- */

/* The names that the callback closes over, as asyncio of 3.13 to 3.15 has them. */
enum { LOOP, DESTINATION, SET_STATE, CELLS };
static const char *const cell_names[CELLS] = {"dest_loop", "destination", "_set_state"};

/* The code object called `_call_set_state` within that of _chain_future(); NULL, with nothing raised,
 * when asyncio is another one. */
static PyObject *
find_code(PyObject *outer)
{
    PyObject *code = PyObject_GetAttrString(outer, "__code__");
    PyObject *constants = code == NULL ? NULL : PyObject_GetAttrString(code, "co_consts");
    PyObject *found = NULL;
    for (Py_ssize_t i = 0; constants != NULL && i < PyTuple_GET_SIZE(constants); i++) {
        PyObject *constant = PyTuple_GET_ITEM(constants, i);
        if (PyCode_Check(constant) &&
            PyUnicode_EqualToUTF8(((PyCodeObject *)constant)->co_name, "_call_set_state")) {
            found = Py_NewRef(constant);
            break;
        }
    }
    PyErr_Clear();
    Py_XDECREF(code);
    Py_XDECREF(constants);
    return found;
}

/* Once asyncio is there: it is asked for by whoever has such a callback, not by us. NULL in safe mode. */
static PyObject *
loop_callback(struct state *state)
{
    if (state->loop_callback == NULL && !compat_is_safe_mode()) {
        PyObject *name = PyUnicode_InternFromString("asyncio.futures");
        PyObject *module = name == NULL ? NULL : PyImport_GetModule(name);
        PyObject *outer = module == NULL ? NULL : PyObject_GetAttrString(module, "_chain_future");
        if (outer != NULL && PyFunction_Check(outer)) {
            state->loop_callback = find_code(outer);
        }
        PyErr_Clear();
        Py_XDECREF(name);
        Py_XDECREF(module);
        Py_XDECREF(outer);
    }
    return state->loop_callback;
}

/* The cells of the callback, borrowed. False: it is another one. */
static bool
find_cells(PyObject *callback, PyObject *cells[CELLS])
{
    PyObject *names = PyCode_GetFreevars((PyCodeObject *)PyFunction_GET_CODE(callback));
    PyObject *closure = PyFunction_GET_CLOSURE(callback);
    bool complete = names != NULL && closure != NULL;
    for (int wanted = 0; wanted < CELLS && complete; wanted++) {
        cells[wanted] = NULL;
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++) {
            if (PyUnicode_EqualToUTF8(PyTuple_GET_ITEM(names, i), cell_names[wanted])) {
                cells[wanted] = PyTuple_GET_ITEM(closure, i);
            }
        }
        complete = cells[wanted] != NULL && PyCell_Check(cells[wanted]) &&
                   PyCell_GET(cells[wanted]) != NULL;
    }
    complete = complete && PyCell_GET(cells[LOOP]) != Py_None; /* to another concurrent future */
    PyErr_Clear();
    Py_XDECREF(names);
    return complete;
}

bool
future_knows_callback(struct state *state, PyObject *callback)
{
    PyObject *cells[CELLS];
    return PyFunction_Check(callback) && PyFunction_GET_CODE(callback) == loop_callback(state) &&
           find_cells(callback, cells);
}

/* -- deliveries: what one loop is to be told -- */

struct delivery {
    PyObject *loop;   /* or NULL */
    PyObject *items;  /* list of (set_state, destination, source) */
    PyObject *failed; /* list of (exception, items): logged once the role is given up */
};

static void
note_failure(struct delivery *delivery)
{
    PyObject *failure = Py_BuildValue("NO", PyErr_GetRaisedException(), delivery->items);
    if (failure == NULL || PyList_Append(delivery->failed, failure) < 0) {
        PyErr_WriteUnraisable(delivery->loop);
    }
    Py_XDECREF(failure);
}

static void
log_failures(struct state *state, PyObject *failed)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(failed); i++) {
        PyObject *failure = PyList_GET_ITEM(failed, i);
        PyObject *items = PyTuple_GET_ITEM(failure, 1);
        for (Py_ssize_t k = 0; k < PyList_GET_SIZE(items); k++) {
            PyErr_SetRaisedException(Py_NewRef(PyTuple_GET_ITEM(failure, 0)));
            future_log_callback_error(state, PyTuple_GET_ITEM(PyList_GET_ITEM(items, k), 2));
        }
    }
}

/* Whether a loop is there to be told. -1 with an exception. */
static int
is_open(PyObject *loop)
{
    PyObject *closed = PyObject_CallMethod(loop, "is_closed", NULL);
    int result = closed == NULL ? -1 : PyObject_Not(closed);
    Py_XDECREF(closed);
    return result;
}

/* True: told, or the loop is closed. False with an exception. */
static bool
try_to_send(struct state *state, const struct delivery *delivery)
{
    int open = is_open(delivery->loop);
    if (open <= 0) {
        return open == 0;
    }
    PyObject *done = PyObject_CallMethod(delivery->loop, "call_soon_threadsafe", "OOO",
                                         state->deliver, delivery->loop, delivery->items);
    Py_XDECREF(done);
    return done != NULL;
}

static void
send(struct state *state, struct delivery *delivery)
{
    if (delivery->loop == NULL) {
        return;
    }
    bool sent = try_to_send(state, delivery);
    if (!sent && PyErr_ExceptionMatches(PyExc_MemoryError)) { /* a moment's lack must keep nobody */
        PyErr_Clear();
        sent = try_to_send(state, delivery);
    }
    if (!sent) {
        note_failure(delivery);
    }
    Py_CLEAR(delivery->loop);
    Py_CLEAR(delivery->items);
}

/* What a known callback of `future` would have its loop do: (loop, item), or NULL with an exception. */
static PyObject *
order_of(PyObject *callback, PyObject *future)
{
    PyObject *cells[CELLS];
    if (!find_cells(callback, cells)) {
        PyErr_SetString(PyExc_RuntimeError, "the callback of an event loop was taken apart");
        return NULL;
    }
    return Py_BuildValue("(O(OOO))", PyCell_GET(cells[LOOP]), PyCell_GET(cells[SET_STATE]),
                         PyCell_GET(cells[DESTINATION]), future);
}

/* -1 with an exception. */
static int
add(struct state *state, struct delivery *delivery, PyObject *callback, PyObject *future)
{
    PyObject *order = order_of(callback, future);
    if (order == NULL) {
        return -1;
    }
    PyObject *loop = PyTuple_GET_ITEM(order, 0);
    if (delivery->loop != loop) {
        send(state, delivery);
        delivery->items = PyList_New(0);
        delivery->loop = delivery->items == NULL ? NULL : Py_NewRef(loop);
    }
    int result =
        delivery->items == NULL ? -1 : PyList_Append(delivery->items, PyTuple_GET_ITEM(order, 1));
    Py_DECREF(order);
    return result;
}

/* -- in the loop's thread -- */

/* A loop's future that could not be told its outcome (for want of memory, mostly) ends with the reason:
 * somebody may wait for it. False: it could not be told that either. */
static bool
end_with(PyObject *destination, PyObject *error)
{
    PyObject *done = PyObject_CallMethod(destination, "done", NULL);
    int is_done = done == NULL ? -1 : PyObject_IsTrue(done);
    PyObject *told =
        is_done == 0 ? PyObject_CallMethod(destination, "set_exception", "O", error) : NULL;
    PyErr_Clear();
    Py_XDECREF(done);
    Py_XDECREF(told);
    return told != NULL;
}

/* As a handle of the loop does: an error is the loop's to report, unless the future can; only what ends
 * programs goes on. */
static int
deliver_one(PyObject *loop, PyObject *item)
{
    if (!PyTuple_Check(item) || PyTuple_GET_SIZE(item) != 3) {
        PyErr_SetString(PyExc_TypeError,
                        "deliver() takes a list of (set_state, destination, source)");
        return -1;
    }
    PyObject *done = PyObject_CallFunctionObjArgs(
        PyTuple_GET_ITEM(item, 0), PyTuple_GET_ITEM(item, 1), PyTuple_GET_ITEM(item, 2), NULL);
    if (done == NULL) {
        if (PyErr_ExceptionMatches(PyExc_SystemExit) ||
            PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
            return -1;
        }
        PyObject *error = PyErr_GetRaisedException();
        done = end_with(PyTuple_GET_ITEM(item, 1), error)
                   ? Py_NewRef(Py_None)
                   : PyObject_CallMethod(loop, "call_exception_handler", "{s:s,s:O}", "message",
                                         "Exception while a future was told of its result",
                                         "exception", error);
        Py_DECREF(error);
    }
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Has the loop call again for the items from `count` on. False with an exception. */
static bool
deliver_later(PyObject *module, PyObject *loop, PyObject *items, Py_ssize_t count)
{
    PyObject *rest = PyList_GetSlice(items, count, PyList_GET_SIZE(items));
    PyObject *done = rest == NULL
                         ? NULL
                         : PyObject_CallMethod(loop, "call_soon", "OOO",
                                               state_of_module(module)->deliver, loop, rest);
    Py_XDECREF(rest);
    Py_XDECREF(done);
    return done != NULL;
}

/* deliver(loop, items): tells some, and has the loop call again for the others. */
static PyObject *
deliver(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 2 || !PyList_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "deliver(loop, items)");
        return NULL;
    }
    PyObject *loop = args[0], *items = args[1];
    Py_ssize_t count = 0;
    int result = 0;
    /* The loop has had the list, and what is told runs Python: it may become shorter meanwhile. */
    while (count < PyList_GET_SIZE(items) && count < FUTURES_AT_A_TIME && result == 0) {
        PyObject *item = Py_NewRef(PyList_GET_ITEM(items, count));
        result = deliver_one(loop, item);
        Py_DECREF(item);
        count++;
    }
    if (count < PyList_GET_SIZE(items)) {
        PyObject *error = PyErr_GetRaisedException();
        if (!deliver_later(module, loop, items, count)) {
            /* A moment's lack of memory, or a signal handler that has raised just here, must keep nobody. */
            PyObject *raised = PyErr_GetRaisedException();
            if (deliver_later(module, loop, items, count) &&
                PyErr_GivenExceptionMatches(raised, PyExc_MemoryError)) {
                Py_CLEAR(raised);
            }
            PyErr_Clear();
            if (error == NULL) {
                error = raised;
            }
            else {
                Py_XDECREF(raised);
            }
        }
        PyErr_SetRaisedException(error);
    }
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef deliver_def = {"deliver", (PyCFunction)(void (*)(void))deliver, METH_FASTCALL,
                                  PyDoc_STR("What loops are told to call (private).")};

int
future_register_delivery(struct state *state)
{
    state->deliver = PyCFunction_New(&deliver_def, state->module);
    return state->deliver == NULL ? -1 : 0;
}

/* -- in a worker -- */

/* Hands a future's callbacks over to its loop; `kept` holds them until the role is given up. Those of
 * a future that somebody else has begun to observe meanwhile stay where they are. */
static void
collect(struct state *state, struct delivery *delivery, PyObject *future, PyObject *kept)
{
    FutureData *data = future_data(future);
    /* What is told runs Python, and others may have the list. */
    PyObject *callbacks = data->callbacks == NULL ? NULL : PyList_AsTuple(data->callbacks);
    bool known = callbacks != NULL;
    for (Py_ssize_t i = 0; known && i < PyTuple_GET_SIZE(callbacks); i++) {
        known = future_knows_callback(state, PyTuple_GET_ITEM(callbacks, i));
    }
    /* Those that cannot be handed over for want of memory are called by themselves in the end. */
    PyObject *left = known ? PyList_New(0) : NULL;
    if (left != NULL && PyList_Append(kept, callbacks) == 0 &&
        PyList_Append(kept, data->callbacks) == 0) {
        Py_CLEAR(data->callbacks); /* `kept` has it */
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(callbacks); i++) {
            PyObject *callback = PyTuple_GET_ITEM(callbacks, i);
            if (add(state, delivery, callback, future) < 0) {
                PyErr_Clear();
                if (PyList_Append(left, callback) < 0) {
                    PyErr_WriteUnraisable(future);
                }
            }
        }
        if (PyList_GET_SIZE(left) > 0 && data->callbacks == NULL) {
            data->callbacks = Py_NewRef(left);
        }
    }
    Py_XDECREF(left);
    PyErr_Clear();
    Py_XDECREF(callbacks);
}

/* Runs what callbacks are left, and lets go of the tasks: foreign code, after the role. In a child that
 * a callback has forked the tasks are the parent's. */
static void
finish(struct state *state, struct combined *node)
{
    while (node != NULL) {
        struct task *task = LIST_ENTRY(node, struct task, told);
        node = node->next;
        if (task->generation != registry_generation()) {
            return;
        }
        PyObject *future = task->future; /* held since it was told */
        if (future != NULL) {
            future_invoke_done_callbacks(state, future, true);
            future_release_kept(task);
            Py_DECREF(future);
        }
        task_drop(task);
    }
}

/* Tells all that is handed in until nothing is left, and gives the role up. Gives the tasks, whose futures
 * are held. */
static struct combined *
tell_all(struct state *state, struct combiner *combiner, struct delivery *delivery, PyObject *kept)
{
    struct combined *told = NULL, **last = &told, *node;
    while ((node = combiner_take(combiner)) != NULL) {
        while (node != NULL) {
            struct task *task = LIST_ENTRY(node, struct task, told);
            *last = node;
            last = &node->next;
            node = node->next;
            PyObject *future = future_end_and_tell_waiters(state, task);
            if (future != NULL && kept != NULL) {
                collect(state, delivery, future, kept);
            }
        }
        send(state, delivery);
        loops_send(state);
    }
    *last = NULL;
    return told;
}

void
future_tell_together(struct state *state, struct combiner *combiner)
{
    struct delivery delivery = {NULL, NULL, PyList_New(0)};
    PyObject *kept = delivery.failed == NULL ? NULL : PyList_New(0);
    PyErr_Clear(); /* without these lists every callback is called by itself */
    struct combined *told = tell_all(state, combiner, &delivery, kept);
    if (delivery.failed != NULL) {
        log_failures(state, delivery.failed);
    }
    finish(state, told);
    Py_XDECREF(delivery.failed);
    Py_XDECREF(kept);
}
