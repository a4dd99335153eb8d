/*
 * ctl/server.c - a role's end of the control socket: takes verbs, gives lines.
 *
 * Called by the roles. The socket's mode says who may connect; what comes is checked all the same.
 * Never lets a client that does not read grow our memory beyond the stream's ceiling.
 */
#include <jansson.h>
#include <malloc.h>
#include <sys/random.h>

#include "ctl/ctl.h"

#include "core/buf.h"
#include "core/clock.h"

#define CLIENTS_MAX  64u
#define REQUEST_MAX  (64u << 10)
#define LINE_FIRST   ((size_t)16 << 10) /* one with a private key in it is smaller */
#define QUEUE_MAX    (4u << 20)
#define QUEUE_FULL   (256u << 10) /* ctl_call_full: the caller waits for on_drained */
#define LINE_MAX_OUT (2u << 20)

struct ctl_call { /* one client; one verb at a time */
    struct ctl_server *server;
    struct stream *stream; /* NULL: the client is gone, the verb has not ended yet */
    bool active;
    uint64_t idle_since; /* mono ns, while not active */
    struct buf in;       /* a request that is not whole yet */
    void (*drained)(void *ctx);
    void *drained_ctx;
    void (*gone)(void *ctx);
    void *gone_ctx;
    struct ctl_call *next;
};

struct ctl_server {
    struct loop *loop;
    struct listener *listener;
    void (*call)(void *ctx, struct ctl_call *, struct str verb, struct str args);
    void *ctx;
    struct ctl_call *calls;
    unsigned n;
};

static void
call_free(struct ctl_call *c)
{
    for (struct ctl_call **p = c->server ? &c->server->calls : NULL; p && *p; p = &(*p)->next) {
        if (*p != c)
            continue;
        *p = c->next;
        c->server->n--;
        break;
    }
    if (c->in.p)
        explicit_bzero(c->in.p, c->in.cap);
    buf_done(&c->in);
    free(c);
}

static void
send_end(struct ctl_call *c, int status, const char *text)
{
    struct buf out;

    buf_init(&out, 64u << 10);
    buf_fmt(&out, "{\"end\":%d,\"text\":", status);
    buf_json(&out, str_sub(str_c(text), 0, 8192));
    buf_c(&out, "}\n");
    if (!out.failed && c->stream)
        (void)stream_send(c->stream, out.p, out.n);
    buf_done(&out);
}

/* Parses {"verb":...,"args":{...}} and has it run. */
static void
run_request(struct ctl_call *c, struct str line)
{
    json_t *request = json_loadb(line.p, line.n, JSON_REJECT_DUPLICATES, NULL);
    json_t *verb = json_object_get(request, "verb"), *args = json_object_get(request, "args");
    char *text = json_is_object(args) ? json_dumps(args, JSON_COMPACT) : NULL;

    if (!json_is_string(verb) || (args && !text)) {
        send_end(c, 2, "not a request: {\"verb\":\"...\",\"args\":{...}} was expected");
    } else {
        c->active = true;
        c->drained = c->gone = NULL;
        c->server->call(c->server->ctx, c,
                        str_of(json_string_value(verb), json_string_length(verb)),
                        text ? str_c(text) : STR("{}"));
    }
    if (text)
        explicit_bzero(text, strlen(text)); /* `user` verbs carry a password */
    free(text);
    json_decref(request);
}

static size_t
on_data(void *ctx, const char *p, size_t n)
{
    struct ctl_call *c = ctx;
    const char *end = memchr(p, '\n', n);
    size_t used = end ? (size_t)(end - p) + 1 : n;
    struct buf line = c->in;

    if (c->active)
        return 0; /* the next verb waits for the end of this one */
    if (!line.p)
        (void)buf_room(&line, MAX(used, LINE_FIRST)); /* grown bytes would stay behind */
    buf_add(&line, p, used);
    buf_init(&c->in, REQUEST_MAX);
    if (line.failed)
        send_end(c, 2, "the request is too long");
    else if (end)
        run_request(c, str_of(line.p, line.n - 1));
    else
        c->in = line;
    if (line.failed || end) {
        if (line.p)
            explicit_bzero(line.p, line.cap);
        buf_done(&line);
    }
    if (used < n && !c->active) /* one verb at a time; a verb that runs resumes at its end */
        stream_resume(c->stream);
    return used;
}

static void
on_drained(void *ctx)
{
    struct ctl_call *c = ctx;

    if (c->active && c->drained)
        c->drained(c->drained_ctx);
}

static void
on_closed(void *ctx, int status UNUSED, const char *why UNUSED)
{
    struct ctl_call *c = ctx;
    void (*gone)(void *) = c->active ? c->gone : NULL;
    void *gone_ctx = c->gone_ctx;

    stream_close(c->stream, false);
    c->stream = NULL;
    if (c->active && !gone)
        return; /* whoever runs the verb does not listen: ctl_call_end frees it */
    call_free(c);
    if (gone)
        gone(gone_ctx);
}

