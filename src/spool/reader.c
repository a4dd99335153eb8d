/*
 * spool/reader.c - recovery: the reading of epochs that have ended.
 *
 * Called by the courier and the spooler at their start, and by the tail for what it did not see.
 * The law of invariant 3 is here: what is missing at the end is a torn tail, what is missing before
 * something valid is damage and is told. Never writes, never repairs.
 */
#include "spool/reader.h"

#include <errno.h>

#include "spool/reader_inner.h"
#include "spool/walk.h"

#define NO_BATCH UINT64_MAX

/* What one reading carries from batch to batch. */
struct reading {
    struct walk w;
    const struct spool_reader_ops *ops;
    void *ctx;
    uint64_t low, high; /* ids of the batch before; low is UINT64_MAX if there was none */
    bool lost;          /* damage found, told when the batch behind it is known */
    struct spool_segment lost_in;
    uint64_t lost_from, lost_to;
};

static void
reading_init(struct reading *r, const struct spool_io *io, const struct spool_reader_ops *ops,
             void *ctx)
{
    *r = (struct reading){.ops = ops, .ctx = ctx, .low = UINT64_MAX};
    walk_init(&r->w, io);
}

/* Tells damage. Ids are given out before their batch is written, so neighbours may overlap; then
 * the range is widened to all that the lost batch can have held. */
static void
damage_tell(struct reading *r, bool has_next)
{
    uint64_t after = r->low == UINT64_MAX ? 0 : r->high;
    uint64_t before = has_next ? r->w.seq_low : UINT64_MAX;

    if (!r->lost)
        return;
    r->lost = false;
    if (has_next && before <= after + 1) {
        after = r->low == UINT64_MAX ? 0 : r->low;
        before = MAX(r->w.seq_high, r->high);
    }
    if (r->ops->damage)
        r->ops->damage(r->ctx, &r->lost_in, r->lost_from, r->lost_to, after, before);
}

static void
damage_note(struct reading *r, uint64_t from, uint64_t to)
{
    bool same = r->lost && r->lost_in.number == r->w.s.number && r->lost_from == from;

    if (r->lost && !same) /* the same: found again, after an error of the disk */
        damage_tell(r, false);
    r->lost = true;
    r->lost_in = r->w.s;
    r->lost_from = from;
    r->lost_to = to;
}

/* Tells every record of the batch that the walk stands on. */
static int
batch_tell(struct reading *r)
{
    const struct walk *w = &r->w;
    struct spool_place place = {
        .segment = &w->s,
        .batch = {w->s.number, w->at},
        .position = w->batch.position,
    };
    struct spool_record rec;
    size_t at = 0;
    int err = 0;

    damage_tell(r, true);
    while (err >= 0 && spool_record_next(w->dir, &at, &rec) == 1) {
        place.loc.segment = w->s.number;
        place.loc.offset = w->at + SPOOL_BATCH_HEADER + (at - rec.length);
        err = r->ops->record(r->ctx, &place, &rec);
    }
    if (w->seq_low != UINT64_MAX) {
        r->low = w->seq_low;
        r->high = w->seq_high;
    }
    return err < 0 ? err : 0;
}

enum bodies {                 /* what a last batch with a bad body means */
              BODIES_SYNCED,  /* cannot be: a later segment tells that this one was synced */
              BODIES_TORN,    /* it was never acknowledged */
              BODIES_DAMAGED, /* something came after it */
};

/* Where the reading of one segment stands. */
struct part {
    uint64_t end;   /* behind the batch told last */
    uint64_t limit; /* told are batches with a position below it */
    uint64_t last;  /* offset of the batch whose bodies must be checked; 0: none */
    uint64_t seek;  /* how far `last` was looked for; 0: it is known, or is not needed */
    uint64_t gap;   /* how far what follows `end` was looked for; 0: not */
    bool searched;  /* there is nothing valid behind `last` */
    enum bodies bodies;
};

static void
part_begin(struct part *p, uint64_t offset, uint64_t limit, enum bodies bodies)
{
    *p = (struct part){.end = offset, .limit = limit, .bodies = bodies};
    if (bodies != BODIES_SYNCED)
        p->seek = offset;
}

