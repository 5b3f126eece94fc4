#include "abandon.h"

#include "../core/aside.h"
#include "interp.h"
#include "stopping.h"
#include "target.h"
#include "worker.h"

/* Held by each guard, as an argument and a reference, until it goes away: the target. Pinned: the interpreter. */
static void
guard(void *argument)
{
    struct target *target = argument;
    struct worker_thread *worker = target->worker;
    struct interp *interp = target->guarded_interp;
    PyThreadState *tstate = PyThreadState_New(interp->interpreter);
    if (tstate != NULL) {
        PyEval_RestoreThread(tstate);
        unsigned aside = TARGET_ASIDE;
        if (atomic_compare_exchange_strong_explicit(&target->phase, &aside, TARGET_GIVEN_UP,
                                                    memory_order_acq_rel, memory_order_relaxed)) {
            static atomic_uint never;
            pool_give_up(&worker->crew->pool, &worker->base, &interp->condemned);
            for (;;) {
                os_word_wait(&never, 0, OS_FOREVER);
            }
        }
        PyThreadState_Clear(tstate);
        PyThreadState_DeleteCurrent();
    }
    interp_unpin(interp);
    target_drop(target);
}

/* Under the watch's lock. The worker is in the task, or on its way from there to where it waits for the lock; so what it
 * has entered is still there. */
static void
begin_guard(struct target *target, void *argument)
{
    struct worker_thread *worker = target->worker;
    if (target->crew != argument || target->guarded ||
        atomic_load_explicit(&target->phase, memory_order_acquire) != TARGET_ASIDE) {
        return;
    }
    target->guarded_interp = worker->entered;
    interp_pin(target->guarded_interp);
    target_hold(target);
    target->guarded = os_thread_run(guard, target) == 0;
    if (!target->guarded) {
        interp_unpin(target->guarded_interp);
        target_drop(target);
    }
}

/* `name` of the module that knows how Python waits for threads at exit, called with `argument`, or NULL for none. NULL with an exception. */
static PyObject *
call_exit(const char *name, PyObject *argument)
{
    PyObject *module = PyImport_ImportModule("aiointerpreters._exit");
    PyObject *result = module == NULL     ? NULL
                       : argument == NULL ? PyObject_CallMethod(module, name, NULL)
                                          : PyObject_CallMethod(module, name, "O", argument);
    Py_XDECREF(module);
    return result;
}

static bool
can_leave_out(void)
{
    PyObject *answer = call_exit("can_leave_out", NULL);
    bool can = answer == Py_True;
    Py_XDECREF(answer);
    PyErr_Clear();
    return can;
}

void
abandon_ask(struct crew *crew)
{
    if (pool_aside(&crew->pool) > 0 && compat_can_forget() && can_leave_out()) {
        stopping_each(begin_guard, crew);
    }
}

struct given_up {
    PyObject *threads;            /* list, or NULL: out of memory */
    struct worker_thread *worker; /* one that was not seen to, or NULL */
};

/* Under the watch's lock, with the main GIL: nothing here runs Python. */
static void
find_given_up(struct target *target, void *argument)
{
    struct given_up *given_up = argument;
    if (given_up->worker == NULL && !target->forgotten &&
        atomic_load_explicit(&target->phase, memory_order_acquire) == TARGET_GIVEN_UP) {
        target->forgotten = true;
        given_up->worker = target->worker; /* there for good, as its thread */
    }
}

static void
next_given_up(struct given_up *given_up)
{
    given_up->worker = NULL;
    stopping_each(find_given_up, given_up);
}

void
abandon_finish(bool any_interp)
{
    struct given_up given_up = {.threads = PyList_New(0)};
    bool any = false;
    for (next_given_up(&given_up); given_up.worker != NULL; next_given_up(&given_up)) {
        any = true;
        if (given_up.threads != NULL &&
            PyList_Append(given_up.threads, given_up.worker->thread) < 0) {
            Py_CLEAR(given_up.threads);
        }
        compat_forget_thread_state(given_up.worker->main);
    }
    if (any) {
        PyObject *done = given_up.threads == NULL ? NULL : call_exit("leave_out", given_up.threads);
        if (done == NULL) {
            PyErr_WriteUnraisable(NULL); /* and they are waited for */
        }
        Py_XDECREF(done);
    }
    if (any || any_interp) {
        interp_forget_all();
    }
    Py_XDECREF(given_up.threads);
}
