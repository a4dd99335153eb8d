/*
 * auth/dmarc_author.c - the author's domain in a header block (RFC 9989 5.3.1), and what is odd.
 *
 * Called by the gate's content stage and by tests. Attackers write From fields that two readers
 * read differently; each way to do so has a name here, and none ends in a domain that was guessed.
 */
#include "auth/dmarc.h"
#include "mail/address.h"
#include "mail/header.h"

static const struct {
    unsigned bit;
    const char *name, *text;
} oddities[] = {
    {DMARC_FROM_MISSING, "from-missing", "The message has no From field."},
    {DMARC_FROM_REPEATED, "from-repeated",
     "The message has several From fields; mail programs differ in which they show."},
    {DMARC_FROM_MALFORMED, "from-malformed", "The From field is not a list of mailboxes."},
    {DMARC_FROM_NO_DOMAIN, "from-no-domain", "The author's address has no usable domain."},
    {DMARC_FROM_SEVERAL, "from-several", "The From field names several authors of one domain."},
    {DMARC_FROM_DOMAINS, "from-domains", "The From field names authors of different domains."},
};

const char *
dmarc_from_name(unsigned bit)
{
    for (size_t i = 0; i < ARRAY_LEN(oddities); i++)
        if (oddities[i].bit == bit)
            return oddities[i].name;
    return "";
}

const char *
dmarc_from_text(unsigned bit)
{
    for (size_t i = 0; i < ARRAY_LEN(oddities); i++)
        if (oddities[i].bit == bit)
            return oddities[i].text;
    return "";
}

static int
take_mailbox(void *ctx, struct str mailbox)
{
    struct dmarc_author *a = ctx;
    ssize_t at = str_rchr(mailbox, '@');
    char domain[256];
    ssize_t n = -1;

    if (at >= 0)
        n = address_domain_ascii(str_from(mailbox, (size_t)at + 1), domain, sizeof(domain));
    if (n <= 0 || !memchr(domain, '.', (size_t)n)) {
        a->oddities |= DMARC_FROM_NO_DOMAIN;
    } else if (!a->n) {
        memcpy(a->domain, domain, (size_t)n);
        a->domain[n] = '\0';
        a->n = (size_t)n;
    } else {
        a->oddities |= str_eq(str_of(a->domain, a->n), str_of(domain, (size_t)n))
                           ? DMARC_FROM_SEVERAL
                           : DMARC_FROM_DOMAINS;
    }
    return 0;
}

void
dmarc_author(struct str block, struct dmarc_author *ret)
{
    struct header_field f;
    unsigned fields = 0;
    size_t at = 0;
    int rc;

    *ret = (struct dmarc_author){0};
    while ((rc = header_next(block, &at, &f)) != 0) {
        if (rc < 0 || !str_ieq(f.name, STR("From")))
            continue;
        if (++fields > 1)
            ret->oddities |= DMARC_FROM_REPEATED;
        if (header_mailboxes(f.value, take_mailbox, ret) <= 0)
            ret->oddities |= DMARC_FROM_MALFORMED;
    }
    if (!fields)
        ret->oddities |= DMARC_FROM_MISSING;
    /* One domain for all that any reader could show, or none. */
    if (ret->oddities &
        (DMARC_FROM_MISSING | DMARC_FROM_MALFORMED | DMARC_FROM_NO_DOMAIN | DMARC_FROM_DOMAINS)) {
        ret->n = 0;
        ret->domain[0] = '\0';
    }
}
