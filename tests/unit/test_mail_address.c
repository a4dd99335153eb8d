/*
 * tests/unit/test_mail_address.c - mailboxes, paths, keys, downgrading, and the address suites.
 */
#include <jansson.h>

#include "core/buf.h"
#include "core/codec.h"
#include "mail/address.h"
#include "tap.h"

#define UTF8 ADDRESS_ALLOW_UTF8

static const struct {
    const char *text;
    unsigned flags;
    int rc;
    const char *key;
} mailboxes[] = {
    {"a@b.example", 0, 0, "a@b.example"},
    {"A.B@EXAMPLE.Test", 0, 0, "A.B@example.test"},
    {"\"a\"@b.example", 0, 0, "a@b.example"},
    {"\"\\a.b\"@b.example", 0, 0, "a.b@b.example"},
    {"\"a b\\\"\\\\\"@b.example", 0, 0, "\"a b\\\"\\\\\"@b.example"},
    {"\"\"@b.example", 0, 0, "\"\"@b.example"},
    {"\"a..b\"@b.example", 0, 0, "\"a..b\"@b.example"},
    {"a@[192.0.2.1]", 0, 0, "a@[192.0.2.1]"},
    {"a@[IPV6:2001:DB8:0:0::1]", 0, 0, "a@[ipv6:2001:db8::1]"},
    {"a@[2001:db8::1]", 0, ERR_SYNTAX, NULL},
    {"a@[[192.0.2.1]]", 0, ERR_SYNTAX, NULL},
    {"a@[IPv6:192.0.2.1]", 0, ERR_SYNTAX, NULL},
    {"a@[IPv6:fe80::1%eth0]", 0, ERR_SYNTAX, NULL},
    {"a@[x-tag:abc]", 0, ERR_SYNTAX, NULL},
    {"", 0, ERR_SYNTAX, NULL},
    {"", ADDRESS_ALLOW_NULL, 0, ""},
    {"postmaster", 0, ERR_SYNTAX, NULL},
    {"PostMaster", ADDRESS_ALLOW_POSTMASTER, 0, "postmaster"},
    {"root", ADDRESS_ALLOW_POSTMASTER, ERR_SYNTAX, NULL},
    {"a@b_c.example", 0, ERR_SYNTAX, NULL},
    {"a@-b.example", 0, ERR_SYNTAX, NULL},
    {"a@b-.example", 0, ERR_SYNTAX, NULL},
    {"a@b.example.", 0, ERR_SYNTAX, NULL},
    {"a@@b.example", 0, ERR_SYNTAX, NULL},
    {"a b@b.example", 0, ERR_SYNTAX, NULL},
    {"a@b.example ", 0, ERR_SYNTAX, NULL},
    {"jos\xc3\xa9@b.example", 0, ERR_SYNTAX, NULL},
    {"jos\xc3\xa9@b.example", UTF8, 0, "jos\xc3\xa9@b.example"},
    {"\"jos\xc3\xa9 x\"@b.example", UTF8, 0, "\"jos\xc3\xa9 x\"@b.example"},
    {"a\xc2\x85@b.example", UTF8, ERR_SYNTAX, NULL},
    {"a@ex\xc3\xa4mple.test", UTF8, 0, "a@xn--exmple-cua.test"},
    {"a@EX\xc3\x84MPLE.test", UTF8, 0, "a@xn--exmple-cua.test"},
    {"a@ex\xc3\xa4mple.test", 0, ERR_SYNTAX, NULL},
    {"a@x\xc2\xa9.example", UTF8, ERR_SYNTAX, NULL},
    {"a@\xe2\x9d\xa4.example", UTF8, ERR_SYNTAX, NULL},
    {"a@\xc3\xa4 b.example", UTF8, ERR_SYNTAX, NULL},
    {"a@\xc3\xa4_b.example", UTF8, ERR_SYNTAX, NULL},
    {"a@\xc3.example", UTF8, ERR_SYNTAX, NULL},
};

