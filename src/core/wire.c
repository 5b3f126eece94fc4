/* wire: see wire.h for the contract.
 *
 * An item begins with one byte. The commonest items are that byte alone, or all of their head:
 *
 *     1nnnnnnn   int, -16 to 111
 *     011nnnnn   latin-1 str of 0 to 31 units, which follow
 *     0101nnnn   bytes, 0 to 15, which follow
 *     0100nnnn   tuple of 0 to 15 members
 *     00oooooo   any other: the operation `o`, then its payload
 *
 * A size in a payload is one byte up to 252; 253, 254 and 255 announce 2, 4 and 8 bytes.
 */
#include "wire.h"

#include <stdlib.h>
#include <string.h>

enum {
    SHORT_INT = 0x80,
    SHORT_STR = 0x60,
    SHORT_BYTES = 0x50,
    SHORT_TUPLE = 0x40,

    SHORT_INT_MIN = -16,
    SHORT_INT_MAX = 111,
    SHORT_STR_MAX = 31,
    SHORT_BYTES_MAX = 15,
    SHORT_TUPLE_MAX = 15,
};

/* Part of every message: numbers may change freely, as no message outlives the process. 0 is left
 * out, so that a message of zeroes is damaged. */
enum operation {
    OP_NONE = 1,
    OP_FALSE,
    OP_TRUE,
    OP_INT8,
    OP_INT16,
    OP_INT32,
    OP_INT64,
    OP_BIG_INT,
    OP_FLOAT,
    OP_COMPLEX,
    OP_BYTES,
    OP_ARRAY,
    OP_STR1,
    OP_STR2,
    OP_STR4,
    OP_TUPLE,
    OP_LIST,
    OP_DICT,
    OP_SET,
    OP_FROZENSET,
    OP_REF,
    OP_PICKLE,
    OP_LOAN,
};

enum {
    SIZE_2 = 253,
    SIZE_4 = 254,
    SIZE_8 = 255,
    SIZE_MAX_BYTES = 9,
    BIG_INT_MIN_BYTES = 9,
    LAST_CODE_POINT = 0x10FFFF,
};

/* -- the buffer -- */

void
wire_buffer_init(struct wire_buffer *buffer, void *storage, size_t capacity)
{
    *buffer = (struct wire_buffer){.data = storage, .capacity = capacity & PTRDIFF_MAX};
}

void
wire_buffer_reset(struct wire_buffer *buffer)
{
    buffer->size = 0;
}

void
wire_buffer_free(struct wire_buffer *buffer)
{
    if (buffer->on_heap) {
        free(buffer->data);
    }
    *buffer = (struct wire_buffer){.data = NULL};
}

/* At least doubles, so that a message of n bytes is moved fewer than log(n) times. */
static int
grow(struct wire_buffer *buffer, size_t needed)
{
    size_t capacity = buffer->capacity <= PTRDIFF_MAX / 2 ? buffer->capacity * 2 : PTRDIFF_MAX;
    capacity = capacity < 64 ? 64 : capacity;
    capacity = capacity < needed ? needed : capacity;
    unsigned char *data = realloc(buffer->on_heap ? buffer->data : NULL, capacity);
    if (data == NULL) {
        return -1;
    }
    if (!buffer->on_heap && buffer->size != 0) {
        memcpy(data, buffer->data, buffer->size);
    }
    buffer->data = data;
    buffer->capacity = capacity & PTRDIFF_MAX;
    buffer->on_heap = true;
    return 0;
}

/* Room for `head` bytes and `body` more behind what is written, not yet counted as written. NULL:
 * memory is short, and the buffer is as it was. */
static unsigned char *
reserve(struct wire_buffer *buffer, size_t head, size_t body)
{
    if (body > (size_t)PTRDIFF_MAX - head || buffer->size > (size_t)PTRDIFF_MAX - head - body) {
        return NULL;
    }
    size_t needed = buffer->size + head + body;
    if (needed > buffer->capacity && grow(buffer, needed) < 0) {
        return NULL;
    }
    return buffer->data + buffer->size;
}

