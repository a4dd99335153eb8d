/*
 * gate/settings.h - settings of the inbound side: listeners and limits of sessions.
 */
#ifndef GAPURA_GATE_SETTINGS_H
#define GAPURA_GATE_SETTINGS_H

#include "core/conf.h"
#include "policy/stage.h"

enum listen_kind {
    LISTEN_INBOUND,     /* port 25: strangers; no AUTH, nobody relays */
    LISTEN_SUBMISSION,  /* 587: STARTTLS and AUTH */
    LISTEN_SUBMISSIONS, /* 465: implicit TLS and AUTH */
    LISTEN_TRUSTED,     /* everything from `trusted` relays; others as inbound */
    LISTEN_LOCAL,       /* a Unix socket: users of this machine; the kernel says who */
};
#define LISTEN_SOCKET_MAX 104u /* with its NUL; the kernel has 108 */
struct settings_listen {       /* block "listen NAME" */
    struct conf_list address;  /* endpoints */
    int kind;                  /* enum listen_kind */
    struct str socket;         /* PATH, of LISTEN_LOCAL */
    int users;                 /* enum listen_users */
    bool implicit_tls;
    bool require_tls;
    bool auth_without_tls;              /* off */
    struct conf_list proxy;             /* prefixes that must send a PROXY header */
    struct conf_list xclient;           /* prefixes that may say XCLIENT */
    struct conf_list certificate;       /* texts: "CERTFILE KEYFILE"; first is the default */
    struct str client_ca;               /* PATH */
    struct conf_list certificate_login; /* texts: "NAME LOGIN", "sha256:HEX LOGIN" */
    uint64_t max_sessions;
    struct str banner;
};
enum listen_users { LISTEN_ALL_USERS, LISTEN_GROUP };
enum bare_mode { BARE_NORMALISE, BARE_REFUSE };
enum vrfy_mode { VRFY_VAGUE, VRFY_OFF, VRFY_TRUSTED };
enum dsn_mode { DSN_SUBMISSION, DSN_EVERYBODY };
struct settings_smtp { /* block "smtp" */
    uint64_t max_size, max_rcpts, max_local_part, max_messages, max_line, max_commands, max_errors,
        max_received, max_header;
    uint64_t timeout_command, timeout_data, timeout_block, timeout_session; /* ns */
    uint64_t min_rate;                          /* bytes a second over 30 s of DATA; 0 off */
    uint64_t max_sessions;                      /* in all */
    uint64_t max_pipelined, max_unread_replies; /* bytes of one session */
    /* network: /24, /64; wide: /16, /48; trusted exempt */
    uint64_t sessions_per_address, sessions_per_network, sessions_per_wide_network;
    uint64_t sessions_per_uid; /* of a local listener */
    struct rate connections_per_network, connections_per_uid;
    struct rate auth_failures_address, auth_failures_network, auth_failures_wide_network,
        auth_failures_user;
    uint64_t auth_failure_delay; /* a failed login is answered so long after it began */
    struct rate unknown_rcpts_network, empty_mails_network;
    uint64_t lookups_per_session, lookups_per_network; /* open questions to DNS; 0 no limit */
    int bare;                                          /* enum bare_mode */
    int vrfy;
    int dsn;            /* enum dsn_mode */
    bool lookup_client; /* reverse DNS of the client (and its forward check) */
    uint64_t lookup_timeout;
    uint64_t callout_positive, callout_negative; /* cache life */
    uint64_t lookup_cache; /* recipients remembered from callouts and directories */
    uint64_t max_memory;   /* of bodies on their way into the log */
    uint64_t max_waiting;  /* recipients waiting for delivery: strangers get 452; 0 no limit */
    uint64_t unsynced_slow, unsynced_stop; /* age of the oldest message not yet on disk */
    uint64_t shutdown_grace;
    uint64_t future_release; /* ns: how long people may have a message held; 0 off */
    bool binarymime;
    uint64_t deliver_by; /* ns: least time of mode R; 0 off */
    struct str priority; /* name of the policy, "plain": none, "off" */
};
struct settings_srs {  /* block "srs": forwarding to the outside */
    struct str domain; /* empty: no forwarding outside */
    struct str secret; /* PATH */
    uint64_t days;
};
/* block "check NAME": off, observe, on for each row of checks/table.c */
struct settings_check {
    int mode; /* enum check_mode */
};

extern const struct conf_block gate_listen_block, gate_smtp_block, gate_srs_block, gate_check_block;

#endif
