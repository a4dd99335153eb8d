/*
 * courier/callout.c - one connection to each inside server that is asked: EHLO, then MAIL and RCPT
 * for each question, RSET between them.
 *
 * Called by the role (questions of the gate), by the second's tick (probes, numbers for admission)
 * and by sessions. Never gets as far as DATA: no mail can leave here.
 */
#include "courier/callout.h"

#include "courier/site.h"
#include "net/stream.h"
#include "smtp/client.h"
#include "store/asks.h"

#define ASKS_MAX    100u /* waiting for one server; more are answered "temporary" */
#define LINES_MAX   1000u
#define STEP_TIME   (15 * NS_PER_S)
#define IDLE_TIME   (20 * NS_PER_S)
#define PROBE_EVERY (300 * NS_PER_S)
#define PROBE_AGAIN (20 * NS_PER_S)

struct callout_ask {
    struct chan *from;
    uint64_t id;
    char *sender, *address;
    struct callout_ask *next;
};
enum line_state {
    LINE_CLOSED,
    LINE_WAITING,
    LINE_CONNECTING,
    LINE_BANNER,
    LINE_EHLO,
    LINE_IDLE,
    LINE_MAIL,
    LINE_RCPT,
    LINE_RSET
};
struct callout_line { /* to the inside server of one domain */
    struct courier *c;
    char *domain;
    struct site *site;
    struct stream *stream;
    enum line_state state;
    unsigned host;
    bool lmtp;
    struct smtp_reply_parser parser;
    struct loop_timer timer;
    struct callout_ask *asks, **asks_tail;
    unsigned nasks;
    uint64_t probe_at; /* mono ns */
    uint64_t max_size; /* as told to the gate */
    uint8_t bits;
    struct callout_line *next;
};
struct callouts {
    struct callout_line *lines;
    unsigned n;
    uint64_t told_waiting, told_lag;
};

struct callouts *
callouts_create(struct courier *c)
{
    (void)c;
    return calloc(1, sizeof(struct callouts));
}

static void line_go(struct callout_line *l);

static void
ask_free(struct callout_ask *a)
{
    free(a->sender);
    free(a->address);
    free(a);
}

static void
answer(struct chan *to, uint64_t id, enum lookup_result result, int code, struct str text)
{
    struct buf b;

    buf_init(&b, 4096);
    put_u8(&b, (uint8_t)result);
    put_u16(&b, (uint16_t)code);
    put_str(&b, str_sub(text, 0, 1000));
    if (to)
        chan_send(to, ASK_CALLOUT_ANSWER, id, &b, -1); /* lost: the gate's ask has its timeout */
    buf_done(&b);
}

static void
line_answer(struct callout_line *l, enum lookup_result result, int code, struct str text)
{
    struct callout_ask *a = l->asks;

    if (!a)
        return;
    l->asks = a->next;
    if (!l->asks)
        l->asks_tail = &l->asks;
    l->nasks--;
    answer(a->from == l->c->links.gate ? a->from : NULL, a->id, result, code, text);
    ask_free(a);
}

static void
line_close(struct callout_line *l)
{
    if (l->stream)
        stream_close(l->stream, true);
    l->stream = NULL;
    l->state = LINE_CLOSED;
    loop_timer_stop(&l->timer);
}

/* This host does not serve: the next one, or the bad news. */
static void
line_failed(struct callout_line *l, const char *why)
{
    line_close(l);
    if (l->site && ++l->host < l->site->nhosts) {
        line_go(l);
        return;
    }
    l->host = 0;
    l->probe_at = clock_mono() + PROBE_AGAIN;
    while (l->asks)
        line_answer(l, LOOKUP_TEMPORARY, 0, str_c(why));
}

/* Sends "VERB", the value and what closes it. */
static void
line_say(struct callout_line *l, enum line_state state, const char *verb, const char *value,
         const char *end)
{
    char text[1200];
    size_t n = str_fmt(text, sizeof text, "%s%s%s\r\n", verb, value, end);

    l->state = state;
    loop_timer_set(&l->timer, STEP_TIME);
    stream_send(l->stream, text, n);
}

