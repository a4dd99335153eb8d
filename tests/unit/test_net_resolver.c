/* The resolver's side with a real name server behind it (NSD), DNSSEC included. */
#include "net_zone.h"

#include "net/dns.h"
#include "tap.h"

static const char zone_example[] = "$ORIGIN example.test.\n"
                                   "$TTL 300\n"
                                   "@ IN SOA ns hostmaster 1 3600 600 86400 77\n"
                                   "@ IN NS ns\n"
                                   "ns IN A 127.0.0.1\n"
                                   "@ IN MX 20 Backup.Example.TEST.\n"
                                   "@ IN MX 10 mx\n"
                                   "@ 60 IN TXT \"v=spf1 \" \"include:a.test \" \"-all\"\n"
                                   "@ 60 IN TXT \"other\"\n"
                                   "mx IN A 192.0.2.1\n"
                                   "mx IN A 192.0.2.2\n"
                                   "mx IN AAAA 2001:db8::1\n"
                                   "one IN CNAME two\n"
                                   "two IN CNAME mx\n"
                                   "broken IN CNAME nowhere\n"
                                   "ring IN CNAME ring2\n"
                                   "ring2 IN CNAME ring\n"
                                   "null IN MX 0 .\n"
                                   "_25._tcp.mx IN TLSA 3 1 1 ( 00112233445566778899aabbccddeeff"
                                   " 00112233445566778899aabbccddeeff )\n"
                                   "odd IN MX 5 a\\.b.example.test.\n"
                                   "odd IN MX 6 mx\n";
static const char zone_reverse[] = "$ORIGIN 2.0.192.in-addr.arpa.\n"
                                   "$TTL 300\n"
                                   "@ IN SOA ns.example.test. h.example.test. 1 3600 600 86400 60\n"
                                   "@ IN NS ns.example.test.\n"
                                   "1 IN PTR MX.example.test.\n";
static const char zone_loop[] = "$ORIGIN 127.in-addr.arpa.\n"
                                "$TTL 300\n"
                                "@ IN SOA ns.example.test. h.example.test. 1 3600 600 86400 60\n"
                                "@ IN NS ns.example.test.\n"
                                "9.0.0 IN PTR lab.example.test.\n";

struct rig {
    struct loop *loop;
    struct dns_server *server;
    struct dns_client *client;
    struct chan *client_side, *server_side;
};

static void
to_server(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    struct rig *r = ctx;

    (void)fd;
    if (!dns_server_message(r->server, r->server_side, type, id, body))
        chan_refuse(r->server_side);
}

static void
to_client(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    struct rig *r = ctx;

    (void)fd;
    if (!dns_client_message(r->client, type, id, body))
        chan_refuse(r->client_side);
}

static const struct chan_ops server_ops = {.message = to_server};
static const struct chan_ops client_ops = {.message = to_client};

static bool
rig_up(struct rig *r, const struct dns_server_conf *conf)
{
    struct why why = {0};
    int fds[2];

    r->loop = loop_create();
    if (dns_server_create(&r->server, r->loop, conf, &why) < 0) {
        printf("# %s\n", why.text);
        return false;
    }
    chan_pair(fds);
    r->server_side = chan_create(r->loop, fds[0], &server_ops, r);
    r->client_side = chan_create(r->loop, fds[1], &client_ops, r);
    r->client = dns_client_create(r->loop, r->client_side, 1000);
    return true;
}

static void
rig_down(struct rig *r)
{
    dns_client_free(r->client);
    chan_free(r->client_side);
    dns_server_forget(r->server, r->server_side);
    chan_free(r->server_side);
    dns_server_free(r->server);
    loop_free(r->loop);
}

static bool answered;

static void
on_answer(void *ctx, const struct dns_answer *a)
{
    (void)ctx;
    (void)a;
    answered = true;
}

static void
nothing(void *ctx)
{
    (void)ctx;
}