static void
test_mailboxes(void)
{
    char key[ADDRESS_MAX + 1];

    for (size_t i = 0; i < ARRAY_LEN(mailboxes); i++) {
        struct address a;
        ssize_t n;
        int rc = address_parse(str_c(mailboxes[i].text), mailboxes[i].flags, &a);

        IS(rc, mailboxes[i].rc, "mailbox <%s>", mailboxes[i].text);
        if (rc < 0)
            continue;
        n = address_key(&a, key, sizeof(key));
        TEXT(str_of(key, n < 0 ? 0 : (size_t)n), mailboxes[i].key, "its key");
    }
}

static void
test_lengths(void)
{
    char text[400], key[ADDRESS_MAX + 1];
    struct address a;
    struct str s = {text, 0};

    memset(text, 'a', sizeof(text));
    text[64] = '@';
    s.n = 64 + 1 + 7;
    memcpy(text + 65, "b.x.yzz", 7);
    IS(address_parse(s, 0, &a), 0, "local part of 64");
    memmove(text + 1, text, s.n++);
    IS(address_parse(s, 0, &a), 0, "local part of 65: whoever minds looks at it");
    IS(a.local.n, ADDRESS_LOCAL_MAX + 1, "and sees it");
    memset(text, 'a', 246);
    memcpy(text + 246, "@b.x.yzz", 8);
    IS(address_parse(str_of(text, 254), 0, &a), 0, "a mailbox of 254");
    OK(address_key(&a, key, sizeof(key)) == 254, "is its own key");
    memset(text, 'a', 247);
    memcpy(text + 247, "@b.x.yzz", 8);
    IS(address_parse(str_of(text, 255), 0, &a), ERR_LIMIT, "one of 255");
    memset(text, ' ', 246);
    text[0] = text[245] = '"';
    memcpy(text + 246, "@b.x.yzz", 8);
    IS(address_parse(str_of(text, 254), 0, &a), 0, "a quoted one");
    OK(address_key(&a, key, sizeof(key)) == 254, "too");
    memset(text, 'a', sizeof(text));
    text[1] = '@';
    for (size_t i = 3; i < 254; i += 4)
        text[i] = '.';
    s.n = 254;
    IS(address_parse(s, 0, &a), 0, "mailbox of 254");
    s.n = 256;
    IS(address_parse(s, 0, &a), ERR_LIMIT, "mailbox of 256");
}

static void
test_paths(void)
{
    static const struct {
        const char *text, *want, *rest;
        int rc;
    } rows[] = {
        {"<a@b.example> SIZE=1", "a@b.example", " SIZE=1", 0},
        {"<>", "", "", 0},
        {"<@r.example:a@b.example>", "a@b.example", "", 0},
        {"<@r.example,@s.example:a@b.example>x", "a@b.example", "x", 0},
        {"<\"a>b\"@b.example>", "\"a>b\"@b.example", "", 0},
        {"<\"a\\\">b\"@b.example>", "\"a\\\">b\"@b.example", "", 0},
        {"<Postmaster>", "Postmaster", "", 0},
        {"<@r.example:>", "", "", ERR_SYNTAX},
        {"<@r.example:postmaster>", "", "", ERR_SYNTAX},
        {"<@r.example,a@b.example>", "", "", ERR_SYNTAX},
        {"<@r.example;@s.example:a@b.example>", "", "", ERR_SYNTAX},
        {"<a@b.example", "", "", ERR_SYNTAX},
        {"a@b.example>", "", "", ERR_SYNTAX},
        {"<<a@b.example>>", "", "", ERR_SYNTAX},
        {"< a@b.example>", "", "", ERR_SYNTAX},
        {"", "", "", ERR_SYNTAX},
        {"<", "", "", ERR_SYNTAX},
        {"<\"", "", "", ERR_SYNTAX},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct address a = {0};
        struct str rest = {0};
        int rc = address_path(str_c(rows[i].text), ADDRESS_ALLOW_NULL | ADDRESS_ALLOW_POSTMASTER,
                              &a, &rest);

        IS(rc, rows[i].rc, "path %s", rows[i].text);
        if (rc < 0)
            continue;
        TEXT(a.text, rows[i].want, "its mailbox");
        TEXT(rest, rows[i].rest, "what follows");
    }
}

