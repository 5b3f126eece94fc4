#include "hosting_data.h"

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

/* Whether all code from the Task's coroutine on is the task's own: below it is the loop's. */
static bool
is_sound_place(void)
{
    bool sound = true, is_loop = false;
    PyFrameObject *frame = PyThreadState_GetFrame(PyThreadState_Get());
    while (frame != NULL && !is_loop) {
        PyCodeObject *code = PyFrame_GetCode(frame);
        PyObject *globals = PyFrame_GetGlobals(frame);
        PyObject *name = globals == NULL ? NULL : PyDict_GetItemString(globals, "__name__");
        is_loop = PyUnicode_EqualToUTF8(code->co_name, "_run") && name != NULL &&
                  PyUnicode_Check(name) && PyUnicode_EqualToUTF8(name, "asyncio.events");
        sound = sound && (is_loop || !target_is_shared_code(frame));
        Py_XDECREF(globals);
        Py_DECREF(code);
        PyFrameObject *back = PyFrame_GetBack(frame);
        Py_DECREF(frame);
        frame = back;
    }
    Py_XDECREF(frame);
    PyErr_Clear();
    return sound;
}

int
hosting_interrupt(struct target *target, uint64_t wanted)
{
    struct host *host = atomic_load_explicit(&target->host, memory_order_relaxed);
    HostObject *self = (HostObject *)host->object;
    if (self == NULL || PyThread_get_thread_ident() != target->thread) {
        return 0;
    }
    bool any;
    HostCallObject *call = find_current(self, &any);
    if (!is_to_stop(self, wanted, call, any) || target_is_handling(target->exception) ||
        target_is_handling(self->cancelled_error)) {
        return 0;
    }
    if (call != NULL && call->limit_at <= os_now_ns() && !fstate_is_done(&call->task->state)) {
        call->expired = true;
    }
    if (!is_sound_place()) {
        target->unsound = true;
        mailbox_retire(hosting_room(self), &host->box);
    }
    target->raised = true;
    PyErr_SetString(target->exception, "the task is to stop");
    return -1;
}
