/*
 * courier/site.c - sites by name, their hosts, and the rings of shares and lanes.
 *
 * Called by dest, plan and session. Opens nothing itself.
 */
#include "courier/site_way.h"

struct sites *
sites_create(struct courier *c)
{
    struct sites *s = calloc(1, sizeof *s);

    if (s) {
        loop_timer_init(&s->left_timer, c->loop, dests_left_run, c);
        map_init(&s->names, SITES_MAX, false);
        s->queue_tail = &s->queue;
    }
    return s;
}

static void
hosts_free(struct site *s)
{
    for (unsigned i = 0; i < s->nhosts; i++) {
        host_cancel(&s->hosts[i]);
        free(s->hosts[i].name);
        free(s->hosts[i].path);
    }
    free(s->hosts);
}

static void
queue_remove(struct sites *all, struct site *s)
{
    struct site **at = &all->queue;

    while (*at && *at != s)
        at = &(*at)->next_queued;
    if (!*at)
        return;
    *at = s->next_queued;
    if (!*at)
        all->queue_tail = at;
}

static void
site_free(struct site *s)
{
    for (unsigned i = 0; i < SITE_CLASSES; i++) {
        struct share *first = s->classes[i], *at = first, *next;
        while (at) {
            next = at->next;
            free(at);
            at = next == first ? NULL : next;
        }
    }
    if (s->queued)
        queue_remove(s->c->sites, s);
    loop_timer_stop(&s->timer);
    site_ways_free(s);
    hosts_free(s);
    free(s->soft);
    free(s->name);
    free(s->user);
    free(s->password);
    free(s->pool);
    free(s);
}

void
site_release(struct site *s)
{
    if (s->dests > 0 || s->sessions > 0)
        return;
    if (!s->retired)
        map_del(&s->c->sites->names, str_c(s->name));
    site_free(s);
}

void
sites_free(struct courier *c)
{
    struct str key;
    size_t at = 0;
    struct site *s;

    if (!c->sites)
        return;
    while ((s = map_next(&c->sites->names, &at, &key)) != NULL)
        site_free(s);
    loop_timer_stop(&c->sites->left_timer);
    map_done(&c->sites->names);
    free(c->sites);
    c->sites = NULL;
}

static void
site_timer(void *ctx)
{
    site_queue(ctx);
}

struct site *
site_get(struct courier *c, struct str name, bool *ret_new)
{
    struct site *s = map_get(&c->sites->names, name);

    *ret_new = false;
    if (s)
        return s;
    s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->c = c;
    s->name = str_dup(name);
    s->max_sessions = c->delivery->max_sessions_per_site;
    s->messages_per_session = c->delivery->messages_per_session;
    s->rate = c->delivery->rate_per_site;
    loop_timer_init(&s->timer, c->loop, site_timer, s);
    if (!s->name || map_put(&c->sites->names, str_c(s->name), s) < 0) {
        free(s->name);
        free(s);
        return NULL;
    }
    *ret_new = true;
    return s;
}

struct site_host *
site_add_host(struct site *s, struct str name, uint16_t port, uint16_t preference, uint8_t kind,
              struct str path)
{
    struct site_host *grown, *h;
    struct addr a;

    /* Asks point into hosts: they are only added before the first look-up. */
    grown = reallocarray(s->hosts, s->nhosts + 1, sizeof *grown);
    if (!grown)
        return NULL;
    s->hosts = grown;
    h = &s->hosts[s->nhosts];
    *h = (struct site_host){.port = port, .preference = preference, .kind = kind, .site = s};
    h->name = str_dup(name);
    h->path = str_dup(path);
    if (!h->name || !h->path) {
        free(h->name);
        free(h->path);
        return NULL;
    }
    if (name.n && addr_parse(name, &a) == 0) {
        h->literal = true;
        h->addrs[0] = a;
        h->naddrs = 1;
        h->addrs_until = UINT64_MAX;
    }
    s->nhosts++;
    return h;
}

void
site_queue(struct site *s)
{
    struct sites *all = s->c->sites;

    if (s->queued || s->c->freeing)
        return;
    s->queued = true;
    s->next_queued = NULL;
    *all->queue_tail = s;
    all->queue_tail = &s->next_queued;
    loop_defer(s->c->loop, &s->c->plan_call);
}

void
site_wake(struct site *s, uint64_t in_ns)
{
    if (s->timer.due == 0 || s->timer.due > clock_mono() + in_ns)
        loop_timer_set(&s->timer, in_ns);
}

static struct share *
share_get(struct site *s, uint8_t class, uint16_t tenant)
{
    struct share *first = s->classes[class], *at = first;

    while (at) {
        if (at->tenant == tenant)
            return at;
        at = at->next == first ? NULL : at->next;
    }
    at = calloc(1, sizeof *at);
    if (!at)
        return NULL;
    *at = (struct share){.tenant = tenant, .class = class, .lanes = INDEX_NONE};
    if (!first) {
        at->next = at->prev = at;
        s->classes[class] = at;
    } else { /* behind all others: its turn comes last */
        at->next = first;
        at->prev = first->prev;
        first->prev->next = at;
        first->prev = at;
    }
    return at;
}

void
site_lane_join(struct site *s, uint32_t lane)
{
    struct index *ix = &s->c->index;
    struct index_lane *l = index_lane(ix, lane), *first;
    struct share *sh;

    if (l->joined)
        return;
    sh = share_get(s, l->class, l->tenant);
    if (!sh)
        return; /* tried again when the destination is looked at next */
    l->share = sh;
    l->joined = true;
    l->since = courier_tick(s->c);
    if (sh->lanes == INDEX_NONE) {
        l->share_next = l->share_prev = lane;
        sh->lanes = lane;
    } else {
        first = index_lane(ix, sh->lanes);
        l->share_next = sh->lanes;
        l->share_prev = first->share_prev;
        index_lane(ix, first->share_prev)->share_next = lane;
        first->share_prev = lane;
    }
    site_queue(s);
}

void
site_lane_leave(struct site *s, uint32_t lane)
{
    struct index *ix = &s->c->index;
    struct index_lane *l = index_lane(ix, lane);
    struct share *sh = l->share;

    if (!l->joined)
        return;
    l->joined = false;
    l->share = NULL;
    if (l->share_next == lane) {
        sh->lanes = INDEX_NONE;
        if (sh->next == sh) {
            s->classes[sh->class] = NULL;
        } else {
            sh->prev->next = sh->next;
            sh->next->prev = sh->prev;
            if (s->classes[sh->class] == sh)
                s->classes[sh->class] = sh->next;
        }
        free(sh);
        return;
    }
    index_lane(ix, l->share_prev)->share_next = l->share_next;
    index_lane(ix, l->share_next)->share_prev = l->share_prev;
    if (sh->lanes == lane)
        sh->lanes = l->share_next;
}

bool
site_has_work(const struct site *s)
{
    for (unsigned i = 0; i < SITE_CLASSES; i++) {
        if (s->classes[i])
            return true;
    }
    return false;
}
