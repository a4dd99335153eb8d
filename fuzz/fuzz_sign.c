/*
 * fuzz/fuzz_sign.c - messages from any bytes are signed and sealed: what we put on must verify.
 *
 * The first byte chooses canonicalization and how the body is cut. A message that we sign and then
 * do not verify ourselves would be broken for everybody.
 */
#include "core/openssl.h"

#include "auth/arc_seal.h"
#include "auth/dkim_sign.h"
#include "auth/dkim_verify.h"
#include "core/codec.h"
#include "core/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A fixed key: 32 bytes of 7. */
static const struct str key_text = {"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=", 44};
static struct dkim_private *key;
static struct dns_record record = {.type = DNS_TXT};
static struct dns_answer answer = {
    .name = {"s._domainkey.a.test", 19}, .type = DNS_TXT, .records = &record, .n = 1};
static const struct dns_answer *const items[] = {&answer};
static const struct auth_answers known = {items, 1};

static void
setup(void)
{
    static char text[256];
    char p[128];
    struct str why;

    if (key)
        return;
    ENSURE(dkim_private_load(key_text, &key, &why) == 0 &&
           dkim_private_public(key, p, sizeof(p)) > 0);
    record.data = str_of(text, str_fmt(text, sizeof(text), "k=ed25519; p=%s", p));
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
    for (size_t at = 0; at < body.n; at += step)
        dkim_message_body(m, body.p + at, MIN(step, body.n - at));
    dkim_message_end(m);
}

/* The newest signature and the newest seal are ours. */
static void
check(struct str text, bool sealed)
{
    static struct dkim_verifier v;
    static struct arc_validator chain;
    struct dkim_keys *keys = dkim_keys_create(4, 1, &dkim_limits_default);
    struct dkim_message *m = dkim_message_create();
    struct auth_needs needs = {.n = 0};
    struct str header = header_of(text);
    struct arc_result arc;

    dkim_message_headers(m, header, &dkim_limits_default);
    dkim_verify_prepare(&v, m, &dkim_limits_default);
    arc_prepare(&chain, m, &dkim_limits_default);
    feed(m, str_from(text, header.n), text.n + 1);
    if (!sealed && dkim_verify_run(&v, 1763890000, keys, &known, &needs) == AUTH_DONE)
        ENSURE(v.n && v.results[0].verified);
    needs.n = 0;
    if (sealed && arc_run(&chain, 1763890000, NULL, 0, keys, &known, &needs, &arc) == AUTH_DONE &&
        arc.n == 1)
        ENSURE(arc.cv == ARC_PASS);
    dkim_message_free(m);
    dkim_keys_free(keys);
}

static void
sign(struct str text, uint8_t choice)
{
    static struct arc_validator chain;
    struct dkim_message *m = dkim_message_create();
    struct str header = header_of(text);
    struct dkim_sign_params p = {.domain = STR("a.test"),
                                 .selector = STR("s"),
                                 .alg = DKIM_ED25519_SHA256,
                                 .header_canon = choice & 1 ? DKIM_RELAXED : DKIM_SIMPLE,
                                 .body_canon = choice & 2 ? DKIM_RELAXED : DKIM_SIMPLE,
                                 .now = 1763890000};
    struct arc_seal_params s = {.domain = STR("a.test"),
                                .selector = STR("s"),
                                .alg = DKIM_ED25519_SHA256,
                                .now = 1763890000,
                                .cv = ARC_NONE,
                                .payload = STR("a.test; arc=none"),
                                .header_canon = DKIM_RELAXED,
                                .body_canon = DKIM_RELAXED};
    CLEANUP(buf_done) struct buf signed_text, sealed_text;
    bool good;

    buf_init(&signed_text, text.n + 65536);
    buf_init(&sealed_text, text.n + 65536);
    dkim_message_headers(m, header, &dkim_limits_default);
    arc_prepare(&chain, m, &dkim_limits_default);
    dkim_sign_prepare(m, p.body_canon);
    arc_seal_prepare(m, s.body_canon);
    feed(m, str_from(text, header.n), 1 + (size_t)(choice >> 2));
    good = dkim_sign(m, &p, dkim_private_sign, key, &signed_text, NULL) == 0;
    buf_str(&signed_text, text);
    if (good)
        check(buf_view(&signed_text), false);
    good = !chain.n && !chain.broken &&
           arc_seal(m, &chain, &s, dkim_private_sign, key, &sealed_text, NULL) == 0;
    buf_str(&sealed_text, text);
    if (good)
        check(buf_view(&sealed_text), true);
    dkim_message_free(m);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    setup();
    /* A line that continues none would continue the field that is put in front of it. */
    if (n > 1 && data[1] != ' ' && data[1] != '\t')
        sign(str_of(data + 1, n - 1), data[0]);
    return 0;
}
