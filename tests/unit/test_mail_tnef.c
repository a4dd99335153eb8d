/*
 * tests/unit/test_mail_tnef.c - winmail.dat: names, files, messages in it, bodies; damaged ones;
 * and the same as parts of a message.
 */
#include <dlfcn.h>
#include <iconv.h>
#include <stdlib.h>

#include "core/codec.h"
#include "mail/mime.h"
#include "mail/tnef.h"
#include "tap.h"

static struct arena arena;
static unsigned opened; /* converters */

/* libc's own, counted: it looks for a file each time. */
iconv_t
iconv_open(const char *to, const char *from)
{
    iconv_t (*real)(const char *, const char *);

    opened++;
    *(void **)&real = dlsym(RTLD_NEXT, "iconv_open");
    return real(to, from);
}

/* ---- making one --------------------------------------------------------------------------------
 */

static void
le(struct buf *b, uint32_t v, unsigned n)
{
    for (; n; n--, v >>= 8)
        buf_char(b, (char)v);
}

static void
attribute(struct buf *b, unsigned level, uint32_t id, struct str data)
{
    uint16_t sum = 0;

    for (size_t i = 0; i < data.n; i++)
        sum = (uint16_t)(sum + (uint8_t)data.p[i]);
    le(b, level, 1);
    le(b, id, 4);
    le(b, (uint32_t)data.n, 4);
    buf_str(b, data);
    le(b, sum, 2);
}

static void
property(struct buf *b, uint32_t type, uint32_t id, struct str value)
{
    le(b, id << 16 | type, 4);
    if (type == 3) {
        buf_str(b, value);
        return;
    }
    le(b, 1, 4);
    le(b, (uint32_t)value.n, 4);
    buf_str(b, value);
    for (size_t n = value.n; n % 4; n++)
        buf_char(b, '\0');
}

static void
begin(struct buf *b)
{
    buf_clear(b);
    buf_c(b, TNEF_SIGNATURE);
    le(b, 1, 2);
    attribute(b, 1, 0x69007, STR("\xe4\x04\0\0\0\0\0\0")); /* code page 1252 */
}

static struct str
utf16(const char *text, char *dst)
{
    size_t n = 0;

    for (; *text; text++) {
        dst[n++] = *text;
        dst[n++] = '\0';
    }
    return str_of(dst, n);
}

static void
file(struct buf *b, const char *title, const char *long_name, struct str data)
{
    struct buf list;
    char wide[256];

    buf_init(&list, 65536);
    attribute(b, 2, 0x69002, STR("\1\0\0\0\0\0\0\0\0\0\0\0\0\0"));
    if (data.p)
        attribute(b, 2, 0x6800f, data);
    attribute(b, 2, 0x18010, str_of(title, strlen(title) + 1));
    le(&list, 3, 4);
    property(&list, 0x1f, 0x3707, utf16(long_name, wide));
    property(&list, 0x1e, 0x370e, STR("Image/PNG\0"));
    property(&list, 3, 0x3705, STR("\1\0\0\0"));
    attribute(b, 2, 0x69005, buf_view(&list));
    buf_done(&list);
}

static struct tnef
read_one(struct str s)
{
    struct tnef t;

    arena_done(&arena);
    arena_init(&arena, 4u << 20);
    IS(tnef_read(s, &tnef_limits_default, &arena, &t), 0, "it is read");
    return t;
}

/* ---- tests -------------------------------------------------------------------------------------
 */

