/*
 * tests/unit/test_gate_ceilings.c - what many clients hold at once: sessions, headers, recipients;
 * and what the operator hears of it.
 */
#include "gate/inner.h"
#include "gate/session.h"
#include "gate_rig.h"

static bool
start(const char *text)
{
    static const struct check *const none[1];

    rig.checks = none;
    rig.nchecks = 0;
    return rig_start(text, 10);
}

static void
greet(struct client *c, const char *from)
{
    client_open_from(c, 0, from);
    client_expect(c, "220", "greeting");
    talk(c, "EHLO c.far.test", "250");
}

static unsigned
warnings(void)
{
    struct str all = buf_view(&rig.events);
    unsigned n = 0;
    ssize_t at;

    for (; (at = str_find(all, STR("\"type\":\"Warning\""))) >= 0; n++)
        all = str_from(all, (size_t)at + 1);
    return n;
}

/* A listener's ceiling is one for all its addresses, and holds when they are opened anew. */
static void
test_two_addresses(void)
{
    static const char text[] = "hostname = mx.gate.test\n"
                               "listen smtp { address = 127.0.0.1:25\n max_sessions = 2\n }\n";
    struct client c[2], more;
    struct endpoint e;

    if (!start(text))
        return;
    endpoint_parse(STR("127.0.0.1:0"), 0, &e);
    IS(gate_listen(rig.gate, STR("smtp"), rig_bind(&e, &rig.ports[1])), 0, "a second address");
    for (unsigned i = 0; i < 2; i++) {
        client_open(&c[i], i);
        client_expect(&c[i], "220", "greeting");
    }
    for (unsigned i = 0; i < 2; i++) {
        client_open(&more, i);
        client_expect(&more, "421 4.3.2", "two sessions are there");
        client_shut(&more);
    }
    gate_unlisten(rig.gate, STR("smtp"));
    IS(gate_listen(rig.gate, STR("smtp"), rig_bind(&e, &rig.ports[0])), 0, "once more");
    client_open(&more, 0);
    client_expect(&more, "421 4.3.2", "they still are");
    client_shut(&more);
    client_shut(&c[0]);
    client_shut(&c[1]);
    rig_stop();
    rig_end();
}

static unsigned
rejections(void)
{
    struct str all = buf_view(&rig.events);
    unsigned n = 0;

    for (ssize_t at; (at = str_find(all, STR("\"too many connections\""))) >= 0; n++)
        all = str_from(all, (size_t)at + 1);
    return n;
}

/* Who knocks without end does not write without end. */
static void
test_turned_away(void)
{
    struct client one, more;
    struct addr a;

    if (!start("hostname = mx.gate.test\nlisten smtp { address = 127.0.0.1:25 }\n"
               "smtp { sessions_per_network = 1\n }\n"))
        return;
    client_open(&one, 0);
    client_expect(&one, "220", "greeting");
    addr_parse(STR("127.0.0.0"), &a);
    for (unsigned i = 0; i < 6; i++) {
        if (i) /* however slow this machine is */
            limits_get(&rig.gate->limits, LIMITS_NETWORK, &a)->told =
                clock_mono() - (i == 5 ? NS_PER_S : 0);
        client_open(&more, 0);
        client_expect(&more, "421 4.3.2", "one too many");
        client_shut(&more);
        if (i == 4)
            IS(rejections(), 1, "told once in a second");
    }
    IS(rejections(), 2, "and in the next");
    OK(events_have("\"before\":4"), "with the number of the others");
    client_shut(&one);
    rig_stop();
    rig_end();
}

