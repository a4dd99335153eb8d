/*
 * courier/settings.c - rows of delivery's settings: sources, pools, routes, retry, pace.
 *
 * Read by the parser, by `gapura check` and by the generator of the manual. Checks here what rows
 * alone cannot; looks no name up.
 */
#include "courier/settings.h"

#include "core/err.h"
#include "store/settings.h"

static const struct conf_row source_rows[] = {
    {.name = "address",
     CONF_ROW(ADDR, struct settings_source, address, .def = "::",
              .doc = "Local address that connections leave from. `::` lets the kernel choose.")},
    {.name = "ehlo",
     CONF_ROW(DOMAIN, struct settings_source, ehlo,
              .doc = "Name said in EHLO; it should resolve to the address, and back. Empty: "
                     "`hostname`.")},
    {.name = "exclusive",
     CONF_ROW(NAME, struct settings_source, exclusive,
              .doc = "Tenant that this source belongs to: it never carries anybody else's mail, "
                     "nor the system's own reports.")},
    {.name = "max_sessions",
     CONF_ROW(U64, struct settings_source, max_sessions, .def = "1000", .min = 1, .max = 100000,
              .doc = "Connections open at the same time from this source, to all sites.")},
};
const struct conf_block courier_source_block = {
    .name = "source",
    .labelled = true,
    .size = sizeof(struct settings_source),
    .rows = source_rows,
    .nrows = ARRAY_LEN(source_rows),
    .doc = "A place that mail leaves from: a local address and the name it gives. Without any "
           "source block there is one, `default`, with the kernel's choice of address.",
};

static void
check_pool(const struct conf_section *s, struct conf_errors *errs)
{
    const struct settings_pool *p = s->data;
    const struct str *items = p->sources.items;

    for (size_t i = 0; i < p->sources.n; i++) {
        struct str rest, name = str_cut(items[i], '*', &rest);
        uint64_t weight = 1;
        if (name.n == 0 ||
            (rest.n > 0 && (str_u64(rest, &weight) < 0 || weight == 0 || weight > 1000)))
            conf_fail_row(
                errs, s, "sources",
                "block `pool %.*s`: `%.*s` is not a source; write NAME or NAME*WEIGHT with "
                "a weight of 1 to 1000",
                STR_ARG(s->label), STR_ARG(items[i]));
    }
}

static const struct conf_row pool_rows[] = {
    {.name = "sources",
     CONF_ROW(TEXTS, struct settings_pool, sources, .flags = CONF_REQUIRED,
              .doc = "Sources by name, with a weight if wanted: `a*3, b` gives a three of four "
                     "connections.")},
};
const struct conf_block courier_pool_block = {
    .name = "pool",
    .labelled = true,
    .size = sizeof(struct settings_pool),
    .rows = pool_rows,
    .nrows = ARRAY_LEN(pool_rows),
    .doc = "Sources that share the mail of the tenants or routes that name this pool. The pool "
           "`default` serves whoever names none; unless it is written it holds every source that "
           "is not exclusive.",
    .check = check_pool,
};

bool
settings_route_is_here(const struct settings_route *r)
{
    const struct str *via = r->via.items;
    struct inside_host h;
    struct addr a;

    for (size_t i = 0; i < r->via.n; i++) {
        if (inside_parse(via[i], &h) < 0)
            return false;
        if (h.kind == INSIDE_LMTP_UNIX || h.kind == INSIDE_MAILDIR)
            continue;
        if (addr_parse(h.host, &a) < 0 || !addr_is_loopback(&a))
            return false;
    }
    return true;
}

