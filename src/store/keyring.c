/*
 * store/keyring.c - SASL exchanges of all gates against the verifiers.
 *
 * Called by the keyring role. Never sees a mail and never tells anybody a verifier; passwords are
 * wiped as soon as they were checked.
 */
#include "store/keyring.h"

#include <sys/random.h>

#include "core/clock.h"
#include "core/map.h"
#include "net/sasl.h"
#include "store/asks.h"
#include "store/settings.h"
#include "store/users.h"
#include "store/worker.h"

#define RESPONSE_MAX  12288u /* RFC 4954 4 */
#define CHALLENGE_MAX 12288u
#define EXCHANGES_MAX 2000000u /* of all askers */
#define PASSWORD_WAIT (30 * NS_PER_S)

/* A snapshot with those who still look things up in it. */
struct view {
    struct snapshot snapshot;
    unsigned refs; /* counted in the loop's thread only */
};

/* A role that asks. */
struct asker {
    struct chan *chan;
    unsigned n; /* exchanges open */
    struct asker *next;
};

struct exchange {
    struct worker_job job;
    struct keyring *keyring;
    struct asker *asker;
    struct exchange_key {
        struct asker *asker;
        uint64_t session;
    } key;
    struct view *view;
    struct sasl_server *sasl;
    bool plain;   /* its steps cost a hash: they run in a thread */
    bool dovecot; /* a failed check is the keeper's to decide */
    bool busy;    /* a step or a question runs */
    bool dropped; /* nobody waits any more: freed when what runs is over */
    uint64_t id;  /* of the message that waits for an answer */
    uint64_t ask; /* of ours to the keeper, or 0 */
    uint64_t until;
    struct buf in, out;
    bool none;    /* there was no response at all */
    bool refused; /* the next response only ends it */
    char mech[24];
    enum sasl_result result;
    struct exchange *older, *newer;
};

struct keyring {
    struct keyring_links links;
    const struct settings_auth *auth; /* NULL: defaults */
    struct worker *worker;
    struct chan_asks *asks;
    struct view *view;
    struct asker *askers;
    struct map exchanges;
    struct exchange *oldest, *newest;
    struct loop_timer expiry;
    uint8_t secret[32];
};

static void on_expiry(void *ctx);

static void
view_unref(struct view *v)
{
    if (!v || --v->refs)
        return;
    snapshot_unmap(&v->snapshot);
    free(v);
}

static const struct settings_auth *
auth_of(const struct conf *conf)
{
    const struct conf_section *s = conf ? conf_first(conf, "auth") : NULL;

    return s ? s->data : NULL;
}

static void
keyring_setup(struct keyring *k)
{
    map_init(&k->exchanges, EXCHANGES_MAX, false);
    loop_timer_init(&k->expiry, k->links.loop, on_expiry, k);
    k->asks = chan_asks_create(k->links.loop, 10000);
}

int
keyring_create(struct keyring **ret, const struct keyring_links *links, const struct conf *conf,
               struct why *why)
{
    const struct settings_auth *auth = auth_of(conf);
    struct keyring *k = calloc(1, sizeof(*k));
    int r;

    if (!k)
        return why_set(why, ERR_NOMEM, "out of memory for the keyring");
    k->links = *links;
    k->auth = auth;
    keyring_setup(k);
    r = worker_create(&k->worker, links->loop, auth ? (unsigned)auth->workers : 1,
                      auth ? (unsigned)auth->max_waiting : 1000, NULL);
    if (r == 0 && !k->asks)
        r = ERR_NOMEM;
    if (r == 0 && getrandom(k->secret, sizeof(k->secret), 0) != (ssize_t)sizeof(k->secret))
        r = ERR_STATE;
    if (r < 0) {
        keyring_free(k);
        return why_set(why, r, "cannot start the threads that check passwords: %s", err_text(r));
    }
    *ret = k;
    return 0;
}

static void
buf_wipe(struct buf *b)
{
    if (b->p)
        explicit_bzero(b->p, b->cap);
    buf_clear(b);
}

static void
exchange_free(struct exchange *e)
{
    sasl_server_free(e->sasl);
    view_unref(e->view);
    buf_wipe(&e->in);
    buf_wipe(&e->out);
    buf_done(&e->in);
    buf_done(&e->out);
    free(e);
}

static void
asker_unref(struct keyring *k, struct asker *asker)
{
    if (--asker->n)
        return;
    for (struct asker **p = &k->askers; *p; p = &(*p)->next) {
        if (*p != asker)
            continue;
        *p = asker->next;
        free(asker);
        return;
    }
}

