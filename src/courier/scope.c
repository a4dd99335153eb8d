/*
 * courier/scope.c - suspensions in force: recorded in our own stream, applied to the index.
 *
 * Called by control (made and ended by people), intake (read back) and the second's tick (ends).
 * The segment with a suspension's record is kept as long as it is in force.
 */
#include "courier/scope.h"

#include "core/event.h"
#include "courier/age.h"
#include "courier/outs.h"
#include "courier/own.h"
#include "courier/purge.h"
#include "courier/site.h"
#include "courier/unseen.h"

#define SCOPES_MAX 10000u

struct scopes *
scopes_create(void)
{
    return calloc(1, sizeof(struct scopes));
}

static void
scope_free(struct scope *s)
{
    free(s->domain);
    free(s->tenant);
    free(s->sender);
    free(s->source);
    free(s->provider);
    free(s->reason);
    free(s->by);
    free(s);
}

void
scopes_free(struct scopes *all)
{
    struct scope *s;

    if (!all)
        return;
    while ((s = all->list) != NULL) {
        all->list = s->next;
        scope_free(s);
    }
    free(all);
}

static char *
copy_lower(struct str s)
{
    char *p = str_dup(s);

    if (p)
        str_lower(p, s.n);
    return p;
}

static struct scope *
scope_add(struct courier *c, const struct spool_scope *from, uint32_t slot)
{
    struct scopes *all = c->scopes;
    struct scope *s = all->n < SCOPES_MAX ? calloc(1, sizeof *s) : NULL;

    if (!s)
        return NULL;
    s->id = from->scope;
    s->made = from->made;
    s->until = from->until;
    s->domain = copy_lower(from->domain);
    s->tenant = str_dup(from->tenant);
    s->sender = copy_lower(from->sender);
    s->source = str_dup(from->source);
    s->provider = copy_lower(from->provider);
    s->reason = str_dup(from->reason);
    s->by = str_dup(from->by);
    s->slot = slot;
    s->end_slot = SEGMENT_NONE;
    if (!s->domain || !s->tenant || !s->sender || !s->source || !s->provider || !s->reason ||
        !s->by) {
        scope_free(s);
        return NULL;
    }
    s->next = all->list;
    all->list = s;
    all->n++;
    if (slot != SEGMENT_NONE)
        segments_hold(&c->segments, slot, 0);
    return s;
}

static void
scope_drop(struct courier *c, struct scope *s)
{
    struct scope **at = &c->scopes->list;

    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    c->scopes->n--;
    if (s->slot != SEGMENT_NONE)
        segments_release(&c->segments, s->slot, 0);
    if (s->end_slot != SEGMENT_NONE)
        segments_unpin(&c->segments, s->end_slot);
    scope_free(s);
}

static struct scope *
scope_by_id(const struct courier *c, const struct spool_id *id)
{
    struct scope *s = c->scopes->list;

    while (s && !spool_id_eq(&s->id, id))
        s = s->next;
    return s;
}

void
scopes_record(struct courier *c, uint32_t slot, const struct spool_record *r)
{
    struct spool_scope rec;
    struct scope *s;

    if (spool_scope_decode(r, &rec) < 0)
        return;
    s = scope_by_id(c, &rec.scope);
    if (rec.verb == SPOOL_RESUME) {
        if (s) {
            if (s->slot != SEGMENT_NONE) /* the end must last as long as the beginning */
                segments_refer(&c->segments, slot, s->slot);
            scope_drop(c, s);
        } else if (unseen_any(c)) {
            segments_pin(&c->segments, slot); /* what it ends may be there */
        }
        return;
    }
    if (rec.verb == SPOOL_PURGE)
        purge_record(c, slot, &rec);
    if (rec.verb != SPOOL_SUSPEND)
        return;
    if (s) { /* written again by compaction: the later one counts */
        if (s->slot != SEGMENT_NONE) {
            segments_refer(&c->segments, slot, s->slot);
            segments_release(&c->segments, s->slot, 0);
        }
        s->slot = slot;
        segments_hold(&c->segments, slot, 0);
        return;
    }
    if (!scope_add(c, &rec, slot))
        event_alarm("a suspension (%.*s) was read and cannot be kept: memory or the limit of %u; "
                    "mail that it held may go",
                    STR_ARG(rec.reason), SCOPES_MAX);
}

static bool
word_is(const char *want, struct str got)
{
    return want[0] == '\0' || str_ieq(str_c(want), got);
}

/* "example.org" is the domain alone, ".example.org" everything below it. */
static bool
domain_is(const char *want, struct str got)
{
    if (want[0] == '.')
        return str_iends(got, str_c(want));
    return word_is(want, got);
}

