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
        loan_drop(view->loan);
        free(view);
    }
}

void
message_init(struct message *message)
{
    wire_buffer_init(&message->bytes, message->room, sizeof(message->room));
    message->views = NULL;
    message->view_count = 0;
}

static void
drop_views(struct message *message)
{
    for (size_t i = 0; i < message->view_count; i++) {
        view_free(message->views[i]);
    }
    free(message->views);
    message->views = NULL;
    message->view_count = 0;
}

void
message_reset(struct message *message)
{
    drop_views(message);
    wire_buffer_reset(&message->bytes);
}

void
message_free(struct message *message)
{
    drop_views(message);
    wire_buffer_free(&message->bytes);
}

size_t
message_size(const struct message *message)
{
    size_t size = message->bytes.size;
    for (size_t i = 0; i < message->view_count; i++) {
        size += (size_t)message->views[i]->size;
    }
    return size;
}

ptrdiff_t
message_add_view(struct message *message, struct view *view)
{
    size_t count = message->view_count;
    if ((count & (count - 1)) == 0) { /* grows at 0, 1, 2, 4, 8 … */
        size_t capacity = count == 0 ? 1 : 2 * count;
        struct view **views = realloc(message->views, capacity * sizeof(struct view *));
        if (views == NULL) {
            view_free(view);
            return -1;
        }
        message->views = views;
    }
    message->views[count] = view;
    message->view_count = count + 1;
    return (ptrdiff_t)count;
}
