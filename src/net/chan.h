/*
 * net/chan.h - typed messages and descriptors between roles, over SOCK_SEQPACKET pairs.
 *
 * A message is (type, id, body up to 60 KiB, at most one descriptor). The reader must consume the
 * body whole: if it did not when it returns (wire_end), or calls chan_refuse for a type it does not
 * know, the two sides are not of one mind and the channel is closed. Sending never blocks: what the
 * kernel does not take is queued up to a ceiling; beyond it chan_send gives ERR_LIMIT and the
 * caller decides (events of refusals are dropped and counted, outcomes never go by channel).
 */
#ifndef GAPURA_NET_CHAN_H
#define GAPURA_NET_CHAN_H

#include "core/err.h"
#include "core/wire.h"
#include "net/loop.h"

#define CHAN_BODY_MAX 61440u

struct chan;
struct chan_ops {
    /* fd is -1 or the callee's to close. */
    void (*message)(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd);
    void (*closed)(void *ctx); /* the other role is gone; the channel stays until chan_free */
};
/* Takes fd; -1: not connected yet, messages wait for chan_renew. */
struct chan *chan_create(struct loop *, int fd, const struct chan_ops *, void *ctx);
void chan_free(struct chan *);   /* closes; NULL is fine; also inside the channel's callbacks */
void chan_refuse(struct chan *); /* ends the connection; ops.closed follows, deferred */
/* Replaces the descriptor after the other role was started again; queued messages are kept. */
void chan_renew(struct chan *, int fd);
bool chan_open(const struct chan *);
/* Did it end by what the other side sent, rather than by that side's end? Until chan_renew. */
bool chan_faulty(const struct chan *);
/* body may be NULL; fd -1 or a descriptor that is duplicated into the message. 0, or ERR_LIMIT:
 * body too large, or 4 MiB, 16384 messages or 64 descriptors wait already; or -errno. */
int chan_send(struct chan *, uint16_t type, uint64_t id, const struct buf *body, int fd);
int chan_pair(int ret[2]); /* a connected pair, close-on-exec, non-blocking; 0 or -errno */

/* Questions that wait for their answers: an id for each, a callback, a timeout. */
struct chan_asks;
struct chan_asks *chan_asks_create(struct loop *, unsigned max);
void chan_asks_free(struct chan_asks *); /* drops all without calling */
/* fn gets status 0 and the body; or ERR_TIMEOUT or ERR_CLOSED, an empty body and fd -1. fd is fn's
 * to close. Returns the id, 0 if full. */
uint64_t chan_ask_add(struct chan_asks *, uint64_t timeout_ns,
                      void (*fn)(void *ctx, int status, struct wire *body, int fd), void *ctx);
/* True if it was asked and not yet over; else the body is skipped and fd closed. */
bool chan_ask_answer(struct chan_asks *, uint64_t id, struct wire *body, int fd);
void chan_ask_cancel(struct chan_asks *, uint64_t id);
void chan_asks_fail(struct chan_asks *, int status); /* the role at the other end is gone */

#endif
