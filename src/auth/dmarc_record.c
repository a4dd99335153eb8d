/*
 * auth/dmarc_record.c - DMARC policy records (RFC 9989 4.7) and the names of what DMARC says.
 *
 * Called by the evaluator and by fuzzing. Views point into the record; nothing is allocated.
 */
#include "auth/dmarc.h"

const char *
dmarc_policy_name(enum dmarc_policy p)
{
    static const char *const names[] = {"none", "quarantine", "reject"};
    return names[p];
}

const char *
dmarc_result_name(enum dmarc_result r)
{
    static const char *const names[] = {"none", "pass", "fail", "temperror", "permerror"};
    return names[r];
}

const char *
dmarc_advice_name(enum dmarc_advice a)
{
    static const char *const names[] = {"accept", "defer", "hold", "refuse"};
    return names[a];
}

/* The next tag of *rest; false at the end. Without "=" the value's p is NULL. */
static bool
next_tag(struct str *rest, struct str *name, struct str *value)
{
    struct str tag;
    ssize_t eq;

    if (!rest->n)
        return false;
    tag = str_trim(str_cut(*rest, ';', rest));
    eq = str_chr(tag, '=');
    *name = eq < 0 ? tag : str_trim(str_sub(tag, 0, (size_t)eq));
    *value = eq < 0 ? STR_NONE : str_trim(str_from(tag, (size_t)eq + 1));
    return true;
}

/* Does the text begin a DMARC record? (v=DMARC1 is first and exact.) */
static bool
dmarc_is_record(struct str txt)
{
    struct str name, value;

    return next_tag(&txt, &name, &value) && str_ieq(name, STR("v")) && str_eq(value, STR("DMARC1"));
}

static enum dmarc_tag
take_policy(struct str value, enum dmarc_policy *ret)
{
    for (enum dmarc_policy p = DMARC_NONE; p <= DMARC_REJECT; p++)
        if (str_ieq(value, str_c(dmarc_policy_name(p)))) {
            *ret = p;
            return DMARC_TAG_GOOD;
        }
    return DMARC_TAG_BAD;
}

static void
take_tag(struct dmarc_record *r, struct str name, struct str value)
{
    if (str_ieq(name, STR("p")))
        r->has_p = take_policy(value, &r->p);
    else if (str_ieq(name, STR("sp")))
        r->has_sp = take_policy(value, &r->sp);
    else if (str_ieq(name, STR("np")))
        r->has_np = take_policy(value, &r->np);
    else if (str_ieq(name, STR("adkim")))
        r->strict_dkim = str_ieq(value, STR("s"));
    else if (str_ieq(name, STR("aspf")))
        r->strict_spf = str_ieq(value, STR("s"));
    else if (str_ieq(name, STR("t")))
        r->testing = str_ieq(value, STR("y"));
    else if (str_ieq(name, STR("psd")) && value.n == 1 && strchr("yYnN", value.p[0]))
        r->psd = (char)(value.p[0] | 32);
    else if (str_ieq(name, STR("rua")))
        r->rua = value;
    else if (str_ieq(name, STR("ruf")))
        r->ruf = value;
    else if (str_ieq(name, STR("fo")))
        r->fo = value;
}

int
dmarc_record_parse(struct str txt, struct dmarc_record *ret)
{
    /* What comes twice counts once, the first time. */
    static const char *const known[] = {"p", "sp",  "np",  "adkim", "aspf",
                                        "t", "psd", "rua", "ruf",   "fo"};
    struct dmarc_record r = {.psd = 'u'};
    struct str name, value;
    unsigned seen = 0;

    if (!dmarc_is_record(txt))
        return ERR_SYNTAX;
    while (next_tag(&txt, &name, &value))
        for (unsigned i = 0; value.p && i < ARRAY_LEN(known); i++)
            if (str_ieq(name, str_c(known[i])) && !(seen & 1u << i)) {
                seen |= 1u << i;
                take_tag(&r, name, value);
            }
    *ret = r;
    return 0;
}
