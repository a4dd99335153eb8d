/*
 * tests/unit/test_smtp_server.c - dialogues with the server machine, each also cut at every byte,
 * fed byte by byte, and with answers that come late: the outcome must be the same.
 */
#include "smtp_twin.h"
#include "tap.h"

#define TURNS 14
#define HELLO                                                                                      \
    {                                                                                              \
        "EHLO c.example\r\n", "250"                                                                \
    }

struct turn {
    const char *in, *want;
};
struct dialogue {
    const char *name;
    void (*tune)(struct smtp_server_conf *);
    bool trusted;
    struct turn turns[TURNS];
    const char *log; /* what the callbacks saw; NULL: not compared with a text */
};

static void
tune_small(struct smtp_server_conf *c)
{
    c->max_size = 64;
    c->max_rcpts = 2;
    c->max_messages = 2;
    c->max_received = 1;
    c->max_header = 48;
}

static void
tune_tls(struct smtp_server_conf *c)
{
    c->require_tls = true;
}

static void
tune_auth(struct smtp_server_conf *c)
{
    c->require_auth = true;
}

static void
tune_auth_plain(struct smtp_server_conf *c)
{
    c->require_auth = c->auth_plain_text = true;
}

static void
tune_refuse(struct smtp_server_conf *c)
{
    c->bare_refuse = true;
}

static void
tune_lmtp(struct smtp_server_conf *c)
{
    c->lmtp = true;
}

static void
tune_errors(struct smtp_server_conf *c)
{
    c->max_errors = 2;
}

static void
tune_idle(struct smtp_server_conf *c)
{
    c->max_commands = 3;
}

static void
tune_rcpts(struct smtp_server_conf *c)
{
    c->max_rcpts = 2;
}

static void
tune_bare_offer(struct smtp_server_conf *c)
{
    c->offer = SMTP_EXT_PIPELINING;
}

static void
tune_requests(struct smtp_server_conf *c)
{
    c->offer |= SMTP_EXT_BINARYMIME | SMTP_EXT_DELIVERBY | SMTP_EXT_MT_PRIORITY;
}