/* Looks on for the last valid batch: a batch, or some of what holds none. 0, or negative. */
static int
part_seek(struct walk *w, struct part *p)
{
    int got = walk_try(w, p->seek);

    if (got == 0)
        got = walk_find_some(w, &p->seek);
    if (got == 1) {
        p->last = w->at;
        p->seek = w->at + w->batch.length;
    } else if (got == 0) {
        p->seek = 0;
        p->searched = true;
    }
    return got < 0 ? got : 0;
}

/* The batch at the part's end, or the first one behind a gap there, a piece of the gap at a time:
 * 1, 0, WALK_MORE, negative. */
static int
part_next(struct reading *r, struct part *p)
{
    int got = p->gap ? 0 : walk_try(&r->w, p->end);

    if (got != 0)
        return got;
    if (!p->gap)
        p->gap = p->end;
    got = walk_find_some(&r->w, &p->gap);
    if (got == WALK_MORE)
        return got;
    p->gap = 0;
    if (got == 1 && r->w.batch.position < p->limit)
        damage_note(r, p->end, r->w.at);
    return got;
}

/* Tells the next batch of the open segment, or looks for it or for the last: 1, 0 if there is none,
 * negative. */
static int
part_step(struct reading *r, struct part *p)
{
    int got;

    if (p->seek) {
        got = part_seek(&r->w, p);
        return got < 0 ? got : 1;
    }
    if (p->searched && p->end > p->last)
        return 0;
    got = part_next(r, p);
    if (got == WALK_MORE)
        return 1;
    if (got <= 0)
        return got;
    if (r->w.batch.position >= p->limit)
        return 0; /* failed, and voided in the segment that set the limit */
    if (r->w.at == p->last) {
        got = walk_bodies(&r->w);
        if (got == 0 && p->bodies == BODIES_DAMAGED)
            damage_note(r, r->w.at, r->w.at + r->w.batch.length);
        if (got <= 0)
            return got;
    }
    p->end = r->w.at + r->w.batch.length;
    if (p->end < r->w.s.size)
        walk_ahead(&r->w, p->end);
    got = batch_tell(r);
    return got < 0 ? got : 1;
}

int
spool_segment_read(const char *dir, const struct spool_segment *s, uint64_t offset, bool last,
                   const struct spool_io *io, const struct spool_reader_ops *ops, void *ctx,
                   uint64_t *ret_end)
{
    struct reading r;
    struct part p = {0};
    int err, segdir = walk_segdir(dir);

    if (segdir < 0)
        return segdir;
    reading_init(&r, io, ops, ctx);
    err = walk_open(&r.w, segdir, s);
    if (err == 0)
        part_begin(&p, offset, UINT64_MAX, last ? BODIES_TORN : BODIES_DAMAGED);
    while (err == 0 && (err = part_step(&r, &p)) == 1)
        err = 0;
    if (err == 0) {
        damage_tell(&r, false);
        if (ops->segment_end)
            ops->segment_end(ctx, &r.w.s);
        *ret_end = p.end;
    }
    walk_done(&r.w);
    fd_close(&segdir);
    return err;
}

/* --- an epoch, step by step --- */

struct spool_epoch {
    int segdir;
    struct reading r;
    struct epoch_range range;
    struct spool_segment *segments;
    uint64_t *starts; /* where each begins in the epoch; NO_BATCH for one that holds none */
    bool *fresh;      /* its mark says that it was never written to */
    bool *lost;       /* the disk did not give it once */
    bool dead, again; /* nobody frees what is to be read; the disk failed once */
    size_t n, known;  /* segments; of those, how many starts are known */
    size_t doubted;   /* of those, how many marks were looked behind, see epoch_doubt() */
    size_t held;      /* of those up to the last one that holds a batch */
    uint64_t search;  /* for the start of the next one: how far; 0: not begun */
    size_t at;        /* the segment being read */
    bool open;        /* it is: part says how far */
    bool reopen;      /* but the disk failed in it: it may be another file by now */
    struct part part;
    size_t next; /* the next one that holds a batch; n: none */
};

