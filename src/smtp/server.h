/*
 * smtp/server.h - the server's half of SMTP (RFC 5321), as a push machine: bytes in, replies out,
 * decisions by callbacks. Knows no socket, no queue, no policy.
 *
 * One message's way: smtp_server_feed() takes what the stream has -> a line -> the verb table says
 * whether the verb may come now -> its callback decides and answers with smtp_server_reply(), at
 * once or later (WAIT: no further input is taken until it does; pipelined input stays with the
 * caller) -> DATA or BDAT: body bytes go, unstuffed and with clean CRLF line ends, to ops.body ->
 * at the end ops.data_end -> the reply.
 *
 * Replies to pipelined commands are gathered and given to ops.send once per feed.
 * Only CRLF.CRLF ends DATA. A bare CR or LF in content is normalised to CRLF or refused (554 5.6.0
 * at the end), never passed on. In commands a bare CR or LF is refused unless conf.lax_lines.
 */
#ifndef GAPURA_SMTP_SERVER_H
#define GAPURA_SMTP_SERVER_H

#include "core/arena.h"
#include "mail/address.h"
#include "mail/header.h"

enum smtp_ext { /* bits of smtp_server_conf.offer */
    SMTP_EXT_PIPELINING = 1 << 0,
    SMTP_EXT_SIZE = 1 << 1,
    SMTP_EXT_8BITMIME = 1 << 2,
    SMTP_EXT_SMTPUTF8 = 1 << 3,
    SMTP_EXT_CHUNKING = 1 << 4,
    SMTP_EXT_DSN = 1 << 5,
    SMTP_EXT_ENHANCED = 1 << 6,
    SMTP_EXT_STARTTLS = 1 << 7,
    SMTP_EXT_AUTH = 1 << 8,
    SMTP_EXT_LIMITS = 1 << 9,
    SMTP_EXT_HELP = 1 << 10,
    SMTP_EXT_VRFY = 1 << 11,
    SMTP_EXT_REQUIRETLS = 1 << 12,
};

struct smtp_server_conf { /* lives at least as long as the sessions that use it */
    struct str hostname;
    struct str banner_text;   /* behind "220 host ESMTP " */
    uint32_t offer;           /* SMTP_EXT_*; STARTTLS and AUTH are also gated by the state */
    uint64_t max_size;        /* message bytes */
    struct str auth_mechs;    /* "PLAIN LOGIN SCRAM-SHA-256" */
    unsigned max_rcpts;       /* per message, then 452 4.5.3 */
    unsigned max_messages;    /* per session, 0 no limit: LIMITS MAILMAX, then 421 */
    unsigned max_line;        /* command line with CRLF; default 2048 (512 + extensions) */
    unsigned max_auth_line;   /* 12288 (RFC 4954 4) */
    unsigned max_commands;    /* commands without a message (NOOP, RSET ...) before 421 */
    unsigned max_errors;      /* 5yz to the client's doing before 421 */
    unsigned max_received;    /* Received fields before 554 5.4.6 */
    unsigned max_header;      /* bytes of the header block before 552 */
    bool require_tls;         /* 530 5.7.0 to all but EHLO NOOP STARTTLS QUIT */
    bool require_auth;        /* 530 5.7.0 to MAIL before AUTH, unless trusted */
    bool auth_plain_text;     /* AUTH without TLS (off; on only for trusted local use) */
    bool bare_refuse;         /* bare CR or LF in content: refuse rather than normalise */
    bool lax_lines;           /* commands may end in bare LF (trusted networks only) */
    bool submission;          /* message submission: RFC 6409 */
    bool lmtp;                /* LHLO, a reply per recipient */
};

struct smtp_mail_params {
    struct address from;
    uint64_t size;            /* declared, 0 none */
    bool body_8bit, utf8, requiretls;
    uint8_t ret;              /* 0 none, 1 FULL, 2 HDRS */
    struct str envid;         /* xtext as given, checked */
    struct str auth;          /* AUTH= value as given, checked */
};
struct smtp_rcpt_params {
    struct address to;
    uint8_t notify;           /* SPOOL_NOTIFY_* bit values: NEVER 1 SUCCESS 2 FAILURE 4 DELAY 8 */
    struct str orcpt;         /* "type;xtext" as given, checked */
};

struct smtp_server;

/* Every callback that ends in "-> reply" must call smtp_server_reply() once, now or later. Views
 * are valid only during the call. Any callback may call smtp_server_close() or smtp_server_free():
 * what is gathered is still sent, memory goes when the outermost call returns. */
