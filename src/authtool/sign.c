/*
 * authtool/sign.c - `gapura auth sign FILE`: the message with a signature, or the field alone.
 *
 * The only verb that reads private keys; they leave this process as signatures only.
 */
#include "auth/dkim_crypto.h"
#include "auth/dkim_sig.h"
#include "auth/dkim_sign.h"
#include "auth/dkim_tag.h"
#include "authtool/inner.h"
#include "authtool/input.h"
#include "core/clock.h"

#define KEYS      2u
#define FIELD_MAX (4 * DKIM_DRAFT_MAX)

struct signing {
    struct dkim_private *keys[KEYS];
    struct dkim_sign_params params[KEYS];
    char second_selector[300];
    unsigned n;
    struct buf fields; /* newest on top */
};

static int
load_key(const char *path, struct dkim_private **ret, struct why *why)
{
    CLEANUP(buf_done) struct buf text = {0};
    struct str reason = STR_NONE;
    int rc = tool_input_read(path, INPUT_FILE_MAX, &text, why);

    if (rc < 0)
        return rc;
    rc = dkim_private_load(buf_view(&text), ret, &reason);
    if (text.p)
        explicit_bzero(text.p, text.n);
    return rc < 0
               ? why_set(why, rc, "%.120s: %.*s", path, (int)MIN(reason.n, (size_t)120), reason.p)
               : 0;
}

static int
canon_of(const char *text, struct dkim_sign_params *p, struct why *why)
{
    static const struct {
        const char *text;
        enum dkim_canon header, body;
    } forms[] = {
        {"relaxed/relaxed", DKIM_RELAXED, DKIM_RELAXED},
        {"relaxed/simple", DKIM_RELAXED, DKIM_SIMPLE},
        {"simple/relaxed", DKIM_SIMPLE, DKIM_RELAXED},
        {"simple/simple", DKIM_SIMPLE, DKIM_SIMPLE},
        {"relaxed", DKIM_RELAXED, DKIM_SIMPLE}, /* RFC 6376 3.5: the body is simple then */
        {"simple", DKIM_SIMPLE, DKIM_SIMPLE},
    };

    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        if (strcmp(text, forms[i].text))
            continue;
        p->header_canon = forms[i].header;
        p->body_canon = forms[i].body;
        return 0;
    }
    return why_set(why, ERR_SYNTAX,
                   "--canon: `%.40s` is none; write relaxed/relaxed, relaxed/simple, "
                   "simple/relaxed or simple/simple",
                   text);
}

/* What a verifier would refuse is not signed. */
static int
check_scope(const struct dkim_sign_params *p, struct why *why)
{
    ssize_t at = str_rchr(p->identity, '@');
    struct str domain = str_from(p->identity, (size_t)(at + 1));
    bool below = domain.n > p->domain.n && str_iends(domain, p->domain) &&
                 domain.p[domain.n - p->domain.n - 1] == '.';

    if (p->headers.n && !dkim_list_has(p->headers, STR("from")))
        return why_set(why, ERR_SYNTAX,
                       "--headers must name From: a signature without it counts nowhere");
    if (p->identity.n && (at < 0 || (!below && !str_ieq(domain, p->domain))))
        return why_set(why, ERR_SYNTAX, "--identity must be an address at %.*s or below it",
                       (int)MIN(p->domain.n, (size_t)100), p->domain.p);
    return 0;
}

/* What the first signature says; the second differs by key and selector. */
static int
params_of(const struct args *a, struct dkim_sign_params *p, struct why *why)
{
    static const char *const wanted[] = {"domain", "selector", "key"};
    const char *expires = tool_option(a, "expires"), *canon = tool_option(a, "canon");
    uint64_t ns = 0;

    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        if (!tool_option(a, wanted[i]))
            return why_set(why, ERR_SYNTAX,
                           "`gapura auth sign` needs --%s; see gapura auth sign "
                           "--help",
                           wanted[i]);
    *p = (struct dkim_sign_params){.domain = str_c(tool_option(a, "domain")),
                                   .selector = str_c(tool_option(a, "selector")),
                                   .identity = str_c(tool_option(a, "identity")),
                                   .headers = str_c(tool_option(a, "headers")),
                                   .now = tool_time(a)};
    if (expires)
        (void)str_duration(str_c(expires), &ns); /* args_parse has read it before */
    if (expires && !p->now)
        return why_set(why, ERR_SYNTAX, "--expires counts from t=, which --time 0 leaves out");
    p->expires = ns ? p->now + ns / NS_PER_S : 0;
    if (check_scope(p, why) < 0)
        return ERR_SYNTAX;
    return canon_of(canon ? canon : "relaxed/relaxed", p, why);
}

