/*
 * courier/session_plan.c - over which connection a site's rows go, and when new ones are opened.
 *
 * Called when a lane fills, a session becomes free, an address is known or a wait is over: the site
 * is queued and looked at once in this turn. Never waits; what cannot go now leaves the name of its
 * wait in site->why.
 */
#include "courier/session_plan.h"

#include "core/event.h"
#include "courier/outs.h"
#include "courier/retry.h"
#include "courier/session.h"
#include "courier/session_pick.h"
#include "courier/site_way.h"

#define OPEN_PER_TURN 64u /* connections that one site opens in a turn */
#define BLOCK_MAX     (600 * NS_PER_S)
#define LANES_LOOK    64u /* looked at for work that a source may take */
#define MESSAGES_SEEN 64u /* more connections than this are never on their way at once */

void
plan_site_works(struct site *s, uint32_t source, uint32_t host)
{
    struct site_way *w = site_way(s, source);

    s->why[0] = '\0';
    if (!w)
        return;
    w->failures = w->hosts[host].failures = 0;
    w->blocked_until = 0;
}

void
plan_site_failed(struct site *s, uint32_t source, const char *host, const struct endpoint *peer,
                 enum smtp_client_stage stage, const struct smtp_reply *reply)
{
    struct courier *c = s->c;
    uint32_t rows[1024], n, message = INDEX_NONE;
    uint32_t max = (uint32_t)MIN(c->delivery->rcpts_per_message, ARRAY_LEN(rows));
    struct attempt a = {.peer = peer,
                        .host = host,
                        .site = s->name,
                        .tried = true,
                        .source = &c->sources.items[source],
                        .command = smtp_client_stage_name(stage),
                        .route_expire = s->expire};
    struct site_way *w = site_way_make(s, source);
    struct result r;
    uint64_t gap;
    char text[160];

    outcome_from_reply(c, &r, stage, host, reply);
    r.result = SPOOL_RETRY; /* whatever it said, it was not about a message */
    if (w)
        w->failures++;
    gap = MIN(retry_gap(c->delivery, w ? w->failures : 1, 0) / 2, BLOCK_MAX);
    if (w)
        w->blocked_until = clock_mono() + gap;
    site_wake(s, gap);
    smtp_reply_show(reply, text, sizeof text);
    str_fmt(s->why, sizeof s->why, "no host of it can be used (%.50s: %.120s)", host, text);
    n = pick_rows(s, source, rows, max, &message);
    if (n > 0)
        outcome_rows(c, message, rows, n, &a, &r);
    if (w) /* others may do better */
        site_queue(s);
}

void
plan_close_idle(struct site *s)
{
    while (s->idle)
        session_say_quit(s->idle);
}

void
plan_retire(struct courier *c)
{
    struct str key;
    struct site *s;
    size_t at = 0;

    while ((s = map_next(&c->sites->names, &at, &key)) != NULL) {
        s->retired = true; /* which site_release() does not look up */
        plan_close_idle(s);
        site_release(s);
    }
    map_done(&c->sites->names); /* whole: one by one costs the square of them */
    map_init(&c->sites->names, SITES_MAX, false);
}

/* Mail of a route that says discard. */
static void
site_discard(struct site *s)
{
    uint32_t rows[1024], n, message = INDEX_NONE;
    struct attempt a = {.site = s->name, .tried = true};
    struct result r = {
        .result = SPOOL_DELIVERED, .code = 250, .text = STR("discarded, as the route says")};

    for (unsigned i = 0; i < 256; i++) {
        n = pick_rows(s, UINT32_MAX, rows, ARRAY_LEN(rows), &message);
        if (n == 0)
            return;
        outcome_rows(s->c, message, rows, n, &a, &r);
    }
    site_queue(s);
}

