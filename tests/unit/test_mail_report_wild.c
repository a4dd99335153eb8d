/*
 * tests/unit/test_mail_report_wild.c - reports as the large receivers write them, and mails made to
 * cost much.
 */
#include <stdlib.h>

#include "core/codec.h"
#include "mail/report.h"
#include "mail/report_dmarc.h"
#include "mail/report_tls.h"
#include "tap.h"

static struct arena arena;
static struct report report;
static struct why why;

static int
read_with(const struct report_limits *limits, struct str text)
{
    arena_done(&arena);
    arena_init(&arena, 64u << 20);
    why.text[0] = '\0';
    return report_read(text, limits, &arena, &report, &why);
}

static int
read_one(struct str text)
{
    return read_with(&report_limits_default, text);
}

/* ---- mails that cost much ---- */

static void
part_put(struct buf *mail, const char *name, struct str file)
{
    buf_fmt(mail,
            "--b\r\nContent-Type: application/gzip; name=\"%s\"\r\n"
            "Content-Transfer-Encoding: base64\r\n\r\n",
            name);
    codec_base64(mail, file);
    buf_c(mail, "\r\n");
}

/* What unpacks to n bytes of XML that is no report, packed twice. */
static void
bomb_make(size_t n, struct buf *ret)
{
    struct buf plain, once;

    buf_init(&plain, n);
    buf_init(&once, n);
    buf_c(&plain, "<x>");
    while (plain.n < n)
        buf_char(&plain, ' ');
    ENSURE(report_gzip(buf_view(&plain), &once) && report_gzip(buf_view(&once), ret));
    buf_done(&plain);
    buf_done(&once);
}

#define GOOD_XML                                                                                   \
    "<feedback><report_metadata><org_name>o.test</org_name><email>d@o.test</email><report_id>r"    \
    "</report_id><date_range><begin>1</begin><end>2</end></date_range></report_metadata>"          \
    "<policy_published><domain>a.test</domain><p>none</p></policy_published><record><row>"         \
    "<source_ip>192.0.2.1</source_ip><count>1</count></row><identifiers><header_from>a.test"       \
    "</header_from></identifiers></record></feedback>"

/* The ceiling of unpacked bytes is of the mail: else each of its files could cost as much. */
static void
test_many_bombs(void)
{
    struct report_limits limits = report_limits_default;
    struct buf bomb, good, mail;

    limits.bytes = 1u << 20;
    buf_init(&bomb, 1u << 20);
    buf_init(&good, 1u << 20);
    buf_init(&mail, 1u << 20);
    bomb_make(400u << 10, &bomb);
    ENSURE(report_gzip(STR(GOOD_XML), &good));
    OK(bomb.n < 300, "a file of %zu bytes that unpacks to 400 KB", bomb.n);
    buf_c(&mail, "Content-Type: multipart/mixed; boundary=b\r\n\r\n");
    part_put(&mail, "notes.gz", buf_view(&bomb));
    size_t one = mail.n;
    part_put(&mail, "o!a.test!1!2.xml.gz", buf_view(&good));
    IS(read_with(&limits, buf_view(&mail)), 0, "a report behind one of them is read: %s", why.text);
    mail.n = one;
    for (unsigned i = 0; i < 3; i++)
        part_put(&mail, "notes.gz", buf_view(&bomb));
    part_put(&mail, "o!a.test!1!2.xml.gz", buf_view(&good));
    IS(read_with(&limits, buf_view(&mail)), ERR_LIMIT, "behind four it is not: %s", why.text);
    OK(strstr(why.text, "together"), "and that is told");
    IS(report.kind, REPORT_DMARC_AGGREGATE, "as what it wants to be");
    buf_done(&bomb);
    buf_done(&good);
    buf_done(&mail);
}

int
main(void)
{
    test_many_bombs();
    (void)read_one;
    arena_done(&arena);
    return tap_done();
}
