/*
 * store/settings.c - rows of the settings that several trades read: ourselves, domains, tenants,
 * logins, passwords.
 *
 * Read by the parser, by `gapura check` and by the generator of the manual. Opens no file: what the
 * paths name is read by the keeper.
 */
#include "store/settings.h"

#include "core/clock.h"
#include "core/err.h"
#include "mail/address.h"

#define SHOWN(s) (int)MIN((s).n, (size_t)80), (s).p ? (s).p : ""

static void
fail_at(const struct conf_section *s, struct conf_errors *errs, const char *row, const char *text,
        struct str what)
{
    conf_fail_row(errs, s, row, "block `%s %.*s`: `%.*s` %s", s->block->name, SHOWN(s->label),
                  SHOWN(what), text);
}

static const char *const wings_words[] = {"both", "inbound", "outbound", NULL};
static const char *const require_words[] = {"none", "observe", "authenticated", NULL};
static const struct conf_row main_rows[] = {
    {.name = "hostname",
     CONF_ROW(DOMAIN, struct settings_main, hostname, .flags = CONF_REQUIRED,
              .doc = "Our name in the greeting, in EHLO, in Received fields and in delivery "
                     "reports. It should resolve to this machine, and back.")},
    {.name = "wings",
     CONF_ROW(WORD, struct settings_main, wings, .def = "both", .words = wings_words,
              .flags = CONF_RESTART,
              .doc = "Which halves run: the guard before a mail server (inbound), the courier to "
                     "the world (outbound), or both. An absent wing opens no port.")},
    {.name = "user",
     CONF_ROW(NAME, struct settings_main, user, .def = "gapura", .flags = CONF_RESTART,
              .doc = "System user that the roles run as. Only a supervisor started as root can "
                     "switch to it.")},
    {.name = "trusted",
     CONF_ROW(PREFIXES, struct settings_main, trusted,
              .doc = "Networks whose machines may send to any domain without a login. Keep the "
                     "list short: anything in it can use this server as its relay.")},
    {.name = "denied",
     CONF_ROW(PREFIXES, struct settings_main, denied,
              .doc = "Networks refused when they connect.")},
    {.name = "postmaster",
     CONF_ROW(TEXT, struct settings_main, postmaster,
              .doc = "Address that takes mail for postmaster of every served domain (RFC 5321 "
                     "4.5.1). Empty: postmaster is a recipient like others, and is accepted "
                     "wherever its domain is.")},
    {.name = "require",
     CONF_ROW(WORD, struct settings_main, require, .def = "observe", .words = require_words,
              .doc = "What strangers' mail must have. authenticated: the domain in From is proved "
                     "by SPF or DKIM, or it is in `known`; all other mail is refused with a text "
                     "that says what is missing. observe: events tell what would be refused. "
                     "none: nothing. Mail to postmaster and abuse, reports to `verify.reports` "
                     "and reports about mail that we sent are taken in any case.")},
    {.name = "known",
     CONF_ROW(TEXTS, struct settings_main, known,
              .doc = "Those whom `require` takes without proof: an address, a domain, a .domain "
                     "for all below one, a network; or one of the first three and the network it "
                     "comes from, which nobody else can forge: legacy.example 192.0.2.0/24.")},
    {.name = "profile",
     CONF_ROW(NAME, struct settings_main, profile, .def = "standard",
              .doc = "Profile (shipped or a block of that name) that judges mail for domains "
                     "which, as their tenants, name no other one.")},
};

static bool
is_address(struct str text)
{
    struct address a;

    return address_parse(text, ADDRESS_ALLOW_UTF8, &a) == 0;
}

int
settings_known_parse(struct str text, struct settings_known *ret)
{
    struct settings_known k = {0};
    struct str rest = text, who = str_word(&rest), network = str_word(&rest);

    if (!who.n || str_trim(rest).n)
        return ERR_SYNTAX;
    if (!network.n && prefix_parse(who, &k.network) == 0) {
        k.has_network = true;
        *ret = k;
        return 0;
    }
    if (!is_address(who) && !address_domain_ok(str_from(who, who.p[0] == '.')))
        return ERR_SYNTAX;
    if (network.n && prefix_parse(network, &k.network) < 0)
        return ERR_SYNTAX;
    k.who = who;
    k.has_network = network.n > 0;
    *ret = k;
    return 0;
}

