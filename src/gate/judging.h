/*
 * gate/judging.h - the verdict on a message, for each of its recipients: kept while they come, made
 * at the end of the body, written down beside the envelope and in the event.
 *
 * session_rcpt.c says who each recipient is (judge_aim, judge_given); session_data.c asks at the
 * end (judge_message); accept.c takes the record for the log, report.c the one for the event. The
 * law is policy/judgement.h's; here is what of it the gate can carry out.
 */
#ifndef GAPURA_GATE_JUDGING_H
#define GAPURA_GATE_JUDGING_H

#include "policy/record.h"

#define JUDGE_RECORD_ROOM (512u << 10) /* of an arena for a record */

struct session;
struct tx;
struct tx_variant;

struct judge_given {               /* a recipient as the client named it */
    const struct profile *profile; /* NULL: none judges (whoever may relay) */
    uint32_t judgement;            /* number, when there are judgements */
    bool own;                      /* something was found of it alone */
};
struct judge_aim {         /* what it led to; several may lead to the same */
    uint32_t given, index; /* index: of the variant's recipients */
    uint8_t variant;
};
struct judging { /* of a message; memory is its arena's */
    struct judge_given *given;
    struct judge_aim *aims;
    uint32_t ngiven, cap_given, naims, cap_aims;
    struct judgement *judgements; /* after judge_message(); none if nothing was found */
    uint32_t n;
};

/* ---- judge.c ---- */

/* The recipient that is being taken leads to that one of the variant. ERR_LIMIT. */
int judge_aim(struct tx *, const struct tx_variant *, uint32_t index);
/* It is taken: judged by the profile of its domain. ERR_LIMIT. */
int judge_given(struct tx *);

struct judge_reply {
    uint16_t code;
    const char *enhanced;
    char text[512];
};
/* True: the message is taken, and recipients that are to be held are marked. False: the reply. */
bool judge_message(struct tx *, struct judge_reply *);

/* Fields in front of a stranger's message: one for each verdict that tags or holds, since all
 * recipients have the same bytes. must: one that says pass if there is none. */
void judge_fields(const struct tx *, struct buf *out, bool must);

/* The record of what was found: for a variant of a judged message, or (v NULL) of all so far, of
 * the recipient that is being refused if `rcpt`. No verdicts in it: nothing was found. Memory is
 * the arena's. */
int judge_record(const struct session *, const struct tx *, const struct tx_variant *, bool rcpt,
                 struct arena *, struct record *ret);
/* judge_spf.c: adds how SPF came to its results. */
void judge_spf(struct tx *, struct record *);
/* Makes the variant's record, once, and gives its bytes for the log, both in the message's arena;
 * empty if nothing was found or there was no room. The event takes it from the variant. */
struct str judge_bytes(struct tx_variant *);

#endif