/* A small ceiling of waiting recipients is one for all classes. */
static void
test_few_waiting(void)
{
    struct client c;
    struct buf load;
    struct wire w;

    if (!start("hostname = mx.gate.test\ntrusted = 127.0.0.2\n"
               "listen smtp { address = 127.0.0.1:25\n kind = trusted\n }\n"
               "smtp { max_waiting = 5\n }\n"))
        return;
    for (uint64_t waiting = 5; waiting < 7; waiting++) {
        buf_init(&load, 64);
        put_u64(&load, waiting);
        put_u64(&load, 0);
        wire_init(&w, load.p, load.n);
        gate_message(rig.gate, TELL_LOAD, 0, &w);
        buf_done(&load);
        for (unsigned i = 1; i < 3; i++) {
            const char *from = i == 2 ? "127.0.0.2" : "127.0.0.1";

            client_open_from(&c, 0, from);
            client_expect(&c, "220", from);
            talk(&c, "EHLO c.far.test", "250");
            talk(&c, "MAIL FROM:<a@far.test>", i == 2 && waiting < 6 ? "250" : "452 4.3.1");
            client_shut(&c);
        }
    }
    rig_stop();
    rig_end();
}

/* Who rents a /48 of IPv6 asks as one, from whichever of its networks. */
static void
test_customer(void)
{
    static const struct {
        const char *from, *want;
    } rows[] = {
        {"2001:db8:5:1::1", "550 5.7.1"}, {"2001:db8:5:2::1", "550 5.7.1"},
        {"2001:db8:5:3::1", "451 4.3.0"}, {"2001:db8:6:1::1", "550 5.7.1"},
        {"192.0.2.1", "550 5.7.1"},       {"192.0.2.2", "550 5.7.1"},
        {"192.0.2.3", "451 4.3.0"},       {"192.0.3.1", "550 5.7.1"},
    };
    struct client c;
    char line[128];

    if (!start("hostname = mx.gate.test\n"
               "listen smtp { address = 127.0.0.1:25\n proxy = 127.0.0.3\n }\n"
               "domain any.test { inside = smtp://127.0.0.1:1\n }\n"
               "smtp { lookup_client = no\n unknown_rcpts_network = 2/1h\n }\n"))
        return;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool six = strchr(rows[i].from, ':') != NULL;

        client_open_from(&c, 0, "127.0.0.3");
        str_fmt(line, sizeof(line), "PROXY TCP%c %s %s 1 25\r\n", six ? '6' : '4', rows[i].from,
                rows[i].from);
        client_say(&c, line);
        client_expect(&c, "220", rows[i].from);
        talk(&c, "EHLO c.far.test", "250");
        talk(&c, "MAIL FROM:<a@far.test>", "250");
        talk(&c, "RCPT TO:<x%far.test@any.test>", rows[i].want);
        client_shut(&c);
    }
    rig_stop();
    rig_end();
}

/* In the middle of a reload a listener has no block: nobody is turned away for it, nor left alone.
 */
static void
test_renamed(void)
{
    static const char other[] = "hostname = mx.gate.test\nlisten mx { address = 127.0.0.1:25 }\n";
    struct client before, during, after;
    struct conf *next = rig_parse(other);
    struct endpoint e;
    struct why why;

    if (!start("hostname = mx.gate.test\nlisten smtp { address = 127.0.0.1:25 }\n") || !next)
        return;
    client_open(&before, 0);
    client_expect(&before, "220", "greeting");
    IS(gate_set_conf(rig.gate, next, &why), 0, "settings without that listener");
    client_open(&during, 0);
    endpoint_parse(STR("127.0.0.1:0"), 0, &e);
    IS(gate_listen(rig.gate, STR("mx"), rig_bind(&e, &rig.ports[1])), 0, "one that they have");
    client_open(&after, 1);
    client_expect(&after, "220", "is served");
    IS(during.got.n, 0, "who comes by the first one waits");
    talk(&before, "NOOP", "250");
    IS(gate_set_conf(rig.gate, rig.conf, &why), 0, "the former settings again");
    client_expect(&during, "220", "and is served");
    client_shut(&after);
    client_open(&after, 1);
    gate_unlisten(rig.gate, STR("mx"));
    UNTIL(after.closed);
    OK(after.closed, "the other one is gone, with those who waited there");
    client_shut(&before);
    client_shut(&during);
    client_shut(&after);
    rig_stop();
    conf_free(next);
    rig_end();
}

