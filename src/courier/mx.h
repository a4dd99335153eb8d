/*
 * courier/mx.h - the MX law: which hosts take the mail of a domain, in which order (RFC 5321 5,
 * RFC 7505). Pure: no DNS, no clock, no randomness but the seed given in.
 *
 * Run it with what is known; MX_NEED names what else must be asked (all at once), then run it again
 * from the start. Views in the result live as long as the input's domain and answers.
 */
#ifndef GAPURA_COURIER_MX_H
#define GAPURA_COURIER_MX_H

#include "net/dns.h"

#define MX_RECORDS_MAX   100u /* MX records looked at */
#define MX_HOSTS_MAX     16u  /* hosts used */
#define MX_ADDRS_MAX     32u  /* addresses of all hosts */
#define MX_QUESTIONS_MAX 64u
#define MX_ALIASES_MAX   8u /* CNAME records followed one after another */
#define MX_FINDINGS_MAX  8u

struct mx_input {
    struct str domain;           /* A-labels, lower case; or a literal "[192.0.2.1]" */
    const struct str *own_names; /* our host names, lower case */
    size_t nown_names;
    const struct addr *own_addrs; /* addresses on which we take mail */
    size_t nown_addrs;
    bool allow_private; /* private, loopback, link-local hosts are meant */
    bool v4, v6;        /* families that we can reach; none: both */
    enum { MX_PREFER_NONE, MX_PREFER_V4, MX_PREFER_V6 } prefer;
    uint64_t seed; /* order among equals */
    const struct dns_answer *const *answers;
    size_t nanswers;
};

enum mx_status { MX_DONE, MX_NEED, MX_FAILED };
enum mx_failure {
    MX_FAIL_NULL,      /* RFC 7505: the domain takes no mail; permanent */
    MX_FAIL_NODOMAIN,  /* NXDOMAIN; permanent */
    MX_FAIL_NOADDRESS, /* no host that could be reached; permanent */
    MX_FAIL_LOOP,      /* we are the best host ourselves; permanent */
    MX_FAIL_TEMPORARY, /* DNS does not answer, or not truthfully */
};
const char *mx_failure_name(enum mx_failure);

struct mx_question {
    struct str name;
    enum dns_type type;
};
struct mx_host {
    struct str name;
    uint16_t preference;
    uint8_t first, n; /* into addrs */
    bool secure;      /* DNSSEC proved its addresses */
    bool alias;       /* reached by a CNAME */
};
struct mx_result {
    enum mx_status status;
    /* MX_DONE */
    struct mx_host hosts[MX_HOSTS_MAX]; /* in the order of use */
    struct addr addrs[MX_ADDRS_MAX];
    unsigned nhosts, naddrs;
    bool implicit; /* no MX record: the domain itself is the host */
    bool secure;   /* DNSSEC proved the MX records (or that there are none) */
    /* MX_NEED */
    struct mx_question questions[MX_QUESTIONS_MAX];
    unsigned nquestions;
    /* MX_FAILED */
    enum mx_failure failure;
    int code;         /* as a server would reply */
    char enhanced[8]; /* "5.1.2" */
    char text[320];   /* what is wrong, for people */
    /* always */
    uint32_t ttl;                        /* seconds that this holds: least of all answers used */
    char findings[MX_FINDINGS_MAX][160]; /* oddities that did not stop it */
    unsigned nfindings;
};
/* The address of a domain that is a literal; ERR_SYNTAX: it is none. */
int mx_literal_addr(struct str domain, struct addr *ret);
void mx_run(const struct mx_input *in, struct mx_result *ret);

#endif
