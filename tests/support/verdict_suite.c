/*
 * tests/support/verdict_suite.c - whole verdicts of messages: verdict_suite FOLDER|cases.json...
 *
 * The form of rspamd's functional tests as data: cases.json (area, name, message, args with IP,
 * Helo and From, symbols expected and not expected), dns.json beside it (a set of records for each
 * area that has one, else "default"), messages/. A case is run through SPF, DKIM, ARC and DMARC,
 * and the symbols of these four are compared; a case on other symbols only is rspamd's own scoring
 * and is told as skipped. Where we read a standard differently (docs/disputed/verdict.txt, by rule
 * or by the case's name) it is skipped with the reason. One TAP line a case.
 */
#include <jansson.h>
#include <sys/stat.h>

#include "auth/arc.h"
#include "auth/dkim_verify.h"
#include "auth/dmarc.h"
#include "auth/spf.h"
#include "core/err.h"
#include "suite_file.h"
#include "tap.h"

#define ANSWERS_MAX 2048u
#define ROUNDS_MAX  64u
#define NOW         UINT64_C(1764000000) /* the messages are from 2015 to 2025 */
#define LIST        "/usr/share/publicsuffix/public_suffix_list.dat"
#define DISPUTED    "docs/disputed/verdict.txt"

struct suite {
    char folder[4096];
    json_t *cases, *dns;
};
/* The answers of one case; made when they are asked for. */
struct answers {
    const json_t *dns;
    const char *set;
    struct arena arena;
    const struct dns_answer *items[ANSWERS_MAX];
    struct auth_answers known;
};
struct verdict {
    bool has_spf;
    struct spf_verdict spf;
    struct dkim_verifier dkim;
    struct arc_validator chain;
    struct arc_result arc;
    struct dmarc_verdict dmarc;
};

static const char *
text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

/* --- DNS --- */

static const struct {
    const char *name;
    enum dns_type type;
} types[] = {{"a", DNS_A},     {"aaaa", DNS_AAAA}, {"mx", DNS_MX},
             {"txt", DNS_TXT}, {"ptr", DNS_PTR},   {"cname", DNS_CNAME}};

