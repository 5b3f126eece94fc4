#include "hosts.h"

#include "func.h"
#include "future.h"
#include "registry.h"
#include "stopping.h"
#include "submit.h"
#include "transport.h"

#include <errno.h>
#include <stdlib.h>

/* -- life -- */

static void
hosts_drop(struct hosts *hosts)
{
    if (atomic_fetch_sub_explicit(&hosts->refs, 1, memory_order_acq_rel) == 1) {
        mailroom_destroy(&hosts->room);
        free(hosts);
    }
}

static struct hosts *
hold(struct hosts *hosts)
{
    atomic_fetch_add_explicit(&hosts->refs, 1, memory_order_relaxed);
    return hosts;
}

void
host_hold(struct host *host)
{
    atomic_fetch_add_explicit(&host->refs, 1, memory_order_relaxed);
}

void
host_drop(struct host *host)
{
    if (atomic_fetch_sub_explicit(&host->refs, 1, memory_order_acq_rel) == 1) {
        os_bell_close(&host->bell);
        hosts_drop(host->hosts);
        free(host);
    }
}

void
hosts_count(struct hosts *hosts, const struct task *task, enum stats_event event)
{
    if (task->hosted->kind == HOSTED_FETCH) {
        return; /* it is a part of its generator's call */
    }
    atomic_fetch_add_explicit(&hosts->counts[event], 1, memory_order_relaxed);
}

