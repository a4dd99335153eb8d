/*
 * scan/report.c - reads the report that a mail brings, and who proved to have sent it.
 *
 * Called by scan.c in its sandbox. A report proves nothing of itself: whether its mail was
 * authenticated is what the gate wrote on top of it, above its own Received field. What stands
 * below may be anybody's and does not count.
 */
#include "scan/report.h"

#include "auth/authres.h"
#include "mail/header.h"

#define HEADER_MAX (256u << 10)

/* --- the sender --- */

struct author { /* of the From field */
    struct arena *arena;
    struct str address;
    unsigned n;
};

static int
on_mailbox(void *ctx, struct str mailbox)
{
    struct author *a = ctx;

    if (a->n++ == 0)
        a->address = arena_str(a->arena, str_sub(mailbox, 0, REPORT_TEXT_MAX));
    return 0;
}

static struct str
domain_of(struct str address)
{
    ssize_t at = str_rchr(address, '@');

    return at < 0 ? STR_NONE : str_from(address, (size_t)at + 1);
}

/* The same domain, or one below the other; a last label alone is nobody's. */
static bool
in_line(struct str a, struct str b)
{
    struct str small = a.n < b.n ? a : b, large = a.n < b.n ? b : a;

    if (str_ieq(a, b))
        return a.n > 0;
    return str_chr(small, '.') > 0 && large.n > small.n + 1 && str_iends(large, small) &&
           large.p[large.n - small.n - 1] == '.';
}

static struct str
prop(const struct authres_result *r, const char *ptype, const char *property)
{
    for (unsigned i = 0; i < r->nprops; i++)
        if (str_ieq(r->props[i].ptype, str_c(ptype)) &&
            str_ieq(r->props[i].property, str_c(property)))
            return r->props[i].value;
    return STR_NONE;
}

/* What of a result proves the author, best first; its rank, or none. */
static const struct {
    const char *method, *ptype, *property;
} proofs[] = {{"dmarc", "header", "from"}, {"dkim", "header", "d"}, {"spf", "smtp", "mailfrom"}};

static void
take_results(const struct authres *list, struct str author, size_t *best, struct report_facts *ret)
{
    for (unsigned i = 0; i < list->n; i++) {
        const struct authres_result *r = &list->results[i];

        for (size_t k = 0; k < *best; k++) {
            struct str who = prop(r, proofs[k].ptype, proofs[k].property);
            struct str domain = str_rchr(who, '@') < 0 ? who : domain_of(who);

            if (!str_ieq(r->method, str_c(proofs[k].method)) || !str_ieq(r->result, STR("pass")) ||
                !in_line(domain, author))
                continue;
            *best = k;
            ret->proof = str_c(proofs[k].method);
            ret->by = domain;
        }
    }
}

void
scan_report_facts(struct str mail, struct str hostname, struct arena *arena,
                  struct report_facts *ret)
{
    struct str block = str_sub(mail, 0, HEADER_MAX);
    struct author author = {.arena = arena};
    struct header_field f;
    struct authres list __attribute__((uninitialized));
    size_t at = 0, best = ARRAY_LEN(proofs);
    bool ours = true;
    int r;

    if (header_find(block, STR("From"), &f))
        (void)header_mailboxes(f.value, on_mailbox, &author);
    ret->from = author.address;
    while (author.n == 1 && ours && (r = header_next(block, &at, &f)) != 0) {
        if (r < 0)
            continue;
        ours = !str_ieq(f.name, STR("Received"));
        if (ours && str_ieq(f.name, STR("Authentication-Results")) &&
            authres_parse(f.value, arena, &list) == 0 && authres_same_id(list.id, hostname))
            take_results(&list, domain_of(author.address), &best, ret);
    }
    if (ours) { /* not one field of our gate's: whose these are nobody knows */
        ret->proof = STR_NONE;
        ret->by = STR_NONE;
    }
}

/* --- the report --- */

int
scan_report(const struct scan_report_ask *ask, struct report_facts *facts, struct arena *arena,
            struct buf *out, struct why *why)
{
    struct report_mail *m;
    struct report report = {.kind = REPORT_OTHER};
    int r = report_mail_open(&m, &ask->limits, arena);

    if (r < 0)
        return why_set(why, ERR_NOMEM, "no memory to read it");
    report_mail_feed(m, ask->mail.p, ask->mail.n);
    r = report_mail_end(m, &report, why);
    report_mail_close(m);
    if (r < 0)
        return r;
    if (report.kind == REPORT_DMARC_FAILURE)
        return why_set(why, ERR_NOTFOUND,
                       "it is a DMARC failure report: aggregate and TLS reports are kept");
    scan_report_facts(ask->mail, ask->hostname, arena, facts);
    r = report_wire_put(out, facts, &report);
    return r < 0 ? why_set(why, r, "what it says is too much to keep") : 0;
}
