/*
 * tests/unit/test_gate_hostile.c - clients that leave, drip, repeat themselves and wait in odd
 * places: what the gate keeps, forgets and says then.
 */
#include <sys/resource.h>

#include "gate/inner.h"
#include "gate/session.h"
#include "gate_rig.h"

static const char conf[] = "hostname = mx.gate.test\n"
                           "trusted = 127.0.0.2\n"
                           "listen smtp { address = 127.0.0.1:25 }\n"
                           "domain any.test { inside = smtp://127.0.0.1:1\n }\n"
                           "smtp { timeout_command = 300ms\n }\n";

/* A check that names each client, as a resolver's answer would. */
static enum step
name_run(struct check_run *run, enum check_event event)
{
    (void)event;
    check_client_name(run, STR("friend.far.test"));
    return STEP_NEXT;
}

/* And one that weighs each EHLO. */
static enum step
weigh_run(struct check_run *run, enum check_event event)
{
    (void)event;
    check_find(run, &(struct finding){.name = "heavy", .weight = 100, .rule = STR("x")});
    return STEP_NEXT;
}

static const struct check check_name = {.name = "client",
                                        .stage = STAGE_CONNECT,
                                        .join = STAGE_CONNECT,
                                        .place = CHECK_IN_GATE,
                                        .all_clients = true,
                                        .mode = CHECK_ON,
                                        .run = name_run};
static const struct check check_weigh = {.name = "helo",
                                         .stage = STAGE_HELO,
                                         .join = STAGE_HELO,
                                         .place = CHECK_IN_GATE,
                                         .mode = CHECK_ON,
                                         .run = weigh_run};
static const struct check *const checks[] = {&check_name, &check_weigh};

static bool
start(const char *text)
{
    rig.checks = checks;
    rig.nchecks = ARRAY_LEN(checks);
    return rig_start(text, 10);
}

static void
greet(struct client *c, const char *from)
{
    client_open_from(c, 0, from);
    client_expect(c, "220", "greeting");
    talk(c, "EHLO c.far.test", "250");
}

static void
on_reset(int fd)
{
    struct linger hard = {.l_onoff = 1};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    close(fd);
}

/* A plain socket, for ends that a stream does not offer. */
static int
raw_mail(const char *last_words)
{
    static const char *const lines[] = {"EHLO raw.far.test\r\n", "MAIL FROM:<a@far.test>\r\n",
                                        "RCPT TO:<b@any.test>\r\n", "DATA\r\n"};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(rig.ports[0]),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char got[1024];
    ssize_t n = 0;

    connect(fd, (struct sockaddr *)&to, sizeof(to));
    UNTIL(recv(fd, got, sizeof(got), MSG_DONTWAIT) > 0);
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        (void)!write(fd, lines[i], strlen(lines[i]));
        UNTIL((n = recv(fd, got, sizeof(got), MSG_DONTWAIT)) > 0);
    }
    OK(n > 3 && memcmp(got, "354", 3) == 0, "a raw client may send its message");
    (void)!write(fd, last_words, strlen(last_words));
    return fd;
}

/* The client is gone before its message is on disk: the event still tells its name. */
static void
test_gone(void)
{
    int fd;

    if (!start(conf))
        return;
    fd = raw_mail("Subject: x\r\n\r\nx\r\n.\r\n");
    on_reset(fd);
    UNTIL(events_have("\"type\":\"Reception\""));
    OK(events_have("\"type\":\"Reception\""), "the message was taken");
    OK(events_have("\"name\":\"friend.far.test\""), "and its event names the client");
    UNTIL(!gate_sessions(rig.gate));
    rig_stop();
    IS(rig.nmessages, 1, "one message");
    rig_end();
}

/* The client closes its half behind the dot and listens. */
static void
test_half_closed(void)
{
    char got[256] = "";
    int fd;

    if (!start(conf))
        return;
    fd = raw_mail("Subject: x\r\n\r\nx\r\n.\r\n");
    shutdown(fd, SHUT_WR);
    UNTIL(recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT) >= 0);
    OK(str_starts(str_c(got), STR("250 2.0.0 Ok: queued")), "is told that it was taken: %s", got);
    UNTIL(recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT) == 0);
    UNTIL(!gate_sessions(rig.gate));
    IS(gate_sessions(rig.gate), 0, "then the session ends");
    close(fd);
    rig_stop();
    IS(rig.nmessages, 1, "one message");
    rig_end();
}

