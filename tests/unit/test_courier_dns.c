/*
 * tests/unit/test_courier_dns.c - DNS that fails, lies late or has no time: mail waits for it, and
 * is returned for nothing that passes by itself.
 */
#include "courier/dest.h"
#include "courier/mx.h"
#include "courier/outs.h"
#include "courier_dns.h"

#define BY_MX                                                                                      \
    "route all {\n domains = *\n via = mx\n allow_private = yes\n tls = never\n}\n"                \
    "delivery {\n mx_port = PORT\n retry = 1m\n retry_max = 10m\n jitter_percent = 0\n"

static enum dns_status mood; /* of what is asked for a domain */
static const char *host_is = "127.0.0.1";
static bool nothing; /* the name is there, and has no record */

/* Each domain has the host mx.DOMAIN. */
static void
moody(struct dns_answer *a)
{
    static char host[300];

    if (mood != DNS_OK) {
        a->status = mood;
        return;
    }
    if (nothing) {
        a->status = DNS_NODATA;
    } else if (a->type == DNS_MX) {
        str_fmt(host, sizeof host, "mx.%.*s", STR_ARG(a->name));
        dns_host(a, host, 10);
    } else if (a->type == DNS_A) {
        dns_address(a, host_is);
    }
    a->ttl = 60;
}

