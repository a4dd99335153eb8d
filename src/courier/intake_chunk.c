/*
 * courier/intake_chunk.c - which segments hold pieces of which large body.
 *
 * Called by intake. A piece keeps its segment from the moment it is read: first for the message
 * that has not committed, then for the message that names it.
 */
#include "courier/intake_inner.h"
#include "courier/unseen.h"

struct chunk_hold {
    uint8_t key[12]; /* epoch, sequence */
    bool committed;
    uint32_t n, cap;
    struct {
        uint32_t slot;
        uint64_t bytes;
    } items[];
};

static struct str
hold_key(uint8_t room[12], uint32_t epoch, uint64_t seq)
{
    memcpy(room, &epoch, sizeof epoch);
    memcpy(room + 4, &seq, sizeof seq);
    return str_of(room, 12);
}

/* Adds one more piece; the hold may move. NULL: no memory. */
static struct chunk_hold *
hold_add(struct courier *c, struct chunk_hold *h, uint32_t epoch, uint64_t seq, uint32_t slot,
         uint64_t bytes)
{
    uint32_t cap = h ? h->cap : 0;

    if (!h || h->n == h->cap) {
        struct chunk_hold *grown;
        cap = cap ? 2 * cap : 4;
        grown = realloc(h, sizeof *h + cap * sizeof h->items[0]);
        if (!grown)
            return NULL;
        if (!h) {
            *grown = (struct chunk_hold){0};
            hold_key(grown->key, epoch, seq);
        }
        h = grown;
        h->cap = cap;
    }
    segments_hold(&c->segments, slot, bytes);
    h->items[h->n].slot = slot;
    h->items[h->n].bytes = bytes;
    h->n++;
    return h;
}

static void
hold_free(struct courier *c, struct chunk_hold *h)
{
    if (!h)
        return;
    for (uint32_t i = 0; i < h->n; i++)
        segments_release(&c->segments, h->items[i].slot, h->items[i].bytes);
    free(h);
}

static struct chunk_hold *
hold_take(struct courier *c, uint32_t epoch, uint64_t seq)
{
    uint8_t room[12];

    return map_del(&c->chunk_segments, hold_key(room, epoch, seq));
}

/* Without the table's entry the segments stay pinned: too late is safe, too early is not. */
static void
hold_put(struct courier *c, struct chunk_hold *h)
{
    if (map_put(&c->chunk_segments, str_of(h->key, sizeof h->key), h) < 0)
        free(h);
}

void
intake_chunk(struct courier *c, uint32_t slot, uint32_t epoch, const struct spool_record *r)
{
    uint32_t message = index_message_find(&c->index, epoch, r->seq);
    struct chunk_hold *h, *grown;

    if (message != INDEX_NONE)
        return; /* read again: the message names it already */
    h = hold_take(c, epoch, r->seq);
    grown = hold_add(c, h, epoch, r->seq, slot, r->body_len);
    if (!grown) {
        segments_pin(&c->segments, slot);
        grown = h;
    }
    if (grown)
        hold_put(c, grown);
}

void
intake_chunks_set(struct courier *c, uint32_t message, const struct spool_envelope *env)
{
    struct index_message *m = index_message(&c->index, message);
    struct chunk_hold *old = hold_take(c, m->epoch, m->seq), *h = NULL;
    struct spool_chunk chunk;
    size_t at = 0;

    m->chunked = 1;
    while (spool_chunk_next(env, &at, &chunk) == 1) {
        uint32_t slot = segments_find(&c->segments, chunk.loc.segment, chunk.generation);
        struct chunk_hold *grown;
        if (slot == SEGMENT_NONE)
            continue; /* found out when the body is read: the message is then held */
        grown = hold_add(c, h, m->epoch, m->seq, slot, chunk.length);
        if (grown)
            h = grown;
        else
            segments_pin(&c->segments, slot);
    }
    if (h) {
        h->committed = true;
        hold_put(c, h);
    }
    hold_free(c, old);
}

void
intake_chunks_drop(struct courier *c, uint32_t epoch, uint64_t seq)
{
    hold_free(c, hold_take(c, epoch, seq));
}

bool
intake_chunks_in(struct courier *c, uint32_t epoch, uint64_t seq, uint32_t slot)
{
    uint8_t room[12];
    const struct chunk_hold *h = map_get(&c->chunk_segments, hold_key(room, epoch, seq));

    for (uint32_t i = 0; h && i < h->n; i++) {
        if (h->items[i].slot == slot)
            return true;
    }
    return false;
}

static void
drop_matching(struct courier *c, uint32_t epoch, uint64_t first, uint64_t last, bool committed_too)
{
    bool again = true;

    while (again) {
        struct chunk_hold *h;
        struct str key;
        size_t at = 0;
        again = false;
        while ((h = map_next(&c->chunk_segments, &at, &key)) != NULL) {
            uint32_t e;
            uint64_t seq;
            memcpy(&e, h->key, sizeof e);
            memcpy(&seq, h->key + 4, sizeof seq);
            if (e != epoch || seq < first || seq > last || (h->committed && !committed_too))
                continue;
            map_del(&c->chunk_segments, key);
            hold_free(c, h);
            again = true; /* removal asks for a new walk */
            break;
        }
    }
}

void
intake_chunks_void(struct courier *c, uint32_t epoch, uint64_t first, uint64_t last)
{
    if (last - first < 4096) {
        for (uint64_t seq = first; seq <= last; seq++)
            intake_chunks_drop(c, epoch, seq);
        return;
    }
    drop_matching(c, epoch, first, last, true);
}

void
intake_chunks_over(struct courier *c, uint32_t epoch)
{
    if (!unseen_any(c)) /* else the message that names them may be there */
        drop_matching(c, epoch, 0, UINT64_MAX, false);
}

void
intake_done(struct courier *c)
{
    struct chunk_hold *h;
    struct str key;
    size_t at = 0;

    while ((h = map_next(&c->chunk_segments, &at, &key)) != NULL)
        free(h);
    map_done(&c->chunk_segments);
}
