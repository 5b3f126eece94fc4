#include "registry.h"

#include "../core/aside.h"
#include "../core/awake.h"
#include "../core/roster.h"
#include "abandon.h"
#include "hosts.h"
#include "interp.h"
#include "leased.h"
#include "outcome.h"
#include "stopping.h"
#include "strays.h"

static struct {
    os_mutex lock;          /* taken before a pool's lock, never after it */
    struct list crews;      /* under the lock */
    atomic_bool exiting;    /* set once, under the lock */
    atomic_uint generation; /* of forks; written in a child before it has other threads */
} registry;

/* -- fork: all locks are held across it, the registry's first -- */

static void
each_pool(void (*visit)(struct pool *pool))
{
    for (struct list *node = registry.crews.next; node != &registry.crews; node = node->next) {
        visit(&LIST_ENTRY(node, struct crew, node)->pool);
    }
}

static void
each_hosts(void (*visit)(struct hosts *hosts))
{
    for (struct list *node = registry.crews.next; node != &registry.crews; node = node->next) {
        struct hosts *hosts = crew_hosts(LIST_ENTRY(node, struct crew, node));
        if (hosts != NULL) {
            visit(hosts);
        }
    }
}

/* What was to be told is the parent's, and its loops'. */
static void
forget_told(void)
{
    for (struct list *node = registry.crews.next; node != &registry.crews; node = node->next) {
        combiner_init(&LIST_ENTRY(node, struct crew, node)->told);
    }
}

static void
before_fork(void)
{
    os_mutex_lock(&registry.lock);
    stopping_before_fork();
    each_pool(pool_before_fork);
    each_hosts(hosts_before_fork);
    interp_before_fork();
}

static void
after_fork_in_parent(void)
{
    interp_after_fork_in_parent();
    each_hosts(hosts_after_fork_in_parent);
    each_pool(pool_after_fork_in_parent);
    stopping_after_fork_in_parent();
    os_mutex_unlock(&registry.lock);
}

static void
after_fork_in_child(void)
{
    interp_after_fork_in_child();
    each_hosts(hosts_after_fork_in_child);
    each_pool(pool_after_fork_in_child);
    stopping_after_fork_in_child();
    forget_told();
    awake_forget();
    os_mutex_init(&registry.lock);
    crew_set_joined(NULL); /* a worker that forks is the child's main thread, and no worker there */
    atomic_fetch_add_explicit(&registry.generation, 1, memory_order_relaxed);
}

/* All locks held. One that is in no pool's slot is being made, or ended. */
static bool
are_all_unused(void)
{
    int unused = 0;
    for (struct list *node = registry.crews.next; node != &registry.crews; node = node->next) {
        int here = pool_unused_locked(&LIST_ENTRY(node, struct crew, node)->pool);
        if (here < 0) {
            return false;
        }
        unused += here;
    }
    return unused == interp_count_locked();
}

bool
registry_pause(void)
{
    before_fork();
    if (are_all_unused()) {
        return true;
    }
    after_fork_in_parent();
    return false;
}

void
registry_resume(void)
{
    after_fork_in_parent();
}

unsigned
registry_generation(void)
{
    return atomic_load_explicit(&registry.generation, memory_order_relaxed);
}

int
registry_init(void)
{
    list_init(&registry.crews);
    atomic_init(&registry.exiting, false);
    atomic_init(&registry.generation, 0);
    int error = interp_init();
    error = error != 0 ? error : os_mutex_init(&registry.lock);
    return error != 0 ? error : os_at_fork(before_fork, after_fork_in_parent, after_fork_in_child);
}

bool
registry_is_exiting(void)
{
    return atomic_load_explicit(&registry.exiting, memory_order_acquire);
}

void
registry_ask_visits(void)
{
    os_mutex_lock(&registry.lock);
    each_pool(pool_ask_visits);
    os_mutex_unlock(&registry.lock);
}

/* -- crews -- */

void
registry_add(struct crew *crew)
{
    os_mutex_lock(&registry.lock);
    list_push_back(&registry.crews, &crew->node);
    os_mutex_unlock(&registry.lock);
}

