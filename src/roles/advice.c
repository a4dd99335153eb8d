/*
 * roles/advice.c - the records of a domain: SPF for our sources, its DKIM keys, DMARC, and for mail
 * that we take MX, MTA-STS and TLS-RPT.
 *
 * Called by roles/domain_dns.c and tests. No I/O, no settings: what it needs stands in the input.
 */
#include "roles/advice.h"

#include "auth/dmarc.h"
#include "auth/spf.h"
#include "store/keys.h"

#define FOUND_MAX  4096u
#define STRING_MAX 255u

struct advice {
    const struct advice_input *in;
    const struct auth_answers *answers;
    struct auth_needs *needs;
    struct arena *arena;
    struct advice_row *rows;
    unsigned n;
    struct addr own[ADVICE_SOURCES]; /* of our host name, if no source is named */
};

const char *
advice_status_name(enum advice_status s)
{
    static const char *const names[] = {"ok", "missing", "different", "optional", "unknown"};

    return (unsigned)s < ARRAY_LEN(names) ? names[s] : "?";
}

static struct advice_row *
row_add(struct advice *a, const char *prefix, const char *type)
{
    struct advice_row *r = &a->rows[MIN(a->n, ADVICE_ROWS - 1)];

    a->n = MIN(a->n + 1, ADVICE_ROWS);
    *r = (struct advice_row){.type = type, .status = ADVICE_MISSING};
    r->name = arena_fmt(a->arena, "%s%.*s", prefix, STR_ARG(a->in->domain));
    return r;
}

/* The records of that type; NULL: not known yet, or the row says that DNS fails. */
static const struct dns_answer *
look(struct advice *a, struct advice_row *r, struct str name, enum dns_type type)
{
    const struct dns_answer *got = auth_ask(a->answers, a->needs, name, type);

    if (!got || (got->status != DNS_TEMPORARY && got->status != DNS_BOGUS))
        return got;
    r->status = ADVICE_UNKNOWN;
    r->note = got->status == DNS_BOGUS ? STR("its DNSSEC signatures do not hold")
                                       : STR("DNS did not answer");
    return NULL;
}

/* TXT records that begin so, gathered into row.found: how many. */
static unsigned
gather(struct advice *a, struct advice_row *r, const struct dns_answer *got, struct str prefix,
       struct str *ret_first)
{
    CLEANUP(buf_done) struct buf all = {0};
    unsigned n = 0;

    buf_init(&all, FOUND_MAX);
    for (size_t i = 0; i < got->n; i++) {
        const struct dns_record *rec = &got->records[i];

        if (rec->type != DNS_TXT || !str_istarts(rec->data, prefix) ||
            (rec->data.n > prefix.n && rec->data.p[prefix.n] != ' ' &&
             rec->data.p[prefix.n] != ';'))
            continue;
        if (n++ == 0)
            *ret_first = rec->data;
        else
            buf_c(&all, " | ");
        buf_str(&all, rec->data);
    }
    r->found = arena_str(a->arena, buf_view(&all));
    return n;
}

/* --- SPF --- */

static void
mechanism(struct buf *out, const struct addr *ip)
{
    char text[56];

    buf_fmt(out, " ip%c:%s", addr_is_v4(ip) ? '4' : '6', addr_show(ip, text));
}

/* The addresses that mail leaves from; 0 while they are not known. */
static unsigned
sources(struct advice *a, struct advice_row *r, const struct addr **ret)
{
    static const enum dns_type types[] = {DNS_A, DNS_AAAA};
    unsigned n = 0;

    *ret = a->in->sources;
    if (a->in->nsources)
        return a->in->nsources;
    *ret = a->own;
    for (unsigned t = 0; t < ARRAY_LEN(types); t++) {
        const struct dns_answer *got = look(a, r, a->in->hostname, types[t]);

        for (size_t i = 0; got && i < got->n && n < ADVICE_SOURCES; i++)
            if (got->records[i].type == types[t])
                a->own[n++] = got->records[i].addr;
    }
    return n;
}

/* What our addresses get by the published record; those that do not pass go into `lack`. */
static unsigned
spf_judge(struct advice *a, struct advice_row *r, const struct addr *ips, unsigned n,
          struct buf *lack)
{
    CLEANUP(buf_done) struct buf note = {0};
    unsigned bad = 0;

    buf_init(&note, FOUND_MAX);
    for (unsigned i = 0; i < n; i++) {
        struct spf_input in = {.ip = ips[i],
                               .helo = a->in->hostname,
                               .local = STR("postmaster"),
                               .domain = a->in->domain,
                               .receiver = a->in->hostname,
                               .time = a->in->now};
        struct auth_needs needs = {.n = 0};
        struct spf_verdict v;
        char text[56];

        if (spf_run(&in, a->answers, &needs, a->arena, &v) == AUTH_NEED) {
            for (unsigned k = 0; k < needs.n; k++)
                (void)auth_ask(a->answers, a->needs, str_of(needs.items[k].name, needs.items[k].n),
                               needs.items[k].type);
            continue;
        }
        if (v.result == SPF_PASS)
            continue;
        bad++;
        mechanism(lack, &ips[i]);
        buf_fmt(&note, "%s%s: %s", note.n ? "; " : "", addr_show(&ips[i], text),
                spf_result_name(v.result));
        if (v.result == SPF_PERMERROR || v.result == SPF_TEMPERROR)
            buf_fmt(&note, " (%.*s)", STR_ARG(v.why));
    }
    r->note = arena_str(a->arena, buf_view(&note));
    return bad;
}