static const struct dialogue dialogues[] = {
    {"a message",
     NULL,
     false,
     {HELLO,
      {"MAIL FROM:<a@b.example> SIZE=10 BODY=8BITMIME\r\n", "250 2.1.0"},
      {"RCPT TO:<c@d.example>\r\nRCPT TO:<nobody@d.example>\r\n", "250 2.1.5|550 5.1.1"},
      {"DATA\r\n", "354"},
      {"Subject: x\r\n\r\n..\r\n.\r\nQUIT\r\n", "250 2.0.0|221 2.0.0"}},
     "ehlo c.example\nmail <a@b.example> 8bit size=10\nrcpt <c@d.example>\nrcpt "
     "<nobody@d.example>\n"
     "data\nend 17\nreset\nquit\n"},
    {"HELO has no enhanced codes and no parameters",
     NULL,
     false,
     {{"HELO c.example\r\n", "250"},
      {"MAIL FROM:<a@b.example> SIZE=1\r\n", "555"},
      {"MAIL FROM:<>\r\n", "250"},
      {"RCPT TO:<postmaster>\r\n", "250"}},
     "helo c.example\nmail <> null\nrcpt <postmaster>\n"},
    {"one group of everything",
     NULL,
     false,
     {HELLO,
      {"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nX: y\r\n\r\nz\r\n.\r\n"
       "MAIL FROM:<a2@b.example>\r\nRCPT TO:<c2@d.example>\r\nDATA\r\n\r\n.\r\nQUIT\r\n",
       "250 2.1.0|250 2.1.5|354|250 2.0.0|250 2.1.0|250 2.1.5|354|250 2.0.0|221 2.0.0"}},
     "ehlo c.example\nmail <a@b.example>\nrcpt <c@d.example>\ndata\nend 11\nreset\n"
     "mail <a2@b.example>\nrcpt <c2@d.example>\ndata\nend 2\nreset\nquit\n"},
    {"order of commands",
     NULL,
     false,
     {{"MAIL FROM:<a@b.example>\r\n", "503 5.5.1"},
      {"NOOP\r\nRSET\r\nHELP\r\n", "250 2.0.0|250 2.0.0|214 2.0.0"},
      HELLO,
      {"RCPT TO:<c@d.example>\r\nDATA\r\n", "503 5.5.1|503 5.5.1"},
      {"MAIL FROM:<a@b.example>\r\nMAIL FROM:<a@b.example>\r\nDATA\r\n",
       "250 2.1.0|503 5.5.1|554 5.5.1"},
      {"RCPT TO:<later@d.example>\r\nDATA\r\n", "451 4.3.0|554 5.5.1"},
      {"RCPT TO:<c@d.example>\r\nDATA x\r\n", "250 2.1.5|501 5.5.4"},
      {"EHLO again.example\r\nRCPT TO:<c@d.example>\r\n", "250|503 5.5.1"},
      {"MAIL FROM:<banned@b.example>\r\nMAIL FROM:<ok@b.example>\r\nRSET\r\n",
       "550 5.7.1|250 2.1.0|250 2.0.0"},
      {"EXPN x\r\nVRFY\r\nVRFY x\r\nTURN\r\nFOO\r\nLHLO x\r\n",
       "502 5.5.1|501 5.5.4|252 2.0.0|502 5.5.1|500 5.5.1|500 5.5.1"}},
     NULL},
    {"syntax of addresses",
     NULL,
     false,
     {HELLO,
      {"MAIL FROM:a@b.example\r\nMAIL FROM:<a@b..example>\r\nMAIL a\r\nMAIL FROM:\r\n",
       "501 5.1.7|501 5.1.7|501 5.5.4|501 5.5.4"},
      {"MAIL FROM:<@r.example,@s.example:a@[IPv6:2001:db8::1]>\r\n", "250 2.1.0"},
      {"RCPT TO:<>\r\nRCPT TO:<root>\r\nRCPT TO:<PostMaster>\r\nRCPT TO:<\"a b>\"@d.example>\r\n",
       "501 5.1.3|501 5.1.3|250 2.1.5|250 2.1.5"},
      {"RCPT TO: <c@d.example>\r\nRCPT TO:<c@d.example>x\r\n", "250 2.1.5|501 5.1.3"}},
     "ehlo c.example\nmail <a@[IPv6:2001:db8::1]>\nrcpt <PostMaster>\nrcpt <\"a b>\"@d.example>\n"
     "rcpt <c@d.example>\n"},
    {"parameters",
     NULL,
     false,
     {HELLO,
      {"MAIL FROM:<a@b.example> FOO=1\r\nMAIL FROM:<a@b.example> SIZE=\r\n"
       "MAIL FROM:<a@b.example> SIZE=1 SIZE=1\r\nMAIL FROM:<a@b.example> BODY=BINARYMIME\r\n"
       "MAIL FROM:<a@b.example> SIZE=123456789012345678901\r\nMAIL FROM:<a@b.example> =\r\n"
       "MAIL FROM:<a@b.example> REQUIRETLS\r\nMAIL FROM:<a@b.example> SIZE=99999999\r\n"
       "MAIL FROM:<a@b.example> AUTH=<>\r\nMAIL FROM:<a@b.example> ENVID=a+zz\r\n",
       "555 5.5.4|501 5.5.4|501 5.5.4|501 5.5.4|501 5.5.4|501 5.5.4|555 5.5.4|552 5.3.4|555 5.5.4|"
       "501 5.5.4"},
      {"MAIL FROM:<a@b.example> RET=HDRS ENVID=a+2Bb size=7\r\n", "250 2.1.0"},
      {"RCPT TO:<c@d.example> NOTIFY=NEVER,DELAY\r\nRCPT TO:<c@d.example> NOTIFY=\r\n"
       "RCPT TO:<c@d.example> NOTIFY=SUCCESS,\r\nRCPT TO:<c@d.example> ORCPT=rfc822\r\n"
       "RCPT TO:<c@d.example> ORCPT=utf-8;\\x{110000}@d\r\nRCPT TO:<c@d.example> SIZE=1\r\n",
       "501 5.5.4|501 5.5.4|501 5.5.4|501 5.5.4|501 5.5.4|555 5.5.4"},
      {"RCPT TO:<c@d.example> NOTIFY=success,DELAY ORCPT=rfc822;c+40x@d\r\n"
       "RCPT TO:<e@d.example> ORCPT=utf-8;\\x{E9}@d NOTIFY=NEVER\r\n",
       "250 2.1.5|250 2.1.5"}},
     "ehlo c.example\nmail <a@b.example> size=7 ret=2 envid=a+2Bb\n"
     "rcpt <c@d.example> notify=10 orcpt=rfc822;c+40x@d\n"
     "rcpt <e@d.example> notify=1 orcpt=utf-8;\\x{E9}@d\n"},
    {"SMTPUTF8",
     NULL,
     false,
     {HELLO,
      {"MAIL FROM:<jos\xc3\xa9@b.example>\r\nMAIL FROM:<a@ex\xc3\xa4mple.test>\r\n"
       "MAIL FROM:<jos\xc3@b.example> SMTPUTF8\r\n",
       "553 5.6.7|553 5.6.7|501 5.1.7"},
      {"MAIL FROM:<a@b.example>\r\nRCPT TO:<jos\xc3\xa9@d.example>\r\nRSET\r\n",
       "250 2.1.0|553 5.6.7|250 2.0.0"},
      {"MAIL FROM:<jos\xc3\xa9@ex\xc3\xa4mple.test> SMTPUTF8\r\nRCPT TO:<\xe7\x94\xa8@d.example> "
       "ORCPT=utf-8;\xe7\x94\xa8@d\r\n",
       "250 2.1.0|250 2.1.5"},
      {"EHLO \xc3\xa9\r\nNO\xc3\xa9P\r\nVRFY \xc3\xa9\r\n", "501 5.5.4|500 5.5.1|553 5.6.7"}},
     NULL},
    {"no extension offered",
     tune_bare_offer,
     false,
     {HELLO,
      {"MAIL FROM:<a@b.example> SMTPUTF8\r\nSTARTTLS\r\nAUTH PLAIN\r\nBDAT 3\r\nabc",
       "555|502|502|502"},
      {"MAIL FROM:<jos\xc3\xa9@b.example>\r\n", "553"}},
     NULL},
    {"octets that are no lines",
     tune_requests,
     false,
     {HELLO,
      {"MAIL FROM:<a@b.example> BODY=BINARYMIME BY=-60;NT MT-PRIORITY=-4\r\n", "250 2.1.0"},
      {"RCPT TO:<c@d.example>\r\nDATA\r\n", "250 2.1.5|503 5.5.1"},
      {"BDAT 8\r\nA: b\r\n\r\nBDAT 9 LAST\r\n\r\r\n.\n\n.\n\r", "250 2.0.0|250 2.0.0"},
      {"MAIL FROM:<a@b.example> BODY=BINARYMIME\r\nRCPT TO:<c@d.example>\r\n",
       "250 2.1.0|250 2.1.5"},
      {"BDAT 6\r\nA: b\nBBDAT 3 LAST\r\n: c", "554 5.6.0|503 5.5.1"},
      {"MAIL FROM:<a@b.example> BY=0;R\r\nMAIL FROM:<a@b.example> MT-PRIORITY=10\r\n",
       "501 5.5.4|501 5.5.4"}},
     "ehlo c.example\nmail <a@b.example> binary by=-60;1t priority=-4\nrcpt <c@d.example>\n"
     "data\nend 17\nreset\nmail <a@b.example> binary\nrcpt <c@d.example>\ndata\nreset\n"},
    {"BDAT",
     NULL,
     false,
     {HELLO,
      {"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nBDAT 8\r\nA: b\r\n\r\n"
       "BDAT 5 LAST\r\n.\r\n.x",
       "250 2.1.0|250 2.1.5|250 2.0.0|250 2.0.0"},
      {"MAIL FROM:<a@b.example>\r\nBDAT 6\r\nQUIT\r\nRCPT TO:<c@d.example>\r\nBDAT 3\r\nx\r\n"
       "DATA\r\nRCPT TO:<e@d.example>\r\nBDAT 0 LAST\r\n",
       "250 2.1.0|503 5.5.1|250 2.1.5|250 2.0.0|503 5.5.1|503 5.5.1|250 2.0.0"},
      {"BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", "503 5.5.1|250 2.0.0"}},
     "ehlo c.example\nmail <a@b.example>\nrcpt <c@d.example>\ndata\nend 15\nreset\n"
     "mail <a@b.example>\nrcpt <c@d.example>\ndata\nend 3\nreset\n"},
    {"octets of a BDAT without a size are no commands",
     NULL,
     false,
     {HELLO,
      {"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nBDAT 4\r\nx: y"
       "BDAT 123456789012345678901\r\nMAIL FROM:<x@b.example>\r\n",
       "250 2.1.0|250 2.1.5|250 2.0.0|501 5.5.4"},
      {"NOOP\r\n", ""}},
     "ehlo c.example\nmail <a@b.example>\nrcpt <c@d.example>\ndata\nquit\n"},
    {"BDAT with words behind its size",
     NULL,
     false,
     {HELLO, {"BDAT 1 LAST x\r\nNOOP\r\n", "501 5.5.4"}},
     "ehlo c.example\nquit\n"},
    {"BDAT x where there is no message",
     NULL,
     false,
     {HELLO, {"BDAT x\r\nNOOP\r\n", "501 5.5.4"}},
     "ehlo c.example\nquit\n"},
    {"ceilings",
     tune_small,
     false,
     {HELLO,
      {"MAIL FROM:<a@b.example> SIZE=65\r\nMAIL FROM:<a@b.example> SIZE=64\r\n",
       "552 5.3.4|250 2.1.0"},
      {"RSET\r\nMAIL FROM:<a@b.example>\r\n", "250 2.0.0|421 4.7.0"}},
     NULL},
    {"recipients and bytes",
     tune_small,
     false,
     {HELLO,
      {"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nRCPT TO:<e@d.example>\r\n"
       "RCPT TO:<f@d.example>\r\n",
       "250 2.1.0|250 2.1.5|250 2.1.5|452 4.5.3"},
      {"DATA\r\n\r\n0123456789012345678901234567890123456789012345678901234567890123456789\r\n."
       "\r\n",
       "354|552 5.3.4"},
      {"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nBDAT 60\r\n"
       "\r\n23456789012345678901234567890123456789012345678901234567\r\n"
       "BDAT 5 LAST\r\nQUIT\n",
       "250 2.1.0|250 2.1.5|250 2.0.0|552 5.3.4"},
      {"MAIL FROM:<a@b.example>\r\n", "421 4.7.0"}},
     "ehlo c.example\nmail <a@b.example>\nrcpt <c@d.example>\nrcpt <e@d.example>\ndata\nreset\n"
     "mail <a@b.example>\nrcpt <c@d.example>\ndata\nreset\nquit\n"},
    {"loop and header",
     tune_small,
     false,
     {HELLO,
      {"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n"
       "Received: a\r\nreceived: b\r\n\r\n.\r\n",
       "250 2.1.0|250 2.1.5|354|554 5.4.6"},
      {"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n"
       "A: 456789012345678901234567890123456789012345678\r\n\r\n.\r\n",
       "250 2.1.0|250 2.1.5|354|552 5.3.4"}},
     NULL},
    {"bare line ends in content are refused",
     tune_refuse,
     false,
     {HELLO,
      {"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n\r\nx\n.\ny\r\n.\r\n",
       "250 2.1.0|250 2.1.5|354|554 5.6.0"},
      {"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n\r\nx\r\r\n.\r\n",
       "250 2.1.0|250 2.1.5|354|554 5.6.0"}},
     "ehlo c.example\nmail <a@b.example>\nrcpt <c@d.example>\ndata\nreset\n"
     "mail <a@b.example>\nrcpt <c@d.example>\ndata\nreset\n"},
    {"bare line ends in content become CRLF",
     NULL,
     false,
     {HELLO,
      {"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n\r\nx\n.\r\ny\rz\r\n.\r\n",
       "250 2.1.0|250 2.1.5|354|250 2.0.0"}},
     "ehlo c.example\nmail <a@b.example>\nrcpt <c@d.example>\ndata\nend 14\nreset\n"},
    {"broken command lines",
     NULL,
     false,
     {HELLO,
      {"\r\nNOOP\nNO\rOP\r\nNOOP \t\r\n\n", "500 5.5.2|500 5.5.2|500 5.5.2|250 2.0.0|500 5.5.2"}},
     NULL},
    {"lax lines for the trusted",
     NULL,
     true,
     {{"EHLO c.example\n", "250"},
      {"MAIL FROM:a@b.example SIZE=3\nRCPT TO:c@d.example\nNO\rOP\nDATA\n",
       "250 2.1.0|250 2.1.5|500 5.5.2|354"},
      {"x\r\n.\r\n", "250 2.0.0"}},
     "ehlo c.example\nmail <a@b.example> size=3\nrcpt <c@d.example>\ndata\nend 3\nreset\n"},
    {"an HTTP client",
     NULL,
     false,
     {{"POST / HTTP/1.1\r\nHost: x\r\nQUIT\r\n", "421 4.7.0"}},
     "quit\n"},
    {"a TLS client", NULL, false, {{"\x16\x03\x01\r\nQUIT\r\n", "421 4.7.0"}}, "quit\n"},
    {"too many errors",
     tune_errors,
     false,
     {{"FOO\r\nBAR\r\nNOOP\r\nQUIT\r\n", "500 5.5.1|500 5.5.1|421 4.7.0"}},
     "quit\n"},
    {"what was pipelined behind a refused MAIL is no error",
     tune_errors,
     false,
     {HELLO,
      {"MAIL FROM:<banned@b.example>\r\nRCPT TO:<c@d.example>\r\nRCPT TO:<e@d.example>\r\n"
       "DATA\r\nNOOP\r\nRSET\r\nRCPT TO:<c@d.example>\r\nNOOP\r\n",
       "550 5.7.1|503 5.5.1|503 5.5.1|503 5.5.1|250 2.0.0|250 2.0.0|503 5.5.1|250 2.0.0"},
      {"MAIL FROM:<ok@b.example>\r\nRSET\r\nRCPT TO:<c@d.example>\r\nNOOP\r\n",
       "250 2.1.0|250 2.0.0|503 5.5.1|421 4.7.0"}},
     NULL},
    {"too many commands",
     tune_idle,
     false,
     {{"NOOP\r\nNOOP\r\nRSET\r\nNOOP\r\n", "250 2.0.0|250 2.0.0|250 2.0.0|421 4.7.0"}},
     "quit\n"},
    {"too many logins that are put off",
     tune_idle,
     false,
     {HELLO, {"AUTH PLAIN\r\nAUTH PLAIN\r\nAUTH PLAIN\r\n", "538 5.7.11|538 5.7.11|421 4.7.0"}},
     NULL},
    {"too many recipients that are put off",
     tune_rcpts,
     false,
     {HELLO,
      {"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nRCPT TO:<later@d.example>\r\n",
       "250 2.1.0|250 2.1.5|451 4.3.0"},
      {"RCPT TO:<later@d.example>\r\nRCPT TO:<later@d.example>\r\nRCPT TO:<e@d.example>\r\n",
       "451 4.3.0|452 4.5.3|452 4.5.3"},
      {"DATA\r\n", "354"},
      {"\r\n.\r\n", "250 2.0.0"},
      {"MAIL FROM:<a@b.example>\r\nRCPT TO:<later@d.example>\r\nRCPT TO:<later@d.example>\r\n"
       "RCPT TO:<later@d.example>\r\n",
       "250 2.1.0|451 4.3.0|451 4.3.0|421 4.7.0"}},
     "ehlo c.example\nmail <a@b.example>\nrcpt <c@d.example>\nrcpt <later@d.example>\n"
     "rcpt <later@d.example>\ndata\nend 2\nreset\nmail <a@b.example>\nrcpt <later@d.example>\n"
     "rcpt <later@d.example>\nquit\n"},
    {"too many refused MAIL",
     tune_idle,
     false,
     {HELLO,
      {"MAIL FROM:<banned@b.example>\r\nMAIL FROM:<banned@b.example>\r\n"
       "MAIL FROM:<ok@b.example>\r\n",
       "550 5.7.1|550 5.7.1|421 4.7.0"}},
     NULL},
    {"TLS required",
     tune_tls,
     false,
     {{"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nNOOP\r\nRSET\r\n",
       "250|530 5.7.0|250 2.0.0|530 5.7.0"},
      {"STARTTLS x\r\nAUTH PLAIN\r\nSTARTTLS\r\n", "501 5.5.4|530 5.7.0|220 2.0.0"},
      {"MAIL FROM:<a@b.example>\r\nEHLO c.example\r\nSTARTTLS\r\n", "503 5.5.1|250|503 5.5.1"},
      {"MAIL FROM:<a@b.example> REQUIRETLS AUTH=<>\r\n", "250 2.1.0"}},
     "ehlo c.example\nehlo c.example\nmail <a@b.example> rtls auth=<>\n"},
    {"AUTH needs TLS",
     tune_auth,
     false,
     {HELLO,
      {"AUTH PLAIN\r\nMAIL FROM:<a@b.example>\r\n", "538 5.7.11|530 5.7.0"},
      {"STARTTLS\r\n", "220 2.0.0"},
      {"AUTH PLAIN\r\n", "503 5.5.1"},
      HELLO,
      {"AUTH PLAIN AHRvbnkAc3Rhcms=\r\nMAIL FROM:<a@b.example>\r\nAUTH PLAIN\r\n",
       "235 2.7.0|250 2.1.0|503 5.5.1"}},
     "ehlo c.example\nehlo c.example\nauth PLAIN initial\nmail <a@b.example>\n"},
    {"AUTH in all its ways",
     tune_auth_plain,
     false,
     {HELLO,
      {"AUTH\r\nAUTH NTLM\r\nAUTH PLAIN a b\r\nAUTH PLAIN ***\r\n",
       "501 5.5.4|504 5.5.4|501 5.5.4|501 5.5.2"},
      {"AUTH PLAIN =\r\nAUTH plain\r\n*\r\nAUTH PLAIN\r\n!\r\n",
       "535 5.7.8|334|501 5.7.0|334|501 5.5.2"},
      {"AUTH LOGIN\r\ndG9ueQ==\r\nbmV2ZXI=\r\nAUTH LOGIN\r\ndG9ueQ==\r\nbm8\n",
       "334|334|535 5.7.8|334|334|500 5.5.2"},
      {"AUTH FINAL YQ==\r\nx\r\nMAIL FROM:<a@b.example>\r\n", "334|501 5.5.2|530 5.7.0"},
      {"AUTH FINAL YQ==\r\n\r\nMAIL FROM:<a@b.example> AUTH=t+40x\r\nAUTH PLAIN\r\n",
       "334|235 2.7.0|250 2.1.0|503 5.5.1"}},
     NULL},
    {"LMTP",
     tune_lmtp,
     false,
     {{"EHLO c.example\r\nLHLO c.example\r\n", "500 5.5.1|250"},
      {"MAIL FROM:<>\r\nDATA\r\nRCPT TO:<a@d.example>\r\nRCPT TO:<nobody@d.example>\r\n"
       "RCPT TO:<b@d.example>\r\nDATA\r\n",
       "250 2.1.0|503 5.5.1|250 2.1.5|550 5.1.1|250 2.1.5|354"},
      {"x: y\r\n\r\n.\r\nQUIT\r\n", "250 2.0.0|250 2.0.0|221 2.0.0"}},
     "ehlo c.example\nmail <> null\nrcpt <a@d.example>\nrcpt <nobody@d.example>\n"
     "rcpt <b@d.example>\ndata\nend 8\nreset\nquit\n"},
};