static void
commit(struct wire_buffer *buffer, const unsigned char *end)
{
    buffer->size = (size_t)(end - buffer->data);
}

/* -- writing; each helper returns the place behind what it wrote -- */

static unsigned char *
write_raw(unsigned char *at, const void *bytes, size_t size)
{
    if (size != 0) { /* `bytes` may be NULL when there are none */
        memcpy(at, bytes, size);
    }
    return at + size;
}

static unsigned char *
write_size(unsigned char *at, size_t size)
{
    if (size < SIZE_2) {
        *at = (unsigned char)size;
        return at + 1;
    }
    if (size <= UINT16_MAX) {
        uint16_t narrow = (uint16_t)size;
        *at = SIZE_2;
        return write_raw(at + 1, &narrow, sizeof(narrow));
    }
    if (size <= UINT32_MAX) {
        uint32_t narrow = (uint32_t)size;
        *at = SIZE_4;
        return write_raw(at + 1, &narrow, sizeof(narrow));
    }
    uint64_t wide = size;
    *at = SIZE_8;
    return write_raw(at + 1, &wide, sizeof(wide));
}

static int
put_byte(struct wire_buffer *buffer, unsigned byte)
{
    unsigned char *at = reserve(buffer, 1, 0);
    if (at == NULL) {
        return -1;
    }
    *at = (unsigned char)byte;
    commit(buffer, at + 1);
    return 0;
}

/* An operation and a fixed payload. */
static int
put_fixed(struct wire_buffer *buffer, enum operation operation, const void *payload, size_t size)
{
    unsigned char *at = reserve(buffer, 1, size);
    if (at == NULL) {
        return -1;
    }
    *at = (unsigned char)operation;
    commit(buffer, write_raw(at + 1, payload, size));
    return 0;
}

/* An operation and a size. */
static int
put_sized(struct wire_buffer *buffer, enum operation operation, size_t size)
{
    unsigned char *at = reserve(buffer, 1 + SIZE_MAX_BYTES, 0);
    if (at == NULL) {
        return -1;
    }
    *at = (unsigned char)operation;
    commit(buffer, write_size(at + 1, size));
    return 0;
}

/* An operation, a count, and as many bytes as `size` says. */
static int
put_block(struct wire_buffer *buffer, enum operation operation, size_t count, const void *bytes,
          size_t size)
{
    unsigned char *at = reserve(buffer, 1 + SIZE_MAX_BYTES, size);
    if (at == NULL) {
        return -1;
    }
    *at = (unsigned char)operation;
    at = write_size(at + 1, count);
    commit(buffer, write_raw(at, bytes, size));
    return 0;
}

/* A head of one byte, and `size` bytes. */
static int
put_short(struct wire_buffer *buffer, unsigned head, const void *bytes, size_t size)
{
    unsigned char *at = reserve(buffer, 1, size);
    if (at == NULL) {
        return -1;
    }
    *at = (unsigned char)head;
    commit(buffer, write_raw(at + 1, bytes, size));
    return 0;
}

int
wire_put_none(struct wire_buffer *buffer)
{
    return put_byte(buffer, OP_NONE);
}

int
wire_put_bool(struct wire_buffer *buffer, bool value)
{
    return put_byte(buffer, value ? OP_TRUE : OP_FALSE);
}

int
wire_put_int(struct wire_buffer *buffer, int64_t value)
{
    if (value >= SHORT_INT_MIN && value <= SHORT_INT_MAX) {
        return put_byte(buffer, SHORT_INT + (unsigned)(value - SHORT_INT_MIN));
    }
    if (value >= INT8_MIN && value <= INT8_MAX) {
        return put_fixed(buffer, OP_INT8, &(int8_t){(int8_t)value}, 1);
    }
    if (value >= INT16_MIN && value <= INT16_MAX) {
        return put_fixed(buffer, OP_INT16, &(int16_t){(int16_t)value}, 2);
    }
    if (value >= INT32_MIN && value <= INT32_MAX) {
        return put_fixed(buffer, OP_INT32, &(int32_t){(int32_t)value}, 4);
    }
    return put_fixed(buffer, OP_INT64, &value, 8);
}

