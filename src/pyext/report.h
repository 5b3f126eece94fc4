/* report: what the workers of an executor have done, and what each is doing now.
 *
 * Attached to the interpreter that made the executor.
 */
#ifndef AIOINTERP_REPORT_H
#define AIOINTERP_REPORT_H

#include "crew.h"

/* A tuple, in the order of aiointerpreters._stats.Stats; times as (count, sum, p50, p99) in seconds. */
PyObject *report_totals(struct crew *crew);

/* A list with a tuple for each worker: the thread's identifier; 'idle', 'making', 'plain', 'tagged' or 'aside';
 * the plain task's callable or the tagged one's name, or None; the seconds since it began, and whether it is
 * known so exactly, or began later; the id of the interpreter, or None; and for a tagged task its stack, a str of lines, or None when its interpreter
 * did not let us look within `patience_ns`, detached: it is in C code that keeps its GIL. */
PyObject *report_workers(struct crew *crew, int64_t patience_ns);

#endif
