/*
 * tests/support/auth_peer.c - our side of the differential tests
 * (tests/system/test_auth_*peers.py).
 *
 * Reads a JSON object a line, answers each with one; messages are in base64. Jobs ("op"):
 *   zone    text                                     what all later jobs find in DNS
 *   spf     ip, helo, from                           result, why, explanation, terms, voids
 *   verify  message, step, now                       dkim (a list), arc: what the message proves
 *   sign    message, key, selector, domain, canon, identity, headers, time, expires    field
 *   seal    message, key, selector, domain, payload, headers, time                     fields
 *   dmarc   header, spf ["pass", "domain"], dkim [[...]], psl      result, policy, organization
 */
#include <jansson.h>

#include "auth/arc_seal.h"
#include "auth/dkim_sign.h"
#include "auth/dkim_tag.h"
#include "auth/dkim_verify.h"
#include "auth/dmarc.h"
#include "auth/spf.h"
#include "auth/zone.h"
#include "core/buf.h"
#include "core/codec.h"
#include "core/err.h"

#define MESSAGE_MAX (16u << 20)
#define ROUNDS_MAX  64u
#define LIST        "/usr/share/publicsuffix/public_suffix_list.dat"

static struct zone *zone;
static struct arena arena; /* of the job at hand */
static struct psl *psl;

static struct str
text_of(const json_t *job, const char *key)
{
    const json_t *j = json_object_get(job, key);

    return json_is_string(j) ? str_of(json_string_value(j), json_string_length(j)) : STR_NONE;
}

static uint64_t
number_of(const json_t *job, const char *key, uint64_t otherwise)
{
    const json_t *j = json_object_get(job, key);

    return json_is_integer(j) ? (uint64_t)json_integer_value(j) : otherwise;
}

/* Base64 into the arena. */
static struct str
bytes_of(const json_t *job, const char *key)
{
    struct str text = text_of(job, key);
    char *room = arena_alloc(&arena, text.n + 4);
    ssize_t n = room ? dkim_base64(text, room, text.n + 4) : -1;

    ENSURE(n >= 0);
    return str_of(room, (size_t)n);
}

static json_t *
base64_of(struct str s)
{
    CLEANUP(buf_done) struct buf text;

    buf_init(&text, 2 * s.n + 16);
    codec_base64(&text, s);
    return json_stringn(text.n ? text.p : "", text.n);
}

/* Answers what is open; false if nothing was, or too often. */
static bool
more(struct auth_needs *needs, unsigned *rounds)
{
    return ++*rounds < ROUNDS_MAX && zone_ask(zone, needs) == 0;
}

static json_t *
op_zone(const json_t *job)
{
    struct why why = {{0}};
    int rc;

    zone_free(zone);
    zone = zone_create(64u << 20);
    rc = zone_read(zone, text_of(job, "text"), &why);
    return json_pack("{s:b,s:s}", "good", rc == 0, "why", why.text);
}

static json_t *
op_spf(const json_t *job)
{
    struct str from = text_of(job, "from");
    ssize_t at = str_rchr(from, '@');
    struct spf_input in = {.helo = text_of(job, "helo"),
                           .local = at > 0 ? str_sub(from, 0, (size_t)at) : STR_NONE,
                           .domain = str_from(from, (size_t)(at + 1)),
                           .receiver = STR("receiver.test"),
                           .time = 1700000000};
    struct auth_needs needs = {.n = 0};
    struct spf_verdict v = {.result = SPF_TEMPERROR};
    unsigned rounds = 0;
    json_t *ret;

    ENSURE(addr_parse(text_of(job, "ip"), &in.ip) == 0);
    while (spf_run(&in, zone_answers(zone), &needs, &arena, &v) == AUTH_NEED &&
           more(&needs, &rounds))
        ;
    ret = json_pack("{s:s,s:i,s:i}", "result", spf_result_name(v.result), "terms", (int)v.terms,
                    "voids", (int)v.voids);
    json_object_set_new(ret, "why", json_stringn(v.why.n ? v.why.p : "", v.why.n));
    json_object_set_new(ret, "explanation",
                        json_stringn(v.explanation.n ? v.explanation.p : "", v.explanation.n));
    return ret;
}

static struct str
header_of(struct str text)
{
    ssize_t end = str_starts(text, STR("\r\n")) ? -2 : str_find(text, STR("\r\n\r\n"));

    return end == -1 ? text : str_sub(text, 0, (size_t)(end + 4));
}

