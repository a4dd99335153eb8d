/*
 * smtp/client.h - the client's half of SMTP and LMTP, as a push machine: pipelining, 8BITMIME,
 * SMTPUTF8, CHUNKING, BINARYMIME, SIZE, DSN, DELIVERBY, MT-PRIORITY, STARTTLS, AUTH, LIMITS. Knows
 * no socket, no queue.
 *
 * One message's way: ops.ready says that the session can take one -> smtp_client_send() gives
 * envelope and body -> MAIL, RCPTs and DATA go out in one group if PIPELINING -> each recipient's
 * reply by ops.rcpt -> when the server waits for the body ops.may_send asks whether the final dot
 * may go (the intent must be durable): the machine waits for smtp_client_allow() before the body ->
 * ops.done with the reply to the final dot (LMTP: ops.rcpt_done per recipient, then done).
 */
#ifndef GAPURA_SMTP_CLIENT_H
#define GAPURA_SMTP_CLIENT_H

#include "core/err.h"
#include "smtp/reply_parse.h"

struct smtp_client_conf {
    struct str ehlo; /* our name */
    bool lmtp;
    bool no_pipelining, no_chunking; /* by setting or by remembered trouble */
    enum { SMTP_TLS_NEVER, SMTP_TLS_MAY, SMTP_TLS_MUST } tls;
    bool tls_wrapped;                    /* the stream is TLS from the first byte */
    struct str auth_user, auth_password; /* empty: none. Mechs: SCRAM-SHA-256, PLAIN, LOGIN */
    bool auth_clear;    /* AUTH also without TLS, and the password shown (loopback, Unix sockets) */
    bool auth_show;     /* the password may be shown to who is at the other end of TLS */
    unsigned max_reply; /* bytes of one reply; default 8192 */
};

struct smtp_client_rcpt {
    struct str address;
    struct str orcpt;
    uint8_t notify;
};
struct smtp_client_message { /* valid until ops.done */
    struct str sender;
    const struct smtp_client_rcpt *rcpts;
    unsigned nrcpt;
    uint64_t size; /* bytes of the body, CRLF line ends, before dot-stuffing */
    bool body_8bit, utf8;
    bool requiretls; /* RFC 8689; the caller has seen that it is offered */
    bool binary;     /* goes by BDAT to a server with BINARYMIME, or not at all */
    bool by_trace;
    uint8_t by_mode; /* RFC 2852: 1 N, 2 R; 0 none. Said where DELIVERBY is offered */
    int32_t by;      /* s from now */
    int8_t priority; /* said where MT-PRIORITY is offered, if not 0 */
    uint8_t ret;
    struct str envid;
    /* Pulls the next piece of the body: view valid until the next call; n == 0 at the end. A
     * negative return aborts the connection before the final dot (nothing was delivered). */
    int (*pull)(void *ctx, struct str *ret_piece);
    void *pull_ctx;
};

enum smtp_client_offers { /* what the server offered, after ready */
                          SMTP_OFFER_PIPELINING = 1,
                          SMTP_OFFER_8BITMIME = 2,
                          SMTP_OFFER_SMTPUTF8 = 4,
                          SMTP_OFFER_CHUNKING = 8,
                          SMTP_OFFER_DSN = 16,
                          SMTP_OFFER_SIZE = 32,
                          SMTP_OFFER_STARTTLS = 64,
                          SMTP_OFFER_AUTH = 128,
                          SMTP_OFFER_ENHANCED = 256,
                          SMTP_OFFER_LIMITS = 512,
                          SMTP_OFFER_REQUIRETLS = 1024,
                          SMTP_OFFER_BINARYMIME = 2048,
                          SMTP_OFFER_DELIVERBY = 4096,
                          SMTP_OFFER_MT_PRIORITY = 8192,
};

struct smtp_client;
enum smtp_client_stage { /* where a failure happened: for events and for the retry law */
                         SMTP_AT_CONNECT,
                         SMTP_AT_BANNER,
                         SMTP_AT_EHLO,
                         SMTP_AT_STARTTLS,
                         SMTP_AT_AUTH,
                         SMTP_AT_MAIL,
                         SMTP_AT_RCPT,
                         SMTP_AT_DATA,
                         SMTP_AT_BODY,
                         SMTP_AT_DOT,
                         SMTP_AT_RSET,
                         SMTP_AT_QUIT
};
const char *smtp_client_stage_name(enum smtp_client_stage);

