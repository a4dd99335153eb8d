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

static struct str
quoted(struct reader *r)
{
    char *copy = arena_alloc(r->arena, r->s.n - r->at + 1);
    size_t n = 0;

    if (!copy)
        return STR_NONE;
    for (r->at++; r->at < r->s.n && r->s.p[r->at] != '"'; r->at++) {
        char c = r->s.p[r->at];
        if (c == '\r' || c == '\n')
            continue;
        if (c == '\\' && r->at + 1 < r->s.n)
            c = r->s.p[++r->at];
        copy[n++] = c;
    }
    if (r->at < r->s.n)
        r->at++;
    else
        r->out->odd |= PARAM_ODD_SYNTAX;
    return str_of(copy, n);
}

/* Up to ; or the end: clients leave spaces unquoted. White space and comments behind it go. */
static struct str
bare(struct reader *r)
{
    size_t from = r->at, end;

    while (r->at < r->s.n && r->s.p[r->at] != ';')
        r->at++;
    end = r->at;
    for (size_t i = from; i < end; i++) { /* a comment behind the value, or a folded line */
        if ((r->s.p[i] == '(' && i > from && is_space(r->s.p[i - 1])) || r->s.p[i] == '\n')
            end = i;
    }
    while (end > from && is_space(r->s.p[end - 1]))
        end--;
    return str_sub(r->s, from, end - from);
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
    p.text = p.quoted ? quoted(r) : bare(r);
    while (r->at < r->s.n && r->s.p[r->at] != ';') { /* behind a quoted value */
        if (!is_space(r->s.p[r->at]) && r->s.p[r->at] != '(')
            r->out->odd |= PARAM_ODD_SYNTAX;
        r->at++;
    }
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

/* All pieces with that name and numbers 0, 1, ...; or the one without a number. */
static struct str
join(struct reader *r, struct str name, bool numbered, bool coded)
{
    CLEANUP(buf_done) struct buf bytes, text;
    struct str charset = STR_NONE;
    bool any_coded = false;
    uint32_t want = 0;

    buf_init(&bytes, PARAM_TEXT_MAX);
    buf_init(&text, 4 * PARAM_TEXT_MAX);
    for (unsigned i = 0; i < r->n; i++) {
        const struct piece *p = &r->pieces[i];
        if (!str_eq(p->name, name) || (p->number == NO_NUMBER) == numbered ||
            (numbered ? p->number != want : p->coded != coded))
            continue;
        struct str part = p->text;
        if (p->coded && want == 0)
            charset = take_charset(&part);
        any_coded |= p->coded;
        if (p->coded)
            put_coded(&bytes, part);
        else
            buf_str(&bytes, part);
        want++;
        if (!numbered)
            break;
        i = UINT32_MAX; /* from the front: pieces come in any order */
    }
    if (any_coded) {
        struct charset c;
        if (charset_begin(&c, charset) < 0)
            r->out->odd |= PARAM_ODD_CHARSET;
        charset_feed(&c, bytes.p, bytes.n, &text);
        charset_end(&c, &text);
        r->out->odd |= c.bad ? PARAM_ODD_CHARSET : 0;
    } else if (word_present(buf_view(&bytes))) {
        r->out->odd |= PARAM_ODD_WORDS;
        word_decode(buf_view(&bytes), &text);
    } else if (charset_put_utf8(&text, buf_view(&bytes))) {
        r->out->odd |= PARAM_ODD_CHARSET;
    }
    return arena_str(r->arena, text.n ? buf_view(&text) : STR(""));
}

static void
look_at(struct reader *r, struct str name, bool *plain, bool *coded, bool *numbered)
{
    uint32_t highest = 0, count = 0;

    *plain = *coded = *numbered = false;
    for (unsigned i = 0; i < r->n; i++) {
        const struct piece *p = &r->pieces[i];
        if (!str_eq(p->name, name))
            continue;
        *plain |= p->number == NO_NUMBER && !p->coded;
        *coded |= p->number == NO_NUMBER && p->coded;
        if (p->number != NO_NUMBER) {
            *numbered = true;
            highest = MAX(highest, p->number + 1);
            count++;
        }
    }
    if (*numbered && count < highest)
        r->out->odd |= PARAM_ODD_GAP;
}

/* The second plain value of a name, if it says something else. */
static struct str
repeated(struct reader *r, struct str name)
{
    const struct piece *first = NULL;

    for (unsigned i = 0; i < r->n; i++) {
        const struct piece *p = &r->pieces[i];
        if (!str_eq(p->name, name) || p->number != NO_NUMBER || p->coded)
            continue;
        if (first && !str_eq(first->text, p->text)) {
            r->out->odd |= PARAM_ODD_REPEATED;
            return p->text;
        }
        first = first ? first : p;
    }
    return STR_NONE;
}

static void
gather(struct reader *r)
{
    for (unsigned i = 0; i < r->n; i++) {
        struct str name = r->pieces[i].name;
        bool plain, coded, numbered;
        if (params_get(r->out, name))
            continue;
        if (r->out->n == PARAMS_MAX) {
            r->out->odd |= PARAM_ODD_MANY;
            return;
        }
        look_at(r, name, &plain, &coded, &numbered);
        struct param *q = &r->out->items[r->out->n++];
        *q = (struct param){.name = name};
        /* RFC 2231 readers take the coded form; old ones know the plain one alone. */
        if (coded || numbered)
            q->value = join(r, name, !coded, coded);
        else
            q->value = join(r, name, false, false);
        q->other = repeated(r, name);
        if (plain && (coded || numbered)) {
            struct str old = join(r, name, false, false);
            r->out->odd |= PARAM_ODD_BOTH;
            if (!str_eq(old, q->value))
                q->other = old;
        }
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
