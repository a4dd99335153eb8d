/*
 * net/dns_server.c - the resolver role's half: libunbound on the loop, questions from channels.
 *
 * One cache for all roles; validates if there is a trust anchor; forwards or recurses. Every
 * question ends within conf.timeout_ns. What libunbound hands out is parsed by dns_packet.c.
 */
#include <stdlib.h>
#include <sys/resource.h>
#include <unbound-event.h>
#include <unbound.h>

#include "core/clock.h"
#include "net/dns.h"

#define DNS_OPEN_MAX   20000u /* one channel may hold half of what the others leave free of it */
#define DNS_PORTS      4096u  /* questions on their way to name servers at once */
#define DNS_TCP        100u   /* of them by TCP */
#define DNS_TIMEOUT_NS (10 * NS_PER_S)
#define DNS_ARENA_MAX  (512u << 10)

/* A channel that asks, kept while libunbound works for it. */
struct dns_asker {
    struct dns_asker *next;
    struct chan *chan; /* NULL: gone */
    unsigned open;
};
struct dns_question { /* kept until libunbound is done with it */
    struct dns_question *next, **prev;
    struct dns_server *server;
    struct dns_asker *asker;
    uint64_t id;
    struct loop_timer timer;
    uint16_t type;
    size_t name_n;
    char name[256];
};

struct dns_server {
    struct loop *loop;
    struct ub_ctx *ub;
    struct dns_question *open;
    struct dns_asker *askers;
    unsigned n;
    uint64_t timeout_ns;
    struct arena arena;
    struct buf out;
};

static void
dns_question_answer(struct dns_question *q, const struct dns_answer *a)
{
    struct dns_server *s = q->server;

    loop_timer_stop(&q->timer);
    if (!q->asker->chan)
        return;
    buf_clear(&s->out);
    dns_answer_encode(&s->out, a);
    /* If the channel is full its owner is not reading: it has a timeout of its own. */
    (void)chan_send(q->asker->chan, DNS_MSG_ANSWER, q->id, &s->out, -1);
}

static void
dns_question_say(struct dns_question *q, enum dns_status status, bool later)
{
    struct dns_answer a = {
        .name = str_of(q->name, q->name_n), .type = q->type, .status = status, .later = later};

    dns_question_answer(q, &a);
}

/* The entry of a channel, made if need be. */
static struct dns_asker *
dns_asker_of(struct dns_server *s, struct chan *chan)
{
    struct dns_asker *a = s->askers;

    while (a && a->chan != chan)
        a = a->next;
    if (a)
        return a;
    a = calloc(1, sizeof(*a));
    if (!a)
        return NULL;
    a->chan = chan;
    a->next = s->askers;
    s->askers = a;
    return a;
}

/* Channels that are gone and have nothing open are forgotten. */
static void
dns_askers_sweep(struct dns_server *s)
{
    for (struct dns_asker **at = &s->askers; *at;) {
        struct dns_asker *a = *at;

        if (a->chan || a->open) {
            at = &a->next;
            continue;
        }
        *at = a->next;
        free(a);
    }
}

static void
dns_question_free(struct dns_question *q)
{
    loop_timer_stop(&q->timer);
    *q->prev = q->next;
    if (q->next)
        q->next->prev = q->prev;
    q->server->n--;
    q->asker->open--;
    dns_askers_sweep(q->server);
    free(q);
}

static void
dns_question_timeout(void *ctx)
{
    dns_question_say(ctx, DNS_TEMPORARY, true); /* libunbound goes on: its last word is told, too */
}

/* libunbound is done; also from within ub_resolve_event. */
static void
dns_resolved(void *ctx, int rcode, void *packet, int n, int sec, char *why_bogus, int limited)
{
    struct dns_question *q = ctx;
    struct dns_server *s = q->server;
    struct dns_answer a;

    (void)limited;
    arena_reset(&s->arena);
    if (sec == 1 || why_bogus) {
        dns_question_say(q, DNS_BOGUS, false);
    } else if (!packet || n <= 0 || (rcode != 0 && rcode != 3) ||
               dns_packet_parse(packet, (size_t)n, str_of(q->name, q->name_n), q->type, &s->arena,
                                &a) < 0) {
        dns_question_say(q, DNS_TEMPORARY, false);
    } else {
        a.secure = sec == 2;
        dns_question_answer(q, &a);
    }
    dns_question_free(q);
}

bool
dns_server_message(struct dns_server *s, struct chan *from, uint16_t type, uint64_t id,
                   struct wire *body)
{
    struct dns_question *q;
    struct str name;
    uint16_t rr;
    int err;

