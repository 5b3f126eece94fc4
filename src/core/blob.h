/* blob: a block of memory that others copy out, and that can be moved under them.
 *
 * It begins as memory of an owner who may have to go before the last reader does. The owner then moves
 * it to memory of its own and is free to go. Nobody keeps a pointer into it: reading is copying. Whoever
 * embeds a blob counts its holders (core/lend).
 *
 * No locks, which a fork could leave held. A reader counts itself in, then loads the pointer; the owner
 * stores the new pointer, then waits until nobody is counted in. Both in one total order (seq_cst), so
 * either the reader sees the new pointer or the owner sees the reader.
 */
#ifndef AIOINTERP_BLOB_H
#define AIOINTERP_BLOB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct blob {
    _Atomic(const void *) memory; /* written by the owner; NULL: there was none to move it to */
    atomic_uint readers;          /* that are copying */
    void *moved;                  /* `memory`, once it is the blob's own; the owner's */
    size_t size;                  /* bytes; constant */
};

/* The memory stays the caller's. */
void blob_init(struct blob *blob, const void *memory, size_t size);
/* Copies all of it, `size` bytes, on any thread. False: the bytes are lost, for want of memory. */
bool blob_read(struct blob *blob, void *to);
/* From now on the caller's memory is not used any more. Once, by the owner. Blocks for as long as
 * somebody copies. */
void blob_move(struct blob *blob);
/* When nobody holds it any more. */
void blob_destroy(struct blob *blob);

#endif
