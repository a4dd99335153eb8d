/* tests/unit/test_checks_sender_key.c - will submitted mail be signed for its author? */
#include "checks_rig.h"
#include "core/wire.h"
#include "store/keys.h"
#include "store/settings.h"

static void
put_key(struct buf *b, const char *selector, uint32_t tenant, uint8_t state, uint8_t found)
{
    put_str16(b, str_c(selector));
    put_u32(b, tenant);
    put_u8(b, KEYS_RSA);
    put_u8(b, state);
    put_u8(b, found);
}

static void
add(struct snapshot_builder *to, const char *domain, uint32_t tenant, uint8_t state, uint8_t found)
{
    struct buf b;

    buf_init(&b, 1000);
    put_key(&b, "old", tenant, KEYS_RETIRING, KEYS_PUBLISHED);
    put_key(&b, "new", tenant, state, found);
    IS(snapshot_add(to, SNAPSHOT_SIGN, str_c(domain), buf_view(&b)), 0, "%s", domain);
    buf_done(&b);
}

int
main(void)
{
    static const struct {
        const char *from;
        uint32_t tenant;
        const char *found;
    } cases[] = {
        {"From: a@good.test\r\n\r\n", 0, ""},
        {"from: \"B, C\" <a@GOOD.test>\r\n\r\n", 0, ""},
        {"From: a@unchecked.test\r\n\r\n", 0, ""},
        {"From: a@wait.test\r\n\r\n", 0, "waiting"},
        {"From: a@gone.test\r\n\r\n", 0, "not-published"},
        {"From: a@other.test\r\n\r\n", 0, "not-published"},
        {"From: a@good.test\r\n\r\n", 7, "other-tenant"},
        {"From: a@old.test\r\n\r\n", 0, "no-key"},
        {"From: a@none.test\r\n\r\n", 0, "no-key"},
        {"From: a@*\r\n\r\n", 0, ""},
        {"From: nobody\r\n\r\n", 0, ""},
        {"Subject: x\r\n\r\nFrom: a@none.test\r\n", 0, ""},
        {"", 0, ""},
        {"From: a@news.good.test\r\n\r\n", 0, ""},
        {"From: a@a.b.good.test\r\n\r\n", 0, ""},
        {"From: a@xgood.test\r\n\r\n", 0, "no-key"},
        {"From: a@news.unchecked.test\r\n\r\n", 0, "no-key"},
        {"From: a@wait.good.test\r\n\r\n", 0, ""},
        {"From: a@news.gone.test\r\n\r\n", 0, "not-published"},
        {"From: a@news.good.test\r\n\r\n", 7, "no-key"},
    };
    struct str above[] = {STR("test"), STR("good.test"), STR("gone.test")};
    const struct settings_dkim dkim = {.subdomains = {above, ARRAY_LEN(above)}};
    struct snapshot_builder *b = snapshot_build(1);
    struct snapshot keys;

    add(b, "good.test", 0, KEYS_ACTIVE, KEYS_PUBLISHED);
    add(b, "unchecked.test", 0, KEYS_ACTIVE, KEYS_UNCHECKED);
    add(b, "wait.test", 0, KEYS_WAITING, KEYS_MISSING);
    add(b, "gone.test", 0, KEYS_ACTIVE, KEYS_MISSING);
    add(b, "other.test", 0, KEYS_ACTIVE, KEYS_DIFFERENT);
    add(b, "old.test", 0, KEYS_RETIRING, KEYS_PUBLISHED);
    add(b, "wait.good.test", 0, KEYS_WAITING, KEYS_MISSING);
    IS(snapshot_add(b, SNAPSHOT_SIGN, STR("*"), STR_NONE), 0, "there are keys");
    IS(snapshot_map(&keys, snapshot_finish(b)), 0, "an index");

    rig_open("hostname = mx.gate.test\n");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        rig.facts.header = str_c(cases[i].from);
        rig.facts.keys = &keys;
        rig.facts.dkim = &dkim;
        rig.facts.tenant = cases[i].tenant;
        rig_run(&check_sender_key);
        TEXT(str_c(rig_found()), cases[i].found, "%s", cases[i].from);
        OK((rig.decided != NULL) == (cases[i].found[0] != '\0'), "each of them would be refused");
        rig_done();
    }
    rig.facts.header = STR("From: a@none.test\r\n\r\n");
    rig.facts.keys = NULL;
    rig_run(&check_sender_key);
    TEXT(str_c(rig_found()), "", "nobody signs here");
    rig_done();
    IS(check_sender_key.mode, CHECK_OBSERVE, "observed unless settings say otherwise");
    rig_close();
    snapshot_unmap(&keys);
    return tap_done();
}
