/*
 * courier/letter.c - messages out of ring or file.
 *
 * Called by sessions, bounces, compaction and control. Never waits for anything but the disk, never
 * changes the log.
 */
#include "courier/letter.h"

#include "core/crc32c.h"
#include "spool/share.h"

#define LETTER_MAX  (64u << 20) /* a record with a hundred thousand recipients is far below */
#define PIECE_WHOLE (256u << 10)
#define PIECE_PART  (64u << 10)

void
letter_init(struct letter *l)
{
    *l = (struct letter){0};
    buf_init(&l->bytes, LETTER_MAX);
}

void
letter_done(struct letter *l)
{
    buf_done(&l->bytes);
}

/* The ring that may still hold that segment, and where in it. */
static const struct spool_share *
ring_of(struct courier *c, const struct segment *g, uint64_t offset, uint64_t *ret_pos)
{
    const struct spool_share *share = NULL;

    if (g->start == SEGMENT_START_UNKNOWN || offset < SPOOL_UNIT)
        return NULL;
    if (g->own)
        share = g->s.epoch == c->own_epoch ? spool_writer_share(c->links.writer) : NULL;
    for (unsigned i = 0; i < COURIER_TAILS && !share; i++) {
        const struct courier_tail *t = &c->tails[i];
        if (t->has_share && t->epoch == g->s.epoch)
            share = &t->share;
    }
    *ret_pos = g->start + (offset - SPOOL_UNIT);
    return share;
}

/* 0 and *ret_ring, or negative. */
static int
log_read(struct courier *c, const struct segment *g, uint64_t offset, void *dst, size_t n,
         bool *ret_ring)
{
    struct spool_loc loc = {g->s.number, offset};
    uint64_t pos = 0;
    const struct spool_share *share = ring_of(c, g, offset, &pos);
    const char *ahead = NULL;

    *ret_ring = share && spool_share_copy(share, pos, dst, n) == 0;
    if (*ret_ring)
        return 0;
    if ((g->left || g->dead) && n <= WINDOW_SIZE / 4)
        ahead = windows_read(&c->windows, c->files, &g->s, offset, n);
    if (!ahead)
        return spool_files_read(c->files, &loc, g->s.generation, dst, n);
    memcpy(dst, ahead, n);
    return 0;
}

int
letter_decode(struct letter *l, const struct spool_record *r, uint32_t node, uint32_t epoch)
{
    l->record = *r;
    l->copy = r->type == SPOOL_COPY;
    l->states = STR_NONE;
    l->found = (struct letter_found){0};
    if (l->copy)
        return spool_copy_decode(r, &l->env, &l->states);
    return spool_envelope_decode(r, node, epoch, &l->env);
}

int
letter_load(struct courier *c, uint32_t message, struct letter *l)
{
    const struct index_message *m = index_message(&c->index, message);
    const struct segment *g;
    struct spool_record r;
    size_t at = 0;
    bool ring;
    char *room;
    int err;

    if (m->segment == SEGMENT_NONE)
        return ERR_NOTFOUND;
    g = segments_at(&c->segments, m->segment);
    buf_clear(&l->bytes);
    room = buf_room(&l->bytes, m->record_len);
    if (!room)
        return ERR_NOMEM;
    err = log_read(c, g, m->record, room, m->record_len, &ring);
    if (err < 0)
        return err;
    buf_used(&l->bytes, m->record_len);
    err = spool_record_next(buf_view(&l->bytes), &at, &r);
    if (err < 1 || (r.type != SPOOL_MESSAGE && r.type != SPOOL_COPY))
        return ERR_CORRUPT;
    err = letter_decode(l, &r, c->links.node, m->epoch);
    if (err == 0 && (l->env.id.seq != m->seq || l->env.id.epoch != m->epoch))
        err = ERR_CORRUPT;
    return err;
}

int
letter_next(const struct letter *l, struct letter_walk *w, uint32_t *ret_ordinal,
            struct spool_rcpt *ret)
{
    struct spool_copy_state state;
    int got = spool_rcpt_next(&l->env, &w->at, ret);

    if (got <= 0)
        return got;
    *ret_ordinal = w->i;
    if (l->copy) {
        got = spool_copy_state_at(l->states, w->i, &state);
        if (got < 0)
            return ERR_CORRUPT;
        *ret_ordinal = state.ordinal;
    }
    w->i++;
    return 1;
}

struct letter_walk
letter_seek(const struct letter *l, uint32_t ordinal)
{
    struct letter_found *found = &((struct letter *)(uintptr_t)l)->found;
    struct letter_walk none = {0}, before, w = found->ordinal <= ordinal ? found->walk : none;
    struct spool_rcpt r;
    uint32_t at;

    if (ordinal == 0)
        return none;
    for (before = w; letter_next(l, &w, &at, &r) == 1; before = w) {
        if (at < ordinal)
            continue;
        found->walk = before;
        found->ordinal = at;
        return at == ordinal ? before : none;
    }
    return none;
}

