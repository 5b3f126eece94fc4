#include "message.h"

#include <stdlib.h>
#include <string.h>

struct view *
view_new(struct loan *loan, int dimensions, const char *format)
{
    const char *text = format != NULL ? format : "B";
    size_t text_size = strlen(text) + 1;
    size_t axes = (size_t)dimensions;
    struct view *view = calloc(1, sizeof(*view) + 2 * axes * sizeof(ptrdiff_t) + text_size);
    if (view == NULL) {
        return NULL;
    }
    loan_hold(loan);
    view->loan = loan;
    view->dimensions = dimensions;
    view->shape = (ptrdiff_t *)(view + 1);
    view->strides = view->shape + axes;
    view->format = memcpy(view->strides + axes, text, text_size);
    return view;
}

struct view *
view_copy(const struct view *view)
{
    struct view *copy = view_new(view->loan, view->dimensions, view->format);
    if (copy == NULL) {
        return NULL;
    }
    copy->kind = view->kind;
    copy->ascii = view->ascii;
    copy->typecode = view->typecode;
    memcpy(copy->owner, view->owner, sizeof(copy->owner));
    copy->queue_id = view->queue_id;
    copy->memory = view->memory;
    copy->size = view->size;
    copy->itemsize = view->itemsize;
    copy->readonly = view->readonly;
    size_t axes_size = (size_t)view->dimensions * sizeof(ptrdiff_t);
    memcpy(copy->shape, view->shape, axes_size);
    memcpy(copy->strides, view->strides, axes_size);
    return copy;
}

void
view_free(struct view *view)
{
    if (view != NULL) {
        bool is_own = view->kind != VIEW_PARCEL;
        loan_drop(view->loan);
        if (is_own) {
            free(view);
        }
    }
}

void
message_init(struct message *message)
{
    wire_buffer_init(&message->bytes, message->room, sizeof(message->room));
    message->view_count = 0;
    message->has_array = false;
}

static void
drop_views(struct message *message)
{
    for (size_t i = 0; i < message->view_count; i++) {
        view_free(message_view(message, i));
    }
    if (message->view_count > 1) {
        free(message->views.many);
    }
    message->view_count = 0;
}

void
message_reset(struct message *message)
{
    drop_views(message);
    wire_buffer_reset(&message->bytes);
    message->has_array = false;
}

void
message_free(struct message *message)
{
    drop_views(message);
    wire_buffer_free(&message->bytes);
}

void
message_move(struct message *to, struct message *from)
{
    message_free(to);
    *to = *from;
    if (!from->bytes.on_heap) {
        to->bytes.data = to->room;
    }
    message_init(from);
}

size_t
message_size(const struct message *message)
{
    size_t size = message->bytes.size;
    for (size_t i = 0; i < message->view_count; i++) {
        size += (size_t)message_view(message, i)->size;
    }
    return size;
}

/* Room for one more than `count`, at least 1, in an array that begins with what is there. */
static struct view **
grow(struct message *message, size_t count)
{
    if ((count & (count - 1)) != 0) { /* it grows at 1, 2, 4, 8 … */
        return message->views.many;
    }
    struct view **many =
        realloc(count == 1 ? NULL : message->views.many, 2 * count * sizeof(struct view *));
    if (many != NULL && count == 1) {
        many[0] = message->views.only;
    }
    return many;
}

ptrdiff_t
message_add_view(struct message *message, struct view *view)
{
    size_t count = message->view_count;
    if (count > 0) {
        struct view **many = grow(message, count);
        if (many == NULL) {
            view_free(view);
            return -1;
        }
        message->views.many = many;
    }
    message->view_count++;
    *message_place(message, count) = view;
    return (ptrdiff_t)count;
}
