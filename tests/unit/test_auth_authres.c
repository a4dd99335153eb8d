/*
 * tests/unit/test_auth_authres.c - Authentication-Results: foreign ones read, forged ones removed,
 * ours written and read back.
 */
#include "auth/authres.h"
#include "core/err.h"
#include "tap.h"

static struct arena arena;
static struct authres a;

static int
parse(const char *text)
{
    arena_reset(&arena);
    return authres_parse(str_c(text), &arena, &a);
}

static void
test_rfc_examples(void)
{
    IS(parse(" example.org 1; none"), 0, "no authentication done (RFC 8601 B.2)");
    TEXT(a.id, "example.org", "its id");
    IS(a.n, 0, "no results");
    IS(parse("example.com;\r\n spf=pass smtp.mailfrom=example.net"), 0, "B.3");
    TEXT(a.results[0].method, "spf", "method");
    TEXT(a.results[0].props[0].value, "example.net", "value");
    IS(parse("example.com;\r\n auth=pass (cleartext; with (nested) words) "
             "smtp.auth=sender@example.net;\r\n spf=pass smtp.mailfrom=example.net"),
       0, "B.4: comments");
    IS(a.n, 2, "two results");
    TEXT(a.results[0].props[0].value, "sender@example.net", "an address");
    IS(parse("example.com; dkim=pass reason=\"good \\\"signature\\\"\" header.i=@mail.example.com "
             "header.b=abc/def=; dmarc / 1 = fail header . from = example.com"),
       0, "B.6: reason, versions and spaces");
    TEXT(a.results[0].reason, "good \"signature\"", "reason");
    TEXT(a.results[0].props[1].value, "abc/def=", "base64");
    TEXT(a.results[1].result, "fail", "spaces around");
}

static void
test_quoted_local_part(void)
{
    IS(parse("example.com; spf=pass smtp.mailfrom=\"jo hn\"@example.net header.from=x"), 0,
       "a quoted local part");
    TEXT(a.results[0].props[0].value, "jo hn@example.net", "the address");
    TEXT(a.results[0].props[1].value, "x", "what follows");
    IS(parse("example.com; spf=pass smtp.mailfrom=\"jo hn\"@\"example\".net"), ERR_SYNTAX,
       "the domain is read once");
}

static void
test_refused(void)
{
    static const char *const bad[] = {
        "",
        "example.com",
        "example.com 2; spf=pass",
        "example.com; spf",
        "example.com; spf=pass smtp=x",
        "example.com; (spf=pass",
        "example.com; spf=\"pass",
        "example.com spf=pass",
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        OK(parse(bad[i]) < 0, "refused: %s", bad[i]);
}

static void
filter(const char *in, const char *want, unsigned gone, const char *what)
{
    static const struct str ids[] = {{"mx.gapura.test", 14}, {"gapura.test", 11}};
    CLEANUP(buf_done) struct buf out;
    unsigned removed = 0;

    buf_init(&out, 65536);
    IS(authres_filter(str_c(in), ids, 2, &out, &removed), 0, "%s", what);
    TEXT(buf_view(&out), want, "%s: what stays", what);
    IS(removed, gone, "%s: how many went", what);
}

/* Attack 18 of the list: results forged under our own id, scores that a downstream trusts. */
static void
test_forged_results(void)
{
    filter("Authentication-Results: mx.gapura.test; spf=pass\r\nSubject: x\r\n\r\n",
           "Subject: x\r\n\r\n", 1, "our id");
    filter("authentication-results :\r\n (c) MX.Gapura.Test\r\n\t1; spf=pass\r\nS: x\r\n\r\n",
           "S: x\r\n\r\n", 1, "our id behind a comment, folding, case and a space");
    filter("Authentication-Results: \"mx.gapura.test\"; spf=pass\r\nS: x\r\n", "S: x\r\n", 1,
           "our id in quotes");
    filter("Authentication-Results: mx.gapura.test 99; spf=pass\r\nS: x\r\n", "S: x\r\n", 1,
           "our id with a version that we do not know");
    filter("Authentication-Results: mx.gapura.test; (unclosed\r\nS: x\r\n", "S: x\r\n", 1,
           "our id, the rest broken");
    filter("Authentication-Results: (unclosed mx.gapura.test; spf=pass\r\nS: x\r\n", "S: x\r\n", 1,
           "no id that can be read");
    filter("Authentication-Results: evil.gapura.test; spf=pass\r\nS: x\r\n",
           "Authentication-Results: evil.gapura.test; spf=pass\r\nS: x\r\n", 0, "another id stays");
    filter("X-Spam-Flag: NO\r\nx-spam-status: No, bayes\r\nX-GAPURA-Score: 0\r\nReturn-Path: <>\r\n"
           "X-Spammer: 1\r\nbroken line\r\n\r\n",
           "X-Spammer: 1\r\nbroken line\r\n\r\n", 4, "scores and return path");
    filter("", "", 0, "nothing");
    filter("X-Spam-A: 1\r\n folded\r\n\tmore\r\nS: x", "S: x", 1, "folded, block without end");
}

static void
test_written_is_read(void)
{
    struct spf_verdict spf = {.result = SPF_FAIL,
                              .domain = STR("example.net"),
                              .why = STR("the domain says \"no\"\r\nX-Evil: 1")};
    struct spf_input in = {.helo = STR("h")};
    struct dmarc_verdict dmarc = {.result = DMARC_RESULT_FAIL,
                                  .domain = STR("a.example.net"),
                                  .policy_domain = STR("example.net"),
                                  .record = {.has_p = DMARC_TAG_GOOD, .p = DMARC_REJECT},
                                  .why = "nothing aligned"};
    CLEANUP(buf_done) struct buf out;
    struct authres *w = calloc(1, sizeof(*w));

    w->id = STR("mx.gapura.test");
    authres_add_spf(w, &spf, &in);
    authres_add_dmarc(w, &dmarc);
    authres_add_iprev(w, STR("pass"), "2001:db8::1", STR("mail.example.net"));
    authres_add_auth(w, STR("jo hn@example.net"));
    buf_init(&out, 65536);
    authres_write(&out, w);
    OK(str_find(buf_view(&out), STR("\r\nX-Evil")) < 0, "no line of a stranger's");
    arena_reset(&arena);
    IS(authres_parse(str_from(buf_view(&out), 23), &arena, &a), 0, "our field is by the grammar");
    IS(a.n, 4, "all rows");
    for (unsigned i = 0; i < MIN(a.n, w->n); i++) {
        OK(str_eq(a.results[i].method, w->results[i].method) &&
               str_eq(a.results[i].result, w->results[i].result) &&
               a.results[i].nprops == w->results[i].nprops,
           "row %u says what was found", i);
        for (unsigned k = 0; k < a.results[i].nprops; k++)
            OK(str_eq(a.results[i].props[k].value, w->results[i].props[k].value), "value %u", k);
    }
    free(w);
}

int
main(void)
{
    arena_init(&arena, 1u << 20);
    test_rfc_examples();
    test_quoted_local_part();
    test_refused();
    test_forged_results();
    test_written_is_read();
    arena_done(&arena);
    return tap_done();
}