struct smtp_client_ops {
    void (*send)(void *ctx, const char *p, size_t n); /* copied by the stream */
    /* Bytes the stream still holds unsent: the machine pulls body only below a low-water mark and
     * goes on in smtp_client_drained(). */
    size_t (*backlog)(void *ctx);
    void (*starttls)(void *ctx); /* start the handshake, then tls_done */
    void (*ready)(void *ctx);    /* may take a message */
    /* Session cannot be used: reply is the server's (code 0: lost or protocol error, text says).
     * No message was in flight, or `done` has been called for it already. Close the stream. */
    void (*failed)(void *ctx, enum smtp_client_stage, const struct smtp_reply *);
    void (*rcpt)(void *ctx, unsigned i, const struct smtp_reply *); /* reply to RCPT i */
    void (*may_send)(void *ctx); /* answer with smtp_client_allow() */
    /* LMTP only: once for each accepted recipient, code 0 if the connection was lost before. */
    void (*rcpt_done)(void *ctx, unsigned i, const struct smtp_reply *);
    /* The message is finished: reply to MAIL (refused), to DATA, to the dot (SMTP_AT_BODY: said
     * before all of the body was there; nothing was delivered); code 0 with stage
     * SMTP_AT_DOT means that the outcome is unknown. Recipients refused at RCPT were told before:
     * the reply is for all others (stage SMTP_AT_RCPT with none left: the last refusal again).
     * Then, unless the session is dead, ready comes again. */
    void (*done)(void *ctx, enum smtp_client_stage, const struct smtp_reply *);
    void (*trace)(void *ctx, char dir, struct str line); /* 'C' ours, 'S' theirs; may be NULL */
};

struct smtp_client *smtp_client_create(const struct smtp_client_conf *,
                                       const struct smtp_client_ops *, void *ctx);
void smtp_client_free(struct smtp_client *);
void smtp_client_feed(struct smtp_client *, const char *p, size_t n);
void smtp_client_drained(struct smtp_client *); /* the stream can take more */
void smtp_client_lost(struct smtp_client *, const char *why, bool timeout); /* connection ended */
void smtp_client_tls_done(struct smtp_client *, bool ok, const char *why);
/* 0, or ERR_UNSUPPORTED: it cannot take it (*ret_why: "SMTPUTF8", "8BITMIME", "BINARYMIME",
 * "SIZE"), session stays ready; ERR_SYNTAX: no recipient, or an address that would break the line;
 * ERR_STATE if it is not ready. size 0 means unknown: no SIZE=, no BDAT. */
int smtp_client_send(struct smtp_client *, const struct smtp_client_message *,
                     const char **ret_why);
/* no: done(SMTP_AT_DATA, code 0); then RSET before the next message, or failed if 354 was there:
 * behind it only a message or the end of the connection fits. */
void smtp_client_allow(struct smtp_client *, bool yes);
void smtp_client_quit(struct smtp_client *); /* QUIT when idle; failed(SMTP_AT_QUIT) when over */
uint32_t smtp_client_offers(const struct smtp_client *);
uint64_t smtp_client_max_size(const struct smtp_client *);  /* 0: none told */
unsigned smtp_client_max_rcpts(const struct smtp_client *); /* LIMITS RCPTMAX; 0 none told */
uint64_t smtp_client_min_by(const struct smtp_client *);    /* s, DELIVERBY; 0: none told */
/* May a message with BODY=BINARYMIME be given to it? */
bool smtp_client_takes_binary(const struct smtp_client *);
unsigned smtp_client_max_mails(const struct smtp_client *);
/* ns that the present stage may last (RFC 5321 4.5.3.2), 0 when idle. */
uint64_t smtp_client_timeout(const struct smtp_client *);
/* Changes with each whole reply, command and piece of a body: what does not change it must not move
 * the deadline. */
uint64_t smtp_client_steps(const struct smtp_client *);
enum smtp_client_stage smtp_client_stage(const struct smtp_client *);
struct str smtp_client_banner(const struct smtp_client *); /* name in the greeting */

#endif
