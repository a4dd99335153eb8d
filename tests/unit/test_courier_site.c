/*
 * tests/unit/test_courier_site.c - sites of hosts that strangers name: whatever they call them,
 * they do not get into a site of others.
 */
#include "core/crc32c.h"
#include "courier/dest.h"
#include "courier/mx.h"
#include "courier_tests.h"

static char long_name[4][256];

static struct mx_result
hosts(const char *const *names, unsigned n)
{
    struct mx_result v = {.status = MX_DONE, .nhosts = n, .ttl = 300};

    for (unsigned i = 0; i < n; i++)
        v.hosts[i] = (struct mx_host){.name = str_c(names[i]), .preference = (uint16_t)(10 * i)};
    return v;
}

static struct site *
site_of(const char *const *names, unsigned n)
{
    struct mx_result v = hosts(names, n);

    return dest_mx_site(rig.courier, NULL, &v);
}

static void
test_alike(void)
{
    const char *const first[] = {"mx1.far.example", "mx2.far.example"};
    struct site *s, *other;
    struct mx_result v;

    rig_init(&rig, ROUTE);
    s = site_of(first, 2);
    OK(s && s->nhosts == 2, "a site of two");
    OK(site_of(first, 2) == s && s->nhosts == 2, "the same for the next domain");
    v = hosts(first, 2);
    v.hosts[1].preference = 0;
    other = dest_mx_site(rig.courier, NULL, &v);
    OK(other && other != s, "other preferences are another one");
    rig_done(&rig);
}

/* Names that are too long to stand in the site's, with hosts behind them. */
static void
test_hidden_behind_long_names(void)
{
    const char *const honest[] = {long_name[0], long_name[1], "mx3.far.example"};
    struct site *s, *evil = NULL;
    char name[64];

    for (unsigned i = 0; i < 4; i++) {
        memset(long_name[i], 'a' + (int)i, 250);
        long_name[i][250] = '\0';
    }
    rig_init(&rig, ROUTE);
    s = site_of(honest, 3);
    OK(s && s->nhosts == 3, "three hosts");
    for (unsigned i = 0; i < 70000 && evil != s; i++) { /* whatever the sum over them is */
        const char *const names[] = {long_name[0], long_name[1], "mx3.far.example", name};
        struct mx_result v;
        str_fmt(name, sizeof name, "%u.%s", i, "evil.example");
        memset(long_name[3], 'd', 250);
        memcpy(long_name[3], name, strlen(name));
        v = hosts(names, 3);
        v.hosts[v.nhosts++] = (struct mx_host){.name = str_c(long_name[3]), .preference = 30};
        evil = dest_mx_site(rig.courier, NULL, &v);
        if (evil && evil != s)
            site_release(evil);
    }
    IS(s->nhosts, 3, "nobody joins them");
    site_release(s);
    rig_done(&rig);
}

/* A host whose name is that of our own inside site. */
static void
test_name_of_ours(void)
{
    const char *const evil[] = {"inside:test.example"};
    struct site *s, *inside;

    for (int before = 0; before < 2; before++) {
        rig_init(&rig, ROUTE "domain test.example {\n inside = smtp://127.0.0.1:PORT\n}\n");
        s = before ? site_of(evil, 1) : NULL;
        inside = dest_inside_site(rig.courier, STR("test.example"));
        s = before ? s : site_of(evil, 1);
        OK(s && inside && s != inside, "is a site of its own");
        IS(inside->nhosts, 1, "ours has its host");
        OK(strcmp(inside->hosts[0].name, "127.0.0.1") == 0, "and no other: %s",
           inside->hosts[0].name);
        rig_done(&rig);
    }
}

/* Mail for many domains leaves nothing behind. */
static void
test_idle_ones_go(void)
{
    char domain[64];
    uint32_t d;

    own_clock();
    rig_init(&rig, ROUTE);
    for (unsigned i = 0; i < 5000; i++) {
        str_fmt(domain, sizeof domain, "d%u.example", i);
        d = index_dest_get(&rig.courier->index, str_c(domain), STR_NONE);
        index_dest(&rig.courier->index, d)->idle_since = courier_tick(rig.courier);
    }
    for (int i = 0; i < 30; i++)
        pass(1);
    IS(rig.courier->index.dests.count, 5000, "they stay for a while");
    for (int i = 0; i < 60; i++)
        pass(1);
    IS(rig.courier->index.dests.count, 0, "and go");
    rig_done(&rig);
    clock_release();
}