static int
prepare(const struct args *a, struct signing *s, struct why *why)
{
    const char *second = tool_option(a, "ed25519-key");
    const char *selector = tool_option(a, "ed25519-selector");
    int rc = params_of(a, &s->params[0], why);

    if (rc == 0 && selector && !second)
        rc = why_set(why, ERR_SYNTAX, "--ed25519-selector names a second key: --ed25519-key FILE");
    if (rc == 0)
        rc = load_key(tool_option(a, "key"), &s->keys[0], why);
    if (rc < 0)
        return rc;
    s->params[0].alg = dkim_private_alg(s->keys[0]);
    s->n = 1;
    if (!second)
        return 0;
    rc = load_key(second, &s->keys[1], why);
    if (rc < 0)
        return rc;
    s->n = 2;
    if (dkim_private_alg(s->keys[1]) != DKIM_ED25519_SHA256)
        return why_set(why, ERR_SYNTAX, "--ed25519-key: %.120s is no Ed25519 key", second);
    if (!selector)
        str_fmt(s->second_selector, sizeof(s->second_selector), "%s-ed25519",
                tool_option(a, "selector"));
    s->params[1] = s->params[0];
    s->params[1].alg = DKIM_ED25519_SHA256;
    s->params[1].selector = str_c(selector ? selector : s->second_selector);
    if (str_ieq(s->params[1].selector, s->params[0].selector))
        return why_set(why, ERR_SYNTAX,
                       "two keys cannot be published under one selector: verifiers would take "
                       "either record for either signature");
    return 0;
}

/* Both signatures over one reading of the message. ERR_REFUSED and kin with why. */
static int
sign(struct signing *s, const struct tool_input *in, struct why *why)
{
    struct dkim_message *m = dkim_message_create();
    int rc = m ? dkim_message_headers(m, in->header, &dkim_limits_default) : ERR_NOMEM;

    if (rc == 0)
        rc = dkim_sign_prepare(m, s->params[0].body_canon);
    if (rc < 0)
        why_set(why, rc, "the message cannot be read: %s", err_text(rc));
    if (rc == 0) {
        dkim_message_body(m, in->body.p, in->body.n);
        dkim_message_end(m);
    }
    for (unsigned i = 0; i < s->n && rc == 0; i++)
        rc = dkim_sign(m, &s->params[i], dkim_private_sign, s->keys[i], &s->fields, why);
    dkim_message_free(m);
    return rc;
}

static void
print_json(const struct signing *s)
{
    json_t *j = json_object(), *records = json_array();

    json_object_set_new(j, "fields", tool_json(buf_view(&s->fields)));
    for (unsigned i = 0; i < s->n; i++) {
        char name[256], p[2048], value[2200];
        size_t n = 0;

        if (dkim_key_name(s->params[i].selector, s->params[i].domain, name, &n) < 0 ||
            dkim_private_public(s->keys[i], p, sizeof(p)) <= 0)
            continue;
        str_fmt(value, sizeof(value), "v=DKIM1; k=%s; p=%s",
                s->params[i].alg == DKIM_ED25519_SHA256 ? "ed25519" : "rsa", p);
        json_array_append_new(records,
                              json_pack("{s:o,s:s,s:s}", "name", tool_json(str_of(name, n)), "type",
                                        "TXT", "value", value));
    }
    json_object_set_new(j, "records", records);
    tool_json_print(j);
}

/* With the line ends of the input: what was a file with LF stays one. */
static void
print_text(const struct signing *s, const struct tool_input *in, bool whole)
{
    struct str fields = buf_view(&s->fields), all = buf_view(&in->raw);
    CLEANUP(buf_done) struct buf short_lines;

    buf_init(&short_lines, FIELD_MAX);
    if (in->converted) {
        tool_input_without_cr(fields, &short_lines);
        fields = buf_view(&short_lines);
    }
    fwrite(fields.p, 1, fields.n, stdout);
    if (whole)
        fwrite(all.p, 1, all.n, stdout);
}

int
tool_sign(const struct args *a)
{
    CLEANUP(tool_input_done) struct tool_input in = {0};
    struct signing s = {.n = 0};
    struct why why = {{0}};
    int status = TOOL_GOOD;

    buf_init(&s.fields, FIELD_MAX);
    if (prepare(a, &s, &why) < 0 || tool_input_message(tool_option(a, "file"), &in, &why) < 0)
        status = tool_fail(&why, TOOL_USAGE);
    else if (sign(&s, &in, &why) < 0)
        status = tool_fail(&why, TOOL_BAD);
    else if (a->as_json)
        print_json(&s);
    else
        print_text(&s, &in, !tool_flag(a, "field"));
    if (status == TOOL_GOOD && in.converted)
        fprintf(stderr, "gapura: lines ended with LF; the signature is over CRLF, as SMTP sends\n");
    for (unsigned i = 0; i < KEYS; i++)
        dkim_private_free(s.keys[i]);
    buf_done(&s.fields);
    return status;
}
