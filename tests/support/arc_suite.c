/*
 * tests/support/arc_suite.c - runs ARC scenarios in YAML: arc_suite FILE|FOLDER...
 *
 * A document has `tests` and `txt-records`. A test with `cv` is validated; one with `AS`, `AMS` and
 * `AAR` is sealed with the document's `privatekey`, and the three fields must have the expected
 * tags, signatures included. One TAP line a test, the plan at the end.
 */
#include "auth/arc_seal.h"
#include "auth/dkim_tag.h"
#include "dkim_rig.h"
#include "suite_file.h"
#include "tap.h"

struct document {
    yaml_document_t *yaml;
    struct rig_dns dns;
    struct dkim_keys *keys;
    struct dkim_private *key;
    struct str domain, selector;
};
struct subject {
    struct buf text;
    struct dkim_message *message;
    struct arc_validator chain;
};

static struct str
text_of(const struct document *d, yaml_node_t *map, const char *key)
{
    return dkim_trim(suite_yaml_text(suite_yaml_get(d->yaml, map, key)));
}

static void
add_records(struct document *d, yaml_node_t *map)
{
    if (!map || map->type != YAML_MAPPING_NODE)
        return;
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top;
         p++) {
        struct str name = suite_yaml_text(yaml_document_get_node(d->yaml, p->key));
        struct str text = suite_yaml_text(yaml_document_get_node(d->yaml, p->value));

        rig_dns_add(&d->dns, name, DNS_OK, dkim_trim(text));
    }
}

static void
subject_read(struct subject *s, struct str text)
{
    struct str body, header;

    suite_crlf(text, &s->text);
    header = suite_header(buf_view(&s->text), &body);
    s->message = dkim_message_create();
    dkim_message_headers(s->message, header, &dkim_limits_default);
    arc_prepare(&s->chain, s->message, &dkim_limits_default);
    arc_seal_prepare(s->message, DKIM_RELAXED);
    dkim_message_body(s->message, body.p, body.n);
    dkim_message_end(s->message);
}

static struct arc_result
subject_validate(struct subject *s, struct document *d)
{
    struct auth_needs needs = {.n = 0};
    struct arc_result r;

    while (arc_run(&s->chain, 0, NULL, 0, d->keys, &d->dns.table, &needs, &r) == AUTH_NEED)
        rig_dns_answer(&d->dns, &needs);
    return r;
}

static void
subject_done(struct subject *s)
{
    dkim_message_free(s->message);
    buf_done(&s->text);
}

static void
validate(struct document *d, struct str name, yaml_node_t *test)
{
    struct str want = text_of(d, test, "cv");
    struct subject s = {0};
    struct arc_result r;
    bool good;

    subject_read(&s, suite_yaml_text(suite_yaml_get(d->yaml, test, "message")));
    r = subject_validate(&s, d);
    /* No value: the chain had ended before (its newest seal says so); only pass would be wrong. */
    good = want.n ? str_ieq(want, str_c(arc_cv_name(r.cv))) : r.cv == ARC_FAIL;
    if (!OK(good, "validate %.*s", STR_ARG(name)))
        printf("#   got %s at %u (%s: %s), wanted %.*s\n", arc_cv_name(r.cv), r.at, r.text,
               dkim_reason_text(r.reason), STR_ARG(want));
    subject_done(&s);
}

/* --- sealing --- */

static size_t
without_space(struct str s, char *dst, size_t cap)
{
    size_t n = 0;

    for (size_t i = 0; i < s.n && n < cap; i++)
        if (s.p[i] != ' ' && s.p[i] != '\t' && s.p[i] != '\r' && s.p[i] != '\n')
            dst[n++] = s.p[i];
    return n;
}

static bool
same_squeezed(struct str a, struct str b)
{
    char x[4096], y[4096];
    size_t n = without_space(a, x, sizeof(x)), m = without_space(b, y, sizeof(y));

    return n == m && !memcmp(x, y, n);
}

/* Each expected tag is there with that value; white space within does not count. */
static bool
same_tags(struct str got, struct str want)
{
    struct dkim_tags a, b;

    if (dkim_tags_parse(got, &a) < 0 || dkim_tags_parse(want, &b) < 0 || a.n != b.n)
        return false;
    for (unsigned i = 0; i < b.n; i++) {
        const struct dkim_tag *t = dkim_tags_find(&a, b.items[i].name);
        if (!t || !same_squeezed(t->value, b.items[i].value))
            return false;
    }
    return true;
}

static struct str
field_value(struct str block, struct str name)
{
    struct header_field f;

    return header_find(block, name, &f) ? dkim_trim(f.value) : STR_NONE;
}

