#include "check.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "core/wire.h"

CHECK_SHORT_MEMORY

#define SIZE(array) (sizeof(array) / sizeof((array)[0]))

/* One item is written by each test, and read back from a copy of exactly its size, so that the
 * address sanitizer sees a read past the end. */
static struct wire_buffer out;
static unsigned char *copy;
static struct wire_reader in;
static struct wire_item item;

static void
begin(void)
{
    wire_buffer_init(&out, NULL, 0);
}

static void
turn(void)
{
    copy = malloc(out.size);
    CHECK(copy != NULL);
    memcpy(copy, out.data, out.size);
    in = wire_reader_of(copy, out.size);
}

static void
next(wire_tag tag)
{
    memset(&item, 0xA5, sizeof(item));
    CHECK_EQ(wire_next(&in, &item), WIRE_OK);
    CHECK_EQ(item.tag, tag);
}

static void
end(void)
{
    CHECK_EQ(wire_next(&in, &item), WIRE_END);
    CHECK_EQ(wire_next(&in, &item), WIRE_END);
    free(copy);
    wire_buffer_free(&out);
    CHECK(out.data == NULL);
}

static void
constants(void)
{
    begin();
    CHECK_EQ(wire_put_none(&out), 0);
    CHECK_EQ(wire_put_bool(&out, true), 0);
    CHECK_EQ(wire_put_bool(&out, false), 0);
    CHECK_EQ(out.size, 3);
    turn();
    next(WIRE_NONE);
    next(WIRE_TRUE);
    next(WIRE_FALSE);
    end();
}

static const int64_t INTS[] = {
    0,
    1,
    -1,
    -16,
    -17,
    111,
    112,
    127,
    128,
    -128,
    -129,
    255,
    32767,
    32768,
    -32768,
    -32769,
    65536,
    INT32_MAX,
    INT32_MIN,
    INT64_MAX,
    INT64_MIN,
    4294967296,
    INT64_C(2147483648),
    INT64_C(-2147483649),
    INT64_MAX - 1,
    INT64_MIN + 1,
};

static void
ints(void)
{
    begin();
    for (size_t i = 0; i < SIZE(INTS); i++) {
        CHECK_EQ(wire_put_int(&out, INTS[i]), 0);
    }
    for (int64_t i = -70000; i <= 70000; i++) {
        CHECK_EQ(wire_put_int(&out, i), 0);
    }
    turn();
    for (size_t i = 0; i < SIZE(INTS); i++) {
        next(WIRE_INT);
        CHECK_EQ(item.integer, INTS[i]);
    }
    for (int64_t i = -70000; i <= 70000; i++) {
        next(WIRE_INT);
        CHECK_EQ(item.integer, i);
    }
    end();
}

static void
small_things_are_one_byte(void)
{
    begin();
    CHECK_EQ(wire_put_int(&out, 100), 0);
    CHECK_EQ(wire_put_container(&out, WIRE_TUPLE, 0), 0);
    CHECK_EQ(wire_put_str(&out, 1, NULL, 0), 0);
    CHECK_EQ(wire_put_bytes(&out, NULL, 0), 0);
    CHECK_EQ(out.size, 4);
    turn();
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(wire_next(&in, &item), WIRE_OK);
    }
    end();
}

static bool
same_bits(double left, double right)
{
    return memcmp(&left, &right, sizeof(left)) == 0;
}

static void
floats(void)
{
    const double values[] = {0.0,          -0.0,     1.5,       -1e300, DBL_MIN,
                             DBL_TRUE_MIN, INFINITY, -INFINITY, NAN};
    begin();
    for (size_t i = 0; i < SIZE(values); i++) {
        CHECK_EQ(wire_put_float(&out, values[i]), 0);
        CHECK_EQ(wire_put_complex(&out, values[i], values[SIZE(values) - 1 - i]), 0);
    }
    turn();
    for (size_t i = 0; i < SIZE(values); i++) {
        next(WIRE_FLOAT);
        CHECK(same_bits(item.real, values[i]));
        next(WIRE_COMPLEX);
        CHECK(same_bits(item.real, values[i]));
        CHECK(same_bits(item.imag, values[SIZE(values) - 1 - i]));
    }
    end();
}

