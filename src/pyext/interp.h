/* interp: the life of one isolated interpreter: create, enter, leave, end.
 *
 * An interpreter has a home: the thread that created it, which alone may end it (CPython crashes
 * otherwise). The home enters with the thread state it was born with; any other thread that holds
 * the interpreter's slot enters with a thread state of its own, deleted when it leaves. Whoever
 * holds the slot (core/pool) may use this struct, nobody else.
 */
#ifndef AIOINTERP_INTERP_H
#define AIOINTERP_INTERP_H

#include "../core/pool.h"
#include "state.h"

struct target;

struct interp {
    PyInterpreterState *interpreter;
    PyThreadState *home;        /* the thread state of the thread that made it */
    PyObject *module;           /* ours in it, held; attached only */
    struct state *state;        /* of our module in it; attached only */
    bool failed;                /* its initializer has; no task may run in it */
    struct list node;           /* of all that there are, or are being made; their lock */
    struct condemned condemned; /* of its home, when it must not be used any more */
    unsigned home_version;      /* home; attached only */
    unsigned tasks;             /* run in it (renewal) */
    struct target *guest;       /* of those who lease it, or NULL; attached only */
    struct {
        unsigned long home, joiner; /* idents of threads that are none */
        unsigned calls;             /* that the interpreter has not made yet */
        atomic_bool is_guarded;     /* a guard has its GIL for good; release by that */
    } strays;                       /* of strays; attached only, but for is_guarded */
    atomic_uint pins;               /* it must not end meanwhile; parked on by interp_end() */
};

/* Call it detached; the caller is attached to the new interpreter afterwards, and its home. NULL:
 * nothing was made, the caller is detached, and `why` (of `why_size` bytes) says why. */
struct interp *interp_create(char *why, size_t why_size);

/* Call it detached. `at_home`: the caller is the thread that made the interpreter. False: there is no memory
 * for a thread state, which only who is not at home needs; nothing is attached. */
bool interp_enter(struct interp *interp, bool at_home);
/* Detaches. A guest's thread state is deleted. */
void interp_leave(struct interp *interp, bool at_home);

/* Call it at home, detached, when it can be found in no slot any more; waits until it is not pinned, and for
 * threads that tasks have left there (strays), `grace` ns or OS_FOREVER. The struct is freed. False: a thread did not
 * end, and the interpreter is given up. */
bool interp_end(struct interp *interp, int64_t grace);

/* At exit, when all workers have left, and with them all that could be ended: the runtime forgets what is left, so that
 * nothing in the finalization of Python touches it. Attached to main. */
void interp_forget_all(void);

/* -- fork: the lock of the list of all interpreters, a leaf, is held across it; the child has none -- */
void interp_before_fork(void);
/* In between: how many there are in which something may still run. */
int interp_count_locked(void);
void interp_after_fork_in_parent(void);
void interp_after_fork_in_child(void);

/* -- a pin: somebody looks at the interpreter from outside, and it must not end meanwhile -- */

/* Under the lock of a pool that has it in a slot, which a worker holds who is at a task there; or under the watch's, while
 * a worker is there that was set aside. */
void interp_pin(struct interp *interp);
/* Any thread, attached to another interpreter or to none; the struct may be gone afterwards. */
void interp_unpin(struct interp *interp);

/* Prepares the process: once, before anything can fork. 0, or an error number. */
int interp_init(void);

/* Where the extension module's file is; from the main interpreter, once. -1 with an exception. */
int interp_note_module_file(PyObject *module);

#endif