static void
tell_inside(struct callout_line *l)
{
    struct buf b;

    if (!l->c->links.gate || !(l->bits & INSIDE_KNOWN))
        return;
    buf_init(&b, 1024);
    put_str(&b, str_c(l->domain));
    put_u64(&b, l->max_size);
    put_u8(&b, l->bits);
    chan_send(l->c->links.gate, TELL_INSIDE, 0, &b, -1);
    buf_done(&b);
}

static void
line_learn(struct callout_line *l, uint8_t bits, uint64_t max_size)
{
    bits |= INSIDE_KNOWN;
    l->probe_at = clock_mono() + PROBE_EVERY;
    if (bits == l->bits && max_size == l->max_size)
        return;
    l->bits = bits;
    l->max_size = max_size;
    tell_inside(l);
}

static void
line_ehlo(struct callout_line *l, struct str text)
{
    struct str rest = text, one;
    uint64_t max_size = 0;
    bool chunking = false;
    uint8_t bits = 0;

    str_cut(rest, '\n', &rest); /* the first line greets */
    while (rest.n) {
        one = str_cut(rest, '\n', &rest);
        struct str word = str_word(&one);
        if (str_ieq(word, STR("8BITMIME")))
            bits |= INSIDE_8BITMIME;
        else if (str_ieq(word, STR("SMTPUTF8")))
            bits |= INSIDE_SMTPUTF8;
        else if (str_ieq(word, STR("DSN")))
            bits |= INSIDE_DSN;
        else if (str_ieq(word, STR("CHUNKING")))
            chunking = !l->lmtp; /* there we send by DATA alone */
        else if (str_ieq(word, STR("BINARYMIME")))
            bits |= INSIDE_BINARYMIME;
        else if (str_ieq(word, STR("SIZE")) && str_u64(str_word(&one), &max_size) < 0)
            max_size = 0;
    }
    if (!chunking)
        bits &= (uint8_t)~INSIDE_BINARYMIME;
    line_learn(l, bits, max_size);
}

static void
line_next(struct callout_line *l)
{
    if (!l->asks) {
        l->state = LINE_IDLE;
        loop_timer_set(&l->timer, IDLE_TIME);
        return;
    }
    line_say(l, LINE_MAIL, "MAIL FROM:<", l->asks->sender, ">");
}

static enum lookup_result
verdict_of(const struct smtp_reply *r)
{
    if (r->code / 100 == 2)
        return LOOKUP_FOUND;
    if (r->code / 100 != 5)
        return LOOKUP_TEMPORARY;
    if (r->enhanced[0] == 5)
        return r->enhanced[1] == 1 || (r->enhanced[1] == 2 && r->enhanced[2] == 1) ? LOOKUP_UNKNOWN
                                                                                   : LOOKUP_REFUSED;
    return r->code == 550 || r->code == 551 || r->code == 553 ? LOOKUP_UNKNOWN : LOOKUP_REFUSED;
}

static void
line_reply(struct callout_line *l, const struct smtp_reply *r)
{
    char name[300];

    str_copy(l->c->main->hostname, name, sizeof name);
    switch (l->state) {
    case LINE_BANNER:
        if (r->code != 220)
            line_failed(l, "the inside server did not greet");
        else
            line_say(l, LINE_EHLO, l->lmtp ? "LHLO " : "EHLO ", name, "");
        break;
    case LINE_EHLO:
        if (r->code != 250) {
            line_failed(l, "the inside server refused EHLO");
            break;
        }
        line_ehlo(l, r->text);
        line_next(l);
        break;
    case LINE_MAIL:
        if (r->code / 100 == 2 && l->asks) {
            line_say(l, LINE_RCPT, "RCPT TO:<", l->asks->address, ">");
            break;
        }
        line_answer(l, r->code / 100 == 5 ? LOOKUP_REFUSED : LOOKUP_TEMPORARY, r->code, r->text);
        line_say(l, LINE_RSET, "RSET", "", "");
        break;
    case LINE_RCPT:
        line_answer(l, verdict_of(r), r->code, r->text);
        if (r->code == 421)
            line_failed(l, "the inside server closes");
        else
            line_say(l, LINE_RSET, "RSET", "", "");
        break;
    case LINE_RSET:
        line_next(l);
        break;
    default:
        line_failed(l, "the inside server spoke unasked");
        break;
    }
}