static enum dns_status
status_of(const char *rcode)
{
    static const struct {
        const char *rcode;
        enum dns_status status;
    } rows[] = {
        {"noerror", DNS_OK}, {"norec", DNS_NODATA}, {"nxdomain", DNS_NXDOMAIN}, {"", DNS_OK}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (!strcasecmp(rcode, rows[i].rcode))
            return rows[i].status;
    return DNS_TEMPORARY; /* timeout, servfail and whatever else a server may say */
}

static bool
record_of(struct answers *a, enum dns_type type, struct str text, struct dns_record *ret)
{
    uint64_t preference = 0;
    char normal[256];
    size_t n;

    *ret = (struct dns_record){.type = type};
    if (type == DNS_A || type == DNS_AAAA)
        return addr_parse(text, &ret->addr) == 0;
    if (type == DNS_TXT) {
        ret->data = text;
        return true;
    }
    if (type == DNS_MX)
        (void)str_u64(str_word(&text), &preference);
    ret->preference = (uint16_t)preference;
    if (!auth_name_normal(str_trim(text), normal, &n))
        return false;
    ret->name = arena_str(&a->arena, str_of(normal, n));
    return true;
}

static void
fill(struct answers *a, const json_t *row, struct dns_answer *ret)
{
    const json_t *replies = json_object_get(row, "replies");
    size_t most = json_array_size(replies);

    ret->status = status_of(text_of(row, "rcode"));
    if (ret->status == DNS_OK && !most)
        ret->status = DNS_NODATA;
    if (ret->status != DNS_OK)
        return;
    ret->records = ARENA_ARRAY(&a->arena, struct dns_record, most);
    for (size_t i = 0; ret->records && i < most; i++)
        ret->n += record_of(a, ret->type, str_c(json_string_value(json_array_get(replies, i))),
                            &ret->records[ret->n]);
}

/* The row of the name and type, else another of the name: then there is no data; else no name. */
static void
answer(struct answers *a, const struct auth_question *q)
{
    struct dns_answer *ret = ARENA_NEW(&a->arena, struct dns_answer);
    size_t i;
    json_t *row;

    if (!ret || a->known.n == ANSWERS_MAX)
        return;
    ret->name = arena_str(&a->arena, str_of(q->name, q->n));
    ret->type = q->type;
    ret->status = DNS_NXDOMAIN;
    ret->ttl = 300;
    json_array_foreach(a->dns, i, row)
    {
        char normal[256];
        bool same = false;
        size_t n;

        if (strcmp(text_of(row, "set"), a->set) ||
            !auth_name_normal(str_c(text_of(row, "name")), normal, &n) ||
            !str_eq(str_of(normal, n), ret->name))
            continue;
        for (size_t k = 0; k < ARRAY_LEN(types); k++)
            same = same ||
                   (types[k].type == q->type && !strcasecmp(types[k].name, text_of(row, "type")));
        if (!same) {
            ret->status = DNS_NODATA;
            continue;
        }
        fill(a, row, ret);
        break;
    }
    a->items[a->known.n++] = ret;
    a->known.items = a->items;
}

static bool
answer_all(struct answers *a, struct auth_needs *needs)
{
    bool any = needs->n > 0;

    for (unsigned i = 0; i < needs->n; i++)
        answer(a, &needs->items[i]);
    needs->n = 0;
    return any;
}

/* --- one message --- */

static void
run_spf(struct answers *a, const json_t *args, struct verdict *v)
{
    struct str from = str_c(text_of(args, "From"));
    struct spf_input in = {.receiver = STR("receiver.example"), .time = NOW};
    struct auth_needs needs = {.n = 0};
    unsigned rounds = 0;
    ssize_t at;

    v->has_spf = addr_parse(str_c(text_of(args, "IP")), &in.ip) == 0;
    if (!v->has_spf)
        return;
    if (str_starts(from, STR("<")) && str_ends(from, STR(">")))
        from = str_sub(from, 1, from.n - 2);
    at = str_rchr(from, '@');
    in.local = at > 0 ? str_sub(from, 0, (size_t)at) : STR_NONE;
    in.domain = str_from(from, (size_t)(at + 1));
    in.helo = str_c(text_of(args, "Helo"));
    while (spf_run(&in, &a->known, &needs, &a->arena, &v->spf) == AUTH_NEED &&
           answer_all(a, &needs) && ++rounds < ROUNDS_MAX)
        ;
}

static void
run_signatures(struct answers *a, struct str message, struct verdict *v)
{
    struct dkim_keys *keys = dkim_keys_create(16, 1, &dkim_limits_default);
    struct dkim_message *m = dkim_message_create();
    struct auth_needs needs = {.n = 0};
    struct str body, header = suite_header(message, &body);

    dkim_message_headers(m, header, &dkim_limits_default);
    dkim_verify_prepare(&v->dkim, m, &dkim_limits_default);
    arc_prepare(&v->chain, m, &dkim_limits_default);
    dkim_message_body(m, body.p, body.n);
    dkim_message_end(m);
    while (dkim_verify_run(&v->dkim, NOW, keys, &a->known, &needs) == AUTH_NEED &&
           answer_all(a, &needs))
        ;
    needs.n = 0;
    while (arc_run(&v->chain, NOW, NULL, 0, keys, &a->known, &needs, &v->arc) == AUTH_NEED &&
           answer_all(a, &needs))
        ;
    dkim_message_free(m);
    dkim_keys_free(keys);
}

static enum dmarc_auth
auth_of(bool pass, bool temporary)
{
    return pass ? DMARC_AUTH_PASS : temporary ? DMARC_AUTH_TEMPERROR : DMARC_AUTH_OTHER;
}

static void
run_dmarc(struct answers *a, struct str message, const struct psl *psl, struct verdict *v)
{
    struct dmarc_identifier dkim[DKIM_SIGS_MAX];
    struct dmarc_author author;
    struct dmarc_input in = {.author = &author, .dkim = dkim, .ndkim = v->dkim.n, .psl = psl};
    struct auth_needs needs = {.n = 0};
    struct str body;

    dmarc_author(suite_header(message, &body), &author);
    in.spf.auth = DMARC_AUTH_OTHER;
    if (v->has_spf)
        in.spf = (struct dmarc_identifier){
            auth_of(v->spf.result == SPF_PASS, v->spf.result == SPF_TEMPERROR), v->spf.domain};
    for (unsigned i = 0; i < v->dkim.n; i++) {
        const struct dkim_result *r = &v->dkim.results[i];

        dkim[i] = (struct dmarc_identifier){
            auth_of(r->status == DKIM_PASS, r->status == DKIM_TEMPERROR), str_c(r->domain_ascii)};
    }
    while (dmarc_run(&in, &a->known, &needs, &a->arena, &v->dmarc) == AUTH_NEED &&
           answer_all(a, &needs))
        ;
}

/* --- symbols --- */

static bool
spf_is(const struct verdict *v, int what)
{
    return v->has_spf && v->spf.result == (enum spf_result)what;
}

static bool
spf_all(const struct verdict *v, int what)
{
    return spf_is(v, what) &&
           (str_ieq(v->spf.mechanism, STR("+all")) || str_ieq(v->spf.mechanism, STR("all")));
}

/* A symbol for each signature: some signature has it. */
static bool
dkim_is(const struct verdict *v, int what)
{
    for (unsigned i = 0; i < v->dkim.n; i++)
        if (v->dkim.results[i].status == (enum dkim_status)what)
            return true;
    return false;
}

static bool
dkim_none(const struct verdict *v, int what)
{
    (void)what;
    return !v->dkim.n;
}

static bool
arc_is(const struct verdict *v, int what)
{
    return v->arc.cv == (enum arc_cv)what;
}

static bool
dmarc_is(const struct verdict *v, int what)
{
    return v->dmarc.result == (enum dmarc_result)what;
}

static bool
dmarc_fails(const struct verdict *v, int what)
{
    return v->dmarc.result == DMARC_RESULT_FAIL && v->dmarc.policy == (enum dmarc_policy)what;
}

/* Two records, or none that can be read: no policy (RFC 9989 4.10). */
static bool
dmarc_bad(const struct verdict *v, int what)
{
    (void)what;
    return v->dmarc.result == DMARC_RESULT_PERMERROR || v->dmarc.result == DMARC_RESULT_NONE;
}

static const struct symbol {
    const char *name;
    bool (*holds)(const struct verdict *, int what);
    int what;
    bool needs_spf;
} symbols[] = {
    {"R_SPF_ALLOW", spf_is, SPF_PASS, true},
    {"R_SPF_PLUSALL", spf_all, SPF_PASS, true},
    {"R_SPF_FAIL", spf_is, SPF_FAIL, true},
    {"R_SPF_SOFTFAIL", spf_is, SPF_SOFTFAIL, true},
    {"R_SPF_NEUTRAL", spf_is, SPF_NEUTRAL, true},
    {"R_SPF_DNSFAIL", spf_is, SPF_TEMPERROR, true},
    {"R_SPF_PERMFAIL", spf_is, SPF_PERMERROR, true},
    {"R_SPF_NA", spf_is, SPF_NONE, true},
    {"R_DKIM_ALLOW", dkim_is, DKIM_PASS, false},
    {"R_DKIM_REJECT", dkim_is, DKIM_FAIL, false},
    {"R_DKIM_TEMPFAIL", dkim_is, DKIM_TEMPERROR, false},
    {"R_DKIM_PERMFAIL", dkim_is, DKIM_PERMERROR, false},
    {"R_DKIM_NA", dkim_none, 0, false},
    {"ARC_ALLOW", arc_is, ARC_PASS, false},
    {"ARC_REJECT", arc_is, ARC_FAIL, false},
    {"ARC_INVALID", arc_is, ARC_FAIL, false},
    {"ARC_DNSFAIL", arc_is, ARC_TEMPERROR, false},
    {"ARC_NA", arc_is, ARC_NONE, false},
    {"DMARC_POLICY_ALLOW", dmarc_is, DMARC_RESULT_PASS, false},
    {"DMARC_POLICY_ALLOW_WITH_FAILURES", dmarc_is, DMARC_RESULT_PASS, false},
    {"DMARC_POLICY_REJECT", dmarc_fails, DMARC_REJECT, false},
    {"DMARC_POLICY_QUARANTINE", dmarc_fails, DMARC_QUARANTINE, false},
    {"DMARC_POLICY_SOFTFAIL", dmarc_fails, DMARC_NONE, false},
    {"DMARC_BAD_POLICY", dmarc_bad, 0, false},
    {"DMARC_DNSFAIL", dmarc_is, DMARC_RESULT_TEMPERROR, false},
    {"DMARC_NA", dmarc_is, DMARC_RESULT_NONE, false},
};

static const struct symbol *
symbol_of(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(symbols); i++)
        if (!strcmp(symbols[i].name, name))
            return &symbols[i];
    return NULL;
}

