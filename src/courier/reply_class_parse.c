/*
 * courier/reply_class_parse.c - reads the data form of docs/formats/replies.md.
 *
 * Called at the start, at a reload and by `gapura replies`. Reads bytes, no files; goes on after
 * an error, so that one look shows all of them.
 */
#include <stdlib.h>
#include <string.h>

#include "courier/reply_class_inner.h"

#define LETS_MAX     64u
#define EXPANDED_MAX 1024u /* bytes of one pattern without its alternatives */
#define VARIANTS_MAX 20000u
#define ERRORS_MAX   100u
#define DATA_MAX     (4u << 20)

struct let {
    struct str name, text;
};
struct parse {
    struct reply_classes *s;
    struct buf *errors;
    uint32_t line, nerrors, nlets;
    struct let lets[LETS_MAX];
    struct str tag;
    uint32_t provider;
    bool in_class, known, inner;
    uint8_t class, tier;
    const struct reply_override *override;
    uint32_t variants;
};

static void
wrong(struct parse *p, const char *text, struct str what)
{
    if (p->nerrors++ >= ERRORS_MAX)
        return;
    buf_fmt(p->errors, "line %u: %s", p->line, text);
    if (what.n > 0)
        buf_fmt(p->errors, ": \"%.*s\"", STR_ARG(what));
    buf_char(p->errors, '\n');
}

/* `scope:25%:30m`, `scope:2h`: whom, how much, for how long. */
static bool
parse_whom(struct str value, uint8_t *scope, uint8_t *percent, uint32_t *seconds)
{
    struct str rest, part = str_cut(value, ':', &rest);
    uint64_t n;

    for (*scope = 0; *scope < REPLY_SCOPE_COUNT; (*scope)++) {
        if (str_eq(str_c(reply_scope_name(*scope)), part))
            break;
    }
    if (*scope == REPLY_SCOPE_COUNT)
        return false;
    if (*scope == REPLY_SCOPE_NONE)
        return rest.n == 0;
    if (percent) {
        part = str_cut(rest, ':', &rest);
        if (part.n < 2 || part.p[part.n - 1] != '%' ||
            str_u64(str_sub(part, 0, part.n - 1), &n) < 0 || n > 100)
            return false;
        *percent = (uint8_t)n;
    }
    if (str_duration(rest, &n) < 0)
        return false;
    *seconds = (uint32_t)MIN(n / 1000000000u, (uint64_t)REPLY_FOREVER - 1);
    return true;
}

static bool
parse_retry(struct str value, struct reply_advice *a)
{
    uint64_t ns;

    if (str_istarts(value, STR("later:")) && str_duration(str_from(value, 6), &ns) == 0) {
        a->retry = REPLY_RETRY_LATER;
        a->retry_s = (uint32_t)MIN(ns / 1000000000u, (uint64_t)REPLY_FOREVER - 1);
        return true;
    }
    a->retry_s = 0;
    a->retry = str_eq(value, STR("no")) ? REPLY_RETRY_NO : REPLY_RETRY_LAW;
    return str_eq(value, STR("no")) || str_eq(value, STR("law"));
}

static bool
parse_option(struct str option, struct reply_override *o)
{
    struct str value, key = str_cut(option, '=', &value);
    struct reply_advice *a = &o->advice;
    uint64_t ns;

    if (str_eq(key, STR("retry"))) {
        o->sets |= REPLY_SETS_RETRY;
        return parse_retry(value, a);
    }
    if (str_eq(key, STR("slow"))) {
        o->sets |= REPLY_SETS_SLOW;
        a->slow_percent = 100;
        return parse_whom(value, &a->slow, &a->slow_percent, &a->slow_s);
    }
    if (str_eq(key, STR("hold"))) {
        o->sets |= REPLY_SETS_HOLD;
        return parse_whom(value, &a->hold, NULL, &a->hold_s);
    }
    if (str_eq(key, STR("suppress"))) {
        o->sets |= REPLY_SETS_SUPPRESS;
        if (str_duration(value, &ns) < 0)
            return false;
        a->suppress_s = (uint32_t)MIN(ns / 1000000000u, (uint64_t)REPLY_FOREVER);
        return true;
    }
    if (str_eq(key, STR("scope"))) {
        o->sets |= REPLY_SETS_SCOPE;
        for (unsigned i = 0; i < REPLY_SCOPE_COUNT; i++) {
            o->scope = (uint8_t)i;
            if (str_eq(str_c(reply_scope_name(o->scope)), value))
                return true;
        }
    }
    return false;
}

