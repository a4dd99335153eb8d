/*
 * store/dovecot.c - passwords and bearer tokens checked by a Dovecot server, by its auth client
 * protocol.
 *
 * Called by the keeper. One connection carries all questions, told apart by numbers; it is opened
 * when somebody asks, and an end of it fails what is open softly. Never tries another mechanism
 * than the one asked for.
 *
 *     we:      VERSION 1 1 / CPID pid
 *     Dovecot: VERSION 1 n / MECH ... / SPID ... / CUID ... / COOKIE ... / DONE
 *     we:      AUTH id MECH service=smtp secured nologin resp=BASE64
 *     Dovecot: CONT id BASE64 (a token refused, as JSON)   we: CONT id AQ==
 *     Dovecot: OK id user=... | FAIL id user=... [temp] ...
 */
#include <unistd.h>

#include "core/clock.h"
#include "core/codec.h"
#include "net/stream.h"
#include "store/directory.h"
#include "store/users.h"

#define LINE_MAX_BYTES 8192u
#define QUESTIONS_MAX  1000u
#define TOKEN_MAX      4096u /* of a client's whole response */
#define WAIT           (20 * NS_PER_S)

struct mech {
    const char *name;
    bool bearer; /* the response is the client's own */
};
static const struct mech mechs[] = {{"PLAIN", false}, {"OAUTHBEARER", true}, {"XOAUTH2", true}};

struct question {
    uint32_t id;
    uint64_t until;
    void (*fn)(void *ctx, enum auth_answer result, struct str user);
    void *ctx;
    const struct mech *mech;
    bool cannot;        /* the server does not offer it */
    struct buf request; /* not yet sent: the greeting is not over; holds the password */
    struct question *next;
};

struct dovecot {
    struct loop *loop;
    char *path;
    struct stream *stream;
    struct buf in;   /* a line that is not whole yet */
    bool ready;      /* DONE has come */
    unsigned offers; /* bits by row of mechs[] */
    uint32_t last_id;
    struct question *list, **tail; /* in order of asking */
    unsigned n;
    struct loop_timer timer;
    struct loop_call fail;
    char problem[128];
};

static size_t on_data(void *ctx, const char *p, size_t n);
static void on_connected(void *ctx);
static void on_closed(void *ctx, int status, const char *why);
static void on_timer(void *ctx);
static void on_fail(void *ctx);

static const struct stream_ops ops = {
    .data = on_data, .connected = on_connected, .closed = on_closed};

struct dovecot *
dovecot_create(struct loop *loop, const char *path)
{
    struct dovecot *d = calloc(1, sizeof(*d));

    if (!d)
        return NULL;
    *d = (struct dovecot){.loop = loop, .path = strdup(path)};
    d->tail = &d->list;
    buf_init(&d->in, LINE_MAX_BYTES);
    d->fail = (struct loop_call){.fn = on_fail, .ctx = d};
    loop_timer_init(&d->timer, loop, on_timer, d);
    if (!d->path) {
        free(d);
        return NULL;
    }
    return d;
}

static void
question_free(struct question *q)
{
    if (q->request.p)
        explicit_bzero(q->request.p, q->request.cap);
    buf_done(&q->request);
    free(q);
}

void
dovecot_free(struct dovecot *d)
{
    if (!d)
        return;
    while (d->list) {
        struct question *q = d->list;

        d->list = q->next;
        question_free(q);
    }
    loop_timer_stop(&d->timer);
    loop_call_cancel(d->loop, &d->fail);
    if (d->stream)
        stream_close(d->stream, false);
    buf_done(&d->in);
    free(d->path);
    free(d);
}

const char *
dovecot_path(const struct dovecot *d)
{
    return d->path;
}

const char *
dovecot_problem(const struct dovecot *d)
{
    return d->problem;
}

/* Takes the question out of the list and answers it. */
static void
conclude(struct dovecot *d, uint32_t id, enum auth_answer result, struct str user)
{
    for (struct question **p = &d->list; *p; p = &(*p)->next) {
        struct question *q = *p;

        if (q->id != id)
            continue;
        *p = q->next;
        if (!*p)
            d->tail = p;
        d->n--;
        q->fn(q->ctx, result, user);
        question_free(q);
        return;
    }
}

