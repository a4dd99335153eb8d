/*
 * tests/unit/test_courier_mx.c - the MX law over a table of zones.
 *
 * A zone is text, one answer a line: "NAME TYPE STATUS[!] RECORD...", where '!' means proved by
 * DNSSEC and '@' an alias, an MX record is "10:name", and a bare CNAME is "=name". The resolver of
 * the test answers what mx_run asks for, once a round; what it does not know is NXDOMAIN.
 */
#include "courier/mx.h"

#include "core/buf.h"
#include "tap.h"

#define OWN_NAME 1u
#define OWN_ADDR 2u
#define PRIVATE  4u
#define ONLY_V4  8u
#define ONLY_V6  16u
#define FIRST_V4 32u
#define FIRST_V6 64u

struct zone {
    const char *name;
    unsigned flags;
    const char *domain; /* NULL: x.example */
    const char *answers;
    const char *want; /* see show() */
};

struct known {
    struct arena arena;
    const struct dns_answer *answers[200];
    size_t n;
    unsigned rounds, asked;
};

static struct str
own_str(struct known *k, struct str s)
{
    return arena_str(&k->arena, s);
}

static void
parse_record(struct known *k, struct dns_answer *a, struct str word)
{
    struct dns_record *r = &a->records[a->n];
    struct str name;
    uint64_t preference;

    r->type = a->type;
    if (word.p[0] == '=') {
        r->type = DNS_CNAME;
        r->name = own_str(k, str_from(word, 1));
    } else if (a->type == DNS_MX) {
        if (str_u64(str_cut(word, ':', &name), &preference))
            return;
        r->preference = (uint16_t)preference;
        r->name = own_str(k, name);
    } else if (addr_parse(word, &r->addr)) {
        return;
    }
    a->n++;
}

static const struct dns_answer *
resolve(struct known *k, const struct zone *z, const struct mx_question *q)
{
    static const char *const types[] = {[DNS_A] = "A", [DNS_MX] = "MX", [DNS_AAAA] = "AAAA"};
    struct dns_answer *a = ARENA_NEW(&k->arena, struct dns_answer);
    struct str rest = str_c(z->answers);

    a->name = own_str(k, q->name);
    a->type = q->type;
    a->status = DNS_NXDOMAIN;
    a->ttl = 300;
    a->records = ARENA_ARRAY(&k->arena, struct dns_record, 300);
    while (rest.n) {
        struct str line = str_cut(rest, '\n', &rest), name = str_word(&line), word;

        if (!str_ieq(name, q->name))
            continue;
        if (!str_eq(str_word(&line), str_c(types[q->type]))) {
            a->status = a->status == DNS_NXDOMAIN ? DNS_NODATA : a->status;
            continue;
        }
        word = str_word(&line);
        a->secure = str_chr(word, '!') >= 0;
        a->cname = str_chr(word, '@') >= 0;
        a->status = str_istarts(word, STR("ok"))     ? DNS_OK
                    : str_istarts(word, STR("no"))   ? DNS_NODATA
                    : str_istarts(word, STR("nx"))   ? DNS_NXDOMAIN
                    : str_istarts(word, STR("fake")) ? DNS_BOGUS
                                                     : DNS_TEMPORARY;
        a->ttl = 60;
        while (a->n < 300 && (word = str_word(&line)).n)
            parse_record(k, a, word);
    }
    return a;
}

static struct mx_input
input_of(const struct zone *z, const struct known *k, uint64_t seed)
{
    static const struct str own_names[] = {STR("us.example")};
    static struct addr own_addrs[2];

    addr_parse(STR("9.9.9.9"), &own_addrs[0]);
    addr_parse(STR("2a00::9"), &own_addrs[1]);
    return (struct mx_input){
        .domain = z->domain ? str_c(z->domain) : STR("x.example"),
        .own_names = own_names,
        .nown_names = z->flags & OWN_NAME ? 1 : 0,
        .own_addrs = own_addrs,
        .nown_addrs = z->flags & OWN_ADDR ? 2 : 0,
        .allow_private = z->flags & PRIVATE,
        .v4 = z->flags & ONLY_V4,
        .v6 = z->flags & ONLY_V6,
        .prefer = z->flags & FIRST_V4   ? MX_PREFER_V4
                  : z->flags & FIRST_V6 ? MX_PREFER_V6
                                        : MX_PREFER_NONE,
        .seed = seed,
        .answers = k->answers,
        .nanswers = k->n,
    };
}

