/*
 * gate/chunk.c - large bodies: pieces that go into the log while the client still sends.
 *
 * Called by session_data.c (flush) and when a message with chunks comes to nothing (void). A chunk
 * is written once for each variant of the message, from the same memory. Chunks live in the log
 * until their message commits or is voided, so an abandoned one is voided by its id; when the log
 * has no room for that the id is kept and tried again.
 */
#include "gate/inner.h"
#include "gate/session.h"

#include <stdlib.h>

#include "core/clock.h"
#include "spool/record.h"

#define CHUNKS_FIRST 8u
#define VOID_RETRY   NS_PER_S

struct chunk_out {
    struct chunk *chunk;
    unsigned variant, index;
    struct spool_out out;
};
struct chunk {
    struct tx *tx;
    struct block *blocks;
    uint32_t bytes;
    unsigned left; /* outs not told yet */
    struct buf front;
    struct iovec pieces[BODY_PIECES];
    struct chunk_out outs[];
};

struct chunk_void {
    struct chunk_void *next;
    struct gate *gate;
    struct spool_out out;
    bool under_way;
    char payload[64];
};

static void
chunk_free(struct chunk *c)
{
    block_give_all(&c->tx->gate->blocks, c->blocks);
    buf_done(&c->front);
    free(c);
}

static void
chunk_told(struct spool_out *out, int status)
{
    struct chunk_out *o = CONTAINER_OF(out, struct chunk_out, out);
    struct chunk *c = o->chunk;
    struct tx *tx = c->tx;
    struct spool_chunk *slot = &tx->variants[o->variant].chunks[o->index];

    if (status < 0 && tx->status == 0)
        tx->status = status;
    *slot = (struct spool_chunk){.loc = out->body_loc,
                                 .length = out->body_len,
                                 .crc = out->body_crc,
                                 .generation = out->generation};
    tx->pending--;
    if (--c->left == 0) {
        tx->pending_bytes -= c->bytes;
        chunk_free(c);
    }
    accept_progress(tx);
}

/* A place in the variant's list of chunks; the arena's ceiling is met long after max_size. */
static bool
chunk_slot(struct tx_variant *v)
{
    struct spool_chunk *more;
    uint32_t cap;

    if (v->nchunks < v->cap_chunks)
        return true;
    cap = v->cap_chunks ? v->cap_chunks * 2 : CHUNKS_FIRST;
    more = ARENA_ARRAY(&v->tx->arena, struct spool_chunk, cap);
    if (!more)
        return false;
    if (v->nchunks)
        memcpy(more, v->chunks, v->nchunks * sizeof(*more));
    v->chunks = more;
    v->cap_chunks = cap;
    return true;
}

/* The place of what stands before all others, in every variant. */
static bool
chunk_reserve(struct tx *tx)
{
    for (unsigned i = 0; i < tx->nvariants; i++) {
        if (!chunk_slot(&tx->variants[i]))
            return false;
        tx->variants[i].nchunks = 1;
    }
    return true;
}

static int
chunk_send(struct chunk *c, unsigned npieces, bool first)
{
    struct tx *tx = c->tx;
    struct spool_writer *writer = tx->gate->links.writer;

    for (unsigned i = 0; i < tx->nvariants; i++) {
        struct tx_variant *v = &tx->variants[i];
        struct chunk_out *o = &c->outs[i];
        int rc;

        if (!first && !chunk_slot(v))
            return ERR_LIMIT;
        o->chunk = c;
        o->variant = i;
        o->index = first ? 0 : v->nchunks;
        o->out = (struct spool_out){.type = SPOOL_CHUNK,
                                    .seq = v->id.seq,
                                    .body = c->pieces,
                                    .nbody = npieces,
                                    .done = chunk_told};
        rc = spool_writer_add(writer, &o->out);
        if (rc < 0)
            return rc;
        if (!first)
            v->nchunks++;
        c->left++;
        tx->pending++;
    }
    return 0;
}

