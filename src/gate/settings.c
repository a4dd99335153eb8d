/*
 * gate/settings.c - rows of the inbound side: listeners, limits of sessions, forwarding, checks.
 *
 * Read by the loader, by `gapura check`, by the generator of gapura.conf(5) and by gate/setup.c.
 * Defaults of timeouts follow RFC 5321 4.5.3.2; each ceiling of a peer's doing is a row here.
 */
#include "gate/settings.h"

#define HOUR   (UINT64_C(3600) * 1000000000)
#define SECOND UINT64_C(1000000000)

static const char *const listen_words[] = {"inbound", "submission", "submissions",
                                           "trusted", "local",      NULL};
static const char *const users_words[] = {"all", "group", NULL};
static const struct conf_row listen_rows[] = {
    {.name = "address",
     CONF_ROW(ENDPOINTS, struct settings_listen, address, .min = 25,
              .doc = "Addresses and ports to listen on, for example 0.0.0.0:25, [::]:25. All "
                     "kinds but local need one.")},
    {.name = "kind",
     CONF_ROW(WORD, struct settings_listen, kind, .def = "inbound", .words = listen_words,
              .doc = "Who comes here. inbound: other mail servers, mail for served domains only. "
                     "submission: people and programs with a login (port 587). submissions: the "
                     "same with TLS from the first byte (port 465). trusted: the networks in "
                     "`trusted` may send anywhere without a login, all others are as on inbound. "
                     "Trusted networks may also send anywhere on the two submission kinds. local: "
                     "programs on this machine through `socket`, sendmail(8) above all; they may "
                     "send anywhere, and the uid that the kernel tells stands in Received and in "
                     "events.")},
    {.name = "socket",
     CONF_ROW(PATH, struct settings_listen, socket,
              .doc = "The Unix socket of a listener of kind local: /run/gapura/submit is where "
                     "`gapura send` looks.")},
    {.name = "users",
     CONF_ROW(WORD, struct settings_listen, users, .def = "all", .words = users_words,
              .doc = "Who may open `socket`: all users of this machine, or root and the members "
                     "of the group gapura.")},
    {.name = "implicit_tls",
     CONF_ROW(BOOL, struct settings_listen, implicit_tls, .def = "no",
              .doc = "TLS from the first byte. Always so on submissions.")},
    {.name = "require_tls",
     CONF_ROW(BOOL, struct settings_listen, require_tls, .def = "no",
              .doc = "No mail without TLS (530 5.7.0 until STARTTLS).")},
    {.name = "auth_without_tls",
     CONF_ROW(BOOL, struct settings_listen, auth_without_tls, .def = "no",
              .doc = "Offers AUTH on connections without TLS too. Passwords then cross the network "
                     "in the clear: only for the loopback.")},
    {.name = "proxy",
     CONF_ROW(PREFIXES, struct settings_listen, proxy,
              .doc = "Load balancers: connections from these networks must begin with a PROXY "
                     "header (v1 or v2), which tells the true client. Nobody else may send one.")},
    {.name = "xclient",
     CONF_ROW(PREFIXES, struct settings_listen, xclient,
              .doc = "Proxies: these networks may say XCLIENT, and the session then counts as that "
                     "of the client they name: its address, name, HELO and login. Whoever is in "
                     "here can be anybody, with any login that exists (`gapura user`, a `user` "
                     "block; any at all with `passwords = dovecot`, which cannot be asked).")},
    {.name = "certificate",
     CONF_ROW(TEXTS, struct settings_listen, certificate,
              .doc = "Pairs of files, CERTFILE KEYFILE, PEM, chain included. The client's SNI "
                     "chooses; the first is the default. Without it TLS is not offered.")},
    {.name = "client_ca",
     CONF_ROW(PATH, struct settings_listen, client_ca,
              .doc = "PEM file of authorities: clients are asked for a certificate, which is shown "
                     "in events.")},
    {.name = "certificate_login",
     CONF_ROW(TEXTS, struct settings_listen, certificate_login,
              .doc = "Pairs, NAME LOGIN or sha256:HEX LOGIN: a client whose certificate is that "
                     "may log in as LOGIN by AUTH EXTERNAL, without a password. NAME is the "
                     "certificate's first DNS name, else its common name, and an authority of "
                     "client_ca must have signed it; HEX is the SHA-256 of the certificate "
                     "itself, as events show it. The login must exist (`gapura user`, or a `user` "
                     "block); with `passwords = dovecot` nobody can be asked and it counts as it "
                     "stands here. Needs client_ca, and kind submission or submissions.")},
    {.name = "max_sessions",
     CONF_ROW(U64, struct settings_listen, max_sessions, .def = "20000", .min = 1, .max = 1000000,
              .doc = "Sessions at once on this listener; more get 421 4.3.2.")},
    {.name = "banner",
     CONF_ROW(TEXT, struct settings_listen, banner,
              .doc = "Text behind the host name in the greeting.")},
};
static void
listen_check_place(const struct conf_section *s, const struct settings_listen *l,
                   struct conf_errors *errs)
{
    bool local = l->kind == LISTEN_LOCAL;

