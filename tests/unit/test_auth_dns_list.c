/* DNS lists: what counts as an answer, what is the list's trouble, how a list is left out and comes
 * back. The attacks on lists are tests by name. */
#include "auth/dns_list.h"
#include "auth/known.h"
#include "auth/zone.h"
#include "core/clock.h"
#include "tap.h"

#define GOOD(zone) "2.0.0.127." zone ". IN A 127.0.0.2\n"

static struct {
    struct conf *conf;
    struct dns_lists *lists;
    struct zone *zone;
    struct arena arena;
    struct dns_lists_report report;
    uint64_t now;
    unsigned asked;
    char shown[2048];
} rig;

static const char *
names_of(enum dns_list_trouble t)
{
    static const char *const names[] = {"well",   "silent", "all",     "nothing", "typo",
                                        "public", "quota",  "refuses", "foreign", "unnamed"};

    return names[t];
}

static bool
rig_open(const char *settings, const char *zone)
{
    static const struct conf_block *const blocks[] = {&auth_dns_list_block};
    static struct conf_texts texts;
    struct conf_errors errs = {0};
    struct why why = {""};

    memset(&rig, 0, sizeof(rig));
    texts.n = 1;
    texts.items[0] = (struct conf_text){.path = STR("t"), .text = str_c(settings)};
    conf_parse(&rig.conf, &texts, blocks, 1, 1, &errs);
    for (size_t i = 0; i < errs.n; i++)
        printf("# %.*s\n", STR_ARG(errs.items[i].text));
    conf_errors_done(&errs);
    rig.now = 1000 * NS_PER_S;
    rig.zone = zone_create(1u << 20);
    return OK(rig.conf && dns_lists_create(&rig.lists, rig.conf, &why) == 0 &&
                  zone_read(rig.zone, str_c(zone), &why) == 0,
              "lists and a zone %s", why.text);
}

static void
rig_close(void)
{
    dns_lists_free(rig.lists);
    zone_free(rig.zone);
    conf_free(rig.conf);
    arena_done(&rig.arena);
}

static void
rig_zone(const char *text)
{
    struct why why = {""};

    zone_free(rig.zone);
    rig.zone = zone_create(1u << 20);
    OK(zone_read(rig.zone, str_c(text), &why) == 0, "another zone %s", why.text);
}

/* "LIST:FINDING codes ... !LIST:TROUBLE" for that message. */
static const char *
look(const char *client, const char *helo, const char *sender)
{
    struct addr a;
    struct dns_lists_input in = {
        .client = &a, .helo = str_c(helo), .sender = str_c(sender), .now = rig.now};
    struct auth_needs needs;
    struct auth_known known;
    char words[1024] = "";
    size_t n = 0, nwords = 0;

    addr_parse(str_c(client), &a);
    arena_done(&rig.arena);
    arena_init(&rig.arena, 4u << 20);
    auth_known_init(&known, &rig.arena);
    rig.asked = 0;
    for (unsigned pass = 0; pass < 20; pass++) {
        struct auth_answers table = auth_known_table(&known);
        enum auth_state state =
            dns_lists_run(rig.lists, &in, &table, &needs, &rig.arena, &rig.report);

        for (unsigned i = 0; i < rig.report.nwords; i++)
            nwords +=
                str_fmt(words + nwords, sizeof(words) - nwords, "%s!%.*s:%s", nwords ? " " : "",
                        STR_ARG(rig.report.words[i].list), names_of(rig.report.words[i].trouble));
        if (state == AUTH_DONE)
            break;
        for (unsigned i = 0; i < needs.n; i++) {
            rig.asked++;
            (void)auth_known_add(&known, zone_lookup(rig.zone,
                                                     str_of(needs.items[i].name, needs.items[i].n),
                                                     needs.items[i].type));
        }
        if (pass == 19)
            return "no end";
    }
    rig.shown[0] = '\0';
    for (unsigned i = 0; i < rig.report.nhits; i++)
        n += str_fmt(rig.shown + n, sizeof(rig.shown) - n, "%s%.*s:%s %.*s", n ? " " : "",
                     STR_ARG(rig.report.hits[i].list), rig.report.hits[i].name,
                     STR_ARG(rig.report.hits[i].codes));
    str_fmt(rig.shown + n, sizeof(rig.shown) - n, "%s%s", n && nwords ? " " : "", words);
    return rig.shown;
}

#define LOOK(client, want, ...)                                                                    \
    TEXT(str_c(look(client, "mail.far.test", "far.test")), want, __VA_ARGS__)

static const char one[] = "dns_list one {\n zone = one.test\n codes = 127.0.0.2 spam, "
                          "127.0.0.4-7 exploit, 127.0.0.10 policy\n}\n";