/* What is held becomes a chunk; `first`: our fields alone, which go where the place is kept. */
static void
chunk_make(struct tx *tx, bool first)
{
    struct body *b = &tx->body;
    struct chunk *c = calloc(1, sizeof(*c) + tx->nvariants * sizeof(c->outs[0]));
    unsigned n;

    if (!c) {
        tx->status = ERR_NOMEM;
        return;
    }
    c->tx = tx;
    n = body_pieces(b, b->fronted);
    memcpy(c->pieces, b->pieces, n * sizeof(c->pieces[0]));
    c->blocks = b->first;
    c->bytes = b->held;
    if (b->fronted) { /* the fields go with the chunk: their bytes stay until it is told */
        c->front = b->front;
        buf_init(&b->front, c->front.max);
        b->fronted = false;
    }
    b->first = b->last = NULL;
    b->nblocks = 0;
    b->held = 0;
    b->skip = 0;
    b->header = NULL;
    b->header_n = 0;
    b->chunked = true;
    tx->pending_bytes += c->bytes;
    tx->status = chunk_send(c, n, first);
    if (c->left)
        return;
    tx->pending_bytes -= c->bytes;
    chunk_free(c);
}

void
chunk_flush(struct tx *tx)
{
    if (tx->status < 0 || !tx->body.held)
        return;
    if (!tx->body.chunked && !tx->may_relay) {
        if (!chunk_reserve(tx)) {
            tx->status = ERR_LIMIT;
            return;
        }
        tx->reserved = true;
    }
    chunk_make(tx, false);
}

void
chunk_results(struct tx *tx)
{
    if (tx->status < 0 || !tx->reserved)
        return;
    front_results(tx, true);
    tx->body.fronted = true;
    if (tx->status == 0)
        chunk_make(tx, true);
}

static void
void_told(struct spool_out *out, int status)
{
    struct chunk_void *v = CONTAINER_OF(out, struct chunk_void, out), **at;

    struct gate *gate = v->gate;

    v->under_way = false;
    gate->voids_under_way--;
    if (status < 0) {
        loop_timer_set(&gate->voids_timer, VOID_RETRY);
    } else {
        for (at = &gate->voids; *at != v; at = &(*at)->next)
            continue;
        *at = v->next;
        free(v);
    }
    gate_session_gone(gate);
}

static void
void_send(struct chunk_void *v)
{
    v->out.seq = 0;
    v->out.done = void_told;
    if (!v->gate->links.writer)
        return; /* the end: recovery finds chunks without a message */
    if (spool_writer_add(v->gate->links.writer, &v->out) == 0) {
        v->under_way = true;
        v->gate->voids_under_way++;
    } else {
        loop_timer_set(&v->gate->voids_timer, VOID_RETRY);
    }
}

void
chunk_void_retry(void *ctx)
{
    struct gate *gate = ctx;

    for (struct chunk_void *v = gate->voids; v; v = v->next) {
        if (!v->under_way)
            void_send(v);
    }
}

void
chunk_void_free(struct gate *gate)
{
    while (gate->voids) {
        struct chunk_void *next = gate->voids->next;

        free(gate->voids);
        gate->voids = next;
    }
}

/* One record for one id: ids of variants need not be neighbours. */
static void
void_id(struct gate *gate, const struct spool_id *id)
{
    struct spool_void ids = {.epoch = id->epoch, .first = id->seq, .last = id->seq};
    struct chunk_void *v = calloc(1, sizeof(*v));
    struct buf payload;

    if (!v)
        return; /* recovery finds the chunks without a message */
    buf_init(&payload, sizeof(v->payload));
    spool_void_encode(&payload, &ids);
    if (payload.failed) {
        buf_done(&payload);
        free(v);
        return;
    }
    memcpy(v->payload, payload.p, payload.n);
    v->gate = gate;
    v->out = (struct spool_out){.type = SPOOL_VOID, .payload = str_of(v->payload, payload.n)};
    buf_done(&payload);
    v->next = gate->voids;
    gate->voids = v;
    void_send(v);
}

void
chunk_void(struct tx *tx)
{
    for (unsigned i = 0; i < tx->nvariants; i++) {
        struct tx_variant *v = &tx->variants[i];

        if (v->nchunks || v->added)
            void_id(tx->gate, &v->id);
    }
}
