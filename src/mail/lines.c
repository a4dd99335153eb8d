/*
 * mail/lines.c - lines and boundaries of reports that we write.
 *
 * Called by mail/dsn_write and mail/arf_write. What is given goes out in one field or line: it can
 * begin neither a new field nor a new part. Pure.
 */
#include "mail/lines.h"

#include "mail/date.h"

#define LINES_FOLD      76u   /* columns before a fold is tried */
#define LINES_WORD      900u  /* of a word that is longer than a line */
#define LINES_FIELD_MAX 2000u /* bytes of one field taken */

void
lines_clean(struct buf *out, struct str s, bool utf8)
{
    s = str_sub(s, 0, LINES_FIELD_MAX);
    for (size_t at = 0; at < s.n;) {
        size_t len = str_utf8_len(str_from(s, at));
        unsigned char c = (unsigned char)s.p[at];

        if (len == 1)
            buf_char(out, c < 32 || c == 127 ? ' ' : (char)c);
        else if (len > 1 && utf8)
            buf_add(out, s.p + at, len);
        else
            buf_char(out, '?');
        at += len ? len : 1;
    }
}

void
lines_folded(struct buf *out, const char *lead, struct str text, const char *indent, bool utf8)
{
    struct buf clean;
    struct str rest, word;
    size_t column = strlen(lead);

    buf_init(&clean, LINES_FIELD_MAX * 4);
    lines_clean(&clean, text, utf8);
    rest = buf_view(&clean);
    buf_c(out, lead);
    for (bool first = true; (word = str_word(&rest)).n; first = false) {
        bool fold = !first && column + 1 + word.n > LINES_FOLD;

        if (fold) {
            buf_c(out, "\r\n");
            buf_c(out, indent);
            column = strlen(indent);
        } else if (!first) {
            buf_char(out, ' ');
            column++;
        }
        while (word.n > LINES_WORD) {
            size_t cut = LINES_WORD; /* not within a character */

            while (((unsigned char)word.p[cut] & 0xc0) == 0x80)
                cut--;
            buf_add(out, word.p, cut);
            word = str_from(word, cut);
            buf_c(out, "\r\n");
            buf_c(out, indent);
            column = strlen(indent);
        }
        buf_str(out, word);
        column += word.n;
    }
    buf_c(out, "\r\n");
    buf_done(&clean);
}

void
lines_date(struct buf *out, const char *name, uint64_t wall_s)
{
    char date[40];

    if (!wall_s)
        return;
    date_show(wall_s, date);
    buf_fmt(out, "%s: %s\r\n", name, date);
}

void
lines_boundary(char dst[48], struct str message_id, uint64_t now, struct str original)
{
    for (unsigned tries = 0; tries < 100; tries++) {
        str_fmt(dst, 48, "=_gapura_%016llx", (unsigned long long)str_hash(message_id, now + tries));
        if (str_find(original, str_c(dst)) < 0)
            return;
    }
}
