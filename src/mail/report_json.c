/*
 * mail/report_json.c - a TLS report out of its JSON (RFC 8460 4.4).
 *
 * Called by mail/report.c with the whole text. Numbers that come as strings and lists that come as
 * one string are taken as what they mean; members that nobody knows are passed over.
 */
#include <jansson.h>
#include <time.h>

#include "core/str.h"
#include "mail/report_inner.h"
#include "mail/report_tls.h"

#define VALUES_PER_ROW 4u  /* JSON values per row that is allowed: bounds the tree in memory */
#define STRINGS_MAX    64u /* of a policy: its lines, its MX patterns */

struct reader {
    const struct report_limits *limits;
    struct arena *arena;
    struct why *why;
    uint32_t rows;
    uint32_t policy; /* the policy that is read, from 1; 0: none */
    int failed;
};

static int
fail(struct reader *r, int code, const char *name, const char *what)
{
    if (r->failed)
        return r->failed;
    r->failed = code;
    if (r->policy)
        return why_set(r->why, code, "policy %u: \"%s\" %s", r->policy, name, what);
    return why_set(r->why, code, "\"%s\" %s", name, what);
}

/* ---- values ------------------------------------------------------------------------------------
 */

static struct str
keep(struct reader *r, const char *name, struct str s)
{
    struct str copy = STR("");

    if (s.n > r->limits->text)
        fail(r, ERR_LIMIT, name, "is too long");
    else if (s.n)
        copy = arena_str(r->arena, s);
    if (!copy.p)
        fail(r, ERR_LIMIT, name, "is over the memory for one report");
    else if (copy.n)
        report_spaces((char *)(uintptr_t)copy.p, copy.n); /* our own copy */
    return copy.p ? copy : STR("");
}

static struct str
value_of(const json_t *v)
{
    return json_is_string(v) ? str_of(json_string_value(v), json_string_length(v)) : STR_NONE;
}

/* Empty if it is not there or null. */
static struct str
text(struct reader *r, const json_t *in, const char *name)
{
    const json_t *v = json_object_get(in, name);

    if (v && !json_is_string(v) && !json_is_null(v))
        fail(r, ERR_SYNTAX, name, "is not a string");
    return keep(r, name, str_trim(value_of(v)));
}

static struct str
text_needed(struct reader *r, const json_t *in, const char *name)
{
    struct str s = text(r, in, name);

    if (!s.n)
        fail(r, ERR_SYNTAX, name, "is missing or empty");
    return s;
}

static const json_t *
object_needed(struct reader *r, const json_t *in, const char *name)
{
    const json_t *v = json_object_get(in, name);

    if (!json_is_object(v))
        fail(r, ERR_SYNTAX, name, v ? "is not an object" : "is missing");
    return v;
}

static uint64_t
count(struct reader *r, const json_t *in, const char *name)
{
    const json_t *v = json_object_get(in, name);
    uint64_t n = 0;

    if (json_is_integer(v) && json_integer_value(v) >= 0)
        return (uint64_t)json_integer_value(v);
    if (json_is_real(v) && json_real_value(v) >= 0 && json_real_value(v) < 9e15)
        return (uint64_t)json_real_value(v);
    if (!v)
        fail(r, ERR_SYNTAX, name, "is missing");
    else if (!json_is_string(v) || str_u64(value_of(v), &n) < 0 || n > INT64_MAX)
        fail(r, ERR_SYNTAX, name, "is not a number of sessions");
    return n;
}

/* Digits at *at, `n` of them. */
static bool
digits(struct str s, size_t *at, unsigned n, int *ret)
{
    *ret = 0;
    for (unsigned i = 0; i < n; i++, (*at)++) {
        if (*at >= s.n || s.p[*at] < '0' || s.p[*at] > '9')
            return false;
        *ret = *ret * 10 + (s.p[*at] - '0');
    }
    return true;
}

static bool
sign(struct str s, size_t *at, const char *any)
{
    if (*at >= s.n || !strchr(any, s.p[*at]))
        return false;
    (*at)++;
    return true;
}

