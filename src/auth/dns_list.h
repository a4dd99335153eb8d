/*
 * auth/dns_list.h - DNS lists (RFC 5782): what block and allow lists say of a client or a name.
 *
 * A pure evaluator over known answers with one thing that it remembers: how each list is. A list is
 * asked only while its test points are as they must be: 127.0.0.2 listed, 127.0.0.1 not (domain
 * lists: TEST and INVALID). What is no list's answer, what says that the list refuses to serve us,
 * and codes that the settings do not name are trouble of the list: told, and never a finding.
 *
 * A message's way: dns_lists_run() at MAIL notes the questions, test points along with them when it
 * is time; the answers come while the client talks; DONE with what was found, at the latest when
 * each list's time is over.
 */
#ifndef GAPURA_AUTH_DNS_LIST_H
#define GAPURA_AUTH_DNS_LIST_H

#include "auth/answers.h"
#include "core/conf.h"

#define DNS_LISTS_MAX      16u
#define DNS_LIST_CODES_MAX 32u  /* of one list's settings */
#define DNS_LIST_ZONE_MAX  180u /* bytes: a nibble name of IPv6 has room in front */

enum dns_list_kind { DNS_LIST_BLOCK, DNS_LIST_ALLOW };
enum dns_list_of { DNS_LIST_CLIENT, DNS_LIST_SENDER, DNS_LIST_HELO };
struct settings_dns_list {    /* block "dns_list NAME" */
    struct str zone;          /* behind the reversed address or the name */
    int kind;                 /* enum dns_list_kind */
    int of;                   /* enum dns_list_of: what is looked up */
    bool ipv6;                /* it has a part for IPv6 addresses */
    struct conf_list codes;   /* texts: dns_list_code_parse */
    uint64_t timeout;         /* ns */
    struct conf_list trusted; /* prefixes: clients of these are not looked up */
};
extern const struct conf_block auth_dns_list_block;

/* "127.0.0.2 spam", "127.0.0.4-7 exploit", "127.0.*.3 allowed-high", "127.0.0.&8 phish". */
struct dns_list_code {
    uint8_t from[4], to[4], bits[4]; /* of each octet: the range, or bits of which one is set */
    const char *name;                /* of the finding; static */
};
int dns_list_code_parse(struct str text, enum dns_list_kind, struct dns_list_code *ret);
/* All names that a code may give, and what they weigh where no profile says; ends with NULL. */
extern const char *const dns_list_names[];
int32_t dns_list_weight(const char *name);

struct dns_lists;
/* Those of the settings; *ret NULL if there are none. */
int dns_lists_create(struct dns_lists **ret, const struct conf *, struct why *);
void dns_lists_free(struct dns_lists *);

struct dns_lists_input {
    const struct addr *client;
    struct str sender, helo; /* domains; empty: none */
    uint64_t now;            /* mono ns */
    uint64_t elapsed_ns;     /* since the first run */
    bool hindered;           /* we could not ask: what has no answer is not a list's fault */
};
struct dns_list_hit {
    struct str list;    /* its name in the settings */
    struct str subject; /* what is listed */
    struct str codes;   /* that it answered: "127.0.0.2 127.0.0.10" */
    const char *name;   /* of the finding */
};
enum dns_list_trouble {
    DNS_LIST_WELL,    /* it answers as it should again */
    DNS_LIST_SILENT,  /* its test points are not answered */
    DNS_LIST_ALL,     /* lists what no list may list */
    DNS_LIST_NOTHING, /* does not list what every list must list */
    DNS_LIST_TYPO,    /* 127.255.255.252: the zone's name is wrong */
    DNS_LIST_PUBLIC,  /* 127.255.255.254: asked through a public resolver */
    DNS_LIST_QUOTA,   /* 127.255.255.255: asked too much */
    DNS_LIST_REFUSES, /* another one of 127.255.255.0/24 */
    DNS_LIST_FOREIGN, /* an address outside of 127.0.0.0/8 */
    DNS_LIST_UNNAMED, /* a code that the settings do not name */
    DNS_LIST_TROUBLES_,
};
struct dns_list_word { /* to be told to the operator, once in a while */
    struct str list;
    struct addr answer; /* of those that are about one */
    enum dns_list_trouble trouble;
};
struct dns_lists_report {
    struct dns_list_hit hits[DNS_LISTS_MAX];
    struct dns_list_word words[2 * DNS_LISTS_MAX];
    unsigned nhits, nwords;
    uint64_t wait_ns; /* AUTH_NEED: run again after this, also if no answer came */
};
/* Words are there after each run, hits when it is DONE. Texts live in the arena and the input. */
enum auth_state dns_lists_run(struct dns_lists *, const struct dns_lists_input *,
                              const struct auth_answers *, struct auth_needs *, struct arena *,
                              struct dns_lists_report *ret);

#endif