/* class NAME [weak|strong|anywhere] [key=value...] */
static void
parse_class(struct parse *p, struct str rest)
{
    struct str name = str_word(&rest);
    struct reply_override o = {0}, *kept;
    int class = reply_law_class(name);

    p->in_class = true;
    p->known = p->provider != 0;
    p->override = NULL;
    p->tier = p->provider ? REPLY_TIER_PROVIDER : REPLY_TIER_TEXT;
    p->class = class < 0 ? REPLY_CLASS_PERMANENT : (uint8_t) class;
    if (class < 0)
        wrong(p, "there is no such class", name);
    else if (!reply_law_is_said(p->class))
        wrong(p, "no words of a server say that: it is known by what a mail is", name);
    for (struct str w = str_word(&rest); w.n > 0; w = str_word(&rest)) {
        if (str_eq(w, STR("weak")))
            p->tier = p->provider ? REPLY_TIER_TEXT : REPLY_TIER_TEXT_WEAK;
        else if (str_eq(w, STR("strong")))
            p->tier = p->provider ? REPLY_TIER_PROVIDER : REPLY_TIER_TEXT_STRONG;
        else if (str_eq(w, STR("anywhere")))
            p->known = false;
        else if (!parse_option(w, &o))
            wrong(p,
                  "not understood; known are weak, strong, anywhere, scope=, retry=, slow=, hold= "
                  "and suppress=",
                  w);
    }
    if (o.sets == 0)
        return;
    kept = arena_copy(&p->s->arena, &o, sizeof o);
    p->override = kept;
}

static void
parse_provider(struct parse *p, struct str rest)
{
    struct str name = str_word(&rest), word = str_word(&rest);

    p->in_class = false;
    if (name.n == 0 || (word.n && !str_eq(word, STR("host")))) {
        wrong(p, "a provider is: provider NAME [host SUFFIX...]", word);
        return;
    }
    if (reply_set_provider(p->s, name, &p->provider) < 0) {
        wrong(p, "too many providers", name);
        return;
    }
    p->tag = p->s->providers[p->provider].name;
    for (word = str_word(&rest); word.n > 0; word = str_word(&rest))
        (void)reply_set_provider_host(p->s, p->provider, word);
}

static void
parse_let(struct parse *p, struct str rest)
{
    struct str text, name = str_trim(str_cut(rest, '=', &text));

    text = str_trim(text);
    if (name.n == 0 || text.n == 0)
        wrong(p, "a shorthand is: let NAME = one|other", rest);
    else if (p->nlets == LETS_MAX)
        wrong(p, "too many shorthands", name);
    else
        p->lets[p->nlets++] = (struct let){.name = name, .text = text};
}

static void
add_variant(struct parse *p, struct str text, uint32_t rule)
{
    struct why why = {""};

    if (++p->variants > VARIANTS_MAX) {
        if (p->variants == VARIANTS_MAX + 1)
            wrong(p, "the alternatives make too many patterns of one line", STR_NONE);
        return;
    }
    if (reply_set_add(p->s, p->tag, text, rule, &why) < 0)
        wrong(p, why.text, text);
}

struct expansion {
    char text[EXPANDED_MAX];
    size_t n;
    uint32_t rule;
    unsigned depth;
};

static void expand(struct parse *p, struct expansion *x, struct str rest);

/* Each of `a|b|c`, with the rest behind it. */
static void
expand_alternatives(struct parse *p, struct expansion *x, struct str all, struct str rest)
{
    char joined[EXPANDED_MAX];

    for (;;) {
        struct str more, one = str_cut(all, '|', &more);
        bool last = one.n == all.n;
        if (one.n + rest.n > sizeof joined) {
            wrong(p, "the pattern is too long", STR_NONE);
            return;
        }
        memcpy(joined, one.p, one.n);
        memcpy(joined + one.n, rest.p, rest.n);
        expand(p, x, str_of(joined, one.n + rest.n));
        if (last)
            return;
        all = more;
    }
}

static struct str
let_text(const struct parse *p, struct str name)
{
    for (uint32_t i = 0; i < p->nlets; i++) {
        if (str_eq(p->lets[i].name, name))
            return p->lets[i].text;
    }
    return STR_NONE;
}

static void
expand(struct parse *p, struct expansion *x, struct str rest)
{
    size_t n = x->n;
    ssize_t end;

    while (rest.n > 0 && x->n < sizeof x->text) {
        char c = rest.p[0];
        struct str inner;
        if (c != '(' && c != '<') {
            x->text[x->n++] = c;
            rest = str_from(rest, 1);
            continue;
        }
        end = str_chr(rest, c == '(' ? ')' : '>');
        inner = end < 0 ? STR_NONE : str_sub(rest, 1, (size_t)end - 1);
        if (end >= 0 && c == '<')
            inner = let_text(p, inner);
        if (end < 0 || ++x->depth > 12)
            wrong(p, "a bracket is open to the end, or there are too many", rest);
        else if (c == '<' && inner.n == 0)
            wrong(p, "there is no shorthand of that name", rest);
        else
            expand_alternatives(p, x, inner, str_from(rest, (size_t)end + 1));
        x->depth--;
        x->n = n;
        return;
    }
    add_variant(p, str_of(x->text, x->n), x->rule);
    x->n = n;
}

