/*
 * tests/support/spf_suite.c - runs SPF scenarios in YAML: spf_suite FILE|FOLDER...
 *
 * The form of the openspf.org suites: documents with `tests` (helo, host, mailfrom, result or a
 * list of them, explanation) and `zonedata`. An SPF entry doubles as TXT unless the name has a TXT
 * entry; TIMEOUT makes what a name has not time out; "TXT: NONE" only stops the doubling. One TAP
 * line a test, the plan at the end.
 */
#include "auth/spf.h"
#include "auth/zone.h"
#include "suite_file.h"
#include "tap.h"

#define ROUNDS_MAX 64u

struct document {
    yaml_document_t *yaml;
    struct zone *zone;
    struct str title;
};

static struct str
key_of(yaml_document_t *yaml, const yaml_node_pair_t *p)
{
    return suite_yaml_text(yaml_document_get_node(yaml, p->key));
}

/* The strings of a TXT entry, joined: a scalar or a list of them. */
static void
join(yaml_document_t *yaml, const yaml_node_t *value, struct buf *out)
{
    if (value->type == YAML_SCALAR_NODE) {
        buf_str(out, suite_yaml_text(value));
        return;
    }
    if (value->type != YAML_SEQUENCE_NODE)
        return;
    for (yaml_node_item_t *i = value->data.sequence.items.start; i < value->data.sequence.items.top;
         i++)
        buf_str(out, suite_yaml_text(yaml_document_get_node(yaml, *i)));
}

static void
add_mx(struct document *d, struct str name, const yaml_node_t *value, struct dns_record *r)
{
    yaml_node_item_t *items = value->data.sequence.items.start;
    uint64_t preference = 0;

    if (value->type != YAML_SEQUENCE_NODE || value->data.sequence.items.top - items != 2)
        return;
    (void)str_u64(suite_yaml_text(yaml_document_get_node(d->yaml, items[0])), &preference);
    r->preference = (uint16_t)preference;
    r->name = suite_yaml_text(yaml_document_get_node(d->yaml, items[1]));
    zone_add(d->zone, name, r, 3600);
}

static void
add_one(struct document *d, struct str name, struct str type, const yaml_node_t *value,
        bool has_txt)
{
    static const struct {
        const char *name;
        enum dns_type type;
    } types[] = {{"A", DNS_A},     {"AAAA", DNS_AAAA}, {"MX", DNS_MX},      {"PTR", DNS_PTR},
                 {"TXT", DNS_TXT}, {"SPF", DNS_TXT},   {"CNAME", DNS_CNAME}};
    CLEANUP(buf_done) struct buf text;
    struct dns_record r = {0};

    buf_init(&text, 65536);
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (str_eq(type, str_c(types[i].name)))
            r.type = types[i].type;
    join(d->yaml, value, &text);
    if (r.type == DNS_TXT &&
        (str_eq(buf_view(&text), STR("NONE")) || (str_eq(type, STR("SPF")) && has_txt))) {
        zone_add_empty(d->zone, name);
    } else if (r.type == DNS_MX) {
        add_mx(d, name, value, &r);
    } else if (r.type == DNS_A || r.type == DNS_AAAA) {
        if (addr_parse(buf_view(&text), &r.addr) == 0)
            zone_add(d->zone, name, &r, 3600);
    } else if (r.type == DNS_TXT) {
        r.data = text.n ? buf_view(&text) : STR("");
        zone_add(d->zone, name, &r, 3600);
    } else if (r.type) {
        r.name = buf_view(&text);
        zone_add(d->zone, name, &r, 3600);
    }
}

static void
add_name(struct document *d, struct str name, const yaml_node_t *list)
{
    bool has_txt = false;

    if (list->type != YAML_SEQUENCE_NODE)
        return;
    for (int pass = 0; pass < 2; pass++)
        for (yaml_node_item_t *i = list->data.sequence.items.start;
             i < list->data.sequence.items.top; i++) {
            yaml_node_t *entry = yaml_document_get_node(d->yaml, *i);

            if (entry->type == YAML_SCALAR_NODE && pass) {
                zone_add_failure(d->zone, name, DNS_TEMPORARY);
                continue;
            }
            if (entry->type != YAML_MAPPING_NODE)
                continue;
            yaml_node_pair_t *p = entry->data.mapping.pairs.start;
            if (!pass)
                has_txt = has_txt || str_eq(key_of(d->yaml, p), STR("TXT"));
            else
                add_one(d, name, key_of(d->yaml, p), yaml_document_get_node(d->yaml, p->value),
                        has_txt);
        }
}