/* Asks and waits; the answer is the client's. */
static const struct dns_answer *
ask(struct rig *r, const char *name, enum dns_type type)
{
    static const struct dns_answer none = {.status = DNS_TEMPORARY, .ttl = 999999};
    uint64_t until = clock_mono() + 15 * NS_PER_S;
    const struct dns_answer *a;
    struct loop_timer tick;
    struct dns_ask q;

    answered = false;
    loop_timer_init(&tick, r->loop, nothing, NULL);
    if (dns_client_ask(r->client, str_c(name), type, &q, on_answer, NULL) < 0)
        return &none;
    while (!answered && clock_mono() < until) {
        loop_timer_set(&tick, 100 * NS_PER_MS);
        loop_once(r->loop, true);
    }
    loop_timer_stop(&tick);
    dns_ask_cancel(&q);
    a = dns_client_cached(r->client, str_c(name), type);
    return a ? a : &none;
}

static bool
has_mx(const struct dns_answer *a, uint16_t preference, const char *name)
{
    for (size_t i = 0; i < a->n; i++) {
        if (a->records[i].preference == preference && str_eq(a->records[i].name, str_c(name)))
            return true;
    }
    return false;
}

/* A second may pass between the name server's word and ours. */
static void
lasts(const struct dns_answer *a, uint32_t ttl, const char *what)
{
    OK(a->ttl <= ttl && a->ttl + 5 > ttl, "%s: %u of %u s", what, a->ttl, ttl);
}

static void
test_records(struct rig *r)
{
    const struct dns_answer *a = ask(r, "example.test", DNS_MX);
    char text[48];

    IS(a->status, DNS_OK, "MX");
    IS(a->n, 2, "two of them");
    OK(has_mx(a, 10, "mx.example.test") && has_mx(a, 20, "backup.example.test"),
       "in lower case, with preferences");
    OK(!a->secure && !a->cname, "neither signed nor an alias");
    lasts(a, 300, "TTL");
    a = ask(r, "mx.example.test", DNS_A);
    IS(a->n, 2, "two addresses");
    a = ask(r, "mx.example.test", DNS_AAAA);
    IS(a->n, 1, "one of IPv6");
    TEXT(str_c(addr_show(&a->records[0].addr, text)), "2001:db8::1", "this one");
    a = ask(r, "example.test", DNS_TXT);
    IS(a->n, 2, "two texts");
    OK(str_eq(a->records[0].data, STR("v=spf1 include:a.test -all")) ||
           str_eq(a->records[1].data, STR("v=spf1 include:a.test -all")),
       "their strings are joined");
    lasts(a, 60, "with their TTL");
    a = ask(r, "one.example.test", DNS_A);
    IS(a->n, 2, "two aliases deep");
    OK(a->cname, "known as an alias");
    TEXT(a->name, "one.example.test", "under its own name");
    a = ask(r, "one.example.test", DNS_MX);
    IS(a->status, DNS_NODATA, "an alias to a name without MX");
    a = ask(r, "broken.example.test", DNS_A);
    IS(a->status, DNS_NXDOMAIN, "an alias to nowhere");
    a = ask(r, "ring.example.test", DNS_A);
    OK(a->status == DNS_TEMPORARY, "a ring of aliases ends");
    a = ask(r, "null.example.test", DNS_MX);
    OK(a->n == 1 && a->records[0].name.n == 0, "null MX");
    a = ask(r, "_25._tcp.mx.example.test", DNS_TLSA);
    IS(a->n, 1, "TLSA");
    OK(a->n && a->records[0].data.n == 35 && a->records[0].data.p[0] == 3 &&
           a->records[0].data.p[3] == 0 && a->records[0].data.p[4] == 0x11,
       "raw");
    a = ask(r, "odd.example.test", DNS_MX);
    OK(a->n == 1 && has_mx(a, 6, "mx.example.test"), "a name with a dot in a label is left out");
    a = ask(r, "1.2.0.192.in-addr.arpa", DNS_PTR);
    OK(a->n == 1 && str_eq(a->records[0].name, STR("mx.example.test")), "PTR");
    a = ask(r, "9.0.0.127.in-addr.arpa", DNS_PTR);
    OK(a->n == 1 && str_eq(a->records[0].name, STR("lab.example.test")),
       "the forwarder knows names of 127.0.0.0/8");
    a = ask(r, "example.test", DNS_AAAA);
    IS(a->status, DNS_NODATA, "no such type");
    lasts(a, 77, "for the SOA's minimum");
    a = ask(r, "nobody.example.test", DNS_A);
    IS(a->status, DNS_NXDOMAIN, "no such name");
    lasts(a, 77, "for as long");
}

