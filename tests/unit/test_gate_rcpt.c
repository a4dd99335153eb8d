/*
 * tests/unit/test_gate_rcpt.c - who a recipient is: tables of cases over settings and a snapshot,
 * then directories, callouts, inside servers and forwarding through a whole gate.
 */
#include "gate_rig.h"

#include "gate/inner.h"
#include "gate/rcpt.h"
#include "gate/session.h"
#include "smtp/server.h"

static const char conf[] =
    "hostname = mx.gate.test\n"
    "trusted = 127.0.0.2\n"
    "postmaster = admin@table.test\n"
    "listen smtp { address = 127.0.0.1:25\n kind = trusted\n }\n"
    "srs { domain = fwd.gate.test\n secret = SECRET\n }\n"
    "domain any.test { inside = smtp://127.0.0.1:1\n delimiter = +\n }\n"
    "domain table.test { inside = smtp://127.0.0.1:1\n recipients = table\n recipient_table = T\n"
    "delimiter = +-\n }\n"
    "domain catch.test { inside = smtp://127.0.0.1:1\n recipients = table\n recipient_table = T\n"
    "catch_all = all@catch.test\n }\n"
    "domain ldap.test { inside = smtp://127.0.0.1:1\n recipients = ldap\n"
    "ldap_url = ldap://127.0.0.1/dc=x\n recipient_query = (mail=%s)\n }\n"
    "domain ask.test { inside = smtp://127.0.0.1:1\n recipients = callout\n delimiter = +\n }\n"
    "domain back.test { role = backup\n }\n"
    "smtp { lookup_client = no\n unknown_rcpts_network = 30/1h\n lookup_cache = 16\n }\n";

static struct snapshot snap;

static struct str
secret_file(void *ctx, struct str path)
{
    (void)ctx;
    return str_iends(path, STR("SECRET")) ? STR("0123456789abcdef0123\n") : STR_NONE;
}

/* Aliases that name the next one thirty times: few targets, and 30^8 ways to them. */
static void
publish_bomb(struct snapshot_builder *b)
{
    char key[32], list[1024];

    for (unsigned level = 0; level < 8; level++) {
        size_t n = 0;

        for (unsigned i = 0; i < 30; i++)
            n += 1 + str_fmt(list + n, sizeof(list) - n, "%s%u@table.test",
                             level < 7 ? "bomb" : "end", level + 1);
        str_fmt(key, sizeof(key), "bomb%u@table.test", level);
        snapshot_add(b, SNAPSHOT_ALIAS, str_c(key), str_of(list, n));
    }
}

/* An alias of a thousand. */
static void
publish_many(struct snapshot_builder *b)
{
    static char list[40000];
    size_t n = 0;

    for (unsigned i = 0; i < RCPT_TARGETS_MAX; i++)
        n += 1 + str_fmt(list + n, sizeof(list) - n, "member%u@table.test", i);
    snapshot_add(b, SNAPSHOT_ALIAS, STR("many@table.test"), str_of(list, n));
}

static void
publish(void)
{
    static const struct {
        enum snapshot_table table;
        const char *key;
        struct str value;
    } rows[] = {
        {SNAPSHOT_RCPT, "ann@table.test", {"", 0}},
        {SNAPSHOT_RCPT, "admin@table.test", {"", 0}},
        {SNAPSHOT_RCPT, "bob@catch.test", {"", 0}},
        {SNAPSHOT_RCPT, "odd%name@any.test", {"", 0}},
        {SNAPSHOT_RCPT, "eve@store.test", {"", 0}},
        {SNAPSHOT_DOMAIN, "store.test", {"", 0}},
        {SNAPSHOT_ALIAS, "info@table.test", STR("ann@table.test\0")},
        {SNAPSHOT_ALIAS, "team@table.test", STR("ann@table.test\0team2@table.test\0x@any.test\0")},
        {SNAPSHOT_ALIAS, "team2@table.test", STR("ann@table.test\0y@out.test\0")},
        {SNAPSHOT_ALIAS, "self@table.test", STR("self@table.test\0out@out.test\0")},
        {SNAPSHOT_ALIAS, "ring1@table.test", STR("ring2@table.test\0")},
        {SNAPSHOT_ALIAS, "ring2@table.test", STR("ring1@table.test\0")},
        {SNAPSHOT_ALIAS, "@table.test", STR("ann@table.test\0")},
        {SNAPSHOT_ALIAS, "damaged@any.test", STR("not an address\0")},
    };
    struct snapshot_builder *b = snapshot_build(1);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        snapshot_add(b, rows[i].table, str_c(rows[i].key), rows[i].value);
    publish_bomb(b);
    publish_many(b);
    OK(snapshot_map(&snap, snapshot_finish(b)) == 0, "a snapshot");
    if (rig.gate)
        gate_set_snapshot(rig.gate, &snap);
}