static void
spf_row(struct advice *a)
{
    struct advice_row *r = row_add(a, "", "TXT");
    CLEANUP(buf_done) struct buf lack = {0};
    const struct dns_answer *got = look(a, r, a->in->domain, DNS_TXT);
    const struct addr *ips;
    struct str first = STR_NONE;
    unsigned n = sources(a, r, &ips), found, bad;

    buf_init(&lack, FOUND_MAX);
    if (!n)
        buf_fmt(&lack, " a:%.*s", STR_ARG(a->in->hostname));
    for (unsigned i = 0; i < n; i++)
        mechanism(&lack, &ips[i]);
    r->value = arena_fmt(a->arena, "v=spf1%.*s ~all", STR_ARG(buf_view(&lack)));
    if (!got || r->status == ADVICE_UNKNOWN)
        return;
    found = gather(a, r, got, STR("v=spf1"), &first);
    if (found == 0)
        return;
    buf_clear(&lack);
    bad = spf_judge(a, r, ips, n, &lack);
    r->status = found == 1 && !bad ? ADVICE_OK : ADVICE_DIFFERENT;
    if (found > 1)
        r->note = STR("more than one SPF record: receivers take that as an error");
    /* What is there stays; what our addresses need goes before it. */
    r->value = bad && found == 1 ? arena_fmt(a->arena, "v=spf1%.*s%.*s", STR_ARG(buf_view(&lack)),
                                             STR_ARG(str_from(first, 6)))
                                 : (found == 1 ? arena_str(a->arena, first) : r->value);
}

/* --- DKIM --- */

static void
dkim_row(struct advice *a, const struct advice_key *k)
{
    struct advice_row *r = row_add(a, "", "TXT");
    struct keys_row row = {.public = k->public, .alg = k->alg};
    enum keys_seen best = KEYS_MISSING;
    const struct dns_answer *got;

    r->name = arena_fmt(a->arena, "%.*s._domainkey.%.*s", STR_ARG(k->selector),
                        STR_ARG(k->above.n ? k->above : a->in->domain));
    r->value = k->record;
    r->note = arena_fmt(a->arena, "the key is %s", k->state);
    if (k->above.n)
        r->note = arena_fmt(a->arena, "%.*s signs for the domains below it (dkim.subdomains); %.*s",
                            STR_ARG(k->above), STR_ARG(r->note));
    got = look(a, r, r->name, DNS_TXT);
    for (size_t i = 0; got && i < got->n; i++) {
        enum keys_seen seen = got->records[i].type == DNS_TXT
                                  ? keys_record_compare(got->records[i].data, &row)
                                  : KEYS_MISSING;

        if (seen == KEYS_MISSING || best == KEYS_PUBLISHED)
            continue;
        best = seen;
        r->found = arena_str(a->arena, got->records[i].data);
    }
    if (got)
        r->status = best == KEYS_PUBLISHED   ? ADVICE_OK
                    : best == KEYS_DIFFERENT ? ADVICE_DIFFERENT
                                             : ADVICE_MISSING;
}

/* --- the others --- */

/* A domain above that says a policy for this one too; *ret is its record. */
static struct str
policy_above(struct advice *a, struct str *ret)
{
    struct str rest = a->in->domain;
    ssize_t dot;

    while ((dot = str_chr(rest, '.')) >= 0) {
        const struct dns_answer *got;
        struct str name;

        rest = str_from(rest, (size_t)dot + 1);
        if (str_chr(rest, '.') < 0)
            break;
        name = arena_fmt(a->arena, "_dmarc.%.*s", STR_ARG(rest));
        got = auth_ask(a->answers, a->needs, name, DNS_TXT);
        for (size_t i = 0; got && i < got->n; i++)
            if (str_istarts(got->records[i].data, STR("v=DMARC1"))) {
                *ret = got->records[i].data;
                return rest;
            }
    }
    return STR_NONE;
}

/* The key of a domain above counts for DMARC unless it wants the very same domain. */
static void
strict_note(struct advice *a, struct advice_row *r, struct str record)
{
    struct dmarc_record policy;
    struct str above = a->in->nkeys ? a->in->keys[0].above : STR_NONE;

    if (!above.n || dmarc_record_parse(record, &policy) < 0 || !policy.strict_dkim)
        return;
    r->status = ADVICE_DIFFERENT;
    r->note = arena_fmt(a->arena,
                        "it says adkim=s: signatures of %.*s do not count for %.*s. Say adkim=r, "
                        "or give the domain a key of its own",
                        STR_ARG(above), STR_ARG(a->in->domain));
}

