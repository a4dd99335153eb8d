/*
 * mail/tnef.c - attributes and property lists of TNEF walked, attachments gathered.
 *
 * Called by mail/mime_tnef.c and whoever has a winmail.dat. Every length is checked against what is
 * left; nothing is allocated by a number that came from outside.
 */
#include "mail/tnef.h"

#include "mail/charset.h"

const struct tnef_limits tnef_limits_default = {.attributes = 20000, .files = 1000, .depth = 8};

#define NAME_MAX_BYTES 1024u /* of a name, decoded */
#define PAGES_MAX      8u    /* charsets of one winmail.dat; text of others is read as UTF-8 */
#define PAGE_UTF16     UINT32_MAX

/* Attributes (MS-OXTNEF 2.1.3): the low half of the id. */
#define ATT_SUBJECT       0x8004u
#define ATT_MESSAGE_CLASS 0x8008u
#define ATT_BODY          0x800cu
#define ATT_ATTACH_DATA   0x800fu
#define ATT_ATTACH_TITLE  0x8010u
#define ATT_ATTACH_REND   0x9002u /* begins an attachment */
#define ATT_MAPI_PROPS    0x9003u
#define ATT_ATTACHMENT    0x9005u
#define ATT_OEM_CODEPAGE  0x9007u

/* Properties (MS-OXPROPS) and their types (MS-OXCDATA 2.11.1). */
#define PR_BODY          0x1000u
#define PR_RTF           0x1009u
#define PR_HTML          0x1013u
#define PR_DISPLAY_NAME  0x3001u
#define PR_ATTACH_DATA   0x3701u
#define PR_ATTACH_NAME   0x3704u
#define PR_ATTACH_METHOD 0x3705u
#define PR_ATTACH_LONG   0x3707u
#define PR_ATTACH_TYPE   0x370eu
#define PR_ATTACH_ID     0x3712u
#define PT_STRING8       0x001eu
#define PT_UNICODE       0x001fu
#define PT_OBJECT        0x000du
#define PT_BINARY        0x0102u
#define PT_MULTI         0x1000u

struct names { /* of one attachment; the best is chosen at its end */
    struct str title, shown, of8, long_name;
};
struct page { /* a charset, opened once: its converter is a file that libc looks for */
    uint32_t number;
    bool known;
    struct charset charset;
};
struct reader {
    struct page pages[PAGES_MAX];
    uint32_t npages;
    const struct tnef_limits *limits;
    struct arena *arena;
    struct tnef *ret;
    struct tnef_file **end;
    uint32_t attributes;
    bool no_memory;
};
struct message { /* one level */
    struct reader *r;
    uint32_t depth, parent;
    uint32_t codepage;
    struct tnef_file *file; /* the attachment that is read */
    struct names names;
    struct str object; /* its embedded object */
};

static void message_read(struct reader *, struct str bytes, uint32_t depth, uint32_t parent);

/* ---- bytes -------------------------------------------------------------------------------------
 */

static uint32_t
le(const char *p, unsigned n)
{
    uint32_t v = 0;

    for (unsigned i = n; i-- > 0;)
        v = v << 8 | (uint8_t)p[i];
    return v;
}

/* The next n bytes of *s; false if it has not so many. */
static bool
take(struct str *s, uint64_t n, struct str *ret)
{
    if (n > s->n)
        return false;
    *ret = str_sub(*s, 0, (size_t)n);
    *s = str_from(*s, (size_t)n);
    return true;
}

static bool
take_u32(struct str *s, uint32_t *ret)
{
    struct str four;

    if (!take(s, 4, &four))
        return false;
    *ret = le(four.p, 4);
    return true;
}

/* NULL: one too many. */
static struct page *
page_of(struct reader *r, uint32_t number)
{
    struct page *p = r->pages;
    char name[16] = ""; /* UTF-8 if it is, else Latin 1 */

    for (; p < r->pages + r->npages; p++)
        if (p->number == number)
            return p;
    if (r->npages == PAGES_MAX)
        return NULL;
    if (number == PAGE_UTF16)
        str_copy(STR("utf-16le"), name, sizeof(name));
    else if (number != 65001 && number != 0)
        str_fmt(name, sizeof(name), "cp%u", number);
    p->number = number;
    p->known = charset_begin(&p->charset, str_c(name)) == 0;
    r->npages++;
    return p;
}

static void
pages_close(struct reader *r)
{
    for (uint32_t i = 0; i < r->npages; i++)
        charset_end(&r->pages[i].charset, NULL);
}

