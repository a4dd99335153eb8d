/*
 * auth/settings.c - rows of the block `verify`.
 *
 * Read by the parser, by `gapura check`, by the gate and by the generator of the manual.
 */
#include "auth/settings.h"

#include "auth/dkim.h"
#include "mail/address.h"

#define DAY (UINT64_C(86400) * 1000000000)

static const char *const mode_words[] = {"off", "on", NULL};
static const char *const method_words[] = {"tree", "psl", NULL};

static const struct conf_row verify_rows[] = {
    {.name = "mode",
     CONF_ROW(WORD, struct settings_verify, mode, .def = "on", .words = mode_words,
              .doc = "off: the checks sender_domain, spf, dkim, arc, dmarc, own_domain_spoof and "
                     "alignment are left out where no `check` block names them. For a gate behind "
                     "another one that has done it, which is listed in `trusted`, or without DNS. "
                     "Fields in our name (Authentication-Results, X-Gapura-*, X-Spam-*) are taken "
                     "out of the mail of all others, on or off.")},
    {.name = "authserv_id",
     CONF_ROW(DOMAIN, struct settings_verify, authserv_id,
              .doc = "Our name in Authentication-Results; the host name without it. Several gates "
                     "of one organization share it. Foreign fields under this name or the host "
                     "name are removed.")},
    {.name = "dmarc_method",
     CONF_ROW(WORD, struct settings_verify, dmarc_method, .def = "tree", .words = method_words,
              .doc = "How an organization's domain is found: by the tree walk of RFC 9989, or by "
                     "the Public Suffix List, as RFC 7489 did.")},
    {.name = "psl",
     CONF_ROW(PATH, struct settings_verify, psl,
              .doc = "The Public Suffix List as text: /usr/share/publicsuffix/"
                     "public_suffix_list.dat of the package publicsuffix.")},
    {.name = "dkim_signatures",
     CONF_ROW(U64, struct settings_verify, dkim_signatures, .def = "10", .min = 1,
              .max = DKIM_SIGS_MAX, .doc = "DKIM signatures of one message that are looked at.")},
    {.name = "dkim_min_bits",
     CONF_ROW(U64, struct settings_verify, dkim_min_bits, .def = "1024", .min = 512, .max = 8192,
              .doc = "A signature by a shorter RSA key proves nothing (RFC 8301).")},
    {.name = "dkim_max_bits",
     CONF_ROW(U64, struct settings_verify, dkim_max_bits, .def = "8192", .min = 2048, .max = 8192,
              .doc = "Longer RSA keys are not computed with.")},
    {.name = "arc_trusted",
     CONF_ROW(TEXTS, struct settings_verify, arc_trusted,
              .doc = "Sealers whose word counts: domains of forwarders and mailing lists, .domain "
                     "for all below one. What their chain says of a message that they forwarded "
                     "is believed where forwarding broke the author's own proof.")},
    {.name = "reports",
     CONF_ROW(TEXTS, struct settings_verify, reports,
              .doc = "Addresses of ours that reports go to (feedback loops, DMARC, TLS): a report "
                     "to them needs no authentication.")},
    {.name = "returns",
     CONF_ROW(DURATION, struct settings_verify, returns, .def = "10d", .max = 30 * DAY,
              .doc = "How long a report about mail that we sent needs no authentication: its "
                     "Received field carries a tag that only we can make, and a report that "
                     "brings it back to the sender of that mail is believed to be one. 0: no tags; "
                     "reports are judged as all other mail.")},
};

static void
verify_check(const struct conf_section *s, struct conf_errors *errs)
{
    const struct settings_verify *v = s->data;
    const struct str *trusted = v->arc_trusted.items, *reports = v->reports.items;
    struct address a;

    if (v->dmarc_method == DMARC_METHOD_PSL && !v->psl.n)
        conf_fail_row(errs, s, "psl",
                      "verify has `dmarc_method = psl` and no list: add `psl = "
                      "/usr/share/publicsuffix/public_suffix_list.dat` (package publicsuffix)");
    if (v->dkim_min_bits > v->dkim_max_bits)
        conf_fail_row(errs, s, "dkim_min_bits", "verify has dkim_min_bits over dkim_max_bits");
    for (size_t i = 0; i < v->arc_trusted.n; i++) {
        struct str name = trusted[i];

        if (name.n && name.p[0] == '.')
            name = str_from(name, 1);
        if (!address_domain_ok(name))
            conf_fail_row(errs, s, "arc_trusted",
                          "arc_trusted: `%.*s` is neither a domain nor a .domain",
                          STR_ARG(trusted[i]));
    }
    for (size_t i = 0; i < v->reports.n; i++) {
        if (address_parse(reports[i], ADDRESS_ALLOW_UTF8, &a) < 0)
            conf_fail_row(errs, s, "reports", "reports: `%.*s` is not an address",
                          STR_ARG(reports[i]));
    }
}

const struct conf_block auth_verify_block = {
    .name = "verify",
    .size = sizeof(struct settings_verify),
    .rows = verify_rows,
    .nrows = ARRAY_LEN(verify_rows),
    .doc = "How the senders of strangers' mail are verified: SPF, DKIM, ARC, DMARC.",
    .check = verify_check,
};