void
registry_remove(struct crew *crew)
{
    os_mutex_lock(&registry.lock); /* nobody revives it: whoever lists crews holds this GIL */
    list_remove(&crew->node);
    os_mutex_unlock(&registry.lock);
}

void
registry_set_hosts(struct crew *crew, struct hosts *hosts)
{
    os_mutex_lock(&registry.lock);
    atomic_store_explicit(&crew->hosts, hosts, memory_order_release);
    os_mutex_unlock(&registry.lock);
}

/* -- exit -- */

/* The first crew that `suits`, held; all are closed on the way. */
static struct crew *
find_crew(bool (*suits)(struct crew *crew))
{
    struct crew *found = NULL;
    os_mutex_lock(&registry.lock);
    atomic_store_explicit(&registry.exiting, true, memory_order_release);
    for (struct list *node = registry.crews.next; node != &registry.crews; node = node->next) {
        struct crew *crew = LIST_ENTRY(node, struct crew, node);
        pool_close(&crew->pool);
        hosts_close(crew_hosts(crew));
        if (found == NULL && suits(crew)) {
            found = crew;
            crew_hold(crew);
        }
    }
    os_mutex_unlock(&registry.lock);
    return found;
}

static bool
has_workers(struct crew *crew)
{
    return pool_workers(&crew->pool) + pool_aside(&crew->pool) > 0;
}

static bool
goes_on(struct crew *crew)
{
    return !crew->stopped && has_workers(crew);
}

static void
stop_all(void)
{
    struct crew *crew;
    while ((crew = find_crew(goes_on)) != NULL) {
        crew_stop(crew);
        crew_drop(crew);
    }
}

/* What signal handlers have raised meanwhile; whether it was a Ctrl-C. */
static bool
was_interrupted(void)
{
    if (PyErr_CheckSignals() == 0) {
        return false;
    }
    if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        PyErr_Clear();
        return true;
    }
    PyErr_WriteUnraisable(NULL);
    return false;
}

/* How many workers of all pools run what. */
struct running {
    unsigned plain, tagged;
};

static void
count_running(struct worker *worker, void *argument)
{
    struct running *running = argument;
    struct stats_now now;
    stats_read_doing(&worker->sheet, &now);
    running->plain += now.doing == STATS_PLAIN;
    running->tagged += now.doing == STATS_TAGGED && !worker->aside;
}

/* Whether calls run, and all of them untagged, which nothing can stop. */
static bool
runs_plain_only(void)
{
    struct running running = {0, 0};
    os_mutex_lock(&registry.lock);
    for (struct list *node = registry.crews.next; node != &registry.crews; node = node->next) {
        roster_walk(&LIST_ENTRY(node, struct crew, node)->pool, count_running, &running);
    }
    os_mutex_unlock(&registry.lock);
    return running.plain > 0 && running.tagged == 0;
}

/* Does not come back, unless Python cannot do that. */
static void
end_process(bool silently)
{
    PyObject *arguments[] = {silently ? Py_True : Py_False};
    Py_XDECREF(state_call("_exit", "end_by_interrupt", arguments, 1));
    PyErr_Clear();
}

bool
registry_join_all(bool stop)
{
    bool interrupted = false, any_guards;
    struct crew *crew;
    while ((crew = find_crew(has_workers)) != NULL) {
        os_wait_result result;
        do {
            bool again = was_interrupted();
            bool enough = again && (stop || interrupted);
            interrupted = interrupted || again;
            if (stop || interrupted) {
                stop_all();
            }
            if (enough || (interrupted && runs_plain_only())) {
                end_process(stop);
            }
            abandon_ask(crew);
            leased_stop_daemons(crew);
            Py_BEGIN_ALLOW_THREADS
            result = pool_await_workers(&crew->pool, true, os_now_ns() + LOOK_FOR_SIGNALS);
            Py_END_ALLOW_THREADS
        } while (result != OS_WOKEN);
        crew_drop(crew);
    }
    Py_BEGIN_ALLOW_THREADS
    stopping_end();
    any_guards = strays_await_guards();
    Py_END_ALLOW_THREADS
    abandon_finish(any_guards);
    return interrupted;
}