int
hosts_mark(struct task *task, hosted_kind kind)
{
    struct hosted *hosted = calloc(1, sizeof(*hosted));
    if (hosted == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    mail_init(&hosted->mail);
    hosted->task = task;
    hosted->kind = kind;
    task->hosted = hosted;
    return 0;
}

void
hosts_unmark(struct task *task)
{
    struct hosted *hosted = task->hosted;
    task->hosted = NULL;
    if (hosted->hosts != NULL) {
        hosts_drop(hosted->hosts);
    }
    if (hosted->host != NULL) {
        host_drop(hosted->host);
    }
    if (hosted->stream != NULL) {
        task_drop(hosted->stream);
    }
    free(hosted);
}

/* A crew for the hosts of another: as that one, but that it takes nothing but hosts. A host that was interrupted in
 * a bad place finishes what it has beside the one in its place, so there may be twice as many; and one more worker calls
 * callbacks of futures. */
static struct crew *
new_inner(struct state *state, struct crew *crew)
{
    unsigned most = crew->pool.max_slots;
    PyObject *prefix = PyUnicode_FromFormat("%U-host", crew->name_prefix);
    PyObject *initargs = crew->initargs == NULL ? PyTuple_New(0) : Py_NewRef(crew->initargs);
    struct crew *inner = NULL;
    if (prefix != NULL && initargs != NULL) {
        inner = crew_new(state, 2 * most + 1, 2 * most, prefix,
                         crew->initializer == NULL ? Py_None : crew->initializer, initargs);
    }
    Py_XDECREF(prefix);
    Py_XDECREF(initargs);
    if (inner == NULL) {
        return NULL;
    }
    inner->grace = crew->grace;
    inner->limit.patience = OS_FOREVER;
    if (crew->preload != NULL && (inner->preload = preload_copy(crew->preload)) == NULL) {
        crew_drop(inner);
        PyErr_NoMemory();
        return NULL;
    }
    return inner;
}

static void
hold_call(struct mail *mail)
{
    task_hold(LIST_ENTRY(mail, struct hosted, mail)->task);
}

static struct hosts *
new_hosts(struct state *state, struct crew *crew)
{
    struct hosts *hosts = calloc(1, sizeof(*hosts));
    if (hosts == NULL ||
        mailroom_init(&hosts->room, crew->pool.max_slots, crew->most_hosted, hold_call) != 0) {
        free(hosts);
        PyErr_NoMemory();
        return NULL;
    }
    atomic_init(&hosts->refs, 1);
    atomic_init(&hosts->stop_at, OS_FOREVER);
    combiner_init(&hosts->told);
    hosts->state = state;
    hosts->grace = crew->grace == OS_FOREVER ? -1 : (double)crew->grace / 1e9;
    hosts->inner = new_inner(state, crew);
    if (hosts->inner == NULL) {
        hosts_drop(hosts);
        return NULL;
    }
    hosts->inner->serves = hosts;
    return hosts;
}

void
hosts_release(struct hosts *hosts)
{
    struct crew *inner = hosts->inner;
    hosts->inner = NULL;
    inner->serves = NULL;
    pool_close(&inner->pool);
    crew_drop(inner);
    hosts_drop(hosts);
}

/* The crew's hosts, made with its first call for them; or NULL with an exception. */
static struct hosts *
hosts_of(struct state *state, struct crew *crew)
{
    if (crew_hosts(crew) == NULL) {
        struct hosts *hosts = new_hosts(state, crew);
        if (hosts == NULL) {
            return NULL;
        }
        if (crew_hosts(crew) != NULL) { /* somebody was quicker while we called out */
            hosts_release(hosts);
        }
        else {
            registry_set_hosts(crew, hosts);
        }
    }
    return crew_hosts(crew);
}

/* -- calls that end without their host -- */

static struct task *
task_of(struct list *node)
{
    return LIST_ENTRY(LIST_ENTRY(node, struct mail, node), struct hosted, mail)->task;
}

/* A call that was taken out of the room, and its reference. Its host may still read what was to be called. */
static void
fail(struct hosts *hosts, struct task *task, PyObject *error)
{
    struct state *state = hosts->state;
    if (!fstate_start(&task->state) && fstate_get(&task->state) != FSTATE_RUNNING) {
        hosts_count(hosts, task, STATS_CANCELLED);
        if (!fstate_notify_quietly(&task->state)) {
            future_tell_cancelled(state, task);
        }
    }
    else if (hosts->stopped) { /* all was to be cancelled anyway */
        hosts_count(hosts, task, STATS_INTERRUPTED);
        future_tell_stopped(state, task);
    }
    else {
        hosts_count(hosts, task, STATS_FAILED);
        task->result = Py_NewRef(error);
        task->outcome = OUTCOME_RAISED;
        if (!fstate_finish_quietly(&task->state)) {
            future_tell_finished(state, task);
        }
    }
    task_drop(task);
}

static void
fail_all(struct hosts *hosts, struct list *mails, PyObject *error)
{
    struct list *node;
    while ((node = list_pop_front(mails)) != NULL) {
        fail(hosts, task_of(node), error);
    }
}

/* Cancels calls that were taken out of the room, and have not started. */
static void
cancel_all(struct hosts *hosts, struct list *mails)
{
    struct list *node;
    while ((node = list_pop_front(mails)) != NULL) {
        struct task *task = task_of(node);
        hosts_count(hosts, task, STATS_CANCELLED);
        future_cancel_pending(hosts->state, task);
        task_drop(task);
    }
}

void
hosts_cancel_pending(struct hosts *hosts)
{
    struct list mails;
    list_init(&mails);
    mailroom_drain(&hosts->room, &mails);
    cancel_all(hosts, &mails);
}

/* -- a host's end -- */

static const char host_name[] = "aiointerpreters.host";

/* What its calls end with: a new reference. */
static PyObject *
reason_of_end(struct host *host, PyObject *future)
{
    PyObject *cause = NULL;
    const char *what = "the event loop that ran the coroutine has ended";
    if (host->task->expired == EXPIRED_ASIDE) {
        what = "the interpreter that ran the coroutine was given up: a coroutine that was to stop "
               "has held "
               "up its event loop";
    }
    else if (fstate_get(&host->task->state) == FSTATE_FINISHED) {
        cause = PyObject_CallMethod(future, "exception", NULL);
        if (cause == NULL) {
            cause = PyErr_GetRaisedException();
        }
        if (cause != Py_None &&
            PyErr_GivenExceptionMatches(cause, host->hosts->state->broken_pool)) {
            return cause; /* an initializer has failed: that is the executor's, not the coroutine's */
        }
    }
    PyObject *error = cause == NULL || cause == Py_None
                          ? PyObject_CallFunction(PyExc_RuntimeError, "s", what)
                          : NULL;
    if (error == NULL && cause != NULL && cause != Py_None) {
        PyObject *text = PyUnicode_FromFormat("%s: %R", what, cause);
        error = text == NULL ? NULL : PyObject_CallOneArg(PyExc_RuntimeError, text);
        Py_XDECREF(text);
        if (error != NULL) {
            PyException_SetCause(error, Py_NewRef(cause));
        }
    }
    Py_XDECREF(cause);
    return error != NULL ? error : PyErr_GetRaisedException();
}

/* -- a host's beginning -- */

static int start_host(struct state *state, struct hosts *hosts, struct crew *crew);

/* Starts a host if calls wait and there are fewer than there may be. If there is none, and none can be
 * started, they end with the reason. */
static void
revive(struct hosts *hosts, struct crew *crew)
{
    PyObject *error = PyErr_GetRaisedException();
    if (mailroom_lacks_box(&hosts->room) && start_host(hosts->state, hosts, crew) < 0) {
        PyObject *reason = PyErr_GetRaisedException();
        struct mailroom_load load;
        mailroom_weigh(&hosts->room, &load);
        if (load.boxes == 0) {
            struct list mails;
            list_init(&mails);
            mailroom_drain(&hosts->room, &mails);
            fail_all(hosts, &mails, reason);
        }
        Py_DECREF(reason);
    }
    PyErr_SetRaisedException(error);
}

void
hosts_look_after(struct host *host)
{
    if (host->crew != NULL) {
        revive(host->hosts, host->crew);
    }
}

/* The host is gone, or was given up: nobody will serve what calls it has. */
static void
end_host(struct host *host, PyObject *future)
{
    struct hosts *hosts = host->hosts;
    struct crew *crew = host->crew;
    struct list mails;
    if (host->ended) {
        return;
    }
    host->ended = true;
    host->crew = NULL;
    list_init(&mails);
    mailroom_lose(&hosts->room, &host->box, &mails);
    if (!list_is_empty(&mails)) {
        PyObject *error = reason_of_end(host, future);
        fail_all(hosts, &mails, error);
        Py_XDECREF(error);
    }
    revive(hosts, crew);
    crew_drop(crew);
    host_drop(host); /* the caller's own */
}

/* The callback of a host's future. */
static PyObject *
host_ended(PyObject *capsule, PyObject *future)
{
    struct host *host = PyCapsule_GetPointer(capsule, host_name);
    if (host != NULL) {
        end_host(host, future);
    }
    Py_RETURN_NONE;
}

static PyMethodDef host_ended_def = {"host_ended", host_ended, METH_O,
                                     PyDoc_STR("What the end of a host is told (private).")};

static struct host *
new_host(struct hosts *hosts, struct crew *crew)
{
    struct host *host = calloc(1, sizeof(*host));
    int error = host == NULL ? 0 : os_bell_open(&host->bell);
    if (host == NULL || error != 0) {
        free(host);
        if (error != 0) {
            errno = error;
            PyErr_SetFromErrno(PyExc_OSError);
        }
        else {
            PyErr_NoMemory();
        }
        return NULL;
    }
    atomic_init(&host->refs, 1);
    atomic_init(&host->reminded, false);
    host->hosts = hold(hosts);
    mailbox_init(&host->box, host->bell.ringing);
    crew_hold(crew);
    host->crew = crew;
    return host;
}

/* The call of aiointerpreters._hosting.main(). */
static struct task *
new_host_task(struct state *state, struct host *host)
{
    struct task *task = task_new(true, registry_generation());
    if (task == NULL || hosts_mark(task, HOSTED_HOST) < 0) {
        goto error;
    }
    host_hold(host);
    task->hosted->host = host;
    task->interruptible = true;
    task->tagged.func = func_by_name("aiointerpreters._hosting", "main");
    if (task->tagged.func == NULL) {
        PyErr_NoMemory();
        goto error;
    }
    struct call_values none = {NULL, NULL, 0, NULL, NULL, NULL};
    if (transport_encode_call(state, &task->tagged.message, &none, task->tagged.func->name, NULL) <
        0) {
        goto error;
    }
    host->task = task;
    return task;
error:
    if (task != NULL) {
        task_drop(task);
    }
    return NULL;
}

/* The future of the task, which it takes over: it calls host_ended(). */
static PyObject *
new_host_future(struct state *state, struct host *host, struct task *task)
{
    PyObject *future = future_new(state, task);
    PyObject *capsule = future == NULL ? NULL : PyCapsule_New(host, host_name, NULL);
    PyObject *callback = capsule == NULL ? NULL : PyCFunction_New(&host_ended_def, capsule);
    PyObject *done =
        callback == NULL ? NULL : PyObject_CallMethod(future, "add_done_callback", "O", callback);
    if (done == NULL) {
        Py_CLEAR(future);
    }
    Py_XDECREF(capsule);
    Py_XDECREF(callback);
    Py_XDECREF(done);
    return future;
}

static void
discard_host(struct host *host)
{
    PyObject *error = PyErr_GetRaisedException();
    crew_drop(host->crew);
    host->crew = NULL;
    host->ended = true;
    host_drop(host);
    PyErr_SetRaisedException(error);
}

static bool
is_wanted(struct hosts *hosts)
{
    return mailroom_wants_box(&hosts->room) || mailroom_lacks_box(&hosts->room);
}

/* Starts a host if one is wanted. -1 with an exception. */
static int
start_host(struct state *state, struct hosts *hosts, struct crew *crew)
{
    struct crew *inner = hosts->inner;
    if (submit_check_open(state, inner) < 0 || submit_prepare_interps(state, inner) < 0) {
        return -1;
    }
    if (!is_wanted(hosts)) {
        return 0; /* that has run Python: others have had one started meanwhile */
    }
    struct host *host = new_host(hosts, crew);
    struct task *task = host == NULL ? NULL : new_host_task(state, host);
    PyObject *future = task == NULL ? NULL : new_host_future(state, host, task);
    if (future == NULL) {
        if (host != NULL) {
            discard_host(host);
        }
        return -1;
    }
    mailroom_add(&hosts->room, &host->box);
    int result = submit_start(state, inner, task);
    if (result < 0 && !host->ended) {
        PyObject *error = PyErr_GetRaisedException();
        if (task->crew == NULL) {
            future_fail(state, task,
                        error); /* it was not queued: nobody else ends what is observed */
        }
        end_host(host, future); /* unless its callback has */
        PyErr_SetRaisedException(error);
    }
    Py_DECREF(future);
    return result;
}

/* -- calls -- */

int
hosts_post(struct state *state, struct crew *crew, struct task *task)
{
    /* Since encoding may have run Python code, and nobody would end hosts that are new. */
    if (submit_check_open(state, crew) < 0) {
        return -1;
    }
    struct hosts *hosts = hosts_of(state, crew);
    if (hosts == NULL) {
        return -1;
    }
    if (mailroom_wants_box(&hosts->room) && start_host(state, hosts, crew) < 0) {
        struct mailroom_load load;
        mailroom_weigh(&hosts->room, &load);
        if (load.boxes == 0 || !PyErr_ExceptionMatches(PyExc_Exception)) {
            return -1;
        }
        PyErr_Clear(); /* the others will do it */
    }
    task->hosted->hosts = hold(hosts);
    task_hold(task);
    if (!mailroom_post(&hosts->room, &task->hosted->mail)) {
        task_drop(task);
        submit_raise_closed(state, crew);
        return -1;
    }
    revive(hosts, crew); /* the only host may have ended before it got the call */
    return 0;
}

int
hosts_post_fetch(struct task *task, struct task *stream, uint64_t taken, bool closes, bool *posted)
{
    struct hosts *hosts = stream->hosted->hosts;
    if (hosts_mark(task, HOSTED_FETCH) < 0) {
        return -1;
    }
    struct hosted *hosted = task->hosted;
    hosted->hosts = hold(hosts);
    hosted->taken = taken;
    hosted->closes = closes;
    hosted->stream = stream;
    task_hold(stream);
    task_hold(task);
    *posted = mailroom_post_beside(&hosts->room, &hosted->mail, &stream->hosted->mail);
    if (!*posted) {
        task_drop(task);
    }
    return 0;
}

bool
hosts_withdraw(struct task *task)
{
    struct hosts *hosts = task->hosted->hosts;
    struct mail *follower;
    if (hosts == NULL || task->generation != registry_generation() ||
        !mailroom_withdraw(&hosts->room, &task->hosted->mail, &follower)) {
        return false;
    }
    hosts_count(hosts, task, STATS_CANCELLED);
    if (follower != NULL) {
        struct list mails;
        list_init(&mails);
        list_push_back(&mails, &follower->node);
        cancel_all(hosts, &mails);
    }
    return true;
}

void
hosts_ask(struct task *task)
{
    struct hosts *hosts = task->hosted->hosts;
    struct mailbox *box = mailroom_notify(&hosts->room, &task->hosted->mail);
    if (box != NULL) {
        struct host *host = LIST_ENTRY(box, struct host, box); /* hosts go with this GIL only */
        stopping_remind(host->task, os_now_ns() + HOST_PATIENCE);
        /* After that: if it comes too late for the host, a knock rings its bell again. */
        atomic_store_explicit(&host->reminded, true, memory_order_release);
    }
}

/* -- the crew -- */

void
hosts_close(struct hosts *hosts)
{
    if (hosts != NULL) {
        mailroom_close(&hosts->room);
        pool_close(&hosts->inner->pool);
    }
}

void
hosts_stop(struct hosts *hosts)
{
    if (hosts == NULL || hosts->stopped) {
        return;
    }
    hosts->stopped = true;
    atomic_store_explicit(&hosts->stop_at, os_now_ns(),
                          memory_order_relaxed); /* the lock orders it */
    mailroom_stop(&hosts->room);
    pool_close(&hosts->inner->pool);
    hosts_cancel_pending(hosts);
    crew_stop(hosts->inner);
}

/* -- fork -- */

void
hosts_before_fork(struct hosts *hosts)
{
    mailroom_before_fork(&hosts->room);
}

void
hosts_after_fork_in_parent(struct hosts *hosts)
{
    mailroom_after_fork_in_parent(&hosts->room);
}

/* The host is the parent's, but its descriptor is there twice. */
static void
forget_host(struct mailbox *box)
{
    os_bell_close(&LIST_ENTRY(box, struct host, box)->bell);
}

void
hosts_after_fork_in_child(struct hosts *hosts)
{
    mailroom_after_fork_in_child(&hosts->room, forget_host);
    combiner_init(&hosts->told);
    for (size_t i = 0; i < STATS_EVENTS; i++) {
        atomic_store_explicit(&hosts->counts[i], 0, memory_order_relaxed);
    }
}
