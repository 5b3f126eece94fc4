#include "map.h"

#include "executor.h"
#include "lending.h"
#include "limit.h"
#include "outcome.h"
#include "submit.h"
#include "tag.h"

#include <stddef.h>
#include <string.h>

typedef struct {
    PyObject_HEAD
    PyObject *weakrefs;
    struct task **tasks; /* held, those from `first` to `count`, in order */
    size_t first;
    size_t count;
    size_t capacity;
    int64_t deadline;

    /* What the next calls are made of; NULL once there are none. */
    PyObject *iterators; /* tuple */
    PyObject *function;
    PyObject *context;  /* of submit_context(); NULL: none */
    PyObject *executor; /* weak reference: the iterator must not keep it alive */

    size_t
        ahead; /* with a limit on pending tasks: so many calls are made before their results are asked
                     for, if there is room; else 0 */
    bool held; /* the last task has found no room, and is not queued yet */

    bool started; /* has been asked for a result */
    bool running; /* a thread is in the middle of it */
} MapObject;

/* -- reading the iterables -- */

enum { FEW_ARGUMENTS = 8 };

/* The arguments of one call. */
struct arguments {
    PyObject **values; /* `count` of them, held */
    size_t count;
    size_t room_for;
    PyObject *room[FEW_ARGUMENTS];
};

static int
arguments_init(struct arguments *arguments, PyObject *iterators)
{
    arguments->count = 0;
    arguments->room_for = (size_t)PyTuple_GET_SIZE(iterators);
    arguments->values = arguments->room_for <= FEW_ARGUMENTS
                            ? arguments->room
                            : PyMem_Calloc(arguments->room_for, sizeof(PyObject *));
    if (arguments->values == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

static void
arguments_drop(struct arguments *arguments)
{
    while (arguments->count > 0) {
        Py_DECREF(arguments->values[--arguments->count]);
    }
}

static void
arguments_free(struct arguments *arguments)
{
    arguments_drop(arguments);
    if (arguments->values != arguments->room) {
        PyMem_Free(arguments->values);
    }
}

/* As zip(): one item of each, in order. 1: read; 0: one of them has ended, or there are none; -1 with an
 * exception. */
static int
arguments_read(struct arguments *arguments, PyObject *iterators)
{
    for (; arguments->count < arguments->room_for; arguments->count++) {
        PyObject *iterator = PyTuple_GET_ITEM(iterators, (Py_ssize_t)arguments->count);
        PyObject *item = Py_TYPE(iterator)->tp_iternext(iterator);
        if (item == NULL) {
            if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_StopIteration)) {
                return -1;
            }
            PyErr_Clear();
            return 0;
        }
        arguments->values[arguments->count] = item;
    }
    return arguments->room_for > 0;
}

/* Whether reading from it runs no Python: only then may calls wait for each other to be queued. */
static bool
is_plain_iterator(PyObject *iterator)
{
    PyTypeObject *const plain[] = {
        &PyRangeIter_Type, &PyLongRangeIter_Type, &PyListIter_Type,    &PyTupleIter_Type,
        &PyBytesIter_Type, &PySetIter_Type,       &PyDictIterKey_Type, &PyDictIterValue_Type,
    };
    for (size_t i = 0; i < Py_ARRAY_LENGTH(plain); i++) {
        if (Py_IS_TYPE(iterator, plain[i])) {
            return true;
        }
    }
    return false;
}

/* The same for all iterators that were made of `iterables`: of containers that live until these are read,
 * since an iterator that ends lets go of its container, and that of its items. */
static bool
are_plain_iterators(PyObject *iterators, PyObject *iterables)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(iterators); i++) {
        PyObject *iterator = PyTuple_GET_ITEM(iterators, i);
        if (iterator == PyTuple_GET_ITEM(iterables, i) || !is_plain_iterator(iterator)) {
            return false;
        }
    }
    return true;
}

/* -- the tasks -- */