static size_t
line_data(void *ctx, const char *p, size_t n)
{
    struct callout_line *l = ctx;
    const struct stream *from = l->stream;
    size_t at = 0, used;
    struct smtp_reply r;
    int got;

    while (l->stream && l->stream == from && at < n) { /* not for the next host */
        got = smtp_reply_parse(&l->parser, p + at, n - at, &used, &r);
        at += used;
        if (got < 0) {
            line_failed(l, "the inside server does not speak SMTP");
            break;
        }
        if (got == 0)
            break;
        line_reply(l, &r);
    }
    return n;
}

static void
line_connected(void *ctx)
{
    struct callout_line *l = ctx;

    l->state = LINE_BANNER;
    loop_timer_set(&l->timer, STEP_TIME);
}

static void
line_closed(void *ctx, int status, const char *why)
{
    struct callout_line *l = ctx;
    bool idle = l->state == LINE_IDLE;

    if (idle && !l->asks) {
        line_close(l);
        return;
    }
    line_failed(l, why && why[0] ? why : err_text(status ? status : ERR_CLOSED));
}

static const struct stream_ops line_ops = {
    .data = line_data,
    .connected = line_connected,
    .closed = line_closed,
};

static void
line_timer(void *ctx)
{
    struct callout_line *l = ctx;

    if (l->state == LINE_WAITING) {
        l->state = LINE_CLOSED;
        line_go(l);
    } else if (l->state == LINE_IDLE) {
        stream_send(l->stream, "QUIT\r\n", 6);
        line_close(l);
    } else {
        line_failed(l, "the inside server gives no answer in time");
    }
}

/* Connects to the present host, when its address is known. */
static void
line_go(struct callout_line *l)
{
    struct courier *c = l->c;
    struct site_host *h;
    struct endpoint peer;

    if (l->state != LINE_CLOSED || !l->site)
        return;
    if (l->host >= l->site->nhosts) {
        line_failed(l, "no inside server is named");
        return;
    }
    h = &l->site->hosts[l->host];
    if (h->kind == INSIDE_MAILDIR) { /* a directory takes every name */
        while (l->asks)
            line_answer(l, LOOKUP_FOUND, 250, STR("Maildir"));
        line_learn(l, INSIDE_8BITMIME | INSIDE_SMTPUTF8, 0);
        return;
    }
    l->lmtp = h->kind != INSIDE_SMTP;
    smtp_reply_parser_init(&l->parser, 0);
    switch (host_addresses(l->site, h)) {
    case HOST_ASKING:
        l->state = LINE_WAITING;
        loop_timer_set(&l->timer, 50 * NS_PER_MS);
        return;
    case HOST_NONE:
        line_failed(l, h->why);
        return;
    case HOST_READY:
        break;
    }
    l->state = LINE_CONNECTING;
    loop_timer_set(&l->timer, STEP_TIME);
    if (h->kind == INSIDE_LMTP_UNIX) {
        l->stream = stream_connect_unix(c->loop, h->path, &line_ops, l, NULL);
    } else {
        peer = (struct endpoint){h->addrs[0], h->port};
        if (!host_permitted(c, &peer.addr)) {
            line_failed(l, "the inside server is outside of the networks of delivery.only_to");
            return;
        }
        l->stream = stream_connect(c->loop, &peer, NULL, STEP_TIME, &line_ops, l, NULL);
    }
    if (!l->stream)
        line_failed(l, "no connection could be begun");
}

static struct callout_line *
line_find(struct courier *c, struct str domain)
{
    struct callout_line *l = c->callouts->lines;

    while (l && !str_ieq(str_c(l->domain), domain))
        l = l->next;
    return l;
}

static struct callout_line *
line_make(struct courier *c, struct str domain)
{
    struct callout_line *l = line_find(c, domain);
    struct site *s = l ? NULL : dest_inside_site(c, domain);

    if (l || !s || c->callouts->n >= LINES_MAX)
        return l;
    l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->c = c;
    l->site = s;
    l->domain = str_dup(domain);
    l->asks_tail = &l->asks;
    if (!l->domain) {
        free(l);
        return NULL;
    }
    s->dests++;
    loop_timer_init(&l->timer, c->loop, line_timer, l);
    l->next = c->callouts->lines;
    c->callouts->lines = l;
    c->callouts->n++;
    return l;
}

