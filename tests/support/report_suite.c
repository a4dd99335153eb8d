/*
 * tests/support/report_suite.c - runs collections of reports (DMARC aggregate and failure, TLS)
 * through mail/report: a TAP line a file.
 *
 *     build/tests/report_suite PATH...
 *
 * A file in a folder *_invalid, one called invalid_*, and an empty one must be refused with a text;
 * every other one must be read, say what a report must say, be read the same however its bytes are
 * cut, and come back from what the writers make of it. An .xsd is a schema: the reports beside it
 * and one of our own are written and judged by `xmllint --schema`.
 */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mail/report.h"
#include "mail/report_dmarc.h"
#include "mail/report_tls.h"
#include "suite_file.h"
#include "tap.h"

#define WRITTEN_MAX (32u << 20)

/* ---- what must be so ---- */

static const char *
dmarc_lack(const struct report_dmarc *d)
{
    uint64_t sum = 0, passed = 0;
    uint32_t rows = 0;

    for (const struct report_row *r = d->rows; r; r = r->next, rows++) {
        sum += r->count;
        passed += r->dkim == REPORT_RESULT_PASS || r->spf == REPORT_RESULT_PASS ? r->count : 0;
    }
    return !d->org.n                        ? "no organisation"
           : !d->id.n                       ? "no id"
           : d->end < d->begin || !d->begin ? "no date range"
           : !d->domain.n                   ? "no domain"
           : !rows || rows != d->nrows      ? "rows are not counted"
           : sum != d->messages             ? "messages are not counted"
           : passed != d->passed            ? "what passed is not counted"
                                            : NULL;
}

static const char *
tls_lack(const struct report_tls *t)
{
    uint64_t good = 0, failed = 0;
    uint32_t n = 0;

    for (const struct report_tls_policy *p = t->policies; p; p = p->next, n++) {
        good += p->good;
        failed += p->failed;
        if (!p->domain.n)
            return "a policy without a domain";
    }
    return !t->org.n                                ? "no organisation"
           : !t->id.n                               ? "no id"
           : t->end < t->begin || !t->begin         ? "no date range"
           : !n || n != t->npolicies                ? "policies are not counted"
           : good != t->good || failed != t->failed ? "sessions are not counted"
                                                    : NULL;
}

static const char *
lack_of(const struct report *r)
{
    switch (r->kind) {
    case REPORT_DMARC_AGGREGATE:
        return dmarc_lack(r->dmarc);
    case REPORT_TLS:
        return tls_lack(r->tls);
    case REPORT_DMARC_FAILURE:
        return r->failure->reported_domain.n || r->failure->arf.source_text.n
                   ? NULL
                   : "neither domain nor IP";
    default:
        return "no report";
    }
}

/* One line that must be the same however a report was read. */
static void
digest(const struct report *r, struct buf *out)
{
    buf_c(out, report_kind_name(r->kind));
    if (r->kind == REPORT_DMARC_AGGREGATE) {
        const struct report_dmarc *d = r->dmarc;
        buf_fmt(out, ": %.*s, id %.*s, %llu-%llu, %.*s p=%u, %u rows, %llu messages, %llu passed",
                STR_ARG(d->org), STR_ARG(d->id), (unsigned long long)d->begin,
                (unsigned long long)d->end, STR_ARG(d->domain), d->p, d->nrows,
                (unsigned long long)d->messages, (unsigned long long)d->passed);
    } else if (r->kind == REPORT_TLS) {
        const struct report_tls *t = r->tls;
        buf_fmt(out, ": %.*s, id %.*s, %llu-%llu, %u policies, %llu good, %llu failed",
                STR_ARG(t->org), STR_ARG(t->id), (unsigned long long)t->begin,
                (unsigned long long)t->end, t->npolicies, (unsigned long long)t->good,
                (unsigned long long)t->failed);
    } else if (r->kind == REPORT_DMARC_FAILURE) {
        const struct report_failure *f = r->failure;
        buf_fmt(out, ": %.*s from %.*s at %llu", STR_ARG(f->reported_domain),
                STR_ARG(f->arf.source_text), (unsigned long long)f->arf.arrival);
    }
}

/* Byte for byte, as a file: the same outcome. */
static int
read_bytes(struct str text, struct arena *arena, struct report *ret, struct why *why)
{
    struct report_reader *r;
    int did = report_open(&r, &report_limits_default, arena);

    if (did < 0)
        return did;
    for (size_t at = 0; at < text.n; at++)
        report_feed(r, text.p + at, 1);
    did = report_end(r, ret, why);
    report_close(r);
    return did;
}

static bool
same_again(struct str text, const struct buf *want, const char *how)
{
    struct arena arena;
    struct report r;
    struct why why = {.text = ""};
    struct buf got;

    arena_init(&arena, 256u << 20);
    buf_init(&got, 65536);
    int did = *how == 'b' ? read_bytes(text, &arena, &r, &why)
                          : report_read(text, &report_limits_default, &arena, &r, &why);
    if (did == 0)
        digest(&r, &got);
    bool same = did == 0 && str_eq(buf_view(&got), buf_view(want));
    if (!same)
        printf("# %s: %.*s (%s)\n# wanted %.*s\n", how, STR_ARG(buf_view(&got)), why.text,
               STR_ARG(buf_view(want)));
    buf_done(&got);
    arena_done(&arena);
    return same;
}

