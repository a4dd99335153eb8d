/*
 * import/postfix_rest.c - delivery to the world, restrictions, and all that is left.
 *
 * Called by postfix.c, import_rest() last.
 */
#include "core/addr.h"
#include "import/hop.h"
#include "import/inner.h"

#define DNS_LIST                                                                                   \
    "lists weigh here and refuse nobody by themselves: a block dns_list with its zone, the codes " \
    "that its operator documents, and of = "

static void
put_tls(struct import *im)
{
    static const char *const levels[][2] = {{"none", "never"},        {"may", "may"},
                                            {"encrypt", "require"},   {"verify", "verify"},
                                            {"secure", "verify"},     {"dane", "may"},
                                            {"dane-only", "require"}, {"fingerprint", "require"}};
    struct str level = maincf_get(&im->cf, "smtp_tls_security_level");

    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        if (!str_eq(level, str_c(levels[i][0])))
            continue;
        put(im, "    tls = %s", levels[i][1]);
        if (i >= 5)
            note(im, "smtp_tls_security_level", "%s became tls = %s, the nearest there is",
                 levels[i][0], levels[i][1]);
    }
}

/* Postfix shows the password to unverified hosts where noplaintext is not among its options; it is
 * by default. */
static void
put_login_trust(struct import *im)
{
    struct str level = maincf_get(&im->cf, "smtp_tls_security_level");
    struct str name = STR("smtp_sasl_tls_security_options");
    struct str said = maincf_get(&im->cf, name.p);

    if (!said.n) {
        name = STR("smtp_sasl_security_options");
        said = maincf_get(&im->cf, name.p);
    }
    if (str_eq(level, STR("verify")) || str_eq(level, STR("secure")))
        return;
    if (said.n && str_find(said, STR("noplaintext")) < 0) {
        put(im, "    auth_unverified = yes");
        note(im, name.p,
             "the password is shown to a host whose certificate is not verified, as Postfix did "
             "(auth_unverified = yes): write tls = verify instead where the certificate is right");
    }
}

/* The password never enters the settings: it goes to a file that only its owner reads. */
static void
put_login(struct import *im, struct str relayhost)
{
    const struct entry *all, *e;
    struct str password, user, file;

    if (!str_eq(maincf_get(&im->cf, "smtp_sasl_auth_enable"), STR("yes")))
        return;
    all = tables_read(im, "smtp_sasl_password_maps", false);
    e = tables_find(all, relayhost);
    if (!e) {
        note(im, "smtp_sasl_password_maps",
             "no login for the relay host could be read: set user "
             "and password_file in the route");
        return;
    }
    user = str_cut(e->value, ':', &password);
    file = beside(im, "password-relayhost", 0600, password);
    if (!file.n) {
        note(im, "smtp_sasl_password_maps",
             "give -o FILE, then the password is written to a file "
             "beside it (mode 0600)");
        return;
    }
    put(im, "    user = \"%.*s\"", STR_ARG(user));
    put(im, "    password_file = %.*s", STR_ARG(file));
    put_login_trust(im);
}

static void
import_routes(struct import *im)
{
    unsigned n = 0;

    for (const struct entry *e = im->transports; e; e = e->next) {
        struct hop hop;

        if (!e->value.n || str_eq(e->key, STR("*")))
            continue;
        hop = hop_of(im, e->value);
        if (str_chr(e->key, '@') >= 0 || (hop.kind != HOP_HOST && hop.kind != HOP_MX)) {
            note(im, "transport_maps", "%.*s: %s", STR_ARG(str_sub(e->key, 0, 100)),
                 str_chr(e->key, '@') >= 0 ? "routes are for domains here, not for single addresses"
                                           : "this transport has no equivalent");
            continue;
        }
        put(im, "\nroute transport%u {", ++n);
        put(im, "    domains = %.*s", STR_ARG(e->key));
        put(im, "    via = %.*s", hop.kind == HOP_MX ? 2 : (int)hop.text.n,
            hop.kind == HOP_MX ? "mx" : hop.text.p);
        put(im, "}");
    }
}

static void
import_relayhost(struct import *im)
{
    const struct entry *star = tables_find(im->transports, STR("*"));
    struct str relay = maincf_get(&im->cf, "relayhost");
    struct hop hop;

    if (star && star->value.n)
        hop = hop_of(im, star->value);
    else if (relay.n)
        hop = hop_of(im, arena_fmt(&im->cf.arena, "smtp:%.*s", STR_ARG(relay)));
    else
        hop = hop_of(im, maincf_get(&im->cf, "default_transport"));
    if (hop.kind == HOP_LOCAL || hop.kind == HOP_NONE) {
        note(im, star ? "transport_maps" : "relayhost",
             "mail for the rest of the world has no equivalent next hop: it goes by MX now");
        hop.kind = HOP_MX;
    }
    put(im, "\nroute rest {\n    domains = *");
    put(im, "    via = %.*s", hop.kind == HOP_MX ? 2 : (int)hop.text.n,
        hop.kind == HOP_MX ? "mx" : hop.text.p);
    if (hop.by_mx)
        note(im, "relayhost",
             "written without [ ], Postfix asked for MX records of it; Gapura "
             "connects to the host itself");
    put_tls(im);
    if (hop.kind == HOP_HOST && str_eq(maincf_get(&im->cf, "smtp_tls_wrappermode"), STR("yes")))
        put(im, "    tls_wrapped = yes");
    if (hop.kind == HOP_HOST)
        put_login(im, relay);
    put(im, "}");
}