/* ---- the resolver alone ---- */

static const struct {
    const char *rcpt;
    bool relay, null_sender;
    uint8_t state;
    const char *targets; /* separated by spaces; ! before one outside */
} cases[] = {
    {"x@any.test", false, false, STAGE_RCPT_TAKEN, "x@any.test"},
    {"X+tag@ANY.test", false, false, STAGE_RCPT_TAKEN, "X+tag@ANY.test"},
    {"x@other.test", false, false, STAGE_RCPT_NOT_SERVED, ""},
    {"x%far.test@any.test", false, false, STAGE_RCPT_UNKNOWN, ""},
    {"far.test!x@any.test", false, false, STAGE_RCPT_UNKNOWN, ""},
    {"\"x@far.test\"@any.test", false, false, STAGE_RCPT_UNKNOWN, ""},
    {"\"x\\@far.test\"@any.test", false, false, STAGE_RCPT_UNKNOWN, ""},
    {"x%far.test@back.test", false, false, STAGE_RCPT_UNKNOWN, ""},
    {"x%far.test@ask.test", false, false, STAGE_RCPT_UNKNOWN, ""},
    {"x%far.test+y@any.test", false, false, STAGE_RCPT_UNKNOWN, ""},
    {"x+y%far.test@any.test", false, false, STAGE_RCPT_TAKEN, "x@any.test"},
    {"x%far.test@catch.test", false, false, STAGE_RCPT_TAKEN, "all@catch.test"},
    {"x%far.test@any.test", true, false, STAGE_RCPT_TAKEN, "x%far.test@any.test"},
    {"x%far.test@out.test", true, false, STAGE_RCPT_TAKEN, "!x%far.test@out.test"},
    {"odd%name@any.test", false, false, STAGE_RCPT_TAKEN, "odd%name@any.test"},
    {"x@other.test", true, false, STAGE_RCPT_TAKEN, "!x@other.test"},
    {"x@[192.0.2.1]", false, false, STAGE_RCPT_NOT_SERVED, ""},
    {"PostMaster@[192.0.2.25]", false, false, STAGE_RCPT_TAKEN, "admin@table.test"},
    {"x@[192.0.2.25]", false, false, STAGE_RCPT_NOT_SERVED, ""},
    {"postmaster@[192.0.2.26]", false, false, STAGE_RCPT_NOT_SERVED, ""},
    {"postmaster@[192.0.2.26]", true, false, STAGE_RCPT_TAKEN, "!postmaster@[192.0.2.26]"},
    {"bomb0@table.test", false, false, STAGE_RCPT_LATER, ""},
    {"ann@table.test", false, false, STAGE_RCPT_TAKEN, "ann@table.test"},
    {"ANN@Table.Test", false, false, STAGE_RCPT_TAKEN, "ANN@Table.Test"},
    {"ann+news@table.test", false, false, STAGE_RCPT_TAKEN, "ann@table.test"},
    {"ann-x@table.test", false, false, STAGE_RCPT_TAKEN, "ann@table.test"},
    {"\"ann\"@table.test", false, false, STAGE_RCPT_TAKEN, "\"ann\"@table.test"},
    {"nobody@table.test", false, false, STAGE_RCPT_TAKEN, "ann@table.test"},
    {"info@table.test", false, false, STAGE_RCPT_TAKEN, "ann@table.test"},
    {"INFO+x@table.test", false, false, STAGE_RCPT_TAKEN, "ann@table.test"},
    {"team@table.test", false, false, STAGE_RCPT_TAKEN, "ann@table.test !y@out.test x@any.test"},
    {"self@table.test", false, false, STAGE_RCPT_TAKEN, "self@table.test !out@out.test"},
    {"ring1@table.test", false, false, STAGE_RCPT_TAKEN, "ring1@table.test"},
    {"damaged@any.test", false, false, STAGE_RCPT_LATER, ""},
    {"bob@catch.test", false, false, STAGE_RCPT_TAKEN, "bob@catch.test"},
    {"zed@catch.test", false, false, STAGE_RCPT_TAKEN, "all@catch.test"},
    {"postmaster@any.test", false, false, STAGE_RCPT_TAKEN, "admin@table.test"},
    {"PostMaster@table.test", false, false, STAGE_RCPT_TAKEN, "admin@table.test"},
    {"postmaster", false, false, STAGE_RCPT_TAKEN, "admin@table.test"},
    {"eve@store.test", false, false, STAGE_RCPT_TAKEN, "eve@store.test"},
    {"sue@store.test", false, false, STAGE_RCPT_UNKNOWN, ""},
    {"a@back.test", false, false, STAGE_RCPT_TAKEN, "a@back.test"},
    {"p@ldap.test", false, false, STAGE_RCPT_LATER, ""},
    {"SRS0=aaaaaaaa=aa=out.test=x@fwd.gate.test", false, true, STAGE_RCPT_UNKNOWN, ""},
    {"x@fwd.gate.test", false, true, STAGE_RCPT_NOT_SERVED, ""},
};

