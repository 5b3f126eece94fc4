/* awaited_data: a Call from inside, for the rooms that it is made of: awaited, awaited_callbacks. */
#ifndef AIOINTERP_AWAITED_DATA_H
#define AIOINTERP_AWAITED_DATA_H

#include "awaited.h"

typedef enum { PENDING, CANCELLED, FINISHED } progress;

typedef struct {
    PyObject_HEAD
    PyObject *weakrefs;
    struct awaiter awaiter;
    struct task *task; /* held, until its outcome was read or nobody wants it any more; or NULL */
    progress progress;
    bool blocking;    /* what asyncio calls _asyncio_future_blocking */
    bool unretrieved; /* it has ended with an exception that nobody has asked for */
    PyObject *value;
    PyObject *exception;
    PyObject *traceback;      /* of `exception`, as it came */
    PyObject *cancel_message; /* or NULL */
    PyObject *callback;       /* the first one, or NULL */
    PyObject *context;        /* its contextvars.Context */
    PyObject *more;           /* list of (callback, context), or NULL */
} CallObject;

/* For whoever ends it from elsewhere than the loop's wake: hands the callbacks to the loop, as asyncio's futures do.
 * -1 with an exception; callbacks may be left then. */
int awaited_schedule_callbacks(CallObject *self);
/* In the loop's thread, called by the loop itself: there is nothing to wait for. -1 with what ends
 * programs; callbacks may be left then. */
int awaited_call_callbacks(CallObject *self);
/* Whether the exception that is set is to leave the loop. */
bool awaited_ends_programs(void);

/* Methods. */
PyObject *awaited_add_done_callback(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                                    PyObject *keywords);
PyObject *awaited_remove_done_callback(PyObject *self, PyObject *callback);

#endif
