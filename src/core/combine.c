#include "combine.h"

#include <stddef.h>

/* Stands at the end of what was added while somebody had the role. */
static struct combined mark;

void
combiner_init(struct combiner *combiner)
{
    atomic_init(&combiner->head, NULL);
}

bool
combiner_add(struct combiner *combiner, struct combined *node)
{
    struct combined *head = atomic_load_explicit(&combiner->head, memory_order_relaxed);
    do {
        node->next = head;
        /* Release: pairs with the acquire of combiner_take(). Acquire: whoever gets the role sees what
         * the one who gave it up has done. */
    } while (!atomic_compare_exchange_weak_explicit(&combiner->head, &head, node,
                                                    memory_order_acq_rel, memory_order_relaxed));
    return head == NULL;
}

/* The chain turned round, without the mark. */
static struct combined *
in_order(struct combined *last)
{
    struct combined *first = NULL;
    while (last != NULL && last != &mark) {
        struct combined *before = last->next;
        last->next = first;
        first = last;
        last = before;
    }
    return first;
}

struct combined *
combiner_take(struct combiner *combiner)
{
    struct combined *idle = &mark;
    if (atomic_compare_exchange_strong_explicit(&combiner->head, &idle, NULL, memory_order_acq_rel,
                                                memory_order_relaxed) ||
        idle == NULL) { /* a child of the role's holder, where combiner_init() has begun anew */
        return NULL;
    }
    return in_order(atomic_exchange_explicit(&combiner->head, &mark, memory_order_acquire));
}
