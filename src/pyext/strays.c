#include "strays.h"

#include "place.h"

/* Nanoseconds between two looks. */
enum { FIRST_PAUSE = 200000, LONGEST_PAUSE = 10000000 };

static atomic_uint never; /* parked on by those whom nobody wakes */

/* Interpreters that were given up, by all workers; and how many of them have a guard that holds the GIL. */
static struct {
    atomic_uint wanted; /* relaxed: whoever awaits them has seen the workers go */
    atomic_uint there;  /* release by guards, acquire by who awaits them; parked on */
} guards;

static bool
is_alone(struct interp *interp)
{
    PyThreadState *head = PyInterpreterState_ThreadHead(interp->interpreter);
    return head == interp->home && PyThreadState_Next(head) == NULL;
}

/* -- waiting -- */

/* What is registered to end threads, and their end, is waited for here, so that nobody at home does. Pinned: the interpreter. */
static void
join(void *argument)
{
    struct interp *interp = argument;
    PyThreadState *tstate = PyThreadState_New(interp->interpreter);
    if (tstate != NULL) {
        PyEval_RestoreThread(tstate);
        interp->strays.joiner = PyThread_get_thread_ident();
        PyObject *name = PyUnicode_FromString("threading");
        PyObject *threading = name == NULL ? NULL : PyImport_GetModule(name);
        if (threading != NULL) {
            Py_XDECREF(PyObject_CallMethod(threading, "_shutdown", NULL));
            PyErr_Clear();
        }
        Py_XDECREF(threading);
        Py_XDECREF(name);
        PyErr_Clear();
        PyThreadState_Clear(tstate);
        interp->strays.joiner = 0; /* another thread may get its ident */
        PyThreadState_DeleteCurrent();
    }
    interp_unpin(interp);
}

/* Whether the thread that waits is still there: nobody else has a pin any more. */
static bool
is_joined(struct interp *interp)
{
    return atomic_load_explicit(&interp->pins, memory_order_acquire) > 0;
}

static void
begin_join(struct interp *interp)
{
    interp_pin(interp);
    if (os_thread_run(join, interp) != 0) {
        interp_unpin(interp); /* then they end without being told */
    }
}

/* -- interrupting -- */

/* In a thread of the interpreter, between two bytecodes. It may be anywhere: nothing of the interpreter is used any more. */
static int
answer(void *argument)
{
    struct interp *interp = argument;
    unsigned long me = PyThread_get_thread_ident();
    interp->strays.calls--;
    if (me == interp->strays.home || me == interp->strays.joiner) {
        return 0;
    }
    PyObject *types[] = {interp->state->interrupted, PyExc_GeneratorExit, NULL};
    if (place_is_cleaning_up(PyThreadState_Get(), types)) {
        return 0;
    }
    PyErr_SetString(interp->state->interrupted, "the interpreter of the thread is to end");
    return -1;
}

/* One call for each: who raises makes no more of them. */
static void
knock(struct interp *interp)
{
    if (interp->strays.calls > 0) {
        return; /* nobody has come by since the last time */
    }
    PyThreadState *tstate = PyInterpreterState_ThreadHead(interp->interpreter);
    for (; tstate != NULL; tstate = PyThreadState_Next(tstate)) {
        if (tstate != interp->home && compat_add_call(interp->interpreter, answer, interp) == 0) {
            interp->strays.calls++;
        }
    }
}

/* -- giving up -- */

static void
guard(void *argument)
{
    struct interp *interp = argument;
    PyThreadState *tstate;
    while ((tstate = PyThreadState_New(interp->interpreter)) == NULL) {
        os_word_wait(&never, 0, os_now_ns() + LONGEST_PAUSE);
    }
    PyEval_RestoreThread(tstate);
    atomic_store_explicit(&interp->strays.is_guarded, true, memory_order_release);
    atomic_fetch_add_explicit(&guards.there, 1, memory_order_release);
    os_word_wake_all(&guards.there);
    for (;;) {
        os_word_wait(&never, 0, OS_FOREVER);
    }
}

bool
strays_give_up(struct interp *interp)
{
    if (!compat_can_forget()) {
        return false;
    }
    atomic_fetch_add_explicit(&guards.wanted, 1, memory_order_relaxed);
    if (os_thread_run(guard, interp) != 0) {
        atomic_fetch_sub_explicit(&guards.wanted, 1, memory_order_relaxed);
        return false;
    }
    return true;
}

bool
strays_await_guards(void)
{
    unsigned wanted = atomic_load_explicit(&guards.wanted, memory_order_relaxed);
    unsigned there;
    while ((there = atomic_load_explicit(&guards.there, memory_order_acquire)) < wanted) {
        os_word_wait(&guards.there, there, OS_FOREVER);
    }
    return wanted > 0;
}

void
strays_after_fork_in_child(void)
{
    atomic_store_explicit(&guards.wanted, 0, memory_order_relaxed);
    atomic_store_explicit(&guards.there, 0, memory_order_relaxed);
}

/* -- all of it -- */

bool
strays_end(struct interp *interp, int64_t grace)
{
    if (is_alone(interp)) {
        return true;
    }
    int64_t begun = os_now_ns(), pause = FIRST_PAUSE;
    bool has_end = grace < OS_FOREVER - begun;
    interp->strays.home = PyThread_get_thread_ident();
    begin_join(interp);
    while (!is_alone(interp) || is_joined(interp)) {
        int64_t now = os_now_ns();
        if (has_end && now - begun >= grace && strays_give_up(interp)) {
            PyEval_SaveThread();
            return false;
        }
        if (has_end && now - begun >= grace / 2) {
            knock(interp);
        }
        PyEval_SaveThread();
        os_word_wait(&never, 0, now + pause);
        PyEval_RestoreThread(interp->home);
        pause = pause < LONGEST_PAUSE / 2 ? 2 * pause : LONGEST_PAUSE;
    }
    return true;
}