static void
import_source(struct import *im)
{
    struct str v4 = maincf_get(&im->cf, "smtp_bind_address");
    struct str v6 = maincf_get(&im->cf, "smtp_bind_address6");
    struct str ehlo = maincf_get(&im->cf, "smtp_helo_name");
    struct addr a;

    if (v6.n)
        note(im, "smtp_bind_address6",
             "a source has one address: make a second source block for "
             "%.*s",
             STR_ARG(str_sub(v6, 0, 60)));
    if (!v4.n && (!ehlo.n || str_eq(ehlo, maincf_get(&im->cf, "myhostname"))))
        return;
    if (v4.n && addr_parse(v4, &a) < 0) {
        note(im, "smtp_bind_address", "%.*s is no address", STR_ARG(str_sub(v4, 0, 60)));
        v4 = STR_NONE;
    }
    put(im, "\nsource postfix {");
    if (v4.n)
        put(im, "    address = %.*s", STR_ARG(v4));
    if (domain_like(ehlo))
        put(im, "    ehlo = %.*s", STR_ARG(ehlo));
    put(im, "}\npool default {\n    sources = postfix\n}");
}

void
import_delivery(struct import *im)
{
    import_routes(im);
    import_relayhost(im);
    import_source(im);
}

/* ---- restrictions ---- */

