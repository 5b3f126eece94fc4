#include "submit.h"

#include "../core/roster.h"
#include "broadcast.h"
#include "context.h"
#include "definition.h"
#include "future.h"
#include "home.h"
#include "hosts.h"
#include "lending.h"
#include "limit.h"
#include "registry.h"
#include "tag.h"
#include "task.h"
#include "transport.h"

/* A call with partials taken apart: what to call, and the values as vectorcall has them. */
struct flat_call {
    PyObject *target;        /* borrowed */
    PyObject *const *values; /* borrowed, or `block` */
    size_t count;
    PyObject *keywords; /* borrowed, or `own_keywords` */
    PyObject **block;   /* values held, or NULL */
    size_t held;        /* values in `block` */
    PyObject *own_keywords;
    PyObject *source;  /* held: the Context to take the values of context variables from, or NULL */
    PyObject *context; /* held: those values, or NULL */
    PyObject *holds[5]; /* what else must live until the call is encoded */
    size_t hold_count;
};

static void
flat_free(struct flat_call *call)
{
    while (call->held > 0) {
        Py_DECREF(call->block[--call->held]);
    }
    PyMem_Free(call->block);
    Py_XDECREF(call->own_keywords);
    Py_XDECREF(call->source);
    Py_XDECREF(call->context);
    while (call->hold_count > 0) {
        Py_DECREF(call->holds[--call->hold_count]);
    }
}

/* Whether all keys are str, as the names of a call have to be. A partial takes any by __setstate__(). */
static int
check_names(PyObject *keywords)
{
    Py_ssize_t place = 0;
    PyObject *name, *value;
    while (PyDict_Next(keywords, &place, &name, &value)) {
        if (!PyUnicode_Check(name)) {
            PyErr_Format(PyExc_TypeError, "keywords must be strings, and %R in a partial is not",
                         name);
            return -1;
        }
    }
    return 0;
}

/* partial's keywords, overridden by those of the call around it: a new dict. */
static PyObject *
merge_keywords(PyObject *inner, const struct flat_call *outer)
{
    PyObject *merged = check_names(inner) < 0 ? NULL : PyDict_Copy(inner);
    Py_ssize_t names = outer->keywords != NULL ? PyTuple_GET_SIZE(outer->keywords) : 0;
    for (Py_ssize_t i = 0; merged != NULL && i < names; i++) {
        if (PyDict_SetItem(merged, PyTuple_GET_ITEM(outer->keywords, i),
                           outer->values[outer->count + (size_t)i]) < 0) {
            Py_CLEAR(merged);
        }
    }
    return merged;
}

/* Replaces the values of `call` by `args` from `skip` on, its own positional ones, and the values of
 * `keywords` (a dict of the caller's own). */
static int
splice(struct flat_call *call, PyObject *args, Py_ssize_t skip, PyObject *keywords)
{
    size_t inner = (size_t)(PyTuple_GET_SIZE(args) - skip);
    size_t count = inner + call->count;
    PyObject *names = PyTuple_New(PyDict_GET_SIZE(keywords));
    PyObject **block = names == NULL ? NULL
                                     : PyMem_Calloc(count + (size_t)PyTuple_GET_SIZE(names) + 1,
                                                    sizeof(PyObject *));
    if (block == NULL) {
        Py_XDECREF(names);
        PyErr_NoMemory();
        return -1;
    }
    /* From here on no Python runs: the dict keeps its size, and the tuple is complete before anybody sees it. */
    size_t held = 0;
    for (; held < inner; held++) {
        block[held] = Py_NewRef(PyTuple_GET_ITEM(args, skip + (Py_ssize_t)held));
    }
    for (; held < count; held++) {
        block[held] = Py_NewRef(call->values[held - inner]);
    }
    Py_ssize_t place = 0;
    PyObject *name, *value;
    for (Py_ssize_t i = 0; PyDict_Next(keywords, &place, &name, &value); i++) {
        PyTuple_SET_ITEM(names, i, Py_NewRef(name)); /* not looked up: its hash may be anything */
        block[held++] = Py_NewRef(value);
    }
    struct flat_call old = *call;
    call->block = block;
    call->held = held;
    call->values = block;
    call->count = count;
    call->own_keywords = names;
    call->keywords = PyTuple_GET_SIZE(names) > 0 ? names : NULL;
    old.hold_count = 0; /* still held by `call`, as these */
    old.source = old.context = NULL;
    flat_free(&old);
    return 0;
}

