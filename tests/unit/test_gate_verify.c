/*
 * tests/unit/test_gate_verify.c - strangers' mail through a whole gate with DNS: what is verified,
 * what is written in front, what is taken out, in small mail and in mail that goes in chunks.
 */
#include "gate_dns.h"

static const char conf[] = "hostname = mx.gate.test\n"
                           "trusted = 127.0.0.2\n"
                           "tenant acme { number = 7\n }\n"
                           "listen smtp { address = 127.0.0.1:25 }\n"
                           "listen inner { address = 127.0.0.1:26\n kind = trusted\n }\n"
                           "domain any.test { inside = smtp://127.0.0.1:1\n tenant = acme\n }\n"
                           "domain two.test { inside = smtp://127.0.0.1:1\n }\n"
                           "smtp { lookup_client = no\n max_size = 20MB\n }\n"
                           "verify { authserv_id = gate.test\n }\n";

static const char zone[] = "far.test. IN MX 10 mx.far.test.\n"
                           "mx.far.test. IN A 127.0.0.3\n"
                           "far.test. IN TXT \"v=spf1 ip4:127.0.0.3 -all\"\n"
                           "_dmarc.far.test. IN TXT \"v=DMARC1; p=reject\"\n"
                           "ed._domainkey.far.test. IN TXT \"" DNS_KEY_RECORD "\"\n"
                           "other.test. IN A 127.0.0.3\n"
                           "ed._domainkey.other.test. IN TXT \"" DNS_KEY_RECORD "\"\n";

#define HEADER "From: a@far.test\r\nTo: b@any.test\r\nSubject: x\r\nMessage-ID: <one@far.test>\r\n"

static struct client c;

static void
hello(unsigned port, const char *from)
{
    client_open_from(&c, port, from);
    client_expect(&c, "220 mx.gate.test ESMTP", "greeting");
    talk(&c, "EHLO mx.far.test", "250-mx.gate.test");
}

static bool
body_has(const struct rig_message *m, const char *piece)
{
    bool has = m->body && str_find(str_c(m->body), str_c(piece)) >= 0;

    if (!has)
        printf("# %.1500s\n", m->body ? m->body : "(none)");
    return has;
}

/* Sends text with a signature of `domain` in front. */
static void
send_signed(const char *from, const char *to, const char *domain, const char *text,
            const char *also, const char *want)
{
    struct buf all;

    buf_init(&all, 32u << 20);
    dns_sign(&all, domain, str_c(text), also);
    buf_c(&all, text);
    buf_char(&all, '\0');
    send_mail(&c, from, to, all.p, want);
    buf_done(&all);
}

static void
is_first(const struct rig_message *m, const char *what)
{
    OK(str_starts(str_c(m->body), STR("Authentication-Results: gate.test;")), "%s: ours on top",
       what);
    OK(str_find(str_c(m->body), STR("\r\nReceived: from mx.far.test")) > 0, "%s: then Received",
       what);
    IS(strlen(m->body), m->size, "%s: the size is that of what is there", what);
}

static void
test_small(void)
{
    const struct rig_message *m = rig.messages;

    if (!dns_start(zone) || !rig_start(conf, 10))
        return;
    hello(0, "127.0.0.3");
    send_signed("a@far.test", "b@any.test", "far.test", HEADER "\r\nHello\r\n", NULL, "250");
    send_mail(&c, "a@far.test", "b@any.test", HEADER "\r\nno signature\r\n", "250");
    client_shut(&c);
    hello(0, "127.0.0.4");
    send_signed("a@far.test", "b@any.test", "other.test", HEADER "\r\nHello\r\n", NULL, "250");
    client_shut(&c);
    hello(1, "127.0.0.2");
    send_mail(&c, "a@far.test", "b@any.test", HEADER "\r\ntrusted\r\n", "250");
    client_shut(&c);
    OK(events_have("\"check\":\"dmarc\",\"name\":\"pass\""), "a finding");
    OK(events_have("\"proved\":true") && events_have("\"dkim_aligned\":true"), "an event");
    OK(events_have("\"name\":\"fail-reject\""), "p=reject alone refuses nothing: it is found");
    OK(events_have("\"terms\":[{\"record\":\"far.test\",\"term\":\"ip4:127.0.0.3\""),
       "the way of SPF where it did not pass");
    rig_stop();
    if (!OK(rig.nmessages == 4, "four messages"))
        return;
    is_first(&m[0], "signed");
    OK(body_has(&m[0], "spf=pass smtp.mailfrom=far.test") && body_has(&m[0], "dkim=pass") &&
           body_has(&m[0], "header.d=far.test") &&
           body_has(&m[0], "dmarc=pass header.from=far.test"),
       "all that was verified");
    is_first(&m[1], "unsigned");
    OK(body_has(&m[1], "dkim=none") && body_has(&m[1], "dmarc=pass"), "SPF alone proves it");
    is_first(&m[2], "not in line");
    OK(body_has(&m[2], "spf=fail") && body_has(&m[2], "header.d=other.test") &&
           body_has(&m[2], "dmarc=fail"),
       "another domain's signature proves nothing of the author");
    OK(str_starts(str_c(m[3].body), STR("Received: ")), "trusted mail is not looked at");
    dns_end();
}