    if (type != DNS_MSG_ASK)
        return false;
    rr = wire_u16(body);
    name = wire_str16(body);
    q = body->failed ? NULL : calloc(1, sizeof(*q));
    if (!q)
        return true; /* a bad message ends the channel; without memory the asker times out */
    if (!dns_name_normal(name, q->name, &q->name_n)) {
        body->failed = true; /* the client never sends such a name */
        free(q);
        return true;
    }
    q->server = s;
    q->asker = dns_asker_of(s, from);
    if (!q->asker) {
        free(q);
        return true;
    }
    q->asker->open++;
    q->id = id;
    q->type = rr;
    q->next = s->open;
    q->prev = &s->open;
    if (q->next)
        q->next->prev = &q->next;
    s->open = q;
    s->n++;
    loop_timer_init(&q->timer, s->loop, dns_question_timeout, q);
    loop_timer_set(&q->timer, s->timeout_ns);
    if (s->n > DNS_OPEN_MAX || q->asker->open > DNS_OPEN_MAX - s->n + 1) {
        dns_question_say(q, DNS_TEMPORARY, false);
        dns_question_free(q);
        return true;
    }
    err = ub_resolve_event(s->ub, q->name_n ? q->name : ".", rr, 1, q, dns_resolved, NULL);
    if (err) {
        dns_question_say(q, err == UB_SYNTAX ? DNS_NXDOMAIN : DNS_TEMPORARY, false);
        dns_question_free(q);
    }
    return true;
}

void
dns_server_forget(struct dns_server *s, const struct chan *chan)
{
    for (struct dns_asker *a = s->askers; a; a = a->next) {
        if (a->chan == chan)
            a->chan = NULL;
    }
    dns_askers_sweep(s);
}

/* Zones that libunbound answers itself by default and that a forwarder or local data may know. */
static void
dns_server_free_zones(struct dns_server *s)
{
    static const char *const zones[] = {"test.", "127.in-addr.arpa.", "home.arpa.",
                                        "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0."
                                        "0.0.0.ip6.arpa."};

    for (size_t i = 0; i < ARRAY_LEN(zones); i++)
        (void)ub_ctx_zone_remove(s->ub, zones[i]);
}

/* `local-zone: NAME TYPE`, as unbound.conf(5) has it: "." static answers every question here. */
static int
dns_server_local_zone(struct dns_server *s, struct str words, struct why *why)
{
    char name[256], type[32];
    struct str n = str_word(&words), t = str_word(&words);
    int err;

    if (n.n > 1 && n.p[0] == '"' && n.p[n.n - 1] == '"')
        n = str_sub(n, 1, n.n - 2);
    if (!n.n || !t.n || str_trim(words).n || !str_copy(n, name, sizeof(name)) ||
        !str_copy(t, type, sizeof(type)))
        return why_set(why, ERR_SYNTAX,
                       "local DNS data: a zone is written `local-zone: NAME TYPE`");
    err = ub_ctx_zone_add(s->ub, name, type);
    return err ? why_set(why, ERR_SYNTAX, "local DNS zone \"%.100s\" of type %s: %s", name, type,
                         ub_strerror(err))
               : 0;
}

static int
dns_server_local_data(struct dns_server *s, struct str lines, struct why *why)
{
    while (lines.n) {
        struct str line = str_trim(str_cut(lines, '\n', &lines));
        const struct str zone = STR("local-zone:");
        char text[1024];
        int err;

        if (line.n == 0 || line.p[0] == '#')
            continue;
        if (str_starts(line, zone)) {
            err = dns_server_local_zone(s, str_from(line, zone.n), why);
            if (err)
                return err;
            continue;
        }
        if (!str_copy(line, text, sizeof(text)))
            return why_set(why, ERR_SYNTAX, "a line of local DNS data is over 1023 bytes");
        err = ub_ctx_data_add(s->ub, text);
        if (err)
            return why_set(why, ERR_SYNTAX, "local DNS data \"%.100s\": %s", text,
                           ub_strerror(err));
    }
    return 0;
}

/* How many questions may be on their way at once. The library's own 16 ports and 2 connections are
 * held by any 16 names whose servers keep silent, and then everybody waits. */
static int
dns_server_ports(struct dns_server *s, struct why *why)
{
    struct rlimit files = {1024, 1024};
    const char *const names[] = {"outgoing-range:", "num-queries-per-thread:", "outgoing-num-tcp:"};
    char ports[16], tcp[16];
    const char *const values[] = {ports, ports, tcp};

    (void)getrlimit(RLIMIT_NOFILE, &files);
    str_fmt(ports, sizeof(ports), "%u", (unsigned)MIN(files.rlim_cur / 2, (rlim_t)DNS_PORTS));
    str_fmt(tcp, sizeof(tcp), "%u", (unsigned)MIN(files.rlim_cur / 8, (rlim_t)DNS_TCP));
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        int err = ub_ctx_set_option(s->ub, names[i], values[i]);

        if (err)
            return why_set(why, ERR_DNS, "libunbound does not take %s %s: %s", names[i], values[i],
                           ub_strerror(err));
    }
    return 0;
}