static void
test_answers(void)
{
    rig_open(one, GOOD("one.test") "1.2.3.9.one.test. IN A 127.0.0.2\n"
                                   "2.2.3.9.one.test. IN A 127.0.0.6\n"
                                   "3.2.3.9.one.test. IN A 127.0.0.10\n"
                                   "3.2.3.9.one.test. IN A 127.0.0.4\n"
                                   "5.2.3.9.one.test. IN TIMEOUT\n"
                                   "6.2.3.9.one.test. IN TXT \"listed, says the text\"\n");
    LOOK("9.3.2.4", "", "not listed");
    IS(rig.asked, 3, "asked along with the test points, all at once");
    LOOK("9.3.2.1", "one:spam 127.0.0.2", "listed");
    IS(rig.asked, 1, "the test points are not asked with each message");
    LOOK("9.3.2.2", "one:exploit 127.0.0.6", "a range of codes");
    TEXT(rig.report.hits[0].subject, "9.3.2.2", "says who");
    LOOK("9.3.2.3", "one:exploit 127.0.0.10 127.0.0.4", "two codes are one finding");
    LOOK("9.3.2.5", "", "attack 20: no answer is no finding");
    LOOK("9.3.2.6", "", "a text alone lists nobody");
    LOOK("10.3.2.1", "", "a private client");
    IS(rig.asked, 0, "is not asked about");
    LOOK("127.0.0.2", "", "nor is the loopback");
    IS(rig.asked, 0, "even where the list lists it");
    LOOK("2620:fe::fe", "", "nor IPv6 of a list without it");
    IS(rig.asked, 0, "at all");
    rig_close();
}

/* Codes that mean "I do not serve you" are alarms in words and never findings. */
static void
test_attack_refusals(void)
{
    static const struct {
        const char *answer, *trouble;
    } cases[] = {
        {"127.255.255.252", "!one:typo"},    {"127.255.255.254", "!one:public"},
        {"127.255.255.255", "!one:quota"},   {"127.255.255.1", "!one:refuses"},
        {"198.51.100.9", "!one:foreign"},    {"0.0.0.0", "!one:foreign"},
        {"126.255.255.255", "!one:foreign"}, {"127.0.0.99", "!one:unnamed"},
        {"127.0.0.1", "!one:unnamed"},
    };
    char zone[512];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        str_fmt(zone, sizeof(zone),
                GOOD("one.test") "1.2.3.9.one.test. IN A 127.0.0.2\n"
                                 "1.2.3.9.one.test. IN A %s\n",
                cases[i].answer);
        rig_open(one, zone);
        LOOK("9.3.2.1", cases[i].trouble, "%s beside a code that lists", cases[i].answer);
        rig_close();
        str_fmt(zone, sizeof(zone), "*.one.test. IN A %s\n", cases[i].answer);
        if (i < 7) { /* to everything, the test points too */
            rig_open(one, zone);
            LOOK("9.3.2.1", cases[i].trouble, "%s to everything", cases[i].answer);
            LOOK("9.3.2.9", "", "and it is asked no more");
            IS(rig.asked, 0, "for a while");
            rig_close();
        }
    }
}