#define FORGED                                                                                     \
    "Authentication-Results: GATE.test.; spf=pass smtp.mailfrom=bank.test\r\n"                     \
    "Authentication-Results: mx.gate.test 1;\r\n dkim=pass header.d=bank.test\r\n"                 \
    "Authentication-Results: other.test; spf=pass\r\n"                                             \
    "X-Spam-Flag: NO\r\nReturn-Path: <x@bank.test>\r\nX-Gapura-Score: -99\r\n"

/* Attack 18 of docs/attacks.md: results in our name, marks that those inside trust. */
static void
test_forged(void)
{
    const struct rig_message *m = rig.messages;

    if (!dns_start(zone) || !rig_start(conf, 10))
        return;
    hello(0, "127.0.0.3");
    send_signed("a@far.test", "b@any.test", "far.test", FORGED HEADER "\r\nHello\r\n",
                "X-Spam-Flag", "250");
    client_shut(&c);
    hello(1, "127.0.0.2");
    send_mail(&c, "a@far.test", "b@any.test", FORGED HEADER "\r\ntrusted\r\n", "250");
    client_shut(&c);
    OK(events_have("\"fields_removed\":5"), "how many went is told");
    rig_stop();
    if (!OK(rig.nmessages == 2, "two messages"))
        return;
    is_first(&m[0], "forged");
    OK(body_has(&m[0], "dkim=pass"), "verified as it came, marks included");
    OK(!strstr(m[0].body, "bank.test") && !strstr(m[0].body, "X-Spam-Flag: NO") &&
           !strstr(m[0].body, "X-Gapura-"),
       "and stored without them");
    OK(body_has(&m[0], "\r\nAuthentication-Results: other.test; spf=pass\r\n"),
       "another server's results are its own affair");
    OK(body_has(&m[0], "\r\nSubject: x\r\n") && body_has(&m[0], "\r\n\r\nHello\r\n"),
       "nothing else is missing");
    OK(body_has(&m[1], "X-Spam-Flag") && body_has(&m[1], "bank.test"),
       "what trusted networks send stays");
    dns_end();
}

/* Lines of text, about n bytes. */
static char *
big_text(const char *header, size_t n)
{
    struct buf b;

    buf_init(&b, 32u << 20);
    buf_c(&b, header);
    buf_c(&b, "\r\n");
    while (b.n < n)
        buf_c(&b, "The quick brown fox jumps over the lazy dog and is tired of it by now.\r\n");
    buf_char(&b, '\0');
    return b.p;
}

