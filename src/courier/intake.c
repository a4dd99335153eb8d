/*
 * courier/intake.c - records become rows: messages, copies, chunks, and what was said of them.
 *
 * Called by readers of dead epochs (courier/recover.c) and by live tails. While our own epochs are
 * read, rows that may go on stay ACTIVE ("pending") and are opened at the end of that; later ones
 * are opened as soon as all that was said of them is applied.
 */
#include "courier/intake.h"

#include "courier/age.h"
#include "courier/deadline.h"
#include "courier/fit.h"
#include "courier/intake_inner.h"
#include "courier/letter.h"
#include "courier/own.h"
#include "courier/purge.h"
#include "courier/scope.h"
#include "mail/address.h"

/* The destination for a recipient: by its domain and transport. INDEX_NONE: cannot be. */
static uint32_t
intake_dest(struct courier *c, const struct spool_rcpt *r)
{
    char room[ADDRESS_DOMAIN_MAX + 2];
    ssize_t at = str_rchr(r->address, '@'), n;
    struct str domain = at < 0 ? c->main->hostname : str_from(r->address, (size_t)at + 1);

    if (domain.n == 0 || domain.n > ADDRESS_DOMAIN_MAX)
        return INDEX_NONE;
    if (str_is_ascii(domain)) {
        memcpy(room, domain.p, domain.n);
        str_lower(room, domain.n);
        n = (ssize_t)domain.n;
        if (n > 1 && room[n - 1] == '.')
            n--;
    } else {
        n = address_domain_ascii(domain, room, sizeof room);
        if (n < 0) { /* kept as it is: the look-up will say what is wrong with it */
            memcpy(room, domain.p, domain.n);
            n = (ssize_t)domain.n;
        }
    }
    return index_dest_get(&c->index, str_of(room, (size_t)n), r->via);
}

void
intake_message_over(struct courier *c, uint32_t message)
{
    struct index_message *m = index_message(&c->index, message);
    uint64_t bytes = m->record_len + (uint64_t)m->body_len;
    uint32_t segment = m->segment;

    if (m->chunked)
        intake_chunks_drop(c, m->epoch, m->seq);
    deadline_over(c, m);
    index_message_drop(&c->index, message);
    if (segment != SEGMENT_NONE)
        segments_release(&c->segments, segment, bytes);
}

/* Where the record is; the segment that held it before is let go. */
static void
message_place(struct courier *c, uint32_t message, uint32_t slot, uint64_t record,
              uint32_t record_len, uint64_t body, uint32_t body_len)
{
    struct index_message *m = index_message(&c->index, message);
    uint32_t old = m->segment;
    uint64_t old_bytes = m->record_len + (uint64_t)m->body_len;

    segments_hold(&c->segments, slot, record_len + (uint64_t)body_len);
    m->segment = slot;
    m->record = (uint32_t)record;
    m->record_len = record_len;
    m->body = (uint32_t)body;
    m->body_len = body_len;
    if (old != SEGMENT_NONE)
        segments_release(&c->segments, old, old_bytes);
}

static void
message_fill(struct courier *c, uint32_t message, const struct spool_envelope *env)
{
    struct index_message *m = index_message(&c->index, message);
    uint64_t ends;

    age_tick(c); /* it may have been stamped by a clock that was set in this second */
    m->received = age_received(c, env);
    ends = age_stamp(m, env, fit_expires(env));
    m->expires = ends ? (uint32_t)MIN(MAX(ends / NS_PER_S, UINT64_C(1)), UINT32_MAX) : 0;
    m->tenant = source_tenant(&c->sources, env->tenant);
    m->flags = env->flags;
    m->class = env->class & 15;
    m->rank = fit_rank(env->class, env->priority) & 15;
    deadline_note(c, message, env);
}

static const char held_by_verdict[] =
    "set aside by the verdict of the guard; `explain` says why, `queue release` delivers it";