/* An idle client gives way to one that has something to ask: 64 that only sit there would keep an
 * administrator out. */
static bool
make_room(struct ctl_server *s)
{
    struct ctl_call *oldest = NULL;

    for (struct ctl_call *c = s->calls; c; c = c->next)
        if (!c->active && (!oldest || c->idle_since <= oldest->idle_since))
            oldest = c;
    if (!oldest)
        return false;
    send_end(oldest, 1,
             "closed: this connection was idle the longest, and another wants its place");
    stream_close(oldest->stream, true);
    call_free(oldest);
    return true;
}

static const struct stream_ops ops = {.data = on_data, .drained = on_drained, .closed = on_closed};

static void
on_accept(void *ctx, int fd, const struct endpoint *peer UNUSED)
{
    static const char busy[] =
        "{\"end\":1,\"text\":\"64 control connections are at work; try again in a moment\"}\n";
    struct ctl_server *s = ctx;
    struct ctl_call *c = calloc(1, sizeof(*c));

    if (c)
        c->stream = stream_create(s->loop, fd, &ops, c,
                                  &(struct stream_limits){.max_pending = REQUEST_MAX * 2,
                                                          .max_queue = QUEUE_MAX,
                                                          .secret = true});
    else
        fd_close(&fd);
    if (!c || !c->stream) {
        free(c);
        return;
    }
    if (s->n >= CLIENTS_MAX && !make_room(s)) {
        (void)stream_send(c->stream, busy, sizeof(busy) - 1);
        stream_close(c->stream, true);
        free(c);
        return;
    }
    buf_init(&c->in, REQUEST_MAX);
    c->idle_since = clock_mono();
    c->server = s;
    c->next = s->calls;
    s->calls = c;
    s->n++;
}

/* What the JSON library gives back may have held a password or a private key. */
static void
free_wiped(void *p)
{
    if (p)
        explicit_bzero(p, malloc_usable_size(p));
    free(p);
}

void
ctl_wipe_json(void)
{
    json_set_alloc_funcs(malloc, free_wiped);
}

struct ctl_server *
ctl_server_create(struct loop *loop, int fd,
                  void (*call)(void *ctx, struct ctl_call *, struct str verb, struct str args),
                  void *ctx)
{
    struct ctl_server *s = calloc(1, sizeof(*s));
    size_t seed = 0;

    if (!s)
        return NULL;
    /* left to itself the JSON library opens /dev/urandom at its first object: a role that may not
     * open files would be ended for that */
    if (getrandom(&seed, sizeof(seed), 0) == (ssize_t)sizeof(seed))
        json_object_seed(seed);
    ctl_wipe_json();
    *s = (struct ctl_server){.loop = loop, .call = call, .ctx = ctx};
    s->listener = listener_create(loop, fd, on_accept, s);
    if (!s->listener) {
        free(s);
        return NULL;
    }
    return s;
}

void
ctl_server_free(struct ctl_server *s)
{
    if (!s)
        return;
    while (s->calls) {
        struct ctl_call *c = s->calls;
        void (*gone)(void *) = c->active ? c->gone : NULL;
        void *gone_ctx = c->gone_ctx;

        s->calls = c->next;
        s->n--;
        c->server = NULL;
        if (c->stream)
            stream_close(c->stream, true);
        c->stream = NULL;
        buf_done(&c->in);
        if (gone || !c->active)
            free(c); /* else ctl_call_end does */
        if (gone)
            gone(gone_ctx);
    }
    listener_free(s->listener);
    free(s);
}

void
ctl_call_line(struct ctl_call *c, struct str json)
{
    struct buf out;

    if (!c->stream || json.n > LINE_MAX_OUT)
        return;
    buf_init(&out, LINE_MAX_OUT + 64);
    buf_c(&out, "{\"line\":");
    buf_str(&out, json);
    buf_c(&out, "}\n");
    /* a full queue closes the stream: the client did not read what ctl_call_full told of */
    if (!out.failed)
        (void)stream_send(c->stream, out.p, out.n);
    buf_done(&out);
}

void
ctl_call_end(struct ctl_call *c, int status, const char *text)
{
    send_end(c, status, text ? text : "");
    c->active = false;
    c->idle_since = clock_mono();
    c->drained = c->gone = NULL;
    if (c->stream)
        stream_resume(c->stream);
    else
        call_free(c);
}

bool
ctl_call_full(const struct ctl_call *c)
{
    return c->stream && stream_queued(c->stream) > QUEUE_FULL;
}

bool
ctl_call_gone(const struct ctl_call *c)
{
    return !c->stream;
}

void
ctl_call_on_drained(struct ctl_call *c, void (*fn)(void *ctx), void *ctx)
{
    c->drained = fn;
    c->drained_ctx = ctx;
}

void
ctl_call_on_gone(struct ctl_call *c, void (*fn)(void *ctx), void *ctx)
{
    c->gone = fn;
    c->gone_ctx = ctx;
}
