/*
 * import/postfix_listen.c - listeners of master.cf, TLS of the server, sizes, trusted networks.
 *
 * Called by postfix.c.
 */
#include "core/addr.h"
#include "import/inner.h"

#include <unistd.h>

struct service {
    struct str at;      /* "smtp", "submission", "192.0.2.1:25" */
    struct str command; /* smtpd or postscreen */
    struct str options; /* all of its -o, a line each */
};

/* -o name=value of a service, or the parameter of main.cf. */
static struct str
service_get(struct import *im, const struct service *s, const char *name)
{
    struct str main = maincf_get(&im->cf, name), rest = s->options;

    while (rest.n) {
        struct str value, key = str_cut(str_cut(rest, '\n', &rest), '=', &value);

        if (str_eq(str_trim(key), str_c(name)))
            main = str_trim(value);
    }
    return main;
}

static bool
readable(struct import *im, struct str path)
{
    struct str copy = arena_str(&im->cf.arena, path);

    return copy.n && access(copy.p, R_OK) == 0;
}

/* True if the listener has a certificate. */
static bool
put_certificate(struct import *im, const struct service *s)
{
    struct str chain = service_get(im, s, "smtpd_tls_chain_files");
    struct str cert = service_get(im, s, "smtpd_tls_cert_file");
    struct str key = service_get(im, s, "smtpd_tls_key_file");

    if (chain.n) {
        struct str second;

        cert = key = maincf_word(&chain); /* keys stand before their certificates */
        second = maincf_word(&chain);
        if (second.n)
            cert = second;
        if (maincf_word(&chain).n)
            note(im, "smtpd_tls_chain_files", "listener %.*s: only the first pair was taken",
                 STR_ARG(s->at));
    }
    if (!cert.n || str_eq(cert, STR("none")))
        return false;
    if (readable(im, cert) && readable(im, key)) {
        put(im, "    certificate = %.*s %.*s", STR_ARG(cert), STR_ARG(key));
        return true;
    }
    note(im, "smtpd_tls_cert_file",
         "listener %.*s: %.*s with its key cannot be read here: add certificate = CERTFILE KEYFILE",
         STR_ARG(s->at), STR_ARG(cert));
    return false;
}

/* Addresses of inet_interfaces, each with the port. */
static void
put_addresses(struct import *im, struct str port)
{
    struct str rest = maincf_get(&im->cf, "inet_interfaces"), word;
    struct str protocols = maincf_get(&im->cf, "inet_protocols");
    bool all = str_find(protocols, STR("all")) >= 0;
    bool v4 = all || str_find(protocols, STR("ipv4")) >= 0;
    bool v6 = all || str_find(protocols, STR("ipv6")) >= 0;
    CLEANUP(buf_done) struct buf out = {0};

    buf_init(&out, 4096);
    if (str_eq(rest, STR("loopback-only")))
        rest = STR("127.0.0.1, ::1");
    else if (str_eq(rest, STR("all")))
        rest = STR("0.0.0.0, ::");
    while ((word = maincf_word(&rest)).n) {
        struct addr a;
        char text[48];

        if (str_eq(word, STR("localhost")))
            word = STR("127.0.0.1");
        if (addr_parse(word, &a) < 0) {
            note(im, "inet_interfaces", "%.*s: listeners have addresses here, not names",
                 STR_ARG(str_sub(word, 0, 100)));
            continue;
        }
        if (!(addr_is_v4(&a) ? v4 : v6))
            continue;
        buf_fmt(&out, addr_is_v4(&a) ? "%s%s:%.*s" : "%s[%s]:%.*s", out.n ? ", " : "",
                addr_show(&a, text), STR_ARG(port));
    }
    if (!out.n)
        buf_c(&out, "127.0.0.1:2500");
    put(im, "    address = %.*s", (int)out.n, out.p);
}

static struct str
port_number(struct str name)
{
    static const char *const ports[][2] = {
        {"smtp", "25"}, {"submission", "587"}, {"submissions", "465"}, {"smtps", "465"}};

    for (size_t i = 0; i < ARRAY_LEN(ports); i++)
        if (str_eq(name, str_c(ports[i][0])))
            return str_c(ports[i][1]);
    return name;
}

/* A balancer in front tells the client's address; until it is trusted for that, nobody else may
 * come: all its clients would pass for itself. */
static bool
behind_proxy(struct import *im, const struct service *s)
{
    const char *name = str_eq(s->command, STR("postscreen")) ? "postscreen_upstream_proxy_protocol"
                                                             : "smtpd_upstream_proxy_protocol";

    if (!service_get(im, s, name).n)
        return false;
    note(im, name,
         "ATTENTION: listener %.*s is on 127.0.0.1 for now: write the balancer's address as "
         "`proxy` in it, then its true address",
         STR_ARG(s->at));
    return true;
}

