/*
 * courier/outs.c - the free list of records and the queue of those that the writer refused.
 *
 * Called by sessions, outcome, bounce, compaction and scopes. Never loses a record that can wait.
 */
#include "courier/outs.h"

#include "core/event.h"

#define OUT_PAYLOAD_MAX (64u << 20)
#define OUT_KEEP        4096u
#define OUT_FREE_MAX    4096u

struct outs {
    struct out *free;
    struct out *all; /* taken and not given back */
    size_t nfree, open;
    struct out *stuck, **stuck_tail;
    uint64_t given;      /* numbers of struct out */
    uint64_t stuck_last; /* of the last one that waits */
    struct out *held, **held_tail;
    bool holding;
    size_t nstuck;
    bool told;
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

    while (*at && (*at)->given < o->given)
        at = &(*at)->next;
    o->next = *at;
    *at = o;
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

/* What waited for a record is added behind it, or without it if it was given up. */
static void
after_add(struct out *o)
{
    struct out *next;

    for (; o; o = next) {
        next = o->next;
        if (out_add(o) < 0)
            out_give(o);
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
    if (status < 0 && o->can_wait && status != ERR_CLOSED && status != ERR_LIMIT) {
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
    if (o->payload.failed || o->body.failed)
        return ERR_NOMEM;
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
    err = q->stuck ? ERR_FULL : out_try(o);

    if (err == 0)
        return 0;
    if (!o->can_wait || err == ERR_NOMEM)
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
        else if (out_add(o) < 0)
            out_give(o);
    }
}

void
outs_again(struct courier *c)
{
    struct outs *q = c->outs;

    while (q->stuck) {
        struct out *o = q->stuck, *next = o->next;
        if (out_try(o) < 0)
            return;
        q->stuck = next;
        if (!next)
            q->stuck_tail = &q->stuck;
        q->nstuck--;
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