/* Out of all lists: no message finds it any more. Freed now, or when its step is over. */
static void
exchange_end(struct exchange *e)
{
    struct keyring *k = e->keyring;

    map_del(&k->exchanges, str_of(&e->key, sizeof(e->key)));
    *(e->older ? &e->older->newer : &k->oldest) = e->newer;
    *(e->newer ? &e->newer->older : &k->newest) = e->older;
    asker_unref(k, e->asker);
    e->asker = NULL;
    if (e->ask)
        chan_ask_cancel(k->asks, e->ask);
    if (e->busy && !e->ask) {
        e->dropped = true;
        return;
    }
    exchange_free(e);
}

static void
drop_job(struct worker_job *job)
{
    struct exchange *e = CONTAINER_OF(job, struct exchange, job);

    e->busy = false;
    if (e->dropped)
        exchange_free(e);
}

void
keyring_free(struct keyring *k)
{
    if (!k)
        return;
    worker_free(k->worker, drop_job);
    while (k->oldest) {
        k->oldest->busy = k->oldest->ask != 0;
        exchange_end(k->oldest);
    }
    if (k->asks)
        chan_asks_free(k->asks);
    loop_timer_stop(&k->expiry);
    map_done(&k->exchanges);
    view_unref(k->view);
    explicit_bzero(k->secret, sizeof(k->secret));
    free(k);
}

void
keyring_set_conf(struct keyring *k, const struct conf *conf)
{
    k->auth = auth_of(conf);
}

void
keyring_set_keeper(struct keyring *k, struct chan *keeper)
{
    k->links.keeper = keeper;
}

int
keyring_set_snapshot(struct keyring *k, int fd)
{
    struct view *v = calloc(1, sizeof(*v));
    int r;

    if (!v) {
        fd_close(&fd);
        return ERR_NOMEM;
    }
    r = snapshot_map(&v->snapshot, fd);
    if (r < 0) {
        free(v);
        return r;
    }
    v->refs = 1;
    view_unref(k->view);
    k->view = v;
    return 0;
}

unsigned
keyring_exchanges(const struct keyring *k)
{
    return (unsigned)k->exchanges.n;
}

static void
answer(struct chan *to, uint64_t id, enum auth_answer result, struct str data, struct str user)
{
    struct buf body;

    buf_init(&body, CHAN_BODY_MAX);
    put_u8(&body, (uint8_t)result);
    put_str(&body, data);
    put_str(&body, user);
    /* a full channel loses the answer: the asker's timeout gives its client a temporary failure */
    if (!body.failed)
        (void)chan_send(to, ASK_AUTH_ANSWER, id, &body, -1);
    buf_wipe(&body);
    buf_done(&body);
}

/* Answers and ends the exchange. */
static void
conclude(struct exchange *e, enum auth_answer result, struct str data, struct str user)
{
    char folded[LOGIN_MAX + 1];
    struct str login = STR_NONE;

    if (user.n && login_fold(user, folded, &login) < 0) {
        login = STR_NONE;
        result = result == AUTH_ANSWER_OK ? AUTH_ANSWER_FAIL : result;
    }
    answer(e->asker->chan, e->id, result, data, login);
    e->busy = false;
    exchange_end(e);
}

/* Of sasl_server: may run in a worker's thread, and reads the exchange's own view only. */
static int
find_verifier(void *ctx, struct str user, struct sasl_verifier *ret)
{
    const struct exchange *e = ctx;
    char folded[LOGIN_MAX + 1];
    struct str login, text;

    if (!e->view || login_fold(user, folded, &login) < 0 ||
        !snapshot_get(&e->view->snapshot, SNAPSHOT_VERIFIER, login, &text) ||
        sasl_verifier_parse(text, ret) < 0)
        return ERR_NOTFOUND;
    return 0;
}

static void
exchange_run(struct worker_job *job, void *thread_state UNUSED)
{
    struct exchange *e = CONTAINER_OF(job, struct exchange, job);
    struct str response = e->none ? STR_NONE : str_of(e->in.n ? e->in.p : "", e->in.n);

    e->result = sasl_server_step(e->sasl, response, &e->out);
    buf_wipe(&e->in);
}

static void
on_password(void *ctx, int status, struct wire *body, int fd)
{
    struct exchange *e = ctx;
    enum auth_answer result = AUTH_ANSWER_TEMP;
    struct str user = sasl_server_user(e->sasl);

    fd_close(&fd);
    e->ask = 0;
    if (status == 0) {
        uint8_t told = wire_u8(body);
        struct str name = wire_str(body);

        if (wire_end(body) && (told == AUTH_ANSWER_OK || told == AUTH_ANSWER_FAIL)) {
            result = told;
            user = name.n ? name : user;
        }
    }
    if (result == AUTH_ANSWER_FAIL && sasl_server_refusal(e->sasl).n) {
        e->busy = false;
        e->refused = true;
        answer(e->asker->chan, e->id, AUTH_ANSWER_CHALLENGE, sasl_server_refusal(e->sasl),
               STR_NONE);
        return;
    }
    conclude(e, result, STR_NONE, user);
}

