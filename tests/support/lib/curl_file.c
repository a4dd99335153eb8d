/*
 * tests/support/lib/curl_file.c - reads curl's test files.
 *
 * Called by cases_curl.c. Not XML: a tag counts only at the beginning of a line.
 */
#include "curl_file.h"

#include "core/codec.h"

#define FILE_MAX (4u << 20)

bool
curl_file_load(struct curl_file *f, const char *path)
{
    struct str name = str_c(path);
    FILE *in = fopen(path, "rb");
    size_t n, at = 0;

    buf_init(&f->text, FILE_MAX);
    if (!in)
        return false;
    for (;;) {
        char *room = buf_room(&f->text, 65536);

        if (!room || !(n = fread(room, 1, 65536, in)))
            break;
        buf_used(&f->text, n);
    }
    fclose(in);
    if (str_rchr(name, '/') >= 0)
        name = str_from(name, (size_t)str_rchr(name, '/') + 1);
    for (size_t i = 0; i < name.n && at + 1 < sizeof(f->number); i++)
        if (name.p[i] >= '0' && name.p[i] <= '9')
            f->number[at++] = name.p[i];
    f->number[at] = '\0';
    return !f->text.failed && f->text.n;
}

void
curl_file_done(struct curl_file *f)
{
    buf_done(&f->text);
}

/* --- %variables --- */

static void
expand_percent(struct str in, struct buf *out)
{
    for (size_t i = 0; i < in.n; i++) {
        char byte;

        if (in.p[i] == '%' && codec_unhex(str_sub(in, i + 1, 2), &byte, 1) == 1) {
            buf_char(out, byte);
            i += 2;
        } else {
            buf_char(out, in.p[i]);
        }
    }
}

/* What stands between `open` at the beginning of *rest and `close`. */
static bool
bracketed(struct str *rest, struct str open, struct str close, struct str *ret)
{
    ssize_t end;

    if (!str_starts(*rest, open))
        return false;
    end = str_find(str_from(*rest, open.n), close);
    if (end < 0)
        return false;
    *ret = str_sub(*rest, open.n, (size_t)end);
    *rest = str_from(*rest, open.n + (size_t)end + close.n);
    return true;
}

static void
expand_base64(const struct curl_file *f, struct str in, struct buf *out)
{
    struct buf named, plain;

    buf_init(&named, FILE_MAX);
    buf_init(&plain, FILE_MAX);
    curl_expand(f, in, &named);
    expand_percent(buf_view(&named), &plain);
    codec_base64(out, buf_view(&plain));
    buf_done(&named);
    buf_done(&plain);
}

/* "6553 x text" */
static void
expand_repeat(struct str in, struct buf *out)
{
    struct str count = str_word(&in);
    struct buf once;
    uint64_t n = 0;

    str_word(&in);
    str_u64(count, &n);
    in = str_from(in, in.n && in.p[0] == ' ' ? 1 : 0);
    buf_init(&once, FILE_MAX);
    expand_percent(in, &once);
    for (; n && !out->failed; n--)
        buf_str(out, buf_view(&once));
    buf_done(&once);
}

static const struct {
    const char *name, *value;
} variables[] = {
    {"%CR", "\r"},
    {"%LT", "<"},
    {"%GT", ">"},
    {"%AMP", "&"},
    {"%TAB", "\t"},
    {"%SP", " "},
    {"%HOSTIP", "127.0.0.1"},
    {"%SMTPPORT", "9025"},
    {"%SMTPSPORT", "9465"},
    {"%PROXYPORT", "9128"},
    {"%LOGDIR", "log"},
    {"%VERSION", "0"},
};

void
curl_expand(const struct curl_file *f, struct str in, struct buf *out)
{
    while (in.n) {
        ssize_t at = str_chr(in, '%');
        struct str arg;
        size_t i;

        buf_str(out, at < 0 ? in : str_sub(in, 0, (size_t)at));
        if (at < 0)
            return;
        in = str_from(in, (size_t)at);
        if (bracketed(&in, STR("%b64["), STR("]b64%"), &arg)) {
            expand_base64(f, arg, out);
        } else if (bracketed(&in, STR("%hex["), STR("]hex%"), &arg)) {
            expand_percent(arg, out);
        } else if (bracketed(&in, STR("%repeat["), STR("]%"), &arg)) {
            expand_repeat(arg, out);
        } else if (str_starts(in, STR("%TESTNUMBER"))) {
            buf_c(out, f->number);
            in = str_from(in, 11);
        } else {
            for (i = 0; i < ARRAY_LEN(variables); i++)
                if (str_starts(in, str_c(variables[i].name)))
                    break;
            buf_c(out, i < ARRAY_LEN(variables) ? variables[i].value : "%");
            in = str_from(in, i < ARRAY_LEN(variables) ? strlen(variables[i].name) : 1);
        }
    }
}

/* --- sections --- */

/* Line ends: all become CRLF, or those up to the first empty line. */
static void
line_ends(struct str in, bool all, struct buf *out)
{
    bool on = true;

    while (in.n) {
        ssize_t lf = str_chr(in, '\n');
        struct str line = lf < 0 ? in : str_sub(in, 0, (size_t)lf);

        in = lf < 0 ? STR_NONE : str_from(in, (size_t)lf + 1);
        while (on && line.n && line.p[line.n - 1] == '\r')
            line.n--;
        buf_str(out, line);
        if (lf >= 0)
            buf_c(out, on ? "\r\n" : "\n");
        on = on && (all || line.n);
    }
}

bool
curl_file_section(const struct curl_file *f, const char *name, const char *attr, struct buf *ret)
{
    struct str rest = buf_view(&f->text);
    struct buf raw, expanded, tag;
    bool inside = false, found = false;
    char closing[64];

    str_fmt(closing, sizeof(closing), "</%s>", name);
    buf_init(&raw, FILE_MAX);
    buf_init(&expanded, FILE_MAX);
    buf_init(&tag, 4096);
    while (rest.n) {
        ssize_t lf = str_chr(rest, '\n');
        struct str line = str_sub(rest, 0, lf < 0 ? rest.n : (size_t)lf + 1);
        struct str word = str_from(line, 1);

        rest = str_from(rest, line.n);
        if (inside && str_starts(line, str_c(closing)))
            break;
        if (inside) {
            buf_str(&raw, line);
            continue;
        }
        if (!line.n || line.p[0] != '<' || !str_starts(word, str_c(name)) ||
            word.n <= strlen(name) || (word.p[strlen(name)] != '>' && word.p[strlen(name)] != ' '))
            continue;
        buf_clear(&tag);
        curl_expand(f, line, &tag);
        inside = found = !attr || str_find(buf_view(&tag), str_c(attr)) >= 0;
    }
    curl_expand(f, buf_view(&raw), &expanded);
    if (str_find(buf_view(&tag), STR("nonewline=\"yes\"")) >= 0 && expanded.n)
        expanded.n--;
    if (str_find(buf_view(&tag), STR("crlf=\"yes\"")) >= 0)
        line_ends(buf_view(&expanded), true, ret);
    else if (str_find(buf_view(&tag), STR("crlf=\"headers\"")) >= 0)
        line_ends(buf_view(&expanded), false, ret);
    else
        buf_str(ret, buf_view(&expanded));
    buf_done(&raw);
    buf_done(&expanded);
    buf_done(&tag);
    return found;
}
