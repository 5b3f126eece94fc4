/* The worker: one threading.Thread of the submitter's interpreter that takes tasks from its crew's
 * pool until the pool is closed and empty.
 *
 * At any moment its thread is attached to nothing, to the submitter's interpreter ("main" here), or
 * to the interpreter whose slot it holds. It parks attached to nothing. A tagged task is run,
 * published and dropped without main, unless somebody has to be told.
 */
#include "worker.h"

#include "../core/aside.h"
#include "../core/roster.h"
#include "broadcast.h"
#include "execute.h"
#include "future.h"
#include "homecall.h"
#include "prestart.h"
#include "registry.h"
#include "stopping.h"
#include "target.h"
#include "task.h"
#include "transport.h"

/* -- moving -- */

static void
go_nowhere(struct worker_thread *worker)
{
    if (worker->where == AT_MAIN) {
        worker->main = PyEval_SaveThread();
    }
    else if (worker->where == AT_INTERP) {
        interp_leave(worker->entered, worker->at_home);
        worker->entered = NULL;
    }
    worker->where = DETACHED;
}

static void
go_main(struct worker_thread *worker)
{
    if (worker->where != AT_MAIN) {
        go_nowhere(worker);
        PyEval_RestoreThread(worker->main);
        worker->where = AT_MAIN;
    }
}

/* To the interpreter of the slot that is held, which must have been made. False, attached to nothing:
 * there is no memory for a guest's thread state. */
static bool
go_interp(struct worker_thread *worker)
{
    struct slot *slot = worker->base.slot;
    if (worker->where == AT_INTERP && worker->entered == slot->resource) {
        return true;
    }
    go_nowhere(worker);
    worker->at_home = slot->home == &worker->base;
    if (!interp_enter(slot->resource, worker->at_home)) {
        return false;
    }
    worker->entered = slot->resource;
    worker->where = AT_INTERP;
    return true;
}

/* A guest may not stay attached without the slot, since the home could end the interpreter; so it
 * goes before the slot may be given back, which is whenever the pool is asked for the next job. */
static struct job *
take(struct worker_thread *worker)
{
    if (worker->where == AT_INTERP && !worker->at_home) {
        go_nowhere(worker);
    }
    return pool_take(&worker->crew->pool, &worker->base);
}

/* A task that forks returns twice, here too. In the child the pool has forgotten this worker, whose
 * thread is the child's only one: it finishes its task and ends. */
static bool
is_forked(const struct worker_thread *worker)
{
    return worker->generation != registry_generation();
}

/* -- publishing -- */

static void
start_workers(struct worker_thread *worker, unsigned count)
{
    for (; count > 0; count--) {
        if (crew_start_worker(worker->crew) < 0) {
            PyErr_WriteUnraisable(NULL);
        }
    }
}

/* To main, where callbacks may take long and wait for other tasks: so not with a slot. */
static void
go_tell(struct worker_thread *worker)
{
    go_main(worker); /* first: a guest must not stay attached without the slot */
    if (worker->base.slot != NULL) {
        start_workers(worker, pool_stay_busy(&worker->crew->pool, &worker->base, NULL));
    }
}

/* Drops a task that has ended, the worker having taken `next`, which it gives. If nobody else has the
 * task any more and its result is Python's, destructors may run: so not while we count as idle. */
static struct job *
drop(struct worker_thread *worker, struct task *task, struct job *next)
{
    if (!task_release(task)) {
        return next;
    }
    if (task->result != NULL) {
        unsigned wanted = pool_stay_busy(&worker->crew->pool, &worker->base, next);
        go_main(worker);
        start_workers(worker, wanted);
        task_free(task);
        return is_forked(worker) ? NULL : take(worker);
    }
    task_free(task);
    return next;
}

/* The same for a task that is to be told, with others: by this worker, unless another is about to. */
static struct job *
hand_in(struct worker_thread *worker, struct task *task)
{
    struct combiner *told = &worker->crew->told;
    if (combiner_add(told, &task->told)) {
        go_tell(worker);
        future_tell_together(worker->crew->state, told);
    }
    return is_forked(worker) ? NULL : take(worker);
}

