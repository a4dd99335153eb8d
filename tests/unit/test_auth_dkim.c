/*
 * Unit tests of auth/dkim*: what we sign verifies however it is cut, and the attacks that a
 * verifier must survive (each is a test of its own name).
 */
#include "auth/dkim_sign.h"
#include "auth/dkim_tag.h"
#include "dkim_rig.h"
#include "tap.h"

#define NOW 1763890000u

static struct dkim_private *key;
static struct rig_dns dns;
static struct dkim_keys *keys;
static struct dkim_verifier v;
static struct dkim_message *m;

static const char head[] =
    "From: A <a@example.com>\r\nTo: b@example.net\r\nSubject: Hello  there\r\n"
    "Date: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\n";

static void
setup(void)
{
    char p[256], record[400];
    struct str why;

    dkim_private_load(STR("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="), &key, &why);
    dkim_private_public(key, p, sizeof(p));
    str_fmt(record, sizeof(record), "v=DKIM1; k=ed25519; p=%s", p);
    rig_dns_txt(&dns, "sel._domainkey.example.com", record);
    rig_dns_txt(&dns, "sel._domainkey.xn--bcher-kva.example", record);
    str_fmt(record, sizeof(record), "v=DKIM1; k=ed25519; t=y:s; p=%s", p);
    rig_dns_txt(&dns, "strict._domainkey.example.com", record);
    rig_dns_txt(&dns, "revoked._domainkey.example.com", "v=DKIM1; p=");
    rig_dns_add(&dns, STR("slow._domainkey.example.com"), DNS_TEMPORARY, STR_NONE);
    keys = dkim_keys_create(16, 7, &dkim_limits_default);
    m = dkim_message_create();
}

static struct dkim_sign_params
params(void)
{
    return (struct dkim_sign_params){.domain = STR("example.com"),
                                     .selector = STR("sel"),
                                     .alg = DKIM_ED25519_SHA256,
                                     .header_canon = DKIM_RELAXED,
                                     .body_canon = DKIM_RELAXED,
                                     .now = NOW};
}

/* Field of ours + header + body into out. */
static int
sign(const struct dkim_sign_params *p, struct str header, struct str body, struct buf *out)
{
    struct why why = {""};
    int rc;

    dkim_message_headers(m, header, &dkim_limits_default);
    dkim_sign_prepare(m, p->body_canon);
    dkim_message_body(m, body.p, body.n);
    dkim_message_end(m);
    buf_init(out, 1u << 26);
    rc = dkim_sign(m, p, dkim_private_sign, key, out, &why);
    buf_str(out, header);
    buf_str(out, body);
    return rc;
}

static enum dkim_reason
check(struct str text, size_t step)
{
    rig_verify(&v, m, text, step, &dns, keys, &dkim_limits_default, NOW + 5);
    return v.n ? v.results[0].reason : DKIM_NO_KEY;
}

/* --- what we sign verifies, and what changes is seen --- */

static unsigned
next(unsigned *seed)
{
    *seed = *seed * 1103515245u + 12345u;
    return *seed >> 16;
}

static void
test_any_body_in_any_pieces(void)
{
    static const char *const bits[] = {
        "a",    " ",        "\t",         "\r\n",
        "\r",   "\n",       "  ",         "\t ",
        "word", "\r\n\r\n", " \r\n",      "\xc3\xa9",
        "\xff", ".",        "\r\n\t\r\n", "0123456789abcdef0123456789abcdef"};
    unsigned seed = 1, bad = 0, n = 0;

    for (unsigned i = 0; i < 3000; i++) {
        struct buf CLEANUP(buf_done) body = {0};
        struct buf CLEANUP(buf_done) out = {0};
        struct dkim_sign_params p = params();

        buf_init(&body, 65536);
        for (unsigned k = next(&seed) % 40; k; k--)
            buf_c(&body, bits[next(&seed) % ARRAY_LEN(bits)]);
        p.header_canon = (enum dkim_canon)(i & 1);
        p.body_canon = (enum dkim_canon)(i >> 1 & 1);
        sign(&p, STR(head), buf_view(&body), &out);
        for (size_t step = 0; step < 5; step++, n++)
            bad += check(buf_view(&out), step) != DKIM_OK;
    }
    IS(bad, 0, "%u verifications of 3000 bodies, whole and in pieces of 1 to 4 bytes", n);
}

