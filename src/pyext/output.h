/* output: sys.stdout and sys.stderr of a worker's interpreter: whole lines, written as they end; and
 * what is left of a line when its task ends, written then.
 *
 * Attached to the interpreter whose state is given. Costs a task that writes nothing two tests.
 */
#ifndef AIOINTERP_OUTPUT_H
#define AIOINTERP_OUTPUT_H

#include "state.h"

/* In an interpreter just made. A stream that is not there, or is of an unknown kind, stays as it is. */
void output_install(struct state *state);

/* Flushes what was written to. Leaves no exception set, and wants none. */
void output_flush(struct state *state);

#endif
