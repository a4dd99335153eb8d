/*
 * courier/session.h - one connection to a next host (or a Maildir's worker), message by message.
 *
 * connecting -> ready (smtp client) -> takes a message from the plan -> intent on its way while
 * MAIL and RCPT go out -> intent durable and server ready: body -> outcome -> the next message, or
 * idle until one comes or the setting's time is over.
 */
#ifndef GAPURA_COURIER_SESSION_H
#define GAPURA_COURIER_SESSION_H

#include "courier/letter.h"
#include "courier/outcome.h"
#include "courier/outs.h"
#include "courier/session_plan.h"
#include "net/stream.h"
#include "net/tls.h"
#include "smtp/client.h"

enum session_state {
    SESSION_CONNECTING, /* not ready yet */
    SESSION_IDLE,
    SESSION_BUSY,   /* has a message */
    SESSION_ENDING, /* QUIT said, or lost: freed from the deferred queue */
};

/* What sign_want() says of the message in hand (courier/session_sign.h). */
enum sign_answer {
    SIGN_NOT,        /* it goes as it is */
    SIGN_READY,      /* with session.front before it */
    SIGN_WAITS,      /* session_signed() tells */
    SIGN_CANNOT,     /* it must be signed, and that is not possible now: session.sign_wait */
    SIGN_UNREADABLE, /* its bytes cannot be read: session.body_err */
};
struct sign_entry;

struct session_rcpt { /* beside rows[i] */
    struct result result;
    size_t text_at, text_n; /* in session.texts */
    size_t pattern_n;       /* behind it */
    bool told;
};
struct session {
    struct courier *c;
    struct site *site;
    uint32_t source, host;
    uint8_t state; /* enum session_state */
    bool lmtp, mail_lost, was_ready, is_tls, tls_tried, intent_done, wants_allow, in_offer;
    bool traced; /* the sender is told that the message in hand went on (courier/fit.c) */
    uint64_t number, since, messages;
    uint64_t deadline; /* mono ns; 0: none */
    struct endpoint peer;
    struct stream *stream;
    struct smtp_client *client;
    struct loop_timer timer;
    struct loop_call end_call;
    struct tls_info tls;
    /* the message in hand */
    uint32_t message, nrows, rows_cap;
    uint32_t *rows;
    struct session_rcpt *rcpts;
    struct smtp_client_rcpt *wire_rcpts;
    struct letter letter;
    struct body body;
    struct buf texts; /* replies to recipients */
    struct buf names; /* addresses in another form than the log's */
    struct out *intent;
    int body_err;
    /* its signature */
    struct sign_entry *sign; /* that it waits for */
    struct session *sign_next;
    enum sign_answer sign_said;
    struct buf front;         /* the fields */
    bool front_sent;          /* handed to the client */
    struct str peeked;        /* first piece of the body, read already */
    char signed_by[1024];     /* names of the keys, with spaces between */
    const char *unsigned_why; /* it should have been signed */
    bool forwarded;           /* it would be sealed (ARC), not signed */
    uint8_t sign_wait;        /* enum sign_wait, and for how long (ns) */
    uint64_t sign_gap;
    struct session *next, *prev;           /* of the site */
    struct session *idle_next, *idle_prev; /* of the site's idle ones, newest first */
    struct session *age_next, *age_prev;   /* of all idle ones, oldest first */
};
struct sessions {
    uint64_t n, numbers;
    struct session *idle_oldest, *idle_newest;
    struct tls_context *tls_any, *tls_verify;
};

int sessions_create(struct sessions **ret, struct courier *, struct why *);
int sessions_tls(struct courier *, struct why *); /* new settings */
void sessions_free(struct courier *);

/* NULL: no descriptor, no memory; the site is told through plan_site_failed(). */
struct session *sessions_open(struct site *, uint32_t source, uint32_t host, const struct addr *);
/* The session is idle or just became ready: true if it took a message. */
bool session_offer(struct session *);
void session_say_quit(struct session *);        /* idle: says QUIT and goes */
void session_end(struct session *, bool flush); /* now; frees later in this turn */
/* What the message in hand waited for is there, or will not be. */
void session_signed(struct session *, enum sign_answer);
bool sessions_close_one_idle(struct courier *, const struct site *not_of);

/* session_soft.c: what the site takes from a source. */
/* Of two that are in force the lower limit counts, and the later end. */
void session_soften(struct site *, uint32_t source, uint64_t limit, uint64_t until);
/* No more connections from that source now; *ret_until: until then, or until one ends. */
bool session_site_full(const struct site *, uint32_t source, uint64_t *ret_until);
unsigned session_count(const struct site *, uint32_t source, bool busy);

/* session_job.c: the message in hand. */
bool job_take(struct session *); /* loads one, hands it to the client, writes the intent */
void job_rcpt(struct session *, unsigned i, enum smtp_client_stage, const struct smtp_reply *);
void job_done(struct session *, enum smtp_client_stage, const struct smtp_reply *);
bool job_signed(struct session *, enum sign_answer); /* true: it is on its way */
void job_forget(struct session *);                   /* the session goes: rows are ready again */

/* Refused by ourselves, for what the next hop cannot take. */
void job_unfit(struct session *, uint16_t subject, uint16_t detail, const char *text);
void job_unread(struct session *); /* its bytes cannot be read: session.body_err */

/* session_send.c: the same, on its way out. */
bool job_send(struct session *); /* the loaded message to the client: true if it is on its way */
void job_may_send(struct session *);

/* maildir.c: hands the next messages of a site's Maildir host to threads; their ends come later. */
void maildir_run(struct site *, uint32_t source, struct site_host *);
void maildirs_free(struct courier *); /* waits for what is being written */

/* reading.c: the next message of the site of reports goes to the scan role, one at a time. */
struct reading *reading_create(struct courier *); /* NULL: no memory */
void reading_free(struct courier *);
void reading_run(struct site *);
void reading_answer(struct courier *, uint64_t id, struct wire *body); /* ASK_READ_ANSWER */
void reading_lost(struct courier *); /* what was asked has no answer */

#endif
