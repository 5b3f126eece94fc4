/* wire: the private binary form in which values travel between interpreters.
 *
 * Pure C: this room knows how a value is laid out, not how a PyObject is made. A message is a
 * sequence of items, each a tag byte and its payload; a container item says how many items follow
 * as its members (a dict counts pairs). Messages never leave the process, so integers are in the
 * machine's own byte order and unaligned; still every read is bounds-checked, so that a damaged
 * message is an error and never a crash (tests/fuzz).
 *
 * Writing: every wire_put_* returns 0, or -1 when memory is short; the buffer stays valid and owned
 * by the caller. A buffer starts out with the caller's storage (`wire_buffer_init`) and moves to
 * the heap when it outgrows it.
 *
 * Reading: wire_next() fills one item; pointers in it point into the message. Containers are
 * walked by the caller, who bounds its own recursion.
 *
 *     struct wire_buffer out;  unsigned char room[64];
 *     wire_buffer_init(&out, room, sizeof(room));
 *     wire_put_tuple(&out, 2);  wire_put_int(&out, 5);  wire_put_bytes(&out, "ab", 2);
 *     struct wire_reader in = wire_reader_of(out.data, out.size);
 *     struct wire_item item;
 *     while (wire_next(&in, &item) == WIRE_OK) { ... }
 *     wire_buffer_free(&out);
 */
#ifndef AIOINTERP_WIRE_H
#define AIOINTERP_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    WIRE_NONE = 1,
    WIRE_FALSE,
    WIRE_TRUE,
    WIRE_INT,     /* fits int64_t */
    WIRE_BIG_INT, /* two's complement, little endian, at least 9 bytes */
    WIRE_FLOAT,
    WIRE_COMPLEX,
    WIRE_BYTES,
    WIRE_ARRAY,     /* a bytearray (`kind` 0) or an array.array (`kind`: its typecode) */
    WIRE_STR,       /* code units of 1 (latin-1), 2 or 4 bytes, any code point, surrogates too */
    WIRE_TUPLE,     /* `count` items follow */
    WIRE_LIST,      /* `count` items follow */
    WIRE_DICT,      /* `count` pairs of items follow, in insertion order */
    WIRE_SET,       /* `count` items follow */
    WIRE_FROZENSET, /* `count` items follow */
    WIRE_REF,       /* `index`: the index-th container of this message, counted from 0 as begun */
    WIRE_PICKLE,    /* pickle protocol 5 bytes; `count` out-of-band buffers are WIRE_LOANs that
                       follow it, the first one the pickle if there are no bytes here */
    WIRE_LOAN,      /* `index` of a loan that travels beside the message */
    WIRE_LAST_TAG = WIRE_LOAN
} wire_tag;

/* A growing byte buffer. `data` is `storage` of the caller until it outgrows it. Not shared. */
struct wire_buffer {
    unsigned char *data;
    size_t size;            /* bytes written */
    uint64_t capacity : 63; /* bytes at `data`; PTRDIFF_MAX at most */
    uint64_t on_heap : 1;   /* `data` is to be freed; a bit, since each pending task has a buffer */
};

void wire_buffer_init(struct wire_buffer *buffer, void *storage, size_t capacity);
/* Forgets what was written; keeps the memory. */
void wire_buffer_reset(struct wire_buffer *buffer);
void wire_buffer_free(struct wire_buffer *buffer);

int wire_put_none(struct wire_buffer *buffer);
int wire_put_bool(struct wire_buffer *buffer, bool value);
int wire_put_int(struct wire_buffer *buffer, int64_t value);
int wire_put_float(struct wire_buffer *buffer, double value);
int wire_put_complex(struct wire_buffer *buffer, double real, double imag);
int wire_put_bytes(struct wire_buffer *buffer, const void *bytes, size_t size);
/* `kind` is 0 to 127. On the other side it counts as a container: a WIRE_REF may name it. */
int wire_put_array(struct wire_buffer *buffer, int kind, const void *bytes, size_t size);
/* `kind` is 1, 2 or 4; `length` counts code units. */
int wire_put_str(struct wire_buffer *buffer, int kind, const void *units, size_t length);
/* Makes room for an integer of `size` bytes (two's complement, little endian) and points *bytes at
 * it for the caller to fill at once. */
int wire_put_big_int(struct wire_buffer *buffer, size_t size, unsigned char **bytes);
/* `tag` is one of WIRE_TUPLE, LIST, DICT, SET, FROZENSET. */
int wire_put_container(struct wire_buffer *buffer, wire_tag tag, size_t count);
int wire_put_ref(struct wire_buffer *buffer, size_t index);
int wire_put_pickle(struct wire_buffer *buffer, const void *bytes, size_t size, size_t buffers);
int wire_put_loan(struct wire_buffer *buffer, size_t index);

struct wire_reader {
    const unsigned char *at;
    const unsigned char *end;
};

struct wire_item {
    wire_tag tag;
    int kind;                   /* STR: 1, 2 or 4; ARRAY */
    int64_t integer;            /* INT */
    double real, imag;          /* FLOAT (real), COMPLEX */
    const unsigned char *bytes; /* BYTES, ARRAY, STR, BIG_INT, PICKLE: `size` bytes; not aligned */
    size_t size;                /* ... in bytes */
    size_t count; /* containers: members (DICT: pairs); STR: code units; PICKLE: buffers */
    size_t index; /* REF, LOAN */
};

typedef enum { WIRE_OK = 0, WIRE_END = 1, WIRE_DAMAGED = -1 } wire_result;

struct wire_reader wire_reader_of(const void *message, size_t size);
/* The next item, WIRE_END after the last, or WIRE_DAMAGED: unknown tag, payload past the end, a
 * container that claims more members than bytes are left. */
wire_result wire_next(struct wire_reader *reader, struct wire_item *item);

#endif