static void
solve(const struct zone *z, struct known *k, uint64_t seed, struct mx_result *out)
{
    arena_init(&k->arena, 64 << 20);
    for (k->rounds = 0; k->rounds < 30; k->rounds++) {
        struct mx_input in = input_of(z, k, seed);

        mx_run(&in, out);
        if (out->status != MX_NEED || !out->nquestions)
            return;
        for (unsigned i = 0; i < out->nquestions && k->n < ARRAY_LEN(k->answers); i++)
            k->answers[k->n++] = resolve(k, z, &out->questions[i]);
        k->asked += out->nquestions;
    }
}

/* "10 a 1.2.3.4,2a00::1; 20 b ..." with ! behind proved hosts and @ behind aliases; or
 * "enhanced failure-name". */
static void
show(const struct mx_result *r, struct buf *out)
{
    char text[48];

    if (r->status == MX_FAILED)
        buf_fmt(out, "%s %s", r->enhanced, mx_failure_name(r->failure));
    if (r->status == MX_NEED)
        buf_c(out, "never answered");
    if (r->status == MX_DONE && r->implicit)
        buf_c(out, "implicit: ");
    for (unsigned i = 0; r->status == MX_DONE && i < r->nhosts; i++) {
        const struct mx_host *h = &r->hosts[i];

        buf_fmt(out, "%s%u %.*s%s%s ", i ? "; " : "", h->preference, STR_ARG(h->name),
                h->secure ? "!" : "", h->alias ? "@" : "");
        for (unsigned k = 0; k < h->n; k++)
            buf_fmt(out, "%s%s", k ? "," : "", addr_show(&r->addrs[h->first + k], text));
    }
}