static void
feed(struct dkim_message *m, struct str body, size_t step)
{
    for (size_t at = 0; at < body.n; at += step) {
        struct str piece = str_sub(body, at, step);

        dkim_message_body(m, piece.p, piece.n);
    }
    dkim_message_end(m);
}

static json_t *
results_json(const struct dkim_verifier *v)
{
    json_t *all = json_array();

    for (unsigned i = 0; i < v->n; i++)
        json_array_append_new(all, json_pack("[s,s]", dkim_status_name(v->results[i].status),
                                             dkim_reason_text(v->results[i].reason)));
    return all;
}

static json_t *
op_verify(const json_t *job)
{
    static struct dkim_verifier v;
    static struct arc_validator chain;
    struct str text = bytes_of(job, "message"), header = header_of(text);
    uint64_t now = number_of(job, "now", 1800000000);
    struct dkim_message *m = dkim_message_create();
    struct dkim_keys *keys = dkim_keys_create(16, 1, &dkim_limits_default);
    struct auth_needs needs = {.n = 0};
    struct arc_result arc;
    unsigned rounds = 0;
    json_t *ret;

    ENSURE(m && keys);
    dkim_message_headers(m, header, &dkim_limits_default);
    dkim_verify_prepare(&v, m, &dkim_limits_default);
    arc_prepare(&chain, m, &dkim_limits_default);
    feed(m, str_from(text, header.n), MAX(number_of(job, "step", 65536), (uint64_t)1));
    while (dkim_verify_run(&v, now, keys, zone_answers(zone), &needs) == AUTH_NEED &&
           more(&needs, &rounds))
        ;
    needs.n = 0;
    while (arc_run(&chain, now, NULL, 0, keys, zone_answers(zone), &needs, &arc) == AUTH_NEED &&
           more(&needs, &rounds))
        ;
    ret = json_pack("{s:o,s:s,s:s,s:i}", "dkim", results_json(&v), "arc", arc_cv_name(arc.cv),
                    "why", arc.text ? arc.text : "", "sets", (int)arc.n);
    dkim_keys_free(keys);
    dkim_message_free(m);
    return ret;
}

static struct dkim_private *
key_of(const json_t *job)
{
    struct dkim_private *key = NULL;
    struct str why;

    ENSURE(dkim_private_load(text_of(job, "key"), &key, &why) == 0);
    return key;
}

static json_t *
op_sign(const json_t *job)
{
    struct str text = bytes_of(job, "message"), header = header_of(text);
    struct str canon = text_of(job, "canon");
    struct dkim_private *key = key_of(job);
    struct dkim_sign_params p = {
        .domain = text_of(job, "domain"),
        .selector = text_of(job, "selector"),
        .identity = text_of(job, "identity"),
        .headers = text_of(job, "headers"),
        .alg = dkim_private_alg(key),
        .now = number_of(job, "time", 1763890000),
        .expires = number_of(job, "expires", 0),
        .header_canon = str_starts(canon, STR("relaxed")) ? DKIM_RELAXED : DKIM_SIMPLE,
        .body_canon = str_ends(canon, STR("relaxed")) ? DKIM_RELAXED : DKIM_SIMPLE};
    struct dkim_message *m = dkim_message_create();
    CLEANUP(buf_done) struct buf out;
    struct why why = {{0}};
    json_t *ret;

    ENSURE(m);
    buf_init(&out, 65536);
    dkim_message_headers(m, header, &dkim_limits_default);
    dkim_sign_prepare(m, p.body_canon);
    feed(m, str_from(text, header.n), MAX(number_of(job, "step", 65536), (uint64_t)1));
    if (dkim_sign(m, &p, dkim_private_sign, key, &out, &why) < 0)
        ret = json_pack("{s:s}", "error", why.text);
    else
        ret = json_pack("{s:o}", "field", base64_of(buf_view(&out)));
    dkim_private_free(key);
    dkim_message_free(m);
    return ret;
}