void
spool_epoch_close(struct spool_epoch *e)
{
    if (!e)
        return;
    walk_done(&e->r.w);
    fd_close(&e->segdir);
    free(e->segments);
    free(e->starts);
    free(e->fresh);
    free(e->lost);
    free(e);
}

int
epoch_open_range(struct spool_epoch **ret, const char *dir, const struct spool_segment *segments,
                 size_t n, const struct epoch_range *range, const struct spool_io *io,
                 const struct spool_reader_ops *ops, void *ctx)
{
    struct spool_epoch *e = calloc(1, sizeof *e);
    int err;

    if (!e)
        return ERR_NOMEM;
    reading_init(&e->r, io, ops, ctx);
    e->range = *range;
    e->n = n;
    e->segments = calloc(n + 1, sizeof *e->segments);
    e->starts = calloc(n + 1, sizeof *e->starts);
    e->fresh = calloc(n + 1, sizeof *e->fresh);
    e->lost = calloc(n + 1, sizeof *e->lost);
    e->segdir = walk_segdir(dir);
    if (e->segdir < 0 || !e->segments || !e->starts || !e->fresh || !e->lost) {
        err = e->segdir < 0 ? e->segdir : ERR_NOMEM;
        spool_epoch_close(e);
        return err;
    }
    if (n > 0)
        memcpy(e->segments, segments, n * sizeof *segments);
    *ret = e;
    return 0;
}

int
spool_epoch_open(struct spool_epoch **ret, const char *dir, const struct spool_segment *segments,
                 size_t n, const struct spool_io *io, const struct spool_reader_ops *ops, void *ctx)
{
    int err = epoch_open_range(ret, dir, segments, n, &(struct epoch_range){.below = UINT64_MAX},
                               io, ops, ctx);

    if (err == 0)
        (*ret)->dead = true;
    return err;
}

/* One that the disk did not give and that is not there now is being mended, and so may be others of
 * a dead epoch: nobody else takes away what was not read. */
static int
segment_open(struct spool_epoch *e, size_t i)
{
    struct walk *w = &e->r.w;
    int err = walk_open(w, e->segdir, &e->segments[i]);

    if (err == ERR_NOTFOUND && (e->lost[i] || (e->dead && e->again)))
        return -ENOENT;
    return err == 0 && e->lost[i] ? walk_is_whole(w->io, w->fd, w->s.size) : err;
}

/* The walk found where a segment begins. */
static void
start_is(struct spool_epoch *e, size_t i)
{
    e->starts[i] = e->r.w.base + SPOOL_UNIT;
    e->held = MAX(e->held, i + 1);
}

/* All starts are known before the first batch is told: a later segment says how far an earlier one
 * was durable. One that was never written to says so; where its mark is gone with the first batch,
 * it is searched, in many steps. */
static int
epoch_start(struct spool_epoch *e)
{
    struct walk *w = &e->r.w;
    size_t i = e->known;
    int got = 0;

    if (e->search == 0) {
        e->starts[i] = NO_BATCH;
        e->search = SPOOL_UNIT;
        got = segment_open(e, i);
        if (got == 0)
            got = walk_is_fresh(w);
        e->fresh[i] = got == 1;
        if (got == 0)
            got = walk_try(w, SPOOL_UNIT);
    }
    if (got == 0)
        got = walk_find_some(w, &e->search);
    if (got == WALK_MORE)
        return 0;
    if (got == 1 && !e->fresh[i])
        start_is(e, i);
    e->search = 0;
    if (got < 0 && got != ERR_NOTFOUND && got != ERR_STALE)
        return got;
    e->known++; /* or freed since it was listed */
    return 0;
}

/* A mark is what a lost write of the first unit leaves as well. Before a segment that holds a batch
 * it proves nothing, since segments are written in their order: what is behind it is searched. Of
 * those behind the last batch only the first can have been written to: its first megabytes are
 * looked at, where a second batch would begin. */
static int
epoch_doubt(struct spool_epoch *e)
{
    struct walk *w = &e->r.w;
    size_t i = e->doubted;
    bool whole = i < e->held;
    int got = 0;

    if (i <= e->held && e->fresh[i]) {
        if (e->search == 0) {
            e->search = SPOOL_UNIT;
            got = segment_open(e, i);
        }
        if (got == 0)
            got = walk_find_some(w, &e->search);
        if (got == WALK_MORE && whole)
            return 0;
        if (got == 1)
            start_is(e, i);
    }
    e->search = 0;
    if (got < 0 && got != ERR_NOTFOUND && got != ERR_STALE)
        return got;
    e->doubted++;
    return 0;
}

