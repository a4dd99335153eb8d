/*
 * auth/domain.h - could a sender's domain take an answer? (RFC 5321 5.1, RFC 7505)
 *
 * Pure, like its neighbours: run over known answers until it says AUTH_DONE.
 */
#ifndef GAPURA_AUTH_DOMAIN_H
#define GAPURA_AUTH_DOMAIN_H

#include "auth/answers.h"

enum auth_domain {
    AUTH_DOMAIN_OK,
    AUTH_DOMAIN_MISSING, /* NXDOMAIN */
    AUTH_DOMAIN_NO_HOST, /* it exists, and has neither MX nor address */
    AUTH_DOMAIN_NULL_MX, /* it says that it takes no mail */
    AUTH_DOMAIN_BOGUS,   /* all its hosts are at addresses that nobody can reach */
    AUTH_DOMAIN_DEAD_MX, /* its MX hosts have no address */
    AUTH_DOMAIN_UNKNOWN, /* DNS does not answer */
};
/* From an address that is not public itself (a private network, a lab) every address is fine.
 * *ret_host: the name whose addresses decided; a view into answers or domain. */
enum auth_state auth_domain_run(struct str domain, const struct addr *client,
                                const struct auth_answers *, struct auth_needs *,
                                enum auth_domain *ret, struct str *ret_host);

#endif
