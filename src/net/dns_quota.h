/*
 * net/dns_quota.h - on whose behalf a question is asked, and how many of his may be open at once.
 *
 * For those who ask about names that strangers choose. A question counts for the session that
 * opened it and for that session's network (/24, IPv6 /48) until the resolver is done with it, also
 * when nobody waits for the answer any more. What is known or under way already costs nothing.
 */
#ifndef GAPURA_NET_DNS_QUOTA_H
#define GAPURA_NET_DNS_QUOTA_H

#include "net/dns.h"

struct dns_quota;
/* Of one session; 0 sets no limit of that kind. NULL: no memory. */
struct dns_quota *dns_quota_create(struct dns_client *, const struct addr *client,
                                   unsigned per_session, unsigned per_network);
/* The session is over: what it left open still counts for its network. NULL is fine. */
void dns_quota_free(struct dns_quota *);
bool dns_quota_spent(const struct dns_quota *);   /* one more question would be refused now */
bool dns_quota_refused(const struct dns_quota *); /* one was, since this was forgotten */
void dns_quota_forget(struct dns_quota *);

/* dns_client_ask() for that quota (NULL: the house's own, without one). ERR_LIMIT also when the
 * quota is spent and the question would be a new one. */
int dns_client_ask_for(struct dns_client *, struct dns_quota *, struct str name, enum dns_type,
                       struct dns_ask *, void (*fn)(void *ctx, const struct dns_answer *),
                       void *ctx);

#endif
