/*
 * courier/session_sign.c - whose keys sign the message in hand; what was signed is remembered.
 *
 * Called by session_job.c. Never blocks, never signs what came from strangers.
 */
#include "core/event.h"
#include "courier/session_sign_inner.h"

#define ASKS_MAX     4096u /* messages at the keyring at once */
#define FRESH        (NS_PER_S * 86400)
#define COMPLAIN_GAP (60 * NS_PER_S)
#define NO_INDEX     (60 * NS_PER_S) /* from the start on: then it is an Alarm */
#define NO_INDEX_GAP (600 * NS_PER_S)
#define READ_GAP     (5 * NS_PER_S)
#define UNSIGNED     "the keyring did not sign, and dkim.required lets it go without"

const struct settings_dkim *
sign_settings(const struct courier *c)
{
    static const struct settings_dkim none = {
        .sign = true, .required = DKIM_REQUIRED_YES, .cached = 4096};
    const struct conf_section *s = conf_first(c->conf, "dkim");

    return s ? s->data : &none;
}

/* --- entries --- */

static void
settled_unlist(struct signing *g, struct sign_entry *e)
{
    *(e->older ? &e->older->newer : &g->oldest) = e->newer;
    *(e->newer ? &e->newer->older : &g->newest) = e->older;
    e->older = e->newer = NULL;
}

static void
work_free(struct sign_entry *e)
{
    for (unsigned i = 0; e->work && i < e->work->ndrafts; i++)
        dkim_draft_done(&e->work->drafts[i]);
    free(e->work);
    e->work = NULL;
}

void
sign_entry_free(struct sign_entry *e)
{
    struct signing *g = e->c->signing;

    map_del(&g->entries, str_of(&e->name, sizeof e->name));
    if (e->state == SIGN_SETTLED)
        settled_unlist(g, e);
    if (e->ask)
        chan_ask_cancel(g->asks, e->ask);
    sign_reader_free(e);
    sign_seal_free(e);
    work_free(e);
    buf_done(&e->front);
    free(e->asked);
    free(e->signed_by);
    free(e);
}

/* What has settled is of use for later recipients and attempts. */
void
sign_entry_settle(struct sign_entry *e, const char *why)
{
    struct signing *g = e->c->signing;
    const struct settings_dkim *d = sign_settings(e->c);

    e->asked = str_dup(str_c(e->work->asked));
    e->signed_by = str_dup(str_c(e->work->signed_by));
    sign_reader_free(e); /* a seal needs it to the end */
    sign_seal_free(e);
    work_free(e);
    e->why = why;
    e->state = SIGN_SETTLED;
    e->until = clock_mono() + (d->expiry ? MIN(d->expiry / 2, FRESH) : FRESH);
    e->older = g->newest;
    e->newer = NULL;
    *(g->newest ? &g->newest->newer : &g->oldest) = e;
    g->newest = e;
    while (g->entries.n > d->cached && g->oldest && g->oldest != e)
        sign_entry_free(g->oldest);
}

/* The settled entry's word for a session. */
enum sign_answer
sign_entry_give(const struct sign_entry *e, struct session *s)
{
    buf_clear(&s->front);
    s->unsigned_why = e->why;
    str_fmt(s->signed_by, sizeof s->signed_by, "%s", e->why || !e->signed_by ? "" : e->signed_by);
    if (e->why)
        return SIGN_NOT;
    buf_str(&s->front, buf_view(&e->front));
    return s->front.failed ? sign_hold(s, SIGN_WAIT_KEYRING, NS_PER_S) : SIGN_READY;
}

const char *
sign_wait_text(uint8_t wait)
{
    static const char *const texts[] = {
        [SIGN_WAIT_NONE] = "",
        [SIGN_WAIT_INDEX] = "waits for its DKIM signature: the keeper has not told the keys since "
                            "the start",
        [SIGN_WAIT_KEYRING] = "waits for its DKIM signature: the keyring does not sign now; asked "
                              "again soon",
        [SIGN_WAIT_KEY] = "waits for its DKIM signature: a key that must sign it cannot (an Alarm "
                          "names it); asked again each half minute",
        [SIGN_WAIT_READ] = "waits for its DKIM signature: its bytes in the log could not be read; "
                           "tried once more",
    };

    return wait < ARRAY_LEN(texts) ? texts[wait] : "";
}

enum sign_answer
sign_hold(struct session *s, enum sign_wait wait, uint64_t gap)
{
    s->sign_wait = (uint8_t)wait;
    s->sign_gap = gap;
    s->unsigned_why = s->forwarded ? "the key that seals cannot sign now" : UNSIGNED;
    return SIGN_CANNOT;
}

/* Once it may have been the moment; damage, or a second time, is told and held by the job. */
static enum sign_answer
unread(struct session *s, int err)
{
    const struct index_message *m = index_message(&s->c->index, s->message);
    bool passes = err == ERR_NOMEM || err == ERR_STALE; /* moved by compaction */

    if (err != ERR_CORRUPT && (passes || m->unsigned_yet != SIGN_WAIT_READ))
        return sign_hold(s, SIGN_WAIT_READ, READ_GAP);
    s->body_err = err;
    return SIGN_UNREADABLE;
}