static void
test_relaxed_folding(void)
{
    struct buf CLEANUP(buf_done) out = {0};
    struct buf CLEANUP(buf_done) changed = {0};
    struct dkim_sign_params p = params();
    ssize_t at;

    sign(&p, STR(head), STR("Body \r\n\r\n"), &out);
    at = str_find(buf_view(&out), STR("Hello  there"));
    buf_init(&changed, 65536);
    buf_str(&changed, str_sub(buf_view(&out), 0, (size_t)at));
    buf_c(&changed, "Hello\r\n\t there  \r\n");
    buf_str(&changed, str_from(buf_view(&out), (size_t)at + 14));
    IS(check(buf_view(&changed), 0), DKIM_OK, "relaxed: folding and spaces do not count");
    changed.p[changed.n - 9] ^= 1;
    IS(check(buf_view(&changed), 0), DKIM_BODY_CHANGED, "a bit of the body does");
}

static void
test_eai_domain(void)
{
    struct buf CLEANUP(buf_done) out = {0};
    struct dkim_sign_params p = params();

    p.domain = STR("b\xc3\xbc"
                   "cher.example");
    IS(sign(&p,
            STR("From: a@b\xc3\xbc"
                "cher.example\r\nSubject: \xc3\xa9\r\n\r\n"),
            STR("x\r\n"), &out),
       0, "a U-label signs (RFC 8616)");
    IS(check(buf_view(&out), 0), DKIM_OK, "and its key is found under the A-label");
    TEXT(str_c(v.results[0].domain_ascii), "xn--bcher-kva.example", "alignment gets the A-label");
}

static void
test_refusals(void)
{
    struct buf CLEANUP(buf_done) out = {0};
    struct buf CLEANUP(buf_done) two = {0};
    struct dkim_sign_params p = params();

    IS(sign(&p, STR("To: x@example.com\r\n\r\n"), STR(""), &out), ERR_REFUSED,
       "no From: no signature");
    IS(sign(&p, STR("From: a@example.com\r\nFrom: b@example.com\r\n\r\n"), STR(""), &two),
       ERR_REFUSED, "two: none either");
}

static void
test_key_names(void)
{
    static const struct {
        const char *selector, *domain;
        bool good;
    } rows[] = {
        {"s", "example.com", true},        {"a.b", "example.com", true},
        {"s", "a..example.com", false},    {"s", ".example.com", false},
        {"", "example.com", false},        {"s..t", "example.com", false},
        {"s", "a\x01.example.com", false},
    };
    char name[256];
    size_t n;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        OK((dkim_key_name(str_c(rows[i].selector), str_c(rows[i].domain), name, &n) == 0) ==
               rows[i].good,
           "the key of %s at %s %s", rows[i].selector, rows[i].domain,
           rows[i].good ? "has a name" : "has none");
}

static void
test_list_fields(void)
{
    struct buf CLEANUP(buf_done) names = {0};
    struct dkim_sign_params p = params();

    buf_init(&names, 4096);
    dkim_message_headers(m, STR(head), &dkim_limits_default);
    dkim_sign_headers(m, &p, &names);
    OK(str_starts(buf_view(&names), STR("From:From:")), "From is over-signed");
    OK(str_find(buf_view(&names), STR("List-")) < 0, "List-* is not, on mail that is none");
    buf_clear(&names);
    dkim_message_headers(m, STR("From: a@b.example\r\nList-Id: <l.b.example>\r\n\r\n"),
                         &dkim_limits_default);
    dkim_sign_headers(m, &p, &names);
    OK(str_find(buf_view(&names), STR("List-Id:List-Id:List-Help")) >= 0, "on list mail it is");
}