/* No session is left: that is said to those who come, and to the operator, once. */
static void
test_all_taken(void)
{
    static const char text[] = "hostname = mx.gate.test\n"
                               "listen smtp { address = 127.0.0.1:25 }\n"
                               "listen few { address = 127.0.0.1:26\n max_sessions = 1\n }\n"
                               "smtp { max_sessions = 2\n }\n";
    struct client c[2], more;

    if (!start(text))
        return;
    for (unsigned i = 0; i < 2; i++) {
        client_open(&c[i], i);
        client_expect(&c[i], "220", "greeting");
    }
    IS(warnings(), 0, "there was room");
    for (unsigned i = 0; i < 3; i++) {
        client_open(&more, 0);
        client_expect(&more, "421 4.3.2", "no session is left");
        client_shut(&more);
    }
    OK(events_have("all 2 sessions of smtp.max_sessions are taken"), "the warning has the setting");
    IS(warnings(), 1, "one warning");
    client_shut(&c[0]);
    UNTIL(gate_sessions(rig.gate) == 1);
    rig.gate->full_told -= 61 * NS_PER_S;
    client_open(&more, 1);
    client_expect(&more, "421 4.3.2", "no session of that listener is left");
    client_shut(&more);
    OK(events_have("listener few turns connections away with 421 (3 since"), "a minute later");
    OK(events_have("all 1 sessions of its max_sessions are taken"), "with the listener's");
    client_shut(&c[1]);
    rig_stop();
    rig_end();
}

/* A balancer that sends no header: its clients wait for a greeting, and we for the header. Nobody
 * else would tell why no mail comes. */
static void
test_no_header(void)
{
    static const char text[] =
        "hostname = mx.gate.test\n"
        "listen smtp { address = 127.0.0.1:25\n proxy = 127.0.0.3, 127.0.0.4\n }\n"
        "smtp { timeout_command = 300ms\n }\n";
    struct client c;

    if (!start(text))
        return;
    client_open_from(&c, 0, "127.0.0.3");
    UNTIL(c.closed);
    OK(c.closed && c.got.n == 0, "a balancer that is silent is shut out");
    OK(events_have("listener smtp: 127.0.0.3 is in its `proxy`") && events_have("(nothing came)"),
       "and the operator is told why");
    client_shut(&c);
    for (unsigned i = 0; i < 2; i++) {
        client_open_from(&c, 0, "127.0.0.4");
        client_say(&c, "EHLO c.far.test\r\n");
        UNTIL(c.closed);
        client_shut(&c);
        IS(warnings(), i ? 2 : 1, "not for each connection");
        rig.gate->proxy_told -= 61 * NS_PER_S;
    }
    OK(events_have("(No PROXY header)"), "what came instead");
    rig_stop();
    rig_end();
}

static uint64_t
bytes_taken(void)
{
    uint64_t n = 0;

    for (const struct session *s = rig.gate->sessions; s; s = s->next)
        n += s->stream ? stream_bytes_in(s->stream) : 0;
    return n;
}

/* In blocks and in the messages' own memory. */
static uint64_t
bytes_held(void)
{
    uint64_t n = rig.gate->blocks.used;

    for (const struct session *s = rig.gate->sessions; s; s = s->next) {
        if (s->tx)
            n += s->tx->arena.used - s->tx->body.beside;
    }
    return n;
}

/* Clients that name as many recipients as they may and send no message. */
static void
test_hoarded_rcpts(void)
{
    enum { CLIENTS = 30, RCPTS = 900 };
    static const char text[] = "hostname = mx.gate.test\n"
                               "listen smtp { address = 127.0.0.1:25 }\n"
                               "domain any.test { inside = smtp://127.0.0.1:1\n }\n"
                               "smtp { max_memory = 16 MB\n }\n";
    static char all[RCPTS * 280];
    struct client c[CLIENTS], other;
    char name[221];
    size_t n = 0;

    memset(name, 'x', sizeof(name));
    for (unsigned i = 0; i < RCPTS; i++)
        n += str_fmt(all + n, sizeof(all) - n, "RCPT TO:<%.220s%u@any.test>\r\n", name, i);
    if (!start(text))
        return;
    for (unsigned k = 0; k < CLIENTS; k++) {
        greet(&c[k], "127.0.0.1");
        talk(&c[k], "MAIL FROM:<a@far.test>", "250");
        client_say(&c[k], all);
        client_say(&c[k], "NOOP\r\n");
        UNTIL(c[k].got.n > 10 && str_ends(buf_view(&c[k].got), STR("250 2.0.0 OK\r\n")));
        if (k == 0)
            OK(str_find(buf_view(&c[k].got), STR("452")) < 0, "one may name them all");
    }
    OK(str_find(buf_view(&c[CLIENTS - 1].got), STR("452 4.5.3")) > 0, "the last one may not");
    OK(bytes_held() < 14u << 20, "%llu bytes are held of them", (unsigned long long)bytes_held());
    greet(&other, "127.0.0.9");
    send_mail(&other, "a@far.test", "b@any.test", "Subject: x\r\n\r\nx\r\n", "250 2.0.0");
    client_shut(&other);
    for (unsigned k = 0; k < CLIENTS; k++)
        client_shut(&c[k]);
    UNTIL(!gate_sessions(rig.gate));
    IS(rig.gate->blocks.used, 0, "all of it comes back");
    rig_stop();
    rig_end();
}

