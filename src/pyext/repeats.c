#include "repeats.h"

enum {
    LEAST_WEIGHT = 1024, /* bytes; sending less is as cheap as looking it up */
    MOST_ENTRIES = 16,
    MOST_TIDY = 12, /* entries that repeats_tidy() leaves, so that the call can add others */
};

struct repeats {
    size_t limit; /* 0 once it was cleared */
    uint64_t clock;
    size_t count;
    struct repeat entries[MOST_ENTRIES]; /* the first `count`, in no order */
};

struct repeats *
repeats_new(size_t limit)
{
    struct repeats *repeats = PyMem_RawCalloc(1, sizeof(*repeats));
    if (repeats != NULL) {
        repeats->limit = limit;
    }
    return repeats;
}

/* May run Python, for which everything is in order again: the entry is out of the table before. */
static void
release(struct repeats *repeats, size_t index)
{
    struct repeat old = repeats->entries[index];
    repeats->entries[index] = repeats->entries[--repeats->count];
    if (old.parcel != NULL) {
        parcel_disown(old.parcel);
    }
    Py_DECREF(old.value);
}

void
repeats_clear(struct repeats *repeats)
{
    repeats->limit = 0;
    while (repeats->count > 0) {
        release(repeats, repeats->count - 1);
    }
}

void
repeats_free(struct repeats *repeats)
{
    if (repeats != NULL) {
        repeats_clear(repeats);
        PyMem_RawFree(repeats);
    }
}

/* There is one. */
static size_t
least_recently_used(const struct repeats *repeats)
{
    size_t oldest = 0;
    for (size_t i = 1; i < repeats->count; i++) {
        if (repeats->entries[i].used < repeats->entries[oldest].used) {
            oldest = i;
        }
    }
    return oldest;
}

void
repeats_tidy(struct repeats *repeats)
{
    if (repeats == NULL || repeats->count == 0) {
        return;
    }
    /* From the last down: a release moves one into the gap that has been looked at. What a release runs
     * may change the table, but leaves each index below `count` an entry. */
    for (size_t i = repeats->count; i-- > 0;) {
        if (i < repeats->count && Py_REFCNT(repeats->entries[i].value) == 1) {
            release(repeats, i);
        }
    }
    while (repeats->count > MOST_TIDY) {
        release(repeats, least_recently_used(repeats));
    }
}

bool
repeats_is_kind(const struct repeats *repeats, PyObject *value)
{
    return repeats != NULL && (PyTuple_CheckExact(value) || PyFrozenSet_CheckExact(value));
}

struct repeat *
repeats_find(struct repeats *repeats, PyObject *value)
{
    for (size_t i = 0; i < repeats->count; i++) {
        struct repeat *repeat = &repeats->entries[i];
        if (repeat->value == value) {
            repeat->used = ++repeats->clock;
            return repeat;
        }
    }
    return NULL;
}

void
repeats_note(struct repeats *repeats, PyObject *value, size_t weight)
{
    if (weight < LEAST_WEIGHT || weight > repeats->limit / MOST_ENTRIES ||
        repeats->count == MOST_ENTRIES) {
        return;
    }
    repeats->entries[repeats->count++] =
        (struct repeat){.value = Py_NewRef(value), .used = ++repeats->clock};
}