/* Takes a functools.partial apart, `skip` of its positional values left out. */
static int
unwrap_partial(struct state *state, struct flat_call *call, PyObject *partial, Py_ssize_t skip)
{
    PyObject *args = PyObject_GetAttr(partial, state->attribute_names[NAME_ARGS]);
    PyObject *inner = PyObject_GetAttr(partial, state->attribute_names[NAME_KEYWORDS]);
    bool sound = args != NULL && PyTuple_Check(args) && PyTuple_GET_SIZE(args) >= skip &&
                 inner != NULL && PyDict_Check(inner);
    PyObject *merged = sound ? merge_keywords(inner, call) : NULL;
    int result = merged == NULL ? -1 : splice(call, args, skip, merged);
    if (result < 0 && !PyErr_Occurred()) {
        PyErr_SetString(PyExc_TypeError, "a functools.partial without args and keywords");
    }
    Py_XDECREF(args);
    Py_XDECREF(inner);
    Py_XDECREF(merged);
    return result;
}

/* 3.14: functools.Placeholder leaves a gap that the call fills; such a partial stays whole. */
static bool
has_placeholder(struct state *state, PyObject *partial)
{
    bool found = false;
    if (state->placeholder == NULL) {
        return false;
    }
    PyObject *args = PyObject_GetAttr(partial, state->attribute_names[NAME_ARGS]);
    for (Py_ssize_t i = 0; args != NULL && PyTuple_Check(args) && i < PyTuple_GET_SIZE(args); i++) {
        found = found || PyTuple_GET_ITEM(args, i) == state->placeholder;
    }
    PyErr_Clear();
    Py_XDECREF(args);
    return found;
}

/* From a tag to what it calls in the end, through exact partials and tags within. */
static int
flatten(struct state *state, struct flat_call *call)
{
    for (;;) {
        if (tag_check(state, call->target)) {
            call->target = ((TagObject *)call->target)->marked;
        }
        else if (Py_IS_TYPE(call->target, (PyTypeObject *)state->partial_type) &&
                 call->hold_count < Py_ARRAY_LENGTH(call->holds) &&
                 !has_placeholder(state, call->target)) {
            PyObject *partial = call->target;
            PyObject *function = PyObject_GetAttr(partial, state->attribute_names[NAME_FUNC]);
            if (function == NULL) {
                return -1;
            }
            call->holds[call->hold_count++] = function;
            call->target = function;
            if (unwrap_partial(state, call, partial, 0) < 0) {
                return -1;
            }
        }
        else {
            return 0;
        }
    }
}

/* -- encoding -- */

/* Before something runs that may be anybody's Python. `argument`: the batch, or NULL. */
static int
flush_before_python(void *argument)
{
    struct batch *batch = argument;
    if (batch == NULL || batch_flush(batch) == 0) {
        return 0;
    }
    batch->refused = true;
    return -1;
}

static int
encode(struct state *state, struct crew *crew, struct task *task, const struct flat_call *call,
       PyObject *definition, struct batch *batch)
{
    struct message *message = &task->tagged.message;
    struct call_values values = {NULL,           call->values,  call->count,
                                 call->keywords, crew->repeats, call->context};
    task->with_context = call->context != NULL;
    struct python_guard guard = {flush_before_python, batch};
    if (definition != NULL) {
        task->tagged.func = definition_func(definition);
        func_own(task->tagged.func);
        return transport_encode_call(state, message, &values, task->tagged.func->name, &guard);
    }
    const char *name;
    PyObject *name_holder = definition_name(call->target, &name);
    values.callable = call->target;
    int result = transport_encode_call(state, message, &values, name, &guard);
    Py_XDECREF(name_holder);
    return result;
}

/* What definition_find() gives, from the tag or the batch if they know. -1 with an exception: of the
 * callable, or (`batch->refused`) because the batch could not be queued. */
