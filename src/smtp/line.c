/*
 * smtp/line.c - command lines taken apart: verb, path, ESMTP parameters, xtext.
 *
 * Called by the server's verbs. Knows no session; decides nothing but syntax.
 */
#include "smtp/line.h"
#include "core/clock.h"
#include "core/err.h"
#include "mail/date.h"

static bool
is_wsp(char c)
{
    return c == ' ' || c == '\t';
}

static bool
is_alnum(char c)
{
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
}

static bool
is_hex(char c, bool lower)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F') || (lower && c >= 'a' && c <= 'f');
}

enum smtp_line_fault
smtp_line_text(struct str raw, bool lax, struct str *ret)
{
    size_t n = raw.n - 1;

    if (n && raw.p[n - 1] == '\r')
        n--;
    else if (!lax)
        return SMTP_LINE_BARE;
    if (n && (memchr(raw.p, '\r', n) || memchr(raw.p, '\0', n)))
        return SMTP_LINE_BARE;
    while (n && is_wsp(raw.p[n - 1]))
        n--;
    *ret = str_of(raw.p, n);
    return n ? SMTP_LINE_FINE : SMTP_LINE_EMPTY;
}

struct str
smtp_line_verb(struct str line, struct str *ret_arg)
{
    size_t n = 0;

    while (n < line.n && !is_wsp(line.p[n]))
        n++;
    *ret_arg = str_trim(str_from(line, n));
    return str_sub(line, 0, n);
}

/* A mailbox without <>: what old scanners and scripts on trusted networks send. */
static int
bare_path(struct str text, unsigned flags, struct address *ret, struct str *rest)
{
    struct str word = str_word(&text);
    int rc = address_parse(word, flags & ~ADDRESS_ALLOW_NULL, ret);

    *rest = text;
    return rc;
}

int
smtp_line_path(struct str arg, struct str keyword, unsigned flags, bool lax, struct address *ret,
               struct str *ret_params, bool *ret_path_bad)
{
    struct str text, rest = {0};
    int rc;

    *ret_path_bad = false;
    if (!str_istarts(arg, keyword))
        return ERR_SYNTAX;
    text = str_trim(str_from(arg, keyword.n));
    if (!text.n)
        return ERR_SYNTAX;
    *ret_path_bad = true;
    if (text.p[0] != '<' && lax)
        rc = bare_path(text, flags, ret, &rest);
    else
        rc = address_path(text, flags, ret, &rest);
    if (rc < 0)
        return rc;
    if (rest.n && !is_wsp(rest.p[0]) && text.p[0] == '<')
        return ERR_SYNTAX;
    *ret_params = str_trim(rest);
    return 0;
}

int
smtp_param_next(struct str *rest, struct smtp_param *ret)
{
    struct str word = str_word(rest);
    ssize_t eq;

    if (!word.n)
        return 0;
    eq = str_chr(word, '=');
    ret->name = eq < 0 ? word : str_sub(word, 0, (size_t)eq);
    ret->value = eq < 0 ? STR_NONE : str_from(word, (size_t)eq + 1);
    if (!ret->name.n || !is_alnum(ret->name.p[0]))
        return ERR_SYNTAX;
    for (size_t i = 1; i < ret->name.n; i++)
        if (!is_alnum(ret->name.p[i]) && ret->name.p[i] != '-')
            return ERR_SYNTAX;
    if (eq >= 0 && (!ret->value.n || str_chr(ret->value, '=') >= 0 || str_has_ctl(ret->value)))
        return ERR_SYNTAX;
    return 1;
}

/* "+HEXHEX" at s[i]? */
static bool
hexchar_at(struct str s, size_t i)
{
    return i + 2 < s.n && is_hex(s.p[i + 1], false) && is_hex(s.p[i + 2], false);
}

bool
smtp_xtext_ok(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < 33 || s.p[i] > 126 || s.p[i] == '=')
            return false;
        if (s.p[i] != '+')
            continue;
        if (!hexchar_at(s, i))
            return false;
        i += 2;
    }
    return s.n > 0;
}

/* Length of "\x{HEX}" at s[i], a code point that must be one: 0 if it is none. */
static size_t
embedded_at(struct str s, size_t i)
{
    uint32_t point = 0;
    size_t at = i + 3;

    if (!str_starts(str_from(s, i), STR("\\x{")))
        return 0;
    for (; at < s.n && is_hex(s.p[at], false) && at - i < 9; at++)
        point = point * 16 + (uint32_t)(s.p[at] <= '9' ? s.p[at] - '0' : s.p[at] - 'A' + 10);
    if (at - i < 5 || at >= s.n || s.p[at] != '}')
        return 0;
    if (point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff) || !point)
        return 0;
    return at + 1 - i;
}

bool
smtp_utf8_xtext_ok(struct str s, bool utf8)
{
    for (size_t i = 0, len; i < s.n; i += len) {
        unsigned char c = (unsigned char)s.p[i];

        if (c >= 128)
            len = utf8 ? str_utf8_len(str_from(s, i)) : 0;
        else if (c == '\\')
            len = embedded_at(s, i);
        else if (c == '+')
            len = hexchar_at(s, i) ? 3 : 0;
        else
            len = c >= 33 && c <= 126 && c != '=';
        if (!len)
            return false;
    }
    return s.n > 0;
}

bool
smtp_helo_ok(struct str name)
{
    if (!name.n || name.n > ADDRESS_DOMAIN_MAX)
        return false;
    for (size_t i = 0; i < name.n; i++)
        if (!is_alnum(name.p[i]) && !memchr("-._:[]", name.p[i], 6))
            return false;
    return true;
}

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Does s have the form, in which 0 stands for a digit and letters have either case? */
static bool
has_form(struct str s, const char *form)
{
    size_t n = strlen(form);

    if (s.n < n)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (form[i] == '0' ? !is_digit(s.p[i]) : (s.p[i] | 32) != (form[i] | 32))
            return false;
    }
    return true;
}

/* The same moment in the words of RFC 5322, whose reader checks the numbers. */
int
smtp_datetime_parse(struct str s, uint64_t *ret_wall_s)
{
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct str zone = str_from(s, 19);
    char text[48];
    unsigned month;

    if (!has_form(s, "0000-00-00T00:00:00"))
        return ERR_SYNTAX;
    if (zone.n && zone.p[0] == '.') {
        size_t n = 1;

        while (n < zone.n && is_digit(zone.p[n]))
            n++;
        if (n == 1)
            return ERR_SYNTAX;
        zone = str_from(zone, n);
    }
    if (str_ieq(zone, STR("Z")))
        zone = STR("+00:00");
    if (zone.n != 6 || (!has_form(zone, "+00:00") && !has_form(zone, "-00:00")))
        return ERR_SYNTAX;
    month = (unsigned)(s.p[5] - '0') * 10 + (unsigned)(s.p[6] - '0');
    if (month < 1 || month > 12)
        return ERR_SYNTAX;
    str_fmt(text, sizeof(text), "%.2s %s %.4s %.8s %.3s%.2s", s.p + 8, months[month - 1], s.p,
            s.p + 11, zone.p, zone.p + 4);
    return date_parse(str_c(text), ret_wall_s);
}

void
smtp_datetime_show(uint64_t wall_s, char dst[SMTP_DATETIME])
{
    char iso[32];

    clock_iso(wall_s * NS_PER_S, iso);
    str_fmt(dst, SMTP_DATETIME, "%.19sZ", iso);
}
