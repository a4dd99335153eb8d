/*
 * tests/unit/test_courier_site.c - sites of hosts that strangers name: whatever they call them,
 * they do not get into a site of others.
 */
#include "core/crc32c.h"
#include "courier/dest.h"
#include "courier/mx.h"
#include "courier_dns.h"

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

static void
last_of_crowd(struct dns_answer *a)
{
    for (unsigned i = 0; i < 2 && a->type == DNS_MX; i++)
        dns_host(a, i ? "mx2.far.example" : "mx1.far.example",
                 crowd[CROWD - 1].hosts[i].preference);
    if (a->type == DNS_A)
        dns_address(a, "127.0.0.1");
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

/* Whoever makes many sets out of a provider's hosts does not use up the names of the provider's
 * own, whatever a sum over them would be. */
static void
test_crowd(void)
{
    const char *const names[] = {"mx1.far.example", "mx2.far.example"};
    struct mx_result v = hosts(names, 2);
    uint32_t sum = sum_of(&v);
    unsigned n = 0;

    rig_init(&rig, "route all {\n domains = *\n via = mx\n allow_private = yes\n tls = never\n}\n"
                   "delivery {\n mx_port = PORT\n}\n");
    dns_start(100, last_of_crowd);
    for (uint32_t i = 0; i < UINT32_C(1) << 26 && n < CROWD; i++) {
        v.hosts[0].preference = (uint16_t)(i >> 13);
        v.hosts[1].preference = (uint16_t)((i & 8191) + 8192);
        if (sum_of(&v) == sum)
            crowd[n++] = v;
    }
    IS(n, CROWD, "sets with one sum");
    for (unsigned i = 0; i + 1 < n; i++)
        OK(dest_mx_site(rig.courier, conf_first(rig.conf, "route"), &crowd[i]) != NULL,
           "there is room");
    rig_post(&rig, "a@test.example", "b@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.deliveries == 1);
    IS(rig.transients, 0, "at once");
    dns_end();
    rig_done(&rig);
}

/* --- new settings, and many slow sites --- */

static void
test_retired(void)
{
    char name[64];
    bool fresh;

    rig_init(&rig, ROUTE);
    for (unsigned i = 0; i < 20000; i++) {
        str_fmt(name, sizeof name, "s%u", i);
        OK(site_get(rig.courier, str_c(name), &fresh) && fresh, "a site");
    }
    IS(courier_set_conf(rig.courier, rig.conf, NULL), 0, "the settings again");
    IS(rig.courier->sites->names.n, 0, "none is left");
    rig_post(&rig, "a@test.example", "b@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.deliveries == 1);
    rig_done(&rig);
}

/* A site that hangs takes no more than its part of all connections. */
static void
test_slow_leave_room(void)
{
    rig_init(&rig, "route slow {\n domains = slow.example\n via = smtp://127.0.0.1:PORT\n tls = "
                   "never\n}\n" ROUTE
                   "delivery {\n max_sessions = 16\n max_sessions_per_site = 100\n}\n");
    rig.data = "";
    for (unsigned i = 0; i < 30; i++)
        rig_post(&rig, "a@test.example", "b@slow.example", NULL, BODY);
    RIG_FOR(&rig, rig.courier->sessions->n >= 14);
    rig_settle(&rig, 50);
    IS(rig.courier->sessions->n, 14, "the last two are not theirs");
    verb("queue.list", "{}");
    OK(strstr(said, "the rest is for sites with none"), "which they are told: %.300s", said);
    rig.data = "354 go\r\n";
    rig_post(&rig, "a@test.example", "b@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.deliveries >= 1 && strstr(rig.seen, "far.example"));
    rig_done(&rig);
}

/* --- callouts --- */

static unsigned answers, found;

static void
gate_told(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    (void)ctx;
    fd_close(&fd);
    if (type == ASK_CALLOUT_ANSWER && id == 5) {
        answers++;
        found += wire_u8(body) == LOOKUP_FOUND;
    }
    wire_skip(body, wire_left(body));
}

/* What the first inside server says when it closes is not taken for the second one's. */
static void
test_callout_next_host(void)
{
    static const struct chan_ops gate = {.message = gate_told, .closed = chan_gone};
    struct chan *ours, *theirs;
    struct buf b;
    struct wire w;
    int fds[2];

    rig_init(&rig, ROUTE "domain test.example {\n inside = smtp://127.0.0.1:PORT, "
                         "smtp://127.0.0.1:PORT\n}\n");
    OK(chan_pair(fds) == 0, "a channel");
    ours = chan_create(rig.loop, fds[0], &gate, NULL);
    theirs = chan_create(rig.loop, fds[1], &gate, NULL);
    rig.courier->links.gate = ours;
    rig.first = "554 5.3.2 no service\r\n221 2.0.0 bye\r\n";
    buf_init(&b, 1000);
    put_str(&b, STR("test.example"));
    put_str(&b, STR(""));
    put_str(&b, STR("b@test.example"));
    wire_init(&w, b.p, b.n);
    OK(courier_message(rig.courier, ours, ASK_CALLOUT, 5, &w), "a question");
    RIG_FOR(&rig, answers == 1);
    IS(found, 1, "the second host was asked");
    buf_done(&b);
    rig.courier->links.gate = NULL;
    chan_free(ours);
    chan_free(theirs);
    rig_done(&rig);
}

int
main(int argc, char **argv)
{
    static const struct rig_test tests[] = {
        {"alike", test_alike},          {"hidden", test_hidden_behind_long_names},
        {"ours", test_name_of_ours},    {"idle", test_idle_ones_go},
        {"crowd", test_crowd},          {"retired", test_retired},
        {"slow", test_slow_leave_room}, {"callout", test_callout_next_host},
    };

    return rig_main(argc, argv, tests, ARRAY_LEN(tests));
}
