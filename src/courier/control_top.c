/*
 * courier/control_top.c - the numbers of `gapura top`: destinations at work, busiest first.
 *
 * Called by control.c. With filters only destinations are told for which mail like that waits,
 * found in the steps of control_walk.c.
 */
#include "courier/control.h"
#include "courier/outs.h"
#include "courier/site_way.h"

#define SITES_SHOWN 50u

struct top_count { /* of a site by its name: sites may go between two steps */
    uint64_t n;
    char name[];
};
struct top {
    struct map counts;
};
struct top_site {
    const struct site *s;
    const struct top_count *count;
    uint64_t weight;
};

static uint64_t
site_ready(const struct courier *c, const struct site *s)
{
    uint64_t n = 0;

    for (unsigned class = 0; class < SITE_CLASSES; class ++) {
        const struct share *first = s->classes[class], *sh = first;
        while (sh) {
            uint32_t at = sh->lanes;
            do {
                n += index_lane(&c->index, at)->n;
                at = index_lane(&c->index, at)->share_next;
            } while (at != sh->lanes);
            sh = sh->next == first ? NULL : sh->next;
        }
    }
    return n;
}

static void
top_line(struct control_call *call, const struct top_site *t)
{
    const struct site *s = t->s;
    uint64_t now = clock_mono(), blocked = site_blocked(s, now);

    control_text(call, "site", str_c(s->name));
    if (t->count)
        control_number(call, "recipients", t->count->n);
    control_number(call, "ready", site_ready(call->c, s));
    control_number(call, "sessions", s->sessions);
    control_number(call, "busy", s->busy);
    control_number(call, "domains", s->dests);
    control_number(call, "delivered", s->delivered);
    control_number(call, "deferred", s->deferred);
    control_number(call, "per_second", s->rate_delivered);
    if (blocked)
        control_number(call, "blocked_s", (blocked - now) / NS_PER_S + 1);
    if (s->why[0])
        control_text(call, "reason", str_c(s->why));
    control_line(call);
}

static int
top_compare(const void *a, const void *b)
{
    const struct top_site *x = a, *y = b;

    return (x->weight < y->weight) - (x->weight > y->weight);
}

/* Is there something that only the rows can tell? The name of a site is its own. */
static bool
asks_rows(const struct control_filter *f)
{
    return f->id.n || f->domain.n || f->tenant.n || f->sender.n || f->recipient.n || f->source.n ||
           f->state.n;
}

static void
top_tell(struct control_call *call)
{
    const struct top *top = call->own;
    struct courier *c = call->c;
    struct top_site *sites = calloc(c->sites->names.n + 1, sizeof *sites);
    struct str name;
    size_t at = 0, n = 0;
    struct site *s;

    while (sites && n < c->sites->names.n && (s = map_next(&c->sites->names, &at, &name)) != NULL) {
        const struct top_count *count = top ? map_get(&top->counts, str_c(s->name)) : NULL;
        if ((top && !count) || (call->f.site.n && str_find(str_c(s->name), call->f.site) < 0))
            continue;
        sites[n++] = (struct top_site){
            s, count, s->rate_delivered * 100 + site_ready(c, s) + s->sessions * 10};
    }
    if (n > 1)
        qsort(sites, n, sizeof *sites, top_compare);
    for (size_t i = 0; i < MIN(n, (size_t)SITES_SHOWN); i++)
        top_line(call, &sites[i]);
    free(sites);
    control_end(call, 0,
                "%sdelivered %llu/s, deferred %llu/s, bounced %llu/s, taken %llu/s; %u recipients "
                "of %u messages wait; index %zu bytes; %zu outcomes wait for the log",
                n == 0 && (top || call->f.site.n) ? "no destination has mail like that; " : "",
                (unsigned long long)c->load.rate_delivered,
                (unsigned long long)c->load.rate_deferred, (unsigned long long)c->load.rate_bounced,
                (unsigned long long)c->load.rate_taken, c->index.rows.count,
                c->index.messages.count, index_memory(&c->index), outs_waiting(c));
}

static bool
top_one(struct control_call *call, const struct walk_row *w)
{
    struct top *top = call->own;
    const struct index *ix = &call->c->index;
    const struct site *s = index_dest(ix, index_row(ix, w->row)->dest)->site;
    struct top_count *count;

    if (!s)
        return true;
    count = map_get(&top->counts, str_c(s->name));
    if (!count) {
        size_t n = strlen(s->name);
        count = calloc(1, sizeof *count + n + 1);
        if (!count)
            return false;
        memcpy(count->name, s->name, n);
        if (map_put(&top->counts, str_of(count->name, n), count) < 0) {
            free(count);
            return false;
        }
    }
    count->n++;
    return true;
}

static bool
top_step(struct control_call *call)
{
    if (!control_walk(call, false, top_one))
        return false;
    top_tell(call);
    return true;
}

static void
top_done(struct control_call *call)
{
    struct top *top = call->own;
    struct top_count *count;
    struct str name;
    size_t at = 0;

    while ((count = map_next(&top->counts, &at, &name)) != NULL)
        free(count);
    map_done(&top->counts);
    free(top);
}

void
control_top(struct control_call *call)
{
    struct top *top;

    if (!asks_rows(&call->f)) {
        top_tell(call);
        return;
    }
    top = calloc(1, sizeof *top);
    if (!top) {
        control_end(call, 1, "no memory for that now");
        return;
    }
    map_init(&top->counts, COURIER_MAX_ROWS, false);
    call->own = top;
    call->done = top_done;
    call->step = top_step;
}