/* --- a crowd of sets that are named alike --- */

#define CROWD 65u
static struct mx_result crowd[CROWD];
static struct {
    struct chan *ours, *resolver;
    struct dns_client *client;
} dns;

static void
dns_asked(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    struct dns_record records[2];
    struct dns_answer a = {.type = (enum dns_type)wire_u16(body), .ttl = 300, .records = records};
    struct buf b;

    (void)ctx;
    (void)type;
    fd_close(&fd);
    a.name = wire_str16(body);
    a.n = a.type == DNS_MX ? 2 : 1;
    a.status = a.type == DNS_MX || a.type == DNS_A ? DNS_OK : DNS_NODATA;
    for (unsigned i = 0; i < a.n; i++)
        records[i] = (struct dns_record){.type = a.type,
                                         .name = crowd[CROWD - 1].hosts[i].name,
                                         .preference = crowd[CROWD - 1].hosts[i].preference};
    if (a.type == DNS_A)
        OK(addr_parse(STR("9.9.9.9"), &records[0].addr) == 0, "an address");
    a.n = a.status == DNS_OK ? a.n : 0;
    buf_init(&b, 4096);
    dns_answer_encode(&b, &a);
    chan_send(dns.resolver, DNS_MSG_ANSWER, id, &b, -1);
    buf_done(&b);
}

static void
dns_told(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    (void)ctx;
    fd_close(&fd);
    dns_client_message(dns.client, type, id, body);
}

static void
dns_start(void)
{
    static const struct chan_ops ours = {.message = dns_told, .closed = chan_gone},
                                 resolver = {.message = dns_asked, .closed = chan_gone};
    int fds[2];

    OK(chan_pair(fds) == 0, "a channel");
    dns.ours = chan_create(rig.loop, fds[0], &ours, NULL);
    dns.resolver = chan_create(rig.loop, fds[1], &resolver, NULL);
    dns.client = dns_client_create(rig.loop, dns.ours, 100);
    rig.courier->links.dns = dns.client;
}

static uint32_t
sum_of(const struct mx_result *v)
{
    uint32_t crc = 0;

    for (unsigned i = 0; i < v->nhosts; i++) {
        crc = crc32c(crc, v->hosts[i].name.p, v->hosts[i].name.n);
        crc = crc32c(crc, &v->hosts[i].preference, sizeof v->hosts[i].preference);
    }
    return crc & 0xffff;
}

/* Somebody fills all that may be named alike: mail for the next set is put off and tried again; it
 * never waits without a word. */
static void
test_crowd(void)
{
    const char *const names[] = {"mx1.far.example", "mx2.far.example"};
    struct mx_result v = hosts(names, 2);
    uint32_t sum = sum_of(&v);
    unsigned n = 0;

    rig_init(&rig, SOON "}\n");
    dns_start();
    for (uint32_t i = 0; i < UINT32_C(1) << 26 && n < CROWD; i++) {
        v.hosts[0].preference = (uint16_t)(i >> 13);
        v.hosts[1].preference = (uint16_t)((i & 8191) + 8192);
        if (sum_of(&v) == sum)
            crowd[n++] = v;
    }
    IS(n, CROWD, "sets that are named alike");
    for (unsigned i = 0; i + 1 < n; i++)
        OK(dest_mx_site(rig.courier, NULL, &crowd[i]) != NULL, "there is room");
    rig_post(&rig, "a@test.example", "b@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.transients == 1);
    OK(strstr(rig.last_event, "named like this one"), "told: %s", rig.last_event);
    IS(in_state(ROW_WAITING), 1, "and tried again");
    courier_free(rig.courier);
    rig.courier = NULL;
    dns_client_free(dns.client);
    chan_free(dns.ours);
    chan_free(dns.resolver);
    rig_done(&rig);
}

int
main(int argc, char **argv)
{
    static const struct rig_test tests[] = {
        {"alike", test_alike},       {"hidden", test_hidden_behind_long_names},
        {"ours", test_name_of_ours}, {"idle", test_idle_ones_go},
        {"crowd", test_crowd},
    };

    return rig_main(argc, argv, tests, ARRAY_LEN(tests));
}