static int
find_definition(struct state *state, TagObject *tag, PyObject *target, struct batch *batch,
                PyObject **definition)
{
    bool is_direct = target == tag->marked;
    if (batch != NULL && batch->definition != NULL && batch->target == target) {
        *definition = Py_NewRef(batch->definition);
        return 0;
    }
    *definition = is_direct ? definition_recall(state, tag->definition, target) : NULL;
    if (*definition != NULL) {
        return 0;
    }
    if (flush_before_python(batch) < 0 || definition_find(state, target, definition) < 0) {
        return -1;
    }
    if (is_direct) {
        Py_XSETREF(tag->definition, Py_XNewRef(*definition));
    }
    return 0;
}

/* Fills a task with a tagged call. -1 with the exception that its future should end with. */
static int
fill_tagged(struct state *state, struct crew *crew, struct task *task, TagObject *tag,
            struct flat_call *call, struct batch *batch)
{
    PyObject *definition;
    if (flatten(state, call) < 0 ||
        find_definition(state, tag, call->target, batch, &definition) < 0) {
        return -1;
    }
    if (batch != NULL) {
        batch->target = call->target;
        Py_XSETREF(batch->definition, Py_XNewRef(definition));
    }
    int result = encode(state, crew, task, call, definition, batch);
    if (result < 0 && batch != NULL) {
        Py_CLEAR(batch->definition); /* saying why has run Python */
    }
    Py_XDECREF(definition);
    return result;
}

/* Puts values in the place of handles. */
static int
open_handles(struct state *state, struct plain_call *call, struct batch *batch)
{
    bool is_partial = Py_IS_TYPE(call->function, (PyTypeObject *)state->partial_type);
    if (call->kwargs == NULL && !is_partial && broadcast_open_arguments(state, call->args)) {
        return 0;
    }
    int found = broadcast_is_within(state, call->function, call->args, call->kwargs);
    if (found <= 0) {
        return found;
    }
    return flush_before_python(batch) < 0
               ? -1
               : broadcast_replace(&call->function, &call->args, &call->kwargs);
}

static int
fill_plain(struct task *task, PyObject *function, PyObject *const *values, size_t count,
           PyObject *keywords)
{
    PyObject *args = PyTuple_New((Py_ssize_t)count);
    PyObject *kwargs = keywords != NULL ? PyDict_New() : NULL;
    if (args == NULL || (keywords != NULL && kwargs == NULL)) {
        goto error;
    }
    for (size_t i = 0; i < count; i++) {
        PyTuple_SET_ITEM(args, (Py_ssize_t)i, Py_NewRef(values[i]));
    }
    for (Py_ssize_t i = 0; kwargs != NULL && i < PyTuple_GET_SIZE(keywords); i++) {
        if (PyDict_SetItem(kwargs, PyTuple_GET_ITEM(keywords, i), values[count + (size_t)i]) < 0) {
            goto error;
        }
    }
    task->plain = (struct plain_call){Py_NewRef(function), args, kwargs};
    return 0;
error:
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    return -1;
}

/* -- making a task -- */

static bool
lacks_memory_or_stack(PyObject *error)
{
    return error != NULL && (PyObject_TypeCheck(error, (PyTypeObject *)PyExc_MemoryError) ||
                             PyObject_TypeCheck(error, (PyTypeObject *)PyExc_RecursionError));
}

/* Whether what was raised as the initializer was encoded says nothing about the initializer: a Ctrl-C, or
 * the caller's own lack of memory or stack, perhaps as the cause of a SendError. */
static bool
is_callers_own(void)
{
    PyObject *error = PyErr_GetRaisedException();
    PyObject *cause = PyException_GetCause(error);
    bool own = !PyObject_TypeCheck(error, (PyTypeObject *)PyExc_Exception) ||
               lacks_memory_or_stack(error) || lacks_memory_or_stack(cause);
    Py_XDECREF(cause);
    PyErr_SetRaisedException(error);
    return own;
}

