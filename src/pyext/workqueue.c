#include "workqueue.h"

#include "future.h"
#include "task.h"

typedef struct {
    PyObject_HEAD
    struct crew *crew; /* held */
} WorkQueueObject;

static struct pool *
pool_of(PyObject *self)
{
    return &((WorkQueueObject *)self)->crew->pool;
}

static PyObject *
workqueue_qsize(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromSize_t(pool_pending(pool_of(self)));
}

static PyObject *
workqueue_empty(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(pool_pending(pool_of(self)) == 0);
}

static PyObject *
workqueue_put(PyObject *Py_UNUSED(self), PyObject *item)
{
    if (item != Py_None) {
        return PyErr_Format(PyExc_TypeError,
                            "only None can be put into an executor's work queue, got %T; use "
                            "submit()",
                            item);
    }
    Py_RETURN_NONE; /* wakes the workers of concurrent.futures; ours need no waking */
}

static PyObject *
raise_empty(void)
{
    PyObject *module = PyImport_ImportModule("queue");
    PyObject *empty = module == NULL ? NULL : PyObject_GetAttrString(module, "Empty");
    if (empty != NULL) {
        PyErr_SetNone(empty);
    }
    Py_XDECREF(module);
    Py_XDECREF(empty);
    return NULL;
}

/* A task that leaves the queue without its future being alive concerns nobody. */
static PyObject *
item_of(struct task *task)
{
    PyObject *types = PyImport_ImportModule("types");
    PyObject *namespace = types == NULL ? NULL : PyObject_GetAttrString(types, "SimpleNamespace");
    PyObject *kwargs =
        Py_BuildValue("{s:O}", "future", task->future != NULL ? task->future : Py_None);
    PyObject *empty = PyTuple_New(0);
    PyObject *item = namespace == NULL || kwargs == NULL || empty == NULL
                         ? NULL
                         : PyObject_Call(namespace, empty, kwargs);
    Py_XDECREF(types);
    Py_XDECREF(namespace);
    Py_XDECREF(kwargs);
    Py_XDECREF(empty);
    return item;
}

/* Who asked for a task cannot be given it, and no worker will come for it: its future says why. */
static PyObject *
lose(struct state *state, struct task *task)
{
    PyObject *error = PyErr_GetRaisedException();
    future_fail(state, task, error);
    task_drop(task);
    PyErr_SetRaisedException(error);
    return NULL;
}

static PyObject *
workqueue_get_nowait(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    struct job *job = pool_steal(pool_of(self));
    if (job == NULL) {
        return raise_empty();
    }
    struct task *task = LIST_ENTRY(job, struct task, job);
    PyObject *item = item_of(task);
    if (item == NULL) {
        return lose(((WorkQueueObject *)self)->crew->state, task);
    }
    if (task->keeps_future) { /* no worker will come to tell: who took it decides what becomes of it */
        task->keeps_future = false;
        Py_DECREF(task->future);
    }
    task->is_call = false;
    task->crew = NULL;
    task_drop(task);
    return item;
}

static void
workqueue_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    crew_drop(((WorkQueueObject *)self)->crew);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef workqueue_methods[] = {
    {"qsize", workqueue_qsize, METH_NOARGS, PyDoc_STR("Number of tasks that wait for a worker.")},
    {"empty", workqueue_empty, METH_NOARGS, PyDoc_STR("Whether no task waits for a worker.")},
    {"put", workqueue_put, METH_O, PyDoc_STR("Accepts None and does nothing.")},
    {"get_nowait", workqueue_get_nowait, METH_NOARGS,
     PyDoc_STR("Takes the oldest waiting task out of the queue: an object with its `future`.\n\n"
               "Raises queue.Empty when none waits.")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot workqueue_slots[] = {
    {Py_tp_doc, "The tasks of an executor that wait for a worker."},
    {Py_tp_dealloc, workqueue_dealloc},
    {Py_tp_methods, workqueue_methods},
    {0, NULL},
};

static PyType_Spec workqueue_spec = {
    .name = "aiointerpreters._core.WorkQueue",
    .basicsize = sizeof(WorkQueueObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = workqueue_slots,
};

PyObject *
workqueue_new(struct state *state, struct crew *crew)
{
    PyObject *self = state->work_queue_type->tp_alloc(state->work_queue_type, 0);
    if (self != NULL) {
        crew_hold(crew);
        ((WorkQueueObject *)self)->crew = crew;
    }
    return self;
}

int
workqueue_register_types(struct state *state)
{
    state->work_queue_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(state->module, &workqueue_spec, NULL);
    return state->work_queue_type == NULL ? -1 : 0;
}
