/*
 * gate/setup.h - what the gate derives from one generation of the settings: listeners with their
 * TLS contexts and engine settings, served domains, tenants, the plan of checks.
 *
 * Immutable and refcounted: sessions keep the one they began with.
 */
#ifndef GAPURA_GATE_SETUP_H
#define GAPURA_GATE_SETUP_H

#include "auth/evidence.h"
#include "core/map.h"
#include "gate/links.h"
#include "gate/settings.h"
#include "gate/srs.h"
#include "net/tls.h"
#include "policy/pipeline.h"
#include "policy/profile.h"
#include "smtp/server.h"
#include "store/settings.h"
#include "store/settings_reports.h"

struct setup_domain {
    struct str name;                    /* A-labels, lower case */
    const struct settings_domain *conf; /* never NULL */
    const struct profile *profile;      /* that judges mail for it; never NULL */
    uint32_t tenant;
};
struct setup_listen {
    struct str name;
    const struct settings_listen *conf;
    struct tls_context *tls; /* NULL: not offered */
    bool implicit_tls, submission;
    /* Settings of the engine: for anybody, and for clients that may relay without a login. */
    struct smtp_server_conf strangers, trusted;
};
struct setup {
    unsigned refs;
    const struct conf *conf;
    const struct settings_main *main;
    const struct settings_smtp *smtp;
    const struct settings_verify *verify;   /* NULL: parsed without that block */
    const struct settings_reports *reports; /* NULL: none are read */
    struct arena arena;
    struct map domains; /* name -> struct setup_domain */
    struct map tenants; /* decimal number -> struct settings_tenant */
    struct setup_listen *listens;
    size_t nlistens;
    struct srs srs; /* domain empty: off */
    struct stage_plan plan;
    struct auth_common *auth;    /* verification of strangers' mail; NULL: nobody could be asked */
    bool verifies;               /* some row wants what it finds */
    bool header_any, header_all; /* some row reads the header; one for all clients does */
    bool header_keys;            /* one for all clients does where there are signing keys */
    struct profile_set profiles;
    const struct profile *profile; /* for mail of domains without a block */
    /* SASL mechanisms: without TLS, with it, and for a client whose certificate is a login. */
    char mechs[SETTINGS_MECHS_TEXT], mechs_tls[SETTINGS_MECHS_TEXT],
        mechs_cert[SETTINGS_MECHS_TEXT + 16];
    uint64_t tick; /* ns: how often a session looks at its clock at least */
};

int setup_create(struct setup **ret, const struct gate_links *, const struct conf *, struct why *);
struct setup *setup_ref(struct setup *);
void setup_unref(struct setup *); /* NULL is fine */
const struct setup_listen *setup_listen(const struct setup *, struct str name);
/* The served domain of that name (A-labels, lower case), or NULL. */
const struct setup_domain *setup_domain(const struct setup *, struct str name);
/* The same for the checks: is that domain, or one that it is below, served here? */
bool setup_serves(const void *setup, struct str name);
const struct settings_tenant *setup_tenant(const struct setup *, uint32_t number);
/* The login that the client's certificate stands for there, or empty. */
struct str setup_certificate_login(const struct setup_listen *, const struct tls_info *);
/* ns that a report about mail of ours needs no proof; 0: it does. */
uint64_t setup_returns(const struct setup *);
/* May that client send anywhere without a login? */
bool setup_trusts(const struct setup *, const struct addr *);

#endif