static void
make_all(struct buf *b)
{
    struct buf inner, list;
    char wide[64];

    buf_init(&inner, 65536);
    buf_init(&list, 65536);
    begin(&inner);
    file(&inner, "inner.exe", "inner file.exe", STR("MZ"));
    begin(b);
    attribute(b, 1, 0x18004, STR("R\xe9sum\xe9\0"));
    attribute(b, 1, 0x78008, STR("IPM.Note\0"));
    le(&list, 3, 4);
    le(&list, 0x8003001e, 4); /* a named property in front, to be passed over */
    buf_add(&list, "0123456789abcdef\1\0\0\0\3\0\0\0a\0b\0c\0", 16 + 4 + 4 + 6);
    list.n -= 6;
    le(&list, 0x00620061, 4);
    le(&list, 1, 4);
    le(&list, 2, 4);
    buf_add(&list, "x\0\0\0", 4);
    property(&list, 0x1f, 0x1000, utf16("Hello", wide));
    property(&list, 0x102, 0x1013, STR("<p>hi</p>"));
    attribute(b, 1, 0x69003, buf_view(&list));
    file(b, "RSUM~1.PNG", "r sum.png", STR("\x89PNG"));
    buf_clear(&list);
    attribute(b, 2, 0x69002, STR("\1\0"));
    le(&list, 2, 4);
    property(&list, 0x1e, 0x3001, STR("Re: mail\0"));
    le(&list, 0x3701000d, 4);
    le(&list, 1, 4);
    le(&list, (uint32_t)inner.n + 16, 4);
    buf_add(&list, "\7\3\2\0\0\0\0\0\xc0\0\0\0\0\0\0\x46", 16);
    buf_str(&list, buf_view(&inner));
    attribute(b, 2, 0x69005, buf_view(&list));
    file(b, "last.txt", "last.txt", STR(""));
    buf_done(&inner);
    buf_done(&list);
}

static void
test_names(void)
{
    struct buf b;
    struct tnef t;
    const struct tnef_file *f;

    buf_init(&b, 1u << 20);
    make_all(&b);
    t = read_one(buf_view(&b));
    IS(t.odd, 0, "nothing odd");
    TEXT(t.subject, "R\xc3\xa9sum\xc3\xa9", "the subject, from its code page");
    TEXT(t.message_class, "IPM.Note", "its class");
    IS(t.nfiles, 4, "four files");
    f = t.files;
    TEXT(f->name, "r sum.png", "the long name");
    TEXT(f->other, "RSUM~1.PNG", "the short one beside it");
    TEXT(f->type, "Image/PNG", "the type that was told");
    TEXT(f->data, "\x89PNG", "its content");
    f = f->next;
    TEXT(f->name, "Re: mail", "a message by its shown name");
    IS(f->kind, TNEF_MESSAGE, "is a message");
    f = f->next;
    TEXT(f->name, "inner file.exe", "a file of it");
    IS(f->parent, 2, "knows whose it is");
    f = f->next;
    TEXT(f->name, "last.txt", "the file behind it");
    IS(f->parent, 0, "is of the outermost");
    TEXT(f->other, "", "one name, told twice");
    TEXT(t.html, "<p>hi</p>", "the body in HTML");
    TEXT(t.text_charset, "utf-16le", "the charset of the text");
    TEXT(t.charset, "cp1252", "and of the HTML");
    IS(t.text.n, 10, "the text");
    buf_done(&b);
}

