/*
 * mail/param.c - values with parameters.
 *
 * Called by mail/mime.c. First the raw pieces are listed as written (name, number, whether it is
 * percent-coded), then pieces of one name are put together. Where two readers may take different
 * values, the first is `value` and the second `other`.
 */
#include "mail/param.h"

#include "core/err.h"
#include "mail/charset.h"
#include "mail/transfer.h"
#include "mail/word.h"

#define PIECES_MAX 64u
#define NO_NUMBER  UINT32_MAX

struct piece {
    struct str name;
    uint32_t number; /* RFC 2231 3: name*0, name*1; NO_NUMBER: none */
    bool coded;      /* name*: %XX, and a charset in the first one */
    bool quoted;
    struct str text; /* quotes taken off */
    struct str
        alt; /* what another reader takes of it, see PARAM_ODD_BARE, _QUOTES; .p NULL: the same */
};
struct reader {
    struct str s;
    size_t at;
    struct arena *arena;
    struct params *out;
    unsigned n;
    struct piece pieces[PIECES_MAX];
};

static bool
is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* White space and comments (nesting counted, an open one ends with the value). */
static void
skip(struct reader *r)
{
    unsigned depth = 0;

    for (; r->at < r->s.n; r->at++) {
        char c = r->s.p[r->at];
        if (c == '(')
            depth++;
        else if (depth && c == '\\')
            r->at++;
        else if (depth && c == ')')
            depth--;
        else if (!depth && !is_space(c))
            return;
    }
}

/* A backslash counts if it quotes a quote or itself. What it stands before else is kept without it
 * by the RFC; those who write paths, and some readers, mean it: *ret_alt. */
static struct str
quoted(struct reader *r, struct str *ret_alt)
{
    size_t n = 0, end = r->at + 1;
    struct str rest = str_from(r->s, end);
    bool means = false;

    while (end < r->s.n && r->s.p[end] != '"')
        end += r->s.p[end] == '\\' ? 2 : 1;
    char *copy = arena_alloc(r->arena, end - r->at + 1);
    if (!copy)
        return STR_NONE;
    for (r->at++; r->at < r->s.n && r->s.p[r->at] != '"'; r->at++) {
        char c = r->s.p[r->at];
        if (c == '\r' || c == '\n')
            continue;
        if (c == '\\' && r->at + 1 < r->s.n) {
            c = r->s.p[++r->at];
            means |= c != '\\' && c != '"';
        }
        copy[n++] = c;
    }
    if (means)
        *ret_alt = str_sub(rest, 0, r->at - (size_t)(rest.p - r->s.p));
    if (r->at < r->s.n)
        r->at++;
    else
        r->out->odd |= PARAM_ODD_SYNTAX;
    return str_of(copy, n);
}

/* A value without quotes, up to ; or the end. By the RFC white space, a comment or a folded line
 * ends it; clients write names like `a (1).txt` and readers take them whole, so both are kept. */
static struct str
bare(struct reader *r, struct str *ret_alt)
{
    size_t from = r->at, strict;
    char *copy;
    size_t n = 0;

    while (r->at < r->s.n && r->s.p[r->at] != ';')
        r->at++;
    struct str raw = str_sub(r->s, from, r->at - from);
    while (raw.n && is_space(raw.p[raw.n - 1]))
        raw.n--;
    for (strict = 0; strict < raw.n && !is_space(raw.p[strict]) && raw.p[strict] != '('; strict++)
        ;
    if (strict == raw.n)
        return raw;
    *ret_alt = str_sub(raw, 0, strict);
    r->out->odd |= PARAM_ODD_BARE;
    copy = arena_alloc(r->arena, raw.n);
    for (size_t i = 0; copy && i < raw.n; i++) {
        if (raw.p[i] != '\r' && raw.p[i] != '\n')
            copy[n++] = raw.p[i];
    }
    return str_of(copy, n);
}

/* Text between the closing quote and the ; which some readers take along, without quotes. */
static void
behind_quotes(struct reader *r, struct piece *p)
{
    struct str rest;
    size_t from = r->at, n = p->text.n;
    bool comment = false;
    char *copy;

    while (r->at < r->s.n && r->s.p[r->at] != ';')
        r->at++;
    rest = str_sub(r->s, from, r->at - from);
    while (rest.n && is_space(rest.p[0]))
        rest = str_from(rest, 1);
    while (rest.n && is_space(rest.p[rest.n - 1]))
        rest.n--;
    comment = rest.n && rest.p[0] == '(';
    if (!rest.n || comment)
        return;
    r->out->odd |= PARAM_ODD_QUOTES;
    copy = arena_alloc(r->arena, n + rest.n);
    if (!copy)
        return;
    if (n)
        memcpy(copy, p->text.p, n);
    for (size_t i = 0; i < rest.n; i++)
        if (!strchr("\"\r\n", rest.p[i]))
            copy[n++] = rest.p[i];
    p->alt = str_of(copy, n);
}

