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
#include "smtp/params.h"

struct smtp_server;
struct smtp_refusal; /* smtp/reply.h */

/* Every callback that ends in "-> reply" must call smtp_server_reply() once, now or later. Views
 * are valid only during the call. Any callback may call smtp_server_close() or smtp_server_free():
 * what is gathered is still sent, memory goes when the outermost call returns. */
struct smtp_server_ops {
    void (*send)(void *ctx, const char *p, size_t n); /* to the stream; n bytes are copied by it */
    /* Do so many replies wait unread, with `gathered` bytes still in here, that no more commands
     * should be taken now? Then feed leaves them with the caller. May be NULL. */
    bool (*full)(void *ctx, size_t gathered);
    /* -> 220, 421, or 554: then all but QUIT gets 503. With 220 the engine says "220 hostname ESMTP
     * banner_text" (the text given, if that is empty); a text that begins with hostname stands. */
    void (*connect)(void *ctx);
    /* name is syntactically fine -> 250: the engine puts hostname before the text (unless it begins
     * with it) and the extensions behind. */
    void (*helo)(void *ctx, struct str name, bool ehlo);
    void (*mail)(void *ctx, const struct smtp_mail_params *); /* -> reply */
    void (*rcpt)(void *ctx, const struct smtp_rcpt_params *); /* -> reply */
    void (*data)(void *ctx); /* -> 354 opens the body (BDAT: any 2yz/3yz goes on), else refused */
    void (*body)(void *ctx, const char *p, size_t n); /* clean bytes; may be called often */
    /* The engine itself refuses the message, of which more still comes: no more of it is given to
     * body, and reset follows at its end, which may be far. May be NULL. */
    void (*body_void)(void *ctx);
    /* Whole body is here -> reply. `scan` counts; refusals the engine itself finds (size, loop,
     * bare line ends, header too long) never reach this: it answers and calls `reset`. `scan` is
     * gone once the (last) reply is given. */
    void (*data_end)(void *ctx, const struct header_scan *scan);
    /* The engine itself refuses MAIL, a recipient or a message, or closes because of what came, and
     * says so next; for the record. `command` is MAIL, RCPT, DATA (BDAT too) or CONNECT, `said` the
     * path as it came, else empty. Of recipients over max_rcpts only the first is told. May be
     * NULL. */
    void (*refused)(void *ctx, const char *command, const struct smtp_refusal *, struct str said);
    /* The transaction is void: RSET, new EHLO, MAIL refused, engine's refusal, after data_end. Only
     * between ops.mail and the end of that transaction, and once. Not at QUIT or close. */
    void (*reset)(void *ctx);
    /* SASL: start has the initial response (decoded) or .p == NULL -> smtp_server_auth(). */
    void (*auth)(void *ctx, struct str mech, struct str initial);
    void (*auth_step)(void *ctx, struct str response); /* decoded; -> smtp_server_auth() */
    void (*auth_cancel)(void *ctx);
    void (*starttls)(void *ctx); /* 220 was sent: start the handshake, then smtp_server_tls_done */
    /* Whose session this really is; false: a value is wrong, nothing was taken. Then comes connect
     * again. May be NULL. */
    bool (*xclient)(void *ctx, const struct smtp_xclient *);
    uint64_t (*now_s)(void *ctx);            /* wall time; may be NULL: no FUTURERELEASE */
    void (*vrfy)(void *ctx, struct str arg); /* -> reply; NULL: 252 */
    void (*quit)(void *ctx);                 /* 221 or 421 was sent: close after sending */
    /* Each command, before it is run, and each reply: for trace. May be NULL. */
    void (*trace)(void *ctx, char dir, struct str line);
};

struct smtp_server *smtp_server_create(const struct smtp_server_conf *,
                                       const struct smtp_server_ops *, void *ctx);
void smtp_server_free(struct smtp_server *);
void smtp_server_start(struct smtp_server *); /* calls ops.connect */
/* Takes bytes; returns how many it consumed: fewer than n while it waits for a callback's answer
 * or for TLS or the client does not read its replies (ops.full), else all (partial lines are kept
 * inside). Never fails: it answers. What stands behind STARTTLS in the same call is consumed and
 * dropped; the caller drops what else it holds of plain text before the handshake
 * (stream_drop_pending). Not to be called from inside a callback. */
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
/* SASL mechanisms of this session in place of conf.auth_mechs (what TLS made possible); borrowed.
 */
void smtp_server_set_mechs(struct smtp_server *, struct str mechs);
void smtp_server_set_xclient(struct smtp_server *, bool may); /* with SMTP_EXT_XCLIENT in offer */
void smtp_server_set_trusted(struct smtp_server *, bool trusted); /* no AUTH needed; lax lines ok */
void smtp_server_set_tls(struct smtp_server *); /* implicit TLS: already secure before start */
/* 421 with that text, then ops.quit: timeouts, shutdown, overload. */
void smtp_server_close(struct smtp_server *, const char *enh, const char *text);

enum smtp_server_state {
    SMTP_CONNECT,
    SMTP_GREETED,
    SMTP_READY,
    SMTP_MAIL,
    SMTP_RCPT,
    SMTP_DATA,
    SMTP_BDAT,
    SMTP_AUTH,
    SMTP_TLS,
    SMTP_CLOSED
};
enum smtp_server_state smtp_server_state(const struct smtp_server *);
const char *smtp_server_state_name(enum smtp_server_state);
bool smtp_server_is_tls(const struct smtp_server *);
/* Input came behind EHLO, DATA, STARTTLS ... (RFC 2920 3.1): nothing is refused for it. */
bool smtp_server_early(const struct smtp_server *);

#endif
