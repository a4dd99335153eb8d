/*
 * tests/unit/test_courier_laws.c - pure laws of delivery: classes of replies, retries and expiry,
 * the choice of sources and its exclusivity.
 */
#include "core/clock.h"
#include "courier/inner.h"
#include "courier/outcome.h"
#include "courier/retry.h"
#include "courier/source.h"
#include "spool/envelope.h"
#include "store/settings.h"
#include "tap.h"

#define MINUTE (60 * NS_PER_S)
#define HOUR   (60 * MINUTE)

static void
test_classes(void)
{
    static const struct {
        enum smtp_client_stage stage;
        int code;
        uint16_t enhanced[3];
        const char *text;
        uint8_t want;
    } cases[] = {
        {SMTP_AT_DOT, 250, {2, 0, 0}, "ok", REPLY_CLASS_DELIVERED},
        {SMTP_AT_DOT, 0, {0}, "lost", REPLY_CLASS_UNKNOWN},
        {SMTP_AT_BODY, 0, {0}, "lost", REPLY_CLASS_HOST},
        {SMTP_AT_BANNER, 554, {0}, "no", REPLY_CLASS_HOST},
        {SMTP_AT_BANNER, 421, {4, 7, 0}, "slow down", REPLY_CLASS_RATE},
        {SMTP_AT_MAIL, 421, {4, 3, 2}, "closing", REPLY_CLASS_HOST},
        {SMTP_AT_RCPT, 450, {4, 7, 1}, "Greylisted, come back", REPLY_CLASS_GREYLIST},
        {SMTP_AT_RCPT, 451, {0}, "try later", REPLY_CLASS_GREYLIST},
        {SMTP_AT_MAIL, 451, {0}, "try later", REPLY_CLASS_TEMPORARY},
        {SMTP_AT_RCPT, 552, {0}, "mailbox full", REPLY_CLASS_FULL},
        {SMTP_AT_RCPT, 550, {5, 2, 2}, "over quota", REPLY_CLASS_FULL},
        {SMTP_AT_RCPT, 452, {4, 5, 3}, "too many recipients", REPLY_CLASS_TEMPORARY},
        {SMTP_AT_DOT, 452, {0}, "Too many messages", REPLY_CLASS_RATE},
        {SMTP_AT_RCPT, 550, {5, 1, 1}, "unknown", REPLY_CLASS_MAILBOX},
        {SMTP_AT_RCPT, 550, {0}, "unknown", REPLY_CLASS_MAILBOX},
        {SMTP_AT_RCPT, 550, {5, 7, 1}, "blocked", REPLY_CLASS_BLOCK},
        {SMTP_AT_DOT, 554, {0}, "looks like SPAM", REPLY_CLASS_SPAM},
        {SMTP_AT_DOT, 554, {5, 6, 0}, "cannot", REPLY_CLASS_MALFORMED},
        {SMTP_AT_DATA, 503, {5, 5, 1}, "no", REPLY_CLASS_PROTOCOL},
        {SMTP_AT_RCPT, 999, {0}, "?", REPLY_CLASS_HOST},
    };

    struct settings_delivery d = {.retry_max = HOUR};
    struct courier c = {.delivery = &d};
    struct result said;

    IS(reply_classes_load(&c.replies, STR_NONE, NULL), 0, "patterns of replies");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct smtp_reply r = {.code = cases[i].code, .text = str_c(cases[i].text)};
        memcpy(r.enhanced, cases[i].enhanced, sizeof r.enhanced);
        outcome_from_reply(&c, &said, cases[i].stage, NULL, &r);
        IS(said.class, cases[i].want, "%d %s", cases[i].code, cases[i].text);
    }
    reply_classes_free(c.replies);
}