static void
test_damaged(void)
{
    struct tnef_limits small = {.attributes = 1000, .files = 2, .depth = 0};
    struct buf b;
    struct tnef t;
    unsigned most = 0;

    buf_init(&b, 1u << 20);
    make_all(&b);
    arena_done(&arena);
    arena_init(&arena, 4u << 20);
    IS(tnef_read(STR("x\x9f>!......"), &small, &arena, &t), ERR_SYNTAX, "no signature");
    for (size_t n = 6; n < b.n; n++) {
        arena_reset(&arena);
        if (tnef_read(str_sub(buf_view(&b), 0, n), &tnef_limits_default, &arena, &t) < 0)
            OK(false, "cut at %zu it fails", n);
        most = MAX(most, t.nfiles);
    }
    IS(most, 4, "cut anywhere it tells what is there");
    arena_reset(&arena);
    IS(tnef_read(buf_view(&b), &small, &arena, &t), 0, "small limits");
    IS(t.nfiles, 2, "two files");
    OK(t.odd & TNEF_ODD_LIMIT, "and it says so");
    b.p[b.n - 1] ^= 1;
    t = read_one(buf_view(&b));
    IS(t.odd, TNEF_ODD_CHECKSUM, "a wrong checksum");
    buf_add(&b, "\0\0\0", 3);
    t = read_one(buf_view(&b));
    IS(t.odd, TNEF_ODD_CHECKSUM | TNEF_ODD_TRAIL, "bytes behind it");
    begin(&b);
    attribute(&b, 1, 0x69003, STR("\377\377\377\377\x1e\0\0\x10\377\377\377\377\377\377\377\377"));
    t = read_one(buf_view(&b));
    IS(t.odd, TNEF_ODD_PROPERTY, "lengths that lead out of it");
    arena_done(&arena);
    arena_init(&arena, 1);
    make_all(&b);
    IS(tnef_read(buf_view(&b), &tnef_limits_default, &arena, &t), ERR_NOMEM, "no memory");
    buf_done(&b);
}

static void
test_rtf(void)
{
    /* The example of MS-OXRTFCP 3.1.1. */
    static const char packed[] =
        "\x2d\x00\x00\x00\x2b\x00\x00\x00\x4c\x5a\x46\x75\xf1\xc5\xc7\xa7\x03\x00\x0a\x00\x72\x63"
        "\x70\x67\x31\x32\x35\x42\x32\x0a\xf3\x20\x68\x65\x6c\x09\x00\x20\x62\x77\x05\xb0\x6c\x64"
        "\x7d\x0a\x80\x0f\xa0";
    struct buf out;

    buf_init(&out, 1000);
    IS(tnef_rtf(str_of(packed, sizeof(packed) - 1), &out), 0, "compressed RTF");
    TEXT(buf_view(&out), "{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n", "unpacked");
    out.max = 20;
    buf_clear(&out);
    IS(tnef_rtf(str_of(packed, sizeof(packed) - 1), &out), ERR_LIMIT, "a ceiling");
    IS(tnef_rtf(STR("too short"), &out), ERR_SYNTAX, "no header");
    buf_done(&out);
}

/* ---- in a message ------------------------------------------------------------------------------
 */

static struct buf told;

static void
on_begin(void *ctx, const struct mime_part *p)
{
    (void)ctx;
    buf_fmt(&told, "%u<%d %.*s/%.*s '%.*s'", p->number, (int)p->parent, STR_ARG(p->type),
            STR_ARG(p->subtype), STR_ARG(p->filename));
}

static void
on_end(void *ctx, const struct mime_part *p)
{
    (void)ctx;
    buf_fmt(&told, " %llu\n", (unsigned long long)p->size);
}

static void
in_message(struct str tnef, const struct mime_limits *limits, size_t step, bool *ret_whole)
{
    static const struct mime_sink sink = {.begin = on_begin, .end = on_end};
    struct buf mail;
    struct mime *m;

    buf_init(&mail, 1u << 20);
    buf_c(&mail, "Content-Type: application/octet-stream; name=a.dat\r\n"
                 "Content-Transfer-Encoding: base64\r\n\r\n");
    codec_base64(&mail, tnef);
    buf_clear(&told);
    ENSURE(mime_create(&m, limits, &sink, NULL) == 0);
    for (size_t at = 0; at < mail.n; at += step)
        mime_feed(m, mail.p + at, MIN(step, mail.n - at));
    mime_end(m);
    *ret_whole = mime_is_whole(m);
    mime_free(m);
    buf_done(&mail);
}