static int
append(MapObject *self, struct task *task)
{
    if (self->count == self->capacity && self->first > self->count / 2) {
        self->count -= self->first;
        memmove(self->tasks, self->tasks + self->first, self->count * sizeof(struct task *));
        self->first = 0;
    }
    if (self->count == self->capacity) {
        size_t capacity = self->capacity == 0 ? 16 : 2 * self->capacity;
        struct task **tasks = PyMem_Realloc(self->tasks, capacity * sizeof(struct task *));
        if (tasks == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        self->tasks = tasks;
        self->capacity = capacity;
    }
    self->tasks[self->count++] = task;
    return 0;
}

/* Gives up a task without reading its outcome. */
static void
forget(struct task *task)
{
    task->wanted = false;
    task_drop(task);
}

/* No result will be taken any more. Whoever was never asked for one cancels nothing, as a generator
 * that was not started; else the last are cancelled first, since workers begin at the other end. */
static void
end(MapObject *self)
{
    bool cancels = self->started;
    Py_CLEAR(self->iterators);
    Py_CLEAR(self->function);
    Py_CLEAR(self->context);
    Py_CLEAR(self->executor);
    while (self->count > self->first) {
        struct task *task = self->tasks[--self->count];
        (cancels ? submit_give_up : forget)(task);
    }
    PyMem_Free(self->tasks);
    self->tasks = NULL;
    self->held = false;
    self->first = self->count = self->capacity = 0;
}

/* -- submitting -- */

/* A long loop in C is to be interruptible, and to let other threads have their turn. */
static int
let_others_run(struct batch *batch)
{
    if (batch_flush(batch) < 0 || PyErr_CheckSignals() < 0) {
        return -1;
    }
    PyEval_RestoreThread(PyEval_SaveThread());
    return 0;
}

static int
submit_one(MapObject *self, struct batch *batch, const struct arguments *arguments)
{
    struct task *task = batch_add(batch, arguments->values, arguments->count);
    if (task == NULL) {
        return -1;
    }
    if (append(self, task) < 0) {
        forget(task);
        return -1;
    }
    return 0;
}

enum { TURN = 1024 }; /* calls, a fraction of a millisecond */

/* Submits up to `most` more calls. 1: all of these; 0: an iterable has ended; -1 with an exception.
 * `plain`: reading the iterators runs no Python. */
static int
submit_some(MapObject *self, struct batch *batch, PyObject *iterators, size_t most, bool plain)
{
    struct arguments arguments;
    if (arguments_init(&arguments, iterators) < 0) {
        return -1;
    }
    int result = 1;
    for (size_t made = 1; made <= most && result == 1; made++) {
        if ((!plain && batch_flush(batch) < 0) || (made % TURN == 0 && let_others_run(batch) < 0)) {
            result = -1;
            break;
        }
        result = arguments_read(&arguments, iterators);
        if (result == 1 && submit_one(self, batch, &arguments) < 0) {
            result = -1;
        }
        arguments_drop(&arguments);
        if (result == 1 && batch->full) {
            self->held = true;
            break;
        }
    }
    arguments_free(&arguments);
    return result;
}

/* The same, and all of them queued. */
static int
submit_ahead(MapObject *self, struct crew *crew, size_t most, bool plain)
{
    struct batch batch;
    PyObject *function = Py_NewRef(self->function);
    PyObject *iterators = Py_NewRef(self->iterators);
    crew_hold(crew);
    batch_init(&batch, crew->state, crew, function, self->context);
    int result = submit_some(self, &batch, iterators, most, plain);
    PyObject *error = PyErr_GetRaisedException();
    if (batch_flush(&batch) < 0) {
        result = -1;
    }
    if (error != NULL) {
        PyErr_SetRaisedException(error);
    }
    crew_drop(crew);
    Py_DECREF(iterators);
    Py_DECREF(function);
    return result;
}

/* -- when there is no room for more -- */

/* Queues the task that is held, waiting if nothing else is left to wait for. 1: it is queued; 0: there is
 * no room yet; -1 with an exception. */
static int
queue_held(MapObject *self, struct crew *crew)
{
    struct task *task = self->tasks[self->count - 1];
    bool alone = self->count - self->first == 1;
    int queued = alone ? (submit_queue(crew->state, crew, task, NULL, self->deadline) < 0 ? -1 : 1)
                       : submit_queue_if_room(crew->state, crew, task);
    self->held = queued == 0;
    return queued;
}

/* Nobody will ever queue it. */
static void
drop_held(MapObject *self)
{
    if (self->held) {
        self->held = false;
        submit_give_up(self->tasks[--self->count]);
    }
}

/* Makes as many calls as `ahead` and find room. */
static int
submit_to_limit(MapObject *self, struct crew *crew, size_t ahead, bool plain)
{
    size_t waiting = self->count - self->first;
    int result = 1;
    if (waiting < ahead && !self->held && self->iterators != NULL) {
        result = submit_ahead(self, crew, ahead - waiting, plain);
    }
    if (result >= 0 && self->held && self->count - self->first == 1) {
        result = queue_held(self, crew); /* so the first one decides what becomes of the call */
    }
    return result;
}

static int
refill_to_limit(MapObject *self, struct crew *crew)
{
    int result = self->held ? queue_held(self, crew) : 1;
    return result > 0 ? submit_to_limit(self, crew, self->ahead + 1, false)
                      : result; /* one is about to be taken */
}

/* -- taking results -- */

/* Submits one more call, if the executor is still there and has one to make. */
static int
refill(MapObject *self)
{
    PyObject *executor = NULL;
    if (self->executor == NULL || PyWeakref_GetRef(self->executor, &executor) <= 0) {
        drop_held(self);
        return PyErr_Occurred() ? -1 : 0;
    }
    struct crew *crew = executor_crew(executor);
    int result = crew == NULL      ? -1
                 : self->ahead > 0 ? refill_to_limit(self, crew)
                                   : submit_ahead(self, crew, 1, false);
    Py_DECREF(executor);
    return result < 0 ? -1 : 0;
}

/* The value of the next task, waiting for it; NULL with an exception. */
static PyObject *
take(MapObject *self, struct state *state, struct task *task)
{
    PyObject *value, *exception;
    if (outcome_await(task, self->deadline) < 0) {
        return NULL;
    }
    unsigned now = fstate_get(&task->state);
    if (now == FSTATE_CANCELLED || now == FSTATE_CANCELLED_AND_NOTIFIED) {
        PyErr_SetNone(state->cancelled_error);
        return NULL;
    }
    lending_collect(state);
    if (outcome_read(state, task, &value, &exception) < 0) {
        return NULL;
    }
    if (exception != NULL) {
        outcome_raise(exception);
        Py_DECREF(exception);
    }
    return value;
}

/* A StopIteration that a call has raised must not end the iterator quietly (PEP 479). */
static void
replace_stop_iteration(void)
{
    if (PyErr_ExceptionMatches(PyExc_StopIteration)) {
        PyObject *cause = PyErr_GetRaisedException();
        PyErr_SetString(PyExc_RuntimeError, "generator raised StopIteration");
        PyObject *error = PyErr_GetRaisedException();
        PyException_SetContext(error, Py_NewRef(cause));
        PyException_SetCause(error, cause);
        PyErr_SetRaisedException(error);
    }
}

/* end(), keeping the exception that is set. */
static void
end_with_error(MapObject *self)
{
    PyObject *error = PyErr_GetRaisedException();
    end(self);
    PyErr_SetRaisedException(error);
}

static bool
enter(MapObject *self)
{
    if (self->running) {
        PyErr_SetString(PyExc_ValueError, "generator already executing");
        return false;
    }
    self->running = true;
    return true;
}

static PyObject *
map_next(PyObject *op)
{
    MapObject *self = (MapObject *)op;
    if (!enter(self)) {
        return NULL;
    }
    PyObject *value = NULL;
    self->started = true;
    if (self->first < self->count && refill(self) == 0 && self->first < self->count) {
        struct task *task = self->tasks[self->first++];
        value = take(self, state_of_type(Py_TYPE(op)), task);
        submit_give_up(task); /* if it has not ended, in time */
    }
    if (value == NULL) {
        replace_stop_iteration();
        end_with_error(self);
    }
    self->running = false;
    return value;
}

/* -- what else a generator has, since map() of the standard library gives one -- */

static PyObject *
map_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    MapObject *self = (MapObject *)op;
    if (!enter(self)) {
        return NULL;
    }
    end(self);
    self->running = false;
    Py_RETURN_NONE;
}