    if (local && (l->address.n || l->proxy.n || l->certificate.n))
        conf_fail_row(errs, s, "kind",
                      "listen %.*s is of kind local: it has a socket, and no address, proxy or "
                      "certificate",
                      STR_ARG(s->label));
    if (local && !l->socket.n)
        conf_fail_row(errs, s, "socket",
                      "listen %.*s is of kind local and has no socket: add `socket = "
                      "/run/gapura/submit`",
                      STR_ARG(s->label));
    if (!local && l->socket.n)
        conf_fail_row(errs, s, "socket",
                      "listen %.*s has a socket, but is not of kind local: add `kind = local`",
                      STR_ARG(s->label));
    if (l->socket.n >= LISTEN_SOCKET_MAX || str_chr(l->socket, ';') >= 0 ||
        str_chr(l->socket, '|') >= 0)
        conf_fail_row(
            errs, s, "socket",
            "listen %.*s: a socket's path has at most %u bytes, and none of them is ; or |",
            STR_ARG(s->label), LISTEN_SOCKET_MAX - 1);
}
static void
listen_check(const struct conf_section *s, struct conf_errors *errs)
{
    const struct settings_listen *l = s->data;
    bool tls = l->implicit_tls || l->require_tls || l->kind == LISTEN_SUBMISSIONS;

    listen_check_place(s, l, errs);
    if (tls && !l->certificate.n)
        conf_fail_row(errs, s, "certificate",
                      "listen %.*s needs TLS but names no certificate: give certificate = "
                      "CERTFILE KEYFILE",
                      STR_ARG(s->label));
    if (l->certificate_login.n &&
        (!l->client_ca.n || (l->kind != LISTEN_SUBMISSION && l->kind != LISTEN_SUBMISSIONS)))
        conf_fail_row(errs, s, "certificate_login",
                      "listen %.*s has certificate_login, which works where people log in (kind = "
                      "submission) and clients are asked for certificates (client_ca = FILE)",
                      STR_ARG(s->label));
    for (size_t i = 0; i < l->certificate_login.n; i++) {
        struct str login = ((const struct str *)l->certificate_login.items)[i];

        if (!str_word(&login).n || !str_trim(login).n)
            conf_fail_row(
                errs, s, "certificate_login",
                "certificate_login \"%.*s\" is not a pair: write NAME LOGIN or sha256:HEX "
                "LOGIN",
                STR_ARG(((const struct str *)l->certificate_login.items)[i]));
    }
    for (size_t i = 0; i < l->certificate.n; i++) {
        struct str rest = ((const struct str *)l->certificate.items)[i];
        struct str cert = str_word(&rest), key = str_word(&rest);

        if (!cert.n || !key.n || str_trim(rest).n)
            conf_fail_row(errs, s, "certificate",
                          "certificate \"%.*s\" is not a pair of files: write CERTFILE KEYFILE, "
                          "separated by a space",
                          STR_ARG(((const struct str *)l->certificate.items)[i]));
    }
}
const struct conf_block gate_listen_block = {
    .name = "listen",
    .labelled = true,
    .size = sizeof(struct settings_listen),
    .rows = listen_rows,
    .nrows = ARRAY_LEN(listen_rows),
    .doc = "A listener: where sessions come in.",
    .check = listen_check,
};

