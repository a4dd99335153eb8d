/*
 * tests/unit/test_gate_auth.c - TLS, logins with a keyring played by the test, sender rights,
 * PROXY.
 */
#include "gate_rig.h"

#include <spawn.h>
#include <sys/wait.h>

#include "smtp/server.h"
#include "store/users.h"

extern char **environ;

static char certs[] = "/tmp/gapura-gatecert-XXXXXX";
static char cert_pem[16384], key_pem[16384];

static const char conf[] =
    "hostname = mx.gate.test\n"
    "trusted = 127.0.0.2\n"
    "tenant acme { number = 7\n }\n"
    "listen smtp { address = 127.0.0.1:25\n certificate = CERT KEY\n proxy = 127.0.0.3\n }\n"
    "listen submit { address = 127.0.0.1:587\n kind = submission\n certificate = CERT KEY\n "
    "require_tls = yes\n }\n"
    "listen submits { address = 127.0.0.1:465\n kind = submissions\n certificate = CERT KEY\n }\n"
    "listen clear { address = 127.0.0.1:588\n kind = submission\n auth_without_tls = yes\n }\n"
    "domain any.test { inside = smtp://127.0.0.1:1\n }\n"
    "smtp { lookup_client = no\n auth_failure_delay = 60ms\n auth_failures_user = 2/10m\n "
    "auth_failures_address = 4/10m\n auth_failures_wide_network = 6/10m\n }\n";