/* Around every change of the form of a size. */
static const size_t SIZES[] = {0, 1, 15, 16, 31, 32, 252, 253, 254, 255, 256, 65535, 65536, 70000};

static unsigned char
pattern_at(size_t place)
{
    return (unsigned char)(place * 7 + place / 251);
}

static void
check_pattern(const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        CHECK_EQ(bytes[i], pattern_at(i));
    }
}

static unsigned char *
make_pattern(size_t size)
{
    unsigned char *bytes = malloc(size + 1);
    CHECK(bytes != NULL);
    for (size_t i = 0; i < size; i++) {
        bytes[i] = pattern_at(i);
    }
    return bytes;
}

static void
bytes_and_pickles(void)
{
    unsigned char *bytes = make_pattern(70000);
    begin();
    for (size_t i = 0; i < SIZE(SIZES); i++) {
        CHECK_EQ(wire_put_bytes(&out, bytes, SIZES[i]), 0);
        CHECK_EQ(wire_put_array(&out, (int)i, bytes, SIZES[i]), 0);
        CHECK_EQ(wire_put_pickle(&out, bytes, SIZES[i], i), 0);
    }
    turn();
    for (size_t i = 0; i < SIZE(SIZES); i++) {
        next(WIRE_BYTES);
        CHECK_EQ(item.size, SIZES[i]);
        check_pattern(item.bytes, item.size);
        next(WIRE_ARRAY);
        CHECK_EQ(item.kind, (int)i);
        CHECK_EQ(item.size, SIZES[i]);
        check_pattern(item.bytes, item.size);
        if (i + 1 == SIZE(SIZES)) { /* no bytes follow that could be its buffers */
            break;
        }
        next(WIRE_PICKLE);
        CHECK_EQ(item.size, SIZES[i]);
        CHECK_EQ(item.count, i);
        check_pattern(item.bytes, item.size);
    }
    CHECK_EQ(wire_next(&in, &item), WIRE_DAMAGED);
    free(copy);
    wire_buffer_free(&out);
    free(bytes);
}

static void
a_pickle_and_its_loans(void)
{
    begin();
    CHECK_EQ(wire_put_pickle(&out, "pickled", 7, 2), 0);
    CHECK_EQ(wire_put_loan(&out, 3), 0);
    CHECK_EQ(wire_put_loan(&out, 300), 0);
    turn();
    next(WIRE_PICKLE);
    CHECK_EQ(item.count, 2);
    CHECK_EQ(item.size, 7);
    CHECK(memcmp(item.bytes, "pickled", 7) == 0);
    next(WIRE_LOAN);
    CHECK_EQ(item.index, 3);
    next(WIRE_LOAN);
    CHECK_EQ(item.index, 300);
    end();
}

struct unit {
    unsigned char bytes[4];
};

static struct unit
unit_at(int kind, size_t place)
{
    struct unit unit = {.bytes = {pattern_at(place)}};
    uint16_t two = (uint16_t)(0xD800 + place); /* surrogates among them */
    uint32_t four = (uint32_t)(0x10FFFF - place);
    if (kind == 2) {
        memcpy(unit.bytes, &two, sizeof(two));
    }
    else if (kind == 4) {
        memcpy(unit.bytes, &four, sizeof(four));
    }
    return unit;
}

static void
put_units(int kind, size_t length)
{
    unsigned char *units = malloc(4 * length + 1);
    CHECK(units != NULL);
    for (size_t i = 0; i < length; i++) {
        struct unit unit = unit_at(kind, i);
        memcpy(units + i * (size_t)kind, unit.bytes, (size_t)kind);
    }
    CHECK_EQ(wire_put_str(&out, kind, units, length), 0);
    free(units);
}

static void
check_units(int kind, size_t length)
{
    next(WIRE_STR);
    CHECK_EQ(item.kind, kind);
    CHECK_EQ(item.count, length);
    CHECK_EQ(item.size, length * (size_t)kind);
    for (size_t i = 0; i < length; i++) {
        struct unit unit = unit_at(kind, i);
        CHECK(memcmp(item.bytes + i * (size_t)kind, unit.bytes, (size_t)kind) == 0);
    }
}

