/*
 * policy/record.c - decision records: made from judgements, encoded, decoded.
 *
 * Called by the gate (make, encode) and by explain (decode). Never trusts the bytes it decodes.
 */
#include "policy/record.h"

#include "core/err.h"
#include "core/wire.h"

#define RECORD_FLAG_SPF 1u

#define NAME_MAX_ 64u /* bytes of a check, finding, group, profile or list */

/* ---- from judgements ---- */

struct making {
    struct record *record;
    struct arena *arena;
    const struct finding **findings; /* those with a number */
    size_t texts;                    /* bytes of them so far */
};

/* At most n bytes, no character cut in two. */
static struct str
cut(struct str s, size_t n)
{
    if (s.n <= n)
        return s;
    while (n && ((unsigned char)s.p[n] & 0xc0) == 0x80)
        n--;
    return str_of(s.p, n);
}

static struct str
take_text(struct making *m, struct str s)
{
    struct str text = cut(s, RECORD_TEXT_MAX);

    if (m->texts + text.n > RECORD_TEXTS_MAX)
        return STR_NONE;
    m->texts += text.n;
    return text;
}

/* RECORD_REST: there is no room for it. */
static uint8_t
finding_number(struct making *m, const struct finding *f)
{
    struct record *r = m->record;
    struct record_finding *row;

    for (unsigned i = 0; i < r->nfindings; i++) {
        if (m->findings[i] == f)
            return (uint8_t)i;
    }
    if (r->nfindings == RECORD_FINDINGS_MAX)
        return RECORD_REST;
    row = &r->findings[r->nfindings];
    m->findings[r->nfindings] = f;
    *row = (struct record_finding){.check = cut(str_c(f->check), NAME_MAX_),
                                   .name = cut(str_c(f->name), NAME_MAX_),
                                   .stage = f->stage,
                                   .action = f->action,
                                   .observed = f->observed};
    row->input = take_text(m, f->input);
    row->rule = take_text(m, f->rule);
    row->list = cut(take_text(m, f->list), NAME_MAX_);
    return (uint8_t)r->nfindings++;
}

static uint8_t
group_number(struct making *m, struct str name)
{
    struct record *r = m->record;

    name = cut(name, NAME_MAX_);
    for (unsigned i = 0; i < r->ngroups; i++) {
        if (str_eq(r->groups[i], name))
            return (uint8_t)i;
    }
    if (!name.n || r->ngroups == RECORD_GROUPS_MAX)
        return RECORD_NO_GROUP;
    r->groups[r->ngroups] = name;
    return (uint8_t)r->ngroups++;
}

/* Its weight counts whatever there is room for. */
static void
make_line(struct making *m, struct record_verdict *v, const struct judged_line *from)
{
    struct record_line line = {
        .finding = from->finding ? finding_number(m, from->finding) : RECORD_CEILING,
        .group = group_number(m, from->group),
        .observed = from->observed,
        .weight = from->weight,
    };

    v->would_total += line.weight;
    if (!line.observed)
        v->total += line.weight;
    if (line.finding != RECORD_REST && v->nlines < RECORD_LINES_MAX - 2) {
        v->lines[v->nlines++] = line;
        return;
    }
    line.finding = RECORD_REST; /* two places are kept for these: one counts, one is observed */
    line.group = RECORD_NO_GROUP;
    for (unsigned i = v->nlines; i-- > 0 && v->lines[i].finding == RECORD_REST;) {
        if (v->lines[i].observed == line.observed) {
            v->lines[i].weight += line.weight;
            return;
        }
    }
    v->lines[v->nlines++] = line;
}

static uint8_t
make_by(struct making *m, const struct finding *by)
{
    if (!by)
        return RECORD_BY_SUM;
    if (by == &verdict_no_room)
        return RECORD_BY_NO_ROOM;
    return finding_number(m, by); /* RECORD_REST is the same number as RECORD_BY_NO_ROOM */
}

static int
make_verdict(struct making *m, const struct judgement *j)
{
    struct record_verdict *v = &m->record->verdicts[m->record->nverdicts];
    unsigned room = MIN(j->n, RECORD_LINES_MAX) + 2;

    v->lines = ARENA_ARRAY(m->arena, struct record_line, room);
    if (!v->lines)
        return ERR_NOMEM;
    for (unsigned i = 0; i < VERDICT_ACTIONS_; i++)
        v->thresholds[i] = j->profile ? j->profile->thresholds[i] : CONF_POINTS_NONE;
    if (j->profile) {
        v->profile = cut(j->profile->name, NAME_MAX_);
        v->digest = j->profile->digest;
        v->observe = j->profile->observe;
    }
    v->action = j->action;
    v->applied = j->applied;
    v->would = j->would;
    v->missed = (uint16_t)MIN(j->missed, (unsigned)UINT16_MAX);
    for (unsigned i = 0; i < j->n; i++)
        make_line(m, v, &j->lines[i]);
    v->by = make_by(m, j->by);
    v->would_by = make_by(m, j->would_by);
    m->record->nverdicts++;
    return 0;
}