static void
drop_connection(struct dovecot *d, const char *problem)
{
    str_fmt(d->problem, sizeof(d->problem), "%s: %s", d->path, problem);
    if (d->stream)
        stream_close(d->stream, false);
    d->stream = NULL;
    buf_done(&d->in);
    buf_init(&d->in, LINE_MAX_BYTES);
    d->ready = false;
    d->offers = 0;
    if (d->list)
        loop_defer(d->loop, &d->fail);
}

/* Fails what nobody can answer: all without a connection, else what the server does not offer. */
static void
on_fail(void *ctx)
{
    struct dovecot *d = ctx;
    bool all = !d->stream;
    uint32_t last = d->last_id; /* a callback may ask again: that is another connection's */
    struct question *next;

    for (struct question *q = d->list; q && q->id <= last; q = next) {
        next = q->next;
        if (all || q->cannot)
            conclude(d, q->id, AUTH_ANSWER_TEMP, STR_NONE);
    }
}

static void
on_closed(void *ctx, int status, const char *why)
{
    struct dovecot *d = ctx;

    drop_connection(d, why && *why ? why : status ? err_text(status) : "closed the connection");
}

static void
on_connected(void *ctx)
{
    struct dovecot *d = ctx;
    char hello[64];
    size_t n = str_fmt(hello, sizeof(hello), "VERSION\t1\t1\nCPID\t%ld\n", (long)getpid());

    (void)stream_send(d->stream, hello, n);
}

static void
send_request(struct dovecot *d, struct question *q)
{
    if (!(d->offers >> (q->mech - mechs) & 1)) {
        str_fmt(d->problem, sizeof(d->problem), "%s: does not offer %s (auth_mechanisms)", d->path,
                q->mech->name);
        q->cannot = true;
        loop_defer(d->loop, &d->fail);
    } else {
        (void)stream_send(d->stream, q->request.p, q->request.n);
    }
    explicit_bzero(q->request.p, q->request.cap);
    buf_done(&q->request);
}

static void
on_done(struct dovecot *d)
{
    if (!d->offers) {
        drop_connection(d, "the server offers no mechanism that we know");
        return;
    }
    d->ready = true;
    for (struct question *q = d->list; q && d->stream; q = q->next)
        if (q->request.n)
            send_request(d, q);
}

/* OK and FAIL: id, then parameters. */
static void
on_answer(struct dovecot *d, struct str rest, bool ok)
{
    struct str user = STR_NONE;
    uint64_t id;
    bool temp = false;

    if (str_u64(str_cut(rest, '\t', &rest), &id) < 0 || id > UINT32_MAX) {
        drop_connection(d, "an answer without a number");
        return;
    }
    while (rest.n) {
        struct str parameter = str_cut(rest, '\t', &rest);

        if (str_starts(parameter, STR("user=")))
            user = str_from(parameter, 5);
        temp = temp || str_eq(parameter, STR("temp"));
    }
    conclude(d, (uint32_t)id,
             ok     ? AUTH_ANSWER_OK
             : temp ? AUTH_ANSWER_TEMP
                    : AUTH_ANSWER_FAIL,
             user);
}

static void
on_mech(struct dovecot *d, struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(mechs); i++) {
        if (str_ieq(name, str_c(mechs[i].name)))
            d->offers |= 1u << i;
    }
}

/* A token was refused, and that is to be acknowledged before it says FAIL (RFC 7628 3.2.3). */
static void
on_continue(struct dovecot *d, struct str number)
{
    struct question *q = d->list;
    char line[32];
    uint64_t id;

    if (str_u64(number, &id) < 0)
        id = 0;
    while (q && q->id != id)
        q = q->next;
    if (!q || !q->mech->bearer) {
        drop_connection(d, "asks for more than a password");
        return;
    }
    (void)stream_send(d->stream, line,
                      str_fmt(line, sizeof(line), "CONT\t%u\tAQ==\n", (unsigned)q->id));
}

