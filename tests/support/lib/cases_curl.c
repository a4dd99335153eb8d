/*
 * tests/support/lib/cases_curl.c - curl's SMTP cases against our client engine.
 *
 * Called by tests/support/smtp_cases.c for each file. The command line is read as the courier would
 * have its orders; a fake server plays <servercmd> (replies to verbs, capabilities, mechanisms)
 * with the manners of curl's own test server; then the lines said are compared with <protocol> and
 * the body with <upload>. Where the two clients rightly differ the comparison knows a rule for it
 * (see `differ`), never a case.
 */
#include "cases_curl.h"

#include "cases.h"
#include "curl_command.h"
#include "curl_file.h"
#include "curl_server.h"
#include "mail/address.h"
#include "smtp/client.h"

#define MAX_RCPTS 20

struct session {
    const struct curl_file *file;
    struct order order;
    struct curl_server server;
    struct smtp_client *client;
    bool closed, refused_here, refused_rcpt, sent, pulled;
    struct smtp_client_message message;
    struct smtp_client_rcpt rcpts[MAX_RCPTS];
    char addresses[MAX_RCPTS + 1][ADDRESS_MAX + 1];
    struct buf content;
};

/* --- the client's caller --- */

static void
on_send(void *ctx, const char *p, size_t n)
{
    buf_add(&((struct session *)ctx)->server.in, p, n);
}
static size_t
on_backlog(void *ctx)
{
    (void)ctx;
    return 0;
}
static void
on_starttls(void *ctx)
{
    smtp_client_tls_done(((struct session *)ctx)->client, true, NULL);
}
static void
on_ready(void *ctx)
{
    struct session *s = ctx;
    const char *why;

    if (!s->sent) {
        s->sent = true;
        if (!smtp_client_send(s->client, &s->message, &why))
            return;
        s->refused_here = true;
    }
    smtp_client_quit(s->client);
}
static void
on_failed(void *ctx, enum smtp_client_stage stage, const struct smtp_reply *r)
{
    (void)stage;
    (void)r;
    ((struct session *)ctx)->closed = true;
}
static void
on_rcpt(void *ctx, unsigned i, const struct smtp_reply *r)
{
    struct session *s = ctx;

    (void)i;
    s->refused_rcpt = s->refused_rcpt || r->code >= 400;
}
static void
on_may_send(void *ctx)
{
    smtp_client_allow(((struct session *)ctx)->client, true);
}
static void
on_done(void *ctx, enum smtp_client_stage stage, const struct smtp_reply *r)
{
    (void)ctx;
    (void)stage;
    (void)r;
}
static const struct smtp_client_ops client_ops = {
    .send = on_send,
    .backlog = on_backlog,
    .starttls = on_starttls,
    .ready = on_ready,
    .failed = on_failed,
    .rcpt = on_rcpt,
    .may_send = on_may_send,
    .rcpt_done = on_rcpt,
    .done = on_done,
};

static int
pull(void *ctx, struct str *ret)
{
    struct session *s = ctx;

    *ret = s->pulled ? STR_NONE : buf_view(&s->content);
    s->pulled = true;
    return 0;
}

/* "<a@b> NOTIFY=..." or "a@b", with the domain in A-labels as the courier does it. */
static const char *
make_address(struct session *s, struct str in, char dst[ADDRESS_MAX + 1], struct str *ret,
             struct str *ret_params)
{
    struct str domain;
    ssize_t at, n;

    *ret_params = STR_NONE;
    if (in.n && in.p[0] == '<') {
        in = str_cut(str_from(in, 1), '>', ret_params);
        *ret_params = str_trim(*ret_params);
    }
    if (ret_params->n && str_find(buf_view(&s->server.caps), STR("DSN")) < 0)
        return "curl sends DSN parameters without an offer; we do not (RFC 3461 4)";
    *ret = in;
    at = str_rchr(in, '@');
    if (at < 0 || str_is_ascii(str_from(in, (size_t)at)))
        return NULL;
    domain = str_from(in, (size_t)at + 1);
    if ((size_t)at + 257 > ADDRESS_MAX)
        return NULL;
    memcpy(dst, in.p, (size_t)at + 1);
    n = address_domain_ascii(domain, dst + at + 1, 256);
    if (n > 0)
        *ret = str_of(dst, (size_t)at + 1 + (size_t)n);
    return NULL;
}