/* A copy does not tell when it was made: one that was tried waits no longer than it may between two
 * tries, wherever the clock stood then. */
static uint64_t
copy_due(const struct courier *c, const struct spool_copy_state *state)
{
    if (state->result != SPOOL_RETRY || state->attempts == 0)
        return state->due;
    return MIN(state->due, courier_wall(c) + 2 * c->delivery->retry_max); /* jitter goes above it */
}

/* The state that a new row begins in. */
static void
row_begin(struct courier *c, uint32_t row, const struct spool_envelope *env,
          const struct spool_rcpt *rcpt, const struct spool_copy_state *state)
{
    struct index_row *r = index_row(&c->index, row);
    const struct index_message *m = index_message(&c->index, r->message);
    uint64_t due = state ? copy_due(c, state) : age_stamp(m, env, env->not_before);

    if (state)
        r->attempts = MIN(state->attempts, 255u) & 255u;
    if (state && state->result == SPOOL_ASIDE)
        r->flags |= ROW_ASIDE;
    if ((state && state->result == SPOOL_HELD) || (!state && (env->flags & SPOOL_MAIL_HOLD)))
        return; /* rows are born HELD */
    if (!state && (rcpt->flags & SPOOL_RCPT_HOLD)) {
        r->due = reasons_number(&c->reasons, str_c(held_by_verdict));
        return;
    }
    if (due > courier_wall(c)) {
        index_wait(&c->index, row, courier_tick_of(c, due));
        courier_wheel_soon(c);
        return;
    }
    index_set(&c->index, row, ROW_ACTIVE);
}

/* One row for each recipient. False: memory or a ceiling; what is there then is kept. */
static bool
rows_make(struct courier *c, uint32_t message, const struct letter *l)
{
    struct letter_walk w = {0};
    struct spool_rcpt r;
    uint32_t ordinal, row = INDEX_NONE, dest;
    int got;

    while ((got = letter_next(l, &w, &ordinal, &r)) == 1) {
        struct spool_copy_state state;
        dest = intake_dest(c, &r);
        if (dest == INDEX_NONE)
            return false;
        row = index_row_add(&c->index, message, ordinal, dest, row);
        if (row == INDEX_NONE)
            return false;
        if (l->copy && spool_copy_state_at(l->states, w.i - 1, &state) == 0)
            row_begin(c, row, &l->env, &r, &state);
        else
            row_begin(c, row, &l->env, &r, NULL);
    }
    return got == 0;
}

void
intake_row_open(struct courier *c, uint32_t row)
{
    struct index_row *r = index_row(&c->index, row);

    if (r->state != ROW_ACTIVE)
        return;
    if (r->flags & ROW_INTENT)
        c->after_crash(c, row);
    else
        index_ready(&c->index, row);
}

static void
rows_open(struct courier *c, uint32_t message)
{
    uint32_t next;

    for (uint32_t row = index_message(&c->index, message)->rows; row != INDEX_NONE; row = next) {
        next = index_row(&c->index, row)->sibling;
        intake_row_open(c, row);
    }
}

/* The index is full: the message stays on disk, what is missing of it is not delivered, and the
 * operator is told. Its pieces stay as well, and what was said of its like. */
static void
intake_overflow(struct courier *c, const struct spool_envelope *env, uint32_t slot)
{
    char text[SPOOL_ID_TEXT];
    struct spool_chunk chunk;
    size_t at = 0;

    segments_pin(&c->segments, slot);
    c->unread++;
    while (spool_chunk_next(env, &at, &chunk) == 1) {
        uint32_t piece = segments_find(&c->segments, chunk.loc.segment, chunk.generation);
        if (piece != SEGMENT_NONE)
            segments_pin(&c->segments, piece);
    }
    event_alarm("message %s cannot be indexed (no memory, or over the limit of recipients); it "
                "stays on disk and is read again at the next start",
                spool_id_show(&env->id, text));
}

