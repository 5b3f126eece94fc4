#include "repeats.h"

#include "../core/list.h"
#include "transport.h"

#include <stdint.h>
#include <string.h>

enum {
    LEAST_WEIGHT = 1024,  /* bytes; what weighs less is as cheap to send as to look up */
    LEAST_LENGTH = 16384, /* bytes of a str or bytes, which take no more than copying */
    MOST_CANDIDATES = 64, /* values */
    MOST_CACHED = 1024,   /* values */
    PLACES = 4096,        /* of the table: a power of two, never more than a third full */
    LARGEST_SHARE = 4,    /* no value weighs more than limit / this */
};

struct repeat {
    PyObject *value;       /* cached: held; a candidate: only where it was, and never looked into */
    struct parcel *parcel; /* owned; NULL: a candidate */
    size_t weight;
    size_t sample;    /* of a candidate: sample_of() */
    struct list node; /* in `cached` or `candidates` */
};

struct repeats {
    size_t limit;
    size_t cached_weight;
    size_t cached_count;
    size_t candidate_count;
    struct list cached;     /* the last used first */
    struct list candidates; /* the last met first */
    struct repeat **places; /* open addressing by the value's address; NULL until used */
};

struct repeats *
repeats_new(size_t limit)
{
    struct repeats *repeats = PyMem_RawCalloc(1, sizeof(*repeats));
    if (repeats != NULL) {
        repeats->limit = limit;
        list_init(&repeats->cached);
        list_init(&repeats->candidates);
    }
    return repeats;
}

/* -- the table -- */

static size_t
first_place(PyObject *value)
{
    return (((uintptr_t)value >> 4) * 0x9E3779B97F4A7C15u >> 32) & (PLACES - 1);
}

/* Where it is, or would be. */
static size_t
place_of(const struct repeats *repeats, PyObject *value)
{
    size_t place = first_place(value);
    while (repeats->places[place] != NULL && repeats->places[place]->value != value) {
        place = (place + 1) & (PLACES - 1);
    }
    return place;
}

/* Closes the gap: what was pushed past it moves up. */
static void
empty_place(struct repeats *repeats, size_t gap)
{
    struct repeat **places = repeats->places;
    for (size_t next = (gap + 1) & (PLACES - 1); places[next] != NULL;
         next = (next + 1) & (PLACES - 1)) {
        size_t pushed = (next - first_place(places[next]->value)) & (PLACES - 1);
        if (pushed >= ((next - gap) & (PLACES - 1))) {
            places[gap] = places[next];
            gap = next;
        }
    }
    places[gap] = NULL;
}

static struct repeat *
look_up(const struct repeats *repeats, PyObject *value)
{
    return repeats->cached_count + repeats->candidate_count == 0
               ? NULL
               : repeats->places[place_of(repeats, value)];
}

/* -- in and out -- */

static void
count_in(struct repeats *repeats, struct repeat *repeat)
{
    if (repeat->parcel != NULL) {
        list_push_front(&repeats->cached, &repeat->node);
        repeats->cached_weight += repeat->weight;
        repeats->cached_count++;
    }
    else {
        list_push_front(&repeats->candidates, &repeat->node);
        repeats->candidate_count++;
    }
}

static void
count_out(struct repeats *repeats, struct repeat *repeat)
{
    list_remove(&repeat->node);
    if (repeat->parcel != NULL) {
        repeats->cached_weight -= repeat->weight;
        repeats->cached_count--;
    }
    else {
        repeats->candidate_count--;
    }
}

static void
forget(struct repeats *repeats, struct repeat *repeat)
{
    empty_place(repeats, place_of(repeats, repeat->value));
    count_out(repeats, repeat);
    if (repeat->parcel != NULL) {
        parcel_disown(repeat->parcel);
        Py_DECREF(repeat->value);
    }
    PyMem_RawFree(repeat);
}

/* The one that was used, or met, the longest ago. */
static struct repeat *
last_of(const struct list *repeats)
{
    return LIST_ENTRY(repeats->prev, struct repeat, node);
}

void
repeats_clear(struct repeats *repeats)
{
    while (!list_is_empty(&repeats->cached)) {
        forget(repeats, last_of(&repeats->cached));
    }
    while (!list_is_empty(&repeats->candidates)) {
        forget(repeats, last_of(&repeats->candidates));
    }
}

void
repeats_free(struct repeats *repeats)
{
    if (repeats != NULL) {
        repeats_clear(repeats);
        PyMem_RawFree(repeats->places);
        PyMem_RawFree(repeats);
    }
}

/* -- looking up -- */

