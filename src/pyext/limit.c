#include "limit.h"

#include "../core/roster.h"
#include "hosts.h"
#include "nesting.h"
#include "outcome.h"
#include "registry.h"

/* -- options -- */

int
limit_set(struct crew *crew, PyObject *options)
{
    Py_ssize_t most;
    int raises;
    PyObject *seconds;
    if (!PyArg_ParseTuple(options, "npO", &most, &raises, &seconds)) {
        return -1;
    }
    crew->limit.raises = raises;
    crew->limit.patience = OS_FOREVER;
    if (seconds != Py_None) {
        double number = PyFloat_AsDouble(seconds);
        if (number == -1.0 && PyErr_Occurred()) {
            return -1;
        }
        crew->limit.patience = number < 9e9 ? (int64_t)(number * 1e9) : OS_FOREVER;
    }
    pool_bound(&crew->pool, (size_t)most);
    return 0;
}

bool
limit_is_set(const struct crew *crew)
{
    return crew->pool.turns.most > 0;
}

/* -- waiting -- */

/* Raises queue.Full, `why` as aiointerpreters._limits.full() knows it; with NULL, TimeoutError. */
static int
raise_full(const struct crew *crew, const char *why)
{
    if (why == NULL) {
        PyErr_SetNone(PyExc_TimeoutError);
        return -1;
    }
    double patience = crew->limit.patience == OS_FOREVER ? 0 : (double)crew->limit.patience / 1e9;
    PyObject *args[] = {PyUnicode_FromString(why), PyLong_FromSize_t(crew->pool.turns.most),
                        PyFloat_FromDouble(patience)};
    PyObject *error = args[0] == NULL || args[1] == NULL || args[2] == NULL
                          ? NULL
                          : state_call("_limits", "full", args, 3);
    for (size_t i = 0; i < Py_ARRAY_LENGTH(args); i++) {
        Py_XDECREF(args[i]);
    }
    if (error != NULL) {
        PyErr_SetRaisedException(error);
    }
    return -1;
}

/* Whether an event loop runs in this thread; -1 with an exception. */
static int
runs_event_loop(void)
{
    PyObject *answer = state_call("_limits", "runs_event_loop", NULL, 0);
    int result = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    return result;
}

/* Until the turn does not wait any more: 0. 1: this is another process now (a signal handler has
 * forked), where nobody knows of the turn. -1 with an exception. */
static int
await_turn(const struct crew *crew, struct turn *turn, int64_t deadline, const char *why)
{
    unsigned generation = registry_generation();
    for (;;) {
        os_wait_result result;
        int64_t look_at = os_now_ns() + LOOK_FOR_SIGNALS;
        Py_BEGIN_ALLOW_THREADS
        result = turn_await(turn, look_at < deadline ? look_at : deadline);
        Py_END_ALLOW_THREADS
        if (result == OS_WOKEN) {
            return 0;
        }
        if (result == OS_TIMED_OUT && deadline <= look_at) {
            return raise_full(crew, why);
        }
        int raised = PyErr_CheckSignals();
        if (generation != registry_generation()) {
            list_init(&turn->node);
            return raised < 0 ? -1 : 1;
        }
        if (raised < 0) {
            return -1;
        }
    }
}

/* The same, unless it would be waited for in vain. */
static int
await_turn_nested(struct crew *crew, struct turn *turn, int64_t deadline, const char *why)
{
    struct nested_wait wait;
    if (turn_state(turn) != TURN_WAITING) {
        return 0;
    }
    if (nesting_enter(&wait, crew, NULL, turn, deadline) < 0) {
        return -1;
    }
    int result = await_turn(crew, turn, deadline, why);
    nesting_leave(&wait);
    return result;
}

int
limit_submit(struct crew *crew, struct task *task, int64_t until)
{
    if (crew->limit.raises) {
        return raise_full(crew, "raise");
    }
    int in_loop = runs_event_loop();
    if (in_loop != 0) {
        return in_loop < 0 ? -1 : raise_full(crew, "loop");
    }
    struct pool *pool = &crew->pool;
    int64_t patience = crew->limit.patience;
    int64_t deadline = patience == OS_FOREVER ? OS_FOREVER : os_now_ns() + patience;
    const char *why = until < deadline ? NULL : "timeout";
    deadline = until < deadline ? until : deadline;
    struct turn turn;
    int result;
    do {
        turn_begin(pool, &turn, TURN_NO_BELL);
        result = await_turn_nested(crew, &turn, deadline, why);
        if (result == 0) {
            pool_submitted submitted = pool_submit_turn(pool, &task->job, &turn);
            turn_end(pool, &turn);
            return submitted == POOL_FULL ? POOL_CLOSED : (int)submitted; /* it was refused */
        }
        turn_end(pool, &turn);
    } while (result > 0);
    return -1;
}

bool
limit_withdraw(struct task *task)
{
    struct crew *crew = task->crew;
    if (task->hosted != NULL && task->hosted->kind != HOSTED_HOST) {
        return hosts_withdraw(task);
    }
    if (crew == NULL || task->generation != registry_generation() ||
        !pool_remove(&crew->pool, &task->job)) {
        return false;
    }
    if (task->job.wants == 0) {
        roster_count(&crew->pool, STATS_CANCELLED);
    }
    return true;
}

/* -- turns of event loops -- */

typedef struct {
    PyObject_HEAD
    struct crew *crew; /* held */
    unsigned generation;
    struct turn turn;
} TurnObject;

PyObject *
limit_new_turn(struct state *state, struct crew *crew, int bell)
{
    TurnObject *self = (TurnObject *)state->turn_type->tp_alloc(state->turn_type, 0);
    if (self != NULL) {
        crew_hold(crew);
        self->crew = crew;
        self->generation = registry_generation();
        turn_begin(&crew->pool, &self->turn, bell);
    }
    return (PyObject *)self;
}

struct turn *
limit_turn(struct state *state, PyObject *object)
{
    if (!Py_IS_TYPE(object, state->turn_type)) {
        PyErr_Format(PyExc_TypeError, "a turn is needed, got %T", object);
        return NULL;
    }
    return &((TurnObject *)object)->turn;
}

static PyObject *
turn_waits(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(turn_state(&((TurnObject *)self)->turn) == TURN_WAITING);
}

static void
end_turn(TurnObject *self)
{
    if (self->generation == registry_generation()) { /* in a forked child nobody knows of it */
        turn_end(&self->crew->pool, &self->turn);
    }
}

static PyObject *
turn_end_method(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    end_turn((TurnObject *)self);
    Py_RETURN_NONE;
}

static void
turn_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    end_turn((TurnObject *)self);
    crew_drop(((TurnObject *)self)->crew);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef turn_methods[] = {
    {"waits", turn_waits, METH_NOARGS, PyDoc_STR("Whether nothing has been decided yet.")},
    {"end", turn_end_method, METH_NOARGS, PyDoc_STR("Give it up, if it was not used.")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot turn_slots[] = {
    {Py_tp_doc, "One who waits for room among an executor's pending tasks."},
    {Py_tp_dealloc, turn_dealloc},
    {Py_tp_methods, turn_methods},
    {0, NULL},
};

static PyType_Spec turn_spec = {
    .name = "aiointerpreters._core.Turn",
    .basicsize = sizeof(TurnObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = turn_slots,
};

int
limit_register_types(struct state *state)
{
    state->turn_type = (PyTypeObject *)PyType_FromModuleAndSpec(state->module, &turn_spec, NULL);
    return state->turn_type == NULL ? -1 : 0;
}