/* True if it is behind a balancer. */
static bool
put_place(struct import *im, const struct service *s)
{
    struct str port, host = str_cut(s->at, ':', &port);
    bool proxied = behind_proxy(im, s);

    if (proxied) {
        port = port.n ? port : host;
        host = STR("127.0.0.1");
    }
    if (port.n)
        put(im, "    address = %.*s:%.*s", STR_ARG(host), STR_ARG(port_number(port)));
    else
        put_addresses(im, port_number(host));
    return proxied;
}

/* Does a list of restrictions let mynetworks through before it refuses to relay? 0: it says
 * neither. */
static int
list_permits(struct str rest)
{
    static const char *const ends[] = {"reject", "defer", "reject_unauth_destination",
                                       "defer_unauth_destination"};
    struct str word;

    while ((word = maincf_word(&rest)).n) {
        if (str_ieq(word, STR("permit_mynetworks")) || str_ieq(word, STR("permit")))
            return 1;
        for (size_t i = 0; i < ARRAY_LEN(ends); i++)
            if (str_ieq(word, str_c(ends[i])))
                return -1;
    }
    return 0;
}

/* Postfix asks both lists, and one refusal is enough. */
static bool
networks_relay(struct import *im, const struct service *s)
{
    int relay = list_permits(service_get(im, s, "smtpd_relay_restrictions"));
    int rcpt = list_permits(service_get(im, s, "smtpd_recipient_restrictions"));

    return relay >= 0 && rcpt >= 0 && relay + rcpt > 0;
}

/* True if the service has networks of its own. */
static bool
note_options(struct import *im, const struct service *s)
{
    static const char *const taken[] = {"smtpd_tls_chain_files",
                                        "smtpd_tls_cert_file",
                                        "smtpd_tls_key_file",
                                        "smtpd_tls_wrappermode",
                                        "smtpd_tls_security_level",
                                        "smtpd_enforce_tls",
                                        "smtpd_sasl_auth_enable",
                                        "smtpd_relay_restrictions",
                                        "smtpd_recipient_restrictions",
                                        "syslog_name",
                                        "smtpd_upstream_proxy_protocol",
                                        "postscreen_upstream_proxy_protocol"};
    struct str rest = s->options;
    bool networks = false;

    while (rest.n) {
        struct str value, key = str_trim(str_cut(str_cut(rest, '\n', &rest), '=', &value));
        bool known = false;

        networks |= str_eq(key, STR("mynetworks"));
        for (size_t i = 0; i < ARRAY_LEN(taken); i++)
            known |= str_eq(key, str_c(taken[i]));
        if (!known && key.n)
            note(im, "master.cf", "service %.*s: -o %.*s=%.*s was not carried over", STR_ARG(s->at),
                 STR_ARG(str_sub(key, 0, 60)), STR_ARG(str_sub(value, 0, 200)));
    }
    return networks;
}

static void
import_service(struct import *im, const struct service *s, unsigned number)
{
    bool wrapped = str_eq(service_get(im, s, "smtpd_tls_wrappermode"), STR("yes"));
    bool logins = str_eq(service_get(im, s, "smtpd_sasl_auth_enable"), STR("yes"));
    bool must = str_eq(service_get(im, s, "smtpd_tls_security_level"), STR("encrypt")) ||
                str_eq(service_get(im, s, "smtpd_enforce_tls"), STR("yes"));
    bool mx = str_eq(s->at, STR("smtp")) || str_eq(s->at, STR("25")) ||
              str_ends(s->at, STR(":25")) || str_ends(s->at, STR(":smtp"));
    bool own = note_options(im, s), relays = !own && networks_relay(im, s), has;

    put(im, "\nlisten postfix%u {   # %.*s", number, STR_ARG(s->at));
    relays = !put_place(im, s) && relays;
    has = put_certificate(im, s);
    if (wrapped && !has)
        note(im, "master.cf",
             "service %.*s: TLS from the first byte needs a certificate; without "
             "one this is a listener with STARTTLS to come",
             STR_ARG(s->at));
    if (mx)
        put(im, "    kind = %s", im->networks && relays ? "trusted" : "inbound");
    else
        put(im, "    kind = %s", wrapped && has ? "submissions" : "submission");
    if (im->networks && !relays)
        note(
            im, "mynetworks",
            mx ? "service %.*s: its restrictions do not let these networks relay, so the listener "
                 "is inbound"
               : "service %.*s: ATTENTION: Postfix wants a login of these networks too; here hosts "
                 "of `trusted` need none: take them out of `trusted` if they are to log in",
            STR_ARG(s->at));
    if (must && has && !wrapped)
        put(im, "    require_tls = yes");
    put(im, "}");
    if (mx && logins)
        note(im, "smtpd_sasl_auth_enable",
             "logins are for the submission ports 587 and 465 here, "
             "not for port 25");
}

