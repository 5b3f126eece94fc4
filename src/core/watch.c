#include "watch.h"

#include <errno.h>

/* Nanoseconds between knocks: a job may be in code that does not hear them, or may not be there yet. */
enum { FIRST_PAUSE = 1000000, LONGEST_PAUSE = 64000000 };

static void
init_lists(struct watch *watch)
{
    list_init(&watch->places);
    list_init(&watch->active);
    watch->next_look = OS_FOREVER;
    watch->started = watch->stopping = false;
}

int
watch_init(struct watch *watch, const struct watch_actions *actions)
{
    init_lists(watch);
    watch->actions = actions;
    atomic_init(&watch->bell, 0);
    return os_mutex_init(&watch->lock);
}

static void
clear_locked(struct watched *watched)
{
    list_remove(&watched->node);
    watched->job = NULL;
    watched->number = 0;
    watched->limit_at = watched->knock_at = watched->aside_at = OS_FOREVER;
    watched->expired = false;
}

void
watch_add(struct watch *watch, struct watched *watched, int64_t grace)
{
    list_init(&watched->all);
    list_init(&watched->node);
    watched->grace = grace;
    clear_locked(watched);
    os_mutex_lock(&watch->lock);
    list_push_back(&watch->places, &watched->all);
    os_mutex_unlock(&watch->lock);
}

void
watch_remove(struct watch *watch, struct watched *watched)
{
    os_mutex_lock(&watch->lock);
    list_remove(&watched->all);
    clear_locked(watched);
    os_mutex_unlock(&watch->lock);
}

/* -- the thread -- */

static int64_t
earlier(int64_t one, int64_t other)
{
    return one < other ? one : other;
}

static void
knock_locked(struct watch *watch, struct watched *watched, int64_t now)
{
    watched->knock_at = now + watched->pause;
    watched->pause = earlier(2 * watched->pause, LONGEST_PAUSE);
    watch->actions->knock(watched, watched->number);
}

static void
ask_locked(struct watched *watched, int64_t at)
{
    watched->limit_at = OS_FOREVER;
    watched->pause = FIRST_PAUSE;
    watched->knock_at = at;
    watched->aside_at = watched->grace < OS_FOREVER - at ? at + watched->grace : OS_FOREVER;
}

/* What is due at a place. Gives what is to be replaced, or NULL. */
static void *
visit_locked(struct watch *watch, struct watched *watched, int64_t now)
{
    if (watched->limit_at <= now) {
        watched->expired = true;
        ask_locked(watched, now);
    }
    if (watched->aside_at <= now) {
        watched->aside_at = OS_FOREVER;
        void *aside = watch->actions->set_aside(watched);
        if (aside != NULL) {
            return aside; /* and it is knocked at, until it comes back */
        }
    }
    if (watched->knock_at <= now) {
        knock_locked(watch, watched, now);
    }
    watch->next_look = earlier(watch->next_look, earlier(watched->limit_at, watched->aside_at));
    watch->next_look = earlier(watch->next_look, watched->knock_at);
    return NULL;
}

static void *
visit_all_locked(struct watch *watch)
{
    int64_t now = os_now_ns();
    watch->next_look = OS_FOREVER;
    for (struct list *node = watch->active.next; node != &watch->active; node = node->next) {
        void *aside = visit_locked(watch, LIST_ENTRY(node, struct watched, node), now);
        if (aside != NULL) {
            return aside;
        }
    }
    return NULL;
}

static void
keep_watch(void *argument)
{
    struct watch *watch = argument;
    os_mutex_lock(&watch->lock);
    while (!watch->stopping) {
        void *aside = visit_all_locked(watch);
        int64_t next_look = watch->next_look;
        /* Bumped under the lock, so nothing is missed after it is given back. */
        unsigned bell = atomic_load_explicit(&watch->bell, memory_order_relaxed);
        os_mutex_unlock(&watch->lock);
        if (aside != NULL) {
            watch->actions->replace(aside);
        }
        else {
            os_word_wait(&watch->bell, bell, next_look);
        }
        os_mutex_lock(&watch->lock);
    }
    os_mutex_unlock(&watch->lock);
}

/* Has the thread look at the latest at `when`, starting it if there is none. */
static int
look_locked(struct watch *watch, int64_t when)
{
    if (!watch->started) {
        int error =
            watch->stopping ? ECANCELED : os_thread_start(&watch->thread, keep_watch, watch);
        watch->started = error == 0;
        return error;
    }
    if (when < watch->next_look) {
        watch->next_look = when;
        atomic_fetch_add_explicit(&watch->bell, 1, memory_order_release);
        os_word_wake_all(&watch->bell);
    }
    return 0;
}

void
watch_stop(struct watch *watch)
{
    os_mutex_lock(&watch->lock);
    bool started = watch->started;
    watch->stopping = true;
    watch->started = false;
    atomic_fetch_add_explicit(&watch->bell, 1, memory_order_release);
    os_mutex_unlock(&watch->lock);
    if (started) {
        os_word_wake_all(&watch->bell);
        os_thread_join(&watch->thread);
    }
}

/* -- jobs -- */