/* name, name*, name*N, name*N* */
static void
name_split(struct piece *p)
{
    struct str name = p->name;

    p->number = NO_NUMBER;
    p->coded = name.n > 1 && name.p[name.n - 1] == '*';
    name.n -= p->coded;
    size_t star = name.n;
    while (star > 0 && name.p[star - 1] >= '0' && name.p[star - 1] <= '9')
        star--;
    if (star > 1 && star < name.n && name.n - star <= 4 && name.p[star - 1] == '*') {
        p->number = 0;
        for (size_t i = star; i < name.n; i++)
            p->number = p->number * 10 + (uint32_t)(name.p[i] - '0');
        name.n = star - 1;
    }
    p->name = name;
}

static struct str
lower(struct arena *arena, struct str s)
{
    struct str copy = arena_str(arena, s);

    if (copy.p)
        str_lower((char *)(uintptr_t)copy.p, copy.n);
    return copy;
}

/* One parameter; false at the end. */
static bool
next_piece(struct reader *r)
{
    struct piece p = {.number = NO_NUMBER};
    size_t from;

    while (r->at < r->s.n && (skip(r), r->at < r->s.n) && r->s.p[r->at] == ';')
        r->at++;
    skip(r);
    if (r->at >= r->s.n)
        return false;
    if (r->n == PIECES_MAX) {
        r->out->odd |= PARAM_ODD_MANY;
        return false;
    }
    from = r->at;
    while (r->at < r->s.n && !is_space(r->s.p[r->at]) && !strchr("=;\"(", r->s.p[r->at]))
        r->at++;
    p.name = lower(r->arena, str_sub(r->s, from, r->at - from));
    skip(r);
    if (!p.name.n || r->at >= r->s.n || r->s.p[r->at] != '=') {
        r->out->odd |= PARAM_ODD_SYNTAX;
        while (r->at < r->s.n && r->s.p[r->at] != ';')
            r->at++;
        return true;
    }
    r->at++;
    skip(r);
    p.quoted = r->at < r->s.n && r->s.p[r->at] == '"';
    p.text = p.quoted ? quoted(r, &p.alt) : bare(r, &p.alt);
    if (p.quoted && p.alt.p)
        r->out->odd |= PARAM_ODD_QUOTES;
    if (p.quoted)
        behind_quotes(r, &p);
    name_split(&p);
    r->pieces[r->n++] = p;
    return true;
}

/* ---- putting together --------------------------------------------------------------------------
 */

static void
put_coded(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        int high = s.p[i] == '%' && i + 2 < s.n ? transfer_hex(s.p[i + 1]) : -1;
        int low = high >= 0 ? transfer_hex(s.p[i + 2]) : -1;
        if (low >= 0) {
            buf_char(out, (char)(high << 4 | low));
            i += 2;
        } else {
            buf_char(out, s.p[i]);
        }
    }
}

/* charset'language'text */
static struct str
take_charset(struct str *text)
{
    struct str charset = STR_NONE;
    const char *one = memchr(text->p, '\'', text->n);
    const char *two = one ? memchr(one + 1, '\'', text->n - (size_t)(one + 1 - text->p)) : NULL;

    if (!two)
        return charset;
    charset = str_of(text->p, (size_t)(one - text->p));
    *text = str_sub(*text, (size_t)(two + 1 - text->p), text->n);
    return charset;
}

/* The three ways to write one parameter. */
enum form { FORM_PLAIN, FORM_CODED, FORM_NUMBERED, FORM_MAX_ };

static enum form
form_of(const struct piece *p)
{
    return p->number != NO_NUMBER ? FORM_NUMBERED : p->coded ? FORM_CODED : FORM_PLAIN;
}

/* Of what comes twice readers take one of these; what stands between them nobody sees. */
enum which { WHICH_FIRST, WHICH_LAST };

/* The piece of that name and form, and of that number if it is a numbered one. */
static const struct piece *
piece_find(const struct reader *r, struct str name, enum form form, uint32_t number,
           enum which which)
{
    for (unsigned i = 0; i < r->n; i++) {
        const struct piece *p = &r->pieces[which == WHICH_LAST ? r->n - 1 - i : i];
        if (str_eq(p->name, name) && form_of(p) == form &&
            (form != FORM_NUMBERED || p->number == number))
            return p;
    }
    return NULL;
}

