/* list: the one intrusive, circular, doubly linked list of this project.
 *
 * A node lives inside the thing it links, so queueing allocates nothing. A head is a node too. A
 * list has no lock: the field that holds the head names its guard. Unlinked nodes point at
 * themselves, so list_is_linked() can tell, and unlinking twice does no harm.
 *
 *     struct list queue;  list_init(&queue);
 *     list_push_back(&queue, &task->node);
 *     struct task *first = LIST_ENTRY(list_pop_front(&queue), struct task, node);
 */
#ifndef AIOINTERP_LIST_H
#define AIOINTERP_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next;
    struct list *prev;
};

#define LIST_ENTRY(pointer, type, member) ((type *)((char *)(pointer) - offsetof(type, member)))

static inline void
list_init(struct list *list)
{
    list->next = list;
    list->prev = list;
}

static inline bool
list_is_empty(const struct list *head)
{
    return head->next == head;
}

static inline bool
list_is_linked(const struct list *node)
{
    return node->next != node;
}

static inline void
list_insert_after(struct list *place, struct list *node)
{
    node->prev = place;
    node->next = place->next;
    place->next->prev = node;
    place->next = node;
}

static inline void
list_push_front(struct list *head, struct list *node)
{
    list_insert_after(head, node);
}

static inline void
list_push_back(struct list *head, struct list *node)
{
    list_insert_after(head->prev, node);
}

static inline void
list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* Returns the first node unlinked, or NULL from an empty list. */
static inline struct list *
list_pop_front(struct list *head)
{
    if (list_is_empty(head)) {
        return NULL;
    }
    struct list *node = head->next;
    list_remove(node);
    return node;
}

/* Moves every node of `from` to the back of `to`, in order; `from` is left empty. */
static inline void
list_move_all(struct list *to, struct list *from)
{
    if (list_is_empty(from)) {
        return;
    }
    from->next->prev = to->prev;
    from->prev->next = to;
    to->prev->next = from->next;
    to->prev = from->prev;
    list_init(from);
}

#endif