/* EHLO is said again after STARTTLS by everybody: it is weighed once. */
static void
test_ehlo_again(void)
{
    struct client c;

    if (!start(conf))
        return;
    greet(&c, "127.0.0.1");
    talk(&c, "EHLO c.far.test", "250");
    talk(&c, "EHLO c.far.test", "250");
    talk(&c, "MAIL FROM:<a@far.test>", "250");
    talk(&c, "RCPT TO:<b@else.test>", "550 5.7.1");
    OK(events_have("\"score\":100,"), "one EHLO counts");
    OK(!events_have("\"score\":300"), "not each of them");
    client_shut(&c);
    rig_stop();
    rig_end();
}

static void
test_drip(void)
{
    uint64_t from = clock_mono();
    struct client c;

    if (!start(conf))
        return;
    greet(&c, "127.0.0.1");
    for (unsigned i = 0; i < 60 && !client_reply_len(&c) && !c.closed; i++) {
        uint64_t next = clock_mono() + 50 * NS_PER_MS;

        client_say(&c, "x");
        UNTIL(clock_mono() >= next || c.closed);
    }
    client_expect(&c, "421 4.4.2", "a command a byte at a time");
    OK(clock_mono() - from < 3 * NS_PER_S, "ends in the time of one command");
    client_shut(&c);
    rig_stop();
    rig_end();
}

/* Lines of trusted networks may end in LF on each kind of listener; those of others may not. */
static void
test_bare_lines(void)
{
    struct client c;

    if (!start(conf))
        return;
    greet(&c, "127.0.0.2");
    client_say(&c, "NOOP\n");
    client_expect(&c, "250", "a bare LF from a trusted network");
    talk(&c, "MAIL FROM:<a@far.test>", "250");
    talk(&c, "RCPT TO:<b@else.test>", "550 5.7.1");
    client_shut(&c);
    greet(&c, "127.0.0.1");
    client_say(&c, "NOOP\n");
    client_expect(&c, "500 5.5.2", "a bare LF from a stranger");
    client_shut(&c);
    rig_stop();
    rig_end();
}

/* What a stranger's message begins with must not continue our Received field. */
static void
test_leading_folds(void)
{
    static const char small[] = "hostname = mx.gate.test\n"
                                "listen smtp { address = 127.0.0.1:25 }\n"
                                "domain any.test { inside = smtp://127.0.0.1:1\n }\n"
                                "smtp { max_header = 128K\n }\n";
    static const struct {
        const char *body, *want;
    } rows[] = {
        {" for <ceo@bank.test>\r\n\tmore\r\nSubject: x\r\n\r\nHello\r\n",
         "\r\nSubject: x\r\n\r\nHello\r\n"},
        {" for <ceo@bank.test>\r\n\r\nHello\r\n", "\r\n\r\nHello\r\n"},
        {" for <ceo@bank.test>\r\n", "\r\n\r\n"},
        {"\r\n indented\r\n", "\r\n\r\n indented\r\n"},
    };
    struct client c;

    if (!start(small))
        return;
    greet(&c, "127.0.0.1");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        send_mail(&c, "a@far.test", "b@any.test", rows[i].body, "250 2.0.0");
    talk(&c, "QUIT", "221");
    client_shut(&c);
    rig_stop();
    IS(rig.nmessages, ARRAY_LEN(rows), "all were taken");
    for (size_t i = 0; i < MIN(rig.nmessages, ARRAY_LEN(rows)); i++) {
        const struct rig_message *m = &rig.messages[i];

        OK(str_ends(str_c(m->body), str_c(rows[i].want)) && !strstr(m->body, "bank.test"),
           "leading folds %zu: %s", i, m->body);
        IS(m->size, strlen(m->body), "size is that of the bytes");
    }
    rig_end();
}

/* Content that is refused is thrown away, but not without end. */
static void
test_endless(void)
{
    static char piece[1u << 20];
    static const char small[] = "hostname = mx.gate.test\n"
                                "listen smtp { address = 127.0.0.1:25 }\n"
                                "domain any.test { inside = smtp://127.0.0.1:1\n }\n"
                                "smtp { max_size = 65536\n min_rate = 0\n }\n";
    struct client c;

    memset(piece, 'x', sizeof(piece) - 1);
    for (size_t i = 78; i + 2 < sizeof(piece); i += 80)
        memcpy(piece + i, "\r\n", 2);
    if (!start(small))
        return;
    for (unsigned bdat = 0; bdat < 2; bdat++) {
        greet(&c, "127.0.0.1");
        talk(&c, "MAIL FROM:<a@far.test>", "250");
        talk(&c, "RCPT TO:<b@any.test>", "250");
        if (bdat)
            client_say(&c, "BDAT 18446744073709551615 LAST\r\n");
        else
            talk(&c, "DATA", "354");
        for (unsigned i = 0; i < 40 && c.s && !c.closed; i++) {
            client_say(&c, piece);
            UNTIL(c.closed || !c.s || stream_queued(c.s) < 1000);
        }
        UNTIL(!gate_sessions(rig.gate));
        IS(gate_sessions(rig.gate), 0, "%s ends", bdat ? "an endless chunk" : "a message");
        client_shut(&c);
    }
    rig_stop();
    rig_end();
}