static bool
provider_is(const char *want, struct str site)
{
    return want[0] == '\0' || str_find(site, str_c(want)) >= 0;
}

static bool
sender_is(const char *want, struct str sender)
{
    if (want[0] == '@')
        return str_iends(sender, str_c(want));
    return word_is(want, sender);
}

static bool
scope_is_all(const struct scope *s)
{
    return !s->domain[0] && !s->tenant[0] && !s->sender[0] && !s->source[0] && !s->provider[0];
}

/* A scope has one field, or none and holds everything. */
const struct scope *
scopes_match(const struct courier *c, struct str domain, const char *tenant, struct str sender,
             const char *source, const char *site)
{
    uint64_t now = courier_wall(c);

    for (const struct scope *s = c->scopes->list; s; s = s->next) {
        if (s->ended || (s->until && s->until <= now))
            continue;
        if (domain.p && (scope_is_all(s) || (s->domain[0] && domain_is(s->domain, domain))))
            return s;
        if (tenant && s->tenant[0] && word_is(s->tenant, str_c(tenant)))
            return s;
        if (sender.p && s->sender[0] && sender_is(s->sender, sender))
            return s;
        if (source && s->source[0] && word_is(s->source, str_c(source)))
            return s;
        if (site && s->provider[0] && provider_is(s->provider, str_c(site)))
            return s;
    }
    return NULL;
}

static void
apply_dest(struct courier *c, uint32_t dest)
{
    struct index_dest *d = index_dest(&c->index, dest);
    const struct site *s = d->site;

    d->parked =
        scopes_match(c, index_dest_domain(d), NULL, STR_NONE, NULL, s ? s->name : NULL) != NULL;
    dest_lanes(c, dest);
}

static void
wake_scoped(struct courier *c)
{
    for (uint32_t i = 0; i < c->index.rows.next && c->index.count[ROW_SCOPED] > 0; i++) {
        if (index_row(&c->index, i)->state == ROW_SCOPED)
            index_ready(&c->index, i);
    }
}

void
scopes_apply(struct courier *c)
{
    struct str key;
    size_t at = 0;
    void *value;

    c->scopes->by_sender = false;
    for (const struct scope *s = c->scopes->list; s; s = s->next)
        c->scopes->by_sender = c->scopes->by_sender || s->sender[0];
    for (size_t i = 0; i < c->sources.ntenants; i++)
        c->sources.tenants[i].suspended =
            scopes_match(c, STR_NONE, c->sources.tenants[i].name, STR_NONE, NULL, NULL) != NULL;
    for (size_t i = 0; i < c->sources.n; i++)
        c->sources.items[i].suspended =
            scopes_match(c, STR_NONE, NULL, STR_NONE, c->sources.items[i].name, NULL) != NULL;
    while ((value = map_next(&c->index.dest_names, &at, &key)) != NULL)
        apply_dest(c, (uint32_t)(uintptr_t)value - 1);
    at = 0;
    while ((value = map_next(&c->sites->names, &at, &key)) != NULL)
        site_queue(value);
    if (!c->scopes->by_sender || c->index.count[ROW_SCOPED] > 0)
        wake_scoped(c);
}

void
scopes_settle(struct courier *c)
{
    scopes_apply(c);
}

void
scopes_tick(struct courier *c)
{
    uint64_t now = courier_wall(c);
    struct scope *s = c->scopes->list, *next;
    bool changed = false;

    purges_tick(c);
    for (; s; s = next) {
        next = s->next;
        if (!s->until || s->until > now || s->ended)
            continue;
        event_notice("a suspension is over by its time: %s", s->reason);
        scope_drop(c, s); /* its end is in its record: none is written */
        changed = true;
    }
    if (changed)
        scopes_apply(c);
}

/* Its end is on disk and nothing of its beginning is under way: wherever that came to rest, the end
 * is kept as long. */
static void
scope_end(struct courier *c, struct scope *s)
{
    if (!s->ended || s->end_slot == SEGMENT_NONE || s->writing > 0)
        return;
    if (s->slot != SEGMENT_NONE)
        segments_refer(&c->segments, s->end_slot, s->slot);
    scope_drop(c, s);
}

static struct scope *
scope_of(const struct out *o)
{
    return scope_by_id(o->c, &(struct spool_id){o->c->links.node, o->epoch, o->seq});
}