static void
take_params(struct session *s, struct smtp_client_rcpt *rcpt, struct str params)
{
    static const char *const names[] = {"NEVER", "SUCCESS", "FAILURE", "DELAY"};
    struct str word;

    while ((word = str_word(&params)).n) {
        struct str value, key = str_cut(word, '=', &value);

        if (str_ieq(key, STR("RET")))
            s->message.ret = str_ieq(value, STR("FULL")) ? 1 : 2;
        else if (str_ieq(key, STR("ENVID")))
            s->message.envid = value;
        else if (rcpt && str_ieq(key, STR("ORCPT")))
            rcpt->orcpt = value;
        while (rcpt && str_ieq(key, STR("NOTIFY")) && value.n) {
            struct str name = str_cut(value, ',', &value);

            for (unsigned i = 0; i < 4; i++)
                if (str_ieq(name, str_c(names[i])))
                    rcpt->notify |= (uint8_t)(1u << i);
        }
    }
}

static const char *
make_message(struct session *s)
{
    struct order *o = &s->order;
    struct str params;
    const char *why;

    memset(&s->message, 0, sizeof(s->message));
    why = make_address(s, o->from, s->addresses[0], &s->message.sender, &params);
    take_params(s, NULL, params);
    for (unsigned i = 0; i < o->nrcpt && !why; i++) {
        s->rcpts[i] = (struct smtp_client_rcpt){0};
        why = make_address(s, o->rcpts[i], s->addresses[i + 1], &s->rcpts[i].address, &params);
        take_params(s, &s->rcpts[i], params);
    }
    s->message.rcpts = s->rcpts;
    s->message.nrcpt = o->nrcpt;
    s->message.pull = pull;
    s->message.pull_ctx = s;
    if (!str_eq(o->upload, STR("-"))) /* curl does not know the size of its input */
        s->message.size = s->content.n;
    return why;
}

static const char *
make_content(struct session *s)
{
    static const char *const sections[] = {"file", "file1", "file2", "file3"};
    struct buf raw;
    char attr[300];
    bool found = false;

    buf_init(&raw, 4 << 20);
    str_fmt(attr, sizeof(attr), "name=\"%.*s\"", STR_ARG(s->order.upload));
    if (str_eq(s->order.upload, STR("-")))
        found = curl_file_section(s->file, "stdin", NULL, &raw) || true;
    for (size_t i = 0; i < ARRAY_LEN(sections) && !found; i++)
        found = curl_file_section(s->file, sections[i], attr, &raw);
    buf_clear(&s->content);
    for (size_t i = 0; i < raw.n; i++) {
        if (s->order.crlf && raw.p[i] == '\n' && (!i || raw.p[i - 1] != '\r'))
            buf_char(&s->content, '\r');
        buf_char(&s->content, raw.p[i]);
    }
    buf_done(&raw);
    return found ? NULL : "the file it uploads is not in the case";
}

/* Methods that curl would take first, or that we do not have. */
static const char *
login_differs(const struct session *s)
{
    static const char *const ours[] = {"PLAIN", "LOGIN", "SCRAM-SHA-256"};
    struct str rest = s->server.mechs, word;

    if (!s->order.user.n)
        return NULL;
    if (!s->server.mechs.n)
        return "a login is set but not offered: we give up, curl sends without it";
    while ((word = str_word(&rest)).n) {
        bool known = false;

        for (size_t i = 0; i < ARRAY_LEN(ours); i++)
            known = known || str_ieq(word, str_c(ours[i]));
        if (!known)
            return "a login method that is not ours comes first";
    }
    if (s->order.sasl_ir && str_ieq(s->server.mechs, STR("LOGIN")))
        return "LOGIN goes without an initial response here";
    return NULL;
}

