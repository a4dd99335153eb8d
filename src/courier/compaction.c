/*
 * courier/compaction.c - copies what is still open out of segments that hold little else, so that
 * they can be recycled: one old message must not keep sixty megabytes, nor the outcomes that speak
 * of its neighbours.
 *
 * Called by the second's tick, by news of space and by its own copies. Two laws choose the victim:
 * at any time a segment that is nearly empty; in calm, when little is taken in or delivered, the
 * one that gives most space for what must be copied, until settled things take no more than
 * spool.slack percent. One segment at a time, a few megabytes a turn; moves bytes, never ids. A
 * message that a session reads is left for the next look. Never copies for slack when space is low:
 * the reserve is for what gives space at once.
 */
#include "courier/compaction.h"

#include "core/event.h"
#include "courier/age.h"
#include "courier/intake.h"
#include "courier/letter.h"
#include "courier/outcome.h"
#include "courier/outs.h"
#include "courier/own.h"
#include "courier/purge.h"
#include "courier/scope.h"
#include "courier/slack.h"

#define LOOK_EVERY  10u /* seconds between looks for a victim */
#define SHARE_LOW   30u /* percent alive below which a segment is compacted */
#define SHARE_TIGHT 85u /* the same when space is low */
#define TURN_BYTES  (UINT64_C(2) << 20)
#define TURN_ROWS   4096u /* messages looked at in a turn */
#define FLIGHT_MAX  (UINT64_C(16) << 20)
#define FLIGHT_CALM (UINT64_C(8) << 20) /* an intent may have to wait behind it */
#define CALM_RATE   20u                 /* messages in and out a second that still count as calm */
#define CALM_AFTER  3u                  /* seconds of it */

struct compaction {
    struct loop_call turn;
    uint32_t victim; /* slot, SEGMENT_NONE: none */
    uint64_t generation;
    uint32_t cursor; /* message number */
    uint64_t flight; /* bytes under way */
    bool tight;
    bool slack; /* the victim was chosen in calm, to get below spool.slack */
    unsigned seconds, calm;
    uint64_t copied;
    struct letter letter;
};

/* A large body on its way, piece by piece. */
struct chunk_move {
    struct courier *c;
    uint32_t message, epoch;
    uint64_t seq;
    struct letter letter;
    size_t at;       /* in the old list */
    struct buf list; /* the new one */
    uint32_t n;
};

static void compaction_turn(void *ctx);

struct compaction *
compaction_create(struct courier *c)
{
    struct compaction *k = calloc(1, sizeof *k);

    if (k) {
        k->victim = SEGMENT_NONE;
        k->turn = (struct loop_call){.fn = compaction_turn, .ctx = c};
        letter_init(&k->letter);
    }
    return k;
}

void
compaction_free(struct courier *c)
{
    struct compaction *k = c->compaction;

    if (!k)
        return;
    loop_call_cancel(c->loop, &k->turn);
    letter_done(&k->letter);
    free(k);
    c->compaction = NULL;
}

/* Envelope, recipients and states of what is open now; false: nothing is, or no memory. */
static bool
copy_payload(struct courier *c, uint32_t message, const struct letter *l, struct str chunks,
             uint32_t nchunks, struct buf *out)
{
    const struct index_message *m = index_message(&c->index, message);
    struct spool_rcpt *rcpts = calloc(m->open, sizeof *rcpts), r;
    struct spool_copy_state *states = calloc(m->open, sizeof *states);
    struct spool_envelope env = l->env;
    struct letter_walk w = {0};
    uint32_t ordinal;

    env.nrcpt = 0;
    while (rcpts && states && env.nrcpt < m->open && letter_next(l, &w, &ordinal, &r) == 1) {
        uint32_t row = index_row_find(&c->index, message, ordinal);
        const struct index_row *ir = row == INDEX_NONE ? NULL : index_row(&c->index, row);
        if (!ir || ir->state == ROW_SETTLING)
            continue;
        rcpts[env.nrcpt] = r;
        states[env.nrcpt] = (struct spool_copy_state){.ordinal = ordinal, .attempts = ir->attempts};
        if (ir->state == ROW_WAITING) {
            states[env.nrcpt].due = age_clock(c, courier_tick_wall(c, ir->due));
            states[env.nrcpt].result = ir->flags & ROW_ASIDE ? SPOOL_ASIDE : SPOOL_RETRY;
        } else if (ir->state == ROW_HELD) {
            states[env.nrcpt].result = SPOOL_HELD;
        }
        env.nrcpt++;
    }
    env.nchunks = nchunks;
    env.chunks_wire = chunks;
    if (env.nrcpt > 0)
        spool_copy_encode(out, &env, rcpts, states);
    free(rcpts);
    free(states);
    return env.nrcpt > 0 && !out->failed;
}

