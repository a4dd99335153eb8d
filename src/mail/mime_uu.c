/*
 * mail/mime_uu.c - files that older clients put into text by uuencode: parts of their own.
 *
 * Called by mail/mime_part.c with the decoded content of text parts. Only lines that begin with
 * "begin " or "=ybegin " are looked at; the text itself is handed on unchanged by the caller.
 */
#include "mail/charset.h"
#include "mail/mime_inner.h"

static bool
is_begin(struct str line, struct str *ret_name)
{
    size_t at = 6, mode = 0;

    if (!str_starts(line, STR("begin ")))
        return false;
    while (at < line.n && line.p[at] >= '0' && line.p[at] <= '7') {
        at++;
        mode++;
    }
    if (mode < 3 || mode > 4 || at >= line.n || line.p[at] != ' ')
        return false;
    *ret_name = str_trim(str_sub(line, at + 1, line.n));
    while (ret_name->n && strchr(" \t\r\n", ret_name->p[ret_name->n - 1]))
        ret_name->n--;
    return ret_name->n > 0;
}

static void
uu_begin(struct mime *m, struct str name)
{
    const struct mime_part like = {.kind = MIME_UUENCODED,
                                   .type = STR("application"),
                                   .subtype = STR("octet-stream"),
                                   .charset = STR(""),
                                   .disposition = STR("attachment"),
                                   .content_id = STR(""),
                                   .encoding = TRANSFER_UUENCODE};
    struct mime_part *p = mime_part_inside(m, m->leaf->number, &like);
    struct buf text;

    if (!p)
        return;
    buf_init(&text, 4 * sizeof(m->uu.line));
    (void)charset_put_utf8(&text, name);
    p->filename = arena_str(&m->arena, buf_view(&text));
    m->incomplete |= !p->filename.p; /* no memory for what it is called */
    buf_done(&text);
    m->uu.part = p;
    if (m->sink->begin)
        m->sink->begin(m->ctx, p);
}

static void
uu_end(struct mime *m)
{
    if (m->uu.part)
        mime_part_end(m, m->uu.part, m->at);
    m->uu.part = NULL;
}

/* One line of a file: its length, then four characters for three bytes. */
static void
uu_line(struct mime *m, struct str line)
{
    struct transfer t;
    char out[256 + 2048];

    while (line.n && strchr("\r\n", line.p[line.n - 1]))
        line.n--;
    if (str_eq(line, STR("end")) || str_starts(line, STR("begin "))) {
        uu_end(m);
        return;
    }
    transfer_init_uu_line(&t);
    size_t n = transfer_feed(&t, line.p, line.n, out);
    m->uu.part->size += n;
    if (n && m->sink->data)
        m->sink->data(m->ctx, m->uu.part, out, n);
}

/* A whole line, or the beginning of a long one. */
static void
uu_look(struct mime *m)
{
    struct mime_uu *u = &m->uu;
    struct str line = str_of(u->line, u->n), name;

    if (u->part)
        uu_line(m, line);
    else if (str_starts(line, STR("=ybegin ")) && str_find(line, STR(" name=")) > 0)
        mime_odd_told(m, m->leaf, MIME_ODD_YENC, line, STR_NONE);
    if (!u->part && is_begin(line, &name))
        uu_begin(m, name);
    u->n = 0;
}

void
mime_uu_feed(struct mime *m, const char *p, size_t n)
{
    struct mime_uu *u = &m->uu;

    while (n) {
        /* The cheap way: a line that cannot matter is passed over. */
        if (u->line_start && !u->part && u->n == 0 && *p != 'b' && *p != '=')
            u->line_start = false;
        const char *lf = memchr(p, '\n', n);
        size_t take = lf ? (size_t)(lf - p) + 1 : n;
        if (u->line_start && !u->skip) {
            size_t keep = MIN(take, sizeof(u->line) - u->n);
            memcpy(u->line + u->n, p, keep);
            u->n += (uint8_t)keep;
            if (lf || u->n == sizeof(u->line)) {
                u->skip = !lf;
                uu_look(m);
            }
        }
        if (lf) {
            u->line_start = true;
            u->skip = false;
        }
        p += take;
        n -= take;
    }
}

void
mime_uu_finish(struct mime *m)
{
    if (m->uu.part && m->uu.n)
        uu_look(m); /* a last line without its end */
    uu_end(m);
}