static void
start(struct twin *t, const struct dialogue *d, bool late)
{
    struct smtp_server_conf conf = twin_conf();

    if (d->tune)
        d->tune(&conf);
    twin_open(t, &conf, late);
    smtp_server_set_trusted(t->s, d->trusted);
    buf_clear(&t->out);
}

static struct str
turn_in(const struct turn *turn)
{
    return str_c(turn->in);
}

/* Runs it with pieces of `step` bytes; replies of all turns into `out` as they are on the wire. */
static void
run_quiet(struct twin *t, const struct dialogue *d, size_t step, bool late)
{
    start(t, d, late);
    for (size_t i = 0; i < TURNS && d->turns[i].in; i++)
        twin_feed(t, turn_in(&d->turns[i]), step);
}

static bool
same(const struct twin *a, const struct twin *b)
{
    if (!str_eq(buf_view(&a->out), buf_view(&b->out)) ||
        !str_eq(buf_view(&a->log), buf_view(&b->log)) || a->nmessages != b->nmessages)
        return false;
    for (unsigned i = 0; i < MIN(a->nmessages, TWIN_MESSAGES); i++)
        if (!str_eq(buf_view(&a->messages[i]), buf_view(&b->messages[i])))
            return false;
    return true;
}

/* Each turn cut once, at every place, at once and late. */
static bool
cut_everywhere(const struct dialogue *d, const struct twin *want)
{
    struct twin t;
    bool good = true;

    for (size_t i = 0; i < TURNS && d->turns[i].in && good; i++) {
        struct str in = turn_in(&d->turns[i]);

        for (size_t cut = 1; cut < in.n && good; cut++) {
            start(&t, d, cut & 1);
            for (size_t k = 0; k < TURNS && d->turns[k].in; k++) {
                if (k != i) {
                    twin_feed(&t, turn_in(&d->turns[k]), 0);
                    continue;
                }
                twin_feed(&t, str_sub(in, 0, cut), 0);
                twin_feed(&t, str_from(in, cut), 0);
            }
            good = same(&t, want);
            if (!good)
                printf("# turn %zu cut at %zu: \"%.*s\"\n# log %.*s\n", i, cut, (int)t.out.n,
                       t.out.p, (int)t.log.n, t.log.p);
            twin_close(&t);
        }
    }
    return good;
}