static const char *const bare_words[] = {"normalise", "refuse", NULL};
static const char *const dsn_words[] = {"submission", "everybody", NULL};
static const char *const vrfy_words[] = {"vague", "off", "trusted", NULL};
static const struct conf_row smtp_rows[] = {
    {.name = "max_size",
     CONF_ROW(SIZE, struct settings_smtp, max_size, .def = "50 MB", .min = 65536,
              .max = UINT64_C(4) << 30, .doc = "Bytes of one message; told to clients as SIZE.")},
    {.name = "max_rcpts",
     CONF_ROW(U64, struct settings_smtp, max_rcpts, .def = "1000", .min = 100, .max = 100000,
              .doc = "Recipients of one message, after which clients get 452 4.5.3 and send the "
                     "rest in another one (RFC 5321 wants at least 100). So many that could not "
                     "be taken for now, without a message, end the session (421).")},
    {.name = "max_local_part",
     CONF_ROW(U64, struct settings_smtp, max_local_part, .def = "254", .min = 64, .max = 254,
              .doc =
                  "Bytes of what stands before the @ of an address. RFC 5321 asks for 64; mailing "
                  "services and their reply addresses write more.")},
    {.name = "max_messages",
     CONF_ROW(U64, struct settings_smtp, max_messages, .def = "0", .max = 10000000,
              .doc = "Messages of one session; 0 sets no limit.")},
    {.name = "max_line",
     CONF_ROW(U64, struct settings_smtp, max_line, .def = "2048", .min = 512, .max = 65536,
              .doc = "Bytes of a command line.")},
    {.name = "max_commands",
     CONF_ROW(U64, struct settings_smtp, max_commands, .def = "100", .min = 10, .max = 1000000,
              .doc = "Commands without a message (NOOP, RSET, AUTH ...) before 421.")},
    {.name = "max_errors",
     CONF_ROW(U64, struct settings_smtp, max_errors, .def = "20", .min = 1, .max = 100000,
              .doc = "Refused commands of one session before 421.")},
    {.name = "max_received",
     CONF_ROW(U64, struct settings_smtp, max_received, .def = "50", .min = 10, .max = 1000,
              .doc = "Received fields of a message; more is a mail loop (554 5.4.6).")},
    {.name = "max_header",
     CONF_ROW(SIZE, struct settings_smtp, max_header, .def = "256 KB", .min = 16384,
              .max = 256u << 10,
              .doc = "Bytes of a message's header block; a message without a blank line is "
                     "all header, and above it gets 552.")},
    {.name = "timeout_command",
     CONF_ROW(DURATION, struct settings_smtp, timeout_command, .def = "5m", .min = SECOND / 100,
              .doc = "Wait for the next command.")},
    {.name = "timeout_data",
     CONF_ROW(DURATION, struct settings_smtp, timeout_data, .def = "2m", .min = SECOND / 100,
              .doc = "Wait for the first byte of a message after 354.")},
    {.name = "timeout_block",
     CONF_ROW(DURATION, struct settings_smtp, timeout_block, .def = "3m", .min = SECOND / 100,
              .doc = "Wait for the next bytes of a message.")},
    {.name = "timeout_session",
     CONF_ROW(DURATION, struct settings_smtp, timeout_session, .def = "6h", .min = SECOND,
              .doc = "Life of a session; it is closed between two messages.")},
    {.name = "min_rate",
     CONF_ROW(SIZE, struct settings_smtp, min_rate, .def = "100",
              .doc = "Bytes a second that a client must send while in a message, taken over 30 "
                     "seconds; 0 is off.")},
    {.name = "max_sessions",
     CONF_ROW(U64, struct settings_smtp, max_sessions, .def = "20000", .min = 1, .max = 1000000,
              .doc = "Sessions at once; more get 421 4.3.2.")},
    {.name = "max_pipelined",
     CONF_ROW(SIZE, struct settings_smtp, max_pipelined, .def = "32 KB", .min = 4096,
              .max = 1u << 20,
              .doc = "Bytes read ahead from a client that did not wait for its replies; the rest "
                     "stays in the kernel until they are given.")},
    {.name = "max_unread_replies",
     CONF_ROW(SIZE, struct settings_smtp, max_unread_replies, .def = "16 KB", .min = 4096,
              .max = 1u << 20,
              .doc = "Bytes of replies that a client leaves unread, above which no more of its "
                     "commands are read.")},
    {.name = "sessions_per_address",
     CONF_ROW(U64, struct settings_smtp, sessions_per_address, .def = "100", .max = 1000000,
              .doc = "Sessions at once from one address; 0 sets no limit. Trusted networks are "
                     "exempt.")},
    {.name = "sessions_per_network",
     CONF_ROW(U64, struct settings_smtp, sessions_per_network, .def = "500", .max = 1000000,
              .doc = "Sessions at once from one network (IPv4 /24, IPv6 /64).")},
    {.name = "sessions_per_wide_network",
     CONF_ROW(U64, struct settings_smtp, sessions_per_wide_network, .def = "2000", .max = 1000000,
              .doc = "Sessions at once from one wide network (IPv4 /16, IPv6 /48), so that nobody "
                     "who rents one takes all of max_sessions. 0 sets no limit.")},
    {.name = "connections_per_network",
     CONF_ROW(RATE, struct settings_smtp, connections_per_network, .def = "none",
              .doc = "New connections from one network.")},
    {.name = "sessions_per_uid",
     CONF_ROW(U64, struct settings_smtp, sessions_per_uid, .def = "50",
              .doc = "Sessions at once of one user of this machine, by a listener of kind local; 0 "
                     "is no limit. Above it `sendmail` ends with the status to try again.")},
    {.name = "connections_per_uid",
     CONF_ROW(RATE, struct settings_smtp, connections_per_uid, .def = "none",
              .doc = "New connections of one user of this machine.")},
    {.name = "auth_failures_address",
     CONF_ROW(RATE, struct settings_smtp, auth_failures_address, .def = "10/10m",
              .doc = "Failed logins from one address, also those whose client left before the "
                     "answer; then logins from it get 454 until it is below again.")},
    {.name = "auth_failures_network",
     CONF_ROW(RATE, struct settings_smtp, auth_failures_network, .def = "50/10m",
              .doc = "Failed logins from one network.")},
    {.name = "auth_failures_wide_network",
     CONF_ROW(RATE, struct settings_smtp, auth_failures_wide_network, .def = "200/10m",
              .doc = "Failed logins from one wide network (/16, IPv6 /48): who has many networks "
                     "to guess from seldom has more than one of these.")},
    {.name = "auth_failures_user",
     CONF_ROW(RATE, struct settings_smtp, auth_failures_user, .def = "20/10m",
              .doc =
                  "Failed logins to one account, from anywhere but trusted networks; then it gets "
                  "454. A network (IPv4 /24, IPv6 /64) from which it has logged in since the "
                  "start has a count of its own: strangers' guesses do not keep the owner "
                  "out.")},
    {.name = "auth_failure_delay",
     CONF_ROW(DURATION, struct settings_smtp, auth_failure_delay, .def = "1s", .max = 30 * SECOND,
              .doc = "A failed login is answered this long after it began, whatever the reason: "
                     "the time tells nothing.")},
    {.name = "unknown_rcpts_network",
     CONF_ROW(RATE, struct settings_smtp, unknown_rcpts_network, .def = "200/10m",
              .doc =
                  "Unknown recipients that one network (IPv4 /24, IPv6 /48) may ask for; above it "
                  "every recipient "
                  "gets 450, so that addresses cannot be harvested.")},
    {.name = "empty_mails_network",
     CONF_ROW(RATE, struct settings_smtp, empty_mails_network, .def = "3000/10m",
              .doc = "Transactions without a message (MAIL, then RSET, QUIT or nothing but refused "
                     "recipients) that one network (IPv4 /24, IPv6 /48) may begin; above it MAIL "
                     "gets 451. Each of them "
                     "costs look-ups. Trusted networks and logins are exempt; in one session, "
                     "max_commands is the limit.")},
    {.name = "lookups_per_session",
     CONF_ROW(U64, struct settings_smtp, lookups_per_session, .def = "100", .max = 1000000,
              .doc =
                  "DNS questions that one stranger's session may have open. They count until the "
                  "resolver is done with them, also when the client has gone on: who names "
                  "domains whose servers keep silent gets 451 until they are. 0 sets no limit.")},
    {.name = "lookups_per_network",
     CONF_ROW(U64, struct settings_smtp, lookups_per_network, .def = "1000", .max = 1000000,
              .doc =
                  "The same of one network (IPv4 /24, IPv6 /48). Below it, and with 0, a network "
                  "still gets no more than an eighth of the places that are free, so that one "
                  "asker never takes what others need.")},
    {.name = "bare",
     CONF_ROW(WORD, struct settings_smtp, bare, .def = "normalise", .words = bare_words,
              .doc = "A bare CR or LF in a message: made CRLF, or the message refused. It never "
                     "ends a message and is never passed on.")},
    {.name = "vrfy",
     CONF_ROW(WORD, struct settings_smtp, vrfy, .def = "vague", .words = vrfy_words,
              .doc = "VRFY: 252 to all (vague), 502 to all (off), or the truth to trusted "
                     "networks and 252 to others (trusted).")},
    {.name = "future_release",
     CONF_ROW(DURATION, struct settings_smtp, future_release, .def = "7d", .max = 8760 * HOUR,
              .doc = "How long those who submit may have a message held before it is sent (RFC "
                     "4865: HOLDFOR, HOLDUNTIL). It waits in the queue, and has five days from "
                     "its release to be delivered. 0 does not offer it.")},
    {.name = "binarymime",
     CONF_ROW(BOOL, struct settings_smtp, binarymime, .def = "yes",
              .doc = "Offers BINARYMIME (RFC 3030) to those who submit. Such a message goes on "
                     "only to hosts that offer it too and is never converted: its sender gets a "
                     "report of 5.6.1 from all others, and a recipient whose inside server is "
                     "known not to take it is refused.")},
    {.name = "deliver_by",
     CONF_ROW(DURATION, struct settings_smtp, deliver_by, .def = "1m", .max = 720 * HOUR,
              .doc = "DELIVERBY (RFC 2852): those who submit may say by when a message must be "
                     "delivered, and whether it is returned then or its sender told. This is the "
                     "least time that is taken for mail to be returned. 0 does not offer it.")},
    {.name = "priority",
     CONF_ROW(NAME, struct settings_smtp, priority, .def = "MIXER",
              .doc = "MT-PRIORITY (RFC 6710): those who submit may give a message a priority of "
                     "-9 to 9: below 0 it goes behind other mail of its destination, above 0 "
                     "before it, and it is passed on. The name of the policy that is told "
                     "(MIXER, STANAG4406, NSEP, or your own), plain: told without one, off: not "
                     "offered.")},
    {.name = "dsn",
     CONF_ROW(WORD, struct settings_smtp, dsn, .def = "submission", .words = dsn_words,
              .doc = "Who is offered DSN (RFC 3461: NOTIFY, RET, ENVID, ORCPT). submission: "
                     "logins and trusted networks. everybody: strangers too; what they ask is "
                     "passed on to servers that offer DSN. A report of ours goes only to a sender "
                     "that proved who it is, whatever was asked.")},
    {.name = "lookup_client",
     CONF_ROW(BOOL, struct settings_smtp, lookup_client, .def = "yes",
              .doc = "Asks for the client's name and whether the name leads back to it.")},
    {.name = "lookup_timeout",
     CONF_ROW(DURATION, struct settings_smtp, lookup_timeout, .def = "5s", .min = SECOND / 100,
              .max = 60 * SECOND, .doc = "How long one stage of checks may wait for answers.")},
    {.name = "callout_positive",
     CONF_ROW(DURATION, struct settings_smtp, callout_positive, .def = "24h",
              .doc = "How long a recipient that the inside server took is known as good.")},
    {.name = "callout_negative",
     CONF_ROW(DURATION, struct settings_smtp, callout_negative, .def = "2h", .max = 720 * HOUR,
              .doc = "How long a recipient that the inside server refused is known as bad.")},
    {.name = "lookup_cache",
     CONF_ROW(U64, struct settings_smtp, lookup_cache, .def = "100000", .min = 16, .max = 10000000,
              .doc = "Recipients remembered from callouts and directories; the least recently "
                     "used goes first.")},
    {.name = "max_memory",
     CONF_ROW(SIZE, struct settings_smtp, max_memory, .def = "256 MB", .min = 16u << 20,
              .doc = "Memory of messages on their way into the log. From half of it on bodies go "
                     "to disk in "
                     "small pieces, headers over 32 KB get 452, and so do further recipients of a "
                     "message with many; near it new messages get 421 4.3.2.")},
    {.name = "max_waiting",
     CONF_ROW(U64, struct settings_smtp, max_waiting, .def = "5000000",
              .doc = "Recipients waiting for delivery above which strangers get 452; bulk "
                     "submission stops at 80 % of it, people's own mail at 120 %. 0 is no limit.")},
    {.name = "unsynced_slow",
     CONF_ROW(DURATION, struct settings_smtp, unsynced_slow, .def = "1s",
              .doc = "When the disk needs so long for one sync, MAIL is answered more slowly.")},
    {.name = "unsynced_stop",
     CONF_ROW(DURATION, struct settings_smtp, unsynced_stop, .def = "30s",
              .doc = "When the disk needs so long, MAIL gets 452.")},
    {.name = "shutdown_grace",
     CONF_ROW(DURATION, struct settings_smtp, shutdown_grace, .def = "30s",
              .max = UINT64_C(50000000000),
              .doc = "How long sessions may finish their message when the program ends. Whatever "
                     "has not ended after a minute is killed.")},
};
const struct conf_block gate_smtp_block = {
    .name = "smtp",
    .size = sizeof(struct settings_smtp),
    .rows = smtp_rows,
    .nrows = ARRAY_LEN(smtp_rows),
    .doc = "Limits of incoming sessions.",
};