/* Headers that do not end, of many clients at once: a header cannot leave for the disk before its
 * end, and the client says when that is. Others' mail still has memory. */
static void
test_hoards(void)
{
    enum { CLIENTS = 72, MOST = 300u << 10 };
    static const char text[] = "hostname = mx.gate.test\n"
                               "listen smtp { address = 127.0.0.1:25 }\n"
                               "domain any.test { inside = smtp://127.0.0.1:1\n }\n"
                               "smtp { max_memory = 16 MB\n }\n";
    static const struct {
        size_t n;
        const char *what, *more, *reply;
    } rows[] = {
        {250u << 10, "headers within smtp.max_header", "\r\n\r\nx\r\n.\r\n", "452 4.3.1"},
        {290u << 10, "whole headers, kept for the end", "x\r\n.\r\n", "452 4.3.1"},
        {MOST, "headers that are too long", "\r\n.\r\n", "552 5.3.4"},
    };
    static char header[MOST + 1];
    struct client c[CLIENTS], other;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        memset(header, 'x', sizeof(header));
        for (size_t at = 0; at + 64 <= rows[i].n; at += 64) {
            memcpy(header + at, "X-A:", 4);
            memcpy(header + at + 62, "\r\n", 2);
        }
        if (i == 1) /* and the body begins, so that a piece leaves */
            memcpy(header + (200u << 10), "\r\n", 2);
        header[rows[i].n] = '\0';
        if (!start(text))
            return;
        for (unsigned k = 0; k < CLIENTS; k++) {
            greet(&c[k], "127.0.0.1");
            talk(&c[k], "MAIL FROM:<a@far.test>", "250");
            talk(&c[k], "RCPT TO:<b@any.test>", "250");
            talk(&c[k], "DATA", "354");
        }
        for (unsigned k = 0; k < CLIENTS; k++)
            client_say(&c[k], header);
        UNTIL(bytes_taken() >= CLIENTS * rows[i].n);
        OK(bytes_taken() >= CLIENTS * rows[i].n, "%u clients send %s", (unsigned)CLIENTS,
           rows[i].what);
        OK(bytes_held() < 14u << 20, "%llu bytes are held of them",
           (unsigned long long)bytes_held());
        greet(&other, "127.0.0.9");
        send_mail(&other, "a@far.test", "b@any.test", "Subject: x\r\n\r\nx\r\n", "250 2.0.0");
        client_shut(&other);
        client_say(&c[CLIENTS - 1], rows[i].more);
        client_expect(&c[CLIENTS - 1], rows[i].reply, "who held too much is told");
        for (unsigned k = 0; k < CLIENTS; k++)
            client_shut(&c[k]);
        UNTIL(!gate_sessions(rig.gate));
        IS(rig.gate->blocks.used, 0, "all of it comes back");
        rig_stop();
        rig_end();
    }
}

int
main(void)
{
    alarm(120);
    test_all_taken();
    test_two_addresses();
    test_renamed();
    test_customer();
    test_few_waiting();
    test_turned_away();
    test_no_header();
    test_hoards();
    test_hoarded_rcpts();
    return tap_done();
}
