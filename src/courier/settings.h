/*
 * courier/settings.h - settings of delivery: sources, pools, routes, retry, pace.
 */
#ifndef GAPURA_COURIER_SETTINGS_H
#define GAPURA_COURIER_SETTINGS_H

#include "core/conf.h"

struct settings_source {   /* block "source NAME": a local address and the name it says */
    struct addr address;   /* unspecified (::): the kernel chooses */
    struct str ehlo;       /* empty: hostname */
    struct str exclusive;  /* tenant: never carries anybody else's mail */
    uint64_t max_sessions; /* in all */
};
struct settings_pool {        /* block "pool NAME" */
    struct conf_list sources; /* texts: NAME or NAME*WEIGHT */
};
enum route_tls { ROUTE_TLS_MAY, ROUTE_TLS_NEVER, ROUTE_TLS_REQUIRE, ROUTE_TLS_VERIFY };
struct settings_route {       /* block "route NAME": where mail of some domains goes */
    struct conf_list domains; /* texts: example.org, .example.org, * */
    struct conf_list via;     /* texts as settings_domain.inside, plus "mx", "hold", "discard" */
    int tls;                  /* enum route_tls */
    bool tls_wrapped, auth_unverified;
    struct str user, password_file;
    struct str pool;       /* instead of the tenant's */
    uint64_t max_sessions; /* at this destination; 0: delivery.max_sessions_per_site */
    uint64_t messages_per_session;
    struct rate rate;   /* messages */
    uint64_t expire;    /* ns; 0: delivery.expire */
    bool allow_private; /* MX hosts with private or loopback addresses are fine */
};
/* Are all its hosts on this machine? */
bool settings_route_is_here(const struct settings_route *);
enum delivery_ipv6 { IPV6_NEVER, IPV6_REVERSE, IPV6_ALWAYS };
struct settings_delivery { /* block "delivery" */
    bool hold;             /* everything waits (maintenance; also for benchmarks) */
    uint64_t max_sessions; /* in all */
    uint64_t max_sessions_per_site, messages_per_session, rcpts_per_message;
    struct rate rate_per_site;
    uint64_t idle_session; /* keep an idle connection so long */
    uint64_t connect_timeout;
    struct conf_list retry; /* durations: first gaps, the last one repeats with doubling to .. */
    uint64_t retry_max;
    uint64_t jitter_percent;
    uint64_t expire;      /* default 5 d */
    uint64_t expire_bulk; /* 1 d */
    uint64_t expire_dsn;
    uint64_t expire_nodomain;  /* 1 d */
    uint64_t warn_after;       /* DELAY DSN; 0 never */
    int ipv6;                  /* enum delivery_ipv6 */
    uint64_t dsn_max_original; /* bytes of the original in a DSN; more: headers only */
    struct str tls_ca;         /* PATH; empty: system */
    struct str replies;        /* PATH of patterns; empty: those compiled in */
    uint64_t unknown_replies;  /* shapes that are counted; 0 none */
    bool smtp_pipelining, smtp_chunking;
    uint64_t mx_port;         /* of hosts that DNS names */
    struct conf_list only_to; /* prefixes; empty: anywhere */
};

/* What a report to a sender takes beside the original: its own head, and what it says of recipients
 * at least (more of them make more reports). A header that stands for the original has a bound. */
#define DELIVERY_REPORT_HEAD   (16u << 10)
#define DELIVERY_REPORT_TEXT   (192u << 10)
#define DELIVERY_REPORT_HEADER (64u << 10)

extern const struct conf_block courier_source_block, courier_pool_block, courier_route_block,
    courier_delivery_block;

#endif