/* Compaction must not copy what is there as if it were all. */
static void
rows_all(struct courier *c, uint32_t message, const struct letter *l, uint32_t slot)
{
    if (rows_make(c, message, l))
        return;
    index_message(&c->index, message)->partial = 1;
    intake_overflow(c, &l->env, slot);
}

/* What our own log said of it before; false: it was copied elsewhere since. */
static bool
notes_refer(struct courier *c, uint32_t slot, const struct early_note *notes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        segments_refer(&c->segments, notes[i].own, slot);
        if (notes[i].kind == EARLY_COPIED)
            return false;
    }
    return true;
}

static void
intake_message(struct courier *c, uint32_t slot, const struct letter *l, uint64_t record,
               uint64_t body)
{
    const struct spool_envelope *env = &l->env;
    const struct early_note *notes;
    uint32_t message;
    size_t n;

    notes = early_find(&c->early, env->id.epoch, env->id.seq, &n);
    if (!notes_refer(c, slot, notes, n))
        return;
    message = index_message_add(&c->index, env->id.epoch, env->id.seq);
    if (message == INDEX_NONE) {
        if (index_message_find(&c->index, env->id.epoch, env->id.seq) == INDEX_NONE)
            intake_overflow(c, env, slot);
        return;
    }
    message_fill(c, message, env);
    message_place(c, message, slot, record, l->record.length, body, l->record.body_len);
    if (env->nchunks > 0)
        intake_chunks_set(c, message, env);
    rows_all(c, message, l, slot);
    c->log_wall = MAX(c->log_wall, env->received);
    c->load.taken++;
    for (size_t i = 0; i < n; i++)
        intake_note_apply(c, message, &notes[i]);
    purge_rows(c, message, l);
    c->read_messages++;
    c->read_rcpts += index_message(&c->index, message)->open;
    if (index_message(&c->index, message)->open == 0)
        intake_message_over(c, message);
    else if (!c->recovering)
        rows_open(c, message);
}

/* A copy takes the place of the original with what was still open then. */
static int
intake_copy(struct courier *c, uint32_t slot, const struct letter *l, uint64_t record,
            uint64_t body)
{
    const struct spool_id *id = &l->env.id;
    uint32_t message = index_message_find(&c->index, id->epoch, id->seq);

    if (message != INDEX_NONE) {
        segments_refer(&c->segments, slot, index_message(&c->index, message)->segment);
        intake_message_over(c, message);
    }
    if (intake_is_later(c, id->epoch)) {
        struct early_note note = {
            .seq = id->seq, .ordinal = EARLY_ALL, .kind = EARLY_COPIED, .own = (uint16_t)slot};
        int err = intake_note_keep(c, id->epoch, &note);
        if (err < 0)
            return err;
    }
    message = index_message_add(&c->index, id->epoch, id->seq);
    if (message == INDEX_NONE) {
        intake_overflow(c, &l->env, slot);
        return 0;
    }
    message_fill(c, message, &l->env);
    message_place(c, message, slot, record, l->record.length, body, l->record.body_len);
    if (l->env.nchunks > 0)
        intake_chunks_set(c, message, &l->env);
    rows_all(c, message, l, slot);
    purge_rows(c, message, l); /* it may be the copy of what went meanwhile */
    if (index_message(&c->index, message)->open == 0)
        intake_message_over(c, message);
    return 0;
}

/* Does a session have it, or an outcome under way? */
static bool
message_is_busy(const struct courier *c, uint32_t message)
{
    const struct index_message *m = index_message(&c->index, message);
    const struct index_row *r;

    if (m->pins > 0)
        return true;
    for (uint32_t row = m->rows; row != INDEX_NONE && !c->recovering; row = r->sibling) {
        r = index_row(&c->index, row);
        if (r->state == ROW_ACTIVE || r->state == ROW_SETTLING)
            return true;
    }
    return false;
}

