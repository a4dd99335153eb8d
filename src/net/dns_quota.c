/*
 * net/dns_quota.c - open questions, counted by session and by network.
 *
 * Called by the client for those who ask about names of strangers. A name whose servers keep silent
 * holds its place in the table for as long as the resolver tries, so places are shared: a network
 * may hold at most an eighth of those that are free (the "dynamic threshold" of shared buffers).
 * However many take as much as they get, the next one still finds room. Never asks anybody.
 */
#include <stdlib.h>

#include "net/dns_inner.h"

#define QUOTA_SHARE    8u      /* a network may hold one place for so many free ones */
#define QUOTA_LEAST    32u     /* but so many while there are any: one message's questions */
#define QUOTA_NETWORKS 200000u /* over any number of sessions */

struct dns_network {
    struct dns_quotas *all;
    unsigned refs; /* sessions, and the questions of those that are gone */
    unsigned open;
    char key[sizeof(struct addr)];
};
struct dns_quota {
    struct dns_network *network;
    unsigned refs; /* the session, and each open question */
    unsigned open, per_session, per_network;
    bool refused;
};

struct dns_quotas *
dns_quotas_create(unsigned max)
{
    struct dns_quotas *all = calloc(1, sizeof(*all));

    if (!all)
        return NULL;
    map_init(&all->networks, QUOTA_NETWORKS, false);
    all->refs = 1;
    all->max = max;
    return all;
}

void
dns_quotas_unref(struct dns_quotas *all)
{
    if (!all || --all->refs)
        return;
    map_done(&all->networks);
    free(all);
}

static struct dns_network *
network_get(struct dns_quotas *all, const struct addr *client)
{
    struct addr masked = addr_masked(client, addr_is_v4(client) ? 120 : 48);
    struct str key = str_of(masked.b, sizeof(masked.b));
    struct dns_network *n = map_get(&all->networks, key);

    if (n) {
        n->refs++;
        return n;
    }
    n = calloc(1, sizeof(*n));
    if (!n)
        return NULL;
    memcpy(n->key, key.p, key.n);
    if (map_put(&all->networks, str_of(n->key, sizeof(n->key)), n) < 0) {
        free(n);
        return NULL;
    }
    n->refs = 1;
    n->all = all;
    all->refs++;
    return n;
}

static void
network_unref(struct dns_network *n)
{
    if (--n->refs)
        return;
    (void)map_del(&n->all->networks, str_of(n->key, sizeof(n->key)));
    dns_quotas_unref(n->all);
    free(n);
}

struct dns_quota *
dns_quota_create(struct dns_client *c, const struct addr *client, unsigned per_session,
                 unsigned per_network)
{
    struct dns_quota *q = calloc(1, sizeof(*q));

    if (!q)
        return NULL;
    q->network = network_get(dns_client_quotas(c), client);
    if (!q->network) {
        free(q);
        return NULL;
    }
    q->refs = 1;
    q->per_session = per_session;
    q->per_network = per_network;
    return q;
}

void
dns_quota_free(struct dns_quota *q)
{
    if (!q || --q->refs)
        return;
    network_unref(q->network);
    free(q);
}

bool
dns_quota_spent(const struct dns_quota *q)
{
    const struct dns_network *n = q->network;
    unsigned left = n->all->max - MIN(n->all->open, n->all->max);

    return (q->per_session && q->open >= q->per_session) ||
           (q->per_network && n->open >= q->per_network) || !left ||
           n->open >= MAX(left / QUOTA_SHARE, QUOTA_LEAST);
}

bool
dns_quota_refused(const struct dns_quota *q)
{
    return q->refused;
}

void
dns_quota_forget(struct dns_quota *q)
{
    q->refused = false;
}

int
dns_quota_charge(struct dns_quota *q)
{
    if (!q)
        return 0;
    if (dns_quota_spent(q)) {
        q->refused = true;
        return ERR_LIMIT;
    }
    q->refs++;
    q->open++;
    q->network->open++;
    q->network->all->open++;
    return 0;
}

void
dns_quota_return(struct dns_quota *q)
{
    if (!q)
        return;
    q->open--;
    q->network->open--;
    q->network->all->open--;
    dns_quota_free(q);
}