/* The beginning is on disk: the scope moves to its segment. */
static void
scope_durable(struct out *o, int status)
{
    struct courier *c = o->c;
    uint32_t own = status == 0 ? own_segment(c, &o->o.loc, o->o.generation) : SEGMENT_NONE;
    struct scope *s = scope_of(o);

    if (own != SEGMENT_NONE && o->number != SEGMENT_NONE)
        segments_refer(&c->segments, own, (uint32_t)o->number);
    if (s) {
        s->writing--;
        s->moving = false;
    }
    if (s && own != SEGMENT_NONE) {
        segments_hold(&c->segments, own, 0);
        if (s->slot != SEGMENT_NONE)
            segments_release(&c->segments, s->slot, 0);
        s->slot = own;
    }
    if (s)
        scope_end(c, s);
    out_give(o);
}

static void
resume_durable(struct out *o, int status)
{
    struct courier *c = o->c;
    uint32_t own = status == 0 ? own_segment(c, &o->o.loc, o->o.generation) : SEGMENT_NONE;
    struct scope *s = scope_of(o);

    if (own != SEGMENT_NONE && o->number != SEGMENT_NONE)
        segments_refer(&c->segments, own, (uint32_t)o->number);
    if (s && own != SEGMENT_NONE) {
        s->end_slot = own;
        segments_pin(&c->segments, own);
        scope_end(c, s);
    }
    out_give(o);
}

/* A move does not wait for the log: it would stand behind an end that was written meanwhile. */
static int
scope_write(struct courier *c, const struct spool_scope *rec, uint32_t refers)
{
    struct out *o = out_take(c, SPOOL_SCOPE);
    struct spool_scope told = *rec;
    int err;

    if (!o)
        return ERR_NOMEM;
    told.until = age_clock(c, rec->until);
    spool_scope_encode(&o->payload, &told);
    o->epoch = rec->scope.epoch;
    o->seq = rec->scope.seq;
    o->number = refers;
    o->durable = rec->verb == SPOOL_RESUME ? resume_durable : scope_durable;
    o->can_wait = rec->verb == SPOOL_RESUME || refers == SEGMENT_NONE;
    err = out_add(o);
    if (err < 0)
        out_give(o);
    return err;
}

int
scopes_suspend(struct courier *c, const struct spool_scope *from, char ret_id[SPOOL_ID_TEXT])
{
    struct spool_scope rec = *from;
    struct scope *s;
    int err;

    rec.verb = SPOOL_SUSPEND;
    rec.forever = 1;
    rec.made = courier_wall(c);
    rec.scope = (struct spool_id){c->links.node, c->own_epoch, spool_writer_seq(c->links.writer)};
    s = scope_add(c, &rec, SEGMENT_NONE);
    if (!s)
        return ERR_LIMIT;
    err = scope_write(c, &rec, SEGMENT_NONE);
    if (err < 0) {
        scope_drop(c, s);
        return err;
    }
    s->writing++;
    spool_id_show(&rec.scope, ret_id);
    scopes_apply(c);
    return 0;
}

void
scopes_move(struct courier *c, uint32_t slot)
{
    for (struct scope *s = c->scopes->list; s; s = s->next) {
        struct spool_scope rec = {
            .scope = s->id,
            .verb = SPOOL_SUSPEND,
            .forever = 1,
            .made = s->made,
            .until = s->until,
            .domain = str_c(s->domain),
            .tenant = str_c(s->tenant),
            .sender = str_c(s->sender),
            .source = str_c(s->source),
            .provider = str_c(s->provider),
            .reason = str_c(s->reason),
            .by = str_c(s->by),
        };
        if (s->slot != slot || s->ended || s->moving)
            continue;
        s->moving = scope_write(c, &rec, slot) == 0;
        s->writing += s->moving;
    }
}

static bool
field_same(const char *have, struct str want)
{
    return want.n == 0 || str_ieq(str_c(have), want);
}

unsigned
scopes_resume(struct courier *c, const struct spool_scope *by, struct str id)
{
    char text[SPOOL_ID_TEXT];
    unsigned n = 0;

    for (struct scope *s = c->scopes->list; s; s = s->next) {
        struct spool_scope rec = *by;
        if (s->ended || (id.n && !str_eq(str_c(spool_id_show(&s->id, text)), id)))
            continue;
        if (!field_same(s->domain, by->domain) || !field_same(s->tenant, by->tenant) ||
            !field_same(s->sender, by->sender) || !field_same(s->source, by->source) ||
            !field_same(s->provider, by->provider))
            continue;
        rec.verb = SPOOL_RESUME;
        rec.scope = s->id;
        rec.made = courier_wall(c);
        if (scope_write(c, &rec, s->slot) < 0)
            continue;
        s->ended = true;
        n++;
    }
    if (n > 0)
        scopes_apply(c);
    return n;
}