static void
test_dialogue(const struct dialogue *d)
{
    static const size_t steps[] = {0, 1, 2, 3, 7};
    struct twin t, whole;
    char got[1024];

    start(&t, d, false);
    for (size_t i = 0; i < TURNS && d->turns[i].in; i++) {
        twin_feed(&t, turn_in(&d->turns[i]), 0);
        TEXT(twin_replies(&t, got, sizeof(got)), d->turns[i].want, "%s, turn %zu", d->name, i);
    }
    if (d->log)
        TEXT(buf_view(&t.log), d->log, "%s: what the callbacks saw", d->name);
    OK(t.resets <= t.opened, "%s: no reset without a transaction", d->name);
    twin_close(&t);

    run_quiet(&whole, d, 0, false);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++)
        for (int late = 0; late < 2; late++) {
            run_quiet(&t, d, steps[i], late);
            OK(same(&t, &whole), "%s in pieces of %zu, %s", d->name, steps[i],
               late ? "late" : "at once");
            twin_close(&t);
        }
    OK(cut_everywhere(d, &whole), "%s cut at every byte", d->name);
    twin_close(&whole);
}

static void
test_texts(void)
{
    struct twin t;

    twin_open(&t, NULL, false);
    TEXT(buf_view(&t.out), "220 mx.example.test ESMTP ready\r\n", "greeting");
    buf_clear(&t.out);
    twin_feed(&t, STR("EHLO x\r\n"), 0);
    TEXT(buf_view(&t.out),
         "250-mx.example.test at your service\r\n250-PIPELINING\r\n250-SIZE 1048576\r\n"
         "250-STARTTLS\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-DSN\r\n250-SMTPUTF8\r\n"
         "250-CHUNKING\r\n250-LIMITS RCPTMAX=100\r\n250 HELP\r\n",
         "EHLO in plain text");
    twin_feed(&t, STR("STARTTLS\r\n"), 0);
    OK(smtp_server_is_tls(t.s), "TLS");
    buf_clear(&t.out);
    twin_feed(&t, STR("EHLO x\r\n"), 0);
    OK(str_find(buf_view(&t.out), STR("STARTTLS")) < 0, "no STARTTLS inside TLS");
    OK(str_find(buf_view(&t.out), STR("250-AUTH PLAIN LOGIN FINAL\r\n")) > 0, "AUTH inside TLS");
    OK(str_find(buf_view(&t.out), STR("250-REQUIRETLS\r\n")) > 0, "REQUIRETLS inside TLS");
    twin_close(&t);
}

