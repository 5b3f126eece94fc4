/* fuzz_wire: two questions to each input.
 *
 * As a message: is any sequence of bytes read without harm, and each item within its bounds?
 * As a program of wire_put_*: does what was written come back as it was?
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition) ((condition) ? (void)0 : broken(#condition, __LINE__))

static void
broken(const char *what, int line)
{
    fprintf(stderr, "fuzz_wire.c:%d: not so: %s\n", line, what);
    abort();
}

/* -- as a message: walked as a decoder walks it -- */

enum { MAX_DEPTH = 200 };

static bool walk(struct wire_reader *reader, unsigned depth);

static bool
walk_members(struct wire_reader *reader, size_t count, unsigned depth)
{
    for (size_t i = 0; i < count; i++) {
        if (!walk(reader, depth + 1)) {
            return false;
        }
    }
    return true;
}

/* Reads each byte, so that the address sanitizer sees one that is not there. */
static void
touch(const struct wire_item *item)
{
    volatile unsigned sum = 0;
    for (size_t i = 0; i < item->size; i++) {
        sum = sum + item->bytes[i];
    }
}

static void
check_item(const struct wire_reader *before, const struct wire_reader *after,
           const struct wire_item *item)
{
    REQUIRE(item->tag >= WIRE_NONE && item->tag <= WIRE_LAST_TAG);
    REQUIRE(after->at > before->at && after->at <= after->end && after->end == before->end);
    if (item->tag == WIRE_STR) {
        REQUIRE(item->kind == 1 || item->kind == 2 || item->kind == 4);
        REQUIRE(item->size == item->count * (size_t)item->kind);
    }
    if (item->size > 0) {
        REQUIRE(item->bytes > before->at && item->bytes + item->size == after->at);
        touch(item);
    }
}

static bool
is_container(wire_tag tag)
{
    return tag >= WIRE_TUPLE && tag <= WIRE_FROZENSET;
}

static bool
walk(struct wire_reader *reader, unsigned depth)
{
    struct wire_item item = {.size = 0};
    struct wire_reader before = *reader;
    if (depth > MAX_DEPTH || wire_next(reader, &item) != WIRE_OK) {
        return false;
    }
    check_item(&before, reader, &item);
    if (item.tag == WIRE_PICKLE) {
        REQUIRE(item.count <= (size_t)(reader->end - reader->at));
        return walk_members(reader, item.count, depth);
    }
    if (is_container(item.tag)) {
        size_t members = item.tag == WIRE_DICT ? 2 * item.count : item.count;
        REQUIRE(members <= (size_t)(reader->end - reader->at));
        return walk_members(reader, members, depth);
    }
    return true;
}

static void
read_as_message(const uint8_t *data, size_t size)
{
    struct wire_reader reader = wire_reader_of(data, size);
    while (walk(&reader, 0)) {
    }
}

/* -- as a program -- */

enum { MAX_STEPS = 200, MAX_CONTENT = 1 << 16, MAX_COUNT = 700 };

struct program {
    const uint8_t *at, *end;
    struct wire_item steps[MAX_STEPS]; /* what was written, as it is to come back */
    size_t count;
    unsigned char content[MAX_CONTENT]; /* what their `bytes` point at */
    size_t used;
    size_t claimed; /* the most members that an item says follow it */
    struct wire_buffer out;
};

static uint64_t
operand(struct program *program, size_t width)
{
    uint64_t value = 0;
    size_t left = (size_t)(program->end - program->at);
    width = width < left ? width : left;
    if (width > 0) {
        memcpy(&value, program->at, width);
        program->at += width;
    }
    return value;
}

