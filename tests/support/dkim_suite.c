/*
 * tests/support/dkim_suite.c - runs DKIM collections: dkim_suite FILE|FOLDER...
 *
 * Two forms, told apart by what lies in the folder (for a file: in its folder or above it):
 *   FAKE_DNS.dat ("name TXT" a line) with expected.json: each message is verified; entries with
 *     "must" are gates, the others are told (# skip) with what we say. The data is older than
 *     RFC 8301, so rsa-sha1 and short keys count here; the default policy is asked as well and must
 *     never call them good.
 *   keys (*.key, *.private) and records (*.txt, *.dns) beside messages: signed messages must verify
 *     with one of the keys; a plain message is signed with each key, in each canonicalization, and
 *     verified with each record: with its own it must pass, with others and bad ones it must not.
 */
#include <jansson.h>
#include <sys/stat.h>

#include "auth/dkim_sign.h"
#include "auth/dkim_tag.h"
#include "auth/dkim_verify.h"
#include "dkim_rig.h"
#include "suite_file.h"
#include "tap.h"

#define KEYS_MAX 32u

static struct dkim_verifier verifier;

/* The status of a message's signatures: pass if one passes, else the first's; -1: there is none. */
static int
verify(struct str message, struct rig_dns *dns, const struct dkim_limits *limits,
       struct dkim_result *ret)
{
    struct dkim_keys *keys = dkim_keys_create(16, 1, limits);
    struct dkim_message *m = dkim_message_create();
    struct buf CLEANUP(buf_done) text = {0};
    int best = -1;

    suite_crlf(message, &text);
    rig_verify(&verifier, m, buf_view(&text), 0, dns, keys, limits, 1800000000);
    for (unsigned i = 0; i < verifier.n; i++)
        if (best < 0 || (verifier.results[i].status == DKIM_PASS && best != DKIM_PASS)) {
            best = (int)verifier.results[i].status;
            *ret = verifier.results[i];
        }
    dkim_message_free(m);
    dkim_keys_free(keys);
    return best;
}

static const char *
status_text(int status)
{
    return status < 0 ? "none" : dkim_status_name((enum dkim_status)status);
}

static struct dkim_limits
old_rules(void)
{
    struct dkim_limits limits = dkim_limits_default;

    limits.legacy = true;
    limits.min_bits = 512;
    return limits;
}

/* --- the form with FAKE_DNS.dat --- */

static void
fake_dns(const char *path, struct rig_dns *dns)
{
    struct buf CLEANUP(buf_done) text = {0};
    struct str rest;

    suite_read(path, &text);
    for (rest = buf_view(&text); rest.n;) {
        struct str line = dkim_trim(str_cut(rest, '\n', &rest)), name = str_word(&line);
        struct str data = dkim_trim(line);

        if (!name.n || name.p[0] == '#' || str_eq(data, STR("NXDOMAIN")))
            continue;
        if (str_eq(data, STR("\"\"")))
            data = STR("");
        rig_dns_add(dns, name, str_starts(data, STR("~~")) ? DNS_TEMPORARY : DNS_OK, data);
    }
}

static void
expected_case(struct rig_dns *dns, const char *path, const char *must, const char *upstream)
{
    const struct dkim_limits old = old_rules();
    struct buf CLEANUP(buf_done) text = {0};
    struct dkim_result r = {.reason = DKIM_OK}, now = {.reason = DKIM_OK};
    struct str name = suite_base(path);
    char label[256];
    int got, strict;

    suite_read(path, &text);
    got = verify(buf_view(&text), dns, &old, &r);
    strict = verify(buf_view(&text), dns, &dkim_limits_default, &now);
    if (!must) {
        str_fmt(label, sizeof(label), "%.*s: we say %s (%s), upstream %s", STR_ARG(name),
                status_text(got), got < 0 ? "no signature" : dkim_reason_text(r.reason), upstream);
        tap_skip(label, "no gate: implementations disagree");
        return;
    }
    if (!OK((got == DKIM_PASS) == !strcmp(must, "pass"), "%.*s must be %s", STR_ARG(name), must))
        printf("#   got %s: %s\n", status_text(got), dkim_reason_text(r.reason));
    if (strict == DKIM_PASS && (now.alg == DKIM_RSA_SHA1 || now.bits < 256))
        OK(false, "%.*s: weak, and called good", STR_ARG(name));
}