static void
check_main(const struct conf_section *s, struct conf_errors *errs)
{
    const struct settings_main *m = s->data;

    if (str_chr(m->hostname, '_') >= 0)
        conf_fail_row(errs, s, "hostname",
                      "`hostname`: `%.*s` has a _, which no host name may have: other servers "
                      "refuse it in EHLO",
                      SHOWN(m->hostname));
    if (m->postmaster.n && !is_address(m->postmaster))
        conf_fail_row(errs, s, "postmaster",
                      "`postmaster`: `%.*s` is not an address; write for example admin@example.com",
                      SHOWN(m->postmaster));
    for (size_t i = 0; i < m->known.n; i++) {
        struct str entry = ((const struct str *)m->known.items)[i];
        struct settings_known known;

        if (settings_known_parse(entry, &known) < 0)
            conf_fail_row(
                errs, s, "known",
                "`known`: `%.*s` is neither an address, a domain, a .domain nor a network, "
                "alone or with its network behind it: legacy.example 192.0.2.0/24",
                SHOWN(entry));
    }
}

const struct conf_block settings_main_block = {
    .name = "",
    .size = sizeof(struct settings_main),
    .rows = main_rows,
    .nrows = ARRAY_LEN(main_rows),
    .doc = "The program as a whole.",
    .check = check_main,
};

static const char *const role_words[] = {"primary", "backup", NULL};
static const char *const recipients_words[] = {"any", "table", "sqlite", "ldap", "callout", NULL};
static const struct conf_row domain_rows[] = {
    {.name = "inside",
     CONF_ROW(TEXTS, struct settings_domain, inside,
              .doc = "Servers that take the domain's mail, the preferred one first: "
                     "smtp://host:25, lmtp://host:24, lmtp:/path/of/socket or maildir:/path. The "
                     "next one is tried when the one before it cannot be reached.")},
    {.name = "role",
     CONF_ROW(WORD, struct settings_domain, role, .def = "primary", .words = role_words,
              .doc = "primary: mail goes to `inside`. backup: this is a secondary MX, and mail "
                     "goes to the MX hosts that are better than we are.")},
    {.name = "recipients",
     CONF_ROW(WORD, struct settings_domain, recipients, .def = "any", .words = recipients_words,
              .doc = "How we know which addresses exist. any: every local part is taken (from "
                     "strangers none with @, % or ! in it, which may be a way elsewhere); table: "
                     "recipient_table lists them; sqlite: recipient_query is asked of the "
                     "database recipient_table; ldap: the directory at ldap_url is asked; "
                     "callout: the inside server is asked during RCPT.")},
    {.name = "recipient_table",
     CONF_ROW(PATH, struct settings_domain, recipient_table,
              .doc = "For table: a text file with one address or local part a line, # begins a "
                     "comment; it is read again when it changes. For sqlite: the database, opened "
                     "read-only.")},
    {.name = "recipient_query",
     CONF_ROW(TEXT, struct settings_domain, recipient_query,
              .doc = "For sqlite: a SELECT; the first ? stands for the address, the second for "
                     "its local part, the third for its domain. A row means that the recipient "
                     "exists; a text in its first column is where the mail goes. Without ? the "
                     "query lists all recipients. For ldap: the filter, %s stands for the "
                     "(escaped) address, %u for its local part, %d for its domain.")},
    {.name = "ldap_url",
     CONF_ROW(TEXT, struct settings_domain, ldap_url,
              .doc = "The directory, as in ldap://127.0.0.1/ou=people,dc=example,dc=com??sub "
                     "(ldaps and ldapi as well). If the URL names an attribute, its values are "
                     "where the mail goes.")},
    {.name = "ldap_bind",
     CONF_ROW(TEXT, struct settings_domain, ldap_bind,
              .doc = "Name (DN) to bind as; empty is anonymous.")},
    {.name = "ldap_password",
     CONF_ROW(PATH, struct settings_domain, ldap_password,
              .doc = "File whose first line is the password of ldap_bind.")},
    {.name = "lookup_ttl",
     CONF_ROW(DURATION, struct settings_domain, lookup_ttl, .def = "2m", .min = NS_PER_S,
              .max = 86400 * NS_PER_S,
              .doc = "How long an answer of SQLite or LDAP is remembered.")},
    {.name = "aliases",
     CONF_ROW(PATH, struct settings_domain, aliases,
              .doc = "Text file of lines `from: to, to`; `from` is a local part or an address, "
                     "`@domain` takes what is not known. It is read again when it changes.")},
    {.name = "catch_all",
     CONF_ROW(TEXT, struct settings_domain, catch_all,
              .doc = "Address that takes mail for unknown local parts.")},
    {.name = "delimiter",
     CONF_ROW(TEXT, struct settings_domain, delimiter,
              .doc = "Characters that begin an extension: with + mail for user+tag goes to user "
                     "if user+tag itself is not known.")},
    {.name = "tenant",
     CONF_ROW(NAME, struct settings_domain, tenant,
              .doc = "Tenant (a block of that name) that the domain's mail is counted for.")},
    {.name = "profile",
     CONF_ROW(NAME, struct settings_domain, profile,
              .doc = "Profile (shipped or a block of that name) that judges mail for this domain. "
                     "Without it, that of its tenant, else that of the main block.")},
    {.name = "max_size",
     CONF_ROW(SIZE, struct settings_domain, max_size, .def = "0",
              .doc = "Largest message for this domain; 0: smtp.max_size and what the inside "
                     "server says.")},
};