static double
real_operand(struct program *program)
{
    uint64_t bits = operand(program, 8);
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* `length` units of `kind` bytes, made up from one byte of the program; NULL when there is no room
 * left for more. */
static unsigned char *
content(struct program *program, size_t length, int kind)
{
    size_t size = length * (size_t)kind;
    if (size > MAX_CONTENT - program->used) {
        return NULL;
    }
    unsigned char *bytes = program->content + program->used;
    uint32_t unit = (uint32_t)operand(program, 1);
    for (size_t i = 0; i < length; i++) {
        unit = (unit * 69069 + 1) % 0x110000;
        memcpy(bytes + i * (size_t)kind, &unit, (size_t)kind);
    }
    program->used += size;
    return bytes;
}

static void
claim(struct program *program, size_t members)
{
    program->claimed = members > program->claimed ? members : program->claimed;
}

static int
step_block(struct program *program, struct wire_item *step)
{
    int kind = step->tag == WIRE_STR ? 1 << operand(program, 1) % 3 : 1;
    size_t length = operand(program, 2) % MAX_COUNT + (step->tag == WIRE_BIG_INT ? 9 : 0);
    unsigned char *bytes = content(program, length, kind);
    unsigned char *room;
    if (bytes == NULL) {
        return -1;
    }
    step->bytes = bytes;
    step->size = length * (size_t)kind;
    switch (step->tag) {
    case WIRE_STR:
        step->kind = kind;
        step->count = length;
        return wire_put_str(&program->out, kind, bytes, length);
    case WIRE_ARRAY:
        step->kind = (int)(operand(program, 1) % 128);
        return wire_put_array(&program->out, step->kind, bytes, length);
    case WIRE_BYTES:
        return wire_put_bytes(&program->out, bytes, length);
    case WIRE_PICKLE:
        step->count = operand(program, 1);
        claim(program, step->count);
        return wire_put_pickle(&program->out, bytes, length, step->count);
    default:
        REQUIRE(wire_put_big_int(&program->out, length, &room) == 0);
        memcpy(room, bytes, length);
        return 0;
    }
}

static int
step_number(struct program *program, struct wire_item *step)
{
    switch (step->tag) {
    case WIRE_INT:
        step->integer = (int64_t)(operand(program, 8) << operand(program, 1) % 64);
        step->integer >>= operand(program, 1) % 64;
        return wire_put_int(&program->out, step->integer);
    case WIRE_FLOAT:
        step->real = real_operand(program);
        return wire_put_float(&program->out, step->real);
    default:
        step->real = real_operand(program);
        step->imag = real_operand(program);
        return wire_put_complex(&program->out, step->real, step->imag);
    }
}

static int
step_index(struct program *program, struct wire_item *step)
{
    step->index = operand(program, operand(program, 1) % 9);
    return step->tag == WIRE_REF ? wire_put_ref(&program->out, step->index)
                                 : wire_put_loan(&program->out, step->index);
}

static int
step_any(struct program *program, struct wire_item *step)
{
    switch (step->tag) {
    case WIRE_NONE:
        return wire_put_none(&program->out);
    case WIRE_FALSE:
    case WIRE_TRUE:
        return wire_put_bool(&program->out, step->tag == WIRE_TRUE);
    case WIRE_INT:
    case WIRE_FLOAT:
    case WIRE_COMPLEX:
        return step_number(program, step);
    case WIRE_REF:
    case WIRE_LOAN:
        return step_index(program, step);
    case WIRE_BIG_INT:
    case WIRE_ARRAY:
    case WIRE_BYTES:
    case WIRE_STR:
    case WIRE_PICKLE:
        return step_block(program, step);
    default:
        step->count = operand(program, 2) % MAX_COUNT;
        claim(program, 2 * step->count);
        return wire_put_container(&program->out, step->tag, step->count);
    }
}

static void
write_program(struct program *program)
{
    while (program->at < program->end && program->count < MAX_STEPS) {
        struct wire_item *step = &program->steps[program->count];
        *step = (struct wire_item){.tag = (wire_tag)(1 + operand(program, 1) % WIRE_LAST_TAG)};
        if (step_any(program, step) < 0) {
            break;
        }
        program->count++;
    }
    for (size_t i = 0; i < program->claimed; i++) {
        REQUIRE(wire_put_none(&program->out) == 0);
    }
}

static bool
same_bits(double left, double right)
{
    return memcmp(&left, &right, sizeof(left)) == 0;
}

/* Both began as zeroes, and wire_next() leaves alone what its tag has no use for. */
static void
check_same(const struct wire_item *read, const struct wire_item *written)
{
    REQUIRE(read->tag == written->tag);
    REQUIRE(read->kind == written->kind);
    REQUIRE(read->integer == written->integer);
    REQUIRE(same_bits(read->real, written->real));
    REQUIRE(same_bits(read->imag, written->imag));
    REQUIRE(read->count == written->count);
    REQUIRE(read->index == written->index);
    REQUIRE(read->size == written->size);
    REQUIRE(read->size == 0 || memcmp(read->bytes, written->bytes, read->size) == 0);
}

static void
read_program(const struct program *program)
{
    struct wire_reader reader = wire_reader_of(program->out.data, program->out.size);
    for (size_t i = 0; i < program->count; i++) {
        struct wire_item item = {.size = 0};
        REQUIRE(wire_next(&reader, &item) == WIRE_OK);
        check_same(&item, &program->steps[i]);
    }
    for (size_t i = 0; i < program->claimed; i++) {
        struct wire_item item = {.size = 0};
        REQUIRE(wire_next(&reader, &item) == WIRE_OK);
        REQUIRE(item.tag == WIRE_NONE);
    }
    struct wire_item item;
    REQUIRE(wire_next(&reader, &item) == WIRE_END);
}

static void
run_as_program(const uint8_t *data, size_t size)
{
    static struct program program;
    unsigned char storage[128];
    program.at = data;
    program.end = size == 0 ? data : data + size;
    program.count = 0;
    program.used = 0;
    program.claimed = 0;
    wire_buffer_init(&program.out, storage, sizeof(storage));
    write_program(&program);
    read_program(&program);
    wire_buffer_free(&program.out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_as_message(data, size);
    run_as_program(data, size);
    return 0;
}