/* What was sent in plain text behind STARTTLS is nobody's. */
static void
test_tls_injection(void)
{
    struct twin t;
    char got[256];

    twin_open(&t, NULL, false);
    buf_clear(&t.out);
    twin_feed(&t, STR("EHLO x\r\nSTARTTLS\r\nEHLO evil\r\nMAIL FROM:<evil@b.example>\r\n"), 0);
    TEXT(twin_replies(&t, got, sizeof(got)), "250|220 2.0.0",
         "plain text behind STARTTLS is dropped");
    OK(smtp_server_early(t.s), "and noted");
    twin_feed(&t, STR("MAIL FROM:<a@b.example>\r\n"), 0);
    TEXT(twin_replies(&t, got, sizeof(got)), "503 5.5.1", "state is as after connect");
    twin_close(&t);
}

static void
test_nul(void)
{
    struct twin t;
    char got[64];

    twin_open(&t, NULL, false);
    buf_clear(&t.out);
    twin_feed(&t, STR("NO\0OP\r\nNOOP\r\n"), 0);
    TEXT(twin_replies(&t, got, sizeof(got)), "500 5.5.2|250 2.0.0", "NUL in a command");
    twin_close(&t);
}

static void
test_one_send(void)
{
    struct twin t;

    twin_open(&t, NULL, false);
    t.sends = 0;
    twin_feed(&t,
              STR("EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n"
                  "RCPT TO:<e@d.example>\r\nDATA\r\nx: y\r\n\r\n.\r\n"),
              0);
    IS(t.sends, 1, "replies of one input go out in one piece");
    twin_close(&t);
}

