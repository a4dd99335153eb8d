/*
 * smtp/ext.c - the extensions of the server, one row each, and their parameters, one row each.
 *
 * Called by EHLO, MAIL and RCPT. A new extension is rows here and, if it has a verb, a row in the
 * verb table; nothing else knows keywords.
 */
#include "smtp/ext.h"
#include "core/err.h"

#define ENVID_MAX          100u /* RFC 3461 4.4 */
#define ORCPT_MAX          500u /* RFC 3461 4.2 */
#define SIZE_DIGITS_MAX    20u  /* RFC 1870 */
#define HOLDFOR_DIGITS_MAX 9u   /* RFC 4865 4.2 */
#define BY_DIGITS_MAX      9u   /* RFC 2852 4 */
#define PRIORITY_MAX       9u   /* RFC 6710 */

static bool
when_not_tls(const struct smtp_ext_state *s)
{
    return !s->tls;
}

static bool
when_tls(const struct smtp_ext_state *s)
{
    return s->tls;
}

static bool
when_auth(const struct smtp_ext_state *s)
{
    return (s->tls || s->conf->auth_plain_text) && s->mechs.n;
}

static bool
when_hold(const struct smtp_ext_state *s)
{
    return s->now_s && s->conf->max_hold;
}

static bool
when_chunking(const struct smtp_ext_state *s)
{
    return (s->conf->offer & SMTP_EXT_CHUNKING) && (s->conf->offer & SMTP_EXT_8BITMIME);
}

static bool
when_xclient(const struct smtp_ext_state *s)
{
    return s->xclient;
}

static bool
when_limits(const struct smtp_ext_state *s)
{
    return s->conf->max_rcpts || s->conf->max_messages;
}

static void
show_size(const struct smtp_ext_state *s, struct buf *out)
{
    buf_fmt(out, " %llu", (unsigned long long)s->conf->max_size);
}

static void
show_auth(const struct smtp_ext_state *s, struct buf *out)
{
    buf_char(out, ' ');
    buf_str(out, s->mechs);
}

static void
show_limits(const struct smtp_ext_state *s, struct buf *out)
{
    if (s->conf->max_rcpts)
        buf_fmt(out, " RCPTMAX=%u", s->conf->max_rcpts);
    if (s->conf->max_messages)
        buf_fmt(out, " MAILMAX=%u", s->conf->max_messages);
}

/* The longest time and the latest moment (RFC 4865 4.1). */
static void
show_hold(const struct smtp_ext_state *s, struct buf *out)
{
    char until[SMTP_DATETIME];

    smtp_datetime_show(s->now_s + s->conf->max_hold, until);
    buf_fmt(out, " %llu %s", (unsigned long long)s->conf->max_hold, until);
}

static void
show_by(const struct smtp_ext_state *s, struct buf *out)
{
    if (s->conf->min_by)
        buf_fmt(out, " %llu", (unsigned long long)s->conf->min_by);
}

static void
show_priority(const struct smtp_ext_state *s, struct buf *out)
{
    if (s->conf->priority_policy.n)
        buf_fmt(out, " %.*s", STR_ARG(s->conf->priority_policy));
}

struct ext_row {
    enum smtp_ext bit;
    const char *keyword;
    bool (*offered)(const struct smtp_ext_state *); /* NULL: always, if the setting has the bit */
    void (*show)(const struct smtp_ext_state *, struct buf *out); /* NULL: the keyword alone */
};