int
record_make(struct record *ret, struct arena *arena, uint64_t settings,
            const struct judgement *judgements, size_t n, const uint8_t *of, uint32_t nof)
{
    struct record r = {.settings = settings,
                       .of = of,
                       .nof = of ? MIN(nof, RECORD_RCPTS_MAX) : 0,
                       .untold = n > RECORD_VERDICTS_MAX || (of && nof > RECORD_RCPTS_MAX)};
    struct making m = {.record = &r, .arena = arena};
    size_t lines = 0; /* no more findings and groups than these */
    int rc = 0;

    for (size_t i = 0; i < n; i++)
        lines += judgements[i].n + 2u; /* and those that decided */
    for (uint32_t i = 0; i < r.nof; i++)
        r.untold |= of[i] == RECORD_NOT_TOLD;
    r.groups = ARENA_ARRAY(arena, struct str, MIN(lines, (size_t)RECORD_GROUPS_MAX));
    r.findings = ARENA_ARRAY(arena, struct record_finding, MIN(lines, (size_t)RECORD_FINDINGS_MAX));
    r.verdicts = ARENA_ARRAY(arena, struct record_verdict, MIN(n + 1, (size_t)RECORD_VERDICTS_MAX));
    m.findings =
        ARENA_ARRAY(arena, const struct finding *, MIN(lines, (size_t)RECORD_FINDINGS_MAX));
    if (!r.groups || !r.findings || !r.verdicts || !m.findings)
        return ERR_NOMEM;
    for (size_t i = 0; i < MIN(n, (size_t)RECORD_VERDICTS_MAX) && rc == 0; i++)
        rc = make_verdict(&m, &judgements[i]);
    if (rc == 0)
        *ret = r;
    return rc;
}

/* ---- bytes ---- */

static void
put_str8(struct buf *b, struct str s)
{
    s = cut(s, 255);
    put_u8(b, (uint8_t)s.n);
    buf_str(b, s);
}

static void
put_verdict(struct buf *out, const struct record_verdict *v)
{
    put_str8(out, v->profile);
    put_u32(out, v->digest);
    put_u8(out, v->observe);
    put_u8(out, v->action);
    put_u8(out, v->applied);
    put_u8(out, v->would);
    put_u8(out, v->by);
    put_u8(out, v->would_by);
    put_u16(out, v->missed);
    for (unsigned i = VERDICT_TAG; i < VERDICT_ACTIONS_; i++)
        put_u32(out, v->thresholds[i] == CONF_POINTS_NONE ? INT32_MAX : (uint32_t)v->thresholds[i]);
    put_u8(out, (uint8_t)v->nlines);
    for (unsigned i = 0; i < v->nlines; i++) {
        put_u8(out, v->lines[i].finding);
        put_u8(out, v->lines[i].group);
        put_u8(out, v->lines[i].observed);
        put_u32(out, (uint32_t)v->lines[i].weight);
    }
}

void
record_encode(struct buf *out, const struct record *r)
{
    put_u8(out, RECORD_VERSION);
    put_u8(out, r->nspf ? RECORD_FLAG_SPF : 0);
    put_u64(out, r->settings);
    put_u8(out, (uint8_t)r->ngroups);
    for (unsigned i = 0; i < r->ngroups; i++)
        put_str8(out, r->groups[i]);
    put_u8(out, (uint8_t)r->nfindings);
    for (unsigned i = 0; i < r->nfindings; i++) {
        const struct record_finding *f = &r->findings[i];

        put_str8(out, f->check);
        put_str8(out, f->name);
        put_str8(out, f->input);
        put_str8(out, f->rule);
        put_str8(out, f->list);
        put_u8(out, f->stage);
        put_u8(out, f->action);
        put_u8(out, f->observed);
    }
    put_u8(out, (uint8_t)r->nverdicts);
    for (unsigned i = 0; i < r->nverdicts; i++)
        put_verdict(out, &r->verdicts[i]);
    put_u32(out, r->nof);
    if (r->nof)
        buf_add(out, r->of, r->nof);
    if (r->nspf)
        record_spf_encode(out, r->spf, r->nspf);
}

static struct str
get_str8(struct wire *w)
{
    return wire_bytes(w, wire_u8(w));
}

/* 0 or 1; all else is no record of ours. */
static bool
get_flag(struct wire *w)
{
    uint8_t v = wire_u8(w);

    w->failed |= v > 1;
    return v;
}

static uint8_t
get_action(struct wire *w)
{
    uint8_t v = wire_u8(w);

    w->failed |= v >= VERDICT_ACTIONS_;
    return v;
}

