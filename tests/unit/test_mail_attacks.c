/*
 * tests/unit/test_mail_attacks.c - messages made to be read differently by others, or to eat the
 * reader: docs/attacks.md lists each by its name.
 */
#include <malloc.h>
#include <stdlib.h>
#include <time.h>

#include "mail/address.h"
#include "mail/charset.h"
#include "mail/header.h"
#include "mail/mime.h"
#include "mail/word.h"
#include "tap.h"

#define ODD(x) (1u << MIME_ODD_##x)
#define MIXED  "Content-Type: multipart/mixed; boundary=b\r\n\r\n"

struct seen {
    char text[4096]; /* <type name>content</> */
    size_t n;
    uint32_t odd, parts, others;
    size_t name_n; /* of the last part's file */
    char taken[16384], other[16384];
    size_t memory; /* most that was in use */
};

static void put(struct seen *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void
put(struct seen *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(s->text + s->n, sizeof(s->text) - s->n, fmt, ap);
    va_end(ap);
    s->n = MIN(s->n + (size_t)MAX(n, 0), sizeof(s->text) - 1);
}

static void
on_begin(void *ctx, const struct mime_part *p)
{
    struct seen *s = ctx;

    s->parts++;
    s->name_n = p->filename.n;
    put(s, "<%.*s/%.*s%s%.*s>", STR_ARG(p->type), STR_ARG(p->subtype), p->filename.n ? " " : "",
        STR_ARG(p->filename));
}

static void
on_data(void *ctx, const struct mime_part *p, const char *data, size_t n)
{
    if (p->kind != MIME_MESSAGE)
        put(ctx, "%.*s", (int)MIN(n, (size_t)2000), data);
}

static void
on_end(void *ctx, const struct mime_part *p)
{
    (void)p;
    put(ctx, "</>");
}

static void
on_odd(void *ctx, const struct mime_part *p, enum mime_odd odd, struct str taken, struct str other)
{
    struct seen *s = ctx;

    (void)p;
    s->odd |= 1u << odd;
    snprintf(s->taken, sizeof(s->taken), "%.*s", STR_ARG(taken));
    snprintf(s->other, sizeof(s->other), "%.*s", STR_ARG(other));
}

/* Of a mass; valgrind is slow. */
static unsigned
many(unsigned n)
{
    return getenv("GAPURA_VALGRIND") ? n / 20 : n;
}

static struct seen seen; /* of the last message */
static struct mime *reader;
static size_t before;

static void
open_as(uint32_t readings)
{
    static const struct mime_sink sink = {on_begin, on_data, on_end, on_odd};

    memset(&seen, 0, sizeof(seen));
    before = mallinfo2().uordblks;
    if (mime_create(&reader, &mime_limits_default, &sink, &seen) < 0)
        abort();
    mime_read_as(reader, readings);
}

static void
feed(const char *p, size_t n)
{
    mime_feed(reader, p, n);
    seen.memory = MAX(seen.memory, mallinfo2().uordblks - MIN(before, mallinfo2().uordblks));
}

static void
done(void)
{
    mime_end(reader);
    seen.others = mime_readings(reader);
    mime_free(reader);
}

static const struct seen *
read_as(uint32_t readings, const char *text)
{
    open_as(readings);
    feed(text, strlen(text));
    done();
    return &seen;
}

/* Both readings: ours, and the one that another reader has. */
static void
two(const char *text, const char *first, uint32_t reading, const char *second, const char *what)
{
    const struct seen *s = read_as(0, text);

    if (!OK(!strcmp(s->text, first) && (s->others & reading), "%s: %s is another reading", what,
            mime_reading_name(reading)))
        printf("#   got    %s, others %#x\n#   wanted %s\n", s->text, s->others, first);
    open_as(reading);
    for (size_t i = 0; i < strlen(text); i++)
        feed(text + i, 1);
    done();
    OK(!strcmp(seen.text, second), "%s: byte by byte too", what);
    s = read_as(reading, text);
    if (!OK(!strcmp(s->text, second) && !(s->others & reading), "%s: which is given when asked for",
            what))
        printf("#   got    %s, others %#x\n#   wanted %s\n", s->text, s->others, second);
}

static void
test_attack_two_boundaries(void)
{
    two("Content-Type: multipart/mixed; boundary=a; "
        "boundary=b\r\n\r\n--a\r\n\r\n1\r\n--a--\r\n--b\r\n"
        "Content-Type: text/evil\r\n\r\n2\r\n--b--\r\n",
        "<multipart/mixed><text/plain>1</></>", MIME_READ_OTHER_PARAM,
        "<multipart/mixed><text/evil>2</></>", "two boundary parameters");
    two("Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\nx", "<text/plain>x</>",
        MIME_READ_LAST_FIELD, "<text/html>x</>", "two types");
    two("Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: base64\r\n\r\naGk=",
        "<text/plain>aGk=</>", MIME_READ_LAST_FIELD, "<text/plain>hi</>", "two encodings");
    two("Content-Disposition: inline; filename=a.txt\r\n"
        "Content-Disposition: attachment; filename=b.exe\r\n\r\nx",
        "<text/plain a.txt>x</>", MIME_READ_LAST_FIELD, "<text/plain b.exe>x</>",
        "two dispositions");
}

/* One boundary for two multiparts: behind the inner one's end it is the outer one's. */
static void
test_attack_one_boundary_twice(void)
{
    two(MIXED "--b\r\n" MIXED "--b\r\n\r\n1\r\n--b--\r\n--b\r\n\r\n2\r\n--b--\r\n--b--\r\n",
        "<multipart/mixed><multipart/mixed><text/plain>1</></><text/plain>2</></>",
        MIME_READ_REOPEN,
        "<multipart/mixed><multipart/mixed><text/plain>1</><text/plain>2</></></>",
        "the same boundary in both");
}

static void
test_attack_boundary_forms(void)
{
    read_as(0,
            "Content-Type: multipart/mixed; (x) boundary(y) = (z) \"b b\" (;)\r\n\r\n--b b\r\n\r\n1"
            "\r\n--b b--\r\n");
    OK(strstr(seen.text, "<text/plain>1</>"), "comments and quotes around it: %s", seen.text);
    two(MIXED "--b\r\n\r\n1\r\n--bad\r\n\r\n2\r\n--b--\r\n",
        "<multipart/mixed><text/plain>1</><text/plain>2</></>", MIME_READ_EXACT_BOUNDARY,
        "<multipart/mixed><text/plain>1\r\n--bad\r\n\r\n2</></>", "text behind it");
    two(MIXED
        "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\n1\r\n--b\r\n\r\n2\r\n"
        "--c\r\n\r\n3\r\n--c--\r\n--b--\r\n",
        "<multipart/mixed><multipart/mixed><text/plain>1</></><text/"
        "plain>2\r\n--c\r\n\r\n3\r\n--c--"
        "</></>",
        MIME_READ_INNERMOST,
        "<multipart/mixed><multipart/mixed><text/plain>1\r\n--b\r\n\r\n2</><text/plain>3</></></>",
        "the outer one in front of the inner one's end");
    two(MIXED "--b\r\n\r\n1\r\n--b--\r\n--b\r\nContent-Type: text/evil\r\n\r\n2\r\n--b--\r\n",
        "<multipart/mixed><text/plain>1</></>", MIME_READ_REOPEN,
        "<multipart/mixed><text/plain>1</><text/evil>2</></>", "parts in the epilogue");
    two(MIXED "--b\r\n\r\n1 --b\r\nContent-Type: text/evil\r\n\r\n2 - 3--b--\r\n",
        "<multipart/mixed><text/plain>1 --b\r\nContent-Type: text/evil\r\n\r\n2 - 3--b--\r\n</></>",
        MIME_READ_MIDLINE, "<multipart/mixed><text/plain>1 </><text/evil>2 - 3</></>",
        "in the middle of a line");
    read_as(0, MIXED "begin 644 evil.exe\r\n--b\r\n\r\n1");
    OK(seen.odd & ODD(UNCLOSED), "no last boundary is told");
    OK(!strstr(seen.text, "evil"), "a preamble is no part");
    two(MIXED "--b\r\nContent-Type: text/x\r\n--b\r\nContent-Type: text/evil\r\n\r\n2\r\n--b--\r\n",
        "<multipart/mixed><text/x></><text/evil>2</></>", MIME_READ_STRICT,
        "<multipart/mixed><text/evil>2</></>", "a header that does not end");
}

/* Nobody decodes a boundary: it is compared byte for byte. */
static void
test_attack_coded_boundary(void)
{
#define INNER "Content-Type: multipart/mixed; boundary="
    read_as(0, INNER "\"=?utf-8?Q?b?=\"\r\n\r\n--=?utf-8?Q?b?=\r\n\r\nx\r\n--=?utf-8?Q?b?=--\r\n");
    TEXT(str_c(seen.text), "<multipart/mixed><text/plain>x</></>", "one like an encoded word");
    read_as(0, INNER "\"\xe9\"\r\n\r\n--\xe9\r\n\r\nx\r\n--\xe9--\r\n");
    TEXT(str_c(seen.text), "<multipart/mixed><text/plain>x</></>", "one that is no UTF-8");
    OK(seen.odd & ODD(BOUNDARY_FORM), "which is told");
    two(INNER "\"a\\b\"\r\n\r\n--a\\b\r\n\r\n1\r\n--ab\r\n\r\n2\r\n--ab--\r\n",
        "<multipart/mixed><text/plain>2</></>", MIME_READ_OTHER_PARAM,
        "<multipart/mixed><text/plain>1\r\n--ab\r\n\r\n2\r\n--ab--\r\n</></>",
        "one with a backslash");
}

/* A type of one word is text/plain by RFC 2045 5.2, and to others what it says. */
static void
test_attack_one_word_types(void)
{
    two("Content-Type: multipart; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n",
        "<text/plain>--b\r\n\r\nx\r\n--b--\r\n</>", MIME_READ_ONE_WORD,
        "<multipart/mixed><text/plain>x</></>", "multipart");
    two("Content-Type: message\r\n\r\nContent-Type: a/b\r\n\r\nx",
        "<text/plain>Content-Type: a/b\r\n\r\nx</>", MIME_READ_ONE_WORD,
        "<message/rfc822><a/b>x</></>", "message");
    two("Content-Type: html\r\n\r\nx", "<text/plain>x</>", MIME_READ_ONE_WORD, "<text/html>x</>",
        "html");
    two("Content-Type: text/html/x\r\n\r\nx", "<text/html/x>x</>", MIME_READ_ONE_WORD,
        "<text/plain>x</>", "three words");
}

/* No reader should take an encoding off a multipart; some do. */
static void
test_attack_encoded_multipart(void)
{
    /* --b, a part "hi", --b-- */
    two("Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        "LS1iDQoNCmhpDQotLWItLQ0K\r\n",
        "<multipart/mixed></>", MIME_READ_DECODED_MULTIPART,
        "<multipart/mixed><text/plain>hi</></>", "a multipart in base64");
    two(MIXED
        "--b\r\nContent-Type: multipart/mixed; boundary=c\r\nContent-Transfer-Encoding: "
        "quoted-printable\r\n\r\n=2D-c\r\nContent-Type: text/evil\r\n\r\nx\r\n--c--\r\n--b\r\n\r\n"
        "y\r\n--b--\r\n",
        "<multipart/mixed><multipart/mixed></><text/plain>y</></>", MIME_READ_DECODED_MULTIPART,
        "<multipart/mixed><multipart/mixed><text/evil>x</></><text/plain>y</></>", "one within");
    read_as(0,
            "Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: x\r\n\r\n--b"
            "\r\n\r\nhi\r\n--b--\r\n");
    OK(!(seen.others & MIME_READ_DECODED_MULTIPART) && strstr(seen.text, "hi"),
       "an encoding that nobody knows takes nothing off");
    read_as(MIME_READ_DECODED_MULTIPART,
            "Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: base64");
    TEXT(str_c(seen.text), "<multipart/mixed></>", "one without a body");
}

/* A CR alone ends a line to some, so that what stands behind it is a field. */
static void
test_attack_bare_cr(void)
{
    two("X: y\rContent-Type: text/evil\r\n\r\nx", "<text/plain>x</>", MIME_READ_BARE_CR,
        "<text/evil>x</>", "a field behind a CR");
    two("X: y\r Content-Type: text/evil\r\n\r\nx", "<text/plain>x</>", MIME_READ_BARE_CR,
        "<text/plain>x</>", "which continues it");
}

/* Some show a multipart whose boundary never comes as a text. */
static void
test_attack_no_parts(void)
{
    two(MIXED "evil\r\n--c\r\n\r\nx\r\n", "<multipart/mixed></>", MIME_READ_PREAMBLE,
        "<multipart/mixed>evil\r\n--c\r\n\r\nx\r\n</>", "a multipart without parts");
    OK(seen.odd & ODD(NO_PARTS), "is told");
    two(MIXED "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\nevil\r\n--b\r\n\r\ny\r\n"
              "--b--\r\n",
        "<multipart/mixed><multipart/mixed></><text/plain>y</></>", MIME_READ_PREAMBLE,
        "<multipart/mixed><multipart/mixed>evil</><text/plain>y</></>", "one within");
    open_as(MIME_READ_PREAMBLE);
    feed(MIXED "pre\r\n--b\r\n\r\nx\r\n--b--\r\n", strlen(MIXED) + 22);
    done();
    TEXT(str_c(seen.text), "<multipart/mixed>pre<text/plain>x</></>", "one part, and its preamble");
}

static void
test_attack_encodings(void)
{
    read_as(0, "Content-Transfer-Encoding: rot13\r\n\r\nuv");
    OK((seen.odd & ODD(ENCODING)) && !seen.others, "an encoding that nobody knows is told");
    two("Content-Transfer-Encoding: base-64\r\n\r\naGk=", "<text/plain>aGk=</>",
        MIME_READ_LIKE_ENCODING, "<text/plain>hi</>", "one that looks like another one");
    TEXT(str_c(seen.other), "base64", "which is named");
    two("Content-Transfer-Encoding: \"Quoted Printable\"\r\n\r\n=41", "<text/plain>=41</>",
        MIME_READ_LIKE_ENCODING, "<text/plain>A</>", "one in quotes");
    two("Content-Transfer-Encoding: 7bit base64\r\n\r\naGk=", "<text/plain>aGk=</>",
        MIME_READ_LIKE_ENCODING, "<text/plain>hi</>", "two words");
    two("Content-Transfer-Encoding: base64 7bit\r\n\r\naGk=", "<text/plain>hi</>",
        MIME_READ_LIKE_ENCODING, "<text/plain>aGk=</>", "the other way round");
    read_as(0, "Content-Transfer-Encoding: base64 (really); x=y\r\n\r\naGk=");
    OK(!seen.odd && strstr(seen.text, ">hi<"), "a comment and parameters are no words");
    two("Content-Transfer-Encoding: base64\r\n\r\n?QUJD", "<text/plain>ABC</>", MIME_READ_UNDECODED,
        "<text/plain>?QUJD</>", "base64 that is none");
    two("Content-Transfer-Encoding: base64\r\n\r\naGk=aGk=", "<text/plain>hihi</>",
        MIME_READ_STOP_AT_PAD, "<text/plain>hi</>", "groups behind the padding");
    two("Content-Type: a/b\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 a\r\n#0V%T\r\n"
        "`\r\nend\r\n",
        "<a/b>Cat</>", MIME_READ_UNDECODED, "<a/b>begin 644 a\r\n#0V%T\r\n`\r\nend\r\n</>",
        "uuencode");
    read_as(0,
            "X: y\r\n\r\ntext\r\n=ybegin line=128 size=3 name=evil.exe\r\n)*+\r\n=yend size=3\r\n");
    OK((seen.odd & ODD(YENC)) && strstr(seen.taken, "evil.exe"), "yEnc in a text is told");
    read_as(0,
            "Content-Type: message/partial; id=x; number=1; total=2\r\n\r\nSubject: evil\r\n\r\n");
    OK(!strncmp(seen.text, "<message/partial>", 17) && seen.parts == 1,
       "a piece of a message stays a leaf of that type");
    read_as(
        0, "Content-Type: message/external-body; access-type=URL\r\n\r\nContent-Type: a/b\r\n\r\n");
    OK(!strncmp(seen.text, "<message/external-body>", 23) && seen.parts == 1,
       "so does a body that is elsewhere");
    read_as(0, "X: y\r\n\r\nbegin 644 caf\xe9.exe\r\n#0V%T\r\n`\r\nend\r\n");
    OK(strstr(seen.text, "caf\xef\xbf\xbd.exe>Cat"), "a name of a uuencoded file is UTF-8");
}

/* What a name shows to people is for the checks of attachments: here it must come whole. */
static void
test_attack_filenames(void)
{
#define NAMED(x) "Content-Disposition: attachment; " x "\r\n\r\n"
    read_as(0, NAMED("filename*0=\"read\"; filename*1=\"me.t\"; filename*2=\"xt.exe\""));
    OK(strstr(seen.text, " readme.txt.exe>"), "a name in pieces: %s", seen.text);
    read_as(0, NAMED("filename*0*=utf-8''%72ead; filename*1=me.exe; filename*3=.txt"));
    OK(strstr(seen.text, "readme.exe") && (seen.odd & ODD(PARAM)), "a piece is missing: %s",
       seen.text);
    two(NAMED("filename=a.txt; filename*=utf-8''b.exe"), "<text/plain b.exe></>",
        MIME_READ_OTHER_PARAM, "<text/plain a.txt></>", "name and coded name");
    read_as(0, NAMED("filename*=utf-8''gpj%E2%80%AEexe.txt"));
    OK(strstr(seen.text, "\xe2\x80\xae"), "an override of the direction stays to be seen");
    read_as(0, NAMED("filename=\"evil.exe .. \""));
    OK(strstr(seen.text, " evil.exe .. >"), "dots and spaces at the end stay: %s", seen.text);
    open_as(0);
    feed(NAMED("filename=\"a.txt") "", 0);
    static const char nul[] =
        "Content-Disposition: attachment; filename=\"evil.exe\0.txt\"\r\n\r\nx";
    feed(nul, sizeof(nul) - 1);
    done();
    OK(seen.odd & ODD(NUL), "a NUL in it is told");
    read_as(0, NAMED("filename=\"../../etc/passwd\""));
    OK(strstr(seen.text, " ../../etc/passwd>"), "path separators stay");
    read_as(0, NAMED("filename=\"C:\\\\x\\\\evil.exe\""));
    OK(strstr(seen.text, "evil.exe>"), "of both kinds: %s", seen.text);
    static char text[11000];
    memset(text, 'x', sizeof(text));
    memcpy(text, "Content-Disposition: attachment; filename=\"", 43);
    memcpy(text + 10043, ".exe\"\r\n\r\n", 10);
    read_as(0, text);
    OK(seen.name_n == 10004 || (seen.odd & ODD(PARAM)), "a name of 10 KB is whole, or told: %zu",
       seen.name_n);
    two("Content-Disposition: ;\r\n filename=evil.exe\r\n\r\n", "<text/plain evil.exe></>",
        MIME_READ_STRICT, "<text/plain></>", "a name of nothing");
}

static void
test_attack_hundred_thousand_parts(void)
{
    open_as(0);
    feed(MIXED, strlen(MIXED));
    for (unsigned i = 0; i < many(100000); i++)
        feed("--b\r\n\r\nx\r\n", 10);
    feed("--b--\r\n", 7);
    done();
    IS(seen.parts, mime_limits_default.parts, "parts up to the limit");
    OK(seen.odd & ODD(PARTS), "and the rest is told");
    OK(seen.memory <= mime_limits_default.memory + (1u << 20), "%zu bytes", seen.memory);
}

static void
test_attack_nesting_of_thousand(void)
{
    char line[128];

    open_as(0);
    for (unsigned i = 0; i < 1000; i++) {
        int n = snprintf(line, sizeof(line),
                         "Content-Type: multipart/mixed; boundary=b%u.\r\n\r\n--b%u.\r\n", i, i);
        feed(line, (size_t)n);
    }
    feed("\r\nx\r\n", 5);
    done();
    OK(seen.parts <= mime_limits_default.depth + 2 && (seen.odd & ODD(DEPTH)), "%u levels",
       seen.parts);
    open_as(0);
    for (unsigned i = 0; i < 1000; i++)
        feed("Content-Type: message/rfc822\r\n\r\n", 32);
    done();
    OK(seen.parts <= mime_limits_default.depth + 2 && (seen.odd & ODD(DEPTH)),
       "%u messages within messages", seen.parts);
}

static void
test_attack_million_header_lines(void)
{
    static const char received[] = "Received: from a by b; Mon, 1 Jan 2026 00:00:00 +0000\r\n";

    open_as(0);
    for (unsigned i = 0; i < many(1000000); i++)
        feed("X: y\r\n", 6);
    feed("Content-Type: text/late\r\n\r\nbody", 31);
    done();
    OK((seen.odd & ODD(HEADER_CUT)) && strstr(seen.text, "body</>"),
       "a million lines: the body is it");
    OK(seen.memory <= mime_limits_default.memory + (1u << 20), "%zu bytes", seen.memory);
    open_as(0);
    for (unsigned i = 0; i < many(100000); i++)
        feed(received, sizeof(received) - 1);
    feed("\r\nbody", 6);
    done();
    OK(strstr(seen.text, "body</>") && seen.memory <= mime_limits_default.memory + (1u << 20),
       "a hundred thousand Received: %zu bytes", seen.memory);
}

static void
test_attack_line_of_fifty_megabytes(void)
{
    static char piece[65536];

    memset(piece, '-', sizeof(piece));
    for (unsigned form = 0; form < 3; form++) {
        open_as(0);
        if (form == 0)
            feed("Subject: ", 9);
        else
            feed(MIXED "--b\r\n\r\n", strlen(MIXED) + 7);
        if (form == 2)
            feed("\r\n--b", 5);
        for (unsigned i = 0; i < many(800); i++)
            feed(piece, sizeof(piece));
        done();
        OK(seen.memory <= mime_limits_default.memory + (1u << 20), "form %u: %zu bytes", form,
           seen.memory);
    }
}

/* Each has a parser of its own, and all of them the memory of one. */
static void
test_attack_encoded_messages(void)
{
    static const char end[] = "Content-Type: message/rfc822\r\n"
                              "Content-Transfer-Encoding: quoted-printable\r\n\r\n";
    struct mallinfo2 was, is;
    size_t most = 0;

    open_as(0);
    was = mallinfo2();
    for (unsigned i = 0; i < 40; i++) {
        for (unsigned k = 0; k < 3900; k++)
            feed("X: a line of a header that is long enough to count for something\r\n", 66);
        feed(end, sizeof(end) - 1);
        is = mallinfo2();
        most = MAX(most, is.uordblks + is.hblkhd - was.uordblks - was.hblkhd);
    }
    done();
    OK(most <= mime_limits_default.memory + (2u << 20), "40 encoded messages in each other: %zu",
       most);
    OK(seen.odd & ODD(DEPTH) || seen.parts < 40, "%u parts", seen.parts);
}

static int
count(void *ctx, struct str mailbox)
{
    *(unsigned *)ctx += str_eq(mailbox, STR("a@b.test"));
    return 0;
}

static void
test_attack_deep_comments(void)
{
    enum { DEEP = 100000 };
    static char text[2 * DEEP + 100], field[2 * DEEP + 200];
    unsigned found = 0;

    memset(text, '(', DEEP);
    memset(text + DEEP, ')', DEEP);
    memcpy(text + 2 * DEEP, " a@b.test", 10);
    header_mailboxes(str_c(text), count, &found);
    OK(found <= 1, "an author behind a hundred thousand comments: %u", found);
    text[2 * DEEP] = '\0';
    snprintf(field, sizeof(field), "Content-Type: text/x %s\r\n\r\nx", text);
    read_as(0, field);
    OK(strstr(seen.text, "<text/x>x</>"), "a type in front of them");
}

/* Text becomes UTF-8 or is told: nothing that is none is handed on. */
static void
charset_is(const char *name, const char *bytes, size_t n, const char *want, const char *what)
{
    CLEANUP(buf_done) struct buf out;

    buf_init(&out, 4096);
    charset_decode(str_c(name), str_of(bytes, n), &out);
    OK(str_is_utf8(buf_view(&out)) && (!want || str_eq(buf_view(&out), str_c(want))), "%s: %.*s",
       what, STR_ARG(buf_view(&out)));
}

static void
test_attack_charsets(void)
{
    charset_is("utf-7", "+ADw-script+AD4-", 16, "<script>", "UTF-7");
    charset_is("utf-16", "h\0i\0", 4, "hi", "UTF-16 without a mark of order");
    charset_is("utf-16le", "h\0i", 3, NULL, "half of a character");
    charset_is("iso-2022-jp", "\x1b$B", 3, NULL, "an escape and nothing behind it");
    charset_is("iso-2022-kr", "\x1b(Ia\x0e\xff", 6, NULL, "escapes of another set");
    charset_is("utf-8", "\xc0\xaf\xe0\x80\xaf", 5, NULL, "overlong forms");
    charset_is("utf-8", "\xe2\x82", 2, NULL, "cut off within a character");
    charset_is("no-such-charset", "\xff\xfe", 2, NULL, "a charset that nobody knows");
    struct {
        const char *text, *want;
    } words[] = {
        {"=?utf-8?B?4o==?= =?utf-8?B?gqw=?=", NULL},
        {"=?utf-8?Q?=E2?= =?utf-8?Q?=82=AC?=", "\xe2\x82\xac"},
        {"=?utf-7?Q?+ADw-?= =?iso-8859-1?Q?=E9?=", "<\xc3\xa9"},
        {"=?utf-8?Q?=E2=82?=", NULL},
        {"=?utf-8?Q?a=0d=0aBcc:_x?=", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        CLEANUP(buf_done) struct buf out;
        buf_init(&out, 4096);
        word_decode(str_c(words[i].text), &out);
        OK(str_is_utf8(buf_view(&out)) && !memchr(out.p, '\n', out.n) &&
               (!words[i].want || str_eq(buf_view(&out), str_c(words[i].want))),
           "encoded words %zu: %.*s", i, STR_ARG(buf_view(&out)));
    }
}

/* Beginnings of encoded words that never end: each is looked at once. */
static void
test_attack_open_words(void)
{
    CLEANUP(buf_done) struct buf value, out;
    clock_t was = clock();

    buf_init(&value, 16u << 20);
    buf_init(&out, 32u << 20);
    for (unsigned i = 0; i < many(1200000); i++)
        buf_c(&value, "=?a?Q? ");
    word_decode(buf_view(&value), &out);
    OK(!word_present(buf_view(&value)) && out.n == value.n - 1, "%zu bytes of them", value.n);
    OK((double)(clock() - was) / CLOCKS_PER_SEC < 1.5, "in %.2f s",
       (double)(clock() - was) / CLOCKS_PER_SEC);
}

int
main(void)
{
    test_attack_two_boundaries();
    test_attack_one_boundary_twice();
    test_attack_boundary_forms();
    test_attack_coded_boundary();
    test_attack_one_word_types();
    test_attack_encoded_multipart();
    test_attack_bare_cr();
    test_attack_no_parts();
    test_attack_encodings();
    test_attack_filenames();
    test_attack_hundred_thousand_parts();
    test_attack_nesting_of_thousand();
    test_attack_million_header_lines();
    test_attack_encoded_messages();
    test_attack_line_of_fifty_megabytes();
    test_attack_deep_comments();
    test_attack_charsets();
    test_attack_open_words();
    return tap_done();
}
