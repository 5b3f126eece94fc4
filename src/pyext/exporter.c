#include "exporter.h"

typedef struct {
    PyObject_HEAD
    struct view *view; /* owned */
} ExporterObject;

/* Whether the memory has no gaps, with the last axis running fastest ('C') or the first ('F'). */
static bool
is_contiguous(const struct view *view, char order)
{
    ptrdiff_t expected = view->itemsize;
    for (int i = 0; i < view->dimensions; i++) {
        int axis = order == 'C' ? view->dimensions - 1 - i : i;
        if (view->shape[axis] != 1 && view->strides[axis] != expected && view->size > 0) {
            return false;
        }
        expected *= view->shape[axis];
    }
    return true;
}

static bool
asks_for(int flags, int request)
{
    return (flags & request) == request;
}

/* Whether a request of the buffer protocol can be met by this memory as it lies. */
static bool
fits(const struct view *view, int flags)
{
    bool c_order = is_contiguous(view, 'C');
    bool f_order = is_contiguous(view, 'F');
    if (asks_for(flags, PyBUF_C_CONTIGUOUS) && !c_order) {
        return false;
    }
    if (asks_for(flags, PyBUF_F_CONTIGUOUS) && !f_order) {
        return false;
    }
    if (asks_for(flags, PyBUF_ANY_CONTIGUOUS) && !c_order && !f_order) {
        return false;
    }
    return asks_for(flags, PyBUF_STRIDES) || c_order;
}

static int
exporter_getbuffer(PyObject *self, Py_buffer *buffer, int flags)
{
    const struct view *view = ((ExporterObject *)self)->view;
    buffer->obj = NULL;
    if ((flags & PyBUF_WRITABLE) != 0 && view->readonly) {
        PyErr_SetString(PyExc_BufferError, "the memory was lent read-only");
        return -1;
    }
    if (!fits(view, flags)) {
        PyErr_SetString(PyExc_BufferError, "the memory that was lent is not contiguous");
        return -1;
    }
    buffer->buf = view->memory;
    buffer->len = view->size;
    buffer->itemsize = view->itemsize;
    buffer->readonly = view->readonly;
    buffer->ndim = asks_for(flags, PyBUF_ND) ? view->dimensions : 1;
    buffer->format = asks_for(flags, PyBUF_FORMAT) ? view->format : NULL;
    buffer->shape = asks_for(flags, PyBUF_ND) ? view->shape : NULL;
    buffer->strides = asks_for(flags, PyBUF_STRIDES) ? view->strides : NULL;
    buffer->suboffsets = NULL;
    buffer->internal = NULL;
    buffer->obj = Py_NewRef(self);
    return 0;
}

static void
exporter_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    view_free(((ExporterObject *)self)->view);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot exporter_slots[] = {
    {Py_tp_doc,
     "Memory of another interpreter, lent to this one for as long as this object lives."},
    {Py_tp_dealloc, exporter_dealloc},
    {Py_bf_getbuffer, exporter_getbuffer},
    {0, NULL},
};

static PyType_Spec exporter_spec = {
    .name = "aiointerpreters._core.LentMemory",
    .basicsize = sizeof(ExporterObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = exporter_slots,
};

int
exporter_register_types(struct state *state)
{
    state->exporter_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(state->module, &exporter_spec, NULL);
    return state->exporter_type == NULL ? -1 : 0;
}

PyObject *
exporter_new(struct state *state, struct view *view)
{
    PyObject *exporter = state->exporter_type->tp_alloc(state->exporter_type, 0);
    if (exporter == NULL) {
        view_free(view);
        return NULL;
    }
    ((ExporterObject *)exporter)->view = view;
    return exporter;
}

struct view *
exporter_view(struct state *state, PyObject *object)
{
    return object != NULL && Py_IS_TYPE(object, state->exporter_type)
               ? ((ExporterObject *)object)->view
               : NULL;
}