static void
check_domain_source(const struct conf_section *s, struct conf_errors *errs)
{
    const struct settings_domain *d = s->data;
    static const struct {
        int mode;
        bool table, query, ldap;
    } needs[] = {
        {RECIPIENTS_TABLE, true, false, false},
        {RECIPIENTS_SQLITE, true, true, false},
        {RECIPIENTS_LDAP, false, true, true},
    };

    for (size_t i = 0; i < ARRAY_LEN(needs); i++) {
        if (needs[i].mode != d->recipients)
            continue;
        if (needs[i].table && !d->recipient_table.n)
            fail_at(s, errs, "recipient_table", "needs `recipient_table = PATH`",
                    str_c(recipients_words[d->recipients]));
        if (needs[i].query && !d->recipient_query.n)
            fail_at(s, errs, "recipient_query", "needs `recipient_query = ...`",
                    str_c(recipients_words[d->recipients]));
        if (needs[i].ldap && !d->ldap_url.n)
            fail_at(s, errs, "ldap_url", "needs `ldap_url = ldap://host/base`",
                    str_c(recipients_words[d->recipients]));
    }
    if (d->recipients == RECIPIENTS_LDAP && d->recipient_query.n &&
        str_find(d->recipient_query, STR("%s")) < 0 && str_find(d->recipient_query, STR("%u")) < 0)
        fail_at(s, errs, "recipient_query",
                "is a filter without %s or %u: every address would be known", d->recipient_query);
    if (d->ldap_url.n && !str_istarts(d->ldap_url, STR("ldap://")) &&
        !str_istarts(d->ldap_url, STR("ldaps://")) && !str_istarts(d->ldap_url, STR("ldapi://")))
        fail_at(s, errs, "ldap_url",
                "is not an LDAP URL; write for example ldap://127.0.0.1/dc=example,dc=com",
                d->ldap_url);
    if (d->ldap_bind.n && !d->ldap_password.n)
        fail_at(s, errs, "ldap_password", "needs `ldap_password = PATH` beside it",
                STR("ldap_bind"));
    if (d->recipients == RECIPIENTS_CALLOUT && !d->inside.n)
        fail_at(s, errs, "inside", "needs `inside` to ask", STR("callout"));
}

