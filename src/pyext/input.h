/* input: sys.stdin of a worker's interpreter, which refuses to read: the lines that come there are for the
 * caller, and a task that read some would swallow them. */
#ifndef AIOINTERP_INPUT_H
#define AIOINTERP_INPUT_H

#include "state.h"

/* In an interpreter just made, attached: has sys.stdin refuse. -1 with an exception. */
int input_install(struct state *state);

#endif