/* Dovecot knows the password: the keeper asks it. */
static void
ask_keeper(struct exchange *e)
{
    struct keyring *k = e->keyring;
    struct str user, password;
    struct buf body;
    int r = ERR_STATE;

    if (!sasl_server_credentials(e->sasl, &user, &password)) {
        conclude(e, AUTH_ANSWER_FAIL, STR_NONE, sasl_server_user(e->sasl));
        return;
    }
    buf_init(&body, CHAN_BODY_MAX);
    put_str(&body, sasl_server_refusal(e->sasl).n ? str_c(e->mech) : STR("PLAIN"));
    put_str(&body, user);
    put_str(&body, password);
    if (k->links.keeper && !body.failed)
        e->ask = chan_ask_add(k->asks, PASSWORD_WAIT, on_password, e);
    if (e->ask)
        r = chan_send(k->links.keeper, ASK_PASSWORD, e->ask, &body, -1);
    buf_wipe(&body);
    buf_done(&body);
    if (r == 0) {
        e->busy = true;
        return;
    }
    if (e->ask)
        chan_ask_cancel(k->asks, e->ask);
    e->ask = 0;
    conclude(e, AUTH_ANSWER_TEMP, STR_NONE, user);
}

static void
exchange_stepped(struct exchange *e)
{
    struct str data = buf_view(&e->out);

    e->busy = false;
    if (e->result == SASL_CHALLENGE && !e->out.failed)
        answer(e->asker->chan, e->id, AUTH_ANSWER_CHALLENGE, data, STR_NONE);
    else if (e->result == SASL_OK && !e->out.failed)
        conclude(e, AUTH_ANSWER_OK, data, sasl_server_user(e->sasl));
    else if (e->dovecot)
        ask_keeper(e);
    else
        conclude(e, AUTH_ANSWER_FAIL, STR_NONE, sasl_server_user(e->sasl));
}

static void
exchange_done(struct worker_job *job)
{
    struct exchange *e = CONTAINER_OF(job, struct exchange, job);

    if (e->dropped)
        exchange_free(e);
    else
        exchange_stepped(e);
}

static void
exchange_step(struct exchange *e, uint64_t id, bool none, struct str response)
{
    e->id = id;
    if (response.n > RESPONSE_MAX) {
        conclude(e, AUTH_ANSWER_FAIL, STR_NONE, STR_NONE);
        return;
    }
    buf_wipe(&e->in);
    buf_clear(&e->out);
    buf_str(&e->in, response);
    e->none = none;
    if (e->refused) {
        conclude(e, AUTH_ANSWER_FAIL, STR_NONE, sasl_server_user(e->sasl));
        return;
    }
    if (!e->plain) {
        exchange_run(&e->job, NULL);
        exchange_stepped(e);
        return;
    }
    e->job = (struct worker_job){.run = exchange_run, .done = exchange_done};
    e->busy = true;
    if (worker_submit(e->keyring->worker, &e->job) < 0)
        conclude(e, AUTH_ANSWER_TEMP, STR_NONE, STR_NONE);
}

static struct asker *
asker_find(struct keyring *k, struct chan *chan)
{
    struct asker *a = k->askers;

    while (a && a->chan != chan)
        a = a->next;
    return a;
}

static struct exchange *
exchange_find(struct keyring *k, struct chan *from, uint64_t session)
{
    struct exchange_key key = {.asker = asker_find(k, from), .session = session};

    return key.asker ? map_get(&k->exchanges, str_of(&key, sizeof(key))) : NULL;
}

static bool
mech_allowed(const struct settings_auth *auth, struct str mech)
{
    char room[SETTINGS_MECHS_TEXT];
    struct str list = settings_auth_mechs(auth, true, room), word;

    while ((word = str_word(&list)).n)
        if (str_ieq(word, mech))
            return true;
    return false;
}