static enum sign_answer
said_to(struct sign_entry *e, struct session *s, enum sign_answer answer)
{
    if (e->state == SIGN_SETTLED)
        return sign_entry_give(e, s);
    if (answer == SIGN_UNREADABLE)
        return unread(s, e->err);
    (void)sign_hold(s, e->wait ? e->wait : SIGN_WAIT_KEYRING,
                    e->gap ? e->gap : sign_gap(e->c->signing->failing));
    return answer;
}

/* Tells all who wait. The entry stays if it settled, else the next one begins anew. */
void
sign_entry_tell(struct sign_entry *e, enum sign_answer answer)
{
    struct courier *c = e->c;
    struct session *s = e->waiters, *next;

    e->waiters = NULL;
    for (struct session *x = s; x; x = x->sign_next) {
        x->sign = NULL;
        x->sign_said = said_to(e, x, answer);
    }
    if (e->state != SIGN_SETTLED)
        sign_entry_free(e);
    for (; s; s = next) { /* each may end itself, none of the others */
        next = s->sign_next;
        s->sign_next = NULL;
        session_signed(s, s->sign_said);
    }
    sign_queue_run(c);
}

enum sign_answer
sign_cannot(struct sign_entry *e)
{
    struct signing *g = e->c->signing;
    uint64_t now = clock_mono();
    bool waits = false;

    g->failing = g->failing ? g->failing : now;
    for (unsigned i = 0; i < e->work->nkeys; i++)
        waits = waits || e->work->keys[i].must;
    waits = waits || now - g->failing < SIGN_GRACE;
    if (!g->complained || now - g->complained > COMPLAIN_GAP) {
        g->complained = now;
        if (waits)
            event_warning("mail waits for its signature: the keyring does not sign now; it is "
                          "asked again soon");
        else
            event_warning("mail is sent without its signature: the keyring does not sign now, and "
                          "`dkim.required` lets it go");
    }
    e->wait = SIGN_WAIT_KEYRING;
    e->gap = sign_gap(g->failing);
    return waits ? SIGN_CANNOT : SIGN_NOT;
}

/* It is read from the log, in slices, when it is its turn. */
void
sign_entry_queue(struct sign_entry *e, uint32_t message)
{
    struct signing *g = e->c->signing;

    e->message = message;
    e->state = SIGN_QUEUED;
    e->newer = NULL;
    *g->queue_end = e;
    g->queue_end = &e->newer;
    loop_defer_next(e->c->loop, &g->turn);
}

/* --- for sessions --- */

/* Ours to sign: what was submitted here, and our own reports. */
static bool
is_ours(const struct spool_envelope *env)
{
    return (env->flags & SPOOL_MAIL_SUBMITTED) ||
           (env->class == SPOOL_CLASS_SYSTEM && !(env->flags & SPOOL_MAIL_INBOUND));
}

enum sign_answer
sign_wait_for(struct sign_entry *e, struct session *s)
{
    s->sign = e;
    s->sign_next = e->waiters;
    e->waiters = s;
    return SIGN_WAITS;
}

struct sign_entry *
sign_entry_create(struct courier *c, const struct sign_name *name, const struct sign_work *work)
{
    struct sign_entry *e = calloc(1, sizeof *e);

    if (e)
        e->work = malloc(sizeof *e->work);
    if (!e || !e->work) {
        free(e);
        return NULL;
    }
    *e->work = *work;
    e->c = c;
    e->name = *name;
    buf_init(&e->front, SIGN_MAX * DKIM_DRAFT_MAX);
    if (map_put(&c->signing->entries, str_of(&e->name, sizeof e->name), e) < 0) {
        free(e->work);
        free(e);
        return NULL;
    }
    return e;
}

/* A new entry that has its keys; starts the work. */
static enum sign_answer
entry_start(struct sign_entry *e, struct session *s)
{
    enum sign_answer answer;
    int err;

    if (s->body.env || !s->peeked.n || s->peeked.n != s->letter.env.size) { /* in parts */
        sign_entry_queue(e, s->message);
        return sign_wait_for(e, s);
    }
    err = sign_hash_piece(e, s->peeked);
    if (err == 0)
        return sign_wait_for(e, s);
    if (err == ERR_CLOSED) {
        answer = sign_cannot(e);
        (void)sign_hold(s, e->wait, e->gap);
        sign_entry_free(e);
        return answer;
    }
    sign_entry_settle(e, "its header cannot be signed");
    return sign_entry_give(e, s);
}

