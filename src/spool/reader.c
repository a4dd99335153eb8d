/*
 * spool/reader.c - recovery: the listing of a spool, and the reading of epochs that have ended.
 *
 * Called by the courier and the spooler at their start, and by the tail for what it did not see.
 * The law of invariant 3 is here: what is missing at the end is a torn tail, what is missing before
 * something valid is damage and is told. Never writes, never repairs.
 */
#include "spool/reader.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "spool/reader_inner.h"
#include "spool/walk.h"

#define NO_BATCH UINT64_MAX

static bool
page_is_zero(const uint8_t page[SPOOL_UNIT])
{
    for (size_t i = 0; i < SPOOL_UNIT; i++) {
        if (page[i] != 0)
            return false;
    }
    return true;
}

/* 1: a used segment, 0: none to list, ERR_CORRUPT, ERR_VERSION, -errno. */
static int
list_one(int segdir, const char *name, const struct spool_io *io, struct spool_segment *ret)
{
    uint8_t page[SPOOL_UNIT];
    uint64_t number;
    ssize_t got;
    int fd, err;

    if (spool_segment_name_parse(str_c(name), &number) < 0)
        return 0;
    fd = io->open(io->ctx, segdir, name, O_RDONLY, 0);
    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    got = io->pread(io->ctx, fd, page, sizeof page, 0);
    fd_close(&fd);
    if (got < 0)
        return (int)got;
    if (got < (ssize_t)sizeof page || page_is_zero(page))
        return 0; /* its making was cut short; it never held a batch */
    err = spool_segment_decode(page, ret);
    if (err < 0)
        return err;
    if (ret->number != number)
        return ERR_CORRUPT;
    return ret->state == SPOOL_SEGMENT_USED;
}

