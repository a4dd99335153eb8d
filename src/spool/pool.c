/*
 * spool/pool.c - the books of the spool: which segments there are, who has them, what is left.
 *
 * Called by the spooler alone, in one thread. A step is durable before its result is told: an
 * epoch before a writer gets it, a header before a stream writes behind it, a file number before
 * the file is made. Never reads a batch: whether a segment may be freed is the courier's word.
 */
#include "spool/pool.h"

#include <errno.h>

#include "spool/pool_inner.h"
#include "spool/walk.h"

/* Of the books alone: a write of its header failed, what the disk has nobody knows. */
#define SEGMENT_DOUBT 3u

uint32_t
spool_pool_node(const struct spool_pool *p)
{
    return p->node.node;
}

uint32_t
spool_pool_last_epoch(const struct spool_pool *p)
{
    return p->node.next_epoch - 1;
}

static void
pool_drop(struct spool_pool *p, struct spool_segment *seg)
{
    p->bytes -= seg->size;
    if (seg->state == SPOOL_SEGMENT_FREE)
        p->nfree--;
    *seg = p->all[--p->n];
}

/* How many more segments the quota and the disk allow. */
static uint64_t
pool_creatable(struct spool_pool *p)
{
    uint64_t disk = 0, held = p->bytes + p->aside_bytes, room;

    if (pool_disk_space(&p->disk, &disk) < 0 || disk <= p->conf.min_free)
        return 0;
    room = disk - p->conf.min_free;
    if (p->conf.quota != 0)
        room = MIN(room, p->conf.quota > held ? p->conf.quota - held : 0);
    return room / p->conf.segment_size;
}

/* A new file, headed free. Its number is spent whether or not the making succeeds. */
static int
pool_create(struct spool_pool *p, bool prewrite)
{
    struct spool_segment s = {
        .number = p->node.next_file,
        .generation = 1u + pool_random(),
        .size = p->conf.segment_size,
        .node = p->node.node,
        .version = SPOOL_VERSION,
        .state = SPOOL_SEGMENT_FREE,
        .compatible = prewrite ? SPOOL_SEGMENT_PREWRITTEN : 0,
    };
    struct pool_node next = p->node;
    int fd = -1, err;

    next.next_file++;
    err = pool_node_save(&p->disk, &next);
    if (err < 0)
        return err;
    p->node = next;
    err = pool_segment_make(&p->disk, s.number, s.size, prewrite, &fd);
    if (err < 0)
        return err;
    err = pool_segment_head(&p->disk, fd, &s);
    fd_close(&fd);
    if (err == 0)
        err = pool_add(p, &s);
    if (err < 0)
        pool_segment_unlink(&p->disk, s.number);
    return err;
}

/* A free segment, a pre-written one if there is any. */
static struct spool_segment *
pool_pick(struct spool_pool *p)
{
    struct spool_segment *best = NULL;

    for (size_t i = 0; i < p->n; i++) {
        struct spool_segment *seg = &p->all[i];
        if (seg->state != SPOOL_SEGMENT_FREE)
            continue;
        if (seg->compatible & SPOOL_SEGMENT_PREWRITTEN)
            return seg;
        best = seg;
    }
    return best;
}

/*
 * Sequence of the epoch's next segment. The writer holds the highest one, which is therefore never
 * free, so the files themselves are counter enough, over a restart of the spooler too. If that one
 * may be among the files that are set aside, a step that cannot be foreseen keeps clear of it: a
 * gap means nothing, a sequence that comes twice would hide a segment.
 */
static uint64_t
pool_next_seq(const struct spool_pool *p, uint32_t epoch)
{
    uint64_t seq = 0;

    for (size_t i = 0; i < p->n; i++) {
        const struct spool_segment *s = &p->all[i];
        if (s->epoch == epoch && s->seq >= seq && s->stream != SPOOL_STREAM_NONE)
            seq = s->seq + 1;
    }
    return p->naside == 0 ? seq : seq + 1 + pool_random();
}

/* ERR_NOTFOUND: somebody removed the file, and the books have it no more. */
static int
segment_open(struct spool_pool *p, struct spool_segment *seg)
{
    int fd = pool_segment_open(&p->disk, seg->number, 0);

    if (fd != -ENOENT)
        return fd;
    pool_drop(p, seg);
    return ERR_NOTFOUND;
}

static int
pool_hand_out(struct spool_pool *p, struct spool_segment *seg, uint16_t stream, uint32_t epoch,
              int *ret_fd, struct spool_segment *ret)
{
    struct spool_segment next;
    int err, fd;

    if (!seg)
        return ERR_FULL;
    fd = segment_open(p, seg);
    if (fd < 0)
        return fd;
    next = *seg;
    next.generation += 1u + pool_random();
    next.version = SPOOL_VERSION;
    next.state = SPOOL_SEGMENT_USED;
    next.stream = stream;
    next.epoch = epoch;
    next.node = p->node.node;
    next.seq = pool_next_seq(p, epoch);
    err = pool_segment_hand_out(&p->disk, fd, &next);
    if (err < 0) { /* spool_pool_prepare() makes it good, above any header that it may have now */
        fd_close(&fd);
        seg->generation = next.generation;
        seg->state = SEGMENT_DOUBT;
        p->nfree--;
        return err;
    }
    *seg = next;
    p->nfree--;
    *ret_fd = fd;
    *ret = next;
    return 0;
}