static void
import_master(struct import *im)
{
    struct str text, line, path = arena_fmt(&im->cf.arena, "%.*s/master.cf", STR_ARG(im->cf.dir));
    unsigned n = 0;
    int rc = maincf_file(&im->cf.arena, path, &text);

    while (rc == 0 && maincf_line(&im->cf.arena, &text, &line)) {
        struct service s = {.at = str_word(&line)};
        struct str type = str_word(&line);
        CLEANUP(buf_done) struct buf options = {0};

        for (int i = 0; i < 5; i++)
            (void)str_word(&line);
        s.command = str_word(&line);
        if (!str_eq(type, STR("inet"))) {
            if (str_eq(s.command, STR("pipe")))
                note(im, "master.cf",
                     "service %.*s: pipes to programs; Gapura hands mail on by "
                     "SMTP or LMTP",
                     STR_ARG(s.at));
            continue;
        }
        if (!str_eq(s.command, STR("smtpd")) && !str_eq(s.command, STR("postscreen"))) {
            note(im, "master.cf", "service %.*s (%.*s) has no equivalent", STR_ARG(s.at),
                 STR_ARG(s.command));
            continue;
        }
        buf_init(&options, 65536);
        for (struct str word; (word = str_word(&line)).n;) {
            if (!str_starts(word, STR("-o")))
                continue;
            word = str_from(word, 2);
            line = str_trim(line);
            if (!word.n && line.n && line.p[0] == '{') { /* { name = value with spaces } */
                word = maincf_word(&line);
                word = str_trim(str_sub(word, 1, word.n > 1 ? word.n - 2 : 0));
            } else if (!word.n) {
                word = str_word(&line);
            }
            buf_str(&options, word);
            buf_char(&options, '\n');
        }
        s.options = arena_str(&im->cf.arena, buf_view(&options));
        import_service(im, &s, ++n);
    }
    if (rc < 0)
        note(im, "master.cf", "cannot be read (%s): one listener on port 25 was written",
             err_text(rc));
    if (!n)
        import_service(im, &(struct service){.at = STR("smtp"), .command = STR("smtpd")}, 1);
}

static void
import_networks(struct import *im)
{
    CLEANUP(buf_done) struct buf out = {0};

    buf_init(&out, 1u << 20);
    if (!maincf_given(&im->cf, "mynetworks")) {
        note(im, "mynetworks",
             "not set: Postfix would trust this machine%s; only the loopback was "
             "taken, add networks to `trusted` if others are to relay",
             maincf_given(&im->cf, "mynetworks_style") ? " and what mynetworks_style says" : "");
        buf_c(&out, "127.0.0.0/8, ::1/128");
    }
    for (const struct entry *e = maincf_given(&im->cf, "mynetworks") ? tables_list(im, "mynetworks")
                                                                     : NULL;
         e; e = e->next) {
        char plain[128];
        struct prefix p;
        size_t n = 0;

        if (e->key.p[0] == '!' || str_ieq(e->value, STR("REJECT"))) {
            note(im, "mynetworks",
                 "ATTENTION: %.*s leaves hosts out, which cannot be said here: NO network was "
                 "taken; write those that may relay as `trusted`",
                 STR_ARG(str_sub(e->key, 0, 100)));
            maincf_get(&im->cf, "mynetworks_style");
            return;
        }

        for (size_t i = 0; i < e->key.n && n + 1 < sizeof(plain); i++)
            if (e->key.p[i] != '[' && e->key.p[i] != ']')
                plain[n++] = e->key.p[i];
        if (prefix_parse(str_of(plain, n), &p) < 0) {
            note(im, "mynetworks", "%.*s: networks are addresses with a length here",
                 STR_ARG(str_sub(e->key, 0, 100)));
            continue;
        }
        if (str_eq(e->value, STR("REJECT")) || str_ieq(e->value, STR("dunno")))
            continue;
        buf_fmt(&out, "%s%.*s", out.n ? ", " : "", (int)n, plain);
    }
    maincf_get(&im->cf, "mynetworks_style");
    im->networks = out.n > 0;
    if (out.n && out.n < 8000)
        put(im, "trusted = %.*s", (int)out.n, out.p);
    else if (out.n)
        note(im, "mynetworks", "%zu bytes of networks are too many for one line", out.n);
}

void
import_listeners(struct import *im)
{
    uint64_t size = 0;

    import_networks(im);
    if (str_u64(maincf_get(&im->cf, "message_size_limit"), &size) == 0) {
        size = size ? MIN(MAX(size, UINT64_C(65536)), UINT64_C(4) << 30) : UINT64_C(4) << 30;
        put(im, "\nsmtp {\n    max_size = %llu\n}", (unsigned long long)size);
    }
    import_master(im);
    put(im, "\nlisten local {   # sendmail\n    kind = local\n    socket = /run/gapura/submit\n}");
}
