/*
 * tests/unit/test_smtp_refused.c - what the engine refuses by itself, as it is told for the record.
 */
#include "tap.h"

#include "smtp_twin.h"

/* Each is told once, by the command that it answers; what is only out of turn is not. */
static void
test_refusals_told(void)
{
    static const struct {
        const char *in, *want;
    } rows[] = {
        {"MAIL FROM:<a@b.example> SIZE=9999999\r\n", "MAIL 552 5.3.4 a@b.example\n"},
        {"MAIL FROM:<> SIZE=9999999\r\n", "MAIL 552 5.3.4 \n"},
        {"MAIL FROM:<a b@b.example>\r\n", "MAIL 501 5.1.7 a b@b.example\n"},
        {"MAIL a@b.example\r\n", "MAIL 501 5.5.4 a@b.example\n"},
        {"RCPT TO:<a@b.example>\r\nDATA\r\n", ""},
        {"MAIL FROM:<a@b.example>\r\nMAIL FROM:<c@b.example>\r\n", ""},
        {"MAIL FROM:<a@b.example>\r\nRCPT TO:<x@>\r\n", "RCPT 501 5.1.3 x@\n"},
        {"MAIL FROM:<a@b.example>\r\nRCPT TO:<1@b.example>\r\nRCPT TO:<2@b.example>\r\n"
         "RCPT TO:<3@b.example>\r\nRCPT TO:<4@b.example>\r\n",
         "RCPT 452 4.5.3 3@b.example\n"},
        {"MAIL FROM:<a@b.example>\r\nRCPT TO:<1@b.example>\r\nDATA\r\nx: y\nz: z\r\n.\r\n",
         "DATA 554 5.6.0 \n"},
        {"MAIL FROM:<a@b.example>\r\nRCPT TO:<1@b.example>\r\nBDAT 7\r\nx: y\nz:"
         "BDAT 3 LAST\r\nz\r\n",
         "DATA 554 5.6.0 \n"},
        {"MAIL FROM:<a@b.example>\r\nRCPT TO:<1@b.example>\r\nBDAT 99999999 LAST\r\n", ""},
        {"MAIL FROM:<a@b.example>\r\nBDAT 2 LAST\r\nxx", ""},
        {"MAIL FROM:<a@b.example>\r\nBDAT two\r\n", "DATA 501 5.5.4 \n"},
        {"BDAT 2 LAST LAST\r\n", "CONNECT 501 5.5.4 \n"},
        {"XYZ\r\nXYZ\r\nXYZ\r\nXYZ\r\n", "CONNECT 421 4.7.0 \n"},
        {"NOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\n", "CONNECT 421 4.7.0 \n"},
        {"GET / HTTP/1.1\r\n", "CONNECT 421 4.7.0 \n"},
        {"PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\n", "CONNECT 421 4.7.0 \n"},
        {"MAIL FROM:<a@b.example>\r\nRCPT TO:<later1@b.example>\r\nRCPT TO:<later2@b.example>\r\n",
         "CONNECT 421 4.7.0 \n"},
    };
    struct smtp_server_conf conf = twin_conf();
    struct twin t;

    conf.max_rcpts = 2;
    conf.max_errors = 3;
    conf.max_commands = 4;
    conf.bare_refuse = true;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t step = 0; step < 3; step++) {
            twin_open(&t, &conf, step == 1);
            twin_feed(&t, STR("EHLO x\r\n"), 0);
            twin_feed(&t, str_c(rows[i].in), step);
            TEXT(buf_view(&t.refused), rows[i].want, "row %zu: told of what is refused", i);
            twin_close(&t);
        }
    twin_open(&t, &conf, false);
    t.conf.require_tls = true;
    twin_feed(&t, STR("EHLO x\r\nMAIL FROM:<a@b.example>\r\n"), 0);
    TEXT(buf_view(&t.refused), "MAIL 530 5.7.0 a@b.example\n", "mail without TLS");
    twin_close(&t);
}

int
main(void)
{
    test_refusals_told();
    return tap_done();
}