static void
test_many(struct rig *r)
{
    enum { N = 400 };
    static struct dns_ask asks[N];
    static const char *const names[] = {"mx.example.test", "one.example.test", "example.test"};
    unsigned fine = 0;
    char name[64];

    for (unsigned i = 0; i < N; i++) {
        str_fmt(name, sizeof(name), "n%u.example.test", i);
        fine += dns_client_ask(r->client, str_c(name), DNS_A, &asks[i], on_answer, NULL) == 0;
    }
    IS(fine, N, "400 questions at once");
    for (uint64_t until = clock_mono() + 10 * NS_PER_S; clock_mono() < until;) {
        unsigned open = 0;

        for (unsigned i = 0; i < N; i++)
            open += asks[i].prev != NULL;
        if (!open)
            break;
        loop_once(r->loop, true);
    }
    fine = 0;
    for (unsigned i = 0; i < N; i++) {
        const struct dns_answer *a;

        str_fmt(name, sizeof(name), "n%u.example.test", i);
        a = dns_client_cached(r->client, str_c(name), DNS_A);
        fine += a && a->status == DNS_NXDOMAIN;
    }
    IS(fine, N, "all answered");
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        IS(ask(r, names[i], DNS_A)->status, i == 2 ? DNS_NODATA : DNS_OK, "%s after them",
           names[i]);
}

static void
test_local_data(void)
{
    struct rig r = {0};
    struct endpoint nobody;
    struct dns_server_conf conf = {
        .forward = &nobody,
        .nforward = 1,
        .hosts_zone = STR("# for the lab\nlab.test. 120 IN A 192.0.2.99\n\n"
                          "lab.test. 120 IN MX 10 mx.lab.test.\n"),
        .timeout_ns = 300 * NS_PER_MS,
    };
    struct why why;
    uint64_t start;

    endpoint_parse(STR("127.0.0.1:1"), 53, &nobody);
    OK(rig_up(&r, &conf), "a resolver with local data");
    IS(ask(&r, "lab.test", DNS_A)->n, 1, "an address of its own");
    OK(has_mx(ask(&r, "lab.test", DNS_MX), 10, "mx.lab.test"), "an MX of its own");
    start = clock_mono();
    IS(ask(&r, "elsewhere.example", DNS_A)->status, DNS_TEMPORARY,
       "a forwarder that is not there: temporary");
    OK(clock_mono() - start < 5 * NS_PER_S, "in the time that is set");
    rig_down(&r);
    conf.nforward = 0;
    conf.hosts_zone = STR("local-zone: \".\" static\nlab.test. 120 IN A 192.0.2.99\n"
                          "9.0.0.127.in-addr.arpa. IN PTR lab.test.\n");
    OK(rig_up(&r, &conf), "a resolver that knows all there is");
    IS(ask(&r, "lab.test", DNS_A)->n, 1, "an address");
    IS(ask(&r, "9.0.0.127.in-addr.arpa", DNS_PTR)->n, 1, "a name of an address");
    IS(ask(&r, "elsewhere.example", DNS_MX)->status, DNS_NXDOMAIN, "nothing else exists");
    IS(ask(&r, "lab.test", DNS_MX)->status, DNS_NODATA, "no such record");
    rig_down(&r);
    r.loop = loop_create();
    conf.hosts_zone = STR("local-zone: . sideways");
    IS(dns_server_create(&r.server, r.loop, &conf, &why), ERR_SYNTAX, "%s", why.text);
    conf.hosts_zone = STR("local-zone: .");
    IS(dns_server_create(&r.server, r.loop, &conf, &why), ERR_SYNTAX, "%s", why.text);
    conf.hosts_zone = STR("this is no record at all");
    IS(dns_server_create(&r.server, r.loop, &conf, &why), ERR_SYNTAX, "%s", why.text);
    conf.hosts_zone = STR("");
    conf.trust_anchor_file = STR("/nonexistent/anchor");
    OK(dns_server_create(&r.server, r.loop, &conf, &why) < 0, "%s", why.text);
    loop_free(r.loop);
    dns_server_free(NULL);
}

