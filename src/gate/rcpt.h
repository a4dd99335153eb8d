/*
 * gate/rcpt.h - who a recipient is: served domain, alias, directory, callout, catch-all, SRS.
 *
 * A pure evaluation over known answers (settings, snapshot, lookup cache): it runs from the start
 * each time another answer has come, and ends with targets or with a reason.
 */
#ifndef GAPURA_GATE_RCPT_H
#define GAPURA_GATE_RCPT_H

#include "gate/lookup.h"
#include "gate/rcpt_set.h"
#include "gate/setup.h"
#include "policy/stage.h"

#define RCPT_TARGETS_MAX 1000u /* of one alias, nested ones included */
#define RCPT_DEPTH       10u   /* of aliases within aliases */
#define RCPT_WORK_MAX    5000u /* entries looked at for one recipient, repeated ones included */
#define RCPT_WORK_ALL    (10 * RCPT_WORK_MAX) /* for all recipients of one message */

struct rcpt_target {
    struct str address;                /* for RCPT TO */
    const struct setup_domain *domain; /* NULL: outside */
    bool forwarded;                    /* by an alias */
    bool inside;                       /* a served domain (also one that only the store names) */
};
struct rcpt_result {
    uint8_t state; /* enum stage_rcpt */
    uint16_t code; /* reply that fits the state; 0: the usual one */
    const char *enhanced;
    struct str why; /* sentence for the client; may be empty */
    struct rcpt_target *targets;
    unsigned n;
    uint32_t owner; /* tenant of the domain that the client named */
    bool srs;       /* taken, as a sender that we rewrote: its digest is ours */
};
struct rcpt_query {
    const struct setup *setup;
    const struct snapshot *snapshot; /* may be NULL */
    struct lookup *lookup;
    struct arena *arena;
    bool may_relay, null_sender;
    bool crowded; /* its network may not ask anybody now */
    uint64_t now_s;
    struct addr local; /* ours, as the client knows it: for <postmaster@[it]> */
    struct address address;
    void (*done)(void *ctx);
    void *ctx;
    struct rcpt_result result;
    bool put_off; /* crowded, and somebody is to be asked: resolve again later */
    /* Own: */
    unsigned cap, work;
    struct rcpt_set set; /* of the targets' addresses */
    struct lookup_wait wait;
    struct {
        bool known;
        struct lookup_answer answer;
    } answers[2];   /* for the address, and for it without its extension */
    uint8_t asking; /* which of them */
};
/* The fields above `result` are set by the caller. True: q->result is there. False: done() will be
 * called, unless it is put_off. */
bool rcpt_resolve(struct rcpt_query *);
void rcpt_cancel(struct rcpt_query *);

#endif
