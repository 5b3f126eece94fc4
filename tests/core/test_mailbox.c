/* Calls on their way to hosts: each is ended once, in order, by whoever has it; no bell is missed. */
#include "check.h"

#include "core/mailbox.h"

#include <poll.h>
#include <stdatomic.h>
#include <string.h>

static struct mailroom room;
static atomic_uint holds; /* references that takers were given */

static void
hold(struct mail *mail)
{
    CHECK(mail->place == MAIL_TAKEN); /* nobody can have ended it */
    atomic_fetch_add(&holds, 1);
}

struct host {
    struct mailbox box; /* first */
    os_bell bell;
};

static void
host_init(struct host *host)
{
    CHECK_EQ(os_bell_open(&host->bell), 0);
    mailbox_init(&host->box, host->bell.ringing);
    mailroom_add(&room, &host->box);
}

static void
host_end(struct host *host)
{
    CHECK(mailbox_leave(&room, &host->box));
    os_bell_close(&host->bell);
}

static bool
rings(const struct host *host)
{
    struct pollfd poller = {.fd = host->bell.listening, .events = POLLIN};
    return poll(&poller, 1, 0) == 1;
}

static mailroom_mood
listen(struct host *host)
{
    os_bell_silence(&host->bell);
    return mailbox_listen(&room, &host->box);
}

static void
begin(unsigned hosts, size_t load)
{
    CHECK_EQ(mailroom_init(&room, hosts, load, hold), 0);
}

static void
post(struct mail *mail)
{
    mail_init(mail);
    CHECK(mailroom_post(&room, mail));
}

static void
calls_are_taken_in_order_and_the_bell_rings_once(void)
{
    struct host host;
    struct mail mails[3];
    begin(1, 0);
    CHECK(mailroom_wants_box(&room));
    host_init(&host);
    CHECK(rings(&host));
    CHECK_EQ(listen(&host), MAILROOM_OPEN);
    CHECK(!rings(&host));
    for (int i = 0; i < 3; i++) {
        post(&mails[i]);
    }
    CHECK(!mailroom_wants_box(&room)); /* there may be one only */
    CHECK(rings(&host));
    listen(&host);
    for (int i = 0; i < 3; i++) {
        CHECK(mailbox_take(&room, &host.box) == &mails[i]);
    }
    CHECK(mailbox_take(&room, &host.box) == NULL);
    CHECK(!mailbox_leave(&room, &host.box));
    CHECK(mailbox_finish(&room, &host.box, &mails[1]));
    CHECK(!mailbox_finish(&room, &host.box, &mails[1]));
    CHECK(mailbox_finish(&room, &host.box, &mails[0]));
    CHECK(mailbox_finish(&room, &host.box, &mails[2]));
    CHECK(!rings(&host));
    mailroom_close(&room);
    CHECK(rings(&host));
    struct mail late;
    mail_init(&late);
    CHECK(!mailroom_post(&room, &late));
    host_end(&host);
    mailroom_destroy(&room);
}

static void
the_box_with_the_fewest_calls_gets_the_next(void)
{
    struct host one, two;
    struct mail mails[4];
    begin(2, 0);
    host_init(&one);
    post(&mails[0]);
    CHECK(mailroom_wants_box(&room));
    host_init(&two);
    CHECK(!mailroom_wants_box(&room));
    post(&mails[1]);
    CHECK(mails[1].box == &two.box);
    CHECK(mailbox_take(&room, &two.box) == &mails[1]);
    CHECK(mailbox_finish(&room, &two.box, &mails[1]));
    post(&mails[2]);
    CHECK(mails[2].box == &two.box);
    struct mailroom_load load;
    CHECK(mailbox_take(&room, &one.box) == &mails[0]);
    mailroom_weigh(&room, &load);
    CHECK_EQ(load.boxes, 2);
    CHECK_EQ(load.running, 1);
    CHECK_EQ(load.pending, 1);
    struct list lost;
    list_init(&lost);
    mailroom_lose(&room, &one.box, &lost);
    mailroom_lose(&room, &two.box, &lost);
    CHECK(list_pop_front(&lost) == &mails[0].node);
    CHECK(list_pop_front(&lost) == &mails[2].node);
    CHECK(list_is_empty(&lost));
    CHECK(!mailbox_finish(&room, &one.box,
                          &mails[0])); /* it comes back, and finds that it is too late */
    CHECK_EQ(mails[0].place, MAIL_OUT);
    host_end(&one);
    host_end(&two);
    mailroom_destroy(&room);
}