/* --- one session --- */

static const char *
play(struct session *s)
{
    struct order *o = &s->order;
    struct smtp_client_conf conf = {
        .tls = o->tls == TLS_NEED  ? SMTP_TLS_MUST
               : o->tls == TLS_TRY ? SMTP_TLS_MAY
                                   : SMTP_TLS_NEVER,
        .tls_wrapped = str_starts(o->url, STR("smtps:")),
        .auth_user = o->user,
        .auth_password = o->password,
        .auth_clear = true,
    };
    ssize_t slash = str_rchr(o->url, '/');
    const char *why = make_content(s);

    if (!why)
        why = login_differs(s);
    if (!why)
        why = make_message(s);
    if (why)
        return why;
    conf.ehlo = str_from(o->url, (size_t)slash + 1);
    s->sent = s->pulled = s->closed = false;
    s->client = smtp_client_create(&conf, &client_ops, s);
    curl_server_greet(&s->server);
    while (s->client && !s->closed) {
        struct buf out = s->server.out;

        if (!out.n && !curl_server_run(&s->server))
            break;
        if (!out.n)
            continue;
        buf_init(&s->server.out, 1 << 20);
        smtp_client_feed(s->client, out.p, out.n);
        buf_done(&out);
    }
    while (curl_server_run(&s->server)) /* a QUIT that was not waited for */
        ;
    smtp_client_free(s->client);
    return NULL;
}

/* --- comparison --- */

/* Lines as both sides would have them: an initial response stands on a line of its own, and once
 * only; the size of what came from a pipe is not said. */
static void
normal_lines(struct str in, struct buf *out)
{
    struct str last = STR_NONE;

    while (in.n) {
        struct str line = str_cut(in, '\n', &in), rest = line;

        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        rest = line;
        if (last.n && str_eq(line, last)) {
            last = STR_NONE;
            continue;
        }
        last = STR_NONE;
        if (str_eq(str_word(&rest), STR("AUTH"))) {
            struct str mech = str_word(&rest);

            last = str_trim(rest);
            buf_fmt(out, "AUTH %.*s\n", STR_ARG(mech));
            line = last;
            if (!line.n)
                continue;
        }
        curl_plain_form(line, out);
        buf_char(out, '\n');
    }
}

/* Drops lines that begin with one of the verbs. */
static void
without(struct str in, const char *const verbs[], struct buf *out)
{
    while (in.n) {
        struct str line = str_cut(in, '\n', &in);
        bool drop = false;

        for (size_t i = 0; verbs[i]; i++)
            drop = drop || str_starts(line, str_c(verbs[i]));
        if (drop)
            continue;
        buf_str(out, line);
        buf_char(out, '\n');
    }
}

/* Where the two clients may differ in lines, given that the case ends in an error. */
static bool
differ(const struct session *s, struct str got, struct str want, bool error)
{
    static const char *const refused[] = {"MAIL", "RCPT", NULL};
    static const char *const quit[] = {"QUIT", NULL};
    struct buf a, b;
    bool same;

    if (str_eq(got, want))
        return false;
    if (!error)
        return true;
    buf_init(&a, 1 << 20);
    buf_init(&b, 1 << 20);
    /* We know from the EHLO reply that the server cannot take it, and do not ask. */
    without(want, s->refused_here ? refused : quit, &a);
    without(got, s->refused_here ? refused : quit, &b);
    same = str_eq(buf_view(&a), buf_view(&b)); /* else: we say QUIT where curl just closes */
    same = same && (s->refused_here || got.n > want.n);
    buf_done(&a);
    buf_done(&b);
    return !same;
}

