/*
 * gate/setup.c - one generation of settings made ready for sessions.
 *
 * Called by gate.c at start and at a reload. Fails as a whole, with a sentence, and then the former
 * generation stays. Never touches sessions.
 */
#include "gate/setup.h"

#include <stdlib.h>

#include "core/clock.h"

#define SETUP_ARENA_MAX   (256u << 20)
#define SETUP_DOMAINS_MAX 1000000u
#define MAX_CERTIFICATES  256u
#define TICK_MAX          (30 * NS_PER_S)

static struct str
setup_file(const struct gate_links *links, struct str path)
{
    return links->file ? links->file(links->file_ctx, path) : STR_NONE;
}

static int
tenant_number(const struct conf *conf, struct str name, uint32_t *ret, struct why *why)
{
    const struct conf_section *s;

    *ret = 0;
    if (!name.n)
        return 0;
    s = conf_find(conf, "tenant", name);
    if (!s)
        return why_set(why, ERR_NOTFOUND,
                       "tenant \"%.*s\" is named but has no block: add tenant %.*s { number = N }",
                       STR_ARG(name), STR_ARG(name));
    *ret = (uint32_t)((const struct settings_tenant *)s->data)->number;
    return 0;
}

static int
setup_tenants(struct setup *su, struct why *why)
{
    const struct conf_section *s;

    for (s = conf_first(su->conf, "tenant"); s; s = conf_next(s)) {
        struct settings_tenant *t = s->data;
        struct str key = arena_fmt(&su->arena, "%llu", (unsigned long long)t->number);

        if (!key.p)
            return ERR_NOMEM;
        if (map_get(&su->tenants, key))
            return why_set(why, ERR_EXISTS, "two tenants have number %llu: numbers are unique",
                           (unsigned long long)t->number);
        if (map_put(&su->tenants, key, t) < 0)
            return ERR_NOMEM;
    }
    return 0;
}

/* Of the settings that name one, the first. */
static int
named_profile(const struct setup *su, const struct str *names, size_t n, const struct profile **ret,
              struct why *why)
{
    struct str name = STR(PROFILE_DEFAULT_NAME);

    for (size_t i = 0; i < n; i++) {
        if (!names[i].n)
            continue;
        name = names[i];
        break;
    }
    *ret = profile_find(&su->profiles, name);
    return *ret ? 0
                : why_set(why, ERR_NOTFOUND,
                          "there is no profile \"%.*s\": name a shipped one or add its block",
                          STR_ARG(name));
}

static int
domain_profile(const struct setup *su, struct setup_domain *d, struct why *why)
{
    const struct conf_section *s =
        d->conf->tenant.n ? conf_find(su->conf, "tenant", d->conf->tenant) : NULL;
    const struct str names[] = {
        d->conf->profile,
        s ? ((const struct settings_tenant *)s->data)->profile : STR_NONE,
        su->main->profile,
    };

    return named_profile(su, names, ARRAY_LEN(names), &d->profile, why);
}

static int
setup_profiles(struct setup *su, const struct gate_links *links, struct why *why)
{
    struct conf_errors errs = {0};
    int rc = profile_set_build(&su->profiles, su->conf, links->checks, links->nchecks, &errs);

    /* The shipped ones speak of the program's checks; a gate with others may go without. */
    for (size_t i = 0; i < errs.n && rc == 0; i++) {
        const struct conf_error *e = &errs.items[i];

        if (!str_starts(e->file, STR("shipped:")))
            rc = why_set(why, ERR_SYNTAX, "%.*s:%u: %.*s", STR_ARG(e->file), e->line,
                         STR_ARG(e->text));
    }
    conf_errors_done(&errs);
    return rc < 0 ? rc : named_profile(su, &su->main->profile, 1, &su->profile, why);
}