static void
those_beyond_the_load_wait_in_order(void)
{
    struct host host;
    struct mail mails[4], *follower;
    begin(1, 2);
    host_init(&host);
    for (int i = 0; i < 4; i++) {
        post(&mails[i]);
    }
    CHECK_EQ(mails[2].place, MAIL_WAITING);
    CHECK(mailbox_take(&room, &host.box) == &mails[0]);
    CHECK(mailbox_take(&room, &host.box) == &mails[1]);
    CHECK(mailbox_take(&room, &host.box) == NULL);
    listen(&host);
    CHECK(mailroom_withdraw(&room, &mails[2], &follower));
    CHECK(follower == NULL);
    CHECK(!mailroom_withdraw(&room, &mails[0], &follower)); /* too late */
    CHECK(mailbox_finish(&room, &host.box, &mails[0]));
    CHECK(rings(&host));
    CHECK(mailbox_take(&room, &host.box) == &mails[3]);
    mailroom_close(&room);
    listen(&host);
    CHECK(mailbox_finish(&room, &host.box, &mails[3]));
    CHECK(!rings(&host));
    CHECK(mailbox_finish(&room, &host.box, &mails[1]));
    CHECK(rings(&host)); /* it may leave */
    host_end(&host);
    mailroom_destroy(&room);
}

static void
one_that_is_withdrawn_makes_room(void)
{
    struct host host;
    struct mail mails[2], *follower;
    begin(1, 1);
    host_init(&host);
    post(&mails[0]);
    post(&mails[1]);
    listen(&host);
    CHECK(mailroom_withdraw(&room, &mails[0], &follower));
    CHECK(rings(&host));
    CHECK(mailbox_take(&room, &host.box) == &mails[1]);
    CHECK(mailbox_finish(&room, &host.box, &mails[1]));
    mailroom_close(&room);
    host_end(&host);
    mailroom_destroy(&room);
}

static void
a_notice_reaches_who_has_the_call(void)
{
    struct host host;
    struct mail mail;
    begin(1, 0);
    host_init(&host);
    post(&mail);
    CHECK(mailroom_notify(&room, &mail) == NULL); /* nobody has it yet */
    atomic_store(&holds, 0);
    CHECK(mailbox_take(&room, &host.box) == &mail);
    CHECK_EQ(atomic_load(&holds), 1);
    listen(&host);
    CHECK(mailroom_notify(&room, &mail) == &host.box);
    CHECK(mailroom_notify(&room, &mail) == &host.box);
    CHECK(rings(&host));
    CHECK(mailbox_take_notice(&room, &host.box) == &mail);
    CHECK(mailbox_take_notice(&room, &host.box) == NULL);
    CHECK_EQ(atomic_load(&holds), 2);
    mailroom_notify(&room, &mail);
    CHECK(mailbox_finish(&room, &host.box, &mail));
    CHECK(mailbox_take_notice(&room, &host.box) == NULL); /* gone with the call */
    CHECK(mailroom_notify(&room, &mail) == NULL);
    mailroom_close(&room);
    host_end(&host);
    mailroom_destroy(&room);
}

