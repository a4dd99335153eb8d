/*
 * smtp/reply.c - builds reply lines. Called by the server; never decides what is said.
 */
#include "smtp/reply.h"

const char *
smtp_reply_default_enh(int code)
{
    switch (code / 100) {
    case 2:
        return "2.0.0";
    case 4:
        return "4.0.0";
    case 5:
        return "5.0.0";
    default:
        return NULL;
    }
}

/* How much of s fits in `room` bytes; breaks at a space if there is one in the second half, never
 * inside a UTF-8 sequence. */
static size_t
fold_at(struct str s, size_t room)
{
    size_t n = room;

    if (s.n <= room)
        return s.n;
    while (n > room / 2 && s.p[n] != ' ')
        n--;
    if (s.p[n] == ' ')
        return n;
    for (n = room; n > room / 2 && ((unsigned char)s.p[n] & 0xc0) == 0x80;)
        n--;
    return n;
}

static void
add_clean(struct buf *out, struct str s, bool utf8)
{
    char *p = buf_room(out, s.n);

    if (!p)
        return;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        p[i] = s.p[i];
        if (c < 32 || c == 127 || (c > 127 && !utf8))
            p[i] = '?';
    }
    buf_used(out, s.n);
}

void
smtp_reply_build(struct buf *out, int code, const char *enh, struct str text, bool utf8)
{
    char head[24];
    struct str line, rest = str_sub(text, 0, SMTP_REPLY_TEXT_MAX);
    size_t head_n, room;
    bool last;

    utf8 = utf8 && str_is_utf8(rest);
    head_n = str_fmt(head, sizeof(head), "%03d-%s%s", code, enh ? enh : "", enh ? " " : "");
    room = SMTP_REPLY_LINE_MAX - head_n - 2;
    do {
        ssize_t nl = str_chr(rest, '\n');
        size_t n;

        line = nl < 0 ? rest : str_sub(rest, 0, (size_t)nl);
        n = fold_at(line, room);
        if (n < line.n) {
            rest = str_from(rest, n + (line.p[n] == ' '));
            last = false;
        } else {
            rest = nl < 0 ? STR_NONE : str_from(rest, (size_t)nl + 1);
            last = nl < 0;
        }
        head[3] = last ? ' ' : '-';
        buf_add(out, head, head_n);
        add_clean(out, str_sub(line, 0, n), utf8);
        buf_str(out, STR("\r\n"));
    } while (!last);
}
