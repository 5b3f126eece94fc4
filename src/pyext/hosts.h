/* hosts: coroutine functions of an executor, from the call to the host that serves it. The caller's side.
 *
 * A host is one long tagged task of a crew of its own (`inner`), made with the first call of a coroutine function:
 * it runs an event loop in its interpreter and serves many calls at a time (hosting). So coroutines neither
 * wait for the executor's tagged tasks nor hold them up. A call is a task like any other, encoded in the same way;
 * it is not queued in a pool, but posted to a host's mailbox (core/mailbox).
 *
 * A host starts when all that run have something to do and there are fewer than the executor may have interpreters.
 * It ends with the executor; or it dies, or is set aside (stopping): then its calls end with an error that says so, and
 * the next call has another host.
 *
 * Who may touch what:
 *   struct hosts     plain memory, counted; the room by its own lock. `inner` with the main GIL
 *   struct host      plain memory, counted; `crew`, `ended` with the main GIL. Its task holds it
 *   struct hosted    of a task: `call` by the host's thread; the rest is constant once posted
 *
 * Everything here wants the caller attached to the interpreter that made the executor, unless it says otherwise.
 */
#ifndef AIOINTERP_HOSTS_H
#define AIOINTERP_HOSTS_H

#include "../core/combine.h"
#include "../core/mailbox.h"
#include "../core/stats.h"
#include "crew.h"
#include "state.h"
#include "task.h"

/* Nanoseconds that a host has to do by itself what is asked of it, before its current coroutine is interrupted. */
enum { HOST_PATIENCE = 250000000 };

struct hosts {
    atomic_uint refs;
    struct mailroom room;
    struct state *state;         /* of the interpreter that made the executor; constant */
    struct crew *inner;          /* whose workers run the hosts; held for the crew that owns this */
    struct combiner told;        /* calls that have ended and must be told, together */
    atomic_int_fast64_t stop_at; /* when all was asked to stop; OS_FOREVER */
    double grace;                /* seconds, or negative: for ever; constant */
    bool stopped;                /* hosts_stop() */
    atomic_uint_fast64_t counts[STATS_EVENTS]; /* of calls (relaxed) */
};

struct host {
    atomic_uint refs;
    struct hosts *hosts; /* held; constant */
    struct mailbox box;
    os_bell bell;         /* constant; closed with the last reference */
    atomic_bool reminded; /* the watch was told to see whether it gets on (hosting) */
    struct task *
        task; /* borrowed; the host's own. Of use as long as that runs, or, with the main GIL, until `ended` */
    struct crew *crew; /* the executor's, held until `ended` */
    bool ended;
    PyObject *object; /* the Host in its interpreter, borrowed, or NULL; with that one's GIL */
};

typedef enum { HOSTED_COROUTINE, HOSTED_GENERATOR, HOSTED_FETCH, HOSTED_HOST } hosted_kind;

/* What a task has that is a call for hosts, or a host itself. */
struct hosted {
    struct mail mail;
    struct task *task; /* whose part this is */
    hosted_kind kind;
    struct hosts *hosts; /* held; from when it is posted */
    void *call;          /* the host's record of it (hosting); the host's thread */
    unsigned buffer;     /* GENERATOR: items that it may be ahead */
    struct task *stream; /* FETCH: the generator's; held */
    uint64_t taken;      /* FETCH: items that were taken from the iterator until now */
    bool closes;         /* FETCH: the generator is to be closed */
    struct host *host;   /* HOST: held */
};

/* Makes a task a call for hosts, before it is queued. -1 with an exception. */
int hosts_mark(struct task *task, hosted_kind kind);
/* For task_free(); any thread. */
void hosts_unmark(struct task *task);

/* Has a host take the call, which it takes a reference to; starts one if need be. -1 with an exception. */
int hosts_post(struct state *state, struct crew *crew, struct task *task);
/* The same for the next items of a stream, whose task is not done yet; 0, too, if it is not there any more: nothing was done
 * then, and `*posted` is false. */
int hosts_post_fetch(struct task *task, struct task *stream, uint64_t taken, bool closes,
                     bool *posted);
/* Takes out a call that was cancelled before a host took it. False: it is too late. */
bool hosts_withdraw(struct task *task);
/* The call was cancelled while it ran: its host shall stop it. */
void hosts_ask(struct task *task);

/* -- the crew that has them (or NULL) -- */

/* No more calls; those that were accepted are finished. Needs no GIL. */
void hosts_close(struct hosts *hosts);
void hosts_cancel_pending(struct hosts *hosts);
/* Closes, cancels what has not started, and has hosts cancel what runs. May be called twice. */
void hosts_stop(struct hosts *hosts);
/* The crew goes. */
void hosts_release(struct hosts *hosts);

/* For a host's thread, at main: starts another one if calls wait for one. */
void hosts_look_after(struct host *host);

void host_hold(struct host *host);
/* Any thread. */
void host_drop(struct host *host);
/* Counts the end of a call. Any thread. */
void hosts_count(struct hosts *hosts, const struct task *task, enum stats_event event);

/* -- fork: as the locks of the pools -- */
void hosts_before_fork(struct hosts *hosts);
void hosts_after_fork_in_parent(struct hosts *hosts);
void hosts_after_fork_in_child(struct hosts *hosts);

#endif