/* Different messages that are ready in the share, counted no further than past `enough`. */
static uint64_t
share_messages(const struct courier *c, const struct share *sh, uint64_t enough)
{
    uint32_t at = sh->lanes, seen[MESSAGES_SEEN];
    uint64_t n = 0;
    unsigned look = 0;

    do {
        const struct index_lane *l = index_lane(&c->index, at);
        for (uint32_t row = l->head; row != INDEX_NONE && look < 4 * MESSAGES_SEEN; look++) {
            const struct index_row *r = index_row(&c->index, row);
            unsigned i = 0;
            while (i < n && seen[i] != r->message)
                i++;
            if (i == n)
                seen[n++] = r->message;
            if (n > enough || n == MESSAGES_SEEN)
                return n;
            row = r->next;
        }
        at = l->share_next;
    } while (at != sh->lanes && look < 4 * MESSAGES_SEEN);
    return n;
}

/* Does that share need another connection than those on their way? */
static bool
share_wants(const struct site *s, const struct share *sh)
{
    uint64_t usable = 0;

    if (s->connecting == 0)
        return true;
    for (const struct session *x = s->all; x; x = x->next)
        usable += x->state == SESSION_CONNECTING && pick_allows(s, sh, x->source);
    return usable < MESSAGES_SEEN && share_messages(s->c, sh, usable) > usable;
}

/* The next host that is not known to be dead and that the source can speak to, of the best
 * preference. NULL: *ret_asking, *ret_unfit (there are some that it cannot speak to), or none. */
static struct site_host *
host_next(struct site *s, uint32_t source, struct addr *ret_addr, bool *ret_asking, bool *ret_unfit)
{
    struct source *src = &s->c->sources.items[source];

    for (unsigned i = 0; i < s->nhosts;) {
        unsigned n = 1;
        while (i + n < s->nhosts && s->hosts[i + n].preference == s->hosts[i].preference)
            n++;
        for (unsigned j = 0; j < n; j++) {
            unsigned at = i + (unsigned)((s->picks + s->sessions + j) % n);
            struct site_host *h = &s->hosts[at];
            if (!site_way_alive(s, source, at))
                continue;
            switch (host_addresses(s, h)) {
            case HOST_READY:
                if (h->kind == INSIDE_LMTP_UNIX || h->kind == INSIDE_MAILDIR ||
                    host_pick(s, h, src, ret_addr))
                    return h;
                *ret_unfit = true;
                break;
            case HOST_ASKING:
                *ret_asking = true;
                break;
            case HOST_NONE:
                break;
            }
        }
        if (*ret_asking)
            return NULL; /* a better host is about to be known */
        i += n;
    }
    return NULL;
}

static bool
source_fits(void *site, uint32_t source)
{
    uint64_t until;

    return !session_site_full(site, source, &until) && !site_way_blocked(site, source);
}

/* Is there work in the share for a connection of that source? A few of its lanes are looked at. */
static bool
share_offers(const struct site *s, const struct share *sh, uint32_t source)
{
    uint32_t at = sh->lanes;

    for (unsigned i = 0; i < LANES_LOOK; i++) {
        const struct index_lane *l = index_lane(&s->c->index, at);
        if (pick_in_lane(s->c, l, source) != INDEX_NONE)
            return true;
        at = l->share_next;
        if (at == sh->lanes)
            return false;
    }
    return true;
}

/* Why no source of that share can be used: the settings, or what the other side takes. What it does
 * to other sources holds nobody up here. */
static void
source_none(struct site *s, const struct share *sh, const char *why)
{
    uint64_t now = clock_mono(), soft = UINT64_MAX;
    uint64_t blocked = site_blocked_for(s, s->c->sources.tenants[sh->tenant].number, now);

    for (unsigned i = 0; i < s->nsoft; i++) {
        if (s->soft[i].until > now && pick_allows(s, sh, s->soft[i].source))
            soft = MIN(soft, s->soft[i].until);
    }
    if (blocked)
        site_wake(s, blocked - now);
    if (soft != UINT64_MAX)
        site_wake(s, soft - now);
    if (blocked && blocked < soft)
        return; /* plan_site_failed() said why */
    if (soft == UINT64_MAX)
        str_fmt(s->why, sizeof s->why, "%s", why);
    else
        str_fmt(s->why, sizeof s->why,
                "%.120s takes no more connections from us for now; another is tried after a while",
                s->name);
}