int
submit_prepare_interps(struct state *state, struct crew *crew)
{
    if (compat_is_traced()) {
        PyErr_SetString(
            PyExc_RuntimeError,
            "tracemalloc is tracing, beside which interpreters hang before Python 3.15: call "
            "tracemalloc.stop() first, or submit the function untagged");
        return -1;
    }
    if (crew_prepare_interp_initializer(crew) == 0) {
        return home_note(state);
    }
    if (!is_callers_own()) {
        PyObject *cause = PyErr_GetRaisedException();
        crew_break(crew, cause);
        Py_DECREF(cause);
        crew_raise_broken(crew);
    }
    return -1;
}

/* A new task for a call of `tag`. */
static struct task *
new_tagged(TagObject *tag)
{
    struct task *task = task_new(true, registry_generation());
    if (task == NULL) {
        return NULL;
    }
    task->interruptible = !tag->options.uninterruptible;
    task->limit = tag->options.limit;
    if (tag->kind != CALL_VALUE) {
        bool streams = tag->kind == CALL_GENERATOR;
        if (hosts_mark(task, streams ? HOSTED_GENERATOR : HOSTED_COROUTINE) < 0) {
            task_drop(task);
            return NULL;
        }
        task->hosted->buffer = tag->options.buffer;
    }
    return task;
}

static struct task *
make_tagged(struct state *state, struct crew *crew, TagObject *tag, struct flat_call *call,
            struct batch *batch)
{
    bool prepared = batch != NULL && batch->definition != NULL; /* nothing has run since */
    if (!prepared) {
        if (flush_before_python(batch) < 0) {
            return NULL;
        }
        lending_collect(state);
        func_collect();
        repeats_tidy(crew->repeats);
        if (submit_prepare_interps(state, crew) < 0) {
            return NULL;
        }
    }
    struct task *task = new_tagged(tag);
    if (task == NULL || fill_tagged(state, crew, task, tag, call, batch) == 0) {
        return task;
    }
    if ((batch != NULL && batch->refused) || !PyErr_ExceptionMatches(PyExc_Exception)) {
        task_drop(task); /* a Ctrl-C while encoding is the caller's, not the task's */
        return NULL;
    }
    PyObject *error = PyErr_GetRaisedException();
    roster_count(&crew->pool, STATS_FAILED);
    future_fail(state, task, error);
    Py_DECREF(error);
    return task;
}

static struct task *
make_plain(struct state *state, PyObject *function, PyObject *const *values, size_t count,
           PyObject *keywords, struct batch *batch)
{
    struct task *task = task_new(false, registry_generation());
    if (task != NULL && (fill_plain(task, function, values, count, keywords) < 0 ||
                         open_handles(state, &task->plain, batch) < 0)) {
        task_drop(task);
        return NULL;
    }
    return task;
}

/* Takes `context=` out of the keywords, if it is a Context, which no function could be sent. */
static int
take_source(struct flat_call *call)
{
    Py_ssize_t names = call->keywords == NULL ? 0 : PyTuple_GET_SIZE(call->keywords);
    Py_ssize_t place = 0;
    while (place < names &&
           !(PyContext_CheckExact(call->values[call->count + (size_t)place]) &&
             PyUnicode_EqualToUTF8(PyTuple_GET_ITEM(call->keywords, place), "context"))) {
        place++;
    }
    if (place == names) {
        return 0;
    }
    Py_XSETREF(call->source, Py_NewRef(call->values[call->count + (size_t)place]));
    PyObject *none = PyTuple_New(0);
    PyObject *kept = PyDict_New();
    int result = none == NULL || kept == NULL ? -1 : 0;
    PyObject *merged = result < 0 ? NULL : merge_keywords(kept, call);
    if (merged == NULL || PyDict_DelItemString(merged, "context") < 0 ||
        splice(call, none, 0, merged) < 0) {
        result = -1;
    }
    Py_XDECREF(none);
    Py_XDECREF(kept);
    Py_XDECREF(merged);
    return result;
}

/* The Context that a function submitted is to run in: the one of asyncio.to_thread. */
static PyObject *
source_in(PyObject *function)
{
    PyObject *run = PyObject_GetAttrString(function, "func");
    PyObject *source = run == NULL ? NULL : Py_NewRef(PyCFunction_GET_SELF(run));
    Py_XDECREF(run);
    return source;
}

/* The tag that is called by `function`, or governs its call, and the Context in which that is (NULL: the caller's): *tag,
 * *source, new references or NULL. -1 with an exception. */
