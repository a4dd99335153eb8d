/*
 * spool/tail.c - the live tail: what a writer has made durable, batch by batch, mostly from memory.
 *
 * Called by the courier for each stream. Copies header and directory out of the writer's ring and
 * reads the file only where the ring has moved on. The writer is another process: what the ring
 * holds is checked like bytes of a file. Never passes `durable`, except in spool_tail_finish().
 */
#include <errno.h>

#include "core/crc32c.h"
#include "spool/reader_inner.h"
#include "spool/walk.h"

struct spool_tail {
    char *dir;
    int segdir;
    const struct spool_io *io;
    struct spool_share share;
    struct spool_reader_ops ops;
    void *ctx;
    uint64_t pos;         /* of the next batch to read */
    uint64_t backlog_end; /* durable when the tail was made: up to there files tell, not the ring */
    struct spool_epoch *past; /* being read from the files, up to `below` */
    uint64_t below;
    size_t past_n; /* its segments */
    uint64_t gap;  /* how far what follows `pos` was looked for in the file; 0: not */
    uint64_t lost; /* file whose header the disk did not give; 0: none */
    bool caught_up, slept;
    bool ending; /* what lies behind `durable` is being read */
    bool has_current;
    struct spool_segment current;
    struct walk w;
    uint8_t *room; /* copy of a header and directory */
    size_t room_cap;
};

int
spool_tail_create(struct spool_tail **ret, const char *dir, struct spool_share share,
                  const struct spool_io *io, const struct spool_reader_ops *ops, void *ctx)
{
    struct spool_tail *t = calloc(1, sizeof *t);
    int err = 0;

    if (!t) {
        spool_share_done(&share);
        return ERR_NOMEM;
    }
    t->segdir = -1;
    t->io = io ? io : &spool_io_system;
    t->share = share;
    t->ops = *ops;
    t->ctx = ctx;
    walk_init(&t->w, t->io);
    t->dir = strdup(dir);
    if (!t->dir)
        err = ERR_NOMEM;
    if (err == 0)
        err = t->segdir = walk_segdir(dir);
    if (err < 0) {
        spool_tail_free(t);
        return err;
    }
    t->backlog_end = atomic_load(&share.page->durable);
    t->caught_up = t->backlog_end == 0;
    *ret = t;
    return 0;
}

void
spool_tail_free(struct spool_tail *t)
{
    if (!t)
        return;
    walk_done(&t->w);
    spool_epoch_close(t->past);
    spool_share_done(&t->share);
    fd_close(&t->segdir);
    free(t->dir);
    free(t->room);
    free(t);
}

/* Another segment goes on: the one before is left, and those that failed in between. */
static void
tail_enter(struct spool_tail *t, const struct spool_segment *s)
{
    if (t->has_current && t->current.number == s->number && t->current.generation == s->generation)
        return;
    if (t->has_current && t->ops.segment_end)
        t->ops.segment_end(t->ctx, &t->current);
    if (t->ops.segment_end && (t->has_current || t->backlog_end == 0))
        spool_share_between(&t->share, t->has_current ? &t->current : NULL, s, t->ops.segment_end,
                            t->ctx);
    t->current = *s;
    t->has_current = true;
}

static bool
is_listed(const struct spool_listing *all, uint64_t number)
{
    for (size_t i = 0; i < all->n; i++) {
        if (all->items[i].number == number)
            return true;
    }
    return false;
}

/* Are all files there that are to be read? What follows would pass over what the others hold. */
static int
past_whole(struct spool_tail *t, const struct spool_listing *all)
{
    for (size_t i = 0; i < all->nunread; i++) {
        if (!spool_share_has(&t->share, all->unread[i].number))
            continue;
        t->lost = all->unread[i].number;
        return all->unread[i].err;
    }
    return t->lost && !is_listed(all, t->lost) ? -ENOENT : 0; /* it is being mended */
}

