/*
 * roles/domain_dns.h - the verb `domain dns`: what a domain should publish and what it does.
 */
#ifndef GAPURA_ROLES_DOMAIN_DNS_H
#define GAPURA_ROLES_DOMAIN_DNS_H

#include "ctl/ctl.h"
#include "net/dns.h"
#include "store/keeper.h"

struct domain_dns_links {
    struct loop *loop;
    struct dns_client *dns;
    struct keeper *keeper; /* its keys are read before this returns */
    const struct conf *conf;
};
/* Answers the call, now or when DNS has. */
void domain_dns(const struct domain_dns_links *, struct ctl_call *, struct str args);

#endif