/* A few of the bytes, so that another value where a candidate was is likely to be told from it. */
static size_t
sample_of(PyObject *value)
{
    enum { STEPS = 16 };
    const unsigned char *bytes = NULL;
    size_t size = 0;
    if (PyBytes_CheckExact(value)) {
        bytes = (const unsigned char *)PyBytes_AS_STRING(value);
        size = (size_t)PyBytes_GET_SIZE(value);
    }
    else if (PyUnicode_CheckExact(value)) {
        bytes = PyUnicode_DATA(value);
        size = (size_t)(PyUnicode_GET_LENGTH(value) * PyUnicode_KIND(value));
    }
    else if (PyTuple_CheckExact(value)) { /* the addresses of its members */
        bytes = (const unsigned char *)&PyTuple_GET_ITEM(value, 0);
        size = (size_t)PyTuple_GET_SIZE(value) * sizeof(PyObject *);
    }
    else {
        size = (size_t)PySet_GET_SIZE(value);
    }
    size_t sample = (size_t)(uintptr_t)Py_TYPE(value) ^ size;
    for (size_t i = 0; bytes != NULL && i < STEPS && size >= sizeof(size_t); i++) {
        size_t part;
        size_t place = (size - sizeof(part)) / (STEPS - 1) * i;
        memcpy(&part, bytes + place, sizeof(part));
        sample = (sample ^ part) * 0x9E3779B97F4A7C15u;
    }
    return sample;
}

bool
repeats_is_kind(const struct repeats *repeats, PyObject *value)
{
    if (repeats == NULL) {
        return false;
    }
    if (PyTuple_CheckExact(value)) {
        return PyTuple_GET_SIZE(value) > 0;
    }
    if (PyUnicode_CheckExact(value)) {
        return PyUnicode_GET_LENGTH(value) * PyUnicode_KIND(value) >= LEAST_LENGTH;
    }
    if (PyBytes_CheckExact(value)) {
        return PyBytes_GET_SIZE(value) >= LEAST_LENGTH;
    }
    return PyFrozenSet_CheckExact(value);
}

static struct parcel *
parcel_with(struct state *state, PyObject *value)
{
    struct parcel *parcel = parcel_new();
    if (parcel != NULL && transport_encode_value(state, &parcel->message, value) < 0) {
        PyErr_Clear(); /* for want of memory: it was encoded before */
        parcel_disown(parcel);
        return NULL;
    }
    return parcel;
}

/* Makes a cached one of a candidate. False: it could not, and there is none any more. */
static bool
promote(struct repeats *repeats, struct state *state, struct repeat *repeat)
{
    struct parcel *parcel = parcel_with(state, repeat->value);
    if (parcel == NULL) {
        forget(repeats, repeat);
        return false;
    }
    count_out(repeats, repeat);
    while (
        repeats->cached_count == MOST_CACHED ||
        (repeats->cached_count > 0 && repeat->weight > repeats->limit - repeats->cached_weight)) {
        forget(repeats, last_of(&repeats->cached));
    }
    repeat->parcel = parcel;
    Py_INCREF(repeat->value);
    count_in(repeats, repeat);
    return true;
}

struct parcel *
repeats_find(struct repeats *repeats, struct state *state, PyObject *value)
{
    struct repeat *repeat = look_up(repeats, value);
    if (repeat == NULL) {
        return NULL;
    }
    if (repeat->parcel == NULL) {
        if (repeat->sample != sample_of(value)) {
            forget(repeats, repeat); /* another one, at the same place */
            return NULL;
        }
        if (!promote(repeats, state, repeat)) {
            return NULL;
        }
    }
    if (repeats->cached.next != &repeat->node) {
        list_remove(&repeat->node);
        list_push_front(&repeats->cached, &repeat->node);
    }
    return repeat->parcel;
}

struct parcel *
repeats_recall(struct repeats *repeats, PyObject *value)
{
    struct repeat *repeat = look_up(repeats, value);
    return repeat == NULL ? NULL : repeat->parcel;
}

void
repeats_note(struct repeats *repeats, PyObject *value, size_t weight)
{
    size_t most = repeats->limit / LARGEST_SHARE;
    if (weight < LEAST_WEIGHT || weight > most || look_up(repeats, value) != NULL) {
        return;
    }
    if (repeats->places == NULL) {
        repeats->places = PyMem_RawCalloc(PLACES, sizeof(*repeats->places));
    }
    struct repeat *repeat = PyMem_RawMalloc(sizeof(*repeat));
    if (repeats->places == NULL || repeat == NULL) {
        PyMem_RawFree(repeat);
        return; /* it is sent as if for the first time, always */
    }
    while (repeats->candidate_count >= MOST_CANDIDATES) {
        forget(repeats, last_of(&repeats->candidates));
    }
    *repeat = (struct repeat){.value = value, .weight = weight, .sample = sample_of(value)};
    repeats->places[place_of(repeats, value)] = repeat;
    count_in(repeats, repeat);
}