/* In the order in which they are told. */
static const struct ext_row exts[] = {
    {SMTP_EXT_PIPELINING, "PIPELINING", NULL, NULL},
    {SMTP_EXT_SIZE, "SIZE", NULL, show_size},
    {SMTP_EXT_VRFY, "VRFY", NULL, NULL},
    {SMTP_EXT_STARTTLS, "STARTTLS", when_not_tls, NULL},
    {SMTP_EXT_AUTH, "AUTH", when_auth, show_auth},
    {SMTP_EXT_ENHANCED, "ENHANCEDSTATUSCODES", NULL, NULL},
    {SMTP_EXT_8BITMIME, "8BITMIME", NULL, NULL},
    {SMTP_EXT_DSN, "DSN", NULL, NULL},
    {SMTP_EXT_SMTPUTF8, "SMTPUTF8", NULL, NULL},
    {SMTP_EXT_CHUNKING, "CHUNKING", NULL, NULL},
    {SMTP_EXT_BINARYMIME, "BINARYMIME", when_chunking, NULL},
    {SMTP_EXT_DELIVERBY, "DELIVERBY", NULL, show_by},
    {SMTP_EXT_MT_PRIORITY, "MT-PRIORITY", NULL, show_priority},
    {SMTP_EXT_LIMITS, "LIMITS", when_limits, show_limits},
    {SMTP_EXT_REQUIRETLS, "REQUIRETLS", when_tls, NULL},
    {SMTP_EXT_FUTURERELEASE, "FUTURERELEASE", when_hold, show_hold},
    {SMTP_EXT_XCLIENT, "XCLIENT", when_xclient, smtp_xclient_list},
    {SMTP_EXT_HELP, "HELP", NULL, NULL},
};

static bool
row_offered(const struct ext_row *row, const struct smtp_ext_state *s)
{
    return (s->conf->offer & row->bit) && (!row->offered || row->offered(s));
}

bool
smtp_ext_offered(const struct smtp_ext_state *s, enum smtp_ext bit)
{
    for (size_t i = 0; i < ARRAY_LEN(exts); i++)
        if (exts[i].bit == bit)
            return row_offered(&exts[i], s);
    return false;
}

void
smtp_ext_list(const struct smtp_ext_state *s, struct buf *out)
{
    for (size_t i = 0; i < ARRAY_LEN(exts); i++) {
        if (!row_offered(&exts[i], s))
            continue;
        buf_char(out, '\n');
        buf_c(out, exts[i].keyword);
        if (exts[i].show)
            exts[i].show(s, out);
    }
}

struct param_run {
    const struct smtp_ext_state *state;
    struct smtp_mail_params *mail;
    struct smtp_rcpt_params *rcpt;
};
/* Readers return whether the value is good. v.p is NULL if there was none. */

static bool
read_size(struct param_run *r, struct str v)
{
    return v.n && v.n <= SIZE_DIGITS_MAX && v.p[0] != '+' && str_u64(v, &r->mail->size) == 0;
}

static bool
read_body(struct param_run *r, struct str v)
{
    r->mail->binary =
        smtp_ext_offered(r->state, SMTP_EXT_BINARYMIME) && str_ieq(v, STR("BINARYMIME"));
    r->mail->body_8bit = r->mail->binary || str_ieq(v, STR("8BITMIME"));
    return r->mail->body_8bit || str_ieq(v, STR("7BIT"));
}

static bool
read_smtputf8(struct param_run *r, struct str v)
{
    r->mail->utf8 = true;
    return !v.p;
}

static bool
read_requiretls(struct param_run *r, struct str v)
{
    r->mail->requiretls = true;
    return !v.p;
}

static bool
read_ret(struct param_run *r, struct str v)
{
    r->mail->ret = str_ieq(v, STR("FULL")) ? 1 : str_ieq(v, STR("HDRS")) ? 2 : 0;
    return r->mail->ret != 0;
}

static bool
read_envid(struct param_run *r, struct str v)
{
    r->mail->envid = v;
    return v.n <= ENVID_MAX && smtp_xtext_ok(v);
}

static bool
read_auth(struct param_run *r, struct str v)
{
    r->mail->auth = v;
    return v.n <= ORCPT_MAX && smtp_xtext_ok(v); /* "<>" is xtext too */
}

