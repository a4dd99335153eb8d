/*
 * net/dns_inner.h - what dns_client.c and dns_quota.c share: who pays for an open question.
 */
#ifndef GAPURA_NET_DNS_INNER_H
#define GAPURA_NET_DNS_INNER_H

#include "core/map.h"
#include "net/dns_quota.h"

/* Of one client: networks with sessions or open questions. Outlives the client while sessions do.
 */
struct dns_quotas {
    struct map networks;
    unsigned refs;
    unsigned open, max; /* questions of all who have a quota */
};
struct dns_quotas *dns_quotas_create(unsigned max);
void dns_quotas_unref(struct dns_quotas *); /* NULL is fine */
struct dns_quotas *dns_client_quotas(struct dns_client *);

/* One more question, NULL: the house's. ERR_LIMIT: none is charged, and the quota remembers that.
 */
int dns_quota_charge(struct dns_quota *);
void dns_quota_return(struct dns_quota *); /* that question is open no more */

#endif