static void
test_retry(void)
{
    uint64_t gaps[] = {5 * MINUTE, 12 * MINUTE, 20 * MINUTE}, low = UINT64_MAX, high = 0;
    struct settings_delivery d = {.retry = {gaps, 3},
                                  .retry_max = 2 * HOUR,
                                  .expire = 120 * HOUR,
                                  .expire_bulk = 24 * HOUR,
                                  .expire_dsn = 48 * HOUR,
                                  .expire_nodomain = HOUR};
    static const unsigned want[] = {5, 12, 20, 40, 80, 120, 120};
    struct retry_message m = {.received = 1000 * HOUR, .class = SPOOL_CLASS_TRANSACTIONAL};

    for (unsigned i = 0; i < ARRAY_LEN(want); i++)
        IS(retry_gap(&d, i + 1, 99) / MINUTE, want[i], "gap after attempt %u", i + 1);
    IS(retry_gap(&d, 4000000000u, 1) / MINUTE, 120, "no attempt is too many");
    d.jitter_percent = 10;
    for (uint64_t seed = 0; seed < 1000; seed++) {
        uint64_t g = retry_gap(&d, 1, seed);
        low = g < low ? g : low;
        high = g > high ? g : high;
    }
    OK(low >= 270 * NS_PER_S && high <= 330 * NS_PER_S && high - low > 50 * NS_PER_S,
       "jitter of a tenth");
    IS(retry_expiry(&d, &m) / HOUR, 1120, "five days");
    m.class = SPOOL_CLASS_BULK;
    IS(retry_expiry(&d, &m) / HOUR, 1024, "bulk: one");
    m.null_sender = true;
    IS(retry_expiry(&d, &m) / HOUR, 1048, "reports: two");
    m.route_expire = 3 * HOUR;
    IS(retry_expiry(&d, &m) / HOUR, 1003, "the route's");
    m.no_domain = true;
    IS(retry_expiry(&d, &m) / HOUR, 1001, "no domain: an hour");
    m.no_domain = false;
    m.expires = 1002 * HOUR;
    IS(retry_expiry(&d, &m) / HOUR, 1002, "the message's own");
}

static struct conf *
conf_of(const char *text)
{
    static const struct conf_block *const blocks[] = {
        &settings_main_block, &settings_tenant_block, &courier_source_block,
        &courier_pool_block,  &courier_route_block,   &courier_delivery_block};
    struct conf_texts *texts = calloc(1, sizeof *texts);
    struct conf_errors errs = {0};
    struct conf *conf = NULL;

    texts->items[0] = (struct conf_text){STR("test.conf"), str_c(text)};
    texts->n = 1;
    conf_parse(&conf, texts, blocks, ARRAY_LEN(blocks), 1, &errs);
    for (size_t i = 0; i < errs.n; i++)
        printf("# %.*s\n", STR_ARG(errs.items[i].text));
    conf_errors_done(&errs);
    free(texts);
    return conf;
}

static void
test_sources(void)
{
    struct conf *conf = conf_of("hostname = mx.example\n"
                                "tenant gold {\n number = 7\n pool = mixed\n}\n"
                                "source a {\n address = 192.0.2.1\n}\n"
                                "source b {\n address = 192.0.2.2\n}\n"
                                "source own {\n address = 192.0.2.3\n exclusive = gold\n}\n"
                                "source lost {\n address = 192.0.2.4\n exclusive = nobody\n}\n"
                                "pool mixed {\n sources = own, a*3, b, lost\n}\n"
                                "pool onlyown {\n sources = own\n}\n");
    struct sources s = {0};
    unsigned gold[8] = {0}, other[8] = {0};
    uint32_t pool, own, lost;
    const char *why = "";

    OK(conf && source_load(&s, conf) == 0, "read");
    pool = source_pool(&s, STR("mixed"));
    own = source_find(&s, STR("own"));
    lost = source_find(&s, STR("lost"));
    for (int i = 0; i < 500; i++) {
        gold[pool_pick(&s, pool, 7, NULL, NULL, &why)]++;
        other[pool_pick(&s, pool, 8, NULL, NULL, &why)]++;
    }
    OK(gold[own] > 50, "its tenant's mail goes by it: %u of 500", gold[own]);
    IS(other[own], 0, "no other's");
    IS(gold[lost] + other[lost], 0, "a source of an unknown tenant carries nobody's");
    OK(other[source_find(&s, STR("a"))] > 2 * other[source_find(&s, STR("b"))], "weights");
    IS(pool_pick(&s, source_pool(&s, STR("onlyown")), TENANT_SYSTEM, NULL, NULL, &why), UINT32_MAX,
       "never the system's: %s", why);
    OK(!pool_has(&s, source_pool(&s, STR("default")), own),
       "the default pool has no exclusive one");
    OK(!source_allows(&s.items[own], TENANT_SYSTEM) && source_allows(&s.items[own], 7), "the law");
    s.items[source_find(&s, STR("a"))].sessions = UINT64_MAX;
    s.items[source_find(&s, STR("b"))].suspended = 1;
    IS(pool_pick(&s, pool, 8, NULL, NULL, &why), UINT32_MAX, "all busy or suspended: %s", why);
    IS(source_load(&s, conf), 0, "read again");
    IS(source_find(&s, STR("own")), own, "numbers stay");
    source_done(&s);
    conf_free(conf);
}

int
main(void)
{
    test_classes();
    test_retry();
    test_sources();
    return tap_done();
}