static PyObject *
map_throw(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    MapObject *self = (MapObject *)op;
    if (nargs < 1 || nargs > 3) {
        return PyErr_Format(PyExc_TypeError, "throw() takes 1 to 3 arguments, not %zd", nargs);
    }
    if (!enter(self)) {
        return NULL;
    }
    end(self);
    self->running = false;
    outcome_raise(nargs > 1 && PyExceptionInstance_Check(args[1]) ? args[1] : args[0]);
    replace_stop_iteration();
    return NULL;
}

static PyObject *
map_send(PyObject *op, PyObject *value)
{
    if (value != Py_None && !((MapObject *)op)->started) {
        PyErr_SetString(PyExc_TypeError, "can't send non-None value to a just-started generator");
        return NULL;
    }
    PyObject *result = map_next(op);
    if (result == NULL && !PyErr_Occurred()) {
        PyErr_SetNone(PyExc_StopIteration);
    }
    return result;
}

/* -- life -- */

/* The iterators of all iterables, as zip() makes them. */
static PyObject *
iterators_of(PyObject *iterables)
{
    PyObject *list = PyList_New(0); /* __iter__ may be Python: it must find no half-filled tuple */
    for (Py_ssize_t i = 0; list != NULL && i < PyTuple_GET_SIZE(iterables); i++) {
        PyObject *iterator = PyObject_GetIter(PyTuple_GET_ITEM(iterables, i));
        if (iterator == NULL || PyList_Append(list, iterator) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(iterator);
    }
    PyObject *iterators = list == NULL ? NULL : PyList_AsTuple(list);
    Py_XDECREF(list);
    return iterators;
}

static int
begin(MapObject *self, struct crew *crew, size_t ahead, bool plain)
{
    return self->ahead > 0 ? submit_to_limit(self, crew, ahead, plain)
                           : submit_ahead(self, crew, ahead > 0 ? ahead : SIZE_MAX, plain);
}

PyObject *
map_new(struct state *state, PyObject *executor, struct crew *crew, PyObject *function,
        PyObject *iterables, PyObject *timeout, size_t ahead)
{
    int64_t deadline;
    if (outcome_deadline(timeout, &deadline) < 0) {
        return NULL;
    }
    MapObject *self = (MapObject *)state->map_type->tp_alloc(state->map_type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->running = true; /* until it is complete: the iterables may find it by gc.get_objects() */
    self->deadline = deadline;
    self->function = tag_find(state, function); /* once, not with each call */
    if (self->function == NULL && !PyErr_Occurred()) {
        self->function = Py_NewRef(function);
    }
    self->iterators = self->function == NULL ? NULL : iterators_of(iterables);
    if (ahead > 0 && self->iterators != NULL) {
        self->executor = PyWeakref_NewRef(executor, NULL);
    }
    self->ahead = limit_is_set(crew) ? ahead : 0;
    if (self->iterators == NULL ||
        submit_context(state, crew, self->function, &self->context) < 0 ||
        (ahead > 0 && self->executor == NULL) ||
        begin(self, crew, ahead, are_plain_iterators(self->iterators, iterables)) < 0) {
        PyObject *error = PyErr_GetRaisedException();
        /* Untagged calls go on, as in ThreadPoolExecutor; of tagged ones nothing does that nobody can ask for. */
        self->started = PyErr_GivenExceptionMatches(error, PyExc_KeyboardInterrupt) &&
                        submit_is_tagged(state, function) > 0;
        PyErr_Clear();
        end(self);
        PyErr_SetRaisedException(error);
        Py_DECREF(self);
        return NULL;
    }
    if (ahead == 0) {
        Py_CLEAR(self->iterators);
        Py_CLEAR(self->function);
        Py_CLEAR(self->context);
    }
    self->running = false;
    return (PyObject *)self;
}

static int
map_traverse(PyObject *op, visitproc visit, void *arg)
{
    MapObject *self = (MapObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->iterators);
    Py_VISIT(self->function);
    Py_VISIT(self->context);
    Py_VISIT(self->executor);
    for (size_t i = self->first; i < self->count; i++) {
        if (fstate_is_done(&self->tasks[i]->state)) {
            Py_VISIT(self->tasks[i]->result); /* before, it is the worker's */
        }
    }
    return 0;
}

static int
map_clear(PyObject *op)
{
    end((MapObject *)op);
    return 0;
}

static void
map_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    COMPAT_DEALLOC_BEGIN(op, map_dealloc)
    if (((MapObject *)op)->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    end((MapObject *)op);
    type->tp_free(op);
    Py_DECREF(type);
    COMPAT_DEALLOC_END
}

static PyMethodDef map_methods[] = {
    {"close", map_close, METH_NOARGS,
     PyDoc_STR("End the iterator; what has not started is cancelled, if a result was asked for.")},
    {"send", map_send, METH_O, PyDoc_STR("As next(): the value is ignored.")},
    {"throw", (PyCFunction)(void (*)(void))map_throw, METH_FASTCALL,
     PyDoc_STR("End the iterator as close() does, and raise the exception.")},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef map_members[] = {
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(MapObject, weakrefs), Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot map_slots[] = {
    {Py_tp_doc, "The results of an executor's map(), in order."},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, map_next},
    {Py_tp_traverse, map_traverse},
    {Py_tp_clear, map_clear},
    {Py_tp_dealloc, map_dealloc},
    {Py_tp_methods, map_methods},
    {Py_tp_members, map_members},
    {0, NULL},
};

static PyType_Spec map_spec = {
    .name = "aiointerpreters._core.MapIterator",
    .basicsize = sizeof(MapObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = map_slots,
};

int
map_register_types(struct state *state)
{
    state->map_type = (PyTypeObject *)PyType_FromModuleAndSpec(state->module, &map_spec, NULL);
    return state->map_type == NULL ? -1 : 0;
}