int
wire_put_float(struct wire_buffer *buffer, double value)
{
    return put_fixed(buffer, OP_FLOAT, &value, sizeof(value));
}

int
wire_put_complex(struct wire_buffer *buffer, double real, double imag)
{
    double parts[2] = {real, imag};
    return put_fixed(buffer, OP_COMPLEX, parts, sizeof(parts));
}

int
wire_put_bytes(struct wire_buffer *buffer, const void *bytes, size_t size)
{
    if (size <= SHORT_BYTES_MAX) {
        return put_short(buffer, SHORT_BYTES + (unsigned)size, bytes, size);
    }
    return put_block(buffer, OP_BYTES, size, bytes, size);
}

int
wire_put_array(struct wire_buffer *buffer, int kind, const void *bytes, size_t size)
{
    unsigned char *at = reserve(buffer, 2 + SIZE_MAX_BYTES, size);
    if (at == NULL) {
        return -1;
    }
    *at++ = OP_ARRAY;
    *at++ = (unsigned char)kind;
    at = write_size(at, size);
    commit(buffer, write_raw(at, bytes, size));
    return 0;
}

int
wire_put_str(struct wire_buffer *buffer, int kind, const void *units, size_t length)
{
    if (kind == 1 && length <= SHORT_STR_MAX) {
        return put_short(buffer, SHORT_STR + (unsigned)length, units, length);
    }
    if (length > (size_t)PTRDIFF_MAX / 4) {
        return -1;
    }
    enum operation operation = kind == 1 ? OP_STR1 : kind == 2 ? OP_STR2 : OP_STR4;
    return put_block(buffer, operation, length, units, length * (size_t)kind);
}

int
wire_put_big_int(struct wire_buffer *buffer, size_t size, unsigned char **bytes)
{
    unsigned char *at = reserve(buffer, 1 + SIZE_MAX_BYTES, size);
    if (at == NULL) {
        return -1;
    }
    *at = OP_BIG_INT;
    at = write_size(at + 1, size);
    *bytes = at;
    commit(buffer, at + size);
    return 0;
}

int
wire_put_container(struct wire_buffer *buffer, wire_tag tag, size_t count)
{
    if (tag == WIRE_TUPLE && count <= SHORT_TUPLE_MAX) {
        return put_byte(buffer, SHORT_TUPLE + (unsigned)count);
    }
    return put_sized(buffer, (enum operation)(OP_TUPLE + (tag - WIRE_TUPLE)), count);
}

_Static_assert(OP_FROZENSET - OP_TUPLE == WIRE_FROZENSET - WIRE_TUPLE &&
                   OP_LIST - OP_TUPLE == WIRE_LIST - WIRE_TUPLE &&
                   OP_DICT - OP_TUPLE == WIRE_DICT - WIRE_TUPLE &&
                   OP_SET - OP_TUPLE == WIRE_SET - WIRE_TUPLE,
               "the containers stand in the same order");

int
wire_put_ref(struct wire_buffer *buffer, size_t index)
{
    return put_sized(buffer, OP_REF, index);
}

int
wire_put_pickle(struct wire_buffer *buffer, const void *bytes, size_t size, size_t buffers)
{
    unsigned char *at = reserve(buffer, 1 + 2 * SIZE_MAX_BYTES, size);
    if (at == NULL) {
        return -1;
    }
    *at = OP_PICKLE;
    at = write_size(at + 1, buffers);
    at = write_size(at, size);
    commit(buffer, write_raw(at, bytes, size));
    return 0;
}

int
wire_put_loan(struct wire_buffer *buffer, size_t index)
{
    return put_sized(buffer, OP_LOAN, index);
}

/* -- reading; each helper returns false for a message that ends too early, or cannot be -- */

struct wire_reader
wire_reader_of(const void *message, size_t size)
{
    const unsigned char *at = message;
    /* An empty message may have no address, and NULL + 0 is undefined in C11. */
    return (struct wire_reader){.at = at, .end = size == 0 ? at : at + size};
}