/* The state that the payload names (" arc=", not "dmarc="), else what we find ourselves. */
static enum arc_cv
state_of(struct subject *s, struct document *d, struct str payload)
{
    static const enum arc_cv states[] = {ARC_NONE, ARC_PASS, ARC_FAIL};

    for (unsigned i = 0; i < ARRAY_LEN(states); i++) {
        char item[16];
        size_t n = str_fmt(item, sizeof(item), " arc=%s", arc_cv_name(states[i]));

        if (str_find(payload, str_of(item, n)) >= 0)
            return states[i];
    }
    return subject_validate(s, d).cv;
}

static void
seal(struct document *d, struct str name, yaml_node_t *test)
{
    struct buf CLEANUP(buf_done) payload = {0};
    struct buf CLEANUP(buf_done) out = {0};
    struct arc_seal_params p = {.domain = d->domain,
                                .selector = d->selector,
                                .headers = text_of(d, test, "sig-headers"),
                                .header_canon = DKIM_RELAXED,
                                .body_canon = DKIM_RELAXED};
    struct str as = text_of(d, test, "AS"), got;
    struct subject s = {0};
    struct why why = {""};
    int rc;

    buf_init(&payload, 65536);
    buf_init(&out, 65536);
    str_u64(text_of(d, test, "t"), &p.now);
    subject_read(&s, suite_yaml_text(suite_yaml_get(d->yaml, test, "message")));
    arc_payload(s.message, text_of(d, test, "srv-id"), &payload);
    p.payload = payload.n ? buf_view(&payload) : text_of(d, test, "srv-id");
    p.alg = dkim_private_alg(d->key);
    p.cv = state_of(&s, d, p.payload);
    rc = arc_seal(s.message, &s.chain, &p, dkim_private_sign, d->key, &out, &why);
    got = buf_view(&out);
    if (!as.n) {
        OK(rc < 0, "seal %.*s: nothing is added", STR_ARG(name));
    } else if (!OK(rc == 0 && same_tags(field_value(got, STR("ARC-Seal")), as) &&
                       same_tags(field_value(got, STR("ARC-Message-Signature")),
                                 text_of(d, test, "AMS")) &&
                       same_squeezed(field_value(got, STR("ARC-Authentication-Results")),
                                     text_of(d, test, "AAR")),
                   "seal %.*s", STR_ARG(name))) {
        printf("#   %s\n", rc < 0 ? why.text : "made");
        while (got.n) {
            struct str line = str_cut(got, '\n', &got);
            printf("#   %.*s\n", STR_ARG(line));
        }
    }
    subject_done(&s);
}

static void
run_tests(struct document *d, yaml_node_t *tests)
{
    for (yaml_node_pair_t *p = tests->data.mapping.pairs.start; p < tests->data.mapping.pairs.top;
         p++) {
        yaml_node_t *test = yaml_document_get_node(d->yaml, p->value);
        struct str name = suite_yaml_text(yaml_document_get_node(d->yaml, p->key));

        if (suite_yaml_get(d->yaml, test, "AS") || suite_yaml_get(d->yaml, test, "sig-headers")) {
            if (d->key)
                seal(d, name, test);
            else
                OK(false, "seal %.*s: the document has no private key", STR_ARG(name));
        } else {
            validate(d, name, test);
        }
    }
}

static void
run_document(void *ctx, yaml_document_t *yaml)
{
    yaml_node_t *root = yaml_document_get_root_node(yaml);
    struct document d = {.yaml = yaml};
    yaml_node_t *tests = suite_yaml_get(yaml, root, "tests");
    struct str pem = suite_yaml_text(suite_yaml_get(yaml, root, "privatekey")), why;

    (void)ctx;
    if (!tests || tests->type != YAML_MAPPING_NODE)
        return;
    d.keys = dkim_keys_create(64, 1, &dkim_limits_default);
    d.domain = text_of(&d, root, "domain");
    d.selector = text_of(&d, root, "sel");
    add_records(&d, suite_yaml_get(yaml, root, "txt-records"));
    if (pem.n && dkim_private_load(pem, &d.key, &why) < 0)
        printf("# privatekey: %.*s\n", STR_ARG(why));
    run_tests(&d, tests);
    dkim_private_free(d.key);
    dkim_keys_free(d.keys);
    rig_dns_done(&d.dns);
}

static void
run_file(void *ctx, const char *path)
{
    struct str name = str_c(path);

    if (!str_iends(name, STR(".yml")) && !str_iends(name, STR(".yaml")))
        return;
    if (!suite_yaml_each(path, run_document, ctx))
        OK(false, "%s: not to be read", path);
}

int
main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        suite_walk(argv[i], run_file, NULL);
    if (!tap_count_)
        tap_skip("ARC scenarios", "no YAML file with tests was given");
    return tap_done();
}
