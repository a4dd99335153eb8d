/*
 * mail/dsn_html.c - HTML of reports as lines of text: tags off, entities decoded.
 *
 * Called by mail/dsn when a report has no text/plain. It is no browser: what it gives is searched
 * for addresses and replies and shown to nobody. One pass, bounded by its buffer.
 */
#include "mail/dsn_inner.h"

static const struct {
    const char *name;
    const char *text;
} entities[] = {
    {"lt", "<"}, {"gt", ">"}, {"amp", "&"}, {"quot", "\""}, {"apos", "'"}, {"nbsp", " "},
};
/* Tags that end a line. */
static const char *const breaks[] = {"br", "p",     "div", "tr", "li",  "h1", "h2",   "h3",
                                     "h4", "table", "ul",  "ol", "pre", "hr", "title"};
/* Elements whose content is not text. */
static const char *const hidden[] = {"style", "script", "head"};

void
dsn_point(struct buf *out, uint32_t c)
{
    if (c < 0x80)
        buf_char(out, (char)c);
    else if (c < 0x800) {
        buf_char(out, (char)(0xc0 | c >> 6));
        buf_char(out, (char)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000 && (c < 0xd800 || c > 0xdfff)) {
        buf_char(out, (char)(0xe0 | c >> 12));
        buf_char(out, (char)(0x80 | (c >> 6 & 0x3f)));
        buf_char(out, (char)(0x80 | (c & 0x3f)));
    } else if (c >= 0x10000 && c < 0x110000) {
        buf_char(out, (char)(0xf0 | c >> 18));
        buf_char(out, (char)(0x80 | (c >> 12 & 0x3f)));
        buf_char(out, (char)(0x80 | (c >> 6 & 0x3f)));
        buf_char(out, (char)(0x80 | (c & 0x3f)));
    } else {
        buf_char(out, '?');
    }
}

/* The entity at s, which begins with &: its length, 0 if it is none. */
static size_t
entity(struct str s, struct buf *out)
{
    ssize_t end = str_chr(str_sub(s, 0, 12), ';');
    struct str name = end > 1 ? str_sub(s, 1, (size_t)end - 1) : STR_NONE;
    uint64_t point;

    if (!name.n)
        return 0;
    if (name.p[0] == '#') {
        bool hex = name.n > 2 && (name.p[1] == 'x' || name.p[1] == 'X');

        if (hex ? str_hex64(str_from(name, 2), &point) : str_u64(str_from(name, 1), &point))
            return 0;
        dsn_point(out,
                  point < 32 || point == 0xa0 ? ' ' : (uint32_t)MIN(point, UINT64_C(0x110000)));
        return (size_t)end + 1;
    }
    for (size_t i = 0; i < ARRAY_LEN(entities); i++)
        if (str_ieq(name, str_c(entities[i].name))) {
            buf_c(out, entities[i].text);
            return (size_t)end + 1;
        }
    return 0;
}

static struct str
tag_name(struct str tag)
{
    size_t n = 0;

    if (tag.n && tag.p[0] == '/')
        tag = str_from(tag, 1);
    while (n < tag.n && !strchr(" \t\r\n/>", tag.p[n]))
        n++;
    return str_sub(tag, 0, n);
}

static bool
is_one_of(struct str name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_ieq(name, str_c(names[i])))
            return true;
    return false;
}

void
dsn_html_text(struct str html, struct buf *out)
{
    struct str inside = STR_NONE; /* the hidden element that is skipped */

    for (size_t at = 0; at < html.n;) {
        struct str rest = str_from(html, at), name;
        size_t n = 1;

        if (html.p[at] == '<') {
            ssize_t end =
                str_starts(rest, STR("<!--")) ? str_find(rest, STR("-->")) : str_chr(rest, '>');
            n = end < 0 ? rest.n : (size_t)end + 1;
            name = tag_name(str_from(rest, 1));
            if (inside.n && rest.n > 1 && rest.p[1] == '/' && str_ieq(name, inside))
                inside = STR_NONE;
            else if (!inside.n && rest.n > 1 && rest.p[1] != '/' &&
                     is_one_of(name, hidden, ARRAY_LEN(hidden)))
                inside = name;
            if (is_one_of(name, breaks, ARRAY_LEN(breaks)))
                buf_char(out, '\n');
        } else if (!inside.n) {
            n = html.p[at] == '&' ? entity(rest, out) : 0;
            if (!n) {
                /* Line ends of the source are white space. */
                buf_char(out, strchr("\r\n\t", html.p[at]) ? ' ' : html.p[at]);
                n = 1;
            }
        }
        at += n;
    }
}
