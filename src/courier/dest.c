/*
 * courier/dest.c - where the mail of a destination goes: a transport that the gate chose, a route,
 * an inside server, or the hosts that DNS names (courier/dest_mx.c).
 *
 * Called when a destination gets its first ready row, when its routing is stale and after new
 * settings. The order: `via` of the recipient, a route that names the domain, a domain that we
 * serve, a route by suffix, the route `*`, MX.
 */
#include "courier/dest.h"

#include "core/event.h"
#include "courier/outs.h"
#include "courier/scope.h"
#include "store/settings_reports.h"

#define DEST_IDLE_TICKS (60u << 4) /* about a minute */
#define SWEEP_DROPS     256u
#define SWEEP_LOOKS     8192u
#define SWEEP_SLICE     (2 * NS_PER_MS)
#define LEFT_AGAIN      (20 * NS_PER_MS)

/* Length of the match, 0 none: exact names count more than any suffix, `*` least. */
static size_t
route_matches(const struct settings_route *r, struct str domain)
{
    const struct str *items = r->domains.items;
    size_t best = 0;

    for (size_t i = 0; i < r->domains.n; i++) {
        size_t n = 0;
        if (str_ieq(items[i], domain))
            n = 1000;
        else if (items[i].n > 1 && items[i].p[0] == '.' && str_iends(domain, items[i]))
            n = 1 + items[i].n;
        else if (str_eq(items[i], STR("*")))
            n = 1;
        best = MAX(best, n);
    }
    return best;
}

static const struct conf_section *
route_find(const struct conf *conf, struct str domain, size_t *ret_match)
{
    const struct conf_section *best = NULL;

    *ret_match = 0;
    for (const struct conf_section *s = conf_first(conf, "route"); s; s = conf_next(s)) {
        size_t n = route_matches(s->data, domain);
        if (n > *ret_match) {
            *ret_match = n;
            best = s;
        }
    }
    return best;
}

static const struct conf_section *
domain_find(const struct conf *conf, struct str domain)
{
    for (const struct conf_section *s = conf_first(conf, "domain"); s; s = conf_next(s)) {
        if (str_ieq(s->label, domain))
            return s;
    }
    return NULL;
}

void
dest_way(const struct courier *c, const struct index_dest *d, struct dest_way *ret)
{
    struct str domain = index_dest_domain(d), via = index_dest_via(d);
    const struct conf_section *inside = domain_find(c->conf, domain);
    size_t match = 0;

    *ret = (struct dest_way){.reader = str_eq(via, STR(REPORTS_VIA))};
    if (ret->reader)
        return;
    if (via.n) {
        ret->route = conf_find(c->conf, "route", via);
        if (!ret->route)
            ret->inside = str_eq(via, STR("inside")) ? inside : domain_find(c->conf, via);
        if (ret->route || ret->inside)
            return;
    }
    ret->route = route_find(c->conf, domain, &match);
    if (ret->route && match >= 1000)
        return;
    if (inside) {
        ret->route = NULL;
        ret->inside = inside;
        ret->backup = ((const struct settings_domain *)inside->data)->role == DOMAIN_BACKUP;
    }
}

static char *
copy_str(struct str s)
{
    return str_dup(s);
}

/* First line of a file named in the settings. */
static char *
first_line(struct courier *c, struct str path)
{
    struct str text = c->links.file ? c->links.file(c->links.file_ctx, path) : STR_NONE, rest;

    text = str_cut(text, '\n', &rest);
    if (text.n && text.p[text.n - 1] == '\r')
        text.n--;
    return copy_str(text);
}

bool
dest_site_set(struct courier *c, struct site *s, const struct settings_route *r)
{
    if (!r)
        return true;
    s->tls = r->tls;
    s->tls_wrapped = r->tls_wrapped;
    s->auth_unverified = r->auth_unverified;
    s->allow_private = r->allow_private;
    s->expire = r->expire;
    if (r->max_sessions)
        s->max_sessions = r->max_sessions;
    if (r->messages_per_session)
        s->messages_per_session = r->messages_per_session;
    if (r->rate.count)
        s->rate = r->rate;
    s->pool = copy_str(r->pool);
    s->user = copy_str(r->user);
    s->password = r->user.n ? first_line(c, r->password_file) : copy_str(STR_NONE);
    return s->pool && s->user && s->password;
}

