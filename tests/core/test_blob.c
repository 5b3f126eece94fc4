#include "check.h"

#include <string.h>

#include "core/blob.h"

enum { SIZE = 100000, READERS = 3, READS = 200, ROUNDS = 20 };

/* What readers and the owner share. */
static struct blob blob;
static atomic_uint under_way; /* readers that have read once */

static void
fill(unsigned char *memory, unsigned char with)
{
    memset(memory, with, SIZE);
}

static void
read_on(void *argument)
{
    unsigned char expected = *(unsigned char *)argument;
    unsigned char *copy = malloc(SIZE);
    CHECK(copy != NULL);
    for (unsigned i = 0; i < READS; i++) {
        fill(copy, 0);
        CHECK(blob_read(&blob, copy));
        CHECK(copy[0] == expected && memcmp(copy, copy + 1, SIZE - 1) == 0);
        if (i == 0) {
            atomic_fetch_add(&under_way, 1);
        }
    }
    free(copy);
}

/* Readers go on while the owner moves the bytes and overwrites, then frees, what they lay in. */
static void
moved_under_its_readers(void)
{
    for (unsigned char round = 1; round <= ROUNDS; round++) {
        os_thread readers[READERS];
        unsigned char *memory = malloc(SIZE);
        CHECK(memory != NULL);
        fill(memory, round);
        blob_init(&blob, memory, SIZE);
        atomic_store(&under_way, 0);
        for (unsigned i = 0; i < READERS; i++) {
            CHECK(os_thread_start(&readers[i], read_on, &round) == 0);
        }
        while (atomic_load(&under_way) == 0) {
            sched_yield();
        }
        blob_move(&blob);
        fill(memory, 0xFF);
        free(memory);
        for (unsigned i = 0; i < READERS; i++) {
            os_thread_join(&readers[i]);
        }
        blob_destroy(&blob);
    }
}

static void
never_moved(void)
{
    char copy[4] = {0};
    blob_init(&blob, "abc", 4);
    CHECK(blob_read(&blob, copy));
    CHECK(strcmp(copy, "abc") == 0);
    blob_destroy(&blob);
}

static void
an_empty_one(void)
{
    char copy = 'x';
    blob_init(&blob, "", 0);
    blob_move(&blob);
    CHECK(blob_read(&blob, &copy));
    CHECK(copy == 'x');
    blob_destroy(&blob);
}

int
main(void)
{
    check_limit(120);
    RUN(never_moved);
    RUN(an_empty_one);
    RUN(moved_under_its_readers);
    return 0;
}
