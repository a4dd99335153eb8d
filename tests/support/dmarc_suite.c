/*
 * tests/support/dmarc_suite.c - runs DMARC cases: dmarc_suite FILE|FOLDER...
 *
 * Two forms: YAML documents with `zone` and `tests` (docs/formats/dmarc-suite.md), and the lines of
 * the Public Suffix List's tests ("INPUT EXPECTED", null for none, or checkPublicSuffix(...)). The
 * list is public_suffix_list.dat beside the file or one folder up, else Debian's. One TAP line a
 * case, the plan at the end.
 */
#include <unistd.h>

#include "auth/dmarc.h"
#include "auth/zone.h"
#include "mail/address.h"
#include "suite_file.h"
#include "tap.h"

#define ROUNDS_MAX 64u
#define DEBIAN_PSL "/usr/share/publicsuffix/public_suffix_list.dat"

struct document {
    yaml_document_t *yaml;
    struct zone *zone;
    struct str title;
    struct psl *psl;
};
struct outcome {
    struct dmarc_author author;
    struct dmarc_verdict v;
    struct arena arena;
};

static struct psl *
list_near(const char *path)
{
    struct str dir = str_c(path);
    ssize_t slash = str_rchr(dir, '/');
    struct psl *psl = NULL;
    char file[4096];

    dir = slash < 0 ? STR(".") : str_sub(dir, 0, (size_t)slash);
    str_fmt(file, sizeof(file), "%.*s/public_suffix_list.dat", STR_ARG(dir));
    if (access(file, R_OK) != 0)
        str_fmt(file, sizeof(file), "%.*s/../public_suffix_list.dat", STR_ARG(dir));
    if (access(file, R_OK) != 0)
        str_fmt(file, sizeof(file), DEBIAN_PSL);
    return psl_open(file, &psl, NULL) == 0 ? psl : NULL;
}

static struct str
field(const struct document *d, yaml_node_t *test, const char *key)
{
    return suite_yaml_text(suite_yaml_get(d->yaml, test, key));
}

static bool
truth(struct str s)
{
    return str_eq(s, STR("yes")) || str_eq(s, STR("true"));
}

/* "pass example.org" */
static struct dmarc_identifier
identifier(struct str text)
{
    struct dmarc_identifier id = {.auth = DMARC_AUTH_OTHER};
    struct str word = str_word(&text);

    if (str_eq(word, STR("pass")))
        id.auth = DMARC_AUTH_PASS;
    else if (str_eq(word, STR("temperror")))
        id.auth = DMARC_AUTH_TEMPERROR;
    id.domain = str_word(&text);
    return id;
}

static void
author_of(const struct document *d, yaml_node_t *test, struct dmarc_author *ret)
{
    CLEANUP(buf_done) struct buf text;
    yaml_node_t *header = suite_yaml_get(d->yaml, test, "header");

    buf_init(&text, 1u << 20);
    if (header)
        suite_crlf(suite_yaml_text(header), &text);
    else
        buf_fmt(&text, "From: a@%.*s\r\n", STR_ARG(field(d, test, "from")));
    dmarc_author(buf_view(&text), ret);
}

static void
evaluate(const struct document *d, yaml_node_t *test, struct outcome *o)
{
    struct dmarc_identifier dkim[DMARC_SIGNATURES_MAX];
    yaml_node_t *list = suite_yaml_get(d->yaml, test, "dkim");
    struct dmarc_input in = {.author = &o->author, .dkim = dkim};
    struct auth_needs needs = {0};
    unsigned rounds = 0;

    author_of(d, test, &o->author);
    in.spf = identifier(field(d, test, "spf"));
    for (yaml_node_item_t *i = list ? list->data.sequence.items.start : NULL;
         list && i < list->data.sequence.items.top && in.ndkim < ARRAY_LEN(dkim); i++)
        dkim[in.ndkim++] = identifier(suite_yaml_text(yaml_document_get_node(d->yaml, *i)));
    in.other_signs = truth(field(d, test, "other_signs"));
    in.psl = truth(field(d, test, "psl")) ? d->psl : NULL;
    zone_forget(d->zone);
    while (dmarc_run(&in, zone_answers(d->zone), &needs, &o->arena, &o->v) == AUTH_NEED &&
           ++rounds < ROUNDS_MAX && zone_ask(d->zone, &needs) == 0)
        ;
}

static void
show_oddities(unsigned bits, struct buf *out)
{
    for (unsigned i = 0; i < 8; i++)
        if (bits & 1u << i)
            buf_fmt(out, "%s%s", out->n ? " " : "", dmarc_from_name(1u << i));
}

static bool
compare(const struct document *d, yaml_node_t *test, const char *key, struct str got)
{
    yaml_node_t *want = suite_yaml_get(d->yaml, test, key);

    if (!want || str_eq(suite_yaml_text(want), got))
        return true;
    printf("#   %s: got \"%.*s\", wanted \"%.*s\"\n", key, STR_ARG(got),
           STR_ARG(suite_yaml_text(want)));
    return false;
}

