/*
 * tests/unit/spool_rig.h - a role in miniature for a writer over the twin of a disk: it hands out
 * segments, offers records whose bytes follow from their ids, and reads back what a disk holds.
 */
#ifndef GAPURA_SPOOL_RIG_H
#define GAPURA_SPOOL_RIG_H

#include "spool_twin.h"

/* A record whose bytes follow from (epoch, seq): so anyone can check them. */
struct note {
    struct spool_out out;
    struct rig *rig;
    uint32_t epoch;
    uint64_t seq;
    uint8_t *payload, *body;
    size_t npayload, nbody;
    struct iovec pieces[3];
    bool done;
    int status;
    size_t done_at; /* index of its DONE in the log */
    bool gone;      /* its segment was recycled */
    size_t gone_at;
};

#define RIG_NOTES 8192
struct rig { /* a stream's owner */
    struct twin *twin;
    struct spool_writer *writer;
    int wake;
    uint32_t epoch;
    uint64_t next_seq; /* of segments */
    size_t segment_size;
    unsigned segments_left; /* that need_segment may make; then starve */
    unsigned first_file;    /* files are taken in a ring from here, made when missing */
    unsigned files;
    uint64_t left_number;
    bool left_failed;
    unsigned nleft, nfailed;
    struct note *notes[RIG_NOTES];
    unsigned nnotes;
};

/* The pool's law: what begins with VOID records outlives the earlier segments of its epoch. */
static inline bool
twin_holds_back(const struct twin *t, unsigned file)
{
    struct spool_segment s, other;
    struct spool_batch b;

    if (file >= t->nfiles || spool_segment_decode(t->files[file].now, &s) < 0 ||
        spool_batch_decode(t->files[file].now + SPOOL_UNIT, SPOOL_UNIT, &s, s.size - SPOOL_UNIT,
                           &b) < 0 ||
        (b.flags & SPOOL_BATCH_VOID) == 0)
        return false;
    for (unsigned i = 0; i < t->nfiles; i++) {
        if (spool_segment_decode(t->files[i].now, &other) == 0 && other.epoch == s.epoch &&
            other.seq < s.seq)
            return true;
    }
    return false;
}

static inline void
rig_need(void *ctx)
{
    struct rig *r = ctx;
    struct spool_segment s;
    unsigned file;
    int fd;

    if (r->segments_left == 0) {
        spool_writer_starve(r->writer);
        return;
    }
    r->segments_left--;
    do
        file = r->first_file + r->files++;
    while (twin_holds_back(r->twin, file));
    if (file >= r->twin->nfiles)
        file = twin_make(r->twin, r->segment_size);
    fd = twin_take(r->twin, file, r->epoch, r->next_seq++, &s);
    spool_writer_give(r->writer, fd, &s);
}

static inline void
rig_left(void *ctx, uint64_t number, bool failed)
{
    struct rig *r = ctx;

    r->left_number = number;
    r->left_failed = failed;
    r->nleft++;
    r->nfailed += failed;
}

static inline void
rig_wake(void *ctx)
{
    uint64_t one = 1;

    ENSURE(write(((struct rig *)ctx)->wake, &one, sizeof one) == sizeof one);
}

static inline void
rig_init(struct rig *r, struct twin *t, uint32_t epoch, size_t segment_size, uint64_t max_batch)
{
    struct spool_writer_ops ops = {rig_need, rig_left, rig_wake, NULL};
    struct spool_writer_conf conf = {.node = 77,
                                     .epoch = epoch,
                                     .stream = SPOOL_STREAM_GATE << 8,
                                     .max_batch = max_batch,
                                     .ring_size = 1 << 20,
                                     .io = &t->io};

    *r = (struct rig){.twin = t,
                      .epoch = epoch,
                      .segment_size = segment_size,
                      .segments_left = UINT32_MAX,
                      .first_file = t->nfiles};
    r->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ENSURE(spool_writer_create(&r->writer, &conf, &ops, r) == 0);
}

static inline void
rig_done(struct rig *r)
{
    spool_writer_free(r->writer);
    r->writer = NULL;
    fd_close(&r->wake);
}