static int
tag_called(struct state *state, PyObject *function, TagObject **tag, PyObject **source)
{
    *source = NULL;
    PyObject *called;
    bool in_context = tag_is_context_run(state, function, &called);
    *tag = in_context ? (TagObject *)tag_find(state, called) : tag_governing(state, function);
    if (*tag != NULL && in_context) {
        *source = source_in(function);
        if (*source == NULL) {
            Py_CLEAR(*tag);
        }
    }
    return *tag == NULL && PyErr_Occurred() ? -1 : 0;
}

static int
collect_context(struct state *state, struct crew *crew, const TagObject *tag, PyObject *source,
                PyObject **context)
{
    return context_collect(state, crew->context_vars, tag->options.context_vars, source, context);
}

static int
take_context(struct state *state, struct crew *crew, const TagObject *tag, struct flat_call *call,
             const struct batch *batch)
{
    if (batch != NULL) {
        call->context = Py_XNewRef(batch->context);
        return 0;
    }
    return collect_context(state, crew, tag, call->source, &call->context);
}

int
submit_context(struct state *state, struct crew *crew, PyObject *function, PyObject **context)
{
    PyObject *source;
    TagObject *tag;
    *context = NULL;
    int result = tag_called(state, function, &tag, &source);
    if (tag != NULL) {
        result = collect_context(state, crew, tag, source, context);
    }
    Py_XDECREF(tag);
    Py_XDECREF(source);
    return result;
}

/* A task to be queued, or one that has ended because it cannot be sent. NULL with an exception: the
 * crew does not take it. `batch` is what it will be queued with, or NULL. */
static struct task *
make_task(struct state *state, struct crew *crew, PyObject *function, PyObject *const *values,
          size_t count, PyObject *keywords, struct batch *batch)
{
    if (submit_check_open(state, crew) < 0) {
        return NULL;
    }
    struct flat_call call = {
        .target = function, .values = values, .count = count, .keywords = keywords};
    TagObject *tag;
    if (tag_called(state, function, &tag, &call.source) < 0) {
        return NULL;
    }
    if (tag == NULL) {
        return make_plain(state, function, values, count, keywords, batch);
    }
    if (call.source != NULL) {
        call.target = (PyObject *)tag;
    }
    struct task *task = NULL;
    if ((call.source == NULL || unwrap_partial(state, &call, function, 1) == 0) &&
        take_source(&call) == 0 && take_context(state, crew, tag, &call, batch) == 0) {
        task = make_tagged(state, crew, tag, &call, batch);
    }
    flat_free(&call);
    Py_DECREF(tag);
    return task;
}

int
submit_is_tagged(struct state *state, PyObject *function)
{
    PyObject *source;
    TagObject *tag;
    int result = tag_called(state, function, &tag, &source);
    Py_XDECREF(tag);
    Py_XDECREF(source);
    return result < 0 ? -1 : tag != NULL;
}

struct task *
submit_make(struct state *state, struct crew *crew, PyObject *function, PyObject *const *values,
            size_t count, PyObject *keywords)
{
    return make_task(state, crew, function, values, count, keywords, NULL);
}

struct task *
submit_make_direct(struct state *state, struct crew *crew, PyObject *tag, PyObject *const *values,
                   size_t count, PyObject *keywords)
{
    if (submit_check_open(state, crew) < 0) {
        return NULL;
    }
    struct flat_call call = {.target = tag, .values = values, .count = count, .keywords = keywords};
    struct task *task = NULL;
    if (take_context(state, crew, (TagObject *)tag, &call, NULL) == 0) {
        task = make_tagged(state, crew, (TagObject *)tag, &call, NULL);
    }
    flat_free(&call);
    return task;
}