/* A reader leaves out what was voided, so that nothing is found here but by damage: then what is
 * being sent already goes on (it was answered with 451, and SMTP leaves that doubt). */
static void
intake_void(struct courier *c, const struct spool_record *r)
{
    struct spool_void v;
    uint32_t message;
    uint64_t seq;

    if (spool_void_decode(r, &v) < 0)
        return;
    for (seq = v.first; seq <= v.last; seq++) {
        message = index_message_from(&c->index, v.epoch, seq);
        if (message == INDEX_NONE || index_message(&c->index, message)->seq > v.last)
            break;
        seq = index_message(&c->index, message)->seq;
        if (!message_is_busy(c, message))
            intake_message_over(c, message);
        if (seq == UINT64_MAX)
            break;
    }
    intake_chunks_void(c, v.epoch, v.first, v.last);
}

/* A purge acts on copies that were read before it. */
static void
intake_scope(struct courier *c, uint32_t slot, const struct spool_record *r)
{
    size_t purges = c->npurges;
    const struct letter none = {0};

    scopes_record(c, slot, r);
    if (c->npurges == purges)
        return;
    for (uint32_t i = 0; i < c->index.messages.next; i++) {
        const struct index_message *m = index_message(&c->index, i);
        if (m->open == 0 || m->epoch != c->purges->epoch)
            continue;
        purge_rows(c, i, &none);
        if (m->open == 0)
            intake_message_over(c, i);
    }
}

/* What became of mail is the courier's to say, and a gate voids what it wrote itself. A gate that
 * was taken over must not settle mail of others. */
static bool
may_say(const struct spool_segment *s, const struct spool_record *r, bool own)
{
    struct spool_void v;

    switch (r->type) {
    case SPOOL_COPY:
    case SPOOL_INTENT:
    case SPOOL_OUTCOME:
    case SPOOL_SCOPE:
        return own;
    case SPOOL_VOID:
        return own || spool_void_decode(r, &v) < 0 || v.epoch == s->epoch;
    default:
        return true;
    }
}

static void
say_foreign(struct courier *c, const struct spool_segment *s, const struct spool_record *r)
{
    if (c->foreign_epoch == s->epoch)
        return; /* once for a writer */
    c->foreign_epoch = s->epoch;
    event_alarm("segment seg/%08llu.seg of a gate holds a record (type %u) that only the courier "
                "writes, or that is of another's mail: such records are passed over, and all mail "
                "stays as it is. Somebody may have taken over the gate",
                (unsigned long long)s->number, (unsigned)r->type);
}

static int
intake_record(void *ctx, const struct spool_place *place, const struct spool_record *r)
{
    struct courier *c = ctx;
    const struct spool_segment *s = place->segment;
    bool own = s->stream >> 8 == SPOOL_STREAM_COURIER;
    uint32_t slot = segments_get(&c->segments, s, own);
    uint64_t body = r->body_len ? place->batch.offset + r->body_off : 0;
    struct letter l = {0};
    int err = 0;

    if (slot == SEGMENT_NONE)
        return ERR_LIMIT;
    segments_at(&c->segments, slot)->start = place->position - (place->batch.offset - SPOOL_UNIT);
    if (!may_say(s, r, own)) {
        say_foreign(c, s, r);
        return 0;
    }
    switch (r->type) {
    case SPOOL_MESSAGE:
    case SPOOL_COPY:
        if (letter_decode(&l, r, s->node, s->epoch) < 0) {
            event_alarm("a message of epoch %u in segment %llu does not decode; it is kept and "
                        "not delivered: keep the file seg/%08llu.seg for study",
                        s->epoch, (unsigned long long)s->number, (unsigned long long)s->number);
            segments_pin(&c->segments, slot);
        } else if (r->type == SPOOL_MESSAGE) {
            intake_message(c, slot, &l, place->loc.offset, body);
        } else {
            err = intake_copy(c, slot, &l, place->loc.offset, body);
        }
        break;
    case SPOOL_CHUNK:
        intake_chunk(c, slot, s->epoch, r);
        break;
    case SPOOL_INTENT:
    case SPOOL_OUTCOME:
        err = intake_note(c, slot, r);
        break;
    case SPOOL_VOID:
        intake_void(c, r);
        break;
    case SPOOL_SCOPE:
        intake_scope(c, slot, r);
        break;
    default: /* reserved, or of a later version that lets us pass over it */
        break;
    }
    return err;
}

