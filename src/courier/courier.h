/*
 * courier/courier.h - delivery: the index of waiting recipients, the plan, sessions, outcomes.
 *
 * The role (roles/role_courier.c) owns loop, channels, writer and sandbox, and hands them in.
 * One message's way: a tail or the recovery gives a record -> courier/intake.c puts a row for each
 * recipient into the index (courier/index.c) -> its destination (courier/dest.c: route, MX, site)
 * has work due -> courier/session_plan.c picks source and session -> courier/session.c runs
 * smtp/client.h, the intent is made durable before the final dot -> courier/outcome.c classifies
 * the reply, writes the outcome, sends the event, makes DSNs -> a segment all settled is given
 * back.
 */
#ifndef GAPURA_COURIER_COURIER_H
#define GAPURA_COURIER_COURIER_H

#include "core/conf.h"
#include "net/chan.h"
#include "net/dns.h"
#include "spool/reader.h"
#include "spool/writer.h"
#include "store/snapshot.h"

struct courier;
struct courier_links {
    struct loop *loop;
    const char *spool_dir;       /* segments are opened here, for reading only */
    struct spool_writer *writer; /* courier's own stream */
    struct dns_client *dns;
    struct chan *spooler; /* TELL_FREE goes here, TELL_FREED comes */
    struct chan *keyring; /* signs; NULL: nothing is signed */
    struct chan *scan;    /* reads what brings reports; may be NULL */
    struct chan *gate;    /* TELL_INSIDE, TELL_LOAD, ASK_CALLOUT; may be NULL, may change */
    struct str (*file)(void *ctx, struct str path); /* files named in settings, read at start */
    void *file_ctx;
    /* Does this program listen there? What DNS sends to it would come back. NULL: nowhere */
    bool (*listens)(void *ctx, const struct endpoint *);
    void *listens_ctx;
    void (*restart)(void *ctx); /* there is something that only a start reads; may be NULL */
    void *restart_ctx;
    uint32_t node;
    unsigned slack; /* percent of closed segments that settled things may take in calm */
};
int courier_create(struct courier **ret, const struct courier_links *, const struct conf *,
                   struct why *);
void courier_free(struct courier *);
int courier_set_conf(struct courier *, const struct conf *, struct why *);
void courier_set_gate(struct courier *, struct chan *gate);
/* The keeper's index of signing keys (store/keys.h): takes fd. ERR_CORRUPT: the former one stays.
 */
int courier_set_keys(struct courier *, int fd);
void courier_keyring_lost(struct courier *); /* what it was asked has no answer */
void courier_scan_lost(struct courier *);    /* the same */
/* Begins to read what is on disk (all epochs but those in `live`), in slices beside the loop's
 * other work. `opened` (may be NULL) is called once, from the loop: 0 when all that was said of
 * mail so far is known and delivery is open, while the mail itself is still being read; negative
 * if that cannot be read. Returns 0, or negative: then it is not called. */
int courier_recover(struct courier *, const uint32_t *live_epochs, unsigned nlive,
                    void (*opened)(void *ctx, int status, const struct why *why), void *ctx,
                    struct why *);
/* A writer's live stream: from now on it is tailed. A second call for the same stream finishes the
 * former epoch as recovery does. Takes the descriptors. */
int courier_attach(struct courier *, uint16_t stream, uint32_t epoch, int share_fd, int wake_fd);
/* Messages from gate and spooler: true if the type was one of ours. */
bool courier_message(struct courier *, struct chan *from, uint16_t type, uint64_t id,
                     struct wire *body);
/* Stops taking new work, lets sessions finish their message, then calls stopped. */
void courier_stop(struct courier *, uint64_t grace_ns, void (*stopped)(void *ctx), void *ctx);

/* Control verbs (roles wire them to the control socket). `args` is a JSON object's text, each
 * result line goes to `line` as JSON, `end` once with status and a sentence for people. */
struct courier_reply {
    void (*line)(void *ctx, struct str json);
    void (*end)(void *ctx, int status, const char *text); /* ctx is not used after it */
    void *ctx;
    bool (*full)(void *ctx); /* lines wait unread: no more for now; may be NULL */
    bool (*gone)(void *ctx); /* nobody reads any more; may be NULL */
};
/* queue.list queue.show queue.summary queue.retry queue.hold queue.release queue.remove suspend
 * resume suspensions explain top.courier: false if the verb is not ours. What has much to do ends
 * in a later turn of the loop. */
bool courier_verb(struct courier *, struct str verb, struct str args, const struct courier_reply *);

#endif