static int
dns_server_options(struct dns_server *s, const struct dns_server_conf *conf, struct why *why)
{
    const char *const options[][2] = {
        {"module-config:", conf->trust_anchor_file.n ? "validator iterator" : "iterator"},
        /* A resolver of our own may run here. Without one, name servers are whoever a stranger's
         * zone says, and ours are none of them. */
        {"do-not-query-localhost:", conf->nforward ? "no" : "yes"},
        /* Somebody guesses ids and ports (32 bits of chance): what he may have got in is thrown
         * away before it counts. 0x20 stays off: it adds little to that, and breaks name servers
         * that do not keep the case. */
        {"unwanted-reply-threshold:", "1000000"},
        {"use-syslog:", "no"},
        {"unblock-lan-zones:", "yes"}, /* the company's own reverse zones */
        {"insecure-lan-zones:", "yes"},
        {"infra-keep-probing:", "yes"}, /* after an outage the forwarder is found again soon */
        {"qname-minimisation:", "yes"},
        {"prefetch:", "yes"},
        {"msg-cache-size:", "8m"},
        {"rrset-cache-size:", "16m"},
        {"cache-max-ttl:", "86400"},
        {"cache-max-negative-ttl:", "3600"},
    };
    char text[64], addr[48], path[1024];
    int err = 0;

    (void)ub_ctx_debugout(s->ub, NULL); /* its lines would go to nobody's log */
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        err = ub_ctx_set_option(s->ub, options[i][0], options[i][1]);
        if (err)
            return why_set(why, ERR_DNS, "libunbound does not take %s %s: %s", options[i][0],
                           options[i][1], ub_strerror(err));
    }
    for (size_t i = 0; i < conf->nforward; i++) {
        const struct endpoint *e = &conf->forward[i];

        str_fmt(text, sizeof(text), "%s@%u", addr_show(&e->addr, addr), e->port ? e->port : 53u);
        err = ub_ctx_set_fwd(s->ub, text);
        if (err)
            return why_set(why, ERR_DNS, "the DNS forwarder %s cannot be used: %s", text,
                           ub_strerror(err));
    }
    if (conf->trust_anchor_file.n) {
        if (!str_copy(conf->trust_anchor_file, path, sizeof(path)))
            return why_set(why, ERR_SYNTAX, "the path of the trust anchor is too long");
        err = ub_ctx_add_ta_file(s->ub, path);
        if (err)
            return why_set(why, ERR_DNS, "the trust anchor %s cannot be used: %s", path,
                           ub_strerror(err));
    }
    return 0;
}

/* Makes libunbound read its settings now, so that what is wrong with them is told at the start. */
static int
dns_server_finish(struct dns_server *s, const struct dns_server_conf *conf, struct why *why)
{
    int err;

    if (conf->nforward || conf->hosts_zone.n)
        dns_server_free_zones(s);
    err = dns_server_local_data(s, conf->hosts_zone, why);
    if (err)
        return err;
    err = ub_ctx_zone_remove(s->ub, "none.invalid."); /* finalizes the context */
    return err ? why_set(why, ERR_DNS,
                         "the resolver cannot start: %s (is the trust anchor file readable and "
                         "right?)",
                         ub_strerror(err))
               : 0;
}

int
dns_server_create(struct dns_server **ret, struct loop *loop, const struct dns_server_conf *conf,
                  struct why *why)
{
    struct dns_server *s = calloc(1, sizeof(*s));
    int err;

    if (!s)
        return ERR_NOMEM;
    s->loop = loop;
    s->timeout_ns = conf->timeout_ns ? conf->timeout_ns : DNS_TIMEOUT_NS;
    arena_init(&s->arena, DNS_ARENA_MAX);
    buf_init(&s->out, CHAN_BODY_MAX);
    s->ub = ub_ctx_create_event(loop_base(loop));
    if (!s->ub) {
        dns_server_free(s);
        return why_set(why, ERR_DNS,
                       "libunbound gave no context (no memory, or no libevent in it)");
    }
    err = dns_server_options(s, conf, why);
    if (!err)
        err = dns_server_ports(s, why);
    if (!err)
        err = dns_server_finish(s, conf, why);
    if (err) {
        dns_server_free(s);
        return err;
    }
    *ret = s;
    return 0;
}

void
dns_server_free(struct dns_server *s)
{
    if (!s)
        return;
    if (s->ub)
        ub_ctx_delete(s->ub); /* calls nobody back */
    while (s->open)
        dns_question_free(s->open);
    for (struct dns_asker *a = s->askers, *next; a; a = next) {
        next = a->next;
        free(a);
    }
    arena_done(&s->arena);
    buf_done(&s->out);
    free(s);
}
