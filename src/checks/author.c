/*
 * checks/author.c - known senders, and words for what is missing.
 *
 * Called by the rows own_domain_spoof and alignment. Never asks anybody.
 */
#include "checks/author.h"

#include "mail/address.h"
#include "mail/header.h"
#include "store/settings.h"

#define SHOWN(s) (int)MIN((s).n, (size_t)100), (s).p ? (s).p : ""

struct mailbox { /* the only one of From */
    char key[ADDRESS_MAX + 1];
    size_t n;
};

static int
take_mailbox(void *ctx, struct str text)
{
    struct mailbox *m = ctx;
    struct address a;
    ssize_t n;

    if (address_parse(text, ADDRESS_ALLOW_UTF8, &a) < 0)
        return 0;
    n = address_key(&a, m->key, sizeof(m->key));
    m->n = n > 0 ? (size_t)n : 0;
    return 0;
}

/* Empty if there is not the one. */
static struct str
only_mailbox(const struct stage_facts *facts, struct mailbox *m)
{
    struct header_field f;

    m->n = 0;
    if (!facts->auth->author.n || facts->auth->author.oddities & DMARC_FROM_REPEATED ||
        !header_find(facts->header, STR("From"), &f) ||
        header_mailboxes(f.value, take_mailbox, m) != 1)
        return STR_NONE;
    return str_of(m->key, m->n);
}

static bool
is_domain_of(struct str entry, struct str domain)
{
    bool below = entry.p[0] == '.';
    char name[256];
    ssize_t n = address_domain_ascii(str_from(entry, below), name, sizeof(name));
    struct str s = str_of(name, n > 0 ? (size_t)n : 0);

    if (!s.n || !domain.n)
        return false;
    if (!below)
        return str_ieq(s, domain);
    return domain.n > s.n && str_iends(domain, s) && domain.p[domain.n - s.n - 1] == '.';
}

static bool
is_who(const struct stage_facts *facts, struct str who)
{
    const struct dmarc_author *author = &facts->auth->author;
    struct mailbox m;
    struct address a;
    char key[ADDRESS_MAX + 1];
    ssize_t n;

    if (str_rchr(who, '@') < 0)
        return is_domain_of(who, str_of(author->domain, author->n));
    if (address_parse(who, ADDRESS_ALLOW_UTF8, &a) < 0)
        return false;
    n = address_key(&a, key, sizeof(key));
    return n > 0 && str_ieq(str_of(key, (size_t)n), only_mailbox(facts, &m));
}

struct str
author_known(const struct stage_facts *facts)
{
    const struct settings_main *conf = conf_get(facts->conf, "");
    const struct str *items = conf->known.items;
    struct settings_known k;

    for (size_t i = 0; i < conf->known.n; i++) {
        if (settings_known_parse(items[i], &k) < 0)
            continue;
        if (k.has_network && !prefix_has(&k.network, &facts->client.addr))
            continue;
        if (!k.who.n || is_who(facts, k.who))
            return items[i];
    }
    return STR_NONE;
}

bool
author_unsure(const struct auth_evidence *e)
{
    return e->author.n && (!e->have_dmarc || e->dmarc.unsure ||
                           (e->have_arc && e->common->ntrusted && e->chain.cv == ARC_TEMPERROR));
}

static const struct spf_verdict *
spf_of(const struct auth_evidence *e)
{
    if (e->have_mailfrom)
        return &e->mailfrom;
    return e->have_helo ? &e->helo : NULL;
}

static const struct dkim_result *
passing(const struct auth_evidence *e)
{
    for (unsigned i = 0; e->have_dkim && i < e->dkim->n; i++) {
        if (e->dkim->results[i].status == DKIM_PASS)
            return &e->dkim->results[i];
    }
    return NULL;
}

const char *
author_code(const struct auth_evidence *e)
{
    const struct spf_verdict *spf = spf_of(e);

    if (passing(e))
        return "5.7.22"; /* no valid author-matched DKIM signature found */
    if (!e->nsignatures && spf && spf->result == SPF_FAIL)
        return "5.7.23"; /* SPF validation failed */
    return "5.7.26";     /* multiple authentication checks failed */
}

void
author_shown(const struct auth_evidence *e, char *dst, size_t cap)
{
    const struct spf_verdict *spf = spf_of(e);
    const struct dkim_result *good = passing(e);
    size_t n = 0;

    if (spf && spf->result == SPF_PASS)
        n = str_fmt(dst, cap, "SPF proves %.*s, which is another domain; ", SHOWN(spf->domain));
    else if (spf)
        n = str_fmt(dst, cap, "SPF for %.*s says %s; ", SHOWN(spf->domain),
                    spf_result_name(spf->result));
    else
        n = str_fmt(dst, cap, "SPF was not looked at; ");
    if (good)
        str_fmt(dst + n, cap - n, "the DKIM signature is %.100s's", good->domain_ascii);
    else if (e->have_dkim && e->dkim->n)
        str_fmt(dst + n, cap - n, "DKIM: %s", dkim_reason_text(e->dkim->results[0].reason));
    else
        str_fmt(dst + n, cap - n, "there is no DKIM signature");
}

bool
author_served(const struct stage_facts *facts, struct str domain)
{
    return domain.n && facts->serves && facts->serves(facts->served, domain);
}

struct str
author_ours(const struct stage_facts *facts)
{
    const struct dmarc_author *a = &facts->auth->author;

    for (unsigned i = 0; i < a->ndomains; i++) {
        struct str domain = str_of(a->domains[i].text, a->domains[i].n);

        if (author_served(facts, domain))
            return domain;
    }
    return STR_NONE;
}
