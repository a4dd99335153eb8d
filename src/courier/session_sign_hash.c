/*
 * courier/session_sign_hash.c - hashes messages for their signatures and asks the keyring.
 *
 * Called by session_sign.c. Large bodies are hashed in slices between the loop's other work. What
 * is hashed are the bytes of the log, which are those of the wire.
 */
#include "courier/session_sign_inner.h"

#define ASK_WAIT     (20 * NS_PER_S)
#define READERS_MAX  32u /* large messages that are hashed at once; others queue */
#define SLICE_PIECES 4u  /* of 64 KB, in one turn */

/* --- the keyring --- */

static int
drafts_make(struct sign_entry *e, struct dkim_message *m)
{
    const struct settings_dkim *d = sign_settings(e->c);
    uint64_t now = clock_wall_s();

    for (unsigned i = 0; i < e->work->nkeys; i++) {
        const struct sign_key *k = &e->work->keys[i];
        struct dkim_sign_params p = {
            .domain = str_c(k->domain),
            .selector = str_c(k->selector),
            .alg = k->alg == KEYS_ED25519 ? DKIM_ED25519_SHA256 : DKIM_RSA_SHA256,
            .header_canon = DKIM_RELAXED,
            .body_canon = DKIM_RELAXED,
            .now = now,
            .expires = d->expiry ? now + d->expiry / NS_PER_S : 0,
            .extra = d->headers.items,
            .nextra = d->headers.n,
        };
        int err = dkim_sign_begin(m, &p, &e->work->drafts[i], NULL);

        if (err < 0)
            return err;
        e->work->ndrafts++;
    }
    return 0;
}

static bool
front_add(struct sign_entry *e, unsigned i, struct str signature)
{
    size_t n = strlen(e->work->signed_by);

    if (dkim_draft_finish(&e->work->drafts[i], (const uint8_t *)signature.p, signature.n,
                          &e->front) < 0)
        return false;
    str_fmt(e->work->signed_by + n, sizeof e->work->signed_by - n, "%s%s._domainkey.%s",
            n ? " " : "", e->work->keys[i].selector, e->work->keys[i].domain);
    return true;
}

/* What the keyring says of each key: which signatures there are, and whether mail waits. */
struct verdicts {
    unsigned done;
    bool busy, waits;
};

static void
read_verdicts(struct sign_entry *e, struct wire *body, unsigned n, struct verdicts *v)
{
    struct sign_work *w = e->work;

    for (unsigned i = 0; i < n && !body->failed; i++) {
        uint8_t said = wire_u8(body);
        struct str signature = wire_str(body);

        if (body->failed)
            return;
        if (said == SIGN_BUSY) {
            v->busy = true;
        } else if (said != SIGN_DONE) {
            v->waits = sign_key_fails(e->c, w->tenant, &w->keys[i], said) || v->waits;
        } else if (front_add(e, i, signature)) {
            sign_key_works(e->c, w->tenant, &w->keys[i]);
            v->done++;
        } else {
            v->busy = true; /* no memory */
        }
    }
}

/* One of the two signatures of a seal. */
static void
on_seal(struct sign_entry *e, uint8_t said, struct str signature)
{
    struct sign_key key = e->work->keys[0];

    if (said != SIGN_DONE) {
        e->wait = SIGN_WAIT_KEY;
        e->gap = NS_PER_S;
        sign_entry_tell(e, sign_key_fails(e->c, 0, &key, said) ? SIGN_CANNOT : SIGN_NOT);
        return;
    }
    sign_key_works(e->c, 0, &key);
    if (sign_seal_made(e, signature) < 0)
        sign_entry_tell(e, sign_cannot(e));
    else if (e->state == SIGN_SETTLED)
        sign_entry_tell(e, SIGN_NOT);
}