static void
test_mime(void)
{
    static const char want[] =
        "0<-1 application/octet-stream 'a.dat'1<0 text/plain '' 10\n2<0 text/html '' 9\n"
        "3<0 image/png 'r sum.png' 4\n4<0 application/ms-tnef 'Re: mail' 171\n"
        "5<4 image/png 'inner file.exe' 2\n6<0 image/png 'last.txt' 0\n 693\n";
    struct mime_limits limits = mime_limits_default;
    struct buf b;
    bool whole;

    buf_init(&b, 1u << 20);
    buf_init(&told, 65536);
    make_all(&b);
    in_message(buf_view(&b), &limits, 1u << 20, &whole);
    TEXT(buf_view(&told), want, "files and bodies are parts");
    OK(whole, "all was seen");
    in_message(buf_view(&b), &limits, 1, &whole);
    TEXT(buf_view(&told), want, "byte for byte, too");
    limits.tnef = 300;
    in_message(buf_view(&b), &limits, 1000, &whole);
    OK(!whole, "over the ceiling it is not whole");
    limits.tnef = 0;
    in_message(buf_view(&b), &limits, 1000, &whole);
    TEXT(buf_view(&told), "0<-1 application/octet-stream 'a.dat' 693\n", "not looked into");
    limits = mime_limits_default;
    limits.parts = 3;
    in_message(buf_view(&b), &limits, 1000, &whole);
    OK(!whole, "too many parts: not whole");
    buf_done(&told);
    buf_done(&b);
}

static void
test_sample(void)
{
    const char *suites = getenv("GAPURA_SUITES");
    char path[1024];
    struct buf b;
    FILE *f;

    str_fmt(path, sizeof(path), "%s/av-clamav/clam.tnef", suites ? suites : "../shared/suites");
    f = fopen(path, "rb");
    if (!f) {
        tap_skip("clam.tnef", "no collection: set GAPURA_SUITES");
        return;
    }
    buf_init(&b, 1u << 20);
    b.n = fread(buf_room(&b, 65536), 1, 65536, f);
    fclose(f);
    struct tnef t = read_one(buf_view(&b));
    IS(t.nfiles, 1, "a file");
    TEXT(t.files->name, "clam.exe", "its name");
    IS(t.files->data.n, 544, "its size");
    OK(t.rtf.p != NULL, "a body in RTF");
    struct buf rtf;
    buf_init(&rtf, 1u << 20);
    OK(tnef_rtf(t.rtf, &rtf) == 0 && str_starts(buf_view(&rtf), STR("{\\rtf1")), "unpacked");
    buf_done(&rtf);
    buf_done(&b);
}

static void
test_charsets(void)
{
    struct buf b;
    struct tnef t;
    char name[32];

    buf_init(&b, 4u << 20);
    begin(&b);
    for (unsigned i = 0; i < 300; i++) {
        str_fmt(name, sizeof(name), "caf%u.png", i);
        file(&b, name, name, STR("x"));
    }
    opened = 0;
    t = read_one(buf_view(&b));
    OK(t.nfiles == 300 && !t.odd, "three hundred names of two charsets");
    OK(opened <= 2, "each opened once, not for each name: %u", opened);
    TEXT(t.files->next->name, "caf1.png", "and read");
    begin(&b);
    for (unsigned i = 0; i < 300; i++) { /* a code page of its own for each */
        char page[4] = {(char)(i & 255), (char)(i >> 8), 0, 0};
        attribute(&b, 1, 0x69007, str_of(page, 4));
        attribute(&b, 2, 0x69002, STR("\1\0\0\0\0\0\0\0\0\0\0\0\0\0"));
        attribute(&b, 2, 0x18010, STR("a.txt\0"));
    }
    opened = 0;
    t = read_one(buf_view(&b));
    OK(opened <= 8 && t.odd & TNEF_ODD_CHARSET, "strangers open so many and no more: %u", opened);
    TEXT(t.files->name, "a.txt", "and names are read as far as they can be");
    buf_done(&b);
}

int
main(void)
{
    test_names();
    test_charsets();
    test_damaged();
    test_rtf();
    test_mime();
    test_sample();
    arena_done(&arena);
    return tap_done();
}