int
watch_limit(struct watch *watch, struct watched *watched, uint64_t number, void *job,
            int64_t limit_at)
{
    os_mutex_lock(&watch->lock);
    int error = look_locked(watch, limit_at);
    if (error == 0 && watched->number != WATCH_ANY) {
        watched->number = number;
        watched->job = job;
        watched->limit_at = limit_at;
        list_push_back(&watch->active, &watched->node);
    }
    os_mutex_unlock(&watch->lock);
    return error;
}

void
watch_enter(watch_place *place, struct watched *watched)
{
    atomic_store_explicit(place, watched, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
}

static int
ask_and_look_locked(struct watch *watch, struct watched *watched, uint64_t number, int64_t at)
{
    watched->number = number;
    if (!list_is_linked(&watched->node)) {
        list_push_back(&watch->active, &watched->node);
    }
    ask_locked(watched, at);
    return look_locked(watch, watched->knock_at);
}

int
watch_ask(struct watch *watch, watch_place *place, uint64_t number)
{
    atomic_thread_fence(memory_order_seq_cst);
    os_mutex_lock(&watch->lock);
    struct watched *watched = atomic_load_explicit(place, memory_order_relaxed);
    int error = watched == NULL ? 0 : ask_and_look_locked(watch, watched, number, os_now_ns());
    os_mutex_unlock(&watch->lock);
    return error;
}

int
watch_ask_at(struct watch *watch, watch_place *place, uint64_t number, int64_t at)
{
    atomic_thread_fence(memory_order_seq_cst);
    os_mutex_lock(&watch->lock);
    struct watched *watched = atomic_load_explicit(place, memory_order_relaxed);
    bool is_news = watched != NULL && watched->number != WATCH_ANY && at < watched->knock_at;
    bool is_asked = is_news && watched->knock_at != OS_FOREVER;
    int64_t aside_at = is_asked ? watched->aside_at : OS_FOREVER;
    int error = is_news ? ask_and_look_locked(watch, watched, number, at) : 0;
    if (is_news) {
        watched->aside_at = earlier(watched->aside_at, aside_at);
    }
    os_mutex_unlock(&watch->lock);
    return error;
}

void
watch_calm(struct watch *watch, watch_place *place)
{
    struct watched *watched = atomic_load_explicit(place, memory_order_relaxed); /* its own store */
    if (watched == NULL) {
        return;
    }
    os_mutex_lock(&watch->lock);
    if (watched->number != WATCH_ANY) {
        clear_locked(watched);
    }
    os_mutex_unlock(&watch->lock);
}

int
watch_ask_all(struct watch *watch, bool (*meant)(struct watched *watched, const void *argument),
              const void *argument)
{
    int error = 0;
    os_mutex_lock(&watch->lock);
    for (struct list *node = watch->places.next; node != &watch->places; node = node->next) {
        struct watched *watched = LIST_ENTRY(node, struct watched, all);
        if (meant(watched, argument)) {
            error = ask_and_look_locked(watch, watched, WATCH_ANY, os_now_ns());
        }
    }
    os_mutex_unlock(&watch->lock);
    return error;
}

int
watch_ask_some(struct watch *watch,
               uint64_t (*which)(struct watched *watched, const void *argument),
               const void *argument)
{
    int error = 0;
    os_mutex_lock(&watch->lock);
    for (struct list *node = watch->places.next; node != &watch->places; node = node->next) {
        struct watched *watched = LIST_ENTRY(node, struct watched, all);
        uint64_t number = which(watched, argument);
        bool is_asked = watched->number == WATCH_ANY ||
                        (watched->number == number && watched->knock_at != OS_FOREVER);
        if (number != 0 && !is_asked) {
            error = ask_and_look_locked(watch, watched, number, os_now_ns());
        }
    }
    os_mutex_unlock(&watch->lock);
    return error;
}

void
watch_each(struct watch *watch, void (*visit)(struct watched *watched, void *argument),
           void *argument)
{
    os_mutex_lock(&watch->lock);
    for (struct list *node = watch->places.next; node != &watch->places; node = node->next) {
        visit(LIST_ENTRY(node, struct watched, all), argument);
    }
    os_mutex_unlock(&watch->lock);
}

bool
watch_settle(struct watch *watch, watch_place *place)
{
    struct watched *watched = atomic_load_explicit(place, memory_order_relaxed); /* its own store */
    if (watched == NULL) {
        return false;
    }
    os_mutex_lock(&watch->lock);
    bool expired = watched->expired;
    atomic_store_explicit(place, NULL, memory_order_relaxed);
    if (watched->number != WATCH_ANY) {
        clear_locked(watched);
    }
    else {
        watched->expired = false; /* that job had */
        watched->job = NULL;
        if (watched->grace != OS_FOREVER) {
            watched->aside_at = os_now_ns() + watched->grace; /* of whatever comes next */
        }
    }
    os_mutex_unlock(&watch->lock);
    return expired;
}

void
watch_pass(struct watch *watch)
{
    os_mutex_lock(&watch->lock);
    os_mutex_unlock(&watch->lock);
}

/* -- fork -- */

void
watch_before_fork(struct watch *watch)
{
    os_mutex_lock(&watch->lock);
}

void
watch_after_fork_in_parent(struct watch *watch)
{
    os_mutex_unlock(&watch->lock);
}

void
watch_after_fork_in_child(struct watch *watch)
{
    os_mutex_init(&watch->lock);
    init_lists(watch);
}