static void
strs(void)
{
    begin();
    for (int kind = 1; kind <= 4; kind *= 2) {
        for (size_t i = 0; i < SIZE(SIZES); i++) {
            put_units(kind, SIZES[i]);
        }
    }
    turn();
    for (int kind = 1; kind <= 4; kind *= 2) {
        for (size_t i = 0; i < SIZE(SIZES); i++) {
            check_units(kind, SIZES[i]);
        }
    }
    end();
}

static void
big_ints(void)
{
    unsigned char *bytes;
    begin();
    for (size_t size = 9; size < 300; size++) {
        CHECK_EQ(wire_put_big_int(&out, size, &bytes), 0);
        for (size_t i = 0; i < size; i++) {
            bytes[i] = pattern_at(i);
        }
    }
    turn();
    for (size_t size = 9; size < 300; size++) {
        next(WIRE_BIG_INT);
        CHECK_EQ(item.size, size);
        check_pattern(item.bytes, size);
    }
    end();
}

static void
one_container(wire_tag tag, size_t count)
{
    size_t members = tag == WIRE_DICT ? 2 * count : count;
    begin();
    CHECK_EQ(wire_put_container(&out, tag, count), 0);
    for (size_t i = 0; i < members; i++) {
        CHECK_EQ(wire_put_int(&out, (int64_t)(i % 100)), 0);
    }
    turn();
    next(tag);
    CHECK_EQ(item.count, count);
    for (size_t i = 0; i < members; i++) {
        next(WIRE_INT);
        CHECK_EQ(item.integer, i % 100);
    }
    end();
}

static void
containers(void)
{
    for (wire_tag tag = WIRE_TUPLE; tag <= WIRE_FROZENSET; tag++) {
        for (size_t i = 0; i < SIZE(SIZES); i++) {
            one_container(tag, SIZES[i]);
        }
    }
}

static void
indexes(void)
{
    const size_t values[] = {0, 1, 252, 253, 65535, 65536, UINT32_MAX, SIZE_MAX};
    begin();
    for (size_t i = 0; i < SIZE(values); i++) {
        CHECK_EQ(wire_put_ref(&out, values[i]), 0);
        CHECK_EQ(wire_put_loan(&out, values[i]), 0);
    }
    turn();
    for (size_t i = 0; i < SIZE(values); i++) {
        next(WIRE_REF);
        CHECK(item.index == values[i]);
        next(WIRE_LOAN);
        CHECK(item.index == values[i]);
    }
    end();
}

/* -- the buffer -- */

static void
a_buffer_stays_in_its_storage(void)
{
    unsigned char storage[8];
    wire_buffer_init(&out, storage, sizeof(storage));
    for (int i = 0; i < 8; i++) {
        CHECK_EQ(wire_put_int(&out, i), 0);
    }
    CHECK(out.data == storage);
    CHECK(!out.on_heap);
    CHECK_EQ(wire_put_int(&out, 8), 0);
    CHECK(out.data != storage);
    CHECK(out.on_heap);
    turn();
    for (int i = 0; i <= 8; i++) {
        next(WIRE_INT);
        CHECK_EQ(item.integer, i);
    }
    end();
}

static void
a_reset_keeps_the_memory(void)
{
    begin();
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(wire_put_none(&out), 0);
    }
    unsigned char *data = out.data;
    wire_buffer_reset(&out);
    CHECK_EQ(out.size, 0);
    CHECK(out.data == data);
    CHECK_EQ(wire_put_none(&out), 0);
    CHECK(out.data == data);
    CHECK_EQ(out.size, 1);
    turn();
    next(WIRE_NONE);
    end();
    wire_buffer_free(&out); /* twice does no harm */
}

