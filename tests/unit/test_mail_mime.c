/* tests/unit/test_mail_mime.c - structure, encodings, names, and what is told of odd messages. */
#include <stdlib.h>

#include "mail/mime.h"
#include "mail/word.h"
#include "tap.h"

struct trace {
    char text[8192];
    size_t n;
    uint32_t odd;
    bool whole;
    char taken[128], other[128];
};

static void add(struct trace *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void
add(struct trace *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(t->text + t->n, sizeof(t->text) - t->n, fmt, ap);
    va_end(ap);
    if (n > 0 && t->n + (size_t)n < sizeof(t->text))
        t->n += (size_t)n;
}

static void
on_begin(void *ctx, const struct mime_part *p)
{
    add(ctx, "<%.*s/%.*s%s%.*s>", STR_ARG(p->type), STR_ARG(p->subtype), p->filename.n ? " " : "",
        STR_ARG(p->filename));
}

static void
on_data(void *ctx, const struct mime_part *p, const char *data, size_t n)
{
    if (p->kind != MIME_MESSAGE)
        add(ctx, "%.*s", (int)n, data);
}

static void
on_end(void *ctx, const struct mime_part *p)
{
    (void)p;
    add(ctx, "</>");
}

static void
on_odd(void *ctx, const struct mime_part *p, enum mime_odd odd, struct str taken, struct str other)
{
    struct trace *t = ctx;

    (void)p;
    t->odd |= 1u << odd;
    snprintf(t->taken, sizeof(t->taken), "%.*s", STR_ARG(taken));
    snprintf(t->other, sizeof(t->other), "%.*s", STR_ARG(other));
}

static uint32_t readings;

static struct trace
parse_limits(const char *text, size_t step, const struct mime_limits *limits)
{
    static const struct mime_sink sink = {on_begin, on_data, on_end, on_odd};
    struct trace t = {.n = 0};
    struct mime *m;
    size_t n = strlen(text);

    if (mime_create(&m, limits, &sink, &t) < 0)
        return t;
    mime_read_as(m, readings);
    for (size_t at = 0; at < n; at += step)
        mime_feed(m, text + at, MIN(step, n - at));
    mime_end(m);
    t.whole = mime_is_whole(m);
    mime_free(m);
    return t;
}

static struct trace
parse(const char *text)
{
    struct trace whole = parse_limits(text, strlen(text) + 1, &mime_limits_default);

    for (size_t step = 1; step < 9; step++) {
        struct trace t = parse_limits(text, step, &mime_limits_default);
        if (strcmp(t.text, whole.text) != 0 || t.odd != whole.odd)
            OK(false, "in pieces of %zu: %s, not %s", step, t.text, whole.text);
    }
    return whole;
}

static void
is(const char *text, const char *want, uint32_t odd, const char *what)
{
    struct trace t = parse(text);

    if (!OK(!strcmp(t.text, want) && t.odd == odd, "%s", what))
        printf("#   got    %s odd %#x\n#   wanted %s odd %#x\n", t.text, t.odd, want, odd);
}

#define ODD(x) (1u << MIME_ODD_##x)
#define MIXED  "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
#define INNER  "Content-Type: multipart/mixed; boundary="

static void
test_structure(void)
{
    is("Subject: x\r\n\r\nhello\r\n", "<text/plain>hello\r\n</>", 0, "text");
    is("", "<text/plain></>", 0, "nothing at all");
    is(MIXED
       "pre\r\n--b\r\n\r\none\r\n--b\r\nContent-Type: Text/HTML\r\n\r\ntwo\r\n\r\n--b--\r\nend\r\n",
       "<multipart/mixed><text/plain>one</><text/html>two\r\n</></>", 0, "two parts");
    is("Content-Type: multipart/digest; boundary=b\n\n--b\n\nFrom: x\n\nhi\n--b--\n",
       "<multipart/digest><message/rfc822><text/plain>hi</></></>", 0,
       "a digest, and line ends of LF alone");
    is(MIXED
       "--b\r\nContent-Type: message/rfc822\r\n\r\nContent-Type: text/x\r\n\r\ny\r\n--b--\r\n",
       "<multipart/mixed><message/rfc822><text/x>y</></></>", 0, "a message within");
    is("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"
       "Q29udGVudC1UeXBlOiB0ZXh0L3gNCg0KaGk=\r\n",
       "<message/rfc822><text/x>hi</></>", 0, "an encoded one");
    is(MIXED "--b\r\n\r\n-\r\n--\r\n--c\r\n-b\r\n--b--\r\n",
       "<multipart/mixed><text/plain>-\r\n--\r\n--c\r\n-b</></>", 0, "lines that are nearly one");
}

static void
test_encodings(void)
{
    is("Content-Transfer-Encoding: base64\r\n\r\naGVs\r\nbG8=\r\n", "<text/plain>hello</>", 0,
       "base64");
    is("Content-Transfer-Encoding: quoted-printable\r\n\r\na=3Db =\r\nc  \r\n=E2=82=AC",
       "<text/plain>a=b c\r\n\xe2\x82\xac</>", 0, "quoted-printable");
    is("Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 a\r\n#86)C\r\n`\r\nend\r\n",
       "<text/plain>abc</>", ODD(UUENCODE), "uuencode");
    is("Content-Transfer-Encoding: rot13\r\n\r\nx", "<text/plain>x</>", ODD(ENCODING),
       "one that nobody knows");
    is("Content-Transfer-Encoding: base64\r\n\r\naGVs!bG8=", "<text/plain>hello</>",
       ODD(ENCODED_DATA), "bytes that do not belong");
    is("Content-Transfer-Encoding: base64\r\n\r\naGVsbG8=aGVs", "<text/plain>hellohel</>",
       ODD(BASE64_AFTER_PAD), "groups behind the padding");
    struct trace t =
        parse_limits("X: y\r\n\r\ntext\r\nbegin 644 cat.txt\r\n#0V%T\r\n`\r\nend\r\nmore\r\n", 1000,
                     &mime_limits_default);
    OK(strstr(t.text, "<application/octet-stream cat.txt>Cat</>"), "a uuencoded file in text");
    t = parse_limits("X: y\r\n\r\nbegin 644 cat.txt\r\n#0V%T", 1, &mime_limits_default);
    OK(strstr(t.text, "Cat</></>"), "one that does not end, in small pieces");
}

static void
test_names(void)
{
#define NAMED(x) "Content-Disposition: attachment; " x "\r\n\r\n"
    is(NAMED("filename=a.txt"), "<text/plain a.txt></>", 0, "plain");
    is(NAMED("filename=\"a \\\"b\\\".txt\""), "<text/plain a \"b\".txt></>", 0, "quoted");
    is(NAMED("filename*=utf-8'en'%e2%82%ac.txt"), "<text/plain \xe2\x82\xac.txt></>", 0,
       "RFC 2231");
    is(NAMED("filename*1*=%72.txt; filename*0=\"ba\""), "<text/plain bar.txt></>", 0,
       "in pieces, out of order");
    is(NAMED("filename=\"=?utf-8?Q?=E2=82=AC.txt?=\""), "<text/plain \xe2\x82\xac.txt></>", 0,
       "an encoded word, as clients do");
    struct trace t = parse(NAMED("filename=good.txt; filename=bad.exe"));
    OK(t.odd == ODD(PARAM) && !strcmp(t.taken, "good.txt") && !strcmp(t.other, "bad.exe"),
       "two names: both readings");
    t = parse(NAMED("filename=old.txt; filename*=utf-8''new.exe"));
    OK(t.odd == ODD(PARAM) && !strcmp(t.taken, "new.exe") && !strcmp(t.other, "old.txt"),
       "old and new form: both readings");
    t = parse(NAMED("filename=invoice (1).exe"));
    OK(t.odd == ODD(PARAM) && !strcmp(t.taken, "invoice (1).exe") && !strcmp(t.other, "invoice"),
       "no quotes: both readings");
    t = parse(NAMED("filename*0=a.txt; filename*0=b.exe"));
    OK(t.odd == ODD(PARAM) && !strcmp(t.taken, "a.txt") && !strcmp(t.other, "b.exe"),
       "a number twice");
    t = parse(NAMED("filename*=utf-8''a.txt; filename*=utf-8''b.exe"));
    OK(t.odd == ODD(PARAM) && strstr(t.other, "b.exe"), "a coded name twice");
    t = parse(NAMED("filename*=utf-8''a.txt; filename*0=b.exe"));
    OK(t.odd == ODD(PARAM) && !strcmp(t.taken, "a.txt") && !strcmp(t.other, "b.exe"),
       "coded and numbered");
    t = parse(NAMED("filename=a.txt; filename=b.txt; filename=c.exe"));
    OK(t.odd == ODD(PARAM) && !strcmp(t.taken, "a.txt") && !strcmp(t.other, "c.exe"),
       "three names: the first and the last");
    t = parse(NAMED("filename*0=run; filename*1=.txt; filename*1=.exe"));
    OK(t.odd == ODD(PARAM) && !strcmp(t.taken, "run.txt") && !strcmp(t.other, "run.exe"),
       "a piece twice: both names whole");
    t = parse(NAMED("filename*=utf-8''a.txt; filename*=utf-8''b%2Eexe"));
    OK(t.odd == ODD(PARAM) && !strcmp(t.other, "b.exe"), "a coded name twice, both decoded");
    t = parse(NAMED("filename=a.txt; filename=b.exe; filename*=utf-8''a.txt"));
    OK(t.odd == ODD(PARAM) && !strcmp(t.taken, "a.txt") && !strcmp(t.other, "b.exe"),
       "an old name twice behind the new one");
    t = parse(NAMED("filename=\"a.txt\".exe"));
    OK(t.odd == ODD(PARAM) && !strcmp(t.taken, "a.txt") && !strcmp(t.other, "a.txt.exe"),
       "text behind the quotes: %s", t.other);
    t = parse(NAMED("filename=\"a\"b\".exe\""));
    OK(t.odd == ODD(PARAM) && !strcmp(t.taken, "a") && !strcmp(t.other, "ab.exe"),
       "quotes within quotes: %s", t.other);
    t = parse(NAMED("filename=\"C:\\dir\\a.exe\""));
    OK(t.odd == ODD(PARAM) && !strcmp(t.taken, "C:dira.exe") && !strcmp(t.other, "C:\\dir\\a.exe"),
       "backslashes that quote nothing: %s", t.other);
    t = parse(NAMED("filename*0=run; filename*2=.exe"));
    OK(t.odd == ODD(PARAM) && !strcmp(t.taken, "run") && !strcmp(t.other, "run.exe"),
       "a piece is missing: those who do not mind see all of the others");
    t = parse(NAMED("filename*1=run; filename*2=.exe"));
    OK(t.odd == ODD(PARAM) && strstr(t.text, "run.exe") && !strcmp(t.taken, "run.exe"),
       "the first is missing: so do we, for else it has no name");
    t = parse(NAMED("filename*7=e; filename*3*=utf-8''run; filename*5=.ex"));
    OK(t.odd == ODD(PARAM) && strstr(t.text, "run.exe"), "in the order of their numbers: %s",
       t.text);
    t = parse("Content-Type: text/plain; name=a.exe\r\n" NAMED("filename=a.txt"));
    OK(t.odd == ODD(FILENAMES) && !strcmp(t.taken, "a.txt") && !strcmp(t.other, "a.exe"),
       "name and filename");
}

static void
test_odd(void)
{
    is("Content-Type: text/html/x\r\n\r\nx", "<text/html/x>x</>", ODD(TYPE),
       "a type of three words: text/plain to some");
    is("Content-Type: multipart/mixed\r\n\r\nx", "<multipart/mixed>x</>", ODD(NO_BOUNDARY),
       "no boundary");
    is(MIXED "x", "<multipart/mixed></>", ODD(NO_PARTS), "a boundary that never comes");
    is(MIXED "--b\r\n\r\nx", "<multipart/mixed><text/plain>x</></>", ODD(UNCLOSED), "never closed");
    is(MIXED "--b--\r\n--b\r\n\r\nx\r\n", "<multipart/mixed></>", ODD(AFTER_CLOSE),
       "parts behind the end");
    is(MIXED "--b\r\n" INNER "bc\r\n\r\n--bc\r\n\r\nx\r\n--bc--\r\n--b--\r\n",
       "<multipart/mixed><multipart/mixed><text/plain>x</></></>", ODD(BOUNDARY_LIKE),
       "a boundary that begins as the one around it");
    is(MIXED "--b x\r\n\r\ny\r\n--b--\r\n", "<multipart/mixed><text/plain>y</></>",
       ODD(BOUNDARY_TAIL), "text behind a boundary");
    is(MIXED "--b\r\nContent-Type: text/x\r\n--b--\r\n", "<multipart/mixed><text/x></></>",
       ODD(HEADER_UNENDED), "a header without its end");
    is("Content-Type: text/a\r\nContent-Type: text/b\r\n\r\n", "<text/a></>", ODD(REPEATED_FIELD),
       "two types");
    is("Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: base64\r\n\r\n"
       "--b\r\n\r\nx\r\n--b--\r\n",
       "<multipart/mixed><text/plain>x</></>", ODD(ENCODED_MULTIPART), "an encoded multipart");
    is("Subject: x\rContent-Type: text/evil\r\n\r\n", "<text/plain></>", ODD(BARE_CR), "a bare CR");
    is("what is this\r\n\r\nx\r\n", "<text/plain>x\r\n</>", ODD(NO_COLON),
       "no header at all: the blank line ends it");
    is(MIXED "--b\r\nwhat is this\r\n--b--\r\n", "<multipart/mixed><text/plain>what is this</></>",
       ODD(NO_COLON), "a part without a header");
    is("Subject: x\r\nrubbish\r\nContent-Type: text/y\r\n\r\nz", "<text/y>z</>", ODD(NO_COLON),
       "a line that is no field");
}

/* What a review found: each of these was wrong once. */
static void
test_review(void)
{
    static char text[80000], line[20000];
    size_t n =
        (size_t)snprintf(text, sizeof(text), "Content-Transfer-Encoding: quoted-printable\r\n\r\n");
    memset(text + n, '\n', 70000);
    text[n + 70000] = '\0';
    struct trace t = parse_limits(text, 16320, &mime_limits_default);
    OK(t.odd == 0, "a line end of LF grows when it is decoded, and has the room for it");
    t = parse("Content-Type: multipart/mixed; boundary=A\r\n"
              "Content-Type: multipart/mixed; boundary=a\r\n\r\n");
    OK(t.odd & ODD(REPEATED_FIELD), "boundaries that differ in case are two readings");
    memset(line, ' ', sizeof(line) - 1);
    snprintf(text, sizeof(text), MIXED "--b%s\r\n\r\nx\r\n--b--\r\n", line);
    for (size_t step = 1000; step < 60000; step *= 7) {
        t = parse_limits(text, step, &mime_limits_default);
        OK(!strcmp(t.text, "<multipart/mixed><text/plain>x</></>"), "a very long boundary line");
    }
    t = parse("Content-Transfer-Encoding: base64\r\n\r\naGVsbG8");
    OK(t.odd == ODD(ENCODED_DATA), "a group that is cut off is told");
    t = parse("Content-Type: multipart; boundary=x\r\n\r\ny");
    OK(t.odd & ODD(TYPE), "a type without a subtype is told");
    struct mime_limits few = {.depth = 4, .parts = 2, .header_bytes = 200, .memory = 1u << 20};
    t = parse_limits("A: b\r\n\r\nbegin 644 a\r\n`\r\nend\r\nbegin 644 b\r\n`\r\nend\r\n", 10,
                     &few);
    OK(t.odd & ODD(PARTS), "uuencoded files over the limit are told");
    n = 0; /* quadratic once: a long first line, then many short ones */
    memset(line, 'x', 150);
    line[150] = '\0';
    n = (size_t)snprintf(text, sizeof(text), "A: %s%s%s\r\n", line, line, line);
    while (n + 5 < sizeof(text))
        n += (size_t)snprintf(text + n, sizeof(text) - n, " \r\n");
    t = parse_limits(text, 4096, &few);
    OK(t.odd & ODD(HEADER_CUT), "a header without an end");
}

static void
test_limits(void)
{
    struct mime_limits l = {.depth = 2, .parts = 3, .header_bytes = 200, .memory = 1u << 20};
    struct trace t = parse_limits(
        MIXED "--b\r\n" INNER "c\r\n\r\n--c\r\n" INNER "d\r\n\r\n--d\r\n\r\nx\r\n", 100, &l);

    OK(t.odd & ODD(DEPTH), "too deep: a leaf");
    t = parse_limits(MIXED "--b\r\n\r\n1\r\n--b\r\n\r\n2\r\n--b\r\n\r\n3\r\n--b--\r\n", 100, &l);
    OK(t.odd & ODD(PARTS) && strstr(t.text, "2</>") && !strstr(t.text, "3"), "too many parts");
    char big[2000];
    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    char text[3000];
    snprintf(text, sizeof(text), "Subject: %s\r\nContent-Type: text/late\r\n\r\nbody", big);
    t = parse_limits(text, 100, &l);
    OK(t.odd & ODD(HEADER_CUT) && strstr(t.text, "body</>"), "a header that is too long: the body "
                                                             "is still the body");
    l.memory = 512;
    t = parse_limits(MIXED "--b\r\n\r\n1\r\n--b--\r\n", 100, &l);
    OK(!t.whole && !strchr(t.text, '1'), "no memory: what is not handed on is told");
    l.memory = 1u << 20;
    t = parse_limits(MIXED "--b\r\n\r\n1\r\n--b--\r\n", 100, &l);
    OK(t.whole, "with memory: all of it");
}

static void
word(const char *text, const char *want, unsigned odd)
{
    CLEANUP(buf_done) struct buf b;

    buf_init(&b, 4096);
    unsigned got = word_decode(str_c(text), &b);
    TEXT(buf_view(&b), want, "%s", text);
    IS(got, odd, "odd");
}

static void
test_undecoded(void)
{
    readings = MIME_READ_UNDECODED;
    is("Content-Transfer-Encoding: base64\r\n\r\n\r\n >x", "<text/plain>>x</>", 0,
       "what is no base64 is shown as it stands, in any pieces");
    is("Content-Transfer-Encoding: base64\r\n\r\n\r\n aGVs", "<text/plain>hel</>", 0,
       "what is base64 is decoded");
    readings = 0;
}

static void
test_words(void)
{
    word(" plain ", "plain", 0);
    word("=?utf-8?Q?a=20b_c?=", "a b c", 0);
    word("=?iso-8859-1?B?5Q==?= =?iso-8859-1?q?=e4?= x", "\xc3\xa5\xc3\xa4 x", 0);
    word("=?utf-8?B?4oI=?= =?utf-8?B?rA==?=", "\xe2\x82\xac", 0);
    if (!tap_valgrind()) /* which finds fault with the dynamic loader */
        word("=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "\xe6\x97\xa5\xe6\x9c\xac", 0);
    word("=?nonesuch?Q?x?=", "x", WORD_ODD_CHARSET);
    word("=?utf-8?Q?x=0D=0ABcc:_y?=", "x  Bcc: y", WORD_ODD_CONTROL);
    word("caf\xe9", "caf\xef\xbf\xbd", WORD_ODD_RAW);
    word("a\r\n b", "a b", 0);
    word("=?utf-8?Q?open", "=?utf-8?Q?open", 0);
    word("=?../../etc/passwd?Q?x?=", "x", WORD_ODD_CHARSET);
    word("[tag]=?utf-8?Q?x?=y", "[tag]xy", WORD_ODD_TOUCHED);
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 4096);
    word_decode_spaced(STR("[tag]=?utf-8?Q?x?=y =?utf-8?Q?z?="), &b);
    TEXT(buf_view(&b), "[tag] x y z", "the reading of those who see a space");
}

int
main(void)
{
    test_structure();
    test_encodings();
    test_names();
    test_odd();
    test_limits();
    test_review();
    test_undecoded();
    test_words();
    return tap_done();
}