static bool
site_hosts(struct site *s, const struct conf_list *via)
{
    const struct str *items = via->items;
    struct inside_host h;

    for (size_t i = 0; i < via->n; i++) {
        if (str_eq(items[i], STR("hold"))) {
            s->kind = SITE_HOLD;
            str_copy(STR("the route says hold: release it or change the route"), s->why,
                     sizeof s->why);
        } else if (str_eq(items[i], STR("discard"))) {
            s->kind = SITE_DISCARD;
        } else if (inside_parse(items[i], &h) == 0) {
            if (!site_add_host(s, h.host, h.port, (uint16_t)i, (uint8_t)h.kind, h.path))
                return false;
        }
    }
    return true;
}

/* Was that row of the delivery block written, or is it the default? */
static bool
delivery_says(const struct courier *c, const char *row)
{
    const struct conf_section *s = conf_first(c->conf, "delivery");

    for (size_t i = 0; s && i < s->block->nrows && i < 64; i++) {
        if (str_eq(str_c(s->block->rows[i].name), str_c(row)))
            return (s->set >> i & 1) != 0;
    }
    return false;
}

/* The site of a route or an inside server set. */
static struct site *
site_static(struct courier *c, const char *kind, struct str label, const struct conf_list *via,
            const struct settings_route *r)
{
    char name[512];
    bool fresh;
    struct site *s;

    str_fmt(name, sizeof name, "%s:%.*s", kind, STR_ARG(label));
    s = site_get(c, str_c(name), &fresh);
    if (!s || !fresh)
        return s;
    if (!delivery_says(c, "messages_per_session"))
        s->messages_per_session = 1000000000;
    s->allow_private = true;
    if (!dest_site_set(c, s, r) || !site_hosts(s, via)) {
        site_release(s);
        return NULL;
    }
    if (s->kind == SITE_HOSTS && s->nhosts == 0)
        str_copy(STR("no host is named for it"), s->why, sizeof s->why);
    return s;
}

/* The one of all mail that brings reports. */
static struct site *
site_reader(struct courier *c)
{
    bool fresh;
    struct site *s = site_get(c, STR("role:scan"), &fresh);

    if (s)
        s->kind = SITE_READER;
    return s;
}

struct site *
dest_inside_site(struct courier *c, struct str domain)
{
    const struct conf_section *in = domain_find(c->conf, domain);
    const struct settings_domain *d = in ? in->data : NULL;

    if (!d || d->inside.n == 0)
        return NULL;
    return site_static(c, "inside", in->label, &d->inside, NULL);
}

void
dest_leave(struct courier *c, uint32_t dest)
{
    struct index_dest *d = index_dest(&c->index, dest);
    struct site *s = d->site;

    if (d->asking)
        dest_mx_cancel(d);
    if (s) {
        for (uint32_t l = d->lanes; l != INDEX_NONE; l = index_lane(&c->index, l)->next)
            site_lane_leave(s, l);
        d->site = NULL;
        s->dests--;
        site_release(s);
    }
    d->state = DEST_NEW;
}

void
dest_join(struct courier *c, uint32_t dest, struct site *s, uint32_t fresh)
{
    struct index_dest *d = index_dest(&c->index, dest);

    s->dests++;
    dest_leave(c, dest);
    d->site = s;
    d->state = DEST_ROUTED;
    d->fresh = fresh;
    d->parked = c->scopes->list &&
                scopes_match(c, index_dest_domain(d), NULL, STR_NONE, NULL, s->name) != NULL;
    dest_lanes(c, dest);
}