/* Since our start the keeper has told no index: nobody knows what must be signed. */
static enum sign_answer
no_index(struct session *s)
{
    struct courier *c = s->c;
    struct signing *g = c->signing;
    uint64_t now = clock_mono(), away = now - c->mono0;

    if (sign_settings(c)->required == DKIM_REQUIRED_NO && away >= SIGN_GRACE) {
        s->unsigned_why = UNSIGNED;
        return SIGN_NOT;
    }
    if (away >= NO_INDEX && (!g->no_index_told || now - g->no_index_told >= NO_INDEX_GAP)) {
        g->no_index_told = now;
        event_alarm("the keeper has not told which domains have signing keys since the start: "
                    "all that is submitted waits, so that none goes unsigned. See the keeper's "
                    "own Alarm and `gapura status`; with `dkim { required = no }` and `gapura "
                    "reload` it goes as it is");
    }
    return sign_hold(s, SIGN_WAIT_INDEX, sign_gap(c->mono0));
}

/* The author's domain; the whole header is read for it, and the message opened again if that was
 * longer than a piece. */
static int
author(struct session *s, char dst[256], struct str *ret)
{
    CLEANUP(buf_done) struct buf room = {0};
    struct str head = STR_NONE;
    int err = letter_body_pull(&s->body, &s->peeked);

    if (err == 0)
        err = letter_head(&s->body, s->peeked, &room, &head);
    if (err < 0 && err != ERR_LIMIT) {
        s->peeked = STR_NONE;
        return err;
    }
    *ret = keys_author(head, dst);
    if (!room.p)
        return 0;
    s->peeked = STR_NONE;
    return letter_body_open(&s->body, s->message, &s->letter);
}

enum sign_answer
sign_want(struct session *s)
{
    struct courier *c = s->c;
    struct signing *g = c->signing;
    const struct spool_envelope *env = &s->letter.env;
    struct sign_name name = {.seq = env->id.seq, .epoch = env->id.epoch};
    struct sign_work fresh = {0};
    struct sign_entry *e;
    struct str from;
    char room[256];
    uint64_t gap;
    int err;

    buf_clear(&s->front);
    s->signed_by[0] = '\0';
    s->unsigned_why = NULL;
    s->forwarded = false;
    if (c->links.keyring && sign_seals(c, env))
        return sign_seal_want(s, &name);
    if (!c->links.keyring || !is_ours(env) || !sign_settings(c)->sign)
        return SIGN_NOT;
    if (!c->keys.base)
        return no_index(s);
    if (!keys_any(&c->keys))
        return SIGN_NOT;
    e = map_get(&g->entries, str_of(&name, sizeof name));
    if (e && e->state != SIGN_SETTLED)
        return sign_wait_for(e, s);
    err = author(s, room, &from);
    if (err < 0)
        return unread(s, err);
    gap = sign_choose(c, &fresh, from, env->class == SPOOL_CLASS_SYSTEM ? 0 : env->tenant);
    if (e && e->asked && !strcmp(e->asked, fresh.asked) && clock_mono() < e->until)
        return sign_entry_give(e, s);
    if (e)
        sign_entry_free(e);
    if (gap)
        return sign_hold(s, SIGN_WAIT_KEY, gap);
    if (!fresh.nkeys) {
        s->unsigned_why = fresh.asked[0] ? UNSIGNED : NULL;
        return SIGN_NOT;
    }
    e = sign_entry_create(c, &name, &fresh);
    return e ? entry_start(e, s) : sign_hold(s, SIGN_WAIT_KEYRING, NS_PER_S); /* no memory */
}

void
sign_leave(struct session *s)
{
    struct sign_entry *e = s->sign;

    if (!e)
        return;
    for (struct session **p = &e->waiters; *p; p = &(*p)->sign_next) {
        if (*p != s)
            continue;
        *p = s->sign_next;
        break;
    }
    s->sign = NULL;
    s->sign_next = NULL;
}

/* --- as a whole --- */

int
signing_create(struct courier *c)
{
    struct signing *g = calloc(1, sizeof *g);

    if (!g)
        return ERR_NOMEM;
    c->signing = g;
    map_init(&g->entries, 4000000, false);
    map_init(&g->troubles, SIGN_TROUBLES_MAX, false);
    g->queue_end = &g->queue;
    g->turn = (struct loop_call){.fn = sign_queue_run, .ctx = c};
    g->asks = chan_asks_create(c->loop, ASKS_MAX);
    g->message = dkim_message_create();
    return g->asks && g->message ? 0 : ERR_NOMEM;
}

void
signing_free(struct courier *c)
{
    struct signing *g = c->signing;
    struct sign_entry *e;
    struct str key;
    size_t at;

    if (!g)
        return;
    while (at = 0, (e = map_next(&g->entries, &at, &key)) != NULL)
        sign_entry_free(e);
    map_done(&g->entries);
    sign_troubles_done(g);
    loop_call_cancel(c->loop, &g->turn);
    if (g->asks)
        chan_asks_free(g->asks);
    dkim_message_free(g->message);
    free(g);
    c->signing = NULL;
}

void
signing_answer(struct courier *c, uint64_t id, struct wire *body)
{
    (void)chan_ask_answer(c->signing->asks, id, body, -1);
}

void
signing_lost(struct courier *c)
{
    chan_asks_fail(c->signing->asks, ERR_CLOSED);
}