/* Mail that had its hosts before is not returned for DNS that has a bad minute. */
static void
test_bad_minute(void)
{
    own_clock();
    rig_init(&rig, BY_MX "}\n");
    dns_start(100, moody);
    mood = DNS_OK;
    rig_post(&rig, "a@test.example", "later@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.transients == 1 && in_state(ROW_WAITING) == 1);
    for (int i = 0; i < 125; i++)
        pass(60);
    OK(rig.transients > 5, "tried for two hours: %u", rig.transients);
    mood = DNS_TEMPORARY;
    for (int i = 0; i < 20; i++)
        pass(60);
    IS(rig.expirations, 0, "a failure of DNS ends nothing that was tried before");
    IS(waiting(), 1, "it waits");
    mood = DNS_OK;
    for (int i = 0; i < 15; i++)
        pass(60);
    OK(strstr(rig.last_event, "come back later"), "tried again: %s", rig.last_event);
    dns_end();
    rig_done(&rig);
    clock_release();
}

/* What DNS says for sure ends at once; what it does not say, nor one's own resolver, waits. */
static void
test_surely_not(void)
{
    own_clock();
    rig_init(&rig, BY_MX "}\n");
    dns_start(100, moody);
    mood = DNS_NXDOMAIN;
    rig_post(&rig, "", "b@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.bounces == 1);
    OK(strstr(rig.last_event, "5.1.2"), "no such domain: %s", rig.last_event);
    mood = DNS_OK;
    nothing = true;
    rig_post(&rig, "", "b@other.example", NULL, BODY);
    RIG_FOR(&rig, rig.bounces == 2);
    OK(strstr(rig.last_event, "5.4.4"), "nothing there: %s", rig.last_event);
    nothing = false;
    mood = DNS_TEMPORARY;
    rig_post(&rig, "", "b@third.example", NULL, BODY);
    RIG_FOR(&rig, rig.transients == 1);
    for (int i = 0; i < 20 * 6; i++)
        pass(600);
    OK(rig.expirations == 0 && rig.bounces == 2, "no answer in 20 hours ends nothing");
    for (int i = 0; i < 6 * 6; i++)
        pass(600);
    IS(rig.expirations, 1, "a day does");
    dns_end();
    rig_done(&rig);
    clock_release();
}

/* Ourselves under another name: it would come back, and come back. */
static bool
listens_at(void *ctx, const struct endpoint *e)
{
    struct addr a;

    (void)ctx;
    addr_parse(STR("127.0.0.1"), &a);
    return e->port == rig.port && addr_eq(&e->addr, &a);
}

static void
test_own_address(void)
{
    rig_init(&rig, BY_MX "}\n");
    dns_start(100, moody);
    mood = DNS_OK;
    rig.courier->links.listens = listens_at;
    /* No sender, so that no report goes the same way and is the first to be told of. */
    rig_post(&rig, "", "b@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.bounces >= 1);
    OK(strstr(rig.first_bounce, "\"5.4.6\""), "a loop: %s", rig.first_bounce);
    IS(rig.connections, 0, "nobody connects to himself");
    rig.first_bounce[0] = '\0';
    rig_post(&rig, "", "b@[127.0.0.1]", NULL, BODY);
    RIG_FOR(&rig, strstr(rig.first_bounce, "[127.0.0.1]") != NULL);
    OK(strstr(rig.seen, "far.example") == NULL, "nothing is sent");
    host_is = "127.0.0.2";
    rig_post(&rig, "", "b@other.example", NULL, BODY);
    RIG_FOR(&rig, rig.transients == 1); /* another address of the same port is somebody else */
    host_is = "127.0.0.1";
    dns_end();
    rig_done(&rig);
}

/* The settings' shorter time is for what never had an answer. */
static void
test_never_an_answer(void)
{
    own_clock();
    rig_init(&rig, BY_MX " expire_nodomain = 30m\n}\n");
    dns_start(100, moody);
    mood = DNS_TEMPORARY;
    rig_post(&rig, "a@test.example", "b@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.transients == 1);
    for (int i = 0; i < 28; i++)
        pass(60);
    IS(rig.expirations, 0, "not yet");
    for (int i = 0; i < 15; i++)
        pass(60);
    IS(rig.expirations, 1, "over");
    dns_end();
    rig_done(&rig);
    clock_release();
}

/* More domains than questions may be open: they take turns, and none of them has failed. */
static void
test_many_domains(void)
{
    char rcpt[64];

    rig_init(&rig, BY_MX "}\n");
    dns_start(16, moody);
    mood = DNS_OK;
    dns.silent = true;
    for (unsigned i = 0; i < 60; i++) {
        str_fmt(rcpt, sizeof rcpt, "b@d%u.example", i);
        rig_post(&rig, "a@test.example", rcpt, NULL, BODY);
    }
    rig_settle(&rig, 50);
    IS(rig.transients + rig.bounces + rig.expirations, 0, "no domain has failed");
    verb("queue.list", "{}");
    OK(strstr(said, "turn to be asked for") != NULL, "they say for what they wait: %.2000s", said);
    dns_speak();
    RIG_FOR(&rig, rig.deliveries == 60);
    IS(rig.transients, 0, "none was put off");
    dns_end();
    rig_done(&rig);
}

/* There is no room for the question, or nobody to ask: that says nothing about the host, and a
 * domain that is its own host is not given up for it. */
static void
test_no_room_is_no_answer(void)
{
    struct mx_result v = {.status = MX_DONE, .nhosts = 1, .implicit = true, .ttl = 300};
    struct dns_ask open[16];
    struct site *s;
    char name[32];

    rig_init(&rig, BY_MX "}\n");
    v.hosts[0].name = STR("far.example");
    s = dest_mx_site(rig.courier, NULL, &v);
    s->hosts[0].addrs_until = 0;
    IS(host_addresses(s, &s->hosts[0]), HOST_NONE, "nobody to ask");
    OK(s->hosts[0].temporary, "for now");
    dns_start(16, moody);
    dns.silent = true;
    for (unsigned i = 0; i < 16; i++) {
        str_fmt(name, sizeof name, "x%u.example", i);
        dns_client_ask(dns.client, str_c(name), DNS_A, &open[i], NULL, NULL);
    }
    s->hosts[0].temporary = false;
    IS(host_addresses(s, &s->hosts[0]), HOST_NONE, "no room");
    OK(s->hosts[0].temporary, "for now");
    OK(addr_parse(STR("9.9.9.9"), &s->hosts[0].addrs[0]) == 0, "an address");
    s->hosts[0].naddrs = 1;
    s->hosts[0].addrs_until = 0;
    IS(host_addresses(s, &s->hosts[0]), HOST_READY, "what was known holds");
    for (unsigned i = 0; i < 16; i++)
        dns_ask_cancel(&open[i]);
    site_release(s);
    dns_end();
    rig_done(&rig);
}

/* What became of a domain cannot be written down: it is not asked for again and again, so that what
 * waits for the log does not grow with the time that it is full. */
static void
test_full(void)
{
    own_clock();
    rig_init(&rig, BY_MX "}\n");
    dns_start(100, moody);
    mood = DNS_TEMPORARY;
    rig.no_segments = true;
    rig_disk.fail = 2; /* the first outcome, and the void of it */
    rig_post(&rig, "a@test.example", "b@far.example", NULL, BODY);
    rig_post(&rig, "a@test.example", "b@other.example", NULL, BODY);
    RIG_FOR(&rig, outs_full(rig.courier) && rig.transients > 0);
    for (int i = 0; i < 120; i++)
        pass(60);
    OK(outs_waiting(rig.courier) <= 2, "%zu outcomes wait for two messages",
       outs_waiting(rig.courier));
    verb("queue.list", "{}");
    OK(strstr(said, "the log takes no record") != NULL, "they say for what they wait: %s", said);
    mood = DNS_OK;
    rig_segments_again(&rig, &rig.own);
    for (int i = 0; i < 20 && rig.deliveries < 2; i++)
        pass(60);
    IS(rig.deliveries, 2, "and go when it takes records again");
    IS(outs_waiting(rig.courier), 0, "which are written");
    dns_end();
    rig_done(&rig);
    clock_release();
}

/* --- a domain that moves --- */

static void
moved(struct dns_answer *a)
{
    if (a->type == DNS_MX)
        dns_host(a, host_is, 10);
    else if (a->type == DNS_A)
        dns_address(a, str_eq(a->name, STR("new.example")) ? "127.0.0.1" : "127.0.0.99");
    a->ttl = 60;
}

/* Its host is dead and much waits for it; the domain names another one. Whoever has work all the
 * time is asked for again as well. */
static void
test_moved_with_a_backlog(void)
{
    own_clock();
    rig_init(&rig, BY_MX "}\n");
    dns_start(100, moved);
    host_is = "old.example";
    for (unsigned i = 0; i < 40; i++)
        rig_post(&rig, "a@test.example", "b@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.transients == 1);
    host_is = "new.example";
    for (int i = 0; i < 400 && rig.deliveries == 0; i++)
        pass(1);
    OK(rig.deliveries > 0, "goes to the new host within minutes");
    OK(rig.transients < 10, "while most of it had not been tried: %u", rig.transients);
    for (int i = 0; i < 20; i++)
        pass(60);
    RIG_FOR(&rig, rig.deliveries == 40);
    dns_end();
    rig_done(&rig);
    clock_release();
    host_is = "127.0.0.1";
}

/* DNS is down when its routing is looked at anew: what was known holds. */
static void
test_old_answer_holds(void)
{
    own_clock();
    rig_init(&rig, BY_MX "}\n");
    dns_start(100, moody);
    mood = DNS_OK;
    rig.rcpt = "250 2.0.0 ok\r\n";
    sink_close(&rig);
    for (unsigned i = 0; i < 20; i++)
        rig_post(&rig, "a@test.example", "b@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.transients == 1);
    mood = DNS_TEMPORARY;
    for (int i = 0; i < 120; i++)
        pass(1);
    OK(rig.transients < 8, "not one failure for each of them: %u", rig.transients);
    sink_open(&rig);
    for (int i = 0; i < 30 && rig.deliveries < 20; i++)
        pass(30);
    mood = DNS_OK;
    for (int i = 0; i < 20 && rig.deliveries < 20; i++)
        pass(60);
    IS(rig.deliveries, 20, "all of it arrived");
    dns_end();
    rig_done(&rig);
    clock_release();
}

int
main(int argc, char **argv)
{
    static const struct rig_test tests[] = {
        {"own", test_own_address},
        {"surely", test_surely_not},
        {"minute", test_bad_minute},
        {"never", test_never_an_answer},
        {"many", test_many_domains},
        {"room", test_no_room_is_no_answer},
        {"full", test_full},
        {"moved", test_moved_with_a_backlog},
        {"old", test_old_answer_holds},
    };

    return rig_main(argc, argv, tests, ARRAY_LEN(tests));
}