static void
show_targets(const struct rcpt_result *r, char *dst, size_t cap)
{
    size_t at = 0;

    dst[0] = '\0';
    for (unsigned i = 0; i < r->n; i++)
        at += str_fmt(dst + at, cap - at, "%s%s%.*s", i ? " " : "", r->targets[i].inside ? "" : "!",
                      STR_ARG(r->targets[i].address));
}

static void
test_cases(void)
{
    struct gate_links links = {
        .file = secret_file, .checks = checks_table, .nchecks = checks_count};
    struct setup *su = NULL;
    struct why why = {""};
    struct conf *c = rig_parse(conf);
    struct arena arena;
    char shown[1024];

    if (!OK(c && setup_create(&su, &links, c, &why) == 0, "settings %s", why.text))
        return;
    publish();
    arena_init(&arena, 1u << 20);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rcpt_query q = {.setup = su,
                               .snapshot = &snap,
                               .arena = &arena,
                               .may_relay = cases[i].relay,
                               .null_sender = cases[i].null_sender,
                               .now_s = 1800000000};

        addr_parse(STR("192.0.2.25"), &q.local);
        address_parse(str_c(cases[i].rcpt), ADDRESS_ALLOW_UTF8 | ADDRESS_ALLOW_POSTMASTER,
                      &q.address);
        OK(rcpt_resolve(&q), "%s is resolved at once", cases[i].rcpt);
        IS(q.result.state, cases[i].state, "%s: state", cases[i].rcpt);
        show_targets(&q.result, shown, sizeof(shown));
        if (q.result.state == STAGE_RCPT_TAKEN)
            TEXT(str_c(shown), cases[i].targets, "%s: targets", cases[i].rcpt);
    }
    arena_done(&arena);
    setup_unref(su);
    conf_free(c);
    snapshot_unmap(&snap);
}

/* ---- through a gate, with a keeper and a courier played by the test ---- */

static unsigned lookups, callouts;
static uint64_t late;