/* One of the two, once, and no longer than we said (RFC 4865 4.2). */
static bool
hold(struct param_run *r, uint64_t until)
{
    const struct smtp_ext_state *s = r->state;

    if (r->mail->hold_until || until > s->now_s + s->conf->max_hold)
        return false;
    r->mail->hold_until = MAX(until, (uint64_t)1); /* a time that is over: at once */
    return true;
}

static bool
read_holdfor(struct param_run *r, struct str v)
{
    uint64_t n;

    return v.n && v.n <= HOLDFOR_DIGITS_MAX && v.p[0] != '+' && str_u64(v, &n) == 0 && n > 0 &&
           hold(r, r->state->now_s + n);
}

static bool
read_holduntil(struct param_run *r, struct str v)
{
    uint64_t until;

    return smtp_datetime_parse(v, &until) == 0 && hold(r, until);
}

/* A number with a sign or without: the sign comes off. */
static bool
read_sign(struct str *v)
{
    bool minus = v->n && v->p[0] == '-';

    if (minus || (v->n && v->p[0] == '+'))
        *v = str_from(*v, 1);
    return minus;
}

/* by-time ";" by-mode [ "T" ]: what must be returned when it is late must have some time (RFC 2852
 * 4). */
static bool
read_by(struct param_run *r, struct str v)
{
    struct str mode, time = str_cut(v, ';', &mode);
    bool minus = read_sign(&time);
    uint64_t n;

    if (!time.n || time.n > BY_DIGITS_MAX || time.p[0] < '0' || time.p[0] > '9' ||
        str_u64(time, &n) < 0 || !mode.n)
        return false;
    r->mail->by = minus ? -(int32_t)n : (int32_t)n;
    r->mail->by_mode = str_ieq(str_sub(mode, 0, 1), STR("N"))   ? 1
                       : str_ieq(str_sub(mode, 0, 1), STR("R")) ? 2
                                                                : 0;
    r->mail->by_trace = mode.n == 2 && str_ieq(str_from(mode, 1), STR("T"));
    return r->mail->by_mode && (mode.n == 1 || r->mail->by_trace) &&
           (r->mail->by_mode == 1 || r->mail->by > 0);
}

static bool
read_priority(struct param_run *r, struct str v)
{
    bool minus = v.n && v.p[0] == '-';
    uint64_t n;

    v = str_from(v, minus);
    if (v.n != 1 || str_u64(v, &n) < 0 || n > PRIORITY_MAX)
        return false;
    r->mail->priority = (int8_t)(minus ? -(int)n : (int)n);
    return true;
}

static bool
read_notify(struct param_run *r, struct str v)
{
    static const char *const words[] = {"NEVER", "SUCCESS", "FAILURE", "DELAY"};
    bool more = v.n > 0;

    while (more) {
        struct str rest, word;
        size_t i = 0;

        more = str_chr(v, ',') >= 0;
        word = str_cut(v, ',', &rest);
        while (i < ARRAY_LEN(words) && !str_ieq(word, str_c(words[i])))
            i++;
        if (i == ARRAY_LEN(words))
            return false;
        r->rcpt->notify |= (uint8_t)(1u << i);
        v = rest;
    }
    return r->rcpt->notify == 1 || (r->rcpt->notify && !(r->rcpt->notify & 1));
}

static bool
atom_ok(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 33 || s.p[i] > 126 || strchr("()<>@,;:\\\".[]=+", s.p[i]))
            return false;
    return s.n > 0;
}

static bool
read_orcpt(struct param_run *r, struct str v)
{
    struct str addr, type = str_cut(v, ';', &addr);

    r->rcpt->orcpt = v;
    if (v.n > ORCPT_MAX || !atom_ok(type))
        return false;
    if (str_ieq(type, STR("utf-8")))
        return smtp_utf8_xtext_ok(addr, r->state->utf8);
    return smtp_xtext_ok(addr);
}