static const struct zone zones[] = {
    {"one host", 0, NULL, "x.example MX ok 10:a.example\na.example A ok 8.8.8.1",
     "10 a.example 8.8.8.1"},
    {"by preference, not by place", 0, NULL,
     "x.example MX ok 20:b.example 10:a.example 30:c.example\n"
     "a.example A ok 8.8.8.1\nb.example A ok 8.8.8.2\nc.example A ok 8.8.8.3",
     "10 a.example 8.8.8.1; 20 b.example 8.8.8.2; 30 c.example 8.8.8.3"},
    {"both families", FIRST_V6, NULL,
     "x.example MX ok 10:a.example\na.example A ok 8.8.8.1\na.example AAAA ok 2a00::1",
     "10 a.example 2a00::1,8.8.8.1"},
    {"v4 first", FIRST_V4, NULL,
     "x.example MX ok 10:a.example\na.example A ok 8.8.8.1\na.example AAAA ok 2a00::1",
     "10 a.example 8.8.8.1,2a00::1"},
    {"v4 only", ONLY_V4, NULL,
     "x.example MX ok 10:a.example\na.example A ok 8.8.8.1\na.example AAAA ok 2a00::1",
     "10 a.example 8.8.8.1"},
    {"v6 only", ONLY_V6, NULL,
     "x.example MX ok 10:a.example\na.example A ok 8.8.8.1\na.example AAAA ok 2a00::1",
     "10 a.example 2a00::1"},
    {"v6 only, host has none", ONLY_V6, NULL,
     "x.example MX ok 10:a.example\na.example A ok 8.8.8.1", "5.4.4 no-address"},
    {"implicit MX", 0, NULL, "x.example A ok 8.8.8.1", "implicit: 0 x.example 8.8.8.1"},
    {"implicit MX, v6", 0, NULL, "x.example AAAA ok 2a00::1", "implicit: 0 x.example 2a00::1"},
    {"nothing at all", 0, NULL, "x.example MX no", "5.4.4 no-address"},
    {"null MX", 0, NULL, "x.example MX ok 0:\nx.example A ok 8.8.8.1", "5.1.10 null-mx"},
    {"null MX written with a dot", 0, NULL, "x.example MX ok 0:.", "5.1.10 null-mx"},
    {"null MX beside a host", 0, NULL, "x.example MX ok 0: 10:a.example\na.example A ok 8.8.8.1",
     "10 a.example 8.8.8.1"},
    {"no such domain", 0, NULL, "", "5.1.2 no-domain"},
    {"MX temporary", 0, NULL, "x.example MX later", "4.4.3 dns-temporary"},
    {"MX forged", 0, NULL, "x.example MX fake", "4.4.3 dns-temporary"},
    {"address temporary", 0, NULL, "x.example MX ok 10:a.example\na.example A later",
     "4.4.3 dns-temporary"},
    {"one family temporary, the other fine", 0, NULL,
     "x.example MX ok 10:a.example\na.example A later\na.example AAAA ok 2a00::1",
     "10 a.example 2a00::1"},
    {"one host temporary, the other fine", 0, NULL,
     "x.example MX ok 10:a.example 20:b.example\na.example A later\nb.example A ok 8.8.8.2",
     "20 b.example 8.8.8.2"},
    {"host without an address", 0, NULL,
     "x.example MX ok 10:a.example 20:b.example\nb.example A ok 8.8.8.2", "20 b.example 8.8.8.2"},
    {"no host has an address", 0, NULL, "x.example MX ok 10:a.example 20:b.example",
     "5.4.4 no-address"},
    {"host is an alias", 0, NULL, "x.example MX ok 10:a.example\na.example A ok@ 8.8.8.1",
     "10 a.example@ 8.8.8.1"},
    {"bare alias is followed", 0, NULL,
     "x.example MX ok 10:a.example\na.example A ok =b.example\nb.example A ok 8.8.8.1",
     "10 a.example@ 8.8.8.1"},
    {"domain is an alias", 0, NULL,
     "x.example MX ok =y.example\ny.example MX ok 10:a.example\na.example A ok 8.8.8.1",
     "10 a.example 8.8.8.1"},
    {"aliases in a circle", ONLY_V4, NULL,
     "x.example MX ok 10:a.example\na.example A ok =b.example\nb.example A ok =a.example",
     "5.4.4 no-address"},
    {"domain's aliases in a circle", 0, NULL, "x.example MX ok =x.example", "5.4.4 no-address"},
    {"an address where a name belongs", 0, NULL,
     "x.example MX ok 10:8.8.8.1 20:b.example\nb.example A ok 8.8.8.2", "20 b.example 8.8.8.2"},
    {"nothing but an address", 0, NULL, "x.example MX ok 10:8.8.8.1", "5.4.4 no-address"},
    {"a v6 address, a number", 0, NULL, "x.example MX ok 10:2a00::1 20:a.5", "5.4.4 no-address"},
    {"the same host twice", 0, NULL,
     "x.example MX ok 20:a.example 10:A.example\na.example A ok 8.8.8.1", "10 a.example 8.8.8.1"},
    {"final dots", 0, NULL, "x.example MX ok 20:a.example.\na.example A ok 8.8.8.1",
     "20 a.example 8.8.8.1"},
    /* ourselves */
    {"we are the backup, by name", OWN_NAME, NULL,
     "x.example MX ok 10:a.example 20:us.example 30:c.example\n"
     "a.example A ok 8.8.8.1\nc.example A ok 8.8.8.3\nus.example A ok 9.9.9.9",
     "10 a.example 8.8.8.1"},
    {"we are the backup, by address", OWN_ADDR, NULL,
     "x.example MX ok 10:a.example 20:b.example 20:c.example 30:d.example\n"
     "a.example A ok 8.8.8.1\nb.example A ok 9.9.9.9\nc.example A ok 8.8.8.3\n"
     "d.example A ok 8.8.8.4",
     "10 a.example 8.8.8.1"},
    {"one address of many is ours", OWN_ADDR, NULL,
     "x.example MX ok 10:a.example 20:b.example\na.example A ok 8.8.8.1\n"
     "b.example AAAA ok 2a00::1 2a00::9",
     "10 a.example 8.8.8.1"},
    {"we are the best, by name", OWN_NAME, NULL,
     "x.example MX ok 10:us.example 20:c.example\nc.example A ok 8.8.8.3", "5.4.6 loop"},
    {"we are the best, by address", OWN_ADDR, NULL,
     "x.example MX ok 10:a.example 20:c.example\na.example A ok 9.9.9.9\nc.example A ok 8.8.8.3",
     "5.4.6 loop"},
    {"we are one of the best", OWN_NAME, NULL,
     "x.example MX ok 10:a.example 10:us.example\na.example A ok 8.8.8.1", "5.4.6 loop"},
    {"we are the domain's address", OWN_ADDR, NULL, "x.example A ok 9.9.9.9", "5.4.6 loop"},
    {"we are the domain", OWN_NAME, "us.example", "us.example A ok 9.9.9.9", "5.4.6 loop"},
    /* addresses where no mail goes */
    {"loopback", 0, NULL, "x.example MX ok 10:a.example\na.example A ok 127.0.0.1",
     "5.4.4 no-address"},
    {"private beside public", 0, NULL,
     "x.example MX ok 10:a.example\na.example A ok 10.0.0.1 8.8.8.1 192.168.1.1",
     "10 a.example 8.8.8.1"},
    {"link-local", 0, NULL, "x.example MX ok 10:a.example\na.example AAAA ok fe80::1",
     "5.4.4 no-address"},
    {"unspecified", 0, NULL, "x.example A ok 0.0.0.0", "5.4.4 no-address"},
    {"multicast", 0, NULL, "x.example A ok 224.0.0.1\nx.example AAAA ok ff02::1",
     "5.4.4 no-address"},
    {"private, and meant", PRIVATE | FIRST_V4, NULL,
     "x.example MX ok 10:a.example\na.example A ok 127.0.0.1\na.example AAAA ok ::1",
     "10 a.example 127.0.0.1,::1"},
    {"nobody's address stays refused", PRIVATE, NULL,
     "x.example A ok 0.0.0.0 255.255.255.255\nx.example AAAA ok :: ff02::1", "5.4.4 no-address"},
    /* DNSSEC */
    {"all proved", 0, NULL, "x.example MX ok! 10:a.example\na.example A ok! 8.8.8.1",
     "10 a.example! 8.8.8.1"},
    {"one family not proved", FIRST_V4, NULL,
     "x.example MX ok! 10:a.example\na.example A ok! 8.8.8.1\na.example AAAA ok 2a00::1",
     "10 a.example 8.8.8.1,2a00::1"},
    /* literals */
    {"literal", 0, "[8.8.8.1]", "", "implicit: 0 [8.8.8.1] 8.8.8.1"},
    {"v6 literal", 0, "[IPv6:2a00::1]", "", "implicit: 0 [IPv6:2a00::1] 2a00::1"},
    {"private literal", 0, "[10.0.0.1]", "", "5.4.4 no-address"},
    {"our own literal", OWN_ADDR, "[9.9.9.9]", "", "5.4.6 loop"},
    {"no literal", 0, "[hello]", "", "5.1.2 no-domain"},
};

