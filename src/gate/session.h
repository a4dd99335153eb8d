/*
 * gate/session.h - one connection: stream below, smtp engine above, stages beside.
 *
 * An idle session is this struct, its stream and its engine; a message's memory comes with MAIL
 * and goes with the reply. Everything a session waits for is cancelled in session_free().
 */
#ifndef GAPURA_GATE_SESSION_H
#define GAPURA_GATE_SESSION_H

#include "core/event.h"
#include "gate/limits.h"
#include "gate/tx.h"
#include "net/dns_quota.h"
#include "policy/pipeline.h"

#define SESSION_ARENA_MAX (64u << 10)
#define SESSION_NO_LOOKUPS                                                                         \
    "Too many DNS look-ups for your mail are unanswered, try again later; see that the name "      \
    "servers of your domains answer"

/* What the session does when the pipeline, the resolver of recipients or a timer comes back. */
enum session_step {
    SESSION_IDLE,
    SESSION_CONNECT,
    SESSION_HELO,
    SESSION_MAIL,
    SESSION_RCPT,
    SESSION_HEADER,
    SESSION_BODY,
};

struct session {
    struct gate *gate;
    struct setup *setup;
    const struct setup_listen *listen;
    struct gate_listener *at;
    struct session *next, **prev;
    struct stream *stream;
    struct smtp_server *smtp;
    struct tx *tx;
    struct limit *by_address, *by_network, *by_wide; /* counted there; NULL for trusted clients */
    struct dns_quota *quota; /* questions that it causes; NULL for trusted clients */
    char id[32];             /* in all events: node, epoch and a number, in hex */
    uint64_t started, since; /* mono ns: of the session; of the last thing we answered */
    uint64_t rate_at, rate_bytes;
    uint64_t auth_started;
    uint64_t auth_number; /* the keyring's name for this exchange */
    uint64_t auth_ask;    /* open question to the keyring, 0 none */
    struct loop_timer timer, delay;
    void (*delayed)(struct session *);
    struct loop_call end;
    struct arena arena; /* findings of connect and helo; nothing until there are any */
    struct verdict verdict;
    struct stage_facts facts;
    struct pipeline pipeline;
    struct proxy *proxy;         /* while its header is awaited */
    struct addr own;             /* ours, as the client knows it */
    char *helo, *user;           /* owned texts of the facts */
    char *said_name, *said_helo; /* by XCLIENT: in place of what we find and hear */
    uint8_t step;                /* enum session_step */
    bool trusted;                /* by network, on a listener that lets it relay */
    bool left;                   /* the stream keeps bytes that the engine did not take */
    bool begun;                  /* the greeting was said or is being decided */
    bool refused;                /* greeted with 5yz */
    bool half;                   /* the client sends no more, and still waits for an answer */
    bool ending, in_data, paused, auth_running;
    bool local; /* a user of this machine, by a Unix socket */
    uint32_t local_uid;
    char uid[16];                 /* who that is: "uid 1000"; empty if not local */
    bool xclient, moved, crowded; /* may say XCLIENT; did; and that client is over a limit */
    bool unnamed;       /* behind a proxy that did not say who: its own trust is not the client's */
    bool asking;        /* counted in by_network and by_wide */
    bool auth_external; /* the exchange is EXTERNAL, which is ours to decide */
};

/* session_open.c */
struct gate_listener;
void session_open(struct gate *, struct gate_listener *, int fd, const struct endpoint *peer);
void session_free(struct session *); /* closes at once */

/* session_place.c. Whose session it is: trust, and the counts of limits. False: one too many. */
bool session_place(struct session *, const struct endpoint *client);
void session_uncounted(struct session *);       /* those counts are given back */
bool session_may_ask(const struct session *);   /* about a recipient: has its network room? */
void session_asks(struct session *, bool asks); /* it does, or no longer */
struct limit *session_customer(const struct session *); /* its /24 or, of IPv6, /48; or NULL */
/* ns until that network may begin one more transaction; 0 now. */
uint64_t session_mail_wait(const struct session *);
void session_mail_over(struct session *); /* counts the transaction if it brought no message */

bool session_xclient(void *ctx, const struct smtp_xclient *); /* session_xclient.c */
/* session.c */
extern const struct smtp_server_ops session_smtp_ops;
void session_staged(void *session, const struct finding *decisive);
void session_delayed(void *session);
void session_quit(void *session); /* sends what is queued and ends, from the loop */
void session_close(struct session *, const char *enhanced, const char *text); /* 421 */
/* The engine's reply; resumes the stream if it holds input. */
void session_reply(struct session *, int code, const char *enhanced, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
void session_say(struct session *, int code, const char *enhanced, const char *text);
void session_resume(struct session *); /* after an answer that was given some other way */
void session_finding(struct session *, const struct finding *); /* replies with it */
bool session_between(const struct session *);                   /* no message under way */
bool session_tls(const struct session *, struct tls_info *ret);
/* Runs a stage; at the end session_staged() goes on with what the step says. */
void session_stage(struct session *, enum session_step, struct verdict *);
void session_wait(struct session *, uint64_t ns, void (*then)(struct session *));

/* A copy whose parts are views into the copy; false: no room. */
bool session_copy_address(struct arena *, const struct address *a, struct address *ret);
struct str session_key_domain(struct str key); /* behind the last @; may be empty */
struct user_rights;
int session_login_known(const struct session *, struct str folded); /* 1, 0, ERR_STATE: not now */
void session_rights(const struct session *, struct user_rights *ret);

/* The engine's callbacks, and what follows when a stage is over (NULL: nothing against it). */
void session_auth(void *ctx, struct str mech, struct str initial);
void session_auth_step(void *ctx, struct str response);
void session_auth_cancel(void *ctx);
void session_auth_offer(struct session *); /* TLS is there: what it makes possible */
void session_auth_stop(struct session *);  /* lets the exchange go; the login so far stays */
void session_forget_user(struct session *);
void session_mail(void *ctx, const struct smtp_mail_params *);
void session_mail_staged(struct session *, const struct finding *);
void session_reset(void *ctx);
void session_rcpt(void *ctx, const struct smtp_rcpt_params *);
void session_rcpt_staged(struct session *, const struct finding *);
void session_vrfy(void *ctx, struct str arg);
void session_data(void *ctx);
void session_body(void *ctx, const char *p, size_t n);
void session_body_void(void *ctx);
void session_data_end(void *ctx, const struct header_scan *);
void session_header_staged(struct session *, const struct finding *);
void session_body_staged(struct session *, const struct finding *);

/* report.c: events. */
void report_refused(struct session *, const char *command, int code, const char *enhanced,
                    struct str text, struct str rcpt);
/* By the engine or a ceiling. `said`: the recipient, or the sender of a MAIL that opened nothing.
 */
void report_unjudged(struct session *, const char *command, int code, const char *enhanced,
                     const char *text, struct str said);
void report_turned_away(struct session *, unsigned before); /* so many, of which nothing was said */
void report_auth(struct session *, struct str user, bool good, const char *why);
void report_reception(const struct tx *, const struct tx_variant *);
void report_closed(struct session *, const char *why);
void report_authentication(struct event *, const struct tx *); /* report_auth.c */

#endif
