/*
 * courier/control_list.c - queue list, show and summary; the state of a row and its reason.
 *
 * Called by control.c, in steps: each looks at as many rows as fit into a turn of the loop.
 */
#include "courier/control.h"
#include "courier/session_sign.h"
#include "courier/site.h"
#include "courier/site_way.h"

const char *const control_states[] = {"ready",     "waiting", "aside", "active",
                                      "suspended", "held",    NULL};

/* What keeps the row from going, now or when its time has come. The letter may be NULL. */
static const struct scope *
scope_of(const struct courier *c, const struct index_row *r, const struct letter *l)
{
    const struct index_dest *d = index_dest(&c->index, r->dest);
    const struct tenant *t = &c->sources.tenants[index_message(&c->index, r->message)->tenant];
    const struct site *s = d->site;

    if (d->parked)
        return scopes_match(c, index_dest_domain(d), NULL, STR_NONE, NULL, s ? s->name : NULL);
    if (t->suspended)
        return scopes_match(c, STR_NONE, t->name, STR_NONE, NULL, NULL);
    if (l && c->scopes->by_sender)
        return scopes_match(c, STR_NONE, NULL, l->env.sender, NULL, NULL);
    return NULL;
}

const char *
control_state(const struct courier *c, const struct index_row *r, const struct letter *l)
{
    switch (r->state) {
    case ROW_READY:
        return scope_of(c, r, l) ? "suspended" : "ready";
    case ROW_WAITING:
        if (r->flags & ROW_ASIDE)
            return "aside";
        return scope_of(c, r, l) ? "suspended" : "waiting";
    case ROW_ACTIVE:
    case ROW_SETTLING:
        return "active";
    case ROW_SCOPED:
        return "suspended";
    default:
        return "held";
    }
}

uint64_t
control_site_opens(const struct courier *c, const struct index_dest *d,
                   const struct index_message *m)
{
    const struct site *s = d->site;
    uint64_t now = clock_mono(), until = 0;

    if (s && m)
        until = site_blocked_for(s, c->sources.tenants[m->tenant].number, now);
    else if (s)
        until = site_blocked(s, now);
    return until ? (courier_wall(c) + until - now) / NS_PER_S : 0;
}

static void
why_waiting(const struct courier *c, const struct index_dest *d, const struct index_row *r,
            char *dst, size_t cap)
{
    if (r->flags & ROW_ASIDE)
        str_fmt(dst, cap,
                "set aside: it failed, and nobody may be told; removed when its time is over");
    else if (index_message(&c->index, r->message)->unsigned_yet)
        str_fmt(dst, cap, "%s", sign_wait_text(index_message(&c->index, r->message)->unsigned_yet));
    else if (r->attempts)
        str_fmt(dst, cap, "next attempt after: %s",
                d->why ? d->why : "a failure that only the log has now, see `gapura explain`");
    else
        str_fmt(dst, cap, "the sender asked for a later time");
}

void
control_why(const struct courier *c, const struct index_row *r, const struct letter *l, char *dst,
            size_t cap)
{
    const struct index_dest *d = index_dest(&c->index, r->dest);
    const struct scope *sc = NULL;

    if (r->state == ROW_READY || r->state == ROW_SCOPED ||
        (r->state == ROW_WAITING && !(r->flags & ROW_ASIDE)))
        sc = scope_of(c, r, l);
    if (sc) {
        str_fmt(dst, cap, "suspended: %s", sc->reason);
        return;
    }
    switch (r->state) {
    case ROW_READY:
        dest_why(c, d, dst, cap);
        break;
    case ROW_WAITING:
        why_waiting(c, d, r, dst, cap);
        break;
    case ROW_ACTIVE:
        str_fmt(dst, cap, "a connection has it");
        break;
    case ROW_SETTLING:
        str_fmt(dst, cap, "done; its outcome is being written");
        break;
    case ROW_SCOPED:
        str_fmt(dst, cap, "suspended: by its sender");
        break;
    default:
        str_fmt(dst, cap, "%s", reasons_text(&c->reasons, r->due));
        break;
    }
}

static void
row_line(struct control_call *call, const struct walk_row *w)
{
    struct courier *c = call->c;
    const struct index_row *r = index_row(&c->index, w->row);
    const struct index_message *m = index_message(&c->index, w->message);
    const struct index_dest *d = index_dest(&c->index, r->dest);
    const struct site *s = d->site;
    struct spool_id id = courier_id(c, m);
    uint64_t now = courier_wall(c) / NS_PER_S, opens = control_site_opens(c, d, m);
    char text[SPOOL_ID_TEXT], why[512];

    control_text(call, "id", str_c(spool_id_show(&id, text)));
    control_number(call, "ordinal", r->ordinal);
    control_number(call, "age_s", now > m->received ? now - m->received : 0);
    if (w->letter) {
        control_number(call, "size", w->letter->env.size);
        control_text(call, "sender", w->letter->env.sender);
        control_text(call, "recipient", w->rcpt.address);
    }
    control_text(call, "domain", index_dest_domain(d));
    if (s)
        control_text(call, "site", str_c(s->name));
    control_text(call, "tenant", str_c(c->sources.tenants[m->tenant].name));
    control_text(call, "state", str_c(control_state(c, r, w->letter)));
    control_number(call, "attempts", r->attempts);
    if (r->state == ROW_WAITING)
        control_number(call, "next", courier_tick_wall(c, r->due) / NS_PER_S);
    else if (r->state == ROW_READY && opens && !scope_of(c, r, w->letter))
        control_number(call, "next", opens);
    control_why(c, r, w->letter, why, sizeof why);
    control_text(call, "reason", str_c(why));
    control_line(call);
}

