#include "blob.h"

#include "../os/os.h"

#include <stdlib.h>
#include <string.h>

/* Nanoseconds between two looks at whether the readers are gone. */
enum { LOOK_AGAIN = 100000 };

void
blob_init(struct blob *blob, const void *memory, size_t size)
{
    atomic_init(&blob->memory, memory);
    atomic_init(&blob->readers, 0);
    blob->moved = NULL;
    blob->size = size;
}

bool
blob_read(struct blob *blob, void *to)
{
    atomic_fetch_add_explicit(&blob->readers, 1, memory_order_seq_cst);
    const void *memory = atomic_load_explicit(&blob->memory, memory_order_seq_cst);
    if (memory != NULL) {
        memcpy(to, memory, blob->size);
    }
    /* Release: the copy is over before the owner sees it counted out. */
    atomic_fetch_sub_explicit(&blob->readers, 1, memory_order_release);
    return memory != NULL;
}

void
blob_move(struct blob *blob)
{
    const void *old = atomic_load_explicit(&blob->memory, memory_order_relaxed);
    blob->moved = malloc(blob->size > 0 ? blob->size : 1);
    if (blob->moved != NULL) {
        memcpy(blob->moved, old, blob->size);
    }
    atomic_store_explicit(&blob->memory, blob->moved, memory_order_seq_cst);
    unsigned readers;
    while ((readers = atomic_load_explicit(&blob->readers, memory_order_seq_cst)) != 0) {
        os_word_wait(&blob->readers, readers, os_now_ns() + LOOK_AGAIN);
    }
}

void
blob_destroy(struct blob *blob)
{
    free(blob->moved);
}
