#include "loops.h"

/* What a loop is told before it lets others have their turn. */
enum { AT_A_TIME = 64 };

struct loop {
    PyObject_HEAD
    struct state *state; /* of the module; borrowed: our type holds it */
    PyObject *event_loop;
    struct awaiter *first; /* those that are to be told, in order */
    struct awaiter *last;
    size_t expected; /* tasks that have not ended; in the state's loops while there are any */
    bool woken;      /* the event loop has a wake of ours */
    bool due;        /* in the state's list of those to be woken, which holds it */
    LoopObject *next_due;
};

typedef struct {
    PyObject_HEAD
    LoopObject *loop; /* held; NULL once it was called */
} WakeObject;

/* -- the awaiters of a loop -- */

static void
append(LoopObject *self, struct awaiter *awaiter)
{
    awaiter->listed = true;
    awaiter->next = NULL;
    Py_INCREF(awaiter->owner);
    *(self->first == NULL ? &self->first : &self->last->next) = awaiter;
    self->last = awaiter;
}

/* The first, with the reference to its owner; or NULL. */
static struct awaiter *
pop(LoopObject *self)
{
    struct awaiter *awaiter = self->first;
    if (awaiter != NULL) {
        self->first = awaiter->next;
        awaiter->listed = false;
    }
    return awaiter;
}

static void
push_back(LoopObject *self, struct awaiter *awaiter)
{
    awaiter->listed = true;
    awaiter->next = self->first;
    self->last = self->first == NULL ? awaiter : self->last;
    self->first = awaiter;
}

/* The event loop is closed. */
static void
abandon(LoopObject *self)
{
    struct awaiter *awaiter;
    while ((awaiter = pop(self)) != NULL) {
        awaiter->forget(awaiter);
        Py_DECREF(awaiter->owner);
    }
}

/* -- the event loop -- */

PyObject *
loops_event_loop(const LoopObject *loop)
{
    return loop->event_loop;
}

/* What a signal handler has raised just here, where nobody can have it: a Ctrl-C comes back as a signal.
 * Steals `error`. */
static void
put_off(PyObject *error, PyObject *where)
{
    if (PyErr_GivenExceptionMatches(error, PyExc_KeyboardInterrupt)) {
        Py_DECREF(error);
        PyErr_SetInterrupt();
    }
    else {
        PyErr_SetRaisedException(error);
        PyErr_WriteUnraisable(where);
    }
}

/* -1 with an exception. */
static int
is_closed(const LoopObject *loop)
{
    PyObject *closed = PyObject_CallMethod(loop->event_loop, "is_closed", NULL);
    int result = closed == NULL ? -1 : PyObject_IsTrue(closed);
    Py_XDECREF(closed);
    return result;
}

bool
loops_is_closed(const LoopObject *loop)
{
    int closed = is_closed(loop);
    if (closed < 0 && PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        put_off(PyErr_GetRaisedException(), loop->event_loop);
        closed = is_closed(loop);
    }
    PyErr_Clear();
    return closed != 0;
}

/* The method that has the loop call something, whether this is its thread or another one. */
static const char *
how_to_call(const LoopObject *loop)
{
    PyObject *ask = loop->state->running_loop; /* NULL as Python ends */
    PyObject *running = ask == NULL ? NULL : PyObject_CallNoArgs(ask);
    bool is_here = running == loop->event_loop;
    Py_XDECREF(running);
    PyErr_Clear();
    return is_here ? "call_soon" : "call_soon_threadsafe";
}

int
loops_call_soon(const LoopObject *loop, PyObject *callback, PyObject *argument, PyObject *context)
{
    PyObject *call_soon = PyObject_GetAttrString(loop->event_loop, how_to_call(loop));
    PyObject *names = call_soon == NULL ? NULL : Py_BuildValue("(s)", "context");
    PyObject *values[] = {callback, argument, context};
    PyObject *handle = names == NULL ? NULL : PyObject_Vectorcall(call_soon, values, 2, names);
    Py_XDECREF(call_soon);
    Py_XDECREF(names);
    Py_XDECREF(handle);
    return handle == NULL ? -1 : 0;
}

void
loops_report(const LoopObject *loop, const char *message, PyObject *where)
{
    PyObject *error = PyErr_GetRaisedException();
    PyObject *done =
        PyObject_CallMethod(loop->event_loop, "call_exception_handler", "{s:s,s:O,s:O}", "message",
                            message, "exception", error, "future", where);
    if (done == NULL) {
        put_off(PyErr_GetRaisedException(), where);
    }
    Py_XDECREF(done);
    Py_DECREF(error);
}