static void
test_chunked(void)
{
    const struct rig_message *m = rig.messages;
    char *text = big_text(FORGED HEADER, 300000), *large = big_text(HEADER, 3u << 20);
    size_t wanted;

    if (!dns_start(zone) || !rig_start(conf, 30))
        return;
    hello(0, "127.0.0.3");
    send_signed("a@far.test", "b@any.test", "far.test", text, "X-Spam-Flag", "250");
    send_signed("a@far.test", "b@any.test", "far.test", large, NULL, "250");
    talk(&c, "MAIL FROM:<a@far.test>", "250");
    talk(&c, "RCPT TO:<b@any.test>", "250");
    talk(&c, "RCPT TO:<b@two.test>", "250");
    talk(&c, "DATA", "354");
    client_say(&c, text);
    client_say(&c, ".\r\n");
    client_expect(&c, "250", "the end of a message to two tenants");
    client_shut(&c);
    rig_stop();
    if (!OK(rig.nmessages == 4, "four records"))
        return;
    for (unsigned i = 0; i < rig.nmessages; i++) {
        is_first(&m[i], i == 1 ? "3 MB" : "300 KB");
        OK((m[i].flags & SPOOL_MAIL_CHUNKED) != 0, "in chunks");
        OK(body_has(&m[i], i < 2 ? "dkim=pass" : "dkim=none") && body_has(&m[i], "dmarc=pass"),
           "verified over all of them");
        OK(!strstr(m[i].body, "bank.test") && !strstr(m[i].body, "X-Spam-Flag: NO"), "no forgery");
        wanted = strlen(i == 1 ? large : text) - strlen(HEADER) - (i == 1 ? 0 : strlen(FORGED));
        OK(m[i].size > wanted &&
               str_ends(str_c(m[i].body),
                        str_c((i == 1 ? large : text) + strlen(i == 1 ? large : text) - wanted)),
           "the body is whole");
    }
    free(text);
    free(large);
    dns_end();
}

/* A body of nothing but lines that continue our field, a header without end, an empty message. */
static void
test_odd(void)
{
    const struct rig_message *m = rig.messages;

    if (!dns_start(zone) || !rig_start(conf, 10))
        return;
    hello(0, "127.0.0.3");
    send_mail(&c, "a@far.test", "b@any.test", " one\r\n\ttwo\r\n", "250");
    send_mail(&c, "a@far.test", "b@any.test", "", "250");
    send_mail(&c, "a@far.test", "b@any.test", "X-Spam-Flag: NO\r\nFrom: a@far.test\r\n", "250");
    send_mail(&c, "a@far.test", "b@any.test", "X-Spam-Flag: NO\r\n\r\n", "250");
    send_mail(&c, "", "b@any.test", " folded\r\nX-Gapura-X: 1\r\nFrom: a@far.test\r\n\r\nx\r\n",
              "250");
    client_shut(&c);
    rig_stop();
    IS(rig.nmessages, 5, "all are taken");
    for (unsigned i = 0; i < rig.nmessages; i++) {
        is_first(&m[i], "odd");
        OK(!strstr(m[i].body, "X-Spam-") && !strstr(m[i].body, "X-Gapura-X") &&
               !strstr(m[i].body, "\r\n one") && !strstr(m[i].body, "folded"),
           "what only we may say is gone");
    }
    OK(body_has(&m[4], "smtp.helo=mx.far.test"), "the null sender is his host");
    OK(events_have("\"name\":\"from-missing\""), "oddities of From are findings");
    dns_end();
}

/* Text that strangers chose stands in our field: it ends no line and takes no room from it. */
static void
test_long(void)
{
    const struct rig_message *m = rig.messages;
    struct buf all;

    if (!dns_start(zone) || !rig_start(conf, 10))
        return;
    buf_init(&all, 1u << 20);
    for (unsigned i = 0; i < 30; i++) {
        buf_fmt(&all, "DKIM-Signature: v=1; a=rsa-sha256; d=far.test; s=");
        for (unsigned k = 0; k < 30; k++)
            buf_fmt(&all, "l%u\xc3\xa9.", k);
        buf_c(&all, "x; h=from; i=\"a\xff;b\"@far.test; bh=AAAA; b=AA\r\n AA\r\n");
    }
    buf_c(&all, HEADER "\r\nx\r\n");
    buf_char(&all, '\0');
    hello(0, "127.0.0.3");
    send_mail(&c, "a@far.test", "b@any.test", all.p, "250");
    client_shut(&c);
    rig_stop();
    if (OK(rig.nmessages == 1, "taken")) {
        is_first(&m[0], "long");
        OK(str_is_ascii(
               str_sub(str_c(m[0].body), 0, (size_t)(strstr(m[0].body, "DKIM-Sig") - m[0].body))),
           "no byte over 126 in a header of plain mail");
    }
    OK(events_have("\"dkim_skipped\":20"), "ten signatures are looked at");
    buf_done(&all);
    dns_end();
}

int
main(void)
{
    alarm(120);
    test_small();
    test_forged();
    test_chunked();
    test_odd();
    test_long();
    return tap_done();
}
