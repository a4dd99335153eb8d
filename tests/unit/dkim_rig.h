/*
 * tests/unit/dkim_rig.h - TXT records in memory for evaluators of DKIM and ARC, and one message
 * through them: for unit tests, the runners of suites and benchmarks.
 */
#ifndef GAPURA_DKIM_RIG_H
#define GAPURA_DKIM_RIG_H

#include "auth/arc.h"
#include "auth/dkim_verify.h"

#define RIG_NAMES_MAX 512u

struct rig_dns {
    struct dns_answer answers[RIG_NAMES_MAX];
    struct dns_record records[RIG_NAMES_MAX];
    const struct dns_answer *items[RIG_NAMES_MAX];
    struct auth_answers table;
    unsigned asked; /* questions that evaluators noted */
};

__attribute__((unused)) static void
rig_dns_add(struct rig_dns *d, struct str name, enum dns_status status, struct str text)
{
    size_t i = d->table.n;
    char normal[256];
    size_t n;

    if (i == RIG_NAMES_MAX || !auth_name_normal(name, normal, &n))
        return;
    d->records[i] =
        (struct dns_record){.type = DNS_TXT, .data = {text.n ? str_dup(text) : NULL, text.n}};
    d->answers[i] = (struct dns_answer){.name = {str_dup((struct str){normal, n}), n},
                                        .type = DNS_TXT,
                                        .status = status,
                                        .ttl = 300,
                                        .records = &d->records[i],
                                        .n = status == DNS_OK};
    d->items[i] = &d->answers[i];
    d->table.items = d->items;
    d->table.n = i + 1;
}

__attribute__((unused)) static void
rig_dns_txt(struct rig_dns *d, const char *name, const char *text)
{
    rig_dns_add(d, str_c(name), DNS_OK, str_c(text));
}

/* What nobody put there does not exist. */
__attribute__((unused)) static void
rig_dns_answer(struct rig_dns *d, struct auth_needs *needs)
{
    for (unsigned i = 0; i < needs->n; i++)
        rig_dns_add(d, (struct str){needs->items[i].name, needs->items[i].n}, DNS_NXDOMAIN,
                    STR_NONE);
    d->asked += needs->n;
    memset(needs, 0, sizeof(*needs));
}

__attribute__((unused)) static void
rig_dns_done(struct rig_dns *d)
{
    for (size_t i = 0; i < d->table.n; i++) {
        free((void *)(uintptr_t)d->answers[i].name.p);
        free((void *)(uintptr_t)d->records[i].data.p);
    }
    memset(d, 0, sizeof(*d));
}

/* Verifies header and body, the body in pieces of `step` bytes (0: whole). The results' views live
 * in the header. */
__attribute__((unused)) static void
rig_verify_parts(struct dkim_verifier *v, struct dkim_message *m, struct str header,
                 struct str body, size_t step, struct rig_dns *dns, struct dkim_keys *keys,
                 const struct dkim_limits *limits, uint64_t now)
{
    static struct auth_needs needs; /* as a session has one: not cleared for each message */

    needs.n = 0;
    needs.full = false;
    dkim_message_headers(m, header, limits);
    dkim_verify_prepare(v, m, limits);
    for (size_t at = 0; at < body.n; at += step ? step : body.n) {
        struct str piece = str_sub(body, at, step ? step : body.n);
        dkim_message_body(m, piece.p, piece.n);
    }
    while (dkim_verify_run(v, now, keys, &dns->table, &needs) == AUTH_NEED)
        rig_dns_answer(dns, &needs);
}

/* The same of a message with CRLF line ends. */
__attribute__((unused)) static void
rig_verify(struct dkim_verifier *v, struct dkim_message *m, struct str text, size_t step,
           struct rig_dns *dns, struct dkim_keys *keys, const struct dkim_limits *limits,
           uint64_t now)
{
    ssize_t end = str_starts(text, STR("\r\n")) ? -2 : str_find(text, STR("\r\n\r\n"));
    struct str header = end == -1 ? text : str_sub(text, 0, (size_t)(end + 4));

    rig_verify_parts(v, m, header, str_from(text, header.n), step, dns, keys, limits, now);
}

#endif
