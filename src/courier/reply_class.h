/*
 * courier/reply_class.h - what a reply means and what follows from it: class, hard or soft, whose
 * trouble it is, how sure that is, and advice. Pure: no I/O, no clock, no sockets.
 *
 * A reply's way: reply_class_text.c makes words of it (codes out, addresses and hosts to
 * placeholders, case and accents folded), reply_class_match.c finds the patterns of the compiled
 * set in them, reply_class.c lets the best evidence decide (a provider's own pattern before text,
 * text before enhanced code, that before reply code, that before the phase), and
 * reply_class_law.c turns the class into advice. The set comes from a data file in the form of
 * docs/formats/replies.md (reply_class_parse.c).
 */
#ifndef GAPURA_COURIER_REPLY_CLASS_H
#define GAPURA_COURIER_REPLY_CLASS_H

#include "core/buf.h"
#include "core/err.h"

enum reply_class_id {
    REPLY_CLASS_DELIVERED,
    REPLY_CLASS_UNKNOWN,   /* the connection ended after the final dot */
    REPLY_CLASS_TEMPORARY, /* try again later, no finer class */
    REPLY_CLASS_GREYLIST,  /* come again from the same source */
    REPLY_CLASS_FULL,      /* the mailbox is full, for now */
    REPLY_CLASS_HOST,      /* network, or a host that does not answer: another host may do */
    REPLY_CLASS_DNS,       /* names do not resolve for now */
    REPLY_CLASS_RATE,      /* too many, too fast */
    REPLY_CLASS_SYSTEM,    /* the receiver's own trouble */
    REPLY_CLASS_DISK,      /* the receiver's disk is full */
    REPLY_CLASS_ROUTE,     /* loops, no way to the recipient's host */
    REPLY_CLASS_EXPIRED,   /* a next hop gave up after its own tries */
    REPLY_CLASS_PERMANENT, /* refused, no finer class */
    REPLY_CLASS_MAILBOX,   /* no such mailbox */
    REPLY_CLASS_DOMAIN,    /* no such domain */
    REPLY_CLASS_NO_MAIL,   /* the domain or host takes no mail at all (RFC 7504, RFC 7505) */
    REPLY_CLASS_MOVED,     /* the recipient is elsewhere now */
    REPLY_CLASS_INACTIVE,  /* the mailbox is there, but disabled, locked, suspended */
    REPLY_CLASS_FILTERED,  /* the recipient's own choice or filter */
    REPLY_CLASS_SIZE,      /* too large for this recipient or host */
    REPLY_CLASS_SPAM,      /* the content looks like spam */
    REPLY_CLASS_VIRUS,
    REPLY_CLASS_CONTENT,   /* forbidden attachment or content */
    REPLY_CLASS_MALFORMED, /* the message breaks the format (RFC 5322) */
    REPLY_CLASS_PROTOCOL,  /* a command or an extension is refused */
    REPLY_CLASS_POLICY,    /* refused by policy, no finer class */
    REPLY_CLASS_AUTH,      /* SPF, DKIM or DMARC of the sending domain */
    REPLY_CLASS_BLOCK,     /* the source is listed or blocked */
    REPLY_CLASS_REPUTATION,
    REPLY_CLASS_PTR,    /* reverse name or HELO of the source */
    REPLY_CLASS_SENDER, /* the sender's address or domain is refused */
    REPLY_CLASS_RELAY,  /* the host does not take mail for that domain */
    REPLY_CLASS_ACCESS, /* login or permission needed */
    REPLY_CLASS_TLS,
    REPLY_CLASS_AUTOREPLY, /* not a failure: somebody is away */
    REPLY_CLASS_FEEDBACK,  /* a complaint */
    REPLY_CLASS_COUNT
};

