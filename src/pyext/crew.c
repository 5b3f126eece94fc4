#include "crew.h"

#include "../core/lease.h"
#include "../core/roster.h"
#include "definition.h"
#include "future.h"
#include "hosts.h"
#include "prestart.h"
#include "registry.h"
#include "stopping.h"
#include "tag.h"
#include "task.h"
#include "transport.h"

#include <stdlib.h>
#include <string.h>

const char crew_start_name[] = "aiointerpreters.start";

/* The crew that the calling thread works for. */
static _Thread_local struct crew *joined_crew;

/* -- life -- */

/* An encoded initializer; both may be NULL. */
static void
free_encoded(struct func *func, struct message *call)
{
    if (func != NULL) {
        func_disown(func);
    }
    if (call != NULL) {
        message_free(call);
        free(call);
    }
}

static void
set_initializer(struct crew *crew, PyObject *initializer, PyObject *initargs)
{
    if (initializer != Py_None) {
        bool tagged = tag_check(crew->state, initializer);
        crew->initializer = Py_NewRef(initializer);
        crew->initargs = Py_NewRef(initargs);
        crew->initializes_threads = !tagged;
        crew->interp.wanted = true;
    }
}

struct crew *
crew_new(struct state *state, unsigned max_workers, unsigned max_interpreters,
         PyObject *name_prefix, PyObject *initializer, PyObject *initargs)
{
    struct crew *crew = calloc(1, sizeof(*crew));
    if (crew == NULL || pool_init(&crew->pool, max_workers, max_interpreters) != 0) {
        free(crew);
        PyErr_NoMemory();
        return NULL;
    }
    atomic_init(&crew->refs, 1);
    combiner_init(&crew->told);
    list_init(&crew->node);
    list_init(&crew->starting);
    crew->state = state;
    crew->generation = registry_generation();
    crew->module = Py_NewRef(state->module);
    crew->name_prefix = Py_NewRef(name_prefix);
    set_initializer(crew, initializer, initargs);
    if (state->is_main) { /* elsewhere an executor accepts nothing, so there is nothing to join */
        registry_add(crew);
    }
    crew->threads = PySet_New(NULL);
    if (crew->threads == NULL) {
        crew_drop(crew);
        return NULL;
    }
    return crew;
}

void
crew_hold(struct crew *crew)
{
    atomic_fetch_add_explicit(&crew->refs, 1, memory_order_relaxed);
}

