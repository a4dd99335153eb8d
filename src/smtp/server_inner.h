/*
 * smtp/server_inner.h - the server's session, shared by server*.c only.
 */
#ifndef GAPURA_SMTP_SERVER_INNER_H
#define GAPURA_SMTP_SERVER_INNER_H

#include "smtp/data.h"
#include "smtp/ext.h"
#include "smtp/server.h"

#define SMTP_OUT_MAX   (128u << 10) /* gathered replies; flushed at SMTP_OUT_FLUSH */
#define SMTP_OUT_FLUSH (16u << 10)  /* bytes */

/* What a callback owes. A row each in server.c says what its reply does. */
enum smtp_owed {
    OWES_NOTHING,
    OWES_CONNECT,
    OWES_HELO,
    OWES_MAIL,
    OWES_RCPT,
    OWES_DATA, /* ops.data for DATA */
    OWES_BDAT, /* ops.data for the first BDAT */
    OWES_END,  /* ops.data_end */
    OWES_AUTH,
    OWES_VRFY,
    OWES_TLS,
    OWES_MAX_
};

struct smtp_txn {         /* from MAIL to the end of the message; an idle session has none */
    unsigned accepted;    /* recipients */
    unsigned replies_due; /* LMTP: of data_end */
    bool utf8, body_8bit;
    bool binary;                        /* BINARYMIME: octets pass as they come, by BDAT alone */
    bool last_cr;                       /* of those, in the header: the last one was a CR */
    bool bdat;                          /* a BDAT came: DATA may not */
    bool full;                          /* a recipient too many was told of */
    uint64_t body_bytes;                /* given to ops.body */
    const struct smtp_refusal *refusal; /* the engine's own, first one found in the body */
    struct smtp_framer framer;
    struct header_scan scan;
};

struct smtp_server {
    const struct smtp_server_conf *conf;
    const struct smtp_server_ops *ops;
    void *ctx;
    struct str mechs; /* in place of conf->auth_mechs, if any */
    struct buf out;   /* replies of this call; freed when it ends */
    struct buf part;  /* a line without its end so far; freed when it is whole */
    struct smtp_txn *txn;
    uint64_t chunk_size;                      /* octets of the present BDAT, as announced */
    uint64_t chunk_left;                      /* of them still to come */
    uint64_t thrown;                          /* octets of refused content since MAIL */
    const struct smtp_refusal *chunk_refusal; /* they are thrown away; then this is said, if code */
    enum smtp_server_state state;
    enum smtp_owed owed;
    unsigned depth;   /* calls into the engine on the stack */
    unsigned errors;  /* 5yz since the last accepted message */
    unsigned idle;    /* commands without a message since then */
    unsigned mails;   /* MAIL commands */
    unsigned put_off; /* recipients that got 4yz since the last accepted message */
    unsigned excused; /* RCPT and DATA behind the last MAIL whose 503 counts as no error */
    bool chunk_last;
    bool skip_line;  /* the line is too long: thrown away up to its LF */
    bool drop_input; /* STARTTLS: the rest of this input is plain text of nobody */
    bool tls, esmtp, greeted, authed, trusted;
    bool xclient;     /* this client may say XCLIENT */
    bool refused;     /* greeted with 5yz: only QUIT is served */
    bool auth_final;  /* the last challenge is out: an empty line ends AUTH well */
    bool group_ended; /* in this input a verb came that ends a group of pipelined ones */
    bool early;
    bool freed; /* smtp_server_free came from inside a callback */
};

/* server.c */
void smtp_enter(struct smtp_server *s);
bool smtp_leave(struct smtp_server *s); /* flushes; false: s is gone */
void smtp_flush(struct smtp_server *s);
void smtp_say(struct smtp_server *s, const struct smtp_refusal *r);
/* 421 for what the client did: told for the record, as one of the connection. */
void smtp_close_told(struct smtp_server *s, const struct smtp_refusal *r);
/* For the record: r answers that command. */
void smtp_tell_refused(struct smtp_server *s, const char *command, const struct smtp_refusal *r,
                       struct str said);
void smtp_say_text(struct smtp_server *s, int code, const char *enh, struct str text);
void smtp_to(struct smtp_server *s, enum smtp_server_state state);
/* Sends what is gathered, 421 or 221 behind it having been said, and calls ops.quit. */
void smtp_hang_up(struct smtp_server *s);
void smtp_trace(struct smtp_server *s, char dir, struct str line);
struct smtp_ext_state smtp_ext_state(const struct smtp_server *s);
void smtp_owe(struct smtp_server *s, enum smtp_owed owed);

/* server_verb.c: a whole command line, or one that was too long */
void smtp_command(struct smtp_server *s, struct str raw);
void smtp_command_too_long(struct smtp_server *s);
bool smtp_greets_like_smtp(char first); /* the first byte of a command line */

/* server_mail.c */
const struct smtp_refusal *smtp_may_mail(struct smtp_server *s, struct str arg);
const struct smtp_refusal *smtp_may_rcpt(struct smtp_server *s, struct str arg);
struct str smtp_said_path(struct str arg); /* "FROM:<a@b> SIZE=1": a@b; or all that was said */
void smtp_do_mail(struct smtp_server *s, struct str arg);
void smtp_do_rcpt(struct smtp_server *s, struct str arg);
void smtp_replied_mail(struct smtp_server *s, int code);
void smtp_replied_rcpt(struct smtp_server *s, int code);
void smtp_txn_end(struct smtp_server *s); /* frees it and tells ops.reset; none open is fine */

/* server_data.c */
const struct smtp_refusal *smtp_may_data(struct smtp_server *s, struct str arg);
const struct smtp_refusal *smtp_may_bdat(struct smtp_server *s, struct str arg);
void smtp_do_data(struct smtp_server *s, struct str arg);
void smtp_do_bdat(struct smtp_server *s, struct str arg);
/* r: why not; the octets that come with it are thrown away before it is said. */
void smtp_bdat_refused(struct smtp_server *s, struct str arg, const struct smtp_refusal *r);
void smtp_replied_data(struct smtp_server *s, int code);
bool smtp_bdat_may_go_on(struct smtp_server *s, int code); /* code of ops.data; true: say nothing */
void smtp_replied_bdat(struct smtp_server *s, int code);   /* ops.data refused */
void smtp_replied_end(struct smtp_server *s, int code);
size_t smtp_body_data(struct smtp_server *s, const char *p, size_t n);
size_t smtp_body_bdat(struct smtp_server *s, const char *p, size_t n);

/* server_auth.c */
const struct smtp_refusal *smtp_may_starttls(struct smtp_server *s, struct str arg);
const struct smtp_refusal *smtp_may_auth(struct smtp_server *s, struct str arg);
void smtp_do_starttls(struct smtp_server *s, struct str arg);
void smtp_do_auth(struct smtp_server *s, struct str arg);
void smtp_auth_line(struct smtp_server *s, struct str raw); /* a response; empty raw: too long */
void smtp_replied_auth(struct smtp_server *s, int code);

/* server_xclient.c */
const struct smtp_refusal *smtp_may_xclient(struct smtp_server *s, struct str arg);
void smtp_do_xclient(struct smtp_server *s, struct str arg);

#endif