struct expected {
    struct rig_dns dns;
    json_t *all;
};

static void
expected_file(void *ctx, const char *path)
{
    struct expected *e = ctx;
    struct str base = suite_base(path);
    char name[256];
    json_t *one;

    if (!str_copy(base, name, sizeof(name)))
        return;
    one = json_object_get(e->all, name);
    if (one)
        expected_case(&e->dns, path, json_string_value(json_object_get(one, "must")),
                      json_string_value(json_object_get(one, "upstream")));
    else if (strstr(path, "/corpus/"))
        expected_case(&e->dns, path, NULL, "unknown");
}

static void
run_expected(const char *folder, const char *path)
{
    static struct expected e;
    json_error_t error = {0};
    char name[4096];

    str_fmt(name, sizeof(name), "%s/FAKE_DNS.dat", folder);
    memset(&e, 0, sizeof(e));
    fake_dns(name, &e.dns);
    str_fmt(name, sizeof(name), "%s/expected.json", folder);
    e.all = json_load_file(name, 0, &error);
    if (!e.all)
        OK(false, "%s: %s", name, error.text);
    suite_walk(path, expected_file, &e);
    json_decref(e.all);
    rig_dns_done(&e.dns);
}

/* --- the form with keys and records --- */

struct record {
    char name[128];
    struct buf text;
    bool bad; /* by its name */
};
struct chest {
    struct record records[KEYS_MAX];
    struct dkim_private *keys[KEYS_MAX];
    char key_names[KEYS_MAX][128];
    unsigned nrecords, nkeys;
};

static bool
says_bad(struct str name)
{
    return str_find(name, STR("bad")) >= 0 || str_find(name, STR("tlsrpt")) >= 0;
}

static struct record *
add_record(struct chest *c, struct str name, struct str text)
{
    struct record *r = &c->records[c->nrecords++];

    str_copy(name, r->name, sizeof(r->name));
    buf_init(&r->text, 65536);
    buf_str(&r->text, text);
    return r;
}

static void
chest_file(void *ctx, const char *path)
{
    struct chest *c = ctx;
    struct str name = suite_base(path), why;
    struct buf CLEANUP(buf_done) text = {0};

    if (c->nrecords + 1 >= KEYS_MAX || c->nkeys == KEYS_MAX || !suite_read(path, &text))
        return;
    if (str_iends(name, STR(".key")) || str_iends(name, STR(".private"))) {
        struct dkim_private *k;
        char p[2048], record[2200];
        size_t n;

        if (dkim_private_load(buf_view(&text), &k, &why) < 0) {
            OK(false, "%.*s: %.*s", STR_ARG(name), STR_ARG(why));
            return;
        }
        if (dkim_private_public(k, p, sizeof(p)) <= 0)
            p[0] = '\0';
        n = str_fmt(record, sizeof(record), "v=DKIM1; k=%s; p=%s",
                    dkim_private_alg(k) == DKIM_ED25519_SHA256 ? "ed25519" : "rsa", p);
        str_copy(name, c->key_names[c->nkeys], sizeof(c->key_names[0]));
        c->keys[c->nkeys++] = k;
        add_record(c, name, str_of(record, n));
    } else if ((str_iends(name, STR(".txt")) || str_iends(name, STR(".dns"))) &&
               str_find(buf_view(&text), STR("p=")) >= 0) {
        add_record(c, name, dkim_trim(buf_view(&text)))->bad = says_bad(name);
    }
}