void
crew_drop(struct crew *crew)
{
    if (atomic_fetch_sub_explicit(&crew->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    registry_remove(crew);
    if (crew_hosts(crew) != NULL) {
        hosts_release(crew_hosts(crew));
    }
    free_encoded(crew->interp.func, crew->interp.call);
    preload_free(crew->preload);
    repeats_free(crew->repeats);
    Py_CLEAR(crew->threads);
    Py_CLEAR(crew->name_prefix);
    Py_CLEAR(crew->initializer);
    Py_CLEAR(crew->initargs);
    Py_CLEAR(crew->broken);
    Py_CLEAR(crew->broken_cause);
    Py_CLEAR(crew->context_vars);
    Py_CLEAR(crew->module);
    pool_destroy(&crew->pool);
    free(crew);
}

struct hosts *
crew_hosts(struct crew *crew)
{
    return atomic_load_explicit(&crew->hosts, memory_order_acquire);
}

/* -- garbage collection: only when the executor alone holds the crew, whose objects no other thread
 * can reach then -- */

static bool
is_held_once(struct crew *crew)
{
    return atomic_load_explicit(&crew->refs, memory_order_relaxed) == 1;
}

int
crew_traverse(struct crew *crew, visitproc visit, void *arg)
{
    if (crew != NULL && is_held_once(crew)) {
        Py_VISIT(crew->threads);
        Py_VISIT(crew->initializer);
        Py_VISIT(crew->initargs);
        Py_VISIT(crew->broken_cause);
    }
    return 0;
}

void
crew_clear(struct crew *crew)
{
    if (crew != NULL && is_held_once(crew)) {
        crew_hold(crew);       /* destructors may make the executor anew, and drop its crew */
        crew->shutdown = true; /* without its initializer it must not start anything */
        Py_CLEAR(crew->initializer);
        Py_CLEAR(crew->initargs);
        Py_CLEAR(crew->broken_cause);
        crew_drop(crew);
    }
}

/* -- workers -- */

struct crew *
crew_joined(void)
{
    return joined_crew;
}

bool
crew_is_joined(const struct crew *crew)
{
    return joined_crew == crew;
}

void
crew_set_joined(struct crew *crew)
{
    joined_crew = crew;
}

static void
free_start(PyObject *capsule)
{
    struct start *start = PyCapsule_GetPointer(capsule, crew_start_name);
    list_remove(&start->node);
    Py_CLEAR(start->waiters);
    if (start->expired != NULL) {
        task_drop(start->expired);
    }
    if (start->target != NULL) {
        target_drop(start->target);
    }
    crew_drop(start->crew);
    free(start);
}

/* A capsule of a start, which holds the crew for as long as the thread holds the capsule. */
static PyObject *
new_start(struct crew *crew, struct task *expired)
{
    struct start *start = malloc(sizeof(*start));
    struct target *target = start == NULL ? NULL : target_new();
    if (target == NULL) {
        free(start);
        return PyErr_NoMemory();
    }
    *start =
        (struct start){.crew = crew, .progress = STARTING, .expired = expired, .target = target};
    list_push_back(&crew->starting, &start->node);
    if (expired != NULL) {
        task_hold(expired);
    }
    crew_hold(crew);
    PyObject *capsule = PyCapsule_New(start, crew_start_name, free_start);
    if (capsule == NULL) {
        list_remove(&start->node);
        if (expired != NULL) {
            task_drop(expired);
        }
        target_drop(target);
        crew_drop(crew);
        free(start);
    }
    return capsule;
}

static PyObject *
new_thread(struct crew *crew, PyObject *capsule)
{
    struct start *start = PyCapsule_GetPointer(capsule, crew_start_name);
    PyObject *target = PyCFunction_New(&worker_main_def, capsule);
    PyObject *name = PyUnicode_FromFormat("%U_%llu", crew->name_prefix, crew->names++);
    PyObject *kwargs =
        target == NULL || name == NULL
            ? NULL
            : Py_BuildValue("{s:O,s:O,s:O}", "target", target, "name", name, "daemon", Py_False);
    PyObject *empty = PyTuple_New(0);
    PyObject *thread = kwargs == NULL || empty == NULL
                           ? NULL
                           : PyObject_Call(crew->state->thread_class, empty, kwargs);
    start->thread = thread;
    Py_XDECREF(target);
    Py_XDECREF(name);
    Py_XDECREF(kwargs);
    Py_XDECREF(empty);
    return thread;
}

/* Takes all that is pending and has `end` end it. */
static void
end_pending(struct crew *crew, void (*end)(struct crew *crew, struct task *task))
{
    struct list jobs;
    struct list *node;
    list_init(&jobs);
    pool_drain(&crew->pool, &jobs);
    while ((node = list_pop_front(&jobs)) != NULL) {
        struct task *task = LIST_ENTRY(node, struct task, job.node);
        end(crew, task);
        task_drop(task);
    }
}

/* Without a worker. */
static void
count_ended(struct crew *crew, const struct task *task, enum stats_event event)
{
    if (task->job.wants == 0) {
        bool cancelled = fstate_get(&task->state) == FSTATE_CANCELLED;
        roster_count(&crew->pool, cancelled ? STATS_CANCELLED : event);
    }
}

/* `error`: stolen; when it is NULL, what making it has raised takes its place. */
static void
fail(struct crew *crew, struct task *task, PyObject *error)
{
    if (error == NULL) {
        error = PyErr_GetRaisedException();
    }
    count_ended(crew, task, STATS_FAILED);
    future_fail(crew->state, task, error);
    Py_DECREF(error);
}

static void
fail_without_worker(struct crew *crew, struct task *task)
{
    fail(crew, task,
         PyObject_CallFunction(PyExc_RuntimeError, "s",
                               "no worker thread could be started for the call"));
}

/* start() has raised. 1 when somebody will do the work all the same. */
static int
handle_failed_start(struct crew *crew, struct start *start, PyObject *thread)
{
    if (start->progress == RUNNING) {
        return -1; /* it runs; what was raised (a Ctrl-C) is the caller's */
    }
    start->progress = ABANDONED;
    PyObject *error = PyErr_GetRaisedException();
    if (thread != NULL) {
        PySet_Discard(crew->threads, thread);
    }
    bool others = pool_worker_failed(&crew->pool);
    if (!others) {
        end_pending(crew, fail_without_worker);
    }
    prestart_finish(prestart_tell(start, error));
    PyErr_SetRaisedException(error);
    if (others && PyErr_ExceptionMatches(PyExc_Exception)) {
        PyErr_Clear(); /* the others will do it, as they become free */
        return 1;
    }
    return -1;
}

void
crew_forget_parent(struct crew *crew)
{
    if (crew->generation != registry_generation()) {
        crew->generation = registry_generation();
        while (list_pop_front(&crew->starting) != NULL) {
        }
        PySet_Clear(crew->threads);
    }
}

PyObject *
crew_list_threads(struct crew *crew)
{
    crew_forget_parent(crew);
    return PySequence_List(crew->threads);
}

int
crew_start_worker(struct crew *crew)
{
    return crew_start_worker_for(crew, NULL);
}

int
crew_start_worker_for(struct crew *crew, struct task *expired)
{
    crew_forget_parent(crew);
    struct start none = {.progress = STARTING};
    list_init(&none.node);
    PyObject *checked =
        state_call("_threads", "check", NULL, 0); /* it may have been patched since */
    PyObject *capsule = checked == NULL ? NULL : new_start(crew, expired);
    Py_XDECREF(checked);
    PyObject *thread = capsule == NULL ? NULL : new_thread(crew, capsule);
    PyObject *started = NULL;
    if (thread != NULL && PySet_Add(crew->threads, thread) == 0) {
        started = PyObject_CallMethod(thread, "start", NULL);
    }
    int result = 0;
    if (started == NULL) {
        struct start *start =
            capsule == NULL ? &none : PyCapsule_GetPointer(capsule, crew_start_name);
        result = handle_failed_start(crew, start, thread);
    }
    Py_XDECREF(started);
    Py_XDECREF(thread);
    Py_XDECREF(capsule);
    return result;
}

/* -- initializers -- */

static struct message *
new_message(void)
{
    struct message *message = malloc(sizeof(*message));
    if (message == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    message_init(message);
    return message;
}

/* Encodes apart and commits at the end: encoding runs Python, so another thread may be here too, and
 * the first to finish wins. */
static int
encode_initializer(struct crew *crew)
{
    PyObject *callable = crew->initializer;
    if (tag_check(crew->state, callable)) {
        callable = ((TagObject *)callable)->marked;
    }
    PyObject *definition;
    if (definition_find(crew->state, callable, &definition) < 0) {
        return -1;
    }
    struct func *func = NULL;
    if (definition != NULL) {
        func = definition_func(definition);
        func_own(func);
        Py_DECREF(definition);
    }
    struct call_values values = {
        .callable = func == NULL ? callable : NULL,
        .values = &PyTuple_GET_ITEM(crew->initargs, 0),
        .count = (size_t)PyTuple_GET_SIZE(crew->initargs),
    };
    struct message *call = new_message();
    int result = call == NULL
                     ? -1
                     : transport_encode_call(crew->state, call, &values,
                                             func != NULL ? func->name : "the initializer", NULL);
    if (result == 0 && !crew->interp.ready) {
        crew->interp.func = func;
        crew->interp.call = call;
        crew->interp.ready = true;
        return 0;
    }
    free_encoded(func, call);
    return result;
}

int
crew_prepare_interp_initializer(struct crew *crew)
{
    if (crew->interp.ready) {
        return 0;
    }
    if (crew->interp.wanted) {
        return encode_initializer(crew);
    }
    crew->interp.ready = true;
    return 0;
}

static void
log_error(struct crew *crew, const char *text, PyObject *cause)
{
    PyObject *log = PyObject_GetAttrString(crew->state->logger, "critical");
    PyObject *args = Py_BuildValue("(s)", text);
    PyObject *kwargs = Py_BuildValue("{s:O}", "exc_info", cause);
    PyObject *done =
        log == NULL || args == NULL || kwargs == NULL ? NULL : PyObject_Call(log, args, kwargs);
    if (done == NULL) {
        PyErr_WriteUnraisable(crew->initializer);
    }
    Py_XDECREF(log);
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    Py_XDECREF(done);
}

static PyObject *
new_broken_error(struct crew *crew)
{
    PyObject *error = PyObject_CallOneArg(crew->state->broken_pool,
                                          crew->broken != NULL ? crew->broken : Py_None);
    if (error != NULL && crew->broken_cause != NULL) {
        PyException_SetCause(error, Py_NewRef(crew->broken_cause));
    }
    return error;
}

static void
fail_as_broken(struct crew *crew, struct task *task)
{
    fail(crew, task, new_broken_error(crew));
}

void
crew_raise_broken(struct crew *crew)
{
    PyObject *error = new_broken_error(crew);
    if (error != NULL) {
        PyErr_SetRaisedException(error);
    }
}

/* `why`, a str, is taken over; when it is NULL, making it has raised. */
static void
break_with(struct crew *crew, PyObject *why, const char *logged, PyObject *cause)
{
    if (why == NULL) {
        PyErr_Clear();
    }
    if (crew->broken == NULL) {
        crew->broken = Py_XNewRef(why);
        crew->broken_cause = Py_NewRef(cause);
    }
    Py_XDECREF(why);
    log_error(crew, logged, cause);
    pool_close(&crew->pool);
    PyErr_Clear();
    end_pending(crew, fail_as_broken);
    PyErr_Clear();
}

void
crew_break(struct crew *crew, PyObject *cause)
{
    PyObject *why =
        PyUnicode_FromString("A thread initializer failed, the thread pool is not usable anymore");
    break_with(crew, why, "Exception in initializer:", cause);
}

void
crew_break_preload(struct crew *crew, PyObject *cause, const char *module)
{
    PyObject *why = PyUnicode_FromFormat(
        "The preload of module '%s' failed, the thread pool is not usable anymore", module);
    break_with(crew, why, "Exception in preload:", cause);
}

void
crew_forget_repeats(struct crew *crew)
{
    if (crew->repeats != NULL) {
        repeats_clear(crew->repeats);
    }
}

static void
cancel(struct crew *crew, struct task *task)
{
    count_ended(crew, task, STATS_CANCELLED);
    future_cancel_pending(crew->state, task);
}

void
crew_cancel_pending(struct crew *crew)
{
    end_pending(crew, cancel);
    if (crew_hosts(crew) != NULL) {
        hosts_cancel_pending(crew_hosts(crew));
    }
}

void
crew_stop(struct crew *crew)
{
    crew->stopped = true;
    crew_cancel_pending(crew);
    leases_refuse(&crew->pool);
    hosts_stop(crew_hosts(crew));
    hosts_stop(crew->serves);
    stopping_ask_crew(crew);
}