/* The source for one more connection of that share; UINT32_MAX: none now. */
static uint32_t
source_next(struct site *s, const struct share *sh)
{
    struct courier *c = s->c;
    uint32_t row = index_lane(&c->index, sh->lanes)->head, source;
    uint16_t sticky = index_row(&c->index, row)->source & 0xffff;
    const char *why = "";

    source = sticky && sticky <= c->sources.n ? sticky - 1u : UINT32_MAX;
    if (source == UINT32_MAX || !pick_allows(s, sh, source) || !source_fits(s, source) ||
        c->sources.items[source].sessions >= c->sources.items[source].max_sessions)
        source = pool_pick(&c->sources, pick_pool(s, sh), c->sources.tenants[sh->tenant].number,
                           source_fits, s, &why);
    if (source == UINT32_MAX) {
        source_none(s, sh, why);
        return UINT32_MAX;
    }
    if (!sticky || source == sticky - 1u || share_offers(s, sh, source))
        return source;
    str_fmt(s->why, sizeof s->why,
            "its messages go on by the source that they began with, which takes no more "
            "connections now");
    site_wake(s, NS_PER_S);
    return UINT32_MAX;
}

/* No host of an MX set has an address that we may speak to: 1 for good, 0 for now, -1 it is not so.
 */
static int
site_is_unreachable(const struct site *s)
{
    bool for_good = true;

    for (unsigned i = 0; i < s->nhosts; i++) {
        const struct site_host *h = &s->hosts[i];
        if (h->naddrs > 0 || h->literal)
            return -1;
        for_good = for_good && !h->temporary && (h->refused || s->implicit);
    }
    return s->by_mx ? for_good : -1;
}

/* All that is ready at a site that cannot exist, or cannot be found. */
static void
site_unreachable(struct site *s, bool for_good)
{
    struct result r = {.result = for_good ? SPOOL_FAILED : SPOOL_RETRY,
                       .class = for_good ? REPLY_CLASS_DOMAIN : REPLY_CLASS_DNS,
                       .enhanced = {for_good ? 5 : 4, 4, 4},
                       .text = str_c(s->hosts[0].why)};
    struct attempt a = {.site = s->name, .tried = true, .host = s->hosts[0].name};
    uint32_t rows[1024], n, message = INDEX_NONE;

    while ((n = pick_untried(s, UINT32_MAX, rows, ARRAY_LEN(rows), &message)) > 0) {
        a.no_domain = true;
        for (uint32_t i = 0; i < n; i++)
            a.no_domain = a.no_domain && !(index_row(&s->c->index, rows[i])->flags & ROW_ROUTED);
        outcome_rows(s->c, message, rows, n, &a, &r);
    }
}

/* Everything is dead or without addresses, and no session told it. */
static void
site_without_host(struct site *s, uint32_t source)
{
    struct smtp_reply r = {.text = str_c(s->nhosts ? s->hosts[0].why : "no host is named")};
    int lost = site_is_unreachable(s);

    if (lost >= 0) {
        site_unreachable(s, lost == 1);
        return;
    }
    if (r.text.n == 0)
        r.text = STR("every host failed a moment ago");
    plan_site_failed(s, source, s->nhosts ? s->hosts[0].name : s->name, NULL, SMTP_AT_CONNECT, &r);
}

/* Is there a connection, or one on its way, of a source of the same owner? */
static bool
group_has_session(const struct site *s, uint32_t source)
{
    const struct source *items = s->c->sources.items;

    for (const struct session *x = s->all; x; x = x->next) {
        if (items[x->source].group == items[source].group)
            return true;
    }
    return false;
}

enum opened { OPENED, OPEN_NOT, OPEN_STOP /* shares may be gone */ };

/* One more connection for that share. */
static enum opened
open_one(struct site *s, struct share *sh)
{
    uint32_t source = source_next(s, sh);
    bool asking = false, unfit = false;
    struct addr a = {0};
    struct site_host *h;

    if (source == UINT32_MAX)
        return OPEN_NOT;
    h = host_next(s, source, &a, &asking, &unfit);
    if (!h && asking) {
        str_fmt(s->why, sizeof s->why, "asking DNS for the addresses of its hosts");
        return OPEN_STOP;
    }
    if (!h && unfit) {
        for (unsigned i = 0; i < s->nhosts; i++) {
            if (s->hosts[i].why[0])
                str_fmt(s->why, sizeof s->why, "%s", s->hosts[i].why);
        }
        site_wake(s, NS_PER_S);
        return OPEN_NOT;
    }
    if (!h) {
        if (group_has_session(s, source))
            return OPEN_NOT;
        site_without_host(s, source);
        return OPEN_STOP;
    }
    if (h->kind == INSIDE_MAILDIR) { /* takes rows itself */
        maildir_run(s, source, h);
        if (site_has_work(s) && !site_blocked(s, clock_mono()))
            site_queue(s);
        return OPEN_STOP;
    }
    return sessions_open(s, source, (uint32_t)(h - s->hosts), &a) ? OPENED : OPEN_STOP;
}