/* Asks or joins; its lanes follow. */
static void
dest_route(struct courier *c, uint32_t dest)
{
    struct index_dest *d = index_dest(&c->index, dest);
    struct dest_way way;
    struct site *s = NULL;

    if (d->state == DEST_ASKING)
        return;
    if (outs_full(c)) { /* what becomes of it could not be written down */
        dests_left(c);
        return;
    }
    dest_way(c, d, &way);
    if (way.reader) {
        s = site_reader(c);
    } else if (way.inside && !way.backup) {
        const struct settings_domain *in = way.inside->data;
        s = site_static(c, "inside", way.inside->label, &in->inside, NULL);
    } else if (way.route) {
        const struct settings_route *r = way.route->data;
        const struct str *via = r->via.items;
        if (r->via.n == 1 && str_eq(via[0], STR("mx"))) {
            dest_mx_ask(c, dest, &way);
            return;
        }
        s = site_static(c, "route", way.route->label, &r->via, r);
    } else {
        dest_mx_ask(c, dest, &way);
        return;
    }
    if (s)
        dest_join(c, dest, s, UINT32_MAX);
    else
        dests_left(c);
}

static bool
lane_parked(const struct courier *c, const struct index_dest *d, const struct index_lane *l)
{
    const struct site *s = d->site;

    if (c->delivery->hold || c->stopping || d->parked || s->kind == SITE_HOLD)
        return true;
    return c->sources.tenants[l->tenant].suspended > 0;
}

void
dest_lanes(struct courier *c, uint32_t dest)
{
    struct index_dest *d = index_dest(&c->index, dest);

    if (!d->site)
        return;
    for (uint32_t i = d->lanes; i != INDEX_NONE; i = index_lane(&c->index, i)->next) {
        const struct index_lane *l = index_lane(&c->index, i);
        if (l->n > 0 && !lane_parked(c, d, l))
            site_lane_join(d->site, i);
        else
            site_lane_leave(d->site, i);
    }
}

void
dest_lane_changed(void *courier, uint32_t lane, bool filled)
{
    struct courier *c = courier;
    struct index_lane *l = index_lane(&c->index, lane);
    struct index_dest *d = index_dest(&c->index, l->dest);

    if (!filled) {
        if (d->site)
            site_lane_leave(d->site, lane);
        return;
    }
    if (d->state == DEST_ROUTED && (d->fresh >= c->index.wheel.now || d->asking)) {
        if (!lane_parked(c, d, l))
            site_lane_join(d->site, lane);
        return;
    }
    if (d->state == DEST_ASKING || c->delivery->hold)
        return;
    if (d->site)
        dest_leave(c, l->dest);
    dest_route(c, l->dest);
}

/* It has work, and nobody knows where to. */
static bool
is_left(const struct courier *c, const struct index_dest *d)
{
    return d->ready > 0 && !d->site && d->state != DEST_ASKING && !c->delivery->hold;
}

/* A start or new settings bring more destinations than can be asked for at a time. They take turns:
 * having no turn yet is no failure of theirs. */
void
dests_left_run(void *ctx)
{
    struct courier *c = ctx;
    struct sites *all = c->sites;
    struct str key;
    void *value = NULL;

    if (c->stopping || c->freeing)
        return;
    if (all->left_at == 0)
        all->left = false;
    for (unsigned look = 0; look < SWEEP_LOOKS; look++) {
        size_t at = all->left_at;
        uint32_t i;
        value = map_next(&c->index.dest_names, &all->left_at, &key);
        if (!value)
            break;
        i = (uint32_t)(uintptr_t)value - 1;
        if (!is_left(c, index_dest(&c->index, i)))
            continue;
        dest_route(c, i);
        if (is_left(c, index_dest(&c->index, i))) { /* no room: it is the first next time */
            all->left_at = at;
            break;
        }
    }
    if (!value)
        all->left_at = 0;
    if (all->left || value)
        loop_timer_set(&all->left_timer, LEFT_AGAIN);
}

void
dests_left(struct courier *c)
{
    c->sites->left = true;
    if (c->sites->left_timer.due == 0)
        loop_timer_set(&c->sites->left_timer, LEFT_AGAIN);
}