static int
setup_domains(struct setup *su, struct why *why)
{
    const struct conf_section *s;
    int rc;

    for (s = conf_first(su->conf, "domain"); s; s = conf_next(s)) {
        struct setup_domain *d = ARENA_NEW(&su->arena, struct setup_domain);

        if (!d)
            return ERR_NOMEM;
        d->name = s->label;
        d->conf = s->data;
        rc = tenant_number(su->conf, d->conf->tenant, &d->tenant, why);
        if (rc == 0)
            rc = domain_profile(su, d, why);
        if (rc < 0)
            return rc;
        if (map_put(&su->domains, d->name, d) < 0)
            return ERR_NOMEM;
    }
    return 0;
}

static int
setup_certificates(struct setup_listen *l, const struct gate_links *links, struct why *why)
{
    struct tls_key_pair pairs[MAX_CERTIFICATES];
    const struct str *items = l->conf->certificate.items;
    size_t n = l->conf->certificate.n;
    struct tls_server_conf conf = {.pairs = pairs, .npairs = n};
    struct why tls_why = {""};

    if (!n)
        return 0;
    if (n > MAX_CERTIFICATES)
        return why_set(why, ERR_LIMIT, "listen %.*s has over %u certificates", STR_ARG(l->name),
                       MAX_CERTIFICATES);
    for (size_t i = 0; i < n; i++) {
        struct str rest = items[i], cert = str_word(&rest), key = str_word(&rest);

        pairs[i].certificate = setup_file(links, cert);
        pairs[i].key = setup_file(links, key);
        if (!pairs[i].certificate.n || !pairs[i].key.n)
            return why_set(why, ERR_NOTFOUND,
                           "listen %.*s: %.*s cannot be read or is empty; the former settings stay",
                           STR_ARG(l->name), STR_ARG(pairs[i].certificate.n ? key : cert));
    }
    if (l->conf->client_ca.n) {
        conf.client_ca = setup_file(links, l->conf->client_ca);
        if (!conf.client_ca.n)
            return why_set(why, ERR_NOTFOUND, "listen %.*s: client_ca %.*s cannot be read",
                           STR_ARG(l->name), STR_ARG(l->conf->client_ca));
    }
    if (tls_server_context(&l->tls, &conf, &tls_why) < 0)
        return why_set(why, ERR_TLS, "listen %.*s: %s", STR_ARG(l->name), tls_why.text);
    return 0;
}

/* What only those may ask for who may send: it is passed on, or costs others their turn. */
static void
setup_submission_offer(const struct settings_smtp *smtp, struct smtp_server_conf *c)
{
    if (smtp->binarymime)
        c->offer |= SMTP_EXT_BINARYMIME;
    if (smtp->deliver_by)
        c->offer |= SMTP_EXT_DELIVERBY;
    c->min_by = smtp->deliver_by / NS_PER_S;
    if (str_ieq(smtp->priority, STR("off")))
        return;
    c->offer |= SMTP_EXT_MT_PRIORITY;
    if (!str_ieq(smtp->priority, STR("plain")))
        c->priority_policy = smtp->priority;
}