static inline void
rig_free_notes(struct rig *r)
{
    for (unsigned i = 0; i < r->nnotes; i++) {
        free(r->notes[i]->payload);
        free(r->notes[i]->body);
        free(r->notes[i]);
    }
    r->nnotes = 0;
}

/* One turn of the role's loop: waits up to `ms` for the writer. */
static inline void
rig_turn(struct rig *r, int ms)
{
    struct pollfd p = {.fd = r->wake, .events = POLLIN};
    uint64_t n;

    if (poll(&p, 1, ms) == 1 && read(r->wake, &n, sizeof n) < 0)
        return;
    spool_writer_poll(r->writer);
}

static inline bool
rig_ready(struct rig *r)
{
    for (int i = 0; i < 2000; i++) {
        if (spool_writer_state(r->writer) == SPOOL_WRITER_READY)
            return true;
        rig_turn(r, 5);
    }
    return false;
}

static inline void
note_done(struct spool_out *out, int status)
{
    struct note *n = CONTAINER_OF(out, struct note, out);
    struct twin *t = n->rig->twin;

    n->done = true;
    n->status = status;
    pthread_mutex_lock(&t->lock);
    n->done_at = t->nops;
    twin_log(t, (struct twin_op){.kind = TWIN_DONE, .subject = n, .status = status});
    pthread_mutex_unlock(&t->lock);
    if (status == 0) {
        bool synced = twin_is_synced(t, out->loc.segment, out->loc.offset,
                                     SPOOL_RECORD_SIZE(out->payload.n)) &&
                      (out->body_len == 0 || twin_is_synced(t, out->body_loc.segment,
                                                            out->body_loc.offset, out->body_len));
        if (!synced)
            OK(false, "done(0) only behind a sync that covers it");
    }
}

/* The bytes of (epoch, seq): length chosen by the caller. */
static inline void
note_fill(uint8_t *p, size_t n, uint32_t epoch, uint64_t seq, uint64_t what)
{
    uint64_t state = (uint64_t)epoch << 40 ^ seq << 8 ^ what;

    for (size_t i = 0; i < n; i += 8) {
        uint64_t v = twin_random(&state);
        memcpy(p + i, &v, MIN(sizeof v, n - i));
    }
}

static inline struct note *
rig_note(struct rig *r, size_t npayload, size_t nbody)
{
    struct note *n = calloc(1, sizeof *n);

    ENSURE(n && r->nnotes < RIG_NOTES);
    n->rig = r;
    n->epoch = r->epoch;
    n->seq = spool_writer_seq(r->writer);
    n->npayload = npayload;
    n->nbody = nbody;
    n->payload = malloc(npayload + 1);
    n->body = malloc(nbody + 1);
    ENSURE(n->payload && n->body);
    note_fill(n->payload, npayload, n->epoch, n->seq, 1);
    note_fill(n->body, nbody, n->epoch, n->seq, 2);
    n->pieces[0] = (struct iovec){n->body, nbody / 3};
    n->pieces[1] = (struct iovec){n->body + nbody / 3, 0};
    n->pieces[2] = (struct iovec){n->body + nbody / 3, nbody - nbody / 3};
    n->out = (struct spool_out){.type = SPOOL_MESSAGE,
                                .seq = n->seq,
                                .payload = str_of(n->payload, npayload),
                                .body = n->pieces,
                                .nbody = nbody ? 3 : 0,
                                .done = note_done};
    r->notes[r->nnotes++] = n;
    return n;
}

static inline bool
rig_settle(struct rig *r) /* until all offered records are done */
{
    for (int i = 0; i < 4000; i++) {
        bool open = false;
        for (unsigned k = r->nnotes; k-- > 0 && !open;)
            open = !r->notes[k]->done;
        if (!open)
            return true;
        rig_turn(r, 5);
    }
    return false;
}