static size_t
slurp(const char *name, char *dst, size_t cap)
{
    char path[128];
    ssize_t n;
    int fd;

    str_fmt(path, sizeof(path), "%s/%s", certs, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? -1 : read(fd, dst, cap);
    fd_close(&fd);
    return n < 0 ? 0 : (size_t)n;
}

static bool
make_cert(void)
{
    char key[128], crt[128];
    const char *argv[] = {"openssl",
                          "req",
                          "-x509",
                          "-newkey",
                          "ec",
                          "-pkeyopt",
                          "ec_paramgen_curve:P-256",
                          "-nodes",
                          "-days",
                          "30",
                          "-subj",
                          "/CN=mx.gate.test",
                          "-keyout",
                          key,
                          "-out",
                          crt,
                          NULL};
    posix_spawn_file_actions_t act;
    pid_t pid;
    int status = -1;

    if (!mkdtemp(certs))
        return false;
    str_fmt(key, sizeof(key), "%s/key", certs);
    str_fmt(crt, sizeof(crt), "%s/cert", certs);
    posix_spawn_file_actions_init(&act);
    posix_spawn_file_actions_addopen(&act, 2, "/dev/null", O_WRONLY, 0);
    if (posix_spawnp(&pid, "openssl", &act, NULL, (char *const *)(uintptr_t)argv, environ) == 0)
        waitpid(pid, &status, 0);
    posix_spawn_file_actions_destroy(&act);
    return status == 0 && slurp("cert", cert_pem, sizeof(cert_pem)) &&
           slurp("key", key_pem, sizeof(key_pem));
}

static struct str
cert_file(void *ctx, struct str path)
{
    (void)ctx;
    return str_c(str_iends(path, STR("CERT")) ? cert_pem : key_pem);
}

/* ---- the keyring's part: ann / secret, and nobody else ---- */

static unsigned asked, cancelled;
static bool keyring_slow; /* it keeps what it is asked */
static uint64_t kept[16];
static bool plus_offered;
static size_t endpoint_n;

static void
keyring_answer(uint64_t id, uint8_t result, struct str data, struct str user)
{
    struct buf body;

    buf_init(&body, 4096);
    put_u8(&body, result);
    put_str(&body, data);
    put_str(&body, user);
    chan_send(rig.keyring_end, ASK_AUTH_ANSWER, id, &body, -1);
    buf_done(&body);
}

static void
keyring_message(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    static const char good[] = "\0ann\0secret", bad[] = "\0ann\0wrong";
    struct str mech = {0}, response;

    (void)ctx;
    fd_close(&fd);
    wire_u64(body);
    if (type == ASK_AUTH_CANCEL) {
        cancelled++;
        return;
    }
    if (type == ASK_AUTH_START) {
        mech = wire_str(body);
        wire_u8(body);
    }
    response = wire_str(body);
    if (type == ASK_AUTH_START) {
        plus_offered = wire_u8(body) != 0;
        wire_str(body);
        endpoint_n = wire_str(body).n;
    }
    if (keyring_slow) {
        kept[asked++ % ARRAY_LEN(kept)] = id;
        return;
    }
    asked++;
    if (!response.n && mech.n)
        keyring_answer(id, SMTP_AUTH_CHALLENGE, STR("hello"), STR_NONE);
    else if (str_eq(response, str_of(good, sizeof(good) - 1)))
        keyring_answer(id, SMTP_AUTH_OK, STR_NONE, STR("ann"));
    else
        keyring_answer(id, SMTP_AUTH_FAIL, STR_NONE,
                       str_eq(response, str_of(bad, sizeof(bad) - 1)) ? STR("ann") : STR_NONE);
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

static const struct chan_ops keyring_ops = {.message = keyring_message, .closed = side_closed};
static const struct chan_ops gate_ops = {.message = gate_side, .closed = side_closed};

static struct snapshot snap;

static void
publish(void)
{
    struct snapshot_builder *b = snapshot_build(1);
    struct user_rights rights = {
        .tenant = 7, .class = SPOOL_CLASS_BULK, .envelope = STR("ann@any.test\0lists.test\0")};
    struct buf value;

    buf_init(&value, 4096);
    user_rights_encode(&value, &rights);
    snapshot_add(b, SNAPSHOT_USER, STR("ann"), buf_view(&value));
    buf_done(&value);
    OK(snapshot_map(&snap, snapshot_finish(b)) == 0, "a snapshot");
    gate_set_snapshot(rig.gate, &snap);
}

static bool
start(void)
{
    int fds[2];

    asked = cancelled = 0;
    keyring_slow = false;
    rig.file = cert_file;
    rig.loop = loop_create();
    chan_pair(fds);
    rig.keyring = chan_create(rig.loop, fds[0], &gate_ops, NULL);
    rig.keyring_end = chan_create(rig.loop, fds[1], &keyring_ops, NULL);
    return rig_start(conf, 10);
}

static void
finish(void)
{
    rig_stop();
    rig_end();
    snapshot_unmap(&snap);
}

static bool
client_tls(struct client *c)
{
    struct tls_client_conf tc = {.verify = false};
    struct tls_context *tls = NULL;
    struct why why;

    tls_client_context(&tls, &tc, &why);
    stream_start_tls(c->s, tls, false, STR("mx.gate.test"));
    tls_context_unref(tls);
    UNTIL(c->secured || c->closed);
    return c->secured == 1;
}

static void
test_tls(void)
{
    struct client c;

    if (!start())
        return;
    client_open(&c, 0);
    client_expect(&c, "220", "greeting");
    talk(&c, "EHLO c.far.test", "250");
    OK(last_has("STARTTLS"), "STARTTLS is offered");
    /* Injected commands behind STARTTLS must not be run. */
    client_say(&c, "STARTTLS\r\nMAIL FROM:<inject@far.test>\r\n");
    client_expect(&c, "220", "STARTTLS");
    OK(client_tls(&c), "the handshake");
    talk(&c, "NOOP", "250 2.0.0");
    talk(&c, "MAIL FROM:<a@far.test>", "503");
    talk(&c, "EHLO c.far.test", "250");
    OK(!last_has("STARTTLS"), "not offered twice");
    send_mail(&c, "a@far.test", "b@any.test", "Subject: t\r\n\r\nx\r\n", "250");
    client_shut(&c);
    OK(events_have("\"tls_protocol_version\":\"TLSv1.3\""), "the event tells of TLS");
    OK(events_have("\"reception_protocol\":\"ESMTPS\""), "and of the protocol");
    rig_stop();
    OK(rig.nmessages == 1 && (rig.messages[0].flags & SPOOL_MAIL_TLS), "flag TLS");
    OK(rig.nmessages == 1 && strstr(rig.messages[0].body, "(using TLSv1.3 with cipher ") &&
           strstr(rig.messages[0].body, "with ESMTPS id"),
       "Received tells of it: %s", rig.messages[0].body);
    rig_end();
}

static void
test_login(void)
{
    struct client c;
    char b64[] = "AUTH PLAIN AGFubgBzZWNyZXQ="; /* \0ann\0secret */

    if (!start())
        return;
    publish();
    client_open(&c, 1);
    client_expect(&c, "220", "greeting");
    talk(&c, "EHLO c.far.test", "250");
    OK(!last_has("AUTH"), "no AUTH without TLS");
    talk(&c, "MAIL FROM:<ann@any.test>", "530");
    talk(&c, "STARTTLS", "220");
    OK(client_tls(&c), "the handshake");
    talk(&c, "EHLO c.far.test", "250");
    OK(last_has("AUTH ") && last_has("DSN"), "AUTH and DSN with TLS");
    talk(&c, "MAIL FROM:<ann@any.test>", "530");
    talk(&c, "AUTH PLAIN", "334 aGVsbG8=");
    talk(&c, "AGFubgBzZWNyZXQ=", "235");
    talk(&c, "MAIL FROM:<boss@any.test>", "553 5.7.1");
    OK(last_has("ann may not send as <boss@any.test>"), "says who may not: %s", last);
    send_mail(&c, "ann@any.test", "x@outside.test", "From: Boss <boss@any.test>\r\n\r\nx\r\n",
              "550 5.7.1");
    send_mail(&c, "ann@any.test", "x@outside.test",
              "From: ann@any.test\r\nFrom: boss@any.test\r\n\r\nx\r\n", "550 5.7.1");
    send_mail(&c, "ann@any.test", "x@outside.test", "Subject: none\r\n\r\nx\r\n", "550 5.7.1");
    send_mail(&c, "news@lists.test", "x@outside.test",
              "From: \"News\" <news@LISTS.test>\r\n\r\nx\r\n", "250");
    talk(&c, "QUIT", "221");
    client_shut(&c);
    client_open(&c, 2);
    OK(client_tls(&c), "implicit TLS");
    client_expect(&c, "220", "greeting inside TLS");
    talk(&c, "EHLO c.far.test", "250");
    talk(&c, b64, "235");
    client_shut(&c);
    OK(events_have("AuthSuccess"), "an event of the login");
    rig_stop();
    if (OK(rig.nmessages == 1, "one message")) {
        TEXT(str_c(rig.messages[0].user), "ann", "of ann");
        IS(rig.messages[0].tenant, 7, "her tenant");
        IS(rig.messages[0].class, SPOOL_CLASS_BULK, "her class");
        OK(strstr(rig.messages[0].body, "with ESMTPSA id"), "ESMTPSA");
        OK(rig.messages[0].flags & SPOOL_MAIL_DSN_OK, "a report may go to her");
    }
    rig_end();
    snapshot_unmap(&snap);
}

/* FUTURERELEASE (RFC 4865): for those who submit, within what was told. */
static void
test_future_release(void)
{
    struct client c;
    uint64_t day = 86400;
    char line[128];

    if (!start())
        return;
    publish();
    client_open(&c, 0);
    client_expect(&c, "220", "greeting");
    talk(&c, "EHLO c.far.test", "250");
    OK(!last_has("FUTURERELEASE"), "not for strangers");
    talk(&c, "MAIL FROM:<a@far.test> HOLDFOR=60", "555");
    client_shut(&c);
    client_open(&c, 3);
    client_expect(&c, "220", "greeting");
    talk(&c, "EHLO c.far.test", "250");
    OK(last_has("FUTURERELEASE 604800 20"), "told with its limits: %s", last);
    talk(&c, "AUTH PLAIN AGFubgBzZWNyZXQ=", "235");
    talk(&c, "MAIL FROM:<ann@any.test> HOLDFOR=0", "501 5.5.4");
    talk(&c, "MAIL FROM:<ann@any.test> HOLDFOR=604801", "501 5.5.4");
    talk(&c, "MAIL FROM:<ann@any.test> HOLDFOR=+5", "501 5.5.4");
    talk(&c, "MAIL FROM:<ann@any.test> HOLDUNTIL=tomorrow", "501 5.5.4");
    talk(&c, "MAIL FROM:<ann@any.test> HOLDUNTIL=2099-01-01T00:00:00Z", "501 5.5.4");
    talk(&c, "MAIL FROM:<ann@any.test> HOLDFOR=60 HOLDUNTIL=2020-01-01T00:00:00Z", "501 5.5.4");
    str_fmt(line, sizeof(line), "MAIL FROM:<ann@any.test> HOLDFOR=%u", (unsigned)day);
    talk(&c, line, "250");
    talk(&c, "RCPT TO:<x@else.test>", "250");
    talk(&c, "DATA", "354");
    talk(&c, "From: <ann@any.test>\r\n\r\nlater\r\n.", "250");
    talk(&c, "MAIL FROM:<ann@any.test> HOLDUNTIL=2020-01-01T00:00:00Z", "250");
    talk(&c, "RCPT TO:<x@else.test>", "250");
    talk(&c, "DATA", "354");
    talk(&c, "From: <ann@any.test>\r\n\r\nat once\r\n.", "250");
    client_shut(&c);
    rig_stop();
    if (OK(rig.nmessages == 2, "two messages")) {
        uint64_t now = clock_wall(), due = rig.messages[0].not_before;

        OK(due > now + (day - 60) * NS_PER_S && due <= now + day * NS_PER_S, "held for a day");
        OK(rig.messages[0].expires > due + 4 * day * NS_PER_S, "with a life behind it");
        OK(rig.messages[1].not_before < now && !rig.messages[1].expires, "a time that is over");
    }
    rig_end();
    snapshot_unmap(&snap);
}

static void
test_failures(void)
{
    static const char *const wrong = "AUTH PLAIN AGFubgB3cm9uZw==";  /* \0ann\0wrong */
    static const char *const good = "AUTH PLAIN AGFubgBzZWNyZXQ=";   /* \0ann\0secret */
    static const char *const nobody = "AUTH PLAIN AGJvYgBzZWNyZXQ="; /* \0bob\0secret */
    struct client c;
    uint64_t before;

    if (!start())
        return;
    publish();
    client_open(&c, 3);
    client_expect(&c, "220", "greeting");
    talk(&c, "EHLO c.far.test", "250");
    OK(last_has("AUTH "), "AUTH without TLS where settings say so");
    before = clock_mono();
    talk(&c, wrong, "535 5.7.8");
    OK(clock_mono() - before >= 60 * NS_PER_MS, "a failure takes its time");
    before = clock_mono();
    talk(&c, nobody, "535 5.7.8");
    OK(clock_mono() - before >= 60 * NS_PER_MS, "an unknown name takes as long");
    talk(&c, wrong, "535 5.7.8");
    talk(&c, good, "454 4.7.0");
    OK(last_has("this account"), "two failures lock the account for a while: %s", last);
    talk(&c, nobody, "535");
    before = asked;
    talk(&c, good, "454 4.7.0");
    OK(last_has("your network") && asked == before,
       "four failures from one address: nobody is asked any more: %s", last);
    client_shut(&c);
    client_open_from(&c, 3, "127.0.0.2");
    client_expect(&c, "220", "greeting");
    talk(&c, "EHLO c.far.test", "250");
    talk(&c, good, "235");
    client_shut(&c);
    OK(events_have("AuthFailure"), "events of the failures");
    client_open_from(&c, 3, "127.0.7.7"); /* another network, of the same wide one */
    client_expect(&c, "220", "greeting");
    talk(&c, "EHLO c.far.test", "250");
    talk(&c, nobody, "535");
    talk(&c, nobody, "535");
    client_shut(&c);
    client_open_from(&c, 3, "127.0.8.8");
    client_expect(&c, "220", "greeting");
    talk(&c, "EHLO c.far.test", "250");
    before = asked;
    talk(&c, nobody, "454 4.7.0");
    OK(last_has("your network") && asked == before, "six from one wide network: %s", last);
    client_shut(&c);
    client_open_from(&c, 3, "127.9.8.8");
    client_expect(&c, "220", "greeting");
    talk(&c, "EHLO c.far.test", "250");
    talk(&c, nobody, "535");
    client_shut(&c);
    finish();
}

static void
greet_clear(struct client *c, const char *from)
{
    client_open_from(c, 3, from);
    client_expect(c, "220", "greeting");
    talk(c, "EHLO c.far.test", "250");
}

/* Guesses side by side are as many as one after the other: who is over the limit when the answer
 * comes learns nothing of it. */
static void
test_guesses_at_once(void)
{
    static const char nobody[] = "AUTH PLAIN AG5vYm9keQB3cm9uZw==\r\n";
    static const char good[] = "AUTH PLAIN AGFubgBzZWNyZXQ=\r\n";
    enum { MANY = 8 };
    struct client c[MANY];

    if (!start())
        return;
    publish();
    keyring_slow = true;
    for (unsigned i = 0; i < MANY; i++) {
        greet_clear(&c[i], "127.0.5.5");
        client_say(&c[i], i + 1 < MANY ? nobody : good);
        UNTIL(asked == i + 1);
    }
    for (unsigned i = 0; i + 1 < MANY; i++)
        keyring_answer(kept[i], SMTP_AUTH_FAIL, STR_NONE, STR_NONE);
    keyring_answer(kept[MANY - 1], SMTP_AUTH_OK, STR_NONE, STR("ann"));
    for (unsigned i = 0; i < MANY; i++)
        client_expect(&c[i], i < 4 ? "535" : "454 4.7.0", "one of many guesses");
    OK(!events_have("AuthSuccess"), "and nobody is logged in");
    for (unsigned i = 0; i < MANY; i++)
        client_shut(&c[i]);
    finish();
}

/* Strangers' guesses lock an account for strangers, not where its owner is at home. */
static void
test_owner_at_home(void)
{
    static const char *const wrong = "AUTH PLAIN AGFubgB3cm9uZw==";
    static const char *const good = "AUTH PLAIN AGFubgBzZWNyZXQ=";
    static const struct {
        const char *from;
        bool right;
        const char *want;
    } rows[] = {
        {"127.5.5.5", true, "235"},  {"127.6.6.6", false, "535"},
        {"127.7.7.7", false, "535"}, {"127.8.8.8", true, "454 4.7.0"},
        {"127.5.5.9", true, "235"},  {"127.5.5.9", false, "535"},
        {"127.5.5.9", false, "535"}, {"127.5.5.5", true, "454 4.7.0"},
    };
    struct client c;

    if (!start())
        return;
    publish();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        greet_clear(&c, rows[i].from);
        talk(&c, rows[i].right ? good : wrong, rows[i].want);
        OK(rows[i].want[0] != '4' || last_has("this account"), "row %zu: %s", i, last);
        client_shut(&c);
    }
    finish();
}

/* Whoever leaves before the answer has had us compute it. */
static void
test_guesses_left(void)
{
    static const char nobody[] = "AUTH PLAIN AG5vYm9keQB3cm9uZw==";
    struct client c;

    if (!start())
        return;
    publish();
    keyring_slow = true;
    for (unsigned i = 0; i < 4; i++) {
        greet_clear(&c, "127.0.6.6");
        client_say(&c, nobody);
        client_say(&c, "\r\n");
        UNTIL(asked == i + 1);
        client_shut(&c);
        UNTIL(!gate_sessions(rig.gate));
    }
    OK(events_have("left before the answer"), "events tell of them");
    greet_clear(&c, "127.0.6.6");
    talk(&c, nobody, "454 4.7.0");
    client_shut(&c);
    finish();
}

static void
test_cancel_and_loss(void)
{
    struct client c;

    if (!start())
        return;
    publish();
    client_open(&c, 3);
    client_expect(&c, "220", "greeting");
    talk(&c, "EHLO c.far.test", "250");
    talk(&c, "AUTH PLAIN", "334");
    talk(&c, "*", "501");
    UNTIL(cancelled);
    IS(cancelled, 1, "the keyring is told of a cancelled exchange");
    talk(&c, "MAIL FROM:<ann@any.test>", "530");
    talk(&c, "AUTH PLAIN", "334");
    client_shut(&c);
    UNTIL(cancelled == 2);
    IS(cancelled, 2, "and of a lost one");
    chan_free(rig.keyring_end);
    rig.keyring_end = NULL;
    UNTIL(!chan_open(rig.keyring));
    gate_lost(rig.gate, rig.keyring);
    client_open(&c, 3);
    client_expect(&c, "220", "greeting");
    talk(&c, "EHLO c.far.test", "250");
    talk(&c, "AUTH PLAIN AGFubgBzZWNyZXQ=", "454");
    client_shut(&c);
    finish();
}

static void
test_proxy(void)
{
    struct client c;

    if (!start())
        return;
    client_open_from(&c, 0, "127.0.0.3");
    client_say(&c, "PROXY TCP4 198.51.100.7 127.0.0.1 4242 25\r\n");
    client_expect(&c, "220", "greeting behind a balancer");
    talk(&c, "EHLO c.far.test", "250-mx.gate.test greets 198.51.100.7");
    client_shut(&c);
    client_open_from(&c, 0, "127.0.0.3");
    client_say(&c, "EHLO c.far.test\r\n");
    UNTIL(c.closed);
    OK(c.closed && c.got.n == 0, "a balancer without a header is shut out");
    client_shut(&c);
    client_open(&c, 0);
    client_expect(&c, "220", "greeting");
    talk(&c, "PROXY TCP4 198.51.100.7 127.0.0.1 4242 25", "421");
    client_shut(&c);
    finish();
}

int
main(void)
{
    alarm(120);
    if (!OK(make_cert(), "a certificate"))
        return tap_done();
    test_tls();
    test_login();
    test_future_release();
    test_failures();
    test_guesses_at_once();
    test_owner_at_home();
    test_guesses_left();
    test_cancel_and_loss();
    test_proxy();
    rig_remove(certs);
    return tap_done();
}
