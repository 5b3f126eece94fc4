/* slots: giving and taking the slots of a pool. Everything with the pool's lock held. */
#ifndef AIOINTERP_SLOTS_H
#define AIOINTERP_SLOTS_H

#include "pool.h"

/* Gives a slot back: to the oldest lease, if it is that one's turn. */
void slots_put_locked(struct pool *pool, struct slot *slot);
/* Takes the free slot of `node`. */
struct slot *slots_take_locked(struct pool *pool, struct list *node);

/* Gives worker->slot back, if there is one. */
void slots_release_locked(struct pool *pool, struct worker *worker);
/* Takes the free slot of `node`. */
void slots_hold_locked(struct pool *pool, struct worker *worker, struct list *node);
/* A free slot that this worker is home to, or NULL. */
struct list *slots_find_home_locked(struct pool *pool, struct worker *worker);
/* A slot at home with this worker, else any that has its resource made, else an empty one. False: no slot
 * is free. */
bool slots_acquire_locked(struct pool *pool, struct worker *worker);
/* For a worker that holds none: takes a free slot with a visit due; its own, if possible. False: none is. */
bool slots_hold_due_locked(struct pool *pool, struct worker *worker);
/* For a worker that holds none and finds no job: takes a free slot that it is home to and that has been idle for too
 * long. False: none is. */
bool slots_hold_idle_locked(struct pool *pool, struct worker *worker);
/* When slots_hold_idle_locked() may find something for this worker, if nothing happens until then; OS_FOREVER. */
int64_t slots_idle_deadline_locked(struct pool *pool, struct worker *worker);
/* The resource is gone from a slot, which somebody holds. */
void slots_empty_locked(struct pool *pool, struct slot *slot);
/* Somebody may wait for what was given back, to end it. */
void slots_note_return(struct pool *pool);

#endif