enum reply_phase { /* what the reply answers; UNKNOWN: a report that does not say */
                   REPLY_PHASE_UNKNOWN,
                   REPLY_PHASE_CONNECT, /* connection, banner, EHLO, STARTTLS, AUTH */
                   REPLY_PHASE_MAIL,
                   REPLY_PHASE_RCPT,
                   REPLY_PHASE_DATA,
                   REPLY_PHASE_DOT,
                   REPLY_PHASE_COUNT
};

enum reply_scope { /* whose trouble it is; also whom advice slows or holds */
                   REPLY_SCOPE_NONE,
                   REPLY_SCOPE_RECIPIENT,
                   REPLY_SCOPE_MESSAGE, /* this message, and a campaign's others like it */
                   REPLY_SCOPE_SOURCE,  /* our source address at that provider */
                   REPLY_SCOPE_DOMAIN,  /* the recipient's domain or host */
                   REPLY_SCOPE_SENDER,  /* the sending domain at that provider */
                   REPLY_SCOPE_TENANT,
                   REPLY_SCOPE_COUNT
};

enum reply_retry {
    REPLY_RETRY_NO,
    REPLY_RETRY_LAW,  /* by the settings' gaps */
    REPLY_RETRY_HOST, /* another host of the domain may be asked at once, else by the law */
    REPLY_RETRY_SAME, /* by the law, from the same source */
    REPLY_RETRY_LATER /* not before retry_s */
};

#define REPLY_FOREVER UINT32_MAX

struct reply_advice {
    uint8_t retry;        /* enum reply_retry */
    uint8_t suppress;     /* enum reply_scope: RECIPIENT, DOMAIN or NONE */
    uint8_t slow;         /* enum reply_scope, NONE: nobody */
    uint8_t slow_percent; /* of the rate that is allowed now */
    uint8_t hold;         /* enum reply_scope: what waits for hold_s, or for people */
    bool other_source;    /* may go from another source; never after a refusal of us (see law) */
    bool tell;            /* a person must act: names, keys, a list's removal form */
    uint32_t retry_s, suppress_s, slow_s, hold_s; /* REPLY_FOREVER: until somebody lifts it */
};

struct reply_input {
    struct str text;     /* of the reply, with or without its codes; or a report's diagnostic */
    uint16_t code;       /* 0: none, or to be taken from the text */
    struct str enhanced; /* "5.1.1"; empty: none, or to be taken from the text */
    struct str provider; /* name of the data file's provider block; empty: by host or text */
    struct str host;     /* that answered; may be empty */
    struct str domain;   /* of the recipient, where the host says nothing; may be empty */
    uint8_t phase;       /* enum reply_phase */
};
struct reply_class_result {
    uint8_t class;      /* enum reply_class_id */
    bool hard;          /* the address is dead: no such mailbox, domain, or service there */
    uint8_t scope;      /* enum reply_scope */
    uint8_t confidence; /* 0..100 */
    uint16_t code;      /* as used, 0: none */
    struct reply_advice advice;
    struct str pattern; /* what decided; lives as long as the set */
};

struct reply_classes;
/* Compiles a data file; an empty `data` gives the set that is compiled in. ERR_SYNTAX with the
 * first error and how many more there are; nothing is returned then. */
int reply_classes_load(struct reply_classes **ret, struct str data, struct why *);
/* The same; every error is a line of `errors`. */
int reply_classes_compile(struct reply_classes **ret, struct str data, struct buf *errors);
void reply_classes_free(struct reply_classes *);
void reply_classify(const struct reply_classes *, const struct reply_input *,
                    struct reply_class_result *ret);

const char *reply_class_name(uint8_t class); /* "InvalidRecipient"; "?" beyond the last */
const char *reply_scope_name(uint8_t scope);
const char *reply_retry_name(uint8_t retry);
/* A refusal of us: spam, reputation, volume, policy, authentication. Never from elsewhere again. */
bool reply_class_is_refusal(uint8_t class);
bool reply_class_is_hard(uint8_t class);

#endif