static const struct conf_row srs_rows[] = {
    {.name = "domain",
     CONF_ROW(DOMAIN, struct settings_srs, domain,
              .doc = "Domain of rewritten envelope senders; its MX must lead here. Without it "
                     "aliases to other people's domains are not served.")},
    {.name = "secret",
     CONF_ROW(PATH, struct settings_srs, secret,
              .doc = "File with at least 16 bytes that sign rewritten senders. All gates of one "
                     "domain share it.")},
    {.name = "days",
     CONF_ROW(U64, struct settings_srs, days, .def = "21", .min = 1, .max = 365,
              .doc = "How long a bounce to a rewritten sender finds its way back.")},
};
static void
srs_check(const struct conf_section *s, struct conf_errors *errs)
{
    const struct settings_srs *srs = s->data;

    if (srs->domain.n && !srs->secret.n)
        conf_fail_row(errs, s, "secret",
                      "srs has a domain but no secret: name a file with at least 16 random bytes");
}
const struct conf_block gate_srs_block = {
    .name = "srs",
    .size = sizeof(struct settings_srs),
    .rows = srs_rows,
    .nrows = ARRAY_LEN(srs_rows),
    .doc = "Forwarding: the Sender Rewriting Scheme for aliases that lead to other people's "
           "domains.",
    .check = srs_check,
};

static const char *const check_words[] = {"off", "observe", "on", NULL};
static const struct conf_row check_rows[] = {
    {.name = "mode",
     CONF_ROW(WORD, struct settings_check, mode, .def = "on", .words = check_words,
              .doc = "off: not run. observe: run and recorded with what it would have done. on: "
                     "acts.")},
};
const struct conf_block gate_check_block = {
    .name = "check",
    .labelled = true,
    .size = sizeof(struct settings_check),
    .rows = check_rows,
    .nrows = ARRAY_LEN(check_rows),
    .doc = "A check by its name (docs/checks/ has a page for each): what it may do. "
           "A check without this block does what its page says.",
};