static void
check_route(const struct conf_section *s, struct conf_errors *errs)
{
    const struct settings_route *r = s->data;
    const struct str *via = r->via.items;

    for (size_t i = 0; i < r->via.n; i++) {
        struct inside_host h;
        bool word = str_eq(via[i], STR("mx")) || str_eq(via[i], STR("hold")) ||
                    str_eq(via[i], STR("discard"));
        if (word && r->via.n > 1)
            conf_fail_row(errs, s, "via",
                          "block `route %.*s`: `%.*s` stands alone; other hosts cannot be named "
                          "beside it",
                          STR_ARG(s->label), STR_ARG(via[i]));
        else if (!word && inside_parse(via[i], &h) < 0)
            conf_fail_row(errs, s, "via",
                          "block `route %.*s`: `%.*s` is not a host; write smtp://HOST:PORT, "
                          "lmtp://HOST:PORT, lmtp:PATH, maildir:PATH, mx, hold or discard",
                          STR_ARG(s->label), STR_ARG(via[i]));
    }
    if (r->user.n && !r->password_file.n)
        conf_fail_row(errs, s, "password_file",
                      "block `route %.*s`: `user` needs `password_file` beside it",
                      STR_ARG(s->label));
    if (r->user.n && r->tls == ROUTE_TLS_NEVER && !r->tls_wrapped && !settings_route_is_here(r))
        conf_fail_row(errs, s, "tls",
                      "block `route %.*s`: without TLS there is no login, so that all its mail "
                      "would wait; write `tls = verify`",
                      STR_ARG(s->label));
}

static const char *const tls_words[] = {"may", "never", "require", "verify", NULL};
static const struct conf_row route_rows[] = {
    {.name = "domains",
     CONF_ROW(TEXTS, struct settings_route, domains,
              .doc = "Recipient domains of this route: example.org, .example.org (everything "
                     "below it) or * (all the rest). An exact name wins over a suffix, a longer "
                     "suffix over a shorter one.")},
    {.name = "via",
     CONF_ROW(TEXTS, struct settings_route, via, .flags = CONF_REQUIRED,
              .doc = "Next hosts in order of preference: smtp://host:25, lmtp://host:24, "
                     "lmtp:PATH, maildir:PATH; or one of mx (by DNS), hold (keep until "
                     "released), discard (settle without sending; for tests).")},
    {.name = "tls",
     CONF_ROW(WORD, struct settings_route, tls, .def = "may", .words = tls_words,
              .doc = "may: encrypt if offered and go on without after a failed handshake; never; "
                     "require: no mail without encryption; verify: the certificate must also be "
                     "right for the host's name.")},
    {.name = "tls_wrapped",
     CONF_ROW(BOOL, struct settings_route, tls_wrapped, .def = "no",
              .doc = "TLS from the first byte (port 465) instead of STARTTLS.")},
    {.name = "user",
     CONF_ROW(TEXT, struct settings_route, user,
              .doc = "Login at the next host, for smart hosts.")},
    {.name = "password_file",
     CONF_ROW(PATH, struct settings_route, password_file,
              .doc = "File whose first line is the password of `user`.")},
    {.name = "auth_unverified",
     CONF_ROW(BOOL, struct settings_route, auth_unverified, .def = "no",
              .doc = "Log in by PLAIN or LOGIN, which show the password to the server, even if its "
                     "certificate was not verified: whoever can take its place on the network "
                     "learns the password. Without it these two need `tls = verify` (or a host on "
                     "this machine). SCRAM-SHA-256 is used over any TLS: it never shows the "
                     "password and the server must prove that it knows it, though a false one can "
                     "take away what it needs to try passwords at leisure, so that a weak one is "
                     "found. Without TLS nobody logs in.")},
    {.name = "pool",
     CONF_ROW(NAME, struct settings_route, pool,
              .doc = "Pool of sources for this route instead of the tenant's. Exclusive sources "
                     "in it still carry their own tenant's mail alone.")},
    {.name = "max_sessions",
     CONF_ROW(U64, struct settings_route, max_sessions, .def = "0", .max = 10000,
              .doc = "Connections at a time; 0: delivery.max_sessions_per_site.")},
    {.name = "messages_per_session",
     CONF_ROW(U64, struct settings_route, messages_per_session, .def = "0", .max = 1000000000,
              .doc = "Messages on one connection; 0: delivery.messages_per_session.")},
    {.name = "rate",
     CONF_ROW(RATE, struct settings_route, rate, .def = "none",
              .doc = "Messages over time, for example 100/min.")},
    {.name = "expire",
     CONF_ROW(DURATION, struct settings_route, expire, .def = "0",
              .doc = "How long mail on this route is tried; 0: by its class.")},
    {.name = "allow_private",
     CONF_ROW(BOOL, struct settings_route, allow_private, .def = "no",
              .doc = "Hosts found by MX may have private or loopback addresses. Hosts named in "
                     "`via` always may.")},
};
const struct conf_block courier_route_block = {
    .name = "route",
    .labelled = true,
    .size = sizeof(struct settings_route),
    .rows = route_rows,
    .nrows = ARRAY_LEN(route_rows),
    .doc = "Where the mail of some domains goes, when it is not the host that DNS names.",
    .check = check_route,
};

