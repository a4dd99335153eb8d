/*
 * tests/unit/test_auth_arc.c - attacks on sealed mail, and seals that must not be made. The grammar
 * and the arithmetic are the business of the arc suite.
 */
#include "auth/arc_seal.h"
#include "core/err.h"
#include "dkim_rig.h"
#include "tap.h"

#define NOW 1763890000u

static struct dkim_private *key;
static struct rig_dns dns;
static struct dkim_keys *keys;
static struct dkim_message *m;
static struct arc_validator chain;

static const char text[] = "From: A <a@example.com>\r\nSubject: hello\r\n"
                           "Content-Type: text/plain\r\n\r\nbody\r\n";

static void
load(struct str message)
{
    size_t end = (size_t)str_find(message, STR("\r\n\r\n")) + 4;

    dkim_message_headers(m, str_sub(message, 0, end), &dkim_limits_default);
    arc_prepare(&chain, m, &dkim_limits_default);
    arc_seal_prepare(m, DKIM_RELAXED);
    dkim_message_body(m, message.p + end, message.n - end);
    dkim_message_end(m);
}

static struct arc_result
run(uint64_t now)
{
    static const struct str trusted[] = {STR("example.org")};
    struct auth_needs needs = {.n = 0};
    struct arc_result r;

    while (arc_run(&chain, now, trusted, 1, keys, &dns.table, &needs, &r) == AUTH_NEED)
        rig_dns_answer(&dns, &needs);
    return r;
}

static struct arc_result
validate(struct str message)
{
    load(message);
    return run(NOW);
}

static struct arc_seal_params
params(void)
{
    return (struct arc_seal_params){.domain = STR("example.org"),
                                    .selector = STR("sel"),
                                    .alg = DKIM_ED25519_SHA256,
                                    .now = NOW,
                                    .cv = ARC_NONE,
                                    .payload = STR("mx.example.org; dmarc=pass"),
                                    .header_canon = DKIM_RELAXED,
                                    .body_canon = DKIM_RELAXED};
}

/* The sealed message with `above` on top of it. */
static void
sealed(struct str headers, const char *above, struct buf *out)
{
    struct buf CLEANUP(buf_done) set = {0};
    struct arc_seal_params p = params();
    struct why why = {""};

    p.headers = headers;
    buf_init(&set, 65536);
    load(STR(text));
    IS(arc_seal(m, &chain, &p, dkim_private_sign, key, &set, &why), 0, "sealed %s", why.text);
    buf_init(out, 65536);
    buf_fmt(out, "%s%.*s%s", above, STR_ARG(buf_view(&set)), text);
}

static void
test_attack_fields_on_top(void)
{
    static const struct {
        const char *headers, *above;
        enum arc_cv cv;
        enum dkim_reason reason;
        unsigned trusted_from;
        bool repeated;
    } rows[] = {
        {"from:subject", "", ARC_PASS, DKIM_OK, 1, false},
        {"from:subject", "From: ceo@bank.example\r\n", ARC_FAIL, DKIM_SECOND_FROM, 0, false},
        {"from:from:subject", "From: ceo@bank.example\r\n", ARC_FAIL, DKIM_BAD_SIGNATURE, 0, false},
        {"from:subject", "Subject: urgent\r\n", ARC_PASS, DKIM_OK, 1, true},
        {"from:content-type", "Content-Type: text/html\r\n", ARC_FAIL, DKIM_SECOND_TYPE, 0, true},
        {"subject", "", ARC_PASS, DKIM_OK, 0, false},
        {"subject", "From: ceo@bank.example\r\n", ARC_PASS, DKIM_OK, 0, false},
    };

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf CLEANUP(buf_done) out = {0};
        struct arc_result r;

        sealed(str_c(rows[i].headers), rows[i].above, &out);
        r = validate(buf_view(&out));
        IS(r.cv, rows[i].cv, "h=%s under \"%.12s\": %s", rows[i].headers, rows[i].above,
           arc_cv_name(rows[i].cv));
        IS(r.reason, rows[i].reason, "why");
        IS(r.trusted_from, rows[i].trusted_from, "trusted");
        IS(r.repeated, rows[i].repeated, "told");
    }
}