/* Ends a task whose outcome is set, drops it, and gives the next job. The worker counts itself idle
 * before anybody can see the result; if it turns out that somebody must be told, it takes that back
 * first, since callbacks may take long and may wait for what was promised. */
static struct job *
publish(struct worker_thread *worker, struct task *task)
{
    if (worker->where == AT_MAIN && task->future == NULL && !task->wanted) {
        Py_CLEAR(task->result); /* nobody will ask: its destructors run while we count as busy */
    }
    if (is_forked(worker)) {
        go_main(worker);
        future_tell_finished(worker->crew->state, task);
        task_drop(task);
        return NULL;
    }
    if (fstate_is_observed(&task->state)) {
        stopping_settle(task); /* before anybody else has it, or callbacks run */
    }
    if (fstate_is_observed_by_us(&task->state)) {
        return hand_in(worker, task);
    }
    if (!fstate_is_observed(&task->state)) {
        struct job *next = take(worker);
        if (next == NULL) {
            go_nowhere(worker); /* whoever waits for the result wants our GIL next */
        }
        if (fstate_finish_quietly(&task->state)) {
            return drop(worker, task, next);
        }
        stopping_settle(task); /* observed, or cancelled meanwhile */
        unsigned wanted = pool_stay_busy(&worker->crew->pool, &worker->base, next);
        go_main(worker);
        start_workers(worker, wanted);
    }
    go_tell(worker);
    future_tell_finished(worker->crew->state, task);
    task_drop(task);
    return is_forked(worker) ? NULL : take(worker); /* a callback may have forked */
}

/* A task that was cancelled before it could start. */
static struct job *
skip(struct worker_thread *worker, struct task *task)
{
    if (task->job.wants == 0) {
        stats_count(&worker->base.sheet, STATS_CANCELLED);
    }
    if (!task->job.slotted) {
        go_main(worker); /* what it holds may be ours to drop */
    }
    if (!fstate_notify_quietly(&task->state)) {
        go_main(worker);
        future_tell_cancelled(task);
    }
    task_drop(task);
    return is_forked(worker) ? NULL : take(worker);
}

/* At main: ends the task with the exception that is set. */
static struct job *
publish_raised(struct worker_thread *worker, struct task *task)
{
    task_clear_call(task);
    task->result = PyErr_GetRaisedException();
    task->outcome = OUTCOME_RAISED;
    return publish(worker, task);
}

/* -- running -- */

/* Before anybody is told how a task has ended. */
static void
count_end(struct worker_thread *worker, struct task *task, enum stats_event event)
{
    roster_end(&worker->crew->pool, &worker->base, &task->job, event);
}

static struct job *
run_plain(struct worker_thread *worker, struct task *task)
{
    go_main(worker);
    struct plain_call *call = &task->plain;
    roster_start(&worker->base, &task->job, STATS_PLAIN, call->function);
    PyObject *value = PyObject_Call(call->function, call->args, call->kwargs);
    count_end(worker, task, value != NULL ? STATS_DONE : STATS_FAILED);
    if (value == NULL) {
        return publish_raised(worker, task);
    }
    task_clear_call(task);
    task->result = value;
    task->outcome = OUTCOME_VALUE;
    return publish(worker, task);
}

/* Runs the executor's preload and initializer in the interpreter just made. False: it failed; at
 * main, the crew broken. */
static bool
initialize_interp(struct worker_thread *worker)
{
    struct crew *crew = worker->crew;
    struct message error;
    message_init(&error);
    const char *module =
        crew->preload == NULL ? NULL : execute_preload(worker->entered, crew->preload, &error);
    bool done = module == NULL &&
                (!crew->interp.wanted || execute_initializer(worker->entered, crew->interp.func,
                                                             crew->interp.call, &error));
    if (!done) {
        worker->entered->failed = true;
        go_main(worker);
        PyObject *cause = transport_decode_error(crew->state, &error);
        if (cause == NULL) {
            cause = PyErr_GetRaisedException();
        }
        if (module != NULL) {
            crew_break_preload(crew, cause, module);
        }
        else {
            crew_break(crew, cause);
        }
        Py_DECREF(cause);
    }
    message_free(&error);
    return done;
}

/* Makes the interpreter of the slot that is held; `ahead` of any task, more of it is made ready. 0,
 * attached to it; or -1, at main, with an exception. */