static void
run_test(const struct document *d, struct str name, yaml_node_t *test)
{
    CLEANUP(buf_done) struct buf oddities;
    struct outcome o = {0};
    char queries[16];
    bool good = true;

    arena_init(&o.arena, 1u << 20);
    buf_init(&oddities, 1024);
    evaluate(d, test, &o);
    show_oddities(o.author.oddities, &oddities);
    str_fmt(queries, sizeof(queries), "%u", o.v.nsteps);
    const struct {
        const char *key;
        struct str got;
    } rows[] = {
        {"result", str_c(dmarc_result_name(o.v.result))},
        {"policy", str_c(dmarc_policy_name(o.v.policy))},
        {"advice", str_c(dmarc_advice_name(o.v.advice))},
        {"source", str_c(o.v.source)},
        {"org", o.v.organization},
        {"policy_domain", o.v.policy_domain},
        {"domain", str_of(o.author.domain, o.author.n)},
        {"oddities", str_of(oddities.n ? oddities.p : "", oddities.n)},
        {"spf_aligned", o.v.spf_aligned ? STR("yes") : STR("no")},
        {"dkim_aligned", o.v.dkim_aligned ? STR("yes") : STR("no")},
        {"queries", str_c(queries)},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        good = compare(d, test, rows[i].key, rows[i].got) && good;
    OK(good, "%.*s: %.*s: %s", STR_ARG(d->title), STR_ARG(name), dmarc_result_name(o.v.result));
    arena_done(&o.arena);
}

static void
run_document(void *ctx, yaml_document_t *yaml)
{
    struct document d = {.yaml = yaml, .psl = ctx};
    yaml_node_t *root = yaml_document_get_root_node(yaml);
    yaml_node_t *tests = suite_yaml_get(yaml, root, "tests");
    struct why why = {0};

    if (!tests || tests->type != YAML_MAPPING_NODE)
        return;
    d.title = suite_yaml_text(suite_yaml_get(yaml, root, "description"));
    d.zone = zone_create(16u << 20);
    if (zone_read(d.zone, suite_yaml_text(suite_yaml_get(yaml, root, "zone")), &why) < 0)
        OK(false, "%.*s: zone: %s", STR_ARG(d.title), why.text);
    for (yaml_node_pair_t *p = tests->data.mapping.pairs.start; p < tests->data.mapping.pairs.top;
         p++)
        run_test(&d, suite_yaml_text(yaml_document_get_node(yaml, p->key)),
                 yaml_document_get_node(yaml, p->value));
    zone_free(d.zone);
}

/* Quotes off; null and what is no domain become empty; in A-labels. */
static size_t
suffix_word(struct str word, char *dst)
{
    ssize_t n;

    word = str_trim(word);
    if (word.n >= 2 && word.p[0] == '\'')
        word = str_sub(word, 1, word.n - 2);
    if (!word.n || str_eq(word, STR("null")))
        return 0;
    n = address_domain_ascii(word, dst, 256);
    return n < 0 ? 0 : (size_t)n;
}

static void
run_suffix_line(const struct psl *psl, struct str line)
{
    struct str rest = str_trim(line), input, want;
    char input_text[256], want_text[256];

    if (str_ends(rest, STR("\r")))
        rest.n--;
    if (!rest.n || str_starts(rest, STR("//")))
        return;
    if (str_starts(rest, STR("checkPublicSuffix("))) {
        rest = str_cut(str_from(rest, 18), ')', &want);
        input = str_cut(rest, ',', &want);
    } else {
        input = str_word(&rest);
        want = str_word(&rest);
    }
    input = str_of(input_text, suffix_word(input, input_text));
    want = str_of(want_text, suffix_word(want, want_text));
    OK(str_eq(psl_registrable(psl, input), want), "%.*s", STR_ARG(str_trim(line)));
}

static void
run_suffixes(const struct psl *psl, const char *path)
{
    CLEANUP(buf_done) struct buf text;
    struct str rest;

    buf_init(&text, SUITE_FILE_MAX);
    if (!psl || !suite_read(path, &text)) {
        OK(false, "%s: can be read, and there is a Public Suffix List", path);
        return;
    }
    for (rest = buf_view(&text); rest.n;)
        run_suffix_line(psl, str_cut(rest, '\n', &rest));
}

static void
run_file(void *ctx, const char *path)
{
    struct psl *psl;

    (void)ctx;
    psl = list_near(path);
    if (str_ends(str_c(path), STR(".yml")) || str_ends(str_c(path), STR(".yaml"))) {
        if (!suite_yaml_each(path, run_document, psl))
            OK(false, "%s: is YAML", path);
    } else if (str_ends(str_c(path), STR(".txt")) && !str_eq(suite_base(path), STR("SOURCE.txt"))) {
        run_suffixes(psl, path);
    }
    psl_close(psl);
}

int
main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        suite_walk(argv[i], run_file, NULL);
    return tap_done();
}