void
callout_ask(struct courier *c, struct chan *from, uint64_t id, struct wire *body)
{
    struct str domain = wire_str(body), sender = wire_str(body), address = wire_str(body);
    struct callout_line *l;
    struct callout_ask *a;

    if (!wire_end(body) || str_has_ctl(sender) || str_has_ctl(address) || sender.n > 1000 ||
        address.n > 1000) {
        answer(from, id, LOOKUP_REFUSED, 553, STR("an address that cannot be asked for"));
        return;
    }
    l = line_make(c, domain);
    a = l && l->nasks < ASKS_MAX ? calloc(1, sizeof *a) : NULL;
    if (!a) {
        answer(from, id, LOOKUP_TEMPORARY, 0,
               l ? STR("too many questions wait for the inside server")
                 : STR("the domain has no inside server"));
        return;
    }
    *a = (struct callout_ask){.from = from, .id = id};
    a->sender = str_dup(sender);
    a->address = str_dup(address);
    if (!a->sender || !a->address) {
        answer(from, id, LOOKUP_TEMPORARY, 0, STR("no memory"));
        ask_free(a);
        return;
    }
    *l->asks_tail = a;
    l->asks_tail = &a->next;
    l->nasks++;
    if (l->state == LINE_IDLE)
        line_next(l);
    else
        line_go(l);
}

static void
tell_load(struct courier *c)
{
    struct callouts *all = c->callouts;
    uint64_t waiting = c->index.rows.count, lag = 0;
    struct buf b;

    for (unsigned i = 0; i < COURIER_TAILS; i++) {
        if (c->tails[i].tail)
            lag += spool_tail_lag(c->tails[i].tail);
    }
    if (!c->links.gate || (waiting == all->told_waiting && lag == all->told_lag))
        return;
    buf_init(&b, 64);
    put_u64(&b, waiting);
    put_u64(&b, lag);
    if (chan_send(c->links.gate, TELL_LOAD, 0, &b, -1) == 0) {
        all->told_waiting = waiting;
        all->told_lag = lag;
    }
    buf_done(&b);
}

void
callouts_tick(struct courier *c)
{
    uint64_t now = clock_mono();

    tell_load(c);
    if (c->stopping)
        return;
    for (const struct conf_section *s = conf_first(c->conf, "domain"); s; s = conf_next(s)) {
        const struct settings_domain *d = s->data;
        if (d->role == DOMAIN_PRIMARY && d->inside.n)
            line_make(c, s->label);
    }
    for (struct callout_line *l = c->callouts->lines; l; l = l->next) {
        if (l->state != LINE_CLOSED || now < l->probe_at)
            continue;
        l->probe_at = now + PROBE_AGAIN;
        line_go(l);
    }
}

void
callouts_tell_all(struct courier *c)
{
    c->callouts->told_waiting = UINT64_MAX;
    for (struct callout_line *l = c->callouts->lines; l; l = l->next)
        tell_inside(l);
}

void
callout_seen(struct courier *c, struct str domain, uint32_t offers, uint64_t max_size)
{
    struct callout_line *l = line_find(c, domain);
    uint8_t bits = 0;

    if (!l)
        return;
    bits |= offers & SMTP_OFFER_8BITMIME ? INSIDE_8BITMIME : 0;
    bits |= offers & SMTP_OFFER_SMTPUTF8 ? INSIDE_SMTPUTF8 : 0;
    bits |= offers & SMTP_OFFER_DSN ? INSIDE_DSN : 0;
    line_learn(l, bits, max_size);
}

void
callouts_reset(struct courier *c)
{
    struct callouts *all = c->callouts;
    struct callout_line *l;

    while ((l = all->lines) != NULL) {
        all->lines = l->next;
        all->n--;
        while (l->asks)
            line_answer(l, LOOKUP_TEMPORARY, 0, STR("new settings came in; ask again"));
        line_close(l);
        l->site->dests--;
        site_release(l->site);
        free(l->domain);
        free(l);
    }
}

void
callouts_free(struct courier *c)
{
    if (!c->callouts)
        return;
    callouts_reset(c);
    free(c->callouts);
    c->callouts = NULL;
}