PyObject *
submit(struct state *state, struct crew *crew, PyObject *function, PyObject *const *values,
       size_t count, PyObject *keywords, struct turn *turn)
{
    struct task *task = make_task(state, crew, function, values, count, keywords, NULL);
    if (task == NULL) {
        return NULL;
    }
    if (task->hosted != NULL && task->hosted->kind == HOSTED_GENERATOR) {
        PyErr_Format(PyExc_TypeError,
                     "%R is an asynchronous generator function, which gives more than one result: "
                     "`async for item in executor.run(...)` gives them one by one",
                     function);
        task_drop(task);
        return NULL;
    }
    bool failed = fstate_is_done(&task->state);
    PyObject *future = future_new(state, task);
    if (future != NULL && !failed && submit_queue(state, crew, task, turn, OS_FOREVER) < 0) {
        Py_CLEAR(future);
    }
    return future;
}

/* -- batches -- */

enum { MOST_TOGETHER = 32, LARGE_MESSAGE = 1024 }; /* tasks; bytes */

void
batch_init(struct batch *batch, struct state *state, struct crew *crew, PyObject *function,
           PyObject *context)
{
    *batch = (struct batch){
        .state = state, .crew = crew, .function = function, .context = context, .limit = 1};
    list_init(&batch->jobs);
}

static void
cancel_batch(struct batch *batch)
{
    struct list *node;
    while ((node = list_pop_front(&batch->jobs)) != NULL) {
        struct task *task = LIST_ENTRY(node, struct task, job.node);
        future_cancel_pending(batch->state, task);
        task_drop(task);
    }
}

int
batch_flush(struct batch *batch)
{
    size_t count = batch->count;
    batch->count = 0;
    Py_CLEAR(batch->definition);
    if (count == 0) {
        return 0;
    }
    int workers = pool_submit_all(&batch->crew->pool, &batch->jobs, count);
    if (workers < 0) {
        cancel_batch(batch);
        submit_raise_closed(batch->state, batch->crew);
        return -1;
    }
    return submit_start_workers(batch->crew, workers);
}

static bool
is_large(const struct task *task)
{
    if (!task->job.slotted) {
        return false;
    }
    const struct message *message = &task->tagged.message;
    for (size_t i = 0; i < message->view_count; i++) {
        if (message_view(message, i)->kind != VIEW_PARCEL) {
            return true;
        }
    }
    return message->bytes.size > LARGE_MESSAGE;
}

/* Whether encoding a value runs no Python, unless batch_add() is told before (struct python_guard). */
static bool
is_builtin(struct state *state, PyObject *value)
{
    return PyLong_CheckExact(value) || PyUnicode_CheckExact(value) || PyFloat_CheckExact(value) ||
           PyBytes_CheckExact(value) || PyTuple_CheckExact(value) || PyList_CheckExact(value) ||
           PyDict_CheckExact(value) || PyBool_Check(value) || value == Py_None ||
           broadcast_check(state, value);
}

/* In a crew with a limit nothing is queued together. */
static struct task *
add_if_room(struct batch *batch, struct task *task)
{
    int queued = submit_queue_if_room(batch->state, batch->crew, task);
    batch->full = queued == 0;
    if (queued < 0) {
        task_drop(task);
        return NULL;
    }
    return task;
}

struct task *
batch_add(struct batch *batch, PyObject *const *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (batch->count > 0 && !is_builtin(batch->state, values[i]) &&
            tag_check(batch->state, batch->function) && batch_flush(batch) < 0) {
            return NULL;
        }
    }
    struct task *task =
        make_task(batch->state, batch->crew, batch->function, values, count, NULL, batch);
    if (task == NULL) {
        return NULL;
    }
    if (task->hosted != NULL) {
        PyErr_Format(PyExc_TypeError,
                     "map() calls functions, and %R is a coroutine function: use "
                     "`async for result in executor.amap(...)`",
                     batch->function);
        task_drop(task);
        return NULL;
    }
    task->wanted = true;
    if (fstate_is_done(&task->state)) {
        return task;
    }
    if (limit_is_set(batch->crew)) {
        return add_if_room(batch, task);
    }
    task_hold(task);
    task->crew = batch->crew;
    list_push_back(&batch->jobs, &task->job.node);
    batch->count++;
    if (batch->count >= batch->limit || is_large(task)) {
        batch->limit = Py_MIN(2 * batch->limit, MOST_TOGETHER);
        if (batch_flush(batch) < 0) {
            submit_interrupt_unseen(batch->state, task);
            task_drop(task);
            return NULL;
        }
    }
    return task;
}
