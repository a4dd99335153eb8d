/*
 * tests/support/lib/cases_smuggling.c - sequences that some servers take for the end of DATA.
 *
 * Each goes through a server that normalises and one that refuses, whole and in pieces. What was
 * taken is sent on by the real client, by DATA and by BDAT, and must arrive as the one message.
 */
#include "cases.h"
#include "smtp_twin.h"

static const char opening[] = "EHLO x.example\r\nMAIL FROM:<a@b.example>\r\n"
                              "RCPT TO:<c@d.example>\r\nDATA\r\n";
static const char second[] = "MAIL FROM:<smuggler@b.example>\r\nRCPT TO:<victim@d.example>\r\n"
                             "DATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\nQUIT\r\n";

static bool
clean(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\n' && (!i || s.p[i - 1] != '\r'))
            return false;
        if (s.p[i] == '\r' && (i + 1 == s.n || s.p[i + 1] != '\n'))
            return false;
    }
    return true;
}

/* What was wrong with one run; NULL if nothing. */
static const char *
run(struct str in, bool refuse, bool ends, size_t step, bool late)
{
    struct smtp_server_conf conf = twin_conf();
    const char *wrong = NULL;
    struct twin t;
    unsigned want = ends ? 2 : 1;

    conf.bare_refuse = refuse;
    twin_open(&t, &conf, late);
    twin_feed(&t, in, step);
    if (refuse ? t.nmessages > want : t.nmessages != want)
        wrong = "not the right number of messages";
    else if (!ends && str_find(buf_view(&t.log), STR("smuggler")) >= 0)
        wrong = "the second dialogue was heard";
    for (unsigned i = 0; !wrong && i < t.nmessages; i++) {
        struct str content = buf_view(&t.messages[i]);

        wrong = clean(content) ? cases_relay(content, false) : "a bare CR or LF was passed on";
        wrong = wrong ? wrong : cases_relay(content, true);
    }
    twin_close(&t);
    return wrong;
}

void
cases_smuggling(const char *path, const json_t *all)
{
    static const size_t steps[] = {0, 1, 2, 5};
    const json_t *one;
    size_t i;

    (void)path;
    json_array_foreach(all, i, one)
    {
        bool ends = json_is_true(json_object_get(one, "ends_data"));
        const char *wrong = NULL;
        char seq[256];
        ssize_t n = cases_hex(one, "hex", seq, sizeof(seq));
        struct buf in;

        buf_init(&in, 65536);
        buf_c(&in, opening);
        buf_c(&in, "Subject: x\r\n\r\nline");
        buf_add(&in, seq, n < 0 ? 0 : (size_t)n);
        buf_c(&in, second);
        for (size_t k = 0; k < 4 * ARRAY_LEN(steps) && !wrong; k++)
            wrong = run(buf_view(&in), k & 1, ends, steps[k / 4], k & 2);
        cases_ok(n > 0 && !wrong, "smuggling %.*s", STR_ARG(cases_text(one, "printable")));
        if (wrong)
            cases_note("%s", wrong);
        buf_done(&in);
    }
}
