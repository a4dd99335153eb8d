/*
 * tests/unit/test_smtp_pair.c - our client against our server over a stream of memory.
 *
 * Each round draws features, envelope, bodies, refusals and the places where bytes are cut; then
 * what the server received must be what the client sent, and both must have the same story of it.
 */
#include "core/buf.h"
#include "net/sasl.h"
#include "smtp/client.h"
#include "smtp/server.h"
#include "tap.h"

#define MESSAGES   3
#define RCPTS      6
#define STREAM_MAX (4u << 20)

struct message { /* the plan, and what became of it on either side */
    char body[6000];
    size_t body_n;
    bool mail_refused, data_refused, end_refused;
    bool rcpt_refused[RCPTS], rcpt_late[RCPTS];
    unsigned nrcpt;
    bool binary; /* and a wish for time and rank */
    bool wide;   /* sender and body of more than ASCII */
    /* the client's story */
    int rcpt_code[RCPTS], rcpt_done[RCPTS];
    int done_code, done_stage, dones;
    bool unsupported;
    /* the server's story */
    struct buf received;
    bool ended, params_wrong;
    unsigned taken;
};

struct pair {
    uint64_t seed;
    struct smtp_client *client;
    struct smtp_server *server;
    struct sasl_server *sasl;
    struct smtp_server_conf server_conf;
    struct buf to_server, to_client;
    struct message m[MESSAGES];
    int at_client, at_server; /* the message in work */
    unsigned rcpt_at;
    size_t pulled, step;
    bool client_tls, server_tls, closed, lmtp;
    bool allow_due, reply_due;
    int late_code, replies;
    int failed_stage, failed_code, readies;
    struct smtp_client_rcpt rcpts[RCPTS];
    struct smtp_client_message out;
};

static unsigned delivered, refused;

static unsigned
draw(struct pair *p, unsigned below)
{
    p->seed = p->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(p->seed >> 33) % below;
}

/* --- the server's caller --- */

static void
answer(struct pair *p, int code)
{
    if (draw(p, 4)) {
        smtp_server_reply(p->server, code, NULL, code < 400 ? "fine" : "two\nlines");
        return;
    }
    p->reply_due = true; /* the loop gives it later */
    p->late_code = code;
}

static void
s_send(void *ctx, const char *bytes, size_t n)
{
    buf_add(&((struct pair *)ctx)->to_client, bytes, n);
}
static void
s_connect(void *ctx)
{
    answer(ctx, 220);
}
static void
s_helo(void *ctx, struct str name, bool ehlo)
{
    (void)name;
    (void)ehlo;
    answer(ctx, 250);
}
static void
s_mail(void *ctx, const struct smtp_mail_params *mail)
{
    struct pair *p = ctx;

    while (p->m[p->at_server].unsupported)
        p->at_server++;
    p->m[p->at_server].params_wrong =
        mail->binary != p->m[p->at_server].binary ||
        (p->server_conf.offer & SMTP_EXT_DELIVERBY
             ? mail->by != -7 || mail->by_mode != 1 || !mail->by_trace
             : mail->by_mode != 0) ||
        mail->priority != (p->server_conf.offer & SMTP_EXT_MT_PRIORITY ? -3 : 0);
    p->rcpt_at = 0;
    answer(p, p->m[p->at_server].mail_refused ? 550 : 250);
}
static void
s_rcpt(void *ctx, const struct smtp_rcpt_params *rcpt)
{
    struct pair *p = ctx;
    struct message *m = &p->m[p->at_server];

    (void)rcpt;
    m->taken += !m->rcpt_refused[p->rcpt_at];
    answer(p, m->rcpt_refused[p->rcpt_at++] ? 450 : 250);
}
static void
s_data(void *ctx)
{
    struct pair *p = ctx;

    answer(p, p->m[p->at_server].data_refused ? 451 : 354);
}
static void
s_body(void *ctx, const char *bytes, size_t n)
{
    struct pair *p = ctx;

    buf_add(&p->m[p->at_server].received, bytes, n);
}
static void
s_data_end(void *ctx, const struct header_scan *scan)
{
    struct pair *p = ctx;
    struct message *m = &p->m[p->at_server];

    (void)scan;
    m->ended = true;
    for (unsigned i = 0; p->lmtp && i + 1 < m->taken; i++)
        smtp_server_reply(p->server, 250, NULL, "for this one");
    answer(p, m->end_refused ? 554 : 250);
}
static void
s_reset(void *ctx)
{
    struct pair *p = ctx;

    if (p->at_server < MESSAGES - 1)
        p->at_server++;
}
static int
lookup(void *ctx, struct str user, struct sasl_verifier *ret)
{
    (void)ctx;
    return str_eq(user, STR("user")) ? sasl_verifier_make(STR("secret"), 0, ret) : ERR_NOTFOUND;
}
static void
s_auth_step(void *ctx, struct str response)
{
    static const enum smtp_auth_result results[] = {[SASL_OK] = SMTP_AUTH_OK,
                                                    [SASL_CHALLENGE] = SMTP_AUTH_CHALLENGE,
                                                    [SASL_FAIL] = SMTP_AUTH_FAIL};
    struct pair *p = ctx;
    enum sasl_result result;
    struct buf out;

    buf_init(&out, 4096);
    result = sasl_server_step(p->sasl, response, &out);
    smtp_server_auth(p->server, results[result], buf_view(&out));
    buf_done(&out);
}
static void
s_auth(void *ctx, struct str mech, struct str initial)
{
    static const uint8_t secret[32] = {2};
    struct pair *p = ctx;

    sasl_server_free(p->sasl);
    p->sasl = sasl_server_create(mech, lookup, NULL, secret);
    s_auth_step(p, initial);
}
static void
s_starttls(void *ctx)
{
    ((struct pair *)ctx)->server_tls = true;
}
static void
s_quit(void *ctx)
{
    ((struct pair *)ctx)->closed = true;
}
static void
s_cancel(void *ctx)
{
    (void)ctx;
}

