/*
 * tests/unit/test_courier_site.c - sites of hosts that strangers name: whatever they call them,
 * they do not get into a site of others.
 */
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

int
main(int argc, char **argv)
{
    static const struct rig_test tests[] = {
        {"alike", test_alike},
        {"hidden", test_hidden_behind_long_names},
        {"ours", test_name_of_ours},
        {"idle", test_idle_ones_go},
    };

    return rig_main(argc, argv, tests, ARRAY_LEN(tests));
}
