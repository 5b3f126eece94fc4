#include "check.h"

#include "core/list.h"

struct thing {
    int value;
    struct list node;
};

static int
value_of(struct list *node)
{
    return LIST_ENTRY(node, struct thing, node)->value;
}

/* Walks both ways, so that a broken back link shows. */
static void
check_holds(struct list *head, const int *values, int count)
{
    struct list *node = head;
    for (int i = 0; i < count; i++) {
        node = node->next;
        CHECK_EQ(value_of(node), values[i]);
    }
    CHECK(node->next == head);
    for (int i = count - 1; i >= 0; i--) {
        CHECK_EQ(value_of(node), values[i]);
        node = node->prev;
    }
    CHECK(node == head);
}

static void
things_init(struct thing *things, int count)
{
    for (int i = 0; i < count; i++) {
        things[i].value = i;
        list_init(&things[i].node);
    }
}

static void
an_empty_list(void)
{
    struct list head;
    list_init(&head);
    CHECK(list_is_empty(&head));
    CHECK(!list_is_linked(&head));
    CHECK(list_pop_front(&head) == NULL);
}

static void
pushing_keeps_order(void)
{
    struct list head;
    struct thing things[4];
    list_init(&head);
    things_init(things, 4);
    list_push_back(&head, &things[1].node);
    list_push_back(&head, &things[2].node);
    list_push_front(&head, &things[0].node);
    list_insert_after(&things[1].node, &things[3].node);
    check_holds(&head, (int[]){0, 1, 3, 2}, 4);
    CHECK(!list_is_empty(&head));
    CHECK(list_is_linked(&things[3].node));
}

static void
popping_unlinks(void)
{
    struct list head;
    struct thing things[2];
    list_init(&head);
    things_init(things, 2);
    list_push_back(&head, &things[0].node);
    list_push_back(&head, &things[1].node);
    CHECK(list_pop_front(&head) == &things[0].node);
    CHECK(!list_is_linked(&things[0].node));
    check_holds(&head, (int[]){1}, 1);
    CHECK(list_pop_front(&head) == &things[1].node);
    CHECK(list_is_empty(&head));
}

static void
removing_twice_does_no_harm(void)
{
    struct list head;
    struct thing things[3];
    list_init(&head);
    things_init(things, 3);
    for (int i = 0; i < 3; i++) {
        list_push_back(&head, &things[i].node);
    }
    list_remove(&things[1].node);
    list_remove(&things[1].node);
    check_holds(&head, (int[]){0, 2}, 2);
}

static void
moving_all(void)
{
    struct list to, from;
    struct thing things[4];
    list_init(&to);
    list_init(&from);
    things_init(things, 4);
    list_move_all(&to, &from);
    CHECK(list_is_empty(&to));

    list_push_back(&from, &things[0].node);
    list_push_back(&from, &things[1].node);
    list_move_all(&to, &from);
    check_holds(&to, (int[]){0, 1}, 2);
    CHECK(list_is_empty(&from));

    list_push_back(&from, &things[2].node);
    list_push_back(&from, &things[3].node);
    list_move_all(&to, &from);
    check_holds(&to, (int[]){0, 1, 2, 3}, 4);
    list_move_all(&to, &from);
    check_holds(&to, (int[]){0, 1, 2, 3}, 4);
}

int
main(void)
{
    check_limit(10);
    RUN(an_empty_list);
    RUN(pushing_keeps_order);
    RUN(popping_unlinks);
    RUN(removing_twice_does_no_harm);
    RUN(moving_all);
    return 0;
}
