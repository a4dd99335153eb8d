/*
 * roles/role_desk.c - the metrics page by HTTP (libmicrohttpd) and the supervisor's verbs.
 *
 * The HTTP library runs its own thread on a socket that the supervisor bound.
 */
#include <microhttpd.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/event.h"
#include "core/metric.h"
#include "roles/role.h"
#include "roles/sandbox.h"
#include "store/asks.h"

#define DESK_ASKS        64u
#define DESK_WAIT        (45 * NS_PER_S) /* the loader has 30 s, the roles 10 */
#define DESK_CONNECTIONS 64u

struct desk {
    struct role *role;
    struct chan_asks *asks;
    struct MHD_Daemon *http;
};

static enum MHD_Result
answer(struct MHD_Connection *c, unsigned status, const char *type, struct buf *body)
{
    struct MHD_Response *r =
        MHD_create_response_from_buffer(body->n, body->p, MHD_RESPMEM_MUST_COPY);
    MHD_add_response_header(r, "Content-Type", type);
    enum MHD_Result rc = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return rc;
}

static enum MHD_Result
on_request(void *ctx, struct MHD_Connection *c, const char *url, const char *method,
           const char *version, const char *data, size_t *n, void **state)
{
    CLEANUP(buf_done) struct buf b;
    (void)ctx, (void)version, (void)data, (void)n, (void)state;
    buf_init(&b, 1u << 20);
    if (strcmp(method, "GET")) {
        buf_c(&b, "only GET is understood here\n");
        return answer(c, MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain", &b);
    }
    if (strcmp(url, "/metrics")) {
        buf_c(&b, "there is /metrics here, for Prometheus\n");
        return answer(c, MHD_HTTP_NOT_FOUND, "text/plain", &b);
    }
    metric_prometheus(&b);
    return answer(c, MHD_HTTP_OK, "text/plain; version=0.0.4", &b);
}

static int
serve(struct desk *d, int fd, struct why *why)
{
    d->http =
        MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, on_request, d,
                         MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
                         DESK_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, 10u, MHD_OPTION_END);
    return d->http ? 0 : why_set(why, ERR_STATE, "the metrics page cannot be served");
}

static int
desk_start(struct role *r, struct why *why)
{
    struct desk *d = calloc(1, sizeof *d);
    ENSURE(d);
    d->role = r;
    d->asks = chan_asks_create(r->loop, DESK_ASKS);
    r->self = d;
    int rc = sandbox_enter(r->row->sandbox, NULL, 0, why);
    if (!rc && r->listens)
        rc = serve(d, r->listens->fd, why);
    if (!rc)
        role_ready(r);
    return rc;
}

static void
desk_message(struct role *r, enum role_id from, uint16_t type, uint64_t id, struct wire *body,
             int fd)
{
    struct desk *d = r->self;
    (void)from, (void)type;
    fd_close(&fd);
    if (d)
        chan_ask_answer(d->asks, id, body, -1);
}

static void
on_reloaded(void *ctx, int status, struct wire *body, int fd)
{
    char text[8192];
    (void)fd;
    bool ok = !status && wire_u8(body);
    struct str s = status ? str_c(err_text(status)) : wire_str(body);
    str_fmt(text, sizeof text, "%.*s", (int)MIN(s.n, sizeof text - 1), s.p);
    ctl_call_end(ctx, ok ? 0 : 1, text);
}

static void
on_status(void *ctx, int status, struct wire *body, int fd)
{
    struct str rest = status ? STR_NONE : wire_str(body);
    (void)fd;
    while (rest.n) {
        struct str line = str_cut(rest, '\n', &rest);
        if (line.n)
            ctl_call_line(ctx, line);
    }
    ctl_call_end(ctx, status ? 1 : 0, status ? err_text(status) : "");
}

static void
desk_verb(struct role *r, struct ctl_call *call, struct str verb, struct str args)
{
    struct desk *d = r->self;
    (void)args;
    bool reload = str_eq(verb, STR("reload"));
    if (!reload && str_eq(verb, STR("metrics"))) {
        CLEANUP(buf_done) struct buf b;
        buf_init(&b, 64u << 10);
        metric_json(&b);
        ctl_call_line(call, buf_view(&b));
        ctl_call_end(call, 0, "");
        return;
    }
    if (!reload && !str_eq(verb, STR("status"))) {
        ctl_call_end(call, 1, "the supervisor does not know this verb");
        return;
    }
    /* A client that goes away meanwhile is remembered by ctl until the call ends. */
    uint64_t id = chan_ask_add(d->asks, DESK_WAIT, reload ? on_reloaded : on_status, call);
    if (id && !chan_send(r->supervisor, reload ? TELL_RELOAD : ASK_STATUS, id, NULL, -1))
        return;
    chan_ask_cancel(d->asks, id);
    ctl_call_end(call, 1, "the supervisor cannot be asked now");
}

static void
desk_stop(struct role *r)
{
    role_exit(r, 0);
}

const struct role_ops role_desk_ops = {
    .start = desk_start,
    .message = desk_message,
    .verb = desk_verb,
    .stop = desk_stop,
};