/* "5.7.26", "x.7.*", "x.7.606-649" */
static bool
cond_enhanced(struct str s, struct reply_rule *r)
{
    struct str part[3], rest = s;
    uint64_t n[3], to;

    for (unsigned i = 0; i < 3; i++)
        part[i] = str_cut(rest, '.', &rest);
    if (rest.n || part[2].n == 0)
        return false;
    for (unsigned i = 0; i < 3; i++) {
        struct str upto = STR_NONE;
        if (str_eq(part[i], STR("*")) || (i == 0 && str_eq(part[i], STR("x"))))
            continue;
        if (i == 2)
            part[2] = str_cut(part[2], '-', &upto);
        if (str_u64(part[i], &n[i]) < 0 || n[i] > 999)
            return false;
        r->enhanced[i] = (uint16_t)n[i];
        to = n[i];
        if (upto.n && (str_u64(upto, &to) < 0 || to > 999))
            return false;
        if (i == 2)
            r->detail_to = (uint16_t)to;
    }
    return true;
}

static bool
cond_code(struct str s, struct reply_rule *r)
{
    uint64_t n;

    if (s.n == 3 && (s.p[0] == '4' || s.p[0] == '5') && str_eq(str_from(s, 1), STR("yz"))) {
        r->code_from = (uint16_t)((s.p[0] - '0') * 100);
        r->code_to = (uint16_t)(r->code_from + 99);
        return true;
    }
    if (str_u64(s, &n) < 0 || n < 200 || n > 599)
        return false;
    r->code_from = r->code_to = (uint16_t)n;
    return true;
}

static bool
cond_phase(struct str s, struct reply_rule *r)
{
    static const char *const names[REPLY_PHASE_COUNT] = {"unknown", "connect", "mail",
                                                         "rcpt",    "data",    "dot"};

    for (unsigned i = 0; i < REPLY_PHASE_COUNT; i++) {
        if (!str_eq(s, str_c(names[i])))
            continue;
        r->phases = (uint8_t)((r->phases == UINT8_MAX ? 0u : r->phases) | 1u << i);
        return true;
    }
    return false;
}

/* `[550 x.7.1 rcpt]` before the text; the rest of the line. */
static struct str
parse_conditions(struct parse *p, struct str line, struct reply_rule *r)
{
    ssize_t end = line.n && line.p[0] == '[' ? str_chr(line, ']') : -1;
    struct str all;

    if (end < 0)
        return line;
    all = str_sub(line, 1, (size_t)end - 1);
    for (struct str w = str_word(&all); w.n > 0; w = str_word(&all)) {
        if (!cond_code(w, r) && !cond_enhanced(w, r) && !cond_phase(w, r))
            wrong(p, "not a code, an enhanced code or a phase", w);
    }
    return str_trim(str_from(line, (size_t)end + 1));
}

static uint8_t
bare_tier(const struct parse *p, const struct reply_rule *r)
{
    if (p->tier == REPLY_TIER_PROVIDER)
        return REPLY_TIER_PROVIDER;
    if (r->enhanced[1] != REPLY_ENH_ANY || r->enhanced[0] != REPLY_ENH_ANY)
        return p->tier == REPLY_TIER_TEXT_WEAK ? REPLY_TIER_ENHANCED_WEAK : REPLY_TIER_ENHANCED;
    return r->code_from ? REPLY_TIER_CODE : REPLY_TIER_PHASE;
}

static void
parse_pattern(struct parse *p, struct str line)
{
    struct reply_rule r = {.class = p->class,
                           .tier = p->tier,
                           .phases = UINT8_MAX,
                           .provider = (uint16_t)p->provider,
                           .enhanced = {REPLY_ENH_ANY, REPLY_ENH_ANY, REPLY_ENH_ANY},
                           .known = p->known,
                           .line = p->line,
                           .override = p->override};
    struct expansion x = {.n = 0};
    struct str text;

    if (!p->in_class) {
        wrong(p, "a pattern needs a class line before it", line);
        return;
    }
    text = parse_conditions(p, line, &r);
    r.bare = text.n == 0;
    if (r.bare)
        r.tier = bare_tier(p, &r);
    r.name = arena_fmt(&p->s->arena, "%.*s: %.*s", STR_ARG(p->tag), STR_ARG(line));
    if (!r.name.p || reply_set_rule(p->s, &r, &x.rule) < 0) {
        wrong(p, "too many patterns", STR_NONE);
        return;
    }
    p->variants = 0;
    if (r.bare)
        reply_set_bare(p->s, x.rule);
    else
        expand(p, &x, text);
}

