/*
 * tests/support/lib/cases_json5.c - JSON5 text made into JSON: as much as dialogue cases use.
 */
#include "cases.h"

static bool
is_name(char c)
{
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '_' || c == '$';
}

/* A comment at s[i]: index behind it, or i. */
static size_t
skip_comment(struct str s, size_t i)
{
    ssize_t end;

    if (str_starts(str_from(s, i), STR("//"))) {
        end = str_chr(str_from(s, i), '\n');
        return end < 0 ? s.n : i + (size_t)end;
    }
    if (str_starts(str_from(s, i), STR("/*"))) {
        end = str_find(str_from(s, i + 2), STR("*/"));
        return end < 0 ? s.n : i + (size_t)end + 4;
    }
    return i;
}

/* A string in either quotes: index behind it. */
static size_t
copy_string(struct str s, size_t i, struct buf *out)
{
    char quote = s.p[i++];

    buf_char(out, '"');
    for (; i < s.n && s.p[i] != quote; i++) {
        if (s.p[i] == '\\' && i + 1 < s.n) {
            i++;
            if (s.p[i] == '\n') {
                continue; /* the line goes on */
            } else if (s.p[i] == '\'') {
                buf_char(out, '\'');
            } else {
                buf_char(out, '\\');
                buf_char(out, s.p[i]);
            }
        } else if (s.p[i] == '"') {
            buf_c(out, "\\\"");
        } else if (s.p[i] == '\n') {
            buf_c(out, "\\n");
        } else {
            buf_char(out, s.p[i]);
        }
    }
    buf_char(out, '"');
    return i + 1;
}

/* A bare word: a key gets quotes, a number or literal stays. */
static size_t
copy_word(struct str s, size_t i, struct buf *out)
{
    size_t end = i, next;

    while (end < s.n && is_name(s.p[end]))
        end++;
    for (next = end; next < s.n && strchr(" \t\r\n", s.p[next]);)
        next++;
    if (next < s.n && s.p[next] == ':')
        buf_fmt(out, "\"%.*s\"", (int)(end - i), s.p + i);
    else
        buf_add(out, s.p + i, end - i);
    return end;
}

/* A comma before } or ] goes. */
static void
drop_comma(struct buf *out)
{
    size_t n = out->n;

    while (n && strchr(" \t\r\n", out->p[n - 1]))
        n--;
    if (n && out->p[n - 1] == ',')
        out->n = n - 1;
}

void
cases_json5(struct str in, struct buf *out)
{
    for (size_t i = 0; i < in.n;) {
        size_t behind = skip_comment(in, i);
        char c;

        if (behind > i) {
            i = behind;
            continue;
        }
        c = in.p[i];
        if (c == '"' || c == '\'') {
            i = copy_string(in, i, out);
        } else if (is_name(c)) {
            i = copy_word(in, i, out);
        } else {
            if (c == '}' || c == ']')
                drop_comma(out);
            buf_char(out, c);
            i++;
        }
    }
}
