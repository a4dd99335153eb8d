/*
 * lab/words.c - reads replies, patterns and opinions of lab.conf.
 *
 * Called by settings.c, to check them, and by law.c, to live by them.
 */
#include "lab/words.h"

/* "4.7.1" of that class. */
static bool
enhanced_fits(struct str s, char class)
{
    struct str rest = s;
    uint64_t v;

    if (s.n < 5 || s.n > 11 || s.p[0] != class)
        return false;
    (void)str_cut(rest, '.', &rest);
    struct str subject = str_cut(rest, '.', &rest);
    return str_u64(subject, &v) == 0 && v < 1000 && str_u64(rest, &v) == 0 && v < 1000;
}

int
lab_reply_parse(struct str text, bool good, struct lab_reply *ret)
{
    struct str rest = text, code = str_word(&rest), more = rest;
    struct str enhanced = str_word(&more);
    uint64_t v;

    if (code.n != 3 || str_u64(code, &v) < 0 || v < 200 || v > 599 || (v > 299 && v < 400) ||
        (v < 300) != good || str_has_ctl(text))
        return ERR_SYNTAX;
    *ret = (struct lab_reply){.code = (int)v, .text = str_trim(rest)};
    if (enhanced_fits(enhanced, code.p[0])) {
        str_copy(enhanced, ret->enhanced, sizeof(ret->enhanced));
        ret->text = str_trim(more);
    }
    return ret->text.n && ret->text.n <= 400 ? 0 : ERR_SYNTAX;
}

static char
folded(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

bool
lab_pattern_fits(struct str pattern, struct str text)
{
    size_t p = 0, t = 0, star = SIZE_MAX, from = 0;

    while (t < text.n) {
        if (p < pattern.n && pattern.p[p] == '*') {
            star = p++;
            from = t;
        } else if (p < pattern.n && folded(pattern.p[p]) == folded(text.p[t])) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1; /* the last star takes one byte more */
            t = ++from;
        } else {
            return false;
        }
    }
    while (p < pattern.n && pattern.p[p] == '*')
        p++;
    return p == pattern.n;
}

const char *const lab_opinion_names[LAB_OPINIONS] = {
    [LAB_UNSIGNED] = "unsigned", [LAB_CLEAR] = "clear",       [LAB_FOREIGN] = "foreign",
    [LAB_GUESSING] = "guessing", [LAB_HASTY] = "hasty",       [LAB_SHOUTING] = "shouting",
    [LAB_WORDS] = "words",       [LAB_NAMELESS] = "nameless",
};

int
lab_opinion_parse(struct str text, enum lab_opinion *ret, uint32_t *ret_points)
{
    struct str rest = text, name = str_word(&rest), frac = STR_NONE;
    struct str whole = str_cut(str_trim(rest), '.', &frac);
    uint64_t v, f = 0;

    if (str_u64(whole, &v) < 0 || v > 100 || frac.n > 2 || (frac.n && str_u64(frac, &f) < 0))
        return ERR_SYNTAX;
    for (unsigned i = 0; i < LAB_OPINIONS; i++) {
        if (str_eq(name, str_c(lab_opinion_names[i]))) {
            *ret = (enum lab_opinion)i;
            *ret_points = (uint32_t)(v * 100 + (frac.n == 1 ? f * 10 : f));
            return 0;
        }
    }
    return ERR_NOTFOUND;
}
