/* tests/unit/test_auth_known.c - answers that are kept: copied, once, with a ceiling. */
#include "auth/evidence.h"
#include "tap.h"

static void
test_copies(void)
{
    char name[] = "far.test", text[] = "v=spf1 -all";
    struct dns_record record = {.type = DNS_TXT, .data = {text, 11}};
    struct dns_answer a = {
        .name = {name, 8}, .type = DNS_TXT, .ttl = 60, .records = &record, .n = 1};
    struct arena arena;
    struct auth_known k;
    struct auth_answers table;
    const struct dns_answer *found;

    arena_init(&arena, 1u << 20);
    auth_known_init(&k, &arena);
    IS(auth_known_add(&k, &a), 0, "kept");
    IS(auth_known_add(&k, &a), 0, "again");
    IS(k.n, 1, "once");
    memset(name, 'x', 8);
    memset(text, 'x', 11);
    table = auth_known_table(&k);
    found = auth_answers_find(&table, STR("FAR.test."), DNS_TXT);
    OK(found && found->n == 1, "found in any form of the name");
    TEXT(found ? found->records[0].data : STR_NONE, "v=spf1 -all", "a copy, whatever came later");
    OK(!auth_answers_find(&table, STR("far.test"), DNS_A), "of that type only");
    arena_done(&arena);
}

/* Attack 15: answers without end. What finds no room is a failure, so evaluations end. */
static void
test_attack_answers_without_end(void)
{
    static char big[60000];
    struct dns_record record = {.type = DNS_TXT, .data = {big, sizeof(big)}};
    struct auth_question q = {.type = DNS_TXT};
    struct arena arena;
    struct auth_known k;
    unsigned many = 0, large = 0, failed = 0;
    char name[32];

    arena_init(&arena, 8u << 20);
    auth_known_init(&k, &arena);
    for (unsigned i = 0; i < 5000; i++) {
        struct dns_answer a = {.name = {name, str_fmt(name, sizeof(name), "n%u.test", i)},
                               .type = DNS_A,
                               .status = DNS_NXDOMAIN};

        many += auth_known_add(&k, &a) == 0;
    }
    OK(many > 300 && many < AUTH_KNOWN_MAX, "%u answers of 5000", many);
    for (unsigned i = 0; i < 5000; i++) {
        q.n = str_fmt(q.name, sizeof(q.name), "f%u.test", i);
        failed += auth_known_fail(&k, &q) == 0;
    }
    IS(many + failed, AUTH_KNOWN_MAX, "failures still found room, and end too");
    auth_known_init(&k, &arena);
    for (unsigned i = 0; i < 100; i++) {
        struct dns_answer a = {.name = {name, str_fmt(name, sizeof(name), "n%u.test", i)},
                               .type = DNS_TXT,
                               .records = &record,
                               .n = 1};

        large += auth_known_add(&k, &a) == 0;
    }
    IS(large, AUTH_KNOWN_BYTES / 60200, "large answers: %u", large);
    arena_done(&arena);
}

/* With no room at all every evaluation still says something. */
static void
test_no_room(void)
{
    static const char mail[] = "DKIM-Signature: v=1; a=rsa-sha256; d=far.test; s=x; h=from; "
                               "bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\n"
                               "From: a@far.test\r\n\r\n";
    struct settings_verify conf = {
        .dkim_signatures = 10, .dkim_min_bits = 1024, .dkim_max_bits = 4096};
    struct auth_common *common = NULL;
    struct auth_evidence e = {0};
    struct auth_needs needs;
    struct arena arena;
    struct addr client;
    struct why why = {""};

    IS(auth_common_create(&common, &conf, STR("mx.test"), STR_NONE, &why), 0, "shared %s",
       why.text);
    addr_parse(STR("9.1.1.1"), &client);
    arena_init(&arena, 64);
    auth_evidence_open(&e, common, &arena, &client, STR("h.test"), STR("a"), STR("far.test"), 0, 0);
    IS(auth_evidence_header(&e, str_of(mail, sizeof(mail) - 1)), ERR_NOMEM, "said");
    OK(auth_evidence_dkim(&e, 0, &needs) == AUTH_DONE && !e.have_dkim, "no signature is judged");
    auth_evidence_close(&e);
    auth_evidence_close(&e);
    IS(common->nspare, 1, "what is pooled came back once");
    arena_done(&arena);
    auth_common_free(common);
}

