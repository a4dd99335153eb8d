/* Open questions by session and network: one asker takes his share and nobody else's; what the
 * resolver still works on counts, and is not asked twice. The test is the resolver. */
#include "core/clock.h"
#include "net/dns_quota.h"
#include "tap.h"

#define MANY 2000u

static struct {
    struct loop *loop;
    struct chan *ours, *resolver;
    struct dns_client *client;
    unsigned asked;
    uint64_t id; /* of the last question */
    char name[256];
} rig;
static struct dns_ask asks[MANY];
static unsigned heard;
static enum dns_status status;

static void
on_question(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    (void)ctx, (void)type, (void)fd;
    rig.asked++;
    rig.id = id;
    (void)wire_u16(body);
    (void)str_copy(wire_str16(body), rig.name, sizeof(rig.name));
}

static void
on_message(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    (void)ctx, (void)fd;
    OK(dns_client_message(rig.client, type, id, body), "an answer");
}

static void
on_answer(void *ctx, const struct dns_answer *a)
{
    (void)ctx;
    heard++;
    status = a->status;
}

static void
rig_open(unsigned cached)
{
    static const struct chan_ops ours = {.message = on_message};
    static const struct chan_ops resolver = {.message = on_question};
    int fds[2];

    memset(&rig, 0, sizeof(rig));
    memset(asks, 0, sizeof(asks));
    rig.loop = loop_create();
    chan_pair(fds);
    rig.ours = chan_create(rig.loop, fds[0], &ours, NULL);
    rig.resolver = chan_create(rig.loop, fds[1], &resolver, NULL);
    rig.client = dns_client_create(rig.loop, rig.ours, cached);
    OK(rig.client != NULL, "a client of %u places", cached);
}

static void
rig_close(void)
{
    dns_client_free(rig.client);
    chan_free(rig.ours);
    chan_free(rig.resolver);
    loop_free(rig.loop);
}

static void
turns(void)
{
    for (unsigned i = 0; i < 40; i++)
        loop_once(rig.loop, false);
}

static struct dns_quota *
quota(const char *address, unsigned session, unsigned network)
{
    struct addr a;

    addr_parse(str_c(address), &a);
    return dns_quota_create(rig.client, &a, session, network);
}

/* Asks for `n` names of its own until one is refused; how many were taken. */
static unsigned
flood(struct dns_quota *q, const char *who, unsigned n)
{
    static unsigned at;
    unsigned taken = 0;
    char name[64];

    for (; taken < n; taken++, at++) {
        str_fmt(name, sizeof(name), "%s%u.slow.test", who, at);
        if (dns_client_ask_for(rig.client, q, str_c(name), DNS_A, &asks[at % MANY], on_answer,
                               NULL) < 0)
            break;
        dns_ask_cancel(&asks[at % MANY]); /* RSET: nobody waits for it any more */
        turns();
    }
    return taken;
}

static int
ask(struct dns_quota *q, const char *name, struct dns_ask *a)
{
    int rc = dns_client_ask_for(rig.client, q, str_c(name), DNS_A, a, on_answer, NULL);

    turns();
    return rc;
}

static void
answer(uint64_t id, const char *name, enum dns_status s, bool later)
{
    struct dns_answer a = {
        .name = str_c(name), .type = DNS_A, .status = s, .ttl = 300, .later = later};
    struct buf b = {.max = CHAN_BODY_MAX};

    dns_answer_encode(&b, &a);
    chan_send(rig.resolver, DNS_MSG_ANSWER, id, &b, -1);
    buf_done(&b);
    turns();
}

static void
test_shares(void)
{
    struct dns_quota *a, *b, *other, *six;
    struct dns_ask one = {0}, two = {0};
    char name[256];

    rig_open(20000);
    a = quota("192.0.2.1", 100, 250);
    b = quota("192.0.2.99", 100, 250);
    IS(flood(a, "a", 500), 100, "a session has a hundred open and no more");
    OK(dns_quota_spent(a) && dns_quota_refused(a) && !dns_quota_refused(b), "which it is told");
    dns_quota_free(a);
    a = quota("192.0.2.1", 100, 250);
    IS(flood(a, "a", 500), 100, "the next session from there, too");
    dns_quota_free(a);
    IS(flood(b, "b", 500), 50, "but its network has had its share");
    other = quota("198.51.100.1", 100, 250);
    IS(flood(other, "o", 80), 80, "another network does not feel it");
    six = quota("2001:db8:1:2::1", 0, 10);
    IS(flood(six, "s", 500), 10, "a network of IPv6");
    dns_quota_free(six);
    six = quota("2001:db8:1:ffff::9", 0, 10);
    IS(flood(six, "s", 500), 0, "is a /48");

    str_fmt(name, sizeof(name), "%s", rig.name);
    IS(ask(b, name, &one), 0, "a question that is under way already costs nothing");
    answer(rig.id, name, DNS_NXDOMAIN, false);
    IS(heard, 1, "its answer is heard");
    IS(ask(b, name, &two), 0, "and what is known costs nothing");
    IS(heard, 2, "either");
    OK(dns_quota_spent(b), "the one who paid gets his place back, not the one who listened");
    dns_quota_forget(b);
    OK(!dns_quota_refused(b), "a refusal is forgotten when the owner says so");
    IS(dns_client_ask(rig.client, STR("ours.test"), DNS_A, &one, on_answer, NULL), 0,
       "the house asks as before");
    dns_ask_cancel(&one);
    dns_quota_free(b);
    dns_quota_free(other);
    rig_close();
    dns_quota_free(six); /* sessions may outlive the client */
}