static void
on_signed(void *ctx, int status, struct wire *body, int fd)
{
    struct sign_entry *e = ctx;
    unsigned n = wire_u16(body);
    struct verdicts v = {0};
    struct str signature = STR_NONE;
    uint8_t said = SIGN_BUSY;

    fd_close(&fd);
    e->ask = 0;
    if (status == 0 && n == 1 && e->seal) {
        said = wire_u8(body);
        signature = wire_str(body);
        v.busy = said == SIGN_BUSY;
    } else if (status == 0 && n == e->work->ndrafts)
        read_verdicts(e, body, n, &v);
    if (status < 0 || n != e->work->ndrafts || !wire_end(body) || v.busy) {
        sign_entry_tell(e, sign_cannot(e));
        return;
    }
    e->c->signing->failing = 0;
    if (e->seal) {
        on_seal(e, said, signature);
        return;
    }
    if (v.waits) {
        e->wait = SIGN_WAIT_KEY;
        e->gap = NS_PER_S; /* sign_choose() then says how long */
        sign_entry_tell(e, SIGN_CANNOT);
        return;
    }
    if (v.done)
        sign_entry_settle(e, NULL);
    sign_entry_tell(e, SIGN_NOT); /* what has settled has its own word */
}

int
sign_keyring_ask(struct sign_entry *e)
{
    struct courier *c = e->c;
    struct buf b;
    int err = ERR_CLOSED;

    if (!chan_open(c->links.keyring))
        return err;
    buf_init(&b, CHAN_BODY_MAX);
    put_u32(&b, e->work->tenant);
    put_u16(&b, (uint16_t)e->work->ndrafts);
    for (unsigned i = 0; i < e->work->ndrafts; i++) {
        put_str(&b, str_c(e->work->keys[i].domain));
        put_str(&b, str_c(e->work->keys[i].selector));
        put_str(&b, str_of(e->work->drafts[i].digest, e->work->drafts[i].digest_n));
    }
    e->ask = b.failed ? 0 : chan_ask_add(c->signing->asks, ASK_WAIT, on_signed, e);
    if (e->ask)
        err = chan_send(c->links.keyring, ASK_SIGN, e->ask, &b, -1);
    if (e->ask && err < 0) {
        chan_ask_cancel(c->signing->asks, e->ask);
        e->ask = 0;
    }
    buf_done(&b);
    e->state = SIGN_ASKED;
    return err < 0 ? ERR_CLOSED : 0; /* a full channel too: it says nothing about the message */
}

/* --- hashing --- */

static size_t
head_size(struct str text)
{
    ssize_t end = str_find(text, STR("\r\n\r\n"));

    return end < 0 ? 0 : (size_t)end + 4;
}

/* What an error of the evaluators means: short memory passes, all else is the message's. */
static int
sign_error(int err)
{
    return err == ERR_NOMEM || err == ERR_TLS ? ERR_CLOSED : ERR_REFUSED;
}

/* Header and body hashed: drafts, then the question. 0, ERR_CLOSED, or another: cannot be signed.
 */
static int
hashed(struct sign_entry *e, struct dkim_message *m)
{
    int err;

    dkim_message_end(m);
    err = drafts_make(e, m);
    if (err < 0)
        return sign_error(err);
    return sign_keyring_ask(e);
}

static int
head_begin(struct dkim_message *m, struct str head)
{
    int err = dkim_message_headers(m, head, &dkim_limits_default);

    return err < 0 ? err : dkim_sign_prepare(m, DKIM_RELAXED);
}

/* The whole message is in one piece. */
int
sign_hash_piece(struct sign_entry *e, struct str text)
{
    struct dkim_message *m = e->c->signing->message;
    size_t n = head_size(text);
    int err = n ? head_begin(m, str_sub(text, 0, n)) : head_begin(m, text);

    if (err < 0)
        return sign_error(err);
    if (n)
        dkim_message_body(m, text.p + n, text.n - n);
    return hashed(e, m);
}

void
sign_reader_free(struct sign_entry *e)
{
    struct sign_reader *r = e->reader;
    struct index_message *m;

    if (!r)
        return;
    loop_call_cancel(e->c->loop, &r->turn);
    dkim_message_free(r->message);
    letter_done(&r->letter);
    letter_body_done(&r->body);
    buf_done(&r->head);
    free(r);
    e->reader = NULL;
    m = index_message(&e->c->index, e->message);
    if (m->seq == e->name.seq && m->epoch == e->name.epoch) /* else it was removed meanwhile */
        m->pins--;
    e->c->signing->nreaders--;
}

