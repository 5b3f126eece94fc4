/* message: a call or a result on its way between interpreters. Plain memory, no Python.
 *
 * The bytes are wire's; memory that is lent instead of copied travels beside them as views, which
 * WIRE_LOAN items name by position. Owned by one thread at a time: the submitter until the task is
 * queued, the worker until the future's state says finished, then whoever asks for the result
 * (under the GIL of the interpreter that submitted).
 */
#ifndef AIOINTERP_MESSAGE_H
#define AIOINTERP_MESSAGE_H

#include "../core/lend.h"
#include "../core/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a WIRE_LOAN stands for. A view's geometry is its own, the memory is the loan's. */
struct view {
    struct loan *loan; /* held */
    enum {
        VIEW_MEMORY, /* a memoryview */
        VIEW_QUEUE,  /* no memory: a concurrent.interpreters.Queue, by its id */
        VIEW_BYTES,  /* the contents of a large bytes */
        VIEW_STR,    /* of a large str, units of `itemsize` bytes */
        VIEW_OBJECT, /* of a large bytes or str that the receiver may have itself (handover) */
        VIEW_ARRAY,  /* of a large bytearray or array.array, for the receiver to copy */
        VIEW_PARCEL, /* no memory: a value that is sent once (parcel), whose loan it is; a part of
                        that parcel, so that sending it once more takes no memory */
    } kind;
    int64_t queue_id;
    bool ascii;     /* a str of nothing but ASCII */
    char typecode;  /* of an array.array; 0: a bytearray */
    char owner[48]; /* of memory: the type of what it was lent from, cut off; empty: unknown */
    void *memory;
    ptrdiff_t size; /* bytes */
    ptrdiff_t itemsize;
    bool readonly;
    int dimensions;
    char *format; /* in the same block, as shape and strides */
    ptrdiff_t *shape;
    ptrdiff_t *strides;
};

/* NULL: out of memory. Takes over no reference: holds the loan itself. `format` may be NULL ("B"). */
struct view *view_new(struct loan *loan, int dimensions, const char *format);
/* One more view of the same, holding the loan too. NULL: out of memory. */
struct view *view_copy(const struct view *view);
void view_free(struct view *view);

enum { MESSAGE_ROOM = 48 };

struct message {
    struct wire_buffer bytes;
    union {
        struct view *only;
        struct view **many;
    } views; /* owned; `only` while there is no more than one */
    uint64_t view_count : 63;
    uint64_t has_array : 1; /* an array.array, here or in a view; a bit, as wire_buffer's */
    unsigned char room[MESSAGE_ROOM];
};

void message_init(struct message *message);
/* Empties it for reuse, giving back views and keeping memory. */
void message_reset(struct message *message);
void message_free(struct message *message);
/* `to` has what `from` had, which is empty then; what `to` had is freed. */
void message_move(struct message *to, struct message *from);
/* What it carries, in bytes: its own, and the memory that is lent beside them. */
size_t message_size(const struct message *message);
/* The view at a position, and the place where it stands. */
static inline struct view *
message_view(const struct message *message, size_t index)
{
    return message->view_count > 1 ? message->views.many[index] : message->views.only;
}
static inline struct view **
message_place(struct message *message, size_t index)
{
    return message->view_count > 1 ? &message->views.many[index] : &message->views.only;
}
/* Takes the view over, also on failure. Gives its position, or -1: out of memory. */
ptrdiff_t message_add_view(struct message *message, struct view *view);

#endif
