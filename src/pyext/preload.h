/* preload: the modules that each interpreter of an executor imports as it is made.
 *
 * Names in plain memory, constant once made: workers read them without a GIL.
 */
#ifndef AIOINTERP_PRELOAD_H
#define AIOINTERP_PRELOAD_H

#include "compat.h"

#include <stddef.h>

struct preload {
    size_t count;
    const char *names[]; /* UTF-8; in the same block */
};

/* Of a tuple of str, absolute names of modules. NULL with an exception. Call it attached. */
struct preload *preload_new(PyObject *names);
/* NULL: out of memory. */
struct preload *preload_copy(const struct preload *preload);
/* `preload` may be NULL. */
void preload_free(struct preload *preload);

/* In an interpreter, attached: imports the modules in order. NULL; or the name of the one that failed,
 * with an exception. */
const char *preload_import(const struct preload *preload);

/* Likewise, imports those modules of this package that not every task needs. Raises nothing: a task
 * that needs one imports it, and fails. */
void preload_import_own(void);

#endif
