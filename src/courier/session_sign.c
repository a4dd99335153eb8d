/*
 * courier/session_sign.c - whose keys sign the message in hand; what was signed is remembered.
 *
 * Called by session_job.c. Never blocks, never signs what came from strangers.
 */
#include "core/event.h"
#include "courier/session_sign_inner.h"
#include "mail/address.h"

#define ASKS_MAX     4096u /* messages at the keyring at once */
#define FRESH        (NS_PER_S * 86400)
#define COMPLAIN_GAP (60 * NS_PER_S)
#define UNSIGNED     "the keyring did not sign, and dkim.required is no"

const struct settings_dkim *
sign_settings(const struct courier *c)
{
    static const struct settings_dkim none = {.sign = true, .required = true, .cached = 4096};
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
static enum sign_answer
entry_give(const struct sign_entry *e, struct session *s)
{
    buf_clear(&s->front);
    s->unsigned_why = e->why;
    str_fmt(s->signed_by, sizeof s->signed_by, "%s", e->why || !e->signed_by ? "" : e->signed_by);
    if (e->why)
        return SIGN_NOT;
    buf_str(&s->front, buf_view(&e->front));
    return s->front.failed ? SIGN_CANNOT : SIGN_READY;
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
        x->sign_said = e->state == SIGN_SETTLED ? entry_give(e, x) : answer;
        if (e->state != SIGN_SETTLED)
            x->unsigned_why = UNSIGNED;
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

/* It cannot be had now. Without `required` the mail goes as it is. */
enum sign_answer
sign_cannot(struct courier *c)
{
    struct signing *g = c->signing;
    bool required = sign_settings(c)->required;
    uint64_t now = clock_mono();

    g->failing = g->failing ? g->failing : now;
    if (!g->complained || now - g->complained > COMPLAIN_GAP) {
        g->complained = now;
        if (required)
            event_warning("mail waits for its signature: the keyring does not sign now; it is "
                          "asked again soon");
        else
            event_warning("mail is sent without its signature: the keyring does not sign now, and "
                          "`dkim.required` is no");
    }
    return required ? SIGN_CANNOT : SIGN_NOT;
}

uint64_t
sign_gap(const struct courier *c)
{
    const struct signing *g = c->signing;
    uint64_t away = g->failing ? clock_mono() - g->failing : 0;

    return MIN(MAX(away / 8, NS_PER_S), 30 * NS_PER_S);
}

/* --- which keys --- */

static int
first_mailbox(void *ctx, struct str mailbox)
{
    char *dst = ctx;
    struct address a;

    if (!dst[0] && address_parse(mailbox, ADDRESS_ALLOW_UTF8, &a) == 0 &&
        address_domain_ascii(a.domain, dst, 256) < 0)
        dst[0] = '\0';
    return 0;
}

/* The domain of the (first) author, as keys are named; empty if there is no telling. */
static void
from_domain(struct str header, char dst[256])
{
    struct header_field f;

    dst[0] = '\0';
    if (!header_find(header, STR("From"), &f) || header_mailboxes(f.value, first_mailbox, dst) <= 0)
        dst[0] = '\0';
    str_lower(dst, strlen(dst));
}

static void
choose_of(const struct courier *c, struct str domain, uint32_t tenant, bool platform,
          struct sign_work *w)
{
    struct keys_set set;
    bool have[2] = {false};

    if (!keys_find(&c->keys, domain, &set))
        return;
    for (unsigned i = 0; i < set.n && w->nkeys < SIGN_MAX; i++) {
        const struct keys_public *k = &set.items[i];
        unsigned alg = k->alg == KEYS_ED25519;
        struct sign_key *to = &w->keys[w->nkeys];

        if (k->state != KEYS_ACTIVE || have[alg] ||
            (k->tenant != tenant && !(platform && k->tenant == 0)))
            continue;
        if (!str_copy(domain, to->domain, sizeof to->domain) ||
            !str_copy(k->selector, to->selector, sizeof to->selector))
            continue;
        to->alg = k->alg;
        to->platform = platform;
        have[alg] = true;
        w->nkeys++;
    }
}

/* Keys of the author's domain, then of the platform. */
static void
choose(const struct courier *c, struct sign_work *w, const char *from, uint32_t tenant)
{
    struct str platform = sign_settings(c)->platform, domain = str_c(from);
    size_t n = 0;

    w->nkeys = 0;
    w->tenant = tenant;
    if (domain.n)
        choose_of(c, domain, tenant, platform.n && str_ieq(platform, domain), w);
    if (platform.n && !str_ieq(platform, domain))
        choose_of(c, platform, tenant, true, w);
    w->asked[0] = '\0';
    for (unsigned i = 0; i < w->nkeys; i++)
        n += str_fmt(w->asked + n, sizeof w->asked - n, "%s._domainkey.%s ", w->keys[i].selector,
                     w->keys[i].domain);
}

/* --- for sessions --- */

/* Ours to sign: what was submitted here, and our own reports. */
static bool
is_ours(const struct spool_envelope *env)
{
    return (env->flags & SPOOL_MAIL_SUBMITTED) ||
           (env->class == SPOOL_CLASS_SYSTEM && !(env->flags & SPOOL_MAIL_INBOUND));
}

static enum sign_answer
wait_for(struct sign_entry *e, struct session *s)
{
    s->sign = e;
    s->sign_next = e->waiters;
    e->waiters = s;
    return SIGN_WAITS;
}

static struct sign_entry *
entry_create(struct courier *c, const struct sign_name *name, const struct sign_work *work)
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
    struct courier *c = e->c;
    struct signing *g = c->signing;
    enum sign_answer answer;
    int err;

    if (s->body.env || s->peeked.n != s->letter.env.size) { /* chunked, or a part of it */
        e->message = s->message;
        e->state = SIGN_QUEUED;
        e->newer = NULL;
        *g->queue_end = e;
        g->queue_end = &e->newer;
        loop_defer_next(c->loop, &g->turn);
        return wait_for(e, s);
    }
    err = sign_hash_piece(e, s->peeked);
    if (err == 0)
        return wait_for(e, s);
    if (err == ERR_CLOSED) {
        sign_entry_free(e);
        answer = sign_cannot(c);
        s->unsigned_why = UNSIGNED;
        return answer;
    }
    sign_entry_settle(e, "its header cannot be signed");
    return entry_give(e, s);
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
    uint32_t tenant = env->class == SPOOL_CLASS_SYSTEM ? 0 : env->tenant;
    char from[256];

    buf_clear(&s->front);
    s->signed_by[0] = '\0';
    s->unsigned_why = NULL;
    if (!c->links.keyring || !is_ours(env) || !keys_any(&c->keys) || !sign_settings(c)->sign)
        return SIGN_NOT;
    e = map_get(&g->entries, str_of(&name, sizeof name));
    if (e && e->state != SIGN_SETTLED)
        return wait_for(e, s);
    if (letter_body_pull(&s->body, &s->peeked) < 0) {
        s->peeked = STR_NONE;
        (void)letter_body_open(&s->body, s->message, &s->letter); /* what is wrong shows there */
        return SIGN_NOT;
    }
    from_domain(s->peeked, from);
    choose(c, &fresh, from, tenant);
    if (e && e->asked && !strcmp(e->asked, fresh.asked) && clock_mono() < e->until)
        return entry_give(e, s);
    if (e)
        sign_entry_free(e);
    if (!fresh.nkeys)
        return SIGN_NOT;
    e = entry_create(c, &name, &fresh);
    return e ? entry_start(e, s) : sign_cannot(c);
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
