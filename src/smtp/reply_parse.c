/*
 * smtp/reply_parse.c - replies of servers (RFC 5321 4.2, RFC 2034 4): bytes in, one reply out.
 *
 * Used by the client machine, callouts and tests. Lenient where the wild is (bare LF, a code with
 * nothing behind it, bytes that are no text), strict where a mistake would change what was said:
 * the class of the code must be the same on every line. Never allocates.
 */
#include "smtp/reply_parse.h"

void
smtp_reply_parser_init(struct smtp_reply_parser *p, uint32_t max)
{
    p->text_n = 0;
    p->code = 0;
    memset(p->enhanced, 0, sizeof(p->enhanced));
    p->bytes = 0;
    p->max = max ? max : 8192;
    p->line_n = 0;
    p->line_cut = false;
}

/* "5.1.1" in front of a text: bytes it takes with the blank behind it, 0 if it is none. */
static size_t
reply_enhanced(struct str s, int class, uint16_t ret[3])
{
    uint16_t got[3] = {0, 0, 0};
    size_t at = 0;

    for (unsigned part = 0; part < 3; part++) {
        size_t digits = 0;

        while (at < s.n && digits < 3 && s.p[at] >= '0' && s.p[at] <= '9') {
            got[part] = (uint16_t)(got[part] * 10 + (s.p[at] - '0'));
            at++;
            digits++;
        }
        if (!digits)
            return 0;
        if (part < 2 && (at >= s.n || s.p[at++] != '.'))
            return 0;
    }
    if (at < s.n && s.p[at] != ' ' && s.p[at] != '\t')
        return 0;
    if (got[0] != class || class == 3)
        return 0;
    memcpy(ret, got, sizeof(got));
    return at < s.n ? at + 1 : at;
}

/* Appends text that people and logs can bear: controls and bytes outside UTF-8 become '?'. */
static void
reply_append(struct smtp_reply_parser *p, struct str s)
{
    size_t at = 0;

    while (at < s.n) {
        size_t len = 0;

        while (at + len < s.n && s.p[at + len] >= 32 && s.p[at + len] < 127)
            len++; /* plain ASCII, in one copy */
        if (len)
            len = MIN(len, sizeof(p->text) - p->text_n);
        else
            len = str_utf8_len(str_from(s, at));
        if (len == 1 && ((unsigned char)s.p[at] < 32 || s.p[at] == 127))
            len = 0;
        if (p->text_n + (len ? len : 1) > sizeof(p->text))
            return;
        if (len)
            memcpy(p->text + p->text_n, s.p + at, len);
        else
            p->text[p->text_n] = s.p[at] == '\t' ? ' ' : '?';
        p->text_n = (uint16_t)(p->text_n + (len ? len : 1));
        at += len ? len : 1;
    }
}

/* One line without its end: 1 it was the last, 0 more follow, ERR_SYNTAX. */
static int
reply_line(struct smtp_reply_parser *p, struct str line)
{
    bool first = p->code == 0;
    uint16_t enhanced[3] = {0, 0, 0};
    bool last = true;
    int code;

    if (line.n < 3 || line.p[0] < '2' || line.p[0] > '5' || line.p[1] < '0' || line.p[1] > '9' ||
        line.p[2] < '0' || line.p[2] > '9')
        return ERR_SYNTAX;
    code = (line.p[0] - '0') * 100 + (line.p[1] - '0') * 10 + (line.p[2] - '0');
    if (line.n > 3) {
        if (line.p[3] != ' ' && line.p[3] != '-')
            return ERR_SYNTAX;
        last = line.p[3] == ' ';
    }
    if (!first && code / 100 != p->code / 100)
        return ERR_SYNTAX;
    p->code = code; /* within a class the last line counts */
    line = str_from(line, 4);
    if (reply_enhanced(line, code / 100, enhanced)) {
        if (first)
            memcpy(p->enhanced, enhanced, sizeof(enhanced));
        if (!memcmp(p->enhanced, enhanced, sizeof(enhanced)))
            line = str_from(line, reply_enhanced(line, code / 100, enhanced));
    }
    if (!first && p->text_n < sizeof(p->text))
        p->text[p->text_n++] = '\n';
    reply_append(p, line);
    return last ? 1 : 0;
}

/* Takes bytes up to a line's end: true if the end was among them. */
static bool
reply_gather(struct smtp_reply_parser *p, const char *s, size_t n, size_t *ret_took)
{
    const char *lf = memchr(s, '\n', n);
    size_t len = lf ? (size_t)(lf - s) : n;
    size_t room = sizeof(p->line) - p->line_n;

    if (len > room)
        p->line_cut = true;
    memcpy(p->line + p->line_n, s, MIN(len, room));
    p->line_n = (uint16_t)(p->line_n + MIN(len, room));
    *ret_took = lf ? len + 1 : n;
    return lf != NULL;
}

int
smtp_reply_parse(struct smtp_reply_parser *p, const char *s, size_t n, size_t *used,
                 struct smtp_reply *ret)
{
    size_t at = 0;
    int err = 0;

    if (!p->bytes) /* a new reply begins */
        smtp_reply_parser_init(p, p->max);
    while (at < n && err == 0) {
        size_t took, allowed = MIN(n - at, (size_t)p->max - p->bytes);
        bool whole;
        struct str line;

        if (!allowed) {
            err = ERR_LIMIT;
            break;
        }
        whole = reply_gather(p, s + at, allowed, &took);
        at += took;
        p->bytes += (uint32_t)took;
        if (!whole)
            continue;
        line = str_of(p->line, p->line_n);
        if (!p->line_cut && line.n && line.p[line.n - 1] == '\r')
            line.n--;
        err = reply_line(p, line);
        p->line_n = 0;
        p->line_cut = false;
    }
    *used = at;
    if (err)
        p->bytes = 0;
    if (err != 1)
        return err;
    ret->code = p->code;
    memcpy(ret->enhanced, p->enhanced, sizeof(ret->enhanced));
    ret->text = str_of(p->text, p->text_n);
    return 1;
}

const char *
smtp_reply_show(const struct smtp_reply *r, char *dst, size_t cap)
{
    size_t at = 0;

    if (!cap)
        return dst;
    dst[0] = '\0';
    if (r->code)
        at += str_fmt(dst, cap, "%d ", r->code);
    if (r->enhanced[0])
        at += str_fmt(dst + at, cap - at, "%u.%u.%u ", r->enhanced[0], r->enhanced[1],
                      r->enhanced[2]);
    str_fmt(dst + at, cap - at, "%.*s", STR_ARG(r->text));
    for (char *p = dst; *p; p++)
        if (*p == '\n')
            *p = ' ';
    return dst;
}