/* Verifies with that record under every name that the signature asks for. */
static int
verify_with(struct str message, const struct record *rec, struct dkim_result *ret)
{
    const struct dkim_limits *limits = &dkim_limits_default;
    static struct rig_dns dns;
    struct buf CLEANUP(buf_done) text = {0};
    struct header_field f;
    struct str body, header;
    size_t at = 0;
    int got;

    suite_crlf(message, &text);
    header = suite_header(buf_view(&text), &body);
    while ((got = header_next(header, &at, &f)) != 0) {
        struct dkim_sig s;
        char name[256];
        size_t n;

        if (got < 0 || !str_ieq(f.name, STR("dkim-signature")))
            continue;
        dkim_sig_parse(&f, DKIM_KIND_SIGNATURE, limits, &s);
        if (dkim_key_name(s.selector, s.domain, name, &n) == 0)
            rig_dns_add(&dns, str_of(name, n), DNS_OK, buf_view(&rec->text));
    }
    got = verify(message, &dns, limits, ret);
    rig_dns_done(&dns);
    return got;
}

/* A domain that exists in documents and tests only: its key must be here. */
static bool
is_example(struct str domain)
{
    return str_find(domain, STR("example")) >= 0 || str_iends(domain, STR(".ex")) ||
           str_iends(domain, STR(".test"));
}

static void
signed_message(struct chest *c, struct str name, struct str text)
{
    struct dkim_result r = {.reason = DKIM_OK};
    int best = -1;

    for (unsigned i = 0; i < c->nrecords && best != DKIM_PASS; i++)
        if (!c->records[i].bad)
            best = verify_with(text, &c->records[i], &r);
    if (best == DKIM_FAIL && r.reason == DKIM_BAD_SIGNATURE && !is_example(str_c(r.domain_ascii))) {
        tap_skip(r.domain_ascii, "signed by a real domain whose key does not lie beside it");
        return;
    }
    if (says_bad(name))
        OK(best != DKIM_PASS, "%.*s must not pass", STR_ARG(name));
    else if (!OK(best == DKIM_PASS, "%.*s verifies with a key that lies beside it", STR_ARG(name)))
        printf("#   got %s: %s\n", status_text(best), dkim_reason_text(r.reason));
}

/* The message with a signature of ours on top; false: refused. */
static bool
sign_one(struct str text, struct dkim_private *key, unsigned canon, struct buf *out)
{
    const struct dkim_sign_params p = {.domain = STR("example.com"),
                                       .selector = STR("test"),
                                       .alg = dkim_private_alg(key),
                                       .header_canon = (enum dkim_canon)(canon & 1),
                                       .body_canon = (enum dkim_canon)(canon >> 1),
                                       .now = 1700000000};
    struct dkim_message *m = dkim_message_create();
    struct buf CLEANUP(buf_done) crlf = {0};
    struct str body, header;
    bool good;

    suite_crlf(text, &crlf);
    header = suite_header(buf_view(&crlf), &body);
    dkim_message_headers(m, header, &dkim_limits_default);
    dkim_sign_prepare(m, p.body_canon);
    dkim_message_body(m, body.p, body.n);
    dkim_message_end(m);
    good = dkim_sign(m, &p, dkim_private_sign, key, out, NULL) == 0;
    buf_str(out, buf_view(&crlf));
    dkim_message_free(m);
    return good;
}

/* Does the key record hold the key's public half? RSA may be published in two forms. */
static bool
is_own(const struct chest *c, unsigned key, const struct record *rec)
{
    struct dkim_tags tags, own;
    const struct dkim_tag *p, *q;

    for (unsigned i = 0; i < c->nrecords; i++)
        if (!strcmp(c->records[i].name, c->key_names[key]) &&
            dkim_tags_parse(buf_view(&c->records[i].text), &own) == 0 &&
            dkim_tags_parse(buf_view(&rec->text), &tags) == 0) {
            p = dkim_tags_find(&own, STR("p"));
            q = dkim_tags_find(&tags, STR("p"));
            /* The bare RSAPublicKey is the tail of the SubjectPublicKeyInfo's bytes. */
            uint8_t a[2048], b[2048];
            ssize_t n = dkim_base64(p->value, a, sizeof(a));
            ssize_t m = q ? dkim_base64(q->value, b, sizeof(b)) : -1;
            return m > 0 && n >= m && !memcmp(a + (n - m), b, (size_t)m);
        }
    return false;
}

