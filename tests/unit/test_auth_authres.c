/*
 * tests/unit/test_auth_authres.c - Authentication-Results: foreign ones read, forged ones removed,
 * ours written and read back.
 */
#include "auth/authres.h"
#include "core/err.h"
#include "mail/header.h"
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
    static const struct str ids[] = {STR("mx.gapura.test"), STR("gapura.test"),
                                     STR("b\xc3\xbc"
                                         "cher.test")};
    CLEANUP(buf_done) struct buf out;
    unsigned removed = 0;

    buf_init(&out, 65536);
    IS(authres_filter(str_c(in), ids, ARRAY_LEN(ids), &out, &removed), 0, "%s", what);
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
    filter("Authentication-Results: mx(a).gapura.test; dkim=pass\r\nS: x\r\n", "S: x\r\n", 1,
           "a comment within our id");
    filter("Authentication-Results: mx.\r\n gapura.test; dkim=pass\r\nS: x\r\n", "S: x\r\n", 1,
           "a fold within our id");
    filter("Authentication-Results: mx.gapura.test.; dkim=pass\r\nS: x\r\n", "S: x\r\n", 1,
           "a final dot");
    filter("Authentication-Results: mx.gapura.test/1; dkim=pass\r\nS: x\r\n", "S: x\r\n", 1,
           "a version behind a slash");
    filter("Authentication-Results: B\xc3\x9c"
           "CHER.test; dkim=pass\r\nS: x\r\n",
           "S: x\r\n", 1, "our id in U-labels");
    filter("Authentication-Results: \"xn--BCHER-kva.test.\" 1; dkim=pass\r\nS: x\r\n", "S: x\r\n",
           1, "our id in A-labels, quoted");
    filter("Authentication-Results: =?utf-8?q?mx.gapura.test?=; dkim=pass\r\nS: x\r\n", "S: x\r\n",
           1, "our id in an encoded word");
    filter("Authentication-Results: mx.gapura.test\r\nS: x\r\n", "S: x\r\n", 1, "our id alone");
    filter("Authentication-Results: b\xc3\xb6"
           "cher.test; dkim=pass\r\n",
           "Authentication-Results: b\xc3\xb6"
           "cher.test; dkim=pass\r\n",
           0, "another id in U-labels stays");
    filter("Authentication-\x01Results: mx.gapura.test; spf=pass\r\nX-\xc2\xa0Spam-Flag: NO\r\n"
           "X-Gapura-Verdict \x7f: pass\r\nbroken \x01: line\r\n\r\n",
           "broken \x01: line\r\n\r\n", 3, "bytes that no name may hold");
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

/* What stands first in a stranger's message must not continue what we put in front of it. */
static void
test_leading_folds(void)
{
    CLEANUP(buf_done) struct buf out, kept;
    struct authres *w = calloc(1, sizeof(*w));
    struct header_field f;
    unsigned removed;
    size_t at = 0;

    filter(" ; dkim=pass\r\n\t; dmarc=pass\r\nS: x\r\n\r\n", "S: x\r\n\r\n", 1, "folds first");
    filter(" \r\n\r\n", "\r\n", 1, "a fold of white space, then the blank line");
    filter("\t; dkim=pass", "", 1, "a fold without end");
    buf_init(&out, 65536);
    buf_init(&kept, 65536);
    w->id = STR("mx.gapura.test");
    authres_prop(authres_add(w, STR("dkim"), STR("fail")), STR("header"), STR("d"), STR("a.test"));
    authres_filter(STR(" ; dkim=pass header.d=bank.test\r\nS: x\r\n\r\n"), NULL, 0, &kept,
                   &removed);
    authres_write(&out, w);
    buf_str(&out, buf_view(&kept));
    arena_reset(&arena);
    IS(header_next(buf_view(&out), &at, &f), 1, "our field first");
    IS(authres_parse(f.value, &arena, &a), 0, "read again");
    IS(a.n, 1, "it says what we wrote and nothing else");
    free(w);
}

static void
test_clipped_value(void)
{
    struct authres *w = calloc(1, sizeof(*w));
    char long_text[400];

    for (size_t lead = 0; lead < 4; lead++) {
        CLEANUP(buf_done) struct buf out;

        memset(long_text, 'a', sizeof(long_text));
        for (size_t i = lead; i + 4 <= sizeof(long_text); i += 4)
            memcpy(long_text + i, "\xf0\x9f\x98\x80", 4);
        buf_init(&out, 65536);
        memset(w, 0, sizeof(*w));
        w->id = STR("mx.gapura.test");
        authres_add(w, STR("spf"), STR("fail"))->reason = str_of(long_text, 396);
        authres_write(&out, w);
        OK(str_is_utf8(buf_view(&out)), "a clipped text is whole characters, %zu", lead);
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
    test_leading_folds();
    test_clipped_value();
    arena_done(&arena);
    return tap_done();
}
