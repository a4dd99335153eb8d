/* Settings of the store: defaults parse, checks speak, inside servers are understood. */
#include "store/settings.h"

#include "core/err.h"
#include "tap.h"

static const struct conf_block *const blocks[] = {&settings_main_block, &settings_domain_block,
                                                  &settings_tenant_block, &settings_sender_block,
                                                  &settings_auth_block};

static struct conf *
parse(const char *text, struct conf_errors *errs)
{
    static struct conf_texts texts;
    struct conf *conf = NULL;

    texts.items[0] = (struct conf_text){STR("test.conf"), str_c(text)};
    texts.n = 1;
    *errs = (struct conf_errors){0};
    conf_parse(&conf, &texts, blocks, ARRAY_LEN(blocks), 1, errs);
    return conf;
}

static void
test_defaults(void)
{
    struct conf_errors errs;
    struct conf *conf =
        parse("hostname = mx.example.com\n"
              "domain example.com {\n inside = smtp://127.0.0.1:2525\n}\n"
              "tenant acme {\n number = 4\n}\n"
              "user alice@example.com {\n envelope = example.com, .example.org\n}\n",
              &errs);
    const struct settings_main *m;
    const struct settings_domain *d;
    const struct settings_auth *a;
    char room[SETTINGS_MECHS_TEXT];

    IS(errs.n, 0, "no errors");
    for (size_t i = 0; i < errs.n; i++)
        printf("# %.*s\n", STR_ARG(errs.items[i].text));
    if (!conf)
        return;
    m = conf_get(conf, "");
    TEXT(m->hostname, "mx.example.com", "hostname");
    TEXT(m->user, "gapura", "user");
    IS(m->wings, WINGS_BOTH, "both wings");
    d = conf_first(conf, "domain")->data;
    IS(d->recipients, RECIPIENTS_ANY, "any recipient");
    IS(d->lookup_ttl / 1000000000, 120, "lookups live 2 m");
    a = conf_get(conf, "auth");
    IS(a->iterations, 4096, "iterations");
    TEXT(settings_auth_mechs(a, false, room), "SCRAM-SHA-256 PLAIN LOGIN", "mechanisms");
    TEXT(settings_auth_mechs(NULL, false, room), "SCRAM-SHA-256 PLAIN LOGIN",
         "and without a block");
    conf_free(conf);
    conf_errors_done(&errs);
}

static void
test_refused(void)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "`hostname` is missing"},
        {"domain Example.com {\n inside = smtp://h\n}\n", "write the name as example.com"},
        {"domain example.com {\n}\n", "inside"},
        {"domain example.com {\n inside = pop3://h\n}\n", "not an inside server"},
        {"domain example.com {\n inside = smtp://h\n recipients = table\n}\n", "recipient_table"},
        {"domain example.com {\n inside = smtp://h\n recipients = sqlite\n recipient_table = "
         "x\n}\n",
         "recipient_query"},
        {"domain example.com {\n inside = smtp://h\n recipients = ldap\n recipient_query = "
         "\"(mail=x)\"\n ldap_url = ldap://h\n}\n",
         "without %s"},
        {"domain example.com {\n inside = smtp://h\n recipients = ldap\n recipient_query = "
         "\"(mail=%s)\"\n ldap_url = http://h\n}\n",
         "not an LDAP URL"},
        {"domain example.com {\n inside = smtp://h\n catch_all = nobody\n}\n", "not an address"},
        {"domain example.com {\n inside = smtp://h\n delimiter = \"+@\"\n}\n", "delimiter"},
        {"tenant a {\n}\n", "number"},
        {"user bob {\n envelope = \"not a domain\"\n}\n", "neither an address"},
        {"auth {\n passwords = dovecot\n mechanisms = SCRAM-SHA-256\n}\n", "PLAIN"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct conf_errors errs;
        char text[1024];
        struct conf *conf;
        bool said = false;

        str_fmt(text, sizeof(text), "%s%s", i ? "hostname = mx.example.com\n" : "", cases[i].text);
        conf = parse(text, &errs);
        for (size_t e = 0; e < errs.n; e++)
            said = said || str_find(errs.items[e].text, str_c(cases[i].says)) >= 0;
        OK(!conf && said, "refused: %s", cases[i].says);
        for (size_t e = 0; !said && e < errs.n; e++)
            printf("# %.*s\n", STR_ARG(errs.items[e].text));
        conf_free(conf);
        conf_errors_done(&errs);
    }
}

static void
test_inside(void)
{
    static const struct {
        const char *text;
        int r;
        enum inside_kind kind;
        const char *host;
        unsigned port;
    } cases[] = {
        {"smtp://mail.example.com", 0, INSIDE_SMTP, "mail.example.com", 25},
        {"SMTP://127.0.0.1:2525", 0, INSIDE_SMTP, "127.0.0.1", 2525},
        {"smtp://[::1]:26", 0, INSIDE_SMTP, "::1", 26},
        {"lmtp://[::1]", 0, INSIDE_LMTP, "::1", 24},
        {"lmtp:/run/lmtp", 0, INSIDE_LMTP_UNIX, "/run/lmtp", 0},
        {"maildir:/var/mail/x", 0, INSIDE_MAILDIR, "/var/mail/x", 0},
        {"lmtp:relative", ERR_SYNTAX, 0, NULL, 0},
        {"maildir:/", ERR_SYNTAX, 0, NULL, 0},
        {"smtp://", ERR_SYNTAX, 0, NULL, 0},
        {"smtp://h:0", ERR_SYNTAX, 0, NULL, 0},
        {"smtp://h:65536", ERR_SYNTAX, 0, NULL, 0},
        {"smtp://h:", ERR_SYNTAX, 0, NULL, 0},
        {"smtp://[::1", ERR_SYNTAX, 0, NULL, 0},
        {"smtp://[h]:25", ERR_SYNTAX, 0, NULL, 0},
        {"smtp://h/path", ERR_SYNTAX, 0, NULL, 0},
        {"", ERR_SYNTAX, 0, NULL, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct inside_host h = {0};
        int r = inside_parse(str_c(cases[i].text), &h);

        IS(r, cases[i].r, "inside: \"%s\"", cases[i].text);
        if (r < 0)
            continue;
        OK(h.kind == cases[i].kind && h.port == cases[i].port, "its kind and port");
        TEXT(h.path.n ? h.path : h.host, cases[i].host, "its place");
    }
}

int
main(void)
{
    test_defaults();
    test_refused();
    test_inside();
    return tap_done();
}