/* A copy came to rest, or failed: the turn goes on if it waited for that. */
static void
flight_over(struct courier *c, const struct out *o, int status)
{
    struct compaction *k = c->compaction;
    uint32_t slot = segments_find(&c->segments, o->o.loc.segment, o->o.generation);

    if (!k)
        return;
    k->flight -= MIN(k->flight, o->number);
    if (status == 0 && slot != SEGMENT_NONE && k->calm >= CALM_AFTER &&
        segments_at(&c->segments, slot)->dense == 0)
        segments_at(&c->segments, slot)->dense = o->o.loc.offset;
    if (!k->slack || c->stopping)
        return;
    if (k->victim == SEGMENT_NONE ? k->flight == 0 : k->flight < FLIGHT_CALM / 2)
        loop_defer_next(c->loop, &k->turn);
}

static void
copy_durable(struct out *o, int status)
{
    struct courier *c = o->c;
    struct letter l = {0};
    struct spool_record r = {.type = SPOOL_COPY, .payload = buf_view(&o->payload)};
    struct intake_own own = {
        .loc = o->o.loc,
        .body_loc = o->o.body_loc,
        .generation = o->o.generation,
        .record_len = (uint32_t)SPOOL_RECORD_SIZE(o->payload.n),
        .body_len = o->o.body_len,
    };

    if (status == 0 && out_message_is(o) && letter_decode(&l, &r, c->links.node, o->epoch) == 0)
        intake_moved(c, o->message, &own, &l.env);
    if (status == 0)
        purges_copied(c, o->epoch, o->seq, own_segment(c, &o->o.loc, o->o.generation));
    flight_over(c, o, status);
    out_give(o);
}

/* Held rows carry their reason in an outcome of their own, late ones that their sender was told,
 * and others that a crash left them unknown: copies have no place for any of it. */
static void
tell_states(struct courier *c, uint32_t message)
{
    for (uint32_t row = index_message(&c->index, message)->rows; row != INDEX_NONE;) {
        const struct index_row *r = index_row(&c->index, row);
        uint32_t next = r->sibling;
        if (r->state == ROW_HELD && r->due)
            outcome_again(c, row, SPOOL_HELD, str_c(reasons_text(&c->reasons, r->due)));
        outcome_told(c, row);
        outcome_crashed(c, row);
        row = next;
    }
}

static bool
copy_add(struct courier *c, uint32_t message, const struct letter *l, struct str chunks,
         uint32_t nchunks)
{
    const struct index_message *m = index_message(&c->index, message);
    struct out *o = out_take(c, SPOOL_COPY);
    struct body body;
    struct str piece = {"", 1};
    int err = 0;

    if (!o)
        return false;
    letter_body_init(&body, c);
    if (nchunks == 0)
        err = letter_body_open(&body, message, l);
    while (nchunks == 0 && err == 0 && piece.n > 0) {
        err = letter_body_pull(&body, &piece);
        if (err == 0)
            buf_str(&o->body, piece);
    }
    letter_body_done(&body);
    if (err < 0 || !copy_payload(c, message, l, chunks, nchunks, &o->payload)) {
        out_give(o);
        return false;
    }
    o->message = message;
    o->epoch = m->epoch;
    o->seq = m->seq;
    o->number = o->payload.n + o->body.n;
    o->durable = copy_durable;
    o->can_wait = false; /* what is said of the message meanwhile must stand behind it */
    c->compaction->flight += o->number;
    c->compaction->copied += o->number;
    if (out_add(o) < 0) {
        c->compaction->flight -= o->number;
        out_give(o);
        return false;
    }
    tell_states(c, message);
    return true;
}

/* --- large bodies --- */

static void chunk_next(struct chunk_move *mv);

static void
chunk_free(struct chunk_move *mv)
{
    const struct index_message *m = index_message(&mv->c->index, mv->message);

    if (m->open > 0 && m->epoch == mv->epoch && m->seq == mv->seq)
        index_message(&mv->c->index, mv->message)->pins--;
    letter_done(&mv->letter);
    buf_done(&mv->list);
    free(mv);
}

static void
chunk_unpin(struct chunk_move *mv)
{
    struct spool_envelope list = {.nchunks = mv->n, .chunks_wire = buf_view(&mv->list)};
    struct spool_chunk chunk;
    size_t at = 0;

    while (spool_chunk_next(&list, &at, &chunk) == 1) {
        uint32_t slot = segments_find(&mv->c->segments, chunk.loc.segment, chunk.generation);
        if (slot != SEGMENT_NONE)
            segments_unpin(&mv->c->segments, slot);
    }
}

