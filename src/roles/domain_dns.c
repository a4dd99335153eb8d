/*
 * roles/domain_dns.c - asks DNS what advice_run() wants to know, and prints its rows.
 *
 * Called by the keeper's role for the verb domain.dns. Reads settings, keys and DNS; changes
 * nothing.
 */
#include "roles/domain_dns.h"

#include <jansson.h>

#include "core/clock.h"
#include "courier/settings.h"
#include "roles/advice.h"
#include "store/keys.h"
#include "store/settings.h"
#include "store/settings_reports.h"

#define RUNS_MAX    16u
#define ANSWERS_MAX 400u
#define MEMORY_MAX  (16u << 20)

struct question {
    struct domain_dns *of;
    struct dns_ask ask;
    struct str name;
    enum dns_type type;
};

struct domain_dns {
    struct domain_dns_links links;
    struct ctl_call *call;
    struct arena arena;
    struct advice_input in;
    struct advice_key keys[ADVICE_KEYS];
    struct str above; /* whose keys are being added, if they are not the domain's own */
    bool signs;
    struct addr sources[ADVICE_SOURCES];
    const struct dns_answer *answers[ANSWERS_MAX];
    unsigned nanswers, open, runs;
    struct question questions[AUTH_NEEDS_MAX];
    struct auth_needs needs;
    struct loop_call again;
};

static void
end(struct domain_dns *d, int status, const char *text)
{
    ctl_call_end(d->call, status, text);
    loop_call_cancel(d->links.loop, &d->again);
    arena_done(&d->arena);
    free(d);
}

static int
add_key(void *ctx, const struct keys_row *k)
{
    struct domain_dns *d = ctx;
    struct advice_key *to = &d->keys[d->in.nkeys];
    CLEANUP(buf_done) struct buf record = {0};

    if (k->state == KEYS_RETIRED || d->in.nkeys == ADVICE_KEYS ||
        (d->above.n && k->state != KEYS_ACTIVE))
        return 0;
    d->signs = d->signs || k->state == KEYS_ACTIVE;
    buf_init(&record, 8192);
    keys_record(k, &record);
    *to = (struct advice_key){.selector = arena_str(&d->arena, k->selector),
                              .record = arena_str(&d->arena, buf_view(&record)),
                              .public = arena_str(&d->arena, k->public),
                              .alg = k->alg,
                              .state = keys_state_name(k->state),
                              .above = d->above};
    d->in.nkeys++;
    return 0;
}

/* Addresses that the domain's mail may leave from: not those that are another tenant's own. */
static void
add_sources(struct domain_dns *d, struct str tenant)
{
    for (const struct conf_section *s = conf_first(d->links.conf, "source"); s; s = conf_next(s)) {
        const struct settings_source *src = s->data;

        if (addr_eq(&src->address, &(struct addr){{0}}) || d->in.nsources == ADVICE_SOURCES ||
            (src->exclusive.n && !str_eq(src->exclusive, tenant)))
            continue;
        d->sources[d->in.nsources++] = src->address;
    }
}

/* --- the answer --- */

static void
add_text(struct buf *out, const struct advice_row *r)
{
    buf_fmt(out, "%-10s", advice_status_name(r->status));
    if (r->status == ADVICE_OK)
        buf_fmt(out, "%.*s %s", STR_ARG(r->name), r->type);
    else
        advice_line(r, out);
    if (r->found.n && r->status != ADVICE_OK)
        buf_fmt(out, "\n          now: %.*s", STR_ARG(r->found));
    if (r->note.n)
        buf_fmt(out, "\n          %.*s", STR_ARG(r->note));
}

static void
tell_row(struct domain_dns *d, const struct advice_row *r)
{
    CLEANUP(buf_done) struct buf line = {0}, text = {0};
    const struct {
        const char *key;
        struct str value;
    } fields[] = {{"name", r->name},
                  {"type", str_c(r->type)},
                  {"value", r->value},
                  {"found", r->found},
                  {"status", str_c(advice_status_name(r->status))},
                  {"note", r->note}};

    buf_init(&line, 64u << 10);
    buf_init(&text, 32u << 10);
    buf_char(&line, '{');
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        buf_fmt(&line, "\"%s\":", fields[i].key);
        buf_json(&line, fields[i].value);
        buf_char(&line, ',');
    }
    add_text(&text, r);
    buf_c(&line, "\"text\":");
    buf_json(&line, buf_view(&text));
    buf_char(&line, '}');
    if (!line.failed)
        ctl_call_line(d->call, buf_view(&line));
}

static void
tell(struct domain_dns *d, const struct advice_row *rows, unsigned n)
{
    unsigned good = 0, bad = 0, unknown = 0;
    char text[120];

    for (unsigned i = 0; i < n; i++) {
        tell_row(d, &rows[i]);
        good += rows[i].status == ADVICE_OK;
        bad += rows[i].status == ADVICE_MISSING || rows[i].status == ADVICE_DIFFERENT;
        unknown += rows[i].status == ADVICE_UNKNOWN;
    }
    n = (unsigned)str_fmt(text, sizeof text, "%u as they should be, %u to be published or changed",
                          good, bad);
    if (unknown)
        str_fmt(text + n, sizeof text - n, ", %u unknown: ask again when DNS answers", unknown);
    end(d, 0, text);
}

/* --- asking --- */