/* Has the event loop call a wake, by the method called `how`. False: it is closed; or with an exception. */
static bool
try_to_wake(LoopObject *self, const char *how)
{
    if (is_closed(self) != 0) {
        return false;
    }
    WakeObject *wake = PyObject_GC_New(WakeObject, self->state->wake_type);
    if (wake == NULL) {
        return false;
    }
    wake->loop = (LoopObject *)Py_NewRef(self);
    PyObject_GC_Track(wake);
    self->woken = true;
    PyObject *handle = PyObject_CallMethod(self->event_loop, how, "O", wake);
    if (handle == NULL) {
        Py_CLEAR(wake->loop); /* so that it abandons nothing: that is for the caller to decide */
        self->woken = false;
    }
    Py_XDECREF(handle);
    Py_DECREF(wake);
    return handle != NULL;
}

/* Gives what was raised on the way and is the caller's to pass on, as from a signal handler; or NULL. */
static PyObject *
wake_up(LoopObject *self, const char *how)
{
    if (self->woken || self->first == NULL || try_to_wake(self, how)) {
        return NULL;
    }
    PyObject *error = PyErr_GetRaisedException();
    bool woken = error != NULL && try_to_wake(self, how); /* whatever it was, it must keep nobody */
    if (!woken) {
        PyObject *again = PyErr_GetRaisedException();
        if (again != NULL && !loops_is_closed(self)) { /* else it has not been closed before */
            PyErr_SetRaisedException(Py_NewRef(again));
            PyErr_WriteUnraisable(self->event_loop);
        }
        Py_XDECREF(again);
        abandon(self);
    }
    bool is_error = error != NULL && PyErr_GivenExceptionMatches(error, PyExc_Exception);
    if (is_error && (!woken || PyErr_GivenExceptionMatches(error, PyExc_MemoryError))) {
        Py_CLEAR(error); /* told, or a moment's lack of memory */
    }
    return error;
}

/* -- in the loop's thread -- */

/* Tells the first awaiters. -1 with an exception that is to leave the loop. */
static int
tell_some(LoopObject *self)
{
    for (int told = 0; told < AT_A_TIME; told++) {
        struct awaiter *awaiter = pop(self);
        if (awaiter == NULL) {
            break;
        }
        if (awaiter->tell(awaiter) < 0) {
            push_back(self, awaiter);
            return -1;
        }
        Py_DECREF(awaiter->owner);
    }
    return 0;
}