static int
make_interp(struct worker_thread *worker, bool ahead)
{
    char why[512];
    go_nowhere(worker);
    struct interp *interp = interp_create(why, sizeof(why));
    if (interp == NULL) {
        go_main(worker);
        PyErr_Format(PyExc_RuntimeError, "an interpreter could not be created: %s", why);
        return -1;
    }
    worker->entered = interp;
    worker->at_home = true;
    worker->where = AT_INTERP;
    bool ready = initialize_interp(worker);
    if (ready && ahead) {
        execute_warm_up(interp);
    }
    if (!is_forked(worker)) { /* by a callback of what has failed */
        /* Whoever waits for the interpreter finds it ready, or the pool broken. */
        unsigned wanted = pool_slot_made(&worker->crew->pool, &worker->base, interp);
        if (wanted > 0) {
            go_main(worker);
            start_workers(worker, wanted);
        }
    }
    if (!ready) {
        crew_raise_broken(worker->crew);
        return -1;
    }
    (void)go_interp(worker); /* its home has a thread state there */
    return 0;
}

/* A task that nobody waits for any more has ended. */
static struct job *
let_go(struct worker_thread *worker, struct task *task)
{
    go_nowhere(worker);
    task_drop(task);
    return take(worker);
}

/* A task that was stopped, but not by its future, nor because its time was over. */
static struct job *
publish_stopped(struct worker_thread *worker, struct task *task)
{
    go_tell(worker);
    future_tell_stopped(worker->crew->state, task);
    task_drop(task);
    return is_forked(worker) ? NULL : take(worker);
}

/* The worker was set aside, and comes back after all: its task's future has ended, and others do its work. */
static struct job *
come_back(struct worker_thread *worker, struct task *task)
{
    struct interp *interp = worker->entered;
    stopping_settle(task);           /* waits until it is aside for good */
    stats_idle(&worker->base.sheet); /* who has set it aside has counted the task */
    worker->is_aside = true;
    go_nowhere(worker);
    task_drop(task);
    if (pool_left_condemned(&worker->crew->pool, &worker->base, &interp->condemned)) {
        interp_end(interp);
    }
    return NULL;
}

/* Has nothing else to do: makes an interpreter where one was taken out of use. */
static struct job *
refill(struct worker_thread *worker)
{
    struct pool *pool = &worker->crew->pool;
    unsigned wanted = pool_stay_busy(pool, &worker->base, NULL);
    if (wanted > 0) {
        go_main(worker);
        start_workers(worker, wanted);
    }
    if (pool_hold_empty(pool, &worker->base) && make_interp(worker, true) < 0) {
        PyErr_Clear(); /* whoever needs one finds out, and says so */
    }
    return is_forked(worker) ? NULL : take(worker);
}

static void
count_tagged(struct worker_thread *worker, struct task *task)
{
    bool interrupted = fstate_is_done(&task->state) || task->outcome == OUTCOME_STOPPED ||
                       task->expired != NOT_EXPIRED;
    bool done = task->outcome == OUTCOME_ENCODED_VALUE;
    stats_add_bytes(&worker->base.sheet, worker->bytes_in, message_size(&task->tagged.message));
    count_end(worker, task, interrupted ? STATS_INTERRUPTED : done ? STATS_DONE : STATS_FAILED);
}

/* A task that could be stopped has ended. */
static struct job *
publish_stoppable(struct worker_thread *worker, struct task *task)
{
    bool stopped = task->outcome == OUTCOME_STOPPED;
    if (stopped || task->limit > 0 || fstate_is_done(&task->state)) {
        task->expired = stopping_settle(task) ? EXPIRED : NOT_EXPIRED;
    }
    count_tagged(worker, task);
    if (fstate_is_done(&task->state)) {
        return let_go(worker, task);
    }
    return stopped && !task->expired ? publish_stopped(worker, task) : publish(worker, task);
}

/* The same where the interruption may have broken the interpreter: nobody may use it again. */
static struct job *
publish_and_renew(struct worker_thread *worker, struct task *task)
{
    struct interp *interp = worker->entered;
    go_nowhere(worker);
    bool is_home = pool_condemn(&worker->crew->pool, &worker->base, &interp->condemned);
    struct job *next = publish_stoppable(worker, task);
    if (is_forked(worker)) {
        return NULL;
    }
    if (is_home) {
        go_nowhere(worker);
        interp_end(interp);
    }
    return next == NULL ? refill(worker) : next;
}

