/*
 * auth/dmarc_author.c - the author's domain in a header block (RFC 9989 5.3.1), and what is odd.
 *
 * Called by the gate's content stage and by tests. Attackers write From fields that two readers
 * read differently; each way to do so has a name here, and none ends in a domain that was guessed:
 * where there is not the one, all that could be meant are collected, and the strictest policy
 * counts.
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
    {DMARC_FROM_SHOWN, "from-shown",
     "An address stands in the From field where the author's name belongs."},
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

static bool
is_known(const struct dmarc_author *a, struct str domain)
{
    for (unsigned i = 0; i < a->ndomains; i++)
        if (str_eq(str_of(a->domains[i].text, a->domains[i].n), domain))
            return true;
    return false;
}

static bool
is_domain_byte(char c)
{
    unsigned char u = (unsigned char)c;

    return u >= 128 || c == '.' || c == '-' || c == '_' || (c >= '0' && c <= '9') ||
           ((c | 32) >= 'a' && (c | 32) <= 'z');
}

/* In A-labels into text of 256 bytes. No host has an underscore in its name (RFC 5321 4.1.2), yet
 * DNS knows such names, readers show them and their owners publish policies: they are domains here.
 */
static ssize_t
ascii_domain(struct str domain, char *text)
{
    ssize_t n = address_domain_ascii(domain, text, 256);
    size_t normal;

    if (n > 0 || str_chr(domain, '_') < 0)
        return n;
    for (size_t i = 0; i < domain.n; i++)
        if ((unsigned char)domain.p[i] >= 128 || !is_domain_byte(domain.p[i]))
            return ERR_SYNTAX;
    return auth_name_normal(domain, text, &normal) ? (ssize_t)normal : ERR_SYNTAX;
}

/* Notes the domain as one that may be shown. False if DNS cannot know it. */
static bool
take_domain(struct dmarc_author *a, struct str domain)
{
    struct dmarc_author_domain *d = &a->domains[a->ndomains];
    char text[256] = "";
    ssize_t n = ascii_domain(domain, text);

    if (n <= 0 || !memchr(text, '.', (size_t)n))
        return false;
    if (is_known(a, str_of(text, (size_t)n)))
        return true;
    if (a->ndomains)
        a->oddities |= DMARC_FROM_DOMAINS;
    if (a->ndomains == DMARC_AUTHORS_MAX)
        return true;
    memcpy(d->text, text, (size_t)n + 1);
    d->n = (size_t)n;
    a->ndomains++;
    return true;
}

static int
take_shown(void *ctx, struct str mailbox)
{
    struct dmarc_author *a = ctx;
    ssize_t at = str_rchr(mailbox, '@');

    a->oddities |= DMARC_FROM_SHOWN;
    if (at < 0 || !take_domain(a, str_from(mailbox, (size_t)at + 1)))
        a->oddities |= DMARC_FROM_NO_DOMAIN;
    return 0;
}

static int
take_mailbox(void *ctx, struct str mailbox)
{
    struct dmarc_author *a = ctx;
    ssize_t at = str_rchr(mailbox, '@');

    if (at < 0 || !take_domain(a, str_from(mailbox, (size_t)at + 1)))
        a->oddities |= DMARC_FROM_NO_DOMAIN;
    else if (a->n++) /* how many, until the end */
        a->oddities |= DMARC_FROM_SEVERAL;
    return 0;
}

/* A field that is no list of mailboxes: whatever stands behind an "@" may be shown by somebody. */
static void
take_all(struct dmarc_author *a, struct str value)
{
    for (size_t i = 0; i < value.n;) {
        size_t start;

        if (value.p[i++] != '@')
            continue;
        while (i < value.n && strchr(" \t\r\n", value.p[i]) && value.p[i])
            i++;
        for (start = i; i < value.n && is_domain_byte(value.p[i]);)
            i++;
        while (i > start && value.p[i - 1] == '.')
            i--;
        (void)take_domain(a, str_sub(value, start, i - start));
    }
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
        if (header_mailboxes_shown(f.value, take_mailbox, take_shown, ret) > 0)
            continue;
        ret->oddities |= DMARC_FROM_MALFORMED;
        take_all(ret, f.value);
    }
    if (!fields)
        ret->oddities |= DMARC_FROM_MISSING;
    if (ret->oddities & DMARC_FROM_DOMAINS)
        ret->oddities &= ~DMARC_FROM_SEVERAL;
    ret->n = 0;
    if (ret->ndomains != 1 ||
        ret->oddities & (DMARC_FROM_MALFORMED | DMARC_FROM_NO_DOMAIN | DMARC_FROM_DOMAINS))
        return;
    ret->n = ret->domains[0].n;
    memcpy(ret->domain, ret->domains[0].text, ret->n + 1);
}
