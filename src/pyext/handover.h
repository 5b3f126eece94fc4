/* handover: what a worker's result has beside its message, made independent of the worker's interpreter.
 *
 * The interpreter of a worker may end before anybody asks for a result, and one that ends with something
 * lent keeps megabytes. So it hands over what is large: a bytes or str, or the memory under a memoryview,
 * or that of a bytearray or array.array, that nothing else in the worker refers to any more changes interpreters as it is, without a copy; of
 * everything else the worker makes one copy. Both are plain blocks of memory then, which the last holder
 * frees, attached to anything or to nothing.
 *
 * The sender notes what is large while it encodes, lets the result go, and then commits: what only the
 * note holds by then is nobody else's.
 *
 *     struct handover handover;
 *     handover_init(&handover);
 *     index = handover_note(&handover, message, value, true);     ... the value is let go
 *     if (handover_commit(&handover, message) < 0) { ... }
 *     handover_free(&handover);
 *
 * Every function wants the caller attached: the sender's to the worker's interpreter, the receiver's to
 * the one that decodes.
 */
#ifndef AIOINTERP_HANDOVER_H
#define AIOINTERP_HANDOVER_H

#include "compat.h"
#include "message.h"

/* Prepares the process: once, before the first worker can exist. */
void handover_open(void);

/* -- the sender -- */

struct noted;

/* Of one result. */
struct handover {
    struct noted *noted; /* `count` of them */
    size_t count;
    size_t room;
};

void handover_init(struct handover *handover);
/* Holds a large bytes, str, bytearray or array.array, or a memoryview, and keeps a place for its view in the message. Gives the
 * position, the same again for an object that was noted before (`shared`: it may have been). -1 with an
 * exception. */
ptrdiff_t handover_note(struct handover *handover, struct message *message, PyObject *object,
                        bool shared);
/* Fills the places. -1 with an exception: the message must be reset. */
int handover_commit(struct handover *handover, struct message *message);
/* Lets go of what was not committed. */
void handover_free(struct handover *handover);

/* Without a note: a view of a copy of what a bytearray or array.array has, for any interpreter. NULL with
 * an exception. */
struct view *handover_copy_array(PyObject *array);
/* The typecode of an array.array, 0 for a bytearray; -1 with an exception: it is neither. */
int handover_typecode(PyObject *array);

/* -- the receiver -- */

/* The object of a VIEW_OBJECT: a new reference, to be taken over by handover_settle() before anything but
 * this thread runs. NULL with an exception: it was taken over before. */
PyObject *handover_take(const struct view *view);
/* Whoever decodes has ended: objects that he has taken are his interpreter's now. */
void handover_settle(const struct message *message);
#endif