static const struct smtp_server_ops server_ops = {
    .send = s_send,
    .connect = s_connect,
    .helo = s_helo,
    .mail = s_mail,
    .rcpt = s_rcpt,
    .data = s_data,
    .body = s_body,
    .data_end = s_data_end,
    .reset = s_reset,
    .auth = s_auth,
    .auth_step = s_auth_step,
    .auth_cancel = s_cancel,
    .starttls = s_starttls,
    .quit = s_quit,
};

/* --- the client's caller --- */

static void
c_send(void *ctx, const char *bytes, size_t n)
{
    buf_add(&((struct pair *)ctx)->to_server, bytes, n);
}
static size_t
c_backlog(void *ctx)
{
    return ((struct pair *)ctx)->to_server.n * 50; /* so that it has to wait at times */
}
static void
c_starttls(void *ctx)
{
    ((struct pair *)ctx)->client_tls = true;
}
static int
c_pull(void *ctx, struct str *ret)
{
    struct pair *p = ctx;
    struct message *m = &p->m[p->at_client];
    size_t n = MIN(p->step, m->body_n - p->pulled);

    *ret = str_of(m->body + p->pulled, n);
    p->pulled += n;
    return 0;
}
static void
c_ready(void *ctx)
{
    struct pair *p = ctx;
    const char *why;

    p->readies++;
    while (++p->at_client < MESSAGES) {
        struct message *m = &p->m[p->at_client];

        p->pulled = 0;
        p->out.sender = m->wide ? STR("s\xc3\xb6@x.example") : STR("s@x.example");
        p->out.body_8bit = m->wide;
        p->out.binary = m->binary;
        p->out.by_mode = 1;
        p->out.by_trace = true;
        p->out.by = -7;
        p->out.priority = -3;
        p->out.size = draw(p, 8) ? m->body_n : 0;
        p->out.nrcpt = m->nrcpt;
        if (!smtp_client_send(p->client, &p->out, &why))
            return;
        m->unsupported = true;
    }
    smtp_client_quit(p->client);
}
static void
c_failed(void *ctx, enum smtp_client_stage stage, const struct smtp_reply *r)
{
    struct pair *p = ctx;

    p->failed_stage = (int)stage;
    p->failed_code = r->code;
    p->closed = true;
}
static void
c_rcpt(void *ctx, unsigned i, const struct smtp_reply *r)
{
    struct pair *p = ctx;

    p->m[p->at_client].rcpt_code[i] = r->code;
}
static void
c_may_send(void *ctx)
{
    struct pair *p = ctx;

    if (draw(p, 2))
        smtp_client_allow(p->client, true);
    else
        p->allow_due = true;
}
static void
c_rcpt_done(void *ctx, unsigned i, const struct smtp_reply *r)
{
    struct pair *p = ctx;

    p->m[p->at_client].rcpt_done[i] = r->code;
}
static void
c_done(void *ctx, enum smtp_client_stage stage, const struct smtp_reply *r)
{
    struct pair *p = ctx;
    struct message *m = &p->m[p->at_client];

    m->dones++;
    m->done_stage = (int)stage;
    m->done_code = r->code;
}