static void
check_domain(const struct conf_section *s, struct conf_errors *errs)
{
    const struct settings_domain *d = s->data;
    const struct str *inside = d->inside.items;
    struct inside_host host;
    char name[ADDRESS_DOMAIN_MAX + 1];
    ssize_t n =
        address_domain_ok(s->label) ? address_domain_ascii(s->label, name, sizeof(name)) : -1;

    if (n < 0)
        fail_at(s, errs, NULL, "is not a domain name", s->label);
    else if (!str_eq(str_of(name, (size_t)n), s->label))
        conf_fail_row(errs, s, NULL, "block `domain %.*s`: write the name as %.*s", SHOWN(s->label),
                      (int)n, name);
    for (size_t i = 0; i < d->inside.n; i++)
        if (inside_parse(inside[i], &host) < 0)
            fail_at(s, errs, "inside",
                    "is not an inside server; write smtp://host:25, lmtp://host:24, "
                    "lmtp:/path or maildir:/path",
                    inside[i]);
    if (d->role == DOMAIN_PRIMARY && !d->inside.n)
        fail_at(s, errs, "inside",
                "is missing: write `inside = smtp://host:25`, or `role = backup`", STR("inside"));
    check_domain_source(s, errs);
    if (d->catch_all.n && !is_address(d->catch_all))
        fail_at(s, errs, "catch_all", "(catch_all) is not an address", d->catch_all);
    for (size_t i = 0; i < d->delimiter.n; i++)
        if (d->delimiter.p[i] <= ' ' || d->delimiter.p[i] == '@' || d->delimiter.p[i] == '"' ||
            (unsigned char)d->delimiter.p[i] > 126)
            fail_at(s, errs, "delimiter", "(delimiter) may hold printable ASCII but @ and \" only",
                    d->delimiter);
}

const struct conf_block settings_domain_block = {
    .name = "domain",
    .labelled = true,
    .size = sizeof(struct settings_domain),
    .rows = domain_rows,
    .nrows = ARRAY_LEN(domain_rows),
    .doc = "A domain whose mail we take; the label is its name.",
    .check = check_domain,
};

static const char *const class_words[] = {"transactional", "bulk", NULL};
static const struct conf_row tenant_rows[] = {
    {.name = "number",
     CONF_ROW(U64, struct settings_tenant, number, .min = 1, .max = UINT32_MAX,
              .flags = CONF_REQUIRED,
              .doc = "The tenant's number in the log. It must be unique and must never be given "
                     "to another tenant.")},
    {.name = "pool",
     CONF_ROW(NAME, struct settings_tenant, pool,
              .doc = "Pool of sources that carries the tenant's mail; empty: `default`.")},
    {.name = "weight",
     CONF_ROW(U64, struct settings_tenant, weight, .def = "1", .min = 1, .max = 1000,
              .doc = "Share of the tenant where several wait for one destination.")},
    {.name = "rate",
     CONF_ROW(RATE, struct settings_tenant, rate, .def = "none",
              .doc = "Most messages the tenant may submit; beyond it 452 is answered.")},
    {.name = "class",
     CONF_ROW(WORD, struct settings_tenant, class, .def = "transactional", .words = class_words,
              .doc = "Rank of the tenant's mail: bulk waits behind transactional.")},
    {.name = "profile",
     CONF_ROW(NAME, struct settings_tenant, profile,
              .doc =
                  "Profile (shipped or a block of that name) that judges mail for its domains.")},
};
const struct conf_block settings_tenant_block = {
    .name = "tenant",
    .labelled = true,
    .size = sizeof(struct settings_tenant),
    .rows = tenant_rows,
    .nrows = ARRAY_LEN(tenant_rows),
    .doc = "A customer or department: a share, a pool of addresses, limits of its own.",
};

static const struct conf_row sender_rows[] = {
    {.name = "tenant",
     CONF_ROW(NAME, struct settings_sender, tenant,
              .doc = "Tenant (a block of that name) that the login sends for.")},
    {.name = "envelope",
     CONF_ROW(TEXTS, struct settings_sender, envelope,
              .doc = "Addresses, domains, .domains (with all below) or * that the login may use "
                     "in MAIL FROM, beside its own name.")},
    {.name = "from",
     CONF_ROW(TEXTS, struct settings_sender, from,
              .doc = "Likewise in the From field; not given: as envelope.")},
    {.name = "class",
     CONF_ROW(WORD, struct settings_sender, class, .def = "transactional", .words = class_words,
              .doc = "Rank of what the login sends; not given: the tenant's class.")},
};

bool
settings_sender_entry(struct str text)
{
    if (str_eq(text, STR("*")) || is_address(text))
        return true;
    if (text.n && text.p[0] == '.')
        text = str_from(text, 1);
    return address_domain_ok(text);
}