/* RFC 3339 5.6; a time without an offset is UTC, a date alone its midnight. */
static bool
time_read(struct str s, uint64_t *ret)
{
    struct tm t = {.tm_isdst = 0};
    int hours = 0, minutes = 0;
    size_t at = 0;

    if (!digits(s, &at, 4, &t.tm_year) || !sign(s, &at, "-") || !digits(s, &at, 2, &t.tm_mon) ||
        !sign(s, &at, "-") || !digits(s, &at, 2, &t.tm_mday))
        return false;
    if (at < s.n) {
        if (!sign(s, &at, "Tt ") || !digits(s, &at, 2, &t.tm_hour) || !sign(s, &at, ":") ||
            !digits(s, &at, 2, &t.tm_min) || !sign(s, &at, ":") || !digits(s, &at, 2, &t.tm_sec))
            return false;
        if (sign(s, &at, "."))
            while (at < s.n && s.p[at] >= '0' && s.p[at] <= '9')
                at++;
    }
    bool west = at < s.n && s.p[at] == '-';
    if (sign(s, &at, "+-")) {
        if (!digits(s, &at, 2, &hours))
            return false;
        sign(s, &at, ":");
        if (!digits(s, &at, 2, &minutes))
            return false;
    } else {
        sign(s, &at, "Zz");
    }
    if (at != s.n || t.tm_year < 1970 || t.tm_mon < 1 || t.tm_mon > 12 || t.tm_mday < 1 ||
        t.tm_mday > 31 || t.tm_hour > 24 || t.tm_min > 59 || t.tm_sec > 60 || hours > 14)
        return false;
    t.tm_year -= 1900;
    t.tm_mon--;
    int64_t offset = (hours * 60 + minutes) * 60;
    int64_t s1970 = (int64_t)timegm(&t) + (west ? offset : -offset);
    if (s1970 < 0)
        return false;
    *ret = (uint64_t)s1970;
    return true;
}

static uint64_t
moment(struct reader *r, const json_t *in, const char *name)
{
    uint64_t s = 0;

    if (!time_read(value_of(json_object_get(in, name)), &s))
        fail(r, ERR_SYNTAX, name, "is missing or not a time of RFC 3339");
    return s;
}

/* A list of strings, or one string. */
static struct str *
texts(struct reader *r, const json_t *in, const char *name, uint32_t *ret_n)
{
    const json_t *v = json_object_get(in, name);
    size_t n = json_is_array(v) ? json_array_size(v) : json_is_string(v) ? 1 : 0;
    struct str *list = n ? ARENA_ARRAY(r->arena, struct str, MIN(n, (size_t)STRINGS_MAX)) : NULL;

    if (n > STRINGS_MAX)
        fail(r, ERR_LIMIT, name, "has too many lines");
    else if (n && !list)
        fail(r, ERR_LIMIT, name, "is over the memory for one report");
    if (r->failed)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        const json_t *one = json_is_array(v) ? json_array_get(v, i) : v;
        if (!json_is_string(one))
            fail(r, ERR_SYNTAX, name, "holds something that is not a string");
        list[i] = keep(r, name, value_of(one));
    }
    *ret_n = (uint32_t)n;
    return list;
}

static void *
row_new(struct reader *r, size_t size)
{
    void *p = ++r->rows > r->limits->rows ? NULL : arena_alloc(r->arena, size);

    if (r->rows > r->limits->rows)
        fail(r, ERR_LIMIT, "policies", "has more entries than are read");
    else if (!p)
        fail(r, ERR_LIMIT, "policies", "is over the memory for one report");
    return p;
}

/* ---- the report --------------------------------------------------------------------------------
 */

static void
result_read(struct report_tls_failure *f)
{
    f->result = REPORT_TLS_OTHER;
    for (unsigned i = 1; i <= REPORT_TLS_STS_WEBPKI_INVALID; i++) {
        if (str_ieq(f->result_text, str_c(report_tls_result_name((enum report_tls_result)i))))
            f->result = (uint8_t)i;
    }
}

static void
failures_read(struct reader *r, const json_t *list, struct report_tls_policy *policy)
{
    struct report_tls_failure **end = &policy->failures;
    size_t n = json_array_size(list);

    if (list && !json_is_array(list) && !json_is_null(list))
        fail(r, ERR_SYNTAX, "failure-details", "is not a list");
    for (size_t i = 0; i < n && !r->failed; i++) {
        const json_t *in = json_array_get(list, i);
        struct report_tls_failure *f = row_new(r, sizeof(*f));
        if (!f)
            return;
        if (!json_is_object(in))
            fail(r, ERR_SYNTAX, "failure-details", "holds something that is not an object");
        f->result_text = text_needed(r, in, "result-type");
        f->sending_ip = text(r, in, "sending-mta-ip");
        f->receiving_ip = text(r, in, "receiving-ip");
        f->mx = text(r, in, "receiving-mx-hostname");
        f->mx_helo = text(r, in, "receiving-mx-helo");
        f->info = text(r, in, "additional-information");
        if (!f->info.n)
            f->info = text(r, in, "additional-info"); /* as RFC 8460 4.3 has it once */
        f->reason = text(r, in, "failure-reason-code");
        f->count = count(r, in, "failed-session-count");
        result_read(f);
        *end = f;
        end = &f->next;
        policy->nfailures++;
    }
}

