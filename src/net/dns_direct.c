/*
 * net/dns_direct.c - a resolver and its client in one process, on a loop that runs while it waits.
 *
 * Called by `gapura auth`. Never by a role: those share one resolver and never wait.
 */
#include <fcntl.h>
#include <unistd.h>

#include "core/clock.h"
#include "net/dns_direct.h"

#define RESOLV_CONF "/etc/resolv.conf"
#define RESOLV_MAX  65536u
#define SERVERS_MAX 3u /* as resolv.conf(5) has it */
#define CACHED      1024u

struct dns_direct {
    struct loop *loop;
    struct chan *asking, *answering; /* the two ends */
    struct dns_client *client;
    struct dns_server *server;
    uint64_t ends; /* mono ns */
    struct loop_timer timer;
    size_t open; /* questions of the present call without an answer */
};
struct waiting { /* for one answer */
    struct dns_direct *d;
    struct arena *arena;
    struct dns_answer *answer;
    struct dns_ask ask;
    bool no_room;
};

size_t
dns_direct_servers(struct str text, struct endpoint *ret, size_t cap)
{
    size_t n = 0;

    while (text.n && n < cap) {
        struct str line = str_cut(text, '\n', &text), word;

        word = str_word(&line);
        if (!str_eq(word, STR("nameserver")))
            continue;
        word = str_word(&line);
        if (str_ends(word, STR("\r")))
            word.n--;
        ret[n] = (struct endpoint){.port = 53};
        n += addr_parse(word, &ret[n].addr) == 0;
    }
    return n;
}

static size_t
system_servers(struct endpoint ret[SERVERS_MAX])
{
    int fd = open(RESOLV_CONF, O_RDONLY | O_CLOEXEC);
    char text[RESOLV_MAX];
    size_t n = 0;
    ssize_t got;

    if (fd < 0)
        return 0;
    while (n < sizeof(text) && (got = read(fd, text + n, sizeof(text) - n)) > 0)
        n += (size_t)got;
    fd_close(&fd);
    return dns_direct_servers(str_of(text, n), ret, SERVERS_MAX);
}

static void
on_question(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    struct dns_direct *d = ctx;

    fd_close(&fd);
    if (!dns_server_message(d->server, d->answering, type, id, body))
        chan_refuse(d->answering);
}

static void
on_answer(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    struct dns_direct *d = ctx;

    fd_close(&fd);
    if (!dns_client_message(d->client, type, id, body))
        chan_refuse(d->asking);
}

static void
on_lost(void *ctx)
{
    struct dns_direct *d = ctx;

    dns_client_lost(d->client);
}

static void
on_gone(void *ctx)
{
    struct dns_direct *d = ctx;

    dns_server_forget(d->server, d->answering);
}

/* Only ends a turn of the loop: the deadline itself is looked at by who runs it. */
static void
on_time(void *ctx)
{
    (void)ctx;
}

static int
join(struct dns_direct *d)
{
    static const struct chan_ops asks = {on_answer, on_lost}, answers = {on_question, on_gone};
    int fds[2], rc = chan_pair(fds);

    if (rc < 0)
        return rc;
    d->asking = chan_create(d->loop, fds[0], &asks, d);
    d->answering = chan_create(d->loop, fds[1], &answers, d);
    d->client = d->asking ? dns_client_create(d->loop, d->asking, CACHED) : NULL;
    return d->client && d->answering ? 0 : ERR_NOMEM;
}

int
dns_direct_create(struct dns_direct **ret, const struct endpoint *server, uint64_t timeout_ns,
                  struct why *why)
{
    struct endpoint servers[SERVERS_MAX];
    struct dns_server_conf conf = {.forward = server, .nforward = 1, .timeout_ns = timeout_ns};
    struct dns_direct *d = calloc(1, sizeof(*d));
    int rc;

    if (!d)
        return why_set(why, ERR_NOMEM, "no memory for a resolver");
    if (!server) {
        conf.forward = servers;
        conf.nforward = system_servers(servers);
    }
    d->ends = clock_mono() + timeout_ns;
    d->loop = loop_create();
    rc = d->loop ? join(d) : ERR_NOMEM;
    if (rc < 0)
        why_set(why, rc, "a resolver cannot be made: %s", err_text(rc));
    else
        rc = dns_server_create(&d->server, d->loop, &conf, why);
    if (rc < 0) {
        dns_direct_free(d);
        return rc;
    }
    loop_timer_init(&d->timer, d->loop, on_time, NULL);
    *ret = d;
    return 0;
}

void
dns_direct_free(struct dns_direct *d)
{
    if (!d)
        return;
    if (d->timer.loop)
        loop_timer_stop(&d->timer);
    dns_client_free(d->client);
    dns_server_free(d->server);
    chan_free(d->asking);
    chan_free(d->answering);
    if (d->loop)
        loop_free(d->loop);
    free(d);
}

/* All of the answer but its name, which is the question's. */
static bool
keep(struct arena *arena, const struct dns_answer *a, struct dns_answer *ret)
{
    struct str name = ret->name;

    *ret = *a;
    ret->name = name;
    ret->records = a->n ? ARENA_ARRAY(arena, struct dns_record, a->n) : NULL;
    if (a->n && !ret->records)
        return false;
    for (size_t i = 0; i < a->n; i++) {
        struct dns_record *r = &ret->records[i];

        *r = a->records[i];
        r->name = arena_str(arena, a->records[i].name);
        r->data = arena_str(arena, a->records[i].data);
        if (!r->name.p || !r->data.p)
            return false;
    }
    return true;
}

static void
answered(void *ctx, const struct dns_answer *a)
{
    struct waiting *w = ctx;

    w->no_room = !keep(w->arena, a, w->answer);
    w->d->open--;
}

/* Runs the loop until all is answered or the time is over. */
static void
wait_all(struct dns_direct *d)
{
    uint64_t now;

    while (d->open && (now = clock_mono()) < d->ends) {
        if (loop_timer_set(&d->timer, d->ends - now) < 0)
            break;
        loop_once(d->loop, true);
    }
    loop_timer_stop(&d->timer);
}

static bool
ask_one(struct waiting *w, const struct dns_direct_question *q)
{
    char normal[256];
    size_t n;

    w->answer = ARENA_NEW(w->arena, struct dns_answer);
    if (!w->answer)
        return false;
    *w->answer = (struct dns_answer){
        .name = arena_str(w->arena, q->name), .type = q->type, .status = DNS_TEMPORARY};
    if (!w->answer->name.p)
        return false;
    if (!dns_name_normal(q->name, normal, &n))
        w->answer->status = DNS_NXDOMAIN;
    else if (dns_client_ask(w->d->client, str_of(normal, n), q->type, &w->ask, answered, w) == 0)
        w->d->open++;
    return true;
}

int
dns_direct_ask(struct dns_direct *d, const struct dns_direct_question *q, size_t n,
               struct arena *arena, const struct dns_answer **ret)
{
    struct waiting *all = calloc(n ? n : 1, sizeof(*all));
    int rc = all ? 0 : ERR_NOMEM;
    size_t i;

    d->open = 0;
    for (i = 0; i < n && rc == 0; i++) {
        all[i].d = d;
        all[i].arena = arena;
        if (!ask_one(&all[i], &q[i]))
            rc = ERR_NOMEM;
    }
    if (rc == 0)
        wait_all(d);
    for (i = 0; all && i < n; i++) {
        dns_ask_cancel(&all[i].ask);
        if (all[i].no_room)
            rc = ERR_NOMEM;
        ret[i] = all[i].answer;
    }
    free(all);
    return rc;
}
