/* home: what a worker's interpreter takes over from the caller's: sys.path, sys.argv, os.environ, the filters
 * of warnings, some settings, that a module was reloaded, and, once a worker has imported logging, the levels
 * of loggers. docs/home.md has the list.
 *
 * One copy for the process, with a version: the submitter makes a new one when something of it has
 * changed, a worker takes it over when it sees that the version is not the one it has. Most changes tell of
 * themselves (PyDict_Watch; where that is not to be had, and in safe mode, each submit makes a copy and compares
 * it); lists are compared, by the identity of their items.
 */
#ifndef AIOINTERP_HOME_H
#define AIOINTERP_HOME_H

#include "state.h"

/* Once in the process. 0 or an errno value. */
int home_init(void);

/* In the submitter's interpreter, attached: notes changes since the last call. -1 with an
 * exception. */
int home_note(struct state *state);

/* How often something was put into sys.modules, since the first home_note(): who knows a module need not
 * look whether it was reloaded before this changes, which it does at each call if nothing tells. Under the
 * main interpreter's GIL. */
unsigned home_imports(void);

/* In a worker's interpreter, attached: brings it to what was noted last. `version` is what this
 * interpreter has (0 at first). -1 with an exception. */
int home_apply(struct state *state, unsigned *version);

/* From now on home_note() looks at `cache`, a dict that logging empties when a level changes, for a
 * key that it puts there itself. In the submitter's interpreter, attached. */
void home_watch_levels(struct state *state, PyObject *cache);

#endif