static void
setup_engine(const struct setup *su, struct setup_listen *l, const struct gate_links *links)
{
    const struct settings_smtp *smtp = su->smtp;
    struct smtp_server_conf *c = &l->strangers;

    *c = (struct smtp_server_conf){
        .hostname = su->main->hostname,
        .banner_text = l->conf->banner,
        .offer = SMTP_EXT_PIPELINING | SMTP_EXT_SIZE | SMTP_EXT_8BITMIME | SMTP_EXT_SMTPUTF8 |
                 SMTP_EXT_CHUNKING | SMTP_EXT_ENHANCED | SMTP_EXT_LIMITS | SMTP_EXT_HELP,
        .max_size = smtp->max_size,
        .auth_mechs = str_c(su->mechs),
        .max_rcpts = (unsigned)smtp->max_rcpts,
        .max_local = (unsigned)smtp->max_local_part,
        .max_messages = (unsigned)smtp->max_messages,
        .max_line = (unsigned)smtp->max_line,
        .max_auth_line = 12288,
        .max_commands = (unsigned)smtp->max_commands,
        .max_errors = (unsigned)smtp->max_errors,
        .max_received = (unsigned)smtp->max_received,
        .max_header = (unsigned)smtp->max_header,
        .require_tls = l->conf->require_tls && !l->implicit_tls,
        .bare_refuse = smtp->bare == BARE_REFUSE,
    };
    if (l->tls && !l->implicit_tls)
        c->offer |= SMTP_EXT_STARTTLS;
    if (l->conf->xclient.n)
        c->offer |= SMTP_EXT_XCLIENT;
    if (smtp->vrfy != VRFY_OFF)
        c->offer |= SMTP_EXT_VRFY;
    if (smtp->dsn == DSN_EVERYBODY || l->submission)
        c->offer |= SMTP_EXT_DSN;
    if (l->submission)
        setup_submission_offer(smtp, c);
    if (l->submission) {
        c->max_hold = smtp->future_release / NS_PER_S;
        c->offer |= SMTP_EXT_FUTURERELEASE;
        c->require_auth = true;
        c->auth_plain_text = l->conf->auth_without_tls;
        if (links->keyring)
            c->offer |= SMTP_EXT_AUTH;
    }
    l->trusted = *c;
    l->trusted.offer |= SMTP_EXT_DSN;
    setup_submission_offer(smtp, &l->trusted);
    l->trusted.lax_lines = true;
    l->trusted.require_auth = false;
}

static int
setup_listens(struct setup *su, const struct gate_links *links, struct why *why)
{
    const struct conf_section *s;
    size_t n = 0;
    int rc;

    for (s = conf_first(su->conf, "listen"); s; s = conf_next(s))
        n++;
    su->listens = ARENA_ARRAY(&su->arena, struct setup_listen, n);
    if (!su->listens)
        return ERR_NOMEM;
    for (s = conf_first(su->conf, "listen"); s; s = conf_next(s)) {
        struct setup_listen *l = &su->listens[su->nlistens++];

        l->name = s->label;
        l->conf = s->data;
        l->implicit_tls = l->conf->implicit_tls || l->conf->kind == LISTEN_SUBMISSIONS;
        l->submission = l->conf->kind == LISTEN_SUBMISSION || l->conf->kind == LISTEN_SUBMISSIONS;
        rc = setup_certificates(l, links, why);
        if (rc < 0)
            return rc;
        setup_engine(su, l, links);
    }
    return 0;
}

static int
setup_srs(struct setup *su, const struct gate_links *links, struct why *why)
{
    const struct settings_srs *conf = conf_get(su->conf, "srs");
    struct str secret;

    if (!conf || !conf->domain.n)
        return 0;
    secret = str_trim(setup_file(links, conf->secret));
    if (secret.n < 16)
        return why_set(why, ERR_NOTFOUND,
                       "srs.secret %.*s cannot be read or has under 16 bytes: make one with "
                       "openssl rand -hex 32",
                       STR_ARG(conf->secret));
    srs_init(&su->srs, conf->domain, secret, (uint32_t)conf->days);
    return 0;
}

/* Rows that the block `verify` leaves out together. */
static const char *const verify_rows[] = {"sender_domain",    "spf",      "dkim", "arc", "dmarc",
                                          "own_domain_spoof", "alignment"};

static bool
is_verify_row(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(verify_rows); i++) {
        if (str_eq(str_c(name), str_c(verify_rows[i])))
            return true;
    }
    return false;
}