static void
policy_read(struct reader *r, const json_t *in, struct report_tls_policy *p)
{
    static const char *const types[] = {[REPORT_TLS_NO_POLICY] = "no-policy-found",
                                        [REPORT_TLS_STS] = "sts",
                                        [REPORT_TLS_TLSA] = "tlsa"};
    const json_t *policy = object_needed(r, in, "policy");
    const json_t *summary = object_needed(r, in, "summary");
    struct str type = text_needed(r, policy, "policy-type");
    size_t known = ARRAY_LEN(types);

    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        known = str_eq(type, str_c(types[i])) ? i : known;
    if (known == ARRAY_LEN(types))
        fail(r, ERR_SYNTAX, "policy-type", "is none of tlsa, sts, no-policy-found");
    p->type = (uint8_t)known;
    p->domain = text_needed(r, policy, "policy-domain");
    if (r->failed)
        return;
    str_lower((char *)(uintptr_t)p->domain.p, p->domain.n);
    p->strings = texts(r, policy, "policy-string", &p->nstrings);
    p->mxs = texts(r, policy, "mx-host", &p->nmxs);
    p->good = count(r, summary, "total-successful-session-count");
    p->failed = count(r, summary, "total-failure-session-count");
    failures_read(r, json_object_get(in, "failure-details"), p);
}

static void
report_fill(struct reader *r, const json_t *root, struct report_tls *t)
{
    const json_t *range, *list = json_object_get(root, "policies");
    struct report_tls_policy **end = &t->policies;

    t->org = text_needed(r, root, "organization-name");
    t->contact = text(r, root, "contact-info");
    t->id = text_needed(r, root, "report-id");
    range = object_needed(r, root, "date-range");
    t->begin = moment(r, range, "start-datetime");
    t->end = moment(r, range, "end-datetime");
    if (!r->failed && t->end < t->begin)
        fail(r, ERR_SYNTAX, "end-datetime", "is before start-datetime");
    if (!json_is_array(list) || json_array_size(list) == 0)
        fail(r, ERR_SYNTAX, "policies", "is missing or empty");
    for (size_t i = 0; i < json_array_size(list) && !r->failed; i++) {
        struct report_tls_policy *p = row_new(r, sizeof(*p));
        if (!p)
            return;
        r->policy = (uint32_t)i + 1;
        policy_read(r, json_array_get(list, i), p);
        if (p->good > INT64_MAX - t->good || p->failed > INT64_MAX - t->failed)
            fail(r, ERR_SYNTAX, "summary", "has no sum over the policies");
        *end = p;
        end = &p->next;
        t->npolicies++;
        t->good += p->good;
        t->failed += p->failed;
    }
    r->policy = 0;
}

/* Depth and number of values before the library builds a tree of them. */
static int
measure(struct str s, const struct report_limits *limits, struct why *why)
{
    uint64_t values = 0;
    uint32_t depth = 0;
    bool quoted = false, escaped = false;

    for (size_t i = 0; i < s.n; i++) {
        if (quoted) {
            quoted = escaped || s.p[i] != '"';
            escaped = !escaped && s.p[i] == '\\';
            continue;
        }
        quoted = s.p[i] == '"';
        values += s.p[i] == ',' || s.p[i] == '[' || s.p[i] == '{';
        depth += s.p[i] == '[' || s.p[i] == '{';
        depth -= depth && (s.p[i] == ']' || s.p[i] == '}');
        if (depth > limits->depth)
            return why_set(why, ERR_LIMIT, "its JSON is nested more than %u deep", limits->depth);
    }
    if (values > (uint64_t)VALUES_PER_ROW * limits->rows)
        return why_set(why, ERR_LIMIT, "its JSON has more values than are read");
    return 0;
}

int
report_json_read(struct str s, const struct report_limits *limits, struct arena *arena,
                 struct report_tls **ret, bool *ret_ours, struct why *why)
{
    struct reader r = {.limits = limits, .arena = arena, .why = why};
    struct report_tls *t = ARENA_NEW(arena, struct report_tls);
    int did = t ? measure(s, limits, why) : ERR_NOMEM;
    json_error_t error;

    *ret_ours = false;
    if (did < 0)
        return did;
    json_t *root = json_loadb(s.p, s.n, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        return why_set(why, ERR_SYNTAX, "line %d, column %d: %s", error.line, error.column,
                       error.text);
    *ret_ours = json_object_get(root, "policies") || json_object_get(root, "organization-name");
    if (!*ret_ours)
        fail(&r, ERR_SYNTAX, "policies", "is missing: it is no TLS report");
    else
        report_fill(&r, root, t);
    json_decref(root);
    if (!r.failed)
        *ret = t;
    return r.failed;
}