static void
show(const struct verdict *v)
{
    if (v->has_spf)
        printf("#   spf %s: %.*s\n", spf_result_name(v->spf.result), STR_ARG(v->spf.why));
    for (unsigned i = 0; i < v->dkim.n; i++)
        printf("#   dkim %s: %s\n", dkim_status_name(v->dkim.results[i].status),
               dkim_reason_text(v->dkim.results[i].reason));
    printf("#   arc %s: %s\n", arc_cv_name(v->arc.cv), v->arc.text ? v->arc.text : "");
    printf("#   dmarc %s of %.*s, policy %s at %.*s: %s\n", dmarc_result_name(v->dmarc.result),
           STR_ARG(v->dmarc.domain), dmarc_policy_name(v->dmarc.policy),
           STR_ARG(v->dmarc.policy_domain), v->dmarc.why ? v->dmarc.why : "");
}

/* --- cases --- */

/* The reason that the list of disputes gives for a rule or a case; 0: there is none. */
static size_t
disputed(const char *name, char *dst, size_t cap)
{
    CLEANUP(buf_done) struct buf text = {0};
    struct str rest;

    if (!suite_read(DISPUTED, &text))
        return 0;
    for (rest = buf_view(&text); rest.n;) {
        struct str why, what = str_cut(str_cut(rest, '\n', &rest), '\t', &why);

        if (str_eq(what, str_c(name)) && why.n)
            return str_fmt(dst, cap, "disputed: %.*s", STR_ARG(why));
    }
    return 0;
}