static void
to_utf8(struct reader *r, struct str charset, bool coded, struct str bytes, struct buf *text)
{
    struct charset c;

    if (coded) {
        if (charset_begin(&c, charset) < 0)
            r->out->odd |= PARAM_ODD_CHARSET;
        charset_feed(&c, bytes.p, bytes.n, text);
        charset_end(&c, text);
        r->out->odd |= c.bad ? PARAM_ODD_CHARSET : 0;
    } else if (word_present(bytes)) {
        r->out->odd |= PARAM_ODD_WORDS;
        word_decode(bytes, text);
    } else if (charset_put_utf8(text, bytes)) {
        r->out->odd |= PARAM_ODD_CHARSET;
    }
}

/* The lowest number from that one on that a piece of the name has; NO_NUMBER: none. */
static uint32_t
number_from(const struct reader *r, struct str name, uint32_t from)
{
    uint32_t lowest = NO_NUMBER;

    for (unsigned i = 0; i < r->n; i++) {
        uint32_t number = r->pieces[i].number;
        if (number >= from && number < lowest && str_eq(r->pieces[i].name, name))
            lowest = number;
    }
    return lowest;
}

/* The value in that form: one piece, or the numbered ones from 0 on; `over_gaps`: all of these,
 * which is what readers see that do not mind a missing one. */
static struct str
join(struct reader *r, struct str name, enum form form, enum which which, bool over_gaps)
{
    CLEANUP(buf_done) struct buf bytes, text;
    struct str charset = STR_NONE;
    const struct piece *p;
    uint32_t number = over_gaps ? number_from(r, name, 0) : 0;
    bool coded = false, first = true;

    buf_init(&bytes, PARAM_TEXT_MAX);
    buf_init(&text, 4 * PARAM_TEXT_MAX);
    while ((p = piece_find(r, name, form, number, which))) {
        struct str part = p->text;
        if (p->coded && first)
            charset = take_charset(&part);
        coded |= p->coded;
        first = false;
        if (part.n > PARAM_TEXT_MAX - bytes.n) {
            part.n = PARAM_TEXT_MAX - bytes.n;
            r->out->odd |= PARAM_ODD_LONG;
        }
        if (p->coded)
            put_coded(&bytes, part);
        else
            buf_str(&bytes, part);
        if (form != FORM_NUMBERED)
            break;
        number = over_gaps ? number_from(r, name, number + 1) : number + 1;
    }
    if (str_eq(name, STR("boundary"))) /* nobody decodes what is compared */
        buf_str(&text, buf_view(&bytes));
    else
        to_utf8(r, charset, coded, buf_view(&bytes), &text);
    return arena_str(r->arena, text.n ? buf_view(&text) : STR(""));
}

/* Forms that the name comes in, as bits. */
static unsigned
forms_of(const struct reader *r, struct str name)
{
    unsigned forms = 0;

    for (unsigned i = 0; i < r->n; i++) {
        if (str_eq(r->pieces[i].name, name))
            forms |= 1u << form_of(&r->pieces[i]);
    }
    return forms;
}

/* Is a number missing, below the highest that there is? */
static bool
has_gap(const struct reader *r, struct str name)
{
    uint32_t want = 0, is;

    while ((is = number_from(r, name, want)) == want)
        want++;
    return is != NO_NUMBER;
}

/* Does a piece of that name and form come twice with different texts? */
static bool
is_repeated(const struct reader *r, struct str name, enum form form)
{
    for (unsigned i = 0; i < r->n; i++) {
        const struct piece *p = &r->pieces[i];
        if (str_eq(p->name, name) && form_of(p) == form &&
            !str_eq(p->text, piece_find(r, name, form, p->number, WHICH_FIRST)->text))
            return true;
    }
    return false;
}

/* The value that a reader of that form may have instead of `taken`; .p NULL: none. */
static struct str
other_value(struct reader *r, struct str name, enum form form, struct str taken)
{
    struct str value = join(r, name, form, WHICH_FIRST, false);

    if (!str_eq(value, taken))
        return value;
    if (!is_repeated(r, name, form))
        return STR_NONE;
    value = join(r, name, form, WHICH_LAST, false);
    return str_eq(value, taken) ? STR_NONE : value;
}

