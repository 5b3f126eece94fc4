/* func: how the function of a task is named or carried to an interpreter. Plain memory, no Python.
 *
 * Made in the interpreter that submits and never changed. Counted twice over: `refs` by everybody,
 * `owners` by those through whom a further task can still come (definitions, pending tasks). A
 * worker's cache holds a reference without owning; once no owner is left, none can come back, and
 * the cache may forget it. So an address never stands for two functions while a cache knows it.
 *
 * Memory that nobody refers to any more is freed by func_collect(), under the GIL of the interpreter that
 * submits: so who holds that GIL may read a func whose address he finds where its task keeps it, while
 * the task goes on in another thread.
 */
#ifndef AIOINTERP_FUNC_H
#define AIOINTERP_FUNC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct parcel;

struct func {
    atomic_size_t refs;
    atomic_size_t owners;
    bool by_value;      /* constant, as all below */
    const char *name;   /* "module.qualname", UTF-8, for people */
    const char *module; /* by name: UTF-8 */
    const char *qualname;
    const void *payload; /* by value: what aiointerpreters._rebuild.load takes */
    size_t payload_size;
    struct parcel *
        *parcels; /* by value: what the payload finds beside it; owned while it has owners */
    size_t parcel_count;
    struct func *next_dead; /* guarded by the list of the dead */
};

/* Copies what it is given. One owner, the caller. NULL: out of memory. */
struct func *func_by_name(const char *module, const char *qualname);
struct func *func_by_value(const char *name, const void *payload, size_t size);

/* Before it is shared: has it own so many parcels. False: out of memory, and it owns none. */
bool func_take_parcels(struct func *func, struct parcel *const *parcels, size_t count);

void func_own(struct func *func);
void func_disown(struct func *func);
/* For caches. */
void func_hold(struct func *func);
void func_drop(struct func *func);
/* Frees those that nobody refers to. Attached to the interpreter that submits. */
void func_collect(void);
bool func_has_owners(const struct func *func);

#endif