static void
peer_message(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    struct chan *end = *(struct chan **)ctx;
    struct str domain = wire_str(body), address;
    struct buf out;

    fd_close(&fd);
    (void)domain;
    buf_init(&out, 4096);
    if (type == ASK_LOOKUP) {
        address = wire_str(body);
        lookups++;
        if (str_eq(address, STR("fwd@ldap.test"))) {
            put_u8(&out, LOOKUP_FOUND);
            put_u32(&out, 60);
            put_u16(&out, 2);
            put_str(&out, STR("one@any.test"));
            put_str(&out, STR("two@out.test"));
        } else {
            put_u8(&out, str_eq(address, STR("here@ldap.test"))   ? LOOKUP_FOUND
                         : str_eq(address, STR("busy@ldap.test")) ? LOOKUP_TEMPORARY
                                                                  : LOOKUP_UNKNOWN);
            put_u32(&out, 60);
            put_u16(&out, 0);
        }
        chan_send(end, ASK_LOOKUP_ANSWER, id, &out, -1);
    } else {
        wire_str(body);
        address = wire_str(body);
        callouts++;
        if (str_eq(address, STR("late+x@ask.test")) || str_istarts(address, STR("silent"))) {
            late = id; /* the test answers it */
            buf_done(&out);
            return;
        }
        put_u8(&out, str_eq(address, STR("here@ask.test"))     ? LOOKUP_FOUND
                     : str_eq(address, STR("policy@ask.test")) ? LOOKUP_REFUSED
                                                               : LOOKUP_UNKNOWN);
        put_u16(&out, str_eq(address, STR("here@ask.test")) ? 250 : 554);
        put_str(&out, STR("the inside\r\nserver says so"));
        chan_send(end, ASK_CALLOUT_ANSWER, id, &out, -1);
    }
    buf_done(&out);
}

static void
gate_side(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    (void)ctx;
    fd_close(&fd);
    OK(gate_message(rig.gate, type, id, body) && wire_end(body), "a message is the gate's");
}

static void
side_closed(void *ctx)
{
    (void)ctx;
}

static const struct chan_ops peer_ops = {.message = peer_message, .closed = side_closed};
static const struct chan_ops gate_ops = {.message = gate_side, .closed = side_closed};

static bool
start(void)
{
    int fds[2];

    lookups = callouts = 0;
    rig.file = secret_file;
    rig.loop = loop_create();
    chan_pair(fds);
    rig.keeper = chan_create(rig.loop, fds[0], &gate_ops, NULL);
    rig.keeper_end = chan_create(rig.loop, fds[1], &peer_ops, &rig.keeper_end);
    chan_pair(fds);
    rig.courier = chan_create(rig.loop, fds[0], &gate_ops, NULL);
    rig.courier_end = chan_create(rig.loop, fds[1], &peer_ops, &rig.courier_end);
    if (!rig_start(conf, 10))
        return false;
    publish();
    return true;
}

static void
finish(void)
{
    rig_stop();
    rig_end();
    snapshot_unmap(&snap);
}

static void
greet(struct client *c, const char *from)
{
    client_open_from(c, 0, from);
    client_expect(c, "220", "greeting");
    talk(c, "EHLO c.far.test", "250");
}

static void
test_directories(void)
{
    struct client c;

    if (!start())
        return;
    greet(&c, "127.0.0.1");
    talk(&c, "MAIL FROM:<a@far.test>", "250");
    talk(&c, "RCPT TO:<here@ldap.test>", "250");
    talk(&c, "RCPT TO:<here@ldap.test>", "250");
    IS(lookups, 1, "the second answer comes from the cache");
    talk(&c, "RCPT TO:<gone@ldap.test>", "550 5.1.1");
    talk(&c, "RCPT TO:<busy@ldap.test>", "451 4.4.3");
    talk(&c, "RCPT TO:<fwd@ldap.test>", "250");
    talk(&c, "RCPT TO:<here@ask.test>", "250");
    talk(&c, "RCPT TO:<here+tag@ask.test>", "250");
    talk(&c, "RCPT TO:<gone@ask.test>", "550 5.1.1");
    OK(last_has("the inside  server says so"), "with the inside server's words: %s", last);
    talk(&c, "RCPT TO:<policy@ask.test>", "554 5.7.1");
    IS(callouts, 4, "four questions to the inside server");
    talk(&c, "RSET", "250");
    chan_free(rig.courier_end);
    rig.courier_end = NULL;
    UNTIL(!chan_open(rig.courier));
    gate_lost(rig.gate, rig.courier);
    talk(&c, "MAIL FROM:<a@far.test>", "250");
    talk(&c, "RCPT TO:<here@ask.test>", "250");
    talk(&c, "RCPT TO:<new@ask.test>", "451 4.4.3");
    client_shut(&c);
    finish();
}