/* Begins to read [pos, below) of this epoch off the files that are there. */
static int
past_begin(struct spool_tail *t, uint64_t below, bool live)
{
    struct epoch_range range = {.from = t->pos, .below = below, .live = live};
    uint32_t epoch = t->share.epoch;
    struct spool_listing all;
    size_t first = 0, n = 0;
    int err = spool_list(t->dir, t->io, &all, NULL);

    if (err < 0)
        return err;
    err = past_whole(t, &all);
    if (err < 0) {
        spool_listing_done(&all);
        return err;
    }
    t->lost = 0;
    while (first < all.n && all.items[first].epoch != epoch)
        first++;
    while (first + n < all.n && all.items[first + n].epoch == epoch)
        n++;
    err = epoch_open_range(&t->past, t->dir, all.items + first, n, &range, t->io, &t->ops, t->ctx);
    t->below = below;
    t->past_n = n;
    spool_listing_done(&all);
    return err;
}

/* One step of it: 1, 0 when all is read, negative. */
static int
past_step(struct spool_tail *t)
{
    const struct epoch_range *range;
    int got = spool_epoch_step(t->past);

    if (got != 0)
        return got;
    range = epoch_range_of(t->past);
    if (range->has_open)
        tail_enter(t, &range->open);
    spool_epoch_close(t->past);
    t->past = NULL;
    t->pos = t->below;
    return 0;
}

bool
spool_tail_progress(const struct spool_tail *t, size_t *ret_read, size_t *ret_of)
{
    if (!t->past)
        return false;
    *ret_read = spool_epoch_at(t->past);
    *ret_of = t->past_n;
    return true;
}

static int
tail_room(struct spool_tail *t, size_t n)
{
    uint8_t *more;

    if (n <= t->room_cap)
        return 0;
    n = round_up(n, 64u << 10);
    more = realloc(t->room, n);
    if (!more)
        return ERR_NOMEM;
    t->room = more;
    t->room_cap = n;
    return 0;
}

static int
tail_tell(struct spool_tail *t, const struct spool_segment *s, uint64_t offset,
          const struct spool_batch *b, struct str dir)
{
    struct spool_place place = {
        .segment = &t->current,
        .batch = {s->number, offset},
        .position = b->position,
    };
    struct spool_record rec;
    size_t at = 0;
    int err = 0;

    tail_enter(t, s);
    t->pos = b->position + b->length;
    while (err >= 0 && spool_record_next(dir, &at, &rec) == 1) {
        place.loc.segment = s->number;
        place.loc.offset = offset + SPOOL_BATCH_HEADER + (at - rec.length);
        err = t->ops.record(t->ctx, &place, &rec);
    }
    return err < 0 ? err : 1;
}

/* The batch at pos out of the ring: 1, ERR_STALE if the ring or its table has moved on. */
static int
tail_from_ring(struct spool_tail *t, uint64_t durable)
{
    struct spool_segment s;
    struct spool_batch b;
    uint64_t start, room, low, high;
    int err = spool_share_segment_at(&t->share, t->pos, &s, &start);

    if (err == 0)
        err = tail_room(t, SPOOL_BATCH_HEADER);
    if (err == 0)
        err = spool_share_copy(&t->share, t->pos, t->room, SPOOL_BATCH_HEADER);
    if (err < 0)
        return err;
    room = MIN(s.size - SPOOL_UNIT - (t->pos - start), durable - t->pos);
    err = spool_batch_decode(t->room, SPOOL_BATCH_HEADER, &s, room, &b);
    if (err < 0 || b.position != t->pos)
        return ERR_CORRUPT;
    err = tail_room(t, SPOOL_BATCH_HEADER + (size_t)b.dir_bytes);
    if (err == 0)
        err = spool_share_copy(&t->share, t->pos + SPOOL_BATCH_HEADER, t->room + SPOOL_BATCH_HEADER,
                               b.dir_bytes);
    if (err < 0)
        return err;
    if (crc32c(spool_salt(&s), t->room + SPOOL_BATCH_HEADER, b.dir_bytes) != b.dir_crc)
        return ERR_CORRUPT;
    err = walk_check_dir(&b, str_of(t->room + SPOOL_BATCH_HEADER, b.dir_bytes), &low, &high);
    if (err != 1)
        return err < 0 ? err : ERR_CORRUPT;
    return tail_tell(t, &s, SPOOL_UNIT + (t->pos - start), &b,
                     str_of(t->room + SPOOL_BATCH_HEADER, b.dir_bytes));
}