static bool
comes_back(const struct report *r, const struct buf *want)
{
    struct buf out, packed;
    bool good = true;

    buf_init(&out, WRITTEN_MAX);
    buf_init(&packed, WRITTEN_MAX);
    if (r->kind == REPORT_DMARC_AGGREGATE) {
        good = report_dmarc_write(r->dmarc, REPORT_FORM_7489, &out) == 0 &&
               same_again(buf_view(&out), want, "written as RFC 7489");
        buf_clear(&out);
        good &= report_dmarc_write(r->dmarc, REPORT_FORM_9990, &out) == 0 &&
                same_again(buf_view(&out), want, "written as RFC 9990");
    } else if (r->kind == REPORT_TLS) {
        good = report_tls_write(r->tls, &out) == 0 &&
               same_again(buf_view(&out), want, "written as RFC 8460");
    }
    if (out.n)
        good &= report_gzip(buf_view(&out), &packed) &&
                same_again(buf_view(&packed), want, "packed by gzip");
    buf_done(&out);
    buf_done(&packed);
    return good;
}

/* ---- a schema ---- */

static int
xmllint(const char *schema, const char *file)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        dup2(2, 1);
        execlp("xmllint", "xmllint", "--nonet", "--noout", "--schema", schema, file, NULL);
        _exit(127);
    }
    if (pid > 0)
        waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool
put_file(const char *path, struct str text)
{
    FILE *f = fopen(path, "wb");
    bool good = f && fwrite(text.p, 1, text.n, f) == text.n;

    return f && fclose(f) == 0 && good;
}

/* A schema that names its types without the prefix of its own namespace is none for xmllint; what
 * it means is the schema of RFC 9990 appendix A, where both attributes stand. */
static void
schema_mended(struct str text, struct buf *out)
{
    static const char own[] = "xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\"";
    ssize_t at = str_find(text, STR("targetNamespace="));

    if (at < 0 || str_find(text, STR("xmlns=\"")) >= 0) {
        buf_str(out, text);
        return;
    }
    printf("# the schema names its types without a namespace: read with %s and "
           "elementFormDefault=\"qualified\" (docs/disputed/report.txt)\n",
           own);
    buf_str(out, str_sub(text, 0, (size_t)at));
    buf_fmt(out, "%s elementFormDefault=\"qualified\" ", own);
    buf_str(out, str_from(text, (size_t)at));
}

static struct report_dmarc *
own_report(void)
{
    static struct report_reason why[2] = {{&why[1], REPORT_OVERRIDE_MAILING_LIST, {NULL, 0}},
                                          {NULL, REPORT_OVERRIDE_POLICY_TEST_MODE, {NULL, 0}}};
    static struct report_auth dkim[2], spf;
    static struct report_row rows[2];
    static struct report_text error;
    static struct report_dmarc d;

    why[0].comment = STR("list <a&b> \"x\" \x01 \xff \xef\xbf\xbf");
    why[1].comment = STR("");
    dkim[0] = (struct report_auth){
        &dkim[1], STR("a.example"), STR("s1"), STR("2048-bit key"), REPORT_RESULT_PASS, 0};
    dkim[1] = (struct report_auth){NULL,    STR("b.example"),        STR("s2"),
                                   STR(""), REPORT_RESULT_TEMPERROR, 0};
    spf = (struct report_auth){NULL,    STR("mx.a.example"),    STR(""),
                               STR(""), REPORT_RESULT_SOFTFAIL, REPORT_SCOPE_HELO};
    rows[0] = (struct report_row){.next = &rows[1],
                                  .count = 12,
                                  .disposition = REPORT_DONE_QUARANTINE,
                                  .dkim = REPORT_RESULT_FAIL,
                                  .spf = REPORT_RESULT_FAIL,
                                  .reasons = why,
                                  .envelope_to = STR("c.example"),
                                  .envelope_from = STR("a.example"),
                                  .header_from = STR("a.example"),
                                  .dkims = dkim,
                                  .spfs = &spf};
    addr_parse(STR("192.0.2.9"), &rows[0].source);
    rows[1] = (struct report_row){.count = 1,
                                  .dkim = REPORT_RESULT_PASS,
                                  .spf = REPORT_RESULT_FAIL,
                                  .envelope_from = STR(""),
                                  .header_from = STR("a.example")};
    addr_parse(STR("2001:db8::25"), &rows[1].source);
    error.text = STR("DNS was slow");
    d = (struct report_dmarc){.org = STR("Gapura"),
                              .email = STR("dmarc@mx.example"),
                              .contact = STR("https://mx.example/dmarc?a=1&b=2"),
                              .id = STR("2026-11-23.1"),
                              .begin = 1763856000,
                              .end = 1763942399,
                              .errors = &error,
                              .domain = STR("a.example"),
                              .adkim = REPORT_STRICT,
                              .p = REPORT_POLICY_REJECT,
                              .sp = REPORT_POLICY_QUARANTINE,
                              .np = REPORT_POLICY_REJECT,
                              .has_sp = true,
                              .has_np = true,
                              .discovery = REPORT_DISCOVERY_TREEWALK,
                              .fo = STR("1"),
                              .rows = rows,
                              .nrows = 2,
                              .messages = 13};
    return &d;
}