static void
test_long_lines(void)
{
    static const char tail[] = "\r\n";
    char line[13000];
    struct twin t;
    char got[256];

    for (size_t step = 0; step < 2000; step += 997) {
        twin_open(&t, NULL, false);
        buf_clear(&t.out);
        memset(line, 'x', sizeof(line));
        memcpy(line, "NOOP ", 5);
        memcpy(line + 2046, tail, 2);
        twin_feed(&t, str_of(line, 2048), step);
        memcpy(line + 2046, "xx", 2);
        memcpy(line + 2047, tail, 2);
        twin_feed(&t, str_of(line, 2049), step);
        memset(line, 'x', sizeof(line));
        memcpy(line, "AUTH ", 5);
        memcpy(line + 12286, tail, 2);
        twin_feed(&t, str_of(line, 12288), step);
        memcpy(line + 12286, "xx\r\n", 4);
        twin_feed(&t, str_of(line, 12290), step);
        TEXT(twin_replies(&t, got, sizeof(got)), "250 2.0.0|500 5.5.2|503 5.5.1|500 5.5.2",
             "line ceilings, pieces of %zu", step);
        twin_close(&t);
    }
}

static void
quit_frees(void *ctx)
{
    struct twin *t = ctx;

    t->closed = true;
    smtp_server_free(t->s);
    t->s = NULL;
}