/* --- section 4, item 16 --- */

static void
test_attack_thousand_signatures(void)
{
    struct buf CLEANUP(buf_done) out = {0};
    struct buf CLEANUP(buf_done) all = {0};
    struct dkim_sign_params p = params();

    sign(&p, STR(head), STR("x\r\n"), &out);
    buf_init(&all, 1u << 22);
    for (unsigned i = 0; i < 900; i++)
        buf_fmt(&all,
                "DKIM-Signature: v=1; a=rsa-sha256; d=d%u.example; s=s; h=from; bh=%s; b=AAAA\r\n",
                i, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    buf_str(&all, buf_view(&out));
    dns.asked = 0;
    check(buf_view(&all), 0);
    IS(v.n, dkim_limits_default.signatures, "ten of 901 signatures are looked at");
    IS(v.skipped, 891, "the others are counted");
    OK(dns.asked <= 10, "and cost no look-up (%u questions)", dns.asked);
}

static void
test_attack_sixteen_thousand_bit_key(void)
{
    uint8_t der[2100] = {0x30, 0x82, 0x08, 0x08, 0x02, 0x82, 0x08, 0x01, 0x00, 0xff};
    struct dkim_rsa rsa;
    struct dkim_key k;
    struct buf CLEANUP(buf_done) record = {0};

    memcpy(der + 9 + 2048, "\x02\x01\x03", 3);
    IS(dkim_rsa_parse(str_of(der, 9 + 2048 + 3), &rsa), 0, "a key of 16384 bits is well-formed");
    IS(rsa.bits, 16384, "its size is known before the library sees it");
    buf_init(&record, 8192);
    buf_c(&record, "v=DKIM1; p=");
    for (unsigned i = 0; i < 2745; i++)
        buf_char(&record, 'A');
    dkim_key_parse(buf_view(&record), &dkim_limits_default, &k);
    IS(k.bad, DKIM_KEY_TOO_LARGE, "too large to be decoded");
    OK(!k.pub, "no key was made of it");
    dkim_key_parse(
        STR("p=MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBALgSoqXVSEmfcIsOzw7oRuCCOwsmtX/SJnTWxYyj2leFxfS/"
            "AVJ+dYfY+hXqMsT7l+MZvvh/R1WzN4MO/kI/7XsCAwEAAQ=="),
        &dkim_limits_default, &k);
    IS(k.bad, DKIM_WEAK_KEY, "512 bits: a finding");
    IS(k.bits, 512, "with the size");
}

/* Each signature with another l= would hash the body once more. */
static void
test_attack_many_lengths(void)
{
    struct buf CLEANUP(buf_done) all = {0};
    unsigned many = 0;

    buf_init(&all, 65536);
    for (unsigned i = 0; i < 10; i++)
        buf_fmt(&all,
                "DKIM-Signature: v=1; a=ed25519-sha256; d=example.com; s=sel; h=from; l=%u; "
                "b=AAAA; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\r\n",
                i);
    buf_c(&all, "DKIM-Signature: v=1; a=ed25519-sha256; d=example.com; s=sel; h=from; b=AAAA; "
                "bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\r\n");
    buf_c(&all, "From: a@example.com\r\n\r\n0123456789abcdef\r\n");
    check(buf_view(&all), 0);
    for (unsigned i = 0; i < v.n; i++)
        many += v.results[i].reason == DKIM_TOO_MANY;
    IS(v.n, 10, "ten are looked at");
    IS(many, 8, "two different l= are hashed");
    OK(m->body.n <= 4, "passes over the body: %u", m->body.n);
}

/* Other TXT records under the name of the key, more than are looked at. */
static void
test_key_among_other_text(void)
{
    struct buf CLEANUP(buf_done) out = {0};
    struct dkim_sign_params p = params();
    struct dns_record records[12];
    struct dns_answer answer = {.name = STR("sel._domainkey.example.com"),
                                .type = DNS_TXT,
                                .status = DNS_OK,
                                .ttl = 300,
                                .records = records,
                                .n = ARRAY_LEN(records)};
    const struct dns_answer *items[] = {&answer};
    struct auth_answers table = {.items = items, .n = 1};
    struct auth_needs needs = {.n = 0};

    for (unsigned i = 0; i < ARRAY_LEN(records); i++)
        records[i] = (struct dns_record){.type = DNS_TXT, .data = STR("v=spf1 -all")};
    records[11].data = dns.records[0].data;
    sign(&p, STR(head), STR("x\r\n"), &out);
    check(buf_view(&out), 0);
    IS(dkim_verify_run(&v, NOW, keys, &table, &needs), AUTH_DONE, "twelve records");
    IS(v.results[0].reason, DKIM_OK, "the key behind eleven others is found");
}

static void
test_attack_hundred_thousand_names(void)
{
    struct buf CLEANUP(buf_done) text = {0};

    buf_init(&text, 1u << 22);
    buf_c(&text, "DKIM-Signature: v=1; a=rsa-sha256; d=example.com; s=sel; b=AAAA; bh="
                 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=; h=from");
    for (unsigned i = 0; i < 300; i++)
        buf_c(&text, ":x");
    buf_c(&text, "\r\nFrom: a@example.com\r\n\r\n");
    dns.asked = 0;
    IS(check(buf_view(&text), 0), DKIM_BAD_HEADERS, "301 names in h= are too many");
    buf_clear(&text);
    buf_c(&text, "DKIM-Signature: v=1; a=rsa-sha256; h=from");
    for (unsigned i = 0; i < 100000; i++)
        buf_c(&text, ":x");
    buf_c(&text, "\r\nFrom: a@example.com\r\n\r\n");
    IS(check(buf_view(&text), 0), DKIM_TOO_LARGE, "100000 are not even read");
    IS(dns.asked, 0, "no look-up for either");
}

static void
test_attack_many_header_fields(void)
{
    struct buf CLEANUP(buf_done) out = {0};
    struct buf CLEANUP(buf_done) all = {0};
    struct dkim_sign_params p = params();

    sign(&p, STR(head), STR("x\r\n"), &out);
    buf_init(&all, 1u << 24);
    buf_str(&all, str_sub(buf_view(&out), 0, (size_t)str_find(buf_view(&out), STR("From: A"))));
    for (unsigned i = 0; i < 100000; i++)
        buf_c(&all, "X: y\r\n");
    buf_str(&all, STR(head));
    IS(check(buf_view(&all), 0), DKIM_TOO_LARGE,
       "a header of 100000 fields: no signature is valid");
}

static void
test_attack_appended_body(void)
{
    struct buf CLEANUP(buf_done) out = {0};
    struct buf CLEANUP(buf_done) all = {0};
    struct dkim_sign_params p = params();
    struct dkim_draft CLEANUP(dkim_draft_done) d = {0};
    uint8_t sig[64];
    int number;

    /* We never write l= ourselves: made by hand. */
    dkim_message_headers(m, STR(head), &dkim_limits_default);
    number = dkim_body_want(&m->body, DKIM_SIMPLE, false, 7);
    dkim_message_body(m, "Hello\r\nevil\r\n", 13);
    dkim_message_end(m);
    dkim_draft_begin(&d, "DKIM-Signature");
    dkim_draft_tag(&d, "v", STR("1"));
    dkim_draft_tag(&d, "a", STR("ed25519-sha256"));
    dkim_draft_tag(&d, "d", p.domain);
    dkim_draft_tag(&d, "s", p.selector);
    dkim_draft_tag(&d, "h", STR("from"));
    dkim_draft_number(&d, "l", 7);
    dkim_draft_base64(&d, "bh", dkim_body_digest(&m->body, number));
    dkim_draft_hole(&d);
    dkim_message_hash(m, false);
    dkim_message_hash_list(m, STR("from"), DKIM_SIMPLE);
    dkim_draft_digest(&d, m, DKIM_SIMPLE);
    dkim_private_sign(key, DKIM_ED25519_SHA256, d.digest, d.digest_n, sig, sizeof(sig));
    buf_init(&out, 65536);
    dkim_draft_finish(&d, sig, sizeof(sig), &out);
    buf_init(&all, 65536);
    buf_fmt(&all, "%.*s%sHello\r\nevil\r\n", STR_ARG(buf_view(&out)), head);
    IS(check(buf_view(&all), 0), DKIM_BODY_UNSIGNED, "what follows l= is not trusted");
    OK(v.results[0].verified && v.results[0].status == DKIM_POLICY, "though the mathematics hold");
    IS(v.results[0].body_unsigned, 6, "and its bytes are told");
    buf_drop(&all, 0);
    all.n -= 6;
    IS(check(buf_view(&all), 0), DKIM_OK, "without them it passes");
    all.n -= 2;
    IS(check(buf_view(&all), 0), DKIM_OK, "a body without a final CRLF gets one");
    all.n -= 1;
    IS(check(buf_view(&all), 0), DKIM_BODY_TOO_SHORT, "a shorter body does not");
}

static void
test_attack_long_body_hash(void)
{
    static const char text[] =
        "DKIM-Signature: v=1; a=ed25519-sha256; d=example.com; s=sel; h=from; b=AAAA; bh="
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        "AA"
        "AAAAAAAAAAAAAAAAAAAA\r\nFrom: a@example.com\r\n\r\n";

    IS(check(STR(text), 0), DKIM_BAD_BASE64, "bh= longer than a digest");
}

static void
test_attack_second_from(void)
{
    struct buf CLEANUP(buf_done) out = {0};
    struct buf CLEANUP(buf_done) all = {0};
    struct dkim_sign_params p = params();

    sign(&p, STR(head), STR("x\r\n"), &out);
    buf_init(&all, 65536);
    buf_fmt(&all, "From: ceo@example.com\r\n%.*s", STR_ARG(buf_view(&out)));
    IS(check(buf_view(&all), 0), DKIM_BAD_SIGNATURE, "our signature breaks under a second From");
    p.headers = STR("from:subject");
    buf_done(&out);
    sign(&p, STR(head), STR("x\r\n"), &out);
    buf_clear(&all);
    buf_fmt(&all, "From: ceo@example.com\r\n%.*s", STR_ARG(buf_view(&out)));
    IS(check(buf_view(&all), 0), DKIM_SECOND_FROM,
       "one that was not over-signed is no pass either");
    buf_clear(&all);
    buf_fmt(&all, "Subject: urgent\r\n%.*s", STR_ARG(buf_view(&out)));
    check(buf_view(&all), 0);
    OK(v.results[0].repeated, "another Subject is told");
    p.headers = STR("from:content-type");
    buf_done(&out);
    sign(&p, STR("Content-Type: text/plain\r\nFrom: a@example.com\r\n\r\n"), STR("x\r\n"), &out);
    buf_clear(&all);
    buf_fmt(&all, "Content-Type: text/html\r\n%.*s", STR_ARG(buf_view(&out)));
    IS(check(buf_view(&all), 0), DKIM_SECOND_TYPE, "another Content-Type is no pass");
    OK(v.results[0].verified && v.results[0].status == DKIM_POLICY, "though it verifies");
}

static void
test_attack_space_and_nul_before_colon(void)
{
    struct buf CLEANUP(buf_done) out = {0};
    struct dkim_sign_params p = params();
    static const char odd[] = "From\0: evil@example.com\r\n";
    struct buf CLEANUP(buf_done) all = {0};

    sign(&p, STR(head), STR("x\r\n"), &out);
    buf_init(&all, 65536);
    buf_c(&all, "From : evil@example.com\r\n");
    buf_str(&all, buf_view(&out));
    OK(check(buf_view(&all), 0) != DKIM_OK, "\"From :\" is a From field");
    buf_clear(&all);
    buf_add(&all, odd, sizeof(odd) - 1);
    buf_str(&all, buf_view(&out));
    check(buf_view(&all), 0);
    OK(v.n == 1, "a NUL in a field's name harms nobody");
}

static void
test_times_and_keys(void)
{
    static const struct {
        const char *selector;
        uint64_t now, expires;
        enum dkim_reason want;
    } rows[] = {
        {"sel", NOW, NOW + 10, DKIM_OK},       {"sel", NOW - 1000, NOW - 500, DKIM_EXPIRED},
        {"sel", NOW + 100000, 0, DKIM_FUTURE}, {"none", NOW, 0, DKIM_NO_KEY},
        {"revoked", NOW, 0, DKIM_KEY_REVOKED}, {"slow", NOW, 0, DKIM_DNS},
        {"strict", NOW, 0, DKIM_OK},
    };

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf CLEANUP(buf_done) out = {0};
        struct dkim_sign_params p = params();

        p.selector = str_c(rows[i].selector);
        p.now = rows[i].now;
        p.expires = rows[i].expires;
        sign(&p, STR(head), STR("x\r\n"), &out);
        IS(check(buf_view(&out), 0), rows[i].want, "selector %s: %s", rows[i].selector,
           dkim_reason_text(rows[i].want));
    }
    OK(v.results[0].testing, "t=y is told");
}

/* --- parsers --- */

static void
test_tags(void)
{
    static const struct {
        const char *text;
        int rc;
    } rows[] = {
        {"a=1", 0},
        {"a=1;", 0},
        {" a = 1 ; b=\r\n\t2 ;\r\n", 0},
        {"a=", 0},
        {"", ERR_SYNTAX},
        {";", ERR_SYNTAX},
        {"a=1;;b=2", ERR_SYNTAX},
        {"a", ERR_SYNTAX},
        {"1a=2", ERR_SYNTAX},
        {"a=1;a=2", ERR_SYNTAX},
        {"a=\x01", ERR_SYNTAX},
        {"a=\xff", ERR_SYNTAX},
        {"a=\xc3\xa9", 0},
        {"a=12345678\x7f"
         "9012345678",
         ERR_SYNTAX},
    };
    struct dkim_tags t;
    uint8_t out[8];

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
        IS(dkim_tags_parse(str_c(rows[i].text), &t), rows[i].rc, "tag list %u", i);
    IS(dkim_base64(STR("QU JD\r\n RA=="), out, sizeof(out)), 4, "base64 with white space");
    OK(!memcmp(out, "ABCD", 4), "decoded");
    IS(dkim_base64(STR("QUJDRA"), out, sizeof(out)), 4, "padding may lack");
    IS(dkim_base64(STR("QUJDR"), out, sizeof(out)), ERR_SYNTAX, "a lone digit may not");
    IS(dkim_base64(STR("QU=JD"), out, sizeof(out)), ERR_SYNTAX, "nothing behind padding");
    IS(dkim_base64(STR("QUJDQUJDQUJD"), out, sizeof(out)), ERR_LIMIT, "never over the end");
}

int
main(void)
{
    setup();
    test_tags();
    test_any_body_in_any_pieces();
    test_relaxed_folding();
    test_eai_domain();
    test_refusals();
    test_key_names();
    test_list_fields();
    test_attack_thousand_signatures();
    test_attack_sixteen_thousand_bit_key();
    test_attack_many_lengths();
    test_key_among_other_text();
    test_attack_hundred_thousand_names();
    test_attack_many_header_fields();
    test_attack_appended_body();
    test_attack_long_body_hash();
    test_attack_second_from();
    test_attack_space_and_nul_before_colon();
    test_times_and_keys();
    rig_dns_done(&dns);
    dkim_keys_free(keys);
    dkim_message_free(m);
    dkim_private_free(key);
    return tap_done();
}