/* Opens the present segment, with what the later ones tell about it. 1: there is a part to read,
 * 0: there is not, negative. */
static int
epoch_enter(struct spool_epoch *e)
{
    const struct spool_segment *s = &e->segments[e->at];
    uint64_t start = e->starts[e->at], limit = e->range.below, from = SPOOL_UNIT;
    bool synced = limit != UINT64_MAX;
    int err;

    for (e->next = e->at + 1; e->next < e->n; e->next++) {
        if (e->starts[e->next] != NO_BATCH && e->starts[e->next] <= e->range.below)
            break;
    }
    if (e->next < e->n) {
        limit = e->starts[e->next];
        synced = true;
        if (limit <= e->range.from)
            return 0;
    }
    err = segment_open(e, e->at);
    if (err == ERR_NOTFOUND || err == ERR_STALE)
        return 0;
    if (err < 0)
        return err;
    e->part = (struct part){.limit = 0};
    if (start != NO_BATCH && start < limit) {
        if (e->range.from > start)
            from += e->range.from - start;
        part_begin(&e->part, from, limit, synced ? BODIES_SYNCED : BODIES_TORN);
        e->range.has_open = e->next == e->n;
        e->range.open = *s;
    }
    return 1;
}

/* The present segment is read. */
static void
epoch_leave(struct spool_epoch *e)
{
    const struct spool_segment *s = &e->segments[e->at];
    bool left = e->next < e->n;
    uint64_t end = e->part.end, reached = e->starts[e->at] + (end - SPOOL_UNIT);

    if (e->part.limit && left && e->segments[e->next].seq == s->seq + 1 && reached < e->part.limit)
        damage_note(&e->r, end, end + MIN(e->part.limit - reached, s->size - end));
    if ((left || !e->range.live) && e->r.ops->segment_end)
        e->r.ops->segment_end(e->r.ctx, &e->r.w.s);
}

/* Which segment that is: of the starts, of the doubts, or the one being read. */
static int
epoch_step(struct spool_epoch *e, size_t *ret_segment)
{
    int got;

    *ret_segment = e->known < e->n ? e->known : e->doubted < e->n ? e->doubted : e->at;
    if (e->known < e->n) {
        got = epoch_start(e);
        return got < 0 ? got : 1;
    }
    if (e->doubted < e->n) {
        got = epoch_doubt(e);
        return got < 0 ? got : 1;
    }
    if (e->at == e->n) {
        damage_tell(&e->r, false);
        return 0;
    }
    got = e->reopen ? segment_open(e, e->at) : 0;
    if (got < 0)
        return got;
    e->reopen = false;
    got = e->open ? 1 : epoch_enter(e);
    if (got < 0)
        return got;
    if (got == 1) {
        e->open = true;
        got = e->part.limit ? part_step(&e->r, &e->part) : 0;
        if (got < 0 || got == 1)
            return got;
        epoch_leave(e);
    }
    e->open = false;
    e->at++;
    return 1;
}

int
spool_epoch_step(struct spool_epoch *e)
{
    size_t segment;
    int got = epoch_step(e, &segment);

    if (spool_is_disk_error(got)) {
        e->again = e->lost[segment] = true;
        e->reopen = e->open;
    }
    return got;
}

size_t
spool_epoch_at(const struct spool_epoch *e)
{
    return e->at;
}

const struct epoch_range *
epoch_range_of(const struct spool_epoch *e)
{
    return &e->range;
}

int
spool_epoch_read(const char *dir, const struct spool_segment *segments, size_t n,
                 const struct spool_io *io, const struct spool_reader_ops *ops, void *ctx)
{
    struct spool_epoch *e;
    int err = spool_epoch_open(&e, dir, segments, n, io, ops, ctx);

    if (err < 0)
        return err;
    do {
        err = spool_epoch_step(e);
    } while (err == 1);
    spool_epoch_close(e);
    return err;
}
