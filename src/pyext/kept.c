#include "kept.h"

#include "callables.h"
#include "transport.h"

#include <stdint.h>

struct entry {
    struct parcel *parcel; /* held; NULL: a free place */
    PyObject *value;       /* held */
};

/* Open addressing; never more than half full. */
struct kept {
    struct entry *entries;
    size_t size; /* a power of two, or 0 */
    size_t count;
    unsigned epoch; /* parcel_epoch() when the table was last swept */
};

enum { FIRST_SIZE = 16 };

static struct entry *
place_of(struct entry *entries, size_t size, const struct parcel *parcel)
{
    size_t place = ((uintptr_t)parcel >> 4) * 0x9E3779B97F4A7C15u >> 32;
    for (;; place++) {
        struct entry *entry = &entries[place & (size - 1)];
        if (entry->parcel == NULL || entry->parcel == parcel) {
            return entry;
        }
    }
}

static PyObject *
find(const struct kept *kept, const struct parcel *parcel)
{
    if (kept->size == 0) {
        return NULL;
    }
    struct entry *entry = place_of(kept->entries, kept->size, parcel);
    return entry->parcel == NULL ? NULL : Py_NewRef(entry->value);
}

static void
entry_free(struct entry *entry)
{
    if (entry->parcel != NULL) {
        parcel_drop(entry->parcel);
        Py_DECREF(entry->value);
    }
}

static size_t
count_owned(const struct kept *kept)
{
    size_t count = 0;
    for (size_t i = 0; i < kept->size; i++) {
        const struct parcel *parcel = kept->entries[i].parcel;
        count += parcel != NULL && parcel_has_owners(parcel);
    }
    return count;
}

/* Moves what is still owned to a table with room for `more`, and lets go of the rest. */
static int
rebuild(struct kept *kept, size_t more)
{
    size_t size = FIRST_SIZE;
    while (size < 2 * (count_owned(kept) + more)) {
        size *= 2;
    }
    struct entry *entries = PyMem_Calloc(size, sizeof(*entries));
    if (entries == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    struct kept old = *kept;
    *kept = (struct kept){.entries = entries, .size = size, .epoch = old.epoch};
    for (size_t i = 0; i < old.size; i++) {
        struct entry *entry = &old.entries[i];
        /* An owner may go at any moment but none can come, so there is room. */
        if (entry->parcel != NULL && parcel_has_owners(entry->parcel)) {
            *place_of(entries, size, entry->parcel) = *entry;
            kept->count++;
            entry->parcel = NULL;
        }
    }
    for (size_t i = 0; i < old.size; i++) {
        entry_free(&old.entries[i]); /* may run Python code: the new table is in place */
    }
    PyMem_Free(old.entries);
    return 0;
}

static struct kept *
table_of(struct state *state)
{
    if (state->kept == NULL) {
        state->kept = PyMem_Calloc(1, sizeof(*state->kept));
        if (state->kept == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        state->kept->epoch = parcel_epoch();
    }
    return state->kept;
}

static int
keep(struct kept *kept, struct parcel *parcel, PyObject *value)
{
    while (2 * (kept->count + 1) > kept->size) { /* again, if destructors have filled it */
        if (rebuild(kept, kept->count + 1) < 0) {
            return -1;
        }
    }
    struct entry *entry = place_of(kept->entries, kept->size, parcel);
    if (entry->parcel == NULL) {
        parcel_hold(parcel);
        *entry = (struct entry){parcel, Py_NewRef(value)};
        kept->count++;
    }
    return 0;
}

PyObject *
kept_get(struct state *state, struct parcel *parcel)
{
    struct kept *kept = table_of(state);
    if (kept == NULL) {
        return NULL;
    }
    PyObject *value = find(kept, parcel);
    if (value != NULL) {
        return value;
    }
    value = transport_decode_value(state, &parcel->message);
    if (value == NULL) {
        return NULL;
    }
    /* Decoding may run Python, and what that starts may have decoded the same. */
    PyObject *known = find(kept, parcel);
    if (known != NULL) {
        Py_DECREF(value);
        return known;
    }
    if (keep(kept, parcel, value) < 0) {
        Py_CLEAR(value);
    }
    return value;
}

void
kept_sweep(struct state *state)
{
    struct kept *kept = state->kept;
    unsigned epoch = parcel_epoch();
    if (kept == NULL || kept->epoch == epoch) {
        return;
    }
    PyObject *error = PyErr_GetRaisedException();
    kept->epoch = epoch;
    if (count_owned(kept) < kept->count && rebuild(kept, 0) < 0) {
        kept->epoch = epoch - 1; /* the next time */
    }
    callables_sweep(state);
    PyErr_SetRaisedException(error);
}

void
kept_free(struct state *state)
{
    struct kept *kept = state->kept;
    state->kept = NULL;
    if (kept == NULL) {
        return;
    }
    for (size_t i = 0; i < kept->size; i++) {
        entry_free(&kept->entries[i]);
    }
    PyMem_Free(kept->entries);
    PyMem_Free(kept);
}
