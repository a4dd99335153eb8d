/*
 * gate/tx.c - a message's memory: taken at MAIL, given back after the reply.
 *
 * Called by the session and by accept.c. Never talks to the client.
 */
#include "gate/tx.h"
#include "gate/inner.h"

#include <stdlib.h>

#include "core/clock.h"

#define FREE_MAX     512u /* messages kept for reuse */
#define PAYLOAD_MAX  (3u << 20)
#define PAYLOAD_KEEP 4096u
#define RCPTS_FIRST  4u

struct tx *
tx_take(struct gate *gate, struct session *session)
{
    struct tx *tx = gate->tx_free;

    if (tx) {
        gate->tx_free = tx->next_free;
        gate->ntx_free--;
    } else {
        tx = calloc(1, sizeof(*tx));
        if (!tx)
            return NULL;
        arena_init(&tx->arena, TX_ARENA_MAX);
        body_init(&tx->body);
        for (unsigned i = 0; i < TX_VARIANTS; i++)
            buf_init(&tx->variants[i].payload, PAYLOAD_MAX);
    }
    gate->ntx++;
    tx->gate = gate;
    tx->session = session;
    tx->next_free = NULL;
    verdict_init(&tx->verdict, &tx->arena);
    return tx;
}

/* Everything but what is kept for the next message is as new. */
static void
tx_clean(struct tx *tx)
{
    unsigned n = tx->nvariants;

    rcpt_cancel(&tx->query);
    body_clear(&tx->body, &tx->gate->blocks);
    arena_reset(&tx->arena);
    for (unsigned i = 0; i < n; i++) {
        struct buf payload = tx->variants[i].payload;

        buf_clear(&payload);
        buf_shrink(&payload, PAYLOAD_KEEP);
        tx->variants[i] = (struct tx_variant){.payload = payload};
    }
    memset(tx, 0, offsetof(struct tx, arena));
}

static void
tx_free(struct tx *tx)
{
    body_clear(&tx->body, &tx->gate->blocks);
    buf_done(&tx->body.front);
    for (unsigned i = 0; i < TX_VARIANTS; i++)
        buf_done(&tx->variants[i].payload);
    arena_done(&tx->arena);
    free(tx);
}

void
tx_give(struct tx *tx)
{
    struct gate *gate = tx->gate;

    ENSURE(tx->pending == 0);
    auth_evidence_close(&tx->auth);
    gate->ntx--;
    if (gate->ntx_free >= FREE_MAX) {
        rcpt_cancel(&tx->query);
        tx_free(tx);
    } else {
        tx_clean(tx);
        tx->gate = gate;
        tx->next_free = gate->tx_free;
        gate->tx_free = tx;
        gate->ntx_free++;
    }
    gate_session_gone(gate);
}

void
tx_free_all(struct gate *gate)
{
    while (gate->tx_free) {
        struct tx *next = gate->tx_free->next_free;

        tx_free(gate->tx_free);
        gate->tx_free = next;
    }
    gate->ntx_free = 0;
}

void
tx_abandon(struct tx *tx)
{
    if (!tx)
        return;
    rcpt_cancel(&tx->query);
    auth_evidence_close(&tx->auth); /* what it shares is the session's settings' */
    tx->session = NULL;
    if (tx->status == 0)
        tx->status = ERR_CLOSED;
    if (tx->pending)
        return; /* chunks are: accept_progress voids them when they are told */
    if (tx->body.chunked)
        chunk_void(tx);
    tx_give(tx);
}

struct tx_variant *
tx_variant(struct tx *tx, uint32_t tenant, uint8_t class, bool rewritten)
{
    struct tx_variant *v;

    for (unsigned i = 0; i < tx->nvariants; i++) {
        v = &tx->variants[i];
        if (v->tenant == tenant && v->class == class && v->rewritten == rewritten)
            return v;
    }
    if (tx->nvariants == TX_VARIANTS)
        return NULL;
    v = &tx->variants[tx->nvariants++];
    v->rcpts = NULL; /* one that was taken back may have left its list */
    v->cap = 0;
    v->set = (struct rcpt_set){0};
    v->readers = (struct rcpt_set){0};
    v->tx = tx;
    v->tenant = tenant;
    v->class = class;
    v->rewritten = rewritten;
    return v;
}

/* An address may stand there twice: where it goes, and through the reader of reports. */
static bool
is_reader(const struct spool_rcpt *r)
{
    return str_eq(r->via, STR(REPORTS_VIA));
}

static struct str
rcpt_address(const void *rows, uint32_t i)
{
    const struct spool_rcpt *r = (const struct spool_rcpt *)rows + i;

    return is_reader(r) ? STR_NONE : r->address;
}

static struct str
reader_address(const void *rows, uint32_t i)
{
    const struct spool_rcpt *r = (const struct spool_rcpt *)rows + i;

    return is_reader(r) ? r->address : STR_NONE;
}

int
tx_add_rcpt(struct tx *tx, struct tx_variant *v, const struct spool_rcpt *rcpt)
{
    bool reader = is_reader(rcpt);
    struct rcpt_set *set = reader ? &v->readers : &v->set;
    struct rcpt_rows rows = {
        .rows = v->rcpts, .n = v->n, .address = reader ? reader_address : rcpt_address};
    struct spool_rcpt *r;
    int at = rcpt_set_find(set, &rows, rcpt->address);

    if (at >= 0)
        return at;
    if (v->n == v->cap) {
        uint32_t cap = v->cap ? v->cap * 2 : RCPTS_FIRST;
        struct spool_rcpt *more = ARENA_ARRAY(&tx->arena, struct spool_rcpt, cap);

        if (!more)
            return ERR_LIMIT;
        if (v->n)
            memcpy(more, v->rcpts, v->n * sizeof(*more));
        v->rcpts = more;
        v->cap = cap;
    }
    r = &v->rcpts[v->n];
    *r = *rcpt;
    r->address = arena_str(&tx->arena, rcpt->address);
    if (rcpt->orcpt.n)
        r->orcpt = arena_str(&tx->arena, rcpt->orcpt);
    rows.rows = v->rcpts;
    if (!r->address.p || (rcpt->orcpt.n && !r->orcpt.p) ||
        !rcpt_set_add(set, &tx->arena, &rows, v->n, r->address))
        return ERR_LIMIT;
    return (int)v->n++;
}
