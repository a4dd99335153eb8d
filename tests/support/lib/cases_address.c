/*
 * tests/support/lib/cases_address.c - address suites: the parser alone, and RCPT at the server.
 */
#include "cases.h"
#include "core/codec.h"
#include "mail/address.h"
#include "smtp_twin.h"

/* The server's answer to RCPT TO:<text>, or MAIL FROM with utf8 before it. */
static struct str
ask_server(struct str text, bool utf8, char *dst, size_t cap)
{
    struct smtp_server_conf conf;
    struct twin t;
    struct buf in;

    buf_init(&in, 65536);
    conf = twin_conf();
    conf.max_local = ADDRESS_LOCAL_MAX; /* the suites speak RFC 5321 */
    twin_open(&t, &conf, false);
    twin_feed(&t, STR("EHLO x\r\n"), 0);
    twin_feed(&t, utf8 ? STR("MAIL FROM:<> SMTPUTF8\r\n") : STR("MAIL FROM:<>\r\n"), 0);
    buf_clear(&t.out);
    buf_fmt(&in, "RCPT TO:<");
    buf_str(&in, text);
    buf_c(&in, ">\r\n");
    twin_feed(&t, buf_view(&in), 0);
    twin_replies(&t, dst, cap);
    twin_close(&t);
    buf_done(&in);
    return str_c(dst);
}

void
cases_isemail(const char *path, const json_t *all)
{
    const json_t *one;
    size_t i;

    (void)path;
    json_array_foreach(all, i, one)
    {
        struct str text = cases_text(one, "address"), category = cases_text(one, "category");
        bool want = str_eq(category, STR("ISEMAIL_VALID_CATEGORY")) ||
                    str_eq(category, STR("ISEMAIL_RFC5321")) ||
                    str_eq(category, STR("ISEMAIL_DNSWARN"));
        struct address a;
        char got[256];
        bool parsed = address_parse(text, 0, &a) == 0 && a.local.n <= ADDRESS_LOCAL_MAX;
        bool served = str_starts(ask_server(text, false, got, sizeof(got)), STR("250"));

        cases_ok(parsed == want && served == want, "isemail %.*s %.*s %s",
                 STR_ARG(cases_text(one, "id")), STR_ARG(cases_text(one, "diagnosis")),
                 want ? "accepted" : "refused");
    }
}

/* The address with its domain in A-labels; empty if that cannot be. */
static struct str
in_alabels(const struct address *a, char *dst, size_t cap)
{
    ssize_t n;

    memcpy(dst, a->local.p, a->local.n);
    dst[a->local.n] = '@';
    n = address_domain_ascii(a->domain, dst + a->local.n + 1, cap - a->local.n - 1);
    return str_of(dst, n < 0 ? 0 : a->local.n + 1 + (size_t)n);
}

static bool
eai_valid(const json_t *one, const struct address *a, struct str text)
{
    bool needs = json_is_true(json_object_get(one, "needs_smtputf8"));
    char labels[ADDRESS_MAX + 1], down[ADDRESS_MAX + 1], got[256];
    struct str want = cases_text(one, "a_label");
    ssize_t n = address_downgrade(text, down, sizeof(down));

    if (a->local_utf8 != needs || (n == ERR_UNSUPPORTED) != needs)
        return false;
    if (want.p && !str_eq(in_alabels(a, labels, sizeof(labels)), want))
        return false;
    if (want.p && !needs && !str_eq(str_of(down, (size_t)MAX(n, 0)), want))
        return false;
    if (!str_starts(ask_server(text, true, got, sizeof(got)), STR("250")))
        return false;
    return !a->utf8 || str_eq(ask_server(text, false, got, sizeof(got)), STR("553 5.6.7"));
}

void
cases_eai(const char *path, const json_t *all)
{
    char raw[1024], got[256];
    const json_t *one;
    size_t i;

    (void)path;
    json_array_foreach(all, i, one)
    {
        struct str text = cases_text(one, "address");
        bool valid = json_is_true(json_object_get(one, "valid")), good;
        struct address a;

        if (!text.p) {
            ssize_t n = cases_hex(one, "bytes_hex", raw, sizeof(raw));

            text = str_of(raw, n < 0 ? 0 : (size_t)n);
        }
        good = (address_parse(text, ADDRESS_ALLOW_UTF8, &a) == 0) == valid;
        if (good && valid)
            good = eai_valid(one, &a, text);
        else if (good)
            good = ask_server(text, true, got, sizeof(got)).p[0] == '5';
        cases_ok(good, "eai %zu %.*s: %.*s", i, STR_ARG(text),
                 STR_ARG(valid ? STR("valid") : cases_text(one, "why")));
    }
}