/* Two sessions ask the same question: it is asked once. */
static void
test_joined(void)
{
    struct client a, b;

    if (!start())
        return;
    greet(&a, "127.0.0.1");
    greet(&b, "127.0.0.1");
    talk(&a, "MAIL FROM:<a@far.test>", "250");
    talk(&b, "MAIL FROM:<a@far.test>", "250");
    client_say(&a, "RCPT TO:<here@ask.test>\r\n");
    client_say(&b, "RCPT TO:<here@ask.test>\r\n");
    client_expect(&a, "250", "one");
    client_expect(&b, "250", "the other");
    OK(callouts >= 1 && callouts <= 1, "one question");
    client_say(&a, "RCPT TO:<new@ask.test>\r\n");
    client_shut(&a);
    talk(&b, "NOOP", "250");
    client_shut(&b);
    finish();
}

/* An answer that two wait for, while the cache is full of younger ones: the first to hear it asks
 * for the name without its extension, and the answer must not be forgotten to make room. */
static void
test_full_cache(void)
{
    struct client a, b, c;
    struct buf out;
    char line[64];

    if (!start())
        return;
    greet(&a, "127.0.0.1");
    greet(&b, "127.0.0.1");
    greet(&c, "127.0.0.1");
    talk(&a, "MAIL FROM:<a@far.test>", "250");
    talk(&b, "MAIL FROM:<a@far.test>", "250");
    talk(&c, "MAIL FROM:<a@far.test>", "250");
    late = 0;
    client_say(&a, "RCPT TO:<late+x@ask.test>\r\n");
    client_say(&b, "RCPT TO:<late+x@ask.test>\r\n");
    UNTIL(late);
    for (unsigned i = 0; i < 18; i++) {
        str_fmt(line, sizeof(line), "RCPT TO:<u%u@ldap.test>", i);
        talk(&c, line, "550 5.1.1");
    }
    buf_init(&out, 256);
    put_u8(&out, LOOKUP_UNKNOWN);
    put_u16(&out, 550);
    put_str(&out, STR("no such user"));
    chan_send(rig.courier_end, ASK_CALLOUT_ANSWER, late, &out, -1);
    buf_done(&out);
    client_expect(&a, "550 5.1.1", "the first who waited");
    OK(last_has("no such user"), "hears the words: %s", last);
    client_expect(&b, "550 5.1.1", "the second");
    OK(last_has("no such user"), "hears them too: %s", last);
    client_shut(&a);
    client_shut(&b);
    client_shut(&c);
    finish();
}

static void
answer_found(uint64_t id)
{
    struct buf out;

    buf_init(&out, 256);
    put_u8(&out, LOOKUP_FOUND);
    put_u16(&out, 250);
    put_str(&out, STR(""));
    chan_send(rig.courier_end, ASK_CALLOUT_ANSWER, id, &out, -1);
    buf_done(&out);
}

static unsigned
asking(const char *from)
{
    struct addr a;

    addr_parse(str_c(from), &a);
    return limits_get(&rig.gate->limits, LIMITS_NETWORK, &a)->asking;
}

