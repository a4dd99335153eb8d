/*
 * smtp/params.h - what a server session is set to, and the parameters of MAIL and RCPT: the words
 * that the extension table and the server's machine share.
 */
#ifndef GAPURA_SMTP_PARAMS_H
#define GAPURA_SMTP_PARAMS_H

#include "mail/address.h"

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
                SMTP_EXT_FUTURERELEASE = 1 << 14, /* submission only (RFC 4865 5) */
                SMTP_EXT_XCLIENT = 1 << 13,       /* Postfix's; for hosts that may */
                SMTP_EXT_BINARYMIME = 1 << 15,    /* RFC 3030; only with CHUNKING and 8BITMIME */
                SMTP_EXT_DELIVERBY = 1 << 16,     /* RFC 2852 */
                SMTP_EXT_MT_PRIORITY = 1 << 17,   /* RFC 6710 */
};

struct smtp_server_conf { /* lives at least as long as the sessions that use it */
    struct str hostname;
    struct str banner_text;     /* behind "220 host ESMTP " */
    uint32_t offer;             /* SMTP_EXT_*; STARTTLS and AUTH are also gated by the state */
    uint64_t max_size;          /* message bytes */
    struct str auth_mechs;      /* "PLAIN LOGIN SCRAM-SHA-256" */
    unsigned max_rcpts;         /* per message, then 452 4.5.3 */
    unsigned max_local;         /* bytes of a local part; 0 sets no limit of its own */
    unsigned max_messages;      /* per session, 0 no limit: LIMITS MAILMAX, then 421 */
    unsigned max_line;          /* command line with CRLF; default 2048 (512 + extensions) */
    unsigned max_auth_line;     /* 12288 (RFC 4954 4) */
    unsigned max_commands;      /* commands without a message (NOOP, RSET ...) before 421 */
    unsigned max_errors;        /* 5yz to the client's doing before 421 */
    unsigned max_received;      /* Received fields before 554 5.4.6 */
    unsigned max_header;        /* bytes of the header block before 552 */
    uint64_t max_hold;          /* s: FUTURERELEASE; 0: not offered */
    uint64_t min_by;            /* s: DELIVERBY, of mode R */
    struct str priority_policy; /* name of MT-PRIORITY's policy; may be empty */
    bool require_tls;           /* 530 5.7.0 to all but EHLO NOOP STARTTLS QUIT */
    bool require_auth;          /* 530 5.7.0 to MAIL before AUTH, unless trusted */
    bool auth_plain_text;       /* AUTH without TLS (off; on only for trusted local use) */
    bool bare_refuse;           /* bare CR or LF in content: refuse rather than normalise */
    bool lax_lines;             /* commands may end in bare LF (trusted networks only) */
    bool lmtp;                  /* LHLO, a reply per recipient */
};

struct smtp_mail_params {
    struct address from;
    uint64_t size;       /* declared, 0 none */
    uint64_t hold_until; /* wall s, FUTURERELEASE; 0 none */
    bool body_8bit, utf8, requiretls;
    bool binary;      /* BODY=BINARYMIME; body_8bit is set with it */
    bool by_trace;    /* RFC 2852 */
    uint8_t by_mode;  /* SPOOL_BY_* values: NOTIFY 1 RETURN 2; 0 none */
    int32_t by;       /* s from now */
    int8_t priority;  /* MT-PRIORITY */
    uint8_t ret;      /* 0 none, 1 FULL, 2 HDRS */
    struct str envid; /* xtext as given, checked */
    struct str auth;  /* AUTH= value as given, checked */
};
struct smtp_rcpt_params {
    struct address to;
    uint8_t notify;   /* SPOOL_NOTIFY_* bit values: NEVER 1 SUCCESS 2 FAILURE 4 DELAY 8 */
    struct str orcpt; /* "type;xtext" as given, checked */
};

enum smtp_xclient_attr {
    SMTP_XCLIENT_NAME,
    SMTP_XCLIENT_ADDR,
    SMTP_XCLIENT_PORT,
    SMTP_XCLIENT_PROTO,
    SMTP_XCLIENT_HELO,
    SMTP_XCLIENT_LOGIN,
    SMTP_XCLIENT_DESTADDR,
    SMTP_XCLIENT_DESTPORT,
    SMTP_XCLIENT_MAX_
};
struct smtp_xclient {
    unsigned given;                      /* 1 << attribute */
    struct str value[SMTP_XCLIENT_MAX_]; /* decoded; empty: not given, or [UNAVAILABLE] */
};

#endif
