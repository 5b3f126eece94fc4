#include "blob.h"

#include <stdlib.h>
#include <string.h>

int
blob_init(struct blob *blob, const void *memory, size_t size)
{
    *blob = (struct blob){.memory = memory, .size = size};
    return os_mutex_init(&blob->lock);
}

bool
blob_read(struct blob *blob, void *to)
{
    os_mutex_lock(&blob->lock);
    bool there = blob->memory != NULL;
    if (there) {
        memcpy(to, blob->memory, blob->size);
    }
    os_mutex_unlock(&blob->lock);
    return there;
}

void
blob_move(struct blob *blob)
{
    void *copy = malloc(blob->size > 0 ? blob->size : 1);
    if (copy != NULL) {
        memcpy(copy, blob->memory, blob->size); /* only the owner, who is here, changes `memory` */
    }
    os_mutex_lock(&blob->lock); /* waits until nobody reads the old memory */
    blob->memory = blob->moved = copy;
    os_mutex_unlock(&blob->lock);
}

void
blob_destroy(struct blob *blob)
{
    free(blob->moved);
    os_mutex_destroy(&blob->lock);
}