int
spool_pool_take(struct spool_pool *p, uint16_t stream, uint32_t epoch, int *ret_fd,
                struct spool_segment *ret)
{
    bool intake = stream >> 8 != SPOOL_STREAM_COURIER;
    uint64_t kept = intake ? p->conf.reserve : 0;
    int err;

    if (p->nfree <= kept) {
        if (p->nfree + pool_creatable(p) <= kept)
            return ERR_FULL;
        err = pool_create(p, false);
        if (err == -ENOSPC || err == -EDQUOT)
            return ERR_FULL;
        if (err < 0)
            return err;
        if (p->nfree <= kept) /* the reserve itself is not whole yet */
            return spool_pool_take(p, stream, epoch, ret_fd, ret);
    }
    err = pool_hand_out(p, pool_pick(p), stream, epoch, ret_fd, ret);
    /* One less is free: another, or a new one. */
    return err == ERR_NOTFOUND ? spool_pool_take(p, stream, epoch, ret_fd, ret) : err;
}

static struct spool_segment *
pool_find(struct spool_pool *p, uint64_t number)
{
    for (size_t i = 0; i < p->n; i++) {
        if (p->all[i].number == number)
            return &p->all[i];
    }
    return NULL;
}

static bool
pool_is_aside(const struct spool_pool *p, uint64_t number)
{
    for (size_t i = 0; i < p->naside; i++) {
        if (p->aside[i].number == number)
            return true;
    }
    return false;
}

/*
 * A segment that begins with VOID records is what keeps a failed batch of an earlier segment from
 * coming back: it stays until no earlier segment of its epoch is left. 0, ERR_STATE, -errno.
 */
static int
pool_holds_back(struct spool_pool *p, const struct spool_segment *s, int fd)
{
    struct spool_batch b;
    ssize_t got = p->disk.io->pread(p->disk.io->ctx, fd, p->disk.page, SPOOL_UNIT, SPOOL_UNIT);

    if (got < 0)
        return (int)got;
    if (spool_batch_decode(p->disk.page, (size_t)got, s, s->size - SPOOL_UNIT, &b) < 0 ||
        (b.flags & SPOOL_BATCH_VOID) == 0)
        return 0;
    if (p->naside > 0) /* an earlier one may be there */
        return ERR_STATE;
    for (size_t i = 0; i < p->n; i++) {
        const struct spool_segment *other = &p->all[i];
        if (other->state == SPOOL_SEGMENT_USED && other->epoch == s->epoch && other->seq < s->seq)
            return ERR_STATE;
    }
    return 0;
}

static int
pool_rehead_free(struct spool_pool *p, struct spool_segment *seg, bool empty)
{
    struct spool_segment next = *seg;
    int err, fd = segment_open(p, seg);

    if (fd < 0)
        return fd;
    err = empty ? 0 : pool_holds_back(p, seg, fd);
    if (err == 0) {
        next.generation += 1u + pool_random();
        next.state = SPOOL_SEGMENT_FREE;
        err = pool_segment_head(&p->disk, fd, &next);
    }
    fd_close(&fd);
    if (err < 0)
        return err;
    *seg = next;
    p->nfree++;
    return 0;
}

static int
pool_free(struct spool_pool *p, uint64_t number, uint64_t generation, bool empty)
{
    struct spool_segment *seg = pool_find(p, number);
    int err;

    if (!seg)
        return pool_is_aside(p, number) ? ERR_STATE : ERR_NOTFOUND;
    if (seg->generation != generation || seg->state != SPOOL_SEGMENT_USED)
        return ERR_STALE;
    err = pool_rehead_free(p, seg, empty);
    if (err < 0)
        return err;
    /* Free it is. If its name cannot be removed it stays one more free segment. */
    if (p->nfree > 2 * (uint64_t)p->conf.ready + p->conf.reserve &&
        pool_segment_unlink(&p->disk, number) == 0)
        pool_drop(p, seg);
    return 0;
}

int
spool_pool_free(struct spool_pool *p, uint64_t number, uint64_t generation)
{
    return pool_free(p, number, generation, false);
}

int
spool_pool_free_empty(struct spool_pool *p, uint64_t number, uint64_t generation)
{
    return pool_free(p, number, generation, true);
}

/* --- epochs --- */

/* By the law of the reader (docs/formats/log.md, "Segment header"): its mark is there, and where a
 * second batch would stand is none. A file that cannot be read is left to who reads it. */
static bool
is_never_written(struct spool_pool *p, const struct spool_segment *s)
{
    struct walk w;
    uint64_t at = SPOOL_UNIT;
    int got;

    walk_init(&w, p->disk.io);
    got = walk_open(&w, p->disk.segdir, s);
    if (got == 0)
        got = walk_is_fresh(&w) == 1 ? walk_find_some(&w, &at) : -1;
    walk_done(&w);
    return got == 0 || got == WALK_MORE;
}