static size_t
bytes_left(const struct wire_reader *reader)
{
    return (size_t)(reader->end - reader->at);
}

static bool
read_raw(struct wire_reader *reader, void *into, size_t size)
{
    if (bytes_left(reader) < size) {
        return false;
    }
    memcpy(into, reader->at, size);
    reader->at += size;
    return true;
}

static bool
read_wide_size(struct wire_reader *reader, size_t *size)
{
    uint64_t wide;
    if (!read_raw(reader, &wide, sizeof(wide)) || wide > SIZE_MAX) {
        return false;
    }
    *size = (size_t)wide;
    return true;
}

static bool
read_size(struct wire_reader *reader, size_t *size)
{
    unsigned char first = 0;
    uint16_t two = 0;
    uint32_t four = 0;
    bool complete = read_raw(reader, &first, 1);
    switch (first) {
    case SIZE_2:
        complete = read_raw(reader, &two, sizeof(two));
        *size = two;
        return complete;
    case SIZE_4:
        complete = read_raw(reader, &four, sizeof(four));
        *size = four;
        return complete;
    case SIZE_8:
        return read_wide_size(reader, size);
    default:
        *size = first;
        return complete;
    }
}

static bool
read_int(struct wire_reader *reader, struct wire_item *item, enum operation operation)
{
    int8_t one = 0;
    int16_t two = 0;
    int32_t four = 0;
    bool complete;
    item->tag = WIRE_INT;
    switch (operation) {
    case OP_INT8:
        complete = read_raw(reader, &one, sizeof(one));
        item->integer = one;
        return complete;
    case OP_INT16:
        complete = read_raw(reader, &two, sizeof(two));
        item->integer = two;
        return complete;
    case OP_INT32:
        complete = read_raw(reader, &four, sizeof(four));
        item->integer = four;
        return complete;
    default:
        return read_raw(reader, &item->integer, sizeof(item->integer));
    }
}

/* `size` bytes of the message, left where they are. */
static bool
take_bytes(struct wire_reader *reader, struct wire_item *item, wire_tag tag, size_t size)
{
    if (bytes_left(reader) < size) {
        return false;
    }
    item->tag = tag;
    item->bytes = reader->at;
    item->size = size;
    reader->at += size;
    return true;
}

static bool
read_bytes(struct wire_reader *reader, struct wire_item *item, wire_tag tag)
{
    size_t size;
    return read_size(reader, &size) && take_bytes(reader, item, tag, size);
}

static bool
read_array(struct wire_reader *reader, struct wire_item *item)
{
    unsigned char kind = 0;
    bool complete = read_raw(reader, &kind, 1) && read_bytes(reader, item, WIRE_ARRAY);
    item->kind = kind;
    return complete && kind <= 127;
}

static bool
read_big_int(struct wire_reader *reader, struct wire_item *item)
{
    return read_bytes(reader, item, WIRE_BIG_INT) && item->size >= BIG_INT_MIN_BYTES;
}

static bool
are_code_points(const unsigned char *units, size_t length)
{
    uint32_t highest = 0;
    for (size_t i = 0; i < length; i++) {
        uint32_t unit;
        memcpy(&unit, units + i * sizeof(unit), sizeof(unit));
        highest = unit > highest ? unit : highest;
    }
    return highest <= LAST_CODE_POINT;
}

static bool
take_str(struct wire_reader *reader, struct wire_item *item, int kind, size_t length)
{
    size_t width = (size_t)kind;
    if (length > bytes_left(reader) / width ||
        !take_bytes(reader, item, WIRE_STR, length * width)) {
        return false;
    }
    item->kind = kind;
    item->count = length;
    return kind != 4 || are_code_points(item->bytes, length);
}

static bool
read_str(struct wire_reader *reader, struct wire_item *item, int kind)
{
    size_t length;
    return read_size(reader, &length) && take_str(reader, item, kind, length);
}

/* Every member is a byte at least, so a count that passes this is safe to allocate for. */
static bool
take_container(struct wire_reader *reader, struct wire_item *item, wire_tag tag, size_t count)
{
    item->tag = tag;
    item->count = count;
    return count <= bytes_left(reader) / (tag == WIRE_DICT ? 2 : 1);
}