static PyObject *
wake_call(PyObject *op, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    LoopObject *loop = ((WakeObject *)op)->loop;
    if (loop == NULL) {
        Py_RETURN_NONE;
    }
    ((WakeObject *)op)->loop = NULL;
    loop->woken = false;
    (void)tell_some(loop);
    PyObject *error = PyErr_GetRaisedException();
    PyObject *raised = wake_up(loop, "call_soon");
    if (raised != NULL && error != NULL) {
        put_off(raised, loop->event_loop);
    }
    PyErr_SetRaisedException(error != NULL ? error : raised);
    Py_DECREF(loop);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

/* -- tasks -- */

LoopObject *
loops_running(struct state *state, const char *what)
{
    if (state->running_loop == NULL) {
        PyObject *events = PyImport_ImportModule("asyncio.events");
        state->running_loop =
            events == NULL ? NULL : PyObject_GetAttrString(events, "_get_running_loop");
        Py_XDECREF(events);
    }
    PyObject *event_loop =
        state->running_loop == NULL ? NULL : PyObject_CallNoArgs(state->running_loop);
    if (event_loop == Py_None) {
        Py_DECREF(event_loop);
        return (LoopObject *)PyErr_Format(
            PyExc_RuntimeError,
            "%s needs a running event loop, and there is none in this thread: call it in a "
            "coroutine that asyncio.run() runs; or use submit(), whose future does not need one",
            what);
    }
    if (event_loop == NULL) {
        return NULL;
    }
    PyObject *known = PyDict_GetItemWithError(state->loops, event_loop);
    LoopObject *self = (LoopObject *)Py_XNewRef(known);
    if (self == NULL && !PyErr_Occurred()) {
        self = (LoopObject *)state->loop_type->tp_alloc(state->loop_type, 0);
        if (self != NULL) {
            self->state = state;
            self->event_loop = Py_NewRef(event_loop);
        }
    }
    Py_DECREF(event_loop);
    return self;
}

int
loops_expect(struct state *state, struct task *task, struct awaiter *awaiter)
{
    LoopObject *loop = awaiter->loop;
    if (loop->expected == 0 &&
        PyDict_SetItem(state->loops, loop->event_loop, (PyObject *)loop) < 0) {
        return -1;
    }
    loop->expected++;
    task->awaiter = awaiter;
    if (awaiter->kept) {
        Py_INCREF(awaiter->owner);
    }
    return 0;
}

void
loops_unexpect(struct state *state, struct task *task)
{
    struct awaiter *awaiter = task->awaiter;
    if (awaiter == NULL) {
        return;
    }
    LoopObject *loop = awaiter->loop;
    task->awaiter = NULL;
    if (--loop->expected == 0) {
        PyObject *error = PyErr_GetRaisedException();
        PyObject *entry = NULL;
        if (PyDict_GetItemRef(state->loops, loop->event_loop, &entry) > 0 &&
            entry == (PyObject *)loop) { /* an older one may have been collected late */
            PyDict_DelItem(state->loops, loop->event_loop);
        }
        PyErr_Clear();
        Py_XDECREF(entry);
        PyErr_SetRaisedException(error);
    }
    if (awaiter->kept) {
        Py_DECREF(awaiter->owner);
    }
}

void
loops_tell(struct state *state, struct task *task)
{
    struct awaiter *awaiter = task->awaiter;
    if (awaiter == NULL) {
        return;
    }
    LoopObject *loop = awaiter->loop;
    if (!awaiter->listed) {
        append(loop, awaiter);
        if (!loop->due && !loop->woken) {
            loop->due = true;
            loop->next_due = state->due_loops;
            state->due_loops = (LoopObject *)Py_NewRef(loop);
        }
    }
    loops_unexpect(state, task);
}

void
loops_send(struct state *state)
{
    if (state->due_loops == NULL) {
        return;
    }
    PyObject *error = PyErr_GetRaisedException();
    LoopObject *loop;
    while ((loop = state->due_loops) != NULL) {
        state->due_loops = loop->next_due;
        loop->due = false;
        PyObject *raised = wake_up(loop, "call_soon_threadsafe");
        if (raised != NULL) {
            put_off(raised, loop->event_loop);
        }
        Py_DECREF(loop);
    }
    PyErr_SetRaisedException(error);
}

/* -- types -- */

static int
loop_traverse(PyObject *op, visitproc visit, void *arg)
{
    LoopObject *self = (LoopObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->event_loop);
    for (struct awaiter *awaiter = self->first; awaiter != NULL; awaiter = awaiter->next) {
        Py_VISIT(awaiter->owner);
    }
    return 0;
}

/* The event loop stays: what is being collected along with us may ask for it. Cycles through it are broken
 * by the wakes. */
static int
loop_clear(PyObject *op)
{
    abandon((LoopObject *)op);
    return 0;
}

static void
loop_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    loop_clear(op);
    Py_XDECREF(((LoopObject *)op)->event_loop);
    type->tp_free(op);
    Py_DECREF(type);
}

static int
wake_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((WakeObject *)op)->loop);
    return 0;
}

/* Not called, and never to be: the event loop has forgotten it. */
static int
wake_clear(PyObject *op)
{
    LoopObject *loop = ((WakeObject *)op)->loop;
    ((WakeObject *)op)->loop = NULL;
    if (loop != NULL) {
        PyObject *error = PyErr_GetRaisedException();
        loop->woken = false;
        abandon(loop);
        PyErr_SetRaisedException(error);
        Py_DECREF(loop);
    }
    return 0;
}

static void
wake_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    COMPAT_DEALLOC_BEGIN(op, wake_dealloc)
    wake_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
    COMPAT_DEALLOC_END
}

static PyType_Slot loop_slots[] = {
    {Py_tp_doc, "An event loop that waits for tasks."},
    {Py_tp_traverse, loop_traverse},
    {Py_tp_clear, loop_clear},
    {Py_tp_dealloc, loop_dealloc},
    {0, NULL},
};

static PyType_Spec loop_spec = {
    .name = "aiointerpreters._core.Loop",
    .basicsize = sizeof(LoopObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = loop_slots,
};

static PyType_Slot wake_slots[] = {
    {Py_tp_doc, "What an event loop calls when tasks that it waits for have ended."},
    {Py_tp_call, wake_call},
    {Py_tp_traverse, wake_traverse},
    {Py_tp_clear, wake_clear},
    {Py_tp_dealloc, wake_dealloc},
    {0, NULL},
};

static PyType_Spec wake_spec = {
    .name = "aiointerpreters._core.Wake",
    .basicsize = sizeof(WakeObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = wake_slots,
};

int
loops_register_types(struct state *state)
{
    state->loops = PyDict_New();
    state->loop_type = (PyTypeObject *)PyType_FromModuleAndSpec(state->module, &loop_spec, NULL);
    state->wake_type = (PyTypeObject *)PyType_FromModuleAndSpec(state->module, &wake_spec, NULL);
    return state->loops == NULL || state->loop_type == NULL || state->wake_type == NULL ? -1 : 0;
}
