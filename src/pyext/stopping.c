#include "stopping.h"

#include "../core/aside.h"
#include "../core/roster.h"
#include "future.h"
#include "hosts.h"
#include "interp.h"
#include "worker.h"

#include <stdlib.h>
#include <string.h>

static struct watch watch;

static struct target *
target_of(struct watched *watched)
{
    return LIST_ENTRY(watched, struct target, watched);
}

/* -- what the watch's thread does -- */

static void
knock(struct watched *watched, uint64_t number)
{
    target_knock(target_of(watched), number, (watched->knock_at - os_now_ns()) / 2);
}

/* A worker that was set aside, and what it leaves behind. */
struct aside {
    struct crew *crew; /* held */
    struct task *task; /* held; has expired; or NULL */
    PyObject *thread;  /* borrowed: of crew->threads */
    unsigned starts;   /* workers to be started */
};

/* The worker is in the task, and comes to settle it before it goes anywhere: that waits for the watch's lock. */
static void *
set_aside(struct watched *watched)
{
    struct target *target = target_of(watched);
    struct aside *aside = malloc(sizeof(*aside));
    unsigned inside = TARGET_INSIDE;
    if (aside == NULL) {
        return NULL;
    }
    if (!atomic_compare_exchange_strong_explicit(&target->phase, &inside, TARGET_ASIDE,
                                                 memory_order_acq_rel, memory_order_relaxed)) {
        free(aside);
        return NULL;
    }
    struct worker_thread *worker = target->worker;
    struct crew *crew = worker->crew;
    struct host *host = atomic_load_explicit(&target->host, memory_order_relaxed);
    struct task *task = watched->expired ? watched->job : host != NULL ? host->task : NULL;
    crew_hold(crew);
    if (task != NULL) {
        task_hold(task);
    }
    roster_count(&crew->pool, STATS_SET_ASIDE);
    roster_count(&crew->pool, STATS_INTERRUPTED);
    *aside = (struct aside){.crew = crew, .task = task, .thread = worker->thread};
    aside->starts = pool_set_aside(&crew->pool, &worker->base, &worker->entered->condemned);
    return aside;
}

/* At main. */
static void
replace_at_main(struct aside *aside)
{
    struct crew *crew = aside->crew;
    if (PySet_Discard(crew->threads, aside->thread) < 0) {
        PyErr_WriteUnraisable(NULL);
    }
    for (unsigned i = 0; i < aside->starts; i++) {
        int result = crew_start_worker_for(crew, i == 0 ? aside->task : NULL);
        if (result < 0) {
            PyErr_WriteUnraisable(NULL);
        }
        if (result != 0 && i == 0 && aside->task != NULL) {
            future_tell_expired(crew->state, aside->task); /* since nobody else will */
        }
    }
    if (aside->task != NULL) {
        task_drop(aside->task);
    }
    crew_drop(crew);
}

static void
replace(void *argument)
{
    struct aside *aside = argument;
    PyThreadState *tstate = PyThreadState_New(PyInterpreterState_Main());
    PyEval_RestoreThread(tstate);
    replace_at_main(aside);
    PyThreadState_Clear(tstate);
    PyThreadState_DeleteCurrent();
    free(aside);
}

static const struct watch_actions actions = {knock, set_aside, replace};

int
stopping_init(void)
{
    return watch_init(&watch, &actions);
}

void
stopping_end(void)
{
    watch_stop(&watch);
}

/* -- workers -- */

void
stopping_add(struct worker_thread *worker)
{
    target_own(worker->target, worker->crew, worker);
    watch_add(&watch, &worker->target->watched, worker->crew->grace);
}

void
stopping_add_guest(struct target *target, struct crew *crew)
{
    target_own(target, crew, NULL);
    watch_add(&watch, &target->watched, OS_FOREVER); /* there is nobody to take a caller's place */
}

void
stopping_remove(struct target *target)
{
    watch_remove(&watch, &target->watched);
    target_drop(target);
}

void
stopping_pass(void)
{
    watch_pass(&watch);
}

/* -- tasks -- */

/* In a queue jobs have numbers from 0 on. */
static uint64_t
number_of(const struct task *task)
{
    return task->job.number + 1;
}

bool
stopping_begin(struct target *target, struct state *state, struct task *task)
{
    watch_enter(&task->place, &target->watched);
    if (fstate_is_done(&task->state)) {
        return false;
    }
    if (task->limit > 0) {
        int error =
            watch_limit(&watch, &target->watched, number_of(task), task, os_now_ns() + task->limit);
        if (error != 0) {
            PyErr_Format(PyExc_RuntimeError, "the timeout cannot be watched: %s", strerror(error));
            return false;
        }
    }
    bool is_host = task->hosted != NULL; /* a call for hosts is never a worker's */
    target_open(target, state, number_of(task), is_host ? task->hosted->host : NULL);
    return true;
}

bool
stopping_settle(struct task *task)
{
    return watch_settle(&watch, &task->place);
}

void
stopping_ask(struct task *task)
{
    if (task->hosted != NULL && task->hosted->kind != HOSTED_HOST) {
        hosts_ask(task);
        return;
    }
    watch_ask(&watch, &task->place, number_of(task)); /* without a thread it goes on, for nothing */
}

void
stopping_remind(struct task *task, int64_t at)
{
    watch_ask_at(&watch, &task->place, number_of(task), at);
}

void
stopping_calm(struct task *task)
{
    watch_calm(&watch, &task->place);
}

static bool
works_for(struct watched *watched, const void *crew)
{
    return target_of(watched)->crew == crew;
}

void
stopping_ask_crew(struct crew *crew)
{
    watch_ask_all(&watch, works_for, crew);
}

struct question {
    bool (*meant)(struct target *target, const void *argument);
    const void *argument;
};

static uint64_t
which_is_meant(struct watched *watched, const void *argument)
{
    const struct question *question = argument;
    struct target *target = target_of(watched);
    return question->meant(target, question->argument)
               ? atomic_load_explicit(&target->number, memory_order_relaxed)
               : 0;
}

void
stopping_ask_if(bool (*meant)(struct target *target, const void *argument), const void *argument)
{
    struct question question = {meant, argument};
    watch_ask_some(&watch, which_is_meant, &question);
}

struct visit {
    void (*visit)(struct target *target, void *argument);
    void *argument;
};

static void
visit_target(struct watched *watched, void *argument)
{
    const struct visit *visit = argument;
    visit->visit(target_of(watched), visit->argument);
}

void
stopping_each(void (*visit)(struct target *target, void *argument), void *argument)
{
    struct visit each = {visit, argument};
    watch_each(&watch, visit_target, &each);
}

/* -- fork -- */

void
stopping_before_fork(void)
{
    watch_before_fork(&watch);
}

void
stopping_after_fork_in_parent(void)
{
    watch_after_fork_in_parent(&watch);
}

void
stopping_after_fork_in_child(void)
{
    watch_after_fork_in_child(&watch);
}