bool
letter_wants(const struct letter *l, uint8_t notify)
{
    struct letter_found *found = &((struct letter *)(uintptr_t)l)->found;
    struct letter_walk w = {0};
    struct spool_rcpt r;
    uint32_t at;

    while (!found->asked && letter_next(l, &w, &at, &r) == 1)
        found->notify |= r.notify;
    found->asked = true;
    return (found->notify & notify) != 0;
}

int
letter_rcpt(const struct letter *l, uint32_t ordinal, struct spool_rcpt *ret)
{
    struct letter_walk w = letter_seek(l, ordinal);
    uint32_t at;

    while (letter_next(l, &w, &at, ret) == 1) {
        if (at == ordinal)
            return 0;
    }
    return ERR_NOTFOUND;
}

void
letter_body_init(struct body *b, struct courier *c)
{
    *b = (struct body){.c = c};
    buf_init(&b->piece, PIECE_WHOLE);
}

void
letter_body_done(struct body *b)
{
    buf_done(&b->piece);
}

/* Sets the part to read next: false if the segment is not known any more. */
static int
body_part(struct body *b, uint64_t segment, uint64_t generation, uint64_t offset, uint32_t n,
          uint32_t crc)
{
    uint32_t slot = segments_find(&b->c->segments, segment, generation);

    if (slot == SEGMENT_NONE)
        return ERR_STALE;
    b->segment = segment;
    b->generation = generation;
    b->offset = offset;
    b->left = n;
    b->want_crc = crc;
    b->crc = spool_salt(&segments_at(&b->c->segments, slot)->s);
    b->check = false;
    b->one = n <= PIECE_WHOLE;
    return 0;
}

int
letter_body_open(struct body *b, uint32_t message, const struct letter *l)
{
    const struct index_message *m = index_message(&b->c->index, message);
    const struct segment *g = segments_at(&b->c->segments, m->segment);

    b->env = NULL;
    b->left = 0;
    b->chunk_at = 0;
    if (l->env.nchunks > 0) {
        b->env = &l->env;
        return 0;
    }
    return body_part(b, g->s.number, g->s.generation, m->body, m->body_len, l->record.body_crc);
}

static int
body_next_chunk(struct body *b)
{
    struct spool_chunk chunk;
    int got = b->env ? spool_chunk_next(b->env, &b->chunk_at, &chunk) : 0;

    if (got <= 0)
        return got;
    got = body_part(b, chunk.loc.segment, chunk.generation, chunk.loc.offset, chunk.length,
                    chunk.crc);
    return got < 0 ? got : 1;
}

static int
body_read(struct body *b, uint32_t n)
{
    uint32_t slot = segments_find(&b->c->segments, b->segment, b->generation);
    char *room;
    bool ring;
    int err;

    if (slot == SEGMENT_NONE)
        return ERR_STALE;
    buf_clear(&b->piece);
    room = buf_room(&b->piece, n);
    if (!room)
        return ERR_NOMEM;
    err = log_read(b->c, segments_at(&b->c->segments, slot), b->offset, room, n, &ring);
    if (err < 0)
        return err;
    buf_used(&b->piece, n);
    b->offset += n;
    b->left -= n;
    if (!ring)
        b->check = true;
    if (b->check || !b->one)
        b->crc = crc32c(b->crc, room, n);
    if (b->left == 0 && b->check && b->crc != b->want_crc)
        return ERR_CORRUPT;
    return 0;
}

int
letter_body_pull(void *body, struct str *ret)
{
    struct body *b = body;
    int err;

    while (b->left == 0) {
        err = body_next_chunk(b);
        if (err < 0)
            return err;
        if (err == 0) {
            *ret = STR_NONE;
            return 0;
        }
    }
    err = body_read(b, b->one ? b->left : MIN(b->left, PIECE_PART));
    if (err == 0)
        *ret = buf_view(&b->piece);
    return err;
}

/* With its blank line; 0: it does not end here. */
static size_t
head_end(struct str text, size_t from)
{
    ssize_t end = str_find(str_from(text, from), STR("\r\n\r\n"));

    return end < 0 ? 0 : from + (size_t)end + 4;
}

int
letter_head(struct body *b, struct str first, struct buf *room, struct str *ret)
{
    size_t n = head_end(first, 0);
    struct str piece = first;

    *ret = n ? str_sub(first, 0, n) : first;
    if (n || !first.n || (b->left == 0 && !b->env)) /* all of it is here */
        return 0;
    buf_init(room, LETTER_HEAD_MAX);
    while (piece.n) {
        size_t from = room->n < 3 ? 0 : room->n - 3;
        int err;

        buf_str(room, piece);
        if (room->failed)
            return room->n + piece.n > LETTER_HEAD_MAX ? ERR_LIMIT : ERR_NOMEM;
        n = head_end(buf_view(room), from);
        *ret = n ? str_sub(buf_view(room), 0, n) : buf_view(room);
        if (n)
            return 0;
        err = letter_body_pull(b, &piece);
        if (err < 0)
            return err;
    }
    return 0;
}
