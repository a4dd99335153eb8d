/*
 * net/dns_direct.h - DNS for a program that may wait: the command line, which has no resolver role.
 *
 * The resolver role's half and the asking half of net/dns.h, joined in one process by a channel:
 * what the verbs see is what the roles would see.
 */
#ifndef GAPURA_NET_DNS_DIRECT_H
#define GAPURA_NET_DNS_DIRECT_H

#include "net/dns.h"

struct dns_direct;
struct dns_direct_question {
    struct str name;
    enum dns_type type;
};
/* server: whom to ask; NULL: those of /etc/resolv.conf, or the roots if it names none. timeout_ns:
 * for all questions together, from now on. */
int dns_direct_create(struct dns_direct **ret, const struct endpoint *server, uint64_t timeout_ns,
                      struct why *);
void dns_direct_free(struct dns_direct *);
/* Asks all side by side and waits. What has no answer in time is DNS_TEMPORARY, a name that none
 * can have DNS_NXDOMAIN. Names of the answers are those of the questions; all lives in the arena. 0
 * or ERR_NOMEM. */
int dns_direct_ask(struct dns_direct *, const struct dns_direct_question *, size_t n,
                   struct arena *, const struct dns_answer **ret);
/* The addresses behind "nameserver" in the text of a resolv.conf(5), at most cap. */
size_t dns_direct_servers(struct str text, struct endpoint *ret, size_t cap);

#endif