static void
check_refused(void)
{
    unsigned char *bytes = NULL;
    CHECK_EQ(wire_put_big_int(&out, SIZE_MAX, &bytes), -1);
    CHECK_EQ(wire_put_big_int(&out, PTRDIFF_MAX, &bytes), -1);
    CHECK_EQ(wire_put_big_int(&out, PTRDIFF_MAX / 2, &bytes), -1);
    CHECK(bytes == NULL);
    CHECK_EQ(wire_put_bytes(&out, NULL, SIZE_MAX - 1), -1);
    CHECK_EQ(wire_put_str(&out, 2, NULL, SIZE_MAX / 2 + 2), -1);
    CHECK_EQ(wire_put_str(&out, 4, NULL, SIZE_MAX / 4 + 2), -1);
    CHECK_EQ(wire_put_pickle(&out, NULL, SIZE_MAX - 8, 0), -1);
}

/* What does not fit leaves the buffer as it was, in storage and on the heap. */
static void
short_memory(void)
{
    unsigned char storage[4];
    wire_buffer_init(&out, storage, sizeof(storage));
    CHECK_EQ(wire_put_int(&out, 42), 0);
    check_refused();
    CHECK(out.data == storage);
    CHECK_EQ(out.size, 1);
    CHECK_EQ(wire_put_float(&out, 1.5), 0);
    check_refused();
    CHECK_EQ(out.size, 10);
    turn();
    next(WIRE_INT);
    CHECK_EQ(item.integer, 42);
    next(WIRE_FLOAT);
    end();
}

/* -- damage -- */

static void
an_empty_message(void)
{
    in = wire_reader_of(NULL, 0);
    CHECK_EQ(wire_next(&in, &item), WIRE_END);
}

static void
put_one_of_each(void)
{
    unsigned char *bytes;
    char text[300] = "text";
    CHECK_EQ(wire_put_int(&out, -100), 0);
    CHECK_EQ(wire_put_int(&out, 1000), 0);
    CHECK_EQ(wire_put_int(&out, 100000), 0);
    CHECK_EQ(wire_put_int(&out, INT64_MIN), 0);
    CHECK_EQ(wire_put_float(&out, 1.5), 0);
    CHECK_EQ(wire_put_complex(&out, 1.5, 2.5), 0);
    CHECK_EQ(wire_put_bytes(&out, "abc", 3), 0);
    CHECK_EQ(wire_put_bytes(&out, text, 300), 0);
    CHECK_EQ(wire_put_str(&out, 1, "abc", 3), 0);
    CHECK_EQ(wire_put_str(&out, 1, text, 40), 0);
    CHECK_EQ(wire_put_str(&out, 2, "\1\2\3\4", 2), 0);
    CHECK_EQ(wire_put_str(&out, 4, "\1\2\0\0", 1), 0);
    CHECK_EQ(wire_put_ref(&out, 70000), 0);
    CHECK_EQ(wire_put_pickle(&out, text, 300, 1), 0);
    CHECK_EQ(wire_put_loan(&out, 700), 0);
    CHECK_EQ(wire_put_big_int(&out, 9, &bytes), 0);
    memset(bytes, 1, 9);
    CHECK_EQ(wire_put_container(&out, WIRE_DICT, 1), 0);
    CHECK_EQ(wire_put_container(&out, WIRE_TUPLE, 1), 0);
    CHECK_EQ(wire_put_none(&out), 0);
    CHECK_EQ(wire_put_none(&out), 0);
}

/* Reads what it can of exactly `size` bytes at their own place on the heap. */
static void
read_all(const unsigned char *message, size_t size)
{
    unsigned char *own = malloc(size == 0 ? 1 : size);
    CHECK(own != NULL);
    memcpy(own, message, size);
    struct wire_reader reader = wire_reader_of(own, size);
    const unsigned char *before = reader.at;
    wire_result result;
    while ((result = wire_next(&reader, &item)) == WIRE_OK) {
        CHECK(reader.at > before);
        before = reader.at;
    }
    CHECK(result == WIRE_END ? reader.at == reader.end : reader.at == before);
    free(own);
}

static void
cut_anywhere(void)
{
    begin();
    put_one_of_each();
    for (size_t size = 0; size <= out.size; size++) {
        read_all(out.data, size);
    }
    wire_buffer_free(&out);
}