static struct job *
run_stoppable(struct worker_thread *worker, struct task *task)
{
    if (!stopping_begin(worker, task)) {
        bool failed = PyErr_Occurred() != NULL;
        if (failed) {
            execute_failed(worker->entered, task);
        }
        stopping_settle(task);
        count_end(worker, task, failed ? STATS_FAILED : STATS_INTERRUPTED);
        return failed ? publish(worker, task) : let_go(worker, task);
    }
    if (execute_task(worker->entered, task, worker->target)) {
        return come_back(worker, task);
    }
    return worker->target->unsound ? publish_and_renew(worker, task)
                                   : publish_stoppable(worker, task);
}

static struct job *
run_tagged(struct worker_thread *worker, struct task *task)
{
    if (worker->base.slot->resource == NULL) {
        if (make_interp(worker, false) < 0) {
            stats_count(&worker->base.sheet, STATS_FAILED);
            return publish_raised(worker, task);
        }
    }
    else if (!go_interp(worker)) {
        go_main(worker);
        PyErr_NoMemory();
        return publish_raised(worker, task);
    }
    if (worker->entered->failed) {
        go_main(worker);
        crew_raise_broken(worker->crew);
        stats_count(&worker->base.sheet, STATS_FAILED);
        return publish_raised(worker, task);
    }
    worker->bytes_in = message_size(&task->tagged.message);
    roster_start(&worker->base, &task->job, STATS_TAGGED, task->tagged.func);
    if (task->interruptible) {
        return run_stoppable(worker, task);
    }
    execute_task(worker->entered, task, NULL);
    count_tagged(worker, task);
    return publish(worker, task);
}

/* A maker stays pending until all that it wants is there, so that it can be given back: what it has
 * made may be what another one failed to make, or gave up. */
static struct job *
run_maker(struct worker_thread *worker, struct task *task)
{
    struct pool *pool = &worker->crew->pool;
    if (fstate_is_done(&task->state)) {
        return skip(worker, task);
    }
    bool failed = worker->base.slot != NULL && make_interp(worker, true) < 0;
    go_main(worker);
    if (!failed && !pool_is_satisfied(pool, &task->job)) {
        start_workers(worker, pool_stay_busy(pool, &worker->base, &task->job));
        return take(worker);
    }
    if (!fstate_start(&task->state)) { /* cancelled meanwhile */
        PyErr_Clear();
        return skip(worker, task);
    }
    if (failed) {
        return publish_raised(worker, task);
    }
    task->result = Py_NewRef(Py_None);
    task->outcome = OUTCOME_VALUE;
    return publish(worker, task);
}

static struct job *
run_visit(struct worker_thread *worker)
{
    go_interp(worker);
    execute_visit(worker->entered);
    return take(worker);
}

static struct job *
run(struct worker_thread *worker, struct job *job)
{
    if (job->is_visit) {
        return run_visit(worker);
    }
    struct task *task = LIST_ENTRY(job, struct task, job);
    if (job->wants > 0) {
        return run_maker(worker, task);
    }
    if (!fstate_start(&task->state)) {
        return skip(worker, task);
    }
    return job->slotted ? run_tagged(worker, task) : run_plain(worker, task);
}

/* Ends interpreters that this worker has made and nobody may use again. */
static void
end_condemned(struct worker_thread *worker)
{
    struct interp *interp;
    go_nowhere(worker);
    while ((interp = pool_take_condemned(&worker->crew->pool, &worker->base)) != NULL) {
        interp_end(interp);
    }
}

static void
run_all(struct worker_thread *worker)
{
    struct job *job = take(worker);
    for (;;) {
        if (job == NULL) {
            if (is_forked(worker) || worker->is_aside) {
                return;
            }
            go_nowhere(worker);
            job = pool_wait(&worker->crew->pool, &worker->base);
        }
        if (worker->base.summoned) {
            end_condemned(worker);
            job = job == NULL ? take(worker) : job;
        }
        else if (job == NULL) {
            return;
        }
        job = job == NULL ? NULL : run(worker, job);
    }
}

