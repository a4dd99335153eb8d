/*
 * store/settings.h - settings that more than one trade reads: ourselves, domains, tenants,
 * networks. A room's own settings are in its settings.h (gate/, courier/, roles/).
 */
#ifndef GAPURA_STORE_SETTINGS_H
#define GAPURA_STORE_SETTINGS_H

#include "core/conf.h"

enum settings_require { REQUIRE_NONE, REQUIRE_OBSERVE, REQUIRE_AUTHENTICATED };
enum settings_wings { WINGS_BOTH, WINGS_INBOUND, WINGS_OUTBOUND };

struct settings_main {        /* block "" */
    struct str hostname;      /* our name in banner, EHLO, Received, DSN */
    int wings;                /* enum settings_wings */
    struct str user;          /* roles run as this user (supervisor needs root to switch) */
    struct conf_list trusted; /* prefixes that may relay without AUTH ("trusted networks") */
    struct conf_list denied;  /* prefixes refused at connect */
    struct str postmaster;    /* where postmaster of any served domain goes; empty: as others */
    int require;              /* enum settings_require: of strangers' mail */
    struct conf_list known;   /* texts: settings_known_parse */
    struct str profile;       /* that judges mail for domains and tenants that name none */
};

enum settings_recipients {                    /* how we know who exists */
                           RECIPIENTS_ANY,    /* every local part is taken (catch-all servers) */
                           RECIPIENTS_TABLE,  /* text file: address or local part a line */
                           RECIPIENTS_SQLITE, /* FILE and query */
                           RECIPIENTS_LDAP,
                           RECIPIENTS_CALLOUT, /* ask the inside server at RCPT */
};
/* CONF_WORD index of the rows `class`; spool_class is 2 + this (settings_spool_class). */
enum settings_class { CLASS_TRANSACTIONAL, CLASS_BULK };
static inline uint8_t
settings_spool_class(int word)
{
    return (uint8_t)(2 + word);
}

enum settings_domain_role { DOMAIN_PRIMARY, DOMAIN_BACKUP };
struct settings_domain {        /* block "domain NAME": a domain we serve */
    struct conf_list inside;    /* texts: smtp://host:25, lmtp://host:24, lmtp:PATH, maildir:PATH;
                                   in order of preference; / between equals is not supported */
    int role;                   /* backup: deliver by MX to better ones */
    int recipients;             /* enum settings_recipients */
    struct str recipient_table; /* PATH of the text table or of the SQLite database */
    struct str recipient_query; /* SQL, with ? or listing all, or LDAP filter with %s */
    struct str ldap_url;        /* ldap:// ldaps:// ldapi://; its attribute names forwarding */
    struct str ldap_bind;       /* DN; empty: anonymous */
    struct str ldap_password;   /* PATH of a file with the password of ldap_bind */
    uint64_t lookup_ttl;        /* ns that an answer of SQLite or LDAP is trusted */
    struct str aliases;         /* PATH: "from: to, to" lines; "@domain: to" is a catch-all */
    struct str catch_all;       /* address that takes unknown local parts */
    struct str delimiter;       /* one or more characters: user+tag is user */
    struct str tenant;
    struct str profile; /* empty: the tenant's, else the main block's */
    uint64_t max_size;  /* 0: what the inside server says */
};
struct settings_tenant { /* block "tenant NAME" */
    uint64_t number;     /* in the log; unique; 1.. (0 is the system) */
    struct str pool;     /* of sources; empty: "default" */
    uint64_t weight;     /* share inside a destination; default 1 */
    struct rate rate;    /* submissions; none by default */
    struct str profile;  /* that judges mail for its domains; empty: the main block's */
    int class;           /* enum settings_class */
};
struct settings_sender { /* block "user NAME": rights of a login (password: `gapura user`) */
    struct str tenant;
    struct conf_list envelope; /* domains or addresses it may use in MAIL FROM; empty: none but
                                  the login itself; "*" any */
    struct conf_list from;     /* likewise in the From field; empty: as envelope */
    int class;                 /* enum settings_class; not given: the tenant's */
};

