/*
 * mail/dsn_lines.c - text for people as lines, and where the returned message begins in it.
 *
 * Called by mail/dsn_text and dsn_transcript. Pure; views into the text.
 */
#include "mail/dsn_lines.h"

#define LINES_MAX   8000u
#define LINE_BYTES  4000u /* bytes of a line that are looked at */
#define FIELDS_CUT  3u    /* fields in a row that are the returned header */
#define FIELDS_LOOK 60u   /* lines of a header looked at in one go */
#define CUT_LINE    200u  /* longest line that can say that the returned message begins */

static const char *const original_fields[] = {
    "received",
    "from",
    "date",
    "subject",
    "message-id",
    "to",
    "mime-version",
    "content-type",
    "return-path",
    "reply-to",
    "cc",
    "sender",
    "x-mailer",
    "user-agent",
    "references",
    "in-reply-to",
    "dkim-signature",
    "content-transfer-encoding",
    "feedback-id",
    "errors-to",
    "list-unsubscribe",
};

static bool
is_field(struct str line)
{
    struct str rest, name = str_trim(str_cut(line, ':', &rest));

    if (!name.n || name.n == line.n)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(original_fields); i++)
        if (str_ieq(name, str_c(original_fields[i])))
            return true;
    return false;
}

/* Does the returned message begin with this line by its words? */
static bool
line_cuts(struct str s)
{
    const struct dsn_shape *row;
    size_t end;

    if (!s.n || s.n > CUT_LINE)
        return false;
    row = dsn_shape_in(DSN_CUT, s, &end);
    if (!row)
        return false;
    return row->v == DSN_CUT_ANY || strchr("-=*|+>#_", s.p[0]) || strchr(":.", s.p[s.n - 1]);
}

unsigned
dsn_fields_here(const struct dsn_lines *l, unsigned from)
{
    unsigned fields = 0;

    for (unsigned i = from; i < l->all && i - from < FIELDS_LOOK; i++) {
        const struct dsn_line *line = &l->items[i];

        if (!line->indent && is_field(line->s))
            fields++;
        else if (!line->s.n || !line->indent || !fields)
            break;
    }
    return fields;
}

/* As much of a long line as is looked at: whole words, since half an address is another address. */
static struct str
line_cut(struct str s)
{
    size_t n = s.n;

    if (n > LINE_BYTES)
        for (n = LINE_BYTES; n && s.p[n] != ' ';)
            n--;
    return str_sub(s, 0, n);
}

void
dsn_lines_split(struct dsn_lines *l, struct str text, struct arena *arena)
{
    unsigned count = 1;
    bool seen_address = false;

    *l = (struct dsn_lines){.text = text};
    for (size_t i = 0; i < text.n && count < LINES_MAX; i++)
        count += text.p[i] == '\n';
    l->items = ARENA_ARRAY(arena, struct dsn_line, count);
    if (!l->items)
        return;
    for (size_t at = 0; at < text.n && l->all < count;) {
        const char *nl = memchr(text.p + at, '\n', text.n - at);
        size_t end = nl ? (size_t)(nl - text.p) : text.n, start = at, begin = at;

        at = end + 1;
        while (start < end && strchr(" \t\r", text.p[start]) && text.p[start])
            start++;
        while (end > start && strchr(" \t\r", text.p[end - 1]) && text.p[end - 1])
            end--;
        l->items[l->all++] = (struct dsn_line){.s = line_cut(str_sub(text, start, end - start)),
                                               .indent = (uint32_t)(start - begin),
                                               .at = (uint32_t)start};
    }
    for (l->n = 0; l->n < l->all; l->n++) {
        struct str s = l->items[l->n].s;

        if (line_cuts(s) || (seen_address && dsn_fields_here(l, l->n) >= FIELDS_CUT))
            break;
        seen_address |= str_chr(s, '@') > 0 && !dsn_fields_here(l, l->n);
    }
}

struct str
dsn_text_original(struct str text, struct arena *arena)
{
    struct dsn_lines l;
    struct buf out;
    struct str ret;
    unsigned from, to;

    dsn_lines_split(&l, text, arena);
    for (from = l.n; from < l.all && dsn_fields_here(&l, from) < 2; from++)
        continue;
    for (to = from; to < l.all && l.items[to].s.n; to++)
        continue;
    if (from == to)
        return STR_NONE;
    buf_init(&out, 64u << 10);
    for (; from < to; from++) {
        buf_c(&out, l.items[from].indent ? " " : "");
        buf_str(&out, l.items[from].s);
        buf_c(&out, "\r\n");
    }
    ret = arena_str(arena, buf_view(&out));
    buf_done(&out);
    return ret;
}
