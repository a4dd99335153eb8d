/*
 * mail/report_xml_value.c - the table of elements of an aggregate report, and their texts as
 * values.
 *
 * Called by mail/report_xml.c. Knows nothing of Expat but the line that it stands in.
 */
#include "core/str.h"
#include "mail/report_xml_inner.h"

#define NODE(in, name, node)                                                                       \
    {                                                                                              \
        in, name, H_NODE, node, 0, 0                                                               \
    }
#define ALL(in, name, how, f)                                                                      \
    {                                                                                              \
        in, name, how, 0, 0, offsetof(struct report_dmarc, f)                                      \
    }
#define MUST(in, name, how, f, s)                                                                  \
    {                                                                                              \
        in, name, how, 0, s, offsetof(struct report_dmarc, f)                                      \
    }
#define ROW(in, name, how, f, s)                                                                   \
    {                                                                                              \
        in, name, how, 0, s, offsetof(struct report_row, f)                                        \
    }
#define AUTH(in, name, how, f)                                                                     \
    {                                                                                              \
        in, name, how, 0, 0, offsetof(struct report_auth, f)                                       \
    }
#define WHY(name, how, f)                                                                          \
    {                                                                                              \
        N_REASON, name, how, 0, 0, offsetof(struct report_reason, f)                               \
    }

static const struct report_leaf table[] = {
    NODE(N_OUTSIDE, "feedback", N_FEEDBACK),
    ALL(N_FEEDBACK, "version", H_TEXT, version),
    NODE(N_FEEDBACK, "report_metadata", N_META),
    ALL(N_META, "org_name", H_WORDS, org),
    ALL(N_META, "email", H_TEXT, email),
    ALL(N_META, "extra_contact_info", H_WORDS, contact),
    MUST(N_META, "report_id", H_TEXT, id, SEEN_ID),
    ALL(N_META, "generator", H_WORDS, generator),
    ALL(N_META, "error", H_ERROR, errors),
    NODE(N_META, "date_range", N_RANGE),
    MUST(N_RANGE, "begin", H_TIME, begin, SEEN_BEGIN),
    MUST(N_RANGE, "end", H_TIME, end, SEEN_END),
    NODE(N_FEEDBACK, "policy_published", N_POLICY),
    MUST(N_POLICY, "domain", H_NAME, domain, SEEN_DOMAIN),
    ALL(N_POLICY, "adkim", H_ALIGNMENT, adkim),
    ALL(N_POLICY, "aspf", H_ALIGNMENT, aspf),
    ALL(N_POLICY, "p", H_POLICY, p),
    MUST(N_POLICY, "sp", H_POLICY, sp, SEEN_SP),
    MUST(N_POLICY, "np", H_POLICY, np, SEEN_NP),
    MUST(N_POLICY, "pct", H_PERCENT, pct, SEEN_PCT),
    ALL(N_POLICY, "fo", H_TEXT, fo),
    ALL(N_POLICY, "testing", H_YES, testing),
    ALL(N_POLICY, "t", H_YES, testing),
    ALL(N_POLICY, "psd", H_YES, psd),
    ALL(N_POLICY, "discovery_method", H_DISCOVERY, discovery),
    NODE(N_FEEDBACK, "record", N_RECORD),
    NODE(N_RECORD, "row", N_ROW),
    ROW(N_ROW, "source_ip", H_ADDR, source, SEEN_IP),
    ROW(N_ROW, "count", H_COUNT, count, SEEN_COUNT),
    NODE(N_ROW, "policy_evaluated", N_EVALUATED),
    ROW(N_EVALUATED, "disposition", H_DONE, disposition, 0),
    ROW(N_EVALUATED, "dkim", H_ALIGNED, dkim, 0),
    ROW(N_EVALUATED, "spf", H_ALIGNED, spf, 0),
    NODE(N_EVALUATED, "reason", N_REASON),
    WHY("type", H_OVERRIDE, type),
    WHY("comment", H_WORDS, comment),
    NODE(N_RECORD, "identifiers", N_IDENTIFIERS),
    NODE(N_RECORD, "identities", N_IDENTIFIERS), /* drafts of 2012, still sent */
    ROW(N_IDENTIFIERS, "envelope_to", H_NAME, envelope_to, 0),
    ROW(N_IDENTIFIERS, "envelope_from", H_NAME, envelope_from, 0),
    ROW(N_IDENTIFIERS, "header_from", H_NAME, header_from, SEEN_FROM),
    NODE(N_RECORD, "auth_results", N_AUTH),
    NODE(N_AUTH, "dkim", N_DKIM),
    AUTH(N_DKIM, "domain", H_NAME, domain),
    AUTH(N_DKIM, "selector", H_TEXT, selector),
    AUTH(N_DKIM, "result", H_RESULT, result),
    AUTH(N_DKIM, "human_result", H_WORDS, human),
    NODE(N_AUTH, "spf", N_SPF),
    AUTH(N_SPF, "domain", H_NAME, domain),
    AUTH(N_SPF, "scope", H_SCOPE, scope),
    AUTH(N_SPF, "result", H_RESULT, result),
    AUTH(N_SPF, "human_result", H_WORDS, human),
};