/* A network that asks for ever new names waits for its own answers; nobody else does. */
static void
test_shares(void)
{
    enum { N = 26 };
    static struct client many[N];
    struct client other, same;
    char line[64];

    if (!start())
        return;
    for (unsigned i = 0; i < N; i++) {
        greet(&many[i], "127.0.7.1");
        talk(&many[i], "MAIL FROM:<a@far.test>", "250");
        str_fmt(line, sizeof(line), "RCPT TO:<silent%u@ask.test>\r\n", i);
        client_say(&many[i], line);
    }
    UNTIL(callouts == N - 1);
    greet(&other, "127.1.7.1");
    talk(&other, "MAIL FROM:<a@far.test>", "250");
    talk(&other, "RCPT TO:<here@ask.test>", "250");
    IS(callouts, N, "another network is answered, and one of the first still waits");
    greet(&same, "127.0.7.2");
    talk(&same, "MAIL FROM:<a@far.test>", "250");
    talk(&same, "RCPT TO:<here@ask.test>", "250");
    IS(callouts, N, "what is known needs no turn");
    IS(asking("127.0.7.1"), N - 1, "so many are asked for that network");
    answer_found(late);
    UNTIL(callouts == N + 1);
    IS(callouts, N + 1, "an answer makes room for the next");
    for (unsigned i = 0; i < N; i++)
        client_shut(&many[i]);
    client_shut(&same);
    client_shut(&other);
    UNTIL(!gate_sessions(rig.gate));
    IS(asking("127.0.7.1"), 0, "who leaves asks no more");
    finish();
}

static void
tell_inside(const char *domain, uint64_t max, uint8_t bits)
{
    struct buf b;

    buf_init(&b, 512);
    put_str(&b, str_c(domain));
    put_u64(&b, max);
    put_u8(&b, bits);
    chan_send(rig.courier_end, TELL_INSIDE, 0, &b, -1);
    buf_done(&b);
}

static void
test_inside(void)
{
    static char big[3000];
    struct client c;

    if (!start())
        return;
    tell_inside("any.test", 2000, INSIDE_KNOWN | INSIDE_8BITMIME);
    tell_inside("back.test", 0, INSIDE_KNOWN);
    greet(&c, "127.0.0.1");
    talk(&c, "MAIL FROM:<a@far.test> SIZE=2001", "250");
    talk(&c, "RCPT TO:<x@any.test>", "552 5.3.4");
    talk(&c, "RCPT TO:<x@back.test>", "250");
    talk(&c, "RSET", "250");
    talk(&c, "MAIL FROM:<a@far.test> BODY=8BITMIME", "250");
    talk(&c, "RCPT TO:<x@any.test>", "250");
    talk(&c, "RCPT TO:<x@back.test>", "550 5.6.3");
    talk(&c, "RSET", "250");
    talk(&c, "MAIL FROM:<a@far.test> SMTPUTF8", "250");
    talk(&c, "RCPT TO:<x@any.test>", "550 5.6.7");
    talk(&c, "RSET", "250");
    memset(big, 'x', sizeof(big) - 1);
    memcpy(big, "Subject: y\r\n\r\n", 14);
    for (size_t i = 80; i + 2 < sizeof(big); i += 80)
        memcpy(big + i, "\r\n", 2);
    memcpy(big + sizeof(big) - 3, "\r\n", 2);
    send_mail(&c, "a@far.test", "x@any.test", big, "552 5.3.4");
    send_mail(&c, "a@far.test", "x@back.test", big, "250");
    client_shut(&c);
    finish();
}

/* One message's recipients make us walk over large aliases no more than ten times. */
static void
test_large_aliases(void)
{
    enum { MANY = 200 };
    struct client c;
    char line[64];

    if (!start())
        return;
    greet(&c, "127.0.0.1");
    talk(&c, "MAIL FROM:<a@far.test>", "250");
    for (unsigned i = 0; i < MANY; i++) {
        str_fmt(line, sizeof(line), "RCPT TO:<bomb0+%u@table.test>\r\n", i);
        client_say(&c, line);
    }
    for (unsigned i = 0; i < MANY; i++)
        client_expect(&c, i < 10 ? "451 4.3.5" : "452 4.5.3", "an alias that leads nowhere");
    OK(rig.gate->sessions->tx->work <= RCPT_WORK_ALL + RCPT_WORK_MAX, "%u entries were looked at",
       rig.gate->sessions->tx->work);
    talk(&c, "RSET", "250");
    talk(&c, "MAIL FROM:<a@far.test>", "250");
    talk(&c, "RCPT TO:<many@table.test>", "250");
    talk(&c, "RCPT TO:<info@table.test>", "250");
    client_shut(&c);
    finish();
}

