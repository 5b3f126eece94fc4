/* mailbox: calls on their way to hosts, each of which serves many at a time.
 *
 * A host has a mailbox: calls that were posted to it and that it has not taken yet, and those that it has
 * taken and not finished. A mailroom is all mailboxes of one executor, and the calls that wait because
 * every host has as many as it may have. A host waits for its bell, a file descriptor, by whatever
 * means it has; it is rung once for all that is posted until the host listens.
 *
 *   a caller   mailroom_wants_box()? then mailroom_add() and start a host; mailroom_post();
 *              mailroom_withdraw(), or if that is too late mailroom_notify().
 *   a host     its bell rings: mailbox_listen(), then mailbox_take() and mailbox_take_notice() until both
 *              give NULL; mailbox_finish() for each call that has ended; mailbox_leave() now and then.
 *   an owner   mailroom_close(), mailroom_stop(), mailroom_drain().
 *   who finds that a host is gone    mailroom_lose()
 *
 * A call belongs to whoever has taken it out of the room: mailbox_finish(), mailroom_withdraw(),
 * mailroom_drain() and mailroom_lose() give each call to exactly one of those who try. That one alone
 * says how the call has ended. So a host that was given up and comes back can do no harm. It is held for whoever takes
 * it to serve it, since somebody else may end it, and let go of it, at any moment from then on.
 *
 * A call can be posted beside another one, to be taken by the same host: it does not count, and goes
 * along with the other one while that waits.
 *
 * Locking: the room's lock guards everything but what is constant. It is a leaf: nobody waits for a GIL, calls
 * Python or parks while holding it. The bell is rung under it, which does not block: so a bell
 * is not closed while somebody rings it. Any thread may call anything, attached or not.
 */
#ifndef AIOINTERP_MAILBOX_H
#define AIOINTERP_MAILBOX_H

#include "list.h"
#include "../os/os.h"

#include <stdbool.h>
#include <stddef.h>

struct mailbox;

typedef enum {
    MAIL_OUT = 0, /* in no room */
    MAIL_WAITING, /* for a host with room */
    MAIL_POSTED,
    MAIL_TAKEN,
} mail_place;

/* Embedded in a call. */
struct mail {
    struct list node;      /* in the room's waiting, or its box's posted or taken */
    struct list notice;    /* in the box's notices */
    struct mailbox *box;   /* POSTED, TAKEN */
    struct mail *follower; /* WAITING: posted along with it; or NULL */
    mail_place place;
    bool counted;
};

struct mailroom {
    os_mutex lock;
    struct list boxes;
    unsigned box_count;              /* but for those that are retired */
    unsigned most_boxes;             /* constant */
    size_t most_load;                /* calls that one box may have; constant */
    void (*hold)(struct mail *mail); /* constant */
    struct list waiting;
    size_t waiting_count;
    bool closed; /* no more posts; hosts leave when nothing is left */
    bool stopping;
};

struct mailbox {
    struct list node; /* in the room's boxes */
    struct list posted;
    struct list taken;
    struct list notices;
    size_t load;  /* counted calls that are posted or taken */
    int bell;     /* constant */
    bool rung;    /* and the host has not listened since */
    bool retired; /* gets no more calls */
};

void mail_init(struct mail *mail);

/* 0 or an errno value. `most_load`: 0 for any number. `hold`: takes a reference to the call, under the lock. */
int mailroom_init(struct mailroom *room, unsigned most_boxes, size_t most_load,
                  void (*hold)(struct mail *mail));
/* Nobody uses it any more. */
void mailroom_destroy(struct mailroom *room);

/* `bell`: an os_bell_open(), which stays the caller's, and open until the box has left its room. */
void mailbox_init(struct mailbox *box, int bell);

/* -- callers -- */

/* Whether a call that is posted now should have a host of its own: every box has calls, and there are
 * fewer than the most. */
bool mailroom_wants_box(struct mailroom *room);
/* Whether calls wait, and there are fewer boxes than the most: one has gone. */
bool mailroom_lacks_box(struct mailroom *room);
/* Adds a box, whose host is about to start; it gets calls that wait. */
void mailroom_add(struct mailroom *room, struct mailbox *box);

/* Posts to the box with the fewest calls, or has the call wait. False: the room is closed. There should be a
 * box; if there is none, the call waits for one. */
bool mailroom_post(struct mailroom *room, struct mail *mail);
/* Posts to the host of `other`. False: that one is OUT, or has a follower while it waits. A room that is closed
 * takes it as long as it has the other one. */
bool mailroom_post_beside(struct mailroom *room, struct mail *mail, struct mail *other);

/* Takes a call out that has not been taken. False: it is too late. A follower of it is out, too: *follower, or
 * NULL. */
bool mailroom_withdraw(struct mailroom *room, struct mail *mail, struct mail **follower);
/* Tells the host that has taken the call that nobody wants it any more. The box, or NULL: nobody has it. */
struct mailbox *mailroom_notify(struct mailroom *room, struct mail *mail);

/* -- a host -- */

typedef enum { MAILROOM_OPEN = 0, MAILROOM_CLOSED, MAILROOM_STOPPING } mailroom_mood;

/* Its bell has rung, and was silenced (os_bell_silence()) before. STOPPING: it is to stop all that it has. */
mailroom_mood mailbox_listen(struct mailroom *room, struct mailbox *box);
/* The next call, with a reference for the caller; or NULL. */
struct mail *mailbox_take(struct mailroom *room, struct mailbox *box);
/* A call that it has taken and that is to be cancelled, with a reference for the caller; or NULL. */
struct mail *mailbox_take_notice(struct mailroom *room, struct mailbox *box);
/* A call that it has taken has ended. False: somebody else was told that the host is gone, and ends the call. The bell
 * rings if another call takes its place, or if the host may leave now. */
bool mailbox_finish(struct mailroom *room, struct mailbox *box, struct mail *mail);
/* The host will get no more calls, but finishes those that it has. */
void mailbox_retire(struct mailroom *room, struct mailbox *box);
/* True: the box has left the room, and nothing will be in it any more, since it was retired or the
 * room is closed, and nothing is left to do. It may be said again. */
bool mailbox_leave(struct mailroom *room, struct mailbox *box);

/* -- owners -- */

/* No more posts. Hosts that have nothing to do leave. */
void mailroom_close(struct mailroom *room);
/* Closes; hosts stop what they have taken. */
void mailroom_stop(struct mailroom *room);
/* Moves all calls that have not been taken to `mails` (by `node`), oldest first in each box. */
void mailroom_drain(struct mailroom *room, struct list *mails);
/* The host of `box` is gone, or given up: moves its calls to `mails`, and takes the box out. */
void mailroom_lose(struct mailroom *room, struct mailbox *box, struct list *mails);

struct mailroom_load {
    size_t pending; /* counted calls that wait or are posted */
    size_t running;
    unsigned boxes;
};
void mailroom_weigh(struct mailroom *room, struct mailroom_load *load);

/* -- fork: the lock is held across it. In the child there are no hosts: the room is empty, and open or closed as it
 * was. `forget` is called for each box. -- */
void mailroom_before_fork(struct mailroom *room);
void mailroom_after_fork_in_parent(struct mailroom *room);
void mailroom_after_fork_in_child(struct mailroom *room, void (*forget)(struct mailbox *box));

#endif