/* What a reading found, with voids to apply. */
struct found {
    struct spool_place place;
    struct spool_record record;
    struct spool_segment segment;
    bool voided;
};
struct finding {
    struct found *items;
    size_t n, cap;
    struct spool_void voids[4096];
    size_t nvoids;
    unsigned damages, ends;
    uint64_t lost_after, lost_before;
};

static inline int
finding_record(void *ctx, const struct spool_place *place, const struct spool_record *record)
{
    struct finding *f = ctx;

    if (record->type == SPOOL_VOID) {
        ENSURE(f->nvoids < ARRAY_LEN(f->voids));
        return spool_void_decode(record, &f->voids[f->nvoids++]);
    }
    if (f->n == f->cap) {
        f->cap = f->cap ? f->cap * 2 : 256;
        f->items = reallocarray(f->items, f->cap, sizeof *f->items);
        ENSURE(f->items);
    }
    f->items[f->n] = (struct found){*place, *record, *place->segment, false};
    f->items[f->n++].record.payload = STR_NONE; /* not valid later: read again by its place */
    return 0;
}

static inline void
finding_damage(void *ctx, UNUSED const struct spool_segment *s, UNUSED uint64_t from,
               UNUSED uint64_t to, uint64_t after, uint64_t before)
{
    struct finding *f = ctx;

    f->damages++;
    f->lost_after = after;
    f->lost_before = before;
}

static inline void
finding_end(void *ctx, UNUSED const struct spool_segment *s)
{
    ((struct finding *)ctx)->ends++;
}

static const struct spool_reader_ops finding_ops = {finding_record, finding_damage, finding_end};

static inline void
finding_void(struct finding *f)
{
    for (size_t i = 0; i < f->n; i++) {
        for (size_t v = 0; v < f->nvoids; v++) {
            if (f->items[i].segment.epoch == f->voids[v].epoch &&
                f->items[i].record.seq >= f->voids[v].first &&
                f->items[i].record.seq <= f->voids[v].last)
                f->items[i].voided = true;
        }
    }
}

/* Recovery of the whole spool, epoch by epoch. */
static inline int
finding_read(struct finding *f, struct twin *t)
{
    struct spool_listing all;
    struct why why;
    size_t first = 0, n;
    int err = spool_list(t->dir, &t->io, &all, &why);

    f->n = f->nvoids = 0;
    f->damages = f->ends = 0;
    for (; err == 0 && first < all.n; first += n) {
        for (n = 1; first + n < all.n && all.items[first + n].epoch == all.items[first].epoch;)
            n++;
        err = spool_epoch_read(t->dir, all.items + first, n, &t->io, &finding_ops, f);
    }
    if (err == 0) {
        finding_void(f);
        spool_listing_done(&all);
    }
    return err;
}

static inline struct found *
finding_get(struct finding *f, uint32_t epoch, uint64_t seq)
{
    for (size_t i = 0; i < f->n; i++) {
        if (f->items[i].segment.epoch == epoch && f->items[i].record.seq == seq)
            return &f->items[i];
    }
    return NULL;
}

/* Do the bytes in the image, at the found place, equal the note's? */
static inline bool
found_equals(struct twin *t, const struct found *f, const struct note *n)
{
    for (unsigned i = 0; i < t->nfiles; i++) {
        const uint8_t *p = t->files[i].image ? t->files[i].image : t->files[i].now;
        if (t->files[i].number != f->segment.number)
            continue;
        p += f->place.loc.offset + SPOOL_RECORD_HEADER;
        if (f->record.length != SPOOL_RECORD_SIZE(n->npayload) ||
            memcmp(p, n->payload, n->npayload) != 0 || f->record.body_len != n->nbody)
            return false;
        p = (t->files[i].image ? t->files[i].image : t->files[i].now) + f->place.batch.offset +
            f->record.body_off;
        return memcmp(p, n->body, n->nbody) == 0;
    }
    return false;
}

/* The end of a test: writer, notes, disk and what was found. */
static inline void
rig_finish(struct rig *r, struct finding *f)
{
    if (r->writer)
        rig_done(r);
    rig_free_notes(r);
    twin_done(r->twin);
    free(f->items);
    *f = (struct finding){0};
}

#endif