static bool
is_among(yaml_document_t *yaml, const yaml_node_t *want, struct str got)
{
    if (want && want->type == YAML_SEQUENCE_NODE) {
        for (yaml_node_item_t *i = want->data.sequence.items.start;
             i < want->data.sequence.items.top; i++)
            if (str_eq(suite_yaml_text(yaml_document_get_node(yaml, *i)), got))
                return true;
        return false;
    }
    return want && str_eq(suite_yaml_text(want), got);
}

static void
show_trace(const struct spf_verdict *v)
{
    printf("#   %.*s (%u terms, %u voids, %u queries)\n", STR_ARG(v->why), v->terms, v->voids,
           v->queries);
    for (unsigned i = 0; i < v->nsteps; i++)
        printf("#   %*s%.*s: %.*s [%.*s] %s\n", v->steps[i].depth * 2, "",
               STR_ARG(v->steps[i].record), STR_ARG(v->steps[i].term), STR_ARG(v->steps[i].target),
               spf_outcome_name(v->steps[i].outcome));
}

static void
run_test(struct document *d, struct str name, yaml_node_t *test)
{
    yaml_node_t *want = suite_yaml_get(d->yaml, test, "result");
    struct str explanation = suite_yaml_text(suite_yaml_get(d->yaml, test, "explanation"));
    struct str from = suite_yaml_text(suite_yaml_get(d->yaml, test, "mailfrom"));
    ssize_t at = str_rchr(from, '@');
    struct spf_input in = {.receiver = STR("receiver.example"), .time = 1700000000};
    struct spf_verdict v = {0};
    struct auth_needs needs = {0};
    struct arena arena;
    enum auth_state state;
    unsigned rounds = 0;
    bool good;

    in.helo = suite_yaml_text(suite_yaml_get(d->yaml, test, "helo"));
    in.local = at >= 0 ? str_sub(from, 0, (size_t)at) : STR_NONE;
    in.domain = at >= 0 ? str_from(from, (size_t)at + 1) : from;
    if (addr_parse(suite_yaml_text(suite_yaml_get(d->yaml, test, "host")), &in.ip) < 0) {
        OK(false, "%.*s: %.*s: no address", STR_ARG(d->title), STR_ARG(name));
        return;
    }
    arena_init(&arena, 4u << 20);
    zone_forget(d->zone);
    do {
        state = spf_run(&in, zone_answers(d->zone), &needs, &arena, &v);
    } while (state == AUTH_NEED && ++rounds < ROUNDS_MAX && zone_ask(d->zone, &needs) == 0);
    good = state == AUTH_DONE && is_among(d->yaml, want, str_c(spf_result_name(v.result)));
    if (explanation.n && str_eq(explanation, STR("DEFAULT")))
        good = good && !v.explanation.n;
    else if (explanation.n && v.result == SPF_FAIL)
        good = good && str_ieq(explanation, v.explanation);
    if (!OK(good, "%.*s: %.*s: %s", STR_ARG(d->title), STR_ARG(name), spf_result_name(v.result))) {
        printf("#   got %s \"%.*s\", wanted %.*s \"%.*s\"\n", spf_result_name(v.result),
               STR_ARG(v.explanation), STR_ARG(suite_yaml_text(want)), STR_ARG(explanation));
        show_trace(&v);
    }
    arena_done(&arena);
}

static void
run_document(void *ctx, yaml_document_t *yaml)
{
    struct document d = {.yaml = yaml};
    yaml_node_t *root = yaml_document_get_root_node(yaml);
    yaml_node_t *tests = suite_yaml_get(yaml, root, "tests");
    yaml_node_t *zone = suite_yaml_get(yaml, root, "zonedata");

    (void)ctx;
    if (!tests || tests->type != YAML_MAPPING_NODE)
        return;
    d.title = suite_yaml_text(suite_yaml_get(yaml, root, "description"));
    d.zone = zone_create(16u << 20);
    if (zone && zone->type == YAML_MAPPING_NODE)
        for (yaml_node_pair_t *p = zone->data.mapping.pairs.start; p < zone->data.mapping.pairs.top;
             p++)
            add_name(&d, key_of(yaml, p), yaml_document_get_node(yaml, p->value));
    for (yaml_node_pair_t *p = tests->data.mapping.pairs.start; p < tests->data.mapping.pairs.top;
         p++)
        run_test(&d, key_of(yaml, p), yaml_document_get_node(yaml, p->value));
    zone_free(d.zone);
}

static void
run_file(void *ctx, const char *path)
{
    if (!str_ends(str_c(path), STR(".yml")) && !str_ends(str_c(path), STR(".yaml")))
        return;
    if (!suite_yaml_each(path, run_document, ctx))
        OK(false, "%s: is YAML", path);
}

int
main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        suite_walk(argv[i], run_file, NULL);
    return tap_done();
}