static void
body_closes(void *ctx, const char *p, size_t n)
{
    struct twin *t = ctx;

    twin_body(ctx, p, n);
    smtp_server_close(t->s, "4.3.2", "Shutting down");
}

/* Callbacks that end the session, or the server itself, in the middle of its work. */
static void
test_ends_inside(void)
{
    struct smtp_server_ops ops = twin_ops;
    struct twin t;

    twin_open(&t, NULL, false);
    smtp_server_free(t.s);
    ops.quit = quit_frees;
    t.s = smtp_server_create(&t.conf, &ops, &t);
    smtp_server_start(t.s);
    IS(smtp_server_feed(t.s, "QUIT\r\nNOOP\r\n", 12), 12, "freed in quit: the rest is swallowed");
    OK(t.closed && !t.s, "quit came");
    ops = twin_ops;
    ops.body = body_closes;
    t.s = smtp_server_create(&t.conf, &ops, &t);
    buf_clear(&t.out);
    smtp_server_start(t.s);
    twin_feed(&t, STR("EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@d.example>\r\nDATA\r\na\nb\r\n.\r\n"),
              0);
    OK(str_ends(buf_view(&t.out), STR("421 4.3.2 mx.example.test Shutting down\r\n")),
       "closed in the body: 421 is the last word");
    IS(smtp_server_state(t.s), SMTP_CLOSED, "and the state says so");
    smtp_server_reply(t.s, 250, NULL, "late");
    twin_close(&t);
}

static void
test_refused_greeting(void)
{
    struct twin t;
    char got[128];

    memset(&t, 0, sizeof(t));
    twin_open(&t, NULL, true);
    smtp_server_free(t.s);
    buf_clear(&t.out);
    t.s = smtp_server_create(&t.conf, &twin_ops, &t);
    smtp_server_start(t.s);
    OK(smtp_server_waiting(t.s), "the greeting is owed");
    IS(smtp_server_feed(t.s, "EHLO x\r\n", 8), 0, "nothing is taken before it");
    t.nowed = 0;
    smtp_server_reply(t.s, 554, "5.7.1", "No service");
    twin_feed(&t, STR("EHLO x\r\nQUIT\r\n"), 0);
    TEXT(twin_replies(&t, got, sizeof(got)), "554|503 5.5.1|221 2.0.0", "refused by greeting");
    twin_close(&t);
}

int
main(void)
{
    for (size_t i = 0; i < ARRAY_LEN(dialogues); i++)
        test_dialogue(&dialogues[i]);
    test_texts();
    test_tls_injection();
    test_nul();
    test_one_send();
    test_long_lines();
    test_ends_inside();
    test_refused_greeting();
    return tap_done();
}