static void
chunk_durable(struct out *o, int status)
{
    struct chunk_move *mv = o->ctx;
    struct courier *c = o->c;
    struct spool_chunk chunk = {.loc = o->o.body_loc,
                                .length = o->o.body_len,
                                .crc = o->o.body_crc,
                                .generation = o->o.generation};
    uint32_t own;

    own = status == 0 ? own_segment(c, &o->o.loc, o->o.generation) : SEGMENT_NONE;
    flight_over(c, o, status);
    out_give(o);
    if (own == SEGMENT_NONE) {
        chunk_unpin(mv);
        chunk_free(mv);
        return;
    }
    /* Nothing holds the new piece yet: for as long as this takes the current segment is ours. */
    segments_pin(&c->segments, own);
    spool_chunk_put(&mv->list, &chunk);
    mv->n++;
    chunk_next(mv);
}

/* The record that names the moved pieces: when it is durable they are held by it. */
static void
chunk_commit_durable(struct out *o, int status)
{
    struct chunk_move *mv = o->ctx;

    o->ctx = NULL;
    copy_durable(o, status);
    chunk_unpin(mv);
    chunk_free(mv);
}

static void
chunk_commit(struct chunk_move *mv)
{
    struct courier *c = mv->c;
    struct out *o = out_take(c, SPOOL_COPY);

    if (!o || !copy_payload(c, mv->message, &mv->letter, buf_view(&mv->list), mv->n, &o->payload)) {
        if (o)
            out_give(o);
        chunk_unpin(mv);
        chunk_free(mv);
        return;
    }
    o->message = mv->message;
    o->epoch = mv->epoch;
    o->seq = mv->seq;
    o->number = 0;
    o->ctx = mv;
    o->durable = chunk_commit_durable;
    o->can_wait = false; /* as in copy_add() */
    if (out_add(o) < 0) {
        out_give(o);
        chunk_unpin(mv);
        chunk_free(mv);
        return;
    }
    tell_states(c, mv->message);
}

static void
chunk_next(struct chunk_move *mv)
{
    struct courier *c = mv->c;
    const struct index_message *m = index_message(&c->index, mv->message);
    struct spool_chunk chunk;
    struct spool_loc loc;
    struct out *o;
    char *room;

    if (m->open == 0 || m->epoch != mv->epoch || m->seq != mv->seq) { /* settled meanwhile */
        chunk_unpin(mv);
        chunk_free(mv);
        return;
    }
    if (spool_chunk_next(&mv->letter.env, &mv->at, &chunk) != 1) {
        chunk_commit(mv);
        return;
    }
    o = out_take(c, SPOOL_CHUNK);
    loc = chunk.loc;
    room = o ? buf_room(&o->body, chunk.length) : NULL;
    if (!room || spool_files_read_body(c->files, &loc, chunk.generation, room, chunk.length,
                                       chunk.crc) < 0) {
        if (o)
            out_give(o);
        chunk_unpin(mv);
        chunk_free(mv);
        return;
    }
    buf_used(&o->body, chunk.length);
    o->o.seq = spool_writer_seq(c->links.writer);
    o->number = chunk.length;
    o->ctx = mv;
    o->durable = chunk_durable;
    o->can_wait = false;
    c->compaction->flight += o->number;
    c->compaction->copied += o->number;
    if (out_add(o) < 0) {
        c->compaction->flight -= o->number;
        out_give(o);
        chunk_unpin(mv);
        chunk_free(mv);
    }
}

static void
chunks_move(struct courier *c, uint32_t message)
{
    struct index_message *m = index_message(&c->index, message);
    struct chunk_move *mv = calloc(1, sizeof *mv);

    if (!mv)
        return;
    mv->c = c;
    mv->message = message;
    mv->epoch = m->epoch;
    mv->seq = m->seq;
    letter_init(&mv->letter);
    buf_init(&mv->list, 4u << 20);
    if (letter_load(c, message, &mv->letter) < 0) {
        letter_done(&mv->letter);
        buf_done(&mv->list);
        free(mv);
        return;
    }
    m->pins++; /* one move at a time */
    chunk_next(mv);
}

/* --- the turn --- */

static bool
message_is_in(struct courier *c, const struct index_message *m, uint32_t victim)
{
    return m->segment == victim || (m->chunked && intake_chunks_in(c, m->epoch, m->seq, victim));
}

static void
compaction_begin(struct courier *c, uint32_t victim, bool slack)
{
    struct compaction *k = c->compaction;
    struct segment *g = segments_at(&c->segments, victim);

    k->victim = victim;
    k->generation = g->s.generation;
    k->slack = slack;
    k->cursor = 0;
    g->compacting = true;
    loop_defer_next(c->loop, &k->turn);
}