static const struct smtp_client_ops client_ops = {
    .send = c_send,
    .backlog = c_backlog,
    .starttls = c_starttls,
    .ready = c_ready,
    .failed = c_failed,
    .rcpt = c_rcpt,
    .may_send = c_may_send,
    .rcpt_done = c_rcpt_done,
    .done = c_done,
};

/* --- a round --- */

static void
plan_body(struct pair *p, struct message *m)
{
    static const char *const words[] = {".", "..", "hello", "\r\n", "\r\n.", "\r\n.\r\n", "x: y"};
    size_t most = draw(p, 2) ? draw(p, 60) : draw(p, sizeof(m->body) - 20);

    while (m->body_n < most) {
        const char *w = words[draw(p, ARRAY_LEN(words))];

        memcpy(m->body + m->body_n, w, strlen(w));
        m->body_n += strlen(w);
    }
    if (m->wide) {
        memcpy(m->body + m->body_n, "\xc3\xa4", 2);
        m->body_n += 2;
    }
    memcpy(m->body + m->body_n, "\r\n", 2);
    m->body_n += 2;
}

static void
plan(struct pair *p)
{
    static const char *const addresses[RCPTS] = {"a@x.example", "b@x.example", "c@x.example",
                                                 "d@x.example", "e@x.example", "f@x.example"};

    for (int i = 0; i < MESSAGES; i++) {
        struct message *m = &p->m[i];

        m->nrcpt = 1 + draw(p, RCPTS);
        m->mail_refused = draw(p, 8) == 0;
        m->data_refused = draw(p, 8) == 0;
        m->end_refused = draw(p, 6) == 0;
        m->wide = draw(p, 4) == 0;
        m->binary = draw(p, 4) == 0;
        for (unsigned r = 0; r < m->nrcpt; r++)
            m->rcpt_refused[r] = draw(p, 3) == 0;
        plan_body(p, m);
        buf_init(&m->received, 1 << 20);
    }
    for (unsigned r = 0; r < RCPTS; r++)
        p->rcpts[r].address = str_c(addresses[r]);
    p->out = (struct smtp_client_message){.rcpts = p->rcpts, .pull = c_pull, .pull_ctx = p};
    p->step = 1 + (draw(p, 2) ? draw(p, 20) : draw(p, 9000));
}

static void
start(struct pair *p)
{
    static const char *const mechs[] = {"SCRAM-SHA-256 PLAIN", "PLAIN LOGIN", "LOGIN"};
    struct smtp_client_conf conf = {.ehlo = STR("me.example"),
                                    .no_pipelining = draw(p, 4) == 0,
                                    .no_chunking = draw(p, 4) == 0};
    uint32_t offer = draw(p, SMTP_EXT_LIMITS << 1) | draw(p, 8) * SMTP_EXT_BINARYMIME;

    p->lmtp = conf.lmtp = draw(p, 4) == 0;
    conf.tls = draw(p, 2) ? SMTP_TLS_MAY : SMTP_TLS_NEVER;
    if ((offer & SMTP_EXT_AUTH) && draw(p, 2)) {
        conf.auth_user = STR("user");
        conf.auth_password = STR("secret");
        conf.auth_clear = true;
    }
    p->server_conf = (struct smtp_server_conf){
        .hostname = STR("mx.example"),
        .offer = offer,
        .auth_mechs = str_c(mechs[draw(p, ARRAY_LEN(mechs))]),
        .max_rcpts = 100,
        .max_line = 2048,
        .max_auth_line = 12288,
        .max_commands = 1000,
        .max_errors = 1000,
        .max_received = 50,
        .max_header = 100000,
        .max_size = draw(p, 6) ? 1000000 : 1000,
        .auth_plain_text = true,
        .lmtp = p->lmtp,
    };
    p->at_client = -1;
    p->failed_stage = -1;
    buf_init(&p->to_server, STREAM_MAX);
    buf_init(&p->to_client, STREAM_MAX);
    p->server = smtp_server_create(&p->server_conf, &server_ops, p);
    p->client = smtp_client_create(&conf, &client_ops, p);
    smtp_server_start(p->server);
}

