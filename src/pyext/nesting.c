#include "nesting.h"
#include "registry.h"

/* Every wait that has been entered. */
static struct {
    struct list waits; /* of struct nested_wait; `ready` once it is a list */
    bool ready;
    unsigned generation; /* of forks: whose threads wait */
} nesting;

static void
forget_parent(void)
{
    if (!nesting.ready || nesting.generation != registry_generation()) {
        list_init(&nesting.waits);
        nesting.ready = true;
        nesting.generation = registry_generation();
    }
}

static struct nested_wait *
wait_of(struct list *node)
{
    return LIST_ENTRY(node, struct nested_wait, node);
}

static bool
is_over(const struct nested_wait *wait)
{
    return wait->task != NULL ? fstate_is_done(&wait->task->state)
                              : turn_state(wait->turn) != TURN_WAITING;
}

/* -- which crews are stuck: all of whose workers wait, and only for crews that are stuck -- */

enum { MOST_CREWS = 16 }; /* in a circle; a larger one is not looked for */

struct circle {
    struct crew *crews[MOST_CREWS];
    size_t count;
};

static bool
has(const struct circle *circle, const struct crew *crew)
{
    for (size_t i = 0; i < circle->count; i++) {
        if (circle->crews[i] == crew) {
            return true;
        }
    }
    return false;
}

/* Adds what the workers of `crew` wait for. False: somebody there will get on, since fewer wait than it has workers,
 * started or about to be. Each wait is looked at once: it may be over at any moment, without the GIL. */
static bool
follow(struct circle *circle, struct crew *crew)
{
    unsigned waiting = 0;
    for (struct list *node = nesting.waits.next; node != &nesting.waits; node = node->next) {
        const struct nested_wait *wait = wait_of(node);
        if (wait->waiter != crew || is_over(wait)) {
            continue;
        }
        waiting++;
        if (!has(circle, wait->on)) {
            if (circle->count == MOST_CREWS) {
                return false;
            }
            circle->crews[circle->count++] = wait->on;
        }
    }
    return waiting > 0 && waiting >= pool_workers(&crew->pool);
}

/* Whether the crew, and every one that it waits for however indirectly, has only workers that wait. If
 * one of them had not, that one might get on; so all are stuck or none need be. */
static bool
is_stuck(struct crew *crew)
{
    struct circle circle = {.crews = {crew}, .count = 1};
    for (size_t i = 0; i < circle.count; i++) {
        if (!follow(&circle, circle.crews[i])) {
            return false;
        }
    }
    return true;
}

static void
raise_deadlock(const struct nested_wait *wait)
{
    PyObject *args[] = {PyUnicode_FromString(wait->task != NULL ? "task" : "room"),
                        PyLong_FromUnsignedLong(wait->waiter->pool.max_workers)};
    PyObject *error =
        args[0] == NULL || args[1] == NULL ? NULL : state_call("_limits", "deadlock", args, 2);
    Py_XDECREF(args[0]);
    Py_XDECREF(args[1]);
    if (error != NULL) {
        PyErr_SetRaisedException(error);
    }
}

int
nesting_enter(struct nested_wait *wait, struct crew *on, const struct task *task,
              const struct turn *turn, int64_t deadline)
{
    struct crew *waiter = on == NULL || deadline != OS_FOREVER ? NULL : crew_joined();
    wait->waiter = NULL;
    if (waiter == NULL) {
        return 0;
    }
    *wait = (struct nested_wait){.on = on, .task = task, .turn = turn};
    forget_parent();
    wait->waiter = waiter;
    wait->generation = nesting.generation;
    list_push_back(&nesting.waits, &wait->node);
    if (!is_stuck(waiter) || is_over(wait)) {
        return 0;
    }
    nesting_leave(wait);
    raise_deadlock(wait);
    return -1;
}

void
nesting_leave(struct nested_wait *wait)
{
    if (wait->waiter != NULL && wait->generation == registry_generation()) {
        list_remove(&wait->node);
    }
}
