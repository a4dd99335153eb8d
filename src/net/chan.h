/*
 * net/chan.h - typed messages and descriptors between roles, over SOCK_SEQPACKET pairs.
 *
 * A message is (type, id, body up to 60 KiB, at most one descriptor). The reader must consume the
 * body whole (wire_end), an unknown type is fatal to the channel. Sending never blocks: what the
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
struct chan *chan_create(struct loop *, int fd, const struct chan_ops *, void *ctx);
void chan_free(struct chan *); /* closes; NULL is fine */
/* Replaces the descriptor after the other role was started again; queued messages are kept. */
void chan_renew(struct chan *, int fd);
bool chan_open(const struct chan *);
/* body may be NULL; fd -1 or a descriptor that is duplicated into the message. */
int chan_send(struct chan *, uint16_t type, uint64_t id, const struct buf *body, int fd);
int chan_pair(int ret[2]); /* a connected pair, close-on-exec, non-blocking; 0 or -errno */

/* Questions that wait for their answers: an id for each, a callback, a timeout. */
struct chan_asks;
struct chan_asks *chan_asks_create(struct loop *, unsigned max);
void chan_asks_free(struct chan_asks *); /* drops all without calling */
/* fn gets status 0 and the body, ERR_TIMEOUT or ERR_CLOSED. Returns the id, 0 if full. */
uint64_t chan_ask_add(struct chan_asks *, uint64_t timeout_ns,
                      void (*fn)(void *ctx, int status, struct wire *body, int fd), void *ctx);
bool chan_ask_answer(struct chan_asks *, uint64_t id, struct wire *body, int fd);
void chan_ask_cancel(struct chan_asks *, uint64_t id);
void chan_asks_fail(struct chan_asks *, int status); /* the role at the other end is gone */

#endif