/* The batch at pos out of its file; what is damaged there is told and stepped over. */
static int
tail_from_file(struct spool_tail *t, uint64_t durable)
{
    struct spool_segment s;
    uint64_t start, offset;
    int got = spool_share_segment_at(&t->share, t->pos, &s, &start);

    if (got == ERR_STALE) { /* thousands of segments behind: the table has forgotten it */
        t->gap = 0;         /* the past looks for itself; what comes behind it is another file */
        return past_begin(t, durable, true);
    }
    if (got < 0)
        return got;
    if (t->w.fd < 0 || t->w.s.number != s.number || t->w.s.generation != s.generation) {
        got = walk_open(&t->w, t->segdir, &s);
        if (got < 0) /* nobody takes away what was not read: it is being mended */
            return got == ERR_NOTFOUND ? -ENOENT : got;
    }
    offset = SPOOL_UNIT + (t->pos - start);
    got = t->gap ? 0 : walk_try(&t->w, offset);
    if (got == 0 && !t->gap) {
        walk_forget(&t->w); /* read ahead before it was written? */
        got = walk_try(&t->w, offset);
        t->gap = offset;
    }
    if (got == 0) {
        got = walk_find_some(&t->w, &t->gap);
        if (got == WALK_MORE)
            return 1;
        if (got == 1 && t->w.batch.position < durable && t->ops.damage)
            t->ops.damage(t->ctx, &t->w.s, offset, t->w.at, 0, t->w.seq_low);
    }
    t->gap = 0;
    if (got == 0 || (got == 1 && t->w.batch.position >= durable))
        return ERR_CORRUPT;
    if (got < 0)
        return got;
    return tail_tell(t, &t->w.s, t->w.at, &t->w.batch, t->w.dir);
}

/* The next batch, or a step of the past: 1, 0 if there is none, negative. */
static int
tail_step(struct spool_tail *t, uint64_t durable)
{
    int got;

    if (!t->past && !t->caught_up) {
        got = past_begin(t, t->backlog_end, true);
        if (got < 0)
            return got;
    }
    if (t->past) {
        got = past_step(t);
        t->caught_up = t->caught_up || got == 0;
        return got < 0 ? got : 1;
    }
    if (t->pos >= durable)
        return 0;
    got = t->gap ? ERR_STALE : tail_from_ring(t, durable);
    if (got == ERR_STALE)
        got = tail_from_file(t, durable);
    if (spool_is_disk_error(got))
        walk_done(&t->w); /* it may be another file when it is tried again */
    return got < 0 ? got : 1;
}

int
spool_tail_run(struct spool_tail *t, unsigned max_batches)
{
    uint64_t durable;
    unsigned n = 0;
    int got = 1;

    if (t->slept) {
        atomic_store(&t->share.page->asleep, 0);
        t->slept = false;
    }
    durable = atomic_load(&t->share.page->durable);
    while (n < max_batches && (got = tail_step(t, durable)) == 1)
        n++;
    return got < 0 ? got : (int)n;
}

bool
spool_tail_sleep(struct spool_tail *t)
{
    /* Said first, looked second; the writer publishes first, looks second: one of both sees. */
    atomic_store(&t->share.page->asleep, 1);
    t->slept = true;
    if (!t->caught_up || t->past || atomic_load(&t->share.page->durable) > t->pos) {
        atomic_store(&t->share.page->asleep, 0);
        return false;
    }
    return true;
}

int
spool_tail_wake_fd(const struct spool_tail *t)
{
    return t->share.wake_fd;
}

uint64_t
spool_tail_lag(const struct spool_tail *t)
{
    uint64_t durable = atomic_load(&t->share.page->durable);

    return durable > t->pos ? durable - t->pos : 0;
}

int
spool_tail_finish(struct spool_tail *t, unsigned max_steps)
{
    int got;

    if (!t->ending) {
        got = spool_tail_run(t, max_steps);
        if (got != 0)
            return got < 0 ? got : 1;
        got = past_begin(t, UINT64_MAX, false);
        if (got < 0)
            return got;
        t->ending = true;
    }
    while (max_steps-- > 0) {
        got = t->past ? past_step(t) : 0;
        if (got < 0)
            return got;
        if (got == 0)
            break;
    }
    if (t->past)
        return 1;
    if (t->has_current && t->ops.segment_end)
        t->ops.segment_end(t->ctx, &t->current);
    t->has_current = false;
    return 0;
}