const struct report_leaf *
report_leaf_find(uint8_t in, const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (table[i].in == in && *name == *table[i].name && strcmp(name, table[i].name) == 0)
            return &table[i];
    }
    return NULL;
}

/* Words of each kind; an empty text leaves the default. Case counts: both RFCs enumerate them in
 * lower case. */
struct word {
    uint8_t how;
    uint8_t value;
    const char *text;
};
static const struct word words[] = {
    {H_POLICY, REPORT_POLICY_NONE, "none"},
    {H_POLICY, REPORT_POLICY_QUARANTINE, "quarantine"},
    {H_POLICY, REPORT_POLICY_REJECT, "reject"},
    {H_DONE, REPORT_DONE_NONE, "none"},
    {H_DONE, REPORT_DONE_PASS, "pass"},
    {H_DONE, REPORT_DONE_QUARANTINE, "quarantine"},
    {H_DONE, REPORT_DONE_REJECT, "reject"},
    {H_RESULT, REPORT_RESULT_NONE, "none"},
    {H_RESULT, REPORT_RESULT_PASS, "pass"},
    {H_RESULT, REPORT_RESULT_FAIL, "fail"},
    {H_RESULT, REPORT_RESULT_SOFTFAIL, "softfail"},
    {H_RESULT, REPORT_RESULT_NEUTRAL, "neutral"},
    {H_RESULT, REPORT_RESULT_POLICY, "policy"},
    {H_RESULT, REPORT_RESULT_TEMPERROR, "temperror"},
    {H_RESULT, REPORT_RESULT_PERMERROR, "permerror"},
    {H_RESULT, REPORT_RESULT_FAIL, "hardfail"},     /* RFC 4408's time */
    {H_RESULT, REPORT_RESULT_TEMPERROR, "unknown"}, /* RFC 7489 appendix C names these two */
    {H_RESULT, REPORT_RESULT_PERMERROR, "error"},
    {H_ALIGNMENT, REPORT_RELAXED, "r"},
    {H_ALIGNMENT, REPORT_STRICT, "s"},
    {H_SCOPE, REPORT_SCOPE_MFROM, "mfrom"},
    {H_SCOPE, REPORT_SCOPE_MFROM, "mailfrom"},
    {H_SCOPE, REPORT_SCOPE_HELO, "helo"},
    {H_OVERRIDE, REPORT_OVERRIDE_OTHER, "other"},
    {H_OVERRIDE, REPORT_OVERRIDE_FORWARDED, "forwarded"},
    {H_OVERRIDE, REPORT_OVERRIDE_SAMPLED_OUT, "sampled_out"},
    {H_OVERRIDE, REPORT_OVERRIDE_TRUSTED_FORWARDER, "trusted_forwarder"},
    {H_OVERRIDE, REPORT_OVERRIDE_MAILING_LIST, "mailing_list"},
    {H_OVERRIDE, REPORT_OVERRIDE_LOCAL_POLICY, "local_policy"},
    {H_OVERRIDE, REPORT_OVERRIDE_POLICY_TEST_MODE, "policy_test_mode"},
    {H_YES, REPORT_NO, "n"},
    {H_YES, REPORT_YES, "y"},
    {H_DISCOVERY, REPORT_DISCOVERY_PSL, "psl"},
    {H_DISCOVERY, REPORT_DISCOVERY_TREEWALK, "treewalk"},
};

/* ---- values ------------------------------------------------------------------------------------
 */

static void
fail_leaf(struct report_xml *x, int code, const char *what, struct str value)
{
    char text[96];

    str_fmt(text, sizeof(text), "<%s> %s", x->leaf->name, what);
    report_xml_fail(x, code, text, value);
}

static void *
field_of(struct report_xml *x, const struct report_leaf *row)
{
    char *base = (char *)x->report;

    switch ((enum node)row->in) {
    case N_ROW:
    case N_EVALUATED:
    case N_IDENTIFIERS:
        base = (char *)x->row;
        break;
    case N_REASON:
        base = (char *)x->reason;
        break;
    case N_DKIM:
    case N_SPF:
        base = (char *)x->auth;
        break;
    default:
        break;
    }
    return base + row->at;
}