static void
check_entries(const struct conf_section *s, struct conf_errors *errs, const char *row,
              const struct conf_list *list)
{
    const struct str *items = list->items;

    for (size_t i = 0; i < list->n; i++)
        if (!settings_sender_entry(items[i]))
            fail_at(s, errs, row, "is neither an address, a domain, a .domain nor *", items[i]);
}

static void
check_sender(const struct conf_section *s, struct conf_errors *errs)
{
    const struct settings_sender *sender = s->data;

    check_entries(s, errs, "envelope", &sender->envelope);
    check_entries(s, errs, "from", &sender->from);
}

const struct conf_block settings_sender_block = {
    .name = "user",
    .labelled = true,
    .size = sizeof(struct settings_sender),
    .rows = sender_rows,
    .nrows = ARRAY_LEN(sender_rows),
    .doc = "Rights of a login; they take the place of what `gapura user add` said. The password "
           "is never here: see `gapura user`.",
    .check = check_sender,
};

static const char *const passwords_words[] = {"store", "dovecot", NULL};
static const char *const mech_words[] = {"SCRAM-SHA-256", "PLAIN",   "LOGIN",
                                         "OAUTHBEARER",   "XOAUTH2", NULL};
static const struct conf_row auth_rows[] = {
    {.name = "passwords",
     CONF_ROW(WORD, struct settings_auth, passwords, .def = "store", .words = passwords_words,
              .doc = "Who knows the passwords: our store (`gapura user`), or a Dovecot server on "
                     "this machine. Rights go by the name that Dovecot gives back, or by the name "
                     "as typed if Dovecot only dropped a domain that we serve.")},
    {.name = "dovecot",
     CONF_ROW(PATH, struct settings_auth, dovecot, .def = "/run/dovecot/auth-client",
              .doc = "Dovecot's auth client socket, for `passwords = dovecot`.")},
    {.name = "mechanisms",
     CONF_ROW(FLAGS, struct settings_auth, mechanisms, .def = "SCRAM-SHA-256, PLAIN, LOGIN",
              .words = mech_words,
              .doc = "SASL mechanisms that are offered. SCRAM-SHA-256 needs `passwords = store` "
                     "and is left out otherwise; under TLS it brings SCRAM-SHA-256-PLUS, which "
                     "binds the login to the connection. OAUTHBEARER and XOAUTH2 need `passwords = "
                     "dovecot` and Dovecot's own oauth2 settings: it checks the token.")},
    {.name = "iterations",
     CONF_ROW(U64, struct settings_auth, iterations, .def = "4096", .min = 4096, .max = 1000000,
              .doc = "Rounds of PBKDF2 for passwords that are set from now on; each check of a "
                     "plain password costs as many.")},
    {.name = "max_exchanges",
     CONF_ROW(U64, struct settings_auth, max_exchanges, .def = "10000", .min = 1, .max = 1000000,
              .doc = "Logins in progress at once, for each gate; beyond it a temporary failure "
                     "is answered.")},
    {.name = "exchange_timeout",
     CONF_ROW(DURATION, struct settings_auth, exchange_timeout, .def = "10m", .min = NS_PER_S,
              .max = 3600 * NS_PER_S, .doc = "A login that is not finished by then is dropped.")},
    {.name = "workers",
     CONF_ROW(U64, struct settings_auth, workers, .def = "1", .min = 1, .max = 16,
              .flags = CONF_RESTART,
              .doc = "Threads that check plain passwords: the most processors that guessing can "
                     "keep busy.")},
    {.name = "max_waiting",
     CONF_ROW(U64, struct settings_auth, max_waiting, .def = "1000", .min = 1, .max = 100000,
              .flags = CONF_RESTART,
              .doc = "Checks that may wait for a thread; beyond it a temporary failure is "
                     "answered.")},
};

