/* leased: direct calls of tags for everywhere (`interpreter(f, everywhere=True)`).
 *
 * The process has one executor for them (aiointerpreters._everywhere), whose worker threads are merely the homes of its
 * interpreters, as many as CPUs. Whoever calls such a tag leases one (core/lease): the calling thread encodes the call, lets go of the
 * main GIL, waits for its turn, enters the interpreter with a thread state of its own, runs the call there, leaves, gives
 * the slot back, and only then takes the main GIL again, to decode the outcome. No other thread has a part in it, once
 * the interpreter has been made.
 *
 * A thread does not lease while it has a lease: what a leased call does in the main interpreter (a log record's
 * handler, homecall), and what the executor's own workers do there, are ordinary calls. So nobody who has an interpreter waits
 * for one.
 *
 * The main thread does not lease, because it runs the handlers of signals, attached to the main interpreter: it has a worker of
 * the same executor run the call, and waits for it as result() does. Leases and these calls are served in one order.
 *
 * From the beginning of the exit on (registry) all calls are ordinary ones: interpreters end, while threads that the exit
 * waits for may still have calls to make. It waits for those that are under way, but what daemon threads call is stopped;
 * SystemExit ends a thread whose call was.
 */
#ifndef AIOINTERP_LEASED_H
#define AIOINTERP_LEASED_H

#include "crew.h"
#include "tag.h"

/* Calls a tag, as vectorcall does; attached to the main interpreter, whose state is given. NULL with what the function has
 * raised; a RuntimeError in the thread of a running event loop; SendError when something cannot be sent; TimeoutError;
 * or SystemExit, when it was stopped because the process ends. */
PyObject *leased_call(struct state *state, TagObject *tag, PyObject *const *args, size_t nargsf,
                      PyObject *keywords);

/* At exit, again and again while it waits for the crew's workers: what daemon threads have called on their leases shall stop.
 * Attached to the main interpreter; may run Python. */
void leased_stop_daemons(struct crew *crew);

#endif