static void
judge(struct session *s, const char *name)
{
    struct buf protocol, want, got, upload, code;
    bool error, body;

    buf_init(&protocol, 1 << 20);
    buf_init(&want, 1 << 20);
    buf_init(&got, 1 << 20);
    buf_init(&upload, 4 << 20);
    buf_init(&code, 4096);
    curl_file_section(s->file, "protocol", NULL, &protocol);
    error = curl_file_section(s->file, "errorcode", NULL, &code);
    body = curl_file_section(s->file, "upload", NULL, &upload);
    normal_lines(buf_view(&protocol), &want);
    normal_lines(buf_view(&s->server.lines), &got);
    if (s->refused_rcpt && s->order.nrcpt > 1 && !s->order.allow_fails) {
        cases_skip("curl gives up at the first refused recipient; we serve the others", "%s", name);
    } else if (differ(s, buf_view(&got), buf_view(&want), error)) {
        cases_ok(false, "%s: said:\n%.*s# wanted:\n%.*s", name, STR_ARG(buf_view(&got)),
                 STR_ARG(buf_view(&want)));
    } else {
        bool same = str_eq(buf_view(&s->server.body), body ? buf_view(&upload) : STR_NONE);

        cases_ok(same, "%s%s", name, same ? "" : ": the body differs");
    }
    buf_done(&protocol);
    buf_done(&want);
    buf_done(&got);
    buf_done(&upload);
    buf_done(&code);
}

bool
cases_curl_matches(const char *path)
{
    struct curl_file file = {0};
    bool good = false;

    if (!str_ends(str_c(path), STR(".xml")))
        return false;
    if (curl_file_load(&file, path))
        good = str_find(buf_view(&file.text), STR("<testcase>")) >= 0 &&
               str_find(buf_view(&file.text), STR("<client>")) >= 0;
    curl_file_done(&file);
    return good;
}

static const char *
run(struct session *s, struct str *command, struct buf *servercmd, struct buf *words)
{
    struct buf features;
    const char *why = NULL;
    bool idn;

    buf_init(&features, 4096);
    curl_file_section(s->file, "features", NULL, &features);
    idn = str_find(buf_view(&features), STR("!IDN")) < 0;
    buf_done(&features);
    if (!idn)
        return "about a client that knows no IDN";
    curl_file_section(s->file, "servercmd", NULL, servercmd);
    why = curl_server_orders(&s->server, buf_view(servercmd));
    while (!why && str_trim(*command).n > 1) {
        why = curl_command(&s->order, s->file, command, words);
        if (!why)
            why = play(s);
    }
    return why;
}

void
cases_curl_run(const char *path)
{
    struct session *s = calloc(1, sizeof(*s));
    struct curl_file file = {0};
    struct buf command, servercmd, words, title;
    struct str rest;
    const char *why = "cannot be read";
    char name[200];

    buf_init(&command, 1 << 20);
    buf_init(&servercmd, 1 << 20);
    buf_init(&words, 1 << 20);
    buf_init(&title, 4096);
    str_fmt(name, sizeof(name), "%s", path);
    if (s && curl_file_load(&file, path)) {
        s->file = &file;
        curl_server_init(&s->server);
        buf_init(&s->content, 4 << 20);
        words.cap = 0;
        buf_room(&words, 1 << 16); /* views into it must not move */
        curl_file_section(&file, "name", NULL, &title);
        curl_file_section(&file, "command", NULL, &command);
        str_fmt(name, sizeof(name), "curl %s: %.*s", file.number,
                STR_ARG(str_sub(buf_view(&title), 0, title.n ? title.n - 1 : 0)));
        rest = buf_view(&command);
        why = run(s, &rest, &servercmd, &words);
    }
    if (why)
        cases_skip(why, "%s", name);
    else
        judge(s, name);
    if (s) {
        curl_server_done(&s->server);
        buf_done(&s->content);
    }
    free(s);
    buf_done(&command);
    buf_done(&servercmd);
    buf_done(&words);
    buf_done(&title);
    curl_file_done(&file);
}