static void
on_answer(void *ctx, const struct dns_answer *a)
{
    struct question *q = ctx;
    struct domain_dns *d = q->of;
    struct dns_answer *copy = ARENA_NEW(&d->arena, struct dns_answer);
    CLEANUP(buf_done) struct buf wire = {0};
    struct wire w;

    buf_init(&wire, CHAN_BODY_MAX);
    dns_answer_encode(&wire, a);
    wire_init(&w, wire.p, wire.n);
    /* What does not fit is as if nobody had answered. */
    if (copy && (wire.failed || dns_answer_decode(&w, &d->arena, copy) < 0))
        *copy = (struct dns_answer){.name = q->name, .type = q->type, .status = DNS_TEMPORARY};
    if (copy && d->nanswers < ANSWERS_MAX)
        d->answers[d->nanswers++] = copy;
    if (--d->open == 0)
        loop_defer(d->links.loop, &d->again);
}

static void
ask_all(struct domain_dns *d)
{
    d->open = 1; /* ours: none of the answers comes before all were asked */
    for (unsigned i = 0; i < d->needs.n; i++) {
        struct question *q = &d->questions[i];
        const struct auth_question *of = &d->needs.items[i];

        *q = (struct question){.of = d, .type = of->type};
        q->name = arena_str(&d->arena, str_of(of->name, of->n));
        d->open++;
        if (dns_client_ask(d->links.dns, q->name, q->type, &q->ask, on_answer, q) == 0)
            continue;
        on_answer(q, &(struct dns_answer){
                         .name = q->name, .type = q->type, .status = DNS_TEMPORARY, .ttl = 5});
    }
    if (--d->open == 0)
        loop_defer(d->links.loop, &d->again);
}

static void
run(void *ctx)
{
    struct domain_dns *d = ctx;
    const struct auth_answers answers = {.items = d->answers, .n = d->nanswers};
    struct advice_row rows[ADVICE_ROWS];
    unsigned n = 0;

    if (advice_run(&d->in, &answers, &d->needs, &d->arena, rows, &n) == AUTH_DONE)
        tell(d, rows, n);
    else if (++d->runs > RUNS_MAX || d->nanswers == ANSWERS_MAX)
        end(d, 1, "the domain's records name more than can be looked up");
    else
        ask_all(d);
}

/* Its own; where none of them signs, those of the nearest domain above that does (dkim.subdomains).
 */
static int
add_keys(struct domain_dns *d, struct str domain)
{
    const struct settings_dkim *dkim = conf_get(d->links.conf, "dkim");
    struct store *store = keeper_store(d->links.keeper);
    int rc = keys_each(store, domain, add_key, d);

    for (struct str at = domain; rc == 0 && !d->signs && (at = keys_above(dkim, at)).n;) {
        d->above = arena_str(&d->arena, at);
        rc = keys_each(store, at, add_key, d);
    }
    return rc;
}

/* The first address at the domain at which reports are read. Another domain would have to agree to
 * take them (RFC 9990 4), so that none of those is named. */
static struct str
reports_at(const struct conf *conf, struct str domain)
{
    const struct settings_reports *r = settings_reports(conf);
    const struct str *items = r ? r->addresses.items : NULL;

    for (size_t n = 0; r && n < r->addresses.n; n++) {
        ssize_t at = str_rchr(items[n], '@');

        if (at > 0 && str_ieq(str_from(items[n], (size_t)at + 1), domain))
            return items[n];
    }
    return STR_NONE;
}

static int
read_input(struct domain_dns *d, struct str name)
{
    const struct settings_main *m = conf_get(d->links.conf, "");
    const struct conf_section *served;
    char room[256];
    struct str domain;

    if (keys_domain(name, room, &domain) < 0)
        return ERR_SYNTAX;
    served = conf_find(d->links.conf, "domain", domain);
    d->in = (struct advice_input){.domain = arena_str(&d->arena, domain),
                                  .hostname = arena_str(&d->arena, m->hostname),
                                  .sources = d->sources,
                                  .keys = d->keys,
                                  .served = served && m->wings != WINGS_OUTBOUND,
                                  .sent = m->wings != WINGS_INBOUND,
                                  .reports = reports_at(d->links.conf, domain),
                                  .now = clock_wall_s()};
    add_sources(d, served ? ((const struct settings_domain *)served->data)->tenant : STR_NONE);
    return add_keys(d, domain);
}

void
domain_dns(const struct domain_dns_links *links, struct ctl_call *call, struct str args)
{
    json_t *json = json_loadb(args.n ? args.p : "{}", args.n ? args.n : 2, 0, NULL);
    const json_t *name = json_object_get(json, "domain");
    struct domain_dns *d = calloc(1, sizeof *d);
    int rc = ERR_NOMEM;

    if (d) {
        d->links = *links;
        d->call = call;
        d->again = (struct loop_call){.fn = run, .ctx = d};
        arena_init(&d->arena, MEMORY_MAX);
        rc = read_input(d, str_of(json_string_value(name), json_string_length(name)));
    }
    json_decref(json);
    if (!d)
        ctl_call_end(call, 1, "no memory for that now");
    else if (rc < 0)
        end(d, 2,
            rc == ERR_SYNTAX ? "that is not a domain name; write for example example.com"
                             : err_text(rc));
    else
        loop_defer(links->loop, &d->again);
}