static void
test_list_from_text(void)
{
    static const char list[] = "// ===BEGIN ICANN DOMAINS===\ntest\nco.test\n";
    struct settings_verify conf = {.dmarc_method = DMARC_METHOD_PSL, .dkim_signatures = 1};
    struct auth_common *common = NULL;
    struct why why = {""};

    IS(auth_common_create(&common, &conf, STR("mx.test"), str_c(list), &why), 0, "a list %s",
       why.text);
    TEXT(psl_registrable(common->psl, STR("a.b.far.co.test")), "far.co.test", "is read");
    auth_common_free(common);
    common = NULL;
    OK(auth_common_create(&common, &conf, STR("mx.test"), STR_NONE, &why) < 0 && !common &&
           why.text[0],
       "without one it is refused: %s", why.text);
}

/* What a cache knows is known at once: one run is enough, and the table has what was used. */
static unsigned cache_asked;

static const struct dns_answer *
cache(void *ctx, struct str name, enum dns_type type)
{
    static const char *const texts[][2] = {{"far.test", "v=spf1 include:a.test -all"},
                                           {"a.test", "v=spf1 include:b.test ip4:192.0.2.1 -all"},
                                           {"b.test", "v=spf1 ip4:192.0.2.2 -all"}};
    static struct dns_record record = {.type = DNS_TXT};
    static struct dns_answer a = {.type = DNS_TXT, .ttl = 60, .records = &record, .n = 1};

    cache_asked++;
    for (size_t i = 0; i < ARRAY_LEN(texts) && type == DNS_TXT; i++) {
        if (!str_eq(name, str_c(texts[i][0])))
            continue;
        a.name = str_c(texts[i][0]);
        record.data = str_c(texts[i][1]);
        return i == 1 && ctx ? NULL : &a;
    }
    return NULL;
}

static void
test_cached(void)
{
    struct spf_input in = {.identity = SPF_MAILFROM,
                           .local = STR("x"),
                           .domain = STR("far.test"),
                           .helo = STR("h.test"),
                           .limits = &spf_limits_default};
    struct spf_verdict v = {0};
    struct auth_answers table;
    struct auth_needs needs;
    struct auth_known k;
    struct arena arena;

    addr_parse(STR("192.0.2.1"), &in.ip);
    arena_init(&arena, 1u << 20);
    auth_known_init(&k, &arena);
    k.cached = cache;
    table = auth_known_table(&k);
    OK(spf_run(&in, &table, &needs, &arena, &v) == AUTH_DONE && v.result == SPF_PASS, "in one run");
    IS(k.n, 3, "three answers are kept");
    IS(cache_asked, 3, "each was asked for once");
    k.cached = NULL;
    table = auth_known_table(&k);
    OK(spf_run(&in, &table, &needs, &arena, &v) == AUTH_DONE && v.result == SPF_PASS,
       "the table alone says the same");
    auth_known_init(&k, &arena);
    k.cached = cache;
    k.cached_ctx = &k; /* it does not know a.test */
    table = auth_known_table(&k);
    OK(spf_run(&in, &table, &needs, &arena, &v) == AUTH_NEED && needs.n == 1 &&
           str_eq(str_c(needs.items[0].name), STR("a.test")),
       "what it does not know is asked");
    arena_done(&arena);
    arena_init(&arena, 0);
    auth_known_init(&k, &arena);
    k.cached = cache;
    table = auth_known_table(&k);
    OK(!auth_ask(&table, &needs, STR("far.test"), DNS_TXT) && needs.n > 0,
       "without room it is a question as before");
    arena_done(&arena);
}

int
main(void)
{
    test_copies();
    test_cached();
    test_attack_answers_without_end();
    test_no_room();
    test_list_from_text();
    return tap_done();
}