/* However many networks take all they get, one more still finds room. */
static void
test_fair(void)
{
    static struct dns_quota *all[256];
    struct dns_quota *late;
    unsigned first = 0, least = 10000, total = 0;
    char address[32];

    rig_open(4000); /* 2000 of them for questions of strangers */
    for (unsigned i = 0; i < 24; i++) {
        unsigned taken;

        str_fmt(address, sizeof(address), "198.18.%u.1", i);
        all[i] = quota(address, 0, 0);
        taken = flood(all[i], "f", 3000);
        first = i ? first : taken;
        least = MIN(least, taken);
        total += taken;
    }
    OK(first < 250 && first > 200, "the first one takes a ninth of the table: %u", first);
    OK(least >= 32, "the last one of 24 still gets what one message needs: %u", least);
    OK(total < 2000, "and there is room left: %u are open", total);
    late = quota("203.0.113.1", 100, 1000);
    IS(flood(late, "l", 32), 32, "for one who comes late");
    for (unsigned i = 24; i < 256; i++) {
        str_fmt(address, sizeof(address), "198.18.%u.1", i);
        all[i] = quota(address, 0, 0);
        total += flood(all[i], "f", 3000);
    }
    IS(ask(NULL, "ours.test", &asks[0]), 0, "256 networks leave the house its half: %u", total);
    OK(dns_client_cached(rig.client, STR("ours.test"), DNS_A) == NULL, "not answered yet");
    answer(rig.id, "ours.test", DNS_NXDOMAIN, false);
    IS(status, DNS_NXDOMAIN, "answered");
    for (unsigned i = 0; i < 256; i++)
        dns_quota_free(all[i]);
    dns_quota_free(late);
    rig_close();
}

/* The resolver says "not yet": the asker goes on, the place stays taken until it is done. */
static void
test_linger(void)
{
    struct dns_quota *q;
    struct dns_ask one = {0};
    uint64_t id;

    clock_own(100 * NS_PER_S, 100 * NS_PER_S);
    rig_open(100);
    heard = 0;
    q = quota("192.0.2.1", 1, 0);
    IS(ask(q, "slow.test", &one), 0, "one question");
    id = rig.id;
    answer(id, "slow.test", DNS_TEMPORARY, true);
    OK(heard == 1 && status == DNS_TEMPORARY, "has no answer in time");
    OK(dns_quota_spent(q), "and still counts: the resolver goes on");
    clock_advance(11 * NS_PER_S);
    IS(ask(q, "slow.test", &one), 0, "it may be waited for again");
    IS(rig.asked, 1, "without being asked again");
    IS(heard, 1, "for its last word");
    clock_advance(16 * NS_PER_S);
    turns();
    OK(heard == 2 && status == DNS_TEMPORARY, "not for ever");
    OK(dns_quota_spent(q), "still under way");
    answer(id + 1, "slow.test", DNS_NXDOMAIN, false);
    OK(dns_quota_spent(q), "another question's answer changes nothing");
    answer(id, "slow.test", DNS_NXDOMAIN, false);
    OK(!dns_quota_spent(q), "the late answer gives the place back");
    OK(dns_client_cached(rig.client, STR("slow.test"), DNS_A) != NULL, "and is known from now on");

    IS(ask(q, "lost.test", &one), 0, "one more");
    answer(rig.id, "lost.test", DNS_TEMPORARY, true);
    clock_advance(301 * NS_PER_S);
    turns();
    OK(!dns_quota_spent(q), "a resolver that forgets does not keep the place for ever");
    IS(ask(q, "gone.test", &one), 0, "and another");
    answer(rig.id, "gone.test", DNS_TEMPORARY, true);
    dns_client_lost(rig.client);
    turns();
    OK(!dns_quota_spent(q), "nor does one that is gone");
    IS(ask(q, "bad..name", &one), 0, "a name that cannot be");
    OK(!dns_quota_spent(q), "costs nothing");
    dns_quota_free(q);
    dns_quota_free(NULL);
    rig_close();
    clock_release();
}

int
main(void)
{
    test_shares();
    test_fair();
    test_linger();
    return tap_done();
}