static struct str
keep(struct report_xml *x, struct str s)
{
    struct str copy = s.n ? arena_str(x->arena, s) : STR("");

    if (!copy.p)
        fail_leaf(x, ERR_LIMIT, "is over the memory for one report", STR_NONE);
    return copy;
}

static void
take_text(struct report_xml *x, struct str *to, struct str s, bool lower)
{
    if (to->n || !s.n) /* the first that says something */
        return;
    if (lower)
        str_lower(x->text.p + (s.p - x->text.p), s.n);
    *to = keep(x, s);
}

static void
take_error(struct report_xml *x, struct str s)
{
    struct report_text *t = s.n ? ARENA_NEW(x->arena, struct report_text) : NULL;

    if (!s.n)
        return;
    if (!t) {
        fail_leaf(x, ERR_LIMIT, "is over the memory for one report", STR_NONE);
        return;
    }
    t->text = keep(x, s);
    *x->error_end = t;
    x->error_end = &t->next;
}

static void
take_number(struct report_xml *x, uint64_t *to, struct str s, bool fraction)
{
    struct str rest, whole = fraction ? str_cut(s, '.', &rest) : s;
    uint64_t v;

    if (str_u64(whole, &v) < 0 || v > INT64_MAX)
        fail_leaf(x, ERR_SYNTAX, s.n ? "is not a number" : "is empty", s);
    else
        *to = v;
}

static void
take_word(struct report_xml *x, uint8_t *to, struct str s)
{
    uint8_t how = x->leaf->how == H_ALIGNED ? (uint8_t)H_RESULT : x->leaf->how;

    if (!s.n)
        return;
    x->reason_typed |= how == H_OVERRIDE;
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (words[i].how != how || !str_eq(s, str_c(words[i].text)))
            continue;
        *to = words[i].value;
        if (x->leaf->how == H_ALIGNED && *to != REPORT_RESULT_PASS)
            *to = REPORT_RESULT_FAIL;
        return;
    }
    if (how == H_OVERRIDE)
        *to = REPORT_OVERRIDE_OTHER; /* senders invent reasons; the comment says more */
    else if (how != H_YES && how != H_DISCOVERY && how != H_SCOPE) /* on these nothing stands */
        fail_leaf(x, ERR_SYNTAX, "has a value that neither RFC 9990 nor RFC 7489 knows", s);
}

static void
take_percent(struct report_xml *x, uint8_t *to, struct str s)
{
    uint64_t v = 100;

    if (s.n)
        take_number(x, &v, s, false);
    if (v > 100)
        fail_leaf(x, ERR_SYNTAX, "is over 100", s);
    *to = (uint8_t)MIN(v, (uint64_t)100);
}

/* A number or an address that comes twice could be counted as either. */
static void
note_seen(struct report_xml *x, struct str s)
{
    bool once = x->leaf->how >= H_COUNT && x->leaf->how <= H_ADDR;
    bool of_row = x->leaf->in == N_ROW || x->leaf->in == N_IDENTIFIERS;
    unsigned *seen = of_row ? &x->row_seen : &x->seen;

    if ((*seen & x->leaf->seen) && once)
        fail_leaf(x, ERR_SYNTAX, "comes twice", s);
    if (s.n || x->leaf->how == H_NAME)
        *seen |= x->leaf->seen;
}

void
report_leaf_end(struct report_xml *x)
{
    report_spaces(x->text.p, x->text.n);
    struct str s = str_trim(buf_view(&x->text));
    void *to = field_of(x, x->leaf);

    if (x->text_cut && x->leaf->how != H_WORDS && x->leaf->how != H_ERROR) {
        fail_leaf(x, ERR_LIMIT, "is too long", str_sub(s, 0, 40));
        return;
    }
    if (x->text_cut) /* not within a character */
        while (s.n && !str_is_utf8(s))
            s.n--;
    note_seen(x, s);
    switch ((enum how)x->leaf->how) {
    case H_TEXT:
    case H_NAME:
    case H_WORDS:
        take_text(x, to, s, x->leaf->how == H_NAME);
        break;
    case H_ERROR:
        take_error(x, s);
        break;
    case H_COUNT:
    case H_TIME:
        take_number(x, to, s, x->leaf->how == H_TIME);
        break;
    case H_ADDR:
        if (addr_parse(s, to) < 0)
            fail_leaf(x, ERR_SYNTAX, "is not an address", s);
        break;
    case H_PERCENT:
        take_percent(x, to, s);
        break;
    default:
        take_word(x, to, s);
        break;
    }
    x->leaf = NULL;
}
