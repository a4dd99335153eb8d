/*
 * mail/dsn_reply.c - the reply of a server within any text about a recipient: its SMTP code, its
 * enhanced code, what it answered, who said it.
 *
 * Called by the readers of machine fields, of text for people and of transcripts. Pure; never looks
 * further than the text it is given.
 */
#include "mail/dsn_inner.h"

#include "mail/address.h"

#define HOST_MAX   255u
#define SPAN_MAX   320u /* bytes on each side of an @: RFC 5321 4.5.3.1 has 64 and 255 */
#define QUOTED_MAX 400u /* bytes of a reply that another one quotes */

/* Reply codes that servers use to refuse (RFC 5321 4.2.3, RFC 4954, and some of the wild). */
static const uint16_t reply_codes[] = {
    421, 422, 426, 430, 431, 432, 441, 442, 446, 447, 449, 450, 451, 452, 453, 454,
    455, 458, 459, 471, 500, 501, 502, 503, 504, 510, 511, 512, 513, 515, 517, 521,
    522, 523, 524, 525, 530, 531, 533, 534, 535, 538, 540, 541, 542, 543, 545, 546,
    550, 551, 552, 553, 554, 555, 556, 557, 558, 559, 570, 571, 573, 578, 579,
};

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool
is_alnum(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

size_t
dsn_status_len(struct str s)
{
    size_t at = 2, digits;

    if (s.n < 5 || (s.p[0] != '2' && s.p[0] != '4' && s.p[0] != '5') || s.p[1] != '.')
        return 0;
    for (unsigned part = 0; part < 2; part++) {
        for (digits = 0; at < s.n && is_digit(s.p[at]); digits++)
            at++;
        if (!digits || digits > 3)
            return 0;
        if (!part && (at >= s.n || s.p[at++] != '.'))
            return 0;
    }
    if (at < s.n &&
        (is_alnum(s.p[at]) || (s.p[at] == '.' && at + 1 < s.n && is_digit(s.p[at + 1]))))
        return 0;
    /* Subjects end at 7 (RFC 3463 3); what has more is a version or an amount. */
    return s.p[3] == '.' && s.p[2] <= '7' ? at : 0;
}

void
dsn_status_set(char dst[12], struct str s)
{
    size_t n = dsn_status_len(s);

    str_copy(str_sub(s, 0, n), dst, 12);
}

bool
dsn_status_vague(const char status[12])
{
    return !status[0] || !strcmp(status + 1, ".0.0");
}

static uint16_t
code_at(struct str s, size_t at)
{
    uint16_t code;

    if (s.n - at < 3 || !is_digit(s.p[at]) || !is_digit(s.p[at + 1]) || !is_digit(s.p[at + 2]))
        return 0;
    if (s.n - at > 3 && !strchr(" -:,;.)]>'\"\r\n\t", s.p[at + 3]))
        return 0;
    if (s.n - at > 4 && s.p[at + 3] == '.' && is_digit(s.p[at + 4]))
        return 0;
    code = (uint16_t)(100 * (s.p[at] - '0') + 10 * (s.p[at + 1] - '0') + (s.p[at + 2] - '0'));
    for (size_t i = 0; i < ARRAY_LEN(reply_codes); i++)
        if (reply_codes[i] == code)
            return code;
    return 0;
}

/* Is the number an amount of something? Hundreds are many: "550 Message refused" is a reply. */
static bool
counts_something(struct str s, size_t at)
{
    static const char *const units[] = {"byte", "kb", "mb", "day", "hour", "minute", "second"};
    static const char *const many[] = {"messages", "recipients", "times", "characters"};
    struct str rest = str_trim(str_sub(s, at + 3, 16));

    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (!dsn_ifind(str_sub(rest, 0, strlen(units[i])), 0, str_c(units[i])))
            return true;
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        if (str_starts(rest, str_c(many[i])))
            return true;
    return false;
}

/* Where the enhanced code that follows a reply code begins, or 0. */
static size_t
status_behind(struct str s, size_t at)
{
    size_t i = at + 3;

    while (i < s.n && i < at + 8 && strchr(" -:#'\"([", s.p[i]))
        i++;
    return dsn_status_len(str_from(s, i)) ? i : 0;
}

/* How surely a reply begins at s[at]: 0 it does not. */
static unsigned
reply_rank(struct str s, size_t at)
{
    size_t status = status_behind(s, at), before = at;
    char mark;

    if (at && !strchr(" \t\r\n<[(\"':,=#", s.p[at - 1]))
        return 0;
    while (before && (s.p[before - 1] == ' ' || s.p[before - 1] == '\t'))
        before--;
    mark = before ? s.p[before - 1] : '\n';
    if (status && mark == '>' && before >= 2 && s.p[before - 2] == '-')
        return 6; /* "... -> 550 5.1.1": another server's words are quoted */
    if (status && mark == '<' && before == at && str_chr(str_sub(s, at, QUOTED_MAX), '>') > 0)
        return 6; /* "<421 4.4.2 Connection timed out>" */
    if (status && s.p[status] == s.p[at])
        return 5;
    if (mark == '\n' || (mark == '<' && before >= 2 && s.p[before - 2] == '<'))
        return 4;
    if (counts_something(s, at))
        return 0;
    return strchr(":[(<='\"", mark) ? 3 : 1;
}

/* An enhanced code that stands anywhere: "(#4.4.1)". */
static void
status_alone(struct str s, char first, char dst[12])
{
    for (size_t i = 0; i + 5 <= s.n; i++) {
        if ((first && s.p[i] != first) || (i && !strchr(" \t\r\n#([<'\":=-", s.p[i - 1])) ||
            !dsn_status_len(str_from(s, i)))
            continue;
        dsn_status_set(dst, str_from(s, i));
        return;
    }
}

void
dsn_said_find(struct str s, struct dsn_said *ret)
{
    unsigned best = 0;

    *ret = (struct dsn_said){.code = 0};
    for (size_t i = 0; i + 3 <= s.n; i++) {
        uint16_t code = s.p[i] == '4' || s.p[i] == '5' ? code_at(s, i) : 0;
        unsigned rank = code ? reply_rank(s, i) : 0;

        if (rank <= best)
            continue;
        best = rank;
        ret->code = code;
        ret->at = i;
        ret->status[0] = '\0';
        if (status_behind(s, i))
            dsn_status_set(ret->status, str_from(s, status_behind(s, i)));
    }
    if (!ret->status[0] && ret->code)
        status_alone(s, s.p[ret->at], ret->status);
    if (!ret->status[0])
        status_alone(s, '\0', ret->status);
}

enum dsn_phase
dsn_phase_of(struct str text, size_t reply_at)
{
    size_t end;
    const struct dsn_shape *row = dsn_shape_in(DSN_ANSWERED, str_from(text, reply_at), &end);

    if (!row)
        row = dsn_shape_in(DSN_ANSWERED, str_sub(text, 0, reply_at), &end);
    return row ? (enum dsn_phase)row->v : DSN_PHASE_UNKNOWN;
}

static bool
host_ok(struct str s)
{
    struct addr a;

    return s.n && s.n <= HOST_MAX &&
           (addr_parse(s, &a) == 0 || (str_chr(s, '.') > 0 && address_domain_ok(s)));
}

/* The name or address that s begins with. */
static struct str
host_at(struct str s)
{
    size_t n = 0;

    s = str_trim(s);
    if (s.n && s.p[0] == '[')
        s = str_from(s, 1);
    while (n < s.n && (is_alnum(s.p[n]) || strchr(".-_:", s.p[n])))
        n++;
    while (n && strchr(".:", s.p[n - 1]))
        n--;
    s = str_sub(s, 0, n);
    return host_ok(s) ? s : STR_NONE;
}

/* The last word of s; in front of an address in brackets, if it ends with one. */
static struct str
host_before(struct str s)
{
    size_t n;

    s = str_trim(s);
    if (s.n && s.p[s.n - 1] == ']' && str_rchr(s, '[') >= 0)
        s = str_trim(str_sub(s, 0, (size_t)str_rchr(s, '[')));
    for (n = s.n; n && !strchr(" \t\n>", s.p[n - 1]);)
        n--;
    return host_at(str_from(s, n));
}

/* Name or address of the server that the text names; a view, may be empty. */
static struct str
dsn_host_of(struct str text)
{
    const struct dsn_shape *row;
    size_t end = 0;

    row = dsn_shape_in(DSN_HOST, text, &end);
    if (!row)
        return STR_NONE;
    return row->v == DSN_HOST_BEFORE ? host_before(str_sub(text, 0, end - strlen(row->words)))
                                     : host_at(str_from(text, end));
}

/* --- addresses in a line --- */

static bool
is_local(char c)
{
    return is_alnum(c) || (unsigned char)c >= 128 || (c && strchr("!#$%&*+-/=?^_`{|}~.'", c));
}

static bool
is_domain(char c)
{
    return is_alnum(c) || (unsigned char)c >= 128 || c == '-' || c == '.' || c == '_';
}

static bool
address_around(struct str line, size_t sign, size_t *start, size_t *end)
{
    size_t a = sign, b = sign + 1;

    if (a && line.p[a - 1] == '"') {
        for (a--; a && sign - a < SPAN_MAX && line.p[a - 1] != '"';)
            a--;
        if (!a || line.p[a - 1] != '"')
            return false;
        a--;
    } else {
        while (a && sign - a < SPAN_MAX && is_local(line.p[a - 1]))
            a--;
        while (a < sign && strchr("'`", line.p[a]))
            a++; /* a quotation mark around it */
    }
    if (b < line.n && line.p[b] == '[') {
        while (b < line.n && b - sign < SPAN_MAX && line.p[b] != ']')
            b++;
        b += b < line.n && line.p[b] == ']';
    } else {
        while (b < line.n && b - sign < SPAN_MAX && is_domain(line.p[b]))
            b++;
        while (b > sign + 1 && strchr(".-_", line.p[b - 1]))
            b--;
    }
    *start = a;
    *end = b;
    return a < sign && b > sign + 1;
}

bool
dsn_address_find(struct str line, size_t at, size_t *ret_start, size_t *ret_end, struct str *ret)
{
    for (size_t i = at; i < line.n; i++) {
        size_t start, end;
        struct address parsed;
        struct str s;

        if (line.p[i] != '@' || !address_around(line, i, &start, &end) || start < at)
            continue;
        s = str_sub(line, start, end - start);
        if (!dsn_ifind(str_sub(s, 0, 7), 0, STR("mailto:")))
            s = str_from(s, 7);
        if (address_parse(s, ADDRESS_ALLOW_UTF8, &parsed) < 0)
            continue;
        if (start && line.p[start - 1] == '<')
            start--;
        if (end < line.n && line.p[end] == '>')
            end++;
        *ret_start = start;
        *ret_end = end;
        *ret = s;
        return true;
    }
    return false;
}

/* --- an outcome explained by a text --- */

/* "(in reply to RCPT TO command)" and marks of that kind behind the reply are not of the reply. */
static struct str
without_tail(struct str s)
{
    static const char *const tails[] = {"(in reply to ", "[rcpt_to]",           "[mail_from]",
                                        "[data]",        "(delivery attempts:", "\ngiving up on "};

    for (size_t i = 0; i < ARRAY_LEN(tails); i++) {
        ssize_t at = dsn_ifind(s, 0, str_c(tails[i]));

        if (at > 0)
            s = str_sub(s, 0, (size_t)at);
    }
    return s;
}

/* "[554 5.4.6 Hop count exceeded]", "<421 4.4.2 Connection timed out>": up to the bracket that was
 * open. A blank line ends a reply too. */
static struct str
reply_of(struct str text, const struct dsn_said *said)
{
    struct str s = str_from(text, said->at);
    ssize_t end;

    if (!said->code)
        return s;
    if (said->at) {
        char open = text.p[said->at - 1], close = open == '[' ? ']' : open == '<' ? '>' : '\0';

        end = close ? str_rchr(s, close) : -1;
        if (end > 0)
            s = str_sub(s, 0, (size_t)end);
    }
    end = str_find(s, STR("\n\n"));
    s = str_trim(end > 0 ? str_sub(s, 0, (size_t)end) : s);
    if (s.n && s.p[s.n - 1] == ')' && str_chr(s, '(') < 0)
        s.n--; /* "(reason: 550 5.1.1 ...)" */
    return s;
}

/* What a text tells. The same text tells a thousand recipients the same: it is read once. */
static const struct dsn_told *
told_by(struct dsn_list *list, struct str text)
{
    struct dsn_told *t = &list->told;

    if (t->text.p == text.p && t->text.n == text.n)
        return t;
    list->steps += text.n;
    t->text = text;
    dsn_said_find(text, &t->said);
    t->phase = dsn_phase_of(text, t->said.at);
    t->host = dsn_one_line(dsn_host_of(text), HOST_MAX, list->arena);
    t->reply =
        dsn_one_line(without_tail(reply_of(text, &t->said)), list->limits->reply, list->arena);
    return t;
}

void
dsn_explain(struct dsn_list *list, struct dsn_outcome *o, struct str text)
{
    const struct dsn_told *t;

    list->steps++;
    if (!str_trim(text).n)
        return;
    t = told_by(list, text);
    if (!o->code)
        o->code = t->said.code;
    if (t->said.status[0] && dsn_status_vague(o->status) &&
        !(dsn_status_vague(t->said.status) && o->status[0]))
        str_copy(str_c(t->said.status), o->status, sizeof(o->status));
    if (o->phase == DSN_PHASE_UNKNOWN)
        o->phase = t->phase;
    if (!o->remote_mta.n)
        o->remote_mta = t->host;
    if (!o->reply.n)
        o->reply = t->reply;
}
