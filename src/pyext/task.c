#include "task.h"

#include "crew.h"
#include "hosts.h"
#include "registry.h"

#include <stdlib.h>

/* With what malloc adds, 240 bytes; a pending task, its future included, is to take 400 at most. */
_Static_assert(sizeof(void *) != 8 || sizeof(struct task) <= 232, "a task has grown");

struct task *
task_new(bool tagged, unsigned generation)
{
    struct task *task = malloc(sizeof(*task));
    if (task == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    list_init(&task->job.node);
    task->job.slotted = tagged;
    task->job.wants = 0;
    task->job.is_visit = task->job.is_ending = task->job.is_filling = false;
    task->job.queued = false;
    fstate_init(&task->state);
    atomic_init(&task->refs, 1);
    task->outcome = OUTCOME_NONE;
    task->is_call = true;
    task->interruptible = false;
    task->expired = NOT_EXPIRED;
    task->limit = 0;
    atomic_init(&task->place, NULL);
    task->generation = generation;
    task->with_context = false;
    task->wanted = false;
    task->keeps_future = false;
    task->crew = NULL;
    task->hosted = NULL;
    task->awaiter = NULL;
    task->future = NULL;
    task->result = NULL;
    if (tagged) {
        task->tagged.func = NULL;
        message_init(&task->tagged.message);
    }
    else {
        task->plain = (struct plain_call){NULL, NULL, NULL};
    }
    return task;
}

void
task_hold(struct task *task)
{
    atomic_fetch_add_explicit(&task->refs, 1, memory_order_relaxed);
}

void
task_clear_call(struct task *task)
{
    if (!task->job.slotted) {
        Py_CLEAR(task->plain.function);
        Py_CLEAR(task->plain.args);
        Py_CLEAR(task->plain.kwargs);
        return;
    }
    if (task->tagged.func != NULL) {
        func_disown(task->tagged.func);
        task->tagged.func = NULL;
    }
    message_reset(&task->tagged.message);
}

bool
task_release(struct task *task)
{
    /* acq_rel: the last one frees what the others wrote. */
    return atomic_fetch_sub_explicit(&task->refs, 1, memory_order_acq_rel) == 1;
}

void
task_free(struct task *task)
{
    task_clear_call(task);
    if (task->job.slotted) {
        message_free(&task->tagged.message);
    }
    Py_XDECREF(task->result);
    if (task->hosted != NULL) {
        hosts_unmark(task);
    }
    free(task);
}

void
task_drop(struct task *task)
{
    if (task_release(task)) {
        task_free(task);
    }
}

bool
task_can_be_stopped(const struct task *task)
{
    return task->interruptible && task->generation == registry_generation();
}

bool
task_is_interrupted_with_wait(const struct task *task)
{
    return task->is_call && task->job.slotted && task->generation == registry_generation();
}

const char *
task_function_name(const struct task *task)
{
    return task->job.slotted && task->tagged.func != NULL ? task->tagged.func->name
                                                          : "the callable";
}
