/*
 * courier/outs.c - the free list of records and the queue of those that the writer refused.
 *
 * Called by sessions, outcome, bounce, compaction and scopes. Never loses a record that can wait.
 */
#include "courier/outs.h"

#include "core/event.h"
#include "courier/own.h"

#define OUT_PAYLOAD_MAX (64u << 20)
#define OUT_KEEP        4096u
#define OUT_FREE_MAX    4096u

struct outs {
    struct out *free;
    struct out *all; /* taken and not given back */
    size_t nfree, open;
    struct out *stuck, **stuck_tail;
    struct out *cursor;  /* put among those last: a failed batch comes back in its order */
    uint64_t given;      /* numbers of struct out */
    uint64_t stuck_last; /* of the last one that waits */
    struct out *held, **held_tail;
    bool holding;
    size_t nstuck;
    bool told, full, probing;
};

struct outs *
outs_create(struct courier *c)
{
    struct outs *q = calloc(1, sizeof *q);

    (void)c;
    if (q) {
        q->stuck_tail = &q->stuck;
        q->held_tail = &q->held;
    }
    return q;
}

static void
out_destroy(struct out *o)
{
    buf_done(&o->payload);
    buf_done(&o->body);
    if (o->rows != o->room)
        free(o->rows);
    free(o);
}

void
outs_orphan(struct courier *c)
{
    struct outs *q = c->outs;
    struct out *o, *next;

    outs_release(c, NULL);
    for (o = q->all; o; o = o->all_next) {
        while (o->after) { /* never given to the writer, as those that wait: found again */
            next = o->after;
            o->after = next->next;
            next->next = q->stuck;
            q->stuck = next;
        }
    }
    /* Those that wait here were never given to the writer; the next start does without them. */
    for (o = q->stuck; o; o = next) {
        next = o->next;
        out_give(o);
    }
    for (o = q->all; o; o = o->all_next)
        o->c = NULL;
    outs_free(q);
    c->outs = NULL;
}

void
outs_free(struct outs *q)
{
    struct out *o;

    if (!q)
        return;
    while ((o = q->free) != NULL) {
        q->free = o->next;
        out_destroy(o);
    }
    free(q);
}

struct out *
out_take(struct courier *c, uint8_t type)
{
    struct outs *q = c->outs;
    struct out *o = q->free;

    if (o) {
        q->free = o->next;
        q->nfree--;
    } else {
        o = calloc(1, sizeof *o);
        if (!o)
            return NULL;
        o->c = c;
        o->rows = o->room;
        o->cap = OUT_ROWS;
        buf_init(&o->payload, OUT_PAYLOAD_MAX);
        buf_init(&o->body, OUT_PAYLOAD_MAX);
    }
    o->o = (struct spool_out){.type = type};
    o->next = NULL;
    o->given = 0;
    o->durable = NULL;
    o->can_wait = true;
    o->reported = false;
    o->after = NULL;
    o->message = INDEX_NONE;
    o->nrows = 0;
    o->session = NULL;
    o->ctx = NULL;
    buf_clear(&o->payload);
    buf_clear(&o->body);
    q->open++;
    o->all_prev = NULL;
    o->all_next = q->all;
    if (q->all)
        q->all->all_prev = o;
    q->all = o;
    return o;
}

void
out_give(struct out *o)
{
    struct outs *q;

    if (!o->c) { /* the courier went before its record */
        out_destroy(o);
        return;
    }
    q = o->c->outs;
    q->open--;
    if (o->c->written_wanted)
        loop_defer(o->c->loop, &o->c->written);
    if (o->all_prev)
        o->all_prev->all_next = o->all_next;
    else
        q->all = o->all_next;
    if (o->all_next)
        o->all_next->all_prev = o->all_prev;
    if (q->nfree >= OUT_FREE_MAX || o->payload.cap > OUT_KEEP || o->body.cap > 0 ||
        o->rows != o->room) {
        out_destroy(o);
        return;
    }
    o->next = q->free;
    q->free = o;
    q->nfree++;
}

bool
out_rows(struct out *o, const uint32_t *rows, uint32_t n)
{
    if (n > o->cap) {
        uint32_t *grown = malloc(n * sizeof *grown);
        if (!grown)
            return false;
        if (o->rows != o->room)
            free(o->rows);
        o->rows = grown;
        o->cap = n;
    }
    memcpy(o->rows, rows, n * sizeof *rows);
    o->nrows = n;
    return true;
}

bool
out_message_is(const struct out *o)
{
    const struct index_message *m;

    if (o->message == INDEX_NONE)
        return false;
    m = index_message(&o->c->index, o->message);
    return m->open > 0 && m->epoch == o->epoch && m->seq == o->seq; /* a given one has no rows */
}

static void
out_is_given(struct out *o)
{
    if (o->given == 0)
        o->given = ++o->c->outs->given;
}

/* In the order of being given: what comes back from the writer was given before what it refused
 * meanwhile. */
static void
out_wait(struct out *o)
{
    struct outs *q = o->c->outs;
    struct out **at = q->stuck && q->stuck_last > o->given ? &q->stuck : q->stuck_tail;

    if (*at && q->cursor && q->cursor->given < o->given)
        at = &q->cursor->next;
    while (*at && (*at)->given < o->given)
        at = &(*at)->next;
    o->next = *at;
    *at = o;
    q->cursor = o;
    if (!o->next) {
        q->stuck_tail = &o->next;
        q->stuck_last = o->given;
    }
    q->nstuck++;
    if (!q->told)
        event_warning("outcomes wait to be written: the log has no room or its disk failed; no "
                      "mail is lost, what was just delivered may be sent again after a crash; "
                      "look at the disk; `gapura top` shows the segments");
    q->told = true;
}