static void parse_default(struct parse *p);

/* sign PHRASE: who says this is that provider. */
static void
parse_sign(struct parse *p, struct str rest)
{
    struct reply_rule r = {.class = REPLY_CLASS_COUNT, .provider = (uint16_t)p->provider};
    struct expansion x = {.n = 0};

    if (p->provider == 0)
        wrong(p, "a sign belongs under a provider", rest);
    else if (reply_set_rule(p->s, &r, &x.rule) == 0)
        expand(p, &x, rest);
}

static void
parse_line(struct parse *p, struct str line)
{
    struct str rest = line, word;

    if (line.n > 0 && line.p[line.n - 1] == '\r')
        line.n--;
    rest = line;
    if (line.n == 0 || line.p[0] == '#' || str_trim(line).n == 0)
        return;
    if (line.p[0] == ' ' || line.p[0] == '\t') {
        parse_pattern(p, str_trim(line));
        return;
    }
    word = str_word(&rest);
    rest = str_trim(rest);
    if (str_eq(word, STR("class"))) {
        parse_class(p, rest);
    } else if (str_eq(word, STR("provider"))) {
        parse_provider(p, rest);
    } else if (str_eq(word, STR("language"))) {
        p->provider = 0;
        p->in_class = false;
        p->tag = arena_str(&p->s->arena, rest);
    } else if (str_eq(word, STR("sign"))) {
        parse_sign(p, rest);
    } else if (str_eq(word, STR("let"))) {
        parse_let(p, rest);
    } else if (str_eq(word, STR("default"))) {
        parse_default(p);
    } else {
        wrong(p,
              "a line begins with class, provider, language, sign, let, default, or with space "
              "before a "
              "pattern",
              word);
    }
}

static void
parse_text(struct parse *p, struct str data)
{
    uint32_t line = p->line;

    p->line = 0;
    if (!str_is_utf8(data))
        wrong(p, "the file is not UTF-8", STR_NONE);
    while (data.n > 0) {
        p->line++;
        parse_line(p, str_cut(data, '\n', &data));
    }
    p->line = line;
    p->provider = 0;
    p->in_class = false;
}

/* default: the files that are compiled in stand here. */
static void
parse_default(struct parse *p)
{
    if (p->inner) {
        wrong(p, "default stands in a file of yours, once", STR_NONE);
        return;
    }
    p->inner = true;
    for (size_t i = 0; i < reply_nfiles; i++)
        parse_text(p, str_c(reply_files[i].text));
}

/* Compiles; every error is a line of `errors` ("line 3: ..."). */
static int
reply_set_parse(struct reply_classes *s, struct str data, struct buf *errors)
{
    struct parse p = {.s = s, .errors = errors, .tag = STR("all")};

    if (data.n > DATA_MAX)
        wrong(&p, "the file is too large", STR_NONE);
    else
        parse_text(&p, data);
    if (p.nerrors > ERRORS_MAX)
        buf_fmt(errors, "and %u more\n", p.nerrors - ERRORS_MAX);
    return p.nerrors ? ERR_SYNTAX : 0;
}

int
reply_classes_compile(struct reply_classes **ret, struct str data, struct buf *errors)
{
    struct reply_classes *s;
    int err = reply_set_create(&s);

    if (err < 0) {
        buf_c(errors, "no memory\n");
        return err;
    }
    err = reply_set_parse(s, data.n ? data : STR("default\n"), errors);
    if (err < 0) {
        reply_classes_free(s);
        return err;
    }
    err = reply_set_finish(s);
    if (err < 0) {
        buf_c(errors, "no memory\n");
        reply_classes_free(s);
        return err;
    }
    *ret = s;
    return 0;
}

int
reply_classes_load(struct reply_classes **ret, struct str data, struct why *why)
{
    struct buf errors CLEANUP(buf_done);
    struct str first, rest;
    size_t more = 0;
    int err;

    buf_init(&errors, 64 << 10);
    err = reply_classes_compile(ret, data, &errors);
    if (err == 0)
        return 0;
    first = str_cut(buf_view(&errors), '\n', &rest);
    while (rest.n > 0) {
        (void)str_cut(rest, '\n', &rest);
        more++;
    }
    if (more)
        return why_set(why, err, "%.*s (and %zu more)", STR_ARG(str_sub(first, 0, 200)), more);
    return why_set(why, err, "%.*s", STR_ARG(str_sub(first, 0, 220)));
}