/* What another reader takes of the text of a value, decoded as that is. */
static struct str
other_text(struct reader *r, struct str name)
{
    CLEANUP(buf_done) struct buf bytes, text;
    struct str alt = STR_NONE, charset = STR_NONE;
    bool coded = false;

    for (unsigned i = 0; i < r->n && !alt.p; i++) {
        if (!str_eq(r->pieces[i].name, name))
            continue;
        alt = r->pieces[i].alt;
        coded = r->pieces[i].coded;
    }
    buf_init(&bytes, PARAM_TEXT_MAX);
    buf_init(&text, 4 * PARAM_TEXT_MAX);
    if (!alt.p)
        return STR_NONE;
    alt.n = MIN(alt.n, (size_t)PARAM_TEXT_MAX);
    if (coded) {
        charset = take_charset(&alt);
        put_coded(&bytes, alt);
    } else {
        buf_str(&bytes, alt);
    }
    if (str_eq(name, STR("boundary")))
        buf_str(&text, buf_view(&bytes));
    else
        to_utf8(r, charset, coded, buf_view(&bytes), &text);
    return arena_str(r->arena, text.n ? buf_view(&text) : STR(""));
}

/* Without its first piece a value is what all of them are: else an attachment had no name. */
static void
take_over_gaps(struct reader *r, struct param *q)
{
    struct str all = join(r, q->name, FORM_NUMBERED, WHICH_FIRST, true);

    r->out->odd |= PARAM_ODD_GAP;
    if (str_eq(all, q->value))
        return;
    if (q->value.n) {
        q->other = all;
    } else {
        q->other = q->value;
        q->value = all;
    }
}

/* RFC 2231 readers take the coded or numbered form; old ones know the plain one alone. */
static void
gather_one(struct reader *r, struct param *q)
{
    static const enum form order[] = {FORM_CODED, FORM_NUMBERED, FORM_PLAIN};
    unsigned forms = forms_of(r, q->name);
    bool taken = false;

    q->other = other_text(r, q->name);
    for (unsigned i = 0; i < ARRAY_LEN(order); i++) {
        if (!(forms & 1u << order[i]))
            continue;
        if (is_repeated(r, q->name, order[i]))
            r->out->odd |= PARAM_ODD_REPEATED;
        if (taken)
            r->out->odd |= PARAM_ODD_BOTH;
        else
            q->value = join(r, q->name, order[i], WHICH_FIRST, false);
        taken = true;
        struct str other = other_value(r, q->name, order[i], q->value);
        if (other.p)
            q->other = other;
    }
    if (has_gap(r, q->name))
        take_over_gaps(r, q);
}

static void
gather(struct reader *r)
{
    for (unsigned i = 0; i < r->n; i++) {
        if (params_get(r->out, r->pieces[i].name))
            continue;
        if (r->out->n == PARAMS_MAX) {
            r->out->odd |= PARAM_ODD_MANY;
            return;
        }
        struct param *q = &r->out->items[r->out->n++];
        *q = (struct param){.name = r->pieces[i].name};
        gather_one(r, q);
    }
}

/* name= at the beginning of s */
static bool
is_param(struct str s)
{
    size_t i = 0;

    while (i < s.n && !is_space(s.p[i]) && !strchr("=;\"/(", s.p[i]))
        i++;
    return i > 0 && i < s.n && s.p[i] == '=';
}

int
params_read(struct params *ret, struct str value, struct arena *arena)
{
    __attribute__((uninitialized)) struct reader room; /* its pieces are read as far as n says */
    struct reader *r = &room;
    char *dst = arena_alloc(arena, value.n + 1);
    size_t n = 0;

    *ret = (struct params){.value = STR("")};
    if (!dst)
        return ERR_NOMEM;
    r->s = value;
    r->at = 0;
    r->arena = arena;
    r->out = ret;
    r->n = 0;
    while (r->at < value.n && value.p[r->at] != ';' && value.p[r->at] != '=') {
        size_t before = r->at;
        skip(r);
        if (n && r->at > before && is_param(str_sub(value, r->at, value.n))) {
            ret->odd |= PARAM_ODD_SYNTAX; /* "multipart/mixed boundary=x": the ; was forgotten */
            break;
        }
        if (r->at < value.n && value.p[r->at] != ';' && value.p[r->at] != '=')
            dst[n++] = value.p[r->at++];
    }
    if (r->at < value.n && value.p[r->at] == '=') { /* no value: parameters at once */
        r->at = 0;
        n = 0;
    }
    str_lower(dst, n);
    ret->value = str_of(dst, n);
    while (next_piece(r))
        ;
    if (!r->n)
        return 0;
    ret->items = ARENA_ARRAY(arena, struct param, MIN(r->n, PARAMS_MAX));
    if (!ret->items)
        return ERR_NOMEM;
    gather(r);
    return 0;
}

const struct param *
params_get(const struct params *p, struct str name)
{
    for (unsigned i = 0; i < p->n; i++) {
        if (str_eq(p->items[i].name, name))
            return &p->items[i];
    }
    return NULL;
}

struct str
params_find(const struct params *p, struct str name)
{
    const struct param *found = params_get(p, name);

    return found ? found->value : STR_NONE;
}