void
out_add_after(struct out *o, struct out *first)
{
    struct out **at = &first->after;

    out_is_given(o);
    while (*at)
        at = &(*at)->next;
    o->next = NULL;
    *at = o;
}

static void
tell_too_big(const struct out *o)
{
    unsigned long long size = o->payload.n, most = spool_writer_max(o->c->links.writer);

    size += o->body.n;
    event_alarm("a record of %llu bytes about mail is larger than the log takes in one piece "
                "(%llu) and was not written; the mail is kept, `gapura queue list` shows what is "
                "held for it: raise spool.max_batch, restart, then `gapura queue release`",
                size, most);
}

/* It will never be written, and nothing that was to stand behind it may be. */
static void
out_give_up(struct out *o, int status)
{
    struct out *after = o->after, *next;

    o->after = NULL;
    o->durable(o, status);
    for (; after; after = next) {
        next = after->next;
        out_give_up(after, status);
    }
}

/* Takes up one that was kept back; nobody else has it. */
static void
out_add_kept(struct out *o)
{
    int err = out_add(o);

    if (err < 0)
        out_give_up(o, err);
}

/* What waited for a record is added behind it. */
static void
after_add(struct out *o)
{
    struct out *next;

    for (; o; o = next) {
        next = o->next;
        out_add_kept(o);
    }
}

static void
out_done(struct spool_out *so, int status)
{
    struct out *o = CONTAINER_OF(so, struct out, o), *after = o->after;

    if (!o->c) {
        out_give(o);
        return;
    }
    o->c->outs->full = status < 0 && status != ERR_TOOBIG;
    if (status == ERR_TOOBIG) {
        if (o->can_wait)
            tell_too_big(o);
        out_give_up(o, status);
        return;
    }
    if (status < 0 && o->can_wait && status != ERR_CLOSED) {
        if (so->type == SPOOL_MESSAGE || so->type == SPOOL_CHUNK)
            so->seq = spool_writer_seq(o->c->links.writer); /* the failed batch's id is void */
        out_wait(o);
        return;
    }
    o->after = NULL;
    o->durable(o, status);
    after_add(after);
}

static int
out_try(struct out *o)
{
    o->o.payload = buf_view(&o->payload);
    o->o.done = out_done;
    if (o->o.type != SPOOL_MESSAGE && o->o.type != SPOOL_CHUNK)
        o->o.seq = 0;
    if (o->body.n) {
        o->body_piece = (struct iovec){o->body.p, o->body.n};
        o->o.body = &o->body_piece;
        o->o.nbody = 1;
    }
    return spool_writer_add(o->c->links.writer, &o->o);
}

int
out_add(struct out *o)
{
    struct outs *q = o->c->outs;
    int err;

    out_is_given(o);
    if (q->holding && o->can_wait) {
        o->next = NULL;
        *q->held_tail = o;
        q->held_tail = &o->next;
        return 0;
    }
    if (o->payload.failed || o->body.failed)
        return ERR_NOMEM;
    err = q->stuck ? ERR_FULL : out_try(o);

    if (err == 0)
        return 0;
    q->full = q->full || err != ERR_TOOBIG;
    if (err == ERR_TOOBIG && o->can_wait)
        tell_too_big(o);
    if (!o->can_wait || err == ERR_TOOBIG)
        return err;
    out_wait(o);
    return 0;
}

void
outs_hold(struct courier *c)
{
    c->outs->holding = true;
}

void
outs_open_first(struct courier *c)
{
    c->outs->holding = false;
}

void
outs_release(struct courier *c, struct out *report)
{
    struct outs *q = c->outs;
    struct out *o = q->held, *next;

    q->holding = false;
    q->held = NULL;
    q->held_tail = &q->held;
    for (; o; o = next) {
        next = o->next;
        if (report && o->reported)
            out_add_after(o, report);
        else
            out_add_kept(o);
    }
}

static void
probe_durable(struct out *o, int status)
{
    o->c->outs->probing = false; /* out_done() saw how it went */
    if (status == 0)
        own_segment(o->c, &o->o.loc, o->o.generation); /* else nobody would give it back */
    out_give(o);
}

/* Readers pass over it. */
static void
probe_add(struct courier *c)
{
    struct outs *q = c->outs;
    struct out *o = out_take(c, SPOOL_RESERVED_8);

    if (!o)
        return;
    o->can_wait = false;
    o->durable = probe_durable;
    q->probing = out_try(o) == 0;
    if (!q->probing)
        out_give(o);
}

bool
outs_full(const struct courier *c)
{
    return c->outs->full;
}

void
outs_again(struct courier *c)
{
    struct outs *q = c->outs;

    if (q->full && !q->stuck && !q->probing)
        probe_add(c);
    while (q->stuck) {
        struct out *o = q->stuck, *next = o->next;
        int err = out_try(o);
        if (err < 0 && err != ERR_TOOBIG)
            return;
        q->cursor = NULL;
        q->stuck = next;
        if (!next)
            q->stuck_tail = &q->stuck;
        q->nstuck--;
        if (err == ERR_TOOBIG) {
            tell_too_big(o);
            out_give_up(o, err);
        }
    }
    if (q->told)
        event_notice("the log takes outcomes again");
    q->told = false;
}

size_t
outs_waiting(const struct courier *c)
{
    return c->outs->nstuck;
}

size_t
outs_open(const struct courier *c)
{
    return c->outs->open;
}

uint64_t
outs_given(const struct courier *c)
{
    return c->outs->given;
}

bool
outs_durable(const struct courier *c, uint64_t given)
{
    const struct out *o = c->outs->all;

    while (o && (o->given == 0 || o->given > given))
        o = o->all_next;
    return !o;
}