struct str
sign_reader_head(const struct sign_reader *r)
{
    size_t n = head_size(buf_view(&r->head));

    return n ? str_sub(buf_view(&r->head), 0, n) : buf_view(&r->head);
}

/* 1: go on, 0: the end was reached, negative. */
static int
reader_piece(struct sign_entry *e)
{
    struct sign_reader *r = e->reader;
    struct str piece;
    size_t n;
    int err = letter_body_pull(&r->body, &piece);

    if (err < 0)
        return err;
    if (r->in_body) {
        dkim_message_body(r->message, piece.p, piece.n);
        return piece.n > 0;
    }
    buf_str(&r->head, piece);
    if (r->head.failed)
        return ERR_REFUSED;
    n = head_size(buf_view(&r->head));
    if (!n && piece.n)
        return 1;
    r->in_body = true; /* the header's bytes stay where they are from now on */
    err = head_begin(r->message, sign_reader_head(r));
    if (err == 0 && e->seal)
        err = sign_seal_head(e, r->message);
    if (err == 0 && n)
        dkim_message_body(r->message, r->head.p + n, r->head.n - n);
    return err < 0 ? sign_error(err) : piece.n > 0;
}

static void
reader_turn(void *ctx)
{
    struct sign_entry *e = ctx;
    struct sign_reader *r = e->reader;
    int err = 1;

    for (unsigned i = 0; i < SLICE_PIECES && err == 1; i++)
        err = reader_piece(e);
    if (err == 1) {
        loop_defer_next(e->c->loop, &r->turn);
        return;
    }
    if (err == 0)
        err = e->seal ? sign_seal_hashed(e) : hashed(e, r->message);
    if (e->state == SIGN_SETTLED) {
        sign_entry_tell(e, SIGN_NOT);
        return;
    }
    if (err < 0 || !e->seal)
        sign_reader_free(e);
    switch (err) {
    case 0:
        sign_queue_run(e->c);
        return;
    case ERR_CLOSED:
        sign_entry_tell(e, sign_cannot(e));
        return;
    case ERR_REFUSED:
        sign_entry_settle(e, "its header cannot be signed");
        sign_entry_tell(e, SIGN_NOT);
        return;
    default:
        e->err = err;
        sign_entry_tell(e, SIGN_UNREADABLE);
    }
}

static int
reader_start(struct sign_entry *e)
{
    struct courier *c = e->c;
    struct sign_reader *r = calloc(1, sizeof *r);
    int err = r ? 0 : ERR_NOMEM;

    if (!r)
        return err;
    e->reader = r;
    e->state = SIGN_READING;
    c->signing->nreaders++;
    index_message(&c->index, e->message)->pins++;
    letter_init(&r->letter);
    letter_body_init(&r->body, c);
    buf_init(&r->head, LETTER_HEAD_MAX);
    r->turn = (struct loop_call){.fn = reader_turn, .ctx = e};
    r->message = dkim_message_create();
    if (!r->message)
        err = ERR_NOMEM;
    err = err < 0 ? err : letter_load(c, e->message, &r->letter);
    err = err < 0 ? err : letter_body_open(&r->body, e->message, &r->letter);
    if (err < 0)
        sign_reader_free(e);
    else
        loop_defer_next(c->loop, &r->turn);
    return err;
}

void
sign_queue_run(void *ctx)
{
    struct courier *c = ctx;
    struct signing *g = c->signing;

    while (g->queue && g->nreaders < READERS_MAX) {
        struct sign_entry *e = g->queue;

        g->queue = e->newer;
        if (!g->queue)
            g->queue_end = &g->queue;
        e->newer = NULL;
        /* Who waited may have gone meanwhile, and the message with him: nobody pins it. */
        if (!e->waiters) {
            sign_entry_free(e);
            continue;
        }
        e->message = e->waiters->message;
        e->err = reader_start(e);
        if (e->err < 0) {
            sign_entry_tell(e, SIGN_UNREADABLE);
            return; /* which runs the queue */
        }
    }
}