/* Turns the loop, with a clock that the test holds, until cond, for ten seconds at most. */
static bool
turn_until(bool (*cond)(void *ctx), void *ctx)
{
    struct timespec start, now;

    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        loop_once(rig.loop, false);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (!cond(ctx) && now.tv_sec < start.tv_sec + 10);
    return cond(ctx);
}

static bool
is_committing(void *ctx)
{
    (void)ctx;
    return rig.gate->sessions && rig.gate->sessions->tx && rig.gate->sessions->tx->committing;
}

static bool
has_reply(void *ctx)
{
    const struct client *c = ctx;

    return client_reply_len(c) > 0 || c->closed;
}

/* The disk takes its time. The client did all that it could: no clock of ours runs against it, and
 * no end of ours cuts it off, or it would send the message once more. */
static void
test_slow_disk(void)
{
    static const char slow[] = "hostname = mx.gate.test\n"
                               "listen smtp { address = 127.0.0.1:25 }\n"
                               "domain any.test { inside = smtp://127.0.0.1:1\n }\n"
                               "smtp { min_rate = 1000\n }\n";

    for (unsigned stop = 0; stop < 2; stop++) {
        struct client c;

        if (!start(slow))
            return;
        greet(&c, "127.0.0.1");
        talk(&c, "MAIL FROM:<a@far.test>", "250");
        talk(&c, "RCPT TO:<b@any.test>", "250");
        talk(&c, "DATA", "354");
        clock_own(clock_mono(), clock_wall());
        clock_advance(29 * NS_PER_S);
        loop_once(rig.loop, false); /* the rate is looked at from here on */
        rig.asleep = true;
        client_say(&c, "Subject: x\r\n\r\nx\r\n.\r\n");
        OK(turn_until(is_committing, NULL), "the message is on its way to the disk");
        if (stop)
            gate_stop(rig.gate, 30 * NS_PER_S, NULL, NULL);
        for (unsigned i = 0; i < 5; i++) {
            clock_advance(31 * NS_PER_S);
            loop_once(rig.loop, false);
            loop_once(rig.loop, false);
        }
        OK(!has_reply(&c), "%s: no answer but the log's", stop ? "at the end" : "minutes later");
        rig.asleep = false;
        rig_woken(NULL);
        OK(turn_until(has_reply, &c), "then it comes");
        client_expect(&c, "250 2.0.0", "the log's answer");
        client_shut(&c);
        clock_release();
        rig_stop();
        IS(rig.nmessages, 1, "one message");
        rig_end();
    }
}

/* A refused client that never says QUIT. */
static void
test_denied_stays(void)
{
    struct client c;

    if (!rig_start("hostname = mx.gate.test\ndenied = 127.0.0.66\n"
                   "listen smtp { address = 127.0.0.1:25 }\n"
                   "smtp { timeout_command = 300ms\n lookup_client = no\n }\n",
                   10))
        return;
    client_open_from(&c, 0, "127.0.0.66");
    client_expect(&c, "554", "a denied network");
    talk(&c, "EHLO x", "503 5.5.1");
    client_expect(&c, "421 4.4.2", "and its time is short");
    UNTIL(c.closed);
    client_shut(&c);
    rig_stop();
    rig_end();
}

/* No descriptor is left: the connection waits, the loop sleeps, and later it is served. */
static void
test_descriptors(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct rlimit was, low;
    struct client c;
    unsigned turns = 0;
    char got[64];
    int fd;

    if (tap_valgrind()) {
        tap_skip("no file is left", "valgrind has limits of its own");
        return;
    }
    if (!start(conf))
        return;
    greet(&c, "127.0.0.1"); /* the log has its segment */
    client_shut(&c);
    UNTIL(!gate_sessions(rig.gate));
    to.sin_port = htons(rig.ports[0]);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    getrlimit(RLIMIT_NOFILE, &was);
    low = was;
    low.rlim_cur = 1; /* none is free below it */
    setrlimit(RLIMIT_NOFILE, &low);
    connect(fd, (struct sockaddr *)&to, sizeof(to));
    for (uint64_t end = clock_mono() + 500 * NS_PER_MS; clock_mono() < end; turns++) {
        struct loop_timer tick;

        loop_timer_init(&tick, rig.loop, rig_tick, NULL);
        loop_timer_set(&tick, 50 * NS_PER_MS);
        loop_once(rig.loop, true);
        loop_timer_stop(&tick);
    }
    OK(turns < 100, "the loop turned %u times in half a second", turns);
    IS(gate_sessions(rig.gate), 0, "nobody is served");
    setrlimit(RLIMIT_NOFILE, &was);
    UNTIL(recv(fd, got, sizeof(got), MSG_DONTWAIT) > 0);
    OK(memcmp(got, "220", 3) == 0, "when there is room the client is greeted");
    close(fd);
    rig_stop();
    rig_end();
}