static json_t *
op_seal(const json_t *job)
{
    static struct arc_validator chain;
    struct str text = bytes_of(job, "message"), header = header_of(text);
    struct dkim_private *key = key_of(job);
    struct arc_seal_params p = {.domain = text_of(job, "domain"),
                                .selector = text_of(job, "selector"),
                                .payload = text_of(job, "payload"),
                                .headers = text_of(job, "headers"),
                                .alg = dkim_private_alg(key),
                                .now = number_of(job, "time", 1763890000),
                                .header_canon = DKIM_RELAXED,
                                .body_canon = DKIM_RELAXED};
    struct dkim_message *m = dkim_message_create();
    struct dkim_keys *keys = dkim_keys_create(16, 1, &dkim_limits_default);
    CLEANUP(buf_done) struct buf out;
    struct auth_needs needs = {.n = 0};
    struct why why = {{0}};
    struct arc_result arc;
    unsigned rounds = 0;
    json_t *ret;

    ENSURE(m && keys);
    buf_init(&out, 262144);
    dkim_message_headers(m, header, &dkim_limits_default);
    arc_prepare(&chain, m, &dkim_limits_default);
    arc_seal_prepare(m, p.body_canon);
    feed(m, str_from(text, header.n), 65536);
    while (arc_run(&chain, p.now, NULL, 0, keys, zone_answers(zone), &needs, &arc) == AUTH_NEED &&
           more(&needs, &rounds))
        ;
    p.cv = arc.cv;
    if (arc_seal(m, &chain, &p, dkim_private_sign, key, &out, &why) < 0)
        ret = json_pack("{s:s}", "error", why.text);
    else
        ret =
            json_pack("{s:o,s:s}", "fields", base64_of(buf_view(&out)), "cv", arc_cv_name(arc.cv));
    dkim_private_free(key);
    dkim_keys_free(keys);
    dkim_message_free(m);
    return ret;
}

static struct dmarc_identifier
identifier_of(const json_t *pair)
{
    const char *auth = json_string_value(json_array_get(pair, 0));
    struct dmarc_identifier id = {.auth = DMARC_AUTH_OTHER};

    if (auth && !strcmp(auth, "pass"))
        id.auth = DMARC_AUTH_PASS;
    else if (auth && !strcmp(auth, "temperror"))
        id.auth = DMARC_AUTH_TEMPERROR;
    id.domain = str_c(json_string_value(json_array_get(pair, 1)));
    return id;
}

static json_t *
op_dmarc(const json_t *job)
{
    struct dmarc_identifier dkim[DMARC_SIGNATURES_MAX];
    const json_t *list = json_object_get(job, "dkim");
    struct dmarc_author author;
    struct dmarc_input in = {.author = &author, .dkim = dkim};
    struct dmarc_verdict v = {.result = DMARC_RESULT_TEMPERROR};
    struct auth_needs needs = {.n = 0};
    unsigned rounds = 0;
    json_t *ret, *one;
    size_t i;

    dmarc_author(bytes_of(job, "header"), &author);
    in.spf = identifier_of(json_object_get(job, "spf"));
    json_array_foreach(list, i, one) if (in.ndkim < ARRAY_LEN(dkim)) dkim[in.ndkim++] =
        identifier_of(one);
    in.psl = json_is_true(json_object_get(job, "psl")) ? psl : NULL;
    while (dmarc_run(&in, zone_answers(zone), &needs, &arena, &v) == AUTH_NEED &&
           more(&needs, &rounds))
        ;
    ret = json_pack("{s:s,s:s,s:s,s:s,s:i}", "result", dmarc_result_name(v.result), "policy",
                    dmarc_policy_name(v.policy), "source", v.source, "why", v.why ? v.why : "",
                    "oddities", (int)author.oddities);
    json_object_set_new(ret, "domain", json_stringn(v.domain.n ? v.domain.p : "", v.domain.n));
    json_object_set_new(
        ret, "at", json_stringn(v.policy_domain.n ? v.policy_domain.p : "", v.policy_domain.n));
    return ret;
}

static const struct {
    const char *name;
    json_t *(*run)(const json_t *job);
} ops[] = {{"zone", op_zone}, {"spf", op_spf},   {"verify", op_verify},
           {"sign", op_sign}, {"seal", op_seal}, {"dmarc", op_dmarc}};

static json_t *
run(const json_t *job)
{
    struct str name = text_of(job, "op");

    for (size_t i = 0; i < ARRAY_LEN(ops); i++)
        if (str_eq(name, str_c(ops[i].name)))
            return ops[i].run(job);
    return json_pack("{s:s}", "error", "no such op");
}

int
main(void)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;

    zone = zone_create(64u << 20);
    (void)psl_open(LIST, &psl, NULL);
    while ((n = getline(&line, &cap, stdin)) > 0) {
        json_t *job = json_loadb(line, (size_t)n, 0, NULL), *ret;
        char *text;

        arena_init(&arena, 8u * MESSAGE_MAX);
        zone_forget(zone);
        ret = run(job);
        text = json_dumps(ret, JSON_COMPACT);
        printf("%s\n", text ? text : "{}");
        fflush(stdout);
        free(text);
        json_decref(ret);
        json_decref(job);
        arena_done(&arena);
    }
    free(line);
    psl_close(psl);
    zone_free(zone);
    return 0;
}