static void
any_byte_changed_to_any(void)
{
    begin();
    put_one_of_each();
    for (size_t place = 0; place < out.size; place++) {
        unsigned char old = out.data[place];
        for (unsigned value = 0; value < 256; value += place < 64 ? 1 : 51) {
            out.data[place] = (unsigned char)value;
            read_all(out.data, out.size);
        }
        out.data[place] = old;
    }
    wire_buffer_free(&out);
}

static void
check_damaged(void)
{
    turn();
    const unsigned char *before = in.at;
    CHECK_EQ(wire_next(&in, &item), WIRE_DAMAGED);
    CHECK(in.at == before);
    CHECK_EQ(wire_next(&in, &item), WIRE_DAMAGED);
    free(copy);
    wire_buffer_free(&out);
}

static void
counts_that_cannot_be(void)
{
    const size_t counts[] = {1, 16, 300, 70000, UINT32_MAX, SIZE_MAX / 2 + 1, SIZE_MAX};
    for (wire_tag tag = WIRE_TUPLE; tag <= WIRE_FROZENSET; tag++) {
        for (size_t i = 0; i < SIZE(counts); i++) {
            begin();
            CHECK_EQ(wire_put_container(&out, tag, counts[i]), 0);
            check_damaged();
        }
    }
    begin(); /* a pair is two bytes at least */
    CHECK_EQ(wire_put_container(&out, WIRE_DICT, 2), 0);
    CHECK_EQ(wire_put_int(&out, 1), 0);
    CHECK_EQ(wire_put_int(&out, 1), 0);
    CHECK_EQ(wire_put_int(&out, 1), 0);
    check_damaged();
}

static void
a_big_int_that_is_small(void)
{
    unsigned char *bytes;
    begin();
    CHECK_EQ(wire_put_big_int(&out, 8, &bytes), 0);
    memset(bytes, 0, 8);
    check_damaged();
}

static void
a_code_unit_that_is_no_code_point(void)
{
    const uint32_t units[] = {'a', 0x110000};
    begin();
    CHECK_EQ(wire_put_str(&out, 4, units, 2), 0);
    check_damaged();
}

/* A length whose size in bytes is more than a size_t holds. */
static void
a_length_that_wraps(void)
{
    for (int kind = 2; kind <= 4; kind += 2) {
        size_t length = SIZE_MAX / (size_t)kind + 1;
        unsigned char message[1 + 9] = {0, 255};
        begin();
        CHECK_EQ(wire_put_str(&out, kind, NULL, 0), 0);
        message[0] = out.data[0];
        memcpy(message + 2, &(uint64_t){length}, 8);
        wire_buffer_free(&out);
        in = wire_reader_of(message, sizeof(message));
        CHECK_EQ(wire_next(&in, &item), WIRE_DAMAGED);
    }
}

static void
unknown_heads(void)
{
    for (unsigned head = 24; head < 64; head++) {
        unsigned char message[12] = {(unsigned char)head};
        in = wire_reader_of(message, sizeof(message));
        CHECK_EQ(wire_next(&in, &item), WIRE_DAMAGED);
    }
    in = wire_reader_of("\0\0\0", 3);
    CHECK_EQ(wire_next(&in, &item), WIRE_DAMAGED);
}

int
main(void)
{
    check_limit(60);
    RUN(constants);
    RUN(ints);
    RUN(small_things_are_one_byte);
    RUN(floats);
    RUN(bytes_and_pickles);
    RUN(a_pickle_and_its_loans);
    RUN(strs);
    RUN(big_ints);
    RUN(containers);
    RUN(indexes);
    RUN(a_buffer_stays_in_its_storage);
    RUN(a_reset_keeps_the_memory);
    RUN(short_memory);
    RUN(an_empty_message);
    RUN(cut_anywhere);
    RUN(any_byte_changed_to_any);
    RUN(counts_that_cannot_be);
    RUN(a_big_int_that_is_small);
    RUN(a_code_unit_that_is_no_code_point);
    RUN(a_length_that_wraps);
    RUN(unknown_heads);
    return 0;
}