static void
on_line(struct dovecot *d, struct str line)
{
    struct str rest, verb = str_cut(line, '\t', &rest);

    if (str_eq(verb, STR("VERSION"))) {
        if (!str_eq(str_cut(rest, '\t', &rest), STR("1")))
            drop_connection(d, "speaks another version of the auth protocol");
    } else if (str_eq(verb, STR("MECH"))) {
        on_mech(d, str_cut(rest, '\t', &rest));
    } else if (str_eq(verb, STR("DONE"))) {
        on_done(d);
    } else if (str_eq(verb, STR("OK")) || str_eq(verb, STR("FAIL"))) {
        on_answer(d, rest, verb.n == 2);
    } else if (str_eq(verb, STR("CONT"))) {
        on_continue(d, str_cut(rest, '\t', &rest));
    } /* SPID, CUID, COOKIE and what newer versions add say nothing to us */
}

/* Always takes all: a stream that is left with bytes would not be read on. */
static size_t
on_data(void *ctx, const char *p, size_t n)
{
    struct dovecot *d = ctx;
    struct stream *stream = d->stream;
    struct str rest = str_of(p, n);

    while (d->stream == stream && rest.n) {
        const char *end = memchr(rest.p, '\n', rest.n);
        size_t used = end ? (size_t)(end - rest.p) + 1 : rest.n;

        buf_add(&d->in, rest.p, used);
        rest = str_from(rest, used);
        if (d->in.failed) {
            drop_connection(d, "a line too long");
        } else if (end) {
            struct buf line = d->in;

            buf_init(&d->in, LINE_MAX_BYTES);
            on_line(d, str_of(line.p, line.n - 1));
            buf_done(&line);
        }
    }
    return n;
}

static void
on_timer(void *ctx)
{
    struct dovecot *d = ctx;
    uint64_t now = clock_mono();

    if (d->list && d->list->until <= now)
        drop_connection(d, "does not answer");
    else if (d->list)
        (void)loop_timer_set(&d->timer, d->list->until - now);
}

/* authzid NUL user NUL password, or a token's response, base64; resp= must be the last parameter.
 */
static int
build_request(struct question *q, struct str user, struct str password)
{
    size_t max = MAX((size_t)LOGIN_MAX + PASSWORD_MAX + 2, (size_t)TOKEN_MAX);
    struct buf plain;
    int r = 0;

    buf_init(&plain, max);
    buf_init(&q->request, 8192);
    (void)buf_room(&plain, max); /* no copies left by growing */
    (void)buf_room(&q->request, 8192);
    if (!q->mech->bearer) {
        buf_char(&plain, '\0');
        buf_str(&plain, user);
        buf_char(&plain, '\0');
    }
    buf_str(&plain, password);
    buf_fmt(&q->request, "AUTH\t%u\t%s\tservice=smtp\tsecured\tnologin\tresp=", q->id,
            q->mech->name);
    codec_base64(&q->request, buf_view(&plain));
    buf_char(&q->request, '\n');
    if (plain.failed || q->request.failed)
        r = ERR_LIMIT;
    if (plain.p)
        explicit_bzero(plain.p, plain.cap);
    buf_done(&plain);
    return r;
}

int
dovecot_check(struct dovecot *d, struct str mech, struct str user, struct str password,
              void (*fn)(void *ctx, enum auth_answer result, struct str user), void *ctx)
{
    struct question *q;
    size_t i = 0;

    while (i < ARRAY_LEN(mechs) && !str_ieq(mech, str_c(mechs[i].name)))
        i++;
    q = d->n < QUESTIONS_MAX && i < ARRAY_LEN(mechs) ? calloc(1, sizeof(*q)) : NULL;
    if (!q)
        return ERR_LIMIT;
    *q = (struct question){.id = ++d->last_id, .until = clock_mono() + WAIT, .fn = fn, .ctx = ctx};
    q->mech = &mechs[i];
    if (build_request(q, user, password) < 0) {
        question_free(q);
        return ERR_LIMIT;
    }
    *d->tail = q;
    d->tail = &q->next;
    d->n++;
    if (!d->stream)
        d->stream = stream_connect_unix(d->loop, d->path, &ops, d, NULL);
    if (!d->stream)
        drop_connection(d, "cannot connect");
    else if (d->ready)
        send_request(d, q);
    if (!d->timer.due)
        (void)loop_timer_set(&d->timer, WAIT);
    return 0;
}