static int
compare_segments(const void *a, const void *b)
{
    const struct spool_segment *x = a, *y = b;

    if (x->epoch != y->epoch)
        return x->epoch < y->epoch ? -1 : 1;
    if (x->seq != y->seq)
        return x->seq < y->seq ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

static int
listing_add(struct spool_listing *l, size_t *cap, const struct spool_segment *s)
{
    if (l->n == *cap) {
        size_t more = *cap ? *cap * 2 : 64;
        void *p = reallocarray(l->items, more, sizeof *l->items);
        if (!p)
            return ERR_NOMEM;
        l->items = p;
        *cap = more;
    }
    l->items[l->n++] = *s;
    return 0;
}

static int
list_all(DIR *d, const struct spool_io *io, struct spool_listing *l, struct why *why)
{
    struct spool_segment s = {0};
    struct dirent *e;
    size_t cap = 0;
    int got;

    while ((e = readdir(d))) {
        got = list_one(dirfd(d), e->d_name, io, &s);
        if (got == ERR_VERSION)
            return why_set(why, got,
                           "seg/%s was written by a newer Gapura; this one must not "
                           "read it: install that version, or drain the spool with it",
                           e->d_name);
        if (got == ERR_CORRUPT) {
            l->unreadable++;
            why_set(why, got, "seg/%s: header does not check out; set aside", e->d_name);
        } else if (got < 0) {
            return why_set(why, got, "seg/%s: %s", e->d_name, err_text(got));
        }
        if (got == 1) {
            got = listing_add(l, &cap, &s);
            if (got < 0)
                return got;
        }
    }
    return 0;
}

int
spool_list(const char *dir, const struct spool_io *io, struct spool_listing *ret, struct why *why)
{
    struct spool_listing l = {0};
    int err, segdir = walk_segdir(dir);
    DIR *d;

    if (segdir < 0)
        return why_set(why, segdir, "%s/seg: %s", dir, err_text(segdir));
    d = fdopendir(segdir);
    if (!d) {
        err = -errno;
        fd_close(&segdir);
        return err;
    }
    err = list_all(d, io ? io : &spool_io_system, &l, why);
    closedir(d);
    if (err < 0) {
        spool_listing_done(&l);
        return err;
    }
    if (l.n > 1)
        qsort(l.items, l.n, sizeof *l.items, compare_segments);
    *ret = l;
    return 0;
}

void
spool_listing_done(struct spool_listing *l)
{
    free(l->items);
    *l = (struct spool_listing){0};
}

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
    if (r->lost)
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

/* Offset of the last valid batch at or behind `offset`; 0 if there is none; negative in *err. */
static uint64_t
last_batch(struct walk *w, uint64_t offset, int *err)
{
    uint64_t last = 0;
    int got;

    while ((got = walk_try(w, offset)) == 1 || (got == 0 && (got = walk_find(w, offset)) == 1)) {
        last = w->at;
        offset = w->at + w->batch.length;
    }
    *err = got;
    return last;
}

enum bodies {                 /* what a last batch with a bad body means */
              BODIES_SYNCED,  /* cannot be: a later segment tells that this one was synced */
              BODIES_TORN,    /* it was never acknowledged */
              BODIES_DAMAGED, /* something came after it */
};

/* Tells the batches of the open segment with a position below `limit`. */
static int
segment_tell(struct reading *r, uint64_t offset, uint64_t limit, enum bodies bodies,
             uint64_t *ret_end)
{
    uint64_t last = 0, end = offset;
    int got, err = 0;

    if (bodies != BODIES_SYNCED)
        last = last_batch(&r->w, offset, &err);
    if (err < 0)
        return err;
    for (;;) {
        got = walk_try(&r->w, end);
        if (got == 0) {
            got = walk_find(&r->w, end);
            if (got == 1 && r->w.batch.position < limit)
                damage_note(r, end, r->w.at);
        }
        if (got <= 0)
            break;
        if (r->w.batch.position >= limit)
            break; /* failed, and voided in the segment that set the limit */
        if (r->w.at == last) {
            got = walk_bodies(&r->w);
            if (got == 0 && bodies == BODIES_DAMAGED)
                damage_note(r, r->w.at, r->w.at + r->w.batch.length);
            if (got <= 0)
                break;
        }
        end = r->w.at + r->w.batch.length;
        got = batch_tell(r);
        if (got < 0)
            break;
    }
    *ret_end = end;
    return got < 0 ? got : 0;
}

int
spool_segment_read(const char *dir, const struct spool_segment *s, uint64_t offset, bool last,
                   const struct spool_io *io, const struct spool_reader_ops *ops, void *ctx,
                   uint64_t *ret_end)
{
    struct reading r;
    uint64_t end = offset;
    int err, segdir = walk_segdir(dir);

    if (segdir < 0)
        return segdir;
    reading_init(&r, io, ops, ctx);
    err = walk_open(&r.w, segdir, s);
    if (err == 0)
        err = segment_tell(&r, offset, UINT64_MAX, last ? BODIES_TORN : BODIES_DAMAGED, &end);
    if (err == 0) {
        damage_tell(&r, false);
        if (ops->segment_end)
            ops->segment_end(ctx, &r.w.s);
        *ret_end = end;
    }
    walk_done(&r.w);
    fd_close(&segdir);
    return err;
}

/* Where each segment begins in the epoch, NO_BATCH for one that holds none. */
static int
segment_starts(struct walk *w, int segdir, const struct spool_segment *s, size_t n,
               uint64_t *starts)
{
    for (size_t i = 0; i < n; i++) {
        int got = walk_open(w, segdir, &s[i]);
        starts[i] = NO_BATCH;
        if (got == ERR_NOTFOUND || got == ERR_STALE)
            continue; /* freed since it was listed */
        if (got == 0)
            got = walk_find(w, SPOOL_UNIT);
        if (got < 0)
            return got;
        if (got == 1)
            starts[i] = w->base + SPOOL_UNIT;
    }
    return 0;
}

/* Segment i of an epoch, with what the later ones tell about it. */
static int
epoch_segment(struct reading *r, int segdir, const struct spool_segment *s, size_t n, size_t i,
              const uint64_t *starts, struct epoch_range *range)
{
    uint64_t limit = range->below, end = SPOOL_UNIT, reached;
    bool synced = range->below != UINT64_MAX, left = false;
    size_t next = i + 1;
    int err;

    while (next < n && (starts[next] == NO_BATCH || starts[next] > range->below))
        next++;
    if (next < n) {
        limit = starts[next];
        synced = left = true;
    }
    if (limit <= range->from && left)
        return 0;
    err = walk_open(&r->w, segdir, &s[i]);
    if (err == ERR_NOTFOUND || err == ERR_STALE)
        return 0;
    if (err == 0 && starts[i] != NO_BATCH && starts[i] < limit) {
        if (range->from > starts[i])
            end += range->from - starts[i];
        err = segment_tell(r, end, limit, synced ? BODIES_SYNCED : BODIES_TORN, &end);
        reached = starts[i] + (end - SPOOL_UNIT);
        if (err == 0 && left && s[next].seq == s[i].seq + 1 && reached < limit)
            damage_note(r, end, end + MIN(limit - reached, s[i].size - end));
        range->has_open = !left;
        range->open = s[i];
    }
    if (err == 0 && (left || !range->live) && r->ops->segment_end)
        r->ops->segment_end(r->ctx, &r->w.s);
    return err;
}

int
epoch_read_range(const char *dir, const struct spool_segment *segments, size_t n,
                 struct epoch_range *range, const struct spool_io *io,
                 const struct spool_reader_ops *ops, void *ctx)
{
    CLEANUP(free_ptr) uint64_t *starts = calloc(n + 1, sizeof *starts);
    struct reading r;
    int err, segdir;

    if (!starts)
        return ERR_NOMEM;
    segdir = walk_segdir(dir);
    if (segdir < 0)
        return segdir;
    reading_init(&r, io, ops, ctx);
    err = segment_starts(&r.w, segdir, segments, n, starts);
    for (size_t i = 0; err == 0 && i < n; i++)
        err = epoch_segment(&r, segdir, segments, n, i, starts, range);
    if (err == 0)
        damage_tell(&r, false);
    walk_done(&r.w);
    fd_close(&segdir);
    return err;
}

int
spool_epoch_read(const char *dir, const struct spool_segment *segments, size_t n,
                 const struct spool_io *io, const struct spool_reader_ops *ops, void *ctx)
{
    struct epoch_range all = {.below = UINT64_MAX};

    return epoch_read_range(dir, segments, n, &all, io, ops, ctx);
}