static void
test_domains(void)
{
    char dst[256], tiny[4];

    IS(address_domain_ascii(STR("EXAMPLE.Com."), dst, sizeof(dst)), 11, "lower case, no final dot");
    TEXT(str_c(dst), "example.com", "so it reads");
    IS(address_domain_ascii(STR("example.com"), tiny, sizeof(tiny)), ERR_SYNTAX, "no room");
    IS(address_domain_ascii(STR("."), dst, sizeof(dst)), ERR_SYNTAX, "a dot");
    OK(!address_domain_ok(STR("a.example.")), "final dot is no domain of an address");
    OK(address_domain_ok(STR("xn--exmple-cua.test")), "A-label");
    IS(address_downgrade(STR("jos\xc3\xa9@b.example"), dst, sizeof(dst)), ERR_UNSUPPORTED,
       "local part cannot be downgraded");
    IS(address_downgrade(STR("a@b.example"), tiny, sizeof(tiny)), ERR_LIMIT,
       "no room to downgrade");
    IS(address_downgrade(STR("A@EX\xc3\xa4mple.test"), dst, sizeof(dst)), 21, "downgraded");
    TEXT(str_c(dst), "A@xn--exmple-cua.test", "so it reads");
}

static json_t *
suite(const char *path)
{
    const char *root = getenv("GAPURA_SUITES");
    char full[1024];

    snprintf(full, sizeof(full), "%s/%s", root ? root : "../shared/suites", path);
    return json_load_file(full, JSON_ALLOW_NUL, NULL);
}

static struct str
text_of(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);

    return str_of(json_string_value(v), json_string_length(v));
}

static void
test_isemail(void)
{
    json_t *all = suite("address-isemail/tests.json"), *one;
    struct address a;
    size_t i;

    if (!all) {
        tap_skip("address-isemail", "suite not there");
        return;
    }
    json_array_foreach(all, i, one)
    {
        struct str category = text_of(one, "category");
        bool want = str_eq(category, STR("ISEMAIL_VALID_CATEGORY")) ||
                    str_eq(category, STR("ISEMAIL_RFC5321")) ||
                    str_eq(category, STR("ISEMAIL_DNSWARN"));

        IS(address_parse(text_of(one, "address"), 0, &a) == 0 && a.local.n <= ADDRESS_LOCAL_MAX,
           want, "isemail %.*s: %.*s", STR_ARG(text_of(one, "id")),
           STR_ARG(text_of(one, "diagnosis")));
    }
    json_decref(all);
}

static void
test_eai_row(size_t i, const json_t *one)
{
    char raw[64], down[ADDRESS_MAX + 1];
    struct str text = text_of(one, "address");
    struct address a;
    ssize_t n;

    if (!text.p) {
        n = codec_unhex(text_of(one, "bytes_hex"), raw, sizeof(raw));
        text = str_of(raw, n < 0 ? 0 : (size_t)n);
    }
    IS(address_parse(text, UTF8, &a) == 0, json_is_true(json_object_get(one, "valid")), "eai %zu",
       i);
    if (!json_is_true(json_object_get(one, "valid")))
        return;
    IS(a.local_utf8, json_is_true(json_object_get(one, "needs_smtputf8")), "eai %zu: SMTPUTF8", i);
    if (a.local_utf8) {
        IS(address_downgrade(text, down, sizeof(down)), ERR_UNSUPPORTED, "eai %zu: stays", i);
        memcpy(down, a.local.p, a.local.n);
        down[a.local.n] = '@';
        n = address_domain_ascii(a.domain, down + a.local.n + 1, sizeof(down) - a.local.n - 1);
        n += n < 0 ? 0 : (ssize_t)a.local.n + 1;
    } else {
        n = address_downgrade(text, down, sizeof(down));
    }
    OK(n > 0 && str_eq(str_of(down, (size_t)n), text_of(one, "a_label")), "eai %zu: A-labels", i);
}

static void
test_eai(void)
{
    json_t *all = suite("address-eai/addresses.json"), *one;
    size_t i;

    if (!all) {
        tap_skip("address-eai", "suite not there");
        return;
    }
    json_array_foreach(all, i, one) test_eai_row(i, one);
    json_decref(all);
}

int
main(void)
{
    test_mailboxes();
    test_lengths();
    test_paths();
    test_domains();
    test_isemail();
    test_eai();
    return tap_done();
}
