#include "awake.h"

#include "../os/os.h"

#include <stdatomic.h>

static atomic_uint awake;
static atomic_uint cpus; /* os_cpu_count(), 0 until somebody has asked */

void
awake_note(bool is_awake)
{
    if (is_awake) {
        atomic_fetch_add_explicit(&awake, 1, memory_order_relaxed);
    }
    else {
        atomic_fetch_sub_explicit(&awake, 1, memory_order_relaxed);
    }
}

void
awake_forget(void)
{
    atomic_store_explicit(&awake, 0, memory_order_relaxed);
}

bool
awake_on_every_cpu(void)
{
    unsigned count = atomic_load_explicit(&cpus, memory_order_relaxed);
    if (count == 0) {
        count = os_cpu_count();
        atomic_store_explicit(&cpus, count, memory_order_relaxed);
    }
    return atomic_load_explicit(&awake, memory_order_relaxed) >= count;
}