/* Text in UTF-8, without the zeros behind it. */
static struct str
text_of(struct message *m, struct str raw, bool unicode)
{
    struct reader *r = m->r;
    struct page *page = page_of(r, unicode ? PAGE_UTF16 : m->codepage);
    struct buf out;

    raw = str_sub(raw, 0, NAME_MAX_BYTES);
    buf_init(&out, 4 * NAME_MAX_BYTES);
    if (!page || !page->known)
        r->ret->odd |= TNEF_ODD_CHARSET;
    if (page) {
        charset_feed(&page->charset, raw.p, raw.n, &out);
        charset_again(&page->charset, &out);
    } else {
        (void)charset_put_utf8(&out, raw);
    }
    struct str text = buf_view(&out);
    const char *zero = text.n ? memchr(text.p, '\0', text.n) : NULL;
    if (zero)
        text.n = (size_t)(zero - text.p);
    text = text.n ? arena_str(r->arena, text) : STR("");
    r->no_memory |= !text.p;
    buf_done(&out);
    return text.p ? text : STR("");
}

/* ---- attachments -------------------------------------------------------------------------------
 */

/* Begins as one? */
static bool
tnef_is(struct str s)
{
    return s.n >= 6 && memcmp(s.p, TNEF_SIGNATURE, 4) == 0;
}

static void
file_end(struct message *m)
{
    const struct names *n = &m->names;
    struct tnef_file *f = m->file;

    m->file = NULL;
    if (!f)
        return;
    f->name = n->long_name.n ? n->long_name : n->of8.n ? n->of8 : n->shown.n ? n->shown : n->title;
    f->other = !str_eq(n->of8, f->name) && n->of8.n       ? n->of8
               : !str_eq(n->title, f->name) && n->title.n ? n->title
                                                          : STR("");
    if (m->object.n > 16) { /* behind the id of its interface */
        struct str inner = str_from(m->object, 16);
        f->kind = tnef_is(inner) ? TNEF_MESSAGE : TNEF_OLE;
        f->data = inner;
        if (f->kind == TNEF_MESSAGE)
            message_read(m->r, inner, m->depth + 1, f->number);
    }
}

static void
file_begin(struct message *m, struct str rendering)
{
    struct reader *r = m->r;
    struct tnef_file *f;

    file_end(m);
    m->names = (struct names){STR(""), STR(""), STR(""), STR("")};
    m->object = STR("");
    if (r->ret->nfiles >= r->limits->files) {
        r->ret->odd |= TNEF_ODD_LIMIT;
        return;
    }
    f = ARENA_NEW(r->arena, struct tnef_file);
    r->no_memory |= !f;
    if (!f)
        return;
    f->number = ++r->ret->nfiles;
    f->parent = m->parent;
    f->kind = rendering.n >= 2 && le(rendering.p, 2) == 2 ? TNEF_OLE : TNEF_FILE;
    f->name = f->other = f->type = f->content_id = f->data = STR("");
    *r->end = m->file = f;
    r->end = &f->next;
}

/* ---- properties --------------------------------------------------------------------------------
 */

static void
body_take(struct message *m, uint32_t id, uint32_t type, struct str value)
{
    struct tnef *t = m->r->ret;

    if (m->depth > 0)
        return;
    if (id == PR_BODY) {
        t->text = value;
        t->text_charset = type == PT_UNICODE ? STR("utf-16le") : STR("");
    } else if (id == PR_HTML) {
        t->html = value;
    } else if (id == PR_RTF) {
        t->rtf = value;
    }
}

static void
file_property(struct message *m, uint32_t id, uint32_t type, struct str value)
{
    struct names *n = &m->names;
    struct tnef_file *f = m->file;
    const struct {
        uint32_t id;
        struct str *to;
    } texts[] = {{PR_DISPLAY_NAME, &n->shown},
                 {PR_ATTACH_NAME, &n->of8},
                 {PR_ATTACH_LONG, &n->long_name},
                 {PR_ATTACH_TYPE, &f->type},
                 {PR_ATTACH_ID, &f->content_id}};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        if (texts[i].id == id && (type == PT_STRING8 || type == PT_UNICODE))
            *texts[i].to = text_of(m, value, type == PT_UNICODE);
    }
    if (id == PR_ATTACH_DATA && type == PT_OBJECT)
        m->object = value;
    else if (id == PR_ATTACH_DATA && type == PT_BINARY && !f->data.n)
        f->data = value;
    else if (id == PR_ATTACH_METHOD && value.n >= 4 && le(value.p, 4) >= 2 && le(value.p, 4) <= 4)
        f->kind = TNEF_REFERENCE;
}