/* -- the thread -- */

/* NULL with an exception. */
static PyObject *
call_initializer(struct crew *crew)
{
    PyObject *function = Py_NewRef(crew->initializer);
    PyObject *args = Py_NewRef(crew->initargs);
    PyObject *kwargs = NULL;
    int found = broadcast_is_within(crew->state, function, args, NULL);
    PyObject *done = NULL;
    if (found == 0 || (found > 0 && broadcast_replace(&function, &args, &kwargs) == 0)) {
        done = PyObject_Call(function, args, NULL);
    }
    Py_DECREF(function);
    Py_DECREF(args);
    return done;
}

/* At main: runs the executor's initializer in this thread. */
static bool
initialize_thread(struct crew *crew)
{
    if (!crew->initializes_threads) {
        return true;
    }
    PyObject *done = call_initializer(crew);
    if (done != NULL) {
        Py_DECREF(done);
        return true;
    }
    PyObject *cause = PyErr_GetRaisedException();
    crew_break(crew, cause);
    Py_DECREF(cause);
    return false;
}

/* At main: a task that has run for too long, and whose worker this one replaces, ends here. */
static void
tell_expired(struct worker_thread *worker, struct task *task)
{
    start_workers(worker, pool_stay_busy(&worker->crew->pool, &worker->base, NULL));
    future_tell_expired(worker->crew->state, task);
}

/* At main, before it looks for work: tells those who wait for this thread. What they want called may
 * take long, or wait for what this worker is relied on for; so it gives that back first. */
static void
tell_started(struct worker_thread *worker, struct start *start, bool ready)
{
    PyObject *error = NULL;
    if (!ready) {
        crew_raise_broken(worker->crew);
        error = PyErr_GetRaisedException();
    }
    PyObject *calls = prestart_tell(start, error);
    Py_XDECREF(error);
    if (calls != NULL) {
        start_workers(worker, pool_stay_busy(&worker->crew->pool, &worker->base, NULL));
        prestart_finish(calls);
    }
}

static void
end_interps(struct worker_thread *worker)
{
    struct pool *pool = &worker->crew->pool;
    struct interp *interp;
    go_nowhere(worker);
    while ((interp = pool_reclaim_slot(pool, &worker->base)) != NULL) {
        interp_end(interp);
        pool_slot_ended(pool, &worker->base);
    }
}

static PyObject *
worker_main(PyObject *capsule, PyObject *Py_UNUSED(ignored))
{
    struct start *start = PyCapsule_GetPointer(capsule, crew_start_name);
    if (start == NULL) {
        return NULL;
    }
    if (start->progress == ABANDONED) {
        Py_RETURN_NONE; /* whoever started it has taken it for dead, and off the pool's books */
    }
    start->progress = RUNNING;
    struct crew *crew = start->crew;
    crew_set_joined(crew);
    struct worker_thread worker = {.crew = crew,
                                   .thread = start->thread,
                                   .where = AT_MAIN,
                                   .generation = registry_generation()};
    homecall_remember_thread();
    pool_join(&crew->pool, &worker.base);
    roster_join(&crew->pool, &worker.base, PyThread_get_thread_ident());
    worker.target = start->target;
    start->target = NULL;
    stopping_add(&worker);
    if (start->expired != NULL) {
        tell_expired(&worker, start->expired);
    }
    bool ready = !is_forked(&worker) && initialize_thread(crew);
    if (!is_forked(&worker)) {
        tell_started(&worker, start, ready);
    }
    if (ready && !is_forked(&worker)) {
        run_all(&worker);
    }
    if (is_forked(&worker)) {
        Py_RETURN_NONE;
    }
    if (ready) {
        end_interps(&worker);
    }
    crew_set_joined(NULL);
    go_nowhere(&worker);
    homecall_forget_thread();
    stopping_remove(worker.target);
    roster_leave(&crew->pool, &worker.base);
    (worker.is_aside ? pool_leave_aside : pool_leave)(&crew->pool, &worker.base);
    go_main(&worker);
    Py_RETURN_NONE;
}

PyMethodDef worker_main_def = {"worker", worker_main, METH_NOARGS,
                               PyDoc_STR("What a worker thread of an executor runs (private).")};
