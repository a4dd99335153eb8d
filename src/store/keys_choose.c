/*
 * store/keys_choose.c - whose keys sign a message: the author's domain, a domain above it, the
 * platform.
 *
 * Called by the courier, which signs, and by the check that says beforehand whether it will. Pure:
 * an index in memory and settings in, names out.
 */
#include "mail/address.h"
#include "mail/header.h"
#include "store/keys.h"
#include "store/settings.h"

static int
first_mailbox(void *ctx, struct str mailbox)
{
    char *dst = ctx;
    struct address a;

    if (!dst[0] && address_parse(mailbox, ADDRESS_ALLOW_UTF8, &a) == 0 &&
        address_domain_ascii(a.domain, dst, 256) < 0)
        dst[0] = '\0';
    return 0;
}

struct str
keys_author(struct str header, char dst[256])
{
    struct header_field f;

    dst[0] = '\0';
    if (!header_find(header, STR("From"), &f) || header_mailboxes(f.value, first_mailbox, dst) <= 0)
        return STR_NONE;
    str_lower(dst, strlen(dst));
    return str_c(dst);
}

struct str
keys_above(const struct settings_dkim *d, struct str domain)
{
    const struct str *names = d->subdomains.items;
    struct str best = STR_NONE;

    for (size_t i = 0; i < d->subdomains.n; i++)
        if (names[i].n < domain.n && names[i].n > best.n && str_iends(domain, names[i]) &&
            domain.p[domain.n - names[i].n - 1] == '.')
            best = names[i];
    return best;
}

/* Keys of that domain that sign mail of the tenant, one of each kind: how many were added. */
static unsigned
choose_of(const struct snapshot *index, struct str domain, uint32_t tenant, enum keys_whose whose,
          bool shared, struct keys_choice *to)
{
    struct keys_set set;
    bool have[2] = {false};
    unsigned n = 0;

    if (!keys_find(index, domain, &set))
        return 0;
    for (unsigned i = 0; i < set.n && n < 2; i++) {
        const struct keys_public *k = &set.items[i];
        unsigned alg = k->alg == KEYS_ED25519;

        if (k->state != KEYS_ACTIVE || have[alg] ||
            (k->tenant != tenant && !(shared && k->tenant == 0)))
            continue;
        have[alg] = true;
        to[n++] = (struct keys_choice){domain, *k, whose};
    }
    return n;
}

unsigned
keys_choose(const struct snapshot *index, const struct settings_dkim *d, struct str author,
            uint32_t tenant, struct keys_choice ret[KEYS_CHOSEN_MAX])
{
    struct str platform = d->platform, own = author;
    unsigned n = 0;

    if (author.n)
        n = choose_of(index, own, tenant, KEYS_OWN, platform.n && str_ieq(platform, own), ret);
    while (author.n && !n && (own = keys_above(d, own)).n)
        n = choose_of(index, own, tenant, KEYS_OWN, platform.n && str_ieq(platform, own), ret);
    if (platform.n && !(n && str_ieq(platform, ret[0].domain)))
        n += choose_of(index, platform, tenant, KEYS_PLATFORM, true, ret + n);
    return n;
}

bool
keys_must(const struct settings_dkim *d, const struct keys_choice *all, unsigned n, unsigned i)
{
    bool rsa = false;

    if (d->required != DKIM_REQUIRED_YES)
        return d->required == DKIM_REQUIRED_ALL;
    for (unsigned k = 0; k < n; k++)
        rsa = rsa || (all[k].whose == KEYS_OWN && all[k].key.alg == KEYS_RSA);
    return all[i].whose == KEYS_OWN && (all[i].key.alg == KEYS_RSA || !rsa);
}