enum settings_passwords { PASSWORDS_STORE, PASSWORDS_DOVECOT };
#define SETTINGS_MECH_SCRAM       1u /* bits of settings_auth.mechanisms */
#define SETTINGS_MECH_PLAIN       2u
#define SETTINGS_MECH_LOGIN       4u
#define SETTINGS_MECH_OAUTHBEARER 8u
#define SETTINGS_MECH_XOAUTH2     16u
#define SETTINGS_MECHS_TEXT       96
struct settings_auth {         /* block "auth" */
    int passwords;             /* enum settings_passwords */
    struct str dovecot;        /* PATH of Dovecot's auth client socket */
    uint64_t mechanisms;       /* SETTINGS_MECH_* */
    uint64_t iterations;       /* PBKDF2, of new passwords */
    uint64_t max_exchanges;    /* SASL exchanges open at once, of each asking role */
    uint64_t exchange_timeout; /* ns */
    uint64_t workers;          /* threads that check passwords */
    uint64_t max_waiting;      /* checks that may wait for a thread */
};
/* "SCRAM-SHA-256 PLAIN LOGIN" as the settings allow (these if auth is NULL); into dst. Under TLS
 * SCRAM-SHA-256-PLUS comes before SCRAM-SHA-256. */
struct str settings_auth_mechs(const struct settings_auth *auth, bool tls,
                               char dst[SETTINGS_MECHS_TEXT]);

enum dkim_required { DKIM_REQUIRED_NO, DKIM_REQUIRED_YES, DKIM_REQUIRED_ALL };
struct settings_dkim {           /* block "dkim": signing of what we send (store/settings_dkim.c) */
    bool sign;                   /* no: nothing is signed, whatever keys there are */
    int required;                /* enum dkim_required: what mail waits for */
    struct conf_list subdomains; /* texts: domains whose keys sign for those below, too */
    struct str platform;         /* domain of a second signature on all that is sent; empty: none */
    struct str selector;         /* what names of new selectors begin with */
    uint64_t bits;               /* of new RSA keys */
    uint64_t expiry;             /* ns from t= to x=; 0: none */
    struct conf_list headers;    /* texts: more fields that are signed */
    uint64_t check;              /* ns between looks at a record that is awaited */
    uint64_t recheck;            /* ns between looks at records in use */
    uint64_t settle;             /* ns from the first sight of a new record to its first use */
    uint64_t grace;              /* ns that a former key's record is to stay */
    uint64_t cached;             /* messages whose signatures the courier remembers */
    uint64_t workers;            /* threads that sign */
};
struct settings_arc { /* block "arc": seals on what is forwarded (store/settings_arc.c) */
    bool seal;
    struct str domain, selector;
};
extern const struct conf_block settings_arc_block;
extern const struct conf_block settings_main_block, settings_domain_block, settings_tenant_block,
    settings_sender_block, settings_auth_block, settings_dkim_block;

/* Is it an address, a domain, ".domain" or "*", as a login's rights are written? */
bool settings_sender_entry(struct str text);

/* One whom we know without proof: address, domain, .domain, network, or one of the first three and
 * a network behind it. */
struct settings_known {
    struct str who; /* empty: anybody of the network */
    bool has_network;
    struct prefix network;
};
int settings_known_parse(struct str text, struct settings_known *ret); /* ERR_SYNTAX */

/* An inside host of the list above. */
enum inside_kind { INSIDE_SMTP, INSIDE_LMTP, INSIDE_LMTP_UNIX, INSIDE_MAILDIR };
struct inside_host {
    enum inside_kind kind;
    struct str host; /* name or address */
    uint16_t port;
    struct str path; /* LMTP_UNIX, MAILDIR */
};
/* Views into text. smtp://host[:25], lmtp://host[:24], lmtp:/path, maildir:/path. ERR_SYNTAX */
int inside_parse(struct str text, struct inside_host *ret);

#endif