static void
test_zones(void)
{
    for (size_t i = 0; i < ARRAY_LEN(zones); i++) {
        struct known k = {0};
        struct mx_result out;
        struct buf text;

        buf_init(&text, 10000);
        solve(&zones[i], &k, 7, &out);
        show(&out, &text);
        TEXT(buf_view(&text), zones[i].want, "%s", zones[i].name);
        if (out.status == MX_FAILED)
            OK(out.text[0] && out.code / 100 == out.enhanced[0] - '0', "  %d %s %s", out.code,
               out.enhanced, out.text);
        buf_done(&text);
        arena_done(&k.arena);
    }
}

static void
test_rounds(void)
{
    struct zone z = {
        "rounds", 0, NULL,
        "x.example MX ok! 10:a.example 20:8.8.8.8 30:b.example\na.example A ok 8.8.8.1\n"
        "b.example A ok@ 8.8.8.2",
        NULL};
    struct known k = {0};
    struct mx_result out;

    solve(&z, &k, 1, &out);
    IS(k.rounds, 2, "two rounds of questions: MX, then all addresses at once");
    IS(k.asked, 5, "five questions, none twice");
    IS(out.ttl, 60, "the least TTL");
    OK(out.secure, "MX records proved");
    IS(out.nfindings, 2, "two oddities");
    TEXT(str_c(out.findings[0]), "MX 8.8.8.8 is an address where a host name belongs: ignored",
         "the address");
    OK(strstr(out.findings[1], "b.example is an alias"), "the alias");
    arena_done(&k.arena);
}

