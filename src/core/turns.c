#include "turns.h"

#include "pool.h"
#include "pool_check.h"

void
turns_init(struct turns *turns, size_t most)
{
    turns->most = most;
    turns->granted = 0;
    list_init(&turns->waiting);
}

void
pool_bound(struct pool *pool, size_t most)
{
    os_mutex_lock(&pool->lock);
    pool->turns.most = most;
    os_mutex_unlock(&pool->lock);
}

/* -- under the lock -- */

static size_t
free_room_locked(const struct pool *pool)
{
    size_t taken = pool->plain_count + pool->slotted_count + pool->turns.granted;
    return taken < pool->turns.most ? pool->turns.most - taken : 0;
}

size_t
turns_room_locked(const struct pool *pool, size_t count)
{
    if (pool->turns.most == 0) {
        return count;
    }
    size_t room = list_is_empty(&pool->turns.waiting) ? free_room_locked(pool) : 0;
    return count < room ? count : room;
}

static void
set_locked(struct turn *turn, turn_progress progress)
{
    /* Pairs with the acquire in turn_state(). */
    atomic_store_explicit(&turn->progress, progress, memory_order_release);
}

bool
turns_admit_locked(struct pool *pool, struct turn *turn)
{
    if (turn == NULL) {
        return turns_room_locked(pool, 1) == 1;
    }
    if (turn_state(turn) != TURN_GRANTED) {
        return false;
    }
    pool->turns.granted--;
    set_locked(turn, TURN_OVER);
    return true;
}

static void
tell_locked(struct list *node, turn_progress progress)
{
    struct turn *turn = LIST_ENTRY(node, struct turn, node);
    int bell = turn->bell;
    set_locked(turn, progress);
    os_word_wake_all(&turn->progress);
    if (bell != TURN_NO_BELL) {
        os_bell_ring(bell); /* under the lock: turn_end() has to come before it is closed */
    }
}

void
turns_grant_locked(struct pool *pool)
{
    struct turns *turns = &pool->turns;
    while (!list_is_empty(&turns->waiting) && (pool->closed || free_room_locked(pool) > 0)) {
        struct list *node = list_pop_front(&turns->waiting);
        turns->granted += !pool->closed;
        tell_locked(node, pool->closed ? TURN_REFUSED : TURN_GRANTED);
    }
}

/* -- for who waits -- */

void
turn_begin(struct pool *pool, struct turn *turn, int bell)
{
    list_init(&turn->node);
    turn->bell = bell;
    atomic_init(&turn->progress, TURN_WAITING);
    os_mutex_lock(&pool->lock);
    if (pool->closed) {
        set_locked(turn, TURN_REFUSED);
    }
    else if (turns_room_locked(pool, 1) == 1) {
        pool->turns.granted++;
        set_locked(turn, TURN_GRANTED);
    }
    else {
        list_push_back(&pool->turns.waiting, &turn->node);
    }
    POOL_CHECK(pool);
    os_mutex_unlock(&pool->lock);
}

turn_progress
turn_state(const struct turn *turn)
{
    return (turn_progress)atomic_load_explicit(&turn->progress, memory_order_acquire);
}

os_wait_result
turn_await(struct turn *turn, int64_t deadline_ns)
{
    while (turn_state(turn) == TURN_WAITING) {
        os_wait_result result = os_word_wait(&turn->progress, TURN_WAITING, deadline_ns);
        if (result != OS_WOKEN && turn_state(turn) == TURN_WAITING) {
            return result;
        }
    }
    return OS_WOKEN;
}

void
turn_end(struct pool *pool, struct turn *turn)
{
    os_mutex_lock(&pool->lock);
    list_remove(&turn->node);
    if (turn_state(turn) == TURN_GRANTED) {
        pool->turns.granted--;
        turns_grant_locked(pool);
    }
    set_locked(turn, TURN_OVER);
    POOL_CHECK(pool);
    os_mutex_unlock(&pool->lock);
}

size_t
turns_waiting(struct pool *pool)
{
    size_t count = 0;
    os_mutex_lock(&pool->lock);
    for (struct list *node = pool->turns.waiting.next; node != &pool->turns.waiting;
         node = node->next) {
        count++;
    }
    os_mutex_unlock(&pool->lock);
    return count;
}
