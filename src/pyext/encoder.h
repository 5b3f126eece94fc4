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

/* Containers met so far, so that one met twice is sent once: open addressing by address.
 *
 * Each is alive until encoding has ended, so that its address stands for no other object: the caller holds the
 * values, and nothing changes what is in them, since encoding runs no Python and so never releases the GIL.
 * The exceptions are a queue, whose id is asked of Python, and another exporter of memory, both at the top
 * only: what was met until then is held from there on. */
enum { MEMO_ROOM = 16 };

struct memo_entry {
    PyObject *object; /* borrowed, or in the encoder's `held` as well */
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
    size_t mutables;           /* met so far, and all that goes beside the message */
    size_t lowest_again;       /* container that the value that is weighed refers back to */
    struct memo_entry *memo;   /* `memo_size` places, a power of two */
    size_t memo_size;
    size_t memo_count;
    PyObject *held; /* a list of what is in the memo and might go before the end; or NULL */
    struct memo_entry memo_room[MEMO_ROOM];
};

void encoder_init(struct encoder *encoder, struct state *state, struct message *message,
                  struct handover *handover);
void encoder_free(struct encoder *encoder);

/* With MemoryError; and for what gives 0 or -1 for want of memory. */
encoded encode_out_of_memory(void);
encoded encode_check(int result);

/* One value. Runs no Python code, so that what it walks stays as it is; but for a queue, and another exporter
 * of memory, which are lent only where the caller holds them, at the top: no container is walked then. */
encoded encode_item(struct encoder *encoder, PyObject *value, bool shared);
/* The same for what is an argument, or in one that is a short tuple: it may be a repeat (encode_call). */
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