static bool
says_error(const struct verdict *v, enum spf_result result, const char *why)
{
    return v->has_spf && v->spf.result == result && str_find(v->spf.why, str_c(why)) >= 0;
}

static bool
rule_include(const struct verdict *v, struct answers *a)
{
    (void)a;
    return says_error(v, SPF_PERMERROR, "is included and has no SPF record");
}

static bool
rule_temporary(const struct verdict *v, struct answers *a)
{
    (void)a;
    return says_error(v, SPF_TEMPERROR, "DNS does not answer");
}

static bool
rule_pct(const struct verdict *v, struct answers *a)
{
    char name[300];
    const struct dns_answer *record;

    if (v->dmarc.result != DMARC_RESULT_FAIL || v->dmarc.policy == DMARC_NONE)
        return false;
    str_fmt(name, sizeof(name), "_dmarc.%.*s", STR_ARG(v->dmarc.policy_domain));
    record = auth_answers_find(&a->known, str_c(name), DNS_TXT);
    return record && record->n && str_find(record->records[0].data, STR("pct=")) >= 0;
}

static const struct {
    const char *name;
    bool (*applies)(const struct verdict *, struct answers *);
    bool spf; /* of cases on SPF; else on DMARC */
} rules[] = {
    {"include-without-record", rule_include, true},
    {"temporary-mechanism", rule_temporary, true},
    {"pct", rule_pct, false},
};

static bool
is_disputed(const char *name, bool spf, const struct verdict *v, struct answers *a, char *dst,
            size_t cap)
{
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        if ((spf || !rules[i].spf) && rules[i].applies(v, a) && disputed(rules[i].name, dst, cap))
            return true;
    return disputed(name, dst, cap) > 0;
}

/* Symbols of ours in a list; *ret_spf: one of them is SPF's. */
static unsigned
ours_in(const json_t *list, bool *ret_spf)
{
    unsigned n = 0;
    json_t *one;
    size_t i;

    json_array_foreach(list, i, one)
    {
        const char *name = json_string_value(json_is_array(one) ? json_array_get(one, 0) : one);
        const struct symbol *s = name ? symbol_of(name) : NULL;

        n += s != NULL;
        *ret_spf = *ret_spf || (s && s->needs_spf);
    }
    return n;
}

static bool
compare(const struct verdict *v, const json_t *list, bool wanted)
{
    bool good = true;
    json_t *one;
    size_t i;

    json_array_foreach(list, i, one)
    {
        const char *name = json_string_value(json_is_array(one) ? json_array_get(one, 0) : one);
        const struct symbol *s = name ? symbol_of(name) : NULL;

        if (!s || s->holds(v, s->what) == wanted)
            continue;
        printf("#   %s %s\n", s->name, wanted ? "is missing" : "must not be");
        good = false;
    }
    return good;
}

static bool
evaluate(const struct suite *suite, const json_t *one, const char *set, struct verdict *v,
         struct answers *a, struct str *ret)
{
    CLEANUP(buf_done) struct buf raw = {0};
    static struct buf text; /* results hold views into it until the case is over */
    char path[8192];