static void
plain_message(struct chest *c, struct str name, struct str text)
{
    for (unsigned k = 0; k < c->nkeys; k++)
        for (unsigned canon = 0; canon < 4; canon++) {
            struct buf CLEANUP(buf_done) out = {0};
            unsigned right = 0, wrong = 0;
            struct dkim_result r;

            buf_init(&out, SUITE_FILE_MAX);
            if (!sign_one(text, c->keys[k], canon, &out)) {
                OK(str_find(name, STR("nofrom")) >= 0, "%.*s is not signed: it has no single From",
                   STR_ARG(name));
                return;
            }
            for (unsigned i = 0; i < c->nrecords; i++) {
                bool want = is_own(c, k, &c->records[i]) && !c->records[i].bad;
                bool pass = verify_with(buf_view(&out), &c->records[i], &r) == DKIM_PASS;

                right += pass && want;
                if (pass != want && ++wrong)
                    printf("# %s with %s: %s\n", c->key_names[k], c->records[i].name,
                           pass ? "passes" : dkim_reason_text(r.reason));
            }
            OK(right && !wrong, "%.*s signed by %s, %s/%s: its %u records verify it, no other does",
               STR_ARG(name), c->key_names[k], canon & 1 ? "relaxed" : "simple",
               canon >> 1 ? "relaxed" : "simple", right);
        }
}

static void
message_file(void *ctx, const char *path)
{
    struct str name = suite_base(path);
    struct buf CLEANUP(buf_done) text = {0};

    if (str_find(name, STR(".message")) < 0 && !str_iends(name, STR(".msg")) &&
        !str_iends(name, STR(".eml")) && !str_iends(name, STR(".mbox")))
        return;
    suite_read(path, &text);
    if (str_starts(buf_view(&text), STR("From "))) { /* mbox: without its first line */
        ssize_t nl = str_chr(buf_view(&text), '\n');
        buf_drop(&text, (size_t)(nl + 1));
    }
    if (str_find(buf_view(&text), STR("DKIM-Signature:")) >= 0)
        signed_message(ctx, name, buf_view(&text));
    else
        plain_message(ctx, name, buf_view(&text));
}

static void
run_keys(const char *folder, const char *path)
{
    static struct chest c;

    memset(&c, 0, sizeof(c));
    suite_walk(folder, chest_file, &c);
    suite_walk(path, message_file, &c);
    for (unsigned i = 0; i < c.nrecords; i++)
        buf_done(&c.records[i].text);
    for (unsigned i = 0; i < c.nkeys; i++)
        dkim_private_free(c.keys[i]);
}

static bool
there(const char *folder, const char *name)
{
    struct stat st;
    char path[4096];

    str_fmt(path, sizeof(path), "%s/%s", folder, name);
    return stat(path, &st) == 0;
}

static void
run(const char *path)
{
    char folder[4096];
    struct stat st;

    if (stat(path, &st) < 0) {
        OK(false, "%s: not there", path);
        return;
    }
    str_copy(str_c(path), folder, sizeof(folder));
    for (unsigned up = 0; up < 3; up++) {
        if (there(folder, "FAKE_DNS.dat")) {
            run_expected(folder, path);
            return;
        }
        if (!strrchr(folder, '/'))
            break;
        *strrchr(folder, '/') = '\0';
    }
    str_copy(str_c(path), folder, sizeof(folder));
    if (!S_ISDIR(st.st_mode) && strrchr(folder, '/'))
        *strrchr(folder, '/') = '\0';
    run_keys(folder, path);
}

int
main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        run(argv[i]);
    if (!tap_count_)
        tap_skip("DKIM collections", "no file of a known form was given");
    return tap_done();
}
