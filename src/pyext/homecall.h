/* homecall: from a task in a worker's interpreter to the caller's, and back.
 *
 * A call home carries bytes and is answered by bytes; aiointerpreters._home says what they mean. The
 * thread leaves its interpreter's GIL for the main one meanwhile, so it holds one GIL at a time and
 * nothing of the pool but its slot. A thread that a task has started can call home, too.
 *
 * Nothing is imported in an interpreter for this, until a task imports one of the modules that it
 * matters to: our module is a finder in sys.meta_path, which looks out for their names.
 */
#ifndef AIOINTERP_HOMECALL_H
#define AIOINTERP_HOMECALL_H

#include "state.h"

/* For worker_main(): the calling thread is a worker, attached to the main interpreter. Its name and
 * thread state are remembered until homecall_forget_thread(). */
void homecall_remember_thread(void);
void homecall_forget_thread(void);

/* The calling thread, which has detached from the main interpreter with `main`, leases an interpreter until
 * homecall_end_lease(). */
void homecall_begin_lease(PyThreadState *main);
void homecall_end_lease(void);

/* From a worker's interpreter to the main one and back: calls `visit` attached to that. */
void homecall_visit(void (*visit)(void *argument), void *argument);

/* In an interpreter just made, attached. -1 with an exception. */
int homecall_install(struct state *state);

/* Functions of the extension module. */
PyObject *homecall_find_spec(PyObject *module, PyObject *const *args, Py_ssize_t count,
                             PyObject *keywords);
PyObject *homecall_call_home(PyObject *module, PyObject *data);
PyObject *homecall_place(PyObject *module, PyObject *ignored);
PyObject *homecall_watch_levels(PyObject *module, PyObject *cache);
extern const char homecall_find_spec_doc[], homecall_call_home_doc[], homecall_place_doc[],
    homecall_watch_levels_doc[];

#endif