static void
intake_damage(void *ctx, const struct spool_segment *s, uint64_t from, uint64_t to,
              uint64_t after_seq, uint64_t before_seq)
{
    struct courier *c = ctx;
    struct spool_id first = {s->node, s->epoch, after_seq + 1};
    struct spool_id last = {s->node, s->epoch,
                            before_seq == UINT64_MAX ? before_seq : before_seq - 1};
    char a[SPOOL_ID_TEXT], b[SPOOL_ID_TEXT];
    uint32_t slot = segments_get(&c->segments, s, s->stream >> 8 == SPOOL_STREAM_COURIER);

    if (slot != SEGMENT_NONE)
        segments_pin(&c->segments, slot);
    if (s->stream >> 8 == SPOOL_STREAM_COURIER) {
        event_alarm("segment seg/%08llu.seg of the courier's own stream is damaged between bytes "
                    "%llu and %llu: what it said of mail is lost. Delivered mail may be sent "
                    "twice, removed mail may go, and mail that compaction had copied there, or "
                    "reports to senders, may be lost; the file is kept",
                    (unsigned long long)s->number, (unsigned long long)from,
                    (unsigned long long)to);
        return;
    }
    event_alarm("segment seg/%08llu.seg is damaged between bytes %llu and %llu; messages with ids "
                "from %s to %s may be lost. Everything else in it is delivered; the file is kept",
                (unsigned long long)s->number, (unsigned long long)from, (unsigned long long)to,
                spool_id_show(&first, a), spool_id_show(&last, b));
}

static void
intake_segment_end(void *ctx, const struct spool_segment *s)
{
    struct courier *c = ctx;
    uint32_t slot = segments_get(&c->segments, s, s->stream >> 8 == SPOOL_STREAM_COURIER);

    if (slot != SEGMENT_NONE)
        segments_left(&c->segments, slot);
}

const struct spool_reader_ops intake_dead_ops = {.record = intake_record, .damage = intake_damage};

const struct spool_reader_ops intake_ops = {
    .record = intake_record,
    .damage = intake_damage,
    .segment_end = intake_segment_end,
};

void
intake_own_message(struct courier *c, const struct intake_own *o)
{
    struct spool_record r = {.type = o->type,
                             .seq = o->seq,
                             .length = o->record_len,
                             .body_len = o->body_len,
                             .body_crc = o->body_crc,
                             .payload = o->payload};
    uint32_t slot = own_segment(c, &o->loc, o->generation);
    struct letter l = {0};

    if (slot == SEGMENT_NONE || letter_decode(&l, &r, c->links.node, c->own_epoch) < 0) {
        event_alarm("a message of our own could not be indexed; it is on disk and is read again "
                    "at the next start");
        return;
    }
    intake_message(c, slot, &l, o->loc.offset, o->body_len ? o->body_loc.offset : 0);
}

/* Compaction: the message now lies elsewhere; states stay as they are. */
void
intake_moved(struct courier *c, uint32_t message, const struct intake_own *o,
             const struct spool_envelope *env)
{
    uint32_t slot = own_segment(c, &o->loc, o->generation);

    if (slot == SEGMENT_NONE)
        return;
    segments_refer(&c->segments, slot, index_message(&c->index, message)->segment);
    message_place(c, message, slot, o->loc.offset, o->record_len,
                  o->body_len ? o->body_loc.offset : 0, o->body_len);
    if (env->nchunks > 0)
        intake_chunks_set(c, message, env);
}
