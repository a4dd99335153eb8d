/*
 * auth/dns_list_conf.c - rows of the block `dns_list`, and the codes that a list may answer.
 *
 * Read by the parser, by `gapura check`, by the gate and by the generator of the manual.
 */
#include "auth/dns_list.h"
#include "core/clock.h"
#include "core/err.h"
#include "mail/address.h"

#define SECOND NS_PER_S

static const struct {
    const char *name;
    int32_t weight; /* hundredths; profiles have the last word */
} names[] = {
    {"listed", 200},      {"spam", 300},          {"exploit", 300},         {"policy", 100},
    {"phish", 400},       {"malware", 400},       {"suspicious", 50},       {"allowed", -50},
    {"allowed-low", -20}, {"allowed-high", -200}, {"allowed-medium", -100},
};
const char *const dns_list_names[] = {"listed",      "spam",           "exploit",      "policy",
                                      "phish",       "malware",        "suspicious",   "allowed",
                                      "allowed-low", "allowed-medium", "allowed-high", NULL};

int32_t
dns_list_weight(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (str_eq(str_c(names[i].name), str_c(name)))
            return names[i].weight;
    }
    return 0;
}

static bool
octet(struct str s, uint8_t *ret)
{
    uint64_t v;

    if (str_u64(s, &v) < 0 || v > 255)
        return false;
    *ret = (uint8_t)v;
    return true;
}

static bool
octet_pattern(struct str s, struct dns_list_code *c, unsigned i)
{
    struct str high;

    c->from[i] = 0;
    c->to[i] = 255;
    c->bits[i] = 255;
    if (str_eq(s, STR("*")))
        return true;
    if (str_starts(s, STR("&")))
        return octet(str_from(s, 1), &c->bits[i]) && c->bits[i];
    c->bits[i] = 0;
    if (str_chr(s, '-') < 0)
        return octet(s, &c->from[i]) && octet(s, &c->to[i]);
    s = str_cut(s, '-', &high);
    return octet(s, &c->from[i]) && octet(high, &c->to[i]) && c->from[i] <= c->to[i];
}

int
dns_list_code_parse(struct str text, enum dns_list_kind kind, struct dns_list_code *ret)
{
    struct str pattern = str_word(&text), name = str_word(&text);
    struct dns_list_code c = {.name = NULL};

    for (unsigned i = 0; i < 4; i++) {
        struct str part = str_cut(pattern, '.', &pattern);

        if (!octet_pattern(part, &c, i))
            return ERR_SYNTAX;
    }
    /* 127.255.255.0/24 says that the list refuses: it can never mean that somebody is listed. */
    if (pattern.n || str_trim(text).n || c.bits[0] || c.from[0] != 127 || c.to[0] != 127)
        return ERR_SYNTAX;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (str_eq(str_c(names[i].name), name) && (names[i].weight < 0) == (kind == DNS_LIST_ALLOW))
            c.name = names[i].name;
    }
    if (!c.name)
        return ERR_SYNTAX;
    *ret = c;
    return 0;
}

static const char *const kind_words[] = {"block", "allow", NULL};
static const char *const of_words[] = {"client", "sender", "helo", NULL};
static const struct conf_row dns_list_rows[] = {
    {.name = "zone",
     CONF_ROW(DOMAIN, struct settings_dns_list, zone, .flags = CONF_REQUIRED,
              .doc = "The list's name in DNS, as its operator gives it; with a personal key in "
                     "front where there is one.")},
    {.name = "kind",
     CONF_ROW(WORD, struct settings_dns_list, kind, .def = "block", .words = kind_words,
              .doc = "block: being listed speaks against a message. allow: for it.")},
    {.name = "of",
     CONF_ROW(WORD, struct settings_dns_list, of, .def = "client", .words = of_words,
              .doc = "What is looked up: the client's address, the domain of MAIL FROM, or the "
                     "name in EHLO.")},
    {.name = "ipv6",
     CONF_ROW(BOOL, struct settings_dns_list, ipv6, .def = "no",
              .doc = "It lists IPv6 addresses too. Without it, clients with IPv6 are not looked "
                     "up.")},
    {.name = "codes",
     CONF_ROW(TEXTS, struct settings_dns_list, codes, .def = "127.0.0.2 listed",
              .doc = "What its answers mean: an address and the name of a finding each, as "
                     "`127.0.0.4-7 exploit`. An octet is a number, a range, * for any, or &8 for a "
                     "number with that bit set. The first one that fits counts. Names of "
                     "block lists are listed, spam, exploit, policy, phish, malware, suspicious; "
                     "of allow lists allowed, allowed-low, allowed-medium, allowed-high; profiles "
                     "say what they weigh. Any other answer is an error of the list, and never a "
                     "finding.")},
    {.name = "timeout",
     CONF_ROW(DURATION, struct settings_dns_list, timeout, .def = "3s", .min = SECOND / 100,
              .max = 60 * SECOND,
              .doc = "How long it may take from MAIL on; then the message is judged without it.")},
    {.name = "trusted",
     CONF_ROW(PREFIXES, struct settings_dns_list, trusted,
              .doc = "Clients of these networks are not looked up in this list.")},
};

static void
dns_list_check(const struct conf_section *s, struct conf_errors *errs)
{
    const struct settings_dns_list *l = s->data;
    const struct str *codes = l->codes.items;
    struct dns_list_code code;

    if (l->zone.n > DNS_LIST_ZONE_MAX)
        conf_fail_row(errs, s, "zone", "dns_list: the zone is longer than %u bytes",
                      DNS_LIST_ZONE_MAX);
    if (l->codes.n == 0 || l->codes.n > DNS_LIST_CODES_MAX)
        conf_fail_row(errs, s, "codes",
                      "dns_list: `codes` names none or more than %u; write for example `codes = "
                      "127.0.0.2 listed`",
                      DNS_LIST_CODES_MAX);
    for (size_t i = 0; i < l->codes.n; i++) {
        if (dns_list_code_parse(codes[i], (enum dns_list_kind)l->kind, &code) < 0)
            conf_fail_row(
                errs, s, "codes",
                "dns_list: `%.*s` is no code of %s list; write an address of 127.0.0.0/8 and "
                "a finding, for example `%s`",
                STR_ARG(codes[i]), l->kind == DNS_LIST_ALLOW ? "an allow" : "a block",
                l->kind == DNS_LIST_ALLOW ? "127.0.*.3 allowed-high" : "127.0.0.4-7 exploit");
    }
}

const struct conf_block auth_dns_list_block = {
    .name = "dns_list",
    .labelled = true,
    .size = sizeof(struct settings_dns_list),
    .rows = dns_list_rows,
    .nrows = ARRAY_LEN(dns_list_rows),
    .doc = "A DNS list (RFC 5782) that strangers are looked up in: the check `dns_list`, which is "
           "observed until `check dns_list { mode = on }`. At most 16.",
    .check = dns_list_check,
};