static void
check_delivery(const struct conf_section *s, struct conf_errors *errs)
{
    const struct settings_delivery *d = s->data;
    const uint64_t *gaps = d->retry.items;

    if (d->retry.n == 0)
        conf_fail_row(errs, s, "retry",
                      "block `delivery`: `retry` needs at least one gap, for example 5m, 15m, 30m");
    for (size_t i = 0; i < d->retry.n; i++) {
        if (gaps[i] == 0)
            conf_fail_row(errs, s, "retry", "block `delivery`: a gap of `retry` is zero");
    }
}

static const char *const ipv6_words[] = {"never", "reverse", "always", NULL};
static const struct conf_row delivery_rows[] = {
    {.name = "hold",
     CONF_ROW(BOOL, struct settings_delivery, hold, .def = "no",
              .doc = "Nothing is delivered; all mail waits. For maintenance.")},
    {.name = "max_sessions",
     CONF_ROW(U64, struct settings_delivery, max_sessions, .def = "1000", .min = 1, .max = 100000,
              .doc = "Connections open at the same time, in all.")},
    {.name = "max_sessions_per_site",
     CONF_ROW(U64, struct settings_delivery, max_sessions_per_site, .def = "20", .min = 1,
              .max = 10000, .doc = "Connections to one site: all domains with the same MX hosts.")},
    {.name = "messages_per_session",
     CONF_ROW(U64, struct settings_delivery, messages_per_session, .def = "100", .min = 1,
              .max = 1000000000,
              .doc = "Messages sent over one connection. Unless this is set, connections to "
                     "hosts that a route or a served domain names last as long as there is mail.")},
    {.name = "rcpts_per_message",
     CONF_ROW(U64, struct settings_delivery, rcpts_per_message, .def = "100", .min = 1,
              .max = 10000,
              .doc = "Recipients of one message sent together (RFC 5321 4.5.3.1.8).")},
    {.name = "rate_per_site",
     CONF_ROW(RATE, struct settings_delivery, rate_per_site, .def = "none",
              .doc = "Messages over time to one site, for example 100/s.")},
    {.name = "idle_session",
     CONF_ROW(DURATION, struct settings_delivery, idle_session, .def = "10s",
              .doc = "How long an idle connection is kept for the next message.")},
    {.name = "connect_timeout",
     CONF_ROW(DURATION, struct settings_delivery, connect_timeout, .def = "30s", .min = 1000000,
              .doc = "Wait for a TCP connection to one address.")},
    {.name = "retry",
     CONF_ROW(DURATIONS, struct settings_delivery, retry, .def = "3m, 6m, 12m, 25m, 50m",
              .doc = "Gaps between the first attempts. After the last one each gap is double the "
                     "one before, up to `retry_max`.")},
    {.name = "retry_max",
     CONF_ROW(DURATION, struct settings_delivery, retry_max, .def = "4h", .min = 1000000,
              .doc = "Longest gap between attempts.")},
    {.name = "jitter_percent",
     CONF_ROW(U64, struct settings_delivery, jitter_percent, .def = "10", .max = 90,
              .doc = "Gaps vary by so much up and down, so that retries do not come in waves.")},
    {.name = "expire",
     CONF_ROW(DURATION, struct settings_delivery, expire, .def = "5d", .min = 1000000,
              .doc = "How long delivery is tried before the sender is told that it failed.")},
    {.name = "expire_bulk",
     CONF_ROW(DURATION, struct settings_delivery, expire_bulk, .def = "1d", .min = 1000000,
              .doc = "The same for mail of the bulk class.")},
    {.name = "expire_dsn",
     CONF_ROW(DURATION, struct settings_delivery, expire_dsn, .def = "2d", .min = 1000000,
              .doc = "The same for reports to senders and other mail with the null sender.")},
    {.name = "expire_nodomain",
     CONF_ROW(DURATION, struct settings_delivery, expire_nodomain, .def = "1d",
              .doc = "The same for domains whose DNS has given no usable answer since the mail "
                     "came in: servers that fail or do not answer, answers that are not true. An "
                     "hour is too short, since a resolver or a line of one's own that is down "
                     "looks the same, and all that came in meanwhile would be returned. What DNS "
                     "says for sure fails at once: no such domain, neither MX nor address, no "
                     "mail wanted.")},
    {.name = "warn_after",
     CONF_ROW(DURATION, struct settings_delivery, warn_after, .def = "4h",
              .doc = "When the sender is told that delivery is delayed (submitted mail only); 0: "
                     "never.")},
    {.name = "ipv6",
     CONF_ROW(WORD, struct settings_delivery, ipv6, .def = "reverse", .words = ipv6_words,
              .doc = "Deliver over IPv6: never, only from a source address whose reverse DNS is "
                     "right (large receivers refuse others), or always.")},
    {.name = "dsn_max_original",
     CONF_ROW(SIZE, struct settings_delivery, dsn_max_original, .def = "64 KB", .max = 1048576,
              .doc = "A report holds the whole original up to this size, else its headers only.")},
    {.name = "tls_ca",
     CONF_ROW(PATH, struct settings_delivery, tls_ca,
              .doc = "Trusted roots (PEM) for `tls = verify`. Empty: the system's.")},
    {.name = "replies",
     CONF_ROW(PATH, struct settings_delivery, replies,
              .doc = "Patterns of replies: what next hops say and what it means (form: "
                     "docs/formats/replies.md; `gapura replies list` shows those in use). A file "
                     "that begins with the line `default` adds to those that are compiled in. "
                     "Empty: those alone.")},
    {.name = "unknown_replies",
     CONF_ROW(U64, struct settings_delivery, unknown_replies, .def = "500", .max = 10000,
              .doc =
                  "Replies that no pattern knows are counted by shape (`gapura replies unknown`), "
                  "so many shapes at most: when it is full, the rarest gives way. 0: not "
                  "counted. Another number begins anew, as a restart does.")},
    {.name = "smtp_pipelining",
     CONF_ROW(BOOL, struct settings_delivery, smtp_pipelining, .def = "yes",
              .doc = "Send command groups at once where the server offers PIPELINING.")},
    {.name = "smtp_chunking",
     CONF_ROW(BOOL, struct settings_delivery, smtp_chunking, .def = "yes",
              .doc = "Send bodies by BDAT where the server offers CHUNKING.")},
    {.name = "mx_port",
     CONF_ROW(U64, struct settings_delivery, mx_port, .def = "25", .min = 1, .max = 65535,
              .doc =
                  "Port of hosts that DNS names. Another one than 25 is for a lab. It counts for "
                  "hosts that are found from then on.")},
    {.name = "only_to",
     CONF_ROW(PREFIXES, struct settings_delivery, only_to,
              .doc =
                  "If networks stand here, no connection is made to any other address, whatever "
                  "DNS, routes or served domains say; such mail waits and says so. For a lab, or "
                  "where all mail must leave by one neighbour.")},
};
const struct conf_block courier_delivery_block = {
    .name = "delivery",
    .size = sizeof(struct settings_delivery),
    .rows = delivery_rows,
    .nrows = ARRAY_LEN(delivery_rows),
    .doc = "Delivery of mail: connections, pace, retries, reports.",
    .check = check_delivery,
};