struct param_row {
    const char *name;
    bool of_rcpt;
    enum smtp_ext bit;
    bool (*read)(struct param_run *, struct str value);
    struct smtp_refusal wrong;
};

#define WRONG(syntax)                                                                              \
    {                                                                                              \
        501, "5.5.4", "Bad parameter; its form is " syntax                                         \
    }
/* clang-format off */
static const struct param_row params_known[] = {
    {"SMTPUTF8", false, SMTP_EXT_SMTPUTF8, read_smtputf8, WRONG("SMTPUTF8")},
    {"SIZE", false, SMTP_EXT_SIZE, read_size, WRONG("SIZE=bytes")},
    {"BODY", false, SMTP_EXT_8BITMIME, read_body,
     WRONG("BODY=7BIT or BODY=8BITMIME, or BODY=BINARYMIME where it is offered")},
    {"RET", false, SMTP_EXT_DSN, read_ret, WRONG("RET=FULL or RET=HDRS")},
    {"ENVID", false, SMTP_EXT_DSN, read_envid, WRONG("ENVID=xtext of at most 100 bytes")},
    {"AUTH", false, SMTP_EXT_AUTH, read_auth, WRONG("AUTH=xtext or AUTH=<>")},
    {"REQUIRETLS", false, SMTP_EXT_REQUIRETLS, read_requiretls, WRONG("REQUIRETLS")},
    {"HOLDFOR", false, SMTP_EXT_FUTURERELEASE, read_holdfor,
     WRONG("HOLDFOR=seconds, alone and within what was told")},
    {"HOLDUNTIL", false, SMTP_EXT_FUTURERELEASE, read_holduntil,
     WRONG("HOLDUNTIL=2030-01-31T12:00:00Z, alone and within what was told")},
    {"BY", false, SMTP_EXT_DELIVERBY, read_by,
     WRONG("BY=seconds;R or BY=seconds;N, with T behind it for traces")},
    {"MT-PRIORITY", false, SMTP_EXT_MT_PRIORITY, read_priority, WRONG("MT-PRIORITY=-9 to 9")},
    {"NOTIFY", true, SMTP_EXT_DSN, read_notify, WRONG("NOTIFY=NEVER or of SUCCESS,FAILURE,DELAY")},
    {"ORCPT", true, SMTP_EXT_DSN, read_orcpt, WRONG("ORCPT=type;xtext of at most 500 bytes")},
};
/* clang-format on */

static const struct smtp_refusal bad_syntax = {501, "5.5.4", "Bad parameter syntax"};
static const struct smtp_refusal twice = {501, "5.5.4", "A parameter came twice"};
static const struct smtp_refusal unknown = {555, "5.5.4",
                                            "Parameter not recognised, not offered or not now"};

static const struct param_row *
find_param(const struct param_run *r, struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(params_known); i++) {
        const struct param_row *row = &params_known[i];

        if (row->of_rcpt == (r->rcpt != NULL) && str_ieq(name, str_c(row->name)))
            return r->state->esmtp && smtp_ext_offered(r->state, row->bit) ? row : NULL;
    }
    return NULL;
}

const struct smtp_refusal *
smtp_ext_params(const struct smtp_ext_state *state, struct str params,
                struct smtp_mail_params *mail, struct smtp_rcpt_params *rcpt)
{
    struct param_run run = {.state = state, .mail = mail, .rcpt = rcpt};
    struct smtp_param p;
    uint32_t seen = 0;
    int rc;

    while ((rc = smtp_param_next(&params, &p)) > 0) {
        const struct param_row *row = find_param(&run, p.name);

        if (!row)
            return &unknown;
        if (seen >> (row - params_known) & 1)
            return &twice;
        seen |= 1u << (row - params_known);
        if (!row->read(&run, p.value))
            return &row->wrong;
    }
    return rc < 0 ? &bad_syntax : NULL;
}