/* The expired list with a wildcard, the one that lists its 127.0.0.1, the emptied one. */
static void
test_attack_sick_lists(void)
{
    static const struct {
        const char *zone, *trouble;
    } cases[] = {
        {"*.one.test. IN A 127.0.0.2\n", "!one:all"},
        {GOOD("one.test") "1.0.0.127.one.test. IN A 127.0.0.4\n", "!one:all"},
        {"1.2.3.9.one.test. IN A 127.0.0.2\n", "!one:nothing"},
        {"2.0.0.127.one.test. IN TIMEOUT\n", "!one:silent"},
        {GOOD("one.test") "1.0.0.127.one.test. IN SERVFAIL\n", "!one:silent"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        rig_open(one, cases[i].zone);
        LOOK("9.3.2.1", cases[i].trouble, "sick list %zu", i);
        LOOK("9.3.2.1", "", "it is said once");
        IS(rig.asked, 0, "and left alone");
        rig.now += 11 * 60 * NS_PER_S;
        LOOK("9.3.2.1", "", "tried again after ten minutes: no word more");
        OK(rig.asked > 0, "but asked");
        rig.now += 6 * 3600 * NS_PER_S;
        LOOK("9.3.2.1", cases[i].trouble, "said again after some hours");
        rig_zone(GOOD("one.test") "1.2.3.9.one.test. IN A 127.0.0.2\n");
        rig.now += 11 * 60 * NS_PER_S;
        LOOK("9.3.2.1", "one:spam 127.0.0.2 !one:well", "well again, asked again");
        rig_close();
    }
}

static void
test_failures(void)
{
    rig_open(one, GOOD("one.test"));
    LOOK("9.3.2.1", "", "a good list");
    rig_zone("2.0.0.127.one.test. IN TIMEOUT\n1.0.0.127.one.test. IN TIMEOUT\n"
             "1.2.3.9.one.test. IN TIMEOUT\n");
    for (unsigned i = 0; i < 5; i++)
        LOOK("9.3.2.1", "", "fails %u", i);
    LOOK("9.3.2.1", "!one:silent", "its test points are looked at anew, and it is left out");
    rig.now += 61 * NS_PER_S;
    LOOK("9.3.2.1", "", "for a minute at a time");
    OK(rig.asked > 0, "then it is asked");
    rig_close();
}

/* What we could not ask is no fault of the list: a client over his quota switches nothing off. */
static void
test_attack_hindered(void)
{
    struct dns_lists_input in = {.now = 1, .elapsed_ns = 60 * NS_PER_S, .hindered = true};
    struct auth_answers none = {0};
    struct auth_needs needs;
    struct addr a;

    rig_open(one, GOOD("one.test") "1.2.3.9.one.test. IN A 127.0.0.2\n");
    addr_parse(STR("9.3.2.1"), &a);
    in.client = &a;
    arena_init(&rig.arena, 1u << 20);
    for (unsigned i = 0; i < 20; i++)
        IS(dns_lists_run(rig.lists, &in, &none, &needs, &rig.arena, &rig.report), AUTH_DONE,
           "the list's time is over: done");
    IS(rig.report.nhits + rig.report.nwords, 0, "without a finding or a word");
    LOOK("9.3.2.1", "one:spam 127.0.0.2", "the list is as good as before");
    rig_close();
}

static void
test_ipv6(void)
{
    static const char six[] =
        "dns_list six {\n zone = six.test\n ipv6 = yes\n codes = 127.0.0.2 spam\n}\n";
    static const char zone[] =
        GOOD("six.test") "2.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.six.test."
                         " IN A 127.0.0.2\n"
                         "e.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.e.f.0.0.0.2.6.2.six.test."
                         " IN A 127.0.0.2\n";

    rig_open(six, zone);
    LOOK("2620:fe::fe", "six:spam 127.0.0.2", "the nibbles of an IPv6 address");
    LOOK("2620:fe::ff", "", "its neighbour");
    LOOK("::ffff:9.3.2.1", "", "a mapped address is IPv4");
    LOOK("fe80::1", "", "a link's own address");
    IS(rig.asked, 0, "is nobody's to know");
    rig_close();
    rig_open(six, GOOD("six.test"));
    LOOK("2620:fe::fe", "!six:nothing", "no ::ffff:7f00:2: the part for IPv6 is left out");
    LOOK("9.3.2.1", "", "the part for IPv4");
    OK(rig.asked > 0, "is asked all the same");
    rig_close();
}

static void
test_names(void)
{
    static const char settings[] =
        "dns_list dom {\n zone = dom.test\n of = sender\n codes = 127.0.1.2 spam, "
        "127.0.1.&4 phish\n}\n"
        "dns_list ehlo {\n zone = ehlo.test\n of = helo\n codes = 127.0.0.2 suspicious\n}\n";
    static const char zone[] = "test.dom.test. IN A 127.0.1.2\n"
                               "bad.example.dom.test. IN A 127.0.1.2\n"
                               "bits.example.dom.test. IN A 127.0.1.12\n"
                               "test.ehlo.test. IN A 127.0.0.2\n"
                               "bad.example.ehlo.test. IN A 127.0.0.2\n";
    char longest[254];

    rig_open(settings, zone);
    TEXT(str_c(look("9.3.2.1", "bad.example", "bad.example")),
         "dom:spam 127.0.1.2 ehlo:suspicious 127.0.0.2", "sender and EHLO");
    TEXT(str_c(look("9.3.2.1", "x.example", "bits.example")), "dom:phish 127.0.1.12",
         "a bit among others");
    TEXT(str_c(look("9.3.2.1", "[9.3.2.1]", "")), "", "a literal and the null sender");
    IS(rig.asked, 0, "are no names");
    (void)look("9.3.2.1", "9.3.2.1", "localhost");
    IS(rig.asked, 0, "nor are an address and a name without a dot");
    for (size_t i = 0; i < sizeof(longest) - 1; i++)
        longest[i] = i % 2 ? '.' : 'a';
    longest[253] = '\0';
    (void)look("9.3.2.1", "x.example", longest);
    IS(rig.asked, 1, "a name with no room for the zone is not asked");
    rig_close();
    rig_open(settings, "*.dom.test. IN A 127.0.1.2\n*.ehlo.test. IN A 127.0.0.2\n");
    TEXT(str_c(look("9.3.2.1", "bad.example", "bad.example")), "!dom:all !ehlo:all",
         "attack 20: lists of names that list INVALID");
    rig_close();
}

static void
test_allow_and_trusted(void)
{
    rig_open(
        "dns_list wl {\n zone = wl.test\n kind = allow\n codes = 127.0.*.1 allowed-low, "
        "127.0.*.2 allowed-medium, 127.0.*.3 allowed-high\n trusted = 9.9.0.0/16\n}\n",
        GOOD("wl.test") "1.2.3.9.wl.test. IN A 127.0.10.3\n1.1.9.9.wl.test. IN A 127.0.10.3\n");
    LOOK("9.3.2.1", "wl:allowed-high 127.0.10.3", "an allow list");
    LOOK("9.9.1.1", "", "a network that is trusted");
    IS(rig.asked, 0, "is not looked up");
    rig_close();
    OK(dns_list_weight("allowed-high") < 0 && dns_list_weight("spam") > 0, "weights have a side");
    for (size_t i = 0; dns_list_names[i]; i++)
        OK(dns_list_weight(dns_list_names[i]) != 0 && dns_list_weight(dns_list_names[i]) <= 500,
           "%s weighs something, and never enough to refuse", dns_list_names[i]);
}

static void
test_settings(void)
{
    static const struct {
        const char *text;
        int kind;
        bool good;
    } codes[] = {
        {"127.0.0.2 listed", DNS_LIST_BLOCK, true},    {"127.0.0.2 allowed", DNS_LIST_BLOCK, false},
        {"127.0.0.2 spam", DNS_LIST_ALLOW, false},     {"127.0.0.2", DNS_LIST_BLOCK, false},
        {"127.0.0.2 spam 3.0", DNS_LIST_BLOCK, false}, {"127.0.0 spam", DNS_LIST_BLOCK, false},
        {"127.0.0.2.3 spam", DNS_LIST_BLOCK, false},   {"127.0.0.256 spam", DNS_LIST_BLOCK, false},
        {"127.0.0.7-4 spam", DNS_LIST_BLOCK, false},   {"127.0.0.&0 spam", DNS_LIST_BLOCK, false},
        {"128.0.0.2 spam", DNS_LIST_BLOCK, false},     {"*.0.0.2 spam", DNS_LIST_BLOCK, false},
        {"126-127.0.0.2 spam", DNS_LIST_BLOCK, false}, {"127.*.*.* spam", DNS_LIST_BLOCK, true},
    };
    static char many[4096];
    struct dns_list_code c;
    struct why why = {""};
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        IS(dns_list_code_parse(str_c(codes[i].text), (enum dns_list_kind)codes[i].kind, &c) == 0,
           codes[i].good, "code \"%s\"", codes[i].text);
    rig_open("dns_list a {\n zone = a.test\n codes = 127.*.*.* listed\n}\n",
             GOOD("a.test") "1.2.3.9.a.test. IN A 127.255.255.254\n");
    LOOK("9.3.2.1", "!a:public", "no pattern makes a refusal a finding");
    rig_close();
    for (unsigned i = 0; i < 17; i++)
        n += str_fmt(many + n, sizeof(many) - n, "dns_list l%u {\n zone = l%u.test\n}\n", i, i);
    rig_open("", "");
    OK(!rig.lists, "no lists: nothing is made");
    rig_close();
    {
        static const struct conf_block *const blocks[] = {&auth_dns_list_block};
        static struct conf_texts texts;
        struct conf_errors errs = {0};
        struct dns_lists *lists;
        struct conf *conf;

        texts.n = 1;
        texts.items[0] = (struct conf_text){.path = STR("t"), .text = str_c(many)};
        conf_parse(&conf, &texts, blocks, 1, 1, &errs);
        IS(dns_lists_create(&lists, conf, &why), ERR_LIMIT, "%s", why.text);
        conf_free(conf);
        texts.items[0].text = STR("dns_list x {\n zone = x.test\n codes = 10.0.0.1 listed\n}\n");
        conf_parse(&conf, &texts, blocks, 1, 1, &errs);
        OK(!conf && errs.n == 1, "a wrong code is told: %.*s",
           STR_ARG(errs.n ? errs.items[0].text : STR_NONE));
        conf_errors_done(&errs);
    }
}

int
main(void)
{
    test_answers();
    test_attack_refusals();
    test_attack_sick_lists();
    test_failures();
    test_attack_hindered();
    test_ipv6();
    test_names();
    test_allow_and_trusted();
    test_settings();
    return tap_done();
}
