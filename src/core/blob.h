/* blob: a block of memory that others copy out, and that can be moved under them.
 *
 * It begins as memory of an owner who may have to go before the last reader does. The owner then moves
 * it to memory of its own and is free to go. Nobody keeps a pointer into it: reading is copying, under
 * the blob's lock. Whoever embeds a blob counts its holders (core/lend).
 */
#ifndef AIOINTERP_BLOB_H
#define AIOINTERP_BLOB_H

#include "../os/os.h"

#include <stdbool.h>
#include <stddef.h>

struct blob {
    os_mutex lock; /* a leaf; held while the memory is read */
    const void
        *memory; /* changed by the owner alone, under the lock; NULL: nowhere to move it to */
    void *moved; /* the same, once it is the blob's own; the owner's */
    size_t size; /* bytes; constant */
};

/* Returns 0, or an errno value. The memory stays the caller's. */
int blob_init(struct blob *blob, const void *memory, size_t size);
/* Copies all of it, `size` bytes, on any thread. False: the bytes are lost, for want of memory. */
bool blob_read(struct blob *blob, void *to);
/* From now on the caller's memory is not used any more. Once, by the owner. */
void blob_move(struct blob *blob);
/* When nobody holds it any more. */
void blob_destroy(struct blob *blob);

#endif