/* Bytes of a value of a fixed type in a list; 0: variable, -1: nobody knows. */
static int
fixed_size(uint32_t type)
{
    switch (type) {
    case 0x0001: /* null */
    case 0x0002: /* 16 bits, padded */
    case 0x0003:
    case 0x0004:
    case 0x000a:
    case 0x000b:
        return 4;
    case 0x0005:
    case 0x0006:
    case 0x0007:
    case 0x0014:
    case 0x0040:
        return 8;
    case 0x0048:
        return 16;
    case PT_STRING8:
    case PT_UNICODE:
    case PT_OBJECT:
    case PT_BINARY:
        return 0;
    default:
        return -1;
    }
}

/* A named property has a set and a number or a name behind its tag. */
static bool
name_skip(struct str *s)
{
    struct str skipped;
    uint32_t kind, n;

    if (!take(s, 16, &skipped) || !take_u32(s, &kind) || !take_u32(s, &n))
        return false;
    return kind == 0 || take(s, round_up(n, 4), &skipped);
}

/* One property; ret_value is the first of several values. */
static bool
property_next(struct message *m, struct str *s, uint32_t *ret_id, uint32_t *ret_type,
              struct str *ret_value)
{
    uint32_t tag, count = 1, n;
    struct str value;

    if (!take_u32(s, &tag))
        return false;
    *ret_type = tag & 0xefffu;
    *ret_id = tag >> 16;
    if (*ret_id >= 0x8000u && !name_skip(s))
        return false;
    int size = fixed_size(*ret_type);
    if (size < 0 || ((size == 0 || (tag & PT_MULTI)) && !take_u32(s, &count)))
        return false;
    *ret_value = STR("");
    for (uint32_t i = 0; i < count; i++) {
        if (++m->r->attributes > m->r->limits->attributes) {
            m->r->ret->odd |= TNEF_ODD_LIMIT;
            return false;
        }
        n = (uint32_t)size;
        if (size == 0 && !take_u32(s, &n))
            return false;
        if (!take(s, n, &value))
            return false;
        if (i == 0)
            *ret_value = value;
        *s = str_from(*s, (size_t)(round_up(n, 4) - n)); /* the last one may lack its padding */
    }
    return true;
}

static void
properties(struct message *m, struct str s, bool of_file)
{
    uint32_t count, id, type;
    struct str value;

    if (!take_u32(&s, &count)) {
        m->r->ret->odd |= TNEF_ODD_PROPERTY;
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!property_next(m, &s, &id, &type, &value)) {
            m->r->ret->odd |= TNEF_ODD_PROPERTY;
            return;
        }
        if (!of_file)
            body_take(m, id, type, value);
        else if (m->file)
            file_property(m, id, type, value);
    }
}

/* ---- attributes --------------------------------------------------------------------------------
 */

static void
of_message(struct message *m, uint32_t id, struct str data)
{
    struct tnef *t = m->r->ret;
    bool outer = m->depth == 0;

    if (id == ATT_OEM_CODEPAGE && data.n >= 4)
        m->codepage = le(data.p, 4);
    else if (id == ATT_SUBJECT && outer)
        t->subject = text_of(m, data, false);
    else if (id == ATT_MESSAGE_CLASS && outer)
        t->message_class = text_of(m, data, false);
    else if (id == ATT_BODY && outer && !t->text.p)
        t->text = data;
    else if (id == ATT_MAPI_PROPS)
        properties(m, data, false);
}

static void
of_file(struct message *m, uint32_t id, struct str data)
{
    if (id == ATT_ATTACH_REND) {
        file_begin(m, data);
        return;
    }
    if (!m->file)
        file_begin(m, STR("")); /* one that does not begin as it should */
    if (!m->file)
        return;
    if (id == ATT_ATTACH_DATA)
        m->file->data = data;
    else if (id == ATT_ATTACH_TITLE)
        m->names.title = text_of(m, data, false);
    else if (id == ATT_ATTACHMENT)
        properties(m, data, true);
}

static uint16_t
sum(struct str s)
{
    uint16_t v = 0;

    for (size_t i = 0; i < s.n; i++)
        v = (uint16_t)(v + (uint8_t)s.p[i]);
    return v;
}

/* Without the zeros that end a text of one- or two-byte characters. */
static struct str
without_zeros(struct str s, size_t width)
{
    while (s.n >= width && s.n % width == 0 && !s.p[s.n - 1] && !s.p[s.n - width])
        s.n -= width;
    return s;
}

