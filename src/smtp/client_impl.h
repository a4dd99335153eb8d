/*
 * smtp/client_impl.h - the inside of the client machine, shared by client*.c of this folder only.
 *
 * How the files divide the way: client.c owns the loop (input, output, ready, end of session) and
 * the public calls; client_hello.c goes from the greeting to ready; client_send.c takes a message
 * from MAIL to the reply behind the body; client_ehlo.c reads capabilities.
 *
 * Re-entrancy: callbacks may call anything of smtp/client.h. Whoever enters first runs the loop;
 * inner calls only change state, queue input and queue output.
 */
#ifndef GAPURA_SMTP_CLIENT_IMPL_H
#define GAPURA_SMTP_CLIENT_IMPL_H

#include "core/buf.h"
#include "net/sasl.h"
#include "smtp/client.h"

#define CLIENT_OUT_MAX      (256u << 10) /* gathered commands; flushed at CLIENT_OUT_FLUSH */
#define CLIENT_OUT_FLUSH    (16u << 10)  /* bytes */
#define CLIENT_IN_MAX       (64u << 10)  /* input that arrives from inside a callback */
#define CLIENT_LOW_WATER    (64u << 10)  /* backlog under which more body is pulled */
#define CLIENT_REFUSED_REST (1u << 20)   /* of a chunk that is refused: sent, to keep the session */
#define CLIENT_SASL_STEPS   10

enum client_state {
    CLIENT_BANNER,
    CLIENT_EHLO,
    CLIENT_HELO,
    CLIENT_STARTTLS,
    CLIENT_HANDSHAKE,
    CLIENT_AUTH,
    CLIENT_AUTH_CANCEL, /* "*" was sent */
    CLIENT_IDLE,        /* ready */
    CLIENT_ENVELOPE,    /* RSET, MAIL, RCPT, DATA: replies by the cursor `got` */
    CLIENT_ALLOW,       /* may_send was asked */
    CLIENT_BODY,
    CLIENT_DOT,   /* reply, or LMTP replies, behind the body */
    CLIENT_EMPTY, /* a lone dot ended a DATA without recipients */
    CLIENT_QUIT,
    CLIENT_DEAD,
};

/* A reply kept past the parser's next line. */
struct client_kept {
    struct smtp_reply reply;
    char text[512];
};

struct client_caps {
    uint32_t offers;
    uint64_t max_size, min_by;
    unsigned max_rcpts, max_mails;
    char mechs[256];
};

struct smtp_client {
    struct smtp_client_conf conf;
    const struct smtp_client_ops *ops;
    void *ctx;
    enum client_state state;
    char *strings; /* owns what conf's views point at */
    char banner[256];
    struct client_caps caps;
    bool tls;         /* the stream is encrypted */
    bool tls_refused; /* STARTTLS was answered with 4yz or 5yz */
    struct sasl_client *sasl;
    enum sasl_result sasl_last;
    unsigned sasl_steps;
    struct client_kept auth_reply; /* why the exchange was cancelled */

    struct smtp_reply_parser parser;
    struct buf in, out;
    uint64_t steps;
    unsigned awaiting; /* replies still owed to us */
    unsigned unsent;   /* of these: commands still in `out` */
    bool busy, freed, want_ready, want_quit, drop_input, need_rset;

    struct smtp_client_message msg; /* shallow copy while `in_flight` */
    bool in_flight;
    bool chunking;   /* this message goes by BDAT */
    bool pipelining; /* this envelope goes in one group */
    int sent, got;   /* cursors over -1 RSET, 0 MAIL, 1..n RCPT, n+1 DATA */
    bool mail_refused;
    uint8_t *accepted; /* by recipient */
    unsigned accepted_cap, naccepted;
    unsigned dot_at;         /* LMTP: recipient whose reply comes next */
    struct client_kept kept; /* what refused MAIL, or the last recipient */
    uint64_t pulled;
    bool half_early;        /* the reply to BDAT began before its octets were all sent */
    bool refused_early;     /* BDAT was answered before its octets were all sent; see kept */
    bool at_bol;            /* the next body byte begins a line */
    bool at_crlf, after_cr; /* what the body so far ends in: CRLF (or nothing), CR */
};

/* client.c */
void client_command(struct smtp_client *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
void client_line_queued(struct smtp_client *c, size_t line_at, unsigned replies, bool secret);
void client_flush(struct smtp_client *c);
/* Ends the session: done for a message in flight, then failed. `quit`: say QUIT first. */
void client_fail(struct smtp_client *c, enum smtp_client_stage stage, const struct smtp_reply *r,
                 bool quit);
void client_fail_text(struct smtp_client *c, enum smtp_client_stage stage, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
void client_keep(struct client_kept *k, const struct smtp_reply *r);
void client_idle(struct smtp_client *c);  /* ready will be called by the loop */
void client_leave(struct smtp_client *c); /* ends an outermost call: runs the loop */

/* client_hello.c */
void client_hello_reply(struct smtp_client *c, const struct smtp_reply *r);
void client_hello_start(struct smtp_client *c); /* sends EHLO or LHLO */

/* client_ehlo.c */
void client_caps_parse(struct client_caps *caps, struct str text);

/* client_send.c */
void client_send_reply(struct smtp_client *c, const struct smtp_reply *r);
void client_send_unasked(struct smtp_client *c, const struct smtp_reply *r);
void client_send_pump(struct smtp_client *c);
/* Tells done if a message was in flight; `was` and `stage` are those before the end. */
void client_send_lost(struct smtp_client *c, enum client_state was, enum smtp_client_stage stage,
                      const struct smtp_reply *r);
enum smtp_client_stage client_send_stage(const struct smtp_client *c);

#endif
