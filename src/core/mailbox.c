#include "mailbox.h"

void
mail_init(struct mail *mail)
{
    list_init(&mail->node);
    list_init(&mail->notice);
    mail->box = NULL;
    mail->follower = NULL;
    mail->place = MAIL_OUT;
    mail->counted = true;
}

static void
init_lists(struct mailroom *room)
{
    list_init(&room->boxes);
    list_init(&room->waiting);
    room->box_count = 0;
    room->waiting_count = 0;
}

int
mailroom_init(struct mailroom *room, unsigned most_boxes, size_t most_load,
              void (*hold)(struct mail *mail))
{
    init_lists(room);
    room->hold = hold;
    room->most_boxes = most_boxes;
    room->most_load = most_load == 0 ? SIZE_MAX : most_load;
    room->closed = room->stopping = false;
    return os_mutex_init(&room->lock);
}

void
mailroom_destroy(struct mailroom *room)
{
    os_mutex_destroy(&room->lock);
}

void
mailbox_init(struct mailbox *box, int bell)
{
    list_init(&box->node);
    list_init(&box->posted);
    list_init(&box->taken);
    list_init(&box->notices);
    box->load = 0;
    box->bell = bell;
    box->rung = box->retired = false;
}

/* -- under the lock -- */

static struct mail *
mail_of(struct list *node)
{
    return LIST_ENTRY(node, struct mail, node);
}

static void
ring_locked(struct mailbox *box)
{
    if (!box->rung) {
        box->rung = true;
        os_bell_ring(box->bell);
    }
}

static void
ring_all_locked(struct mailroom *room)
{
    for (struct list *node = room->boxes.next; node != &room->boxes; node = node->next) {
        ring_locked(LIST_ENTRY(node, struct mailbox, node));
    }
}

/* The one with the fewest calls that takes more; or NULL. */
static struct mailbox *
least_loaded_locked(struct mailroom *room)
{
    struct mailbox *best = NULL;
    for (struct list *node = room->boxes.next; node != &room->boxes; node = node->next) {
        struct mailbox *box = LIST_ENTRY(node, struct mailbox, node);
        if (!box->retired && box->load < room->most_load &&
            (best == NULL || box->load < best->load)) {
            best = box;
        }
    }
    return best;
}

static void
put_locked(struct mailbox *box, struct mail *mail)
{
    mail->box = box;
    mail->place = MAIL_POSTED;
    list_push_back(&box->posted, &mail->node);
    box->load += mail->counted;
    if (mail->follower != NULL) {
        put_locked(box, mail->follower);
        mail->follower = NULL;
    }
}

/* Out of wherever it is. */
static void
take_out_locked(struct mailroom *room, struct mail *mail)
{
    if (mail->place == MAIL_WAITING) {
        room->waiting_count -= list_is_linked(&mail->node); /* a follower is not in the list */
    }
    else {
        mail->box->load -= mail->counted;
    }
    list_remove(&mail->node);
    list_remove(&mail->notice);
    mail->box = NULL;
    mail->place = MAIL_OUT;
}

static bool
is_idle(const struct mailbox *box)
{
    return list_is_empty(&box->posted) && list_is_empty(&box->taken);
}

/* The box will get nothing more. */
static bool
is_ending_locked(const struct mailroom *room, const struct mailbox *box)
{
    return box->retired || (room->closed && list_is_empty(&room->waiting)) ||
           !list_is_linked(&box->node);
}

/* Posts calls that wait to a box that has room for them. Its host is told, also if it may leave now. */
static void
fill_locked(struct mailroom *room, struct mailbox *box)
{
    bool news = is_idle(box) && is_ending_locked(room, box);
    while (!box->retired && box->load < room->most_load && !list_is_empty(&room->waiting)) {
        struct mail *mail = mail_of(list_pop_front(&room->waiting));
        room->waiting_count--;
        put_locked(box, mail);
        news = true;
    }
    if (news) {
        ring_locked(box);
    }
}

static void
move_out_locked(struct mailroom *room, struct list *from, struct list *to)
{
    while (!list_is_empty(from)) {
        struct mail *mail = mail_of(from->next);
        struct mail *follower = mail->follower;
        mail->follower = NULL;
        take_out_locked(room, mail);
        list_push_back(to, &mail->node);
        if (follower != NULL) {
            take_out_locked(room, follower);
            list_push_back(to, &follower->node);
        }
    }
}