static void
test_expired(void)
{
    struct buf CLEANUP(buf_done) out = {0};
    struct arc_result r;

    sealed(STR("from"), "", &out);
    load(buf_view(&out));
    chain.newest.expires = NOW;
    IS(run(NOW + dkim_limits_default.skew).cv, ARC_PASS, "x= is over, but clocks differ");
    r = run(NOW + dkim_limits_default.skew + 1);
    IS(r.cv, ARC_FAIL, "x= of the newest message signature is over");
    IS(r.reason, DKIM_EXPIRED, "why");
}

static void
test_nothing_to_seal(void)
{
    static const struct {
        const char *above;
        enum arc_cv cv;
        int rc;
    } rows[] = {
        {"", ARC_NONE, 0},
        {"", ARC_FAIL, ERR_REFUSED},
        {"", ARC_PASS, ERR_REFUSED},
        {"ARC-Seal: i=0; a=x\r\n", ARC_FAIL, ERR_REFUSED},
        {"ARC-Seal: i=0; a=x\r\n", ARC_NONE, ERR_REFUSED},
        {"ARC-Seal: i=1; a=x\r\n", ARC_FAIL, 0},
    };

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf CLEANUP(buf_done) message = {0};
        struct buf CLEANUP(buf_done) set = {0};
        struct arc_seal_params p = params();
        struct why why = {""};

        buf_init(&message, 65536);
        buf_init(&set, 65536);
        buf_fmt(&message, "%s%s", rows[i].above, text);
        load(buf_view(&message));
        p.cv = rows[i].cv;
        IS(arc_seal(m, &chain, &p, dkim_private_sign, key, &set, &why), rows[i].rc,
           "cv=%s over \"%.12s\" %s", arc_cv_name(rows[i].cv), rows[i].above, why.text);
    }
}

static void
test_payload(void)
{
    static const char header[] =
        "Authentication-Results: (x; y) MX.example.org. 1;\r\n spf=pass (a; b) "
        "smtp.mailfrom=a.test;\r\n"
        "Authentication-Results: mx.example.org; spf=pass garbage here\r\n"
        "Authentication-Results: mx(a).example.org; dkim=pass\r\n"
        "Authentication-Results: other.example.org; dkim=pass\r\n"
        "Authentication-Results: \"mx.example.org\"; dmarc=fail reason=\"a; b\"\r\n"
        "From: a@example.com\r\n\r\n";
    struct buf CLEANUP(buf_done) out = {0};

    buf_init(&out, 65536);
    load(STR(header));
    IS(arc_payload(m, STR("mx.example.org"), &out), 0, "results of ours");
    TEXT(buf_view(&out),
         "mx.example.org; spf=pass (a; b) smtp.mailfrom=a.test; dmarc=fail reason=\"a; b\"",
         "the payload");
    {
        struct buf CLEANUP(buf_done) set = {0};
        struct arc_seal_params p = params();

        p.payload = buf_view(&out);
        buf_init(&set, 65536);
        load(STR(text));
        IS(arc_seal(m, &chain, &p, dkim_private_sign, key, &set, NULL), 0, "sealed");
        OK(str_find(buf_view(&set), STR(";\r\n\tspf=pass (a; b) smtp.mailfrom=a.test;\r\n\t"
                                        "dmarc=fail reason=\"a; b\"\r\n")) > 0,
           "a semicolon in quotes or a comment ends nothing");
    }
}

static void
setup(void)
{
    char p[256], record[400];
    struct str why;

    dkim_private_load(STR("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="), &key, &why);
    dkim_private_public(key, p, sizeof(p));
    str_fmt(record, sizeof(record), "v=DKIM1; k=ed25519; p=%s", p);
    rig_dns_txt(&dns, "sel._domainkey.example.org", record);
    keys = dkim_keys_create(16, 7, &dkim_limits_default);
    m = dkim_message_create();
}

int
main(void)
{
    setup();
    test_attack_fields_on_top();
    test_expired();
    test_nothing_to_seal();
    test_payload();
    rig_dns_done(&dns);
    dkim_keys_free(keys);
    dkim_message_free(m);
    dkim_private_free(key);
    return tap_done();
}