/* What the hostile server's child does with one question: the length of the reply in `q`, 0: none.
 * "dead": silence. "cut": by UDP cut off, by TCP whole. "evil": what nobody asked for along with
 * it.
 */
static size_t
hostile_reply(uint8_t *q, ssize_t got, bool tcp)
{
    static const uint8_t answer[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1};
    static const uint8_t more[] = {4, 'b', 'a', 'n', 'k', 4, 't', 'e', 's', 't', 0, 0, 1,
                                   0, 1,   0,   0,   14,  0, 0,   4,   6,   6,   6, 6};
    const char *label = (const char *)q + 13;
    ssize_t end = 12;

    if (got < 18 || strncasecmp(label, "dead", 4) == 0)
        return 0;
    while (end < got - 5 && q[end])
        end += q[end] + 1;
    end += 5;
    memcpy(q + 2, (uint8_t[]){0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0}, 10);
    memcpy(q + end, answer, sizeof(answer));
    end += (ssize_t)sizeof(answer);
    if (strncasecmp(label, "cut", 3) == 0 && !tcp)
        q[2] |= 2;
    if (strncasecmp(label, "evil", 4) == 0) { /* once as an answer, once as additional */
        q[7] = 2;
        q[11] = 1;
        memcpy(q + end, more, sizeof(more));
        memcpy(q + end + sizeof(more), more, sizeof(more));
        end += 2 * (ssize_t)sizeof(more);
    }
    return (size_t)end;
}

/* Before the true reply those of somebody who guesses: other ids, or the id and another name. */
static void
hostile_guess(int fd, const uint8_t *q, size_t n, const struct sockaddr_in *to)
{
    uint8_t forged[1024];

    memcpy(forged, q, n);
    memcpy(forged + n - 4, (uint8_t[]){6, 6, 6, 6}, 4);
    for (unsigned i = 1; i < 4 && q[13] == 'g'; i++) {
        forged[1] = (uint8_t)(q[1] + i);
        (void)sendto(fd, forged, n, 0, (const struct sockaddr *)to, sizeof(*to));
    }
    forged[1] = q[1];
    forged[13] ^= 3;
    if (q[13] != 'g')
        (void)sendto(fd, forged, n, 0, (const struct sockaddr *)to, sizeof(*to));
}

static void
hostile_tcp(int fd)
{
    uint8_t q[1024];
    ssize_t got = recv(fd, q, sizeof(q) / 2, 0);
    size_t n = got > 2 ? hostile_reply(q + 2, got - 2, true) : 0;

    if (got > 2 && !n)
        return; /* silent, and stays */
    if (n) {
        q[0] = (uint8_t)(n >> 8);
        q[1] = (uint8_t)n;
        (void)send(fd, q, n + 2, MSG_NOSIGNAL);
    }
    close(fd);
}

static void
hostile_run(int udp, int tcp)
{
    struct pollfd p[200] = {{udp, POLLIN, 0}, {tcp, POLLIN, 0}};
    nfds_t n = 2;

    prctl(PR_SET_PDEATHSIG, SIGTERM);
    while (poll(p, n, -1) > 0) {
        struct sockaddr_in in;
        socklen_t size = sizeof(in);
        uint8_t q[1024];

        if (p[0].revents) {
            ssize_t got = recvfrom(udp, q, 512, 0, (struct sockaddr *)&in, &size);
            size_t reply = hostile_reply(q, got, false);

            if (reply && (!strncasecmp((const char *)q + 13, "guess", 5) ||
                          !strncasecmp((const char *)q + 13, "twist", 5)))
                hostile_guess(udp, q, reply, &in);
            if (reply)
                (void)sendto(udp, q, reply, 0, (struct sockaddr *)&in, size);
        }
        if (p[1].revents && n < ARRAY_LEN(p))
            p[n++] = (struct pollfd){accept4(tcp, NULL, NULL, SOCK_CLOEXEC), POLLIN, 0};
        for (nfds_t i = 2; i < n; i++) {
            if (p[i].fd < 0 || !p[i].revents)
                continue;
            hostile_tcp(p[i].fd);
            p[i].fd = -1;
        }
    }
    _exit(1);
}