static int
check_mode_of(void *ctx, const char *name)
{
    const struct setup *su = ctx;
    const struct conf_section *s = conf_find(su->conf, "check", str_c(name));
    const struct settings_verify *verify = su->verify;

    if (!s && verify && verify->mode == VERIFY_OFF && is_verify_row(name))
        return CHECK_OFF;
    /* Looking up clients has a switch of its own, since it costs two questions a session. */
    if (!s && !su->smtp->lookup_client && str_eq(str_c(name), STR("reverse")))
        return CHECK_OFF;
    return s ? ((const struct settings_check *)s->data)->mode : -1;
}

static int
setup_checks(struct setup *su, const struct gate_links *links, struct why *why)
{
    const struct conf_section *s;

    for (s = conf_first(su->conf, "check"); s; s = conf_next(s)) {
        bool known = false;

        for (size_t i = 0; i < links->nchecks; i++)
            known |= str_eq(s->label, str_c(links->checks[i]->name));
        if (!known)
            return why_set(why, ERR_NOTFOUND, "%.*s:%u: there is no check \"%.*s\"",
                           STR_ARG(s->file), s->line, STR_ARG(s->label));
    }
    return stage_plan_build(&su->plan, links->checks, links->nchecks, check_mode_of, su,
                            su->smtp->lookup_timeout);
}

/* What is not looked at proves nobody: `require` would let all pass, or refuse honest mail. */
static int
setup_require(const struct setup *su, struct why *why)
{
    static const char *const needed[] = {"spf", "dkim", "alignment"};

    for (size_t k = 0; k < ARRAY_LEN(needed) && su->main->require == REQUIRE_AUTHENTICATED; k++) {
        bool runs = false;

        for (unsigned i = 0; i < su->plan.n; i++)
            runs |= str_eq(str_c(su->plan.rows[i]->name), str_c(needed[k]));
        if (!runs)
            return why_set(why, ERR_STATE,
                           "require = authenticated needs the check %s, which is off: put it on, "
                           "or say require = observe",
                           needed[k]);
    }
    return 0;
}

static int
setup_verify(struct setup *su, const struct gate_links *links, struct why *why)
{
    const struct settings_verify *verify = su->verify;
    int rc;

    for (unsigned i = 0; i < su->plan.n; i++) {
        su->verifies |= is_verify_row(su->plan.rows[i]->name);
        su->header_any |= su->plan.rows[i]->stage >= STAGE_HEADER;
        if (su->plan.rows[i]->stage < STAGE_HEADER || !su->plan.rows[i]->all_clients)
            continue;
        su->header_all |= !su->plan.rows[i]->of_keys;
        su->header_keys |= su->plan.rows[i]->of_keys;
    }
    if (!verify)
        return 0;
    if (links->nchecks && setup_require(su, why) < 0)
        return ERR_STATE;
    rc = auth_common_create(&su->auth, verify, su->main->hostname, setup_file(links, verify->psl),
                            why);
    if (rc == 0)
        rc = auth_common_lists(su->auth, su->conf, why);
    if (rc == 0 && su->auth->lists)
        for (unsigned i = 0; i < su->plan.n; i++)
            su->verifies |= str_eq(str_c(su->plan.rows[i]->name), STR("dns_list"));
    return rc;
}

static int
setup_fill(struct setup *su, const struct gate_links *links, struct why *why)
{
    const struct conf_section *verify;
    int rc;

    su->main = conf_get(su->conf, "");
    su->smtp = conf_get(su->conf, "smtp");
    verify = conf_first(su->conf, "verify");
    su->verify = verify ? verify->data : NULL;
    su->reports = su->main->wings == WINGS_OUTBOUND ? NULL : settings_reports(su->conf);
    if (!su->main || !su->smtp)
        return why_set(why, ERR_STATE, "settings were parsed without the blocks of the gate");
    settings_auth_mechs(conf_get(su->conf, "auth"), false, su->mechs);
    settings_auth_mechs(conf_get(su->conf, "auth"), true, su->mechs_tls);
    str_fmt(su->mechs_cert, sizeof(su->mechs_cert), "EXTERNAL %s", su->mechs_tls);
    su->tick = MIN(su->smtp->timeout_command, su->smtp->timeout_data);
    su->tick = MIN(MIN(su->tick, su->smtp->timeout_block), TICK_MAX);
    rc = setup_tenants(su, why);
    if (rc == 0)
        rc = setup_profiles(su, links, why);
    if (rc == 0)
        rc = setup_domains(su, why);
    if (rc == 0)
        rc = setup_srs(su, links, why);
    if (rc == 0)
        rc = setup_checks(su, links, why);
    if (rc == 0)
        rc = setup_verify(su, links, why);
    if (rc == 0)
        rc = setup_listens(su, links, why);
    return rc;
}