static void
unlink_box_locked(struct mailroom *room, struct mailbox *box)
{
    room->box_count -= list_is_linked(&box->node) && !box->retired;
    list_remove(&box->node);
}

/* -- callers -- */

static bool
wants_box_locked(struct mailroom *room)
{
    if (room->box_count >= room->most_boxes || room->closed) {
        return false;
    }
    struct mailbox *best = least_loaded_locked(room);
    return best == NULL || best->load > 0;
}

bool
mailroom_wants_box(struct mailroom *room)
{
    os_mutex_lock(&room->lock);
    bool result = wants_box_locked(room);
    os_mutex_unlock(&room->lock);
    return result;
}

bool
mailroom_lacks_box(struct mailroom *room)
{
    os_mutex_lock(&room->lock);
    bool result = room->waiting_count > 0 && room->box_count < room->most_boxes;
    os_mutex_unlock(&room->lock);
    return result;
}

void
mailroom_add(struct mailroom *room, struct mailbox *box)
{
    os_mutex_lock(&room->lock);
    list_push_back(&room->boxes, &box->node);
    room->box_count++;
    fill_locked(room, box);
    ring_locked(box); /* it has that to look at as it begins */
    os_mutex_unlock(&room->lock);
}

bool
mailroom_post(struct mailroom *room, struct mail *mail)
{
    os_mutex_lock(&room->lock);
    bool open = !room->closed;
    struct mailbox *box = open ? least_loaded_locked(room) : NULL;
    if (box != NULL) {
        put_locked(box, mail);
        ring_locked(box);
    }
    else if (open) {
        mail->place = MAIL_WAITING;
        list_push_back(&room->waiting, &mail->node);
        room->waiting_count++;
    }
    os_mutex_unlock(&room->lock);
    return open;
}

bool
mailroom_post_beside(struct mailroom *room, struct mail *mail, struct mail *other)
{
    os_mutex_lock(&room->lock);
    bool done =
        other->place != MAIL_OUT && !(other->place == MAIL_WAITING && other->follower != NULL);
    mail->counted = false;
    if (done && other->place == MAIL_WAITING) {
        mail->place = MAIL_WAITING;
        other->follower = mail;
    }
    else if (done) {
        put_locked(other->box, mail);
        ring_locked(other->box);
    }
    os_mutex_unlock(&room->lock);
    return done;
}

/* One that follows is in no list: nobody withdraws it but with the one that it follows. */
bool
mailroom_withdraw(struct mailroom *room, struct mail *mail, struct mail **follower)
{
    *follower = NULL;
    os_mutex_lock(&room->lock);
    bool done =
        list_is_linked(&mail->node) && (mail->place == MAIL_WAITING || mail->place == MAIL_POSTED);
    if (done) {
        struct mailbox *box = mail->box;
        *follower = mail->follower;
        mail->follower = NULL;
        take_out_locked(room, mail);
        if (*follower != NULL) {
            take_out_locked(room, *follower);
        }
        if (box != NULL) {
            fill_locked(room, box);
        }
    }
    os_mutex_unlock(&room->lock);
    return done;
}

struct mailbox *
mailroom_notify(struct mailroom *room, struct mail *mail)
{
    os_mutex_lock(&room->lock);
    struct mailbox *box = mail->place == MAIL_TAKEN ? mail->box : NULL;
    if (box != NULL) {
        if (!list_is_linked(&mail->notice)) {
            list_push_back(&box->notices, &mail->notice);
        }
        ring_locked(box);
    }
    os_mutex_unlock(&room->lock);
    return box;
}

/* -- a host -- */

mailroom_mood
mailbox_listen(struct mailroom *room, struct mailbox *box)
{
    os_mutex_lock(&room->lock);
    box->rung = false;
    mailroom_mood mood = room->stopping ? MAILROOM_STOPPING
                         : room->closed ? MAILROOM_CLOSED
                                        : MAILROOM_OPEN;
    os_mutex_unlock(&room->lock);
    return mood;
}