static bool
may_open(struct site *s)
{
    struct courier *c = s->c;
    uint64_t limit = s->max_sessions, most;

    /* Twice as many at a time as already work: a new or slow host is not stormed. */
    if (s->connecting >= MAX(s->sessions - s->connecting, 1u))
        return false;
    if (s->sessions >= limit) {
        if (s->idle && site_has_work(s)) { /* idle ones are of the wrong source */
            session_say_quit(s->idle);
            return true;
        }
        return false;
    }
    /* The last eighth is for sites that have none: some slow ones do not take all there are. */
    most = c->delivery->max_sessions - (s->sessions > 0 ? c->delivery->max_sessions / 8 : 0);
    if (c->sessions->n < most || sessions_close_one_idle(c, s))
        return true;
    str_fmt(s->why, sizeof s->why, "all %llu connections of delivery.max_sessions are in use%s",
            (unsigned long long)most, s->sessions > 0 ? "; the rest is for sites with none" : "");
    site_wake(s, 100 * NS_PER_MS);
    return false;
}

static void
site_open(struct site *s)
{
    unsigned opened = 0;

    for (unsigned class = 0; class < SITE_CLASSES; class ++) {
        struct share *sh = s->classes[class], *first = sh;
        while (sh && opened < OPEN_PER_TURN) {
            enum opened did = OPEN_NOT;
            while (opened < OPEN_PER_TURN && share_wants(s, sh) && may_open(s)) {
                did = open_one(s, sh);
                if (did == OPEN_STOP)
                    return;
                if (did != OPENED)
                    break;
                opened++;
            }
            sh = sh->next == first ? NULL : sh->next;
        }
    }
    if (opened >= OPEN_PER_TURN)
        site_queue(s);
}

/* True: nothing may be sent there now, since the log takes no record of it. */
static bool
log_is_full(struct site *s)
{
    if (!outs_full(s->c)) {
        if (strcmp(s->why, OUTS_FULL_TEXT) == 0) /* it does again: another reason, or none */
            s->why[0] = '\0';
        return false;
    }
    str_copy(STR(OUTS_FULL_TEXT), s->why, sizeof s->why);
    site_wake(s, NS_PER_S);
    return true;
}

static void
plan_site(struct site *s)
{
    uint64_t now = clock_mono();
    struct session *x, *next;

    if (s->retired || s->c->stopping || s->c->delivery->hold || s->kind == SITE_HOLD ||
        !site_has_work(s))
        return;
    if (log_is_full(s))
        return;
    if (s->kind == SITE_DISCARD) {
        site_discard(s);
        return;
    }
    if (s->kind == SITE_READER) {
        reading_run(s);
        return;
    }
    for (x = s->idle; x && site_has_work(s); x = next) {
        next = x->idle_next;
        session_offer(x);
    }
    if (!site_has_work(s))
        return;
    if (s->rate.count && bucket_peek(&s->bucket, &s->rate, now) > 0) {
        site_wake(s, bucket_peek(&s->bucket, &s->rate, now));
        return;
    }
    site_open(s);
}

void
plan_run(void *courier)
{
    struct courier *c = courier;
    struct sites *all = c->sites;
    struct site *s = all->queue, *next;

    all->queue = NULL;
    all->queue_tail = &all->queue;
    for (struct site *x = s; x; x = x->next_queued)
        x->sessions++; /* keeps it while the list is walked */
    for (; s; s = next) {
        next = s->next_queued;
        s->queued = false;
        s->sessions--;
        plan_site(s);
        site_release(s);
    }
}
