/* Queueing a task that submit has made. */
#include "submit.h"

#include "future.h"
#include "hosts.h"
#include "limit.h"
#include "outcome.h"
#include "registry.h"
#include "stopping.h"

int
submit_check_open(struct state *state, struct crew *crew)
{
    if (crew->broken != NULL) {
        crew_raise_broken(crew);
    }
    else if (crew->shutdown) {
        PyErr_SetString(PyExc_RuntimeError, "cannot schedule new futures after shutdown");
    }
    else if (registry_is_exiting()) {
        PyErr_SetString(PyExc_RuntimeError,
                        "cannot schedule new futures after interpreter shutdown");
    }
    else if (!state->is_main) {
        PyErr_SetString(
            PyExc_RuntimeError,
            "an InterpreterThreadPoolExecutor takes tasks in the main interpreter only, and this "
            "code "
            "runs in another one, of a worker or of concurrent.interpreters: submit where that one "
            "was called from, or use a ThreadPoolExecutor here");
    }
    else {
        return 0;
    }
    return -1;
}

void
submit_raise_closed(struct state *state, struct crew *crew)
{
    if (submit_check_open(state, crew) == 0) {
        PyErr_SetString(PyExc_RuntimeError, "cannot schedule new futures after shutdown");
    }
}

int
submit_start_workers(struct crew *crew, int count)
{
    PyObject *error = NULL;
    for (; count > 0; count--) {
        if (crew_start_worker(crew) < 0) {
            PyObject *raised = PyErr_GetRaisedException();
            if (error == NULL) {
                error = raised;
            }
            else {
                Py_DECREF(raised);
            }
        }
    }
    PyErr_SetRaisedException(error);
    return error == NULL ? 0 : -1;
}

void
submit_interrupt_unseen(struct state *state, struct task *task)
{
    if (!PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        return;
    }
    if (task->future != NULL) {
        future_interrupt(state, task);
    }
    else if (task_is_interrupted_with_wait(task)) {
        PyObject *error = PyErr_GetRaisedException();
        task_hold(task); /* the caller drops its own */
        submit_give_up(task);
        PyErr_SetRaisedException(error);
    }
}

/* A task for which nobody may wait any more: `submitted` as of pool_submit(), or -1 with an exception.
 * Takes back what queueing it would have taken. */
static int
after_submitting(struct state *state, struct crew *crew, struct task *task, int submitted)
{
    switch (submitted) {
    case POOL_QUEUED:
        return 0;
    case POOL_START_WORKER:
        if (crew_start_worker(crew) < 0) {
            submit_interrupt_unseen(state, task);
            return -1;
        }
        return 0;
    case POOL_CLOSED: /* since submit_check_open(): encoding may run Python code */
        submit_raise_closed(state, crew);
        break;
    default:
        break;
    }
    task->crew = NULL;
    task_drop(task);
    return -1;
}

int
submit_queue(struct state *state, struct crew *crew, struct task *task, struct turn *turn,
             int64_t deadline)
{
    if (task->hosted != NULL) {
        return hosts_post(state, crew, task);
    }
    struct pool *pool = &crew->pool;
    bool near = outcome_is_awaited_at_once(task);
    task_hold(task);
    task->crew = crew;
    int submitted = turn != NULL ? (int)pool_submit_turn(pool, &task->job, turn)
                                 : (int)(near ? pool_submit_near : pool_submit)(pool, &task->job);
    if (submitted == POOL_FULL) {
        submitted = limit_submit(crew, task, deadline);
    }
    return after_submitting(state, crew, task, submitted);
}

int
submit_queue_if_room(struct state *state, struct crew *crew, struct task *task)
{
    if (task->hosted != NULL) {
        return hosts_post(state, crew, task) < 0 ? -1 : 1;
    }
    task_hold(task);
    task->crew = crew;
    pool_submitted submitted = pool_submit(&crew->pool, &task->job);
    if (submitted == POOL_FULL) {
        task->crew = NULL;
        task_drop(task);
        return 0;
    }
    return after_submitting(state, crew, task, (int)submitted) < 0 ? -1 : 1;
}

int
submit_start(struct state *state, struct crew *crew, struct task *task)
{
    task_hold(task);
    task->crew = crew;
    return after_submitting(state, crew, task, (int)pool_submit(&crew->pool, &task->job));
}

void
submit_give_up(struct task *task)
{
    if (fstate_cancel(&task->state)) {
        if (limit_withdraw(task)) {
            fstate_end(&task->state, FSTATE_CANCELLED_AND_NOTIFIED);
            task_drop(task);
        }
        task_clear_call(task);
    }
    else if (task_can_be_stopped(task) && fstate_cancel_running(&task->state)) {
        stopping_ask(task);
    }
    task->wanted = false;
    task_drop(task);
}
