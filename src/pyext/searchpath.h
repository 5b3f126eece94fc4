/* searchpath: the sys.path of workers' interpreters is the caller's.
 *
 * One copy for the process, with a version: the submitter makes a new one when its sys.path has
 * changed, a worker takes it over when it sees that the version is not the one it has.
 */
#ifndef AIOINTERP_SEARCHPATH_H
#define AIOINTERP_SEARCHPATH_H

#include "state.h"

/* Once in the process. 0 or an errno value. */
int searchpath_init(void);

/* In the submitter's interpreter, attached: notes changes since the last call. -1 with an
 * exception. */
int searchpath_note(struct state *state);

/* In a worker's interpreter, attached: brings sys.path to what was noted last. `version` is what
 * this interpreter has (0 at first). -1 with an exception. */
int searchpath_apply(struct state *state, unsigned *version);

#endif