/* A number below n, or at least `special`. */
static uint8_t
get_number(struct wire *w, unsigned n, unsigned special)
{
    uint8_t v = wire_u8(w);

    w->failed |= v >= n && v < special;
    return v;
}

static void
get_finding(struct wire *w, struct record_finding *f)
{
    f->check = get_str8(w);
    f->name = get_str8(w);
    f->input = get_str8(w);
    f->rule = get_str8(w);
    f->list = get_str8(w);
    f->stage = wire_u8(w);
    f->action = get_action(w);
    f->observed = get_flag(w);
}

static void
get_line(struct wire *w, const struct record *r, struct record_verdict *v)
{
    struct record_line *line = &v->lines[v->nlines++];

    line->finding = get_number(w, r->nfindings, RECORD_REST);
    line->group = get_number(w, r->ngroups, RECORD_NO_GROUP);
    line->observed = get_flag(w);
    line->weight = (int32_t)wire_u32(w);
    v->would_total += line->weight;
    if (!line->observed)
        v->total += line->weight;
}

static int
get_verdict(struct wire *w, struct arena *arena, const struct record *r, struct record_verdict *v)
{
    unsigned nlines;

    v->profile = get_str8(w);
    v->digest = wire_u32(w);
    v->observe = get_flag(w);
    v->action = get_action(w);
    v->applied = get_action(w);
    v->would = get_action(w);
    v->by = get_number(w, r->nfindings, RECORD_BY_NO_ROOM);
    v->would_by = get_number(w, r->nfindings, RECORD_BY_NO_ROOM);
    v->missed = wire_u16(w);
    v->thresholds[VERDICT_PASS] = CONF_POINTS_NONE;
    for (unsigned i = VERDICT_TAG; i < VERDICT_ACTIONS_; i++) {
        int32_t value = (int32_t)wire_u32(w);

        v->thresholds[i] = value == INT32_MAX ? CONF_POINTS_NONE : value;
    }
    nlines = wire_u8(w);
    if (w->failed || nlines > wire_left(w) / 7)
        return ERR_CORRUPT;
    v->lines = ARENA_ARRAY(arena, struct record_line, nlines + 1);
    if (!v->lines)
        return ERR_NOMEM;
    while (v->nlines < nlines)
        get_line(w, r, v);
    return w->failed ? ERR_CORRUPT : 0;
}

static int
get_lists(struct wire *w, struct arena *arena, struct record *r)
{
    int rc = 0;

    r->ngroups = wire_u8(w);
    r->groups = ARENA_ARRAY(arena, struct str, r->ngroups + 1);
    for (unsigned i = 0; r->groups && i < r->ngroups; i++)
        r->groups[i] = get_str8(w);
    r->nfindings = wire_u8(w);
    r->findings = ARENA_ARRAY(arena, struct record_finding, r->nfindings + 1);
    for (unsigned i = 0; r->findings && i < r->nfindings; i++)
        get_finding(w, &r->findings[i]);
    r->nverdicts = wire_u8(w);
    r->verdicts = ARENA_ARRAY(arena, struct record_verdict, r->nverdicts + 1);
    if (!r->groups || !r->findings || !r->verdicts)
        return ERR_NOMEM;
    if (w->failed || r->nfindings > RECORD_REST || r->nverdicts > RECORD_VERDICTS_MAX)
        return ERR_CORRUPT;
    for (unsigned i = 0; i < r->nverdicts && rc == 0; i++)
        rc = get_verdict(w, arena, r, &r->verdicts[i]);
    return rc;
}

int
record_decode(struct record *ret, struct arena *arena, struct str bytes)
{
    struct record r = {0};
    struct wire w;
    uint8_t flags;
    int rc;

    if (bytes.n > RECORD_MAX)
        return ERR_CORRUPT;
    wire_init(&w, bytes.p, bytes.n);
    if (wire_u8(&w) != RECORD_VERSION || (flags = wire_u8(&w)) > RECORD_FLAG_SPF)
        return w.failed ? ERR_CORRUPT : ERR_VERSION;
    r.settings = wire_u64(&w);
    rc = get_lists(&w, arena, &r);
    if (rc < 0)
        return rc;
    r.nof = wire_u32(&w);
    r.of = (const uint8_t *)wire_bytes(&w, r.nof).p;
    if (flags & RECORD_FLAG_SPF) {
        rc = record_spf_decode(&w, arena, r.spf, &r.nspf);
        if (rc < 0)
            return rc;
    }
    if (!wire_end(&w))
        return ERR_CORRUPT;
    for (uint32_t i = 0; i < r.nof; i++) {
        if (r.of[i] >= r.nverdicts && r.of[i] != RECORD_NOT_TOLD)
            return ERR_CORRUPT;
        r.untold |= r.of[i] == RECORD_NOT_TOLD;
    }
    *ret = r;
    return 0;
}