static void
one_beside_another_goes_where_that_is(void)
{
    struct host one, two;
    struct mail stream, waiting, fetch, other, none, *follower;
    begin(2, 1);
    host_init(&one);
    post(&stream);
    host_init(&two);
    mail_init(&fetch);
    CHECK(mailroom_post_beside(&room, &fetch, &stream));
    CHECK(mailbox_take(&room, &one.box) == &stream);
    CHECK(mailbox_take(&room, &one.box) == &fetch); /* beyond the load */
    post(&other);
    post(&waiting);
    CHECK_EQ(waiting.place, MAIL_WAITING);
    struct mail follows, second;
    mail_init(&follows);
    mail_init(&second);
    CHECK(mailroom_post_beside(&room, &follows, &waiting));
    CHECK(!mailroom_post_beside(&room, &second, &waiting));
    CHECK(!mailroom_withdraw(&room, &follows, &follower)); /* only with the other one */
    CHECK(mailbox_finish(&room, &one.box, &fetch));
    CHECK(mailbox_finish(&room, &one.box, &stream));
    CHECK(mailbox_take(&room, &one.box) == &waiting);
    CHECK(mailbox_take(&room, &one.box) == &follows);
    mail_init(&none);
    CHECK(!mailroom_post_beside(&room, &none, &stream)); /* it is not there any more */
    mailroom_close(&room);
    CHECK(mailroom_post_beside(&room, &none, &waiting)); /* what was accepted is finished */
    CHECK(mailbox_take(&room, &one.box) == &none);
    struct list lost;
    list_init(&lost);
    mailroom_lose(&room, &one.box, &lost);
    mailroom_lose(&room, &two.box, &lost);
    int count = 0;
    while (list_pop_front(&lost) != NULL) {
        count++;
    }
    CHECK_EQ(count, 4);
    host_end(&one);
    host_end(&two);
    mailroom_destroy(&room);
}

static void
a_follower_goes_with_the_one_that_waits(void)
{
    struct host host;
    struct mail held, waiting, follows, *follower;
    begin(1, 1);
    host_init(&host);
    post(&held);
    post(&waiting);
    mail_init(&follows);
    CHECK(mailroom_post_beside(&room, &follows, &waiting));
    CHECK(mailroom_withdraw(&room, &waiting, &follower));
    CHECK(follower == &follows);
    CHECK_EQ(follows.place, MAIL_OUT);
    post(&waiting);
    CHECK(mailroom_post_beside(&room, &follows, &waiting));
    struct list drained;
    list_init(&drained);
    mailroom_drain(&room, &drained);
    CHECK(list_pop_front(&drained) == &held.node);
    CHECK(list_pop_front(&drained) == &waiting.node);
    CHECK(list_pop_front(&drained) == &follows.node);
    mailroom_close(&room);
    host_end(&host);
    mailroom_destroy(&room);
}

static void
a_retired_box_gets_no_more(void)
{
    struct host one, two;
    struct mail mails[3];
    begin(1, 1);
    host_init(&one);
    post(&mails[0]);
    post(&mails[1]);
    CHECK(mailbox_take(&room, &one.box) == &mails[0]);
    mailbox_retire(&room, &one.box);
    CHECK(mailroom_lacks_box(&room)); /* one in its place */
    CHECK(mailroom_wants_box(&room));
    host_init(&two);
    CHECK(!mailroom_lacks_box(&room));
    CHECK(mails[1].box == &two.box);
    listen(&one);
    mailroom_stop(&room);
    CHECK(rings(&one)); /* it hears of that, too */
    CHECK_EQ(listen(&one), MAILROOM_STOPPING);
    CHECK(mailbox_finish(&room, &one.box, &mails[0]));
    CHECK(mailbox_take(&room, &one.box) == NULL);
    host_end(&one);
    struct list drained;
    list_init(&drained);
    mailroom_drain(&room, &drained);
    host_end(&two);
    mailroom_destroy(&room);
}

static unsigned forgotten;

static void
forget(struct mailbox *box)
{
    os_bell_close(&((struct host *)box)->bell);
    forgotten++;
}

static void
a_child_begins_with_an_empty_room(void)
{
    struct host host;
    struct mail mail;
    begin(1, 0);
    host_init(&host);
    post(&mail);
    mailroom_before_fork(&room);
    mailroom_after_fork_in_parent(&room);
    CHECK(!mailroom_wants_box(&room));
    mailroom_after_fork_in_child(&room, forget);
    CHECK_EQ(forgotten, 1);
    CHECK(mailroom_wants_box(&room));
    mailroom_destroy(&room);
}

/* -- many at a time: callers that post and withdraw, hosts that take and finish, and one that is lost -- */

enum { CALLERS = 3, HOSTS = 3, CALLS = 6000 };