struct judge {
    char folder[64], schema[96];
};

static void
judge_report(const struct judge *j, const struct report_dmarc *d, const char *name)
{
    char path[128];
    struct buf out;

    buf_init(&out, WRITTEN_MAX);
    str_fmt(path, sizeof(path), "%s/report.xml", j->folder);
    int did = report_dmarc_write(d, REPORT_FORM_9990, &out);
    OK(did == 0 && put_file(path, buf_view(&out)) && xmllint(j->schema, path) == 0,
       "%s: what we write of it is valid by the schema", name);
    unlink(path);
    buf_done(&out);
}

static void
judge_file(void *ctx, const char *path)
{
    struct arena arena;
    struct report r;
    struct buf text;

    if (!suite_read(path, &text))
        return;
    arena_init(&arena, 256u << 20);
    if (report_read(buf_view(&text), &report_limits_default, &arena, &r, NULL) == 0 &&
        r.kind == REPORT_DMARC_AGGREGATE)
        judge_report(ctx, r.dmarc, suite_base(path).p);
    arena_done(&arena);
    buf_done(&text);
}

/* The reports beside a schema stand in its folder or in one beside that. */
static void
run_schema(const char *path, struct str text)
{
    struct judge j = {.folder = "/tmp/report_suite.XXXXXX"};
    char beside[4096];
    struct buf mended;

    if (access("/usr/bin/xmllint", X_OK) != 0) {
        tap_skip(suite_base(path).p, "xmllint is not installed (libxml2-utils)");
        return;
    }
    buf_init(&mended, SUITE_FILE_MAX);
    schema_mended(text, &mended);
    if (!mkdtemp(j.folder)) {
        OK(false, "%s: no folder for what is written", path);
    } else {
        str_fmt(j.schema, sizeof(j.schema), "%s/schema.xsd", j.folder);
        OK(put_file(j.schema, buf_view(&mended)), "%s: the schema is at hand", suite_base(path).p);
        judge_report(&j, own_report(), "a report of our own");
        str_fmt(beside, sizeof(beside), "%.*s..", (int)(strlen(path) - suite_base(path).n), path);
        suite_walk(beside, judge_file, &j);
        unlink(j.schema);
        rmdir(j.folder);
    }
    buf_done(&mended);
}

/* ---- files ---- */

static void
run_bad(const char *name, struct str text)
{
    struct arena arena;
    struct report r;
    struct why why = {.text = ""};

    arena_init(&arena, 256u << 20);
    int did = report_read(text, &report_limits_default, &arena, &r, &why);
    OK(did < 0 && why.text[0], "%s is refused: %s", name, why.text);
    arena_done(&arena);
}

static void
run_good(const char *name, struct str text, bool file)
{
    struct arena arena;
    struct report r;
    struct why why = {.text = ""};
    struct buf said;

    arena_init(&arena, 256u << 20);
    buf_init(&said, 65536);
    int did = report_read(text, &report_limits_default, &arena, &r, &why);
    const char *lack = did < 0 ? why.text : lack_of(&r);
    if (!lack) {
        digest(&r, &said);
        if (file && !same_again(text, &said, "byte for byte"))
            lack = "another outcome byte for byte";
        else if (!comes_back(&r, &said))
            lack = "what we write of it is read as another report";
        else if (!file && report_mail_kind(text, &report_limits_default) != r.kind)
            lack = "the mail is told to be of another kind";
    }
    if (!OK(!lack, "%s: %.*s", name, STR_ARG(buf_view(&said))))
        printf("# %s\n", lack);
    buf_done(&said);
    arena_done(&arena);
}

static void
one_file(void *ctx, const char *path)
{
    struct str base = suite_base(path);
    struct buf text;

    (void)ctx;
    if (str_ends(base, STR(".txt")) || str_ends(base, STR(".md")))
        return;
    if (!suite_read(path, &text)) {
        OK(false, "%s cannot be read", path);
        return;
    }
    alarm(60); /* bounded: a reader that hangs ends the run */
    if (str_ends(base, STR(".xsd")))
        run_schema(path, buf_view(&text));
    else if (strstr(path, "_invalid/") || str_starts(base, STR("invalid_")) || !text.n)
        run_bad(base.p, buf_view(&text));
    else
        run_good(base.p, buf_view(&text), !str_iends(base, STR(".eml")));
    alarm(0);
    buf_done(&text);
}

int
main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: report_suite PATH...\n");
        return 2;
    }
    for (int i = 1; i < argc; i++)
        suite_walk(argv[i], one_file, NULL);
    return tap_done();
}