/* Takes its place in map and list; the timer of the oldest runs. */
static int
exchange_enter(struct keyring *k, struct exchange *e, struct chan *from, uint64_t session)
{
    struct asker *asker = asker_find(k, from);

    if (!asker) {
        asker = calloc(1, sizeof(*asker));
        if (!asker)
            return ERR_NOMEM;
        *asker = (struct asker){.chan = from, .next = k->askers};
        k->askers = asker;
    }
    asker->n++;
    e->asker = asker;
    e->key = (struct exchange_key){.asker = asker, .session = session};
    if (asker->n > (k->auth ? k->auth->max_exchanges : 10000) ||
        map_put(&k->exchanges, str_of(&e->key, sizeof(e->key)), e) < 0) {
        asker_unref(k, asker);
        return ERR_LIMIT;
    }
    e->until = clock_mono() + (k->auth ? k->auth->exchange_timeout : 600 * NS_PER_S);
    e->older = k->newest;
    *(k->newest ? &k->newest->newer : &k->oldest) = e;
    k->newest = e;
    if (k->oldest == e)
        (void)loop_timer_set(&k->expiry, e->until - clock_mono());
    return 0;
}

static void
on_expiry(void *ctx)
{
    struct keyring *k = ctx;
    uint64_t now = clock_mono();

    while (k->oldest && k->oldest->until <= now)
        exchange_end(k->oldest);
    if (k->oldest)
        (void)loop_timer_set(&k->expiry, k->oldest->until - now);
}

static void
on_start(struct keyring *k, struct chan *from, uint64_t id, struct wire *body)
{
    uint64_t session = wire_u64(body);
    struct str mech = wire_str(body);
    bool has_initial = wire_u8(body) != 0;
    struct str initial = wire_str(body);
    bool plus = wire_u8(body) != 0;
    struct str exporter = wire_str(body), endpoint = wire_str(body);
    struct sasl_binding binding = {.exporter = exporter, .endpoint = endpoint};
    struct exchange *e = exchange_find(k, from, session);
    bool dovecot = k->auth && k->auth->passwords == PASSWORDS_DOVECOT;

    if (!wire_end(body))
        return;
    if (e)
        exchange_end(e);
    if (!mech_allowed(k->auth, mech)) {
        answer(from, id, AUTH_ANSWER_FAIL, STR_NONE, STR_NONE);
        return;
    }
    e = dovecot || k->view ? calloc(1, sizeof(*e)) : NULL;
    if (!e || exchange_enter(k, e, from, session) < 0) {
        free(e);
        answer(from, id, AUTH_ANSWER_TEMP, STR_NONE, STR_NONE);
        return;
    }
    e->keyring = k;
    e->dovecot = dovecot;
    e->plain = !str_istarts(mech, STR("SCRAM-"));
    e->view = dovecot ? NULL : k->view;
    if (e->view)
        e->view->refs++;
    buf_init(&e->in, RESPONSE_MAX);
    buf_init(&e->out, CHALLENGE_MAX);
    e->sasl = sasl_server_create(mech, find_verifier, e, k->secret);
    e->id = id;
    (void)str_copy(mech, e->mech, sizeof(e->mech));
    if (!e->sasl) {
        conclude(e, AUTH_ANSWER_FAIL, STR_NONE, STR_NONE);
        return;
    }
    sasl_server_bind(e->sasl, &binding, plus);
    exchange_step(e, id, !has_initial, initial);
}

static void
on_step(struct keyring *k, struct chan *from, uint64_t id, struct wire *body)
{
    uint64_t session = wire_u64(body);
    struct str response = wire_str(body);
    struct exchange *e = exchange_find(k, from, session);

    if (!wire_end(body))
        return;
    if (!e || e->busy) { /* expired, or the asker does not wait for its answers */
        answer(from, id, e ? AUTH_ANSWER_FAIL : AUTH_ANSWER_TEMP, STR_NONE, STR_NONE);
        return;
    }
    exchange_step(e, id, false, response);
}

static void
on_cancel(struct keyring *k, struct chan *from, struct wire *body)
{
    uint64_t session = wire_u64(body);
    struct exchange *e = exchange_find(k, from, session);

    if (e && wire_end(body))
        exchange_end(e);
}

bool
keyring_message(struct keyring *k, struct chan *from, uint16_t type, uint64_t id, struct wire *body)
{
    switch (type) {
    case ASK_AUTH_START:
        on_start(k, from, id, body);
        return true;
    case ASK_AUTH_STEP:
        on_step(k, from, id, body);
        return true;
    case ASK_AUTH_CANCEL:
        on_cancel(k, from, body);
        return true;
    case ASK_PASSWORD_ANSWER:
        (void)chan_ask_answer(k->asks, id, body, -1);
        return true;
    default:
        return false;
    }
}

void
keyring_lost(struct keyring *k, struct chan *from)
{
    struct exchange *next;

    if (from == k->links.keeper)
        chan_asks_fail(k->asks, ERR_CLOSED);
    for (struct exchange *e = k->oldest; e; e = next) {
        next = e->newer;
        if (e->asker->chan == from)
            exchange_end(e);
    }
}