static void
test_forwarding(void)
{
    struct client c;
    char line[500], srs[400];
    struct rig_message *m = rig.messages;

    if (!start())
        return;
    greet(&c, "127.0.0.1");
    send_mail(&c, "a@far.test", "team@table.test", "Subject: f\r\n\r\nx\r\n", "250");
    send_mail(&c, "b@any.test", "self@table.test", "Subject: f\r\n\r\nx\r\n", "250");
    send_mail(&c, "", "self@table.test", "Subject: f\r\n\r\nx\r\n", "250");
    client_shut(&c);
    spool_writer_free(rig.writer);
    gate_free(rig.gate);
    rig_read_log();
    if (OK(rig.nmessages == 6, "each forwarded message is two records: %u", rig.nmessages)) {
        OK(m[0].class == SPOOL_CLASS_INSIDE && m[0].nrcpt == 2, "two inside");
        TEXT(str_c(m[0].sender), "a@far.test", "with the sender as it was");
        OK(m[1].class == SPOOL_CLASS_TRANSACTIONAL && m[1].nrcpt == 1, "one outside");
        TEXT(str_c(m[1].rcpts[0]), "y@out.test", "to whom");
        OK(str_starts(str_c(m[1].sender), STR("SRS0=")) &&
               str_ends(str_c(m[1].sender), STR("=far.test=a@fwd.gate.test")),
           "with a sender of ours: %s", m[1].sender);
        TEXT(str_c(m[3].sender), "b@any.test", "a sender of our own domains stays");
        TEXT(str_c(m[5].sender), "", "the null sender stays");
    }
    str_fmt(srs, sizeof(srs), "%s", m[1].sender);
    rig.writer = NULL;
    rig.gate = NULL;
    rig_end();
    snapshot_unmap(&snap);

    if (!start())
        return;
    greet(&c, "127.0.0.1");
    talk(&c, "MAIL FROM:<>", "250");
    str_fmt(line, sizeof(line), "RCPT TO:<%s>", srs);
    talk(&c, line, "250");
    talk(&c, "DATA", "354");
    client_say(&c, "Subject: bounce\r\n\r\nx\r\n.\r\n");
    client_expect(&c, "250", "a bounce to it");
    talk(&c, "MAIL FROM:<spam@far.test>", "250");
    talk(&c, line, "550 5.7.1");
    talk(&c, "RSET", "250");
    talk(&c, "MAIL FROM:<>", "250");
    str_fmt(line, sizeof(line), "RCPT TO:<%s>", srs);
    line[16] = line[16] == 'a' ? 'b' : 'a';
    talk(&c, line, "550 5.1.1");
    client_shut(&c);
    rig_stop();
    if (OK(rig.nmessages == 1, "one message"))
        TEXT(str_c(m[0].rcpts[0]), "a@far.test", "goes back to whom it was forwarded for");
    rig_end();
    snapshot_unmap(&snap);
}

static void
test_harvest(void)
{
    struct client c;
    char line[64];

    if (!start())
        return;
    greet(&c, "127.0.0.1");
    for (unsigned i = 0; i < 3; i++) {
        talk(&c, "MAIL FROM:<a@far.test>", "250");
        for (unsigned k = 0; k < 10; k++) {
            str_fmt(line, sizeof(line), "RCPT TO:<u%u.%u@store.test>", i, k);
            talk(&c, line, "550 5.1.1");
        }
        client_shut(&c);
        greet(&c, "127.0.0.1");
    }
    talk(&c, "MAIL FROM:<a@far.test>", "250");
    talk(&c, "RCPT TO:<eve@store.test>", "450 4.7.1");
    client_shut(&c);
    greet(&c, "127.0.0.2");
    talk(&c, "MAIL FROM:<a@far.test>", "250");
    talk(&c, "RCPT TO:<eve@store.test>", "250");
    client_shut(&c);
    finish();
}

int
main(void)
{
    alarm(120);
    test_cases();
    test_directories();
    test_joined();
    test_full_cache();
    test_shares();
    test_inside();
    test_large_aliases();
    test_forwarding();
    test_harvest();
    return tap_done();
}