    buf_done(&text);
    str_fmt(path, sizeof(path), "%s/messages/%s", suite->folder, text_of(one, "message"));
    if (!suite_read(path, &raw))
        return false;
    suite_crlf(buf_view(&raw), &text);
    memset(v, 0, sizeof(*v));
    *a = (struct answers){.dns = suite->dns, .set = set};
    arena_init(&a->arena, 16u << 20);
    run_spf(a, json_object_get(one, "args"), v);
    run_signatures(a, buf_view(&text), v);
    run_dmarc(a, buf_view(&text), NULL, v);
    *ret = buf_view(&text);
    return true;
}

/* The same with the organization found by the Public Suffix List (dmarc_method = psl). */
static bool
agrees_by_list(const json_t *expect, const json_t *unexpected, struct str message,
               struct verdict *v, struct answers *a)
{
    struct verdict *again = calloc(1, sizeof(*again));
    struct psl *psl = NULL;
    bool good = false;

    if (again && psl_open(LIST, &psl, NULL) == 0) {
        *again = *v;
        run_dmarc(a, message, psl, again);
        good = compare(again, expect, true) && compare(again, unexpected, false);
    }
    psl_close(psl);
    free(again);
    return good;
}

/* The records of an area, if it has some of its own. */
static const char *
set_of(const struct suite *suite, const char *area)
{
    json_t *row;
    size_t i;

    json_array_foreach(suite->dns, i, row) if (!strcmp(text_of(row, "set"), area)) return area;
    return "default";
}

static void
run_case(const struct suite *suite, const json_t *one)
{
    static struct verdict v;
    static struct answers a;
    const json_t *expect = json_object_get(one, "expect"),
                 *unexpected = json_object_get(one, "not_expect"),
                 *args = json_object_get(one, "args");
    const char *area = text_of(one, "area");
    char label[512], why[512];
    struct str message;
    bool spf = false, good;

    str_fmt(label, sizeof(label), "%s: %s", area, text_of(one, "name"));
    if (ours_in(expect, &spf) + ours_in(unexpected, &spf) == 0) {
        tap_skip(label, "rspamd's own scoring: no symbol of SPF, DKIM, ARC or DMARC");
        return;
    }
    if (spf && !text_of(args, "IP")[0]) {
        tap_skip(label, "no client address: rspamd reads it from Received here");
        return;
    }
    if (text_of(args, "User")[0]) {
        tap_skip(label, "a login: nothing is checked for it");
        return;
    }
    if (!evaluate(suite, one, set_of(suite, area), &v, &a, &message)) {
        OK(false, "%s: its message can be read", label);
        return;
    }
    good = compare(&v, expect, true);
    good = compare(&v, unexpected, false) && good;
    if (!good && is_disputed(text_of(one, "name"), spf, &v, &a, why, sizeof(why)))
        tap_skip(label, why);
    else if (!good && agrees_by_list(expect, unexpected, message, &v, &a) &&
             disputed("organization", why, sizeof(why)))
        tap_skip(label, why);
    else if (!OK(good, "%s", label))
        show(&v);
    arena_done(&a.arena);
}

static json_t *
load(const char *folder, const char *name)
{
    json_error_t error = {0};
    char path[8192];
    json_t *j;

    str_fmt(path, sizeof(path), "%s/%s", folder, name);
    j = json_load_file(path, 0, &error);
    if (!json_is_array(j))
        OK(false, "%s: %s", path, j ? "no list" : error.text);
    return j;
}

static void
run_folder(struct str folder)
{
    struct suite suite = {.cases = NULL};
    json_t *one;
    size_t i;

    if (!str_copy(folder, suite.folder, sizeof(suite.folder)))
        return;
    suite.cases = load(suite.folder, "cases.json");
    suite.dns = load(suite.folder, "dns.json");
    json_array_foreach(suite.cases, i, one) run_case(&suite, one);
    json_decref(suite.cases);
    json_decref(suite.dns);
}

/* A file that is no list of cases belongs to one. */
static void
run_file(void *ctx, const char *path)
{
    struct str name = suite_base(path);
    size_t n = strlen(path) - name.n;

    (void)ctx;
    if (str_eq(name, STR("cases.json")))
        run_folder(n > 1 ? str_of(path, n - 1) : STR("."));
}

int
main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        suite_walk(argv[i], run_file, NULL);
    if (!tap_count_)
        tap_skip("verdicts of messages", "no cases.json was given");
    return tap_done();
}