/* Commands without end from one that reads nothing: what is kept for it stays small, and nothing is
 * lost when it reads at last. */
static void
test_deaf(void)
{
    enum { N = 900000 };
    static const char text[] = "hostname = mx.gate.test\n"
                               "listen smtp { address = 127.0.0.1:25 }\n"
                               "domain any.test { inside = smtp://127.0.0.1:1\n }\n"
                               "smtp { max_commands = 1000000\n max_unread_replies = 8 KB\n"
                               "max_pipelined = 8 KB\n }\n";
    struct client c;
    size_t most = 0, lines = 0;
    char *all = malloc(N * 6 + 1);

    for (unsigned i = 0; i < N; i++)
        memcpy(all + (size_t)i * 6, "RSET\r\n", 7);
    if (!start(text))
        return;
    greet(&c, "127.0.0.1");
    c.got.max = 16u << 20;
    stream_pause(c.s);
    client_say(&c, all);
    for (uint64_t sent = 1, before = 0; sent != before && c.s;) {
        before = sent;
        for (unsigned i = 0; i < 200 && rig.gate->sessions; i++) {
            struct session *s = rig.gate->sessions;

            loop_once(rig.loop, false);
            most = s->stream ? MAX(most, stream_queued(s->stream)) : most;
        }
        sent = rig.gate->sessions ? stream_bytes_in(rig.gate->sessions->stream) : 0;
    }
    OK(most > 0 && most < 9000, "%zu bytes of replies are kept at most", most);
    OK(c.s && stream_queued(c.s) > 0, "the rest is the client's to keep");
    IS(gate_sessions(rig.gate), 1, "it is not cut off");
    if (c.s)
        stream_resume(c.s);
    UNTIL(c.got.n - c.at >= (size_t)N * 14 || c.closed);
    for (size_t i = c.at; i < c.got.n; i++)
        lines += c.got.p[i] == '\n';
    IS(lines, N, "and each command has its reply in the end");
    client_shut(&c);
    free(all);
    rig_stop();
    rig_end();
}

/* A recipient that is refused takes its weights with it. */
static enum step
rcpt_run(struct check_run *run, enum check_event event)
{
    bool bad = str_starts(check_facts(run)->rcpt->local, STR("bad"));

    (void)event;
    check_find(run, &(struct finding){.name = "looked",
                                      .weight = bad ? 500 : 7,
                                      .rule = STR("x"),
                                      .action = bad ? VERDICT_REFUSE : VERDICT_PASS,
                                      .code = 550,
                                      .enhanced = "5.1.1",
                                      .text = STR("no")});
    return STEP_NEXT;
}

static void
test_refused_rcpt(void)
{
    static const struct check row = {.name = "recipient",
                                     .stage = STAGE_RCPT,
                                     .join = STAGE_RCPT,
                                     .place = CHECK_IN_GATE,
                                     .mode = CHECK_ON,
                                     .run = rcpt_run};
    static const struct check *const rows[] = {&row};
    struct client c;

    rig.checks = rows;
    rig.nchecks = 1;
    if (!rig_start(conf, 10))
        return;
    greet(&c, "127.0.0.1");
    talk(&c, "MAIL FROM:<a@far.test>", "250");
    talk(&c, "RCPT TO:<one@any.test>", "250");
    for (unsigned i = 0; i < 15; i++)
        talk(&c, "RCPT TO:<bad@any.test>", "550 5.1.1");
    OK(events_have("\"score\":500,"), "the refusal's event has its weight");
    talk(&c, "RCPT TO:<two@any.test>", "250");
    talk(&c, "DATA", "354");
    talk(&c, "Subject: x\r\n\r\n.", "250");
    OK(events_have("\"score\":7,"), "the message's has that of each recipient");
    client_shut(&c);
    rig_stop();
    rig_end();
}

int
main(void)
{
    alarm(120);
    test_gone();
    test_half_closed();
    test_ehlo_again();
    test_drip();
    test_bare_lines();
    test_leading_folds();
    test_endless();
    test_slow_disk();
    test_denied_stays();
    test_descriptors();
    test_deaf();
    test_refused_rcpt();
    return tap_done();
}
