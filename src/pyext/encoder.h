/* encoder: what the rooms that encode have in common: a message that is being filled with native items.
 *
 * Private to encode and encode_call. Attached to the interpreter whose state it is.
 */
#ifndef AIOINTERP_ENCODER_H
#define AIOINTERP_ENCODER_H

#include "handover.h"
#include "parcel.h"
#include "transport.h"

typedef enum { ENCODED = 0, NOT_NATIVE = 1, FAILED = -1 } encoded;

/* Containers met so far, so that one met twice is sent once: open addressing by address. */
enum { MEMO_ROOM = 16 };

struct memo_entry {
    PyObject *object; /* borrowed: the caller's values stay alive and unchanged meanwhile */
    size_t index;     /* of the container */
    bool is_parcel;   /* it went as a parcel: `index` is its view's */
};

struct encoder {
    struct state *state;
    struct message *message;
    struct handover *handover; /* of a worker's result; NULL: what is large is lent */
    struct repeats *repeats;   /* or NULL */
    size_t depth;              /* containers around the value at hand */
    size_t containers;         /* begun so far */
    size_t members;            /* of these, dicts' pairs once */
    size_t lent;               /* bytes of blocks that are lent */
    size_t mutables;           /* met so far, or what might be one */
    size_t lowest_again;       /* container that the value that is weighed refers back to */
    struct memo_entry *memo;   /* `memo_size` places, a power of two */
    size_t memo_size;
    size_t memo_count;
    struct memo_entry memo_room[MEMO_ROOM];
};

void encoder_init(struct encoder *encoder, struct state *state, struct message *message,
                  struct handover *handover);
void encoder_free(struct encoder *encoder);

/* With MemoryError; and for what gives 0 or -1 for want of memory. */
encoded encode_out_of_memory(void);
encoded encode_check(int result);

/* One value. Runs no Python code, so that what it walks stays as it is; but for a queue, which is
 * lent only where the caller holds it, at the top. */
encoded encode_item(struct encoder *encoder, PyObject *value, bool shared);
/* The same for what is an argument, or in one that is a tuple: it may be a repeat (encode_call). */
encoded encode_argument(struct encoder *encoder, PyObject *value, bool shared);
/* A view (NULL with an exception: FAILED), which is taken over. */
encoded encode_view(struct encoder *encoder, struct view *view);
/* Whether an exception of an exporter's leaves it to pickle. */
bool encode_exporter_refuses(void);

/* The place of a container, or of what is sent once, among those met so far; NULL with an exception. */
struct memo_entry *encoder_find(struct encoder *encoder, PyObject *container);
/* What was met before, as a reference to it. */
encoded encode_again(struct encoder *encoder, const struct memo_entry *entry);

/* The value as a pickle; what was encoded before is thrown away. -1 with an exception: the message is empty. */
int encode_pickle(struct state *state, struct message *message, struct handover *handover,
                  PyObject *value);

#endif
