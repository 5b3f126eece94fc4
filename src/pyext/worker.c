/* The worker: one threading.Thread of the submitter's interpreter that takes tasks from its crew's
 * pool until the pool is closed and empty.
 *
 * At any moment its thread is attached to nothing, to the submitter's interpreter ("main" here), or
 * to the interpreter whose slot it holds. It parks attached to nothing. A tagged task is run,
 * published and dropped without main, unless somebody has to be told.
 */
#include "worker.h"

#include "../core/aside.h"
#include "../core/lease.h"
#include "../core/roster.h"
#include "broadcast.h"
#include "execute.h"
#include "future.h"
#include "homecall.h"
#include "prestart.h"
#include "registry.h"
#include "renewal.h"
#include "stopping.h"
#include "target.h"
#include "task.h"
#include "transport.h"

/* -- moving -- */

void
worker_go_nowhere(struct worker_thread *worker)
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

void
worker_go_main(struct worker_thread *worker)
{
    if (worker->where != AT_MAIN) {
        worker_go_nowhere(worker);
        PyEval_RestoreThread(worker->main);
        worker->where = AT_MAIN;
    }
}

bool
worker_go_interp(struct worker_thread *worker)
{
    struct slot *slot = worker->base.slot;
    if (worker->where == AT_INTERP && worker->entered == slot->resource) {
        return true;
    }
    worker_go_nowhere(worker);
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
struct job *
worker_take(struct worker_thread *worker)
{
    if (worker->renews) {
        return NULL; /* it has that to do first, and is not to be counted on */
    }
    if (worker->where == AT_INTERP && !worker->at_home) {
        worker_go_nowhere(worker);
    }
    return pool_take(&worker->crew->pool, &worker->base);
}

bool
worker_is_forked(const struct worker_thread *worker)
{
    return worker->generation != registry_generation();
}

/* -- publishing -- */

void
worker_start_others(struct worker_thread *worker, unsigned count)
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
    worker_go_main(worker); /* first: a guest must not stay attached without the slot */
    if (worker->base.slot != NULL) {
        worker_start_others(worker, pool_stay_busy(&worker->crew->pool, &worker->base, NULL));
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
        worker_go_main(worker);
        worker_start_others(worker, wanted);
        task_free(task);
        return worker_is_forked(worker) ? NULL : worker_take(worker);
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
    return worker_is_forked(worker) ? NULL : worker_take(worker);
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
    if (worker_is_forked(worker)) {
        worker_go_main(worker);
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
        struct job *next = worker_take(worker);
        if (next == NULL) {
            worker_go_nowhere(worker); /* whoever waits for the result wants our GIL next */
        }
        if (fstate_finish_quietly(&task->state)) {
            return drop(worker, task, next);
        }
        stopping_settle(task); /* observed, or cancelled meanwhile */
        unsigned wanted = pool_stay_busy(&worker->crew->pool, &worker->base, next);
        worker_go_main(worker);
        worker_start_others(worker, wanted);
    }
    go_tell(worker);
    future_tell_finished(worker->crew->state, task);
    task_drop(task);
    return worker_is_forked(worker) ? NULL : worker_take(worker); /* a callback may have forked */
}

/* A task that was cancelled before it could start. */
static struct job *
skip(struct worker_thread *worker, struct task *task)
{
    if (task->job.wants == 0) {
        stats_count(&worker->base.sheet, STATS_CANCELLED);
    }
    if (!task->job.slotted) {
        worker_go_main(worker); /* what it holds may be ours to drop */
    }
    if (!fstate_notify_quietly(&task->state)) {
        worker_go_main(worker);
        future_tell_cancelled(worker->crew->state, task);
    }
    task_drop(task);
    return worker_is_forked(worker) ? NULL : worker_take(worker);
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
    worker_go_main(worker);
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

/* A task that nobody waits for any more has ended. */
static struct job *
let_go(struct worker_thread *worker, struct task *task)
{
    worker_go_nowhere(worker);
    task_drop(task);
    return worker_take(worker);
}

/* A task that was stopped, but not by its future, nor because its time was over. */
static struct job *
publish_stopped(struct worker_thread *worker, struct task *task)
{
    go_tell(worker);
    future_tell_stopped(worker->crew->state, task);
    task_drop(task);
    return worker_is_forked(worker) ? NULL : worker_take(worker);
}

/* The worker was set aside, and comes back after all: its task's future has ended, and others do its work. */
static struct job *
come_back(struct worker_thread *worker, struct task *task)
{
    struct interp *interp = worker->entered;
    stopping_settle(task);           /* waits until it is aside for good */
    stats_idle(&worker->base.sheet); /* who has set it aside has counted the task */
    worker->is_aside = true;
    worker_go_nowhere(worker);
    task_drop(task);
    if (pool_left_condemned(&worker->crew->pool, &worker->base, &interp->condemned)) {
        renewal_end(worker, interp);
    }
    return NULL;
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
    if (stopped || task->limit > 0 || task->hosted != NULL || fstate_is_done(&task->state)) {
        task->expired = stopping_settle(task) ? EXPIRED : NOT_EXPIRED;
    }
    count_tagged(worker, task);
    if (fstate_is_done(&task->state)) {
        return let_go(worker, task);
    }
    return stopped && !task->expired ? publish_stopped(worker, task) : publish(worker, task);
}

/* The same for the last task in its interpreter. */
static struct job *
publish_and_renew(struct worker_thread *worker, struct task *task)
{
    renewal_begin(worker);
    return publish_stoppable(worker, task);
}

static struct job *
run_stoppable(struct worker_thread *worker, struct task *task)
{
    if (!stopping_begin(worker->target, worker->entered->state, task)) {
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
    bool is_worn = renewal_is_worn(worker);
    /* Where the interruption may have broken the interpreter, nobody may use it again. */
    return is_worn || worker->target->unsound ? publish_and_renew(worker, task)
                                              : publish_stoppable(worker, task);
}

static struct job *
run_tagged(struct worker_thread *worker, struct task *task)
{
    if (worker->base.slot->resource == NULL) {
        if (renewal_make(worker, false) < 0) {
            stats_count(&worker->base.sheet, STATS_FAILED);
            return publish_raised(worker, task);
        }
    }
    else if (!worker_go_interp(worker)) {
        worker_go_main(worker);
        PyErr_NoMemory();
        return publish_raised(worker, task);
    }
    if (worker->entered->failed) {
        worker_go_main(worker);
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
    return renewal_is_worn(worker) ? publish_and_renew(worker, task)
                                   : publish_stoppable(worker, task);
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
    bool failed = worker->base.slot != NULL && renewal_make(worker, true) < 0;
    worker_go_main(worker);
    if (!failed && !pool_is_satisfied(pool, &task->job)) {
        worker_start_others(worker, pool_stay_busy(pool, &worker->base, &task->job));
        return worker_take(worker);
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
    worker_go_interp(worker);
    execute_visit(worker->entered);
    return worker_take(worker);
}

/* Whoever waits longest for a lease gets what was made, or what went wrong. */
static struct job *
run_filling(struct worker_thread *worker)
{
    if (renewal_make(worker, true) < 0) {
        PyObject *error = PyErr_GetRaisedException();
        if (!lease_fail_oldest(&worker->crew->pool, error)) {
            Py_DECREF(error);
        }
    }
    worker_go_nowhere(worker); /* so that it can be entered as soon as it is there to be had */
    return worker_is_forked(worker) ? NULL : worker_take(worker);
}

static struct job *
run(struct worker_thread *worker, struct job *job)
{
    if (job->is_visit) {
        return run_visit(worker);
    }
    if (job->is_ending) {
        return renewal_end_idle(worker);
    }
    if (job->is_filling) {
        return run_filling(worker);
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

static void
run_all(struct worker_thread *worker)
{
    struct job *job = worker_take(worker);
    for (;;) {
        if (job == NULL) {
            if (worker_is_forked(worker) || worker->is_aside) {
                return;
            }
            if (worker->renews) {
                job = renewal_finish(worker);
                continue;
            }
            worker_go_nowhere(worker);
            job = pool_wait(&worker->crew->pool, &worker->base);
        }
        if (worker->base.summoned) {
            renewal_end_condemned(worker);
            job = job == NULL ? worker_take(worker) : job;
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
    worker_start_others(worker, pool_stay_busy(&worker->crew->pool, &worker->base, NULL));
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
        worker_start_others(worker, pool_stay_busy(&worker->crew->pool, &worker->base, NULL));
        prestart_finish(calls);
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
    bool ready = !worker_is_forked(&worker) && initialize_thread(crew);
    if (!worker_is_forked(&worker)) {
        tell_started(&worker, start, ready);
    }
    if (ready && !worker_is_forked(&worker)) {
        run_all(&worker);
    }
    if (worker_is_forked(&worker)) {
        Py_RETURN_NONE;
    }
    if (ready) {
        renewal_end_all(&worker);
    }
    crew_set_joined(NULL);
    worker_go_nowhere(&worker);
    homecall_forget_thread();
    stopping_remove(worker.target);
    roster_leave(&crew->pool, &worker.base);
    (worker.is_aside ? pool_leave_aside : pool_leave)(&crew->pool, &worker.base);
    worker_go_main(&worker);
    Py_RETURN_NONE;
}

PyMethodDef worker_main_def = {"worker", worker_main, METH_NOARGS,
                               PyDoc_STR("What a worker thread of an executor runs (private).")};
