/*
 * gate/session_place.c - whose session it is: trust, and what its address and networks may take.
 *
 * Called when a client's address is known: after accept, a PROXY header or XCLIENT. Counts
 * sessions, questions to DNS and transactions that bring no message. Never replies.
 */
#include "core/clock.h"
#include "gate/inner.h"
#include "gate/session.h"

/* One more of that kind; true if the limit allows it. Held before the next one is looked up, so
 * that it stays in the table. */
static bool
limit_hold(struct session *s, enum limits_kind kind, struct limit **ret, uint64_t max)
{
    *ret = limits_get(&s->gate->limits, kind, &s->facts.client.addr);
    if (!*ret)
        return false;
    (*ret)->sessions++;
    return !max || (*ret)->sessions <= max;
}

/* A stranger's session, counted for its address and its networks. */
static bool
session_counted(struct session *s)
{
    const struct settings_smtp *c = s->setup->smtp;

    return limit_hold(s, LIMITS_ADDRESS, &s->by_address, c->sessions_per_address) &&
           limit_hold(s, LIMITS_NETWORK, &s->by_network, c->sessions_per_network) &&
           limit_hold(s, LIMITS_WIDE, &s->by_wide, c->sessions_per_wide_network) &&
           !bucket_take(&s->by_network->connections, &c->connections_per_network, clock_mono());
}

/* What names a stranger makes us ask for, and how many of them at once. */
static bool
session_quota(struct session *s)
{
    const struct settings_smtp *c = s->setup->smtp;

    if (!s->gate->links.dns)
        return true;
    s->quota = dns_quota_create(s->gate->links.dns, &s->facts.client.addr,
                                (unsigned)c->lookups_per_session, (unsigned)c->lookups_per_network);
    return s->quota != NULL;
}

/* A user of this machine has no network: the kernel says who it is. */
static bool
session_counted_local(struct session *s)
{
    const struct settings_smtp *c = s->setup->smtp;
    struct limit *l = limits_uid(&s->gate->limits, s->local_uid);

    if (!l)
        return false;
    s->by_address = l;
    l->sessions++;
    return (!c->sessions_per_uid || l->sessions <= c->sessions_per_uid) &&
           !bucket_take(&l->connections, &c->connections_per_uid, clock_mono());
}

/* Keeper and courier answer one question after the other, and what waits there has a ceiling
 * (courier/callout.c). So many are one network's and wide network's: all others find room. */
#define ASKING_NETWORK 25u
#define ASKING_WIDE    50u

bool
session_may_ask(const struct session *s)
{
    return !s->by_network || (s->by_network->asking < ASKING_NETWORK &&
                              (!s->by_wide || s->by_wide->asking < ASKING_WIDE));
}

void
session_asks(struct session *s, bool asks)
{
    struct limit *const held[] = {s->by_network, s->by_wide};

    if (asks == s->asking)
        return;
    s->asking = asks;
    for (size_t i = 0; i < ARRAY_LEN(held); i++) {
        if (held[i])
            held[i]->asking += asks ? 1u : -1u;
    }
}

void
session_uncounted(struct session *s)
{
    struct limit *const held[] = {s->by_address, s->by_network, s->by_wide};

    session_asks(s, false);
    for (size_t i = 0; i < ARRAY_LEN(held); i++) {
        if (held[i])
            held[i]->sessions--;
    }
    s->by_address = s->by_network = s->by_wide = NULL;
    dns_quota_free(s->quota);
    s->quota = NULL;
}

bool
session_place(struct session *s, const struct endpoint *client)
{
    session_uncounted(s);
    s->facts.client = *client;
    s->facts.trusted = s->local || (!s->unnamed && setup_trusts(s->setup, &client->addr));
    s->trusted = s->facts.trusted && s->listen->conf->kind != LISTEN_INBOUND;
    if (s->local)
        return session_counted_local(s);
    /* A proxy has many clients: each is counted when it is named. */
    return s->facts.trusted || (s->xclient && !s->moved) ||
           (session_counted(s) && session_quota(s));
}

/* ---- transactions without a message ---- */

/* Who has a /48 of IPv6 has 65536 networks: what each may ask for would be no limit. */
struct limit *
session_customer(const struct session *s)
{
    return addr_is_v4(&s->facts.client.addr) ? s->by_network : s->by_wide;
}

uint64_t
session_mail_wait(const struct session *s)
{
    const struct rate *rate = &s->setup->smtp->empty_mails_network;
    struct limit *l = session_customer(s);

    return l && rate->count ? bucket_peek(&l->empty_mails, rate, clock_mono()) : 0;
}

void
session_mail_over(struct session *s)
{
    const struct rate *rate = &s->setup->smtp->empty_mails_network;
    struct limit *l = session_customer(s);

    if (!s->tx || !s->tx->begun || s->tx->received || !l || s->facts.user.n || !rate->count)
        return;
    (void)bucket_take(&l->empty_mails, rate, clock_mono());
}