static int
compare_youngest(const void *a, const void *b)
{
    const struct spool_segment *x = a, *y = b;

    if (x->epoch != y->epoch)
        return x->epoch > y->epoch ? -1 : 1;
    return x->seq > y->seq ? -1 : x->seq < y->seq;
}

/* What a dead writer was given behind the last segment that it wrote to. Nobody else would give it
 * back before the whole log is read, and a reader that never comes so far is started again and
 * again. Without memory, or on an error, all that is left for later. */
static void
pool_reclaim(struct spool_pool *p, uint16_t stream, uint32_t below)
{
    struct spool_segment *dead = calloc(p->n + 1, sizeof *dead);
    size_t n = 0;

    for (size_t i = 0; dead && i < p->n; i++) {
        const struct spool_segment *s = &p->all[i];
        if (s->state == SPOOL_SEGMENT_USED && s->stream == stream && s->epoch < below)
            dead[n++] = *s;
    }
    if (n > 1)
        qsort(dead, n, sizeof *dead, compare_youngest);
    for (size_t i = 0; i < n; i++) {
        uint32_t epoch = dead[i].epoch;
        if (is_never_written(p, &dead[i]) &&
            spool_pool_free(p, dead[i].number, dead[i].generation) == 0)
            continue;
        while (i + 1 < n && dead[i + 1].epoch == epoch)
            i++;
    }
    free(dead);
}

int64_t
spool_pool_epoch(struct spool_pool *p, uint16_t stream)
{
    struct pool_node next = p->node;
    int err;

    if (next.next_epoch == UINT32_MAX)
        return ERR_LIMIT;
    next.next_epoch++;
    err = pool_node_save(&p->disk, &next);
    if (err < 0)
        return err;
    p->node = next;
    pool_reclaim(p, stream, next.next_epoch - 1);
    return (int64_t)next.next_epoch - 1;
}

/* --- at leisure --- */

static struct spool_segment *
pool_doubtful(struct spool_pool *p)
{
    for (size_t i = 0; i < p->n; i++) {
        if (p->all[i].state == SEGMENT_DOUBT)
            return &p->all[i];
    }
    return NULL;
}

/* A free segment whose blocks were never written. */
static struct spool_segment *
pool_unwritten(struct spool_pool *p)
{
    for (size_t i = 0; i < p->n; i++) {
        if (p->all[i].state == SPOOL_SEGMENT_FREE &&
            (p->all[i].compatible & SPOOL_SEGMENT_PREWRITTEN) == 0)
            return &p->all[i];
    }
    return NULL;
}

int
spool_pool_prepare(struct spool_pool *p)
{
    struct spool_segment *seg = pool_doubtful(p);
    struct spool_segment next;
    int fd, err;

    if (seg) {
        err = pool_rehead_free(p, seg, true);
        return err < 0 && err != ERR_NOTFOUND ? err : 1;
    }
    seg = pool_unwritten(p);
    if (!seg) {
        if (p->nfree >= (uint64_t)p->conf.ready + p->conf.reserve || pool_creatable(p) == 0)
            return 0;
        err = pool_create(p, true);
        return err < 0 ? err : 1;
    }
    next = *seg;
    next.compatible |= SPOOL_SEGMENT_PREWRITTEN;
    fd = segment_open(p, seg);
    if (fd < 0)
        return fd == ERR_NOTFOUND ? 1 : fd;
    err = pool_segment_zero(&p->disk, fd, next.size);
    if (err == 0)
        err = p->disk.io->sync_full(p->disk.io->ctx, fd);
    if (err == 0)
        err = pool_segment_head(&p->disk, fd, &next);
    fd_close(&fd);
    if (err < 0)
        return err;
    *seg = next;
    return 1;
}

unsigned
spool_pool_again(struct spool_pool *p)
{
    unsigned n = 0;

    for (size_t i = 0; i < p->naside;) {
        struct pool_aside a = p->aside[i];
        struct spool_segment s;
        if (pool_look(p, a.number, &s) < 0 || s.epoch >= p->node.next_epoch ||
            pool_add(p, &s) < 0) {
            i++;
            continue;
        }
        p->aside[i] = p->aside[--p->naside];
        p->aside_bytes -= a.bytes;
        n++;
    }
    return n;
}

void
spool_pool_space(struct spool_pool *p, struct spool_space *ret)
{
    uint64_t segments = p->nfree + pool_creatable(p);
    uint64_t intake = segments > p->conf.reserve ? segments - p->conf.reserve : 0;

    *ret = (struct spool_space){
        .segments_free = p->nfree,
        .segments_used = p->n - p->nfree,
        .segments_unreadable = p->naside,
        .bytes_total = p->bytes + p->aside_bytes,
        .intake_bytes = intake * (p->conf.segment_size - SPOOL_UNIT),
        .intake_open = intake > 0,
        .direct = p->disk.direct,
        .direct_why = p->disk.direct ? "" : p->disk.direct_why,
    };
    pool_disk_space(&p->disk, &ret->bytes_free_disk);
}