static void
compaction_end(struct courier *c)
{
    struct compaction *k = c->compaction;

    if (k->victim != SEGMENT_NONE && segments_at(&c->segments, k->victim)->used)
        segments_at(&c->segments, k->victim)->compacting = false;
    k->victim = SEGMENT_NONE;
}

static void look_slack(struct courier *c);

static void
compaction_turn(void *ctx)
{
    struct courier *c = ctx;
    struct compaction *k = c->compaction;
    uint64_t limit = k->copied + TURN_BYTES, flight_max = k->slack ? FLIGHT_CALM : FLIGHT_MAX;
    struct segment *g;
    unsigned looked = 0;

    if (k->victim == SEGMENT_NONE) {
        look_slack(c);
        return;
    }
    g = segments_at(&c->segments, k->victim);
    if (!g->used || g->s.generation != k->generation || g->live == 0) {
        compaction_end(c);
        return;
    }
    while (k->cursor < c->index.messages.next && looked++ < TURN_ROWS && k->copied < limit) {
        uint32_t message = k->cursor++;
        const struct index_message *m = index_message(&c->index, message);
        if (m->open == 0 || m->pins > 0 || m->partial || !message_is_in(c, m, k->victim))
            continue;
        if (m->chunked)
            chunks_move(c, message);
        else if (letter_load(c, message, &k->letter) == 0)
            copy_add(c, message, &k->letter, STR_NONE, 0);
    }
    if (k->cursor >= c->index.messages.next) {
        scopes_move(c, k->victim);
        g->tried = clock_mono();
        compaction_end(c);
        if (k->slack && k->flight == 0)
            loop_defer_next(c->loop, &k->turn);
    } else if (k->flight < flight_max) {
        loop_defer_next(c->loop, &k->turn);
    }
    /* else: it goes on when the disk has caught up */
}

/* --- which segment --- */

/* Bytes of the segment that are not worth their place. */
static uint64_t
gain_of(const struct compaction *k, const struct segment *g)
{
    uint64_t size = segment_size(g);
    unsigned share = k->tight ? SHARE_TIGHT : SHARE_LOW;

    if (!g->used || !g->left || g->live == 0 || g->told || g->compacting || g->pins > 0 ||
        size == 0 || g->live_bytes * 100 >= size * share)
        return 0;
    /* It empties by itself: wait until that has come to rest. */
    return g->live < g->seen_live && !k->tight ? 0 : size - g->live_bytes;
}

static void
look_low(struct courier *c)
{
    struct compaction *k = c->compaction;
    uint32_t victim = SEGMENT_NONE;
    uint64_t best = 0;

    for (uint32_t i = 0; i < c->segments.n; i++) {
        struct segment *g = segments_at(&c->segments, i);
        uint64_t gain = gain_of(k, g);
        g->seen_live = g->live;
        if (gain <= best)
            continue;
        best = gain;
        victim = i;
    }
    if (best > 0)
        compaction_begin(c, victim, false);
}

/* In calm: what the law of slack names (courier/slack.c). */
static void
look_slack(struct courier *c)
{
    struct compaction *k = c->compaction;
    uint32_t victim;

    k->slack = false;
    if (c->stopping || k->tight || k->flight > 0 || k->calm < CALM_AFTER || outs_waiting(c) > 0)
        return;
    victim = slack_victim(&c->segments, c->links.slack, clock_mono());
    if (victim != SEGMENT_NONE)
        compaction_begin(c, victim, true);
}

static void
calm_tick(struct courier *c)
{
    const struct courier_load *l = &c->load;
    struct compaction *k = c->compaction;
    uint64_t rate = l->rate_taken + l->rate_delivered + l->rate_deferred + l->rate_bounced;

    k->calm = rate <= CALM_RATE ? k->calm + 1 : 0;
    if (k->calm == 0 && k->slack) { /* the rest of it another time */
        compaction_end(c);
        k->slack = false;
    }
}

void
compaction_tick(struct courier *c)
{
    struct compaction *k = c->compaction;

    if (c->stopping || !c->recovered || outs_waiting(c) > 0)
        return;
    calm_tick(c);
    if (k->victim != SEGMENT_NONE) {
        if (k->flight < (k->slack ? FLIGHT_CALM : FLIGHT_MAX))
            loop_defer_next(c->loop, &k->turn);
        return;
    }
    look_slack(c);
    if (++k->seconds % (k->tight ? 1 : LOOK_EVERY) == 0 && k->victim == SEGMENT_NONE)
        look_low(c);
}

void
compaction_space(struct courier *c, struct wire *tell_space)
{
    uint64_t intake = wire_u64(tell_space), total = wire_u64(tell_space);
    bool open = wire_u8(tell_space) != 0;

    if (wire_end(tell_space))
        c->compaction->tight = !open || (total > 0 && intake < total / 4);
}
