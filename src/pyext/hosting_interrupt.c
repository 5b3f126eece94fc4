#include "hosting_data.h"

#include "place.h"

/* The call whose Task is current, borrowed; *any: some Task is. */
static HostCallObject *
find_current(HostObject *self, bool *any)
{
    PyObject *current = PyObject_CallOneArg(self->current_task, self->loop);
    HostCallObject *found = NULL;
    PyErr_Clear();
    *any = current != NULL && current != Py_None;
    for (struct list *node = self->calls.next; *any && node != &self->calls; node = node->next) {
        HostCallObject *call = hosting_call_of(node);
        /* One that has just been begun is not known by its Task yet. */
        if (call->running == current || (call->running == NULL && node == self->calls.prev)) {
            found = call;
        }
    }
    Py_XDECREF(current);
    return found;
}

static bool
is_to_stop(HostObject *self, uint64_t wanted, const HostCallObject *call, bool any)
{
    int64_t now = os_now_ns();
    int64_t stop_at = atomic_load_explicit(&hosting_hosts(self)->stop_at, memory_order_relaxed);
    if (wanted == WATCH_ANY) {
        return any && (call == NULL || call->task->interruptible) && stop_at != OS_FOREVER &&
               now >= stop_at + HOST_PATIENCE;
    }
    return call != NULL && call->task->interruptible &&
           (fstate_is_done(&call->task->state) || call->limit_at <= now);
}

enum interruption
hosting_interrupt(struct target *target, uint64_t wanted)
{
    struct host *host = atomic_load_explicit(&target->host, memory_order_relaxed);
    HostObject *self = (HostObject *)host->object;
    if (self == NULL) {
        return INTERRUPTION_OVER;
    }
    bool any;
    HostCallObject *call = find_current(self, &any);
    if (!is_to_stop(self, wanted, call, any)) { /* whether it cleans up was looked at before */
        return INTERRUPTION_OVER;
    }
    bool was_sound = !target->unsound;
    enum interruption result = target_interrupt(target);
    if (result != INTERRUPTION_RAISED) {
        return result;
    }
    if (was_sound && target->unsound) {
        mailbox_retire(hosting_room(self), &host->box);
    }
    if (call != NULL && call->limit_at <= os_now_ns() && !fstate_is_done(&call->task->state)) {
        call->expired = true;
    }
    return result;
}
