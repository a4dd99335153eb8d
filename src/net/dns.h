/*
 * net/dns.h - questions to the resolver role and their answers; the cache of known answers.
 *
 * The resolver role owns libunbound (dns_server_*); every other role owns a dns_client on a
 * channel. Answers are parsed, bounded and final: CNAMEs are followed, at most 100 records.
 */
#ifndef GAPURA_NET_DNS_H
#define GAPURA_NET_DNS_H

#include "core/addr.h"
#include "core/arena.h"
#include "net/chan.h"

enum dns_type {
    DNS_A = 1,
    DNS_CNAME = 5,
    DNS_PTR = 12,
    DNS_MX = 15,
    DNS_TXT = 16,
    DNS_AAAA = 28,
    DNS_TLSA = 52
};
enum dns_status {
    DNS_OK,
    DNS_NODATA,
    DNS_NXDOMAIN,
    DNS_TEMPORARY /* SERVFAIL, timeout */,
    DNS_BOGUS /* DNSSEC says forged */
};

struct dns_record {
    enum dns_type type;
    uint16_t preference; /* MX */
    struct addr addr;    /* A, AAAA */
    struct str name;     /* MX, PTR, CNAME: lower case, no final dot; "" is the root */
    struct str data;     /* TXT (strings joined), TLSA (raw) */
};
struct dns_answer {
    struct str name; /* as asked, lower case */
    enum dns_type type;
    enum dns_status status;
    bool secure;  /* DNSSEC proved it */
    bool cname;   /* the name was an alias */
    bool later;   /* with DNS_TEMPORARY on a channel: the resolver goes on and will say more */
    uint32_t ttl; /* seconds; least of the records, or negative TTL */
    struct dns_record *records;
    size_t n;
};
#define DNS_RECORDS_MAX 100u
/* On a channel: at most CHAN_BODY_MAX bytes, records that do not fit are left out. Decoding checks
 * everything (ERR_SYNTAX) and copies into the arena. */
void dns_answer_encode(struct buf *out, const struct dns_answer *);
int dns_answer_decode(struct wire *, struct arena *, struct dns_answer *ret);
/* A name in the form that questions and answers use: lower case, no final dot; false if it cannot
 * be one (length, empty label, bytes other than printable ASCII). dst of 256 bytes. */
bool dns_name_normal(struct str name, char *dst, size_t *ret_n);
/* A DNS message as it came from the wire: ret gets status, records (in the arena) and TTL of the
 * question (name, type), CNAMEs followed. ERR_CORRUPT if the message contradicts itself. */
int dns_packet_parse(const void *packet, size_t n, struct str name, enum dns_type type,
                     struct arena *, struct dns_answer *ret);

/* The asking side. Same questions under way are joined; answers are cached by TTL (bounded count,
 * least recently used go first; TTL clamped to [5 s, 1 h], temporary failures 10 s). Who asks for
 * strangers has a quota (net/dns_quota.h). */
struct dns_client;
struct dns_client *dns_client_create(struct loop *, struct chan *to_resolver, unsigned max_cached);
void dns_client_free(struct dns_client *);
/* The channel's owner passes messages of CHAN type range here: true if it was an answer. */
bool dns_client_message(struct dns_client *, uint16_t type, uint64_t id, struct wire *body);
void dns_client_lost(struct dns_client *); /* resolver gone: open questions end DNS_TEMPORARY */
/* The cached answer if it is fresh, else NULL. Valid until the next call into this client. */
const struct dns_answer *dns_client_cached(struct dns_client *, struct str name, enum dns_type);
/* fn is called through the loop's deferred queue, never before this returns. 0 or ERR_LIMIT (as
 * many questions are open as may be cached). The answer is fn's only while it runs. */
struct dns_ask; /* embedded by the asker; cancel before freeing */
struct dns_ask {
    void (*fn)(void *ctx, const struct dns_answer *);
    void *ctx;
    struct dns_ask *next, **prev; /* the client's; prev NULL: not waiting */
};
int dns_client_ask(struct dns_client *, struct str name, enum dns_type, struct dns_ask *,
                   void (*fn)(void *ctx, const struct dns_answer *), void *ctx);
void dns_ask_cancel(struct dns_ask *);

#define DNS_MSG_ASK    0x0101
#define DNS_MSG_ANSWER 0x0102

/* The resolver's side (resolver role only). */
struct dns_server_conf {
    const struct endpoint *forward; /* none: full recursion from the roots; a local one is fine */
    size_t nforward;
    struct str trust_anchor_file; /* empty: no validation */
    struct str hosts_zone;        /* lines of unbound local data and zones; may be empty */
    uint64_t timeout_ns;          /* an answer at the latest; default 10 s */
};
struct dns_server;
int dns_server_create(struct dns_server **ret, struct loop *, const struct dns_server_conf *,
                      struct why *);
void dns_server_free(struct dns_server *);
/* Answers DNS_MSG_ASK on that channel; true if the message was one. */
bool dns_server_message(struct dns_server *, struct chan *from, uint16_t type, uint64_t id,
                        struct wire *body);
/* That channel is about to be freed: its questions get no answer. */
void dns_server_forget(struct dns_server *, const struct chan *);

#endif