static void
check_auth(const struct conf_section *s, struct conf_errors *errs)
{
    const struct settings_auth *a = s->data;

    const uint64_t bearer = SETTINGS_MECH_OAUTHBEARER | SETTINGS_MECH_XOAUTH2;

    if (a->passwords == PASSWORDS_DOVECOT && a->mechanisms == SETTINGS_MECH_SCRAM)
        conf_fail_row(errs, s, "mechanisms",
                      "block `auth`: Dovecot is asked with plain passwords or tokens; add PLAIN to "
                      "`mechanisms`");
    if (a->passwords != PASSWORDS_DOVECOT && (a->mechanisms & bearer))
        conf_fail_row(
            errs, s, "mechanisms",
            "block `auth`: nobody here can check the tokens of OAUTHBEARER and XOAUTH2; set "
            "passwords = dovecot or leave them out");
}

const struct conf_block settings_auth_block = {
    .name = "auth",
    .size = sizeof(struct settings_auth),
    .rows = auth_rows,
    .nrows = ARRAY_LEN(auth_rows),
    .doc = "Logins of submission.",
    .check = check_auth,
};

struct str
settings_auth_mechs(const struct settings_auth *auth, bool tls, char dst[SETTINGS_MECHS_TEXT])
{
    uint64_t bits =
        auth ? auth->mechanisms : SETTINGS_MECH_SCRAM | SETTINGS_MECH_PLAIN | SETTINGS_MECH_LOGIN;
    bool dovecot = auth && auth->passwords == PASSWORDS_DOVECOT;
    size_t n = 0;

    bits &= ~(uint64_t)(dovecot ? SETTINGS_MECH_SCRAM
                                : SETTINGS_MECH_OAUTHBEARER | SETTINGS_MECH_XOAUTH2);
    dst[0] = '\0';
    if (tls && (bits & SETTINGS_MECH_SCRAM))
        n = str_fmt(dst, SETTINGS_MECHS_TEXT, "%s-PLUS", mech_words[0]);
    for (unsigned i = 0; mech_words[i]; i++)
        if (bits & (UINT64_C(1) << i))
            n += str_fmt(dst + n, SETTINGS_MECHS_TEXT - n, "%s%s", n ? " " : "", mech_words[i]);
    return str_of(dst, n);
}

/* host, host:port, [v6] or [v6]:port; *ret_port untouched where none is given. */
static int
host_port_parse(struct str text, struct str *ret_host, uint16_t *ret_port)
{
    struct str host = text, port = STR_NONE;
    struct addr a;
    uint64_t number;
    ssize_t colon;

    if (text.n && text.p[0] == '[') {
        ssize_t close = str_chr(text, ']');

        if (close < 0)
            return ERR_SYNTAX;
        host = str_sub(text, 1, (size_t)close - 1);
        port = str_from(text, (size_t)close + 1);
        if (addr_parse(host, &a) < 0 || (port.n && port.p[0] != ':'))
            return ERR_SYNTAX;
    } else if ((colon = str_chr(text, ':')) >= 0) {
        host = str_sub(text, 0, (size_t)colon);
        port = str_from(text, (size_t)colon);
    }
    if (port.n && (str_u64(str_from(port, 1), &number) < 0 || number == 0 || number > UINT16_MAX))
        return ERR_SYNTAX;
    if (addr_parse(host, &a) < 0 && !address_domain_ok(host))
        return ERR_SYNTAX;
    if (port.n)
        *ret_port = (uint16_t)number;
    *ret_host = host;
    return 0;
}

int
inside_parse(struct str text, struct inside_host *ret)
{
    static const struct {
        const char *prefix;
        enum inside_kind kind;
        uint16_t port; /* 0: a path follows */
    } forms[] = {
        {"smtp://", INSIDE_SMTP, 25},
        {"lmtp://", INSIDE_LMTP, 24},
        {"lmtp:", INSIDE_LMTP_UNIX, 0},
        {"maildir:", INSIDE_MAILDIR, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct inside_host host = {.kind = forms[i].kind, .port = forms[i].port};
        struct str rest;

        if (!str_istarts(text, str_c(forms[i].prefix)))
            continue;
        rest = str_from(text, strlen(forms[i].prefix));
        if (host.port == 0) {
            if (rest.n < 2 || rest.p[0] != '/' || str_has_ctl(rest))
                return ERR_SYNTAX;
            host.path = rest;
        } else if (host_port_parse(rest, &host.host, &host.port) < 0) {
            return ERR_SYNTAX;
        }
        *ret = host;
        return 0;
    }
    return ERR_SYNTAX;
}