int
setup_create(struct setup **ret, const struct gate_links *links, const struct conf *conf,
             struct why *why)
{
    struct setup *su = calloc(1, sizeof(*su));
    int rc;

    if (!su)
        return why_set(why, ERR_NOMEM, "no memory for the settings of the gate");
    su->refs = 1;
    su->conf = conf;
    arena_init(&su->arena, SETUP_ARENA_MAX);
    map_init(&su->domains, SETUP_DOMAINS_MAX, true);
    map_init(&su->tenants, SETUP_DOMAINS_MAX, false);
    if (why)
        why->text[0] = '\0';
    rc = setup_fill(su, links, why);
    if (rc < 0) {
        if (why && !why->text[0])
            why_set(why, rc, "%s", err_text(rc));
        setup_unref(su);
        return rc;
    }
    *ret = su;
    return 0;
}

struct setup *
setup_ref(struct setup *su)
{
    su->refs++;
    return su;
}

void
setup_unref(struct setup *su)
{
    if (!su || --su->refs)
        return;
    for (size_t i = 0; i < su->nlistens; i++)
        tls_context_unref(su->listens[i].tls);
    auth_common_free(su->auth);
    map_done(&su->domains);
    map_done(&su->tenants);
    profile_set_done(&su->profiles);
    arena_done(&su->arena);
    free(su);
}

const struct setup_listen *
setup_listen(const struct setup *su, struct str name)
{
    for (size_t i = 0; i < su->nlistens; i++) {
        if (str_eq(su->listens[i].name, name))
            return &su->listens[i];
    }
    return NULL;
}

const struct setup_domain *
setup_domain(const struct setup *su, struct str name)
{
    return map_get(&su->domains, name);
}

bool
setup_serves(const void *setup, struct str name)
{
    while (name.n && !setup_domain(setup, name))
        (void)str_cut(name, '.', &name);
    return name.n > 0;
}

const struct settings_tenant *
setup_tenant(const struct setup *su, uint32_t number)
{
    char key[24];

    return map_get(&su->tenants, str_of(key, str_fmt(key, sizeof(key), "%u", (unsigned)number)));
}

struct str
setup_certificate_login(const struct setup_listen *l, const struct tls_info *tls)
{
    const struct str *items = l->conf->certificate_login.items;

    for (size_t i = 0; tls->peer_hash[0] && i < l->conf->certificate_login.n; i++) {
        struct str login = items[i], who = str_word(&login);
        bool hash = str_istarts(who, STR("sha256:"));

        /* The handshake proved the key, so a hash needs no authority; a name does. */
        if (hash ? str_ieq(str_from(who, 7), str_c(tls->peer_hash))
                 : tls->verified && str_ieq(who, str_c(tls->peer_name)))
            return str_trim(login);
    }
    return STR_NONE;
}

uint64_t
setup_returns(const struct setup *su)
{
    return su->verify ? su->verify->returns : 0;
}

bool
setup_trusts(const struct setup *su, const struct addr *a)
{
    const struct prefix *p = su->main->trusted.items;

    for (size_t i = 0; i < su->main->trusted.n; i++) {
        if (prefix_has(&p[i], a))
            return true;
    }
    return false;
}