static void
charsets(struct message *m)
{
    struct tnef *t = m->r->ret;

    if (m->codepage == 65001)
        t->charset = STR("utf-8");
    else if (m->codepage && m->codepage < 100000)
        t->charset = arena_fmt(m->r->arena, "cp%u", m->codepage);
    if (!t->text_charset.n)
        t->text_charset = t->charset;
    t->text = without_zeros(t->text, str_eq(t->text_charset, STR("utf-16le")) ? 2 : 1);
    t->html = without_zeros(t->html, 1);
}

/* From the signature on. */
static void
message_read(struct reader *r, struct str s, uint32_t depth, uint32_t parent)
{
    struct message m = {.r = r, .depth = depth, .parent = parent};
    struct str head, data, check;

    if (depth > r->limits->depth) {
        r->ret->odd |= TNEF_ODD_LIMIT;
        return;
    }
    s = str_from(s, 6); /* signature and key */
    while (s.n && !r->no_memory) {
        if (s.p[0] != 1 && s.p[0] != 2) {
            r->ret->odd |= TNEF_ODD_TRAIL;
            break;
        }
        if (!take(&s, 9, &head)) {
            r->ret->odd |= TNEF_ODD_CUT;
            break;
        }
        if (++r->attributes > r->limits->attributes) {
            r->ret->odd |= TNEF_ODD_LIMIT;
            break;
        }
        uint32_t n = le(head.p + 5, 4);
        bool whole = take(&s, n, &data);
        if (!whole) { /* what is left of it is looked at: a reader may do so */
            data = s;
            s = STR("");
        }
        if (!whole || !take(&s, 2, &check))
            r->ret->odd |= TNEF_ODD_CUT;
        else if (le(check.p, 2) != sum(data))
            r->ret->odd |= TNEF_ODD_CHECKSUM;
        if (head.p[0] == 1)
            of_message(&m, le(head.p + 1, 2), data);
        else
            of_file(&m, le(head.p + 1, 2), data);
    }
    file_end(&m);
    if (depth == 0)
        charsets(&m);
}

/* ---- from outside ------------------------------------------------------------------------------
 */

int
tnef_read(struct str s, const struct tnef_limits *limits, struct arena *arena, struct tnef *ret)
{
    struct reader r = {.limits = limits, .arena = arena, .ret = ret, .end = &ret->files};

    *ret = (struct tnef){
        .subject = STR(""), .message_class = STR(""), .charset = STR(""), .text_charset = STR("")};
    if (!tnef_is(s))
        return ERR_SYNTAX;
    message_read(&r, s, 0, 0);
    pages_close(&r);
    return r.no_memory ? ERR_NOMEM : 0;
}

/* ---- compressed RTF ----------------------------------------------------------------------------
 */

/* MS-OXRTFCP 2.1.3.1.1: what the window holds at first. */
static const char rtf_window[] =
    "{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern "
    "\\fscript \\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0"
    "\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx";

static void
rtf_unpack(struct str in, struct buf *out)
{
    char window[4096] = "";
    size_t at = sizeof(rtf_window) - 1, from = 0;

    memcpy(window, rtf_window, at);
    while (from < in.n && !out->failed) {
        uint8_t control = (uint8_t)in.p[from++];
        for (unsigned bit = 0; bit < 8 && from < in.n && !out->failed; bit++) {
            size_t n = 1, back = 0;
            if (control >> bit & 1) {
                if (in.n - from < 2)
                    return;
                back = (size_t)(uint8_t)in.p[from] << 4 | (uint8_t)in.p[from + 1] >> 4;
                n = ((uint8_t)in.p[from + 1] & 15u) + 2u;
                from += 2;
                if (back == at % sizeof(window))
                    return; /* the end */
            } else {
                window[at % sizeof(window)] = in.p[from++];
                buf_char(out, window[at++ % sizeof(window)]);
                continue;
            }
            for (; n; n--, at++, back++) {
                window[at % sizeof(window)] = window[back % sizeof(window)];
                buf_char(out, window[at % sizeof(window)]);
            }
        }
    }
}

int
tnef_rtf(struct str packed, struct buf *out)
{
    if (packed.n < 16)
        return ERR_SYNTAX;
    struct str data = str_from(packed, 16);
    if (memcmp(packed.p + 8, "MELA", 4) == 0)
        buf_str(out, data);
    else if (memcmp(packed.p + 8, "LZFu", 4) == 0)
        rtf_unpack(data, out);
    else
        return ERR_SYNTAX;
    return out->failed ? ERR_LIMIT : 0;
}