/* Some bytes of one direction; false when nothing moved. */
static bool
move(struct pair *p)
{
    bool server = p->to_server.n && (!p->to_client.n || draw(p, 2));
    struct buf *from = server ? &p->to_server : &p->to_client;
    size_t most = draw(p, 3) ? 1 + draw(p, 40) : 1 + draw(p, 20000), n = MIN(from->n, most);
    char *copy;

    if (!n)
        return false;
    copy = malloc(n);
    memcpy(copy, from->p, n);
    if (server) {
        size_t used = smtp_server_feed(p->server, copy, n);

        buf_drop(from, used);
        free(copy);
        return used > 0;
    }
    buf_drop(from, n);
    smtp_client_feed(p->client, copy, n);
    free(copy);
    return true;
}

static bool
others(struct pair *p)
{
    if (p->reply_due) {
        p->reply_due = false;
        smtp_server_reply(p->server, p->late_code, NULL, "late");
        return true;
    }
    if (p->allow_due) {
        p->allow_due = false;
        smtp_client_allow(p->client, true);
        return true;
    }
    if (p->client_tls && p->server_tls) {
        p->client_tls = p->server_tls = false;
        smtp_server_tls_done(p->server, true);
        smtp_client_tls_done(p->client, true, NULL);
        return true;
    }
    return false;
}

/* Why the two stories do not fit; NULL if they do. */
static const char *
judge(const struct pair *p, const struct message *m)
{
    unsigned taken = 0;

    if (m->unsupported)
        return m->dones ? "done for a message that was not sent" : NULL;
    if (m->dones != 1)
        return "not done exactly once";
    if (m->params_wrong)
        return "what MAIL asks for";
    if (m->body_n > p->server_conf.max_size)
        return m->done_code >= 500 || m->done_code == 450 || m->done_code == 451
                   ? NULL
                   : "too large and yet taken";
    if (m->mail_refused)
        return m->done_stage == SMTP_AT_MAIL && m->done_code == 550 ? NULL : "MAIL's refusal";
    for (unsigned i = 0; i < m->nrcpt; i++) {
        taken += !m->rcpt_refused[i];
        if (m->rcpt_code[i] != (m->rcpt_refused[i] ? 450 : 250))
            return "a recipient's reply";
    }
    if (!taken)
        return m->done_stage == SMTP_AT_RCPT && m->done_code == 450 ? NULL : "no recipient left";
    if (m->data_refused)
        return m->done_code == 451 ? NULL : "DATA's refusal";
    if (m->done_stage != SMTP_AT_DOT || m->done_code != (m->end_refused ? 554 : 250))
        return "the last reply";
    for (unsigned i = 0; p->lmtp && i < m->nrcpt; i++)
        if (!m->rcpt_done[i] != m->rcpt_refused[i])
            return "LMTP: a reply for each recipient";
    if (!m->ended || !str_eq(buf_view(&m->received), str_of(m->body, m->body_n)))
        return "the body";
    return NULL;
}

static bool
round_holds(uint64_t seed)
{
    struct pair *p = calloc(1, sizeof(*p));
    const char *why = NULL;
    unsigned steps = 0;

    p->seed = seed;
    plan(p);
    start(p);
    while (!p->closed || p->to_client.n) {
        bool moved = draw(p, 2) ? others(p) || move(p) : move(p) || others(p);

        smtp_client_drained(p->client);
        if (!moved && !p->to_server.n && !p->to_client.n && !p->reply_due && !p->allow_due)
            break;
        if (++steps > 200000)
            break;
    }
    if (p->failed_stage != SMTP_AT_QUIT || p->failed_code != 221)
        why = "the session did not end with QUIT";
    for (int i = 0; i < MESSAGES && !why; i++) {
        why = judge(p, &p->m[i]);
        delivered += p->m[i].done_code == 250;
        refused += p->m[i].done_code >= 400;
    }
    if (why)
        OK(false, "seed %llu: %s (stage %d, code %d, offer %#x, %s%s)", (unsigned long long)seed,
           why, p->failed_stage, p->failed_code, p->server_conf.offer, p->server_conf.auth_mechs.p,
           p->lmtp ? ", LMTP" : "");
    smtp_client_free(p->client);
    smtp_server_free(p->server);
    sasl_server_free(p->sasl);
    for (int i = 0; i < MESSAGES; i++)
        buf_done(&p->m[i].received);
    buf_done(&p->to_server);
    buf_done(&p->to_client);
    free(p);
    return !why;
}

int
main(void)
{
    unsigned failed = 0;

    for (uint64_t seed = 1; seed <= 1500 && failed < 10; seed++)
        failed += !round_holds(seed * UINT64_C(0x9e3779b97f4a7c15));
    OK(!failed, "1500 sessions of client and server tell one story");
    OK(delivered > 1000 && refused > 500, "of %u messages delivered, %u refused", delivered,
       refused);
    return tap_done();
}
