/*
 * store/settings_dkim.c - rows of the settings of DKIM keys and signing.
 *
 * Read by the parser, by `gapura check` and by the generator of the manual; used by keeper, keyring
 * and courier.
 */
#include "core/clock.h"
#include "mail/address.h"
#include "store/settings.h"

#define DAY (86400 * NS_PER_S)

static const char *const required_words[] = {"no", "yes", "all", NULL};

static const struct conf_row dkim_rows[] = {
    {.name = "sign",
     CONF_ROW(BOOL, struct settings_dkim, sign, .def = "yes",
              .doc = "Sign submitted mail (and our own reports) with the keys of its From domain; "
                     "`gapura domain dkim add` makes keys. A domain without a key is sent as it "
                     "is, and what the guard lets in is never signed.")},
    {.name = "required",
     CONF_ROW(WORD, struct settings_dkim, required, .def = "yes", .words = required_words,
              .doc = "While a signature cannot be had (the keyring is being started again, a key "
                     "cannot be opened), mail of domains with an active key waits, `gapura queue "
                     "list` says so, and its sender is told as of any delay. yes: for the "
                     "signature of its own domain, by each RSA key of it (by Ed25519 if there is "
                     "no other); the platform's, and Ed25519 beside RSA, are left off with an "
                     "Alarm. all: for each of them. no: after ten seconds it is sent without.")},
    {.name = "subdomains",
     CONF_ROW(TEXTS, struct settings_dkim, subdomains,
              .doc = "Domains whose keys also sign for authors of the domains below them that "
                     "have no key of their own that signs: with example.com here, mail of "
                     "a@news.example.com gets d=example.com, which DMARC takes unless the "
                     "record says `adkim=s`.")},
    {.name = "platform",
     CONF_ROW(DOMAIN, struct settings_dkim, platform,
              .doc =
                  "Domain of a second signature on everything that is submitted, for feedback "
                  "loops and reputation of the sending platform. Its key belongs to no tenant.")},
    {.name = "selector",
     CONF_ROW(NAME, struct settings_dkim, selector, .def = "g",
              .doc = "New selectors begin with this; the date and r (RSA) or e (Ed25519) follow.")},
    {.name = "bits",
     CONF_ROW(U64, struct settings_dkim, bits, .def = "2048", .min = 1024, .max = 4096,
              .doc = "Size of new RSA keys. More than 2048 cost much at each signature and some "
                     "receivers do not take them.")},
    {.name = "expiry",
     CONF_ROW(DURATION, struct settings_dkim, expiry, .def = "0", .max = 365 * DAY,
              .doc = "Signatures carry an end (x=) so long after they were made; 0: none.")},
    {.name = "headers",
     CONF_ROW(TEXTS, struct settings_dkim, headers,
              .doc = "Header fields that are signed where they are present, beside the usual "
                     "ones.")},
    {.name = "check",
     CONF_ROW(DURATION, struct settings_dkim, check, .def = "5m", .min = NS_PER_S, .max = DAY,
              .doc = "How often DNS is asked for the record of a key that waits for it.")},
    {.name = "recheck",
     CONF_ROW(DURATION, struct settings_dkim, recheck, .def = "6h", .min = NS_PER_S,
              .max = 30 * DAY,
              .doc = "How often DNS is asked whether the record of a key in use is still there.")},
    {.name = "settle",
     CONF_ROW(DURATION, struct settings_dkim, settle, .def = "15m", .max = DAY,
              .doc = "A new key signs so long after its record was first seen: until then some of "
                     "the domain's servers may not have it.")},
    {.name = "grace",
     CONF_ROW(DURATION, struct settings_dkim, grace, .def = "7d", .max = 365 * DAY,
              .doc = "The record of a key that no longer signs must stay so long, for mail that "
                     "is still on its way; then the private key is erased and a Notice says that "
                     "the record can go.")},
    {.name = "cached",
     CONF_ROW(U64, struct settings_dkim, cached, .def = "4096", .min = 16, .max = 1000000,
              .doc = "Messages whose signatures the courier remembers for further recipients and "
                     "attempts, about 2 KB each.")},
    {.name = "workers",
     CONF_ROW(U64, struct settings_dkim, workers, .def = "2", .min = 1, .max = 16,
              .flags = CONF_RESTART, .doc = "Threads of the keyring that sign.")},
};

/* As keys_selector_ok(), of what selectors begin with. */
static bool
prefix_ok(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= 'a' && s.p[i] <= 'z') || (s.p[i] >= '0' && s.p[i] <= '9') ||
              (i && (s.p[i] == '-' || s.p[i] == '_'))))
            return false;
    return s.n > 0 && s.n <= 32;
}

static bool
is_stored_form(struct str domain)
{
    for (size_t i = 0; i < domain.n; i++)
        if ((unsigned char)domain.p[i] > 126 || (domain.p[i] >= 'A' && domain.p[i] <= 'Z'))
            return false;
    return true;
}

static void
check_dkim(const struct conf_section *s, struct conf_errors *errs)
{
    const struct settings_dkim *d = s->data;
    const struct str *headers = d->headers.items, *above = d->subdomains.items;

    for (size_t i = 0; i < d->subdomains.n; i++)
        if (!address_domain_ok(above[i]) || !is_stored_form(above[i]))
            conf_fail_row(
                errs, s, "subdomains",
                "block `dkim`: `subdomains`: `%.*s` is not a domain as keys are named: in "
                "lower case, international ones as xn--",
                STR_ARG(above[i]));
    if (!prefix_ok(d->selector))
        conf_fail_row(
            errs, s, "selector",
            "block `dkim`: `selector` has 1 to 32 of a-z, 0-9, - and _, and begins with none "
            "of the last two");
    for (size_t i = 0; i < d->headers.n; i++)
        for (size_t k = 0; k <= headers[i].n; k++)
            if (headers[i].n == 0 || headers[i].n > 64 ||
                (k < headers[i].n && (headers[i].p[k] <= ' ' || headers[i].p[k] > '~' ||
                                      headers[i].p[k] == ':' || headers[i].p[k] == ';'))) {
                conf_fail_row(
                    errs, s, "headers",
                    "block `dkim`: `headers` holds names of header fields, as Feedback-ID");
                break;
            }
}

const struct conf_block settings_dkim_block = {
    .name = "dkim",
    .size = sizeof(struct settings_dkim),
    .rows = dkim_rows,
    .nrows = ARRAY_LEN(dkim_rows),
    .doc = "Signing of what is sent (docs/operations.md tells how keys are made and changed).",
    .check = check_dkim,
};