/* A name server in a process of its own that does as it likes. */
static pid_t
hostile_start(struct endpoint *ret)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    uint16_t port = 0;
    pid_t pid;

    for (int i = 0; i < 100 && port == 0; i++)
        port = zone_free_port();
    in.sin_port = htons(port);
    addr_parse(STR("127.0.0.1"), &ret->addr);
    ret->port = port;
    if (bind(udp, (struct sockaddr *)&in, sizeof(in)) < 0 ||
        bind(tcp, (struct sockaddr *)&in, sizeof(in)) < 0 || listen(tcp, 200) < 0)
        return -1;
    pid = fork();
    if (pid == 0)
        hostile_run(udp, tcp);
    close(udp);
    close(tcp);
    return pid;
}

static const char *
address_of(const struct dns_answer *a)
{
    static char text[48];

    return a->status == DNS_OK && a->n == 1 ? addr_show(&a->records[0].addr, text) : "none";
}

/* What a server says that nobody asked for, and what somebody says in its place. */
static void
test_poison(void)
{
    struct rig r = {0};
    struct endpoint hostile;
    struct dns_server_conf conf = {.forward = &hostile, .nforward = 1};
    pid_t pid = hostile_start(&hostile);

    OK(pid > 0 && rig_up(&r, &conf), "a hostile name server");
    TEXT(str_c(address_of(ask(&r, "evil.test", DNS_A))), "192.0.2.1",
         "an answer with another name's beside it");
    TEXT(str_c(address_of(ask(&r, "bank.test", DNS_A))), "192.0.2.1",
         "which is not remembered for that name");
    TEXT(str_c(address_of(ask(&r, "guess.test", DNS_A))), "192.0.2.1",
         "replies with other ids before the true one");
    OK(strcmp(address_of(ask(&r, "twist.test", DNS_A)), "6.6.6.6") != 0,
       "one with the right id for another name is not taken");
    TEXT(str_c(address_of(ask(&r, "cut.test", DNS_A))), "192.0.2.1",
         "a reply that is cut off is asked for by TCP");
    rig_down(&r);
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
}

/* Names whose servers keep silent must not keep others waiting. */
static void
test_silence(void)
{
    enum { DEAD = 500 };
    static struct dns_ask asks[DEAD];
    struct rig r = {0};
    struct endpoint deaf;
    struct dns_server_conf conf = {.forward = &deaf, .nforward = 1};
    unsigned fine = 0;
    uint64_t start;
    char name[64];
    pid_t pid = hostile_start(&deaf);

    OK(pid > 0 && rig_up(&r, &conf), "a name server that keeps silent about some");
    IS(ask(&r, "first.test", DNS_A)->n, 1, "it answers");
    for (unsigned i = 0; i < DEAD; i++) {
        str_fmt(name, sizeof(name), "dead%u.test", i);
        fine += dns_client_ask(r.client, str_c(name), DNS_A, &asks[i], on_answer, NULL) == 0;
    }
    IS(fine, DEAD, "500 questions that nobody answers");
    start = clock_mono();
    IS(ask(&r, "alive.test", DNS_A)->status, DNS_OK, "another name is answered meanwhile");
    OK(clock_mono() - start < 2 * NS_PER_S, "at once (%u ms)",
       (unsigned)((clock_mono() - start) / NS_PER_MS));
    rig_down(&r);
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
}