static bool
read_container(struct wire_reader *reader, struct wire_item *item, enum operation operation)
{
    size_t count;
    wire_tag tag = (wire_tag)(WIRE_TUPLE + (operation - OP_TUPLE));
    return read_size(reader, &count) && take_container(reader, item, tag, count);
}

static bool
read_pickle(struct wire_reader *reader, struct wire_item *item)
{
    return read_size(reader, &item->count) && read_bytes(reader, item, WIRE_PICKLE) &&
           item->count <= bytes_left(reader);
}

static bool
read_index(struct wire_reader *reader, struct wire_item *item, wire_tag tag)
{
    item->tag = tag;
    return read_size(reader, &item->index);
}

static bool
read_plain(struct wire_item *item, wire_tag tag)
{
    item->tag = tag;
    return true;
}

static bool
read_float(struct wire_reader *reader, struct wire_item *item)
{
    item->tag = WIRE_FLOAT;
    return read_raw(reader, &item->real, sizeof(item->real));
}

static bool
read_complex(struct wire_reader *reader, struct wire_item *item)
{
    item->tag = WIRE_COMPLEX;
    return read_raw(reader, &item->real, sizeof(item->real)) &&
           read_raw(reader, &item->imag, sizeof(item->imag));
}

static bool
read_operation(struct wire_reader *reader, struct wire_item *item, enum operation operation)
{
    switch (operation) {
    case OP_NONE:
        return read_plain(item, WIRE_NONE);
    case OP_FALSE:
        return read_plain(item, WIRE_FALSE);
    case OP_TRUE:
        return read_plain(item, WIRE_TRUE);
    case OP_INT8:
    case OP_INT16:
    case OP_INT32:
    case OP_INT64:
        return read_int(reader, item, operation);
    case OP_BIG_INT:
        return read_big_int(reader, item);
    case OP_FLOAT:
        return read_float(reader, item);
    case OP_COMPLEX:
        return read_complex(reader, item);
    case OP_BYTES:
        return read_bytes(reader, item, WIRE_BYTES);
    case OP_ARRAY:
        return read_array(reader, item);
    case OP_STR1:
        return read_str(reader, item, 1);
    case OP_STR2:
        return read_str(reader, item, 2);
    case OP_STR4:
        return read_str(reader, item, 4);
    case OP_TUPLE:
    case OP_LIST:
    case OP_DICT:
    case OP_SET:
    case OP_FROZENSET:
        return read_container(reader, item, operation);
    case OP_REF:
        return read_index(reader, item, WIRE_REF);
    case OP_PICKLE:
        return read_pickle(reader, item);
    case OP_LOAN:
        return read_index(reader, item, WIRE_LOAN);
    }
    return false;
}

/* `head` is the byte just read. */
static bool
read_item(struct wire_reader *reader, struct wire_item *item, unsigned head)
{
    if (head >= SHORT_INT) {
        item->tag = WIRE_INT;
        item->integer = (int64_t)(head - SHORT_INT) + SHORT_INT_MIN;
        return true;
    }
    if (head >= SHORT_STR) {
        return take_str(reader, item, 1, head - SHORT_STR);
    }
    if (head >= SHORT_BYTES) {
        return take_bytes(reader, item, WIRE_BYTES, head - SHORT_BYTES);
    }
    if (head >= SHORT_TUPLE) {
        return take_container(reader, item, WIRE_TUPLE, head - SHORT_TUPLE);
    }
    return read_operation(reader, item, (enum operation)head);
}

wire_result
wire_next(struct wire_reader *reader, struct wire_item *item)
{
    struct wire_reader ahead = *reader;
    if (ahead.at == ahead.end) {
        return WIRE_END;
    }
    unsigned head = *ahead.at++;
    if (!read_item(&ahead, item, head)) {
        return WIRE_DAMAGED; /* the reader stays before the damaged item */
    }
    *reader = ahead;
    return WIRE_OK;
}