struct mail *
mailbox_take(struct mailroom *room, struct mailbox *box)
{
    os_mutex_lock(&room->lock);
    struct list *node = list_pop_front(&box->posted);
    struct mail *mail = node == NULL ? NULL : mail_of(node);
    if (mail != NULL) {
        mail->place = MAIL_TAKEN;
        list_push_back(&box->taken, &mail->node);
        room->hold(mail);
    }
    os_mutex_unlock(&room->lock);
    return mail;
}

struct mail *
mailbox_take_notice(struct mailroom *room, struct mailbox *box)
{
    os_mutex_lock(&room->lock);
    struct list *node = list_pop_front(&box->notices);
    struct mail *mail = node == NULL ? NULL : LIST_ENTRY(node, struct mail, notice);
    if (mail != NULL) {
        room->hold(mail);
    }
    os_mutex_unlock(&room->lock);
    return mail;
}

bool
mailbox_finish(struct mailroom *room, struct mailbox *box, struct mail *mail)
{
    os_mutex_lock(&room->lock);
    bool done = mail->place == MAIL_TAKEN && mail->box == box;
    if (done) {
        take_out_locked(room, mail);
        fill_locked(room, box);
    }
    os_mutex_unlock(&room->lock);
    return done;
}

void
mailbox_retire(struct mailroom *room, struct mailbox *box)
{
    os_mutex_lock(&room->lock);
    room->box_count -= list_is_linked(&box->node) && !box->retired; /* for one in its place */
    box->retired = true;
    os_mutex_unlock(&room->lock);
}

bool
mailbox_leave(struct mailroom *room, struct mailbox *box)
{
    os_mutex_lock(&room->lock);
    bool leaves = is_ending_locked(room, box) && is_idle(box);
    if (leaves) {
        unlink_box_locked(room, box);
    }
    os_mutex_unlock(&room->lock);
    return leaves;
}

/* -- owners -- */

void
mailroom_close(struct mailroom *room)
{
    os_mutex_lock(&room->lock);
    room->closed = true;
    ring_all_locked(room);
    os_mutex_unlock(&room->lock);
}

void
mailroom_stop(struct mailroom *room)
{
    os_mutex_lock(&room->lock);
    room->closed = room->stopping = true;
    ring_all_locked(room);
    os_mutex_unlock(&room->lock);
}

void
mailroom_drain(struct mailroom *room, struct list *mails)
{
    os_mutex_lock(&room->lock);
    for (struct list *node = room->boxes.next; node != &room->boxes; node = node->next) {
        move_out_locked(room, &LIST_ENTRY(node, struct mailbox, node)->posted, mails);
    }
    move_out_locked(room, &room->waiting, mails);
    if (room->closed) {
        ring_all_locked(room);
    }
    os_mutex_unlock(&room->lock);
}

void
mailroom_lose(struct mailroom *room, struct mailbox *box, struct list *mails)
{
    os_mutex_lock(&room->lock);
    unlink_box_locked(room, box);
    box->retired = true;
    move_out_locked(room, &box->taken, mails);
    move_out_locked(room, &box->posted, mails);
    ring_locked(box); /* should it be there: it may leave now */
    os_mutex_unlock(&room->lock);
}

void
mailroom_weigh(struct mailroom *room, struct mailroom_load *load)
{
    *load = (struct mailroom_load){0, 0, 0};
    os_mutex_lock(&room->lock);
    load->pending = room->waiting_count;
    load->boxes = room->box_count;
    for (struct list *node = room->boxes.next; node != &room->boxes; node = node->next) {
        struct mailbox *box = LIST_ENTRY(node, struct mailbox, node);
        size_t posted = 0;
        for (struct list *each = box->posted.next; each != &box->posted; each = each->next) {
            posted += mail_of(each)->counted;
        }
        load->pending += posted;
        load->running += box->load - posted;
    }
    os_mutex_unlock(&room->lock);
}

/* -- fork -- */

void
mailroom_before_fork(struct mailroom *room)
{
    os_mutex_lock(&room->lock);
}

void
mailroom_after_fork_in_parent(struct mailroom *room)
{
    os_mutex_unlock(&room->lock);
}

void
mailroom_after_fork_in_child(struct mailroom *room, void (*forget)(struct mailbox *box))
{
    os_mutex_init(&room->lock);
    struct list *node;
    while ((node = list_pop_front(&room->boxes)) != NULL) {
        forget(LIST_ENTRY(node, struct mailbox, node));
    }
    init_lists(room);
}