struct call {
    struct mail mail; /* first */
    atomic_uint ends;
    unsigned
        written; /* by who posts it, read by who takes it: ThreadSanitizer sees if that is not ordered */
};

static struct call calls[CALLERS][CALLS];
static struct host hosts[HOSTS];
static atomic_uint ended, lost_one;

static void
end_call(struct mail *mail)
{
    struct call *call = (struct call *)mail;
    CHECK_EQ(call->written, 7);
    CHECK_EQ(atomic_fetch_add(&call->ends, 1), 0);
    atomic_fetch_add(&ended, 1);
}

static void
call_many(void *argument)
{
    struct call *mine = argument;
    uint32_t random = (uint32_t)(uintptr_t)argument | 1;
    for (unsigned i = 0; i < CALLS; i++) {
        mail_init(&mine[i].mail);
        mine[i].written = 7;
        CHECK(mailroom_post(&room, &mine[i].mail));
        struct mail *follower;
        switch (random_next(&random) % 8) {
        case 0:
            if (mailroom_withdraw(&room, &mine[i].mail, &follower)) {
                end_call(&mine[i].mail);
            }
            break;
        case 1:
            mailroom_notify(&room, &mine[i].mail);
            break;
        default:
            break;
        }
    }
}

static void
await_bell(struct host *host)
{
    struct pollfd poller = {.fd = host->bell.listening, .events = POLLIN};
    CHECK_EQ(poll(&poller, 1, 50000), 1);
    listen(host);
}

static void
serve(void *argument)
{
    struct host *host = argument;
    struct mail *mail;
    while (!mailbox_leave(&room, &host->box)) {
        await_bell(host);
        while (mailbox_take_notice(&room, &host->box) != NULL) {
        }
        while ((mail = mailbox_take(&room, &host->box)) != NULL) {
            if (mailbox_finish(&room, &host->box, mail)) {
                end_call(mail);
            }
        }
    }
}

static void
lose_one(void *argument)
{
    struct list lost;
    struct list *node;
    (void)argument;
    while (atomic_load(&ended) < CALLS / 2) {
        sched_yield();
    }
    list_init(&lost);
    mailroom_lose(&room, &hosts[0].box, &lost);
    while ((node = list_pop_front(&lost)) != NULL) {
        end_call(LIST_ENTRY(node, struct mail, node));
    }
    gate_open(&lost_one);
}

static void
every_call_ends_once(void)
{
    os_thread callers[CALLERS], servers[HOSTS], loser;
    begin(HOSTS, 16);
    for (unsigned i = 0; i < HOSTS; i++) {
        host_init(&hosts[i]);
        CHECK_EQ(os_thread_start(&servers[i], serve, &hosts[i]), 0);
    }
    CHECK_EQ(os_thread_start(&loser, lose_one, NULL), 0);
    for (unsigned i = 0; i < CALLERS; i++) {
        CHECK_EQ(os_thread_start(&callers[i], call_many, calls[i]), 0);
    }
    for (unsigned i = 0; i < CALLERS; i++) {
        os_thread_join(&callers[i]);
    }
    os_thread_join(&loser);
    gate_await(&lost_one);
    mailroom_close(&room);
    for (unsigned i = 0; i < HOSTS; i++) {
        os_thread_join(&servers[i]);
        os_bell_close(&hosts[i].bell);
    }
    CHECK_EQ(atomic_load(&ended), CALLERS * CALLS);
    mailroom_destroy(&room);
}

int
main(void)
{
    check_limit(60);
    RUN(calls_are_taken_in_order_and_the_bell_rings_once);
    RUN(the_box_with_the_fewest_calls_gets_the_next);
    RUN(those_beyond_the_load_wait_in_order);
    RUN(one_that_is_withdrawn_makes_room);
    RUN(a_notice_reaches_who_has_the_call);
    RUN(one_beside_another_goes_where_that_is);
    RUN(a_follower_goes_with_the_one_that_waits);
    RUN(a_retired_box_gets_no_more);
    RUN(a_child_begins_with_an_empty_room);
    RUN(every_call_ends_once);
    return 0;
}