struct smtp_server_ops {
    void (*send)(void *ctx, const char *p, size_t n); /* to the stream; n bytes are copied by it */
    /* -> 220, 421, or 554: then all but QUIT gets 503. With 220 the engine says "220 hostname ESMTP
     * banner_text" (the text given, if that is empty); a text that begins with hostname stands. */
    void (*connect)(void *ctx);
    /* name is syntactically fine -> 250: the engine puts hostname before the text (unless it begins
     * with it) and the extensions behind. */
    void (*helo)(void *ctx, struct str name, bool ehlo);
    void (*mail)(void *ctx, const struct smtp_mail_params *);   /* -> reply */
    void (*rcpt)(void *ctx, const struct smtp_rcpt_params *);   /* -> reply */
    void (*data)(void *ctx);   /* -> 354 opens the body (BDAT: any 2yz/3yz goes on), else refused */
    void (*body)(void *ctx, const char *p, size_t n); /* clean bytes; may be called often */
    /* Whole body is here -> reply. `scan` counts; refusals the engine itself finds (size, loop,
     * bare line ends, header too long) never reach this: it answers and calls `reset`. `scan` is
     * gone once the (last) reply is given. */
    void (*data_end)(void *ctx, const struct header_scan *scan);
    /* The transaction is void: RSET, new EHLO, MAIL refused, engine's refusal, after data_end. Only
     * between ops.mail and the end of that transaction, and once. Not at QUIT or close. */
    void (*reset)(void *ctx);
    /* SASL: start has the initial response (decoded) or .p == NULL -> smtp_server_auth(). */
    void (*auth)(void *ctx, struct str mech, struct str initial);
    void (*auth_step)(void *ctx, struct str response); /* decoded; -> smtp_server_auth() */
    void (*auth_cancel)(void *ctx);
    void (*starttls)(void *ctx); /* 220 was sent: start the handshake, then smtp_server_tls_done */
    void (*vrfy)(void *ctx, struct str arg); /* -> reply; NULL: 252 */
    void (*quit)(void *ctx);     /* 221 or 421 was sent: close after sending */
    /* Each command, before it is run, and each reply: for trace. May be NULL. */
    void (*trace)(void *ctx, char dir, struct str line);
};

struct smtp_server *smtp_server_create(const struct smtp_server_conf *,
                                       const struct smtp_server_ops *, void *ctx);
void smtp_server_free(struct smtp_server *);
void smtp_server_start(struct smtp_server *); /* calls ops.connect */
/* Takes bytes; returns how many it consumed: fewer than n while it waits for a callback's answer
 * or for TLS, else all (partial lines are kept inside). Never fails: it answers. What stands behind
 * STARTTLS in the same call is consumed and dropped; the caller drops what else it holds of plain
 * text before the handshake (stream_drop_pending). Not to be called from inside a callback. */
size_t smtp_server_feed(struct smtp_server *, const char *p, size_t n);
bool smtp_server_waiting(const struct smtp_server *); /* a callback owes an answer */
/* code 250, enh "2.1.5" or NULL, text without line breaks or with \n between lines. 421 closes.
 * After it, if input is left with the caller, the caller feeds again. */
void smtp_server_reply(struct smtp_server *, int code, const char *enh, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* LMTP: it comes once per accepted recipient, in order, for data_end. */
enum smtp_auth_result { SMTP_AUTH_OK, SMTP_AUTH_CHALLENGE, SMTP_AUTH_FAIL, SMTP_AUTH_TEMP };
/* data: challenge, or final server data with OK (sent as a last challenge), raw bytes. */
void smtp_server_auth(struct smtp_server *, enum smtp_auth_result, struct str data);
/* The handshake is over: state is as after connect (RFC 3207 4.2); buffered input was dropped. */
void smtp_server_tls_done(struct smtp_server *, bool ok);
/* Offers for this session from now on (another EHLO needed): e.g. less after the rcpt is known. */
void smtp_server_set_conf(struct smtp_server *, const struct smtp_server_conf *);
void smtp_server_set_trusted(struct smtp_server *, bool trusted); /* no AUTH needed; lax lines ok */
void smtp_server_set_tls(struct smtp_server *); /* implicit TLS: already secure before start */
/* 421 with that text, then ops.quit: timeouts, shutdown, overload. */
void smtp_server_close(struct smtp_server *, const char *enh, const char *text);

enum smtp_server_state {
    SMTP_CONNECT, SMTP_GREETED, SMTP_READY, SMTP_MAIL, SMTP_RCPT, SMTP_DATA, SMTP_BDAT,
    SMTP_AUTH, SMTP_TLS, SMTP_CLOSED
};
enum smtp_server_state smtp_server_state(const struct smtp_server *);
const char *smtp_server_state_name(enum smtp_server_state);
bool smtp_server_is_tls(const struct smtp_server *);
bool smtp_server_is_esmtp(const struct smtp_server *);
unsigned smtp_server_errors(const struct smtp_server *);
bool smtp_server_is_authed(const struct smtp_server *);
/* Input came behind EHLO, DATA, STARTTLS ... (RFC 2920 3.1): nothing is refused for it. */
bool smtp_server_early(const struct smtp_server *);

#endif