static void
test_shuffle(void)
{
    struct zone z = {"shuffle", 0, NULL,
                     "x.example MX ok 10:a.example 10:b.example 10:c.example 5:d.example\n"
                     "a.example A ok 8.8.8.1\nb.example A ok 8.8.8.2\nc.example A ok 8.8.8.3\n"
                     "d.example A ok 8.8.8.4 8.8.4.4",
                     NULL};
    unsigned first[128] = {0}, address[2] = {0};
    bool steady = true;

    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct known k = {0}, again = {0};
        struct mx_result out, same;

        solve(&z, &k, seed * UINT64_C(0x9e3779b97f4a7c15), &out);
        solve(&z, &again, seed * UINT64_C(0x9e3779b97f4a7c15), &same);
        steady = steady && out.nhosts == 4 && str_eq(out.hosts[0].name, STR("d.example"));
        for (unsigned i = 0; steady && i < 4; i++)
            steady = str_eq(out.hosts[i].name, same.hosts[i].name);
        first[out.hosts[1].name.p[0] & 127]++;
        address[out.addrs[out.hosts[0].first].b[14] == 8]++;
        arena_done(&k.arena);
        arena_done(&again.arena);
    }
    OK(steady, "preference first, and one seed one order");
    OK(first['a'] > 50 && first['b'] > 50 && first['c'] > 50, "equals take turns: %u %u %u",
       first['a'], first['b'], first['c']);
    OK(address[0] > 80 && address[1] > 80, "so do addresses: %u %u", address[0], address[1]);
}

static void
test_ceilings(void)
{
    struct buf zone;
    struct zone z = {"ceilings", ONLY_V4, NULL, NULL, NULL};
    struct known k = {0};
    struct mx_result out;

    buf_init(&zone, 1 << 20);
    buf_c(&zone, "x.example MX ok");
    for (unsigned i = 0; i < 250; i++)
        buf_fmt(&zone, " %u:h%u.example", 1000 - i, i);
    for (unsigned i = 0; i < 250; i++) {
        buf_fmt(&zone, "\nh%u.example A ok", i);
        for (unsigned a = 1; a < 50; a++)
            buf_fmt(&zone, " 8.8.%u.%u", i, a);
    }
    buf_char(&zone, '\0');
    z.answers = zone.p;
    solve(&z, &k, 3, &out);
    IS(out.status, MX_DONE, "250 MX records with 49 addresses each");
    IS(out.nhosts, MX_HOSTS_MAX, "16 hosts are used");
    IS(out.naddrs, MX_ADDRS_MAX, "32 addresses");
    IS(out.hosts[0].preference, 901, "the best of the first hundred first");
    IS(out.hosts[15].n, 2, "and every host has some");
    OK(out.nfindings == 1 && strstr(out.findings[0], "250 MX records"), "and it is said");
    arena_done(&k.arena);
    buf_done(&zone);
}

int
main(void)
{
    test_zones();
    test_rounds();
    test_shuffle();
    test_ceilings();
    return tap_done();
}