/* Where reports are to go: to where they are read, or to somebody who reads them. */
static struct str
reports_to(const struct advice *a)
{
    return a->in->reports.n ? a->in->reports
                            : arena_fmt(a->arena, "postmaster@%.*s", STR_ARG(a->in->domain));
}

static void
dmarc_row(struct advice *a)
{
    struct advice_row *r = row_add(a, "_dmarc.", "TXT");
    const struct dns_answer *got = look(a, r, r->name, DNS_TXT);
    struct str first = STR_NONE, above;
    unsigned found;

    r->value = arena_fmt(a->arena, "v=DMARC1; p=none; rua=mailto:%.*s", STR_ARG(reports_to(a)));
    if (!got)
        return;
    found = gather(a, r, got, STR("v=DMARC1"), &first);
    if (found == 1) {
        r->status = ADVICE_OK;
        r->value = arena_str(a->arena, first);
        strict_note(a, r, first);
        return;
    }
    if (found) {
        r->status = ADVICE_DIFFERENT;
        r->note = STR("more than one DMARC record: receivers use none of them");
        return;
    }
    above = policy_above(a, &first);
    if (!above.n)
        return;
    r->status = ADVICE_OPTIONAL;
    r->note = arena_fmt(a->arena, "the policy of %.*s holds here", STR_ARG(above));
    strict_note(a, r, first);
}

static void
mx_row(struct advice *a)
{
    CLEANUP(buf_done) struct buf all = {0};
    struct advice_row *r = row_add(a, "", "MX");
    const struct dns_answer *got = look(a, r, a->in->domain, DNS_MX);
    bool ours = false;

    buf_init(&all, FOUND_MAX);
    r->value = arena_fmt(a->arena, "10 %.*s.", STR_ARG(a->in->hostname));
    for (size_t i = 0; got && i < got->n; i++) {
        const struct dns_record *rec = &got->records[i];

        if (rec->type != DNS_MX)
            continue;
        buf_fmt(&all, "%s%u %.*s.", all.n ? " | " : "", rec->preference, STR_ARG(rec->name));
        ours = ours || str_ieq(rec->name, a->in->hostname);
    }
    r->found = arena_str(a->arena, buf_view(&all));
    if (got)
        r->status = ours ? ADVICE_OK : all.n ? ADVICE_DIFFERENT : ADVICE_MISSING;
}

static void
optional_row(struct advice *a, const char *prefix, struct str version, struct str value,
             const char *note)
{
    struct advice_row *r = row_add(a, prefix, "TXT");
    const struct dns_answer *got = look(a, r, r->name, DNS_TXT);
    struct str first = STR_NONE;
    unsigned found;

    r->value = value;
    if (!got)
        return;
    found = gather(a, r, got, version, &first);
    r->status = found == 1 ? ADVICE_OK : found ? ADVICE_DIFFERENT : ADVICE_OPTIONAL;
    r->note = found == 1 ? STR_NONE : str_c(note);
    if (found == 1)
        r->value = arena_str(a->arena, first);
}

enum auth_state
advice_run(const struct advice_input *in, const struct auth_answers *answers,
           struct auth_needs *needs, struct arena *arena, struct advice_row rows[ADVICE_ROWS],
           unsigned *ret_n)
{
    struct advice a = {.in = in, .answers = answers, .needs = needs, .arena = arena, .rows = rows};

    needs->n = 0;
    needs->full = false;
    if (in->sent)
        spf_row(&a);
    for (unsigned i = 0; i < MIN(in->nkeys, ADVICE_KEYS); i++)
        dkim_row(&a, &in->keys[i]);
    dmarc_row(&a);
    if (in->served) {
        mx_row(&a);
        optional_row(&a, "_mta-sts.", STR("v=STSv1"),
                     arena_fmt(arena, "v=STSv1; id=%llu", (unsigned long long)in->now),
                     "only with the policy file at https://mta-sts.DOMAIN/.well-known/mta-sts.txt");
        optional_row(&a, "_smtp._tls.", STR("v=TLSRPTv1"),
                     arena_fmt(arena, "v=TLSRPTv1; rua=mailto:%.*s", STR_ARG(reports_to(&a))),
                     "for reports of senders whose TLS failed here");
    }
    if (needs->n)
        return AUTH_NEED;
    *ret_n = a.n;
    return AUTH_DONE;
}

void
advice_line(const struct advice_row *r, struct buf *out)
{
    struct str value = r->value;

    buf_fmt(out, "%.*s. IN %s", STR_ARG(r->name), r->type);
    if (str_eq(str_c(r->type), STR("MX"))) {
        buf_fmt(out, " %.*s", STR_ARG(value));
        return;
    }
    while (value.n) {
        struct str part = str_sub(value, 0, STRING_MAX);

        value = str_from(value, part.n);
        buf_fmt(out, " \"%.*s\"", STR_ARG(part));
    }
}