static bool
write_secure(const struct zone_server *z, const struct zone_key *k)
{
    struct buf b = {.max = 16384}, soa = {.max = 256}, ns = {.max = 64}, anchor = {.max = 1024};
    static const uint8_t a1[4] = {192, 0, 2, 50}, a2[4] = {192, 0, 2, 51};
    static const char origin[] = "secure.test";
    bool good;

    zone_wire_name(&soa, "ns.secure.test");
    zone_wire_name(&soa, "h.secure.test");
    for (unsigned i = 0; i < 5; i++)
        zone_be(&soa, 300, 4);
    zone_wire_name(&ns, "ns.secure.test");
    good = zone_sign(&b, k, origin, origin, 6, soa.p, soa.n, false) &&
           zone_sign(&b, k, origin, origin, 2, ns.p, ns.n, false) &&
           zone_sign(&b, k, origin, origin, 48, k->rdata, sizeof(k->rdata), false) &&
           zone_sign(&b, k, origin, "good.secure.test", 1, a1, 4, false) &&
           zone_sign(&b, k, origin, "forged.secure.test", 1, a2, 4, true);
    buf_c(&b, "ns.secure.test. 300 IN A 127.0.0.1\n");
    buf_char(&b, '\0');
    buf_fmt(&anchor, "secure.test. 300 IN DNSKEY \\# %zu ", sizeof(k->rdata));
    codec_hex(&anchor, str_of(k->rdata, sizeof(k->rdata)));
    buf_add(&anchor, "\n", 2);
    good = good && zone_write(z, "secure.test.zone", b.p) && zone_write(z, "anchor", anchor.p);
    buf_done(&b);
    buf_done(&soa);
    buf_done(&ns);
    buf_done(&anchor);
    return good;
}

static void
test_dnssec(const struct zone_server *z, struct endpoint forward)
{
    struct rig r = {0};
    char anchor[128];
    struct dns_server_conf conf = {.forward = &forward, .nforward = 1};
    const struct dns_answer *a;

    str_fmt(anchor, sizeof(anchor), "%s/anchor", z->dir);
    conf.trust_anchor_file = str_c(anchor);
    if (!rig_up(&r, &conf)) {
        OK(false, "a validating resolver");
        return;
    }
    a = ask(&r, "good.secure.test", DNS_A);
    IS(a->status, DNS_OK, "a signed name");
    OK(a->secure, "is proved");
    a = ask(&r, "forged.secure.test", DNS_A);
    IS(a->status, DNS_BOGUS, "a forged signature is told as forged");
    IS(a->n, 0, "without its data");
    a = ask(&r, "mx.example.test", DNS_A);
    OK(a->status == DNS_OK && !a->secure, "a zone outside the anchor is not proved");
    rig_down(&r);
}

int
main(void)
{
    static const char *const zones[] = {"example.test", "2.0.192.in-addr.arpa", "127.in-addr.arpa",
                                        "secure.test", NULL};
    struct zone_server z = {.dir = "/tmp/gapura-nsd-XXXXXX"};
    struct zone_key key = {0};
    struct endpoint forward = {0};
    struct dns_server_conf conf = {.forward = &forward, .nforward = 1};
    struct rig r = {0};
    pid_t rm;
    int status;

    test_local_data();
    test_silence();
    test_poison();
    if (access("/usr/sbin/nsd", X_OK) < 0) {
        tap_skip("the resolver against a name server", "nsd is not installed");
        return tap_done();
    }
    OK(mkdtemp(z.dir) != NULL && zone_key_make(&key) && write_secure(&z, &key) &&
           zone_write(&z, "example.test.zone", zone_example) &&
           zone_write(&z, "2.0.192.in-addr.arpa.zone", zone_reverse) &&
           zone_write(&z, "127.in-addr.arpa.zone", zone_loop),
       "zones");
    OK(zone_start(&z, zones), "a name server");
    addr_parse(STR("127.0.0.1"), &forward.addr);
    forward.port = z.port;
    OK(rig_up(&r, &conf), "a resolver that forwards to it");
    test_records(&r);
    test_many(&r);
    rig_down(&r);
    test_dnssec(&z, forward);
    zone_stop(&z);
    EVP_PKEY_free(key.pkey);
    rm = fork();
    if (rm == 0) {
        execlp("rm", "rm", "-r", z.dir, (char *)NULL);
        _exit(127);
    }
    waitpid(rm, &status, 0);
    return tap_done();
}