static bool
list_one(struct control_call *call, const struct walk_row *w)
{
    row_line(call, w);
    return --call->f.limit > 0;
}

static bool
list_step(struct control_call *call)
{
    uint64_t n;

    if (!control_walk(call, true, list_one))
        return false;
    n = call->walk.n;
    if (n == 0)
        control_end(call, 0, "nothing that waits is like that");
    else if (call->f.limit == 0 && call->walk.at < call->walk.to)
        control_end(call, 0, "%llu lines; there may be more: --limit", (unsigned long long)n);
    else
        control_end(call, 0, "%s", "");
    return true;
}

void
control_list(struct control_call *call)
{
    call->step = list_step;
}

static bool
show_step(struct control_call *call)
{
    if (!control_walk(call, true, list_one))
        return false;
    if (call->walk.n == 0)
        control_end(call, 1, "no message of that id waits; `gapura explain` looks in the log too");
    else
        control_end(call, 0, "%s", "");
    return true;
}

void
control_show(struct control_call *call)
{
    call->f.limit = UINT64_MAX;
    if (call->f.id.n)
        call->step = show_step;
    else
        control_end(call, 2, "show what? Name the id of a message; `gapura queue list` shows them");
}

/* --- summary --- */

struct summary {
    uint64_t rows[8], suspended, oldest, next;
};
struct summaries {
    size_t n;
    struct summary by_dest[];
};

static bool
summary_one(struct control_call *call, const struct walk_row *w)
{
    struct courier *c = call->c;
    struct summaries *all = call->own;
    const struct index_row *r = index_row(&c->index, w->row);
    const struct index_message *m = index_message(&c->index, w->message);
    struct summary *s;

    if (r->dest >= all->n) /* a destination that came while this ran */
        return true;
    s = &all->by_dest[r->dest];
    if (str_eq(str_c(control_state(c, r, w->letter)), STR("suspended")))
        s->suspended++;
    else
        s->rows[r->state]++;
    if (!s->oldest || m->received < s->oldest)
        s->oldest = m->received;
    if (r->state == ROW_WAITING && (!s->next || r->due < s->next))
        s->next = r->due;
    return true;
}

static void
summary_reason(struct control_call *call, const struct index_dest *d, const struct summary *s)
{
    const struct site *site = d->site;
    const struct scope *sc = NULL;
    char why[512];

    if (s->suspended && d->parked)
        sc = scopes_match(call->c, index_dest_domain(d), NULL, STR_NONE, NULL,
                          site ? site->name : NULL);
    if (s->suspended) {
        str_fmt(why, sizeof why, "suspended: %s", sc ? sc->reason : "see `gapura suspensions`");
        control_text(call, "reason", str_c(why));
    } else if (s->rows[ROW_READY]) {
        dest_why(call->c, d, why, sizeof why);
        control_text(call, "reason", str_c(why));
    } else if (d->why && s->rows[ROW_WAITING]) {
        control_text(call, "reason", str_c(d->why));
    } else if (s->rows[ROW_WAITING]) {
        control_text(call, "reason", STR("its time; `gapura queue list` says why of each"));
    }
}

static void
summary_line(struct control_call *call, uint32_t dest, const struct summary *s)
{
    struct courier *c = call->c;
    const struct index_dest *d = index_dest(&c->index, dest);
    const struct site *site = d->site;
    uint64_t total = s->suspended, now = courier_wall(c) / NS_PER_S;
    uint64_t next = s->next ? courier_tick_wall(c, (uint32_t)s->next) / NS_PER_S : 0;
    uint64_t opens = control_site_opens(c, d, NULL);

    for (int i = 0; i < 8; i++)
        total += s->rows[i];
    if (total == 0)
        return;
    if (site)
        control_text(call, "site", str_c(site->name));
    control_text(call, "domain", index_dest_domain(d));
    control_number(call, "recipients", total);
    control_number(call, "waiting", s->rows[ROW_WAITING]);
    control_number(call, "ready", s->rows[ROW_READY]);
    control_number(call, "active", s->rows[ROW_ACTIVE]);
    control_number(call, "suspended", s->suspended);
    control_number(call, "held", s->rows[ROW_HELD]);
    control_number(call, "oldest_s", now > s->oldest ? now - s->oldest : 0);
    if (s->rows[ROW_READY] && opens && (!next || opens < next))
        next = opens;
    if (next)
        control_number(call, "next", next);
    summary_reason(call, d, s);
    control_line(call);
}

static bool
summary_step(struct control_call *call)
{
    struct courier *c = call->c;
    struct summaries *all = call->own;
    struct str name;
    size_t at = 0;
    void *value;

    if (!control_walk(call, c->scopes->by_sender, summary_one))
        return false;
    /* Only destinations that are still there: a number may be free by now. */
    while ((value = map_next(&c->index.dest_names, &at, &name)) != NULL) {
        uint32_t dest = (uint32_t)(uintptr_t)value - 1;
        if (dest < all->n)
            summary_line(call, dest, &all->by_dest[dest]);
    }
    control_end(call, 0, "%s", call->walk.n ? "" : "nothing waits");
    return true;
}

static void
summary_done(struct control_call *call)
{
    free(call->own);
}

void
control_summary(struct control_call *call)
{
    size_t n = call->c->index.dests.next;
    struct summaries *all = calloc(1, sizeof *all + n * sizeof all->by_dest[0]);

    if (!all) {
        control_end(call, 1, "no memory for a summary of %zu destinations", n);
        return;
    }
    all->n = n;
    call->own = all;
    call->done = summary_done;
    call->step = summary_step;
}