static const char *
restriction_why(struct str word)
{
    static const struct {
        const char *name, *why;
    } rows[] = {
        {"permit_mynetworks", ""},
        {"permit_sasl_authenticated", ""},
        {"permit", ""},
        {"reject_unauth_destination", ""},
        {"defer_unauth_destination", ""},
        {"reject_unauth_pipelining", ""},
        {"reject_unlisted_recipient", ""},
        {"reject_unknown_recipient_domain", "a domain that is not served is refused anyway"},
        {"reject_non_fqdn_recipient", ""},
        {"reject_non_fqdn_sender", ""},
        {"reject_invalid_helo_hostname", "see the check helo"},
        {"reject_invalid_hostname", "see the check helo"},
        {"reject_non_fqdn_helo_hostname", "see the check helo"},
        {"reject_non_fqdn_hostname", "see the check helo"},
        {"reject_unknown_helo_hostname", "see the check helo"},
        {"reject_unknown_client_hostname", "see the checks client and reverse"},
        {"reject_unknown_client", "see the checks client and reverse"},
        {"reject_unknown_reverse_client_hostname", "see the checks client and reverse"},
        {"reject_unverified_recipient", "see recipients = callout in the domain's block"},
        {"reject_unverified_sender", "senders are never called back: that bothers third parties"},
        {"reject_rbl_client", DNS_LIST "client"},
        {"reject_rhsbl_helo", DNS_LIST "helo"},
        {"reject_rhsbl_sender", DNS_LIST "sender"},
        {"reject_rhsbl_client", "names of clients are looked up in no list here"},
        {"check_policy_service", "policy services are not called"},
        {"check_client_access", "networks go to `denied`, others have no equivalent"},
        {"check_sender_access", "no equivalent for tables of senders"},
        {"check_recipient_access", "no equivalent for tables of recipients"},
        {"check_helo_access", "no equivalent for tables of HELO names"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (str_eq(word, str_c(rows[i].name)))
            return rows[i].why;
    return NULL;
}

static void
import_restriction(struct import *im, const char *name)
{
    struct str rest, word;

    if (!maincf_given(&im->cf, name))
        return;
    rest = maincf_get(&im->cf, name);
    while ((word = maincf_word(&rest)).n) {
        const char *why = restriction_why(word);

        if (why && !why[0]) {
            im->carried++; /* it is how Gapura works */
            continue;
        }
        if (why && str_starts(word, STR("check_")))
            (void)maincf_word(&rest);
        if (why && (str_starts(word, STR("reject_rbl")) || str_starts(word, STR("reject_rhsbl")))) {
            struct str list = maincf_word(&rest);

            note(im, name, "%.*s %.*s: %s", STR_ARG(word), STR_ARG(str_sub(list, 0, 100)), why);
            continue;
        }
        note(im, name, "%.*s: %s", STR_ARG(str_sub(word, 0, 100)), why ? why : "no equivalent");
    }
}

void
import_restrictions(struct import *im)
{
    static const char *const names[] = {
        "smtpd_client_restrictions",      "smtpd_helo_restrictions",
        "smtpd_sender_restrictions",      "smtpd_relay_restrictions",
        "smtpd_recipient_restrictions",   "smtpd_data_restrictions",
        "smtpd_end_of_data_restrictions", "smtpd_etrn_restrictions"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        import_restriction(im, names[i]);
}

/* ---- the rest ---- */

/* Parameters whose absence changes nothing: how Postfix itself is laid out. */
static bool
no_matter(struct str name)
{
    static const char *const names[] = {"biff",
                                        "compatibility_level",
                                        "append_dot_mydomain",
                                        "readme_directory",
                                        "mail_owner",
                                        "setgid_group",
                                        "html_directory",
                                        "manpage_directory",
                                        "sample_directory",
                                        "mailq_path",
                                        "newaliases_path",
                                        "sendmail_path",
                                        "queue_directory",
                                        "command_directory",
                                        "meta_directory",
                                        "daemon_directory",
                                        "data_directory",
                                        "shlib_directory",
                                        "default_database_type",
                                        "mail_name",
                                        "debug_peer_level",
                                        "debugger_command",
                                        "unknown_local_recipient_reject_code",
                                        "smtpd_tls_session_cache_database",
                                        "smtp_tls_session_cache_database",
                                        "smtpd_tls_loglevel",
                                        "smtp_tls_loglevel",
                                        "smtpd_tls_received_header",
                                        "smtpd_helo_required",
                                        "smtpd_use_tls",
                                        "smtp_use_tls",
                                        "smtp_tls_CApath",
                                        "smtp_tls_CAfile",
                                        "smtp_tls_note_starttls_offer",
                                        "disable_vrfy_command",
                                        "mailbox_size_limit",
                                        "alias_database",
                                        "smtputf8_enable",
                                        "smtpd_tls_auth_only",
                                        "smtp_sasl_security_options",
                                        "smtp_sasl_tls_security_options",
                                        "smtp_sasl_mechanism_filter",
                                        "smtpd_sasl_security_options",
                                        "smtpd_sasl_local_domain",
                                        "broken_sasl_auth_clients",
                                        "smtpd_delay_reject",
                                        "strict_rfc821_envelopes",
                                        "config_directory",
                                        "mail_version",
                                        "inet_protocols",
                                        "mynetworks_style"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_eq(name, str_c(names[i])))
            return true;
    return false;
}

static const char *
rest_why(struct str name)
{
    static const struct {
        const char *start, *why;
    } rows[] = {
        {"smtpd_milters", "milters are not called"},
        {"non_smtpd_milters", "milters are not called"},
        {"milter_", "milters are not called"},
        {"content_filter", "content is not sent through a filter"},
        {"header_checks", "there are no patterns over headers and bodies"},
        {"body_checks", "there are no patterns over headers and bodies"},
        {"mime_header_checks", "there are no patterns over headers and bodies"},
        {"smtpd_sasl",
         "logins: see the block auth (passwords = dovecot asks Dovecot), `gapura user`"},
        {"sender_dependent", "next hops by sender: see tenants, pools and sources"},
        {"sender_canonical", "addresses are not rewritten"},
        {"recipient_canonical", "addresses are not rewritten"},
        {"canonical_maps", "addresses are not rewritten"},
        {"masquerade_", "addresses are not rewritten"},
        {"smtp_generic_maps", "addresses are not rewritten"},
        {"always_bcc", "no copies are made"},
        {"recipient_bcc", "no copies are made"},
        {"sender_bcc", "no copies are made"},
        {"maximal_queue_lifetime", "see delivery.expire"},
        {"bounce_queue_lifetime", "see delivery.expire_dsn"},
        {"minimal_backoff_time", "see delivery.retry"},
        {"maximal_backoff_time", "see delivery.retry_max"},
        {"delay_warning_time", "see delivery.warn_after"},
        {"smtpd_banner", "see banner in the block listen"},
        {"smtpd_client_connection", "see the limits in the block smtp"},
        {"smtpd_", "no equivalent is known; limits are in the block smtp, TLS in the block listen"},
        {"smtp_", "no equivalent is known; see the blocks delivery and route"},
        {"virtual_", "Gapura hands mail to a server and writes no mailboxes of users"},
        {"home_mailbox", "Gapura hands mail to a server and writes no mailboxes of users"},
        {"mailbox_command", "Gapura hands mail to a server and writes no mailboxes of users"},
        {"postscreen_dnsbl", DNS_LIST "client; profiles say what a finding weighs"},
        {"postscreen_", "see the checks of the stage connect"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (str_starts(name, str_c(rows[i].start)))
            return rows[i].why;
    return "no equivalent is known";
}

void
import_rest(struct import *im)
{
    for (const struct maincf_value *v = im->cf.first; v; v = v->next) {
        if (v->used || no_matter(v->name))
            continue;
        if (str_find(v->name, STR("password")) >= 0)
            note(im, v->name.p, "%s", rest_why(v->name));
        else
            note(im, v->name.p, "%.*s%s (%s)", STR_ARG(str_sub(v->text, 0, 300)),
                 v->text.n > 300 ? "..." : "", rest_why(v->name));
    }
}