static void
each_dest(struct courier *c, void (*fn)(struct courier *, uint32_t dest))
{
    struct str key;
    size_t at = 0;
    void *value;

    while ((value = map_next(&c->index.dest_names, &at, &key)) != NULL)
        fn(c, (uint32_t)(uintptr_t)value - 1);
}

static void
reroute_one(struct courier *c, uint32_t dest)
{
    struct index_dest *d = index_dest(&c->index, dest);

    dest_leave(c, dest);
    if (d->ready > 0 && !c->delivery->hold)
        dest_route(c, dest);
}

void
dests_reroute(struct courier *c)
{
    each_dest(c, reroute_one);
}

void
dests_forget(struct courier *c)
{
    if (c->sites)
        each_dest(c, dest_leave);
}

/* Who has work without a pause is never routed anew by the work that comes: its hosts may be others
 * by now. */
static bool
is_stale(const struct courier *c, const struct index_dest *d)
{
    const struct site *s = d->site;

    return d->ready > 0 && s && s->by_mx && d->fresh < c->index.wheel.now && !d->asking &&
           !c->delivery->hold && !c->stopping;
}

/* Drops what is idle among the next so many; true: there may be more of it right behind. */
static bool
sweep_some(struct courier *c, size_t *at)
{
    uint32_t now = courier_tick(c), victims[SWEEP_DROPS];
    struct str key;
    size_t n = 0;
    void *value = NULL;

    for (unsigned look = 0; look < SWEEP_LOOKS && n < ARRAY_LEN(victims); look++) {
        value = map_next(&c->index.dest_names, at, &key);
        if (!value)
            break;
        uint32_t i = (uint32_t)(uintptr_t)value - 1;
        const struct index_dest *d = index_dest(&c->index, i);
        if (is_stale(c, d))
            dest_route(c, i);
        else if (d->rows == 0 && d->lanes == INDEX_NONE && now > d->idle_since &&
                 now - d->idle_since > DEST_IDLE_TICKS)
            victims[n++] = i;
    }
    if (!value)
        *at = 0;
    for (size_t i = 0; i < n; i++) {
        dest_leave(c, victims[i]);
        index_dest_drop(&c->index, victims[i]);
    }
    return value && n == ARRAY_LEN(victims);
}

/* Mail for a million domains leaves a million destinations with their sites: they must go faster
 * than they come, and not in one go. */
void
dests_sweep(struct courier *c)
{
    uint64_t until = clock_mono() + SWEEP_SLICE;

    while (sweep_some(c, &c->sites->sweep_at) && clock_mono() < until)
        continue;
}

void
dest_why(const struct courier *c, const struct index_dest *d, char *dst, size_t cap)
{
    const struct scope *sc;
    const struct site *s = d->site;

    if (c->delivery->hold)
        str_fmt(dst, cap, "delivery.hold is on: everything waits until it is off");
    else if (d->parked && (sc = scopes_match(c, index_dest_domain(d), NULL, STR_NONE, NULL,
                                             s ? s->name : NULL)) != NULL)
        str_fmt(dst, cap, "suspended: %s", sc->reason);
    else if (d->state == DEST_ASKING)
        str_fmt(dst, cap, "asking DNS for the hosts of the domain");
    else if (is_left(c, d) && outs_full(c))
        str_fmt(dst, cap, "%s", OUTS_FULL_TEXT);
    else if (is_left(c, d))
        str_fmt(dst, cap, "its turn to be asked for in DNS: too many domains are asked for now");
    else if (d->state == DEST_FAILED)
        str_fmt(dst, cap, "%s", d->why ? d->why : "no host is known");
    else if (s && s->why[0])
        str_fmt(dst, cap, "%s", s->why);
    else if (s && s->kind == SITE_HOSTS && s->busy >= s->max_sessions)
        str_fmt(dst, cap, "all %llu connections to %s are busy",
                (unsigned long long)s->max_sessions, s->name);
    else
        str_fmt(dst, cap, "its turn at %s", s ? s->name : "a site");
}
