#include "func.h"

#include "parcel.h"

#include <stdlib.h>
#include <string.h>

/* Those that nobody refers to: pushed by anybody, all taken at once by func_collect(). */
static _Atomic(struct func *) dead;

/* One block holds the struct and the bytes that it points to. */
static struct func *
allocate(size_t extra, char **room)
{
    struct func *func = calloc(1, sizeof(*func) + extra);
    if (func == NULL) {
        return NULL;
    }
    atomic_init(&func->refs, 1);
    atomic_init(&func->owners, 1);
    *room = (char *)(func + 1);
    return func;
}

struct func *
func_by_name(const char *module, const char *qualname)
{
    size_t module_size = strlen(module) + 1;
    size_t qualname_size = strlen(qualname) + 1;
    char *room;
    struct func *func = allocate(2 * (module_size + qualname_size), &room);
    if (func == NULL) {
        return NULL;
    }
    func->module = memcpy(room, module, module_size);
    func->qualname = memcpy(room + module_size, qualname, qualname_size);
    char *name = room + module_size + qualname_size;
    memcpy(name, module, module_size);
    name[module_size - 1] = '.';
    memcpy(name + module_size, qualname, qualname_size);
    func->name = name;
    return func;
}

struct func *
func_by_value(const char *name, const void *payload, size_t size)
{
    size_t name_size = strlen(name) + 1;
    char *room;
    struct func *func = allocate(name_size + size, &room);
    if (func == NULL) {
        return NULL;
    }
    func->by_value = true;
    func->name = memcpy(room, name, name_size);
    func->payload = memcpy(room + name_size, payload, size);
    func->payload_size = size;
    return func;
}

bool
func_take_parcels(struct func *func, struct parcel *const *parcels, size_t count)
{
    func->parcels = calloc(count, sizeof(*func->parcels));
    if (func->parcels == NULL) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        parcel_own(parcels[i]);
        func->parcels[i] = parcels[i];
    }
    func->parcel_count = count;
    return true;
}

void
func_hold(struct func *func)
{
    atomic_fetch_add_explicit(&func->refs, 1, memory_order_relaxed);
}

void
func_drop(struct func *func)
{
    if (atomic_fetch_sub_explicit(&func->refs, 1, memory_order_acq_rel) == 1) {
        func->next_dead = atomic_load_explicit(&dead, memory_order_relaxed);
        /* Pairs with the acquire in func_collect(). */
        while (!atomic_compare_exchange_weak_explicit(&dead, &func->next_dead, func,
                                                      memory_order_release, memory_order_relaxed)) {
        }
    }
}

void
func_collect(void)
{
    if (atomic_load_explicit(&dead, memory_order_relaxed) == NULL) {
        return;
    }
    struct func *func = atomic_exchange_explicit(&dead, NULL, memory_order_acquire);
    while (func != NULL) {
        struct func *next = func->next_dead;
        free(func->parcels);
        free(func);
        func = next;
    }
}

void
func_own(struct func *func)
{
    atomic_fetch_add_explicit(&func->owners, 1, memory_order_relaxed);
    func_hold(func);
}

void
func_disown(struct func *func)
{
    /* acq_rel: whoever gives up the parcels does so after all others have used them. */
    if (atomic_fetch_sub_explicit(&func->owners, 1, memory_order_acq_rel) == 1) {
        for (size_t i = 0; i < func->parcel_count; i++) {
            parcel_disown(func->parcels[i]);
        }
    }
    func_drop(func);
}

bool
func_has_owners(const struct func *func)
{
    /* Zero is final: an owner comes from an owner. */
    return atomic_load_explicit(&func->owners, memory_order_acquire) > 0;
}
